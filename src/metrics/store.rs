//! The metrics of the store of predictions and feedback.

use prometheus::{Gauge, Histogram, HistogramOpts, IntCounterVec, IntGauge, Opts, Registry};

use super::{LATENCY_SECONDS, register};
use crate::error::Result;

/// What may become of a piece of feedback.
const FEEDBACK: &[&str] =
    &["joined", "duplicate", "superseded", "outvoted", "retracted", "held", "rejected", "expired"];

/// How the store may fail.
const FAILURES: &[&str] = &["full", "busy", "io", "corrupt", "unreachable", "unusable"];

/// The metrics of the store. Its counters are few and off the path of requests.
#[derive(Debug, Clone)]
pub struct StoreMetrics {
    records: IntCounterVec,
    feedback: IntCounterVec,
    errors: IntCounterVec,
    /// The samples that wait to be written.
    pub queue: IntGauge,
    /// The feedback that waits for its predictions.
    pub held: IntGauge,
    /// The time of each commit.
    pub commits: Histogram,
    /// The age of the oldest prediction, as Unix time.
    pub oldest: Gauge,
    /// The bytes of the predictions.
    pub bytes: IntGauge,
}

impl StoreMetrics {
    pub(super) fn register(registry: &Registry) -> Result<Self> {
        // Every series is there from the beginning, so that the first event is a rise.
        let counter = |name: &str, help: &str, outcomes: &[&str]| -> Result<IntCounterVec> {
            let family = register(registry, IntCounterVec::new(Opts::new(name, help), &["outcome"]))?;
            outcomes.iter().for_each(|outcome| add(&family, outcome, 0));
            Ok(family)
        };
        let gauge = |name: &str, help: &str| register(registry, IntGauge::new(name, help));
        let commits = HistogramOpts::new("weir_store_commit_duration_seconds", "Time of each commit of the store.");
        Ok(Self {
            records: counter(
                "weir_prediction_log_records_total",
                "Samples for the store of predictions: written, or dropped because it was full or did not keep up.",
                &["written", "dropped"],
            )?,
            feedback: counter("weir_feedback_total", "Pieces of feedback, by what became of them.", FEEDBACK)?,
            errors: counter("weir_store_errors_total", "Failures of the store, by what is wrong with it.", FAILURES)?,
            queue: gauge("weir_store_queue_depth", "Samples that wait to be written.")?,
            held: gauge("weir_feedback_held", "Pieces of feedback that wait for their predictions.")?,
            commits: register(registry, Histogram::with_opts(commits.buckets(LATENCY_SECONDS.to_vec())))?,
            oldest: register(
                registry,
                Gauge::new(
                    "weir_prediction_log_oldest_timestamp_seconds",
                    "When the oldest prediction that is kept was made, as Unix time; 0 without predictions.",
                ),
            )?,
            bytes: gauge("weir_store_bytes", "Bytes of the predictions that are kept.")?,
        })
    }

    /// Counts samples that were written.
    pub fn written(&self, samples: u64) {
        add(&self.records, "written", samples);
    }

    /// Counts samples that were dropped.
    pub fn dropped(&self, samples: u64) {
        add(&self.records, "dropped", samples);
    }

    /// Counts pieces of feedback with this outcome.
    pub fn feedback(&self, outcome: &str, pieces: u64) {
        add(&self.feedback, outcome, pieces);
    }

    /// Counts a failure of this kind.
    pub fn failed(&self, kind: &str) {
        add(&self.errors, kind, 1);
    }
}

fn add(family: &IntCounterVec, label: &str, count: u64) {
    if let Ok(counter) = family.get_metric_with_label_values(&[label]) {
        counter.inc_by(count);
    }
}
