//! `GET` and `DELETE /predictions/{id}`: what is kept about one prediction, and its erasure.

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, IntoResponses, ToSchema};

use crate::api::access::{Action, Caller};
use crate::api::error::ApiError;
use crate::api::problem::Problem;
use crate::api::state::{ApiState, Watch};
use crate::error::{Error, Result};
use crate::ids::{ModelName, RequestId, quote, shortened};
use crate::store::{Content, Erased, Kept, KeptFeedback, KeptPrediction, Origin, PredictionQuery};

/// The query of `/predictions/{id}`.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct PredictionParameters {
    /// The model that answered, where an identifier of your own was used with several.
    #[param(example = "mnist-mlp")]
    model: Option<String>,
}

/// Everything that is kept about a prediction.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct PredictionRecord {
    /// The identifier that was asked for.
    #[schema(example = "01998a5e-77a0-7ccc-8bd6-ca5d4b67dd36")]
    request_id: String,
    /// The samples of the request.
    items: Vec<PredictionItem>,
}

/// One sample, as a version answered it.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct PredictionItem {
    /// Its place in the request, from 0.
    item: u32,
    /// The model that answered.
    model: String,
    /// Its version.
    version: u64,
    /// When the request ended, RFC 3339.
    at: String,
    /// The time that it took, in seconds.
    duration_seconds: f64,
    /// False if the request failed.
    answered: bool,
    /// True if the response cache had the answer.
    cached: bool,
    /// The answer as text: a label or a number.
    #[serde(skip_serializing_if = "Option::is_none")]
    predicted: Option<String>,
    /// The index of the most probable class.
    #[serde(skip_serializing_if = "Option::is_none")]
    class: Option<u32>,
    /// Its probability.
    #[serde(skip_serializing_if = "Option::is_none")]
    confidence: Option<f32>,
    /// Its logit above the next one's.
    #[serde(skip_serializing_if = "Option::is_none")]
    margin: Option<f32>,
    /// ln Σ exp(logit); low for unknown inputs.
    #[serde(skip_serializing_if = "Option::is_none")]
    energy: Option<f32>,
    /// The probabilities of all classes, of models with 32 classes at most.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    probabilities: Vec<f32>,
    /// The mean of the numbers that the model saw.
    #[serde(skip_serializing_if = "Option::is_none")]
    input_mean: Option<f32>,
    /// Their standard deviation.
    #[serde(skip_serializing_if = "Option::is_none")]
    input_deviation: Option<f32>,
    /// Of a picture: true if black and white were exchanged before the model saw it.
    #[serde(skip_serializing_if = "Option::is_none")]
    inverted: Option<bool>,
    /// The truth by all labels together; absent without labels, and where they are tied.
    #[serde(skip_serializing_if = "Option::is_none")]
    outcome: Option<PredictionOutcome>,
    /// The labels, oldest first. Who gave them is not told.
    labels: Vec<PredictionLabel>,
}

/// The truth about a sample.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct PredictionOutcome {
    /// The index of the true class, where a label names one.
    #[serde(skip_serializing_if = "Option::is_none")]
    class: Option<i64>,
    /// True if the answer was right; absent for numbers.
    #[serde(skip_serializing_if = "Option::is_none")]
    correct: Option<bool>,
    /// The origin of the label that decided.
    source: Origin,
}

/// One label of a sample.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct PredictionLabel {
    /// The class, by index.
    #[serde(skip_serializing_if = "Option::is_none")]
    class: Option<u32>,
    /// The class, by label.
    #[serde(skip_serializing_if = "Option::is_none")]
    label: Option<String>,
    /// True if the answer was right.
    #[serde(skip_serializing_if = "Option::is_none")]
    correct: Option<bool>,
    /// The number.
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<f64>,
    /// Its origin.
    source: Origin,
    /// When it came, RFC 3339.
    received: String,
    /// False if the same party has said something newer.
    counts: bool,
}

/// The parts of a prediction that are gone.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct PredictionErased {
    /// Requests: more than one where the caller used its identifier more than once.
    requests: u64,
    /// Their samples.
    samples: u64,
    /// Their labels.
    labels: u64,
    /// Their captured inputs.
    inputs: u64,
}

