//! Inline batches: requests that are ready on the same thread at the same time run as one batch on that
//! very thread, without a hand-off.
//!
//! A request leaves its sample in its thread's slot and yields once, which lets the other requests that are
//! ready there do the same. The first to be polled again runs all that lie in the slot and answers the
//! others. Under load this makes batches of what is there; a lone request waits for nobody. A dense network
//! gains twofold, since each weight is read once for many samples.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::graph::Graph;
use super::sessions::thread_number;
use crate::engine::Brake;
use crate::error::{Error, Result};
use crate::tensor::Tensor;

/// The most samples in one run.
pub(super) const MAX_BATCH: usize = 32;

/// The inputs of a request, given back, and the outputs for them.
#[derive(Debug)]
pub(super) struct Ran {
    pub(super) inputs: Vec<Tensor>,
    pub(super) outputs: Vec<Tensor>,
    /// The time of the run that made them.
    pub(super) infer: Duration,
}

#[derive(Debug)]
struct Waiting {
    inputs: Vec<Tensor>,
    counted: bool,
    reply: oneshot::Sender<Result<Ran>>,
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

/// The slots of one graph.
#[derive(Debug)]
pub(super) struct InlineBatches {
    slots: Box<[Slot]>,
    max_batch: usize,
}

impl InlineBatches {
    /// Makes slots for this many threads, and batches of at most `max_batch` samples.
    pub(super) fn new(threads: usize, max_batch: Option<usize>) -> Self {
        let max_batch = max_batch.map_or(MAX_BATCH, |most| most.min(MAX_BATCH));
        Self { slots: (0..threads.max(1)).map(|_| Slot::default()).collect(), max_batch }
    }

    /// Runs one sample, together with those that are ready on this thread, but no more than `most` at once.
    ///
    /// # Errors
    /// The failure of the model on this sample; that of another sample is not ours.
    pub(super) async fn run(&self, graph: &Graph, inputs: Vec<Tensor>, most: usize, counted: bool) -> Result<Ran> {
        let slot = &self.slots[thread_number() % self.slots.len()];
        let (reply, mut answer) = oneshot::channel();
        slot.lock().push(Waiting { inputs, counted, reply });
        tokio::task::yield_now().await;
        loop {
            if let Ok(ran) = answer.try_recv() {
                return ran;
            }
            let batch: Vec<Waiting> = {
                let mut waiting = slot.lock();
                let count = waiting.len().min(self.max_batch.min(most).max(1));
                waiting.drain(..count).collect()
            };
            // Another thread took our sample and is about to answer.
            if batch.is_empty() {
                return answer.await.unwrap_or_else(|_| {
                    Err(Error::internal("the batch was lost", "the thread that ran it did not answer"))
                });
            }
            run_batch(graph, batch);
        }
    }
}

/// Runs a batch and answers each of its requests. If the batch fails, each sample is run by itself, so that
/// one that breaks the model does not break its neighbours.
fn run_batch(graph: &Graph, mut batch: Vec<Waiting>) {
    // Nobody could pull it: the thread that hears of the end of a request is this one.
    let brake = Brake::default();
    batch.retain(|waiting| !waiting.reply.is_closed());
    let start = Instant::now();
    let counted = batch.iter().any(|waiting| waiting.counted);
    if batch.len() > 1
        && let Ok(parts) = graph.infer_joined(batch.iter().map(|waiting| waiting.inputs.as_slice()), counted, &brake)
    {
        let infer = start.elapsed();
        for (Waiting { inputs, reply, .. }, outputs) in batch.into_iter().zip(parts) {
            // A caller that has left meanwhile has been counted.
            drop(reply.send(Ok(Ran { inputs, outputs, infer })));
        }
        return;
    }
    for Waiting { inputs, counted, reply } in batch {
        let start = Instant::now();
        let outputs = graph.infer(&inputs, counted, &brake);
        drop(reply.send(outputs.map(|outputs| Ran { inputs, outputs, infer: start.elapsed() })));
    }
}
