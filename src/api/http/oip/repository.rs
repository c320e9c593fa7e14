//! The model repository extension. The setting `--admin` says who may change what is loaded.

use axum::Json;
use axum::extract::{Path, Request, State};
use serde_json::{Map, Value};

use super::settings::read_object;
use crate::api::access::{Action, Caller};
use crate::api::audit::Asked;
use crate::api::error::ApiError;
use crate::api::oip::{self, IndexEntry, Parameter, repository_index};
use crate::api::state::ApiState;
use crate::error::{Error, Result};
use crate::ids::RequestId;

pub(super) async fn index(
    State(state): State<ApiState>,
    request: Request,
) -> std::result::Result<Json<Vec<IndexEntry>>, ApiError> {
    let body = read_object(&state, request).await?;
    let only_ready = match body.get("ready") {
        None | Some(Value::Null) => false,
        Some(Value::Bool(ready)) => *ready,
        Some(_) => return Err(Error::Malformed("\"ready\" must be true or false".into()).into()),
    };
    Ok(Json(repository_index(&state, only_ready)))
}

pub(super) async fn load(
    caller: Caller,
    State(state): State<ApiState>,
    id: RequestId,
    Path(model): Path<String>,
    request: Request,
) -> std::result::Result<(), ApiError> {
    state.access().permit(&caller, Action::ChangeModels)?;
    let parameters = parameters(read_object(&state, request).await?)?;
    Ok(oip::load(&state, Asked::new(id, &caller), &model, parameters).await?)
}

pub(super) async fn unload(
    caller: Caller,
    State(state): State<ApiState>,
    id: RequestId,
    Path(model): Path<String>,
    request: Request,
) -> std::result::Result<(), ApiError> {
    state.access().permit(&caller, Action::ChangeModels)?;
    let parameters = parameters(read_object(&state, request).await?)?;
    Ok(oip::unload(&state, Asked::new(id, &caller), &model, parameters).await?)
}

fn parameters(mut body: Map<String, Value>) -> Result<Vec<(String, Parameter)>> {
    let parameters = match body.remove("parameters") {
        None | Some(Value::Null) => return Ok(Vec::new()),
        Some(Value::Object(parameters)) => parameters,
        Some(_) => return Err(Error::Malformed("\"parameters\" must be an object".into())),
    };
    let parameter = |(key, value): (String, Value)| {
        let value = match value {
            Value::Bool(value) => Parameter::Bool(value),
            Value::String(text) => Parameter::Text(text),
            Value::Number(number) => match (number.as_u64(), number.as_i64()) {
                (Some(number), _) => Parameter::Uint(number),
                (None, Some(number)) => Parameter::Int(number),
                (None, None) => Parameter::Double(number.as_f64().unwrap_or(f64::NAN)),
            },
            Value::Null | Value::Array(_) | Value::Object(_) => {
                let key = crate::ids::quote(&key);
                return Err(Error::Malformed(format!("the parameter {key} must be a string, a number, true or false")));
            }
        };
        Ok((key, value))
    };
    parameters.into_iter().map(parameter).collect()
}
