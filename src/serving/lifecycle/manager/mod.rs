//! The manager, the only owner of the life of versions. One thread decides, with the pure `policy`, and
//! publishes; load workers execute; the repository's own thread looks. Requests read the catalog and never
//! wait for any of them.

mod commands;
mod control;
mod looks;
mod owner;
mod pulse;
mod record;
mod worker;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};
use tokio::sync::oneshot;

use self::commands::Command;
use self::owner::{Event, Owner};
use self::pulse::Pulse;
use crate::config::LifecycleConfig;
use crate::error::{Error, Result};
use crate::ids::{AliasName, ModelName, Version};
use crate::metrics::Metrics;
use crate::repository::{Overrides, Storage, TrustFile};
use crate::serving::lifecycle::graphs::LoadSettings;
use crate::serving::predictor::Predictor;

/// The most events that wait for the owner; beyond it commands are refused.
const EVENTS: usize = 1024;

/// The longest that [`Manager::close`] waits for a load under way.
const PATIENCE: Duration = Duration::from_secs(5);

/// The parts of a manager.
#[derive(Debug)]
pub struct ManagerParts {
    /// The settings by which versions come and go.
    pub config: LifecycleConfig,
    /// The repository.
    pub storage: Storage,
    /// The keys that must vouch for versions, if signatures are looked at.
    pub trust: Option<TrustFile>,
    /// The model for requests that name none.
    pub default_model: Option<ModelName>,
    /// The settings and shared parts of loading.
    pub load: LoadSettings,
    /// All metrics.
    pub metrics: Arc<Metrics>,
    /// The predictor to which catalogs are published.
    pub predictor: Arc<Predictor>,
}

/// The place of an alias after a change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pointed {
    /// The version to which it points now.
    pub version: Version,
    /// The version to which it pointed before.
    pub previous: Option<Version>,
    /// The number of changes to the model's aliases so far.
    pub generation: u64,
    /// The changes that callers of the alias find, in words.
    pub changes: Vec<String>,
}

/// The handle to the manager; closes it on drop.
#[derive(Debug)]
pub struct Manager {
    events: Sender<Event>,
    /// The parts of the threads, until these are started.
    parts: Mutex<Option<(ManagerParts, Receiver<Event>)>>,
    running: Mutex<Option<Running>>,
    pulse: Arc<Pulse>,
    is_closed: AtomicBool,
}

#[derive(Debug)]
struct Running {
    owner: JoinHandle<()>,
    /// Closed when the owner has ended.
    ended: Receiver<()>,
}

impl Manager {
    /// Makes a manager that has not begun; commands wait until it does.
    pub fn new(parts: ManagerParts) -> Self {
        let (events, inbox) = bounded(EVENTS);
        Self {
            events,
            parts: Mutex::new(Some((parts, inbox))),
            running: Mutex::default(),
            pulse: Arc::new(Pulse::new()),
            is_closed: AtomicBool::new(false),
        }
    }

    /// Begins: looks at the repository and loads. A second call does nothing.
    ///
    /// # Errors
    /// [`Error::Io`] when the repository folder cannot be read, [`Error::Internal`] when the system
    /// gives no threads.
    pub fn start(&self) -> Result<()> {
        let mut parts = self.parts.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((parts, _)) = &*parts {
            parts.storage.check()?;
        }
        let Some((parts, inbox)) = parts.take() else { return Ok(()) };
        let owner = Owner::start(parts, self.events.clone(), self.pulse.clone())?;
        let (end, ended) = bounded(0);
        let run = move || {
            owner.run(&inbox);
            drop(end);
        };
        let owner = std::thread::Builder::new().name("manager".into()).spawn(run);
        let owner = owner.map_err(|error| Error::internal("the manager's thread could not be started", error))?;
        *self.running.lock().unwrap_or_else(PoisonError::into_inner) = Some(Running { owner, ended });
        Ok(())
    }

    /// Looks at the repository now, and waits until all that follows is done, except for retries whose time has
    /// not come.
    ///
    /// # Errors
    /// [`Error::ShuttingDown`].
    pub async fn refresh(&self) -> Result<()> {
        self.ask(|reply| Command::Refresh { reply }).await
    }

