//! The checked settings of `weir serve`.

use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;

use super::declare::Setting;
use super::options::{ServeOptions, ServeValues, cores};
use super::{
    AlarmSettings, Callers, CaptureMode, CaptureSettings, CertificateSource, CheckConfig, ClientAuth,
    ClientCertificates, Control, DriftSettings, Endpoint, GrpcListen, HttpConfig, LifecycleConfig, LoadModel,
    LogConfig, MonitoringConfig, OpenToNetwork, OtelVariables, PredictionSinkSettings, SchedulingSettings,
    ServingConfig, TlsSettings, TraceSettings, TrustSettings, WebhookSettings,
};
use crate::error::{Error, Result};
use crate::ids::ModelName;
use crate::keys::{Rate, Scope};

/// The checked settings of `weir serve`.
#[derive(Debug, Clone)]
pub struct ServeConfig {
    /// Prediction.
    pub serving: ServingConfig,
    /// Loading and unloading of versions.
    pub lifecycle: LifecycleConfig,
    /// What is observed of predictions.
    pub monitoring: MonitoringConfig,
    /// Connections.
    pub http: HttpConfig,
    /// The address for gRPC.
    pub grpc: GrpcListen,
    /// Logs.
    pub log: LogConfig,
    /// Traces, if an address for them is named.
    pub traces: Option<TraceSettings>,
    /// The folder of training runs that is shown, if one is.
    pub runs: Option<PathBuf>,
}

impl ServeOptions {
    /// Completes the settings by their defaults and checks every value.
    ///
    /// # Errors
    /// [`Error::Config`](crate::error::Error::Config) naming the setting.
    pub fn resolve(self) -> Result<ServeConfig> {
        let executable = self.check_executable.clone();
        let traces = TraceSettings::read(self.otel.as_ref().unwrap_or(&OtelVariables::new()))?;
        let values = self.with_defaults();
        Ok(ServeConfig {
            lifecycle: lifecycle(&values)?,
            serving: serving(&values, executable)?,
            monitoring: monitoring(&values)?,
            http: http(&values)?,
            grpc: values.grpc.value,
            log: LogConfig { format: values.log_format.value, filter: values.log.value },
            traces,
            runs: values.runs.value.clone(),
        })
    }
}

fn lifecycle(values: &ServeValues) -> Result<LifecycleConfig> {
    let (control, named) = (values.control.value, &values.load_model);
    if control != Control::Explicit && !named.value.is_empty() {
        return Err(named.refuse("names what to load in explicit mode; add --control explicit".into()));
    }
    let load_threads = values.load_threads.at_least_one()?;
    let parse = |name: &String| match name.as_str() {
        "*" => Ok(LoadModel::Every),
        name => Ok(LoadModel::Named(name.parse()?)),
    };
    Ok(LifecycleConfig {
        control,
        load_models: named.value.iter().map(parse).collect::<Result<_>>()?,
        poll_interval: values.poll_interval_seconds.seconds()?,
        version_policy: values.version_policy.value.clone(),
        alias_fallback: values.alias_fallback.value,
        trust: trust(values)?,
        load_threads: load_threads.unwrap_or(1),
        start_threads: load_threads.unwrap_or_else(cores),
        state_dir: values.state_dir.value.clone(),
    })
}

fn trust(values: &ServeValues) -> Result<Option<TrustSettings>> {
    let (keys, unsigned) = (&values.trusted_keys, &values.unsigned);
    if keys.value.is_none() && unsigned.value.is_some() {
        return Err(unsigned.refuse("is about signatures, which --trusted-keys FILE has looked at".into()));
    }
    let settings = |keys| TrustSettings { keys, unsigned: unsigned.value.unwrap_or_default() };
    Ok(keys.value.clone().map(settings))
}

