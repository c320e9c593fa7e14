//! The one way to a prediction, shared by every protocol.

use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use tokio::sync::watch;

use crate::error::{Error, Kind, Result};
use crate::ids::ModelRef;
use crate::metrics::{GaugeGuard, Outcome, Stage, Stages};
use crate::serving::catalog::Catalog;
use crate::serving::context::{Caller, Deadline, RequestContext};
use crate::serving::execution::cache::Recalled;
use crate::serving::execution::inline::Gathered;
use crate::serving::execution::request::Request;
use crate::serving::execution::statistics::Success;
use crate::serving::execution::tuning::Tuning;
use crate::serving::scheduler::pool::Pool;
use crate::serving::servable::{Input, Options, Prediction, Servable};
use crate::serving::tap::{Finished, Observer, Tap};
use crate::tensor::Tensor;
use crate::transform::pixels_at_most;

/// An image of no more than this many pixels is decoded on the calling thread; it takes microseconds.
pub(crate) const INLINE_PIXELS: u64 = 128 * 128;

/// How predictions are made.
#[derive(Debug, Clone, Copy)]
pub struct PredictorSettings {
    /// The time a request may take.
    pub timeout: Duration,
    /// Samples that one request may bring.
    pub max_samples: usize,
}

/// What the model gave for a request.
#[derive(Debug)]
pub struct Inference {
    /// The outputs, in the signature's order; all samples of the request are in each.
    pub outputs: Arc<Vec<Tensor>>,
    /// Of images: whether black and white were exchanged to reach the model's polarity.
    pub inverted: Option<Vec<bool>>,
    /// How long each stage took.
    pub stages: Stages,
    /// Whether the response cache had the answer.
    pub cached: bool,
}

/// What the model gave for a request, and its inputs for whoever looks at both.
#[derive(Debug)]
pub(crate) struct Answered {
    pub(crate) inputs: Vec<Tensor>,
    pub(crate) outputs: Arc<Vec<Tensor>>,
    pub(crate) inverted: Option<Vec<bool>>,
    pub(crate) stages: Stages,
    pub(crate) cached: bool,
}

/// An answered request.
#[derive(Debug)]
pub struct Predicted {
    /// The version that answered.
    pub servable: Arc<Servable>,
    /// The answers, one for each sample, in order.
    pub predictions: Vec<Prediction>,
    /// How long each stage took.
    pub stages: Stages,
}

/// Resolves, admits, executes and counts.
#[derive(Debug)]
pub struct Predictor {
    catalog: ArcSwap<Catalog>,
    /// Whether the present catalog is settled; every publication is a change.
    published: watch::Sender<bool>,
    pool: Arc<Pool>,
    settings: PredictorSettings,
    tap: Tap,
}

impl Predictor {
    /// A predictor over an empty catalog.
    pub fn new(pool: Arc<Pool>, settings: PredictorSettings) -> Self {
        let published = watch::Sender::new(false);
        Self { catalog: ArcSwap::from_pointee(Catalog::default()), published, pool, settings, tap: Tap::default() }
    }

    /// Installs what sees every finished prediction, once and for all.
    ///
    /// # Errors
    /// [`Error::Conflict`] when something sees them already.
    pub fn observe(&self, observer: Arc<dyn Observer>) -> Result<()> {
        let taken = |_| Error::Conflict("predictions are observed already".into());
        self.tap.install(observer).map_err(taken)
    }

    /// The present catalog.
    pub fn catalog(&self) -> arc_swap::Guard<Arc<Catalog>> {
        self.catalog.load()
    }

    /// Replaces the catalog; requests under way keep the servable they have.
    pub fn publish(&self, catalog: Catalog) {
        let settled = catalog.is_settled();
        self.catalog.store(Arc::new(catalog));
        self.published.send_replace(settled);
    }

    /// Changes with every publication, and is true once every version found has either loaded or ended.
    pub fn published(&self) -> watch::Receiver<bool> {
        self.published.subscribe()
    }

    /// The servable that a request means.
    ///
    /// # Errors
    /// As [`Catalog::resolve`].
    pub fn resolve(&self, target: &ModelRef) -> Result<Arc<Servable>> {
        self.catalog.load().resolve(target).cloned()
    }

