//! Joins feedback to predictions, inside one transaction.

use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

use uuid::Uuid;

use super::block::Row;
use super::database::{Connection, Fields, Value};
use super::fault::Outcome;
use super::feedback::{Content, Feedback, Joined, Origin, Verdict};
use super::promise;
use super::promised;
use super::quality::{BUCKET_US, Changes, inclusion_of};
use super::sampling::KeptShare;
use super::truth::{Figures, Vote, decide, predicted, resolve, score};
use super::version::KnownVersion;
use crate::error::Error;
use crate::stats::Inclusion;

/// The states of a row of feedback.
pub(super) const COUNTS: i64 = 0;
pub(super) const SUPERSEDED: i64 = 1;
pub(super) const HELD: i64 = 2;

/// The time for which feedback waits for its prediction.
pub(super) const HOLD_US: i64 = 24 * BUCKET_US;

/// The most pieces of feedback that wait for their predictions.
pub(super) const MAX_HELD: i64 = 100_000;

/// The held pieces that are looked at together.
const MAX_LOOKED: i64 = 500;

/// What a piece of feedback is about.
pub(super) enum Target {
    /// One sample, as each version that was asked about it answered.
    Found(Vec<Row>),
    /// No such prediction has been seen.
    Unseen,
    /// It cannot be joined.
    Refused(Error),
}

/// What became of held feedback.
pub(super) struct Looked {
    /// The last row that was looked at; 0 after the last of all.
    pub(super) last: i64,
    pub(super) joined: u64,
    pub(super) rejected: u64,
}

/// A transaction that joins.
pub(super) struct Joining<'a> {
    pub(super) connection: &'a mut Connection,
    pub(super) versions: &'a mut HashMap<i64, Arc<KnownVersion>>,
    pub(super) changes: Changes,
    /// Now, in microseconds since 1970.
    pub(super) now: i64,
    /// The share of requests whose samples are kept.
    pub(super) keep_share: KeptShare,
    /// Pieces of feedback that wait.
    pub(super) held: i64,
    /// The blocks that were read.
    pub(super) blocks: HashMap<i64, Rc<Vec<Row>>>,
}

impl<'a> Joining<'a> {
    pub(super) fn new(
        connection: &'a mut Connection,
        versions: &'a mut HashMap<i64, Arc<KnownVersion>>,
        now: i64,
        held: i64,
    ) -> Self {
        let (changes, keep_share) = (Changes::default(), KeptShare::ALL);
        Self { connection, versions, changes, now, keep_share, held, blocks: HashMap::new() }
    }

    /// Takes a piece of feedback in.
    pub(super) fn take(&mut self, feedback: &Feedback) -> Outcome<Verdict> {
        match self.find(feedback)? {
            Target::Found(rows) => self.apply(&rows, feedback, self.now),
            Target::Unseen => self.hold(feedback),
            Target::Refused(error) => Ok(Verdict::Rejected(error)),
        }
    }

    /// Keeps feedback until its prediction is seen.
    fn hold(&mut self, feedback: &Feedback) -> Outcome<Verdict> {
        if feedback.content == Content::Retract {
            return Ok(Verdict::Rejected(Error::NotFound("there is nothing to take back".into())));
        }
        let until = self.now + HOLD_US;
        let digest = feedback.digest();
        let known =
            self.connection.query("SELECT received FROM feedback WHERE digest = ?1", &[digest.as_slice().into()])?;
        if let Some(row) = known.first() {
            return Ok(Verdict::Held(row.int(0) + HOLD_US));
        }
        if self.held >= MAX_HELD {
            return Ok(Verdict::Rejected(Error::Overloaded {
                what: "feedback that waits for its predictions",
                retry_after_seconds: 60,
            }));
        }
        self.insert(feedback, None, self.now, HELD)?;
        self.held += 1;
        Ok(Verdict::Held(until))
    }

    /// Joins held feedback behind the row `after` whose prediction has been seen meanwhile.
    pub(super) fn join_held(&mut self, after: i64) -> Outcome<Looked> {
        let rows = self.connection.query(
            "SELECT seq, target, item, model, content, source, annotator, labelled_at, received, inclusion_ppb FROM feedback \
             WHERE state = 2 AND seq > ?1 ORDER BY seq LIMIT ?2",
            &[after.into(), MAX_LOOKED.into()],
        )?;
        // From the beginning again after the end.
        let last = if rows.len() < MAX_LOOKED as usize { 0 } else { rows.last().map_or(0, |row| row.int(0)) };
        let mut looked = Looked { last, joined: 0, rejected: 0 };
        for row in rows {
            let feedback = Feedback {
                request_id: row.text(1).to_owned(),
                item: row.int(2) as u32,
                model: row.maybe_text(3),
                content: serde_json::from_str(row.text(4))
                    .map_err(|error| Error::internal("held feedback cannot be read", error))?,
                source: Origin::of_code(row.int(5)),
                annotator: row.text(6).to_owned(),
                labelled_at: row.maybe_int(7),
                inclusion: inclusion_of(&row, 9),
                claim: None,
            };
            let target = self.find(&feedback)?;
            if matches!(target, Target::Unseen) {
                continue;
            }
            self.connection.execute("DELETE FROM feedback WHERE seq = ?1", &[row.int(0).into()])?;
            self.held -= 1;
            let verdict = match target {
                Target::Found(rows) => self.apply(&rows, &feedback, row.int(8))?,
                Target::Refused(error) => Verdict::Rejected(error),
                Target::Unseen => continue,
            };
            match verdict {
                Verdict::Rejected(error) => {
                    looked.rejected += 1;
                    tracing::debug!(%error, "held feedback cannot be used");
                }
                _ => looked.joined += 1,
            }
        }
        Ok(looked)
    }

