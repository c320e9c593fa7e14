//! What the writer does with its connection: transactions, and what a failure of one means.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::audit::{self, AuditEntry, AuditFile};
use super::block::blocks;
use super::database::{Connection, Place, Value};
use super::erase::{Erased, KeptPrediction, PredictionQuery};
use super::fault::{Fault, Outcome, set_aside};
use super::feedback::{Feedback, Verdict};
use super::join::Joining;
use super::quality::{BUCKET_US, QualityQuery, VersionQuality, answer};
use super::retention;
use super::settings::{Logged, StoreSettings};
use super::version::{KnownVersion, insert};
use crate::error::Result;
use crate::metrics::StoreMetrics;

/// The time between two attempts to open the database.
const RETRY: Duration = Duration::from_secs(1);

/// The time between two looks at what is old.
const SWEEP: Duration = Duration::from_secs(60);

pub(super) struct Session {
    place: Place,
    settings: StoreSettings,
    audit_file: Arc<AuditFile>,
    pub(super) metrics: StoreMetrics,
    connection: Option<Connection>,
    is_durable: bool,
    /// The keys of versions, by the address of what stands for them here.
    keys: HashMap<usize, (Arc<KnownVersion>, u32)>,
    versions: HashMap<i64, Arc<KnownVersion>>,
    held: i64,
    /// The last piece of held feedback that was looked at.
    looked_at: i64,
    next_open: Instant,
    next_sweep: Instant,
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
            is_durable: false,
            keys: HashMap::new(),
            versions: HashMap::new(),
            held: 0,
            looked_at: 0,
            next_open: now,
            next_sweep: now,
            failing: None,
        }
    }

    /// Writes samples and feedback in one transaction.
    pub(super) fn write(&mut self, samples: Vec<Logged>, feedback: &[Vec<Feedback>]) -> Outcome<Vec<Vec<Verdict>>> {
        let count = samples.len() as u64;
        let start = Instant::now();
        let done = self.in_transaction(!feedback.is_empty(), |session, connection| {
            session.log(connection, samples)?;
            let mut joining = Joining::new(connection, &mut session.versions, now_us(), session.held);
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
                self.metrics.written(count);
                self.metrics.held.set(self.held);
                verdicts.iter().flatten().for_each(|verdict| self.metrics.feedback(name(verdict), 1));
            }
            Err(_) => self.metrics.dropped(count),
        }
        done
    }

    /// Returns a prediction with what was said about it.
    pub(super) fn show(&mut self, query: &PredictionQuery) -> Outcome<Result<Vec<KeptPrediction>>> {
        let mut connection = self.open()?;
        let found = Joining::new(&mut connection, &mut self.versions, now_us(), self.held).show(query);
        self.connection = Some(connection);
        self.judge(found)
    }

    /// Erases a prediction and what was said about it, and overwrites it on disk.
    pub(super) fn erase(&mut self, query: &PredictionQuery) -> Outcome<Result<Erased>> {
        self.set_overwriting(true)?;
        let done = self.in_transaction(true, |session, connection| {
            let mut joining = Joining::new(connection, &mut session.versions, now_us(), session.held);
            let erased = joining.erase(query)?;
            let held = joining.held;
            let mut changes = joining.changes;
            changes.write(connection)?;
            session.held = held;
            Ok(erased)
        });
        self.metrics.held.set(self.held);
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
        if Instant::now() < self.next_sweep {
            return joined;
        }
        self.next_sweep = Instant::now() + SWEEP;
        let (settings, metrics) = (self.settings.clone(), self.metrics.clone());
        let swept = self.in_transaction(false, |_, connection| retention::sweep(connection, &settings, now_us()));
        let Ok(swept) = swept else { return joined };
        metrics.oldest.set(swept.oldest_us as f64 / 1e6);
        metrics.bytes.set(swept.bytes);
        metrics.feedback("expired", swept.expired);
        self.held = swept.held;
        metrics.held.set(swept.held);
        if let Some(connection) = &mut self.connection
            && let Err(fault) = connection.give_back()
        {
            tracing::warn!(%fault, "freed space of the store cannot be given back");
        }
        joined || swept.has_removed_sums
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
            let mut joining = Joining::new(connection, &mut session.versions, now_us(), session.held);
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
        let held = self.held;
        let acted = act(self, connection);
        let done = connection.end(acted);
        if done.is_err() {
            // What was noted of rows that were taken back is wrong.
            self.held = held;
            self.keys.clear();
            self.versions.clear();
        }
        done
    }

    /// Takes the connection out, which is opened if there is none.
    fn open(&mut self) -> Outcome<Connection> {
        if let Some(connection) = self.connection.take() {
            return Ok(connection);
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
        let mut traffic: HashMap<(u32, i64), [i64; 2]> = HashMap::new();
        for Logged { version, client, mut row } in samples {
            row.key = self.key(connection, &version)?;
            let counts = traffic.entry((row.key, row.at.div_euclid(BUCKET_US))).or_default();
            counts[0] += 1;
            counts[1] += i64::from(row.answered);
            if let Some(client) = client.filter(|_| row.item == 0) {
                connection.execute(
                    "INSERT INTO client_id (client, id, at) VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING",
                    &[Value::from(&*client), row.id.into(), row.at.into()],
                )?;
            }
            rows.push(row);
        }
        for block in blocks(rows) {
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
        for ((key, bucket), [samples, answered]) in traffic {
            connection.execute(
                "INSERT INTO traffic (key, bucket, samples, answered) VALUES (?1, ?2, ?3, ?4) \
                 ON CONFLICT (key, bucket) DO UPDATE SET samples = traffic.samples + excluded.samples, \
                 answered = traffic.answered + excluded.answered",
                &[key.into(), bucket.into(), samples.into(), answered.into()],
            )?;
        }
        Ok(())
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
