//! The trace and logging extensions, and small JSON bodies.

use axum::Json;
use axum::extract::{Path, Request, State};
use serde_json::{Map, Value};

use crate::api::access::{Action, Caller};
use crate::api::body::read_body;
use crate::api::error::ApiError;
use crate::api::json::without_mark;
use crate::api::oip::{LogSettings, Parameter, TraceChange, TraceSettings, change_logging, logging_settings, resolve};
use crate::api::state::ApiState;
use crate::error::{Error, Result};
use crate::ids::{ModelName, quote, shortened};

type Answer<T> = std::result::Result<Json<T>, ApiError>;

pub(super) async fn trace(State(state): State<ApiState>) -> Json<TraceSettings> {
    Json(state.traces().settings(None))
}

pub(super) async fn set_trace(
    caller: Caller,
    State(state): State<ApiState>,
    request: Request,
) -> Answer<TraceSettings> {
    state.access().permit(&caller, Action::ChangeSettings)?;
    let change = trace_change(read_object(&state, request).await?)?;
    Ok(Json(state.traces().change(None, change)?))
}

pub(super) async fn model_trace(State(state): State<ApiState>, Path(model): Path<String>) -> Answer<TraceSettings> {
    let model = known(&state, &model)?;
    Ok(Json(state.traces().settings(Some(&model))))
}

pub(super) async fn set_model_trace(
    caller: Caller,
    State(state): State<ApiState>,
    Path(model): Path<String>,
    request: Request,
) -> Answer<TraceSettings> {
    state.access().permit(&caller, Action::ChangeSettings)?;
    let model = known(&state, &model)?;
    let change = trace_change(read_object(&state, request).await?)?;
    Ok(Json(state.traces().change(Some(&model), change)?))
}

/// Returns the name of a model that serves, so that settings are kept for no other.
fn known(state: &ApiState, model: &str) -> Result<ModelName> {
    Ok(resolve(state, model, "")?.name.clone())
}

/// Reads a change: each value is text, or for the level a list of texts; `null` takes back what was changed.
fn trace_change(body: Map<String, Value>) -> Result<TraceChange> {
    let setting = |(key, value): (String, Value)| {
        let misfit = || Error::Malformed(format!("the trace setting {} must be text, or a list of texts", quote(&key)));
        let text = |value: Value| if let Value::String(text) = value { Ok(text) } else { Err(misfit()) };
        let values = match value {
            Value::Null => None,
            Value::Array(values) => Some(values.into_iter().map(text).collect::<Result<_>>()?),
            value => Some(vec![text(value)?]),
        };
        Ok((key, values))
    };
    body.into_iter().map(setting).collect()
}

pub(super) async fn logging(State(state): State<ApiState>) -> Json<LogSettings> {
    Json(logging_settings(&state))
}

pub(super) async fn set_logging(
    caller: Caller,
    State(state): State<ApiState>,
    request: Request,
) -> Answer<LogSettings> {
    state.access().permit(&caller, Action::ChangeSettings)?;
    let body = read_object(&state, request).await?;
    let parameter = |(key, value): (String, Value)| {
        let value = match value {
            Value::Bool(value) => Parameter::Bool(value),
            Value::String(text) => Parameter::Text(text),
            Value::Number(number) => number.as_u64().map_or(Parameter::Double(f64::NAN), Parameter::Uint),
            _ => Parameter::Double(f64::NAN),
        };
        (key, value)
    };
    Ok(Json(change_logging(&state, body.into_iter().map(parameter).collect())?))
}

/// Reads a small body: an object, whatever its content type. No body is an empty object.
pub(super) async fn read_object(state: &ApiState, request: Request) -> Result<Map<String, Value>> {
    let (parts, body) = request.into_parts();
    let body = read_body(state, &parts.headers, body).await?;
    if body.bytes.iter().all(u8::is_ascii_whitespace) {
        return Ok(Map::new());
    }
    if body.bytes.len() > MAX_OBJECT_BYTES {
        let got = format!("{} bytes", body.bytes.len());
        return Err(Error::TooLarge { what: "the JSON body", limit: MAX_OBJECT_BYTES as u64, got });
    }
    serde_json::from_slice(without_mark(&body.bytes))
        .map_err(|error| Error::Malformed(format!("the JSON body cannot be read: {}", shortened(&error.to_string()))))
}

/// Settings and configurations are small; a tree of values takes many times its text.
const MAX_OBJECT_BYTES: usize = 1 << 20;
