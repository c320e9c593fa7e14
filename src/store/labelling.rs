//! Which captured inputs should be labelled next.

use std::collections::HashMap;

use uuid::Uuid;

use super::block::{Kept, Row};
use super::database::{Connection, Value};
use super::fault::Outcome;
use super::input;
use super::quality::inclusion_of;
use super::truth::predicted;
use super::version::{KnownVersion, of_columns};
use crate::stats::{Candidate, Inclusion, Selection, choose};

/// The most captured samples that are chosen from, the newest.
const MAX_SAMPLES: i64 = 200_000;

/// A question for inputs to be labelled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LabellingQuery {
    /// The model.
    pub model: String,
    /// The version that answered; the newest that something was captured of otherwise.
    pub version: Option<u64>,
    /// The moments between which the requests ended, in microseconds since 1970, the second one excluded.
    pub between: (i64, i64),
    /// The number of inputs.
    pub count: usize,
    /// The seed of the random part.
    pub seed: u64,
}

/// Inputs to be labelled, and what they were chosen from.
#[derive(Debug, Clone, PartialEq)]
pub struct Labelling {
    /// The version that answered.
    pub version: KnownVersion,
    /// The captured samples that were chosen from.
    pub samples: u64,
    /// Their different inputs.
    pub inputs: u64,
    /// The chosen ones, in an order that does not tell why they were chosen.
    pub chosen: Vec<ToLabel>,
}

/// One input to be labelled.
#[derive(Debug, Clone, PartialEq)]
pub struct ToLabel {
    /// The newest sample that had it, with its answer.
    pub row: Row,
    /// The answer as text.
    pub predicted: Option<String>,
    /// Why it was chosen.
    pub selection: Selection,
    /// The inverse of the number of predictions that a label stands for.
    pub inclusion: Inclusion,
    /// The samples that had this input.
    pub samples: u64,
}

/// The samples of one input.
struct Group {
    id: Uuid,
    row: Row,
    hash: u64,
    stands_for: f64,
    samples: u64,
}

/// Chooses inputs; `None` where nothing was captured of the model.
pub(super) fn labelling(connection: &mut Connection, query: &LabellingQuery) -> Outcome<Option<Labelling>> {
    let Some((key, version)) = version(connection, query)? else { return Ok(None) };
    let mut groups: Vec<Group> = Vec::new();
    let mut places: HashMap<Vec<u8>, usize> = HashMap::new();
    let found = connection.query(
        "SELECT id, sha256, inclusion_ppb, data FROM captured WHERE key = ?1 AND at >= ?2 AND at < ?3 \
         ORDER BY at DESC, id DESC, item DESC LIMIT ?4",
        &[key.into(), query.between.0.into(), query.between.1.into(), MAX_SAMPLES.into()],
    )?;
    let mut samples = 0;
    for fields in &found {
        let Some(row) = input::row(fields.bytes(3))?.filter(|row| row.answered) else { continue };
        samples += 1;
        let stands_for = 1.0 / inclusion_of(fields, 2).unwrap_or(Inclusion::CERTAIN).probability();
        let digest = fields.bytes(1);
        if let Some(group) = places.get(digest).and_then(|place| groups.get_mut(*place)) {
            group.stands_for += stands_for;
            group.samples += 1;
            continue;
        }
        places.insert(digest.to_vec(), groups.len());
        let hash = digest.first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes));
        groups.push(Group {
            id: Uuid::from_slice(fields.bytes(0)).unwrap_or_default(),
            row,
            hash,
            stands_for,
            samples: 1,
        });
    }
    let candidates: Vec<Candidate> = groups.iter().map(candidate).collect();
    let chosen = choose(&candidates, query.count, query.seed);
    let inputs = groups.len() as u64;
    let to_label = |one: crate::stats::Chosen| {
        let group = groups.get(one.place)?;
        let row = Row { id: group.id, ..group.row.clone() };
        let predicted = predicted(&row, &version);
        let (selection, inclusion) = (one.selection, one.inclusion);
        Some(ToLabel { row, predicted, selection, inclusion, samples: group.samples })
    };
    let chosen = chosen.into_iter().filter_map(to_label).collect();
    Ok(Some(Labelling { version, samples, inputs, chosen }))
}

fn candidate(group: &Group) -> Candidate {
    let (margin, energy) = match group.row.kept {
        Kept::Classified { margin, energy, .. } => (Some(margin), energy),
        Kept::Nothing | Kept::Value(_) | Kept::Score(_) => (None, None),
    };
    Candidate { hash: group.hash, margin, energy, stands_for: group.stands_for }
}

/// Returns the version that is meant, with its key.
fn version(connection: &mut Connection, query: &LabellingQuery) -> Outcome<Option<(i64, KnownVersion)>> {
    let known = connection.query(
        "SELECT key, version, digest, labels, answers FROM version_key WHERE model = ?1 ORDER BY version DESC, key DESC",
        &[query.model.as_str().into()],
    )?;
    for row in known {
        let number = row.int(1) as u64;
        if query.version.is_some_and(|version| version != number) {
            continue;
        }
        let place: [Value; 3] = [row.int(0).into(), query.between.0.into(), query.between.1.into()];
        let found =
            connection.query("SELECT at FROM captured WHERE key = ?1 AND at >= ?2 AND at < ?3 LIMIT 1", &place)?;
        if !found.is_empty() {
            let version = of_columns(&query.model, number, row.bytes(2), row.text(3), row.int(4));
            return Ok(Some((row.int(0), version)));
        }
    }
    Ok(None)
}
