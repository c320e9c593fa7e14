//! The closed loop: each connection sends its next request when it has received the answer to the last.
//!
//! All connections of a generator thread run on that thread, so they share plain cells.

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use super::connection::{Connection, Failure, Outcome};
use super::plan::Live;
use super::tally::{Moments, Tally, Window};
use super::target::Target;
use crate::error::{Error, Result};

/// The pause after a connection could not be opened, doubled each time in a row.
const BACK_OFF: Duration = Duration::from_millis(5);
const BACK_OFF_LIMIT: Duration = Duration::from_secs(1);

/// The state that the connections of a thread share.
pub(super) struct Lanes {
    pub(super) target: Arc<Target>,
    pub(super) address: SocketAddr,
    pub(super) timeout: Duration,
    pub(super) window: Window,
    pub(super) live: Arc<Live>,
    pub(super) tally: RefCell<Tally>,
    /// Requests under way.
    pub(super) under_way: Cell<u64>,
    /// Measured requests that may still be started.
    pub(super) left: Cell<u64>,
    /// The number of the next body.
    pub(super) turn: Cell<usize>,
}

impl Lanes {
    /// Sends a request that was meant to start at `intended`. Returns its end and whether it had a connection.
    pub(super) async fn request(&self, connection: &mut Connection, intended: Instant) -> (Instant, bool) {
        let turn = self.turn.get();
        self.turn.set(turn.wrapping_add(1));
        let (request, bytes) = self.target.request(turn);
        let opened = connection.opened();
        self.under_way.set(self.under_way.get() + 1);
        let sent = Instant::now();
        let outcome = connection.exchange(request, sent).await;
        let done = Instant::now();
        self.under_way.set(self.under_way.get() - 1);
        let connected = !matches!(outcome, Outcome::Failed(Failure::Connect, _));
        let mut tally = self.tally.borrow_mut();
        tally.connections_opened += connection.opened() - opened;
        let good = tally.record(Moments { intended, sent, done }, bytes, outcome);
        self.live.count(good);
        (done, connected)
    }

    /// Takes one of the remaining requests, unless the time is over. Warm-up requests are not counted.
    fn take(&self, now: Instant) -> bool {
        if self.window.end.is_some_and(|end| now >= end) {
            return false;
        }
        if now < self.window.start {
            return true;
        }
        let left = self.left.get();
        self.left.set(left.saturating_sub(1));
        left > 0
    }

    /// The loop of one connection.
    async fn run(&self) {
        let mut connection = Connection::new(self.address, self.timeout);
        let (mut now, mut pause) = (Instant::now(), BACK_OFF);
        while self.take(now) {
            let (done, connected) = self.request(&mut connection, now).await;
            now = done;
            if connected {
                pause = BACK_OFF;
            } else {
                let wake = self.window.end.map_or(done + pause, |end| end.min(done + pause));
                tokio::time::sleep_until(wake.into()).await;
                pause = (pause * 2).min(BACK_OFF_LIMIT);
                now = Instant::now();
            }
        }
    }
}

/// Runs this many connections until the window ends or no requests are left.
pub(super) async fn run(lanes: &Rc<Lanes>, connections: usize) -> Result<()> {
    let mut tasks = JoinSet::new();
    for _ in 0..connections {
        let lanes = lanes.clone();
        tasks.spawn_local(async move { lanes.run().await });
    }
    join(tasks).await
}

/// Waits for the connections.
pub(super) async fn join(mut tasks: JoinSet<()>) -> Result<()> {
    while let Some(ended) = tasks.join_next().await {
        ended.map_err(|error| Error::internal("a connection of the generator failed", error))?;
    }
    Ok(())
}
