//! The streams of one version, and what is made of them.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::guarded::{GuardReport, Guarded, UNUSUAL};
use super::report::{DriftReport, DriftState, EstimateReport, StreamReport};
use super::sample::value;
use crate::config::DriftSettings;
use crate::ids::{ModelName, Version, hexadecimal};
use crate::monitoring::Record;
use crate::repository::{DriftReference, Stream, StreamDistribution};
use crate::serving::Identity;
use crate::stats::drift::{Bins, Detector, DetectorSettings, Standing, StreamReference};
use crate::stats::estimated_accuracy;

/// A share of unusual inputs above this makes an alarm a warning.
const WARNING_SHARE: f64 = 0.05;

/// A share of unusual inputs above this makes the estimated accuracy void.
const VOID_SHARE: f64 = 0.30;

/// A change of the answers' margins or energies above this makes the estimated accuracy void. On the bundled models all
/// changes of pictures below it leave the estimate within two points of the truth, and all that break it are above.
const VOID_EFFECT: f64 = 0.5;

/// An accuracy below the reference's by more than this, with its whole interval, is critical.
const CRITICAL_LOSS: f64 = 0.02;

/// The time between two lines of the log about a guard that fails.
const WARN_INTERVAL: Duration = Duration::from_secs(60);

/// The days whose samples a false alarm is at most expected in once, if they are more than the setting says.
const RUN_DAYS: f64 = 30.0;
const DAY_MICROSECONDS: i64 = 86_400_000_000;

/// The state of a watch, as it is stored.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct KeptWatch {
    /// The hash of the reference that it was compared with.
    fingerprint: String,
    /// The reference itself, if it was learnt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) learnt: Option<DriftReference>,
    detector: Detector,
    unusual: VecDeque<bool>,
    day: Option<(i64, u64)>,
    run_length: f64,
    passed_over: u64,
    /// The detector of the guard's scores.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    guard: Option<Detector>,
}

/// Returns what tells a reference from another one.
fn fingerprint(reference: &DriftReference) -> String {
    let text = serde_json::to_vec(reference).unwrap_or_default();
    hexadecimal(&Sha256::digest(text)[..16])
}

/// The detector of a version with what belongs to it.
#[derive(Debug)]
pub(super) struct VersionWatch {
    reference: Arc<DriftReference>,
    streams: Vec<StreamDistribution>,
    detector: Detector,
    settings: DriftSettings,
    /// For each sample of the last window whether it is unusual, where that can be told.
    unusual: VecDeque<bool>,
    /// The beginning of the present day of records, and the samples since.
    day: Option<(i64, u64)>,
    run_length: f64,
    /// Samples that were not looked at, because they came too fast.
    passed_over: u64,
    /// The guard, if the settings of the model name one, and the scores that can be watched.
    guard: Option<GuardReport>,
    guarded: Option<Guarded>,
    /// When a failure of the guard was last logged.
    warned: Option<Instant>,
    /// The last state of each stream that was told.
    told: BTreeMap<String, DriftState>,
}

impl VersionWatch {
    pub(super) fn new(reference: Arc<DriftReference>, settings: &DriftSettings, identity: &Identity) -> Self {
        let seed = identity.serial;
        let guard = identity.guard_model.as_ref().map(|model| GuardReport {
            model: model.to_string(),
            version: identity.guard().map(|guard| guard.version.0),
            scored: 0,
            problem: None,
        });
        let streams = reference.streams();
        let shows = [Stream::Class, Stream::Margin];
        let has_answers = streams.iter().any(|found| shows.contains(&found.stream));
        let stream = |found: &StreamDistribution| StreamReference {
            counts: found.counts.clone(),
            bins: if found.edges.is_some() { Bins::Ordered } else { Bins::Classes },
            shows_dependence: !has_answers || shows.contains(&found.stream),
        };
        let detector_settings = DetectorSettings {
            window: settings.window,
            learning_windows: settings.learning_windows,
            run_length: settings.run_length,
        };
        Self {
            detector: Detector::new(streams.iter().map(stream).collect(), detector_settings, seed),
            streams,
            guarded: guard.as_ref().and_then(|_| Guarded::new(&reference, settings, !seed)),
            guard,
            warned: None,
            reference,
            settings: *settings,
            unusual: VecDeque::new(),
            day: None,
            run_length: settings.run_length,
            passed_over: 0,
            told: BTreeMap::new(),
        }
    }

