//! Records and versions in the terms of the store.

use super::record::{Answer, Record};
use crate::metrics::Outcome;
use crate::repository::DriftReference;
use crate::serving::{Identity, Places};
use crate::stats::{belongs, is_withheld};
use crate::store::{Answers, Kept, KnownVersion, Level, MAX_SET_CLASSES, Promise, Row};

/// Returns a record as the store keeps it.
pub(super) fn row(record: &Record) -> Row {
    Row {
        total_us: record.total_us,
        answered: record.outcome == Outcome::Success,
        cached: record.cached,
        inverted: record.inverted,
        input: record.input.map(|input| (input.mean, input.deviation)),
        promises: record.version.reference.as_deref().map(|reference| promises(record, reference)).unwrap_or_default(),
        ..Row::new(record.id, record.item, record.at, kept(record))
    }
}

/// Returns what the reference of a version promises of an answer, whether the caller asked for it or not. Sets are those
/// of models whose probabilities are kept.
fn promises(record: &Record, reference: &DriftReference) -> Vec<Promise> {
    let Answer::Classified { margin, .. } = record.answer else { return Vec::new() };
    let shares = record.probabilities().unwrap_or_default();
    let sets = reference.sets.iter().filter(|_| !shares.is_empty()).take(MAX_OF_A_KIND).filter_map(|set| {
        let inside = shares.iter().enumerate().filter(|(_, share)| belongs(**share, set.threshold));
        let classes = inside.fold(0, |classes, (class, _)| classes | 1u32 << class);
        Some(Promise::Set { level: Level::of(set.level)?, classes })
    });
    let answers = reference.abstentions.iter().take(MAX_OF_A_KIND).filter_map(|abstention| {
        let is_withheld = is_withheld(f64::from(margin), abstention.margin);
        Some(Promise::Answer { rate: Level::of(abstention.error_rate)?, is_withheld })
    });
    sets.chain(answers).collect()
}

/// The most levels of sets, and the most rates of errors, that are kept of an answer.
const MAX_OF_A_KIND: usize = 3;

const _: () = assert!(super::record::MAX_PROBABILITIES <= MAX_SET_CLASSES);

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
