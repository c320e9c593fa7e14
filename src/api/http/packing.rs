//! Lists that may be long, packed for callers who accept that.

use axum::body::Body;
use axum::extract::Request;
use axum::middleware::Next;
use axum::response::Response;
use http::{HeaderMap, HeaderValue, header};
use http_body_util::BodyExt;

use crate::api::compression::Encoding;
use crate::api::error::ApiError;
use crate::api::offload::off_reactor;
use crate::error::Error;

/// Middleware that packs an answer in gzip or deflate if the caller accepts that and the answer is worth it.
pub(super) async fn pack_if_accepted(request: Request, next: Next) -> Result<Response, ApiError> {
    let accepted = request.headers().get(header::ACCEPT_ENCODING).cloned();
    let accepted = HeaderMap::from_iter(accepted.map(|value| (header::ACCEPT_ENCODING, value)));
    let (mut parts, body) = next.run(request).await.into_parts();
    if !parts.status.is_success() {
        return Ok(Response::from_parts(parts, body));
    }
    let collected = body.collect().await;
    let body = collected.map_err(|error| Error::internal("the answer could not be read", error))?.to_bytes();
    parts.headers.insert(header::VARY, HeaderValue::from_static("accept-encoding"));
    let Some(encoding) = Encoding::of_answer(&accepted, body.len()) else {
        return Ok(Response::from_parts(parts, Body::from(body)));
    };
    let packed = off_reactor(body.len(), move || encoding.pack(&body)).await?;
    parts.headers.remove(header::CONTENT_LENGTH);
    parts.headers.insert(header::CONTENT_ENCODING, encoding.header());
    Ok(Response::from_parts(parts, Body::from(packed)))
}