    /// Takes up a watch that was stored, unless that was of other streams, of another reference or with other settings.
    pub(super) fn go_on_from(&mut self, kept: KeptWatch) {
        let is_same = kept.learnt.is_some() || kept.fingerprint == fingerprint(&self.reference);
        if !is_same || !kept.run_length.is_finite() {
            return;
        }
        let Some(mut detector) = kept.detector.going_on_from(&self.detector) else { return };
        self.run_length = kept.run_length.max(self.settings.run_length);
        detector.set_run_length(self.run_length);
        self.detector = detector;
        if let (Some(guarded), Some(detector)) = (&mut self.guarded, kept.guard)
            && let Some(detector) = detector.going_on_from(&guarded.detector)
        {
            guarded.detector = detector;
            guarded.detector.set_run_length(self.run_length);
        }
        self.unusual = kept.unusual;
        self.unusual.truncate(self.settings.window);
        self.day = kept.day;
        self.passed_over = kept.passed_over;
    }

    /// Returns the state to be stored.
    pub(super) fn kept(&self, is_learnt: bool) -> KeptWatch {
        KeptWatch {
            fingerprint: fingerprint(&self.reference),
            learnt: is_learnt.then(|| DriftReference::clone(&self.reference)),
            detector: self.detector.clone(),
            unusual: self.unusual.clone(),
            day: self.day,
            run_length: self.run_length,
            passed_over: self.passed_over,
            guard: self.guarded.as_ref().map(|guarded| guarded.detector.clone()),
        }
    }

    /// Counts a sample that is not looked at.
    pub(super) fn pass_over(&mut self) {
        self.passed_over += 1;
    }

    pub(super) fn stream_names(&self) -> Vec<String> {
        let guard = self.guarded.as_ref().map(|guarded| &guarded.distribution);
        self.streams.iter().chain(guard).map(|found| found.name.clone()).collect()
    }

    pub(super) fn observe(&mut self, record: &Record) {
        let bin = |found: &StreamDistribution| found.bin(value(found.stream, record)?);
        let bins: Vec<Option<usize>> = self.streams.iter().map(bin).collect();
        self.detector.observe(&bins);
        if let (Some(ranks), Some(energy)) = (&self.reference.unusual, value(Stream::Energy, record)) {
            self.unusual.push_back(ranks.p_value(energy) <= UNUSUAL);
            if self.unusual.len() > self.settings.window {
                self.unusual.pop_front();
            }
        }
        self.count_day(record.at);
    }

    /// Takes the energies and scores that a guard has found, or the reason why it has not.
    pub(super) fn observe_guard(&mut self, outcome: Result<Vec<(Option<f32>, f32)>, String>) {
        let Some(guard) = &mut self.guard else { return };
        match outcome {
            Ok(scores) => {
                guard.problem = None;
                guard.scored += scores.len() as u64;
                for (energy, score) in scores {
                    if let Some(guarded) = &mut self.guarded {
                        guarded.observe(&self.reference, energy.map(f64::from), f64::from(score));
                    }
                }
            }
            Err(problem) => {
                if let Some(guarded) = &mut self.guarded {
                    guarded.forget();
                }
                if guard.problem.as_ref() != Some(&problem)
                    && self.warned.is_none_or(|warned| warned.elapsed() >= WARN_INTERVAL)
                {
                    self.warned = Some(Instant::now());
                    tracing::warn!(
                        guard = guard.model,
                        problem,
                        "a guard gives no scores; predictions go on without them"
                    );
                }
                guard.problem = Some(problem);
            }
        }
    }

    /// Lets the run length follow the traffic: at a day's end it is at least the samples of thirty such days.
    fn count_day(&mut self, at: i64) {
        let (since, count) = self.day.get_or_insert((at, 0));
        *count += 1;
        if at - *since >= DAY_MICROSECONDS {
            let days = (at - *since) as f64 / DAY_MICROSECONDS as f64;
            self.run_length = self.settings.run_length.max(*count as f64 / days * RUN_DAYS);
            self.detector.set_run_length(self.run_length);
            if let Some(guarded) = &mut self.guarded {
                guarded.detector.set_run_length(self.run_length);
            }
            self.day = Some((at, 0));
        }
    }

