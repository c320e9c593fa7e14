//! `GET /alarms`, and `POST /alarms/{id}/acknowledge`.

use axum::Json;
use axum::body::Body;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, Request, State};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::admin::Failure;
use crate::api::access::{Action, Caller};
use crate::api::audit::{Asked, recorded_acknowledgement};
use crate::api::body::read_body;
use crate::api::error::ApiError;
use crate::api::problem::Problem;
use crate::api::state::ApiState;
use crate::error::{Error, Result};
use crate::ids::{ModelName, RequestId, shortened};
use crate::monitoring::{Alarm, AlarmKind, AlarmState};
use crate::store::AuditedAlarm;

/// The longest name of a person.
const MAX_WHO: usize = 200;

/// The longest reason.
const MAX_WHY: usize = 2000;

/// The query of `/alarms`.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct AlarmQuery {
    /// Only those in this state.
    state: Option<AlarmState>,
    /// Only those of this kind.
    kind: Option<AlarmKind>,
    /// Only those about this model.
    #[param(value_type = Option<String>)]
    model: Option<ModelName>,
}

/// The alarms of this server.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct AlarmList {
    /// Those that are open, and then up to 200 that were cleared, the newest first.
    alarms: Vec<Alarm>,
}

/// The person who knows of an alarm, and why it is let be.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct AcknowledgeBody {
    /// Who.
    #[schema(min_length = 1, max_length = 200, example = "ann")]
    who: String,
    /// Why it may go on, or what is done about it.
    #[schema(min_length = 1, max_length = 2000, example = "new camera; labels are on their way")]
    why: String,
}

/// What is wrong, and what was
///
/// An alarm is `raised` when its condition has held for long enough, `acknowledged` when somebody says that they know,
/// and `cleared` when the condition has been gone for long enough. They are those of this server and of its share of the
/// traffic, and survive a restart.
#[utoipa::path(
    get, path = "/alarms", tag = "monitoring", params(AlarmQuery),
    responses(
        (status = 200, description = "The alarms", body = AlarmList),
        (status = 400, description = "The query cannot be read", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(super) async fn list(
    State(state): State<ApiState>,
    query: std::result::Result<Query<AlarmQuery>, QueryRejection>,
) -> std::result::Result<Json<AlarmList>, ApiError> {
    let Query(query) = query.map_err(|rejection| {
        Error::Malformed(format!("the query cannot be read: {}", shortened(&rejection.body_text())))
    })?;
    let alarms = state.alarms().list(|alarm| {
        query.state.is_none_or(|state| alarm.state == state)
            && query.kind.is_none_or(|kind| alarm.kind == kind)
            && query.model.as_ref().is_none_or(|model| alarm.model.as_deref() == Some(model.as_str()))
    });
    Ok(Json(AlarmList { alarms }))
}

/// Say that an alarm is known
///
/// Saying it again replaces who and why. If the alarm becomes worse, it is raised again. The audit trail has an entry for
/// each.
#[utoipa::path(
    post, path = "/alarms/{id}/acknowledge", tag = "monitoring",
    params(("id" = String, Path, description = "The identifier of the alarm")),
    request_body(content = AcknowledgeBody),
    responses(
        (status = 200, description = "The alarm", body = Alarm),
        (status = 422, description = "Who or why is empty or too long", body = Problem, content_type = "application/problem+json"),
        Failure
    )
)]
pub(super) async fn acknowledge(
    caller: Caller,
    State(state): State<ApiState>,
    request_id: RequestId,
    Path(id): Path<String>,
    request: Request<Body>,
) -> std::result::Result<Json<Alarm>, ApiError> {
    state.access().permit(&caller, Action::AcknowledgeAlarms)?;
    let (parts, body) = request.into_parts();
    let body = read_body(&state, &parts.headers, body).await?;
    let AcknowledgeBody { who, why } = serde_json::from_slice(&body.bytes).map_err(|error| {
        Error::Malformed(format!("the JSON body cannot be read: {}", shortened(&error.to_string())))
    })?;
    let (who, why) = (text("who", &who, MAX_WHO)?, text("why", &why, MAX_WHY)?);
    let noted = AuditedAlarm { id: shortened(&id), kind: None, who: who.clone(), why: why.clone() };
    let alarms = state.alarms().clone();
    let written = tokio::task::spawn_blocking(move || alarms.acknowledge(&id, who, why)).await;
    let outcome = written.unwrap_or_else(|error| Err(Error::internal("an alarm could not be acknowledged", error)));
    let asked = Asked::new(request_id, &caller);
    Ok(Json(recorded_acknowledgement(state.audit(), asked, noted, outcome).await?))
}

/// Returns a text that is not empty, without the white space around it.
fn text(name: &str, value: &str, longest: usize) -> Result<String> {
    let (value, length) = (value.trim(), value.chars().count());
    if value.is_empty() || length > longest {
        let got = if value.is_empty() { "an empty text".to_owned() } else { format!("{length} characters") };
        return Err(Error::InvalidInput(format!("\"{name}\" must be a text of 1 to {longest} characters, got {got}")));
    }
    Ok(value.to_owned())
}
