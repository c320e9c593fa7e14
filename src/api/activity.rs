//! Limits to the silence of a connection of HTTP/1.1: little over the head of a request, longer between requests.
//!
//! hyper has one limit for both, and makes and cancels a timer of the runtime for each request to keep it. Here the
//! stream and the service of a connection count what they do, and one timer for each connection, which is seldom set
//! anew, looks at the counters.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, Sleep};

/// The activity of one connection, all of whose parts run in one task.
#[derive(Debug)]
pub(super) struct Activity {
    /// Begun and ended answers: odd while one is made.
    turns: AtomicU32,
    /// Set once bytes have arrived that no answer has taken up: the head of a request, as far as it is there.
    has_begun: AtomicBool,
    /// Pieces that were sent.
    sent: AtomicU32,
}

/// An answer that is being made; dropped when it is there.
#[derive(Debug)]
pub(super) struct Turn(Arc<Activity>);

/// The counts of an [`Activity`] when it was last looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Seen {
    turns: u32,
    has_begun: bool,
    sent: u32,
}

/// The longest a connection may be quiet.
#[derive(Debug, Clone, Copy)]
pub(super) struct Quiet {
    /// From the first byte of a head to its last; for the first head, from the beginning of the connection.
    pub(super) head: Duration,
    /// Without a byte either way between requests.
    pub(super) idle: Duration,
}

/// Says when a connection was quiet for too long.
#[derive(Debug)]
pub(super) struct Watch {
    pace: Pace,
    /// Never set to later than the deadline; mostly earlier, since deadlines move with every request.
    timer: Pin<Box<Sleep>>,
}

/// The deadline of a connection, as its activity moves it.
#[derive(Debug)]
struct Pace {
    activity: Arc<Activity>,
    limits: Quiet,
    seen: Seen,
    deadline: Instant,
}

impl Activity {
    /// Returns the activity of a connection that was just accepted.
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self { turns: AtomicU32::new(0), has_begun: AtomicBool::new(true), sent: AtomicU32::new(0) })
    }

    /// Notes that bytes have arrived.
    pub(super) fn received(&self) {
        self.has_begun.store(true, Ordering::Relaxed);
    }

    /// Notes that bytes were sent.
    pub(super) fn sent(&self) {
        step(&self.sent);
    }

    /// Notes that an answer is being made, until the turn is dropped.
    pub(super) fn turn(self: &Arc<Self>) -> Turn {
        step(&self.turns);
        Turn(self.clone())
    }

    fn look(&self) -> Seen {
        Seen {
            turns: self.turns.load(Ordering::Relaxed),
            has_begun: self.has_begun.load(Ordering::Relaxed),
            sent: self.sent.load(Ordering::Relaxed),
        }
    }
}

/// Counts on. One task writes, so that this needs no atomic addition.
fn step(counter: &AtomicU32) {
    counter.store(counter.load(Ordering::Relaxed).wrapping_add(1), Ordering::Relaxed);
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.0.has_begun.store(false, Ordering::Relaxed);
        step(&self.0.turns);
    }
}

impl Watch {
    /// Watches a connection that was accepted at this moment.
    pub(super) fn new(activity: Arc<Activity>, limits: Quiet, accepted: Instant) -> Self {
        let pace = Pace::new(activity, limits, accepted);
        Self { timer: Box::pin(tokio::time::sleep_until(pace.deadline)), pace }
    }

    /// Returns ready when the connection was quiet for too long. To be called whenever its task has run.
    pub(super) fn poll(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let Some(deadline) = self.pace.deadline(Instant::now) else { return Poll::Pending };
        if deadline < self.timer.deadline() {
            self.timer.as_mut().reset(deadline);
        }
        while self.timer.as_mut().poll(context).is_ready() {
            if Instant::now() >= deadline {
                return Poll::Ready(());
            }
            self.timer.as_mut().reset(deadline);
        }
        Poll::Pending
    }
}

impl Pace {
    fn new(activity: Arc<Activity>, limits: Quiet, accepted: Instant) -> Self {
        Self { seen: activity.look(), activity, limits, deadline: accepted + limits.head }
    }

    /// Returns the moment from which on the connection is quiet for too long; `None` while an answer is made, which
    /// has limits of its own.
    fn deadline(&mut self, now: impl FnOnce() -> Instant) -> Option<Instant> {
        let look = self.activity.look();
        if look.turns % 2 == 1 {
            return None;
        }
        if look != self.seen {
            let is_same_head = look.has_begun && self.seen.has_begun && look.turns == self.seen.turns;
            self.seen = look;
            if !is_same_head {
                self.deadline = now() + if look.has_begun { self.limits.head } else { self.limits.idle };
            }
        }
        Some(self.deadline)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Quiet = Quiet { head: Duration::from_secs(10), idle: Duration::from_secs(75) };

    struct Connection {
        activity: Arc<Activity>,
        pace: Pace,
        begin: Instant,
    }

    impl Connection {
        fn open() -> Self {
            let (activity, begin) = (Activity::new(), Instant::now());
            Self { pace: Pace::new(activity.clone(), LIMITS, begin), activity, begin }
        }

        /// Returns the second at which it will have been quiet for too long, as seen at another.
        fn deadline_at(&mut self, second: u64) -> Option<u64> {
            let now = self.begin + Duration::from_secs(second);
            self.pace.deadline(|| now).map(|deadline| (deadline - self.begin).as_secs())
        }
    }

    #[test]
    fn the_first_head_has_the_time_of_a_head() {
        let mut silent = Connection::open();
        assert_eq!(silent.deadline_at(3), Some(10));
        for second in 0..10 {
            silent.activity.received();
            assert_eq!(silent.deadline_at(second), Some(10), "crumbs do not stretch it");
        }
    }

    #[test]
    fn between_requests_there_is_more_time_until_a_head_begins() {
        let mut connection = Connection::open();
        for begin in [100, 200, 300] {
            drop(connection.activity.turn());
            assert_eq!(connection.deadline_at(begin), Some(begin + 75));
            assert_eq!(connection.deadline_at(begin + 60), Some(begin + 75));
            connection.activity.received();
            assert_eq!(connection.deadline_at(begin + 74), Some(begin + 84));
            connection.activity.received();
            assert_eq!(connection.deadline_at(begin + 80), Some(begin + 84));
        }
        // A head that came with the body before it, or was answered before anyone looked.
        connection.activity.received();
        drop(connection.activity.turn());
        assert_eq!(connection.deadline_at(400), Some(475));
    }

    #[test]
    fn neither_an_answer_that_is_made_nor_one_that_is_taken_is_quiet() {
        let mut connection = Connection::open();
        let turn = connection.activity.turn();
        assert_eq!(connection.deadline_at(1000), None);
        connection.activity.received();
        assert_eq!(connection.deadline_at(1001), None);
        drop(turn);
        for second in [1070, 1140, 1210] {
            connection.activity.sent();
            assert_eq!(connection.deadline_at(second), Some(second + 75));
        }
        assert_eq!(connection.deadline_at(1280), Some(1285), "nobody takes the rest");
    }
}
