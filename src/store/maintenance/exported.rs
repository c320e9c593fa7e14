//! The rows of a database as they are exported: one JSON object each.

use serde::Serialize;

use crate::store::block::{Kept, Row};
use crate::store::database::Fields;
use crate::store::feedback::{Content, Origin};
use crate::store::join::figures_of;
use crate::store::quality::inclusion_of;
use crate::store::truth::ERROR_STEPS;
use crate::store::version::KnownVersion;
use crate::tensor::Real;

/// One sample, as it is exported.
#[derive(Debug, Serialize)]
pub(super) struct Exported<'a> {
    request_id: String,
    item: u32,
    model: &'a str,
    version: u64,
    at: String,
    duration_seconds: f64,
    answered: bool,
    cached: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    inverted: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    input_mean: Option<f32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    input_deviation: Option<f32>,
    /// The probability with which it was kept, where that was not all.
    #[serde(skip_serializing_if = "Option::is_none")]
    inclusion: Option<f64>,
    #[serde(flatten)]
    answer: ExportedAnswer<'a>,
}

#[derive(Debug, Serialize)]
#[serde(untagged)]
enum ExportedAnswer<'a> {
    Nothing {},
    Classified {
        class: u32,
        #[serde(skip_serializing_if = "Option::is_none")]
        label: Option<&'a str>,
        confidence: f32,
        margin: f32,
        #[serde(skip_serializing_if = "Option::is_none")]
        energy: Option<f32>,
        probabilities: &'a [f32],
    },
    Value {
        value: Real,
    },
    Score {
        score: f32,
    },
}

/// Returns a moment as RFC 3339 has it.
pub(super) fn time(microseconds: i64) -> String {
    jiff::Timestamp::from_microsecond(microseconds).map(|time| time.to_string()).unwrap_or_default()
}

/// Returns a sample as it is exported.
pub(super) fn exported<'a>(row: &'a Row, version: &'a KnownVersion) -> Exported<'a> {
    let answer = match &row.kept {
        Kept::Nothing => ExportedAnswer::Nothing {},
        Kept::Value(value) => ExportedAnswer::Value { value: *value },
        Kept::Score(score) => ExportedAnswer::Score { score: *score },
        Kept::Classified { class, confidence, margin, energy, probabilities, .. } => ExportedAnswer::Classified {
            class: *class,
            label: version.labels.get(*class as usize).map(String::as_str),
            confidence: *confidence,
            margin: *margin,
            energy: *energy,
            probabilities,
        },
    };
    Exported {
        request_id: row.id.to_string(),
        item: row.item,
        model: &version.model,
        version: version.version,
        at: time(row.at),
        duration_seconds: f64::from(row.total_us) / 1e6,
        answered: row.answered,
        cached: row.cached,
        inverted: row.inverted,
        input_mean: row.input.map(|(mean, _)| mean),
        input_deviation: row.input.map(|(_, deviation)| deviation),
        inclusion: (row.kept_ppm < 1_000_000).then(|| f64::from(row.kept_ppm) / 1e6),
        answer,
    }
}

/// Returns a label in the shape that `POST /feedback` takes, with what became of it.
pub(super) fn label(row: &Fields) -> serde_json::Value {
    let state = ["counts", "superseded", "held"].get(row.int(8) as usize).copied().unwrap_or("unknown");
    let mut text = serde_json::json!({
        "request_id": row.text(1),
        "item": row.int(2),
        "source": Origin::of_code(row.int(4)),
        "received": time(row.int(7)),
        "state": state,
    });
    if !row.text(5).is_empty() {
        text["annotator_hash"] = row.text(5).into();
    }
    if let Some(inclusion) = inclusion_of(row, 10) {
        text["inclusion"] = inclusion.probability().into();
    }
    if let Some(at) = row.maybe_int(6) {
        text["labelled_at"] = time(at).into();
    }
    match serde_json::from_str(row.text(3)) {
        Ok(Content::Class(class)) => text["label"] = class.into(),
        Ok(Content::Label(label)) => text["label"] = label.into(),
        Ok(Content::Correct(correct)) => text["correct"] = correct.into(),
        Ok(Content::Value(value)) => text["value"] = value.into(),
        Ok(Content::Retract) => text["retract"] = true.into(),
        Err(_) => {}
    }
    text
}

/// Returns what is true of a sample, with the figures that follow.
pub(super) fn outcome(row: &Fields, version: Option<&KnownVersion>) -> serde_json::Value {
    let (figures, source, delay) = figures_of(row, 13);
    let unit = ERROR_STEPS;
    serde_json::json!({
        "request_id": uuid::Uuid::from_slice(row.bytes(11)).unwrap_or_default().to_string(),
        "item": row.int(12),
        "model": version.map(|version| version.model.as_str()),
        "version": version.map(|version| version.version),
        "at": time(row.int(10)),
        "source": Origin::of_code(source),
        "truth": figures.truth,
        "predicted": figures.predicted,
        "correct": figures.correct,
        "loss": figures.loss_nano.map(|nano| nano as f64 / 1e9),
        "brier_score": figures.brier_nano.map(|nano| nano as f64 / 1e9),
        "error": figures.error.map(|steps| steps as f64 / unit),
        "label_delay_seconds": delay as f64 / 1e6,
    })
}
