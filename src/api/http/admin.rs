//! Changes of the versions that serve: promote, roll back, load, unload; and their audit trail.

use axum::Json;
use axum::body::Body;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, IntoResponses, ToSchema};

use crate::api::access::{Action, Caller};
use crate::api::audit::{Asked, Change, recorded};
use crate::api::body::read_body;
use crate::api::error::ApiError;
use crate::api::patience::patient;
use crate::api::problem::Problem;
use crate::api::state::ApiState;
use crate::error::{Error, Result};
use crate::ids::{AliasName, ModelName, RequestId, Version};
use crate::serving::Pointed;
use crate::store::AuditEntry;

/// The target of an alias.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Promotion {
    /// The alias; `stable` answers requests that name no version.
    #[schema(value_type = String, example = "stable")]
    alias: AliasName,
    /// The version, which must be AVAILABLE.
    #[schema(value_type = u64, minimum = 1, example = 1)]
    version: Version,
    /// Compare and set: the version that the alias must point to now, 0 for an alias that must not
    /// exist yet.
    #[schema(value_type = Option<u64>)]
    expected: Option<Version>,
    /// Point it there also if callers of the alias would find other inputs, outputs or labels.
    #[serde(default)]
    #[schema(default = false)]
    allow_changes: bool,
}

/// The alias to point back.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Rollback {
    /// The alias.
    #[schema(value_type = String, example = "stable")]
    alias: AliasName,
}

/// The version to load or unload.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Which {
    /// The version; without it what the version policy wants, or for unloading all.
    #[schema(value_type = Option<u64>, minimum = 1)]
    version: Option<Version>,
}

/// The present target of an alias.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct AliasAnswer {
    /// The model.
    model: String,
    /// The alias.
    alias: String,
    /// The version that it points to.
    version: u64,
    /// The version that it pointed to before.
    #[serde(skip_serializing_if = "Option::is_none")]
    previous: Option<u64>,
    /// Changes of the model's aliases so far.
    generation: u64,
    /// The changes that callers of the alias find, in words.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    changes: Vec<String>,
}

/// The versions that were loaded or unloaded.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct VersionsAnswer {
    /// The model.
    model: String,
    /// The versions that serve now, or no longer do.
    versions: Vec<u64>,
}

/// The query of `/audit`.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct AuditQuery {
    /// The largest number of entries.
    #[param(minimum = 1, maximum = 1000, example = 20)]
    limit: Option<u16>,
}

/// The trail of administrative actions.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct AuditAnswer {
    /// Newest first.
    entries: Vec<AuditEntry>,
}

/// The ways in which an action can fail.
#[derive(IntoResponses)]
#[expect(dead_code, reason = "describes the failures in the document; they are made from errors")]
pub(super) enum Failure {
    #[response(status = 400, description = "The request cannot be read", content_type = "application/problem+json")]
    Malformed(#[to_schema] Problem),
    #[response(
        status = 403,
        description = "Not allowed to this caller by the setting --admin",
        content_type = "application/problem+json"
    )]
    Forbidden(#[to_schema] Problem),
    #[response(
        status = 404,
        description = "No such model, version or alias",
        content_type = "application/problem+json"
    )]
    NotFound(#[to_schema] Problem),
    #[response(
        status = 408,
        description = "The body did not arrive in time",
        content_type = "application/problem+json"
    )]
    SlowClient(#[to_schema] Problem),
    #[response(
        status = 409,
        description = "Not possible in the present state: the version is not AVAILABLE or cannot be loaded, the alias points elsewhere than expected, its callers would find other inputs, outputs or labels, another request did the opposite meanwhile, or the control mode is none",
        content_type = "application/problem+json"
    )]
    Conflict(#[to_schema] Problem),
    #[response(status = 413, description = "A limit was exceeded", content_type = "application/problem+json")]
    TooLarge(#[to_schema] Problem),
    #[response(
        status = 500,
        description = "The change could not be written",
        content_type = "application/problem+json"
    )]
    Internal(#[to_schema] Problem),
    #[response(status = 503, description = "At capacity or shutting down", content_type = "application/problem+json")]
    Unavailable(#[to_schema] Problem),
    #[response(
        status = 504,
        description = "Not done within two minutes; it goes on",
        content_type = "application/problem+json"
    )]
    DeadlineExceeded(#[to_schema] Problem),
}

type Answer<T> = std::result::Result<Json<T>, ApiError>;
type Body_ = axum::extract::Request<Body>;

/// Point an alias to a version
///
/// From the answer on, requests for the alias get the version; no request is lost on the way. A version with other
/// inputs, outputs, columns or labels is refused, saying which, unless the request allows changes.
#[utoipa::path(
    post, path = "/models/{model}/promote", tag = "admin",
    params(("model" = String, Path, description = "The name of the model", example = "mnist-mlp")),
    request_body(content = Promotion, content_type = "application/json"),
    responses((status = 200, description = "The alias points there, and the version serves", body = AliasAnswer), Failure)
)]
pub(super) async fn promote(
    caller: Caller,
    State(state): State<ApiState>,
    id: RequestId,
    Path(model): Path<String>,
    request: Body_,
) -> Answer<AliasAnswer> {
    state.access().permit(&caller, Action::ChangeModels)?;
    let model: ModelName = model.parse()?;
    let Promotion { alias, version, expected, allow_changes } = read(&state, request).await?;
    let outcome = state.manager().promote(model.clone(), alias.clone(), version, expected, allow_changes).await;
    let entry =
        Change { asked: Asked::new(id, &caller), action: "promote", model, version: Some(version), alias: Some(alias) };
    aliased(&state, entry, outcome).await
}

