//! gRPC calls and connections.

use std::time::Duration;

use prometheus::{Gauge, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, Opts, Registry};

use super::{LATENCY_SECONDS, Protocol, register, register_error};
use crate::error::Result;

/// The status codes of gRPC in numerical order.
const CODES: [&str; 17] = [
    "ok",
    "cancelled",
    "unknown",
    "invalid_argument",
    "deadline_exceeded",
    "not_found",
    "already_exists",
    "permission_denied",
    "resource_exhausted",
    "failed_precondition",
    "aborted",
    "out_of_range",
    "unimplemented",
    "internal",
    "unavailable",
    "data_loss",
    "unauthenticated",
];

/// The protocols over gRPC. Calls that belong to neither of the first two count as `operations`.
const PROTOCOLS: [Protocol; 3] = [Protocol::Oip, Protocol::TfServing, Protocol::Operations];

/// The metric handles of gRPC calls and connections, by protocol and status code.
#[derive(Debug)]
pub struct GrpcMetrics {
    /// Open connections on the gRPC port, if it has its own.
    pub connections: Gauge,
    protocols: Vec<ProtocolMetrics>,
}

#[derive(Debug)]
struct ProtocolMetrics {
    protocol: Protocol,
    duration: Histogram,
    by_code: Vec<IntCounter>,
}

impl GrpcMetrics {
    pub(super) fn register(registry: &Registry) -> Result<Self> {
        let connections = Gauge::new("weir_grpc_connections", "Open connections on a port of gRPC's own.");
        let requests = IntCounterVec::new(
            Opts::new("weir_grpc_requests_total", "gRPC calls by protocol and status code (outcome)."),
            &["protocol", "outcome"],
        );
        let duration = HistogramVec::new(
            HistogramOpts::new(
                "weir_grpc_request_duration_seconds",
                "Time from a call's head to its answer; of a stream, to its end.",
            )
            .buckets(LATENCY_SECONDS.to_vec()),
            &["protocol"],
        );
        let connections = register(registry, connections)?;
        let requests = register(registry, requests)?;
        let duration = register(registry, duration)?;
        let bind = |protocol: &Protocol| -> prometheus::Result<ProtocolMetrics> {
            let label = protocol.label();
            let counter = |code: &&str| requests.get_metric_with_label_values(&[label, code]);
            Ok(ProtocolMetrics {
                protocol: *protocol,
                duration: duration.get_metric_with_label_values(&[label])?,
                by_code: CODES.iter().map(counter).collect::<prometheus::Result<_>>()?,
            })
        };
        let protocols = PROTOCOLS.iter().map(bind).collect::<prometheus::Result<_>>().map_err(register_error)?;
        Ok(Self { connections, protocols })
    }

    /// Records one call that ended with the status code of this number.
    pub fn record(&self, protocol: Protocol, code: i32, elapsed: Duration) {
        let bound = self.protocols.iter().find(|bound| bound.protocol == protocol).or(self.protocols.last());
        let Some(bound) = bound else { return };
        bound.duration.observe(elapsed.as_secs_f64());
        let number = usize::try_from(code).unwrap_or(usize::MAX);
        // A code that is not in the list counts as 2, unknown.
        if let Some(counter) = bound.by_code.get(number).or(bound.by_code.get(2)) {
            counter.inc();
        }
    }
}

/// Returns the name of a status code in metrics and logs.
pub fn code_name(code: i32) -> &'static str {
    usize::try_from(code).ok().and_then(|number| CODES.get(number)).copied().unwrap_or("unknown")
}
