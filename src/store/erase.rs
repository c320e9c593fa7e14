//! One prediction with all that is kept about it: shown, or erased.

use std::sync::Arc;

use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::block::{Block, Row};
use super::database::{Fields, Value};
use super::fault::Outcome;
use super::feedback::{Content, Origin};
use super::find::{Located, server_id};
use super::input;
use super::join::{COUNTS, Joining, figures_of};
use super::quality::BUCKET_US;
use super::retention;
use super::truth::{Figures, predicted};
use super::version::KnownVersion;
use crate::error::{Error, Result};

/// The most requests under one identifier of a client's own that are erased together.
const MAX_REQUESTS: i64 = 1000;

/// A prediction that is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PredictionQuery {
    /// The identifier of its request: the server's or the caller's own.
    pub request_id: String,
    /// The model that answered, where an identifier of the caller's own may mean several.
    pub model: Option<String>,
}

/// One sample, as a version answered it, with what was said about it.
#[derive(Debug, Clone, PartialEq)]
pub struct KeptPrediction {
    /// The version.
    pub version: Arc<KnownVersion>,
    /// The sample.
    pub row: Row,
    /// The answer as text: a label or a number.
    pub predicted: Option<String>,
    /// What all its labels together say; `None` without labels, and where they are tied.
    pub outcome: Option<KeptOutcome>,
    /// The labels, oldest first.
    pub feedback: Vec<KeptFeedback>,
}

/// What is true of a sample.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeptOutcome {
    /// The true class, if it is known.
    pub truth: Option<i64>,
    /// Set if the answer was right; `None` for numbers.
    pub correct: Option<bool>,
    /// The origin of the label that decided.
    pub source: Origin,
}

/// What somebody said of a sample.
#[derive(Debug, Clone, PartialEq)]
pub struct KeptFeedback {
    /// What was said.
    pub content: Content,
    /// How far it is trusted.
    pub source: Origin,
    /// When it came, in microseconds since 1970.
    pub received: i64,
    /// False if the same party has said something newer.
    pub counts: bool,
}

/// What was erased.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Erased {
    /// Requests.
    pub requests: u64,
    /// Their samples.
    pub samples: u64,
    /// Labels, also such that waited for a prediction.
    pub labels: u64,
    /// Captured inputs.
    pub inputs: u64,
}

