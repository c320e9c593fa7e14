//! The exact limit to the requests that wait in a lane.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::metrics::GaugeGuard;

/// Counts the requests of one lane that have been admitted and do not run yet.
#[derive(Debug)]
pub(crate) struct Admission {
    waiting: Arc<AtomicUsize>,
    capacity: usize,
}

impl Admission {
    /// Makes room for this many.
    pub(crate) fn new(capacity: usize) -> Self {
        Self { waiting: Arc::default(), capacity }
    }

    /// Admits a request if there is room for it.
    pub(crate) fn admit(&self, depth: &prometheus::Gauge) -> Option<Permit> {
        let more = |waiting: usize| (waiting < self.capacity).then_some(waiting + 1);
        self.waiting.fetch_update(Ordering::AcqRel, Ordering::Relaxed, more).ok()?;
        Some(Permit { waiting: self.waiting.clone(), _depth: GaugeGuard::hold(depth) })
    }

    /// Returns true if there is room for a request now.
    pub(crate) fn has_room(&self) -> bool {
        self.waiting() < self.capacity
    }

    /// Returns how many wait.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }
}

/// A place among those that wait, given back when dropped.
#[derive(Debug)]
pub(crate) struct Permit {
    waiting: Arc<AtomicUsize>,
    _depth: GaugeGuard,
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.waiting.fetch_sub(1, Ordering::AcqRel);
    }
}
