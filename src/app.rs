//! The server, composed: settings in, running server out, everything joined at the end.

use std::sync::Arc;

use crossbeam_channel::{Receiver, Sender, bounded};
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::api::{self, ApiState, Shutdown};
use crate::config::{EngineChoice, ServeConfig};
use crate::engine::Engines;
use crate::error::{Error, Result};
use crate::metrics::Metrics;
use crate::serving::{Candidates, Checker, LoadSettings, Pool, Predictor, PredictorSettings, load_all, run_probes};
use crate::transform::ImageLimits;

/// A server, built but not yet accepting.
#[derive(Debug)]
pub struct App {
    config: ServeConfig,
    metrics: Arc<Metrics>,
    pool: Arc<Pool>,
    predictor: Arc<Predictor>,
    state: ApiState,
    /// Dropped when the server stops, which ends what waits for the other half.
    stopping: Sender<()>,
    stopped: Receiver<()>,
}

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
        let metrics = Arc::new(Metrics::new()?);
        let pool = Arc::new(Pool::start(config.serving.threads, config.serving.queue_capacity)?);
        let settings = PredictorSettings {
            inline_below: config.serving.inline_below,
            timeout: config.serving.request_timeout,
            max_samples: config.serving.max_samples,
        };
        let predictor = Arc::new(Predictor::new(pool.clone(), settings));
        let state = ApiState::new(predictor.clone(), metrics.clone(), &config.http, config.serving.max_samples);
        let (stopping, stopped) = bounded(0);
        Ok(Self { config, metrics, pool, predictor, state, stopping, stopped })
    }

    /// What loads every version of the repository when called; it takes its time, and the server can
    /// run meanwhile.
    ///
    /// # Errors
    /// Calling it gives [`Error::Io`] when the repository folder cannot be read.
    pub fn loader(&self) -> impl FnOnce() -> Result<()> + Send + use<> {
        let serving = self.config.serving.clone();
        let (metrics, predictor) = (self.metrics.clone(), self.predictor.clone());
        let settings = LoadSettings {
            // Compute threads, the runtime's workers (one a core) and the loading thread.
            threads: serving.threads + std::thread::available_parallelism().map_or(1, std::num::NonZero::get) + 1,
            compute_threads: serving.threads,
            max_model_bytes: serving.max_model_bytes,
            image_limits: ImageLimits { max_pixels: serving.max_image_pixels },
            candidates: Candidates {
                choice: serving.engine,
                engines: Engines::new(serving.onnxruntime.clone()),
                checker: serving.check.clone().map(|check| Checker::new(check, self.stopped.clone())),
            },
        };
        move || {
            // Whoever asks for it should hear at once that it is not there.
            let asked = match serving.engine {
                EngineChoice::Onnxruntime => true,
                EngineChoice::Auto => serving.onnxruntime.is_some(),
                EngineChoice::Tract => false,
            };
            if asked && let Err(error) = settings.candidates.engines.onnxruntime() {
                tracing::warn!(%error, "ONNX Runtime is absent");
            }
            load_all(&serving.models, serving.default_model, &settings, &metrics, &predictor)
        }
    }

    /// What the handlers share.
    pub fn state(&self) -> &ApiState {
        &self.state
    }

    /// The whole router, as it serves in production.
    pub fn router(&self) -> axum::Router {
        api::router(self.state.clone())
    }

    /// Accepts and answers until `stop` resolves; then readiness turns false, the grace time passes,
    /// accepting ends, requests under way finish, and all threads are joined.
    pub async fn run(self, listener: TcpListener, stop: impl Future<Output = StopReason>) -> Shutdown {
        let (closing, closed) = watch::channel(false);
        let probes = self
            .config
            .serving
            .probe_interval
            .map(|interval| tokio::spawn(run_probes(self.predictor.clone(), interval, closed.clone())));
        let router = self.router();
        let (http, metrics) = (self.config.http.clone(), self.metrics.clone());
        let server = tokio::spawn(async move { api::serve(listener, router, &http, &metrics.http, closed).await });
        let reason = stop.await;
        drop(self.stopping);
        self.state.health().drain();
        let grace = if reason == StopReason::Terminate { self.config.http.grace } else { std::time::Duration::ZERO };
        tracing::info!(?reason, grace_ms = grace.as_millis() as u64, "stopping");
        tokio::time::sleep(grace).await;
        closing.send_replace(true);
        let shutdown = server.await.unwrap_or(Shutdown::Forced);
        if let Some(probes) = probes {
            drop(probes.await);
        }
        if shutdown == Shutdown::Clean {
            // Nothing is under way, so this ends at once.
            self.pool.close();
        }
        shutdown
    }
}

/// Binds the address.
///
/// # Errors
/// [`Error::Config`] with the address and the reason.
pub async fn bind(listen: std::net::SocketAddr) -> Result<TcpListener> {
    TcpListener::bind(listen).await.map_err(|error| Error::Config {
        setting: "http".into(),
        problem: format!("cannot listen on {listen}: {error}"),
    })
}
