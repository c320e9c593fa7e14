//! The metrics of each model version: requests, stages, batches, queue, quality.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use prometheus::{Gauge, GaugeVec, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, Opts, Registry};

use super::cache::{CACHE_OUTCOMES, CacheMetrics};
use super::labels::{Outcome, Source, Stage};
use super::promises::{PromiseFamilies, PromiseGauges, PromiseMetrics};
use super::{LATENCY_SECONDS, register, register_error, set_or_remove};
use crate::error::Result;
use crate::stats::Scores;

const RECORD_OUTCOMES: [&str; 2] = ["observed", "dropped"];
const MODEL: [&str; 2] = ["model", "version"];
const OUTCOME: [&str; 3] = ["model", "version", "outcome"];
const CLASS: [&str; 3] = ["model", "version", "class"];
const SOURCE: [&str; 3] = ["model", "version", "source"];

#[derive(Debug, Clone)]
pub(super) struct ServingFamilies {
    requests: IntCounterVec,
    stages: HistogramVec,
    batch_size: HistogramVec,
    queue_depth: GaugeVec,
    in_flight: GaugeVec,
    info: GaugeVec,
    load_seconds: GaugeVec,
    loss: GaugeVec,
    accuracy: GaugeVec,
    probe_time: GaugeVec,
    cache_requests: IntCounterVec,
    cache_bytes: GaugeVec,
    cost: GaugeVec,
    max_batch: GaugeVec,
    records: IntCounterVec,
    texts_truncated: IntCounterVec,
    accuracy_low: GaugeVec,
    accuracy_high: GaugeVec,
    samples: GaugeVec,
    calibration_error: GaugeVec,
    coverage: GaugeVec,
    classes: [GaugeVec; 3],
    promises: PromiseFamilies,
    /// The number of bound copies of each version. While one copy replaces another there are two; the series
    /// are removed with the last.
    bound: Arc<Mutex<HashMap<(String, String), usize>>>,
}

impl ServingFamilies {
    pub(super) fn register(registry: &Registry) -> Result<Self> {
        let counter = |name: &str, help: &str, labels: &[&str]| {
            register(registry, IntCounterVec::new(Opts::new(name, help), labels))
        };
        let gauge =
            |name: &str, help: &str, labels: &[&str]| register(registry, GaugeVec::new(Opts::new(name, help), labels));
        let histogram = |name: &str, help: &str, buckets: Vec<f64>, labels: &[&str]| {
            register(registry, HistogramVec::new(HistogramOpts::new(name, help).buckets(buckets), labels))
        };
        let sizes = prometheus::exponential_buckets(1.0, 2.0, 11).map_err(register_error)?;
        Ok(Self {
            requests: counter("weir_inference_requests_total", "Prediction requests, by how they ended.", &OUTCOME)?,
            stages: histogram(
                "weir_inference_stage_duration_seconds",
                "Time spent in each stage of a prediction.",
                LATENCY_SECONDS.to_vec(),
                &["model", "version", "stage"],
            )?,
            batch_size: histogram("weir_inference_batch_size", "Samples per execution of the model.", sizes, &MODEL)?,
            queue_depth: gauge("weir_queue_depth", "Requests waiting for a compute thread.", &MODEL)?,
            in_flight: gauge("weir_inference_in_flight", "Prediction requests in progress or waiting.", &MODEL)?,
            info: gauge("weir_model_info", "Always 1; the model versions that serve.", &MODEL)?,
            load_seconds: gauge(
                "weir_model_load_duration_seconds",
                "Time the version took to load and warm up.",
                &MODEL,
            )?,
            loss: gauge(
                "weir_model_loss",
                "Mean cross-entropy in nats, mean score of an autoencoder, or mean squared error of numbers; \
                 source training, validation and test are from the manifest, probe and feedback are live.",
                &SOURCE,
            )?,
            accuracy: gauge(
                "weir_model_accuracy",
                "Share of correct answers, 0 to 1; source training, validation and test are from the manifest, \
                 probe, feedback and estimated are live.",
                &SOURCE,
            )?,
            probe_time: gauge(
                "weir_probe_last_success_timestamp_seconds",
                "When the probe set was last replayed completely, as Unix time.",
                &MODEL,
            )?,
            cache_requests: counter(
                "weir_cache_requests_total",
                "Look-ups in the response cache, by outcome hit or miss.",
                &OUTCOME,
            )?,
            cache_bytes: gauge("weir_cache_bytes", "Memory of the response cache.", &MODEL)?,
            cost: gauge(
                "weir_model_single_run_seconds",
                "Median time of the model alone for one sample, as measured on this machine.",
                &MODEL,
            )?,
            max_batch: gauge("weir_model_max_batch_size", "The greatest number of samples in one run.", &MODEL)?,
            texts_truncated: counter(
                "weir_texts_truncated_total",
                "Texts that had more tokens than the model takes, and were cut.",
                &MODEL,
            )?,
            accuracy_low: gauge(
                "weir_model_accuracy_low",
                "Lower end of the 95 % Wilson interval of the accuracy, by source.",
                &SOURCE,
            )?,
            accuracy_high: gauge(
                "weir_model_accuracy_high",
                "Upper end of the 95 % Wilson interval of the accuracy, by source.",
                &SOURCE,
            )?,
            samples: gauge("weir_model_samples", "Answers whose truth is known, by source.", &SOURCE)?,
            calibration_error: gauge(
                "weir_model_calibration_error",
                "Expected calibration error over 15 bins of confidence, 0 to 1, by source.",
                &SOURCE,
            )?,
            coverage: gauge("weir_feedback_coverage", "Share of answers whose truth is known, 0 to 1.", &MODEL)?,
            classes: register_classes(registry)?,
            promises: PromiseFamilies::register(registry)?,
            records: counter(
                "weir_monitor_records_total",
                "Records of samples for monitoring: observed, or dropped because the queue was full. Answers do not \
                 depend on it.",
                &OUTCOME,
            )?,
            bound: Arc::default(),
        })
    }

