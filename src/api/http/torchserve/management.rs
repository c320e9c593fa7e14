//! TorchServe's management API as far as it describes models. It changes nothing: registering and scaling are the
//! repository's and the scheduler's here, and Weir's own API promotes, loads and unloads.

use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::routing::get;
use axum::{Json, Router};
use serde::{Deserialize, Serialize};

use super::{model_not_found, version_not_found};
use crate::api::error::ApiError;
use crate::api::state::ApiState;
use crate::error::{Error, Result};
use crate::ids::{ModelName, Version, VersionSpec, shortened};
use crate::serving::{Catalog, ModelEntry, State as VersionState, VersionEntry};

/// Models in one answer, and the most that can be asked for, as in TorchServe.
const DEFAULT_LIMIT: usize = 100;
const MAX_LIMIT: usize = 1000;

/// The routes.
pub(in crate::api::http) fn routes() -> Router<ApiState> {
    Router::new()
        .route("/models", get(list))
        .route("/models/{model}", get(describe_default))
        .route("/models/{model}/{version}", get(describe))
}

type Answer<T> = std::result::Result<Json<T>, ApiError>;

#[derive(Debug, Default, Deserialize)]
struct Page {
    limit: Option<usize>,
    next_page_token: Option<usize>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Listed {
    #[serde(skip_serializing_if = "Option::is_none")]
    next_page_token: Option<String>,
    models: Vec<ListedModel>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ListedModel {
    model_name: String,
    model_url: String,
}

/// One version. What TorchServe says of its own processes and of a GPU has no counterpart and is left
/// out.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Described {
    model_name: String,
    model_version: String,
    model_url: String,
    runtime: &'static str,
    min_workers: usize,
    max_workers: usize,
    batch_size: usize,
    loaded_at_startup: bool,
    workers: Vec<Worker>,
}

/// The lane of a version stands for its workers.
#[derive(Serialize)]
struct Worker {
    id: &'static str,
    status: &'static str,
    gpu: bool,
}

async fn list(State(state): State<ApiState>, page: std::result::Result<Query<Page>, QueryRejection>) -> Answer<Listed> {
    let Query(page) = page.map_err(|rejection| Error::Malformed(shortened(&rejection.body_text())))?;
    let limit = page.limit.unwrap_or(DEFAULT_LIMIT);
    if !(1..=MAX_LIMIT).contains(&limit) {
        return Err(Error::Malformed(format!("limit must be from 1 to {MAX_LIMIT}, got {limit}")).into());
    }
    let catalog = state.predictor().catalog();
    let start = page.next_page_token.unwrap_or(0);
    let end = start.saturating_add(limit);
    let entry = |(name, model): (&ModelName, &ModelEntry)| {
        let version = model.default_version().or_else(|| model.versions.keys().next_back().copied());
        ListedModel {
            model_name: name.to_string(),
            model_url: version.map_or_else(String::new, |version| url(name, version)),
        }
    };
    Ok(Json(Listed {
        next_page_token: (end < catalog.models().len()).then(|| end.to_string()),
        models: catalog.models().iter().skip(start).take(limit).map(entry).collect(),
    }))
}

async fn describe_default(State(state): State<ApiState>, Path(model): Path<String>) -> Answer<Vec<Described>> {
    let catalog: &Catalog = &state.predictor().catalog();
    let (name, entry) = find(catalog, &model)?;
    let version = entry.default_version().or_else(|| entry.versions.keys().next_back().copied());
    let found = version.and_then(|version| Some((version, entry.versions.get(&version)?)));
    Ok(Json(found.map(|(version, entry)| described(&name, version, entry)).into_iter().collect()))
}

async fn describe(
    State(state): State<ApiState>,
    Path((model, version)): Path<(String, String)>,
) -> Answer<Vec<Described>> {
    let catalog: &Catalog = &state.predictor().catalog();
    let (name, entry) = find(catalog, &model)?;
    if version == "all" {
        return Ok(Json(entry.versions.iter().map(|(version, entry)| described(&name, *version, entry)).collect()));
    }
    let not_found = || version_not_found(&model, &version);
    let number = match version.strip_suffix(".0").unwrap_or(&version).parse().map_err(|_| not_found())? {
        VersionSpec::Specific(number) => number,
        VersionSpec::Alias(alias) => entry.aliases.aliases.get(&alias).ok_or_else(not_found)?.version,
        VersionSpec::Latest => entry.default_version().ok_or_else(not_found)?,
    };
    let found = entry.versions.get(&number).ok_or_else(not_found)?;
    Ok(Json(vec![described(&name, number, found)]))
}

fn find<'c>(catalog: &'c Catalog, model: &str) -> Result<(ModelName, &'c ModelEntry)> {
    let not_found = || Error::NotFound(model_not_found(model));
    let name: ModelName = model.parse().map_err(|_| not_found())?;
    let entry = catalog.model(&name).map_err(|error| match error {
        Error::ModelNotFound { .. } => not_found(),
        other => other,
    })?;
    Ok((name, entry))
}

/// Where the version lies in the repository.
fn url(name: &ModelName, version: Version) -> String {
    format!("{name}/{version}/model.onnx")
}

fn described(name: &ModelName, version: Version, entry: &VersionEntry) -> Described {
    let status = match entry.state {
        VersionState::Available => "READY",
        VersionState::Start | VersionState::Loading => "LOADING",
        VersionState::Unloading | VersionState::End => "UNLOADING",
    };
    let worker = Worker { id: "1", status, gpu: false };
    Described {
        model_name: name.to_string(),
        model_version: version.to_string(),
        model_url: url(name, version),
        runtime: "onnx",
        min_workers: 1,
        max_workers: 1,
        batch_size: entry.servable.as_ref().map_or(1, |servable| servable.tuning().max_batch),
        loaded_at_startup: true,
        workers: if entry.state == VersionState::End { Vec::new() } else { vec![worker] },
    }
}
