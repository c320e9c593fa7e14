//! Engine sessions, one for each thread that runs a model, without a lock that threads share.

use std::cell::Cell;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, TryLockError};

use crate::engine::{Plan, Session};
use crate::error::Result;

/// A number for each thread that ever ran a model, counted from 0.
pub(crate) fn thread_number() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local!(static NUMBER: Cell<Option<usize>> = const { Cell::new(None) });
    NUMBER.with(|number| {
        number.get().unwrap_or_else(|| {
            let fresh = NEXT.fetch_add(1, Ordering::Relaxed);
            number.set(Some(fresh));
            fresh
        })
    })
}

/// A slot on cache lines of its own, so that threads do not slow each other down.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Slot(Mutex<Option<Session>>);

impl Slot {
    fn try_lock(&self) -> Option<MutexGuard<'_, Option<Session>>> {
        match self.0.try_lock() {
            Ok(guard) => Some(guard),
            Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }
}

/// A plan and the sessions that run it. Each thread keeps its session in its slot by number; a thread
/// that has none yet takes one that nobody uses, so that those made ready before serving are used.
#[derive(Debug)]
pub(crate) struct Runtime {
    plan: Plan,
    slots: Box<[Slot]>,
}

impl Runtime {
    /// Makes room for the sessions of this many threads, and takes in those that are ready.
    pub(crate) fn new(plan: Plan, threads: usize, ready: Vec<Session>) -> Self {
        let threads = threads.max(1).max(ready.len());
        let mut ready = ready.into_iter();
        Self { plan, slots: (0..threads).map(|_| Slot(Mutex::new(ready.next()))).collect() }
    }

    /// The plan.
    pub(crate) fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Returns the number of threads that may run it at once.
    pub(crate) fn threads(&self) -> usize {
        self.slots.len()
    }

    /// Runs `work` with a session. After a failure the session is thrown away: a panic may have left
    /// it in any state.
    ///
    /// # Errors
    /// What `work` fails with, or the engine when a session cannot be made.
    pub(crate) fn with<T>(&self, work: impl FnOnce(&mut Session) -> Result<T>) -> Result<T> {
        let own = thread_number() % self.slots.len();
        // Held during the run: whoever shares the slot takes another session.
        let mut guard = self.slots[own].try_lock();
        let mut session = match guard.as_mut().and_then(|slot| slot.take()).or_else(|| self.unused(own)) {
            Some(session) => session,
            None => self.plan.session()?,
        };
        let done = work(&mut session)?;
        if let Some(slot) = &mut guard {
            **slot = Some(session);
        }
        Ok(done)
    }

    fn unused(&self, own: usize) -> Option<Session> {
        let others = (1..self.slots.len()).map(|step| &self.slots[(own + step) % self.slots.len()]);
        others.filter_map(Slot::try_lock).find_map(|mut slot| slot.take())
    }
}
