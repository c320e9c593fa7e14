//! Which conditions hold: from figures to what alarms are made of.

use std::collections::BTreeMap;
use std::time::Duration;

use super::book::{AlarmKind, Key, Severity, Standing};
use crate::config::AlarmSettings;
use crate::metrics::StoreCounts;
use crate::monitoring::drift::{DriftReport, DriftState};
use crate::monitoring::figures::{FeedbackQuality, SetFigures};

/// The fall of the coverage of sets below what is stated that raises an alarm. One threshold in twenty misses its level by
/// chance, by less than this.
const COVERAGE_DROP: f64 = 0.01;

/// A version, and what is known of it.
#[derive(Debug)]
pub(super) struct Subject<'a> {
    pub(super) model: &'a str,
    pub(super) version: u64,
    /// The accuracy on held-out data, if there is one.
    pub(super) expected_accuracy: Option<f64>,
    /// Its labels, if there are any.
    pub(super) quality: Option<&'a FeedbackQuality>,
    /// Its traffic, if it is watched and was asked.
    pub(super) drift: Option<&'a DriftReport>,
}

impl Subject<'_> {
    fn key(&self, kind: AlarmKind) -> Key {
        Key { kind, subject: Some((self.model.to_owned(), self.version)) }
    }

    /// Enters how the conditions of this version stand.
    pub(super) fn judge(&self, settings: &AlarmSettings, standings: &mut BTreeMap<Key, Standing>) {
        let found = [
            (AlarmKind::Accuracy, self.accuracy(settings)),
            (AlarmKind::Coverage, self.coverage(settings)),
            (AlarmKind::Drift, self.drift()),
            (AlarmKind::Estimate, self.estimate()),
        ];
        for (kind, standing) in found {
            if let Some(standing) = standing {
                standings.insert(self.key(kind), standing);
            }
        }
    }

    /// Raised when even the upper end of the interval is lower by the setting, cleared when it is within half of that.
    fn accuracy(&self, settings: &AlarmSettings) -> Option<Standing> {
        let expected = self.expected_accuracy?;
        let Some(live) = self.quality.and_then(|quality| quality.accuracy) else { return Some(Standing::Undecided) };
        if live.judged < settings.min_labels {
            return Some(Standing::Undecided);
        }
        let drop = settings.accuracy_drop;
        if live.high < expected - drop {
            let summary = format!(
                "of the last day's answers {:.1} % to {:.1} % are right by {} labels, and {:.1} % were on held-out data",
                live.low * 100.0,
                live.high * 100.0,
                live.judged,
                expected * 100.0
            );
            return Some(Standing::Holds(Severity::Critical, summary));
        }
        (live.high < expected - drop / 2.0).then_some(Standing::Undecided)
    }

    /// Raised when even the upper end of the interval of a coverage is a point below what is stated, cleared when that of
    /// each is within half a point.
    fn coverage(&self, settings: &AlarmSettings) -> Option<Standing> {
        let sets = self.quality.map_or(&[][..], |quality| &quality.sets);
        let known = sets.iter().filter(|set| set.judged >= settings.min_labels);
        let gap = |set: &SetFigures| set.level - set.high.unwrap_or(1.0);
        let Some(worst) = known.max_by(|a, b| gap(a).total_cmp(&gap(b))) else { return Some(Standing::Undecided) };
        if gap(worst) > COVERAGE_DROP {
            let summary = format!(
                "sets that are stated to hold the right class in {} % of all answers hold it in {:.1} % to {:.1} % of the \
                 last day's, by {} labels",
                worst.level * 100.0,
                worst.low.unwrap_or(0.0) * 100.0,
                worst.high.unwrap_or(1.0) * 100.0,
                worst.judged
            );
            return Some(Standing::Holds(Severity::Warning, summary));
        }
        (gap(worst) > COVERAGE_DROP / 2.0).then_some(Standing::Undecided)
    }

    /// The detector has a hysteresis of its own.
    fn drift(&self) -> Option<Standing> {
        let report = self.drift.filter(|report| report.samples >= report.window as u64);
        let Some(report) = report else { return Some(Standing::Undecided) };
        let severity = match report.state {
            DriftState::Critical => Severity::Critical,
            DriftState::Warning => Severity::Warning,
            DriftState::Quiet | DriftState::Info => return None,
        };
        let streams = report.streams.iter().filter(|stream| stream.state >= DriftState::Warning);
        let names: Vec<&str> = streams.map(|stream| stream.stream.as_str()).collect();
        let summary = format!("the traffic differs from the reference for certain: {}", names.join(", "));
        Some(Standing::Holds(severity, summary))
    }

    fn estimate(&self) -> Option<Standing> {
        let report = self.drift.filter(|report| report.samples >= report.window as u64);
        let Some(report) = report else { return Some(Standing::Undecided) };
        let closed = report.estimate.as_ref().is_some_and(|estimate| !estimate.valid);
        let summary = "answers have moved so far from those on held-out data that only labels tell the accuracy";
        closed.then(|| Standing::Holds(Severity::Info, summary.to_owned()))
    }
}