fn serving(values: &ServeValues, executable: Option<PathBuf>) -> Result<ServingConfig> {
    let check_timeout = values.check_timeout_seconds.seconds()?;
    let check = executable.filter(|_| values.check_models.value).map(|executable| CheckConfig {
        executable,
        sandbox: values.check_sandbox.value,
        memory_bytes: values.check_memory_bytes.value,
        timeout: check_timeout,
        state_dir: values.state_dir.value.clone(),
    });
    Ok(ServingConfig {
        models: values.models.value.clone(),
        default_model: values.default_model.value.clone(),
        threads: values.threads.at_least_one()?,
        hang_after: values.hang_seconds.seconds()?,
        tune: values.tune.value,
        state: Some(values.state_dir.value.clone()),
        scheduling: scheduling(values)?,
        request_timeout: values.request_timeout_seconds.seconds()?,
        max_samples: values.max_samples.at_least_one()?,
        max_image_pixels: values.max_image_pixels.value.max(1),
        max_model_bytes: values.max_model_bytes.value,
        max_tensor_bytes: values.max_tensor_bytes.value,
        probe_interval: values.probe_interval_seconds.never_or_seconds()?,
        engine: values.engine.value,
        onnxruntime: values.onnxruntime.value.clone(),
        check,
    })
}

fn scheduling(values: &ServeValues) -> Result<SchedulingSettings> {
    Ok(SchedulingSettings {
        queue_capacity: values.queue_capacity.at_least_one()?,
        max_batch_size: values.max_batch_size.at_least_one()?,
        max_queue_delay: Duration::from_micros(values.max_queue_delay_microseconds.value),
        preferred_batch_sizes: Vec::new(),
        weight: 1.0,
        concurrency: None,
        inline: None,
        inline_below: Duration::from_micros(values.inline_below_microseconds.value),
        cache_bytes: values.cache_bytes.value,
        across_requests: true,
        default_priority: 5,
        timeout: None,
    })
}

fn drift(values: &ServeValues) -> Result<DriftSettings> {
    let run_length = &values.drift_run_length;
    if !(1e3..=1e18).contains(&run_length.value) {
        return Err(run_length.refuse(format!("must be a number from 1e3 to 1e18, got {}", run_length.value)));
    }
    let (least, window) = (100, values.drift_window.value);
    if !(least..=1_000_000).contains(&window) {
        return Err(values.drift_window.refuse(format!("must be {least} to 1000000, got {window}")));
    }
    let learnt = &values.drift_learn_samples;
    if learnt.value != 0 && !(window..=MOST_LEARNT).contains(&learnt.value) {
        let got = learnt.value;
        return Err(learnt.refuse(format!("must be 0, or from drift-window ({window}) to {MOST_LEARNT}, got {got}")));
    }
    Ok(DriftSettings {
        window,
        learning_windows: values.drift_learning_windows.value,
        run_length: run_length.value,
        learn_samples: learnt.value,
        samples_per_second: values.drift_samples_per_second.value,
        guard_samples_per_second: values.guard_samples_per_second.value,
    })
}

/// The most samples that a reference is learnt from: their numbers are held in memory meanwhile.
const MOST_LEARNT: usize = 100_000;

fn monitoring(values: &ServeValues) -> Result<MonitoringConfig> {
    let database = &values.database;
    if let Some(url) = &database.value
        && !(url.starts_with("postgres://") || url.starts_with("postgresql://"))
    {
        // The URL may hold a password.
        return Err(database.refuse("expected a URL that begins with postgres://".into()));
    }
    Ok(MonitoringConfig {
        enabled: values.monitoring.value,
        drift: drift(values)?,
        database: database.value.clone(),
        keep_predictions: values.keep_predictions_days.days()?,
        keep_predictions_share: share(&values.keep_predictions_share)?,
        keep_predictions_bytes: values.keep_predictions_bytes.value,
        keep_feedback: values.keep_feedback_days.days()?,
        receipt_key_file: values.receipt_key_file.value.clone(),
        receipts_valid: values.receipt_days.days()?,
        capture: capture(values)?,
        keep_inputs: values.keep_inputs_days.days()?,
        keep_inputs_bytes: values.keep_inputs_bytes.value,
        keep_inputs_count: values.keep_inputs_count.value,
        alarms: alarms(values)?,
        webhook: webhook(values)?,
        prediction_sink: prediction_sink(values)?,
        sink_ca: values.sink_ca.value.clone(),
    })
}

/// The share of ordinary inputs that is kept beside all of the unsure ones.
const ORDINARY: f64 = 0.01;

