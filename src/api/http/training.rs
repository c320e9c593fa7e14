//! The metrics of a running training job: a router with one page.

use std::sync::Arc;

use axum::Router;
use axum::response::IntoResponse;
use axum::routing::get;
use http::{StatusCode, header};

use crate::metrics::{CONTENT_TYPE, TrainingMetrics};

/// `GET /metrics` of a training run.
pub fn router(metrics: Arc<TrainingMetrics>) -> Router {
    let page = async move || match metrics.encode() {
        Ok(text) => (StatusCode::OK, [(header::CONTENT_TYPE, CONTENT_TYPE)], text).into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    };
    Router::new().route("/metrics", get(page))
}
