//! Parts of a request that handlers take as arguments.

use std::convert::Infallible;

use axum::extract::FromRequestParts;
use http::request::Parts;

use crate::api::access::Caller;
use crate::api::peer::Peer;

/// Returns the caller of a request.
pub(super) fn caller_of(parts: &Parts) -> Caller {
    Caller::new(parts.extensions.get::<Peer>().copied(), &parts.headers)
}

impl<S: Sync> FromRequestParts<S> for Caller {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(caller_of(parts))
    }
}