    /// Sets the series of a class, or removes them.
    fn set_class(&self, labels: [&str; 3], scores: Option<Scores>) {
        let values = scores.map(|scores| [scores.precision, scores.recall, scores.f1]);
        for (place, family) in self.classes.iter().enumerate() {
            set_or_remove(family, &labels, values.map(|values| values[place]));
        }
    }

    /// Returns the family of accuracies, to which others add their sources.
    pub(super) fn accuracy(&self) -> GaugeVec {
        self.accuracy.clone()
    }
}

/// Declares precision, recall and F1 by class.
fn register_classes(registry: &Registry) -> Result<[GaugeVec; 3]> {
    let gauge = |name: &str, help: &str| register(registry, GaugeVec::new(Opts::new(name, help), &CLASS));
    Ok([
        gauge("weir_model_class_precision", "Of the answers that named the class, the share that is right.")?,
        gauge("weir_model_class_recall", "Of the answers whose truth is the class, the share that named it.")?,
        gauge("weir_model_class_f1", "The harmonic mean of precision and recall of the class.")?,
    ])
}

/// The metric handles of one model version.
#[derive(Debug)]
pub struct ServableMetrics {
    families: ServingFamilies,
    model: String,
    version: String,
    requests: Vec<IntCounter>,
    stages: Vec<Histogram>,
    /// The samples of each execution.
    pub batch_size: Histogram,
    /// The requests that wait for a compute thread.
    pub queue_depth: Gauge,
    /// The requests in progress or waiting.
    pub in_flight: Gauge,
    /// What became of the records of samples.
    pub records: RecordMetrics,
    texts_truncated: IntCounter,
    probe_time: Gauge,
    cost: Gauge,
    max_batch: Gauge,
    /// The classes that have series.
    classes: Mutex<Vec<String>>,
    promises: PromiseMetrics,
}

/// What became of the records of a version's samples.
#[derive(Debug, Clone)]
pub struct RecordMetrics {
    /// Records passed to monitoring.
    pub observed: IntCounter,
    /// Records that found the queue full.
    pub dropped: IntCounter,
}

