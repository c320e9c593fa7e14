//! Traces: a span for each prediction, with one inside for each stage, sent over OTLP (HTTP, protobuf).
//!
//! The observer behind the tap copies a few numbers into a bounded queue; a task makes spans of them. Without an address
//! neither exists, and the path of requests is as if this module were not there.

mod messages;
mod spans;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, header};
use prost::Message;
use tokio::sync::{mpsc, watch};

use self::messages::{Export, KeyValue, Resource, ResourceSpans, Scope, ScopeSpans};
use self::spans::Seed;
use super::sinks::{Delivery, Patience};
use crate::config::{Sampler, TraceSettings};
use crate::ids::RequestId;
use crate::metrics::SinkMetrics;
use crate::outbound::Destination;
use crate::serving::{Finished, Identity, Observer, TraceParent};
use crate::trust::Trust;

/// The predictions that may wait.
const QUEUE: usize = 8192;

/// The predictions of one request.
const BATCH: usize = 256;

/// The time in which they gather.
const GATHER: Duration = Duration::from_millis(500);

const PATIENCE: Patience = Patience { attempts: 4, pause: Duration::from_millis(500) };

/// The place of a prediction's span: its trace, and its own identifier.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SpanPlace {
    /// The trace: the caller's, or one that begins here.
    pub trace_id: u128,
    /// The span.
    pub span_id: u64,
}

/// Takes predictions to be traced.
#[derive(Debug)]
pub struct Tracer {
    sampler: Sampler,
    sender: mpsc::Sender<Seed>,
    metrics: SinkMetrics,
}

/// The sender of spans, before it runs.
#[derive(Debug)]
pub struct TraceSender {
    settings: TraceSettings,
    trust: Option<Trust>,
    metrics: SinkMetrics,
    seeds: mpsc::Receiver<Seed>,
}

impl Tracer {
    /// Makes the observer, and the sender behind its queue. Behind `https` the receiver must be vouched for by `trust`.
    pub fn new(settings: TraceSettings, trust: Option<Trust>, metrics: SinkMetrics) -> (Arc<Self>, TraceSender) {
        let (sender, seeds) = mpsc::channel(QUEUE);
        let tracer = Self { sampler: settings.sampler, sender, metrics: metrics.clone() };
        (Arc::new(tracer), TraceSender { settings, trust, metrics, seeds })
    }

    /// Returns the place of a request's span; `None` if the request is not traced, or its identifier is the caller's own,
    /// from which no span can be named before it is made.
    pub fn place(&self, parent: Option<TraceParent>, id: &RequestId) -> Option<SpanPlace> {
        let (high, low) = id.made()?.as_u64_pair();
        let own = (u128::from(high) << 64) | u128::from(low);
        let trace_id = parent.map_or(own, |parent| parent.trace_id);
        self.is_chosen(parent, trace_id).then_some(SpanPlace { trace_id, span_id: low })
    }

    fn is_chosen(&self, parent: Option<TraceParent>, trace_id: u128) -> bool {
        // The 56 bits that the W3C calls random. Those of an identifier made here are not all random, so they are mixed.
        let low = trace_id as u64;
        let random = match parent {
            Some(parent) if self.sampler.follows_parent => return parent.sampled,
            Some(_) => low & ((1 << 56) - 1),
            None => low.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 8,
        };
        (random as f64) < self.sampler.share * (1u64 << 56) as f64
    }
}

impl Observer for Tracer {
    fn finished(&self, prediction: &Finished<'_>) {
        let context = prediction.context;
        if !context.caller.is_client() {
            return;
        }
        let place = match context.request_id.made() {
            Some(_) => self.place(context.trace, &context.request_id),
            None => {
                let (high, low) = uuid::Uuid::now_v7().as_u64_pair();
                let trace_id = context.trace.map_or((u128::from(high) << 64) | u128::from(low), |trace| trace.trace_id);
                self.is_chosen(context.trace, trace_id).then_some(SpanPlace { trace_id, span_id: low })
            }
        };
        let Some(place) = place else { return };
        match self.sender.try_reserve() {
            Ok(room) => room.send(Seed::of(prediction, place)),
            Err(_) => self.metrics.dropped(1),
        }
    }
}

/// Shows predictions to two observers.
#[derive(Debug)]
pub struct Both(pub Arc<dyn Observer>, pub Arc<dyn Observer>);

impl Observer for Both {
    fn finished(&self, prediction: &Finished<'_>) {
        self.0.finished(prediction);
        self.1.finished(prediction);
    }

    fn keeps_inputs(&self, version: &Identity) -> bool {
        self.0.keeps_inputs(version) || self.1.keeps_inputs(version)
    }
}

impl TraceSender {
    /// Sends spans until `closed` turns true; what waits then is tried once.
    pub async fn run(mut self, mut closed: watch::Receiver<bool>) {
        let endpoint = self.settings.endpoint.clone();
        let destination = Destination { endpoint, trust: self.trust.clone() };
        let mut delivery = Delivery::new("traces", destination, PATIENCE, self.metrics.clone(), closed.clone());
        let headers = self.headers();
        let mut batch: Vec<Seed> = Vec::with_capacity(BATCH);
        loop {
            tokio::select! {
                biased;
                taken = self.seeds.recv_many(&mut batch, BATCH) => if taken == 0 { return },
                _ = closed.wait_for(|closed| *closed) => return,
            }
            let gather = async {
                loop {
                    let room = BATCH - batch.len();
                    if room == 0 || self.seeds.recv_many(&mut batch, room).await == 0 {
                        return;
                    }
                }
            };
            tokio::select! {
                () = gather => {}
                () = tokio::time::sleep(GATHER) => {}
                _ = closed.wait_for(|closed| *closed) => {}
            }
            let body = Bytes::from(self.export(&batch).encode_to_vec());
            delivery.deliver(&headers, body, batch.len() as u64).await;
            batch.clear();
        }
    }

    fn headers(&self) -> Vec<(HeaderName, HeaderValue)> {
        let own = (header::CONTENT_TYPE, HeaderValue::from_static("application/x-protobuf"));
        // What cannot be a header was meant for something else.
        let given = self.settings.headers.iter();
        let given = given.filter_map(|(name, value)| {
            let mut value = HeaderValue::from_str(value).ok()?;
            value.set_sensitive(true);
            Some((name.to_ascii_lowercase().parse().ok()?, value))
        });
        std::iter::once(own).chain(given).collect()
    }

    fn export(&self, batch: &[Seed]) -> Export {
        let attributes = self.settings.resource.iter().map(|(key, value)| KeyValue::text(key, value)).collect();
        let scope = Scope { name: "weir".into(), version: env!("CARGO_PKG_VERSION").into() };
        let spans = batch.iter().flat_map(Seed::spans).collect();
        let scope_spans = vec![ScopeSpans { scope: Some(scope), spans }];
        Export { resource_spans: vec![ResourceSpans { resource: Some(Resource { attributes }), scope_spans }] }
    }
}
