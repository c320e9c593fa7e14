//! Declares every Prometheus metric family. Handles are bound when a version loads or a run starts, so that
//! recording is an atomic addition and never a label look-up.
//!
//! Units are base units. Labels have closed sets of names: `model`, `version`, `stage`, `outcome`, `protocol`,
//! `source`, `stream`, `kind`, `state`, `class`, `level`, `what`.

mod alarms;
mod cache;
mod drift;
mod grpc;
mod http;
mod labels;
mod lifecycle;
mod pool;
mod promises;
mod serving;
mod sinks;
mod store;
mod tls;
mod training;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use prometheus::core::Collector;
use prometheus::{Encoder, Gauge, GaugeVec, IntCounter, IntCounterVec, IntGaugeVec, Opts, Registry, TextEncoder};

pub use alarms::AlarmMetrics;
pub use cache::CacheMetrics;
pub use drift::{DriftFamilies, DriftFigures, DriftMetrics, StreamFigures};
pub use grpc::{GrpcMetrics, code_name};
pub use http::{HttpMetrics, Protocol};
pub use labels::{Outcome, Source, Stage, Stages};
pub use lifecycle::{LifecycleMetrics, LoadOutcome, ThreadName};
pub use pool::PoolMetrics;
pub use promises::{PromiseFigures, PromiseGauges};
pub use serving::{AdjustedGauges, FeedbackGauges, RecordMetrics, ServableMetrics};
pub use sinks::{SinkFamilies, SinkMetrics};
pub use store::{CaptureFate, StoreCounts, StoreFailures, StoreMetrics};
pub use tls::{TlsFamilies, TlsMetrics};
pub use training::TrainingMetrics;

use crate::error::{Error, Result};

/// Buckets for latencies in seconds: 10 µs to 10 s, three per decade. The range covers an inference of the
/// smallest bundled model as well as a request that waits for its deadline.
const LATENCY_SECONDS: &[f64] =
    &[1e-5, 2e-5, 5e-5, 1e-4, 2e-4, 5e-4, 1e-3, 2e-3, 5e-3, 1e-2, 2e-2, 5e-2, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0];

/// The content type of the exposition.
pub const CONTENT_TYPE: &str = prometheus::TEXT_FORMAT;

/// All metrics of the server, in a separate registry.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    /// The families of gRPC, which are exported only where it is spoken.
    grpc_registry: Registry,
    exports_grpc: AtomicBool,
    /// HTTP requests and connections.
    pub http: HttpMetrics,
    /// gRPC calls and connections.
    pub grpc: GrpcMetrics,
    /// The compute threads.
    pub pool: PoolMetrics,
    /// The lifecycle of versions.
    pub lifecycle: LifecycleMetrics,
    /// Drift of live traffic.
    pub drift: DriftFamilies,
    /// The store of predictions and feedback.
    pub store: StoreMetrics,
    /// Alarms that are open.
    pub alarms: AlarmMetrics,
    /// What is sent elsewhere.
    pub sinks: SinkFamilies,
    /// States of the file of keys that could not be used.
    pub key_failures: IntCounter,
    /// Public keys of issuers of tokens that could not be had.
    pub jwks_failures: IntCounter,
    /// States of the file of the keys that sign versions that could not be used.
    pub trusted_key_failures: IntCounter,
    open_to_network: IntGaugeVec,
    dropped_lines: IntCounter,
    shown_dropped_lines: Mutex<u64>,
    /// TLS.
    pub tls: TlsFamilies,
    serving: serving::ServingFamilies,
}

impl Metrics {
    /// Declares and registers all families.
    ///
    /// # Errors
    /// [`Error::Internal`] when two families share a name, which tests rule out.
    pub fn new() -> Result<Self> {
        let registry = Registry::new();
        let http = HttpMetrics::register(&registry)?;
        let grpc_registry = Registry::new();
        let grpc = GrpcMetrics::register(&grpc_registry)?;
        let pool = PoolMetrics::register(&registry)?;
        let serving = serving::ServingFamilies::register(&registry)?;
        let drift = DriftFamilies::register(&registry, serving.accuracy())?;
        let lifecycle = LifecycleMetrics::register(&registry)?;
        let store = StoreMetrics::register(&registry)?;
        let alarms = AlarmMetrics::register(&registry)?;
        let sinks = SinkFamilies::register(&registry)?;
        register_process(&registry)?;
        let reload_failures = reload_failures(&registry)?;
        let key_failures = of_file(&reload_failures, "keys")?;
        let jwks_failures = of_file(&reload_failures, "jwks")?;
        let trusted_key_failures = of_file(&reload_failures, "trusted_keys")?;
        let tls = TlsFamilies::register(&registry, of_file(&reload_failures, "tls")?)?;
        let help = "1 if callers on other machines may do this without a key.";
        let open_to_network =
            register(&registry, IntGaugeVec::new(Opts::new("weir_open_to_network", help), &["what"]))?;
        let help = "Log lines that were dropped because whoever reads the log is too slow.";
        let dropped_lines = register(&registry, IntCounter::new("weir_log_lines_dropped_total", help))?;
        let exports_grpc = AtomicBool::new(false);
        Ok(Self {
            registry,
            grpc_registry,
            exports_grpc,
            http,
            grpc,
            pool,
            lifecycle,
            drift,
            store,
            alarms,
            sinks,
            key_failures,
            jwks_failures,
            trusted_key_failures,
            open_to_network,
            dropped_lines,
            shown_dropped_lines: Mutex::default(),
            tls,
            serving,
        })
    }

