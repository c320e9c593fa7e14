//! The server, composed: settings in, running server out, everything joined at the end.

mod lasting;
mod outlets;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded};
use prometheus::Gauge;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

use self::lasting::lasting;
use self::outlets::{Outlets, Senders, outlets};
use crate::api::{self, ApiParts, ApiState, HttpApi, KeyRing, Port, Shutdown, Tls, Watch, Wire};
use crate::config::{EngineChoice, GrpcListen, OpenToNetwork, ServeConfig, cores};
use crate::engine::{Bounds, Engines, Hints};
use crate::error::{Error, Result};
use crate::metrics::{Metrics, ThreadName};
use crate::monitoring::{
    AlarmQueue, Alarms, Both, Capture, Consumer, DriftReports, DriftWatch, Events, GuardFindings, Guards, LiveFigures,
    Log, Monitor, Overseen, PredictionSink, keep_gauges, oversee,
};
use crate::repository::TrustFile;
use crate::serving::{
    Candidates, Checker, LoadSettings, Manager, ManagerParts, Observer, Pool, Predictor, PredictorSettings, Tuner,
    TuningStore, run_probes,
};
use crate::store::{Audit, InputLimits, KeptShare, ReceiptKeys, Store, StoreSettings};
use crate::telemetry::LogControl;
use crate::trainer::Runs;
use crate::transform::ImageLimits;

/// A server, built but not yet accepting.
#[derive(Debug)]
pub struct App {
    config: ServeConfig,
    metrics: Arc<Metrics>,
    pool: Arc<Pool>,
    tuner: Option<Arc<Tuner>>,
    engines: Engines,
    predictor: Arc<Predictor>,
    manager: Arc<Manager>,
    watch: Option<Watch>,
    overseen: Overseen,
    sinks: Senders,
    guards: Option<Guards>,
    state: ApiState,
    tls: Option<Arc<Tls>>,
    /// Dropped when the server stops, which ends what waits for the other half.
    stopping: Sender<()>,
}

/// The ports of a server.
#[derive(Debug)]
pub struct Listeners {
    /// For HTTP, and for gRPC if the settings want it there.
    pub http: TcpListener,
    /// For gRPC alone.
    pub grpc: Option<TcpListener>,
    /// For what TorchServe's management API says.
    pub torchserve_management: Option<TcpListener>,
    /// For health and metrics alone.
    pub ops: Option<TcpListener>,
}

/// The time in which the compute threads have to end after everything else has.
const LAST_RUNS: Duration = Duration::from_secs(1);

/// The most connections of the port for health and metrics: those of probes and scrapers.
const OPS_CONNECTIONS: usize = 64;

/// Why a server should stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StopReason {
    /// An orchestrator asked: go on for the grace time, so that it can route around us.
    Terminate,
    /// A person asked: do not keep them waiting.
    Interrupt,
}

impl App {
    /// Declares metrics and starts the compute threads; nothing is loaded yet.
    ///
    /// # Errors
    /// [`Error::Internal`] when the system refuses threads.
    pub fn new(config: ServeConfig) -> Result<Self> {
        Self::with_log(config, LogControl::detached())
    }

