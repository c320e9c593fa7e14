//! The lifecycle of versions: states, loads, and scans of the repository.

use prometheus::{Gauge, GaugeVec, IntCounterVec, Opts, Registry};

use super::{register, register_error};
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

/// A thread or task that goes on after a panic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ThreadName {
    /// The owner of versions.
    Manager,
    /// The measurer of versions.
    Tuner,
    /// The replayer of probe sets.
    Probes,
    /// The keeper of the gauges of live quality.
    Quality,
    /// The judge of alarms.
    Alarms,
    /// The reader of the file of keys.
    Keys,
    /// The reader of certificates.
    Tls,
    /// The asker of guards.
    Guard,
}

impl ThreadName {
    const ALL: [Self; 8] =
        [Self::Manager, Self::Tuner, Self::Probes, Self::Quality, Self::Alarms, Self::Keys, Self::Tls, Self::Guard];

    /// Returns its name in metrics and logs.
    pub fn label(self) -> &'static str {
        match self {
            Self::Manager => "manager",
            Self::Tuner => "tuner",
            Self::Probes => "probes",
            Self::Quality => "quality",
            Self::Alarms => "alarms",
            Self::Keys => "keys",
            Self::Tls => "tls",
            Self::Guard => "guard",
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
    faults: IntCounterVec,
    manager_busy: Gauge,
    broken_aliases: Gauge,
}

impl LifecycleMetrics {
    pub(super) fn register(registry: &Registry) -> Result<Self> {
        let gauge = |name: &str, help: &str| register(registry, Gauge::with_opts(Opts::new(name, help)));
        let state =
            Opts::new("weir_model_state", "START 10, LOADING 20, AVAILABLE 30, UNLOADING 40, END 50, of each version.");
        let loads = Opts::new("weir_model_loads_total", "Attempts to load a version, by how they ended.");
        let faults = Opts::new(
            "weir_thread_faults_total",
            "Panics of threads that then went on: a fault of Weir, which the log tells more of.",
        );
        let faults = register(registry, IntCounterVec::new(faults, &["thread"]))?;
        for thread in ThreadName::ALL {
            faults.get_metric_with_label_values(&[thread.label()]).map_err(register_error)?;
        }
        let manager_busy = gauge(
            "weir_manager_busy_seconds",
            "How long the manager of versions has been at work on one event; changes of versions wait for it.",
        )?;
        Ok(Self {
            faults,
            manager_busy,
            broken_aliases: gauge(
                "weir_broken_aliases",
                "Aliases that point to a version that is gone or cannot be loaded; GET /readyz?verbose names them.",
            )?,
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

    /// Sets how many aliases point to a version that cannot serve.
    pub fn set_broken_aliases(&self, count: usize) {
        self.broken_aliases.set(count as f64);
    }

    /// Sets how long the manager has been at work on one event.
    pub fn set_manager_busy(&self, seconds: f64) {
        self.manager_busy.set(seconds);
    }

    /// Counts a panic of a thread that goes on.
    pub fn count_fault(&self, thread: ThreadName) {
        if let Ok(counter) = self.faults.get_metric_with_label_values(&[thread.label()]) {
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
