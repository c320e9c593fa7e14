//! `POST /v2/models/{model}/infer`.

use std::time::Instant;

use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::response::Response;
use http::{HeaderMap, HeaderName, HeaderValue, header};

use super::answer::{Written, write_answer};
use super::body::InferBody;
use crate::api::access::Action;
use crate::api::body::read_body_for;
use crate::api::compression::Encoding;
use crate::api::context::request_context;
use crate::api::error::ApiError;
use crate::api::http::extract::caller_of;
use crate::api::http::predict_input::timeout_of;
use crate::api::offload::off_reactor;
use crate::api::oip::{InferResponse, infer, resolve};
use crate::api::state::ApiState;
use crate::error::{Error, Result};
use crate::ids::quote;
use crate::serving::Protocol;

/// The header with the length of the JSON in a body, of a request or an answer, if other bytes follow.
const JSON_BYTES: HeaderName = HeaderName::from_static("inference-header-content-length");

type Answer = std::result::Result<Response, ApiError>;

/// Asks the default version of a model.
pub(super) async fn infer_model(State(state): State<ApiState>, Path(model): Path<String>, request: Request) -> Answer {
    answer(&state, &model, "", request).await.map_err(ApiError)
}

/// Asks a version of a model, by number or alias.
pub(super) async fn infer_version(
    State(state): State<ApiState>,
    Path((model, version)): Path<(String, String)>,
    request: Request,
) -> Answer {
    answer(&state, &model, &version, request).await.map_err(ApiError)
}

async fn answer(state: &ApiState, model: &str, version: &str, request: Request) -> Result<Response> {
    let servable = resolve(state, model, version)?;
    let (parts, body) = request.into_parts();
    let context = request_context(Protocol::Oip, &parts.headers, &parts.extensions);
    let json_bytes = json_bytes(&parts.headers)?;
    let begun = Instant::now();
    let held = read_body_for(state, &context, &servable, &parts.headers, body).await?;
    let (bytes, reader) = (held.bytes.clone(), servable.clone());
    let mut asked = off_reactor(bytes.len(), move || InferBody::read(&bytes, json_bytes, &reader)).await?;
    if asked.request.uses_shared_memory() {
        // It belongs to programs on this machine.
        state.access().permit(&caller_of(&parts), Action::UseSharedMemory)?;
    }
    if let Some(timeout) = timeout_of(&parts.headers)? {
        asked.request.parameters.limit(timeout);
    }
    let id = context.request_id.clone();
    let response = infer(state, context, &servable, std::mem::take(&mut asked.request)).await?;
    drop(held);
    state.traces().record(&id, &response.servable, &response.stages, begun.elapsed());
    let encoding = Instant::now();
    let written = write(response, asked).await?;
    servable.encoded(encoding.elapsed());
    respond(written, &parts.headers).await
}

async fn write(response: InferResponse, asked: InferBody) -> Result<Written> {
    // A number in JSON takes a handful of bytes.
    let size = response.outputs.iter().map(|output| output.tensor().data().len() * 8).sum();
    off_reactor(size, move || Ok(write_answer(&response, |place| asked.is_binary(place)))).await
}

async fn respond(written: Written, headers: &HeaderMap) -> Result<Response> {
    let Written { mut body, json_bytes } = written;
    let encoding = Encoding::of_answer(headers, body.len());
    if let Some(encoding) = encoding {
        body = off_reactor(body.len(), move || encoding.pack(&body)).await?;
    }
    let mut response = Response::new(Body::from(body));
    let headers = response.headers_mut();
    let media = if json_bytes.is_some() { "application/octet-stream" } else { "application/json" };
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(media));
    if let Some(bytes) = json_bytes {
        headers.insert(JSON_BYTES, HeaderValue::from(bytes));
    }
    if let Some(encoding) = encoding {
        headers.insert(header::CONTENT_ENCODING, encoding.header());
        headers.insert(header::VARY, HeaderValue::from_static("accept-encoding"));
    }
    Ok(response)
}

fn json_bytes(headers: &HeaderMap) -> Result<Option<usize>> {
    let Some(value) = headers.get(JSON_BYTES) else { return Ok(None) };
    let number = value.to_str().ok().and_then(|text| text.parse().ok());
    number.map(Some).ok_or_else(|| {
        let got = quote(&String::from_utf8_lossy(value.as_bytes()));
        Error::Malformed(format!("the header {JSON_BYTES} must be a number of bytes, got {got}"))
    })
}
