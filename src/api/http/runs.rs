//! `GET /runs`, and a run with its curves and its report: the trainings in the folder that the setting `runs` names.

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, header};
use serde::Deserialize;
use utoipa::IntoParams;

use crate::api::access::{Action, Caller};
use crate::api::error::ApiError;
use crate::api::offload::off_reactor;
use crate::api::problem::Problem;
use crate::api::state::ApiState;
use crate::error::{Error, Result};
use crate::ids::shortened;
use crate::trainer::{RunDetail, RunList, Runs};

/// The most runs of a list, and how many there are if nobody says.
const MOST_RUNS: usize = 500;
const RUNS: usize = 100;

/// A report is a page from outside: it is shown as of no origin, without scripts, and loads nothing.
const REPORT_POLICY: &str =
    "sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src data:; frame-ancestors 'none'";

type Answer<T> = std::result::Result<T, ApiError>;

/// The query of `/runs`.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct RunsQuery {
    /// The largest number of runs.
    #[param(minimum = 1, maximum = 500, default = 100)]
    limit: Option<usize>,
}

/// Training runs
///
/// Those in the folder of the setting `--runs`, as `weir train`, `weir tune` and `weir train auto` keep them, while they
/// train and afterwards.
#[utoipa::path(
    get, path = "/runs", tag = "training", params(RunsQuery),
    responses(
        (status = 200, description = "The runs, what trains now first; none with folder null if this server shows none, and with a problem while the folder cannot be read", body = RunList),
        (status = 400, description = "The query cannot be read", body = Problem, content_type = "application/problem+json"),
        (status = 403, description = "Not allowed to this caller by the setting --admin", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(super) async fn list(
    caller: Caller,
    State(state): State<ApiState>,
    query: std::result::Result<Query<RunsQuery>, QueryRejection>,
) -> Answer<Json<RunList>> {
    state.access().permit(&caller, Action::ReadRuns)?;
    let Query(RunsQuery { limit }) = query.map_err(|rejection| {
        Error::Malformed(format!("the query cannot be read: {}", shortened(&rejection.body_text())))
    })?;
    let limit = limit.unwrap_or(RUNS);
    if !(1..=MOST_RUNS).contains(&limit) {
        return Err(Error::Malformed(format!("\"limit\" must be from 1 to {MOST_RUNS}, got {limit}")).into());
    }
    let Some(runs) = state.runs().cloned() else {
        return Ok(Json(RunList::default()));
    };
    Ok(Json(off_reactor(usize::MAX, move || Ok(runs.list(limit))).await?))
}

/// A training run with its curves
///
/// Of a search, its trials; of `weir train auto`, the leaderboard.
#[utoipa::path(
    get, path = "/runs/{preset}/{run}", tag = "training",
    params(
        ("preset" = String, Path, description = "The preset, the first half of the run's name", example = "mnist-mlp"),
        ("run" = String, Path, description = "The number or name of the run", example = "1")
    ),
    responses(
        (status = 200, description = "The run", body = RunDetail),
        (status = 403, description = "Not allowed to this caller by the setting --admin", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "There is no such run, or this server shows none", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(super) async fn show(
    caller: Caller,
    State(state): State<ApiState>,
    Path((preset, run)): Path<(String, String)>,
) -> Answer<Json<RunDetail>> {
    state.access().permit(&caller, Action::ReadRuns)?;
    let runs = shown(&state)?;
    Ok(Json(off_reactor(usize::MAX, move || runs.show(&preset, &run)).await?))
}

/// The report page of a training run
///
/// One page for people. Browsers show it as of no origin and run nothing in it.
#[utoipa::path(
    get, path = "/runs/{preset}/{run}/report", tag = "training",
    params(
        ("preset" = String, Path, description = "The preset, the first half of the run's name", example = "mnist-mlp"),
        ("run" = String, Path, description = "The number or name of the run", example = "1")
    ),
    responses(
        (status = 200, description = "The page", body = String, content_type = "text/html"),
        (status = 403, description = "Not allowed to this caller by the setting --admin", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "The run has no report, or there is no such run", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(super) async fn report(
    caller: Caller,
    State(state): State<ApiState>,
    Path((preset, run)): Path<(String, String)>,
) -> Answer<Response> {
    state.access().permit(&caller, Action::ReadRuns)?;
    let runs = shown(&state)?;
    let page = off_reactor(usize::MAX, move || runs.report(&preset, &run)).await?;
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8")),
        (header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(REPORT_POLICY)),
        (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
    ];
    Ok((headers, page).into_response())
}

fn shown(state: &ApiState) -> Result<Runs> {
    let none = || Error::NotFound("this server shows no training runs; start it with --runs DIR".into());
    state.runs().cloned().ok_or_else(none)
}
