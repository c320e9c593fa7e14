//! Predictions for one URL, as batches of CloudEvents.
//!
//! Each answered sample is one event of the type that KServe gives to answers. Inputs are never sent: records do not
//! hold them.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, header};
use serde::Serialize;
use tokio::sync::{mpsc, watch};

use super::delivery::{Delivery, Patience};
use crate::config::PredictionSinkSettings;
use crate::metrics::{Outcome, SinkMetrics};
use crate::monitoring::{Answer, Consumer, Record};
use crate::outbound::Destination;
use crate::tensor::Real;
use crate::trust::Trust;

/// The events that may wait: a few megabytes.
const QUEUE: usize = 8192;

/// The events of one request.
const BATCH: usize = 500;

/// The time in which events gather, so that a request carries more than one.
const GATHER: Duration = Duration::from_millis(200);

const PATIENCE: Patience = Patience { attempts: 3, pause: Duration::from_millis(500) };

const MEDIA_TYPE: HeaderValue = HeaderValue::from_static("application/cloudevents-batch+json");

#[derive(Serialize)]
struct CloudEvent<'a> {
    specversion: &'static str,
    r#type: &'static str,
    /// With `id` unique: the version that was asked.
    source: String,
    id: String,
    time: String,
    datacontenttype: &'static str,
    data: Data<'a>,
}

#[derive(Serialize)]
struct Data<'a> {
    request_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    client_request_id: Option<&'a str>,
    item: u32,
    model: &'a str,
    version: u64,
    total_us: u32,
    cached: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    class: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    label: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    confidence: Option<f32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    margin: Option<f32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    probabilities: Option<&'a [f32]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<Real>,
    #[serde(skip_serializing_if = "Option::is_none")]
    score: Option<f32>,
}

/// The consumer of records that puts events into the queue.
#[derive(Debug)]
pub struct PredictionSink {
    rate: f64,
    sender: mpsc::Sender<String>,
    metrics: SinkMetrics,
}

/// The sender of events, before it runs.
#[derive(Debug)]
pub struct PredictionSender {
    settings: PredictionSinkSettings,
    trust: Option<Trust>,
    metrics: SinkMetrics,
    events: mpsc::Receiver<String>,
}

impl PredictionSink {
    /// Makes the consumer, and the sender behind its queue. Behind `https` the receiver must be vouched for by `trust`.
    pub fn new(
        settings: PredictionSinkSettings,
        trust: Option<Trust>,
        metrics: SinkMetrics,
    ) -> (Self, PredictionSender) {
        let (sender, events) = mpsc::channel(QUEUE);
        let sink = Self { rate: settings.rate, sender, metrics: metrics.clone() };
        (sink, PredictionSender { settings, trust, metrics, events })
    }
}

impl Consumer for PredictionSink {
    fn consume(&mut self, records: &[Record]) {
        let mut dropped = 0;
        for record in records.iter().filter(|record| record.outcome == Outcome::Success && is_chosen(record, self.rate))
        {
            // One that does not fit is not even written.
            match self.sender.try_reserve() {
                Ok(place) => place.send(event(record)),
                Err(_) => dropped += 1,
            }
        }
        if dropped > 0 {
            self.metrics.dropped(dropped);
        }
    }
}

/// Returns true for this share of requests; all samples of a request are chosen together.
fn is_chosen(record: &Record, rate: f64) -> bool {
    // The last bytes of the identifier are random.
    let (_, low) = record.id.as_u64_pair();
    let mixed = low.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 11;
    (mixed as f64) < rate * (1u64 << 53) as f64
}

fn event(record: &Record) -> String {
    let version = &record.version;
    let mut data = Data {
        request_id: record.id.to_string(),
        client_request_id: record.client.as_deref(),
        item: record.item,
        model: version.model.as_str(),
        version: version.version.0,
        total_us: record.total_us,
        cached: record.cached,
        class: None,
        label: None,
        confidence: None,
        margin: None,
        probabilities: record.probabilities(),
        value: None,
        score: None,
    };
    // What is not finite has no place in JSON.
    let finite = |number: f32| Some(number).filter(|number| number.is_finite());
    match &record.answer {
        Answer::None => {}
        Answer::Value(value) => data.value = Some(*value).filter(|value| value.is_finite()),
        Answer::Score(score) => data.score = finite(*score),
        Answer::Classified { class, confidence, margin, .. } => {
            data.class = Some(*class);
            data.label = version.labels.get(*class as usize).map(String::as_str);
            (data.confidence, data.margin) = (finite(*confidence), finite(*margin));
        }
    }
    let time = jiff::Timestamp::from_microsecond(record.at).map(|at| at.to_string()).unwrap_or_default();
    let event = CloudEvent {
        specversion: "1.0",
        r#type: "org.kubeflow.serving.inference.response",
        source: format!("/models/{}/versions/{}", version.model, version.version.0),
        id: format!("{}-{}", record.id, record.item),
        time,
        datacontenttype: "application/json",
        data,
    };
    // Plain structs always have a JSON form.
    serde_json::to_string(&event).unwrap_or_default()
}

impl PredictionSender {
    /// Sends batches until the consumer is gone and the queue is empty. Once `closed` turns true nothing is tried again.
    pub async fn run(mut self, closed: watch::Receiver<bool>) {
        let endpoint = self.settings.endpoint.clone();
        let destination = Destination { endpoint, trust: self.trust.clone() };
        let is_closed = closed.clone();
        let mut delivery = Delivery::new("predictions", destination, PATIENCE, self.metrics.clone(), closed);
        let headers = [(header::CONTENT_TYPE, MEDIA_TYPE)];
        let mut batch = Vec::with_capacity(BATCH);
        while self.events.recv_many(&mut batch, BATCH).await > 0 {
            let is_whole = batch.len() == BATCH || *is_closed.borrow();
            if !is_whole {
                let gathered = self.gather(&mut batch);
                // Whatever came in that time goes with the first.
                drop(tokio::time::timeout(GATHER, gathered).await);
            }
            let body = Bytes::from(format!("[{}]", batch.join(",")));
            delivery.deliver(&headers, body, batch.len() as u64).await;
            batch.clear();
        }
    }

    async fn gather(&mut self, batch: &mut Vec<String>) {
        loop {
            let room = BATCH - batch.len();
            if room == 0 || self.events.recv_many(batch, room).await == 0 {
                return;
            }
        }
    }
}
