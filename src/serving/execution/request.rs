//! A request that has been admitted to a runner's lane.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::costs::Load;
use super::inline::Ran;
use super::runner::{Executed, Recalled, Runner};
use super::terms::Terms;
use super::work::{Inferred, Samples, Work};
use crate::error::{Error, Result};
use crate::serving::scheduler::{Item, Permit, Ticket};
use crate::tensor::Tensor;

impl Terms {
    /// Does the rest of the work for a request that has run on a compute thread: it was admitted before.
    ///
    /// # Errors
    /// [`Error::ShuttingDown`]; [`Error::DeadlineExceeded`]; those of the work.
    pub(crate) async fn offload<T: Send + 'static>(
        self,
        runner: &Runner,
        work: impl FnOnce() -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let done = Place { runner, terms: self }.offload(Duration::ZERO, work);
        let in_time = tokio::time::timeout_at(self.deadline.at.into(), done).await;
        in_time.unwrap_or_else(|_| Err(self.deadline.exceeded()))
    }
}

type Answer<T> = oneshot::Receiver<Result<T>>;

/// An admitted request. Dropping one of its futures withdraws what still waits.
#[derive(Debug)]
pub(crate) struct Admitted<'a> {
    place: Place<'a>,
    permit: Permit,
    load: Load,
    /// The time without which its work is not begun.
    needs: Duration,
}

/// A runner and the terms on which its lane takes the work of a request.
#[derive(Debug, Clone, Copy)]
struct Place<'a> {
    runner: &'a Runner,
    terms: Terms,
}

impl<'a> Admitted<'a> {
    /// Admits a request.
    ///
    /// # Errors
    /// [`Error::Overloaded`] when as many wait as may, or its answer would be late.
    pub(crate) fn new(runner: &'a Runner, terms: Terms, load: Load) -> Result<Self> {
        let demand = runner.demand(load, terms);
        let permit = runner.lane().admit(&runner.metrics().queue_depth, demand)?;
        // A run shows whether the estimate holds, so what a thread is free for runs whatever it says.
        let needs = if permit.is_next() { Duration::ZERO } else { demand.cost + demand.cost / 2 };
        Ok(Self { place: Place { runner, terms }, permit, load, needs })
    }

    /// Decodes the input of the request on a compute thread, and takes in what that cost.
    ///
    /// # Errors
    /// Those of the work; [`Error::ShuttingDown`]; [`Error::DeadlineExceeded`] when it was dropped for that, and
    /// [`Error::Overloaded`] when it was dropped because it could not end in time.
    pub(crate) async fn decode<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let (graph, encoded) = (self.place.runner.graph().clone(), self.load.encoded);
        let measured = move || {
            let begun = Instant::now();
            let done = work();
            // What is damaged ends early.
            if done.is_ok() {
                graph.costs.decoded(encoded, begun.elapsed());
            }
            done
        };
        self.place.offload(self.needs, measured).await
    }

    /// Answers prepared tensors, from the cache or by the pool.
    ///
    /// # Errors
    /// [`Error::ModelFailed`], [`Error::ShuttingDown`]; [`Error::DeadlineExceeded`] when the pool dropped it
    /// for that.
    pub(crate) async fn infer(self, inputs: Vec<Tensor>) -> Result<Executed> {
        let Place { runner, terms } = self.place;
        let key = match runner.recall(&inputs, terms.counted) {
            Recalled::Known(outputs) => return Ok(Executed::cached(inputs, outputs)),
            Recalled::Unknown(key) => key,
        };
        let Inferred { ran: Ran { inputs, outputs, infer }, queue } = self.run(inputs).await?;
        let outputs = Arc::new(outputs);
        runner.note(&inputs);
        runner.remember(key, &outputs, terms.counted);
        Ok(Executed { inputs, outputs, queue, infer, cached: false })
    }

    async fn run(self, inputs: Vec<Tensor>) -> Result<Inferred> {
        let Self { place, permit, load, .. } = self;
        let permit = Arc::new(permit);
        let rows = inputs.first().map_or(1, Tensor::rows);
        let size = place.runner.piece();
        if rows <= size || place.runner.graph().brings_optional(&inputs) {
            let (ticket, answer) = place.submit_samples(inputs, permit)?;
            return place.answered(ticket, answer, Duration::ZERO).await;
        }
        let pieces = split(&inputs, rows, size);
        // The first pieces of a size are compared with their samples alone; if they disagree, the request runs whole.
        let is_watched = size > 1 && !place.runner.graph().is_compared(size);
        let is_kept = place.terms.keeps_inputs || is_watched;
        let inputs = if is_kept { inputs } else { Vec::new() };
        let mut waiting = Vec::with_capacity(pieces.len());
        for piece in pieces {
            waiting.push(place.submit_samples(piece, permit.clone())?);
        }
        drop(permit);
        let mut inferred = Vec::with_capacity(waiting.len());
        for (ticket, answer) in waiting {
            inferred.push(place.answered(ticket, answer, Duration::ZERO).await?);
        }
        if is_watched && !place.runner.shares_runs() {
            let Self { place, permit, .. } = Self::new(place.runner, place.terms, load)?;
            let (ticket, answer) = place.submit_samples(inputs, Arc::new(permit))?;
            return place.answered(ticket, answer, Duration::ZERO).await;
        }
        rejoin(inputs, &inferred)
    }
}