    /// As [`App::new`], for a process whose log was set up with this control.
    ///
    /// # Errors
    /// As [`App::new`].
    pub fn with_log(config: ServeConfig, log: LogControl) -> Result<Self> {
        let metrics = metrics(&config)?;
        let tls = tls(&config, &metrics)?;
        let serving = &config.serving;
        let pool = Arc::new(Pool::start(serving.threads, serving.hang_after, metrics.pool.clone())?);
        let tuning = TuningStore::new(serving.state.as_ref().map(|state| state.join("tuning")));
        let (stopping, stopped) = bounded(0);
        let candidates = candidates(&config, stopped);
        let (engines, limit) = (candidates.engines.clone(), serving.max_model_bytes);
        let start = || Tuner::start(tuning.clone(), pool.clone(), candidates.clone(), limit, metrics.clone());
        let tuner = serving.tune.then(start).transpose()?.map(Arc::new);
        let settings = PredictorSettings { timeout: serving.request_timeout, max_samples: serving.max_samples };
        let predictor = Arc::new(Predictor::new(pool.clone(), settings));
        let drift = DriftReports::new(config.monitoring.clone(), &config.lifecycle.state_dir);
        let (mut outlets, sinks) = outlets(&config, &metrics)?;
        let (watch, guards) = observe(&config, &metrics, &drift, &mut outlets, &predictor)?;
        let load = load_settings(&config, &pool, tuning, candidates, tuner.clone());
        let manager = Arc::new(Manager::new(ManagerParts {
            config: config.lifecycle.clone(),
            storage: serving.models.as_path().into(),
            trust: trust(&config, &metrics)?,
            default_model: serving.default_model.clone(),
            load,
            metrics: metrics.clone(),
            predictor: predictor.clone(),
        }));
        let overseen = overseen(&config, &metrics, &drift, outlets.alarms, &predictor);
        let parts = ApiParts {
            predictor: predictor.clone(),
            manager: manager.clone(),
            metrics: metrics.clone(),
            audit: Arc::new(audit(&config, watch.as_ref())),
            watch: watch.clone(),
            log,
            drift,
            alarms: overseen.alarms.clone(),
            events: overseen.events.clone(),
            tracer: outlets.tracer,
            keys: keys(&config, &metrics)?,
            runs: config.runs.clone().map(Runs::open).transpose()?,
        };
        let state = ApiState::new(parts, &config.http, config.serving.max_samples);
        Ok(Self {
            config,
            metrics,
            pool,
            tuner,
            engines,
            predictor,
            manager,
            watch,
            overseen,
            sinks,
            guards,
            state,
            tls,
            stopping,
        })
    }

    /// Begins to look at the repository and to load; the server can run meanwhile.
    ///
    /// # Errors
    /// [`Error::Io`] when the repository folder cannot be read.
    pub fn load(&self) -> Result<()> {
        let (serving, engines) = (&self.config.serving, &self.engines);
        // Whoever asks for it should hear at once that it is not there.
        let is_wanted = match serving.engine {
            EngineChoice::Auto => serving.onnxruntime.is_some(),
            EngineChoice::Onnxruntime => true,
            EngineChoice::Tract => false,
        };
        if is_wanted && let Err(error) = engines.onnxruntime() {
            tracing::warn!(%error, "ONNX Runtime is absent");
        }
        self.manager.start()
    }

    /// Returns once every version found has either loaded or ended.
    pub async fn settled(predictor: &Predictor) {
        // It ends only with the predictor.
        drop(predictor.published().wait_for(|settled| *settled).await);
    }

    /// What the handlers share.
    pub fn state(&self) -> &ApiState {
        &self.state
    }

    /// Everything that is served over HTTP, as in production.
    pub fn http(&self) -> HttpApi {
        HttpApi::new(self.state.clone())
    }

    /// All services of gRPC, as they serve in production.
    ///
    /// # Errors
    /// [`Error::Internal`] when they cannot describe themselves, which a test would have shown.
    pub fn grpc(&self) -> Result<api::grpc::Services> {
        api::grpc::Services::new(self.state.clone())
    }

