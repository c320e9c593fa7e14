//! The state that handlers share.

use std::sync::Arc;
use std::time::{Duration, Instant};

use http::HeaderValue;
use tokio::sync::watch;

use super::access::{Access, KeyRing};
use super::budget::ByteBudget;
use super::shared_memory::Regions;
use super::traces::Traces;
use crate::config::{CompatMetrics, HttpConfig};
use crate::error::{Error, Result};
use crate::metrics::Metrics;
use crate::monitoring::{Alarms, DriftReports, Events, Monitor, Tracer};
use crate::serving::{Manager, Predictor};
use crate::store::{Audit, ReceiptKeys, Store};
use crate::telemetry::LogControl;
use crate::trainer::Runs;

/// Limits and other settings of the API.
#[derive(Debug, Clone)]
pub struct ApiSettings {
    /// The largest body.
    pub max_body_bytes: usize,
    /// The time a client has for sending it.
    pub body_timeout: Duration,
    /// The time for which a connection may be quiet.
    pub idle_timeout: Duration,
    /// Images or instances in one request.
    pub max_samples: usize,
    /// A request slower than this is logged.
    pub slow_request: Duration,
    /// Set if every request is logged.
    pub access_log: bool,
    /// Set if `/` is the console.
    pub console: bool,
    /// Set if pages of other origins may use TensorFlow Serving's paths.
    pub cors: bool,
    /// Whose names metrics have beside our own.
    pub compat_metrics: CompatMetrics,
    /// The header that tells browsers to come by TLS only.
    pub hsts: Option<HeaderValue>,
}

/// The parts of the server that handlers work with.
#[derive(Debug)]
pub struct ApiParts {
    /// The way to predictions.
    pub predictor: Arc<Predictor>,
    /// The owner of versions.
    pub manager: Arc<Manager>,
    /// All metrics.
    pub metrics: Arc<Metrics>,
    /// The audit trail.
    pub audit: Arc<Audit>,
    /// What is observed of predictions, if it is.
    pub watch: Option<Watch>,
    /// Control over the log.
    pub log: LogControl,
    /// The reports of drift.
    pub drift: DriftReports,
    /// The alarms.
    pub alarms: Arc<Alarms>,
    /// What happens, for those who listen.
    pub events: Arc<Events>,
    /// What traces predictions, if they are traced.
    pub tracer: Option<Arc<Tracer>>,
    /// The keys that callers need, if they do.
    pub keys: Option<Arc<KeyRing>>,
    /// The training runs that are shown, if they are.
    pub runs: Option<Runs>,
}

/// What is observed of predictions.
#[derive(Debug, Clone)]
pub struct Watch {
    /// The owner of the records.
    pub monitor: Arc<Monitor>,
    /// Where records and feedback are kept.
    pub store: Arc<Store>,
    /// The keys of receipts.
    pub receipts: ReceiptKeys,
}

/// The stages of the way down, from wanting traffic to closing.
#[derive(Debug, Default)]
pub struct Health {
    draining: watch::Sender<bool>,
    closing: watch::Sender<bool>,
}

impl Health {
    /// Says that the server is going away; readiness is false from now on.
    pub fn drain(&self) {
        self.draining.send_replace(true);
    }

    /// Returns true once the server is going away.
    pub fn is_draining(&self) -> bool {
        *self.draining.borrow()
    }

    /// Turns true when the server begins to go away.
    pub fn draining(&self) -> watch::Receiver<bool> {
        self.draining.subscribe()
    }

    /// Says that accepting ends now: what has no end of its own must end.
    pub fn close(&self) {
        self.closing.send_replace(true);
    }

    /// Turns true when accepting ends.
    pub fn closing(&self) -> watch::Receiver<bool> {
        self.closing.subscribe()
    }
}

/// Shared by all handlers; cheap to clone.
#[derive(Debug, Clone)]
pub struct ApiState(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    parts: ApiParts,
    health: Arc<Health>,
    settings: ApiSettings,
    access: Access,
    buffered: Arc<ByteBudget>,
    regions: Regions,
    traces: Traces,
    started: Instant,
}

