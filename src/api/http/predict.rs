//! `POST /predict` and its forms with a model and a version.

use std::time::{Duration, Instant};

use axum::body::Body;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, Request, State};
use axum::response::Response;
use bytes::Bytes;
use http::{HeaderValue, header};

use super::predict_input::{Question, read_question};
use super::predict_types::{
    Binary, PredictAnswer, PredictBody, PredictFailure, PredictForm, PredictHeaders, PredictQuery, Timings,
};
use crate::api::context::request_context;
use crate::api::error::ApiError;
use crate::api::offload::off_reactor;
use crate::api::state::ApiState;
use crate::error::Error;
use crate::ids::{ModelRef, VersionSpec, shortened};
use crate::serving::{Input, Predicted, Prediction, Protocol, RequestContext};

type Answer = Result<Response, ApiError>;
type QueryResult = Result<Query<PredictQuery>, QueryRejection>;

/// Ask the default model
///
/// The body is one PNG, JPEG, WebP, GIF, BMP or TIFF file, a form with any number of them, or JSON. What it is, is judged
/// by its bytes; only a form needs its content type.
#[utoipa::path(
    post, path = "/predict", tag = "predict", params(PredictHeaders, PredictQuery),
    request_body(description = "Images, numbers, rows, sequences or texts", content(
        (Binary = "image/png"), (Binary = "image/jpeg"), (Binary = "image/webp"), (Binary = "image/gif"),
        (Binary = "image/bmp"), (Binary = "image/tiff"), (PredictForm = "multipart/form-data"), (String = "text/plain"), (PredictBody = "application/json"), (Binary = "application/octet-stream")
    )),
    responses(
        (status = 200, description = "The predictions, in the order of the samples; of a drawn answer a picture", content(
            (PredictAnswer<'static> = "application/json"), (Binary = "image/png")
        )),
        PredictFailure
    )
)]
pub(super) async fn predict_default(State(state): State<ApiState>, query: QueryResult, request: Request) -> Answer {
    predict(&state, &ModelRef { name: None, version: VersionSpec::Latest }, query, request).await
}

/// Ask a model by name
///
/// The version that its alias `stable` points to answers, or without that alias its newest available
/// one. The body is as of `/predict`.
#[utoipa::path(
    post, path = "/models/{model}/predict", tag = "predict",
    params(("model" = String, Path, description = "The name of the model", example = "mnist-mlp"), PredictHeaders, PredictQuery),
    request_body(description = "Images, numbers, rows, sequences or texts", content(
        (Binary = "image/png"), (Binary = "image/jpeg"), (Binary = "image/webp"), (Binary = "image/gif"),
        (Binary = "image/bmp"), (Binary = "image/tiff"), (PredictForm = "multipart/form-data"), (String = "text/plain"), (PredictBody = "application/json"), (Binary = "application/octet-stream")
    )),
    responses(
        (status = 200, description = "The predictions, in the order of the samples; of a drawn answer a picture", content(
            (PredictAnswer<'static> = "application/json"), (Binary = "image/png")
        )),
        PredictFailure
    )
)]
pub(super) async fn predict_model(
    State(state): State<ApiState>,
    Path(model): Path<String>,
    query: QueryResult,
    request: Request,
) -> Answer {
    let target = ModelRef { name: Some(model.parse()?), version: VersionSpec::Latest };
    predict(&state, &target, query, request).await
}

/// Ask one version of a model, by number or alias
///
/// The body is as of `/predict`.
#[utoipa::path(
    post, path = "/models/{model}/versions/{version}/predict", tag = "predict",
    params(
        ("model" = String, Path, description = "The name of the model", example = "mnist-mlp"),
        ("version" = String, Path, description = "The version, a positive integer, or an alias", example = "1"),
        PredictHeaders, PredictQuery
    ),
    request_body(description = "Images, numbers, rows, sequences or texts", content(
        (Binary = "image/png"), (Binary = "image/jpeg"), (Binary = "image/webp"), (Binary = "image/gif"),
        (Binary = "image/bmp"), (Binary = "image/tiff"), (PredictForm = "multipart/form-data"), (String = "text/plain"), (PredictBody = "application/json"), (Binary = "application/octet-stream")
    )),
    responses(
        (status = 200, description = "The predictions, in the order of the samples; of a drawn answer a picture", content(
            (PredictAnswer<'static> = "application/json"), (Binary = "image/png")
        )),
        PredictFailure
    )
)]
pub(super) async fn predict_version(
    State(state): State<ApiState>,
    Path((model, version)): Path<(String, String)>,
    query: QueryResult,
    request: Request,
) -> Answer {
    let target = ModelRef { name: Some(model.parse()?), version: version.parse()? };
    predict(&state, &target, query, request).await
}

fn written(context: &RequestContext, predicted: &Predicted, total: Duration, length: usize) -> Result<Vec<u8>, Error> {
    let mut body = Vec::with_capacity(length);
    let answer = PredictAnswer {
        request_id: context.request_id.as_str(),
        model: predicted.servable.name.as_str(),
        version: predicted.servable.version.0,
        predictions: &predicted.predictions,
        truncated: &predicted.truncated,
        timings_ms: Timings::new(predicted.stages, total),
    };
    serde_json::to_writer(&mut body, &answer)
        .map_err(|error| Error::internal("the answer could not be written", error))?;
    Ok(body)
}

/// Answers with the sent picture and what was found on it.
async fn drawn(mut predicted: Predicted, picture: Bytes) -> Answer {
    let start = Instant::now();
    let servable = predicted.servable.clone();
    let prediction = predicted.predictions.pop();
    let draw = move || match prediction {
        Some(prediction) => servable.draw(&picture, &prediction),
        None => Err(Error::internal("the answer cannot be drawn", "no answer")),
    };
    // Decoding a small file may be long work.
    let file = off_reactor(usize::MAX, draw).await?;
    predicted.servable.encoded(start.elapsed());
    let mut response = Response::new(Body::from(file));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("image/png"));
    Ok(response)
}

async fn predict(state: &ApiState, target: &ModelRef, query: QueryResult, request: Request) -> Answer {
    let start = Instant::now();
    let context = request_context(Protocol::Weir, request.headers(), request.extensions());
    let Query(query) = query.map_err(|rejection| {
        Error::Malformed(format!("the query cannot be read: {}", shortened(&rejection.body_text())))
    })?;
    let servable = state.predictor().resolve(target)?;
    let Question { input, options, hints, rows, held } =
        read_question(state, &context, &servable, query, request).await?;
    let context = RequestContext { rows, ..context.with_hints(hints) };
    let picture = match &input {
        Input::Images(images) if options.vision.draws => images.first().cloned(),
        Input::Images(_) | Input::Texts(_) | Input::Tensors(_) => None,
    };
    let predicted = state.predictor().predict(&context, servable, input, options).await?;
    if let Some(picture) = picture {
        return drawn(predicted, picture).await;
    }
    drop(held);
    let answering = Instant::now();
    let servable = predicted.servable.clone();
    let length = 256 + predicted.predictions.iter().map(Prediction::json_bytes).sum::<usize>();
    let total = start.elapsed();
    let body = off_reactor(length, move || written(&context, &predicted, total, length)).await?;
    servable.encoded(answering.elapsed());
    let mut response = Response::new(Body::from(body));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Ok(response)
}