    /// Tells what callers on other machines may do without a key, each with its name.
    ///
    /// # Errors
    /// [`Error::Internal`] when the label does not fit its family, which tests rule out.
    pub fn set_open_to_network(&self, open: &[(&'static str, bool)]) -> Result<()> {
        for (what, is_open) in open {
            let gauge = self.open_to_network.get_metric_with_label_values(&[what]).map_err(register_error)?;
            gauge.set(i64::from(*is_open));
        }
        Ok(())
    }

    /// Raises the count of dropped log lines to this one.
    pub fn set_dropped_lines(&self, count: u64) {
        // Of two at once the second one sees what the first one has added.
        let mut shown = self.shown_dropped_lines.lock().unwrap_or_else(PoisonError::into_inner);
        self.dropped_lines.inc_by(count.saturating_sub(*shown));
        *shown = count.max(*shown);
    }

    /// Exports the metrics of gRPC from now on: the server speaks it.
    pub fn export_grpc(&self) {
        self.exports_grpc.store(true, Ordering::Relaxed);
    }

    /// Binds the handles of one model version. Its series are removed when the handles are dropped.
    ///
    /// # Errors
    /// [`Error::Internal`] when a label does not fit its family, which tests rule out.
    pub fn bind_servable(&self, model: &str, version: &str) -> Result<ServableMetrics> {
        ServableMetrics::bind(&self.serving, model, version).map_err(register_error)
    }

    /// Encodes the metrics of everything that is switched on in the text exposition format 0.0.4.
    ///
    /// # Errors
    /// [`Error::Internal`] when encoding fails.
    pub fn encode(&self) -> Result<Vec<u8>> {
        let mut text = encode(&self.registry)?;
        if self.exports_grpc.load(Ordering::Relaxed) {
            text.append(&mut encode(&self.grpc_registry)?);
        }
        Ok(text)
    }
}

fn encode(registry: &Registry) -> Result<Vec<u8>> {
    let mut text = Vec::with_capacity(16 * 1024);
    TextEncoder::new().encode(&registry.gather(), &mut text).map_err(register_error)?;
    Ok(text)
}

/// Declares the counts of the states of files that could not be used when they were read again.
fn reload_failures(registry: &Registry) -> Result<IntCounterVec> {
    let help = "States of a settings file that could not be used; what was read before stays.";
    register(registry, IntCounterVec::new(Opts::new("weir_reload_failures_total", help), &["what"]))
}

fn of_file(failures: &IntCounterVec, what: &str) -> Result<IntCounter> {
    failures.get_metric_with_label_values(&[what]).map_err(register_error)
}

/// Registers the metrics of the process itself: `weir_build_info`, start time, memory, file descriptors.
fn register_process(registry: &Registry) -> Result<()> {
    let build_info = IntGaugeVec::new(Opts::new("weir_build_info", "Always 1; the version of Weir."), &["version"])
        .map_err(register_error)?;
    build_info.get_metric_with_label_values(&[env!("CARGO_PKG_VERSION")]).map_err(register_error)?.set(1);
    registry.register(Box::new(build_info)).map_err(register_error)?;
    let process = prometheus::process_collector::ProcessCollector::for_self();
    registry.register(Box::new(process)).map_err(register_error)
}

fn register<C: Collector + Clone + 'static>(registry: &Registry, family: prometheus::Result<C>) -> Result<C> {
    let family = family.map_err(register_error)?;
    registry.register(Box::new(family.clone())).map_err(register_error)?;
    Ok(family)
}

/// Sets a series; what is not known has none.
fn set_or_remove(family: &GaugeVec, labels: &[&str], value: Option<f64>) {
    match value {
        Some(value) => {
            if let Ok(gauge) = family.get_metric_with_label_values(labels) {
                gauge.set(value);
            }
        }
        // A series that was never there needs no removal.
        None => drop(family.remove_label_values(labels)),
    }
}

fn register_error(source: prometheus::Error) -> Error {
    Error::internal("a metric could not be declared", source)
}

/// Holds a gauge one higher for as long as it lives, on every path out of a function.
#[derive(Debug)]
pub struct GaugeGuard(Gauge);

impl GaugeGuard {
    /// Adds one to the gauge, and subtracts it on drop.
    pub fn hold(gauge: &Gauge) -> Self {
        gauge.inc();
        Self(gauge.clone())
    }
}

impl Drop for GaugeGuard {
    fn drop(&mut self) {
        self.0.dec();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dropped_lines_are_counted_once_however_many_ask_at_once() {
        let metrics = Metrics::new().unwrap();
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| (0..=2000).for_each(|count| metrics.set_dropped_lines(count)));
            }
        });
        assert_eq!(metrics.dropped_lines.get(), 2000);
    }
}
