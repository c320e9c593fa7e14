//! What is sent elsewhere.

use prometheus::{IntCounter, IntCounterVec, Opts, Registry};

use super::{register, register_error};
use crate::error::Result;

/// The family of all sinks.
#[derive(Debug, Clone)]
pub struct SinkFamilies(IntCounterVec);

/// The counters of one sink.
#[derive(Debug, Clone)]
pub struct SinkMetrics {
    sent: IntCounter,
    failed: IntCounter,
    dropped: IntCounter,
}

impl SinkFamilies {
    pub(super) fn register(registry: &Registry) -> Result<Self> {
        let opts = Opts::new(
            "weir_sink_events_total",
            "Events for the alarm webhook or the sink of predictions: sent, failed after all attempts, or dropped \
             because the queue was full.",
        );
        Ok(Self(register(registry, IntCounterVec::new(opts, &["kind", "outcome"]))?))
    }

    /// Binds the counters of a sink, which are exported from then on.
    ///
    /// # Errors
    /// [`crate::error::Error::Internal`] when a label does not fit its family, which tests rule out.
    pub fn bind(&self, kind: &str) -> Result<SinkMetrics> {
        let counter = |outcome| self.0.get_metric_with_label_values(&[kind, outcome]).map_err(register_error);
        Ok(SinkMetrics { sent: counter("sent")?, failed: counter("failed")?, dropped: counter("dropped")? })
    }
}

impl SinkMetrics {
    /// Counts events that were taken.
    pub fn sent(&self, events: u64) {
        self.sent.inc_by(events);
    }

    /// Counts events that could not be delivered.
    pub fn failed(&self, events: u64) {
        self.failed.inc_by(events);
    }

    /// Counts events that found the queue full.
    pub fn dropped(&self, events: u64) {
        self.dropped.inc_by(events);
    }
}
