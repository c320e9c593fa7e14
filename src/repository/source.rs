//! A thread that states the whole content of the repository: at every interval, soon after the system reports a
//! change (where it does), and when asked. It is a thread of its own because looking at a folder on a dead network
//! share may take for ever.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use notify::{EventKind, RecursiveMode, Watcher, event};

use super::aliases::AliasStore;
use super::look::{Look, Looker};
use super::storage::Storage;
use super::vouching::{Trust, TrustFile};
use crate::error::{Error, Result};

/// The shortest time between two looks that the system's hints cause.
const HINT_PAUSE: Duration = Duration::from_millis(100);

/// What is said of a look that panicked.
const FAULT: &str = "looking at it failed by a fault of Weir, which the log tells more of; it is looked at again";

/// The cause of a look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// The interval was over.
    Interval,
    /// The system reported a change.
    Hint,
    /// Someone asked.
    Asked,
}

/// The outcome of a look.
#[derive(Debug)]
pub struct Looked {
    /// The content of the repository, or the reason why it cannot be read.
    pub look: Result<Look>,
    /// The keys that must vouch for versions, whatever became of the look.
    pub trust: Option<Arc<Trust>>,
    /// The cause of the look.
    pub origin: Origin,
    /// The time when it began.
    pub began: Instant,
    /// The number of the last question that it answers.
    pub asked: u64,
}

enum Wake {
    Ask,
    Again,
    Hint,
    Stop,
}

/// The thread that looks.
#[derive(Debug)]
pub struct Source {
    asked: Arc<AtomicU64>,
    wake: Sender<Wake>,
    thread: Option<JoinHandle<()>>,
}

impl std::fmt::Debug for Wake {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Wake")
    }
}

impl Source {
    /// Starts looking: at once, then at every `interval` and upon the system's hints; without an
    /// interval only when asked. `deliver` gets every result, and ends the thread by returning false.
    ///
    /// # Errors
    /// [`Error::Internal`] when the system gives no thread.
    pub fn start(
        storage: Storage,
        store: AliasStore,
        trust: Option<TrustFile>,
        interval: Option<Duration>,
        deliver: impl Fn(Looked) -> bool + Send + 'static,
    ) -> Result<Self> {
        let asked = Arc::new(AtomicU64::new(0));
        // One of each kind; one that finds no room has a like before it.
        let (wake, woken) = bounded(4);
        let (hints, count) = (wake.clone(), asked.clone());
        let run = move || {
            let watcher = interval.and_then(|_| watch(storage.watchable()?, hints));
            let fresh = move || Looker::new(storage.clone(), store.clone(), trust.clone());
            Loop { looker: fresh(), asked: count, answered: 0, woken }.run(interval, &fresh, &deliver);
            drop(watcher);
        };
        let thread = std::thread::Builder::new().name("repository".into()).spawn(run);
        let thread = thread.map_err(|error| Error::internal("the repository's thread could not be started", error))?;
        Ok(Self { asked, wake, thread: Some(thread) })
    }

    /// Asks for a look that begins from now on, and returns the number of the question.
    pub fn ask(&self) -> u64 {
        let number = self.asked.fetch_add(1, Ordering::SeqCst) + 1;
        // A full channel means that a wake-up is on its way.
        drop(self.wake.try_send(Wake::Ask));
        number
    }

    /// Has the repository looked at once more, as if the interval were over.
    pub fn again(&self) {
        drop(self.wake.try_send(Wake::Again));
    }

    /// Ends the thread and waits for it.
    pub fn close(&mut self) {
        if let Some(thread) = self.thread.take() {
            // It goes away by itself when nobody takes its results.
            drop(self.wake.send(Wake::Stop));
            drop(thread.join());
        }
    }
}

struct Loop {
    looker: Looker,
    asked: Arc<AtomicU64>,
    answered: u64,
    woken: Receiver<Wake>,
}

impl Loop {
    fn run(mut self, interval: Option<Duration>, fresh: &impl Fn() -> Looker, deliver: &impl Fn(Looked) -> bool) {
        let mut origin = Origin::Interval;
        loop {
            let began = Instant::now();
            let asked = self.asked.load(Ordering::SeqCst);
            if asked > self.answered {
                origin = Origin::Asked;
            }
            self.answered = asked;
            let trust = self.looker.trust();
            let look = catch_unwind(AssertUnwindSafe(|| self.looker.look())).unwrap_or_else(|_| {
                self.looker = fresh();
                Err(Error::Repository { what: "the repository".into(), problem: FAULT.into() })
            });
            if !deliver(Looked { look, trust, origin, began, asked }) {
                return;
            }
            match self.wait(began, interval) {
                Some(next) => origin = next,
                None => return,
            }
        }
    }

    /// Waits for the next occasion to look; `None` to end.
    fn wait(&self, began: Instant, interval: Option<Duration>) -> Option<Origin> {
        let mut due = interval.map(|interval| (began + interval, Origin::Interval));
        loop {
            if self.asked.load(Ordering::SeqCst) > self.answered {
                return Some(Origin::Asked);
            }
            let woken = match due {
                Some((at, _)) => self.woken.recv_deadline(at),
                None => self.woken.recv().map_err(|_| RecvTimeoutError::Disconnected),
            };
            match (woken, due) {
                (Ok(Wake::Stop) | Err(RecvTimeoutError::Disconnected), _) => return None,
                (Ok(Wake::Ask), _) => {}
                (Ok(Wake::Again), _) => return Some(Origin::Interval),
                (Ok(Wake::Hint), due_now) => {
                    let soon = began + HINT_PAUSE;
                    if due_now.is_none_or(|(at, _)| soon < at) {
                        due = Some((soon, Origin::Hint));
                    }
                }
                (Err(RecvTimeoutError::Timeout), due) => {
                    return Some(due.map_or(Origin::Interval, |(_, origin)| origin));
                }
            }
        }
    }
}

/// Asks the system to report changes below a folder. Many file systems never do, so nothing depends on it.
fn watch(models: &std::path::Path, wake: Sender<Wake>) -> Option<notify::RecommendedWatcher> {
    let handler = move |event: notify::Result<notify::Event>| {
        let changed = match event.map(|event| event.kind) {
            // Our own looks open folders.
            Ok(EventKind::Access(kind)) => kind == event::AccessKind::Close(event::AccessMode::Write),
            Ok(_) => true,
            Err(_) => false,
        };
        if changed {
            drop(wake.try_send(Wake::Hint));
        }
    };
    let config = notify::Config::default().with_follow_symlinks(false);
    let watcher = notify::RecommendedWatcher::new(handler, config).and_then(|mut watcher| {
        watcher.watch(models, RecursiveMode::Recursive)?;
        Ok(watcher)
    });
    watcher.inspect_err(|error| tracing::debug!(error = %error, "changes are found by looking alone")).ok()
}
