//! One request through the pool: decode, look up, infer.

use std::sync::Arc;
use std::time::Instant;

use tokio::sync::oneshot;

use crate::error::{Error, Result};
use crate::metrics::Stages;
use crate::serving::context::{DEFAULT_PRIORITY, Deadline};
use crate::serving::execution::cache::Recalled;
use crate::serving::execution::work::{Inferred, Work, rejoin, split};
use crate::serving::predictor::{Answered, INLINE_PIXELS};
use crate::serving::scheduler::admission::Permit;
use crate::serving::scheduler::lanes::Item;
use crate::serving::scheduler::pool::Ticket;
use crate::serving::servable::execute::Decoded;
use crate::serving::servable::{Input, Servable};
use crate::signature::{Batching, Dim};
use crate::tensor::Tensor;
use crate::transform::{PolarityChoice, pixels_at_most};

/// Images that may be decoded on the thread that received them, if each is small.
const INLINE_IMAGES: usize = 16;

/// A request that has been admitted.
pub(crate) struct Request<'a> {
    pub(crate) servable: &'a Arc<Servable>,
    pub(crate) polarity: PolarityChoice,
    pub(crate) priority: u8,
    pub(crate) submitted: Instant,
    pub(crate) deadline: Deadline,
    /// Whether the inputs are given back also when they had to be copied.
    pub(crate) keeps_inputs: bool,
}

impl Request<'_> {
    /// Answers it. Dropping the future withdraws what still waits.
    ///
    /// # Errors
    /// What is wrong with the input, [`Error::ModelFailed`], [`Error::ShuttingDown`];
    /// [`Error::DeadlineExceeded`] when the pool dropped it for that.
    pub(crate) async fn run(&self, input: Input, permit: Permit) -> Result<Answered> {
        let start = Instant::now();
        let (tensors, inverted) = self.decode(input).await?;
        let decode = start.elapsed();
        let key = match self.servable.recall(&tensors) {
            Recalled::Known(outputs) => {
                let stages = Stages { decode, ..Stages::default() };
                return Ok(Answered { inputs: tensors, outputs, inverted, stages, cached: true });
            }
            Recalled::Unknown(key) => key,
        };
        let Inferred { inputs, outputs, queue, infer } = self.infer(tensors, permit).await?;
        let outputs = Arc::new(outputs);
        self.servable.remember(key, &outputs);
        Ok(Answered { inputs, outputs, inverted, stages: Stages { decode, queue, infer }, cached: false })
    }

    /// Small images are decoded here, large ones by the pool.
    async fn decode(&self, input: Input) -> Result<Decoded> {
        let is_quick = match &input {
            Input::Tensors(_) => true,
            Input::Images(images) => {
                images.len() <= INLINE_IMAGES && images.iter().all(|image| pixels_at_most(image, INLINE_PIXELS))
            }
        };
        if is_quick {
            return self.servable.decode(input, self.polarity);
        }
        let (reply, answer) = oneshot::channel();
        let (servable, polarity) = (self.servable.clone(), self.polarity);
        let ticket = self.submit(1, true, [].into(), Work::Decode { servable, input, polarity, reply })?;
        self.answered(ticket, answer).await
    }

    async fn infer(&self, tensors: Vec<Tensor>, permit: Permit) -> Result<Inferred> {
        let permit = Arc::new(permit);
        let rows = tensors.first().map_or(1, Tensor::rows);
        let size = match self.servable.batching {
            Batching::Any => self.servable.tuning.load().max_batch.max(1),
            Batching::Fixed(_) | Batching::Whole => usize::MAX,
        };
        if rows <= size {
            let (ticket, answer) = self.submit_piece(tensors, permit)?;
            return self.answered(ticket, answer).await;
        }
        let pieces = split(&tensors, rows, size);
        let inputs = if self.keeps_inputs { tensors } else { Vec::new() };
        let mut waiting = Vec::with_capacity(pieces.len());
        for piece in pieces {
            waiting.push(self.submit_piece(piece, permit.clone())?);
        }
        drop(permit);
        let mut inferred = Vec::with_capacity(waiting.len());
        for (ticket, answer) in waiting {
            inferred.push(self.answered(ticket, answer).await?);
        }
        rejoin(inputs, &inferred)
    }

    fn submit_piece(
        &self,
        tensors: Vec<Tensor>,
        permit: Arc<Permit>,
    ) -> Result<(Ticket, oneshot::Receiver<Result<Inferred>>)> {
        let (reply, answer) = oneshot::channel();
        let rows = tensors.first().map_or(1, Tensor::rows);
        let (is_alone, shape) = (self.servable.batching != Batching::Any || rows == 0, self.open_shape(&tensors));
        let work = Work::Infer { servable: self.servable.clone(), tensors, permit, reply };
        Ok((self.submit(rows, is_alone, shape, work)?, answer))
    }

    fn submit(&self, rows: usize, is_alone: bool, shape: Box<[usize]>, payload: Work) -> Result<Ticket> {
        let (submitted, deadline) = (self.submitted, self.deadline.at);
        let priority = match self.priority {
            DEFAULT_PRIORITY => self.servable.settings.default_priority,
            stated => stated,
        };
        self.servable.lane.submit(|id| Item { id, priority, rows, is_alone, shape, submitted, deadline, payload })
    }

    async fn answered<T>(&self, ticket: Ticket, answer: oneshot::Receiver<Result<T>>) -> Result<T> {
        let answer = answer.await;
        ticket.answered();
        answer.unwrap_or_else(|_| {
            // The pool drops work unanswered when its deadline has passed, or when it panicked.
            if Instant::now() >= self.deadline.at {
                return Err(self.deadline.exceeded());
            }
            Err(self.servable.failed(Error::internal("the run was lost", "a panic outside the engine")))
        })
    }

    /// The dimensions in which samples of this model may differ.
    fn open_shape(&self, tensors: &[Tensor]) -> Box<[usize]> {
        let open = |(tensor, dims): (&Tensor, &[Dim])| {
            let sizes: Vec<usize> = tensor.shape().iter().skip(tensor.shape().len() - dims.len()).copied().collect();
            let is_open = |(_, dim): &(usize, &Dim)| matches!(dim, Dim::Symbol(_));
            sizes.into_iter().zip(dims).filter(is_open).map(|(size, _)| size).collect::<Vec<_>>()
        };
        let of_graph = |(input, dims)| {
            let shape = self.servable.facing.as_ref().and_then(|facing| facing.graph_input(input));
            shape.map_or(dims, |shape| &shape[usize::from(self.servable.batching != Batching::Whole)..])
        };
        tensors.iter().zip(self.servable.sample_dims().enumerate().map(of_graph)).flat_map(open).collect()
    }
}