    /// Points an alias to an available version; from the answer on, requests for the alias get it.
    ///
    /// # Errors
    /// [`Error::ModelNotFound`], [`Error::VersionNotFound`], [`Error::Conflict`] when the version is
    /// not available, the alias does not point to `expected` (`Version(0)`: must not exist yet), or its callers would
    /// find other inputs, outputs or labels and `allow_changes` is not set.
    pub async fn promote(
        &self,
        model: ModelName,
        alias: AliasName,
        version: Version,
        expected: Option<Version>,
        allow_changes: bool,
    ) -> Result<Pointed> {
        self.ask(|reply| Command::Promote { model, alias, version, expected, allow_changes, reply }).await
    }

    /// Points an alias back to where it pointed before.
    ///
    /// # Errors
    /// [`Error::ModelNotFound`], [`Error::AliasNotFound`], [`Error::Conflict`] when there is no
    /// earlier version or it is not available.
    pub async fn rollback(&self, model: ModelName, alias: AliasName) -> Result<Pointed> {
        self.ask(|reply| Command::Rollback { model, alias, reply }).await
    }

    /// Loads a version, or what the policy wants of a model, and waits until it serves. What is
    /// loaded already stays, unless its files changed.
    ///
    /// # Errors
    /// [`Error::ModelNotFound`], [`Error::VersionNotFound`], [`Error::Conflict`] when it cannot be
    /// loaded, was unloaded meanwhile, or the control mode is none.
    pub async fn load(&self, model: ModelName, version: Option<Version>) -> Result<Vec<Version>> {
        self.ask(|reply| Command::Load { model, version, overrides: Overrides::default(), reply }).await
    }

    /// Loads what the policy wants of a model with other settings than its own, which stand until the
    /// next load; what is loaded already is loaded anew if that changes it.
    ///
    /// # Errors
    /// As [`Manager::load`].
    pub async fn load_with(&self, model: ModelName, overrides: Overrides) -> Result<Vec<Version>> {
        self.ask(|reply| Command::Load { model, version: None, overrides, reply }).await
    }

    /// Unloads a version or a whole model and waits until its last request is answered and its memory
    /// free. It stays unloaded until it is loaded by request.
    ///
    /// # Errors
    /// [`Error::ModelNotFound`], [`Error::VersionNotFound`], [`Error::Conflict`] when an alias points
    /// to the version, it was loaded meanwhile, or the control mode is none.
    pub async fn unload(&self, model: ModelName, version: Option<Version>) -> Result<Vec<Version>> {
        self.ask(|reply| Command::Unload { model, version, reply }).await
    }

    async fn ask<T>(&self, command: impl FnOnce(oneshot::Sender<Result<T>>) -> Command) -> Result<T> {
        let (reply, answer) = oneshot::channel();
        self.events.try_send(Event::Command(command(reply))).map_err(|refused| match refused {
            TrySendError::Full(_) => Error::Overloaded { what: "too many commands wait", retry_after_seconds: 1 },
            TrySendError::Disconnected(_) => Error::ShuttingDown,
        })?;
        let given_up = || match self.is_closed.load(Ordering::Relaxed) {
            true => Error::ShuttingDown,
            false => commands::given_up(),
        };
        answer.await.unwrap_or_else(|_| Err(given_up()))
    }

    /// Returns how long the manager's thread has been at work on one event: far below a second, unless a file system or a
    /// fault holds it up. Predictions do not wait for it; changes of versions do.
    pub fn busy(&self) -> Duration {
        self.pulse.busy()
    }

    /// Makes the owner panic.
    #[cfg(test)]
    pub(crate) fn fail(&self) {
        self.events.send(Event::Fault).unwrap();
    }

    /// Ends all threads. A load that takes longer than a few seconds is left to itself.
    pub fn close(&self) {
        self.is_closed.store(true, Ordering::Relaxed);
        drop(self.parts.lock().unwrap_or_else(PoisonError::into_inner).take());
        let Some(running) = self.running.lock().unwrap_or_else(PoisonError::into_inner).take() else { return };
        let deadline = Instant::now() + PATIENCE;
        // A full channel for so long means an owner that hangs, and then so does the wait.
        drop(self.events.send_deadline(Event::Stop, deadline));
        // Nothing is ever sent: the channel closes when the owner ends.
        let ended =
            matches!(running.ended.recv_deadline(deadline), Err(crossbeam_channel::RecvTimeoutError::Disconnected));
        if ended {
            drop(running.owner.join());
        } else {
            tracing::warn!("a version was still being loaded; it is left behind");
        }
    }
}

impl Drop for Manager {
    fn drop(&mut self) {
        self.close();
    }
}
