//! Alarms that are open.

use prometheus::{GaugeVec, Opts, Registry};

use super::register;
use crate::error::Result;

/// The metrics of alarms.
#[derive(Debug, Clone)]
pub struct AlarmMetrics(GaugeVec);

impl AlarmMetrics {
    pub(super) fn register(registry: &Registry) -> Result<Self> {
        let opts = Opts::new("weir_alarms", "Open alarms by kind: raised, or acknowledged by somebody.");
        Ok(Self(register(registry, GaugeVec::new(opts, &["kind", "state"]))?))
    }

    /// Sets the number of open alarms of a kind in a state.
    pub fn set(&self, kind: &str, state: &str, count: usize) {
        if let Ok(gauge) = self.0.get_metric_with_label_values(&[kind, state]) {
            gauge.set(count as f64);
        }
    }
}
