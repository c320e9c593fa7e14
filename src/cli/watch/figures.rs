//! The figures of each version, computed from what a server says at two instants.

use std::collections::BTreeMap;

use serde::Serialize;

use super::exposition::{Buckets, Exposition, Sample};

const REQUESTS: &str = "weir_inference_requests_total";
const STAGES: &str = "weir_inference_stage_duration_seconds_bucket";
/// Outcomes of requests that are neither good answers nor failures.
const NEUTRAL: [&str; 4] = ["probe", "explanation", "guard", "cancelled"];
/// The state of a version that serves, in `weir_model_state`.
const AVAILABLE: f64 = 30.0;
/// The sources of live accuracy, the one to be shown first.
const SOURCES: [&str; 4] = ["feedback_adjusted", "feedback", "probe", "estimated"];

/// A version of a model: its name and number.
type Key = (String, u64);

/// The accuracy or loss of a version now.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Quality {
    /// Where it is from: `feedback`, `feedback_adjusted`, `probe` or `estimated`.
    pub(super) source: &'static str,
    pub(super) accuracy: Option<f64>,
    /// The 95 % interval of the accuracy.
    pub(super) interval: Option<(f64, f64)>,
    pub(super) loss: Option<f64>,
    /// The answers whose truth is known.
    pub(super) samples: Option<f64>,
}

/// The figures of a version between two looks.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Row {
    pub(super) model: String,
    pub(super) version: u64,
    /// Answered requests a second.
    pub(super) per_second: f64,
    /// Requests a second that were refused or failed.
    pub(super) failures_per_second: f64,
    /// The median and the 99th percentile of the time in the model, in seconds.
    pub(super) p50: Option<f64>,
    pub(super) p99: Option<f64>,
    /// Requests that wait for a compute thread.
    pub(super) waiting: f64,
    pub(super) quality: Option<Quality>,
    /// The worst state of its drift streams, 0 to 3, and the stream; `None` without a reference.
    pub(super) drift: Option<(u8, String)>,
}

/// Returns the figures of the versions that serve, by name and number. `seconds`: the time between the looks.
pub(super) fn rows(before: &Exposition, after: &Exposition, seconds: f64) -> Vec<Row> {
    let (requests, requests_before) = (requests(after), requests(before));
    let (times, times_before) = (times(after), times(before));
    let waiting = by_version(after, "weir_queue_depth", |_| true);
    let none = Buckets::default();
    let since = |now: &BTreeMap<Key, f64>, then: &BTreeMap<Key, f64>, key: &Key| {
        let [now, then] = [now, then].map(|of| of.get(key).copied().unwrap_or_default());
        (now - then).max(0.0) / seconds
    };
    let serving = after.of("weir_model_state").filter(|sample| sample.value == AVAILABLE).filter_map(key);
    let rows = serving.map(|of| {
        let (times, times_before) = (times.get(&of).unwrap_or(&none), times_before.get(&of).unwrap_or(&none));
        Row {
            per_second: since(&requests.0, &requests_before.0, &of),
            failures_per_second: since(&requests.1, &requests_before.1, &of),
            p50: times.quantile_since(times_before, 0.5),
            p99: times.quantile_since(times_before, 0.99),
            waiting: waiting.get(&of).copied().unwrap_or_default(),
            quality: quality(after, &of),
            drift: drift(after, &of),
            model: of.0,
            version: of.1,
        }
    });
    let mut rows: Vec<Row> = rows.collect();
    rows.sort_by(|a, b| (&a.model, a.version).cmp(&(&b.model, b.version)));
    rows
}

fn key(sample: &Sample) -> Option<Key> {
    Some((sample.label("model").to_owned(), sample.label("version").parse().ok()?))
}

fn by_version(look: &Exposition, name: &str, is_wanted: impl Fn(&Sample) -> bool) -> BTreeMap<Key, f64> {
    let mut sums = BTreeMap::new();
    for sample in look.of(name).filter(|sample| is_wanted(sample)) {
        if let Some(key) = key(sample) {
            *sums.entry(key).or_default() += sample.value;
        }
    }
    sums
}

/// Returns the requests so far that were answered, and those that were refused or failed.
fn requests(look: &Exposition) -> (BTreeMap<Key, f64>, BTreeMap<Key, f64>) {
    let is_success = |sample: &Sample| sample.label("outcome") == "success";
    let is_failure = |sample: &Sample| !is_success(sample) && !NEUTRAL.contains(&sample.label("outcome"));
    (by_version(look, REQUESTS, is_success), by_version(look, REQUESTS, is_failure))
}

/// Returns the counts of the times in the model.
fn times(look: &Exposition) -> BTreeMap<Key, Buckets> {
    let mut times: BTreeMap<Key, Buckets> = BTreeMap::new();
    for sample in look.of(STAGES).filter(|sample| sample.label("stage") == "infer") {
        let bound = sample.label("le").parse::<f64>();
        if let (Some(key), Ok(bound)) = (key(sample), bound) {
            times.entry(key).or_default().add(bound, sample.value);
        }
    }
    times
}

