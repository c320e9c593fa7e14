//! Engine sessions, one for each thread that runs a model, without a lock that threads share.

use std::cell::Cell;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError, TryLockError};

use crate::engine::{Plan, Session};
use crate::error::Result;

/// A number for each thread that ever ran a model, counted from 0.
pub(super) fn thread_number() -> usize {
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

/// The sessions of one plan. Each thread has its slot by number; the lock around it is only ever
/// contended when there are more threads than slots, and then the thread works with a fresh session.
#[derive(Debug)]
pub(super) struct Sessions {
    slots: Box<[Slot]>,
}

impl Sessions {
    /// Room for the sessions of this many threads; sessions are made when first used.
    pub(super) fn new(threads: usize) -> Self {
        Self { slots: (0..threads.max(1)).map(|_| Slot::default()).collect() }
    }

    /// Runs `work` with this thread's session. After a failure the session is thrown away: a panic
    /// may have left it in any state.
    ///
    /// # Errors
    /// What `work` fails with, or the engine when a session cannot be made.
    pub(super) fn with<T>(&self, plan: &Plan, work: impl FnOnce(&mut Session) -> Result<T>) -> Result<T> {
        let slot = &self.slots[thread_number() % self.slots.len()].0;
        let mut guard = match slot.try_lock() {
            Ok(guard) => guard,
            Err(TryLockError::Poisoned(poisoned)) => PoisonError::into_inner(poisoned),
            Err(TryLockError::WouldBlock) => return work(&mut plan.session()?),
        };
        let mut session = match guard.take() {
            Some(session) => session,
            None => plan.session()?,
        };
        let done = work(&mut session)?;
        *guard = Some(session);
        Ok(done)
    }
}
