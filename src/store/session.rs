//! The writer's session with the database: transactions, and the consequences when one fails.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::audit::{self, AuditEntry, AuditFile};
use super::block::{Row, blocks};
use super::database::{Connection, Place, Value};
use super::erase::{Erased, KeptPrediction, PredictionQuery};
use super::fault::{Fault, Outcome, set_aside};
use super::feedback::{Feedback, Verdict};
use super::input::Held;
use super::join::Joining;
use super::labelling::{Labelling, LabellingQuery, labelling};
use super::promise::{self, Promises};
use super::promised;
use super::quality::{BUCKET_US, QualityQuery, VersionQuality, answer};
use super::retention;
use super::settings::{Logged, StoreSettings};
use super::version::{KnownVersion, insert};
use crate::error::Result;
use crate::metrics::{CaptureFate, StoreMetrics};

/// The time between two attempts to open the database.
const RETRY: Duration = Duration::from_secs(1);

/// The way out where another file took the place of the one in use.
const FOREIGN: &str = "its file was replaced while it was in use: stop the server, remove weir.db-wal and weir.db-shm, which \
    belong to the former file, and start it again";

/// The time between two looks at what is old; one that found more than it may remove is repeated at the next tick.
const SWEEP: Duration = Duration::from_secs(60);

pub(super) struct Session {
    place: Place,
    settings: StoreSettings,
    audit_file: Arc<AuditFile>,
    pub(super) metrics: StoreMetrics,
    connection: Option<Connection>,
    /// The file that the connection writes to, and one that was put in its place.
    file: Option<(u64, u64)>,
    foreign: Option<(u64, u64)>,
    is_durable: bool,
    /// The keys of versions, by the address of what stands for them here.
    keys: HashMap<usize, (Arc<KnownVersion>, u32)>,
    versions: HashMap<i64, Arc<KnownVersion>>,
    held: i64,
    /// The inputs that are kept, as far as this process knows.
    inputs: Held,
    /// The last piece of held feedback that was looked at.
    looked_at: i64,
    next_open: Instant,
    next_sweep: Instant,
    /// The blocks that were written since predictions were last trimmed, and the hour of the last sweep.
    written_blocks: i64,
    swept_hour: Option<i64>,
    /// True once the bytes of predictions were counted, before any go because of them.
    has_counted: bool,
    /// The name of the last failure, so that each is logged once.
    failing: Option<&'static str>,
}

impl Session {
    pub(super) fn new(
        place: Place,
        settings: StoreSettings,
        metrics: StoreMetrics,
        audit_file: Arc<AuditFile>,
    ) -> Self {
        let now = Instant::now();
        Self {
            place,
            settings,
            audit_file,
            metrics,
            connection: None,
            file: None,
            foreign: None,
            is_durable: false,
            keys: HashMap::new(),
            versions: HashMap::new(),
            held: 0,
            inputs: Held::default(),
            looked_at: 0,
            next_open: now,
            next_sweep: now,
            written_blocks: 0,
            swept_hour: None,
            has_counted: false,
            failing: None,
        }
    }

    /// Writes samples and feedback in one transaction.
    pub(super) fn write(&mut self, samples: Vec<Logged>, feedback: &[Vec<Feedback>]) -> Outcome<Vec<Vec<Verdict>>> {
        let kept = samples.iter().filter(|sample| sample.is_kept).count() as u64;
        let passed_over = samples.len() as u64 - kept;
        let captured = samples.iter().filter(|sample| sample.captured.is_some()).count() as u64;
        let start = Instant::now();
        let done = self.in_transaction(!feedback.is_empty(), |session, connection| {
            session.log(connection, samples)?;
            let mut joining = session.joining(connection);
            let mut verdicts = Vec::with_capacity(feedback.len());
            for pieces in feedback {
                verdicts.push(pieces.iter().map(|piece| joining.take(piece)).collect::<Outcome<Vec<_>>>()?);
            }
            let held = joining.held;
            let mut changes = joining.changes;
            changes.write(connection)?;
            session.held = held;
            Ok(verdicts)
        });
        match &done {
            Ok(verdicts) => {
                self.metrics.commits.observe(start.elapsed().as_secs_f64());
                self.metrics.written(kept);
                self.metrics.sampled_out(passed_over);
                self.metrics.captured(CaptureFate::Kept, captured);
                self.show_inputs();
                self.metrics.held.set(self.held);
                verdicts.iter().flatten().for_each(|verdict| self.metrics.feedback(name(verdict), 1));
            }
            Err(_) => {
                self.metrics.dropped(kept);
                self.metrics.captured(CaptureFate::Dropped, captured);
            }
        }
        done
    }

