//! Parts of a request that handlers take as arguments.

use std::convert::Infallible;

use axum::extract::FromRequestParts;
use http::request::Parts;

use crate::api::access::Caller;
use crate::api::exchange::Arrival;
use crate::ids::RequestId;

/// Returns the caller of a request.
pub(super) fn caller_of(parts: &Parts) -> Caller {
    let Arrival { peer, key, .. } = Arrival::of(&parts.extensions);
    Caller::new(peer, key, &parts.headers)
}

impl<S: Sync> FromRequestParts<S> for Caller {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(caller_of(parts))
    }
}

impl<S: Sync> FromRequestParts<S> for RequestId {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(Arrival::of(&parts.extensions).id)
    }
}