impl ServableMetrics {
    pub(super) fn bind(families: &ServingFamilies, model: &str, version: &str) -> prometheus::Result<Self> {
        // Held to the end, so that a copy that is dropped meanwhile does not remove these series.
        let mut bound = families.bound.lock().unwrap_or_else(PoisonError::into_inner);
        let labels = [model, version];
        let request =
            |(_, outcome): &(_, &str)| families.requests.get_metric_with_label_values(&[model, version, outcome]);
        let stage = |(_, stage): &(_, &str)| families.stages.get_metric_with_label_values(&[model, version, stage]);
        let bind = Self {
            requests: Outcome::ALL.iter().map(request).collect::<prometheus::Result<_>>()?,
            stages: Stage::ALL.iter().map(stage).collect::<prometheus::Result<_>>()?,
            batch_size: families.batch_size.get_metric_with_label_values(&labels)?,
            queue_depth: families.queue_depth.get_metric_with_label_values(&labels)?,
            in_flight: families.in_flight.get_metric_with_label_values(&labels)?,
            records: RecordMetrics {
                observed: families.records.get_metric_with_label_values(&[model, version, RECORD_OUTCOMES[0]])?,
                dropped: families.records.get_metric_with_label_values(&[model, version, RECORD_OUTCOMES[1]])?,
            },
            texts_truncated: families.texts_truncated.get_metric_with_label_values(&labels)?,
            probe_time: families.probe_time.get_metric_with_label_values(&labels)?,
            cost: families.cost.get_metric_with_label_values(&labels)?,
            max_batch: families.max_batch.get_metric_with_label_values(&labels)?,
            classes: Mutex::default(),
            promises: families.promises.bind(model, version),
            families: families.clone(),
            model: model.to_owned(),
            version: version.to_owned(),
        };
        *bound.entry((model.to_owned(), version.to_owned())).or_default() += 1;
        Ok(bind)
    }

    /// Records that the version serves, and how long it took to load.
    pub fn announce(&self, load: Duration) {
        let labels = [self.model.as_str(), self.version.as_str()];
        if let Ok(info) = self.families.info.get_metric_with_label_values(&labels) {
            info.set(1.0);
        }
        if let Ok(seconds) = self.families.load_seconds.get_metric_with_label_values(&labels) {
            seconds.set(load.as_secs_f64());
        }
    }

    /// Binds the handles of the response cache of the version.
    ///
    /// # Errors
    /// [`crate::error::Error::Internal`] when a label does not fit its family, which tests rule out.
    pub fn cache(&self) -> Result<CacheMetrics> {
        let (families, labels) = (&self.families, [self.model.as_str(), self.version.as_str()]);
        let requests = |outcome| families.cache_requests.get_metric_with_label_values(&[labels[0], labels[1], outcome]);
        let bind = || {
            Ok(CacheMetrics {
                hits: requests(CACHE_OUTCOMES[0])?,
                misses: requests(CACHE_OUTCOMES[1])?,
                bytes: families.cache_bytes.get_metric_with_label_values(&labels)?,
            })
        };
        bind().map_err(register_error)
    }

    /// Records the measured cost of one sample and the chosen greatest batch.
    pub fn set_tuning(&self, single: Duration, max_batch: usize) {
        self.cost.set(single.as_secs_f64());
        self.max_batch.set(max_batch as f64);
    }

    /// Counts the outcome of a request.
    pub fn count(&self, outcome: Outcome) {
        self.requests[outcome as usize].inc();
    }

    /// Returns the number of requests with this outcome.
    pub fn counted(&self, outcome: Outcome) -> u64 {
        self.requests[outcome as usize].get()
    }

    /// Counts texts that were cut because they had more tokens than the model takes.
    pub fn texts_truncated(&self, texts: usize) {
        if texts > 0 {
            self.texts_truncated.inc_by(texts as u64);
        }
    }

    /// Records the duration of a stage.
    pub fn observe(&self, stage: Stage, elapsed: Duration) {
        self.stages[stage as usize].observe(elapsed.as_secs_f64());
    }