    /// Returns a prediction with what was said about it.
    pub(super) fn show(&mut self, query: &PredictionQuery) -> Outcome<Result<Vec<KeptPrediction>>> {
        let mut connection = self.open()?;
        let found = self.joining(&mut connection).show(query);
        self.connection = Some(connection);
        self.judge(found)
    }

    /// Erases a prediction and what was said about it, and overwrites it on disk.
    pub(super) fn erase(&mut self, query: &PredictionQuery) -> Outcome<Result<Erased>> {
        self.set_overwriting(true)?;
        let done = self.in_transaction(true, |session, connection| {
            let mut joining = session.joining(connection);
            let erased = joining.erase(query)?;
            let held = joining.held;
            let mut changes = joining.changes;
            changes.write(connection)?;
            session.held = held;
            Ok(erased)
        });
        self.metrics.held.set(self.held);
        self.count_inputs();
        let overwritten = self.set_overwriting(false).and_then(|()| match &mut self.connection {
            Some(connection) => connection.checkpoint(),
            None => Ok(()),
        });
        if let Err(fault) = overwritten {
            tracing::warn!(%fault, "what was erased may be in the store's log of changes for a while");
        }
        done
    }

    fn set_overwriting(&mut self, overwriting: bool) -> Outcome<()> {
        let mut connection = self.open()?;
        let set = connection.set_overwriting(overwriting);
        self.connection = Some(connection);
        self.judge(set)
    }

    /// Returns a captured input.
    pub(super) fn input(&mut self, query: &PredictionQuery, item: u32) -> Outcome<Result<Vec<u8>>> {
        let mut connection = self.open()?;
        let found = self.joining(&mut connection).input(query, item);
        self.connection = Some(connection);
        self.judge(found)
    }

    /// Chooses inputs to be labelled.
    pub(super) fn labelling(&mut self, query: &LabellingQuery) -> Outcome<Option<Labelling>> {
        let mut connection = self.open()?;
        let found = labelling(&mut connection, query);
        self.connection = Some(connection);
        self.judge(found)
    }

    /// Counts the inputs anew; what cannot be counted now, the next sweep will.
    fn count_inputs(&mut self) {
        if let Some(held) = self.connection.as_mut().and_then(|connection| Held::read(connection).ok()) {
            self.inputs = held;
            self.show_inputs();
        }
    }

    fn show_inputs(&self) {
        self.metrics.inputs.set(self.inputs.count);
        self.metrics.input_bytes.set(self.inputs.bytes);
    }

    /// Answers a question for figures.
    pub(super) fn read(&mut self, query: &QualityQuery) -> Outcome<Vec<VersionQuality>> {
        let mut connection = self.open()?;
        let found = answer(&mut connection, query);
        self.connection = Some(connection);
        self.judge(found)
    }

    /// Does what is due; returns true if sums may have changed.
    pub(super) fn tick(&mut self) -> bool {
        if self.connection.is_none() && self.open().map(|connection| self.connection = Some(connection)).is_err() {
            return false;
        }
        if self.audit_file.is_waiting() {
            self.take_audit_file();
        }
        let joined = self.held > 0 && self.join_held();
        let now = now_us();
        if !self.has_counted {
            self.has_counted = self.in_transaction(false, |_, connection| retention::recount_bytes(connection)).is_ok();
        }
        self.trim(now);
        if Instant::now() < self.next_sweep {
            return joined;
        }
        self.next_sweep = Instant::now() + SWEEP;
        self.sweep(now) || joined
    }