    /// Refuses a request whose body is dear to read while no more may wait for the model. One that is
    /// let through can still be refused when it is admitted.
    ///
    /// # Errors
    /// [`Error::Overloaded`], which is counted as the end of the request.
    pub fn has_room(&self, context: &RequestContext, servable: &Servable) -> Result<()> {
        let room = servable.lane.has_room(servable.tuning.load().single());
        if let Err(error) = &room {
            let ending = Ending::begin(&self.tap, context, servable, 0);
            ending.end(outcome_of(error), None, Some(error));
        }
        room
    }

    /// Answers a request in tensors. Dropping the future cancels it: what still waits is not computed.
    ///
    /// # Errors
    /// Everything that can be wrong with a request, [`Error::Overloaded`], [`Error::DeadlineExceeded`],
    /// [`Error::ModelFailed`].
    pub async fn infer(
        &self,
        context: &RequestContext,
        servable: &Arc<Servable>,
        input: Input,
        options: Options,
    ) -> Result<Inference> {
        let (answered, ()) = self.answer(context, servable, input, options, |_| Ok(())).await?;
        let Answered { outputs, inverted, stages, cached, .. } = answered;
        Ok(Inference { outputs, inverted, stages, cached })
    }

    /// Answers a request in classes, or in numbers if the model does not classify. Cancelled as
    /// [`Predictor::infer`].
    ///
    /// # Errors
    /// As [`Predictor::infer`]; also when what the model gave is no distribution, or not finite.
    pub async fn predict(
        &self,
        context: &RequestContext,
        servable: Arc<Servable>,
        input: Input,
        options: Options,
    ) -> Result<Predicted> {
        let samples = servable.samples(&input);
        let predictions = |answered: &Answered| {
            servable.predictions(&answered.outputs, samples, answered.inverted.as_deref(), options.top_k)
        };
        let (answered, predictions) = self.answer(context, &servable, input, options, predictions).await?;
        Ok(Predicted { servable, predictions, stages: answered.stages })
    }

    /// Runs a request and makes an answer of what the model gave; counts and shows how that ended.
    async fn answer<T>(
        &self,
        context: &RequestContext,
        servable: &Arc<Servable>,
        input: Input,
        options: Options,
        make: impl FnOnce(&Answered) -> Result<T>,
    ) -> Result<(Answered, T)> {
        let samples = servable.samples(&input);
        let ending = Ending::begin(&self.tap, context, servable, samples);
        let answered = match self.execute(context, servable, input, options).await {
            Ok(answered) => answered,
            Err(error) => {
                ending.end(outcome_of(&error), None, Some(&error));
                return Err(error);
            }
        };
        let computed = Instant::now();
        let answer = match make(&answered) {
            Ok(answer) => answer,
            Err(error) => {
                ending.end(outcome_of(&error), Some(&answered), Some(&error));
                return Err(error);
            }
        };
        let success = if context.caller == Caller::Probe { Outcome::Probe } else { Outcome::Success };
        let (stages, cached) = (answered.stages, answered.cached);
        let total = ending.end(success, Some(&answered), None);
        if context.caller.is_client() {
            let output = computed.elapsed();
            servable.statistics.succeeded(Success { samples, stages, cached, output, total });
        }
        servable.metrics.observe(Stage::Decode, stages.decode);
        servable.metrics.observe(Stage::Queue, stages.queue);
        servable.metrics.observe(Stage::Infer, stages.infer);
        Ok((answered, answer))
    }

    async fn execute(
        &self,
        context: &RequestContext,
        servable: &Arc<Servable>,
        input: Input,
        options: Options,
    ) -> Result<Answered> {
        let samples = servable.samples(&input);
        if samples == 0 {
            return Err(Error::InvalidInput("the request holds no sample".into()));
        }
        if samples > self.settings.max_samples {
            return Err(Error::TooLarge {
                what: "the batch",
                limit: self.settings.max_samples as u64,
                got: format!("{samples} samples"),
            });
        }
        let _in_flight = GaugeGuard::hold(&servable.metrics.in_flight);
        let tuning = servable.tuning.load();
        if tuning.inline && self.pool.is_idle() && is_small(servable, &input) {
            return self.run_inline(servable, &tuning, input, options).await;
        }
        let limit = servable.settings.timeout.map_or(self.settings.timeout, |own| own.min(self.settings.timeout));
        let (submitted, single) = (Instant::now(), tuning.single());
        drop(tuning);
        let deadline = Deadline { at: submitted + limit, limit }.or_earlier(context.deadline);
        let (polarity, priority) = (options.polarity, context.priority);
        let keeps_inputs = self.tap.is_open();
        let request = Request { servable, polarity, priority, submitted, deadline, keeps_inputs };
        let permit = servable.lane.admit(&servable.metrics, single)?;
        match tokio::time::timeout_at(deadline.at.into(), request.run(input, permit)).await {
            Ok(Err(Error::DeadlineExceeded { .. })) | Err(_) => Err(deadline.exceeded()),
            Ok(answer) => answer,
        }
    }

