//! HTTP requests and connections.

use std::time::Duration;

use prometheus::{Gauge, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, Opts, Registry};

use super::{LATENCY_SECONDS, register, register_error};
use crate::error::Result;

/// The protocol of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// The JSON API of Weir.
    Weir,
    /// The Open Inference Protocol.
    Oip,
    /// The protocol of TensorFlow Serving.
    TfServing,
    /// The protocol of TorchServe.
    TorchServe,
    /// Probes, metrics and documents.
    Operations,
}

impl Protocol {
    const ALL: [Self; 5] = [Self::Weir, Self::Oip, Self::TfServing, Self::TorchServe, Self::Operations];

    pub(super) fn label(self) -> &'static str {
        match self {
            Self::Weir => "weir",
            Self::Oip => "oip",
            Self::TfServing => "tfserving",
            Self::TorchServe => "torchserve",
            Self::Operations => "operations",
        }
    }
}

/// The statuses that have their own series. All others count as `other`.
const STATUSES: [u16; 16] = [200, 303, 304, 400, 404, 405, 408, 413, 415, 422, 431, 499, 500, 503, 504, 507];

/// The metric handles of HTTP requests and connections, by protocol and status.
#[derive(Debug)]
pub struct HttpMetrics {
    /// Open connections.
    pub connections: Gauge,
    protocols: Vec<ProtocolMetrics>,
}

#[derive(Debug)]
struct ProtocolMetrics {
    duration: Histogram,
    by_status: Vec<IntCounter>,
    other: IntCounter,
}

impl HttpMetrics {
    pub(super) fn register(registry: &Registry) -> Result<Self> {
        let connections = Gauge::new("weir_http_connections", "Open HTTP connections.");
        let requests = IntCounterVec::new(
            Opts::new("weir_http_requests_total", "HTTP requests by protocol and status code (outcome)."),
            &["protocol", "outcome"],
        );
        let duration = HistogramVec::new(
            HistogramOpts::new(
                "weir_http_request_duration_seconds",
                "Time from the request's head to the response's head.",
            )
            .buckets(LATENCY_SECONDS.to_vec()),
            &["protocol"],
        );
        let connections = register(registry, connections)?;
        let requests = register(registry, requests)?;
        let duration = register(registry, duration)?;
        let bind = |protocol: &Protocol| -> prometheus::Result<ProtocolMetrics> {
            let label = protocol.label();
            let counter = |outcome: &str| requests.get_metric_with_label_values(&[label, outcome]);
            Ok(ProtocolMetrics {
                duration: duration.get_metric_with_label_values(&[label])?,
                by_status: STATUSES
                    .iter()
                    .map(|status| counter(&status.to_string()))
                    .collect::<prometheus::Result<_>>()?,
                other: counter("other")?,
            })
        };
        let protocols = Protocol::ALL.iter().map(bind).collect::<prometheus::Result<_>>().map_err(register_error)?;
        Ok(Self { connections, protocols })
    }

    /// Records one answered request.
    pub fn record(&self, protocol: Protocol, status: u16, elapsed: Duration) {
        let metrics = &self.protocols[protocol as usize];
        metrics.duration.observe(elapsed.as_secs_f64());
        match STATUSES.iter().position(|known| *known == status) {
            Some(index) => metrics.by_status[index].inc(),
            None => metrics.other.inc(),
        }
    }
}
