//! Who calls, and by when the answer is wanted.

use tonic::{Extensions, Request};

use super::timeout::Deadline;
use crate::api::http::admit_administrator;
use crate::api::server::Peer;
use crate::api::state::ApiState;
use crate::error::Result;
use crate::ids::RequestId;

/// The other end of a call.
#[derive(Debug)]
pub(super) struct Caller {
    id: RequestId,
    metadata: tonic::metadata::MetadataMap,
    extensions: Extensions,
}

impl Caller {
    /// Parts the caller from what is asked.
    pub(super) fn split<T>(request: Request<T>) -> (Self, T) {
        let (metadata, mut extensions, message) = request.into_parts();
        let id = extensions.remove().unwrap_or_else(RequestId::generate);
        (Self { id, metadata, extensions }, message)
    }

    /// The identifier of the call.
    pub(super) fn id(&self) -> &RequestId {
        &self.id
    }

    /// When the answer is wanted.
    pub(super) fn deadline(&self) -> Option<Deadline> {
        self.extensions.get().copied()
    }

    /// Refuses who may not use the admin API.
    ///
    /// # Errors
    /// [`crate::error::Error::Forbidden`].
    pub(super) fn must_be_administrator(&self, state: &ApiState) -> Result<()> {
        admit_administrator(state, self.extensions.get::<Peer>(), self.metadata.as_ref())
    }
}
