//! The lifecycle of versions: states, loads, and scans of the repository.

use prometheus::{Gauge, GaugeVec, IntCounterVec, Opts, Registry};

use super::register;
use crate::error::Result;

/// The outcome of an attempt to load a version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LoadOutcome {
    /// The version serves.
    Success,
    /// The version cannot be loaded.
    Error,
    /// The files of the version do not belong together yet.
    Incomplete,
    /// The version was no longer wanted.
    Cancelled,
}

impl LoadOutcome {
    const ALL: [Self; 4] = [Self::Success, Self::Error, Self::Incomplete, Self::Cancelled];

    fn label(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Error => "error",
            Self::Incomplete => "incomplete",
            Self::Cancelled => "cancelled",
        }
    }
}

/// The families whose series follow the known versions.
#[derive(Debug)]
pub struct LifecycleMetrics {
    state: GaugeVec,
    loads: IntCounterVec,
    last_look: Gauge,
    usable: Gauge,
}

impl LifecycleMetrics {
    pub(super) fn register(registry: &Registry) -> Result<Self> {
        let gauge = |name: &str, help: &str| register(registry, Gauge::with_opts(Opts::new(name, help)));
        let state =
            Opts::new("weir_model_state", "START 10, LOADING 20, AVAILABLE 30, UNLOADING 40, END 50, of each version.");
        let loads = Opts::new("weir_model_loads_total", "Attempts to load a version, by how they ended.");
        Ok(Self {
            state: register(registry, GaugeVec::new(state, &["model", "version"]))?,
            loads: register(registry, IntCounterVec::new(loads, &["model", "outcome"]))?,
            last_look: gauge(
                "weir_repository_last_scan_timestamp_seconds",
                "When the repository was last read whole, as Unix time.",
            )?,
            usable: gauge(
                "weir_repository_usable",
                "1, or 0 while the repository cannot be read or is empty although versions serve, so that nothing is unloaded.",
            )?,
        })
    }

    /// Sets the state of a version to its number in the help text of the family.
    pub fn set_state(&self, model: &str, version: u64, state: u8) {
        if let Ok(gauge) = self.state.get_metric_with_label_values(&[model, &version.to_string()]) {
            gauge.set(f64::from(state));
        }
    }

    /// Counts an attempt to load a version.
    pub fn count_load(&self, model: &str, outcome: LoadOutcome) {
        if let Ok(counter) = self.loads.get_metric_with_label_values(&[model, outcome.label()]) {
            counter.inc();
        }
    }

    /// Records the Unix time at which the repository was last read completely.
    pub fn looked(&self, unix_seconds: f64) {
        self.last_look.set(unix_seconds);
    }

    /// Records whether the content of the repository can be acted on.
    pub fn set_usable(&self, usable: bool) {
        self.usable.set(f64::from(u8::from(usable)));
    }

    /// Removes the series of a version that is no longer known.
    pub fn forget_version(&self, model: &str, version: u64) {
        // A series that was never there needs no removal.
        drop(self.state.remove_label_values(&[model, &version.to_string()]));
    }

    /// Removes the series of a model that is no longer known.
    pub fn forget_model(&self, model: &str) {
        for outcome in LoadOutcome::ALL {
            drop(self.loads.remove_label_values(&[model, outcome.label()]));
        }
    }
}