impl ApiState {
    /// The state of a server.
    pub fn new(parts: ApiParts, http: &HttpConfig, max_samples: usize) -> Self {
        let settings = ApiSettings {
            max_body_bytes: http.max_body_bytes,
            body_timeout: http.body_timeout,
            idle_timeout: http.idle_timeout,
            max_samples,
            slow_request: http.slow_request,
            access_log: http.access_log,
            console: http.console,
            cors: http.cors,
            compat_metrics: http.compat_metrics,
            hsts: http.hsts_seconds.and_then(|seconds| format!("max-age={seconds}").try_into().ok()),
        };
        let buffered = Arc::new(ByteBudget::new(http.max_buffered_bytes));
        let regions = Regions::new(http.shared_memory, http.max_body_bytes);
        let health = Arc::default();
        let keys = parts.keys.clone();
        Self(Arc::new(Inner {
            parts,
            health,
            settings,
            access: Access::new(http, keys),
            buffered,
            regions,
            traces: Traces::default(),
            started: Instant::now(),
        }))
    }

    /// The way to predictions.
    pub fn predictor(&self) -> &Predictor {
        &self.0.parts.predictor
    }

    /// The reports of drift.
    pub fn drift(&self) -> &DriftReports {
        &self.0.parts.drift
    }

    /// The alarms.
    pub fn alarms(&self) -> &Arc<Alarms> {
        &self.0.parts.alarms
    }

    /// What happens, for those who listen.
    pub fn events(&self) -> &Arc<Events> {
        &self.0.parts.events
    }

    /// What traces predictions, if they are traced.
    pub(super) fn tracer(&self) -> Option<&Tracer> {
        self.0.parts.tracer.as_deref()
    }

    /// The owner of versions.
    pub fn manager(&self) -> &Manager {
        &self.0.parts.manager
    }

    /// The audit trail.
    pub fn audit(&self) -> &Arc<Audit> {
        &self.0.parts.audit
    }

    /// All metrics.
    pub fn metrics(&self) -> &Metrics {
        &self.0.parts.metrics
    }

    /// The stages of the way down.
    pub fn health(&self) -> &Arc<Health> {
        &self.0.health
    }

    /// Limits and other settings.
    pub fn settings(&self) -> &ApiSettings {
        &self.0.settings
    }

    /// The rules about who may do what.
    pub(super) fn access(&self) -> &Access {
        &self.0.access
    }

    /// The keys that callers need, if they do.
    pub fn keys(&self) -> Option<&Arc<KeyRing>> {
        self.0.parts.keys.as_ref()
    }

    /// The training runs that are shown, if they are.
    pub(super) fn runs(&self) -> Option<&Runs> {
        self.0.parts.runs.as_ref()
    }

    /// The bytes of all request bodies in memory.
    pub(super) fn buffered(&self) -> &Arc<ByteBudget> {
        &self.0.buffered
    }

    /// Registered shared memory.
    pub(super) fn regions(&self) -> &Regions {
        &self.0.regions
    }

    /// Which requests leave a trace.
    pub(super) fn traces(&self) -> &Traces {
        &self.0.traces
    }

    /// Returns what is observed of predictions.
    ///
    /// # Errors
    /// [`Error::Forbidden`] when nothing is.
    pub(super) fn watch(&self) -> Result<&Watch> {
        let off = || Error::Forbidden("predictions are not observed; the setting --monitoring says so".into());
        self.0.parts.watch.as_ref().ok_or_else(off)
    }

    /// Control over the log.
    pub(super) fn log(&self) -> &LogControl {
        &self.0.parts.log
    }

    /// Returns the number of versions that serve, if the server wants traffic.
    ///
    /// # Errors
    /// [`Error::NotReady`] with the reason why it does not.
    pub(super) fn readiness(&self) -> Result<usize> {
        let catalog = self.predictor().catalog();
        let available = catalog.servables().count();
        let reason = if self.health().is_draining() {
            "the server is shutting down"
        } else if catalog.is_ready() {
            return Ok(available);
        } else if available == 0 {
            "no version serves yet"
        } else {
            "versions are still loading"
        };
        Err(Error::NotReady { reason: reason.into() })
    }

    /// Returns the time since the start.
    pub fn uptime(&self) -> Duration {
        self.0.started.elapsed()
    }
}