    /// Sets the loss, and the accuracy if there is one, that `source` gives.
    pub fn set_quality(&self, source: Source, mean_loss: f64, accuracy: Option<f64>) {
        let labels = [self.model.as_str(), self.version.as_str(), source.label()];
        if let Ok(loss) = self.families.loss.get_metric_with_label_values(&labels) {
            loss.set(mean_loss);
        }
        if let Some(share) = accuracy
            && let Ok(accuracy) = self.families.accuracy.get_metric_with_label_values(&labels)
        {
            accuracy.set(share);
        }
    }

    /// Sets the figures that labels give, or removes them where there are no labels.
    pub fn set_feedback(&self, figures: Option<FeedbackGauges>) {
        let FeedbackGauges { samples, accuracy, calibration_error, loss, coverage } = figures.unwrap_or_default();
        let f = &self.families;
        let labels = [self.model.as_str(), self.version.as_str(), Source::Feedback.label()];
        let samples = (samples > 0).then_some(samples as f64);
        for (family, value) in [
            (&f.samples, samples),
            (&f.accuracy, accuracy.map(|accuracy| accuracy[0])),
            (&f.accuracy_low, accuracy.map(|accuracy| accuracy[1])),
            (&f.accuracy_high, accuracy.map(|accuracy| accuracy[2])),
            (&f.calibration_error, calibration_error),
            (&f.loss, loss),
        ] {
            set_or_remove(family, &labels, value);
        }
        set_or_remove(&f.coverage, &labels[..2], coverage);
    }

    /// Sets the figures that are corrected for how the labelled samples were chosen, or removes them where there are none.
    pub fn set_adjusted(&self, figures: Option<AdjustedGauges>) {
        let f = &self.families;
        let labels = [self.model.as_str(), self.version.as_str(), Source::FeedbackAdjusted.label()];
        let accuracy = |place: usize| figures.map(|figures| figures.accuracy[place]);
        for (family, value) in [
            (&f.samples, figures.map(|figures| figures.samples as f64)),
            (&f.accuracy, accuracy(0)),
            (&f.accuracy_low, accuracy(1)),
            (&f.accuracy_high, accuracy(2)),
            (&f.loss, figures.and_then(|figures| figures.loss)),
        ] {
            set_or_remove(family, &labels, value);
        }
    }

    /// Sets the figures of each class that labels give, by its name; those of other classes go.
    pub fn set_classes(&self, classes: &[(&str, Scores)]) {
        let mut shown = self.classes.lock().unwrap_or_else(PoisonError::into_inner);
        for gone in shown.iter().filter(|name| !classes.iter().any(|(class, _)| class == name)) {
            self.families.set_class([&self.model, &self.version, gone], None);
        }
        *shown = classes.iter().map(|(name, _)| (*name).to_owned()).collect();
        for (name, scores) in classes {
            self.families.set_class([&self.model, &self.version, name], Some(*scores));
        }
    }

    /// Sets the figures of sets of classes and of withheld answers; those of other levels go.
    pub fn set_promises(&self, gauges: &[PromiseGauges]) {
        self.promises.set(gauges);
    }

    /// Records a complete replay of the probe set at this Unix time.
    pub fn record_probe(&self, loss: f64, accuracy: Option<f64>, unix_seconds: f64) {
        self.set_quality(Source::Probe, loss, accuracy);
        self.probe_time.set(unix_seconds);
    }
}

/// Figures that are corrected for how the labelled samples were chosen.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AdjustedGauges {
    /// The samples that say how they were chosen.
    pub samples: u64,
    /// The accuracy, and the ends of its interval.
    pub accuracy: [f64; 3],
    /// The mean loss.
    pub loss: Option<f64>,
}

/// Figures of a version's answers whose truth is known.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct FeedbackGauges {
    /// Their number.
    pub samples: u64,
    /// The accuracy and the ends of its interval.
    pub accuracy: Option<[f64; 3]>,
    /// The expected calibration error.
    pub calibration_error: Option<f64>,
    /// The mean loss.
    pub loss: Option<f64>,
    /// The share of answers that they are.
    pub coverage: Option<f64>,
}

