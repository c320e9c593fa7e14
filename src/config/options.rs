//! The settings of `weir serve`, each declared in this one place.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use clap::Args;
use serde::Deserialize;

use super::declare::{Setting, settings};
use super::{
    AliasFallback, Callers, CaptureMode, ClientAuth, CompatMetrics, Control, EngineChoice, GrpcListen, LogFormat,
    Network, OtelVariables, Unsigned, VersionPolicy,
};
use crate::error::{Error, Result};
use crate::ids::ModelName;
use crate::keys::Scope;

settings! {
    /// Each setting as one source gives it; `None` where that source is silent.
    ///
    /// The names in kebab case are the flags, in snake case the keys of the TOML file, and in upper case behind
    /// `WEIR_` the environment variables.
    #[derive(Debug, Clone, Default, Args, Deserialize)]
    #[serde(deny_unknown_fields)]
    ServeOptions {
        /// TOML file with any of these settings (keys in snake_case)
        #[arg(long, env = "WEIR_CONFIG", value_name = "FILE")]
        #[serde(skip)]
        config: PathBuf,
        /// The program that tries models, as `weir check-model`; without one they are not tried
        #[arg(skip)]
        #[serde(skip)]
        check_executable: PathBuf,
        /// The environment variables of OpenTelemetry, which keep their own names
        #[arg(skip)]
        #[serde(skip)]
        otel: OtelVariables,
    }
    /// Each setting with its default where no source says anything.
    #[derive(Debug)]
    ServeValues

    in None::<&str>;
    /// Model repository: models/<name>/<version>/model.onnx
    models: PathBuf, "WEIR_MODELS", "DIR", default "models" => "models".into();
    /// Model that answers requests which name none
    default_model: ModelName, "WEIR_DEFAULT_MODEL", "NAME", unset "the only one";
    /// Address for HTTP; 0.0.0.0:8080 to be reached from other machines
    http: SocketAddr, "WEIR_HTTP", "ADDR", default "127.0.0.1:8080" => SocketAddr::from(([127, 0, 0, 1], 8080));
    /// Address for gRPC; same shares the HTTP port, off disables gRPC
    grpc: GrpcListen, "WEIR_GRPC", "ADDR", otherwise "127.0.0.1:9000, if it is free" => GrpcListen::default();

    in "Protocols";
    /// Show the console at /: ask models, watch them and change versions in a browser. Without it / is a plain page
    #[arg(num_args = 0..=1, default_missing_value = "true")]
    console: bool, "WEIR_CONSOLE", "BOOL", default "true" => true;
    /// Folder of training runs to show to administrators in the console and at /runs: the --runs of weir train
    runs: PathBuf, "WEIR_RUNS", "DIR", unset "none";
    /// Let web pages of other origins use TensorFlow Serving's paths, below /v1
    #[arg(num_args = 0..=1, default_missing_value = "true")]
    cors: bool, "WEIR_CORS", "BOOL", default "false" => false;
    /// Address for TorchServe's management API, which is read-only here
    torchserve_management: SocketAddr, "WEIR_TORCHSERVE_MANAGEMENT", "ADDR", unset "none";

    in "Versions";
    /// Mode of loading versions: poll watches the repository; explicit loads only the models that --load-model
    /// and then the admin API name; none loads what is there at start
    control: Control, "WEIR_CONTROL", "MODE", default "poll" => Control::Poll;
    /// In explicit mode: a model to load at start, * for all; can be given several times
    #[arg(value_delimiter = ',')]
    load_model: Vec<String>, "WEIR_LOAD_MODEL", "NAME", otherwise "none" => Vec::new();
    /// Versions of a model to keep loaded: all, latest:2 or specific:1,3. The model.toml of a model can say
    /// otherwise, and a version that an alias points to is always kept
    version_policy: VersionPolicy, "WEIR_VERSION_POLICY", "POLICY", default "all" => VersionPolicy::All;
    /// Version that answers for an alias whose own is gone or cannot be loaded: none, previous (where the alias pointed
    /// before), or latest
    alias_fallback: AliasFallback, "WEIR_ALIAS_FALLBACK", "WHICH", default "none" => AliasFallback::None;
    /// File of public keys, as `weir sign` writes them: only versions that one of them has signed are loaded, unless
    /// --unsigned says otherwise. A change of the file counts at the next look
    trusted_keys: PathBuf, "WEIR_TRUSTED_KEYS", "FILE", unset "signatures are not looked at";
    /// With --trusted-keys: what becomes of versions that none of the keys has signed: refuse (they end with the reason),
    /// mark (they serve, and their entry says the reason), or allow
    unsigned: Unsigned, "WEIR_UNSIGNED", "WHAT", unset "refuse";
    /// Seconds between two looks at the repository
    poll_interval_seconds: f64, "WEIR_POLL_INTERVAL_SECONDS", "S", default "2" => 2.0;
    /// Versions that are loaded at the same time
    load_threads: usize, "WEIR_LOAD_THREADS", "N", unset "1, and while the server starts one per core";
    /// Folder for what the server writes: the audit trail, the aliases of a read-only repository, measurements,
    /// and which models have passed their check
    state_dir: PathBuf, "WEIR_STATE_DIR", "DIR", default "state" => "state".into();
    /// Callers that may promote, roll back, load, unload and read the audit trail: loopback (this machine), all
    /// or off (nobody)
    admin: Callers, "WEIR_ADMIN", "WHO", default "loopback" => Callers::Loopback;

    /// File of API keys, as `weir keys` makes it. With one, every request but those for health needs a key, and
    /// its scopes decide instead of addresses; a change of the file counts within a second
    keys: PathBuf, "WEIR_KEYS", "FILE", unset "none";
    /// With --keys: scopes of callers without a key, of predict, feedback, read, metrics and admin
    #[arg(value_delimiter = ',')]
    anonymous: Vec<Scope>, "WEIR_ANONYMOUS", "SCOPE", otherwise "none" => Vec::new();
    /// Without --keys, allow --admin all and --feedback all also on an address that other machines reach
    #[arg(num_args = 0..=1, default_missing_value = "true")]
    insecure: bool, "WEIR_INSECURE", "BOOL", default "false" => false;
    /// Requests that each caller may send in a second, over HTTP and gRPC together; 0 for no limit. A caller is a key,
    /// without one an address (of IPv6 its 64-bit network); a key's own per_second goes before
    rate_per_second: f64, "WEIR_RATE_PER_SECOND", "N", default "0" => 0.0;
    /// Requests that each caller may send at once
    rate_burst: u32, "WEIR_RATE_BURST", "N", unset "those of a second";
    /// Requests that each caller may have under way at the same time, over HTTP and gRPC together; 0 for no limit. A key's
    /// own concurrency goes before
    caller_concurrency: u32, "WEIR_CALLER_CONCURRENCY", "N", default "0" => 0;
    /// Proxies, as 10.0.0.1 or 10.0.0.0/8: of their connections the client is the last address in X-Forwarded-For that
    /// is no such proxy's
    #[arg(value_delimiter = ',')]
    trusted_proxies: Vec<Network>, "WEIR_TRUSTED_PROXIES", "CIDR", otherwise "none" => Vec::new();
    /// Every connection of a proxy in --trusted-proxies begins with the PROXY protocol, version 2, and names the client by
    /// it; the port of --ops knows nothing of it
    #[arg(num_args = 0..=1, default_missing_value = "true")]
    proxy_protocol: bool, "WEIR_PROXY_PROTOCOL", "BOOL", default "false" => false;

    in "TLS";
    /// Speak TLS on every port but that of --ops: PEM file with the certificate and those that vouch for it. A change of
    /// the file counts within a second, for new connections
    tls_cert: PathBuf, "WEIR_TLS_CERT", "FILE", unset "no TLS";
    /// PEM file with the key of that certificate; may be the same file
    tls_key: PathBuf, "WEIR_TLS_KEY", "FILE", unset "none";
    /// Speak TLS with a certificate for localhost that is made at the start: for a try
    #[arg(num_args = 0..=1, default_missing_value = "true")]
    tls_self_signed: bool, "WEIR_TLS_SELF_SIGNED", "BOOL", default "false" => false;
    /// PEM file with the authorities that vouch for clients. With one, clients show certificates, and an entry of the file
    /// of keys can name one (certificate = "URI:…")
    tls_client_ca: PathBuf, "WEIR_TLS_CLIENT_CA", "FILE", unset "clients show no certificate";
    /// With --tls-client-ca: required refuses clients without a certificate, optional does not
    tls_client_auth: ClientAuth, "WEIR_TLS_CLIENT_AUTH", "MODE", unset "required";
    /// With --tls-client-ca: PEM file with lists of revoked certificates (X509 CRL). One on a list is refused, and so is one
    /// of an authority without a list in the file; a list that is out of date is used, with a warning. A change of the file
    /// counts within a second, for new connections
    tls_client_crl: PathBuf, "WEIR_TLS_CLIENT_CRL", "FILE", unset "none is refused as revoked";
    /// Tell browsers to come by TLS only for so many seconds (Strict-Transport-Security)
    hsts_seconds: u64, "WEIR_HSTS_SECONDS", "S", unset "not told";

    in "Engines";
    /// Engine that runs the models; auto is tract, and ONNX Runtime for what tract cannot run
    engine: EngineChoice, "WEIR_ENGINE", "ENGINE", default "auto" => EngineChoice::Auto;
    /// Library of ONNX Runtime 1.22 or newer
    onnxruntime: PathBuf, "WEIR_ONNXRUNTIME", "FILE", unset "ORT_DYLIB_PATH, or libonnxruntime.so* beside weir";
    /// Try each model in a child process before it is loaded
    #[arg(num_args = 0..=1, default_missing_value = "true")]
    check_models: bool, "WEIR_CHECK_MODELS", "BOOL", default "true" => true;
    /// Keep that process from the network, from other programs, and from all files but the engine's
    #[arg(num_args = 0..=1, default_missing_value = "true")]
    check_sandbox: bool, "WEIR_CHECK_SANDBOX", "BOOL", default "true" => true;
    /// Memory that a model may use in that process, in bytes
    check_memory_bytes: u64, "WEIR_CHECK_MEMORY_BYTES", "BYTES", unset "2147483648 and four times its file";
    /// Seconds that the check of a model may take
    check_timeout_seconds: f64, "WEIR_CHECK_TIMEOUT_SECONDS", "S", default "60" => 60.0;

    in "Prediction";
    /// Compute threads
    threads: usize, "WEIR_THREADS", "N", otherwise "the cores this process may use" => cores();
    /// Requests of each model that may wait for a compute thread; more are refused with 503
    queue_capacity: usize, "WEIR_QUEUE_CAPACITY", "N", default "256" => 256;
    /// A model whose measured cost is below this runs on the thread that received the request while nothing waits;
    /// 0 sends all work to the compute threads
    inline_below_microseconds: u64, "WEIR_INLINE_BELOW_MICROSECONDS", "US", default "200" => 200;
    /// Most samples in one run of a model
    max_batch_size: usize, "WEIR_MAX_BATCH_SIZE", "N", unset "measured for each version, up to 32";
    /// Longest wait of a request for others to share a run with; 0 runs what is there as soon as a thread is free
    max_queue_delay_microseconds: u64, "WEIR_MAX_QUEUE_DELAY_MICROSECONDS", "US", default "0" => 0;
    /// Measure versions in the background and choose their batch sizes and engines by the result
    #[arg(num_args = 0..=1, default_missing_value = "true")]
    tune: bool, "WEIR_TUNE", "BOOL", default "true" => true;
    /// Memory for each model's response cache, in bytes; 0 for no cache
    cache_bytes: u64, "WEIR_CACHE_BYTES", "BYTES", default "0" => 0;
    /// Seconds after which a run of a model counts as hung, and its thread is replaced
    hang_seconds: f64, "WEIR_HANG_SECONDS", "S", default "60" => 60.0;
    /// Seconds that one prediction may take; a later one is answered with 504
    request_timeout_seconds: f64, "WEIR_REQUEST_TIMEOUT_SECONDS", "S", default "10" => 10.0;
    /// Most samples (images, rows or sequences) in one request
    max_samples: usize, "WEIR_MAX_SAMPLES", "N", default "256" => 256;
    /// Width × height of the largest image that is decoded
    max_image_pixels: u64, "WEIR_MAX_IMAGE_PIXELS", "N", default "25000000" => 25_000_000;
    /// Largest model file in bytes
    max_model_bytes: u64, "WEIR_MAX_MODEL_BYTES", "BYTES", default "2147483648" => 2 << 30;
    /// Largest tensor in bytes that a model may make from the values and sizes of a request
    max_tensor_bytes: u64, "WEIR_MAX_TENSOR_BYTES", "BYTES", default "1073741824" => 1 << 30;
    /// Seconds between two replays of each version's probe set, for its live loss and accuracy; 0 for never
    probe_interval_seconds: f64, "WEIR_PROBE_INTERVAL_SECONDS", "S", default "60" => 60.0;

    in "Monitoring";
    /// Observe every prediction: records of what was asked and answered, for live figures
    #[arg(num_args = 0..=1, default_missing_value = "true")]
    monitoring: bool, "WEIR_MONITORING", "BOOL", default "true" => true;
    /// Samples that the size of a change of traffic is measured on: the last ones
    drift_window: usize, "WEIR_DRIFT_WINDOW", "N", default "500" => 500;
    /// Windows in which the dependence of neighbouring samples is learnt, before a change alarms; 0 if all samples are
    /// independent of each other
    drift_learning_windows: usize, "WEIR_DRIFT_LEARNING_WINDOWS", "N", default "20" => 20;
    /// Rate of false alarms: at most one is expected in so many independent samples of a version, or in 30 days, if
    /// those bring more
    drift_run_length: f64, "WEIR_DRIFT_RUN_LENGTH", "N", default "1e9" => 1e9;
    /// Samples that a version without a reference learns one from; 0 leaves it unwatched
    drift_learn_samples: usize, "WEIR_DRIFT_LEARN_SAMPLES", "N", default "0" => 0;
    /// Samples in which drift is looked for in a second, on the average: a random share of those that come faster; 0 for all
    drift_samples_per_second: usize, "WEIR_DRIFT_SAMPLES_PER_SECOND", "N", default "1000" => 1000;
    /// Samples a second whose inputs the autoencoders named by guard in model.toml score, behind all requests; 0 scores
    /// only those of requests that ask for their anomaly
    guard_samples_per_second: usize, "WEIR_GUARD_SAMPLES_PER_SECOND", "N", default "100" => 100;
    /// Database for predictions and feedback: postgres://user:password@host/name, which several servers may share
    database: String, "WEIR_DATABASE", "URL", unset "SQLite, in the file weir.db of the state folder";
    /// Callers that may say what was right (POST /feedback): loopback (this machine), all or off (nobody)
    feedback: Callers, "WEIR_FEEDBACK", "WHO", default "loopback" => Callers::Loopback;
    /// File with the keys of receipts (x-weir-receipt), one on each line: the first signs, all verify. Servers that take
    /// each other's receipts share it
    receipt_key_file: PathBuf, "WEIR_RECEIPT_KEY_FILE", "FILE", unset "one of its own, in receipt.key of the state folder";
    /// Days for which a receipt is good
    receipt_days: f64, "WEIR_RECEIPT_DAYS", "DAYS", default "30" => 30.0;
    /// Days for which predictions are kept
    keep_predictions_days: f64, "WEIR_KEEP_PREDICTIONS_DAYS", "DAYS", default "14" => 14.0;
    /// Share of requests, 0 to 1, whose samples are kept; the others are counted, and take labels only with a receipt
    keep_predictions_share: f64, "WEIR_KEEP_PREDICTIONS_SHARE", "SHARE", default "1" => 1.0;
    /// Bytes that the predictions may take; the oldest go first
    keep_predictions_bytes: u64, "WEIR_KEEP_PREDICTIONS_BYTES", "BYTES", default "2147483648" => 2 << 30;
    /// Days for which feedback and the figures that follow from it are kept
    keep_feedback_days: f64, "WEIR_KEEP_FEEDBACK_DAYS", "DAYS", default "400" => 400.0;
    /// Inputs of predictions that are kept, for labelling and training: off (none), all, or unsure (those of uncertain
    /// answers and unusual inputs). They are personal data if the inputs are
    capture: CaptureMode, "WEIR_CAPTURE", "MODE", default "off" => CaptureMode::Off;
    /// Share of requests whose inputs are kept, 0 to 1; with --capture unsure, of those that are not unsure
    capture_rate: f64, "WEIR_CAPTURE_RATE", "SHARE", unset "1, and 0.01 with --capture unsure";
    /// Models whose inputs are kept
    #[arg(value_delimiter = ',')]
    capture_models: Vec<String>, "WEIR_CAPTURE_MODELS", "NAME", otherwise "all" => Vec::new();
    /// Largest input in bytes that is kept
    capture_max_bytes: usize, "WEIR_CAPTURE_MAX_BYTES", "BYTES", default "1048576" => 1 << 20;
    /// Days for which inputs are kept
    keep_inputs_days: f64, "WEIR_KEEP_INPUTS_DAYS", "DAYS", default "7" => 7.0;
    /// Bytes that the inputs may take; the oldest go first
    keep_inputs_bytes: u64, "WEIR_KEEP_INPUTS_BYTES", "BYTES", default "1073741824" => 1 << 30;
    /// Samples whose inputs are kept; the oldest go first
    keep_inputs_count: u64, "WEIR_KEEP_INPUTS_COUNT", "N", default "100000" => 100_000;
    /// Seconds for which a condition must hold before it raises an alarm on accuracy or its estimate, and be gone before
    /// any alarm is cleared
    alarm_hold_seconds: f64, "WEIR_ALARM_HOLD_SECONDS", "S", default "60" => 60.0;
    /// Fall of the live accuracy below that on test data, 0 to 1, that raises an alarm; half of it clears the alarm
    alarm_accuracy_drop: f64, "WEIR_ALARM_ACCURACY_DROP", "SHARE", default "0.02" => 0.02;
    /// Labels of the last day without which the live accuracy raises no alarm
    alarm_min_labels: u64, "WEIR_ALARM_MIN_LABELS", "N", default "200" => 200;
    /// Hours without a label that raise an alarm, where labels came before and answers are given; 0 for never
    alarm_label_gap_hours: f64, "WEIR_ALARM_LABEL_GAP_HOURS", "HOURS", default "24" => 24.0;
    /// Address that alarms are posted to as JSON: http:// or https://
    #[arg(hide_env_values = true)]
    alarm_webhook: String, "WEIR_ALARM_WEBHOOK", "URL", unset "nowhere";
    /// Key by which deliveries to the webhook are signed (HMAC-SHA256, header x-weir-signature). Better set in the
    /// environment, which other users of the machine cannot read
    #[arg(hide_env_values = true)]
    alarm_webhook_key: String, "WEIR_ALARM_WEBHOOK_KEY", "KEY", unset "deliveries are not signed";
    /// Seconds after which a delivery to the webhook that failed is tried again; doubles with each of 8 attempts
    alarm_webhook_retry_seconds: f64, "WEIR_ALARM_WEBHOOK_RETRY_SECONDS", "S", default "1" => 1.0;
    /// Address that answered samples are posted to in batches of CloudEvents: http:// or https://; inputs are not sent
    #[arg(hide_env_values = true)]
    prediction_sink: String, "WEIR_PREDICTION_SINK", "URL", unset "nowhere";
    /// Share of requests whose samples are posted to the prediction sink, 0 to 1
    prediction_sink_rate: f64, "WEIR_PREDICTION_SINK_RATE", "SHARE", default "1" => 1.0;
    /// PEM file of the authorities that vouch for the receivers of alarms, predictions and traces behind https://
    sink_ca: PathBuf, "WEIR_SINK_CA", "FILE", unset "those of SSL_CERT_FILE, or of the system";

    in "Connections";
    /// Address for health and metrics alone, without TLS: answers also while all connections of the other ports are
    /// taken
    ops: SocketAddr, "WEIR_OPS", "ADDR", unset "none";
    /// Most connections at the same time; more wait in the system's backlog
    max_connections: usize, "WEIR_MAX_CONNECTIONS", "N", default "1024" => 1024;
    /// Largest request body in bytes
    max_body_bytes: usize, "WEIR_MAX_BODY_BYTES", "BYTES", default "10485760" => 10 << 20;
    /// All request bodies in memory together, in bytes; more are refused with 503
    max_buffered_bytes: usize, "WEIR_MAX_BUFFERED_BYTES", "BYTES", default "268435456" => 256 << 20;
    /// Seconds that a client has to send the head of a request
    header_timeout_seconds: f64, "WEIR_HEADER_TIMEOUT_SECONDS", "S", default "10" => 10.0;
    /// Seconds that a connection of HTTP/1.1 may be idle between requests; a proxy in front should close earlier
    idle_timeout_seconds: f64, "WEIR_IDLE_TIMEOUT_SECONDS", "S", default "75" => 75.0;
    /// Seconds after which a connection is ended in order, a tenth more or less: by `connection: close`, over HTTP/2 by
    /// GOAWAY. Clients that keep connections find new servers behind a balancer that way; 0 for never
    max_connection_age_seconds: f64, "WEIR_MAX_CONNECTION_AGE_SECONDS", "S", default "0" => 0.0;
    /// Seconds that a client has to send the body of a request
    body_timeout_seconds: f64, "WEIR_BODY_TIMEOUT_SECONDS", "S", default "30" => 30.0;
    /// Let clients on this machine pass tensors in shared memory (/dev/shm)
    #[arg(num_args = 0..=1, default_missing_value = "true")]
    shared_memory: bool, "WEIR_SHARED_MEMORY", "BOOL", default "false" => false;
    /// After SIGTERM: seconds to go on answering while /readyz already says no
    grace_seconds: f64, "WEIR_GRACE_SECONDS", "S", default "2" => 2.0;
    /// After that: seconds that requests under way may still take
    drain_seconds: f64, "WEIR_DRAIN_SECONDS", "S", default "20" => 20.0;

    in "Logs";
    /// Add metrics with the names of another server, for its dashboards: triton or none
    compat_metrics: CompatMetrics, "WEIR_COMPAT_METRICS", "SERVER", default "none" => CompatMetrics::None;
    /// Format of the log: auto is text on a terminal and JSON elsewhere
    log_format: LogFormat, "WEIR_LOG_FORMAT", "FORMAT", default "auto" => LogFormat::Auto;
    /// Least severe level to log: error, warn, info, debug or trace; or directives as weir=debug
    log: String, "WEIR_LOG", "FILTER", default "info" => "info".into();
    /// Log every request, not only failures and slow ones
    #[arg(num_args = 0..=1, default_missing_value = "true")]
    access_log: bool, "WEIR_ACCESS_LOG", "BOOL", default "false" => false;
    /// Seconds from which on a request is logged as slow
    slow_request_seconds: f64, "WEIR_SLOW_REQUEST_SECONDS", "S", default "1" => 1.0;
}

