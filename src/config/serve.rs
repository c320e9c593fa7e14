//! The settings of `weir serve`.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use serde::Deserialize;

use super::{
    Admin, CheckConfig, Control, EngineChoice, GrpcListen, HttpConfig, LifecycleConfig, LogConfig, LogFormat,
    SchedulingSettings, ServingConfig, VersionPolicy,
};
use crate::error::{Error, Result};
use crate::ids::ModelName;

/// Each setting as given by one source; `None` where that source is silent.
///
/// The same names in kebab case are the flags, in snake case the keys of the TOML file, and in
/// upper case behind `WEIR_` the environment variables.
#[derive(Debug, Clone, Default, Args, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServeOptions {
    /// TOML file with any of these settings (keys in snake_case)
    #[arg(long, env = "WEIR_CONFIG", value_name = "FILE")]
    #[serde(skip)]
    pub config: Option<PathBuf>,

    /// Model repository: models/<name>/<version>/model.onnx [default: models]
    #[arg(long, env = "WEIR_MODELS", value_name = "DIR")]
    pub models: Option<PathBuf>,
    /// Model that answers requests which name none [default: the only one]
    #[arg(long, env = "WEIR_DEFAULT_MODEL", value_name = "NAME")]
    pub default_model: Option<ModelName>,
    /// Address for HTTP; 0.0.0.0:8080 to be reached from other machines [default: 127.0.0.1:8080]
    #[arg(long, env = "WEIR_HTTP", value_name = "ADDR")]
    pub http: Option<SocketAddr>,
    /// Address for gRPC; same is the port of HTTP, off is nowhere [default: 127.0.0.1:9000, if it is free]
    #[arg(long, env = "WEIR_GRPC", value_name = "ADDR")]
    pub grpc: Option<GrpcListen>,
    /// Let web pages of other origins use TensorFlow Serving's paths, below /v1 [default: false]
    #[arg(long, env = "WEIR_CORS", num_args = 0..=1, default_missing_value = "true", value_name = "BOOL", help_heading = "Protocols")]
    pub cors: Option<bool>,
    /// Address for what TorchServe's management API says of models; it changes nothing [default: none]
    #[arg(long, env = "WEIR_TORCHSERVE_MANAGEMENT", value_name = "ADDR", help_heading = "Protocols")]
    pub torchserve_management: Option<SocketAddr>,

    /// What makes versions load and unload: poll watches the repository; explicit loads what
    /// --load-model and then the admin API name; none loads what is there at start [default: poll]
    #[arg(long, env = "WEIR_CONTROL", value_enum, value_name = "MODE", help_heading = "Versions")]
    pub control: Option<Control>,
    /// In explicit mode: a model to load at start, * for all; can be given several times
    #[arg(long, env = "WEIR_LOAD_MODEL", value_delimiter = ',', value_name = "NAME", help_heading = "Versions")]
    pub load_model: Option<Vec<String>>,
    /// Versions of a model to keep loaded: all, latest:2 or specific:1,3; model.toml says it for one
    /// model, and a version that an alias points to is always kept [default: all]
    #[arg(long, env = "WEIR_VERSION_POLICY", value_name = "POLICY", help_heading = "Versions")]
    pub version_policy: Option<VersionPolicy>,
    /// Time between two looks at the repository [default: 2]
    #[arg(long, env = "WEIR_POLL_INTERVAL_SECONDS", value_name = "S", help_heading = "Versions")]
    pub poll_interval_seconds: Option<f64>,
    /// Versions that are loaded at once [default: 1]
    #[arg(long, env = "WEIR_LOAD_THREADS", value_name = "N", help_heading = "Versions")]
    pub load_threads: Option<usize>,
    /// Folder that the server writes to, if it can: the audit trail, the aliases of a read-only
    /// repository, measurements, and which models have passed their check [default: state]
    #[arg(long, env = "WEIR_STATE_DIR", value_name = "DIR", help_heading = "Versions")]
    pub state_dir: Option<PathBuf>,
    /// Who may promote, roll back, load, unload and read the audit trail: loopback (callers on this
    /// machine), all or off [default: loopback]
    #[arg(long, env = "WEIR_ADMIN", value_enum, value_name = "WHO", help_heading = "Versions")]
    pub admin: Option<Admin>,

    /// What runs the models; auto is tract, and ONNX Runtime for what tract cannot run [default: auto]
    #[arg(long, env = "WEIR_ENGINE", value_enum, value_name = "ENGINE", help_heading = "Engines")]
    pub engine: Option<EngineChoice>,
    /// Library of ONNX Runtime 1.22 or newer [default: ORT_DYLIB_PATH, or libonnxruntime.so* beside weir]
    #[arg(long, env = "WEIR_ONNXRUNTIME", value_name = "FILE", help_heading = "Engines")]
    pub onnxruntime: Option<PathBuf>,
    /// Try each model in a process of its own before it is trusted [default: true]
    #[arg(long, env = "WEIR_CHECK_MODELS", num_args = 0..=1, default_missing_value = "true", value_name = "BOOL", help_heading = "Engines")]
    pub check_models: Option<bool>,
    /// Memory that a model may take there, in bytes [default: 2147483648 and four times its file]
    #[arg(long, env = "WEIR_CHECK_MEMORY_BYTES", value_name = "BYTES", help_heading = "Engines")]
    pub check_memory_bytes: Option<u64>,
    /// Time that a model may take there [default: 60]
    #[arg(long, env = "WEIR_CHECK_TIMEOUT_SECONDS", value_name = "S", help_heading = "Engines")]
    pub check_timeout_seconds: Option<f64>,
    /// The program that tries models, as `weir check-model`; without one they are not tried
    #[arg(skip)]
    #[serde(skip)]
    pub check_executable: Option<PathBuf>,

    /// Compute threads [default: the cores this process may use]
    #[arg(long, env = "WEIR_THREADS", value_name = "N", help_heading = "Prediction")]
    pub threads: Option<usize>,
    /// Requests of each model that may wait for a compute thread; more are refused with 503
    /// [default: 256]
    #[arg(long, env = "WEIR_QUEUE_CAPACITY", value_name = "N", help_heading = "Prediction")]
    pub queue_capacity: Option<usize>,
    /// Models cheaper than this run on the thread that received the request while nothing waits;
    /// 0 sends all work to the compute threads [default: 200]
    #[arg(long, env = "WEIR_INLINE_BELOW_MICROSECONDS", value_name = "US", help_heading = "Prediction")]
    pub inline_below_microseconds: Option<u64>,
    /// Samples in one run of a model [default: what is measured to be best, up to 32]
    #[arg(long, env = "WEIR_MAX_BATCH_SIZE", value_name = "N", help_heading = "Prediction")]
    pub max_batch_size: Option<usize>,
    /// How long a request may wait for others to share a run with; 0 runs what is there as soon as
    /// a thread is free [default: 0]
    #[arg(long, env = "WEIR_MAX_QUEUE_DELAY_MICROSECONDS", value_name = "US", help_heading = "Prediction")]
    pub max_queue_delay_microseconds: Option<u64>,
    /// Measure versions in the background and choose the batch size by that [default: true]
    #[arg(long, env = "WEIR_TUNE", value_name = "BOOL", help_heading = "Prediction")]
    pub tune: Option<bool>,
    /// Memory for each model's response cache, in bytes; 0 for none [default: 0]
    #[arg(long, env = "WEIR_CACHE_BYTES", value_name = "BYTES", help_heading = "Prediction")]
    pub cache_bytes: Option<u64>,
    /// A run of a model that takes longer counts as hung: its thread is replaced [default: 60]
    #[arg(long, env = "WEIR_HANG_SECONDS", value_name = "S", help_heading = "Prediction")]
    pub hang_seconds: Option<f64>,
    /// Time for one prediction; later ones are answered with 504 [default: 10]
    #[arg(long, env = "WEIR_REQUEST_TIMEOUT_SECONDS", value_name = "S", help_heading = "Prediction")]
    pub request_timeout_seconds: Option<f64>,
    /// Images or instances in one request [default: 256]
    #[arg(long, env = "WEIR_MAX_SAMPLES", value_name = "N", help_heading = "Prediction")]
    pub max_samples: Option<usize>,
    /// Width × height of the largest image that is decoded [default: 25000000]
    #[arg(long, env = "WEIR_MAX_IMAGE_PIXELS", value_name = "N", help_heading = "Prediction")]
    pub max_image_pixels: Option<u64>,
    /// Largest model file in bytes [default: 2147483648]
    #[arg(long, env = "WEIR_MAX_MODEL_BYTES", value_name = "BYTES", help_heading = "Prediction")]
    pub max_model_bytes: Option<u64>,
    /// How often each version's probe set is replayed for the live loss and accuracy; 0 for never
    /// [default: 60]
    #[arg(long, env = "WEIR_PROBE_INTERVAL_SECONDS", value_name = "S", help_heading = "Prediction")]
    pub probe_interval_seconds: Option<f64>,

    /// Connections held at once; more wait in the system's backlog [default: 1024]
    #[arg(long, env = "WEIR_MAX_CONNECTIONS", value_name = "N", help_heading = "Connections")]
    pub max_connections: Option<usize>,
    /// Largest request body in bytes [default: 10485760]
    #[arg(long, env = "WEIR_MAX_BODY_BYTES", value_name = "BYTES", help_heading = "Connections")]
    pub max_body_bytes: Option<usize>,
    /// All request bodies in memory together, in bytes; more are refused with 503
    /// [default: 268435456]
    #[arg(long, env = "WEIR_MAX_BUFFERED_BYTES", value_name = "BYTES", help_heading = "Connections")]
    pub max_buffered_bytes: Option<usize>,
    /// Time a client has for sending the head of a request [default: 10]
    #[arg(long, env = "WEIR_HEADER_TIMEOUT_SECONDS", value_name = "S", help_heading = "Connections")]
    pub header_timeout_seconds: Option<f64>,
    /// Time a client has for sending the body of a request [default: 30]
    #[arg(long, env = "WEIR_BODY_TIMEOUT_SECONDS", value_name = "S", help_heading = "Connections")]
    pub body_timeout_seconds: Option<f64>,
    /// Let clients on this machine pass tensors in shared memory (/dev/shm) [default: false]
    #[arg(long, env = "WEIR_SHARED_MEMORY", num_args = 0..=1, default_missing_value = "true", value_name = "BOOL", help_heading = "Connections")]
    pub shared_memory: Option<bool>,
    /// After SIGTERM: how long to go on answering while /readyz already says no [default: 2]
    #[arg(long, env = "WEIR_GRACE_SECONDS", value_name = "S", help_heading = "Connections")]
    pub grace_seconds: Option<f64>,
    /// After that: how long requests under way may still take [default: 20]
    #[arg(long, env = "WEIR_DRAIN_SECONDS", value_name = "S", help_heading = "Connections")]
    pub drain_seconds: Option<f64>,

    /// Look of the log: auto is text on a terminal and JSON elsewhere [default: auto]
    #[arg(long, env = "WEIR_LOG_FORMAT", value_enum, value_name = "FORMAT", help_heading = "Logs")]
    pub log_format: Option<LogFormat>,
    /// What is logged: error, warn, info, debug, trace, or directives as weir=debug [default: info]
    #[arg(long, env = "WEIR_LOG", value_name = "FILTER", help_heading = "Logs")]
    pub log: Option<String>,
    /// Log every request, not only failures and slow ones
    #[arg(long, env = "WEIR_ACCESS_LOG", num_args = 0..=1, default_missing_value = "true", value_name = "BOOL", help_heading = "Logs")]
    pub access_log: Option<bool>,
    /// A request slower than this is logged [default: 1]
    #[arg(long, env = "WEIR_SLOW_REQUEST_SECONDS", value_name = "S", help_heading = "Logs")]
    pub slow_request_seconds: Option<f64>,
}

