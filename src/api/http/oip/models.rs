//! Health, metadata, configuration and statistics.

use axum::Json;
use axum::extract::{Path, State};
use serde::Serialize;

use crate::api::error::ApiError;
use crate::api::oip::{
    ModelConfig, ModelMetadata, ModelStatistics, ServerMetadata, model_config, model_metadata, model_statistics,
    resolve, server_metadata,
};
use crate::api::state::ApiState;

type Answer<T> = Result<Json<T>, ApiError>;

/// The answer to whether the process is alive.
#[derive(Debug, Serialize)]
pub(super) struct Live {
    live: bool,
}

/// The answer to whether the server takes requests.
#[derive(Debug, Serialize)]
pub(super) struct Ready {
    ready: bool,
}

/// The answer to whether a model takes requests.
#[derive(Debug, Serialize)]
pub(super) struct ModelReady {
    name: String,
    ready: bool,
}

/// The names of all models, as KServe lists them.
#[derive(Debug, Serialize)]
pub(super) struct ModelNames {
    models: Vec<String>,
}

/// Statistics of some versions.
#[derive(Debug, Serialize)]
pub(super) struct StatisticsAnswer {
    model_stats: Vec<ModelStatistics>,
}

pub(super) async fn server(State(state): State<ApiState>) -> Json<ServerMetadata> {
    Json(server_metadata(&state))
}

pub(super) async fn live() -> Json<Live> {
    Json(Live { live: true })
}

pub(super) async fn ready(State(state): State<ApiState>) -> Answer<Ready> {
    state.readiness()?;
    Ok(Json(Ready { ready: true }))
}

pub(super) async fn list(State(state): State<ApiState>) -> Json<ModelNames> {
    let catalog = state.predictor().catalog();
    Json(ModelNames { models: catalog.models().keys().map(ToString::to_string).collect() })
}

pub(super) async fn metadata(State(state): State<ApiState>, Path(model): Path<String>) -> Answer<ModelMetadata> {
    Ok(Json(model_metadata(&state, &model, "")?))
}

pub(super) async fn version_metadata(
    State(state): State<ApiState>,
    Path((model, version)): Path<(String, String)>,
) -> Answer<ModelMetadata> {
    Ok(Json(model_metadata(&state, &model, &version)?))
}

pub(super) async fn model_ready(State(state): State<ApiState>, Path(model): Path<String>) -> Answer<ModelReady> {
    resolve(&state, &model, "")?;
    Ok(Json(ModelReady { name: model, ready: true }))
}

pub(super) async fn version_ready(
    State(state): State<ApiState>,
    Path((model, version)): Path<(String, String)>,
) -> Answer<ModelReady> {
    resolve(&state, &model, &version)?;
    Ok(Json(ModelReady { name: model, ready: true }))
}

pub(super) async fn config(State(state): State<ApiState>, Path(model): Path<String>) -> Answer<ModelConfig> {
    Ok(Json(model_config(&state, &model, "")?))
}

pub(super) async fn version_config(
    State(state): State<ApiState>,
    Path((model, version)): Path<(String, String)>,
) -> Answer<ModelConfig> {
    Ok(Json(model_config(&state, &model, &version)?))
}

pub(super) async fn all_statistics(State(state): State<ApiState>) -> Answer<StatisticsAnswer> {
    Ok(Json(StatisticsAnswer { model_stats: model_statistics(&state, "", "")? }))
}

pub(super) async fn statistics(State(state): State<ApiState>, Path(model): Path<String>) -> Answer<StatisticsAnswer> {
    Ok(Json(StatisticsAnswer { model_stats: model_statistics(&state, &model, "")? }))
}

pub(super) async fn version_statistics(
    State(state): State<ApiState>,
    Path((model, version)): Path<(String, String)>,
) -> Answer<StatisticsAnswer> {
    Ok(Json(StatisticsAnswer { model_stats: model_statistics(&state, &model, &version)? }))
}
