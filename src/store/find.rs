//! Finds the prediction that a piece of feedback is about.

use std::rc::Rc;
use std::sync::Arc;

use uuid::Uuid;

use super::block::{self, MAX_SPAN_MS, Row, least_id, milliseconds};
use super::database::Fields;
use super::fault::Outcome;
use super::feedback::{Claim, Feedback};
use super::input;
use super::join::{Joining, Target};
use super::receipt::Receipt;
use super::version::{KnownVersion, insert, of_columns};
use crate::error::Error;

/// The most answers under one identifier of a client's own that are looked at, newest first.
const MAX_SAME_CLIENT: i64 = 20;

/// The difference of clocks up to which an identifier older than anything kept may still be on its way.
const CLOCK_SKEW_MS: u64 = 60_000;

/// The blocks that stay read within a transaction.
const MAX_BLOCKS: usize = 64;

/// What an identifier stands for.
pub(super) enum Located {
    /// A request: its rows, of which there is at least one.
    Rows(Vec<Row>),
    /// Nothing that has been seen.
    Unseen,
    /// Nothing that can be used.
    Refused(Error),
}

impl Joining<'_> {
    /// Finds what a piece of feedback is about.
    pub(super) fn find(&mut self, feedback: &Feedback) -> Outcome<Target> {
        match self.locate(&feedback.request_id, feedback.model.as_deref())? {
            Located::Rows(rows) if rows.iter().all(|row| row.item != feedback.item) => {
                self.find_missing(rows, feedback)
            }
            Located::Rows(rows) => self.choose(rows, feedback),
            Located::Unseen | Located::Refused(Error::Gone(_)) if feedback.claim.is_some() => {
                self.find_claimed(feedback)
            }
            Located::Unseen => Ok(Target::Unseen),
            Located::Refused(error) => Ok(Target::Refused(error)),
        }
    }

    /// Finds an item that is not among the rows of its request, of which maybe only some were captured.
    fn find_missing(&mut self, rows: Vec<Row>, feedback: &Feedback) -> Outcome<Target> {
        if feedback.claim.is_some() {
            return self.find_claimed(feedback);
        }
        match rows.first() {
            Some(row) if self.logged_rows_of(row.id)?.is_empty() => Ok(Target::Refused(Error::Gone(format!(
                "item {} of the prediction {} is not kept; a receipt (x-weir-receipt) takes the place of what is not kept",
                feedback.item, feedback.request_id
            )))),
            Some(_) | None => self.choose(rows, feedback),
        }
    }

    /// Takes what a receipt says for the record that is not kept.
    fn find_claimed(&mut self, feedback: &Feedback) -> Outcome<Target> {
        let Some(Claim { receipt, version }) = feedback.claim.as_deref() else { return Ok(Target::Unseen) };
        let Some(first) = receipt.rows.first() else { return Ok(Target::Unseen) };
        if self.is_erased(&receipt.request_id)? || self.is_erased(&first.id.to_string())? {
            return Ok(Target::Refused(erased(&receipt.request_id)));
        }
        let Some(key) = self.key_of(receipt, version.as_ref())? else {
            return Ok(Target::Refused(Error::Conflict(format!(
                "the receipt is of model \"{}\" version {} with files that this server neither serves nor has seen: load \
                 that version here, or send the label to a server that has it",
                receipt.model, receipt.version
            ))));
        };
        let rows = receipt.rows.iter().map(|row| Row { key, ..row.clone() }).collect();
        self.choose(rows, feedback)
    }

    /// Returns the key of the version that gave a receipt, which is made if the version serves here.
    fn key_of(&mut self, receipt: &Receipt, version: Option<&KnownVersion>) -> Outcome<Option<u32>> {
        if let Some(version) = version {
            insert(self.connection, version)?;
        }
        let found = self.connection.query(
            "SELECT key FROM version_key WHERE model = ?1 AND version = ?2 AND digest = ?3",
            &[receipt.model.as_str().into(), (receipt.version as i64).into(), receipt.digest.as_slice().into()],
        )?;
        Ok(found.first().and_then(|row| u32::try_from(row.int(0)).ok()))
    }

    /// Finds the request that an identifier stands for: the server's own, or the newest under one of a client's.
    pub(super) fn locate(&mut self, request_id: &str, model: Option<&str>) -> Outcome<Located> {
        let id = server_id(request_id);
        if let Some(id) = id {
            let rows = self.rows_of(id)?;
            if !rows.is_empty() {
                return Ok(Located::Rows(rows));
            }
        }
        let clients = self.connection.query(
            "SELECT id FROM client_id WHERE client = ?1 ORDER BY at DESC, id DESC LIMIT ?2",
            &[request_id.into(), MAX_SAME_CLIENT.into()],
        )?;
        if !clients.is_empty() {
            return self.locate_client(&clients, model);
        }
        if self.is_erased(request_id)? {
            return Ok(Located::Refused(erased(request_id)));
        }
        match id {
            Some(id) if self.is_past(id)? => Ok(Located::Refused(Error::Gone(format!(
                "the prediction {request_id} is no longer kept; how long predictions are kept is a setting of the server"
            )))),
            // Where servers keep different shares, or this one kept another one before, it may have been kept all the same.
            _ if !self.keep_share.keeps(request_id) => Ok(Located::Refused(Error::Gone(format!(
                "the prediction {request_id} is not kept: this server keeps those of a share of {} of all requests \
                 (--keep-predictions-share), and not this one; a receipt (x-weir-receipt) takes the place of what is not kept",
                self.keep_share
            )))),
            _ => Ok(Located::Unseen),
        }
    }

    /// Finds the newest answer under an identifier of a client's own.
    fn locate_client(&mut self, clients: &[Fields], model: Option<&str>) -> Outcome<Located> {
        let mut newest: Option<(Vec<Row>, Arc<KnownVersion>)> = None;
        for client in clients {
            let id = Uuid::from_slice(client.bytes(0)).unwrap_or_default();
            let rows = self.rows_of(id)?;
            let Some(first) = rows.first() else { continue };
            let version = self.version(first.key)?;
            if model.is_some_and(|model| model != version.model) {
                continue;
            }
            match &newest {
                Some((_, other)) if other.model != version.model => {
                    return Ok(Located::Refused(Error::Conflict(format!(
                        "the identifier was used for the models \"{}\" and \"{}\"; name the one that is meant as \"model\"",
                        other.model, version.model
                    ))));
                }
                Some(_) => {}
                None => newest = Some((rows, version)),
            }
        }
        match newest {
            Some((rows, _)) => Ok(Located::Rows(rows)),
            None => Ok(Located::Refused(Error::Gone(
                "the predictions under this identifier are no longer kept, or were of another model".into(),
            ))),
        }
    }

    /// Chooses the rows of a sample among those of its request.
    fn choose(&mut self, rows: Vec<Row>, feedback: &Feedback) -> Outcome<Target> {
        let refuse = |text: String| Ok(Target::Refused(Error::InvalidInput(text)));
        if let Some(wanted) = &feedback.model
            && let Some(row) = rows.first()
        {
            let version = self.version(row.key)?;
            if version.model != *wanted {
                return refuse(format!("the request was answered by model \"{}\"", version.model));
            }
        }
        if rows.iter().all(|row| !row.answered) {
            return refuse("the request was not answered, so that nothing can be right or wrong about it".into());
        }
        let items = rows.iter().map(|row| row.item).max().unwrap_or_default();
        let rows: Vec<Row> = rows.into_iter().filter(|row| row.item == feedback.item && row.answered).collect();
        if rows.is_empty() {
            return refuse(format!("item {} is out of range: the request had the items 0 to {items}", feedback.item));
        }
        Ok(Target::Found(rows))
    }

    /// Returns all rows of a request.
    pub(super) fn rows_of(&mut self, id: Uuid) -> Outcome<Vec<Row>> {
        let rows = self.logged_rows_of(id)?;
        // What was captured keeps its answer with it.
        if rows.is_empty() { Ok(input::rows_of(self.connection, id)?) } else { Ok(rows) }
    }

    /// Returns the rows of a request whose record is kept.
    fn logged_rows_of(&mut self, id: Uuid) -> Outcome<Vec<Row>> {
        let mut rows = Vec::new();
        for number in self.blocks_around(id)? {
            let block = self.block(number)?;
            rows.extend(block.iter().filter(|row| row.id == id).cloned());
        }
        Ok(rows)
    }

    /// Returns the numbers of the blocks that may hold an identifier.
    pub(super) fn blocks_around(&mut self, id: Uuid) -> Outcome<Vec<i64>> {
        let earliest = least_id(milliseconds(id).saturating_sub(MAX_SPAN_MS + 1));
        let blocks = self.connection.query(
            "SELECT block FROM prediction WHERE first_id <= ?1 AND first_id >= ?2 AND last_id >= ?1 ORDER BY block",
            &[id.into(), earliest.into()],
        )?;
        Ok(blocks.iter().map(|block| block.int(0)).collect())
    }

    pub(super) fn block(&mut self, number: i64) -> Outcome<Rc<Vec<Row>>> {
        if let Some(block) = self.blocks.get(&number) {
            return Ok(block.clone());
        }
        let found = self.connection.query("SELECT data FROM prediction WHERE block = ?1", &[number.into()])?;
        let rows = found.first().map(|row| block::read(row.bytes(0))).transpose()?.unwrap_or_default();
        if self.blocks.len() >= MAX_BLOCKS {
            self.blocks.clear();
        }
        let rows = Rc::new(rows);
        self.blocks.insert(number, rows.clone());
        Ok(rows)
    }

    pub(super) fn version(&mut self, key: u32) -> Outcome<Arc<KnownVersion>> {
        let key = i64::from(key);
        if let Some(version) = self.versions.get(&key) {
            return Ok(version.clone());
        }
        let found = self
            .connection
            .query("SELECT model, version, digest, labels, answers FROM version_key WHERE key = ?1", &[key.into()])?;
        let missing = || Error::internal("a prediction is of no known version", format!("key {key}"));
        let row = found.first().ok_or_else(missing)?;
        let version = of_columns(row.text(0), row.int(1) as u64, row.bytes(2), row.text(3), row.int(4));
        Ok(self.versions.entry(key).or_insert_with(|| Arc::new(version)).clone())
    }

    /// Returns true if an identifier is older than everything that is kept.
    fn is_past(&mut self, id: Uuid) -> Outcome<bool> {
        let oldest = self.connection.query("SELECT first_id FROM prediction ORDER BY first_id LIMIT 1", &[])?;
        let now = (self.now / 1000) as u64;
        let oldest = oldest.first().and_then(|row| Uuid::from_slice(row.bytes(0)).ok()).map_or(now, milliseconds);
        Ok(milliseconds(id) + CLOCK_SKEW_MS < oldest)
    }
}

fn erased(request_id: &str) -> Error {
    Error::Gone(format!("the prediction {request_id} was erased on request"))
}

/// Returns the identifier that a text is, if a server may have made it.
pub(super) fn server_id(text: &str) -> Option<Uuid> {
    Uuid::parse_str(text).ok().filter(|id| id.get_version_num() == 7)
}
