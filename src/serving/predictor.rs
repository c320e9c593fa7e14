//! The one way to a prediction, shared by every protocol.

use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use tokio::sync::watch;

use super::cache::Recalled;
use super::catalog::Catalog;
use super::pool::Pool;
use super::request::Request;
use super::servable::{Input, Options, Prediction, Servable};
use super::statistics::Success;
use super::tuning::Tuning;
use crate::error::{Error, Kind, Result};
use crate::ids::ModelRef;
use crate::metrics::{GaugeGuard, Outcome, Stage, Stages};
use crate::tensor::Tensor;
use crate::transform::pixels_at_most;

/// An image of no more than this many pixels is decoded on the calling thread; it takes microseconds.
pub(super) const INLINE_PIXELS: u64 = 128 * 128;

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
}

impl Predictor {
    /// A predictor over an empty catalog.
    pub fn new(pool: Arc<Pool>, settings: PredictorSettings) -> Self {
        let published = watch::Sender::new(false);
        Self { catalog: ArcSwap::from_pointee(Catalog::default()), published, pool, settings }
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
    pub fn has_room(&self, servable: &Servable) -> Result<()> {
        let room = servable.lane.has_room(servable.tuning.load().single());
        if room.is_err() {
            servable.metrics.count(Outcome::Overloaded);
        }
        room
    }

    /// Answers a request in tensors. Dropping the future cancels it: what still waits is not computed.
    ///
    /// # Errors
    /// Everything that can be wrong with a request, [`Error::Overloaded`], [`Error::DeadlineExceeded`],
    /// [`Error::ModelFailed`].
    pub async fn infer(&self, servable: &Arc<Servable>, input: Input, options: Options) -> Result<Inference> {
        self.counted(servable, input, options, Outcome::Success, Ok).await
    }

    /// Answers a request in classes, or in numbers if the model does not classify. Cancelled as
    /// [`Predictor::infer`].
    ///
    /// # Errors
    /// As [`Predictor::infer`]; also when what the model gave is no distribution, or not finite.
    pub async fn predict(&self, servable: Arc<Servable>, input: Input, options: Options) -> Result<Predicted> {
        self.predicted(servable, input, options, Outcome::Success).await
    }

    /// Answers a sample of the probe set: the same path, counted apart.
    ///
    /// # Errors
    /// As [`Predictor::predict`].
    pub async fn probe(&self, servable: Arc<Servable>, input: Input, options: Options) -> Result<Predicted> {
        self.predicted(servable, input, options, Outcome::Probe).await
    }

    async fn predicted(
        &self,
        servable: Arc<Servable>,
        input: Input,
        options: Options,
        success: Outcome,
    ) -> Result<Predicted> {
        let samples = servable.samples(&input);
        let answer = |inference: Inference| {
            let Inference { outputs, inverted, stages, .. } = inference;
            let predictions = servable.predictions(&outputs, samples, inverted.as_deref(), options.top_k)?;
            Ok((predictions, stages))
        };
        let (predictions, stages) = self.counted(&servable, input, options, success, answer).await?;
        Ok(Predicted { servable, predictions, stages })
    }

    /// Runs a request and makes an answer of what the model gave; counts how that ended.
    async fn counted<T>(
        &self,
        servable: &Arc<Servable>,
        input: Input,
        options: Options,
        success: Outcome,
        answer: impl FnOnce(Inference) -> Result<T>,
    ) -> Result<T> {
        let mut ending = Ending { servable, begun: Instant::now(), outcome: Outcome::Cancelled };
        let samples = servable.samples(&input);
        let inference = self.execute(servable, input, options).await;
        let computed = Instant::now();
        let answer = inference.and_then(|inference| {
            let (stages, cached) = (inference.stages, inference.cached);
            answer(inference).map(|answer| (answer, stages, cached))
        });
        ending.outcome = match &answer {
            Ok(_) => success,
            Err(error) => outcome_of(error),
        };
        let total = ending.begun.elapsed();
        drop(ending);
        let (answer, stages, cached) = answer?;
        if success == Outcome::Success {
            let output = computed.elapsed();
            servable.statistics.succeeded(Success { samples, stages, cached, output, total });
        }
        servable.metrics.observe(Stage::Decode, stages.decode);
        servable.metrics.observe(Stage::Queue, stages.queue);
        servable.metrics.observe(Stage::Infer, stages.infer);
        Ok(answer)
    }

    async fn execute(&self, servable: &Arc<Servable>, input: Input, options: Options) -> Result<Inference> {
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
        let limits = [options.timeout, servable.settings.timeout];
        let timeout = limits.into_iter().flatten().fold(self.settings.timeout, Duration::min);
        let (submitted, single) = (Instant::now(), tuning.single());
        drop(tuning);
        let request = Request { servable, options, submitted, deadline: submitted + timeout };
        let permit = servable.lane.admit(&servable.metrics, single)?;
        match tokio::time::timeout(timeout, request.run(input, permit)).await {
            Ok(Err(Error::DeadlineExceeded { .. })) | Err(_) => {
                Err(Error::DeadlineExceeded { limit_ms: timeout.as_millis() as u64 })
            }
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
    ) -> Result<Inference> {
        let start = Instant::now();
        let (tensors, inverted) = servable.decode(input, options.polarity)?;
        let decoded = Instant::now();
        let key = match servable.recall(&tensors) {
            Recalled::Known(outputs) => {
                let stages = Stages { decode: decoded - start, ..Stages::default() };
                return Ok(Inference { outputs, inverted, stages, cached: true });
            }
            Recalled::Unknown(key) => key,
        };
        let (outputs, infer) = if tuning.gather {
            servable.gather.run(servable, tensors).await?
        } else {
            (servable.infer(&tensors)?, decoded.elapsed())
        };
        let outputs = Arc::new(outputs);
        let queue = decoded.elapsed().saturating_sub(infer);
        servable.remember(key, &outputs);
        let stages = Stages { decode: decoded - start, queue, infer };
        Ok(Inference { outputs, inverted, stages, cached: false })
    }
}

/// Whether a request is one sample that is decoded in no time.
fn is_small(servable: &Servable, input: &Input) -> bool {
    match input {
        Input::Images(images) => images.len() == 1 && pixels_at_most(&images[0], INLINE_PIXELS),
        Input::Tensors(_) => servable.samples(input) == 1,
    }
}

/// Counts how a request ended, also when its future is dropped half way.
struct Ending<'a> {
    servable: &'a Servable,
    begun: Instant,
    outcome: Outcome,
}

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        self.servable.metrics.count(self.outcome);
        if !matches!(self.outcome, Outcome::Success | Outcome::Probe) {
            self.servable.statistics.failed(self.begun.elapsed());
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