fn capture(values: &ServeValues) -> Result<Option<CaptureSettings>> {
    let (mode, rate, models) = (values.capture.value, &values.capture_rate, &values.capture_models.value);
    if let Some(share) = rate.value.filter(|share| !(0.0..=1.0).contains(share)) {
        return Err(rate.refuse(format!("must be a share from 0 to 1, got {share}")));
    }
    let parse = |name: &String| name.parse::<ModelName>().map_err(Error::from);
    let models = models.iter().map(parse).collect::<Result<_>>()?;
    let usual = if mode == CaptureMode::Unsure { ORDINARY } else { 1.0 };
    let rate = rate.value.unwrap_or(usual);
    let settings = CaptureSettings { mode, rate, models, max_bytes: values.capture_max_bytes.value };
    Ok((mode != CaptureMode::Off).then_some(settings))
}

fn webhook(values: &ServeValues) -> Result<Option<WebhookSettings>> {
    let Some(url) = &values.alarm_webhook.value else { return Ok(None) };
    Ok(Some(WebhookSettings {
        endpoint: Endpoint::parse("alarm-webhook", url)?,
        key: values.alarm_webhook_key.value.clone().filter(|key| !key.is_empty()),
        retry_after: values.alarm_webhook_retry_seconds.seconds()?,
    }))
}

fn prediction_sink(values: &ServeValues) -> Result<Option<PredictionSinkSettings>> {
    let rate = share(&values.prediction_sink_rate)?;
    let Some(url) = &values.prediction_sink.value else { return Ok(None) };
    Ok(Some(PredictionSinkSettings { endpoint: Endpoint::parse("prediction-sink", url)?, rate }))
}

fn share(setting: &Setting<f64>) -> Result<f64> {
    match (0.0..=1.0).contains(&setting.value) {
        true => Ok(setting.value),
        false => Err(setting.refuse(format!("must be a share from 0 to 1, got {}", setting.value))),
    }
}

fn alarms(values: &ServeValues) -> Result<AlarmSettings> {
    const YEAR: f64 = 24.0 * 366.0;
    let (drop, gap) = (&values.alarm_accuracy_drop, &values.alarm_label_gap_hours);
    if !(drop.value > 0.0 && drop.value < 1.0) {
        return Err(drop.refuse(format!("must be a share above 0 and below 1, got {}", drop.value)));
    }
    if !(0.0..=YEAR).contains(&gap.value) {
        return Err(gap.refuse(format!("must be from 0 to {YEAR} hours, got {}", gap.value)));
    }
    Ok(AlarmSettings {
        hold: values.alarm_hold_seconds.zero_or_seconds()?,
        accuracy_drop: drop.value,
        min_labels: values.alarm_min_labels.value,
        label_gap: Some(Duration::from_secs_f64(gap.value * 3600.0)).filter(|gap| !gap.is_zero()),
    })
}

fn anonymous(values: &ServeValues) -> Result<Vec<Scope>> {
    let scopes = &values.anonymous;
    if values.keys.value.is_none() && !scopes.value.is_empty() {
        return Err(scopes.refuse("says what callers without a key may do, so it needs --keys FILE".into()));
    }
    Ok(scopes.value.clone())
}

/// Returns what callers on other machines may do without a key. More than asking models needs consent.
fn open_to_network(values: &ServeValues) -> Result<OpenToNetwork> {
    let is_elsewhere = |address: &SocketAddr| !address.ip().to_canonical().is_loopback();
    let grpc = match values.grpc.value {
        GrpcListen::At(address) | GrpcListen::IfFree(address) => Some(address),
        GrpcListen::Same | GrpcListen::Off => None,
    };
    let asked = [Some(values.http.value), grpc].into_iter().flatten().find(is_elsewhere);
    let managed = values.torchserve_management.value.filter(is_elsewhere);
    let Some(address) = asked.or(managed).filter(|_| values.keys.value.is_none()) else {
        return Ok(OpenToNetwork::default());
    };
    let open = OpenToNetwork {
        predictions: asked.is_some(),
        feedback: asked.is_some() && values.feedback.value == Callers::All,
        admin: values.admin.value == Callers::All,
    };
    let setting = [(open.admin, &values.admin), (open.feedback, &values.feedback)].into_iter().find(|(open, _)| *open);
    if let Some((_, setting)) = setting
        && !values.insecure.value
    {
        return Err(setting.refuse(format!(
            "lets everybody who reaches {address} in; give --keys FILE (`weir keys new` makes one), or --insecure if \
             something else keeps strangers away"
        )));
    }
    Ok(open)
}

