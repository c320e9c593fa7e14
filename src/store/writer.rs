//! The one thread that writes.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, TrySendError, bounded};
use tokio::sync::{oneshot, watch};

use super::audit::{AuditEntry, AuditFile};
use super::background::stand_back;
use super::database::Place;
use super::erase::{Erased, KeptPrediction, PredictionQuery};
use super::fault::{Fault, Outcome};
use super::feedback::{Feedback, Verdict};
use super::labelling::{Labelling, LabellingQuery};
use super::lock::FolderLock;
use super::quality::{QualityQuery, VersionQuality};
use super::session::Session;
use super::settings::{Logged, StoreSettings};
use crate::error::{Error, Result};
use crate::metrics::{CaptureFate, StoreMetrics};

/// The samples that may wait to be written.
const MAX_WAITING: usize = 65_536;

/// The commands that may wait.
const QUEUE: usize = 1024;

/// The commands that are committed together.
const MAX_GROUP: usize = 256;

/// The time between two looks at what is due.
const TICK: Duration = Duration::from_secs(1);

pub(super) const FILE: &str = "weir.db";

/// The way back to whoever asked.
type Reply<T> = oneshot::Sender<Result<T>>;

enum Command {
    Log(Vec<Logged>),
    Feedback(Vec<Feedback>, Reply<Vec<Verdict>>),
    Quality(QualityQuery, Reply<Vec<VersionQuality>>),
    Show(PredictionQuery, Reply<Vec<KeptPrediction>>),
    Input(PredictionQuery, u32, Reply<Vec<u8>>),
    Labelling(LabellingQuery, Reply<Option<Labelling>>),
    Erase(PredictionQuery, Reply<Erased>),
    Record(Box<AuditEntry>, Reply<()>),
    Trail(usize, Reply<Vec<AuditEntry>>),
    Close,
}

/// The store of predictions and feedback.
#[derive(Debug)]
pub struct Store {
    commands: Sender<Command>,
    waiting: Arc<AtomicUsize>,
    metrics: StoreMetrics,
    revision: watch::Receiver<u64>,
    is_shared: bool,
    thread: Mutex<Option<JoinHandle<()>>>,
    audit_file: Arc<AuditFile>,
    _lock: Option<FolderLock>,
}

impl Store {
    /// Locks the folder and starts the thread, which opens the database. While that cannot be used, predictions are
    /// dropped and counted, feedback is refused, and it is tried again each second.
    ///
    /// # Errors
    /// [`Error::Config`] when another process holds the folder; [`Error::Internal`] when the system refuses a thread.
    pub fn open(settings: StoreSettings, metrics: StoreMetrics) -> Result<Self> {
        let lock = FolderLock::take(&settings.folder)?;
        let place = match &settings.database {
            Some(url) => Place::Postgres(url.clone()),
            None => Place::Sqlite(settings.folder.join(FILE)),
        };
        let is_shared = settings.database.is_some();
        let (commands, received) = bounded(QUEUE);
        let (revised, revision) = watch::channel(0);
        let waiting = Arc::new(AtomicUsize::new(0));
        let audit_file = Arc::new(AuditFile::new(&settings.folder, None));
        let session = Session::new(place, settings, metrics.clone(), audit_file.clone());
        let writer = Writer { commands: received, waiting: waiting.clone(), session, revised };
        let thread = thread::Builder::new()
            .name("store".into())
            .spawn(move || writer.run())
            .map_err(|error| Error::internal("no thread for the store", error))?;
        let thread = Mutex::new(Some(thread));
        Ok(Self { commands, waiting, metrics, revision, is_shared, thread, audit_file, _lock: lock })
    }

    /// Passes samples on to be written, without waiting; they are dropped and counted if too many wait already.
    pub fn log(&self, samples: Vec<Logged>) {
        let count = samples.len();
        let (kept, captured) = wanted(&samples);
        let before = self.waiting.fetch_add(count, Ordering::Relaxed);
        if before + count <= MAX_WAITING && self.commands.try_send(Command::Log(samples)).is_ok() {
            self.metrics.queue.set((before + count) as i64);
        } else {
            self.waiting.fetch_sub(count, Ordering::Relaxed);
            self.metrics.dropped(kept);
            self.metrics.captured(CaptureFate::Dropped, captured);
        }
    }

    /// Takes feedback in; returns once what became of it is committed, in the same order.
    ///
    /// # Errors
    /// [`Error::StorageFull`], [`Error::NotReady`] when the database cannot be used: nothing was kept then.
    /// [`Error::Overloaded`], [`Error::ShuttingDown`].
    pub async fn feedback(&self, feedback: Vec<Feedback>) -> Result<Vec<Verdict>> {
        self.ask(|reply| Command::Feedback(feedback, reply)).await
    }

    /// Returns the sums of a model's versions, newest first; none for a model of which nothing was kept.
    ///
    /// # Errors
    /// As [`Store::feedback`].
    pub async fn quality(&self, query: QualityQuery) -> Result<Vec<VersionQuality>> {
        self.ask(|reply| Command::Quality(query, reply)).await
    }