/// The checked settings of `weir serve`.
#[derive(Debug, Clone)]
pub struct ServeConfig {
    /// Prediction.
    pub serving: ServingConfig,
    /// How versions come and go.
    pub lifecycle: LifecycleConfig,
    /// Connections.
    pub http: HttpConfig,
    /// Where gRPC is spoken.
    pub grpc: GrpcListen,
    /// Logs.
    pub log: LogConfig,
}

impl ServeOptions {
    /// Adds the file that `config` names, if it names one, below what is given already.
    ///
    /// # Errors
    /// [`Error::Config`] with the file's name and the line at fault.
    pub fn with_file(self) -> Result<Self> {
        match &self.config {
            Some(path) => {
                let file = Self::read(path)?;
                Ok(self.over(file))
            }
            None => Ok(self),
        }
    }

    fn read(path: &Path) -> Result<Self> {
        let refuse = |problem: String| Error::Config { setting: path.display().to_string(), problem };
        let text = std::fs::read_to_string(path).map_err(|error| refuse(error.to_string()))?;
        toml::from_str(&text).map_err(|error| refuse(error.to_string()))
    }

    /// These settings, and `lower`'s where these are silent.
    fn over(self, lower: Self) -> Self {
        Self {
            config: self.config.or(lower.config),
            models: self.models.or(lower.models),
            default_model: self.default_model.or(lower.default_model),
            http: self.http.or(lower.http),
            grpc: self.grpc.or(lower.grpc),
            cors: self.cors.or(lower.cors),
            torchserve_management: self.torchserve_management.or(lower.torchserve_management),
            engine: self.engine.or(lower.engine),
            onnxruntime: self.onnxruntime.or(lower.onnxruntime),
            check_models: self.check_models.or(lower.check_models),
            check_memory_bytes: self.check_memory_bytes.or(lower.check_memory_bytes),
            check_timeout_seconds: self.check_timeout_seconds.or(lower.check_timeout_seconds),
            check_executable: self.check_executable.or(lower.check_executable),
            control: self.control.or(lower.control),
            load_model: self.load_model.or(lower.load_model),
            version_policy: self.version_policy.or(lower.version_policy),
            poll_interval_seconds: self.poll_interval_seconds.or(lower.poll_interval_seconds),
            load_threads: self.load_threads.or(lower.load_threads),
            state_dir: self.state_dir.or(lower.state_dir),
            admin: self.admin.or(lower.admin),
            threads: self.threads.or(lower.threads),
            queue_capacity: self.queue_capacity.or(lower.queue_capacity),
            inline_below_microseconds: self.inline_below_microseconds.or(lower.inline_below_microseconds),
            tune: self.tune.or(lower.tune),
            max_batch_size: self.max_batch_size.or(lower.max_batch_size),
            max_queue_delay_microseconds: self.max_queue_delay_microseconds.or(lower.max_queue_delay_microseconds),
            cache_bytes: self.cache_bytes.or(lower.cache_bytes),
            hang_seconds: self.hang_seconds.or(lower.hang_seconds),
            request_timeout_seconds: self.request_timeout_seconds.or(lower.request_timeout_seconds),
            max_samples: self.max_samples.or(lower.max_samples),
            max_image_pixels: self.max_image_pixels.or(lower.max_image_pixels),
            max_model_bytes: self.max_model_bytes.or(lower.max_model_bytes),
            probe_interval_seconds: self.probe_interval_seconds.or(lower.probe_interval_seconds),
            max_connections: self.max_connections.or(lower.max_connections),
            max_body_bytes: self.max_body_bytes.or(lower.max_body_bytes),
            max_buffered_bytes: self.max_buffered_bytes.or(lower.max_buffered_bytes),
            header_timeout_seconds: self.header_timeout_seconds.or(lower.header_timeout_seconds),
            body_timeout_seconds: self.body_timeout_seconds.or(lower.body_timeout_seconds),
            shared_memory: self.shared_memory.or(lower.shared_memory),
            grace_seconds: self.grace_seconds.or(lower.grace_seconds),
            drain_seconds: self.drain_seconds.or(lower.drain_seconds),
            log_format: self.log_format.or(lower.log_format),
            log: self.log.or(lower.log),
            access_log: self.access_log.or(lower.access_log),
            slow_request_seconds: self.slow_request_seconds.or(lower.slow_request_seconds),
        }
    }

