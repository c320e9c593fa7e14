//! The open loop: requests start by a schedule, however fast the answers come. A request that finds no connection free
//! waits, and the wait is part of its latency.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::{Duration, Instant};

use tokio::sync::Notify;
use tokio::task::JoinSet;

use super::arrivals::Arrivals;
use super::closed::{Lanes, join};
use super::connection::Connection;
use super::pacer::Pacer;
use super::stop::Stop;
use crate::error::Result;

/// Requests that are late at the end may still be sent for this long; the rest count as never sent.
pub(super) const LAST_CALL: Duration = Duration::from_millis(100);

/// The state that the connections of a thread share.
struct Schedule {
    lanes: Rc<Lanes>,
    start: Instant,
    arrivals: RefCell<Arrivals>,
    taken: Cell<u64>,
    /// Idle connections. The one that was busy last is used first, so that no more are opened than are needed.
    idle: RefCell<Vec<Rc<Slot>>>,
    over: Cell<bool>,
    /// Notified when a connection itself took the last request.
    exhausted: Notify,
}

/// The place where an idle connection waits for a request or the end.
#[derive(Default)]
struct Slot {
    intended: Cell<Option<Instant>>,
    given: Notify,
}

/// Sends requests by the schedule on at most `connections` connections, until it ends or the run is stopped.
pub(super) async fn run(
    lanes: &Rc<Lanes>,
    connections: usize,
    arrivals: Arrivals,
    start: Instant,
    stop: &Stop,
) -> Result<()> {
    let pacer = Pacer::start(arrivals.clone(), start)?;
    let schedule = Rc::new(Schedule {
        lanes: lanes.clone(),
        start,
        arrivals: RefCell::new(arrivals),
        taken: Cell::new(0),
        idle: RefCell::default(),
        over: Cell::new(false),
        exhausted: Notify::new(),
    });
    let (ended, until) = tokio::select! {
        biased;
        () = stop.asked() => (Ok(()), start.elapsed()),
        ended = schedule.drive(connections, &pacer) => (ended, Duration::MAX),
    };
    let from = lanes.window.start.saturating_duration_since(start);
    let rest = schedule.arrivals.borrow().clone().take_while(|offset| *offset < until);
    lanes.tally.borrow_mut().unsent = rest.filter(|offset| *offset >= from).count() as u64;
    ended
}

impl Schedule {
    /// Takes the next request that is due, and returns its intended start.
    fn take(&self, now: Instant) -> Option<Instant> {
        let window = self.lanes.window;
        let mut arrivals = self.arrivals.borrow_mut();
        loop {
            let intended = self.start + arrivals.due(now.checked_duration_since(self.start)?)?;
            self.taken.set(self.taken.get() + 1);
            // What the warm-up left behind is not the beginning of the measurement.
            if now < window.start || intended >= window.start {
                return Some(intended);
            }
        }
    }

    fn is_exhausted(&self) -> bool {
        self.arrivals.borrow().peek().is_none()
    }

    async fn drive(self: &Rc<Self>, connections: usize, pacer: &Pacer) -> Result<()> {
        let mut tasks = JoinSet::new();
        let last_call = self.lanes.window.end.map(|end| end + LAST_CALL);
        while !self.is_exhausted() {
            let now = Instant::now();
            if last_call.is_some_and(|last_call| now >= last_call) {
                break;
            }
            self.hand_out(now, connections, &mut tasks);
            self.note_backlog(now, pacer);
            let woken = async {
                tokio::select! {
                    () = pacer.due() => {}
                    () = self.exhausted.notified() => {}
                }
            };
            match last_call {
                Some(last_call) => drop(tokio::time::timeout_at(last_call.into(), woken).await),
                None => woken.await,
            }
        }
        self.over.set(true);
        // Idle connections wait for nothing now; the others finish what is under way.
        self.idle.take().iter().for_each(|slot| slot.given.notify_one());
        join(tasks).await
    }

    /// Gives the requests that are due to idle connections, then to new ones.
    fn hand_out(self: &Rc<Self>, now: Instant, connections: usize, tasks: &mut JoinSet<()>) {
        loop {
            let slot = self.idle.borrow_mut().pop();
            if slot.is_none() && tasks.len() >= connections {
                // Whichever connection is free first takes the next itself.
                return;
            }
            match (self.take(now), slot) {
                (Some(intended), Some(slot)) => {
                    slot.intended.set(Some(intended));
                    slot.given.notify_one();
                }
                (Some(intended), None) => drop(tasks.spawn_local(self.clone().lane(intended))),
                (None, slot) => return self.idle.borrow_mut().extend(slot),
            }
        }
    }

    fn note_backlog(&self, now: Instant, pacer: &Pacer) {
        let mut tally = self.lanes.tally.borrow_mut();
        if tally.measures(now) {
            tally.backlog_max = tally.backlog_max.max(pacer.released().saturating_sub(self.taken.get()));
        }
    }

    /// Drives one connection, which is opened for the request that was meant to start at `intended`.
    async fn lane(self: Rc<Self>, mut intended: Instant) {
        let mut connection = Connection::new(self.lanes.address, self.lanes.timeout);
        let slot = Rc::new(Slot::default());
        loop {
            let (done, _) = self.lanes.request(&mut connection, intended).await;
            if self.over.get() || self.is_exhausted() {
                self.exhausted.notify_one();
                return;
            }
            if let Some(next) = self.take(done) {
                intended = next;
                continue;
            }
            self.idle.borrow_mut().push(slot.clone());
            slot.given.notified().await;
            match slot.intended.take() {
                Some(next) => intended = next,
                None => return,
            }
        }
    }
}
