//! Health and metrics.

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::{StatusCode, header};
use serde::Serialize;
use utoipa::ToSchema;

use crate::api::error::ApiError;
use crate::api::problem::Problem;
use crate::api::state::ApiState;
use crate::config::CompatMetrics;
use crate::metrics::CONTENT_TYPE;

/// The liveness of the process.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Live {
    /// Always true; a process that cannot answer does not answer.
    live: bool,
}

/// The readiness for traffic.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Ready {
    /// True when everything found has been loaded or refused, something serves, and the server is
    /// not shutting down.
    ready: bool,
    /// Versions that serve.
    available_versions: usize,
}

/// Liveness
///
/// Depends on nothing: neither models nor load.
#[utoipa::path(get, path = "/livez", tag = "operations", responses((status = 200, description = "The process works", body = Live)))]
pub(super) async fn livez() -> Json<Live> {
    Json(Live { live: true })
}

/// Liveness, by its older name
#[utoipa::path(get, path = "/healthz", tag = "operations", responses((status = 200, description = "The process works", body = Live)))]
pub(super) async fn healthz() -> Json<Live> {
    livez().await
}

/// Readiness
///
/// False while loading, when nothing serves, and from SIGTERM on.
#[utoipa::path(
    get, path = "/readyz", tag = "operations",
    responses(
        (status = 200, description = "Wants traffic", body = Ready),
        (status = 503, description = "Does not", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(super) async fn readyz(State(state): State<ApiState>) -> Result<Json<Ready>, ApiError> {
    let available_versions = state.readiness()?;
    Ok(Json(Ready { ready: true, available_versions }))
}

/// Prometheus metrics
#[utoipa::path(
    get, path = "/metrics", tag = "operations",
    responses(
        (status = 200, description = "Text exposition 0.0.4", body = String, content_type = "text/plain"),
        (status = 500, description = "Metrics could not be gathered", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(super) async fn metrics(State(state): State<ApiState>) -> Result<Response, ApiError> {
    let mut text = state.metrics().encode()?;
    if state.settings().compat_metrics == CompatMetrics::Triton {
        super::triton_metrics::append(&state.predictor().catalog(), &mut text);
    }
    Ok((StatusCode::OK, [(header::CONTENT_TYPE, CONTENT_TYPE)], text).into_response())
}
