//! Wakes a generator thread when requests are due.
//!
//! The runtime's timers count milliseconds, which is longer than many requests take. The kernel wakes a parked thread
//! to within a tenth of that.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use super::arrivals::Arrivals;
use crate::error::{Error, Result};

/// The kernel wakes a thread up to this much later than asked.
const TIMER_SLACK: Duration = Duration::from_micros(50);

/// A thread that notifies at every start of a schedule. It is joined when this is dropped.
#[derive(Debug)]
pub(super) struct Pacer {
    pace: Arc<Pace>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Pace {
    due: Notify,
    released: AtomicU64,
    over: AtomicBool,
}

impl Pacer {
    /// Starts the thread. The offsets of the schedule count from `start`.
    pub(super) fn start(arrivals: Arrivals, start: Instant) -> Result<Self> {
        let pace = Arc::new(Pace::default());
        let paced = pace.clone();
        let thread = thread::Builder::new()
            .name("bench-pacer".into())
            .spawn(move || paced.run(arrivals, start))
            .map_err(|error| Error::internal("the pacer thread could not be started", error))?;
        Ok(Self { pace, thread: Some(thread) })
    }

    /// Resolves when a start has become due since the last call.
    pub(super) async fn due(&self) {
        self.pace.due.notified().await;
    }

    /// Returns the number of starts that have become due so far.
    pub(super) fn released(&self) -> u64 {
        self.pace.released.load(Ordering::Relaxed)
    }
}

impl Pace {
    fn run(&self, arrivals: Arrivals, start: Instant) {
        let mut arrivals = arrivals.peekable();
        while let Some(next) = arrivals.peek() {
            let due = start + *next;
            loop {
                if self.over.load(Ordering::Relaxed) {
                    return;
                }
                let left = due.saturating_duration_since(Instant::now());
                if left.is_zero() {
                    break;
                }
                thread::park_timeout(if left > TIMER_SLACK { left - TIMER_SLACK } else { left });
            }
            let now = start.elapsed();
            let mut count = 0;
            while arrivals.next_if(|next| *next <= now).is_some() {
                count += 1;
            }
            self.released.fetch_add(count, Ordering::Relaxed);
            self.due.notify_one();
        }
    }
}

impl Drop for Pacer {
    fn drop(&mut self) {
        self.pace.over.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            // It runs nothing that panics, and if it did the run is over anyway.
            drop(thread.join());
        }
    }
}
