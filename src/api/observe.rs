//! Around every request: its id, its metrics, its log line, and the body of an error if it failed.

use std::time::Instant;

use axum::extract::{MatchedPath, Request, State};
use axum::middleware::Next;
use axum::response::Response;
use http::{HeaderName, HeaderValue, header};

use super::dialect::Dialect;
use super::error;
use super::state::ApiState;
use crate::ids::{RequestId, printable};

pub(super) const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// As much of a path as a log line or a problem repeats.
const MAX_PATH_CHARS: usize = 120;

/// The middleware of the whole router.
pub(super) async fn observe(State(state): State<ApiState>, mut request: Request, next: Next) -> Response {
    let start = Instant::now();
    let id = request.headers().get(X_REQUEST_ID).and_then(|id| RequestId::from_client(id.as_bytes()));
    let id = id.unwrap_or_else(RequestId::generate);
    // A listener of one protocol says which it is; elsewhere paths do.
    let spoken = request.extensions().get::<Dialect>().copied();
    let route = request.extensions().get::<MatchedPath>().map(MatchedPath::as_str);
    let protocol = spoken.map_or_else(|| Dialect::protocol(route), Dialect::as_protocol);
    let method = request.method().clone();
    let uri = request.uri().clone();
    request.extensions_mut().insert(id.clone());
    let mut response = next.run(request).await;
    if response.status().as_u16() >= 400 {
        response = error::finish(
            response,
            spoken.unwrap_or_else(|| Dialect::of(uri.path())),
            &format!("{} {}", printable(method.as_str(), 16), printable(uri.path(), MAX_PATH_CHARS)),
            &id,
        );
    }
    if let Ok(value) = HeaderValue::from_str(id.as_str()) {
        response.headers_mut().insert(X_REQUEST_ID, value);
    }
    response.headers_mut().insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    let elapsed = start.elapsed();
    state.metrics().http.record(protocol, response.status().as_u16(), elapsed);
    let settings = state.settings();
    if settings.access_log || elapsed >= settings.slow_request {
        let what = if elapsed >= settings.slow_request { "slow request" } else { "request" };
        tracing::info!(
            request_id = id.as_str(),
            method = %printable(method.as_str(), 16),
            path = %printable(uri.path(), MAX_PATH_CHARS),
            status = response.status().as_u16(),
            duration_ms = elapsed.as_micros() as f64 / 1e3,
            "{what}"
        );
    }
    response
}