fn rate(values: &ServeValues) -> Result<Option<Rate>> {
    let (per_second, burst) = (&values.rate_per_second, &values.rate_burst);
    if per_second.value == 0.0 {
        return match burst.value {
            Some(_) => Err(burst.refuse("goes with --rate-per-second".into())),
            None => Ok(None),
        };
    }
    if burst.value == Some(0) {
        return Err(burst.refuse("must be at least 1, got 0".into()));
    }
    let refused = || {
        let (got, most) = (per_second.value, Rate::MAX_PER_SECOND);
        per_second.refuse(format!("must be 0, or from 0.001 to {most}, got {got}"))
    };
    Rate::new(per_second.value, burst.value).map(Some).ok_or_else(refused)
}

fn proxy_protocol(values: &ServeValues) -> Result<bool> {
    let setting = &values.proxy_protocol;
    if setting.value && values.trusted_proxies.value.is_empty() {
        return Err(setting.refuse("is spoken by the proxies that --trusted-proxies CIDR names; it names none".into()));
    }
    Ok(setting.value)
}

/// Returns the settings of TLS; `None` where it is off.
fn tls(values: &ServeValues) -> Result<Option<TlsSettings>> {
    let (certificate, key, made) = (&values.tls_cert, &values.tls_key, &values.tls_self_signed);
    if made.value && (certificate.value.is_some() || key.value.is_some()) {
        return Err(made.refuse("makes a certificate; leave out tls-cert and tls-key, or this".into()));
    }
    let source = match (&certificate.value, &key.value) {
        (Some(certificate), Some(key)) => {
            Some(CertificateSource::Files { certificate: certificate.clone(), key: key.clone() })
        }
        (Some(_), None) => return Err(certificate.refuse("needs the key as well: --tls-key FILE".into())),
        (None, Some(_)) => return Err(key.refuse("needs the certificate as well: --tls-cert FILE".into())),
        (None, None) => made.value.then_some(CertificateSource::SelfSigned),
    };
    let (ca, auth) = (&values.tls_client_ca, &values.tls_client_auth);
    if auth.value.is_some() && ca.value.is_none() {
        return Err(auth.refuse("says who must show a certificate; --tls-client-ca FILE says who signs them".into()));
    }
    let crl = &values.tls_client_crl;
    if crl.value.is_some() && ca.value.is_none() {
        return Err(crl.refuse(
            "says which certificates of clients are revoked; --tls-client-ca FILE says who signs them".into(),
        ));
    }
    let needs_tls = "is about connections with TLS; --tls-cert and --tls-key switch it on";
    if ca.value.is_some() && source.is_none() {
        return Err(ca.refuse(needs_tls.into()));
    }
    if values.hsts_seconds.value.is_some() && source.is_none() {
        return Err(values.hsts_seconds.refuse(needs_tls.into()));
    }
    let auth = auth.value.unwrap_or(ClientAuth::Required);
    let clients = ca.value.clone().map(|ca| ClientCertificates { ca, auth, crl: crl.value.clone() });
    Ok(source.map(|source| TlsSettings { source, clients }))
}

