//! The context in which the predictor sees a request: made once, where the request's head is at hand.

use http::{Extensions, HeaderMap};

use super::peer::Peer;
use crate::ids::RequestId;
use crate::serving::{Caller, Protocol, RequestContext, TraceParent};

const TRACE_PARENT: &str = "traceparent";

/// The context of a request; its identifier and its peer are among its extensions.
pub(super) fn request_context(protocol: Protocol, headers: &HeaderMap, extensions: &Extensions) -> RequestContext {
    let id = extensions.get().cloned().unwrap_or_else(RequestId::generate);
    let peer = extensions.get::<Peer>().map(|peer| peer.ip());
    let trace = headers.get(TRACE_PARENT).and_then(|value| TraceParent::parse(value.as_bytes()));
    RequestContext { trace, ..RequestContext::new(id, protocol, Caller::Client(peer)) }
}