    /// Starts what goes on beside the answering, until `closed` turns true.
    fn background(&self, closed: &watch::Receiver<bool>) -> Vec<JoinHandle<()>> {
        let (metrics, closed) = (&self.metrics, || closed.clone());
        let replay = |interval| {
            let (predictor, closed) = (self.predictor.clone(), closed());
            lasting(ThreadName::Probes, metrics, move || run_probes(predictor.clone(), interval, closed.clone()))
        };
        let keep = |watch: &Watch| {
            let (predictor, store, closed) = (self.predictor.clone(), watch.store.clone(), closed());
            let told = (self.overseen.figures.clone(), self.overseen.events.clone());
            let make = move || keep_gauges(predictor.clone(), store.clone(), told.clone(), closed.clone());
            lasting(ThreadName::Quality, metrics, make)
        };
        let (overseen, until) = (self.overseen.clone(), closed());
        let oversee = lasting(ThreadName::Alarms, metrics, move || oversee(overseen.clone(), until.clone()));
        let probes = self.config.serving.probe_interval.map(replay);
        let keys = self.state.keys().map(|keys| {
            let (keys, closed) = (keys.clone(), closed());
            lasting(ThreadName::Keys, metrics, move || keys.clone().keep(closed.clone()))
        });
        let tls = self.tls.clone().map(|tls| {
            let closed = closed();
            lasting(ThreadName::Tls, metrics, move || tls.clone().keep(closed.clone()))
        });
        probes.into_iter().chain(self.watch.as_ref().map(keep)).chain([oversee]).chain(keys).chain(tls).collect()
    }

    /// Starts the task that asks guards, until `closed` turns true.
    fn ask_guards(&self, guards: Guards, closed: &watch::Receiver<bool>) -> JoinHandle<()> {
        // One run at a time holds it.
        let guards = Arc::new(tokio::sync::Mutex::new(guards));
        let (predictor, closed) = (self.predictor.clone(), closed.clone());
        lasting(ThreadName::Guard, &self.metrics, move || {
            let (guards, predictor, closed) = (guards.clone(), predictor.clone(), closed.clone());
            async move { guards.lock().await.run(predictor, closed).await }
        })
    }

    /// Accepts and answers until `stop` resolves; then readiness turns false, the grace time passes,
    /// accepting ends, requests under way finish, and all threads are joined, except for those that do not end.
    ///
    /// # Errors
    /// As [`App::grpc`].
    pub async fn run(mut self, listeners: Listeners, stop: impl Future<Output = StopReason>) -> Result<Shutdown> {
        let (ports, ops) = self.ports(listeners)?;
        let closed = self.state.health().closing();
        let (mut tasks, sending) = (self.background(&closed), std::mem::take(&mut self.sinks).start(&closed));
        tasks.extend(self.guards.take().map(|guards| self.ask_guards(guards, &closed)));
        let mut servers = JoinSet::new();
        for port in ports {
            let (http, closed) = (self.config.http.clone(), closed.clone());
            servers.spawn(async move { api::serve(port, &http, closed).await });
        }
        let (drained, is_drained) = watch::channel(false);
        let http = self.config.http.clone();
        let ops = ops.map(|port| tokio::spawn(async move { api::serve(port, &http, is_drained).await }));
        let mut shutdown = Shutdown::Clean;
        let reason = tokio::select! {
            reason = stop => reason,
            _ = servers.join_next() => {
                // Whoever runs this process starts it again, which a port that is deaf would never make them do.
                tracing::error!("a port stopped accepting by a fault; the server stops");
                shutdown = Shutdown::Forced;
                StopReason::Terminate
            }
        };
        drop(std::mem::replace(&mut self.stopping, bounded(0).0));
        self.state.health().drain();
        let grace = if reason == StopReason::Terminate { self.config.http.grace } else { Duration::ZERO };
        tracing::info!(?reason, grace_ms = grace.as_millis() as u64, "stopping");
        tokio::time::sleep(grace).await;
        self.state.health().close();
        while let Some(server) = servers.join_next().await {
            if !matches!(server, Ok(Shutdown::Clean)) {
                shutdown = Shutdown::Forced;
            }
        }
        // Whoever watches sees the server drain.
        drained.send_replace(true);
        if let Some(ops) = ops {
            drop(ops.await);
        }
        for task in tasks {
            drop(task.await);
        }
        self.end();
        sending.end().await;
        self.manager.close();
        Ok(shutdown)
    }

