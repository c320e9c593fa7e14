//! The pages of Swagger UI below `/docs`, which are embedded compressed.

use std::io::Read;

use axum::body::Body;
use axum::extract::Request;
use axum::middleware::Next;
use axum::response::Response;
use bytes::Bytes;
use flate2::read::MultiGzDecoder;
use http::{HeaderValue, header};
use http_body_util::BodyExt;

use crate::api::compression::Encoding;
use crate::api::error::ApiError;
use crate::error::Error;

/// Swagger UI runs no script of the page itself, but sets styles on elements and draws pictures from `data:` URLs.
pub(super) const POLICY: &str = "default-src 'self'; img-src 'self' data:; style-src 'self' 'unsafe-inline'; \
     object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'";

/// Middleware that inflates a compressed page for a client that does not accept gzip.
pub(super) async fn inflate_unless_accepted(request: Request, next: Next) -> Result<Response, ApiError> {
    let accepts_gzip = Encoding::of_answer(request.headers(), usize::MAX) == Some(Encoding::Gzip);
    let mut page = next.run(request).await;
    if !page.headers().contains_key(header::CONTENT_ENCODING) {
        return Ok(page);
    }
    page.headers_mut().insert(header::VARY, HeaderValue::from_static("accept-encoding"));
    if accepts_gzip {
        return Ok(page);
    }
    let (mut parts, body) = page.into_parts();
    let packed = body.collect().await.map_err(|error| Error::internal("the page could not be read", error))?.to_bytes();
    parts.headers.remove(header::CONTENT_ENCODING);
    parts.headers.remove(header::CONTENT_LENGTH);
    Ok(Response::from_parts(parts, Body::from(inflate(&packed)?)))
}

/// Returns the page; an answer to HEAD has none.
fn inflate(packed: &Bytes) -> Result<Vec<u8>, Error> {
    let mut page = Vec::new();
    if !packed.is_empty() {
        let read = MultiGzDecoder::new(&packed[..]).read_to_end(&mut page);
        read.map_err(|error| Error::internal("the page could not be inflated", error))?;
    }
    Ok(page)
}
