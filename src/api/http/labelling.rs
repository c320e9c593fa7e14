//! `GET /models/{model}/labelling` and `GET /predictions/{id}/input`: which captured inputs should be labelled, and one of
//! them.

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, header};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::predict_types::Binary;
use crate::api::access::{Action, Caller};
use crate::api::error::ApiError;
use crate::api::problem::Problem;
use crate::api::state::ApiState;
use crate::error::{Error, Result};
use crate::ids::{ModelName, RequestId, Version, quote, shortened};
use crate::store::{Answers, Kept, KnownVersion, LabellingQuery, PredictionQuery, ToLabel};
use crate::transform::media_type;

/// The most inputs that are chosen at once, and how many are if nobody says.
const MAX_COUNT: usize = 10_000;
const COUNT: usize = 100;

/// The query of `/models/{model}/labelling`.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct LabellingParameters {
    /// The version that answered; the newest of which inputs are kept otherwise.
    #[param(value_type = Option<u64>)]
    version: Option<Version>,
    /// The number of inputs, at most 10,000.
    #[param(default = 100)]
    count: Option<usize>,
    /// The seed of the random part: the same one chooses the same of the same inputs.
    #[param(default = 0)]
    seed: Option<u64>,
    /// Only predictions from this moment on, RFC 3339.
    #[param(example = "2026-11-22T00:00:00Z")]
    since: Option<String>,
    /// Only predictions before this moment, RFC 3339.
    #[param(example = "2026-11-29T00:00:00Z")]
    until: Option<String>,
}

/// Captured inputs to be labelled.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct LabellingBody {
    /// The model.
    model: String,
    /// The version that answered.
    version: u64,
    /// The predictions that were chosen from: those whose inputs are kept.
    predictions: u64,
    /// Their different inputs.
    inputs: u64,
    /// The seed.
    seed: u64,
    /// The kind of its answers: `classes`, `numbers` or `others`. Labels are such.
    #[schema(example = "classes")]
    answers: &'static str,
    /// The labels by class; empty where classes have no names.
    labels: Vec<String>,
    /// The columns of a row that is a list, where the version takes rows of a table and serves.
    columns: Vec<String>,
    /// The chosen inputs, in an order that does not tell why they were chosen.
    items: Vec<LabellingItem>,
}

/// One input to be labelled.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct LabellingItem {
    /// The identifier of the newest prediction that had it.
    request_id: String,
    /// The place of the sample in the request, from 0.
    item: u32,
    /// When that request ended, RFC 3339.
    at: String,
    /// The answer as text: a label or a number.
    #[serde(skip_serializing_if = "Option::is_none")]
    predicted: Option<String>,
    /// The probability of the most probable class.
    #[serde(skip_serializing_if = "Option::is_none")]
    confidence: Option<f32>,
    /// Its logit above the next one's.
    #[serde(skip_serializing_if = "Option::is_none")]
    margin: Option<f32>,
    /// ln Σ exp(logit); low for unknown inputs.
    #[serde(skip_serializing_if = "Option::is_none")]
    energy: Option<f32>,
    /// Why it was chosen: `uncertain`, `unusual` or `random`.
    #[schema(example = "uncertain")]
    selection: &'static str,
    /// Its probability of being chosen, divided by the number of predictions that it stands for. Send it with the label,
    /// as `inclusion`.
    inclusion: f64,
    /// The kept predictions that had this input.
    predictions: u64,
    /// Where the input itself is.
    #[schema(example = "/predictions/01998a5e-77a0-7ccc-8bd6-ca5d4b67dd36/input?item=0")]
    input: String,
}