    /// Removes predictions that are too old, or take too much.
    fn trim(&mut self, now: i64) {
        let written = std::mem::take(&mut self.written_blocks);
        let Ok(mut connection) = self.open() else { return };
        let is_due = retention::is_trim_due(&mut connection, &self.settings, now);
        self.connection = Some(connection);
        let trimmed = match is_due {
            Ok(true) => self.in_transaction(false, |session, connection| {
                retention::trim(connection, &session.settings, now, written)
            }),
            // That it can be read does not say that it works again.
            Ok(false) => Ok(()),
            Err(fault) => self.judge(Err(fault)),
        };
        if trimmed.is_ok()
            && let Some(Ok(bytes)) = self.connection.as_mut().map(retention::prediction_bytes)
        {
            self.metrics.bytes.set(bytes);
        }
    }

    /// Removes what is old of everything else; returns true if sums may have changed.
    fn sweep(&mut self, now: i64) -> bool {
        let hour = Some(now.div_euclid(BUCKET_US));
        let has_new_hour = self.swept_hour != hour;
        let swept = self.in_transaction(false, |session, connection| {
            retention::sweep(connection, &session.settings, now, has_new_hour)
        });
        let Ok(swept) = swept else { return false };
        self.swept_hour = hour;
        if swept.was_full {
            // The next tick goes on.
            self.next_sweep = Instant::now();
        }
        self.metrics.oldest.set(swept.oldest_us as f64 / 1e6);
        self.metrics.feedback("expired", swept.expired);
        self.held = swept.held;
        self.metrics.held.set(swept.held);
        self.inputs = swept.inputs;
        self.show_inputs();
        if let Some(connection) = &mut self.connection
            && let Err(fault) = connection.give_back()
        {
            tracing::warn!(%fault, "freed space of the store cannot be given back");
        }
        swept.has_removed_sums
    }

    /// Records an entry of the audit trail.
    pub(super) fn record(&mut self, entry: &AuditEntry) -> Outcome<()> {
        self.in_transaction(true, |_, connection| audit::append(connection, entry))
    }

    /// Returns the last entries of the audit trail.
    pub(super) fn trail(&mut self, limit: usize) -> Outcome<Vec<AuditEntry>> {
        let mut connection = self.open()?;
        let found = audit::last(&mut connection, limit);
        self.connection = Some(connection);
        self.judge(found)
    }

    /// Takes the entries that are in a file into the store.
    fn take_audit_file(&mut self) {
        let file = self.audit_file.clone();
        let taken = file.hand_over(|entries| {
            self.in_transaction(true, |_, connection| {
                entries.iter().try_for_each(|entry| audit::append(connection, entry))
            })
        });
        if let Err(fault) = taken {
            tracing::debug!(%fault, "the store takes the file of the audit trail later");
        }
    }

    /// Joins held feedback whose prediction has been seen meanwhile.
    fn join_held(&mut self) -> bool {
        let after = self.looked_at;
        let done = self.in_transaction(true, |session, connection| {
            let mut joining = session.joining(connection);
            let looked = joining.join_held(after)?;
            let held = joining.held;
            let mut changes = joining.changes;
            changes.write(connection)?;
            session.held = held;
            Ok(looked)
        });
        let Ok(looked) = done else { return false };
        self.looked_at = looked.last;
        self.metrics.feedback("joined", looked.joined);
        self.metrics.feedback("rejected", looked.rejected);
        self.metrics.held.set(self.held);
        looked.joined > 0
    }

