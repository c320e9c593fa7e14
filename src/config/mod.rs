//! Settings: flags over `WEIR_*` environment over a TOML file over defaults, checked once and then
//! passed down as plain structs, one for each area.

mod declare;
mod endpoint;
mod grpc;
mod lifecycle;
mod network;
mod options;
mod otel;
mod serve;
mod tls;

pub use endpoint::Endpoint;
pub use grpc::GrpcListen;
pub use lifecycle::{
    AliasFallback, Callers, Control, LifecycleConfig, LoadModel, TrustSettings, Unsigned, VersionPolicy,
};
pub use network::Network;
pub use options::{ServeOptions, cores};
pub use otel::{OtelVariables, Sampler, TraceSettings};
pub use serve::ServeConfig;
pub use tls::{CertificateSource, ClientAuth, ClientCertificates, TlsSettings};

use std::path::PathBuf;
use std::time::Duration;

use clap::ValueEnum;
use serde::Deserialize;

use crate::ids::ModelName;
use crate::keys::{Rate, Scope};

/// The rights of callers on other machines that have no key.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct OpenToNetwork {
    /// Ask models, and read what models there are.
    pub predictions: bool,
    /// Say what was right; see and erase what is kept of predictions.
    pub feedback: bool,
    /// Use the admin API.
    pub admin: bool,
}

/// Settings of prediction and of the models behind it.
#[derive(Debug, Clone)]
pub struct ServingConfig {
    /// The model repository.
    pub models: PathBuf,
    /// The model for requests that name none.
    pub default_model: Option<crate::ids::ModelName>,
    /// Compute threads.
    pub threads: usize,
    /// The time after which a run counts as hung, and its thread is replaced.
    pub hang_after: Duration,
    /// Measure versions in the background.
    pub tune: bool,
    /// The folder for what must survive a restart; `None` to keep nothing.
    pub state: Option<PathBuf>,
    /// The scheduling of each model's requests.
    pub scheduling: SchedulingSettings,
    /// The time a prediction may take.
    pub request_timeout: Duration,
    /// The number of samples that one request may bring.
    pub max_samples: usize,
    /// Width × height of the largest image that is decoded.
    pub max_image_pixels: u64,
    /// The largest model file.
    pub max_model_bytes: u64,
    /// The largest tensor that a graph may make from the values and sizes of a request.
    pub max_tensor_bytes: u64,
    /// The time between two replays of the probe sets; `None` for never.
    pub probe_interval: Option<Duration>,
    /// The engine that runs the models.
    pub engine: EngineChoice,
    /// The library of ONNX Runtime, if one is named.
    pub onnxruntime: Option<PathBuf>,
    /// The check that a model must pass before it is loaded; `None` for no check.
    pub check: Option<CheckConfig>,
}

/// The choice of the engine that runs a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EngineChoice {
    /// The built-in engine, or ONNX Runtime for models that it cannot run.
    Auto,
    /// The built-in engine.
    Tract,
    /// ONNX Runtime.
    Onnxruntime,
}

/// The check of a model in a child process.
#[derive(Debug, Clone)]
pub struct CheckConfig {
    /// This program.
    pub executable: PathBuf,
    /// True if the child is kept from what it does not need.
    pub sandbox: bool,
    /// The memory that the child may use; `None` for 2 GiB and four times its file.
    pub memory_bytes: Option<u64>,
    /// The time that the child may take.
    pub timeout: Duration,
    /// The folder in which models that have passed are remembered.
    pub state_dir: PathBuf,
}

/// The scheduling of a model's requests.
#[derive(Debug, Clone, PartialEq)]
pub struct SchedulingSettings {
    /// The number of requests that may wait for a compute thread.
    pub queue_capacity: usize,
    /// The largest batch in samples; `None` for the size that was measured to be best.
    pub max_batch_size: Option<usize>,
    /// The longest time that a request waits for others to share a run with.
    pub max_queue_delay: Duration,
    /// Batch sizes that are run at once instead of waiting for more, ascending.
    pub preferred_batch_sizes: Vec<usize>,
    /// The model's share of compute time, relative to other models.
    pub weight: f64,
    /// The number of runs of the model at the same time; `None` for as many as there are compute threads.
    pub concurrency: Option<usize>,
    /// Run a lone small request on the thread that received it; `None` to decide by measurement.
    pub inline: Option<bool>,
    /// A model cheaper than this runs on the calling thread while nothing waits.
    pub inline_below: Duration,
    /// Memory for the response cache; 0 for no cache.
    pub cache_bytes: u64,
    /// Let requests share runs.
    pub across_requests: bool,
    /// The priority of requests that state none, from 1 (first) to 9.
    pub default_priority: u8,
    /// The time that a request may take, where it is shorter than the server's limit.
    pub timeout: Option<Duration>,
}

