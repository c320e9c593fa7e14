//! The Open Inference Protocol over REST, with Triton's extensions: the routes below `/v2`.
//!
//! Where Triton answers a client's mistake with 500, this answers 400, and 404 for names that do not exist; clients
//! check whether the status is 200, and read `{"error": …}`.

mod answer;
mod body;
mod elements;
mod infer;
mod models;
mod repository;
mod settings;
mod shared_memory;

use axum::Router;
use axum::routing::{get, post};

use crate::api::state::ApiState;

/// The routes. They are other servers' and not in our OpenAPI document.
pub(super) fn routes() -> Router<ApiState> {
    Router::new()
        .route("/v2", get(models::server))
        .route("/v2/", get(models::server))
        .route("/v2/health/live", get(models::live))
        .route("/v2/health/ready", get(models::ready))
        .route("/v2/models", get(models::list))
        .route("/v2/models/stats", get(models::all_statistics))
        .route("/v2/models/{model}", get(models::metadata))
        .route("/v2/models/{model}/ready", get(models::model_ready))
        .route("/v2/models/{model}/config", get(models::config))
        .route("/v2/models/{model}/stats", get(models::statistics))
        .route("/v2/models/{model}/infer", post(infer::infer_model))
        .route("/v2/models/{model}/trace/setting", get(settings::model_trace).post(settings::set_model_trace))
        .route("/v2/models/{model}/versions/{version}", get(models::version_metadata))
        .route("/v2/models/{model}/versions/{version}/ready", get(models::version_ready))
        .route("/v2/models/{model}/versions/{version}/config", get(models::version_config))
        .route("/v2/models/{model}/versions/{version}/stats", get(models::version_statistics))
        .route("/v2/models/{model}/versions/{version}/infer", post(infer::infer_version))
        .route("/v2/trace/setting", get(settings::trace).post(settings::set_trace))
        .route("/v2/logging", get(settings::logging).post(settings::set_logging))
        .route("/v2/repository/index", post(repository::index))
        .route("/v2/repository/models/{model}/load", post(repository::load))
        .route("/v2/repository/models/{model}/unload", post(repository::unload))
        .route("/v2/systemsharedmemory/status", get(shared_memory::status))
        .route("/v2/systemsharedmemory/unregister", post(shared_memory::unregister))
        .route("/v2/systemsharedmemory/region/{region}/status", get(shared_memory::region_status))
        .route("/v2/systemsharedmemory/region/{region}/register", post(shared_memory::register))
        .route("/v2/systemsharedmemory/region/{region}/unregister", post(shared_memory::unregister_region))
        .route("/v2/cudasharedmemory/status", get(shared_memory::cuda))
        .route("/v2/cudasharedmemory/unregister", post(shared_memory::cuda))
        .route("/v2/cudasharedmemory/region/{region}/status", get(shared_memory::cuda))
        .route("/v2/cudasharedmemory/region/{region}/register", post(shared_memory::cuda))
        .route("/v2/cudasharedmemory/region/{region}/unregister", post(shared_memory::cuda))
}
