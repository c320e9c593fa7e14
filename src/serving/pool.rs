//! The compute threads, shared by all servables, behind one bounded queue.
//!
//! A full queue refuses at once. Work whose caller has left or whose deadline has passed is dropped
//! without being run. A panic costs one job its answer and the pool nothing.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Instant;

use crossbeam_channel::{Receiver, Sender, TrySendError};
use tokio::sync::oneshot;

use super::servable::{Input, Options, Prediction, Servable};
use crate::error::{Error, Result};
use crate::metrics::{GaugeGuard, Stages};

/// What a job answers with.
pub(super) type Reply = Result<(Vec<Prediction>, Stages)>;

/// One request for the pool.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) servable: Arc<Servable>,
    pub(super) input: Input,
    pub(super) options: Options,
    pub(super) submitted: Instant,
    pub(super) deadline: Instant,
    pub(super) queued: GaugeGuard,
    pub(super) reply: oneshot::Sender<Reply>,
}

/// The compute threads and their queue.
#[derive(Debug)]
pub struct Pool {
    /// `None` once the pool is closed.
    queue: arc_swap::ArcSwapOption<Sender<Job>>,
    threads: std::sync::Mutex<Vec<JoinHandle<()>>>,
    size: usize,
}

impl Pool {
    /// Starts `threads` compute threads behind a queue of `capacity` jobs.
    ///
    /// # Errors
    /// [`Error::Internal`] when the system gives no thread.
    pub fn start(threads: usize, capacity: usize) -> Result<Self> {
        let (sender, receiver) = crossbeam_channel::bounded(capacity);
        let spawn = |index: usize| {
            let receiver = receiver.clone();
            std::thread::Builder::new()
                .name(format!("compute-{index}"))
                .spawn(move || work(&receiver))
                .map_err(|error| Error::internal("a compute thread could not be started", error))
        };
        let handles = (0..threads).map(spawn).collect::<Result<_>>()?;
        Ok(Self {
            queue: arc_swap::ArcSwapOption::from_pointee(sender),
            threads: std::sync::Mutex::new(handles),
            size: threads,
        })
    }

    /// How many threads compute.
    pub fn size(&self) -> usize {
        self.size
    }

    /// Whether nothing waits.
    pub(super) fn is_idle(&self) -> bool {
        self.queue.load().as_ref().is_some_and(|queue| queue.is_empty())
    }

    /// Queues a job.
    ///
    /// # Errors
    /// [`Error::Overloaded`] when the queue is full, [`Error::ShuttingDown`] after [`Pool::close`].
    pub(super) fn submit(&self, job: Job) -> Result<()> {
        let queue = self.queue.load();
        let queue = queue.as_ref().ok_or(Error::ShuttingDown)?;
        queue.try_send(job).map_err(|refused| match refused {
            TrySendError::Full(job) => Error::Overloaded {
                what: "the queue is full",
                retry_after_seconds: self.retry_after(&job, queue.len()),
            },
            TrySendError::Disconnected(_) => Error::ShuttingDown,
        })
    }

    /// The time that the present queue needs at this model's cost, in whole seconds, 1 to 60.
    fn retry_after(&self, job: &Job, waiting: usize) -> u32 {
        let seconds = job.servable.cost.as_secs_f64() * waiting as f64 / self.size.max(1) as f64;
        (seconds.ceil() as u32).clamp(1, 60)
    }

    /// Takes no more jobs, finishes those that wait, and joins the threads.
    pub fn close(&self) {
        drop(self.queue.swap(None));
        let handles = std::mem::take(&mut *self.threads.lock().unwrap_or_else(std::sync::PoisonError::into_inner));
        for handle in handles {
            // A compute thread contains every panic, so there is nothing to learn from joining it.
            drop(handle.join());
        }
    }
}

fn work(queue: &Receiver<Job>) {
    for job in queue {
        let Job { servable, input, options, submitted, deadline, queued, reply } = job;
        drop(queued);
        let begun = Instant::now();
        if reply.is_closed() || begun >= deadline {
            continue;
        }
        let run = || servable.execute(input, options);
        let answer = match catch_unwind(AssertUnwindSafe(run)) {
            Ok(answer) => {
                answer.map(|(predictions, stages)| (predictions, Stages { queue: begun - submitted, ..stages }))
            }
            Err(_) => Err(Error::ModelFailed {
                name: servable.name.clone(),
                version: servable.version,
                source: "a panic outside the engine".into(),
            }),
        };
        // The caller may have left meanwhile; its own end has counted that.
        drop(reply.send(answer));
    }
}