/// Returns the number of cores that this process may use.
pub fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
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
}

#[cfg(test)]
mod tests {
    use clap::FromArgMatches as _;

    use super::*;

    fn file(text: &str) -> std::result::Result<ServeOptions, String> {
        toml::from_str(text).map_err(|error| error.to_string())
    }

    fn command() -> clap::Command {
        ServeOptions::augment_args(clap::Command::new("serve"))
    }

    #[test]
    fn a_source_wins_over_the_one_below_it_and_silence_falls_through() {
        let flags = ServeOptions { threads: Some(3), ..ServeOptions::default() };
        let both = flags.over(file("threads = 7\nqueue_capacity = 9").unwrap()).with_defaults();
        assert_eq!((both.threads.value, both.queue_capacity.value, both.http.value.port()), (3, 9, 8080));
    }

    #[test]
    fn a_file_may_set_everything_but_not_misspell_it() {
        assert!(file("log_format = \"json\"\nhttp = \"[::1]:1\"\naccess_log = true\ndefault_model = \"m\"").is_ok());
        for bad in ["thread = 1", "threads = -1", "http = \"nowhere\"", "default_model = \"../x\"", "config = \"x\""] {
            assert!(file(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn every_setting_has_a_flag_a_variable_a_key_and_help_with_its_default() {
        let command = command();
        for (name, variable, _) in ServeOptions::DECLARED {
            assert_eq!(*variable, format!("WEIR_{}", name.to_uppercase()));
            let arg = command.get_arguments().find(|arg| arg.get_id() == name).unwrap();
            assert_eq!(arg.get_long(), Some(name.replace('_', "-").as_str()));
            assert_eq!(arg.get_env(), Some(std::ffi::OsStr::new(variable)));
            let help = arg.get_help().unwrap().to_string();
            assert!(help.contains("[default: ") && !help.starts_with(' '), "{name}: {help}");
            let misused = file(&format!("{name} = {{}}")).unwrap_err();
            assert!(!misused.contains("unknown field"), "{name}: {misused}");
        }
        assert_eq!(
            command.get_arguments().count(),
            ServeOptions::DECLARED.len() + 1,
            "a setting is declared elsewhere"
        );
    }

    #[test]
    fn the_help_shows_the_defaults_that_hold() {
        let parse = |flags: &[String]| {
            let matches = command().no_binary_name(true).get_matches_from(flags);
            format!("{:?}", ServeOptions::from_arg_matches(&matches).unwrap().with_defaults())
        };
        for (name, variable, shown) in ServeOptions::DECLARED {
            if let Some(shown) = shown
                && std::env::var_os(variable).is_none()
            {
                assert_eq!(parse(&[format!("--{}={shown}", name.replace('_', "-"))]), parse(&[]), "{name}");
            }
        }
    }
}