impl Joining<'_> {
    /// Returns the samples of a request with what was said about them.
    pub(super) fn show(&mut self, query: &PredictionQuery) -> Outcome<Result<Vec<KeptPrediction>>> {
        let rows = match self.locate(&query.request_id, query.model.as_deref())? {
            Located::Rows(rows) => rows,
            Located::Refused(error) => return Ok(Err(error)),
            Located::Unseen => return Ok(Err(unseen(query))),
        };
        let mut shown = Vec::with_capacity(rows.len());
        for row in rows {
            let version = self.version(row.key)?;
            if query.model.as_ref().is_some_and(|model| *model != version.model) {
                return Ok(Err(Error::NotFound(format!("the request was answered by model \"{}\"", version.model))));
            }
            let place: [Value; 3] = [row.id.into(), row.item.into(), row.key.into()];
            let outcome = self
                .connection
                .query("SELECT source, truth, correct FROM outcome WHERE id = ?1 AND item = ?2 AND key = ?3", &place)?;
            let outcome = outcome.first().map(|fields| KeptOutcome {
                source: Origin::of_code(fields.int(0)),
                truth: fields.maybe_int(1),
                correct: fields.maybe_int(2).map(|correct| correct == 1),
            });
            let feedback = self.connection.query(
                "SELECT content, source, received, state FROM feedback WHERE id = ?1 AND item = ?2 ORDER BY seq",
                &place[..2],
            )?;
            let feedback = feedback.iter().filter_map(said).collect();
            shown.push(KeptPrediction { predicted: predicted(&row, &version), version, row, outcome, feedback });
        }
        Ok(Ok(shown))
    }

    /// Returns the input of a sample.
    pub(super) fn input(&mut self, query: &PredictionQuery, item: u32) -> Outcome<Result<Vec<u8>>> {
        let rows = match self.locate(&query.request_id, query.model.as_deref())? {
            Located::Rows(rows) => rows,
            Located::Refused(error) => return Ok(Err(error)),
            Located::Unseen => return Ok(Err(unseen(query))),
        };
        let found = match rows.iter().find(|row| row.item == item) {
            Some(row) => self.connection.query(
                "SELECT i.data FROM captured c JOIN input i ON i.sha256 = c.sha256 \
                 WHERE c.id = ?1 AND c.item = ?2 AND c.key = ?3",
                &[row.id.into(), row.item.into(), row.key.into()],
            )?,
            None => Vec::new(),
        };
        Ok(found.first().map(|row| row.bytes(0).to_vec()).ok_or_else(|| {
            Error::NotFound(format!(
                "no input of item {item} of this prediction is kept: the setting --capture says which are, and \
                 --keep-inputs-days, --keep-inputs-bytes and --keep-inputs-count for how long"
            ))
        }))
    }

    /// Erases everything that is kept about a request, or about all requests under an identifier of a client's own, and
    /// takes its figures out of the sums. What remains is a hash of the identifier, and the numbers of samples that
    /// were asked about.
    pub(super) fn erase(&mut self, query: &PredictionQuery) -> Outcome<Result<Erased>> {
        let mut erased = Erased::default();
        for id in self.ids_of(&query.request_id)? {
            let version = self.version_of(id)?;
            if let (Some(wanted), Some(version)) = (&query.model, &version)
                && version.model != *wanted
            {
                continue;
            }
            let samples = self.remove_rows(id)?;
            let labels = self.remove_labels(id)?;
            let inputs = input::remove(self.connection, id)?;
            self.connection.execute("DELETE FROM client_id WHERE id = ?1", &[id.into()])?;
            if samples + labels + inputs > 0 {
                erased.requests += 1;
                erased.samples += samples;
                erased.labels += labels;
                erased.inputs += inputs;
                self.note_erased(&id.to_string())?;
            }
        }
        let held = self.connection.execute(
            "DELETE FROM feedback WHERE target = ?1 AND state = 2 AND (CAST(?2 AS TEXT) IS NULL OR model IS NULL OR model = ?2)",
            &[query.request_id.as_str().into(), query.model.as_deref().into()],
        )?;
        self.held -= held as i64;
        erased.labels += held;
        if erased != Erased::default() {
            self.note_erased(&query.request_id)?;
            return Ok(Ok(erased));
        }
        match self.locate(&query.request_id, query.model.as_deref())? {
            Located::Refused(error) => Ok(Err(error)),
            Located::Rows(_) | Located::Unseen => Ok(Err(unseen(query))),
        }
    }

    /// Returns the server's identifiers of all requests that an identifier stands for, also of such whose prediction is
    /// gone while its labels are not.
    fn ids_of(&mut self, request_id: &str) -> Outcome<Vec<Uuid>> {
        let name = [Value::from(request_id), MAX_REQUESTS.into()];
        let mut ids: Vec<Uuid> = server_id(request_id).into_iter().collect();
        for statement in [
            "SELECT id FROM client_id WHERE client = ?1 ORDER BY at DESC, id DESC LIMIT ?2",
            "SELECT DISTINCT id FROM feedback WHERE target = ?1 AND id IS NOT NULL LIMIT ?2",
        ] {
            let found = self.connection.query(statement, &name)?;
            ids.extend(found.iter().filter_map(|row| Uuid::from_slice(row.bytes(0)).ok()));
        }
        ids.sort_unstable();
        ids.dedup();
        Ok(ids)
    }

    /// Returns the version that answered a request, as far as anything is known of it.
    fn version_of(&mut self, id: Uuid) -> Outcome<Option<Arc<KnownVersion>>> {
        if let Some(row) = self.rows_of(id)?.first() {
            return self.version(row.key).map(Some);
        }
        let found = self.connection.query("SELECT key FROM outcome WHERE id = ?1 LIMIT 1", &[id.into()])?;
        let key = found.first().and_then(|row| u32::try_from(row.int(0)).ok());
        key.map(|key| self.version(key)).transpose()
    }

    /// Writes the blocks of a request anew without it; returns the number of its samples.
    fn remove_rows(&mut self, id: Uuid) -> Outcome<u64> {
        let (mut removed, mut freed) = (0, 0);
        for number in self.blocks_around(id)? {
            let block = self.block(number)?;
            let rest: Vec<Row> = block.iter().filter(|row| row.id != id).cloned().collect();
            if rest.len() == block.len() {
                continue;
            }
            removed += (block.len() - rest.len()) as u64;
            self.blocks.remove(&number);
            let length =
                self.connection.query("SELECT LENGTH(data) FROM prediction WHERE block = ?1", &[number.into()])?;
            freed += length.first().map_or(0, |row| row.int(0));
            if rest.is_empty() {
                self.connection.execute("DELETE FROM prediction WHERE block = ?1", &[number.into()])?;
                continue;
            }
            let block = Block::of(&rest);
            freed -= block.data.len() as i64;
            self.connection.execute(
                "UPDATE prediction SET first_id = ?2, last_id = ?3, first_at = ?4, last_at = ?5, samples = ?6, \
                 data = ?7 WHERE block = ?1",
                &[
                    number.into(),
                    block.first.into(),
                    block.last.into(),
                    block.first_at.into(),
                    block.last_at.into(),
                    Value::Int(block.rows as i64),
                    Value::Bytes(block.data),
                ],
            )?;
        }
        retention::note_bytes(self.connection, -freed)?;
        Ok(removed)
    }

    /// Removes the labels of a request, and takes its outcomes out of the sums; returns the number of labels.
    fn remove_labels(&mut self, id: Uuid) -> Outcome<u64> {
        let outcomes = self.connection.query(
            "SELECT source, delay_us, truth, predicted, correct, confidence_nano, loss_nano, brier_nano, error, key, at, \
             (SELECT settled FROM promised p WHERE p.id = outcome.id AND p.item = outcome.item AND p.key = outcome.key), \
             inclusion_ppb FROM outcome WHERE id = ?1",
            &[id.into()],
        )?;
        for row in &outcomes {
            let (figures, source, delay): (Figures, i64, i64) = figures_of(row, 11);
            self.changes.at((row.int(9), row.int(10).div_euclid(BUCKET_US), source)).add(&figures, delay, -1);
        }
        self.connection.execute("DELETE FROM outcome WHERE id = ?1", &[id.into()])?;
        self.connection.execute("DELETE FROM promised WHERE id = ?1", &[id.into()])?;
        self.connection.execute("DELETE FROM feedback WHERE id = ?1", &[id.into()])
    }

    fn note_erased(&mut self, identifier: &str) -> Outcome<()> {
        let values = [Value::from(digest(identifier).as_slice()), self.now.into()];
        self.connection
            .execute("INSERT INTO erased (digest, at) VALUES (?1, ?2) ON CONFLICT DO NOTHING", &values)
            .map(drop)
    }

    /// Returns true if what an identifier stood for was erased.
    pub(super) fn is_erased(&mut self, identifier: &str) -> Outcome<bool> {
        let values = [Value::from(digest(identifier).as_slice())];
        Ok(!self.connection.query("SELECT at FROM erased WHERE digest = ?1", &values)?.is_empty())
    }
}

/// Returns what is kept of an identifier that was erased. Servers write their own in one way, clients in any.
fn digest(identifier: &str) -> Vec<u8> {
    let text = server_id(identifier).map_or_else(|| identifier.to_owned(), |id| id.to_string());
    Sha256::digest(text)[..16].to_vec()
}

fn unseen(query: &PredictionQuery) -> Error {
    Error::NotFound(format!("no prediction with the identifier {} has been seen", query.request_id))
}

fn said(fields: &Fields) -> Option<KeptFeedback> {
    Some(KeptFeedback {
        content: serde_json::from_str(fields.text(0)).ok()?,
        source: Origin::of_code(fields.int(1)),
        received: fields.int(2),
        counts: fields.int(3) == COUNTS,
    })
}
