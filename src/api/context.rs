//! The context in which the predictor sees a request: made once, from the request's head.

use http::{Extensions, HeaderMap};

use super::exchange::{Arrival, trace_parent};
use super::peer::Peer;
use crate::serving::{Caller, Protocol, RequestContext};

/// Returns the context of a request, whose [`Arrival`] is among its extensions.
pub(super) fn request_context(protocol: Protocol, headers: &HeaderMap, extensions: &Extensions) -> RequestContext {
    let arrival = Arrival::of(extensions);
    arrival.asks();
    let Arrival { id, peer, receipt, .. } = arrival;
    let trace = trace_parent(headers);
    RequestContext { trace, receipt, ..RequestContext::new(id, protocol, Caller::Client(peer.map(Peer::ip))) }
}
