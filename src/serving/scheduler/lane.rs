//! A place in the pool: a queue of its own and a limit to what waits in it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use prometheus::Gauge;

use super::admission::{Admission, Permit};
use super::lanes::{Item, LaneId, LanePolicy};
use super::pool::{Job, Pool, Ticket};
use crate::error::{Error, Result};

/// The time that a request takes and has.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Demand {
    /// Lower runs earlier.
    pub(crate) priority: u8,
    /// The time for which it will keep a thread, as measured of others.
    pub(crate) cost: Duration,
    /// The present moment.
    pub(crate) now: Instant,
    /// The moment by which its answer is wanted.
    pub(crate) deadline: Instant,
}

/// A lane of the pool, removed when dropped; the jobs that still wait in it are run.
#[derive(Debug)]
pub(crate) struct Lane<J: Job> {
    pool: Arc<Pool<J>>,
    id: LaneId,
    admission: Admission,
    /// The most runs at the same time.
    abreast: usize,
}

impl<J: Job> Lane<J> {
    /// Adds a lane in which at most `capacity` requests wait.
    pub(crate) fn new(pool: Arc<Pool<J>>, policy: LanePolicy, capacity: usize) -> Self {
        let abreast = policy.concurrency.min(pool.size()).max(1);
        let id = pool.add_lane(policy);
        Self { pool, id, admission: Admission::new(capacity, abreast), abreast }
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
    /// away, judging by the measured cost of what waits.
    ///
    /// # Errors
    /// [`Error::Overloaded`] when as many wait as may, or when those will take so long that the answer would be late.
    pub(crate) fn admit(&self, depth: &Gauge, demand: Demand) -> Result<Permit> {
        self.is_in_time(demand)?;
        self.admission.admit(depth, demand.priority, demand.cost).ok_or_else(|| self.is_full())
    }

    /// Checks that a request would be admitted now.
    ///
    /// # Errors
    /// As [`Lane::admit`].
    pub(crate) fn has_room(&self, demand: Demand) -> Result<()> {
        self.is_in_time(demand)?;
        if self.admission.has_room() { Ok(()) } else { Err(self.is_full()) }
    }

    /// Returns the time after which a request of this priority that comes now would run.
    fn wait(&self, priority: u8) -> Duration {
        self.admission.backlog(priority) / u32::try_from(self.abreast).unwrap_or(u32::MAX)
    }

    fn is_in_time(&self, Demand { priority, cost, now, deadline }: Demand) -> Result<()> {
        let wait = self.wait(priority);
        // Costs are averages. A queue as long as requests have time would begin each of them at the last moment, and end
        // half of them too late.
        let expected = wait.saturating_add(cost);
        let expected = expected.saturating_add(expected / 4);
        let late = expected.saturating_sub(deadline.saturating_duration_since(now));
        // While a thread is free for it an estimate refuses nobody: the run shows whether it holds.
        if late.is_zero() || self.admission.is_next(priority) {
            return Ok(());
        }
        Err(overloaded("what waits takes longer than the request has time", late))
    }

    fn is_full(&self) -> Error {
        // All that wait keep the places, whatever their priority.
        overloaded("the queue is full", self.wait(u8::MAX))
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

fn overloaded(what: &'static str, retry_after: Duration) -> Error {
    Error::Overloaded { what, retry_after_seconds: (retry_after.as_secs_f64().ceil() as u32).clamp(1, 60) }
}

#[cfg(test)]
mod tests {
    use super::super::batch::BatchPolicy;
    use super::*;
    use crate::engine::Brake;
    use crate::metrics::Metrics;

    const SECONDS: fn(u64) -> Duration = Duration::from_secs;

    /// Work that is never submitted.
    #[derive(Debug)]
    enum Nothing {}

    impl Job for Nothing {
        fn run(_batch: Vec<Item<Self>>, _begun: Instant, _brake: &Brake) {}
    }

    #[test]
    fn what_would_be_late_is_refused_at_the_door_unless_a_thread_is_free_for_it() {
        let pool = Pool::start(2, SECONDS(3600), Metrics::new().unwrap().pool.clone()).unwrap();
        let policy = LanePolicy { batch: BatchPolicy::single(), weight: 1.0, concurrency: 8 };
        let lane = Lane::<Nothing>::new(Arc::new(pool), policy, 4);
        let (now, depth) = (Instant::now(), Gauge::new("depth", "Depth.").unwrap());
        let demand = |priority, cost, has| Demand { priority, cost: SECONDS(cost), now, deadline: now + SECONDS(has) };
        let refusal = |priority, cost, has| {
            lane.has_room(demand(priority, cost, has)).err().map(|error| match error {
                Error::Overloaded { what, retry_after_seconds } => (what, retry_after_seconds),
                other => panic!("{other}"),
            })
        };
        let admit = |priority, cost| lane.admit(&depth, demand(priority, cost, 3600)).unwrap();
        let late = "what waits takes longer than the request has time";
        assert_eq!(refusal(5, 100, 1), None, "nothing waits");
        let mut held = vec![admit(5, 20)];
        assert_eq!(refusal(5, 100, 1), None, "the other thread is free");
        held.push(admit(5, 20));
        // 20 s of each thread are before it, and a quarter more is reckoned with.
        for (priority, cost, has, expected) in [
            (5, 4, 30, None),
            (5, 4, 29, Some((late, 1))),
            (5, 4, 10, Some((late, 20))),
            (5, 1000, 10, Some((late, 60))),
            (9, 4, 29, Some((late, 1))),
            (4, 100, 1, None),
        ] {
            assert_eq!(refusal(priority, cost, has), expected, "{priority} {cost} {has}");
            assert_eq!(lane.admit(&depth, demand(priority, cost, has)).is_ok(), expected.is_none());
        }
        held.push(admit(9, 40));
        assert_eq!(refusal(5, 4, 30), None, "what is less urgent is not waited for");
        assert_eq!(refusal(9, 4, 30), Some((late, 25)));
        held.push(admit(1, 2));
        assert_eq!(refusal(1, 1, 3600), Some(("the queue is full", 41)), "whatever its priority");
        drop(held);
        assert_eq!(refusal(9, 100, 1), None);
    }
}