    /// Fills in the defaults and checks every value.
    ///
    /// # Errors
    /// [`Error::Config`] naming the setting.
    pub fn resolve(self) -> Result<ServeConfig> {
        let lifecycle = LifecycleConfig::resolve(&self)?;
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let probe_interval = self.probe_interval_seconds.unwrap_or(60.0);
        let check_timeout = seconds("check-timeout-seconds", self.check_timeout_seconds.unwrap_or(60.0))?;
        let state_dir = self.state_dir.unwrap_or_else(|| "state".into());
        let check = self.check_executable.filter(|_| self.check_models.unwrap_or(true)).map(|executable| CheckConfig {
            executable,
            memory_bytes: self.check_memory_bytes,
            timeout: check_timeout,
            state_dir: state_dir.clone(),
        });
        let serving = ServingConfig {
            models: self.models.unwrap_or_else(|| "models".into()),
            default_model: self.default_model,
            threads: at_least_one("threads", self.threads.unwrap_or(cores))?,
            hang_after: seconds("hang-seconds", self.hang_seconds.unwrap_or(60.0))?,
            tune: self.tune.unwrap_or(true),
            state: Some(state_dir),
            scheduling: SchedulingSettings {
                queue_capacity: at_least_one("queue-capacity", self.queue_capacity.unwrap_or(256))?,
                max_batch_size: self.max_batch_size.map(|size| at_least_one("max-batch-size", size)).transpose()?,
                max_queue_delay: Duration::from_micros(self.max_queue_delay_microseconds.unwrap_or(0)),
                preferred_batch_sizes: Vec::new(),
                weight: 1.0,
                concurrency: None,
                inline: None,
                inline_below: Duration::from_micros(self.inline_below_microseconds.unwrap_or(200)),
                cache_bytes: self.cache_bytes.unwrap_or(0),
            },
            request_timeout: seconds("request-timeout-seconds", self.request_timeout_seconds.unwrap_or(10.0))?,
            max_samples: at_least_one("max-samples", self.max_samples.unwrap_or(256))?,
            max_image_pixels: self.max_image_pixels.unwrap_or(25_000_000).max(1),
            max_model_bytes: self.max_model_bytes.unwrap_or(2 << 30),
            probe_interval: if probe_interval == 0.0 {
                None
            } else {
                Some(seconds("probe-interval-seconds", probe_interval)?)
            },
            engine: self.engine.unwrap_or(EngineChoice::Auto),
            onnxruntime: self.onnxruntime,
            check,
        };
        let max_body_bytes = at_least_one("max-body-bytes", self.max_body_bytes.unwrap_or(10 << 20))?;
        let http = HttpConfig {
            admin: self.admin.unwrap_or_default(),
            listen: self.http.unwrap_or_else(|| SocketAddr::from(([127, 0, 0, 1], 8080))),
            max_connections: at_least_one("max-connections", self.max_connections.unwrap_or(1024))?,
            header_timeout: seconds("header-timeout-seconds", self.header_timeout_seconds.unwrap_or(10.0))?,
            body_timeout: seconds("body-timeout-seconds", self.body_timeout_seconds.unwrap_or(30.0))?,
            max_body_bytes,
            max_buffered_bytes: self.max_buffered_bytes.unwrap_or(256 << 20).max(max_body_bytes),
            grace: zero_or_seconds("grace-seconds", self.grace_seconds.unwrap_or(2.0))?,
            drain: seconds("drain-seconds", self.drain_seconds.unwrap_or(20.0))?,
            slow_request: zero_or_seconds("slow-request-seconds", self.slow_request_seconds.unwrap_or(1.0))?,
            access_log: self.access_log.unwrap_or(false),
            shared_memory: self.shared_memory.unwrap_or(false),
            cors: self.cors.unwrap_or(false),
            torchserve_management: self.torchserve_management,
        };
        let log = LogConfig {
            format: self.log_format.unwrap_or(LogFormat::Auto),
            filter: self.log.unwrap_or_else(|| "info".into()),
        };
        Ok(ServeConfig { serving, lifecycle, http, grpc: self.grpc.unwrap_or_default(), log })
    }
}