    /// Returns the samples of a prediction with what was said about them.
    ///
    /// # Errors
    /// [`Error::NotFound`] when no such prediction has been seen, [`Error::Gone`] when it is no longer kept or was erased,
    /// [`Error::Conflict`] when the identifier means several models; and as [`Store::feedback`].
    pub async fn prediction(&self, query: PredictionQuery) -> Result<Vec<KeptPrediction>> {
        self.ask(|reply| Command::Show(query, reply)).await
    }

    /// Returns the captured input of a sample: the file of a picture, or the JSON of a row or sequence.
    ///
    /// # Errors
    /// As [`Store::prediction`]; [`Error::NotFound`] also when no input of the sample is kept.
    pub async fn input(&self, query: PredictionQuery, item: u32) -> Result<Vec<u8>> {
        self.ask(|reply| Command::Input(query, item, reply)).await
    }

    /// Chooses captured inputs to be labelled; `None` where nothing was captured of the model.
    ///
    /// # Errors
    /// As [`Store::feedback`].
    pub async fn labelling(&self, query: LabellingQuery) -> Result<Option<Labelling>> {
        self.ask(|reply| Command::Labelling(query, reply)).await
    }

    /// Erases everything about a prediction, or about all predictions under an identifier of a caller's own; its figures
    /// leave the sums.
    ///
    /// # Errors
    /// As [`Store::prediction`], but for the conflict.
    pub async fn erase(&self, query: PredictionQuery) -> Result<Erased> {
        self.ask(|reply| Command::Erase(query, reply)).await
    }

    /// Records an entry of the audit trail; returns once it is committed.
    ///
    /// # Errors
    /// As [`Store::feedback`].
    pub(super) async fn record(&self, entry: AuditEntry) -> Result<()> {
        self.ask(|reply| Command::Record(Box::new(entry), reply)).await
    }

    /// Returns the last entries of the audit trail, newest first.
    ///
    /// # Errors
    /// As [`Store::feedback`].
    pub(super) async fn trail(&self, limit: usize) -> Result<Vec<AuditEntry>> {
        self.ask(|reply| Command::Trail(limit, reply)).await
    }

    /// Returns the file of entries that the store has not taken yet.
    pub(super) fn audit_file(&self) -> Arc<AuditFile> {
        self.audit_file.clone()
    }

    async fn ask<T>(&self, command: impl FnOnce(oneshot::Sender<Result<T>>) -> Command) -> Result<T> {
        let (reply, answer) = oneshot::channel();
        match self.commands.try_send(command(reply)) {
            Ok(()) => answer.await.unwrap_or_else(|_| Err(given_up())),
            Err(TrySendError::Full(_)) => Err(Error::Overloaded { what: "the store", retry_after_seconds: 1 }),
            Err(TrySendError::Disconnected(_)) => Err(Error::ShuttingDown),
        }
    }

    /// Returns a number that changes whenever sums may have changed.
    pub fn revision(&self) -> watch::Receiver<u64> {
        self.revision.clone()
    }

    /// Returns true if other servers may write to the same database.
    pub fn is_shared(&self) -> bool {
        self.is_shared
    }

    /// Writes what waits, and joins the thread.
    pub fn close(&self) {
        // A thread that has ended needs no command.
        drop(self.commands.send(Command::Close));
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread
            && thread.join().is_err()
        {
            tracing::error!("the store's thread panicked");
        }
    }
}

/// Returns the error of a command that the thread has left without an answer.
fn given_up() -> Error {
    let reason =
        "the store of predictions was closed, or failed and begins anew; nothing is known to be kept, send it again";
    Error::NotReady { reason: reason.into() }
}

impl Drop for Store {
    fn drop(&mut self) {
        self.close();
    }
}

struct Writer {
    commands: Receiver<Command>,
    waiting: Arc<AtomicUsize>,
    session: Session,
    revised: watch::Sender<u64>,
}

/// A command that is carried out by itself, after those that are committed together.
enum Question {
    Quality(QualityQuery, Reply<Vec<VersionQuality>>),
    Show(PredictionQuery, Reply<Vec<KeptPrediction>>),
    Input(PredictionQuery, u32, Reply<Vec<u8>>),
    Labelling(LabellingQuery, Reply<Option<Labelling>>),
    Erase(PredictionQuery, Reply<Erased>),
    Record(Box<AuditEntry>, Reply<()>),
    Trail(usize, Reply<Vec<AuditEntry>>),
}

/// Commands that are carried out together.
#[derive(Default)]
struct Group {
    samples: Vec<Logged>,
    feedback: Vec<(Vec<Feedback>, Reply<Vec<Verdict>>)>,
    questions: Vec<Question>,
    is_last: bool,
}

