//! Batches without a hand-off: requests that are ready on the same thread at the same time run as
//! one batch on that very thread.
//!
//! A request leaves its sample in its thread's slot and yields once, which lets the other requests
//! that are ready there do the same. The first to be polled again runs all that lie in the slot and
//! answers the others. Under load this makes batches of what is there; a lone request waits for
//! nobody. A dense network gains twofold, since each weight is read once for many samples.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use crate::error::{Error, Result};
use crate::serving::execution::sessions::thread_number;
use crate::serving::execution::work::run_joined;
use crate::serving::servable::Servable;
use crate::tensor::Tensor;

/// Samples that one run takes at the most.
pub(crate) const MAX_BATCH: usize = 32;

/// What became of one sample.
#[derive(Debug)]
pub(crate) struct Gathered {
    /// The sample, given back.
    pub(crate) inputs: Vec<Tensor>,
    pub(crate) outputs: Vec<Tensor>,
    /// The time of the run that made them.
    pub(crate) infer: Duration,
}

#[derive(Debug)]
struct Waiting {
    sample: Vec<Tensor>,
    reply: oneshot::Sender<Result<Gathered>>,
}

/// A slot on cache lines of its own; only requests of the same thread meet at its lock.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Slot(Mutex<Vec<Waiting>>);

impl Slot {
    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Waiting>> {
        // The lock is held for a push or a drain, neither of which leaves it half done.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The slots of one servable.
#[derive(Debug)]
pub(crate) struct Gather {
    slots: Box<[Slot]>,
}

impl Gather {
    /// Slots for this many threads.
    pub(crate) fn new(threads: usize) -> Self {
        Self { slots: (0..threads.max(1)).map(|_| Slot::default()).collect() }
    }

    /// Runs one sample, together with those that are ready beside it.
    ///
    /// # Errors
    /// What the model fails with on this sample; another's failure is not ours.
    pub(crate) async fn run(&self, servable: &Servable, sample: Vec<Tensor>) -> Result<Gathered> {
        let slot = &self.slots[thread_number() % self.slots.len()];
        let (reply, mut answer) = oneshot::channel();
        slot.lock().push(Waiting { sample, reply });
        tokio::task::yield_now().await;
        loop {
            if let Ok(gathered) = answer.try_recv() {
                return gathered;
            }
            let batch: Vec<Waiting> = {
                let mut waiting = slot.lock();
                let most = servable.settings.max_batch_size.map_or(MAX_BATCH, |most| most.min(MAX_BATCH));
                let count = waiting.len().min(most);
                waiting.drain(..count).collect()
            };
            // Whoever took our sample is about to answer.
            if batch.is_empty() {
                return answer.await.unwrap_or_else(|_| {
                    Err(Error::internal("the batch was lost", "the thread that ran it did not answer"))
                });
            }
            run_batch(servable, batch);
        }
    }
}

/// Runs a batch and answers each of its requests. If the batch fails, each sample is run by itself,
/// so that one that breaks the model does not break its neighbours.
fn run_batch(servable: &Servable, mut batch: Vec<Waiting>) {
    batch.retain(|waiting| !waiting.reply.is_closed());
    let start = Instant::now();
    if batch.len() > 1
        && let Ok(parts) = run_joined(servable, batch.iter().map(|waiting| waiting.sample.as_slice()))
    {
        let infer = start.elapsed();
        for (Waiting { sample: inputs, reply }, outputs) in batch.into_iter().zip(parts) {
            // A caller that has left meanwhile has been counted.
            drop(reply.send(Ok(Gathered { inputs, outputs, infer })));
        }
        return;
    }
    for Waiting { sample: inputs, reply } in batch {
        let start = Instant::now();
        let outputs = servable.infer(&inputs);
        drop(reply.send(outputs.map(|outputs| Gathered { inputs, outputs, infer: start.elapsed() })));
    }
}