pub(super) fn at_least_one(setting: &str, value: usize) -> Result<usize> {
    if value == 0 { Err(refuse(setting, "must be at least 1, got 0".into())) } else { Ok(value) }
}

pub(super) fn seconds(setting: &str, value: f64) -> Result<Duration> {
    match zero_or_seconds(setting, value)? {
        Duration::ZERO => Err(refuse(setting, "must be more than 0".into())),
        duration => Ok(duration),
    }
}

fn zero_or_seconds(setting: &str, value: f64) -> Result<Duration> {
    const DAY: f64 = 86_400.0;
    if !(0.0..=DAY).contains(&value) {
        return Err(refuse(setting, format!("must be a number of seconds from 0 to {DAY}, got {value}")));
    }
    Ok(Duration::from_secs_f64(value))
}

pub(super) fn refuse(setting: &str, problem: String) -> Error {
    Error::Config { setting: setting.into(), problem }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(text: &str) -> std::result::Result<ServeOptions, String> {
        toml::from_str(text).map_err(|error| error.to_string())
    }

    #[test]
    fn what_is_given_first_wins_and_silence_falls_through() {
        let flags = ServeOptions { threads: Some(3), ..ServeOptions::default() };
        let both = flags.over(file("threads = 7\nqueue_capacity = 9").unwrap()).resolve().unwrap();
        assert_eq!((both.serving.threads, both.serving.scheduling.queue_capacity), (3, 9));
        assert_eq!(both.http.listen.port(), 8080);
    }

    #[test]
    fn a_file_may_set_everything_but_not_misspell_it() {
        assert!(file("log_format = \"json\"\nhttp = \"[::1]:1\"\naccess_log = true\ndefault_model = \"m\"").is_ok());
        for bad in ["thread = 1", "threads = -1", "http = \"nowhere\"", "default_model = \"../x\"", "config = \"x\""] {
            assert!(file(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn impossible_values_are_refused_by_name() {
        for (options, name) in [
            (ServeOptions { threads: Some(0), ..ServeOptions::default() }, "threads"),
            (ServeOptions { request_timeout_seconds: Some(0.0), ..ServeOptions::default() }, "request-timeout-seconds"),
            (ServeOptions { grace_seconds: Some(f64::NAN), ..ServeOptions::default() }, "grace-seconds"),
            (ServeOptions { drain_seconds: Some(-1.0), ..ServeOptions::default() }, "drain-seconds"),
            (
                ServeOptions { probe_interval_seconds: Some(f64::INFINITY), ..ServeOptions::default() },
                "probe-interval-seconds",
            ),
        ] {
            assert!(options.resolve().unwrap_err().to_string().contains(name), "{name}");
        }
        let never = ServeOptions { probe_interval_seconds: Some(0.0), ..ServeOptions::default() };
        assert_eq!(never.resolve().unwrap().serving.probe_interval, None);
    }
}