/// The ways in which this can fail.
#[derive(IntoResponses)]
#[expect(dead_code, reason = "only described")]
pub(super) enum PredictionFailure {
    #[response(status = 400, description = "The request cannot be read", content_type = "application/problem+json")]
    Malformed(#[to_schema] Problem),
    #[response(
        status = 403,
        description = "The setting --feedback does not let this caller, or --monitoring is off",
        content_type = "application/problem+json"
    )]
    Forbidden(#[to_schema] Problem),
    #[response(
        status = 404,
        description = "No such prediction has been seen",
        content_type = "application/problem+json"
    )]
    NotFound(#[to_schema] Problem),
    #[response(
        status = 409,
        description = "The identifier was used for several models and the query names none",
        content_type = "application/problem+json"
    )]
    Conflict(#[to_schema] Problem),
    #[response(
        status = 410,
        description = "It is no longer kept, or was erased",
        content_type = "application/problem+json"
    )]
    Gone(#[to_schema] Problem),
    #[response(status = 422, description = "Not an identifier", content_type = "application/problem+json")]
    Invalid(#[to_schema] Problem),
    #[response(status = 503, description = "The store cannot be used now", content_type = "application/problem+json")]
    Unavailable(#[to_schema] Problem),
    #[response(status = 507, description = "The disk is full", content_type = "application/problem+json")]
    Full(#[to_schema] Problem),
}

/// See what is kept about a prediction
///
/// By the identifier that its answer carried, whatever the protocol; of an identifier of the caller's own the newest
/// answer. The labels that were sent for it come with it. The setting --feedback says who may ask.
#[utoipa::path(
    get, path = "/predictions/{id}", tag = "monitoring",
    params(("id" = String, Path, description = "The identifier", example = "01998a5e-77a0-7ccc-8bd6-ca5d4b67dd36"), PredictionParameters),
    responses((status = 200, description = "What is kept", body = PredictionRecord), PredictionFailure)
)]
pub(super) async fn show(
    caller: Caller,
    State(state): State<ApiState>,
    Path(id): Path<String>,
    query: std::result::Result<Query<PredictionParameters>, QueryRejection>,
) -> std::result::Result<Json<PredictionRecord>, ApiError> {
    let (watch, query) = asked(caller, &state, id, query).await?;
    let request_id = query.request_id.clone();
    let items = watch.store.prediction(query).await?.into_iter().map(PredictionItem::of).collect();
    Ok(Json(PredictionRecord { request_id, items }))
}

/// Erase a prediction
///
/// Its record, its labels and its captured inputs; its figures leave the live sums. Of an identifier of the caller's own, all predictions
/// under it. A hash of the identifier stays, so that later requests for it are answered with 410. In PostgreSQL the bytes
/// stay in its files until it vacuums them. The setting --feedback says who may ask.
#[utoipa::path(
    delete, path = "/predictions/{id}", tag = "monitoring",
    params(("id" = String, Path, description = "The identifier", example = "01998a5e-77a0-7ccc-8bd6-ca5d4b67dd36"), PredictionParameters),
    responses((status = 200, description = "It is erased", body = PredictionErased), PredictionFailure)
)]
pub(super) async fn erase(
    caller: Caller,
    State(state): State<ApiState>,
    Path(id): Path<String>,
    query: std::result::Result<Query<PredictionParameters>, QueryRejection>,
) -> std::result::Result<Json<PredictionErased>, ApiError> {
    let (watch, query) = asked(caller, &state, id, query).await?;
    let Erased { requests, samples, labels, inputs } = watch.store.erase(query).await?;
    Ok(Json(PredictionErased { requests, samples, labels, inputs }))
}

/// Returns the question, if the caller may ask it, once every earlier answer has its record.
async fn asked(
    caller: Caller,
    state: &ApiState,
    id: String,
    query: std::result::Result<Query<PredictionParameters>, QueryRejection>,
) -> Result<(&Watch, PredictionQuery)> {
    state.access().permit(&caller, Action::UsePredictions)?;
    let watch = state.watch()?;
    let Query(query) = query.map_err(|rejection| {
        Error::Malformed(format!("the query cannot be read: {}", shortened(&rejection.body_text())))
    })?;
    if RequestId::from_client(id.as_bytes()).is_none() {
        return Err(Error::InvalidInput(format!("not the identifier of a request: {}", quote(&id))));
    }
    if let Some(model) = &query.model {
        model.parse::<ModelName>()?;
    }
    watch.monitor.flush().await?;
    Ok((watch, PredictionQuery { request_id: id, model: query.model }))
}

fn time(microseconds: i64) -> String {
    jiff::Timestamp::from_microsecond(microseconds).map(|time| time.to_string()).unwrap_or_default()
}

impl PredictionItem {
    fn of(kept: KeptPrediction) -> Self {
        let KeptPrediction { version, row, predicted, outcome, feedback } = kept;
        let mut item = Self {
            item: row.item,
            model: version.model.clone(),
            version: version.version,
            at: time(row.at),
            duration_seconds: f64::from(row.total_us) / 1e6,
            answered: row.answered,
            cached: row.cached,
            predicted,
            class: None,
            confidence: None,
            margin: None,
            energy: None,
            probabilities: Vec::new(),
            input_mean: row.input.map(|(mean, _)| mean),
            input_deviation: row.input.map(|(_, deviation)| deviation),
            inverted: row.inverted,
            outcome: outcome.map(|outcome| PredictionOutcome {
                class: outcome.truth,
                correct: outcome.correct,
                source: outcome.source,
            }),
            labels: feedback.into_iter().map(PredictionLabel::of).collect(),
        };
        if let Kept::Classified { class, confidence, margin, energy, probabilities, .. } = row.kept {
            item.class = Some(class);
            item.confidence = Some(confidence);
            item.margin = Some(margin);
            item.energy = energy;
            item.probabilities = probabilities;
        }
        item
    }
}

impl PredictionLabel {
    fn of(said: KeptFeedback) -> Self {
        let KeptFeedback { content, source, received, counts } = said;
        let empty =
            Self { class: None, label: None, correct: None, value: None, source, received: time(received), counts };
        match content {
            Content::Class(class) => Self { class: Some(class), ..empty },
            Content::Label(label) => Self { label: Some(label), ..empty },
            Content::Correct(correct) => Self { correct: Some(correct), ..empty },
            Content::Value(value) => Self { value: Some(value), ..empty },
            Content::Retract => empty,
        }
    }
}
