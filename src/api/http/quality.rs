//! `GET /models/{model}/quality`: how good the answers were, as far as the truth is known.

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::api::error::ApiError;
use crate::api::problem::Problem;
use crate::api::state::ApiState;
use crate::error::{Error, Result};
use crate::ids::{ModelName, Version, quote, shortened};
use crate::monitoring::FeedbackQuality;
use crate::store::{Origin, QualityQuery, Window};

/// The largest window of labels.
const MAX_LABELS: u32 = 100_000;

/// The query of `/models/{model}/quality`.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct QualityParameters {
    /// One version; all of which something is known otherwise.
    #[param(value_type = Option<u64>)]
    version: Option<Version>,
    /// Which answers: `all` that are kept, those of the last `1h`, `24h`, `7d` by the time of the prediction (from a full
    /// hour on), or those that the newest labels are about, as `1000`.
    #[param(example = "all", default = "all")]
    window: Option<String>,
    /// Only answers of which labels of this origin decided.
    source: Option<Origin>,
}

/// The quality of a model's versions by the labels that were sent.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ModelQuality {
    /// The model.
    model: String,
    /// The window.
    window: String,
    /// By version, newest first.
    versions: Vec<FeedbackQuality>,
}

/// How good the answers of a model were
///
/// By the labels that were sent to `/feedback`. The figures belong to the version that answered; they are sums of
/// integers, equal to those of an evaluation of the same samples.
#[utoipa::path(
    get, path = "/models/{model}/quality", tag = "monitoring",
    params(("model" = String, Path, description = "The name of the model", example = "mnist-mlp"), QualityParameters),
    responses(
        (status = 200, description = "The figures", body = ModelQuality),
        (status = 400, description = "The request cannot be read", body = Problem, content_type = "application/problem+json"),
        (status = 403, description = "--monitoring is off", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "No such model", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "No such window", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "The store cannot be used now", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(super) async fn show(
    State(state): State<ApiState>,
    Path(model): Path<String>,
    query: std::result::Result<Query<QualityParameters>, QueryRejection>,
) -> std::result::Result<Json<ModelQuality>, ApiError> {
    let name: ModelName = model.parse()?;
    let Query(query) = query.map_err(|rejection| {
        Error::Malformed(format!("the query cannot be read: {}", shortened(&rejection.body_text())))
    })?;
    let window = query.window.unwrap_or_else(|| "all".to_owned());
    let watch = state.watch()?;
    watch.monitor.flush().await?;
    let asked = QualityQuery {
        model: name.to_string(),
        version: query.version.map(|version| version.0),
        window: parse(&window)?,
        source: query.source,
        now: jiff::Timestamp::now().as_microsecond(),
    };
    let found = watch.store.quality(asked).await?;
    if found.is_empty() {
        // One without predictions yet has no figures; one that is not there is an error.
        state.predictor().catalog().model(&name)?;
    }
    let versions = found.iter().map(FeedbackQuality::of).collect();
    Ok(Json(ModelQuality { model: name.to_string(), window, versions }))
}

/// Returns the window that a text names.
fn parse(text: &str) -> Result<Window> {
    let hours = |unit: char, hours: u32| text.strip_suffix(unit)?.parse::<u32>().ok()?.checked_mul(hours);
    match text {
        "all" => Ok(Window::All),
        _ => hours('h', 1)
            .or_else(|| hours('d', 24))
            .filter(|hours| (1..=24 * 400).contains(hours))
            .map(Window::Hours)
            .or_else(|| text.parse().ok().filter(|labels| (1..=MAX_LABELS).contains(labels)).map(Window::Labels))
            .ok_or_else(|| {
                Error::InvalidInput(format!(
                    "window: expected all, hours as 24h, days as 7d, or a number of labels up to {MAX_LABELS}, got {}",
                    quote(text)
                ))
            }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_are_of_time_or_of_labels() {
        for (text, window) in
            [("all", Window::All), ("1h", Window::Hours(1)), ("7d", Window::Hours(168)), ("1000", Window::Labels(1000))]
        {
            assert_eq!(parse(text).unwrap(), window);
        }
        for bad in ["", "0", "0h", "-1", "9999d", "h", "1w", "100001", "4294967295d"] {
            assert!(matches!(parse(bad), Err(Error::InvalidInput(_))), "{bad}");
        }
    }
}
