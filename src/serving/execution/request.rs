//! A request that has been admitted to a runner's lane.

use std::sync::Arc;
use std::time::Instant;

use tokio::sync::oneshot;

use super::inline::Ran;
use super::runner::{Executed, Recalled, Runner};
use super::work::{Inferred, Samples, Work};
use crate::error::{Error, Result};
use crate::serving::context::{DEFAULT_PRIORITY, Deadline};
use crate::serving::scheduler::{Item, Permit, Ticket};
use crate::tensor::Tensor;

/// The terms on which a request runs.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Terms {
    /// 1 to 9, of which lower runs earlier, or [`DEFAULT_PRIORITY`].
    pub(crate) priority: u8,
    /// The moment at which its wait began.
    pub(crate) submitted: Instant,
    /// The moment after which it is not run any more.
    pub(crate) deadline: Deadline,
    /// Set if the statistics count it.
    pub(crate) counted: bool,
    /// Set if its inputs are wanted back even when they had to be split, and so copied.
    pub(crate) keeps_inputs: bool,
}

impl Terms {
    /// Does the rest of the work for a request that has run on a compute thread: it was admitted before.
    ///
    /// # Errors
    /// As [`Admitted::offload`].
    pub(crate) async fn offload<T: Send + 'static>(
        self,
        runner: &Runner,
        work: impl FnOnce() -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let done = Place { runner, terms: self }.offload(work);
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
    /// [`Error::Overloaded`] when as many wait as may.
    pub(crate) fn new(runner: &'a Runner, terms: Terms) -> Result<Self> {
        let permit = runner.lane().admit(&runner.metrics().queue_depth, runner.single())?;
        Ok(Self { place: Place { runner, terms }, permit })
    }

    /// Does other work for the request on a compute thread.
    ///
    /// # Errors
    /// Those of the work; [`Error::ShuttingDown`]; [`Error::DeadlineExceeded`] when it was dropped for that.
    pub(crate) async fn offload<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T> + Send + 'static,
    ) -> Result<T> {
        self.place.offload(work).await
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
        let Self { place, permit } = self;
        let permit = Arc::new(permit);
        let rows = inputs.first().map_or(1, Tensor::rows);
        let size = place.runner.piece();
        if rows <= size || place.runner.graph().brings_optional(&inputs) {
            let (ticket, answer) = place.submit_samples(inputs, permit)?;
            return place.answered(ticket, answer).await;
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
            inferred.push(place.answered(ticket, answer).await?);
        }
        if is_watched && !place.runner.shares_runs() {
            let Self { place, permit } = Self::new(place.runner, place.terms)?;
            let (ticket, answer) = place.submit_samples(inputs, Arc::new(permit))?;
            return place.answered(ticket, answer).await;
        }
        rejoin(inputs, &inferred)
    }
}

impl Place<'_> {
    async fn offload<T: Send + 'static>(self, work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
        let (reply, answer) = oneshot::channel();
        let task = move || {
            if !reply.is_closed() {
                // A caller that has left meanwhile has been counted.
                drop(reply.send(work()));
            }
        };
        let ticket = self.submit(1, true, [].into(), Work::Task(Box::new(task)))?;
        self.answered(ticket, answer).await
    }

    fn submit_samples(self, inputs: Vec<Tensor>, permit: Arc<Permit>) -> Result<(Ticket<Work>, Answer<Inferred>)> {
        let (reply, answer) = oneshot::channel();
        let graph = self.runner.graph();
        let rows = inputs.first().map_or(1, Tensor::rows);
        let (is_alone, shape) =
            (!graph.shares_runs() || rows == 0 || graph.brings_optional(&inputs), graph.open_shape(&inputs));
        let samples = Samples { graph: graph.clone(), inputs, permit, counted: self.terms.counted, reply };
        Ok((self.submit(rows, is_alone, shape, Work::Infer(samples))?, answer))
    }

    fn submit(self, rows: usize, is_alone: bool, shape: Box<[usize]>, payload: Work) -> Result<Ticket<Work>> {
        let Terms { priority, submitted, deadline, .. } = self.terms;
        let priority = match priority {
            DEFAULT_PRIORITY => self.runner.scheduling().default_priority,
            stated => stated,
        };
        let deadline = deadline.at;
        self.runner.lane().submit(|id| Item { id, priority, rows, is_alone, shape, submitted, deadline, payload })
    }

    async fn answered<T>(self, ticket: Ticket<Work>, answer: Answer<T>) -> Result<T> {
        let answer = answer.await;
        ticket.answered();
        answer.unwrap_or_else(|_| {
            // The pool drops work unanswered when its deadline has passed, or when it panicked.
            if Instant::now() >= self.terms.deadline.at {
                return Err(self.terms.deadline.exceeded());
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
