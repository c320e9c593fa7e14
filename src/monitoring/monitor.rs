//! The thread that takes records out of the queue and hands them to those who want them.

use std::fmt::Debug;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use tokio::sync::{mpsc, oneshot};

use super::capture::Capture;
use super::observer::Recorder;
use super::record::Record;
use crate::error::{Error, Result};
use crate::serving::Observer;
use crate::store::{ReceiptKeys, stand_back};

/// The records that may wait: a second and a half at 41,000 samples a second, 16 MiB when it is full. Its memory is
/// taken as records come.
const QUEUE: usize = 65_536;

/// The most records that a consumer sees at once.
const BATCH: usize = 4096;

/// The longest and the shortest time between two looks at the queue. Requests wake nobody: that would cost more than a
/// record.
const PERIOD: Duration = Duration::from_millis(50);
const MIN_PERIOD: Duration = Duration::from_millis(2);

/// The records that a look should find. Under load it is better to look often than to hold up the requests of a core for
/// long.
const FOUND: usize = 256;

/// Something that wants every record.
pub trait Consumer: Debug + Send {
    /// Takes the next records, in the order in which their requests ended; none of them comes twice. It also runs, with
    /// none, when a while has passed without any.
    fn consume(&mut self, records: &[Record]);

    /// Hears that somebody waits until what it has taken is where it belongs.
    fn settle(&mut self) {}

    /// Hears that no record follows.
    fn close(&mut self) {}
}

#[derive(Debug)]
enum Command {
    /// Hand out everything that is there, then answer.
    Flush(oneshot::Sender<()>),
    Close,
}

/// The owner of the queue of records and of the thread behind it.
#[derive(Debug)]
pub struct Monitor {
    recorder: Arc<Recorder>,
    commands: Sender<Command>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Monitor {
    /// Starts the thread; the consumers live on it. With keys, callers who ask for a receipt get
    /// one; with `capture`, the inputs that it chooses go with their records.
    ///
    /// # Errors
    /// [`Error::Internal`] when the system refuses a thread.
    pub fn start(
        consumers: Vec<Box<dyn Consumer>>,
        receipts: Option<ReceiptKeys>,
        capture: Option<Capture>,
    ) -> Result<Self> {
        let (sender, records) = mpsc::channel(QUEUE);
        let (commands, received) = bounded(1024);
        let worker = Worker { records, commands: received, consumers, batch: Vec::new() };
        let thread = thread::Builder::new()
            .name("monitor".into())
            .spawn(move || worker.run())
            .map_err(|error| Error::internal("no thread for monitoring", error))?;
        Ok(Self {
            recorder: Arc::new(Recorder { records: sender, receipts, capture }),
            commands,
            thread: Mutex::new(Some(thread)),
        })
    }

    /// Returns what is to be installed behind the tap.
    pub fn observer(&self) -> Arc<dyn Observer> {
        self.recorder.clone()
    }

    /// Waits until every consumer has had the records of all predictions that ended before this call.
    ///
    /// # Errors
    /// [`Error::ShuttingDown`] when the monitor is closed; [`Error::Overloaded`] when too many wait already.
    pub async fn flush(&self) -> Result<()> {
        let (done, flushed) = oneshot::channel();
        match self.commands.try_send(Command::Flush(done)) {
            Ok(()) => flushed.await.map_err(|_| Error::ShuttingDown),
            Err(crossbeam_channel::TrySendError::Disconnected(_)) => Err(Error::ShuttingDown),
            Err(crossbeam_channel::TrySendError::Full(_)) => {
                Err(Error::Overloaded { what: "monitoring", retry_after_seconds: 1 })
            }
        }
    }

    /// Hands out what is left and joins the thread. Predictions that end later are not recorded.
    pub fn close(&self) {
        // A thread that has ended needs no command.
        drop(self.commands.send(Command::Close));
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread
            && thread.join().is_err()
        {
            tracing::error!("the monitor's thread panicked");
        }
    }
}

impl Drop for Monitor {
    fn drop(&mut self) {
        self.close();
    }
}

struct Worker {
    records: mpsc::Receiver<Record>,
    commands: Receiver<Command>,
    consumers: Vec<Box<dyn Consumer>>,
    batch: Vec<Record>,
}

impl Worker {
    fn run(mut self) {
        stand_back();
        let mut period = PERIOD;
        loop {
            match self.commands.recv_timeout(period) {
                Ok(Command::Flush(done)) => {
                    self.hand_out();
                    self.consumers.iter_mut().for_each(|consumer| consumer.settle());
                    // Whoever asked may have left.
                    done.send(()).ok();
                }
                Err(RecvTimeoutError::Timeout) => period = next_period(period, self.hand_out()),
                Ok(Command::Close) | Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        self.records.close();
        self.hand_out();
        self.consumers.iter_mut().for_each(|consumer| consumer.close());
    }

    /// Hands out everything that is in the queue, and at least once; returns how much it was.
    fn hand_out(&mut self) -> usize {
        let mut count = 0;
        loop {
            self.batch.clear();
            while self.batch.len() < BATCH
                && let Ok(record) = self.records.try_recv()
            {
                self.batch.push(record);
            }
            let batch = &self.batch;
            self.consumers.retain_mut(|consumer| is_unharmed(consumer.as_mut(), batch));
            count += batch.len();
            if batch.len() < BATCH {
                return count;
            }
        }
    }
}

/// Returns the time to the next look, after one that found so many records.
fn next_period(period: Duration, found: usize) -> Duration {
    if found > FOUND {
        period.mul_f64(FOUND as f64 / found as f64).max(MIN_PERIOD)
    } else if found < FOUND / 2 {
        (period * 2).min(PERIOD)
    } else {
        period
    }
}

/// Hands a batch to a consumer. One that panics is left out from then on: its figures would be wrong.
fn is_unharmed(consumer: &mut dyn Consumer, batch: &[Record]) -> bool {
    let unharmed = catch_unwind(AssertUnwindSafe(|| consumer.consume(batch))).is_ok();
    if !unharmed {
        tracing::error!(?consumer, "a part of monitoring panicked; it is switched off");
    }
    unharmed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn looks_come_as_often_as_records_do() {
        let ms = Duration::from_millis;
        assert_eq!(next_period(PERIOD, 0), PERIOD);
        assert_eq!(next_period(ms(20), 200), ms(20));
        assert_eq!(next_period(ms(40), 1024), ms(10));
        assert_eq!(next_period(ms(10), 40_000), MIN_PERIOD);
        assert_eq!(next_period(ms(30), 10), PERIOD);
    }
}
