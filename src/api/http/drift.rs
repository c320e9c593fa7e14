//! `GET /models/{model}/drift`: a version's traffic against its reference.

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::api::error::ApiError;
use crate::api::problem::Problem;
use crate::api::state::ApiState;
use crate::error::{Error, Result};
use crate::ids::{ModelRef, VersionSpec, shortened};
use crate::monitoring::DriftReport;

/// The query of `/models/{model}/drift`.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct DriftQuery {
    /// The version, a positive integer, or an alias; without it the one that answers.
    #[param(example = "1")]
    version: Option<String>,
}

/// A version's traffic against its reference.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct DriftAnswer {
    /// The model.
    model: String,
    /// The version.
    version: u64,
    #[serde(flatten)]
    report: DriftReport,
}

/// See whether traffic has changed
///
/// Each stream (input statistics, classes, margins, energies) is compared with a reference: data that the version was
/// not trained on. Evidence says how sure a change is, at a stated rate of false alarms; effect says how large it is in
/// the last window. The figures are of this process, since the version loaded.
#[utoipa::path(
    get, path = "/models/{model}/drift", tag = "models",
    params(("model" = String, Path, description = "The name of the model", example = "mnist-mlp"), DriftQuery),
    responses(
        (status = 200, description = "The figures", body = DriftAnswer),
        (status = 400, description = "Not a name", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "No such model or version", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "The version has no reference, or monitoring is off", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "The version does not serve", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(super) async fn show(
    State(state): State<ApiState>,
    Path(model): Path<String>,
    query: std::result::Result<Query<DriftQuery>, QueryRejection>,
) -> std::result::Result<Json<DriftAnswer>, ApiError> {
    let Query(query) = query.map_err(|rejection| {
        Error::Malformed(format!("the query cannot be read: {}", shortened(&rejection.body_text())))
    })?;
    let version = query.version.map_or(Ok(VersionSpec::Latest), |version| version.parse())?;
    Ok(Json(answer(&state, &ModelRef { name: Some(model.parse()?), version })?))
}

fn answer(state: &ApiState, target: &ModelRef) -> Result<DriftAnswer> {
    let servable = state.predictor().resolve(target)?;
    let (model, version) = (servable.name.to_string(), servable.version.0);
    let report = state.drift().of(&servable.identity)?;
    Ok(DriftAnswer { model, version, report: DriftReport::clone(&report) })
}