/// Point an alias back to where it pointed before
#[utoipa::path(
    post, path = "/models/{model}/rollback", tag = "admin",
    params(("model" = String, Path, description = "The name of the model", example = "mnist-mlp")),
    request_body(content = Rollback, content_type = "application/json"),
    responses((status = 200, description = "The alias points there, and the version serves", body = AliasAnswer), Failure)
)]
pub(super) async fn rollback(
    caller: Caller,
    State(state): State<ApiState>,
    id: RequestId,
    Path(model): Path<String>,
    request: Body_,
) -> Answer<AliasAnswer> {
    state.access().permit(&caller, Action::ChangeModels)?;
    let model: ModelName = model.parse()?;
    let Rollback { alias } = read(&state, request).await?;
    let outcome = state.manager().rollback(model.clone(), alias.clone()).await;
    let entry = Change { asked: Asked::new(id, &caller), action: "rollback", model, version: None, alias: Some(alias) };
    aliased(&state, entry, outcome).await
}

/// Load a version, or what the version policy wants of a model
///
/// Answers when it serves. What is loaded already stays as it is, unless its files changed.
#[utoipa::path(
    post, path = "/models/{model}/load", tag = "admin",
    params(("model" = String, Path, description = "The name of the model", example = "mnist-mlp")),
    request_body(content = Option<Which>, content_type = "application/json"),
    responses((status = 200, description = "The versions serve", body = VersionsAnswer), Failure)
)]
pub(super) async fn load(
    caller: Caller,
    State(state): State<ApiState>,
    id: RequestId,
    Path(model): Path<String>,
    request: Body_,
) -> Answer<VersionsAnswer> {
    state.access().permit(&caller, Action::ChangeModels)?;
    let model: ModelName = model.parse()?;
    let Which { version } = read(&state, request).await?;
    let outcome = patient(state.manager().load(model.clone(), version)).await;
    listed(&state, Change { asked: Asked::new(id, &caller), action: "load", model, version, alias: None }, outcome)
        .await
}

/// Unload a version, or all of a model
///
/// Answers when the last request under way is done and the memory is free. It stays unloaded until
/// it is loaded by request, or the server starts again.
#[utoipa::path(
    post, path = "/models/{model}/unload", tag = "admin",
    params(("model" = String, Path, description = "The name of the model", example = "mnist-mlp")),
    request_body(content = Option<Which>, content_type = "application/json"),
    responses((status = 200, description = "The versions are gone from memory", body = VersionsAnswer), Failure)
)]
pub(super) async fn unload(
    caller: Caller,
    State(state): State<ApiState>,
    id: RequestId,
    Path(model): Path<String>,
    request: Body_,
) -> Answer<VersionsAnswer> {
    state.access().permit(&caller, Action::ChangeModels)?;
    let model: ModelName = model.parse()?;
    let Which { version } = read(&state, request).await?;
    let outcome = patient(state.manager().unload(model.clone(), version)).await;
    listed(&state, Change { asked: Asked::new(id, &caller), action: "unload", model, version, alias: None }, outcome)
        .await
}

/// Actions of the admin API
#[utoipa::path(
    get, path = "/audit", tag = "admin", params(AuditQuery),
    responses(
        (status = 200, description = "The last actions, newest first", body = AuditAnswer),
        (status = 400, description = "The query cannot be read", body = Problem, content_type = "application/problem+json"),
        (status = 403, description = "Not allowed to this caller by the setting --admin", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "The store cannot be used now", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(super) async fn audit(
    caller: Caller,
    State(state): State<ApiState>,
    query: std::result::Result<Query<AuditQuery>, QueryRejection>,
) -> Answer<AuditAnswer> {
    state.access().permit(&caller, Action::ReadAudit)?;
    let limit = match query {
        Ok(Query(AuditQuery { limit })) => limit.unwrap_or(100),
        Err(rejection) => {
            return Err(Error::Malformed(format!("the query cannot be read: {}", rejection.body_text())).into());
        }
    };
    if !(1..=1000).contains(&limit) {
        return Err(Error::Malformed(format!("\"limit\" must be from 1 to 1000, got {limit}")).into());
    }
    Ok(Json(AuditAnswer { entries: state.audit().last(limit.into()).await? }))
}

/// The body as JSON, whatever its content type; an empty one is `{}`.
async fn read<T: DeserializeOwned>(state: &ApiState, request: Body_) -> Result<T> {
    let (parts, body) = request.into_parts();
    let body = read_body(state, &parts.headers, body).await?;
    let bytes = if body.bytes.is_empty() { &b"{}"[..] } else { &body.bytes };
    // A derived struct would take a list of its fields, too.
    if bytes.iter().find(|byte| !byte.is_ascii_whitespace()) != Some(&b'{') {
        return Err(Error::Malformed("the JSON body cannot be read: expected an object".into()));
    }
    serde_json::from_slice(bytes).map_err(|error| Error::Malformed(format!("the JSON body cannot be read: {error}")))
}

async fn aliased(state: &ApiState, mut entry: Change, outcome: Result<Pointed>) -> Answer<AliasAnswer> {
    if let Ok(pointed) = &outcome {
        entry.version = Some(pointed.version);
    }
    let (model, alias) = (entry.model.to_string(), entry.alias.as_ref().map(ToString::to_string).unwrap_or_default());
    let Pointed { version, previous, generation, changes } = recorded(state.audit(), entry, outcome).await?;
    let previous = previous.map(|version| version.0);
    Ok(Json(AliasAnswer { model, alias, version: version.0, previous, generation, changes }))
}

async fn listed(state: &ApiState, entry: Change, outcome: Result<Vec<Version>>) -> Answer<VersionsAnswer> {
    let model = entry.model.to_string();
    let versions = recorded(state.audit(), entry, outcome).await?.into_iter().map(|version| version.0).collect();
    Ok(Json(VersionsAnswer { model, versions }))
}
