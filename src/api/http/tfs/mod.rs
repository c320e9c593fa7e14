//! TensorFlow Serving's REST API and KServe's first protocol, which grew out of it: all below `/v1`.

mod answer;
mod examples_body;
mod path;
mod predict_body;
mod views;

use std::sync::Arc;
use std::time::Instant;

use axum::Router;
use axum::body::Body;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request, State};
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};

use self::examples_body::Expected;
use self::path::{Verb, Wish};
use self::predict_body::Takes;
use super::explain::explain_each;
use super::operations;
use super::predict_input::header_hints;
use crate::api::body::{Buffered, read_body_for};
use crate::api::context::request_context;
use crate::api::error::ApiError;
use crate::api::json::Layout;
use crate::api::offload::off_reactor;
use crate::api::state::ApiState;
use crate::api::tfs::{ModelSpec, classes, classification_output, regression_output, regressions};
use crate::error::{Error, Result};
use crate::metrics::Stage;
use crate::serving::{Inference, Input, Options, Protocol, RequestContext, Servable};
use crate::transform::Squash;

/// Returns the routes.
pub(super) fn routes() -> Router<ApiState> {
    Router::new()
        .route("/v1", axum::routing::any(handle))
        .route("/v1/", axum::routing::any(handle))
        .route("/v1/{*path}", axum::routing::any(handle))
        // Where TensorFlow Serving's operators scrape.
        .route("/monitoring/prometheus/metrics", axum::routing::get(operations::metrics))
}

type PathResult = std::result::Result<Path<String>, PathRejection>;

async fn handle(State(state): State<ApiState>, path: PathResult, request: Request) -> Response {
    let cors = state.settings().cors;
    let is_preflight = *request.method() == Method::OPTIONS && request.headers().contains_key(header::ORIGIN);
    // At `/v1` itself there is no path to read.
    let path = path.map_or_else(|_| String::new(), |Path(path)| path);
    let mut response = if cors && is_preflight {
        StatusCode::OK.into_response()
    } else {
        match answer(&state, &path, request).await {
            Ok(json) => respond(json),
            Err(error) => ApiError(error).into_response(),
        }
    };
    if cors {
        allow_other_origins(response.headers_mut());
    }
    response
}

fn respond(json: Vec<u8>) -> Response {
    let mut response = Response::new(Body::from(json));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// Sets the headers that TensorFlow Serving sets when it is told to. tower-http's `CorsLayer` takes every `OPTIONS`
/// for a preflight, also without an origin, and leaves methods and headers out of all other answers.
fn allow_other_origins(headers: &mut HeaderMap) {
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("POST, GET"));
    headers.insert(
        header::ACCESS_CONTROL_ALLOW_HEADERS,
        HeaderValue::from_static("Content-Type, Authorization, X-API-Key"),
    );
}

async fn answer(state: &ApiState, path: &str, request: Request) -> Result<Vec<u8>> {
    match path::parse(request.method(), path)? {
        Wish::List => views::list(state),
        Wish::Status(spec) => views::status(state, &spec),
        Wish::Metadata(spec) => views::metadata(state, &spec),
        Wish::Ask(verb, spec) => ask(state, verb, &spec, request).await,
    }
}

async fn ask(state: &ApiState, verb: Verb, spec: &ModelSpec, request: Request) -> Result<Vec<u8>> {
    let servable = spec.resolve(state.predictor())?;
    // What the model cannot do is said before its input is read.
    let asked = match verb {
        Verb::Predict => Asked::Predict,
        Verb::Classify => {
            let (output, squash) = classification_output(&servable)?;
            Asked::Classify(output, squash)
        }
        Verb::Regress => Asked::Regress(regression_output(servable.signature())?),
        Verb::Explain => return explain(state, servable, request).await,
    };
    let Question { context, input, layout, held } = read_question(state, asked, &servable, request).await?;
    let is_seen = servable.answer_text().is_some() && matches!(input, Input::Images(_) | Input::Texts(_));
    if let (true, Asked::Predict, Layout::Rows) = (is_seen, asked, layout) {
        // Of a picture, what was found in it: the graph's own tensors tell it in pixels that only its input has. Of a text,
        // its spans or its one vector: the tensors are those of tokens that the client does not know.
        let predicted = state.predictor().predict(&context, servable, input, Options::default()).await?;
        drop(held);
        return off_reactor(usize::MAX, move || answer::seen(&predicted.predictions, &predicted.truncated)).await;
    }
    let inference = state.predictor().infer(&context, &servable, input, Options::default()).await?;
    drop(held);
    write(asked, &servable, inference, layout).await
}