    /// One sample on this thread, together with those that are ready beside it if the model gains by
    /// that.
    async fn run_inline(
        &self,
        servable: &Arc<Servable>,
        tuning: &Tuning,
        input: Input,
        options: Options,
    ) -> Result<Answered> {
        let start = Instant::now();
        let (tensors, inverted) = servable.decode(input, options.polarity)?;
        let decoded = Instant::now();
        let key = match servable.recall(&tensors) {
            Recalled::Known(outputs) => {
                let stages = Stages { decode: decoded - start, ..Stages::default() };
                return Ok(Answered { inputs: tensors, outputs, inverted, stages, cached: true });
            }
            Recalled::Unknown(key) => key,
        };
        let Gathered { inputs, outputs, infer } = if tuning.gather {
            servable.gather.run(servable, tensors).await?
        } else {
            Gathered { outputs: servable.infer(&tensors)?, inputs: tensors, infer: decoded.elapsed() }
        };
        let outputs = Arc::new(outputs);
        let queue = decoded.elapsed().saturating_sub(infer);
        servable.remember(key, &outputs);
        let stages = Stages { decode: decoded - start, queue, infer };
        Ok(Answered { inputs, outputs, inverted, stages, cached: false })
    }
}

/// Whether a request is one sample that is decoded in no time.
fn is_small(servable: &Servable, input: &Input) -> bool {
    match input {
        Input::Images(images) => images.len() == 1 && pixels_at_most(&images[0], INLINE_PIXELS),
        Input::Tensors(_) => servable.samples(input) == 1,
    }
}

/// Counts and shows how a request ended, exactly once, also when its future is dropped half way.
struct Ending<'a> {
    tap: &'a Tap,
    context: &'a RequestContext,
    servable: &'a Servable,
    samples: usize,
    begun: Instant,
    is_over: bool,
}

impl<'a> Ending<'a> {
    fn begin(tap: &'a Tap, context: &'a RequestContext, servable: &'a Servable, samples: usize) -> Self {
        Self { tap, context, servable, samples, begun: Instant::now(), is_over: false }
    }

    /// Returns the time that the request took.
    fn end(mut self, outcome: Outcome, answered: Option<&Answered>, error: Option<&Error>) -> Duration {
        self.is_over = true;
        self.record(outcome, answered, error)
    }

    fn record(&self, outcome: Outcome, answered: Option<&Answered>, error: Option<&Error>) -> Duration {
        let total = self.begun.elapsed();
        self.servable.metrics.count(outcome);
        if self.context.caller.is_client() && outcome != Outcome::Success {
            self.servable.statistics.failed(total);
        }
        self.tap.show(|| Finished {
            context: self.context,
            servable: self.servable,
            samples: self.samples,
            inputs: answered.map(|answered| answered.inputs.as_slice()),
            outputs: answered.map(|answered| &answered.outputs),
            stages: answered.map(|answered| answered.stages).unwrap_or_default(),
            total,
            cached: answered.is_some_and(|answered| answered.cached),
            outcome,
            error,
        });
        total
    }
}

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        if !self.is_over {
            self.record(Outcome::Cancelled, None, None);
        }
    }
}

fn outcome_of(error: &Error) -> Outcome {
    match error.kind() {
        Kind::Overloaded | Kind::Unavailable => Outcome::Overloaded,
        Kind::DeadlineExceeded => Outcome::DeadlineExceeded,
        Kind::Cancelled => Outcome::Cancelled,
        Kind::SlowClient
        | Kind::NotFound
        | Kind::Malformed
        | Kind::InvalidInput
        | Kind::UnsupportedMedia
        | Kind::TooLarge
        | Kind::Conflict
        | Kind::Forbidden
        | Kind::Unsupported => Outcome::InvalidInput,
        Kind::Internal => Outcome::Error,
    }
}
