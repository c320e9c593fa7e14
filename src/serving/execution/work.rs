//! What a compute thread does for a lane: decode images, or run a batch.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use crate::error::{Error, Result};
use crate::serving::scheduler::admission::Permit;
use crate::serving::scheduler::lanes::Item;
use crate::serving::servable::execute::Decoded;
use crate::serving::servable::{Input, Servable};
use crate::tensor::Tensor;
use crate::transform::PolarityChoice;

/// What became of one request: its inputs, given back, and what was made of them.
#[derive(Debug)]
pub(crate) struct Inferred {
    pub(crate) inputs: Vec<Tensor>,
    pub(crate) outputs: Vec<Tensor>,
    pub(crate) queue: Duration,
    pub(crate) infer: Duration,
}

/// One request's work.
#[derive(Debug)]
pub(crate) enum Work {
    /// Images that are too large to be decoded on the thread that received them.
    Decode { servable: Arc<Servable>, input: Input, polarity: PolarityChoice, reply: oneshot::Sender<Result<Decoded>> },
    /// Samples for the model. The permit is given back when the run begins.
    Infer {
        servable: Arc<Servable>,
        tensors: Vec<Tensor>,
        permit: Arc<Permit>,
        reply: oneshot::Sender<Result<Inferred>>,
    },
}

/// A request of a batch that is being run.
struct Waiting {
    tensors: Vec<Tensor>,
    queue: Duration,
    reply: oneshot::Sender<Result<Inferred>>,
}

impl Work {
    /// Runs what was taken from a lane: one decoding, or a batch of one servable.
    pub(crate) fn run(batch: Vec<Item<Self>>, begun: Instant) {
        let mut together: Option<(Arc<Servable>, Vec<Waiting>)> = None;
        for item in batch {
            let queue = begun - item.submitted;
            match item.payload {
                Self::Decode { servable, input, polarity, reply } => {
                    if !reply.is_closed() {
                        // A caller that has left meanwhile has been counted.
                        drop(reply.send(servable.decode(input, polarity)));
                    }
                }
                Self::Infer { servable, tensors, permit, reply } => {
                    drop(permit);
                    if !reply.is_closed() {
                        let (_, batch) = together.get_or_insert_with(|| (servable, Vec::new()));
                        batch.push(Waiting { tensors, queue, reply });
                    }
                }
            }
        }
        if let Some((servable, batch)) = together {
            run_batch(&servable, batch);
        }
    }
}

/// Runs a batch and answers each of its requests. If the batch fails, each request is run by itself,
/// so that one that breaks the model does not break its neighbours.
fn run_batch(servable: &Servable, batch: Vec<Waiting>) {
    let start = Instant::now();
    if batch.len() > 1
        && let Ok(parts) = run_joined(servable, batch.iter().map(|waiting| waiting.tensors.as_slice()))
    {
        let infer = start.elapsed();
        for (Waiting { tensors: inputs, queue, reply }, outputs) in batch.into_iter().zip(parts) {
            drop(reply.send(Ok(Inferred { inputs, outputs, queue, infer })));
        }
        return;
    }
    for Waiting { tensors: inputs, queue, reply } in batch {
        let start = Instant::now();
        let outputs = servable.infer(&inputs);
        drop(reply.send(outputs.map(|outputs| Inferred { inputs, outputs, queue, infer: start.elapsed() })));
    }
}

/// Runs the samples of several requests as one and gives each its own outputs.
///
/// # Errors
/// What the model fails with.
pub(crate) fn run_joined<'a>(
    servable: &Servable,
    requests: impl Iterator<Item = &'a [Tensor]> + Clone,
) -> Result<Vec<Vec<Tensor>>> {
    let begun = Instant::now();
    let inputs = 0..requests.clone().next().map_or(0, <[Tensor]>::len);
    let join = |input: usize| Tensor::concat_rows(requests.clone().map(move |tensors| &tensors[input]));
    let joined = inputs.map(join).collect::<Result<Vec<_>>>()?;
    let joining = begun.elapsed();
    let outputs = servable.infer(&joined)?;
    let computed = Instant::now();
    let mut start = 0;
    let parts = requests.map(|tensors| {
        let rows = start..start + tensors.first().map_or(0, Tensor::rows);
        start = rows.end;
        outputs.iter().map(|output| output.slice_rows(rows.clone())).collect()
    });
    let parts: Vec<Vec<Tensor>> = parts.collect();
    servable.statistics.joined(joined.first().map_or(1, Tensor::rows), joining, computed.elapsed());
    Ok(parts)
}

/// Splits a request of many samples into pieces.
pub(crate) fn split(tensors: &[Tensor], rows: usize, size: usize) -> Vec<Vec<Tensor>> {
    let piece = |start: usize| {
        let end = rows.min(start + size);
        tensors.iter().map(|tensor| tensor.slice_rows(start..end)).collect()
    };
    (0..rows).step_by(size).map(piece).collect()
}

/// Joins what the pieces of a request gave: the longest wait, and the sum of the runs.
///
/// # Errors
/// [`Error::Internal`] when the pieces do not fit together.
pub(crate) fn rejoin(inputs: Vec<Tensor>, pieces: &[Inferred]) -> Result<Inferred> {
    let outputs = 0..pieces.first().map_or(0, |piece| piece.outputs.len());
    let join = |output: usize| Tensor::concat_rows(pieces.iter().map(move |piece| &piece.outputs[output]));
    let outputs = outputs.map(join).collect::<Result<_>>();
    Ok(Inferred {
        inputs,
        outputs: outputs.map_err(|error| Error::internal("the pieces of a batch do not fit together", error))?,
        queue: pieces.iter().map(|piece| piece.queue).max().unwrap_or_default(),
        infer: pieces.iter().map(|piece| piece.infer).sum(),
    })
}