/// Removes the series of the version with its last copy.
impl Drop for ServableMetrics {
    fn drop(&mut self) {
        let labels = [self.model.as_str(), self.version.as_str()];
        let f = &self.families;
        let mut bound = f.bound.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (self.model.clone(), self.version.clone());
        match bound.get_mut(&key) {
            Some(copies) if *copies > 1 => {
                *copies -= 1;
                return;
            }
            _ => drop(bound.remove(&key)),
        }
        for class in self.classes.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            f.set_class([labels[0], labels[1], class], None);
        }
        self.promises.set(&[]);
        // A series that was never there needs no removal.
        let gauges = [&f.queue_depth, &f.in_flight, &f.info, &f.load_seconds, &f.probe_time, &f.cache_bytes, &f.cost];
        for family in gauges.into_iter().chain([&f.max_batch, &f.coverage]) {
            drop(family.remove_label_values(&labels));
        }
        drop(f.batch_size.remove_label_values(&labels));
        drop(f.texts_truncated.remove_label_values(&labels));
        for (_, outcome) in Outcome::ALL {
            drop(f.requests.remove_label_values(&[labels[0], labels[1], outcome]));
        }
        for outcome in RECORD_OUTCOMES {
            drop(f.records.remove_label_values(&[labels[0], labels[1], outcome]));
        }
        for outcome in CACHE_OUTCOMES {
            drop(f.cache_requests.remove_label_values(&[labels[0], labels[1], outcome]));
        }
        for (_, stage) in Stage::ALL {
            drop(f.stages.remove_label_values(&[labels[0], labels[1], stage]));
        }
        for source in Source::ALL {
            let live = [&f.accuracy_low, &f.accuracy_high, &f.samples, &f.calibration_error];
            for family in [&f.loss, &f.accuracy].into_iter().chain(live) {
                drop(family.remove_label_values(&[labels[0], labels[1], source.label()]));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Metrics;
    use super::*;

    fn text(metrics: &Metrics) -> String {
        String::from_utf8(metrics.encode().unwrap()).unwrap()
    }

    #[test]
    fn a_dropped_version_leaves_no_series() {
        let metrics = Metrics::new().unwrap();
        let empty = text(&metrics).lines().filter(|line| line.contains("m\",")).count();
        let bound = metrics.bind_servable("m", "1").unwrap();
        bound.announce(Duration::from_millis(5));
        bound.record_probe(0.5, Some(1.0), 1.0);
        bound.count(Outcome::Success);
        bound.observe(Stage::Infer, Duration::from_micros(7));
        let live = text(&metrics);
        assert!(live.contains("weir_model_loss{model=\"m\",source=\"probe\",version=\"1\"} 0.5"));
        assert!(live.contains("weir_inference_requests_total{model=\"m\",outcome=\"success\",version=\"1\"} 1"));
        drop(bound);
        let after = text(&metrics);
        assert_eq!(after.lines().filter(|line| line.contains("model=\"m\"")).count(), empty);
    }

    #[test]
    fn a_copy_that_replaces_another_keeps_the_series() {
        let metrics = Metrics::new().unwrap();
        let old = metrics.bind_servable("m", "1").unwrap();
        old.count(Outcome::Success);
        let new = metrics.bind_servable("m", "1").unwrap();
        drop(old);
        new.count(Outcome::Success);
        let series = "weir_inference_requests_total{model=\"m\",outcome=\"success\",version=\"1\"}";
        assert!(text(&metrics).contains(&format!("{series} 2")));
        drop(new);
        assert!(!text(&metrics).contains(series));
    }

    #[test]
    fn handles_are_stored_in_the_order_of_their_enums() {
        assert!(Outcome::ALL.iter().enumerate().all(|(index, (outcome, _))| *outcome as usize == index));
        assert!(Stage::ALL.iter().enumerate().all(|(index, (stage, _))| *stage as usize == index));
    }
}
