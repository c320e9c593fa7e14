//! The sign of life of the manager's thread.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Tells since when the manager has been at work on one event.
#[derive(Debug)]
pub(super) struct Pulse {
    origin: Instant,
    /// Milliseconds from the origin to the begin of the turn, plus one; 0 between turns.
    begun: AtomicU64,
}

impl Pulse {
    pub(super) fn new() -> Self {
        Self { origin: Instant::now(), begun: AtomicU64::new(0) }
    }

    pub(super) fn begin(&self) {
        self.begun.store(self.now() + 1, Ordering::Relaxed);
    }

    pub(super) fn end(&self) {
        self.begun.store(0, Ordering::Relaxed);
    }

    /// Returns how long the turn has taken so far; zero between turns.
    pub(super) fn busy(&self) -> Duration {
        match self.begun.load(Ordering::Relaxed) {
            0 => Duration::ZERO,
            begun => Duration::from_millis(self.now().saturating_sub(begun - 1)),
        }
    }

    fn now(&self) -> u64 {
        u64::try_from(self.origin.elapsed().as_millis()).unwrap_or(u64::MAX - 1)
    }
}
