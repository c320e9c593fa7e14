//! A place in the pool: a queue of its own and a limit to what waits in it.

use std::sync::Arc;
use std::time::Duration;

use prometheus::Gauge;

use super::admission::{Admission, Permit};
use super::lanes::{Item, LaneId, LanePolicy};
use super::pool::{Job, Pool, Ticket};
use crate::error::{Error, Result};

/// A lane of the pool, removed when dropped; the jobs that still wait in it are run.
#[derive(Debug)]
pub(crate) struct Lane<J: Job> {
    pool: Arc<Pool<J>>,
    id: LaneId,
    admission: Admission,
}

impl<J: Job> Lane<J> {
    /// Adds a lane in which at most `capacity` requests wait.
    pub(crate) fn new(pool: Arc<Pool<J>>, policy: LanePolicy, capacity: usize) -> Self {
        let id = pool.add_lane(policy);
        Self { pool, id, admission: Admission::new(capacity) }
    }

    /// Returns the number of threads that may work for it.
    pub(crate) fn threads(&self) -> usize {
        self.pool.size()
    }

    /// Changes how its jobs run.
    pub(crate) fn set_policy(&self, policy: LanePolicy) {
        self.pool.set_policy(self.id, policy);
    }

    /// Admits a request and counts it in `depth` while it waits. A refused caller is told how long to stay
    /// away, judging by the time of a `single` run.
    ///
    /// # Errors
    /// [`Error::Overloaded`] when as many wait as may.
    pub(crate) fn admit(&self, depth: &Gauge, single: Duration) -> Result<Permit> {
        self.admission.admit(depth).ok_or_else(|| self.is_full(single))
    }

    /// Checks that a request would be admitted now.
    ///
    /// # Errors
    /// As [`Lane::admit`].
    pub(crate) fn has_room(&self, single: Duration) -> Result<()> {
        if self.admission.has_room() { Ok(()) } else { Err(self.is_full(single)) }
    }

    fn is_full(&self, single: Duration) -> Error {
        let seconds = single.as_secs_f64() * self.admission.waiting() as f64 / self.pool.size().max(1) as f64;
        Error::Overloaded { what: "the queue is full", retry_after_seconds: (seconds.ceil() as u32).clamp(1, 60) }
    }

    /// Queues a job.
    ///
    /// # Errors
    /// [`Error::ShuttingDown`].
    pub(crate) fn submit(&self, make: impl FnOnce(u64) -> Item<J>) -> Result<Ticket<J>> {
        self.pool.submit(self.id, make)
    }
}

impl<J: Job> Drop for Lane<J> {
    fn drop(&mut self) {
        self.pool.remove_lane(self.id);
    }
}
