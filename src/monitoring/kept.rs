//! Records and versions in the terms of the store.

use super::record::{Answer, Record};
use crate::metrics::Outcome;
use crate::serving::{Identity, Places};
use crate::store::{Answers, Kept, KnownVersion, Row};

/// Returns a record as the store keeps it.
pub(super) fn row(record: &Record) -> Row {
    Row {
        total_us: record.total_us,
        answered: record.outcome == Outcome::Success,
        cached: record.cached,
        inverted: record.inverted,
        input: record.input.map(|input| (input.mean, input.deviation)),
        ..Row::new(record.id, record.item, record.at, kept(record))
    }
}

/// Returns a version as the store knows it.
pub fn known(identity: &Identity) -> KnownVersion {
    KnownVersion {
        model: identity.model.to_string(),
        version: identity.version.0,
        digest: identity.digest,
        labels: identity.labels.clone(),
        answers: match identity.places {
            Places::Classes { .. } => Answers::Classes,
            Places::Number(_) => Answers::Numbers,
            Places::Score(_) | Places::Outputs => Answers::Others,
        },
    }
}

fn kept(record: &Record) -> Kept {
    match record.answer {
        Answer::None => Kept::Nothing,
        Answer::Value(value) => Kept::Value(value),
        Answer::Score(score) => Kept::Score(score),
        Answer::Classified { class, confidence, margin, energy, classes, .. } => {
            let probabilities = record.probabilities().unwrap_or_default().to_vec();
            Kept::Classified { class, confidence, margin, energy, classes, probabilities }
        }
    }
}