/// Choose captured inputs to be labelled
///
/// Half of them are the least certain, three in ten the most unusual, and the rest are drawn at random from all others. Each
/// says with which probability it was chosen: labels that bring it back as `inclusion` give an accuracy that is right for
/// all predictions (`adjusted` in `/models/{model}/quality`). An input that came several times is one. Callers whom the
/// setting --admin allows may ask.
#[utoipa::path(
    get, path = "/models/{model}/labelling", tag = "monitoring",
    params(("model" = String, Path, description = "The name of the model", example = "mnist-mlp"), LabellingParameters),
    responses(
        (status = 200, description = "The inputs", body = LabellingBody),
        (status = 400, description = "The request cannot be read", body = Problem, content_type = "application/problem+json"),
        (status = 403, description = "Not allowed to this caller by the setting --admin, or --monitoring is off", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "No input of the model is kept; the setting --capture keeps them", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "No such count or time", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "The store cannot be used now", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(super) async fn choose(
    caller: Caller,
    State(state): State<ApiState>,
    Path(model): Path<String>,
    query: std::result::Result<Query<LabellingParameters>, QueryRejection>,
) -> std::result::Result<Json<LabellingBody>, ApiError> {
    state.access().permit(&caller, Action::UseInputs)?;
    let name: ModelName = model.parse()?;
    let watch = state.watch()?;
    let query = parsed(name.to_string(), unpacked(query)?)?;
    let seed = query.seed;
    watch.monitor.flush().await?;
    let Some(found) = watch.store.labelling(query).await? else {
        state.predictor().catalog().model(&name)?;
        return Err(Error::NotFound(format!(
            "no input of model \"{name}\" is kept of that version and time: the setting --capture says which are"
        ))
        .into());
    };
    let columns = columns(&state, &found.version);
    let KnownVersion { model, version, labels, answers, .. } = found.version;
    let answers = match answers {
        Answers::Classes => "classes",
        Answers::Numbers => "numbers",
        Answers::Others => "others",
    };
    let items = found.chosen.into_iter().map(LabellingItem::of).collect();
    let (predictions, inputs) = (found.samples, found.inputs);
    Ok(Json(LabellingBody { model, version, predictions, inputs, seed, answers, labels, columns, items }))
}

/// Returns the columns of the version, if it serves.
fn columns(state: &ApiState, version: &KnownVersion) -> Vec<String> {
    let catalog = state.predictor().catalog();
    let servable = catalog.servables().find(|servable| servable.identity.digest == version.digest);
    let columns = servable.map(|servable| servable.columns()).unwrap_or_default();
    columns.iter().map(|column| column.name.clone()).collect()
}

fn unpacked<T>(query: std::result::Result<Query<T>, QueryRejection>) -> Result<T> {
    query.map(|Query(query)| query).map_err(|rejection| {
        Error::Malformed(format!("the query cannot be read: {}", shortened(&rejection.body_text())))
    })
}

fn parsed(model: String, query: LabellingParameters) -> Result<LabellingQuery> {
    let count = query.count.unwrap_or(COUNT);
    if !(1..=MAX_COUNT).contains(&count) {
        return Err(Error::InvalidInput(format!("count must be from 1 to {MAX_COUNT}, got {count}")));
    }
    let time = |name: &str, text: Option<String>, open: i64| match text {
        None => Ok(open),
        Some(text) => text.parse::<jiff::Timestamp>().map(|time| time.as_microsecond()).map_err(|_| {
            Error::InvalidInput(format!("{name} is no time of RFC 3339, as 2026-11-29T00:00:00Z: {}", quote(&text)))
        }),
    };
    Ok(LabellingQuery {
        model,
        version: query.version.map(|version| version.0),
        between: (time("since", query.since, i64::MIN)?, time("until", query.until, i64::MAX)?),
        count,
        seed: query.seed.unwrap_or(0),
    })
}

impl LabellingItem {
    fn of(chosen: ToLabel) -> Self {
        let ToLabel { row, predicted, selection, inclusion, samples } = chosen;
        let (confidence, margin, energy) = match row.kept {
            Kept::Classified { confidence, margin, energy, .. } => (Some(confidence), Some(margin), energy),
            Kept::Nothing | Kept::Value(_) | Kept::Score(_) => (None, None, None),
        };
        Self {
            request_id: row.id.to_string(),
            item: row.item,
            at: jiff::Timestamp::from_microsecond(row.at).map(|at| at.to_string()).unwrap_or_default(),
            predicted,
            confidence,
            margin,
            energy,
            selection: selection.name(),
            inclusion: inclusion.probability(),
            predictions: samples,
            input: format!("/predictions/{}/input?item={}", row.id, row.item),
        }
    }
}

/// The query of `/predictions/{id}/input`.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct InputParameters {
    /// The place of the sample in the request.
    #[param(default = 0)]
    item: Option<u32>,
    /// The model that answered, where an identifier of your own was used with several.
    #[param(example = "mnist-mlp")]
    model: Option<String>,
}

/// See the captured input of a prediction
///
/// The file of a picture, or the JSON of a row or a sequence, as it came. Callers whom the setting --admin allows may ask;
/// `DELETE /predictions/{id}` erases it.
#[utoipa::path(
    get, path = "/predictions/{id}/input", tag = "monitoring",
    params(("id" = String, Path, description = "The identifier", example = "01998a5e-77a0-7ccc-8bd6-ca5d4b67dd36"), InputParameters),
    responses(
        (status = 200, description = "The input", content((Binary = "image/png"), (Binary = "application/json"))),
        (status = 400, description = "The request cannot be read", body = Problem, content_type = "application/problem+json"),
        (status = 403, description = "Not allowed to this caller by the setting --admin, or --monitoring is off", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "No such prediction has been seen, or its input is not kept", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "The identifier was used for several models and the query names none", body = Problem, content_type = "application/problem+json"),
        (status = 410, description = "It is no longer kept, or was erased", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "Not an identifier", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "The store cannot be used now", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(super) async fn input(
    caller: Caller,
    State(state): State<ApiState>,
    Path(id): Path<String>,
    query: std::result::Result<Query<InputParameters>, QueryRejection>,
) -> std::result::Result<Response, ApiError> {
    state.access().permit(&caller, Action::UseInputs)?;
    let watch = state.watch()?;
    let query = unpacked(query)?;
    if RequestId::from_client(id.as_bytes()).is_none() {
        return Err(Error::InvalidInput(format!("not the identifier of a request: {}", quote(&id))).into());
    }
    if let Some(model) = &query.model {
        model.parse::<ModelName>()?;
    }
    watch.monitor.flush().await?;
    let asked = PredictionQuery { request_id: id, model: query.model };
    let bytes = watch.store.input(asked, query.item.unwrap_or(0)).await?;
    let media = HeaderValue::from_static(media_type(&bytes).unwrap_or("application/json"));
    // A browser must show what a client sent as nothing else, and must not keep it.
    let headers = [
        (header::CONTENT_TYPE, media),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
        (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    ];
    Ok((headers, bytes).into_response())
}