impl Writer {
    fn run(mut self) {
        stand_back();
        let mut due = Instant::now();
        loop {
            if Instant::now() >= due {
                let revised = contained(|| self.session.tick());
                if revised.is_none() {
                    self.session.begin_anew();
                }
                self.tell(revised.unwrap_or_default());
                due = Instant::now() + TICK;
            }
            let first = match self.commands.recv_timeout(due.saturating_duration_since(Instant::now())) {
                Ok(command) => command,
                Err(RecvTimeoutError::Timeout) => continue,
                Err(RecvTimeoutError::Disconnected) => Command::Close,
            };
            let mut group = Group::default();
            group.add(first);
            while group.len() < MAX_GROUP
                && !group.is_last
                && let Ok(next) = self.commands.try_recv()
            {
                group.add(next);
            }
            let (is_last, count) = (group.is_last, group.samples.len());
            self.carry_out(group);
            let left = self.waiting.fetch_sub(count, Ordering::Relaxed).saturating_sub(count);
            self.session.metrics.queue.set(left as i64);
            if is_last {
                return;
            }
        }
    }

    fn carry_out(&mut self, group: Group) {
        let Group { samples, feedback, questions, .. } = group;
        let (kept, captured) = wanted(&samples);
        if contained(|| self.commit(samples, feedback)).is_none() {
            self.session.begin_anew();
            self.session.metrics.dropped(kept);
            self.session.metrics.captured(CaptureFate::Dropped, captured);
        }
        for question in questions {
            if contained(|| self.settle(question)).is_none() {
                self.session.begin_anew();
            }
        }
    }

    fn commit(&mut self, samples: Vec<Logged>, feedback: Vec<(Vec<Feedback>, Reply<Vec<Verdict>>)>) {
        if !samples.is_empty() || !feedback.is_empty() {
            let (pieces, replies): (Vec<_>, Vec<_>) = feedback.into_iter().unzip();
            let done = self.session.write(samples, &pieces);
            let revised = done.is_ok() && !pieces.is_empty();
            match done {
                Ok(verdicts) => {
                    replies.into_iter().zip(verdicts).for_each(|(reply, verdicts)| answer(reply, Ok(verdicts)))
                }
                Err(fault) => replies.into_iter().for_each(|reply| answer(reply, Err(fault.for_client()))),
            }
            self.tell(revised);
        }
    }

    fn settle(&mut self, question: Question) {
        match question {
            Question::Quality(query, reply) => {
                let found = self.session.read(&query);
                answer(reply, found.map_err(|fault| fault.for_client()));
            }
            Question::Record(entry, reply) => {
                let recorded = self.session.record(&entry);
                answer(reply, recorded.map_err(|fault| fault.for_client()));
            }
            Question::Trail(limit, reply) => {
                let found = self.session.trail(limit);
                answer(reply, found.map_err(|fault| fault.for_client()));
            }
            Question::Input(query, item, reply) => answer(reply, flat(self.session.input(&query, item))),
            Question::Labelling(query, reply) => {
                let found = self.session.labelling(&query);
                answer(reply, found.map_err(|fault| fault.for_client()));
            }
            Question::Show(query, reply) => answer(reply, flat(self.session.show(&query))),
            Question::Erase(query, reply) => {
                let erased = flat(self.session.erase(&query));
                self.tell(erased.is_ok());
                answer(reply, erased);
            }
        }
    }

    fn tell(&self, revised: bool) {
        if revised {
            self.revised.send_modify(|revision| *revision += 1);
        }
    }
}

/// Returns how many samples have a record to be kept, and how many an input.
fn wanted(samples: &[Logged]) -> (u64, u64) {
    let kept = samples.iter().filter(|sample| sample.is_kept).count();
    let captured = samples.iter().filter(|sample| sample.captured.is_some()).count();
    (kept as u64, captured as u64)
}

/// Does something; `None` after a panic, which must not end the thread.
fn contained<T>(work: impl FnOnce() -> T) -> Option<T> {
    catch_unwind(AssertUnwindSafe(work)).ok()
}

/// Answers a caller, who may have left.
fn answer<T>(reply: oneshot::Sender<T>, value: T) {
    drop(reply.send(value));
}

fn flat<T>(outcome: Outcome<Result<T>>) -> Result<T> {
    outcome.unwrap_or_else(|fault: Fault| Err(fault.for_client()))
}

impl Group {
    fn len(&self) -> usize {
        self.feedback.iter().map(|(pieces, _)| pieces.len()).sum::<usize>()
            + self.questions.len()
            + self.samples.len() / 64
    }

    fn add(&mut self, command: Command) {
        match command {
            Command::Log(mut samples) => self.samples.append(&mut samples),
            Command::Feedback(pieces, reply) => self.feedback.push((pieces, reply)),
            Command::Quality(query, reply) => self.questions.push(Question::Quality(query, reply)),
            Command::Input(query, item, reply) => self.questions.push(Question::Input(query, item, reply)),
            Command::Labelling(query, reply) => self.questions.push(Question::Labelling(query, reply)),
            Command::Show(query, reply) => self.questions.push(Question::Show(query, reply)),
            Command::Erase(query, reply) => self.questions.push(Question::Erase(query, reply)),
            Command::Record(entry, reply) => self.questions.push(Question::Record(entry, reply)),
            Command::Trail(limit, reply) => self.questions.push(Question::Trail(limit, reply)),
            Command::Close => self.is_last = true,
        }
    }
}