    /// Returns the ports that serve, and the one for health and metrics alone.
    fn ports(&self, listeners: Listeners) -> Result<(Vec<Port>, Option<Port>)> {
        let max_connections = self.config.http.max_connections;
        let (http, grpc) = (&self.metrics.http.connections, &self.metrics.grpc.connections);
        let tls = &self.tls;
        let port = |listener, wire, open: &Gauge| {
            let (tls, open) = (tls.clone(), open.clone());
            Port { listener, wire, tls, max_connections, is_behind_proxies: true, open }
        };
        let first = match self.config.grpc {
            GrpcListen::Same => Wire::Both(self.http(), self.grpc()?),
            GrpcListen::Off | GrpcListen::At(_) | GrpcListen::IfFree(_) => Wire::Http(self.http()),
        };
        let mut ports = vec![port(listeners.http, first, http)];
        if let Some(listener) = listeners.grpc {
            ports.push(port(listener, Wire::Grpc(self.grpc()?), grpc));
        }
        if let Some(listener) = listeners.torchserve_management {
            ports.push(port(listener, Wire::Http(HttpApi::torchserve_management(self.state.clone())), http));
        }
        let ops = listeners.ops.map(|listener| Port {
            tls: None,
            is_behind_proxies: false,
            max_connections: OPS_CONNECTIONS,
            ..port(listener, Wire::Http(HttpApi::operations(self.state.clone())), http)
        });
        Ok((ports, ops))
    }

    /// Ends the threads of compute and monitoring.
    fn end(&self) {
        // Whoever asked has been answered or has left: nobody waits for what still runs.
        if !self.pool.close(LAST_RUNS) {
            tracing::warn!("a run does not end by itself; it ends with the process");
        }
        if let Some(tuner) = &self.tuner {
            tuner.close();
        }
        if let Some(watch) = &self.watch {
            // What is left in the queue goes to the store.
            watch.monitor.close();
            watch.store.close();
        }
    }
}

/// Returns the engines that versions may run on, and the check before that.
fn candidates(config: &ServeConfig, stopped: Receiver<()>) -> Candidates {
    let serving = &config.serving;
    let bounds = Bounds { tensor_bytes: serving.max_tensor_bytes };
    Candidates {
        choice: serving.engine,
        engines: Engines::new(serving.onnxruntime.clone()).with_bounds(bounds),
        checker: serving.check.clone().map(|check| Checker::new(check, stopped)),
        hints: Hints::default(),
    }
}

/// Returns what versions are loaded with.
fn load_settings(
    config: &ServeConfig,
    pool: &Arc<Pool>,
    tuning: TuningStore,
    candidates: Candidates,
    tuner: Option<Arc<Tuner>>,
) -> LoadSettings {
    let serving = &config.serving;
    LoadSettings {
        threads: threads(config),
        max_model_bytes: serving.max_model_bytes,
        image_limits: ImageLimits { max_pixels: serving.max_image_pixels },
        scheduling: serving.scheduling.clone(),
        pool: pool.clone(),
        tuning,
        candidates,
        tuner,
    }
}

/// Returns the number of threads that run models: compute threads, the runtime's workers (one a core) and load threads.
fn threads(config: &ServeConfig) -> usize {
    config.serving.threads + cores() + config.lifecycle.load_threads.max(config.lifecycle.start_threads)
}

/// Puts together what is looked at for alarms and events.
fn overseen(
    config: &ServeConfig,
    metrics: &Metrics,
    drift: &DriftReports,
    webhook: Option<AlarmQueue>,
    predictor: &Arc<Predictor>,
) -> Overseen {
    let events = Arc::new(Events::default());
    let alarms = Alarms::open(&config.lifecycle.state_dir, metrics.alarms.clone(), events.clone(), webhook);
    Overseen {
        predictor: predictor.clone(),
        drift: drift.clone(),
        figures: LiveFigures::default(),
        store: metrics.store.clone(),
        alarms: Arc::new(alarms),
        events,
        settings: config.monitoring.alarms,
    }
}