impl Place<'_> {
    /// Does work of the request on a compute thread, unless less than `needs` is left by then.
    async fn offload<T: Send + 'static>(
        self,
        needs: Duration,
        work: impl FnOnce() -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let (reply, answer) = oneshot::channel();
        let task = move || {
            if !reply.is_closed() {
                // A caller that has left meanwhile has been counted.
                drop(reply.send(work()));
            }
        };
        let ticket = self.submit((1, true), [].into(), needs, Work::Task(Box::new(task)))?;
        self.answered(ticket, answer, needs).await
    }

    fn submit_samples(self, inputs: Vec<Tensor>, permit: Arc<Permit>) -> Result<(Ticket<Work>, Answer<Inferred>)> {
        let (reply, answer) = oneshot::channel();
        let graph = self.runner.graph();
        let rows = inputs.first().map_or(1, Tensor::rows);
        let (is_alone, shape) =
            (!graph.shares_runs() || rows == 0 || graph.brings_optional(&inputs), graph.open_shape(&inputs));
        let samples = Samples { graph: graph.clone(), inputs, permit, counted: self.terms.counted, reply };
        Ok((self.submit((rows, is_alone), shape, Duration::ZERO, Work::Infer(samples))?, answer))
    }

    fn submit(
        self,
        (rows, is_alone): (usize, bool),
        shape: Box<[usize]>,
        needs: Duration,
        payload: Work,
    ) -> Result<Ticket<Work>> {
        let Terms { submitted, deadline, .. } = self.terms;
        let (priority, deadline) = (self.runner.priority(self.terms), deadline.at);
        let make = |id| Item { id, priority, rows, is_alone, shape, submitted, deadline, needs, payload };
        self.runner.lane().submit(make)
    }

    async fn answered<T>(self, ticket: Ticket<Work>, answer: Answer<T>, needs: Duration) -> Result<T> {
        let answer = answer.await;
        ticket.answered();
        answer.unwrap_or_else(|_| {
            // The pool drops work unanswered when it cannot end by its deadline, or when it panicked.
            let now = Instant::now();
            if now >= self.terms.deadline.at {
                return Err(self.terms.deadline.exceeded());
            }
            if now + needs >= self.terms.deadline.at {
                let what = "the turn of the request came too late to answer it in time";
                return Err(Error::Overloaded { what, retry_after_seconds: 1 });
            }
            Err(self.runner.failed(Error::internal("the run was lost", "a panic outside the engine")))
        })
    }
}

/// Splits the samples of a request into pieces of at most `size`.
fn split(inputs: &[Tensor], rows: usize, size: usize) -> Vec<Vec<Tensor>> {
    let piece = |start: usize| {
        let end = rows.min(start + size);
        inputs.iter().map(|tensor| tensor.slice_rows(start..end)).collect()
    };
    (0..rows).step_by(size).map(piece).collect()
}

/// Joins the outputs of the pieces of a request; it waited as long as the piece that waited longest, and ran
/// as long as all of them together.
///
/// # Errors
/// [`Error::Internal`] when the pieces do not fit together.
fn rejoin(inputs: Vec<Tensor>, pieces: &[Inferred]) -> Result<Inferred> {
    let outputs = 0..pieces.first().map_or(0, |piece| piece.ran.outputs.len());
    let join = |output: usize| Tensor::concat_rows(pieces.iter().map(move |piece| &piece.ran.outputs[output]));
    let outputs = outputs.map(join).collect::<Result<_>>();
    let outputs = outputs.map_err(|error| Error::internal("the pieces of a batch do not fit together", error))?;
    let infer = pieces.iter().map(|piece| piece.ran.infer).sum();
    let queue = pieces.iter().map(|piece| piece.queue).max().unwrap_or_default();
    Ok(Inferred { ran: Ran { inputs, outputs, infer }, queue })
}
