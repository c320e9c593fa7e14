//! From a finished prediction to spans.

use std::sync::Arc;
use std::time::Duration;

use super::SpanPlace;
use super::messages::{Content, KIND_INTERNAL, KIND_SERVER, KeyValue, STATUS_ERROR, Span, Status};
use crate::metrics::{Outcome, Stages};
use crate::serving::{Finished, Identity, Protocol};

/// What is copied of a prediction; spans are made of it elsewhere.
#[derive(Debug)]
pub(super) struct Seed {
    place: SpanPlace,
    parent: Option<u64>,
    request_id: Arc<str>,
    version: Arc<Identity>,
    protocol: Protocol,
    outcome: Outcome,
    samples: usize,
    cached: bool,
    /// In nanoseconds since 1970.
    end: u64,
    total: Duration,
    stages: Stages,
    problem: Option<String>,
}

impl Seed {
    pub(super) fn of(prediction: &Finished<'_>, place: SpanPlace) -> Self {
        let context = prediction.context;
        Self {
            place,
            parent: context.trace.map(|trace| trace.parent_id),
            request_id: context.request_id.shared(),
            version: prediction.servable.identity.clone(),
            protocol: context.protocol,
            outcome: prediction.outcome,
            samples: prediction.samples,
            cached: prediction.cached,
            end: u64::try_from(jiff::Timestamp::now().as_nanosecond()).unwrap_or_default(),
            total: prediction.total,
            stages: prediction.stages,
            problem: prediction.error.map(crate::error::Error::without_path),
        }
    }

    /// Returns the span of the prediction and those of its stages. Stages were timed, not dated: they stand one after
    /// the other from the beginning on.
    pub(super) fn spans(&self) -> Vec<Span> {
        let trace_id = self.place.trace_id.to_be_bytes().to_vec();
        let begin = self.end.saturating_sub(nanoseconds(self.total));
        let mut spans = vec![self.whole(&trace_id, begin)];
        let mut at = begin;
        let stages = [("decode", self.stages.decode), ("queue", self.stages.queue), ("infer", self.stages.infer)];
        for (number, (name, duration)) in (1u64..).zip(stages) {
            if duration.is_zero() {
                continue;
            }
            let end = (at + nanoseconds(duration)).min(self.end);
            spans.push(Span {
                trace_id: trace_id.clone(),
                // Another identifier for each stage, which nothing else has.
                span_id: (self.place.span_id ^ (number << 48)).to_be_bytes().to_vec(),
                parent_span_id: self.place.span_id.to_be_bytes().to_vec(),
                name: name.to_owned(),
                kind: KIND_INTERNAL,
                start_time_unix_nano: at,
                end_time_unix_nano: end,
                ..Span::default()
            });
            at = end;
        }
        spans
    }

    fn whole(&self, trace_id: &[u8], begin: u64) -> Span {
        let version = &self.version;
        let number = |number: u64| Content::Number(i64::try_from(number).unwrap_or(i64::MAX));
        let attributes = vec![
            KeyValue::text("weir.request_id", &self.request_id),
            KeyValue::text("weir.model", version.model.as_str()),
            KeyValue::new("weir.version", number(version.version.0)),
            KeyValue::text("weir.protocol", protocol(self.protocol)),
            KeyValue::text("weir.outcome", self.outcome.label()),
            KeyValue::new("weir.samples", number(self.samples as u64)),
            KeyValue::new("weir.cached", Content::Flag(self.cached)),
        ];
        // Refused input is the caller's fault, and of a server's span no error.
        let has_failed = !matches!(self.outcome, Outcome::Success | Outcome::InvalidInput | Outcome::Cancelled);
        let message = self.problem.clone().unwrap_or_default();
        Span {
            trace_id: trace_id.to_vec(),
            span_id: self.place.span_id.to_be_bytes().to_vec(),
            parent_span_id: self.parent.map(|parent| parent.to_be_bytes().to_vec()).unwrap_or_default(),
            name: format!("predict {}", version.model),
            kind: KIND_SERVER,
            start_time_unix_nano: begin,
            end_time_unix_nano: self.end,
            attributes,
            status: has_failed.then_some(Status { message, code: STATUS_ERROR }),
        }
    }
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

fn protocol(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Weir => "weir",
        Protocol::Oip => "oip",
        Protocol::OipGrpc => "oip-grpc",
        Protocol::TfServing => "tfserving",
        Protocol::TfServingGrpc => "tfserving-grpc",
        Protocol::TorchServe => "torchserve",
        Protocol::Internal => "internal",
    }
}