fn http(values: &ServeValues) -> Result<HttpConfig> {
    let max_body_bytes = values.max_body_bytes.at_least_one()?;
    Ok(HttpConfig {
        admin: values.admin.value,
        feedback: values.feedback.value,
        keys: values.keys.value.clone(),
        anonymous: anonymous(values)?,
        listen: values.http.value,
        open: open_to_network(values)?,
        rate: rate(values)?,
        caller_concurrency: NonZeroU32::new(values.caller_concurrency.value),
        trusted_proxies: values.trusted_proxies.value.clone(),
        proxy_protocol: proxy_protocol(values)?,
        max_connections: values.max_connections.at_least_one()?,
        header_timeout: values.header_timeout_seconds.seconds()?,
        idle_timeout: values.idle_timeout_seconds.seconds()?,
        max_connection_age: values.max_connection_age_seconds.never_or_seconds()?,
        body_timeout: values.body_timeout_seconds.seconds()?,
        max_body_bytes,
        max_buffered_bytes: values.max_buffered_bytes.value.max(max_body_bytes),
        grace: values.grace_seconds.zero_or_seconds()?,
        drain: values.drain_seconds.seconds()?,
        slow_request: values.slow_request_seconds.zero_or_seconds()?,
        access_log: values.access_log.value,
        compat_metrics: values.compat_metrics.value,
        shared_memory: values.shared_memory.value,
        console: values.console.value,
        cors: values.cors.value,
        torchserve_management: values.torchserve_management.value,
        ops: values.ops.value,
        tls: tls(values)?,
        hsts_seconds: values.hsts_seconds.value,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn impossible_values_are_refused_by_name() {
        let none = ServeOptions::default;
        for (options, name) in [
            (ServeOptions { threads: Some(0), ..none() }, "threads"),
            (ServeOptions { max_batch_size: Some(0), ..none() }, "max-batch-size"),
            (ServeOptions { request_timeout_seconds: Some(0.0), ..none() }, "request-timeout-seconds"),
            (ServeOptions { grace_seconds: Some(f64::NAN), ..none() }, "grace-seconds"),
            (ServeOptions { rate_per_second: Some(-1.0), ..none() }, "rate-per-second"),
            (ServeOptions { rate_per_second: Some(2e6), ..none() }, "rate-per-second"),
            (ServeOptions { rate_burst: Some(5), ..none() }, "rate-burst"),
            (ServeOptions { rate_per_second: Some(1.0), rate_burst: Some(0), ..none() }, "rate-burst"),
            (ServeOptions { proxy_protocol: Some(true), ..none() }, "trusted-proxies"),
            (ServeOptions { drain_seconds: Some(-1.0), ..none() }, "drain-seconds"),
            (ServeOptions { max_connection_age_seconds: Some(-1.0), ..none() }, "max-connection-age-seconds"),
            (ServeOptions { probe_interval_seconds: Some(f64::INFINITY), ..none() }, "probe-interval-seconds"),
            (ServeOptions { drift_window: Some(99), ..none() }, "drift-window"),
            (ServeOptions { drift_run_length: Some(f64::NAN), ..none() }, "drift-run-length"),
            (ServeOptions { drift_learn_samples: Some(499), ..none() }, "drift-learn-samples"),
            (ServeOptions { alarm_webhook: Some("ftp://x".into()), ..none() }, "alarm-webhook"),
            (ServeOptions { prediction_sink: Some("x".into()), ..none() }, "prediction-sink"),
            (ServeOptions { prediction_sink_rate: Some(1.5), ..none() }, "prediction-sink-rate"),
            (ServeOptions { keep_predictions_share: Some(-0.1), ..none() }, "keep-predictions-share"),
            (ServeOptions { capture_rate: Some(-0.1), ..none() }, "capture-rate"),
            (ServeOptions { alarm_hold_seconds: Some(-1.0), ..none() }, "alarm-hold-seconds"),
            (ServeOptions { alarm_accuracy_drop: Some(0.0), ..none() }, "alarm-accuracy-drop"),
            (ServeOptions { alarm_label_gap_hours: Some(f64::NAN), ..none() }, "alarm-label-gap-hours"),
        ] {
            assert!(options.resolve().unwrap_err().to_string().contains(name), "{name}");
        }
        let never = ServeOptions { probe_interval_seconds: Some(0.0), ..none() };
        assert_eq!(never.resolve().unwrap().serving.probe_interval, None);
    }

    #[test]
    fn more_than_predictions_is_open_to_other_machines_only_with_keys_or_consent() {
        let at = |http: &str| ServeOptions { http: Some(http.parse().unwrap()), ..ServeOptions::default() };
        let open = |options: ServeOptions| options.resolve().map(|config| config.http.open);
        let predictions = OpenToNetwork { predictions: true, ..OpenToNetwork::default() };
        assert_eq!(open(at("0.0.0.0:1")).unwrap(), predictions);
        for http in ["127.0.0.1:1", "[::1]:1", "[::ffff:127.0.0.1]:1"] {
            let all = ServeOptions { admin: Some(Callers::All), feedback: Some(Callers::All), ..at(http) };
            assert_eq!(open(all).unwrap(), OpenToNetwork::default(), "{http}");
        }
        let grpc = ServeOptions { grpc: Some("0.0.0.0:2".parse().unwrap()), ..ServeOptions::default() };
        assert_eq!(open(grpc.clone()).unwrap(), predictions);
        let admin = ServeOptions { admin: Some(Callers::All), ..grpc };
        assert!(open(admin.clone()).unwrap_err().to_string().contains("admin"));
        let feedback = ServeOptions { feedback: Some(Callers::All), ..at("192.0.2.1:1") };
        assert!(open(feedback.clone()).unwrap_err().to_string().contains("feedback"));
        let consented = ServeOptions { insecure: Some(true), ..feedback.clone() };
        assert_eq!(open(consented).unwrap(), OpenToNetwork { feedback: true, ..predictions });
        let management = ServeOptions {
            torchserve_management: Some("0.0.0.0:3".parse().unwrap()),
            admin: Some(Callers::All),
            ..ServeOptions::default()
        };
        assert!(open(management).unwrap_err().to_string().contains("0.0.0.0:3"));
        let keyed = ServeOptions { keys: Some("keys.toml".into()), admin: Some(Callers::All), ..feedback };
        assert_eq!(open(keyed).unwrap(), OpenToNetwork::default());
    }

    #[test]
    fn models_are_named_for_loading_in_explicit_mode_only() {
        let options = ServeOptions { load_model: Some(vec!["*".into()]), ..ServeOptions::default() };
        assert!(options.clone().resolve().unwrap_err().to_string().contains("explicit"));
        let explicit = ServeOptions { control: Some(Control::Explicit), ..options };
        assert_eq!(explicit.resolve().unwrap().lifecycle.load_models, [LoadModel::Every]);
    }

    fn tls_with(change: impl FnOnce(&mut ServeOptions)) -> std::result::Result<Option<TlsSettings>, String> {
        let mut options = ServeOptions::default();
        change(&mut options);
        options.resolve().map(|config| config.http.tls).map_err(|error| error.to_string())
    }

    #[test]
    fn a_setting_that_needs_another_says_so() {
        let file = || Some(PathBuf::from("f.pem"));
        assert_eq!(tls_with(|_| {}).unwrap(), None);
        for (name, hint, change) in [
            ("tls-cert", "--tls-key", (|o| o.tls_cert = Some("f".into())) as fn(&mut ServeOptions)),
            ("tls-key", "--tls-cert", |o| o.tls_key = Some("f".into())),
            ("tls-client-ca", "--tls-cert", |o| o.tls_client_ca = Some("f".into())),
            ("tls-client-auth", "--tls-client-ca", |o| o.tls_client_auth = Some(ClientAuth::Optional)),
            ("tls-client-crl", "--tls-client-ca", |o| o.tls_client_crl = Some("f".into())),
            ("hsts-seconds", "--tls-cert", |o| o.hsts_seconds = Some(1)),
            ("tls-self-signed", "leave out", |o| {
                o.tls_self_signed = Some(true);
                o.tls_cert = Some("f".into());
            }),
        ] {
            let refused = tls_with(change).unwrap_err();
            assert!(refused.contains(name) && refused.contains(hint), "{refused}");
        }
        let made = tls_with(|options| options.tls_self_signed = Some(true)).unwrap().unwrap();
        assert_eq!(made, TlsSettings { source: CertificateSource::SelfSigned, clients: None });
        let both = tls_with(|options| {
            (options.tls_cert, options.tls_key, options.tls_client_ca) = (file(), file(), file());
        });
        assert_eq!(both.unwrap().unwrap().clients.unwrap().auth, ClientAuth::Required);
    }
}