/// Explains the answer for each row, as KServe's explainers do.
async fn explain(state: &ApiState, servable: Arc<Servable>, request: Request) -> Result<Vec<u8>> {
    let Question { context, input, held, .. } = read_question(state, Asked::Predict, &servable, request).await?;
    let explanations = explain_each(state, &context, &servable, input).await?;
    drop(held);
    answer::explanations(&explanations)
}

/// A request that has been read.
struct Question {
    context: RequestContext,
    input: Input,
    layout: Layout,
    /// The body's share of the memory budget; dropped once the input has been used.
    held: Buffered,
}

async fn read_question(state: &ApiState, asked: Asked, servable: &Arc<Servable>, request: Request) -> Result<Question> {
    let (parts, body) = request.into_parts();
    let hints = header_hints(&parts.headers)?;
    let context = request_context(Protocol::TfServing, &parts.headers, &parts.extensions);
    let body = read_body_for(state, &context, servable, &parts.headers, body).await?;
    let (model, max_examples) = (servable.clone(), servable.sample_limit(state.settings().max_samples));
    let length = body.bytes.len();
    let read = move || {
        let (input, layout) = read_body_of(asked, &model, max_examples, &body.bytes)?;
        Ok((input, layout, body))
    };
    let (input, layout, held) = off_reactor(length, read).await?;
    Ok(Question { context: context.with_hints(hints), input, layout, held })
}

/// A verb and the output that it asks for.
#[derive(Debug, Clone, Copy)]
enum Asked {
    Predict,
    Classify(usize, Squash),
    Regress(usize),
}

fn read_body_of(asked: Asked, servable: &Servable, max_examples: usize, body: &[u8]) -> Result<(Input, Layout)> {
    if body.is_empty() {
        return Err(Error::Malformed("JSON Parse error: The document is empty".into()));
    }
    let (names, takes_images) = (servable.named_inputs(), servable.image_transform().is_some());
    match asked {
        Asked::Predict => {
            let texts = servable.expects_texts().then_some(max_examples);
            predict_body::read(body, &names, Takes { images: takes_images, texts })
        }
        Asked::Classify(..) | Asked::Regress(_) => {
            let input = examples_body::read(
                body,
                Expected { names: &names, takes_images, takes_texts: servable.expects_texts(), max_examples },
            )?;
            Ok((input, Layout::Rows))
        }
    }
}

async fn write(asked: Asked, servable: &Arc<Servable>, inference: Inference, layout: Layout) -> Result<Vec<u8>> {
    let start = Instant::now();
    let outputs = inference.outputs;
    // An element takes about this many bytes in JSON.
    let length = outputs.iter().map(|output| output.data().len().max(1) * 10).sum();
    let model = servable.clone();
    let json = off_reactor(length, move || match asked {
        Asked::Predict => answer::predictions(model.signature(), &outputs, layout),
        Asked::Classify(output, squash) => {
            Ok(answer::classifications(&classes(model.labels(), &outputs[output], squash)?))
        }
        Asked::Regress(output) => Ok(answer::regressions(&regressions(&outputs[output])?)),
    });
    let json = json.await?;
    servable.metrics().observe(Stage::Encode, start.elapsed());
    Ok(json)
}
