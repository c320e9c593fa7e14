//! TorchServe's APIs: inference beside Weir's own paths, and the descriptions of its management API on a listener of
//! their own, because the paths are also Weir's.

mod answer;
mod input;
mod management;

use std::time::Instant;

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::response::Response;
use axum::routing::{get, post};
use bytes::Bytes;
use http::{HeaderValue, header};

pub(super) use management::routes as management;

use self::input::{Question, read_question};
use super::explain::explain_each;
use crate::api::context::request_context;
use crate::api::error::ApiError;
use crate::api::state::ApiState;
use crate::api::tfs::classification_output;
use crate::error::{Error, Result};
use crate::ids::{ModelRef, VersionSpec, printable};
use crate::metrics::Stage;
use crate::serving::{Options, Protocol};

/// The number of classes in an answer, as in TorchServe's own image classifier.
const TOP_K: usize = 5;

type Answer = std::result::Result<Response, ApiError>;

/// The routes of the inference API.
pub(super) fn routes() -> Router<ApiState> {
    // A path that other methods share has one name for its parts: there it is the identifier of a prediction.
    Router::new()
        .route("/predictions/{id}", post(predict_model).put(predict_model))
        .route("/predictions/{id}/{version}", post(predict_version).put(predict_version))
        .route("/explanations/{model}", post(explain_model).put(explain_model))
        .route("/explanations/{model}/{version}", post(explain_version).put(explain_version))
        .route("/ping", get(ping))
}

/// The body of the answer to `OPTIONS /`: the API document.
pub(super) fn description(document: &utoipa::openapi::OpenApi) -> Bytes {
    // A document that cannot be written could not be served at its own path either.
    serde_json::to_vec(document).unwrap_or_default().into()
}

async fn predict_model(State(state): State<ApiState>, Path(model): Path<String>, request: Request) -> Answer {
    Ok(predict(&state, &model, None, request).await?)
}

async fn predict_version(
    State(state): State<ApiState>,
    Path((model, version)): Path<(String, String)>,
    request: Request,
) -> Answer {
    Ok(predict(&state, &model, Some(&version), request).await?)
}

async fn explain_model(State(state): State<ApiState>, Path(model): Path<String>, request: Request) -> Answer {
    Ok(explain(&state, &model, None, request).await?)
}

async fn explain_version(
    State(state): State<ApiState>,
    Path((model, version)): Path<(String, String)>,
    request: Request,
) -> Answer {
    Ok(explain(&state, &model, Some(&version), request).await?)
}

async fn ping(State(state): State<ApiState>) -> Answer {
    let is_healthy = state.predictor().catalog().is_ready() && !state.health().is_draining();
    if !is_healthy {
        return Err(
            Error::NotReady { reason: "models are still loading, or the server is shutting down".into() }.into()
        );
    }
    Ok(json(b"{\n  \"status\": \"Healthy\"\n}\n".to_vec()))
}

async fn predict(state: &ApiState, model: &str, version: Option<&str>, request: Request) -> Result<Response> {
    let target = target(model, version)?;
    let servable = state.predictor().resolve(&target).map_err(|error| reworded(error, model, version))?;
    let context = request_context(Protocol::TorchServe, request.headers(), request.extensions());
    let (Question { input, hints, is_one }, held) = read_question(state, &context, &servable, request).await?;
    let context = context.with_hints(hints);
    let body = if classification_output(&servable).is_ok() {
        let options = Options { top_k: TOP_K, ..Options::default() };
        let predicted = state.predictor().predict(&context, servable.clone(), input, options).await?;
        let start = Instant::now();
        let body = answer::classes(&predicted.predictions, is_one);
        servable.metrics().observe(Stage::Encode, start.elapsed());
        body
    } else if servable.answer_text().is_some() {
        let predicted = state.predictor().predict(&context, servable.clone(), input, Options::default()).await?;
        answer::vision(&servable, predicted.predictions, is_one).await?
    } else {
        let inference = state.predictor().infer(&context, &servable, input, Options::default()).await?;
        answer::tensors(&servable, inference.outputs, is_one).await?
    };
    drop(held);
    Ok(json(body))
}

async fn explain(state: &ApiState, model: &str, version: Option<&str>, request: Request) -> Result<Response> {
    let target = target(model, version)?;
    let servable = state.predictor().resolve(&target).map_err(|error| reworded(error, model, version))?;
    let context = request_context(Protocol::TorchServe, request.headers(), request.extensions());
    let (Question { input, hints, is_one }, held) = read_question(state, &context, &servable, request).await?;
    let context = context.with_hints(hints);
    let explanations = explain_each(state, &context, &servable, input).await?;
    drop(held);
    answer::explanations(&explanations, is_one).map(json)
}

/// A version is an integer or alias of ours, or as TorchServe counts, `1.0`.
fn target(model: &str, version: Option<&str>) -> Result<ModelRef> {
    let not_found = |_| Error::NotFound(model_not_found(model));
    let version = match version {
        None => VersionSpec::Latest,
        Some(text) => text.strip_suffix(".0").unwrap_or(text).parse().map_err(|_| version_not_found(model, text))?,
    };
    Ok(ModelRef { name: Some(model.parse().map_err(not_found)?), version })
}

fn reworded(error: Error, model: &str, version: Option<&str>) -> Error {
    match (error, version) {
        (Error::ModelNotFound { .. }, _) => Error::NotFound(model_not_found(model)),
        (Error::VersionNotFound { .. } | Error::AliasNotFound { .. }, Some(version)) => {
            version_not_found(model, version)
        }
        (other, _) => other,
    }
}

fn model_not_found(model: &str) -> String {
    format!("Model not found: {}", printable(model, 64))
}

fn version_not_found(model: &str, version: &str) -> Error {
    let (model, version) = (printable(model, 64), printable(version, 40));
    Error::NotFound(format!("Model version: {version} does not exist for model: {model}"))
}

/// A response of JSON.
pub(super) fn json(body: impl Into<Body>) -> Response {
    let mut response = Response::new(body.into());
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}