    /// Returns the number of the new row.
    fn insert(&mut self, feedback: &Feedback, id: Option<Uuid>, received: i64, state: i64) -> Outcome<i64> {
        let content = serde_json::to_string(&feedback.content)
            .map_err(|error| Error::internal("feedback cannot be written", error))?;
        let rows = self.connection.query(
            "INSERT INTO feedback (digest, target, id, item, model, content, source, annotator, labelled_at, received, \
             state, inclusion_ppb) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12) RETURNING seq",
            &[
                feedback.digest().as_slice().into(),
                feedback.request_id.as_str().into(),
                id.into(),
                feedback.item.into(),
                feedback.model.as_deref().into(),
                content.as_str().into(),
                feedback.source.code().into(),
                feedback.annotator.as_str().into(),
                feedback.labelled_at.into(),
                received.into(),
                state.into(),
                feedback.inclusion.map(Inclusion::billionths).into(),
            ],
        )?;
        Ok(rows.first().map_or(0, |row| row.int(0)))
    }

    /// Counts feedback on the sample whose rows these are, of which there is at least one.
    pub(super) fn apply(&mut self, rows: &[Row], feedback: &Feedback, received: i64) -> Outcome<Verdict> {
        let Some(row) = rows.first() else { return Ok(Verdict::Rejected(Error::Cancelled)) };
        let version = self.version(row.key)?;
        let truth = match resolve(&feedback.content, &version, row) {
            Ok(truth) => truth,
            Err(problem) => return Ok(Verdict::Rejected(Error::InvalidInput(problem))),
        };
        let joined = Joined {
            model: version.model.clone(),
            version: version.version,
            predicted: predicted(row, &version),
            correct: truth.and_then(|truth| score(row, truth).correct),
        };
        let (id, item) = (row.id, row.item);
        let Some(truth) = truth else {
            self.connection.execute(
                "DELETE FROM feedback WHERE id = ?1 AND item = ?2 AND source = ?3 AND annotator = ?4",
                &[id.into(), item.into(), feedback.source.code().into(), feedback.annotator.as_str().into()],
            )?;
            let votes = self.votes(rows, &version)?;
            self.settle(rows, decide(&votes))?;
            return Ok(Verdict::Retracted(joined));
        };
        let digest = feedback.digest();
        let known = self
            .connection
            .query("SELECT state, inclusion_ppb FROM feedback WHERE digest = ?1", &[digest.as_slice().into()])?;
        if let Some(known) = known.first() {
            let counts = known.int(0) == COUNTS;
            if counts && feedback.inclusion.is_some() && feedback.inclusion != inclusion_of(known, 1) {
                self.correct_inclusion(rows, feedback, &version)?;
            }
            return Ok(if counts { Verdict::Duplicate(joined) } else { Verdict::Superseded(joined) });
        }
        let before = self.connection.query(
            "SELECT seq, labelled_at FROM feedback \
             WHERE id = ?1 AND item = ?2 AND source = ?3 AND annotator = ?4 AND state = 0",
            &[id.into(), item.into(), feedback.source.code().into(), feedback.annotator.as_str().into()],
        )?;
        for row in &before {
            if let (Some(new), Some(old)) = (feedback.labelled_at, row.maybe_int(1))
                && new < old
            {
                self.insert(feedback, Some(id), received, SUPERSEDED)?;
                return Ok(Verdict::Superseded(joined));
            }
            let values: [Value; 2] = [SUPERSEDED.into(), row.int(0).into()];
            self.connection.execute("UPDATE feedback SET state = ?1 WHERE seq = ?2", &values)?;
        }
        self.insert(feedback, Some(id), received, COUNTS)?;
        let votes = self.votes(rows, &version)?;
        let decided = decide(&votes);
        self.settle(rows, decided)?;
        let counts = decided.is_some_and(|vote| vote.truth == truth);
        Ok(if counts { Verdict::Joined(joined) } else { Verdict::Outvoted(joined) })
    }