/// Connections and bodies.
#[derive(Debug, Clone)]
pub struct HttpConfig {
    /// The callers that may use the admin API.
    pub admin: Callers,
    /// The callers that may say what was right.
    pub feedback: Callers,
    /// The file of keys; without one, callers are told apart by their address.
    pub keys: Option<std::path::PathBuf>,
    /// The scopes of callers without a key, where there are keys.
    pub anonymous: Vec<Scope>,
    /// The address to listen on.
    pub listen: std::net::SocketAddr,
    /// The rights of callers on other machines that have no key.
    pub open: OpenToNetwork,
    /// The limit of each caller's requests; `None` for none.
    pub rate: Option<Rate>,
    /// The most requests of each caller at the same time; `None` for no limit.
    pub caller_concurrency: Option<std::num::NonZeroU32>,
    /// The networks of proxies whose word on the client's address is taken.
    pub trusted_proxies: Vec<Network>,
    /// Connections of these begin with the PROXY protocol.
    pub proxy_protocol: bool,
    /// The most connections at the same time; more wait in the system's backlog.
    pub max_connections: usize,
    /// The time that a client has to send the head of a request.
    pub header_timeout: Duration,
    /// The time that a connection may be idle between requests.
    pub idle_timeout: Duration,
    /// The age from which on a connection ends after the answers under way; `None` for never.
    pub max_connection_age: Option<Duration>,
    /// The time that a client has to send the body of a request.
    pub body_timeout: Duration,
    /// The largest request body.
    pub max_body_bytes: usize,
    /// The memory of all request bodies together.
    pub max_buffered_bytes: usize,
    /// After SIGTERM: the time to go on accepting while readiness is already false.
    pub grace: Duration,
    /// After that: the time that requests under way may still take.
    pub drain: Duration,
    /// The time from which on a request is logged as slow.
    pub slow_request: Duration,
    /// Log every request.
    pub access_log: bool,
    /// The server whose metric names are added to our own.
    pub compat_metrics: CompatMetrics,
    /// Let clients pass tensors in shared memory.
    pub shared_memory: bool,
    /// Show the console at `/`.
    pub console: bool,
    /// Let web pages of other origins use TensorFlow Serving's paths.
    pub cors: bool,
    /// The address for TorchServe's management API, if it is on.
    pub torchserve_management: Option<std::net::SocketAddr>,
    /// The address for health and metrics alone, if there is one.
    pub ops: Option<std::net::SocketAddr>,
    /// TLS on every port but that one; `None` for plain connections.
    pub tls: Option<TlsSettings>,
    /// The seconds for which browsers are told to come by TLS only.
    pub hsts_seconds: Option<u64>,
}

/// Settings of what is observed of predictions.
#[derive(Debug, Clone)]
pub struct MonitoringConfig {
    /// Observe them at all.
    pub enabled: bool,
    /// Watching for changes of the traffic.
    pub drift: DriftSettings,
    /// The URL of the PostgreSQL database to keep them in; a file in the state folder otherwise.
    pub database: Option<String>,
    /// The time for which predictions are kept.
    pub keep_predictions: Duration,
    /// The share of requests whose predictions are kept, 0 to 1.
    pub keep_predictions_share: f64,
    /// The bytes that predictions may take.
    pub keep_predictions_bytes: u64,
    /// The time for which feedback, and what follows from it, is kept.
    pub keep_feedback: Duration,
    /// The file with the keys of receipts; one of the state folder otherwise.
    pub receipt_key_file: Option<PathBuf>,
    /// The time for which receipts are good.
    pub receipts_valid: Duration,
    /// The inputs that are kept, if any are.
    pub capture: Option<CaptureSettings>,
    /// The time for which inputs are kept.
    pub keep_inputs: Duration,
    /// The bytes that inputs may take.
    pub keep_inputs_bytes: u64,
    /// The samples whose inputs are kept.
    pub keep_inputs_count: u64,
    /// When to alarm.
    pub alarms: AlarmSettings,
    /// Where alarms are posted.
    pub webhook: Option<WebhookSettings>,
    /// Where predictions are posted.
    pub prediction_sink: Option<PredictionSinkSettings>,
    /// The file with the authorities that vouch for receivers behind `https`; those of the system otherwise.
    pub sink_ca: Option<PathBuf>,
}