    /// Returns the figures as they stand.
    pub(super) fn report(&self) -> DriftReport {
        let standing = self.detector.standing();
        let share = self.anomaly_share();
        let estimate = self.estimate(&standing, share);
        let is_critical = estimate
            .as_ref()
            .is_some_and(|estimate| estimate.valid && estimate.high < estimate.reference_accuracy - CRITICAL_LOSS);
        let is_harmful = share.is_none_or(|share| share > WARNING_SHARE)
            || estimate.as_ref().is_some_and(|estimate| !estimate.valid);
        let state = |is_alarmed: bool, is_changed: bool| match (is_alarmed, is_changed) {
            (false, false) => DriftState::Quiet,
            _ if is_critical => DriftState::Critical,
            (true, _) if is_harmful => DriftState::Warning,
            (true, _) | (false, true) => DriftState::Info,
        };
        let streams = self.streams.iter().zip(&standing.streams).map(|(reference, stream)| {
            let state = state(stream.is_alarmed, stream.is_changed);
            StreamReport::new(reference, stream, state, standing.dependence)
        });
        let guarded = self.guarded.as_ref().map(|guarded| {
            let standing = guarded.standing();
            let stream = &standing.streams[0];
            let state = state(stream.is_alarmed, stream.is_changed);
            StreamReport::new(&guarded.distribution, stream, state, standing.dependence)
        });
        let mut streams: Vec<StreamReport> = streams.chain(guarded).collect();
        StreamReport::name_moved(&mut streams);
        DriftReport {
            source: self.reference.source.clone(),
            reference_samples: self.reference.samples,
            samples: standing.seen,
            passed_over: self.passed_over,
            window: self.settings.window,
            learning_windows: standing.learning,
            dependence: standing.dependence,
            run_length: self.run_length,
            state: streams.iter().map(|stream| stream.state).max().unwrap_or(DriftState::Quiet),
            anomaly_share: share,
            estimate,
            guard: self.guard.clone(),
            streams,
        }
    }

    /// Returns the share of unusual inputs in the last window: by what the guard says as well, if it does.
    fn anomaly_share(&self) -> Option<f64> {
        if let Some(share) = self.guarded.as_ref().and_then(Guarded::anomaly_share) {
            return Some(share);
        }
        let unusual = self.unusual.iter().filter(|unusual| **unusual).count();
        (!self.unusual.is_empty()).then(|| unusual as f64 / self.unusual.len() as f64)
    }

    /// Estimates the accuracy of the last window from its margins.
    fn estimate(&self, standing: &Standing, share: Option<f64>) -> Option<EstimateReport> {
        let reference_accuracy = self.reference.accuracy()?;
        let margin = self.reference.margin.as_ref()?;
        let place = |stream: Stream| self.streams.iter().position(|found| found.stream == stream);
        let live = &standing.streams[place(Stream::Margin)?];
        let estimate =
            estimated_accuracy(&margin.histogram.counts, &margin.correct, &live.window, standing.dependence)?;
        let effect = |stream: Stream| standing.streams[place(stream)?].effect.map(|effect| effect.psi);
        let has_moved = [Stream::Margin, Stream::Energy].into_iter().filter_map(effect).any(|psi| psi > VOID_EFFECT);
        Some(EstimateReport {
            accuracy: estimate.accuracy,
            low: estimate.low(),
            high: estimate.high(),
            valid: !has_moved && share.is_none_or(|share| share <= VOID_SHARE),
            reference_accuracy,
        })
    }