/// Returns the audit trail: in the store, if there is one.
fn audit(config: &ServeConfig, watch: Option<&Watch>) -> Audit {
    match watch {
        Some(watch) => Audit::in_store(watch.store.clone()),
        None => Audit::in_file(&config.lifecycle.state_dir),
    }
}

/// Returns metrics that tell what is open to the network.
fn metrics(config: &ServeConfig) -> Result<Arc<Metrics>> {
    let metrics = Arc::new(Metrics::new()?);
    let OpenToNetwork { predictions, feedback, admin } = config.http.open;
    metrics.set_open_to_network(&[("predictions", predictions), ("feedback", feedback), ("admin", admin)])?;
    Ok(metrics)
}

/// Reads the file of the keys that must have signed the versions, if there is one.
fn trust(config: &ServeConfig, metrics: &Metrics) -> Result<Option<TrustFile>> {
    let trust = config.lifecycle.trust.as_ref();
    let failures = &metrics.trusted_key_failures;
    trust.map(|trust| TrustFile::open(&trust.keys, trust.unsigned, failures.clone())).transpose()
}

/// Reads the keys that callers need, if they do.
fn keys(config: &ServeConfig, metrics: &Metrics) -> Result<Option<Arc<KeyRing>>> {
    let open =
        |path: &PathBuf| KeyRing::open(path, metrics.key_failures.clone(), metrics.jwks_failures.clone()).map(Arc::new);
    config.http.keys.as_ref().map(open).transpose()
}

/// Reads the certificate of the server, if it has one.
fn tls(config: &ServeConfig, metrics: &Metrics) -> Result<Option<Arc<Tls>>> {
    let open = |settings| Tls::open(settings, metrics.tls.bind()?).map(Arc::new);
    config.http.tls.as_ref().map(open).transpose()
}

/// Starts what observes predictions, keeps them, and traces them, as far as it is switched on.
fn observe(
    config: &ServeConfig,
    metrics: &Metrics,
    drift: &DriftReports,
    outlets: &mut Outlets,
    predictor: &Predictor,
) -> Result<(Option<Watch>, Option<Guards>)> {
    let (guard_observer, guards, findings) = Guards::new(config.monitoring.drift.guard_samples_per_second as f64);
    let tracer = outlets.tracer.clone().map(|tracer| tracer as Arc<dyn Observer>);
    let start = || start_watch(config, metrics, (drift, findings), outlets.predictions.take());
    let watch = config.monitoring.enabled.then(start).transpose()?;
    let recorder = watch.as_ref().map(|watch| watch.monitor.observer());
    let asks_guards = watch.is_some() && config.monitoring.drift.guard_samples_per_second > 0;
    let guard_observer = asks_guards.then(|| Arc::new(guard_observer) as Arc<dyn Observer>);
    let all = [recorder, tracer, guard_observer].into_iter().flatten();
    if let Some(all) = all.reduce(|one, other| Arc::new(Both(one, other))) {
        predictor.observe(all)?;
    }
    Ok((watch, asks_guards.then_some(guards)))
}

/// Starts what makes figures of predictions and keeps them.
fn start_watch(
    config: &ServeConfig,
    metrics: &Metrics,
    (drift, guards): (&DriftReports, GuardFindings),
    sink: Option<PredictionSink>,
) -> Result<Watch> {
    let monitoring = &config.monitoring;
    let keep_share = KeptShare::new(monitoring.keep_predictions_share);
    let settings = StoreSettings {
        folder: config.lifecycle.state_dir.clone(),
        database: monitoring.database.clone(),
        keep_predictions: monitoring.keep_predictions,
        keep_share,
        keep_bytes: monitoring.keep_predictions_bytes,
        keep_feedback: monitoring.keep_feedback,
        inputs: InputLimits {
            keep: monitoring.keep_inputs,
            bytes: monitoring.keep_inputs_bytes,
            count: monitoring.keep_inputs_count,
        },
    };
    let store = Arc::new(Store::open(settings, metrics.store.clone())?);
    let drift = DriftWatch::new(metrics.drift.clone(), drift.clone(), guards);
    let receipts = match &monitoring.receipt_key_file {
        Some(file) => ReceiptKeys::read(file, monitoring.receipts_valid)?,
        None => ReceiptKeys::of_folder(&config.lifecycle.state_dir, monitoring.receipts_valid),
    };
    let mut consumers: Vec<Box<dyn Consumer>> = vec![Box::new(Log::new(store.clone(), keep_share)), Box::new(drift)];
    consumers.extend(sink.map(|sink| Box::new(sink) as Box<dyn Consumer>));
    let capture = monitoring.capture.clone().map(|settings| Capture::new(settings, metrics.store.clone()));
    let monitor = Arc::new(Monitor::start(consumers, Some(receipts.clone()), capture)?);
    Ok(Watch { monitor, store, receipts })
}