    /// Leaves everything behind that a panic may have left half done; the next command connects again.
    pub(super) fn begin_anew(&mut self) {
        self.metrics.failed("fault");
        tracing::error!("the store failed; what was under way is given up, and it begins anew");
        self.connection = None;
        self.keys.clear();
        self.versions.clear();
        self.next_open = Instant::now();
    }

    /// Begins to join, inside a transaction.
    fn joining<'a>(&'a mut self, connection: &'a mut Connection) -> Joining<'a> {
        let keep_share = self.settings.keep_share;
        Joining { keep_share, ..Joining::new(connection, &mut self.versions, now_us(), self.held) }
    }

    fn in_transaction<T>(
        &mut self,
        durable: bool,
        act: impl FnOnce(&mut Self, &mut Connection) -> Outcome<T>,
    ) -> Outcome<T> {
        let mut connection = self.open()?;
        let done = self.transact(&mut connection, durable, act);
        self.connection = Some(connection);
        self.judge(done)
    }

    fn transact<T>(
        &mut self,
        connection: &mut Connection,
        durable: bool,
        act: impl FnOnce(&mut Self, &mut Connection) -> Outcome<T>,
    ) -> Outcome<T> {
        if durable != self.is_durable {
            connection.set_durable(durable)?;
            self.is_durable = durable;
        }
        connection.begin()?;
        let (held, inputs) = (self.held, self.inputs);
        let acted = act(self, connection);
        let done = connection.end(acted);
        if done.is_err() {
            // What was noted of rows that were taken back is wrong.
            (self.held, self.inputs) = (held, inputs);
            self.keys.clear();
            self.versions.clear();
        }
        done
    }

    /// Takes the connection out, which is opened if there is none.
    fn open(&mut self) -> Outcome<Connection> {
        if let Some(connection) = self.connection.take() {
            if self.place.file() == self.file {
                return Ok(connection);
            }
            // What is written to a file that nobody finds again is not kept.
            drop(connection);
            self.next_open = Instant::now();
            self.metrics.failed("io");
            self.foreign = self.place.file();
            tracing::error!(
                is_replaced = self.foreign.is_some(),
                "the store's file was taken away while it was in use"
            );
        }
        if self.foreign.is_some() && self.place.file() == self.foreign {
            // The log of changes beside it is of the former file, and would spoil it.
            return self.judge(Err(Fault::Unusable(FOREIGN.into())));
        }
        if Instant::now() < self.next_open {
            let again = "it was tried a moment ago";
            return Err(match self.failing {
                Some("full") => Fault::Full(again.into()),
                Some("io") => Fault::Io(again.into()),
                _ => Fault::Unreachable(again.into()),
            });
        }
        self.next_open = Instant::now() + RETRY;
        let opened = self.place.open().and_then(|mut connection| {
            let held = connection.query("SELECT COUNT(*) FROM feedback WHERE state = 2", &[])?;
            self.held = held.first().map_or(0, |row| row.int(0));
            self.inputs = Held::read(&mut connection)?;
            self.file = self.place.file();
            Ok(connection)
        });
        self.is_durable = false;
        self.keys.clear();
        self.versions.clear();
        self.judge(opened)
    }

    /// Draws the conclusions from what happened.
    fn judge<T>(&mut self, done: Outcome<T>) -> Outcome<T> {
        let Err(fault) = &done else {
            if let Some(kind) = self.failing.take() {
                tracing::info!(kind, "the store works again");
            }
            return done;
        };
        self.metrics.failed(fault.name());
        if self.failing != Some(fault.name()) {
            tracing::error!(kind = fault.name(), %fault, "the store fails; predictions go on and are not kept");
        }
        self.failing = Some(fault.name());
        if fault.ends_connection() {
            self.connection = None;
        }
        if let (Fault::Corrupt(_), Place::Sqlite(path)) = (fault, &self.place) {
            set_aside(path);
            self.next_open = Instant::now();
        }
        done
    }

