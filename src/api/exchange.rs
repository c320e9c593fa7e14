//! The life of a request of any protocol: its id, its log line, and the containment of panics. HTTP and gRPC
//! both go through here; metrics and error bodies are each protocol's own.
//!
//! tower-http has a layer for each of these, and this does more or costs less:
//! - `SetRequestIdLayer` takes over any id that a client sends; here an id must be harmless in headers,
//!   bodies and logs, or it is replaced. Both its layers write headers, of which one is enough.
//! - `TraceLayer` opens a span for every request and wraps every body; here a request that is neither slow
//!   nor wanted in the log costs one comparison.
//! - `CatchPanicLayer` wraps every body twice more and logs what the panic hook has logged.

use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use http::{Extensions, HeaderMap, HeaderName, HeaderValue};

use super::peer::Peer;
use super::state::ApiSettings;
use crate::ids::{RequestId, printable};
use crate::keys::Key;
use crate::monitoring::{SpanPlace, Tracer};
use crate::serving::TraceParent;

pub(super) const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Asks for a receipt, and carries it back.
const X_WEIR_RECEIPT: HeaderName = HeaderName::from_static("x-weir-receipt");
const TRACE_PARENT: HeaderName = HeaderName::from_static("traceparent");
const TRACE_RESPONSE: HeaderName = HeaderName::from_static("traceresponse");

/// The part of a path that a log line or an error repeats.
pub(super) const MAX_PATH_CHARS: usize = 120;

/// A request that is being answered.
#[derive(Debug)]
pub(super) struct Exchange {
    id: RequestId,
    start: Instant,
    receipt: Option<Arc<OnceLock<String>>>,
    /// Where predictions are traced: what the caller says of the trace, and whether a prediction was asked for.
    trace: Option<Arc<Traced>>,
}

/// A request that is traced if it asks for a prediction.
#[derive(Debug)]
pub(super) struct Traced {
    parent: Option<TraceParent>,
    has_asked: AtomicBool,
}

/// The identity of a request, among its extensions.
#[derive(Debug, Clone)]
pub(super) struct Arrival {
    pub(super) id: RequestId,
    /// Absent from requests that this process makes itself.
    pub(super) peer: Option<Peer>,
    /// A place for the receipt, if one is asked for.
    pub(super) receipt: Option<Arc<OnceLock<String>>>,
    trace: Option<Arc<Traced>>,
    /// The key that the request shows, where the server asks for one.
    pub(super) key: Option<Arc<Key>>,
}

impl Exchange {
    /// Begins to answer a request. The caller's id is kept if it is fit to be repeated.
    pub(super) fn begin(headers: &HeaderMap, tracer: Option<&Tracer>) -> Self {
        let start = Instant::now();
        let id = headers.get(X_REQUEST_ID).and_then(|id| RequestId::from_client(id.as_bytes()));
        let receipt = headers.get(X_WEIR_RECEIPT).is_some_and(|asked| matches!(asked.as_bytes(), b"1" | b"true"));
        let trace =
            tracer.map(|_| Arc::new(Traced { parent: trace_parent(headers), has_asked: AtomicBool::new(false) }));
        let id = id.unwrap_or_else(RequestId::generate);
        Self { id, start, receipt: receipt.then(Arc::default), trace }
    }

    pub(super) fn id(&self) -> &RequestId {
        &self.id
    }

    /// Returns what handlers may know of it.
    pub(super) fn arrival(&self, peer: Option<Peer>, key: Option<Arc<Key>>) -> Arrival {
        Arrival { id: self.id.clone(), peer, receipt: self.receipt.clone(), trace: self.trace.clone(), key }
    }

    /// The moment at which its head had arrived.
    pub(super) fn start(&self) -> Instant {
        self.start
    }

    /// Tells the caller the id, and gives it the receipt that it asked for.
    pub(super) fn add_id(&self, headers: &mut HeaderMap) {
        // The alphabet of ids has nothing that a header may not hold.
        if let Ok(value) = HeaderValue::from_str(self.id.as_str()) {
            headers.insert(X_REQUEST_ID, value);
        }
        let receipt = self.receipt.as_ref().and_then(|receipt| HeaderValue::from_str(receipt.get()?).ok());
        if let Some(receipt) = receipt {
            headers.insert(X_WEIR_RECEIPT, receipt);
        }
    }

    /// Tells the caller the span of its prediction, if it has one: the header `traceresponse` of the W3C.
    pub(super) fn add_span(&self, tracer: Option<&Tracer>, headers: &mut HeaderMap) {
        let (Some(tracer), Some(trace)) = (tracer, &self.trace) else { return };
        if !trace.has_asked.load(Ordering::Relaxed) {
            return;
        }
        if let Some(SpanPlace { trace_id, span_id }) = tracer.place(trace.parent, &self.id)
            && let Ok(value) = HeaderValue::from_str(&format!("00-{trace_id:032x}-{span_id:016x}-01"))
        {
            headers.insert(TRACE_RESPONSE, value);
        }
    }

    /// Logs the request if all are logged, or if it was slow.
    pub(super) fn log(
        &self,
        settings: &ApiSettings,
        elapsed: Duration,
        method: &str,
        path: &str,
        status: impl tracing::Value,
        key: Option<&Key>,
    ) {
        let is_slow = elapsed >= settings.slow_request;
        if settings.access_log || is_slow {
            tracing::info!(
                request_id = self.id.as_str(),
                method = %printable(method, 16),
                path = %printable(path, MAX_PATH_CHARS),
                status,
                key = key.map(|key| key.name.as_str()),
                duration_ms = elapsed.as_micros() as f64 / 1e3,
                "{}",
                if is_slow { "slow request" } else { "request" }
            );
        }
    }
}

/// Returns what the caller says of the trace that its request belongs to.
pub(super) fn trace_parent(headers: &HeaderMap) -> Option<TraceParent> {
    headers.get(TRACE_PARENT).and_then(|value| TraceParent::parse(value.as_bytes()))
}

impl Arrival {
    /// Notes that the request asks for a prediction.
    pub(super) fn asks(&self) {
        if let Some(trace) = &self.trace {
            trace.has_asked.store(true, Ordering::Relaxed);
        }
    }

    /// Returns the identity of the request with these extensions.
    pub(super) fn of(extensions: &Extensions) -> Self {
        let own = || Self { id: RequestId::generate(), peer: None, receipt: None, trace: None, key: None };
        extensions.get().cloned().unwrap_or_else(own)
    }
}

/// Returns the outcome of the work, or `None` if it panicked: a panic costs its own request only.
pub(super) async fn contain<T>(work: impl Future<Output = T>) -> Option<T> {
    AssertUnwindSafe(work).catch_unwind().await.ok()
}
