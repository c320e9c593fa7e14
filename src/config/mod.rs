//! Settings: flags over `WEIR_*` environment over a TOML file over defaults, checked once and then
//! passed down as plain structs, one for each area.

mod grpc;
mod lifecycle;
mod serve;

pub use grpc::GrpcListen;
pub use lifecycle::{Admin, Control, LifecycleConfig, LoadModel, VersionPolicy};
pub use serve::{ServeConfig, ServeOptions};

use std::path::PathBuf;
use std::time::Duration;

use clap::ValueEnum;
use serde::Deserialize;

/// How predictions are made and models kept.
#[derive(Debug, Clone)]
pub struct ServingConfig {
    /// The model repository.
    pub models: PathBuf,
    /// The model for requests that name none.
    pub default_model: Option<crate::ids::ModelName>,
    /// Compute threads.
    pub threads: usize,
    /// A run that takes longer costs its thread, which is replaced.
    pub hang_after: Duration,
    /// Whether versions are measured in the background.
    pub tune: bool,
    /// Where what must survive a restart is kept; `None` for nowhere.
    pub state: Option<PathBuf>,
    /// How the requests of each model are scheduled.
    pub scheduling: SchedulingSettings,
    /// The time a prediction may take.
    pub request_timeout: Duration,
    /// Samples that one request may bring.
    pub max_samples: usize,
    /// Width × height of the largest image that is decoded.
    pub max_image_pixels: u64,
    /// The largest model file.
    pub max_model_bytes: u64,
    /// How often the probe sets are replayed; `None` for never.
    pub probe_interval: Option<Duration>,
    /// What runs the models.
    pub engine: EngineChoice,
    /// The library of ONNX Runtime, if one is named.
    pub onnxruntime: Option<PathBuf>,
    /// How models are tried before they are trusted; `None` for not at all.
    pub check: Option<CheckConfig>,
}

/// What runs a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EngineChoice {
    /// The built-in engine, or ONNX Runtime for what it cannot run.
    Auto,
    /// The built-in engine.
    Tract,
    /// ONNX Runtime.
    Onnxruntime,
}

/// How a model is tried in a process of its own.
#[derive(Debug, Clone)]
pub struct CheckConfig {
    /// This program.
    pub executable: PathBuf,
    /// The memory it may take; `None` for 2 GiB and four times its file.
    pub memory_bytes: Option<u64>,
    /// The time it may take.
    pub timeout: Duration,
    /// What outlives the process; models that have passed are remembered there.
    pub state_dir: PathBuf,
}

/// How the requests of a model are scheduled.
#[derive(Debug, Clone, PartialEq)]
pub struct SchedulingSettings {
    /// Requests that wait for a compute thread at the most.
    pub queue_capacity: usize,
    /// Samples in one run at the most; `None` for what is measured to be best.
    pub max_batch_size: Option<usize>,
    /// How long a request may wait for others to share a run with.
    pub max_queue_delay: Duration,
    /// Batch sizes that are run without waiting any longer, ascending.
    pub preferred_batch_sizes: Vec<usize>,
    /// The model's share of compute time, relative to other models.
    pub weight: f64,
    /// Runs of the model at the same time; `None` for as many as there are compute threads.
    pub concurrency: Option<usize>,
    /// Whether a lone small request runs on the thread that received it; `None` for what is measured
    /// to be best.
    pub inline: Option<bool>,
    /// A model cheaper than this runs on the calling thread while nothing waits.
    pub inline_below: Duration,
    /// Memory for answers that are already known; 0 for no cache.
    pub cache_bytes: u64,
}

/// Connections and bodies.
#[derive(Debug, Clone)]
pub struct HttpConfig {
    /// Who may use the admin API.
    pub admin: Admin,
    /// Where to listen.
    pub listen: std::net::SocketAddr,
    /// Connections held at the most; further ones wait in the system's backlog.
    pub max_connections: usize,
    /// The time a client has for sending a request's head.
    pub header_timeout: Duration,
    /// The time a client has for sending a request's body.
    pub body_timeout: Duration,
    /// The largest body.
    pub max_body_bytes: usize,
    /// All bodies in memory together.
    pub max_buffered_bytes: usize,
    /// After SIGTERM: how long to go on accepting while readiness is already false.
    pub grace: Duration,
    /// After that: how long requests under way may take.
    pub drain: Duration,
    /// A request slower than this is logged.
    pub slow_request: Duration,
    /// Whether every request is logged.
    pub access_log: bool,
    /// Whether clients may leave tensors in shared memory.
    pub shared_memory: bool,
    /// Whether pages of other origins may use TensorFlow Serving's paths.
    pub cors: bool,
    /// Where TorchServe's management API listens, if anywhere.
    pub torchserve_management: Option<std::net::SocketAddr>,
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// Text on a terminal, JSON elsewhere.
    Auto,
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// What is logged, and how.
#[derive(Debug, Clone)]
pub struct LogConfig {
    /// How lines look.
    pub format: LogFormat,
    /// What is logged: a level, or directives as `weir=debug,hyper=warn`.
    pub filter: String,
}
