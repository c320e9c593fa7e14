//! The system shared memory extension; that of CUDA is refused. Who may register what says the setting
//! `--admin`.

use axum::Json;
use axum::extract::{Path, Request, State};
use serde_json::Value;

use super::settings::read_object;
use crate::api::access::{Action, Caller};
use crate::api::error::ApiError;
use crate::api::oip::{RegionStatus, cuda_is_absent};
use crate::api::state::ApiState;
use crate::error::Error;

type Answer<T> = Result<T, ApiError>;

pub(super) async fn status(caller: Caller, State(state): State<ApiState>) -> Answer<Json<Vec<RegionStatus>>> {
    state.access().permit(&caller, Action::UseSharedMemory)?;
    Ok(Json(state.regions().status(None)?))
}

pub(super) async fn region_status(
    caller: Caller,
    State(state): State<ApiState>,
    Path(region): Path<String>,
) -> Answer<Json<Vec<RegionStatus>>> {
    state.access().permit(&caller, Action::UseSharedMemory)?;
    Ok(Json(state.regions().status(Some(&region))?))
}

pub(super) async fn register(
    caller: Caller,
    State(state): State<ApiState>,
    Path(region): Path<String>,
    request: Request,
) -> Answer<()> {
    state.access().permit(&caller, Action::UseSharedMemory)?;
    let body = read_object(&state, request).await?;
    let missing = |key: &str, what: &str| Error::Malformed(format!("\"{key}\" must be {what}"));
    let number = |key: &str| match body.get(key) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => value.as_u64().map(Some).ok_or_else(|| missing(key, "a whole number of at least 0")),
    };
    let key = body.get("key").and_then(Value::as_str).ok_or_else(|| missing("key", "the name of shared memory"))?;
    let bytes = number("byte_size")?.ok_or_else(|| missing("byte_size", "a whole number"))?;
    state.regions().register(&region, key, number("offset")?.unwrap_or(0), bytes)?;
    Ok(())
}

pub(super) async fn unregister(caller: Caller, State(state): State<ApiState>) -> Answer<()> {
    state.access().permit(&caller, Action::UseSharedMemory)?;
    Ok(state.regions().unregister(None)?)
}

pub(super) async fn unregister_region(
    caller: Caller,
    State(state): State<ApiState>,
    Path(region): Path<String>,
) -> Answer<()> {
    state.access().permit(&caller, Action::UseSharedMemory)?;
    Ok(state.regions().unregister(Some(&region))?)
}

pub(super) async fn cuda() -> ApiError {
    ApiError(cuda_is_absent())
}
