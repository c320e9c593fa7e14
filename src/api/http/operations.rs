//! Health and metrics.

use std::collections::BTreeMap;
use std::time::Duration;

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::response::{IntoResponse, Response};
use http::{StatusCode, header};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::api::error::ApiError;
use crate::api::problem::Problem;
use crate::api::state::ApiState;
use crate::config::CompatMetrics;
use crate::error::Error;
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
    /// With `verbose`: the models of which no version serves, each with the reason.
    #[serde(skip_serializing_if = "Option::is_none")]
    idle_models: Option<BTreeMap<String, String>>,
    /// With `verbose`: the aliases that point to a version that is gone or cannot be loaded, each as `model/alias` with
    /// what becomes of its requests.
    #[serde(skip_serializing_if = "Option::is_none")]
    broken_aliases: Option<BTreeMap<String, String>>,
    /// With `verbose`: what is held up although predictions are answered, absent if nothing is.
    #[serde(skip_serializing_if = "Option::is_none")]
    held_up: Option<String>,
}

/// The time from which on it is told that the manager of versions works on one event: all that it does takes
/// milliseconds.
const HELD_UP: Duration = Duration::from_secs(10);

fn held_up(state: &ApiState) -> Option<String> {
    let busy = state.manager().busy();
    (busy >= HELD_UP).then(|| {
        format!(
            "the manager of versions has been at work on one event for {} s; changes of versions wait",
            busy.as_secs()
        )
    })
}

/// The query of a question for readiness.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct ReadyQuery {
    /// Also name the models of which no version serves, unless it is false
    verbose: Option<String>,
}

/// The most models that a problem names.
const MAX_NAMED: usize = 10;

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
    get, path = "/readyz", tag = "operations", params(ReadyQuery),
    responses(
        (status = 200, description = "Wants traffic", body = Ready),
        (status = 503, description = "Does not", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(super) async fn readyz(
    State(state): State<ApiState>,
    query: Result<Query<ReadyQuery>, QueryRejection>,
) -> Result<Json<Ready>, ApiError> {
    let verbose = query.ok().and_then(|Query(query)| query.verbose).is_some_and(|value| value != "false");
    let readiness = state.readiness();
    if !verbose {
        let (idle_models, broken_aliases, held_up) = (None, None, None);
        return Ok(Json(Ready { ready: true, available_versions: readiness?, idle_models, broken_aliases, held_up }));
    }
    let catalog = state.predictor().catalog();
    let idle = catalog.idle().map(|(name, reason)| (name.to_string(), reason));
    match readiness {
        Ok(available_versions) => {
            let held_up = held_up(&state);
            let (idle_models, broken) = (Some(idle.collect()), Some(catalog.broken_aliases().collect()));
            Ok(Json(Ready { ready: true, available_versions, idle_models, broken_aliases: broken, held_up }))
        }
        Err(Error::NotReady { reason }) => {
            let named = idle.take(MAX_NAMED).map(|(name, why)| format!("; {name}: {why}"));
            Err(Error::NotReady { reason: named.fold(reason, |reason, model| reason + &model) }.into())
        }
        Err(error) => Err(error.into()),
    }
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
    state.metrics().set_dropped_lines(state.log().dropped());
    state.metrics().lifecycle.set_manager_busy(state.manager().busy().as_secs_f64());
    let mut text = state.metrics().encode()?;
    if state.settings().compat_metrics == CompatMetrics::Triton {
        super::triton_metrics::append(&state.predictor().catalog(), &mut text);
    }
    Ok((StatusCode::OK, [(header::CONTENT_TYPE, CONTENT_TYPE)], text).into_response())
}
