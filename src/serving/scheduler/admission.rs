//! The limits to what waits in a lane: an exact one to the requests, and one to the time that they will take.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use crate::metrics::GaugeGuard;

/// The priorities that requests have, from 0 on; any other counts as the last.
const PRIORITIES: usize = 10;
/// The greatest time that one request counts with, some five hours.
const MOST_NANOSECONDS: u64 = u64::MAX >> 20;

/// Counts the requests of one lane that have been admitted and do not run yet.
#[derive(Debug)]
pub(crate) struct Admission {
    waiting: Arc<Waiting>,
    capacity: usize,
    /// The most requests before which the next one runs at once.
    abreast: usize,
}

#[derive(Debug, Default)]
struct Waiting {
    requests: AtomicUsize,
    by_priority: [Queue; PRIORITIES],
}

/// Those of one priority.
#[derive(Debug, Default)]
struct Queue {
    requests: AtomicUsize,
    /// The time of a thread that they will take together.
    nanoseconds: AtomicU64,
}

impl Waiting {
    /// Returns those that run before a request of this priority which comes now.
    fn before(&self, priority: u8) -> &[Queue] {
        &self.by_priority[..=place(priority)]
    }

    fn are_few(&self, priority: u8, abreast: usize) -> bool {
        let before = self.before(priority).iter().map(|queue| queue.requests.load(Ordering::Relaxed));
        before.fold(0, usize::saturating_add) < abreast
    }
}

fn place(priority: u8) -> usize {
    usize::from(priority).min(PRIORITIES - 1)
}

impl Admission {
    /// Makes room for this many, of which `abreast` can run at the same time.
    pub(crate) fn new(capacity: usize, abreast: usize) -> Self {
        Self { waiting: Arc::default(), capacity, abreast }
    }

    /// Admits a request that will take a thread for about `cost`, if there is room for it.
    pub(crate) fn admit(&self, depth: &prometheus::Gauge, priority: u8, cost: Duration) -> Option<Permit> {
        let more = |waiting: usize| (waiting < self.capacity).then_some(waiting + 1);
        self.waiting.requests.fetch_update(Ordering::AcqRel, Ordering::Relaxed, more).ok()?;
        let is_next = self.waiting.are_few(priority, self.abreast);
        // As many requests as there is room for, each of the greatest cost, do not wrap a counter.
        let most = MOST_NANOSECONDS.min(u64::MAX / self.capacity.max(1) as u64);
        let nanoseconds = u64::try_from(cost.as_nanos()).unwrap_or(most).min(most);
        let place = place(priority);
        self.waiting.by_priority[place].requests.fetch_add(1, Ordering::Relaxed);
        self.waiting.by_priority[place].nanoseconds.fetch_add(nanoseconds, Ordering::Relaxed);
        Some(Permit { waiting: self.waiting.clone(), place, nanoseconds, is_next, _depth: GaugeGuard::hold(depth) })
    }

    /// Returns true if there is room for a request now.
    pub(crate) fn has_room(&self) -> bool {
        self.waiting.requests.load(Ordering::Relaxed) < self.capacity
    }

    /// Returns true if fewer wait before a request of this priority than can run at the same time.
    pub(crate) fn is_next(&self, priority: u8) -> bool {
        self.waiting.are_few(priority, self.abreast)
    }

    /// Returns the time of a thread that those together will take that run before a request of this priority: those of
    /// the same and of more urgent ones.
    pub(crate) fn backlog(&self, priority: u8) -> Duration {
        let before = self.waiting.before(priority).iter().map(|queue| queue.nanoseconds.load(Ordering::Relaxed));
        Duration::from_nanos(before.fold(0, u64::saturating_add))
    }
}

/// A place among those that wait, given back when dropped.
#[derive(Debug)]
pub(crate) struct Permit {
    waiting: Arc<Waiting>,
    place: usize,
    nanoseconds: u64,
    is_next: bool,
    _depth: GaugeGuard,
}

impl Permit {
    /// Returns true if fewer waited before it, when it was given, than can run at the same time.
    pub(crate) fn is_next(&self) -> bool {
        self.is_next
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let queue = &self.waiting.by_priority[self.place];
        queue.nanoseconds.fetch_sub(self.nanoseconds, Ordering::Relaxed);
        queue.requests.fetch_sub(1, Ordering::Relaxed);
        self.waiting.requests.fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECONDS: fn(u64) -> Duration = Duration::from_secs;

    fn depth() -> prometheus::Gauge {
        prometheus::Gauge::new("depth", "Depth.").unwrap()
    }

    #[test]
    fn requests_and_their_time_are_counted_until_they_are_given_back() {
        let (depth, admission) = (depth(), Admission::new(2, 1));
        let one = admission.admit(&depth, 5, SECONDS(3)).unwrap();
        let two = admission.admit(&depth, 5, SECONDS(4)).unwrap();
        assert!(one.is_next() && !two.is_next());
        assert!(!admission.has_room() && admission.admit(&depth, 5, SECONDS(5)).is_none());
        assert_eq!((admission.backlog(5), depth.get()), (SECONDS(7), 2.0));
        drop(one);
        assert!(admission.has_room());
        assert_eq!((admission.backlog(5), depth.get()), (SECONDS(4), 1.0));
        drop(two);
        assert_eq!((admission.backlog(5), depth.get()), (Duration::ZERO, 0.0));
    }

    #[test]
    fn what_is_less_urgent_runs_later_and_as_many_as_threads_at_once() {
        let (depth, admission) = (depth(), Admission::new(8, 2));
        let held: Vec<Permit> = [(9, 1), (5, 2), (5, 4), (1, 8)]
            .map(|(at, cost)| admission.admit(&depth, at, SECONDS(cost)).unwrap())
            .into();
        let backlogs = [1, 4, 5, 8, 9, u8::MAX].map(|priority| admission.backlog(priority).as_secs());
        assert_eq!(backlogs, [8, 8, 14, 14, 15, 15]);
        assert!(held.iter().all(Permit::is_next), "each had at most one before it");
        assert_eq!([1, 4, 5, 9].map(|priority| admission.is_next(priority)), [true, true, false, false]);
        assert!(!admission.admit(&depth, 5, SECONDS(1)).unwrap().is_next());
    }

    #[test]
    fn no_cost_is_too_great_to_be_counted() {
        for capacity in [4, usize::MAX] {
            let (depth, admission) = (depth(), Admission::new(capacity, 1));
            let held: Vec<Permit> = [0, 9, 9, 9].map(|at| admission.admit(&depth, at, Duration::MAX).unwrap()).into();
            let (urgent, all) = (admission.backlog(0), admission.backlog(9));
            assert!(!urgent.is_zero() && all == urgent * 4, "{capacity}: {urgent:?}, {all:?}");
            drop(held);
            assert!(admission.backlog(9).is_zero());
        }
    }
}