fn quality(look: &Exposition, of: &Key) -> Option<Quality> {
    let gauge = |name: &str, source: &str| {
        let fits =
            |sample: &&Sample| key(sample).as_ref() == Some(of) && [source, ""].contains(&sample.label("source"));
        look.of(name).find(fits).map(|sample| sample.value).filter(|value| value.is_finite())
    };
    SOURCES.into_iter().find_map(|source| {
        let (accuracy, loss) = (gauge("weir_model_accuracy", source), gauge("weir_model_loss", source));
        accuracy.or(loss)?;
        let (low, high) = match source {
            "estimated" => ("weir_model_estimated_accuracy_low", "weir_model_estimated_accuracy_high"),
            _ => ("weir_model_accuracy_low", "weir_model_accuracy_high"),
        };
        let has_interval = accuracy.is_some() && source != "probe";
        let interval = gauge(low, source).zip(gauge(high, source)).filter(|_| has_interval);
        Some(Quality { source, accuracy, interval, loss, samples: gauge("weir_model_samples", source) })
    })
}

/// Returns the worst of a version's streams; of equal ones that with the most evidence.
fn drift(look: &Exposition, of: &Key) -> Option<(u8, String)> {
    let streams = |name: &str| {
        let fits = |sample: &&Sample| key(sample).as_ref() == Some(of);
        look.of(name).filter(fits).map(|sample| (sample.label("stream").to_owned(), sample.value)).collect::<Vec<_>>()
    };
    let evidence: BTreeMap<String, f64> = streams("weir_drift_evidence").into_iter().collect();
    let evidence = |stream: &str| evidence.get(stream).copied().unwrap_or_default();
    let worst = streams("weir_drift_state")
        .into_iter()
        .max_by(|a, b| a.1.total_cmp(&b.1).then_with(|| evidence(&a.0).total_cmp(&evidence(&b.0))));
    worst.map(|(stream, state)| (state.clamp(0.0, 3.0) as u8, stream))
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEFORE: &str = r#"
weir_model_state{model="m",version="1"} 30
weir_inference_requests_total{model="m",outcome="success",version="1"} 100
"#;

    const AFTER: &str = r#"
weir_model_state{model="m",version="1"} 30
weir_model_state{model="m",version="2"} 50
weir_model_state{model="a",version="1"} 30
weir_inference_requests_total{model="m",outcome="success",version="1"} 140
weir_inference_requests_total{model="m",outcome="overloaded",version="1"} 6
weir_inference_requests_total{model="m",outcome="probe",version="1"} 64
weir_inference_requests_total{model="m",outcome="explanation",version="1"} 640
weir_inference_requests_total{model="m",outcome="guard",version="1"} 80
weir_inference_requests_total{model="m",outcome="cancelled",version="1"} 8
weir_inference_stage_duration_seconds_bucket{model="m",version="1",stage="infer",le="0.001"} 20
weir_inference_stage_duration_seconds_bucket{model="m",version="1",stage="infer",le="0.002"} 40
weir_inference_stage_duration_seconds_bucket{model="m",version="1",stage="infer",le="+Inf"} 40
weir_inference_stage_duration_seconds_bucket{model="m",version="1",stage="queue",le="+Inf"} 900
weir_queue_depth{model="m",version="1"} 3
weir_model_accuracy{model="m",version="1",source="training"} 0.99
weir_model_accuracy{model="m",version="1",source="probe"} 0.9
weir_model_accuracy{model="m",version="1",source="feedback"} 0.8
weir_model_accuracy_low{model="m",version="1",source="feedback"} 0.7
weir_model_accuracy_high{model="m",version="1",source="feedback"} 0.9
weir_model_samples{model="m",version="1",source="feedback"} 50
weir_model_loss{model="m",version="1",source="feedback"} 0.5
weir_model_accuracy{model="a",version="1",source="training"} 0.99
weir_model_loss{model="a",version="1",source="probe"} 0.01
weir_drift_state{model="m",version="1",stream="pixels"} 0
weir_drift_state{model="m",version="1",stream="margin"} 2
weir_drift_state{model="m",version="1",stream="energy"} 2
weir_drift_evidence{model="m",version="1",stream="margin"} 1.5
weir_drift_evidence{model="m",version="1",stream="energy"} 4
"#;

    #[test]
    fn figures_are_of_the_time_between_the_looks_and_of_versions_that_serve() {
        let rows = rows(&Exposition::parse(BEFORE), &Exposition::parse(AFTER), 2.0);
        let [a, m] = &rows[..] else { panic!("{rows:?}") };
        assert_eq!((a.model.as_str(), m.model.as_str(), m.version), ("a", "m", 1));
        assert_eq!((m.per_second, m.failures_per_second, m.waiting), (20.0, 3.0, 3.0));
        assert_eq!((m.p50, a.p50), (Some(0.001), None));
        assert!(m.p99.is_some_and(|p99| p99 > 0.0019 && p99 < 0.002));
        assert_eq!(m.drift, Some((2, "energy".into())));
        assert_eq!(a.drift, None);
    }

    #[test]
    fn the_console_takes_the_same_outcomes_for_no_failures() {
        let script = include_str!("../../api/http/console/traffic.js");
        let fine = script.lines().find(|line| line.starts_with("const FINE")).unwrap();
        for outcome in NEUTRAL.into_iter().chain(["success"]) {
            assert!(fine.contains(&format!("\"{outcome}\"")), "{outcome}: {fine}");
        }
    }

    #[test]
    fn live_labels_go_before_probes_and_never_are_figures_of_training_shown() {
        let rows = rows(&Exposition::default(), &Exposition::parse(AFTER), 1.0);
        let live = Quality {
            source: "feedback",
            accuracy: Some(0.8),
            interval: Some((0.7, 0.9)),
            loss: Some(0.5),
            samples: Some(50.0),
        };
        assert_eq!(rows[1].quality, Some(live));
        let probed = Quality { source: "probe", accuracy: None, interval: None, loss: Some(0.01), samples: None };
        assert_eq!(rows[0].quality, Some(probed));
    }
}