/// Binds the addresses of a server.
///
/// # Errors
/// [`Error::Config`] with the address and the reason.
pub async fn bind(config: &ServeConfig) -> Result<Listeners> {
    let http = bind_to("http", config.http.listen).await?;
    let grpc = match config.grpc {
        GrpcListen::At(listen) => Some(bind_to("grpc", listen).await?),
        GrpcListen::IfFree(listen) => match bind_to("grpc", listen).await {
            Ok(listener) => Some(listener),
            Err(error) => {
                tracing::warn!(%error, "gRPC is off; --grpc names another address");
                None
            }
        },
        GrpcListen::Same | GrpcListen::Off => None,
    };
    let torchserve_management = match config.http.torchserve_management {
        Some(listen) => Some(bind_to("torchserve-management", listen).await?),
        None => None,
    };
    let ops = match config.http.ops {
        Some(listen) => Some(bind_to("ops", listen).await?),
        None => None,
    };
    Ok(Listeners { http, grpc, torchserve_management, ops })
}

async fn bind_to(setting: &str, listen: SocketAddr) -> Result<TcpListener> {
    TcpListener::bind(listen).await.map_err(|error| Error::Config {
        setting: setting.into(),
        problem: format!("cannot listen on {listen}: {error}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::ServeOptions;
    use crate::ids::{AliasName, ModelName, Version};

    #[tokio::test]
    async fn a_fault_of_the_manager_costs_nothing_but_what_was_under_way() {
        let state = tempfile::TempDir::new().unwrap();
        let bundled = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("models/mnist-mlp/1");
        let (name, alias): (ModelName, AliasName) = ("mnist-mlp".parse().unwrap(), "stable".parse().unwrap());
        // One version, whatever was published beside it.
        let version = state.path().join("models/mnist-mlp/1");
        std::fs::create_dir_all(&version).unwrap();
        for file in std::fs::read_dir(bundled).unwrap() {
            let file = file.unwrap();
            std::fs::copy(file.path(), version.join(file.file_name())).unwrap();
        }
        let options = ServeOptions {
            models: Some(state.path().join("models")),
            state_dir: Some(state.path().join("state")),
            tune: Some(false),
            ..ServeOptions::default()
        };
        let app = App::new(options.resolve().unwrap()).unwrap();
        app.manager.start().unwrap();
        app.manager.refresh().await.unwrap();
        for fault in 1..=3 {
            app.manager.fail();
            app.manager.refresh().await.unwrap();
            assert_eq!(app.predictor.catalog().servables().count(), 1, "it serves on");
            assert_eq!(app.manager.unload(name.clone(), None).await.unwrap(), [Version(1)]);
            assert_eq!(app.manager.load(name.clone(), None).await.unwrap(), [Version(1)]);
            let text = String::from_utf8(app.metrics.encode().unwrap()).unwrap();
            assert!(text.contains(&format!("weir_thread_faults_total{{thread=\"manager\"}} {fault}\n")), "{text}");
        }
        // A command that comes together with the fault is answered, one way or the other.
        app.manager.fail();
        drop(app.manager.rollback(name, alias).await);
        assert!(app.manager.busy() < Duration::from_secs(60));
    }
}
