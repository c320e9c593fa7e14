//! The jobs of the compute threads: batches of a graph, and other work of a request.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::graph::Graph;
use super::inline::Ran;
use crate::engine::Brake;
use crate::error::Result;
use crate::serving::scheduler::{Item, Job, Permit};
use crate::tensor::Tensor;

/// The outcome of one request: its run, and the time that it waited for it.
#[derive(Debug)]
pub(super) struct Inferred {
    pub(super) ran: Ran,
    pub(super) queue: Duration,
}

/// One request's work.
pub(super) enum Work {
    /// Work that must not keep the thread that received the request, such as decoding large images. It
    /// answers its request itself.
    Task(Box<dyn FnOnce() + Send>),
    /// Samples for a graph.
    Infer(Samples),
}

impl fmt::Debug for Work {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Task(_) => f.debug_tuple("Task").finish_non_exhaustive(),
            Self::Infer(samples) => f.debug_tuple("Infer").field(samples).finish(),
        }
    }
}

/// The samples of one request.
#[derive(Debug)]
pub(super) struct Samples {
    pub(super) graph: Arc<Graph>,
    pub(super) inputs: Vec<Tensor>,
    /// Given back when the run begins.
    pub(super) permit: Arc<Permit>,
    /// Set if the statistics count the request.
    pub(super) counted: bool,
    pub(super) reply: oneshot::Sender<Result<Inferred>>,
}

/// A request of a batch that is being run.
struct Waiting {
    inputs: Vec<Tensor>,
    queue: Duration,
    counted: bool,
    reply: oneshot::Sender<Result<Inferred>>,
}

impl Job for Work {
    fn run(batch: Vec<Item<Self>>, begun: Instant, brake: &Brake) {
        let mut together: Option<(Arc<Graph>, Vec<Waiting>)> = None;
        for item in batch {
            let queue = begun - item.submitted;
            match item.payload {
                Self::Task(work) => work(),
                Self::Infer(Samples { graph, inputs, permit, counted, reply }) => {
                    drop(permit);
                    if !reply.is_closed() {
                        let (_, batch) = together.get_or_insert_with(|| (graph, Vec::new()));
                        batch.push(Waiting { inputs, queue, counted, reply });
                    }
                }
            }
        }
        if let Some((graph, batch)) = together {
            run_batch(&graph, batch, brake);
        }
    }
}

/// Runs a batch and answers each of its requests. If the batch fails, each request is run by itself, so that
/// one that breaks the model does not break its neighbours.
fn run_batch(graph: &Graph, batch: Vec<Waiting>, brake: &Brake) {
    let start = Instant::now();
    let counted = batch.iter().any(|waiting| waiting.counted);
    if batch.len() > 1
        && let Ok(parts) = graph.infer_joined(batch.iter().map(|waiting| waiting.inputs.as_slice()), counted, brake)
    {
        let infer = start.elapsed();
        let rows = |waiting: &Waiting| waiting.inputs.first().map_or(1, Tensor::rows);
        graph.costs.ran(batch.iter().map(rows).sum(), infer);
        for (Waiting { inputs, queue, reply, .. }, outputs) in batch.into_iter().zip(parts) {
            // A caller that has left meanwhile has been counted.
            drop(reply.send(Ok(Inferred { ran: Ran { inputs, outputs, infer }, queue })));
        }
        return;
    }
    for Waiting { inputs, queue, counted, reply } in batch {
        let start = Instant::now();
        let outputs = graph.infer(&inputs, counted, brake);
        let infer = start.elapsed();
        // A run that fails ends early, and says nothing of one that does not.
        if outputs.is_ok() {
            graph.costs.ran(inputs.first().map_or(1, Tensor::rows), infer);
        }
        let inferred = outputs.map(|outputs| Inferred { ran: Ran { inputs, outputs, infer }, queue });
        drop(reply.send(inferred));
    }
}