    /// Writes samples in blocks.
    fn log(&mut self, connection: &mut Connection, samples: Vec<Logged>) -> Outcome<()> {
        let mut rows = Vec::with_capacity(samples.len());
        let mut traffic: HashMap<(u32, i64), ([i64; 2], Promises)> = HashMap::new();
        for Logged { version, client, mut row, is_kept, captured } in samples {
            row.key = self.key(connection, &version)?;
            let (counts, promises) = traffic.entry((row.key, row.at.div_euclid(BUCKET_US))).or_default();
            promise::add_to_traffic(promises, &row.promises);
            counts[0] += 1;
            counts[1] += i64::from(row.answered);
            row.kept_ppm = self.settings.keep_share.millionths();
            // A captured sample is found by its input too: it can be labelled whether its record is kept or not.
            let is_captured = captured.is_some();
            if let Some(input) = captured {
                self.inputs.add(connection, &row, &input)?;
            }
            // Whatever is kept of a request can be erased by the caller's own identifier.
            if let Some(client) = client.filter(|_| is_captured || (is_kept && row.item == 0)) {
                connection.execute(
                    "INSERT INTO client_id (client, id, at) VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING",
                    &[Value::from(&*client), row.id.into(), row.at.into()],
                )?;
            }
            if is_kept {
                rows.push(row);
            }
        }
        let limits = &self.settings.inputs;
        self.inputs.trim(connection, limits)?;
        self.write_blocks(connection, rows)?;
        for ((key, bucket), ([samples, answered], promises)) in traffic {
            promised::write_traffic(connection, (key, bucket), &promises)?;
            connection.execute(
                "INSERT INTO traffic (key, bucket, samples, answered) VALUES (?1, ?2, ?3, ?4) \
                 ON CONFLICT (key, bucket) DO UPDATE SET samples = traffic.samples + excluded.samples, \
                 answered = traffic.answered + excluded.answered",
                &[key.into(), bucket.into(), samples.into(), answered.into()],
            )?;
        }
        Ok(())
    }

    fn write_blocks(&mut self, connection: &mut Connection, rows: Vec<Row>) -> Outcome<()> {
        let mut bytes = 0;
        for block in blocks(rows) {
            bytes += block.data.len() as i64;
            self.written_blocks += 1;
            connection.execute(
                "INSERT INTO prediction (first_id, last_id, first_at, last_at, samples, data) \
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
                &[
                    block.first.into(),
                    block.last.into(),
                    block.first_at.into(),
                    block.last_at.into(),
                    Value::Int(block.rows as i64),
                    Value::Bytes(block.data),
                ],
            )?;
        }
        if bytes > 0 { retention::note_bytes(connection, bytes) } else { Ok(()) }
    }

    /// Returns the key of a version, which is made if there is none.
    fn key(&mut self, connection: &mut Connection, version: &Arc<KnownVersion>) -> Outcome<u32> {
        let address = Arc::as_ptr(version) as usize;
        if let Some((_, key)) = self.keys.get(&address) {
            return Ok(*key);
        }
        insert(connection, version)?;
        let name =
            [version.model.as_str().into(), Value::Int(version.version as i64), Value::from(version.digest.as_slice())];
        let found =
            connection.query("SELECT key FROM version_key WHERE model = ?1 AND version = ?2 AND digest = ?3", &name)?;
        let key = found.first().and_then(|row| u32::try_from(row.int(0)).ok()).unwrap_or_default();
        // The version is kept, so that no other takes its address.
        self.keys.insert(address, (version.clone(), key));
        Ok(key)
    }
}

fn now_us() -> i64 {
    jiff::Timestamp::now().as_microsecond()
}

fn name(verdict: &Verdict) -> &'static str {
    match verdict {
        Verdict::Joined(_) => "joined",
        Verdict::Duplicate(_) => "duplicate",
        Verdict::Superseded(_) => "superseded",
        Verdict::Outvoted(_) => "outvoted",
        Verdict::Retracted(_) => "retracted",
        Verdict::Held(_) => "held",
        Verdict::Rejected(_) => "rejected",
    }
}
