//! A call without its message: its id, its caller, and the moment by which the answer is wanted.

use tonic::metadata::MetadataMap;
use tonic::{Extensions, Request};

use super::timeout::Deadline;
use crate::api::access::Caller;
use crate::api::context::request_context;
use crate::api::peer::Peer;
use crate::ids::RequestId;
use crate::serving::{Protocol, RequestContext};

/// A call without its message.
#[derive(Debug)]
pub(super) struct Call {
    id: RequestId,
    metadata: MetadataMap,
    extensions: Extensions,
}

impl Call {
    /// Takes the message out of a request.
    pub(super) fn split<T>(request: Request<T>) -> (Self, T) {
        let (metadata, extensions, message) = request.into_parts();
        let id = extensions.get().cloned().unwrap_or_else(RequestId::generate);
        (Self { id, metadata, extensions }, message)
    }

    /// The identifier of the call.
    pub(super) fn id(&self) -> &RequestId {
        &self.id
    }

    /// Returns the context in which the predictor sees the call.
    pub(super) fn context(&self, protocol: Protocol) -> RequestContext {
        request_context(protocol, self.metadata.as_ref(), &self.extensions)
    }

    /// The moment by which the answer is wanted.
    pub(super) fn deadline(&self) -> Option<Deadline> {
        self.extensions.get().copied()
    }

    /// The party that calls.
    pub(super) fn caller(&self) -> Caller {
        Caller::new(self.extensions.get::<Peer>().copied(), self.metadata.as_ref())
    }
}
