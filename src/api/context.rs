//! The context in which the predictor sees a request: made once, from the request's head.

use http::{Extensions, HeaderMap};

use super::exchange::Arrival;
use super::peer::Peer;
use crate::serving::{Caller, Protocol, RequestContext, TraceParent};

const TRACE_PARENT: &str = "traceparent";

/// Returns the context of a request, whose [`Arrival`] is among its extensions.
pub(super) fn request_context(protocol: Protocol, headers: &HeaderMap, extensions: &Extensions) -> RequestContext {
    let Arrival { id, peer, receipt } = Arrival::of(extensions);
    let trace = headers.get(TRACE_PARENT).and_then(|value| TraceParent::parse(value.as_bytes()));
    RequestContext { trace, receipt, ..RequestContext::new(id, protocol, Caller::Client(peer.map(Peer::ip))) }
}
