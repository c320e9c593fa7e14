//! `POST /models/{model}/explain`: which parts of an input made the answer?

use std::sync::Arc;
use std::time::Instant;

use axum::body::Body;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, Request, State};
use axum::response::Response;
use http::{HeaderValue, header};
use serde_json::Value;

use super::explain_types::{ExplainAnswer, ExplainQuery};
use super::predict_input::{Question, read_question, wants_png};
use super::predict_types::{Binary, PredictBody, PredictFailure, PredictForm, PredictHeaders, PredictQuery};
use crate::api::context::request_context;
use crate::api::error::ApiError;
use crate::api::offload::off_reactor;
use crate::api::state::ApiState;
use crate::error::{Error, Result};
use crate::ids::{ModelRef, VersionSpec, shortened};
use crate::serving::{Explaining, Explanation, Input, Part, Protocol, RequestContext, Servable};

/// The most samples that a request of another protocol may bring.
const MOST_SAMPLES: usize = 16;

type QueryResult = std::result::Result<Query<ExplainQuery>, QueryRejection>;
type Answer = std::result::Result<Response, ApiError>;

/// Explain an answer of a model
///
/// The body is one sample, as of `/predict`. The answer credits each part of it: cells of a picture, columns of a row,
/// steps of a sequence. It takes many runs of the model, which go behind the requests of others. With
/// `Accept: image/png` the answer to a picture is the picture as the model saw it, red where it speaks for the class and
/// blue where it speaks against it.
#[utoipa::path(
    post, path = "/models/{model}/explain", tag = "predict",
    params(("model" = String, Path, description = "The name of the model", example = "mnist-mlp"), PredictHeaders, ExplainQuery),
    request_body(description = "One image, row or sequence", content(
        (Binary = "image/png"), (Binary = "image/jpeg"), (Binary = "image/webp"), (Binary = "image/gif"),
        (Binary = "image/bmp"), (Binary = "image/tiff"), (PredictForm = "multipart/form-data"), (PredictBody = "application/json"), (Binary = "application/octet-stream")
    )),
    responses(
        (status = 200, description = "The credit of each part", content(
            (ExplainAnswer<'static> = "application/json"), (Binary = "image/png")
        )),
        PredictFailure
    )
)]
pub(super) async fn explain_model(
    State(state): State<ApiState>,
    Path(model): Path<String>,
    query: QueryResult,
    request: Request,
) -> Answer {
    let target = ModelRef { name: Some(model.parse()?), version: VersionSpec::Latest };
    Ok(explain(&state, &target, query, request).await?)
}

/// Explain an answer of one version of a model, by number or alias
///
/// Body and answer are as of `/models/{model}/explain`.
#[utoipa::path(
    post, path = "/models/{model}/versions/{version}/explain", tag = "predict",
    params(
        ("model" = String, Path, description = "The name of the model", example = "mnist-mlp"),
        ("version" = String, Path, description = "The version, a positive integer, or an alias", example = "1"),
        PredictHeaders, ExplainQuery
    ),
    request_body(description = "One image, row or sequence", content(
        (Binary = "image/png"), (Binary = "image/jpeg"), (Binary = "image/webp"), (Binary = "image/gif"),
        (Binary = "image/bmp"), (Binary = "image/tiff"), (PredictForm = "multipart/form-data"), (PredictBody = "application/json"), (Binary = "application/octet-stream")
    )),
    responses(
        (status = 200, description = "The credit of each part", content(
            (ExplainAnswer<'static> = "application/json"), (Binary = "image/png")
        )),
        PredictFailure
    )
)]
pub(super) async fn explain_version(
    State(state): State<ApiState>,
    Path((model, version)): Path<(String, String)>,
    query: QueryResult,
    request: Request,
) -> Answer {
    let target = ModelRef { name: Some(model.parse()?), version: version.parse()? };
    Ok(explain(&state, &target, query, request).await?)
}

async fn explain(state: &ApiState, target: &ModelRef, query: QueryResult, mut request: Request) -> Result<Response> {
    let start = Instant::now();
    let context = request_context(Protocol::Weir, request.headers(), request.extensions());
    let Query(query) = query.map_err(|rejection| {
        Error::Malformed(format!("the query cannot be read: {}", shortened(&rejection.body_text())))
    })?;
    let wanted = query.checked()?;
    let is_drawn = wants_png(request.headers());
    // It is the explanation that is drawn, and not the answer.
    request.headers_mut().remove(header::ACCEPT);
    let servable = state.predictor().resolve(target)?;
    let asked = PredictQuery { polarity: Some(wanted.polarity), ..PredictQuery::default() };
    let Question { input, hints, held, .. } = read_question(state, &context, &servable, asked, request).await?;
    let context = context.with_hints(hints);
    let explanation = state.predictor().explain(&context, servable, input, &wanted).await?;
    drop(held);
    let (media, body) = if is_drawn {
        ("image/png", off_reactor(usize::MAX, move || explanation.picture()).await?)
    } else {
        let total_ms = start.elapsed().as_secs_f64() * 1e3;
        ("application/json", written(context.request_id.as_str(), &explanation, total_ms)?)
    };
    let mut response = Response::new(Body::from(body));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(media));
    Ok(response)
}

/// Explains the answers of a request of another protocol, which states no choices: each as an answer of `/explain`.
///
/// # Errors
/// [`Error::TooLarge`] for more than [`MOST_SAMPLES`] samples, and those of an explanation.
pub(super) async fn explain_each(
    state: &ApiState,
    context: &RequestContext,
    servable: &Arc<Servable>,
    input: Input,
) -> Result<Vec<Value>> {
    let count = input.samples(servable.runner(Part::Model)?);
    if count > MOST_SAMPLES {
        let got = format!("{count} samples");
        return Err(Error::TooLarge { what: "the batch to explain", limit: MOST_SAMPLES as u64, got });
    }
    let mut answers = Vec::with_capacity(count);
    for sample in input.apart(servable) {
        let start = Instant::now();
        let usual = Explaining::default();
        let explanation = state.predictor().explain(context, servable.clone(), sample, &usual).await?;
        let total_ms = start.elapsed().as_secs_f64() * 1e3;
        let answer = ExplainAnswer::new(context.request_id.as_str(), &explanation, total_ms);
        answers.push(serde_json::to_value(&answer).map_err(unwritten)?);
    }
    Ok(answers)
}

fn unwritten(error: serde_json::Error) -> Error {
    Error::internal("the answer could not be written", error)
}

fn written(request_id: &str, explanation: &Explanation, total_ms: f64) -> Result<Vec<u8>> {
    let answer = ExplainAnswer::new(request_id, explanation, total_ms);
    serde_json::to_vec(&answer).map_err(unwritten)
}
