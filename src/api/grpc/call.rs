//! A call without its message: its id, its caller, and the moment by which the answer is wanted.

use tonic::metadata::MetadataMap;
use tonic::{Extensions, Request};

use super::timeout::Deadline;
use crate::api::access::Caller;
use crate::api::context::request_context;
use crate::api::exchange::Arrival;
use crate::ids::RequestId;
use crate::serving::{Protocol, RequestContext};

/// A call without its message.
#[derive(Debug)]
pub(super) struct Call {
    arrival: Arrival,
    metadata: MetadataMap,
    extensions: Extensions,
}

impl Call {
    /// Takes the message out of a request.
    pub(super) fn split<T>(request: Request<T>) -> (Self, T) {
        let (metadata, extensions, message) = request.into_parts();
        (Self { arrival: Arrival::of(&extensions), metadata, extensions }, message)
    }

    /// Returns the identifier of the call.
    pub(super) fn id(&self) -> &RequestId {
        &self.arrival.id
    }

    /// Returns the context in which the predictor sees the call.
    pub(super) fn context(&self, protocol: Protocol) -> RequestContext {
        request_context(protocol, self.metadata.as_ref(), &self.extensions)
    }

    /// Returns the deadline that the caller stated.
    pub(super) fn deadline(&self) -> Option<Deadline> {
        self.extensions.get().copied()
    }

    /// Returns the caller.
    pub(super) fn caller(&self) -> Caller {
        Caller::new(self.arrival.peer, self.arrival.key.clone(), self.metadata.as_ref())
    }
}
