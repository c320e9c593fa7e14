//! A servable's place in the compute pool.

use std::sync::Arc;
use std::time::Duration;

use crate::config::SchedulingSettings;
use crate::error::{Error, Result};
use crate::metrics::ServableMetrics;
use crate::serving::execution::work::Work;
use crate::serving::scheduler::admission::{Admission, Permit};
use crate::serving::scheduler::batch::BatchPolicy;
use crate::serving::scheduler::lanes::{Item, LaneId, LanePolicy};
use crate::serving::scheduler::pool::{Pool, Ticket};
use crate::signature::Batching;

/// A lane of the pool, removed when dropped; what still waits in it is run.
#[derive(Debug)]
pub(crate) struct Lane {
    pool: Arc<Pool>,
    id: LaneId,
    admission: Admission,
    settings: SchedulingSettings,
    batching: Batching,
}

impl Lane {
    /// A lane that runs up to this many samples at once.
    pub(crate) fn new(pool: Arc<Pool>, settings: SchedulingSettings, batching: Batching, max_batch: usize) -> Self {
        let id = pool.add_lane(policy(&settings, batching, max_batch, pool.size()));
        Self { pool, id, admission: Admission::new(settings.queue_capacity), settings, batching }
    }

    /// The threads that may work for it.
    pub(crate) fn threads(&self) -> usize {
        self.pool.size()
    }

    /// Changes how many samples run at once.
    pub(crate) fn set_max_batch(&self, max_batch: usize) {
        self.pool.set_policy(self.id, policy(&self.settings, self.batching, max_batch, self.pool.size()));
    }

    /// Admits a request, or says how long to stay away.
    ///
    /// # Errors
    /// [`Error::Overloaded`] when as many wait as may.
    pub(crate) fn admit(&self, metrics: &ServableMetrics, single: Duration) -> Result<Permit> {
        self.admission.admit(&metrics.queue_depth).ok_or_else(|| self.is_full(single))
    }

    /// Whether a request would be admitted now.
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

    /// Queues work.
    ///
    /// # Errors
    /// [`Error::ShuttingDown`].
    pub(crate) fn submit(&self, make: impl FnOnce(u64) -> Item<Work>) -> Result<Ticket> {
        self.pool.submit(self.id, make)
    }
}

impl Drop for Lane {
    fn drop(&mut self) {
        self.pool.remove_lane(self.id);
    }
}

fn policy(settings: &SchedulingSettings, batching: Batching, max_batch: usize, threads: usize) -> LanePolicy {
    let batch = match batching {
        Batching::Any if settings.across_requests => BatchPolicy {
            max_samples: max_batch.max(1),
            max_delay: settings.max_queue_delay,
            preferred: settings.preferred_batch_sizes.clone(),
        },
        Batching::Any | Batching::Fixed(_) | Batching::Whole => BatchPolicy::single(),
    };
    LanePolicy { batch, weight: settings.weight, concurrency: settings.concurrency.unwrap_or(threads).max(1) }
}