/// Settings of the webhook for alarms.
#[derive(Clone, PartialEq)]
pub struct WebhookSettings {
    /// The URL.
    pub endpoint: Endpoint,
    /// The key of the signature; without one there is none.
    pub key: Option<String>,
    /// The pause after the first attempt that failed; it doubles with each.
    pub retry_after: Duration,
}

impl std::fmt::Debug for WebhookSettings {
    /// Leaves the key out, which must not get into a log.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let address = &self.endpoint.address;
        f.debug_struct("WebhookSettings").field("address", address).field("has_key", &self.key.is_some()).finish()
    }
}

/// Settings of the sink for predictions.
#[derive(Debug, Clone, PartialEq)]
pub struct PredictionSinkSettings {
    /// The URL.
    pub endpoint: Endpoint,
    /// The share of requests whose predictions are sent, 0 to 1.
    pub rate: f64,
}

/// The inputs of predictions that are kept.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CaptureMode {
    /// None.
    #[default]
    Off,
    /// Those of every model and answer alike, as far as the rate goes.
    All,
    /// Those of uncertain answers and unusual inputs, and of the others as far as the rate goes.
    Unsure,
}

/// Settings of keeping inputs.
#[derive(Debug, Clone, PartialEq)]
pub struct CaptureSettings {
    /// Which are kept.
    pub mode: CaptureMode,
    /// The share of requests whose inputs are kept, 0 to 1; with [`CaptureMode::Unsure`], of those that are not unsure.
    pub rate: f64,
    /// The models whose inputs are kept; all if it is empty.
    pub models: Vec<ModelName>,
    /// The bytes of the largest input that is kept.
    pub max_bytes: usize,
}

/// Settings of alarms.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AlarmSettings {
    /// The time for which a condition must hold before some alarms are raised, and be gone before any is cleared.
    pub hold: Duration,
    /// The fall of the accuracy below that on held-out data, 0 to 1, that raises an alarm.
    pub accuracy_drop: f64,
    /// The labels without which the accuracy raises none.
    pub min_labels: u64,
    /// The time without labels that raises an alarm where there were some; `None` for never.
    pub label_gap: Option<Duration>,
}

/// Settings of watching for changes of the traffic.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct DriftSettings {
    /// The samples that sizes of changes are measured on: the last ones.
    pub window: usize,
    /// The windows in which the dependence of samples is learnt, before anything alarms.
    pub learning_windows: usize,
    /// The independent samples within which a false alarm is expected once at most.
    pub run_length: f64,
    /// The samples that a version without a reference learns one from; 0 for none.
    pub learn_samples: usize,
    /// The samples that are looked at in a second; 0 for all.
    pub samples_per_second: usize,
    /// The samples that guards score in a second; 0 for those of requests that ask for it alone.
    pub guard_samples_per_second: usize,
}

/// A server whose metric names are added to our own.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CompatMetrics {
    /// None.
    #[default]
    None,
    /// Triton's: `nv_inference_…`, `nv_cache_…`.
    Triton,
}

/// The format of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// Text on a terminal, JSON elsewhere.
    Auto,
    /// Text for people.
    Text,
    /// One JSON object per line.
    Json,
}

/// Settings of the log.
#[derive(Debug, Clone)]
pub struct LogConfig {
    /// The format of lines.
    pub format: LogFormat,
    /// The least severe level to log, or directives as `weir=debug,hyper=warn`.
    pub filter: String,
}