    /// Writes a line of the log for each stream whose state is another than it was.
    pub(super) fn tell_changes(&mut self, (model, version): &(ModelName, Version), report: &DriftReport) {
        for stream in &report.streams {
            let before = self.told.insert(stream.stream.clone(), stream.state).unwrap_or(DriftState::Quiet);
            if before == stream.state {
                continue;
            }
            let psi = stream.effect.as_ref().map(|effect| effect.psi);
            let (name, state, evidence) = (stream.stream.as_str(), stream.state.name(), stream.evidence);
            if stream.state >= DriftState::Warning {
                tracing::warn!(%model, %version, stream = name, state, evidence, psi, "the traffic of a model has changed");
            } else {
                tracing::info!(%model, %version, stream = name, state, evidence, psi, "a stream has another state");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Outcome;
    use crate::monitoring::Answer;
    use crate::repository::{ColumnReference, GuardReference, MarginReference};
    use crate::serving::{Identity, Places, Protocol};
    use crate::stats::{Histogram, Moments, Ranks};
    use crate::transform::{ColumnPart, InputParts, Squash};

    const SETTINGS: DriftSettings = DriftSettings {
        window: 500,
        learning_windows: 0,
        run_length: 1e9,
        learn_samples: 0,
        samples_per_second: 0,
        guard_samples_per_second: 0,
    };

    /// Numbers from 0 to 1 that look as if they were drawn.
    fn spread(place: usize) -> f64 {
        let mixed = (place as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) >> 11) as f64 / (1u64 << 53) as f64
    }

    fn reference(columns: Vec<ColumnReference>) -> DriftReference {
        let numbers = || (0..5000).map(spread);
        let margin = Histogram::by_quantiles(numbers(), 20);
        // The least sure half is right half the time.
        let half = |(bin, count): (usize, &u64)| if bin < 10 { count / 2 } else { *count };
        let correct = margin.counts.iter().enumerate().map(half).collect();
        DriftReference {
            source: "test".into(),
            samples: 5000,
            input_mean: Histogram::by_quantiles(numbers(), 20),
            input_deviation: Histogram { edges: Vec::new(), counts: vec![5000] },
            confidence: None,
            predictions: vec![2500, 2500],
            inverted: None,
            margin: Some(MarginReference { histogram: margin, correct }),
            energy: None,
            unusual: Some(Ranks::new(numbers())),
            value: None,
            columns,
            length: None,
            unknown_tokens: None,
            sets: Vec::new(),
            abstentions: Vec::new(),
            guard: None,
        }
    }

    fn identity(serial: u64, columns: usize) -> Identity {
        Identity {
            serial,
            model: "m".parse().unwrap(),
            version: Version(1),
            digest: [0; 32],
            labels: Vec::new(),
            places: Places::Classes { scores: 0, squash: Squash::Nothing, logits: None },
            parts: InputParts::Columns((0..columns).map(ColumnPart::Element).collect()),
            reference: None,
            graph_sha256: "".into(),
            guard_model: None,
        }
    }

    fn record(place: usize, margin: f64, energy: f64, parts: &[f32]) -> Record {
        Record {
            version: Arc::new(identity(1, parts.len())),
            id: uuid::Uuid::now_v7(),
            client: None,
            item: 0,
            at: place as i64,
            total_us: 1,
            protocol: Protocol::Weir,
            outcome: Outcome::Success,
            cached: false,
            inverted: None,
            input: Some(Moments { mean: spread(place) as f32, deviation: 1.0 }),
            parts: Some(parts.into()),
            captured: None,
            answer: Answer::Classified {
                class: (spread(place * 7) * 2.0) as u32,
                confidence: 0.9,
                margin: margin as f32,
                energy: Some(energy as f32),
                classes: 2,
                probabilities: [0.5; crate::monitoring::MAX_PROBABILITIES],
            },
        }
    }

    fn watched(reference: DriftReference, records: impl Iterator<Item = Record>) -> DriftReport {
        let mut watch = VersionWatch::new(Arc::new(reference), &SETTINGS, &identity(3, 0));
        records.for_each(|record| watch.observe(&record));
        watch.report()
    }

    fn named<'r>(report: &'r DriftReport, name: &str) -> &'r StreamReport {
        report.streams.iter().find(|stream| stream.stream == name).unwrap()
    }

    #[test]
    fn a_column_whose_cells_go_missing_is_named() {
        let numbers = Histogram::by_quantiles((0..5000).map(spread), 20);
        let mut counts = numbers.counts;
        counts.push(0);
        let age = ColumnReference { name: "age".into(), edges: Some(numbers.edges), counts };
        let kind = ColumnReference { name: "kind".into(), edges: None, counts: vec![2500, 2500, 0] };
        let parts = |place: usize| {
            let age = if place.is_multiple_of(3) { f32::NAN } else { spread(place * 5) as f32 };
            [age, ((spread(place * 11) * 2.0) as usize) as f32]
        };
        let records = (0..1000).map(|place| record(place, spread(place * 3), 0.5, &parts(place)));
        let report = watched(reference(vec![age, kind]), records);
        assert_eq!(report.state, DriftState::Info, "{report:?}");
        let age = named(&report, "column:age");
        assert!(age.state == DriftState::Info && age.moved && age.effect.as_ref().unwrap().psi > 1.0, "{age:?}");
        assert_eq!((*age.window.last().unwrap(), named(&report, "column:kind").state), (167, DriftState::Quiet));
    }