    /// Notes that the sample of a label that is known was chosen with another probability than was said before.
    fn correct_inclusion(&mut self, rows: &[Row], feedback: &Feedback, version: &KnownVersion) -> Outcome<()> {
        self.connection.execute(
            "UPDATE feedback SET inclusion_ppb = ?1 WHERE digest = ?2",
            &[feedback.inclusion.map(Inclusion::billionths).into(), feedback.digest().as_slice().into()],
        )?;
        let votes = self.votes(rows, version)?;
        self.settle(rows, decide(&votes))
    }

    /// Returns the labels of a sample that count.
    fn votes(&mut self, rows: &[Row], version: &KnownVersion) -> Outcome<Vec<Vote>> {
        let Some(row) = rows.first() else { return Ok(Vec::new()) };
        let found = self.connection.query(
            "SELECT seq, content, source, received, inclusion_ppb FROM feedback WHERE id = ?1 AND item = ?2 AND state = 0",
            &[row.id.into(), row.item.into()],
        )?;
        let vote = |fields: &Fields| {
            let content: Content = serde_json::from_str(fields.text(1)).ok()?;
            let truth = resolve(&content, version, row).ok()??;
            let source = Origin::of_code(fields.int(2));
            let inclusion = inclusion_of(fields, 4);
            Some(Vote { truth, source, seq: fields.int(0), received: fields.int(3), inclusion })
        };
        Ok(found.iter().filter_map(vote).collect())
    }

    /// Brings outcomes and sums in line with what is decided about a sample.
    fn settle(&mut self, rows: &[Row], decided: Option<Vote>) -> Outcome<()> {
        for row in rows {
            let (key, bucket) = (i64::from(row.key), row.at.div_euclid(BUCKET_US));
            let place: [Value; 3] = [row.id.into(), row.item.into(), key.into()];
            if let Some(old) = self.connection.query(READ_OUTCOME, &place)?.first() {
                let (figures, source, delay) = figures_of(old, 10);
                self.changes.at((key, old.int(9).div_euclid(BUCKET_US), source)).add(&figures, delay, -1);
                if decided.is_none() {
                    self.connection.execute("DELETE FROM outcome WHERE id = ?1 AND item = ?2 AND key = ?3", &place)?;
                    promised::note(self.connection, &place, row.at, &Default::default())?;
                }
            }
            let Some(vote) = decided else { continue };
            let figures = Figures { inclusion: vote.inclusion, ..score(row, vote.truth) };
            let delay = (vote.received - row.at).max(0);
            self.changes.at((key, bucket, vote.source.code())).add(&figures, delay, 1);
            promised::note(self.connection, &place, row.at, &figures.promises)?;
            let values: [Value; 12] = [
                row.at.into(),
                vote.seq.into(),
                vote.source.code().into(),
                figures.truth.into(),
                figures.predicted.into(),
                figures.correct.into(),
                figures.confidence_nano.into(),
                figures.loss_nano.into(),
                figures.brier_nano.into(),
                figures.error.into(),
                delay.into(),
                figures.inclusion.map(Inclusion::billionths).into(),
            ];
            let values: Vec<Value> = place.into_iter().chain(values).collect();
            self.connection.execute(WRITE_OUTCOME, &values)?;
        }
        Ok(())
    }
}

const READ_OUTCOME: &str = "SELECT source, delay_us, truth, predicted, correct, confidence_nano, loss_nano, brier_nano, \
    error, at, \
    (SELECT settled FROM promised p WHERE p.id = outcome.id AND p.item = outcome.item AND p.key = outcome.key), \
    inclusion_ppb FROM outcome WHERE id = ?1 AND item = ?2 AND key = ?3";

const WRITE_OUTCOME: &str = "INSERT INTO outcome (id, item, key, at, seq, source, truth, predicted, correct, \
    confidence_nano, loss_nano, brier_nano, error, delay_us, inclusion_ppb) \
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15) ON CONFLICT (id, item, key) DO UPDATE SET \
    at = excluded.at, seq = excluded.seq, source = excluded.source, truth = excluded.truth, predicted = excluded.predicted, \
    correct = excluded.correct, confidence_nano = excluded.confidence_nano, loss_nano = excluded.loss_nano, \
    brier_nano = excluded.brier_nano, error = excluded.error, delay_us = excluded.delay_us, \
    inclusion_ppb = excluded.inclusion_ppb";

/// Reads the source, the delay and the figures of an outcome from its first columns, its promises from the column
/// `promised`, and its inclusion from the next.
pub(super) fn figures_of(row: &Fields, promised: usize) -> (Figures, i64, i64) {
    let figures = Figures {
        truth: row.maybe_int(2),
        predicted: row.maybe_int(3),
        correct: row.maybe_int(4).map(|correct| correct == 1),
        confidence_nano: row.maybe_int(5),
        loss_nano: row.maybe_int(6),
        brier_nano: row.maybe_int(7),
        error: row.maybe_int(8),
        promises: promise::of_bytes(row.bytes(promised)),
        inclusion: inclusion_of(row, promised + 1),
    };
    (figures, row.int(0), row.int(1))
}
