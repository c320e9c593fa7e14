//! The metrics of the store of predictions and feedback.

use prometheus::{Gauge, Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, Opts, Registry};

use super::{LATENCY_SECONDS, register, register_error};
use crate::error::Result;

/// What may become of a piece of feedback.
const FEEDBACK: &[&str] =
    &["joined", "duplicate", "superseded", "outvoted", "retracted", "held", "rejected", "expired"];

/// How the store may fail.
const FAILURES: &[&str] = &["full", "busy", "io", "corrupt", "unreachable", "unusable", "fault"];

/// The metrics of the store. Its counters are few and off the path of requests.
#[derive(Debug, Clone)]
pub struct StoreMetrics {
    records: IntCounterVec,
    feedback: IntCounterVec,
    errors: IntCounterVec,
    captured: Vec<IntCounter>,
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
    /// The samples whose inputs are kept.
    pub inputs: IntGauge,
    /// The bytes of these inputs.
    pub input_bytes: IntGauge,
}

/// The fates of an input that should be kept, in the order of [`CaptureFate`].
const CAPTURED: [&str; 4] = ["kept", "dropped", "too_large", "not_kept"];

/// What may become of an input that should be kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CaptureFate {
    /// It is in the store.
    Kept,
    /// The store did not keep up.
    Dropped,
    /// It is larger than the limit.
    TooLarge,
    /// It has no form that training reads.
    NotKept,
}

/// What the store did since the start of the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct StoreCounts {
    /// Samples that were written.
    pub written: u64,
    /// Samples that were dropped.
    pub dropped: u64,
    /// Pieces of feedback that were joined to a prediction.
    pub joined: u64,
    /// Failures.
    pub failures: StoreFailures,
}

/// Failures of the store by kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct StoreFailures([u64; FAILURES.len()]);

impl StoreFailures {
    /// Returns the kind of which there are more than there were before.
    pub fn since(&self, before: &Self) -> Option<&'static str> {
        let rose = self.0.iter().zip(&before.0).position(|(now, then)| now > then)?;
        FAILURES.get(rose).copied()
    }

    /// Makes counts in which only one kind has failures.
    #[cfg(test)]
    pub fn of(kind: &str, count: u64) -> Self {
        let mut counts = Self::default();
        counts.0.iter_mut().zip(FAILURES).filter(|(_, name)| **name == kind).for_each(|(place, _)| *place = count);
        counts
    }
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
        let captured = counter(
            "weir_captured_inputs_total",
            "Inputs that --capture chose: kept, dropped because the store did not keep up, larger than --capture-max-bytes, or \
             not_kept because tensors have no form that training reads.",
            &CAPTURED,
        )?;
        let bound = |fate: &&str| captured.get_metric_with_label_values(&[fate]).map_err(register_error);
        let fates = CAPTURED.iter().map(bound).collect::<Result<_>>()?;
        let commits = HistogramOpts::new("weir_store_commit_duration_seconds", "Time of each commit of the store.");
        Ok(Self {
            records: counter(
                "weir_prediction_log_records_total",
                "Samples for the store of predictions: written, only counted because --keep-predictions-share leaves them out \
                 (sampled_out), or dropped because it was full or did not keep up.",
                &["written", "sampled_out", "dropped"],
            )?,
            feedback: counter("weir_feedback_total", "Pieces of feedback, by what became of them.", FEEDBACK)?,
            errors: counter("weir_store_errors_total", "Failures of the store, by what is wrong with it.", FAILURES)?,
            captured: fates,
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
            inputs: gauge("weir_captured_inputs", "Samples whose inputs are kept.")?,
            input_bytes: gauge("weir_captured_input_bytes", "Bytes of the inputs that are kept.")?,
        })
    }

    /// Returns what was counted so far.
    pub fn counts(&self) -> StoreCounts {
        let of = |family: &IntCounterVec, label: &str| {
            family.get_metric_with_label_values(&[label]).map_or(0, |one| one.get())
        };
        let mut failures = StoreFailures::default();
        failures.0.iter_mut().zip(FAILURES).for_each(|(count, kind)| *count = of(&self.errors, kind));
        StoreCounts {
            written: of(&self.records, "written"),
            dropped: of(&self.records, "dropped"),
            joined: of(&self.feedback, "joined"),
            failures,
        }
    }

    /// Counts samples that were written.
    pub fn written(&self, samples: u64) {
        add(&self.records, "written", samples);
    }

    /// Counts samples that are only counted, because a share is kept.
    pub fn sampled_out(&self, samples: u64) {
        add(&self.records, "sampled_out", samples);
    }

    /// Counts samples that were dropped.
    pub fn dropped(&self, samples: u64) {
        add(&self.records, "dropped", samples);
    }

    /// Counts pieces of feedback with this outcome.
    pub fn feedback(&self, outcome: &str, pieces: u64) {
        add(&self.feedback, outcome, pieces);
    }

    /// Counts inputs that should be kept, with this fate.
    pub fn captured(&self, fate: CaptureFate, inputs: u64) {
        if inputs > 0 {
            self.captured[fate as usize].inc_by(inputs);
        }
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
