//! What this server sends elsewhere by choice, composed: the queues before the sinks, and the tasks behind them.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::config::ServeConfig;
use crate::error::Result;
use crate::metrics::Metrics;
use crate::monitoring::{AlarmQueue, PredictionSender, PredictionSink, TraceSender, Tracer, Webhook};
use crate::trust::Trust;

/// The time that the last deliveries have after everything else has ended.
const LAST_DELIVERIES: Duration = Duration::from_secs(2);

/// The setting with the authorities that vouch for receivers.
const SINK_CA: &str = "sink-ca";

/// The near ends of all sinks that are switched on.
#[derive(Debug)]
pub(super) struct Outlets {
    pub(super) alarms: Option<AlarmQueue>,
    pub(super) predictions: Option<PredictionSink>,
    pub(super) tracer: Option<Arc<Tracer>>,
}

/// The far ends, before they run.
#[derive(Debug, Default)]
pub(super) struct Senders {
    webhook: Option<Webhook>,
    predictions: Option<PredictionSender>,
    traces: Option<TraceSender>,
}

/// The far ends while they run.
#[derive(Debug)]
pub(super) struct Sending(JoinSet<()>);

/// Makes what the settings switch on.
pub(super) fn outlets(config: &ServeConfig, metrics: &Metrics) -> Result<(Outlets, Senders)> {
    let monitoring = &config.monitoring;
    let trust = trust(config)?;
    let (mut outlets, mut senders) = (Outlets { alarms: None, predictions: None, tracer: None }, Senders::default());
    if let Some(settings) = &monitoring.webhook {
        let (queue, webhook) = Webhook::new(settings.clone(), trust.clone(), metrics.sinks.bind("webhook")?);
        (outlets.alarms, senders.webhook) = (Some(queue), Some(webhook));
    }
    if let Some(settings) = monitoring.prediction_sink.as_ref().filter(|_| monitoring.enabled) {
        let (sink, sender) = PredictionSink::new(settings.clone(), trust.clone(), metrics.sinks.bind("predictions")?);
        (outlets.predictions, senders.predictions) = (Some(sink), Some(sender));
    }
    if let Some(settings) = &config.traces {
        let own = settings.certificate.as_ref().map(|(name, file)| Trust::of_file(name, file));
        let trust = own.transpose()?.or(trust);
        let (tracer, sender) = Tracer::new(settings.clone(), trust, metrics.sinks.bind("traces")?);
        (outlets.tracer, senders.traces) = (Some(tracer), Some(sender));
    }
    Ok((outlets, senders))
}

/// Returns the authorities that vouch for receivers, if any receiver needs them.
fn trust(config: &ServeConfig) -> Result<Option<Trust>> {
    let monitoring = &config.monitoring;
    if let Some(file) = &monitoring.sink_ca {
        return Trust::of_file(SINK_CA, file).map(Some);
    }
    let webhook = monitoring.webhook.as_ref().map(|settings| &settings.endpoint);
    let predictions = monitoring.prediction_sink.as_ref().map(|settings| &settings.endpoint);
    let traces = config.traces.as_ref().filter(|settings| settings.certificate.is_none());
    let all = [webhook, predictions, traces.map(|settings| &settings.endpoint)];
    let is_needed = all.into_iter().flatten().any(|endpoint| endpoint.secured.is_some());
    is_needed.then(|| Trust::of_system(SINK_CA)).transpose()
}

impl Senders {
    /// Begins to send, until `closed` turns true.
    pub(super) fn start(self, closed: &watch::Receiver<bool>) -> Sending {
        let mut tasks = JoinSet::new();
        if let Some(webhook) = self.webhook {
            tasks.spawn(webhook.run(closed.clone()));
        }
        if let Some(predictions) = self.predictions {
            tasks.spawn(predictions.run(closed.clone()));
        }
        if let Some(traces) = self.traces {
            tasks.spawn(traces.run(closed.clone()));
        }
        Sending(tasks)
    }
}

impl Sending {
    /// Waits for the last deliveries, for a short while.
    pub(super) async fn end(mut self) {
        let all = async { while self.0.join_next().await.is_some() {} };
        if tokio::time::timeout(LAST_DELIVERIES, all).await.is_err() {
            tracing::warn!("the last alarms, predictions or spans could not be delivered in time");
            self.0.shutdown().await;
        }
    }
}