/// What the store and the queue before it did since the server started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Counts {
    pub(super) store: StoreCounts,
    /// Records that found the queue of monitoring full.
    pub(super) dropped: u64,
}

/// Compares counts of two moments, and remembers when labels came.
#[derive(Debug, Default)]
pub(super) struct Progress {
    before: Counts,
    /// The first labels and the last ones, since the start.
    labels: Option<Duration>,
    answered_at_label: u64,
}

impl Progress {
    /// Enters how the conditions of the server as a whole stand.
    pub(super) fn judge(
        &mut self,
        counts: Counts,
        settings: &AlarmSettings,
        now: Duration,
        standings: &mut BTreeMap<Key, Standing>,
    ) {
        let key = |kind| Key { kind, subject: None };
        let before = std::mem::replace(&mut self.before, counts);
        if let Some(failure) = counts.store.failures.since(&before.store.failures) {
            let summary = format!("the store fails ({failure}): predictions are not kept and feedback is refused");
            standings.insert(key(AlarmKind::Store), Standing::Holds(Severity::Critical, summary));
        }
        let dropped = |counts: &Counts| counts.dropped + counts.store.dropped;
        let lost = dropped(&counts).saturating_sub(dropped(&before));
        if lost > 0 {
            let summary = format!("{lost} records of samples were dropped in the last second or so");
            standings.insert(key(AlarmKind::Dropped), Standing::Holds(Severity::Warning, summary));
        }
        let answered = counts.store.written + dropped(&counts);
        if counts.store.joined > before.store.joined {
            (self.labels, self.answered_at_label) = (Some(now), answered);
        }
        if let (Some(last), Some(gap)) = (self.labels, settings.label_gap)
            && now.saturating_sub(last) >= gap
            && answered > self.answered_at_label
        {
            let summary = format!(
                "no label was joined to an answer for {:.1} hours, and {} samples were answered meanwhile",
                now.saturating_sub(last).as_secs_f64() / 3600.0,
                answered - self.answered_at_label
            );
            standings.insert(key(AlarmKind::Labels), Standing::Holds(Severity::Warning, summary));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::StoreFailures;
    use crate::monitoring::AccuracyFigures;

    const SETTINGS: AlarmSettings = AlarmSettings {
        hold: Duration::ZERO,
        accuracy_drop: 0.02,
        min_labels: 200,
        label_gap: Some(Duration::from_secs(3600)),
    };

    fn quality(judged: u64, high: f64) -> FeedbackQuality {
        let accuracy = AccuracyFigures {
            judged,
            correct: 0,
            value: high - 0.01,
            low: high - 0.02,
            high,
            expected_calibration_error: None,
        };
        FeedbackQuality { samples: judged, accuracy: Some(accuracy), ..FeedbackQuality::empty(1) }
    }

    fn judged(quality: Option<&FeedbackQuality>, drift: Option<&DriftReport>) -> BTreeMap<AlarmKind, Standing> {
        let subject = Subject { model: "m", version: 1, expected_accuracy: Some(0.97), quality, drift };
        let mut standings = BTreeMap::new();
        subject.judge(&SETTINGS, &mut standings);
        standings.into_iter().map(|(key, standing)| (key.kind, standing)).collect()
    }

    #[test]
    fn accuracy_has_a_level_that_raises_and_one_that_clears() {
        let of = |judged_samples, high| judged(Some(&quality(judged_samples, high)), None).remove(&AlarmKind::Accuracy);
        let Some(Standing::Holds(Severity::Critical, summary)) = of(200, 0.949) else { panic!("below the gate") };
        assert!(summary.contains("92.9 % to 94.9 %") && summary.contains("97.0 %"), "{summary}");
        assert_eq!(of(199, 0.5), Some(Standing::Undecided));
        assert_eq!(of(200, 0.955), Some(Standing::Undecided));
        assert_eq!(of(200, 0.961), None);
        assert_eq!(judged(None, None)[&AlarmKind::Accuracy], Standing::Undecided);
    }

    #[test]
    fn coverage_has_a_level_that_raises_and_one_that_clears() {
        let of = |judged_samples, highs: [f64; 2]| {
            let set = |(level, high)| SetFigures {
                level,
                answers: 1000,
                mean_size: 1.5,
                judged: judged_samples,
                covered: 0,
                coverage: Some(high),
                low: Some(high - 0.02),
                high: Some(high),
            };
            let sets = [0.9, 0.99].into_iter().zip(highs).map(set).collect();
            judged(Some(&FeedbackQuality { sets, ..quality(200, 1.0) }), None).remove(&AlarmKind::Coverage)
        };
        let Some(Standing::Holds(Severity::Warning, summary)) = of(200, [0.95, 0.979]) else { panic!("below") };
        assert!(summary.contains("in 99 % of all") && summary.contains("95.9 % to 97.9 %"), "{summary}");
        assert!(matches!(of(200, [0.88, 1.0]), Some(Standing::Holds(..))), "each level counts");
        assert_eq!(of(199, [0.5, 0.5]), Some(Standing::Undecided));
        assert_eq!(of(200, [0.95, 0.983]), Some(Standing::Undecided));
        assert_eq!(of(200, [0.95, 0.986]), None);
        assert_eq!(judged(None, None)[&AlarmKind::Coverage], Standing::Undecided);
    }

    #[test]
    fn drift_alarms_from_a_warning_on_and_is_undecided_before_a_whole_window() {
        let of = |samples, state, valid| judged(None, Some(&DriftReport::example(samples, state, valid)));
        let found = of(500, DriftState::Warning, Some(false));
        let Standing::Holds(Severity::Warning, summary) = &found[&AlarmKind::Drift] else { panic!("{found:?}") };
        assert!(summary.ends_with(": margin"), "{summary}");
        assert!(matches!(found[&AlarmKind::Estimate], Standing::Holds(Severity::Info, _)));
        assert!(matches!(
            of(500, DriftState::Critical, None)[&AlarmKind::Drift],
            Standing::Holds(Severity::Critical, _)
        ));
        assert!(!of(500, DriftState::Info, Some(true)).contains_key(&AlarmKind::Drift));
        assert!(!of(500, DriftState::Info, Some(true)).contains_key(&AlarmKind::Estimate));
        assert_eq!(of(499, DriftState::Warning, Some(false))[&AlarmKind::Drift], Standing::Undecided);
        assert_eq!(judged(None, None)[&AlarmKind::Estimate], Standing::Undecided);
    }

    #[test]
    fn counts_that_rise_say_what_is_wrong_with_the_server() {
        let mut progress = Progress::default();
        let mut judge = |counts, hours: u64| {
            let mut standings = BTreeMap::new();
            progress.judge(counts, &SETTINGS, Duration::from_secs(3600 * hours), &mut standings);
            standings.into_keys().map(|key| key.kind).collect::<Vec<_>>()
        };
        let counts = |written, dropped, joined, full| Counts {
            store: StoreCounts { written, dropped, joined, failures: StoreFailures::of("full", full) },
            dropped: 0,
        };
        assert_eq!(judge(counts(10, 0, 0, 0), 0), []);
        // Nobody sends labels, so none are missed.
        assert_eq!(judge(counts(20, 0, 0, 0), 9), []);
        assert_eq!(judge(counts(20, 5, 0, 3), 9), [AlarmKind::Store, AlarmKind::Dropped]);
        assert_eq!(judge(counts(20, 5, 0, 3), 9), []);
        assert_eq!(judge(counts(20, 5, 7, 3), 10), []);
        // Nothing was asked since.
        assert_eq!(judge(counts(20, 5, 7, 3), 11), []);
        assert_eq!(judge(counts(21, 5, 7, 3), 12), [AlarmKind::Labels]);
        assert_eq!(judge(counts(21, 5, 8, 3), 12), []);
    }
}
