//! `POST /models/{model}/versions/{version}/compare`: on what do two versions disagree?

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use http::{Extensions, HeaderMap};
use serde::Deserialize;
use utoipa::IntoParams;

use crate::api::context::request_context;
use crate::api::error::ApiError;
use crate::api::problem::Problem;
use crate::api::state::ApiState;
use crate::error::Error;
use crate::ids::{ModelName, ModelRef, VersionSpec, shortened};
use crate::serving::{Agreement, Protocol};

/// The query of `/compare`.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct CompareQuery {
    /// The other version of the model, by number or alias.
    #[param(example = "2")]
    with: String,
}

/// Compare two versions of a model on a probe set
///
/// Both are asked about the probe set of the first, or else of the second, behind the requests of others: how often they
/// disagree, and who is right. Comparisons of one model go one after the other, and no more at a time than there are cores.
#[utoipa::path(
    post, path = "/models/{model}/versions/{version}/compare", tag = "models",
    params(
        ("model" = String, Path, description = "The name of the model", example = "mnist-mlp"),
        ("version" = String, Path, description = "The version, a positive integer, or an alias", example = "1"),
        CompareQuery
    ),
    responses(
        (status = 200, description = "What they disagree on", body = Agreement),
        (status = 400, description = "The query cannot be read", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "There is no such model or version", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "Neither has a probe set, or their answers cannot be compared", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "The server has no room for it now", body = Problem, content_type = "application/problem+json"),
        (status = 504, description = "It took too long", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(super) async fn compare(
    State(state): State<ApiState>,
    Path((model, version)): Path<(String, String)>,
    query: std::result::Result<Query<CompareQuery>, QueryRejection>,
    headers: HeaderMap,
    extensions: Extensions,
) -> std::result::Result<Json<Agreement>, ApiError> {
    let Query(CompareQuery { with }) = query.map_err(|rejection| {
        Error::Malformed(format!("the query cannot be read: {}", shortened(&rejection.body_text())))
    })?;
    let context = request_context(Protocol::Weir, &headers, &extensions);
    let name: ModelName = model.parse()?;
    let resolve = |version: VersionSpec| state.predictor().resolve(&ModelRef { name: Some(name.clone()), version });
    let (this, other) = (resolve(version.parse()?)?, resolve(with.parse()?)?);
    Ok(Json(state.predictor().compare(&context, &this, &other).await?))
}