    #[test]
    fn less_clear_answers_are_critical_and_unusual_inputs_a_warning() {
        let unchanged = watched(reference(vec![]), (0..1000).map(|place| record(place, spread(place * 3), 0.5, &[])));
        assert_eq!((unchanged.state, unchanged.anomaly_share), (DriftState::Quiet, Some(0.0)));
        let estimate = unchanged.estimate.unwrap();
        assert!(estimate.valid && (estimate.accuracy - 0.75).abs() < 0.04, "{estimate:?}");
        // Margins a third lower: an effect below what makes the estimate void.
        let less_clear = (0..2000).map(|place| record(place, spread(place * 3).powf(1.7), 0.5, &[]));
        let report = watched(reference(vec![]), less_clear);
        let estimate = report.estimate.as_ref().unwrap();
        assert!(estimate.valid && estimate.high < 0.73, "{report:?}");
        assert_eq!((report.state, named(&report, "margin").state), (DriftState::Critical, DriftState::Critical));
        let shifted = (0..1000).map(|place| {
            let mut record = record(place, spread(place * 3), if place.is_multiple_of(10) { 0.001 } else { 0.5 }, &[]);
            record.input = record.input.map(|input| Moments { mean: input.mean + 0.5, ..input });
            record
        });
        let report = watched(reference(vec![]), shifted);
        assert_eq!((report.state, report.anomaly_share), (DriftState::Warning, Some(0.1)), "{report:?}");
        assert_eq!(named(&report, "margin").state, DriftState::Quiet);
    }

    /// The share of unusual inputs is the guard's as long as it gives scores, and that of the energies otherwise.
    #[test]
    fn a_guard_that_gives_no_scores_is_forgotten_until_it_does() {
        let guard = GuardReference {
            model: "vae".parse().unwrap(),
            version: Version(1),
            sha256: String::new(),
            scores: Histogram::by_quantiles((0..5000).map(spread), 20),
            unlikely: Ranks::new((0..5000).map(|place| -spread(place))),
            joint: None,
        };
        let reference = DriftReference { guard: Some(guard), ..reference(vec![]) };
        let guarded = Identity { guard_model: Some("vae".parse().unwrap()), ..identity(3, 0) };
        let mut watch = VersionWatch::new(Arc::new(reference), &SETTINGS, &guarded);
        (0..200).for_each(|place| watch.observe(&record(place, spread(place * 3), 0.5, &[])));
        assert_eq!(watch.report().anomaly_share, Some(0.0), "the energies'");
        let unlikely = || Ok(vec![(Some(0.5f32), 9.0f32); 200]);
        watch.observe_guard(unlikely());
        let report = watch.report();
        assert_eq!((report.anomaly_share, report.guard.unwrap().problem), (Some(1.0), None));
        watch.observe_guard(Err("it is gone".into()));
        let report = watch.report();
        assert_eq!((report.anomaly_share, report.guard.unwrap().problem), (Some(0.0), Some("it is gone".into())));
        watch.observe_guard(unlikely());
        let report = watch.report();
        assert_eq!((report.anomaly_share, report.guard.unwrap().problem), (Some(1.0), None));
    }

    #[test]
    fn the_run_length_follows_the_traffic_of_a_day() {
        let mut watch = VersionWatch::new(
            Arc::new(reference(vec![])),
            &DriftSettings { run_length: 1e3, ..SETTINGS },
            &identity(1, 0),
        );
        for place in 0..2000 {
            let mut record = record(place, spread(place), 0.5, &[]);
            record.at = place as i64 * DAY_MICROSECONDS / 1000;
            watch.observe(&record);
        }
        let run_length = watch.report().run_length;
        assert!((29_900.0..30_100.0).contains(&run_length), "{run_length}");
    }
}
