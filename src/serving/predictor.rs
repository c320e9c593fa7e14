//! The one way to a prediction, shared by every protocol.

use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use tokio::sync::{oneshot, watch};

use super::catalog::Catalog;
use super::pool::{Job, Pool};
use super::servable::{Input, Options, Prediction, Servable};
use crate::error::{Error, Kind, Result};
use crate::ids::ModelRef;
use crate::metrics::{GaugeGuard, Outcome, Stage, Stages};
use crate::transform::pixels_at_most;

/// An image of no more than this many pixels is decoded on the calling thread; it takes microseconds.
const INLINE_PIXELS: u64 = 128 * 128;

/// How predictions are made.
#[derive(Debug, Clone, Copy)]
pub struct PredictorSettings {
    /// A model that is cheaper than this runs on the calling thread while nothing waits.
    pub inline_below: Duration,
    /// The time a request may take.
    pub timeout: Duration,
    /// Samples that one request may bring.
    pub max_samples: usize,
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

    /// Answers a request. Dropping the future cancels it: what still waits is not computed.
    ///
    /// # Errors
    /// Everything that can be wrong with a request, [`Error::Overloaded`], [`Error::DeadlineExceeded`],
    /// [`Error::ModelFailed`].
    pub async fn predict(&self, servable: Arc<Servable>, input: Input, options: Options) -> Result<Predicted> {
        self.counted(servable, input, options, Outcome::Success).await
    }

    /// Answers a sample of the probe set: the same path, counted apart.
    ///
    /// # Errors
    /// As [`Predictor::predict`].
    pub async fn probe(&self, servable: Arc<Servable>, input: Input, options: Options) -> Result<Predicted> {
        self.counted(servable, input, options, Outcome::Probe).await
    }

    async fn counted(
        &self,
        servable: Arc<Servable>,
        input: Input,
        options: Options,
        success: Outcome,
    ) -> Result<Predicted> {
        let mut ending = Ending { servable: &servable, outcome: Outcome::Cancelled };
        let answer = self.execute(&servable, input, options).await;
        ending.outcome = match &answer {
            Ok(_) => success,
            Err(error) => outcome_of(error),
        };
        drop(ending);
        let (predictions, stages) = answer?;
        servable.metrics.observe(Stage::Decode, stages.decode);
        servable.metrics.observe(Stage::Queue, stages.queue);
        servable.metrics.observe(Stage::Infer, stages.infer);
        Ok(Predicted { servable, predictions, stages })
    }

    async fn execute(
        &self,
        servable: &Arc<Servable>,
        input: Input,
        options: Options,
    ) -> Result<(Vec<Prediction>, Stages)> {
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
        if self.runs_inline(servable, &input) {
            return servable.execute_inline(input, options).await;
        }
        let (reply, answer) = oneshot::channel();
        let submitted = Instant::now();
        self.pool.submit(Job {
            servable: servable.clone(),
            input,
            options,
            submitted,
            deadline: submitted + self.settings.timeout,
            queued: GaugeGuard::hold(&servable.metrics.queue_depth),
            reply,
        })?;
        match tokio::time::timeout(self.settings.timeout, answer).await {
            Ok(Ok(answer)) => answer,
            // The pool drops a job unanswered only when its deadline has passed or it is closed.
            Ok(Err(_)) if submitted.elapsed() < self.settings.timeout => Err(Error::ShuttingDown),
            Ok(Err(_)) | Err(_) => Err(Error::DeadlineExceeded { limit_ms: self.settings.timeout.as_millis() as u64 }),
        }
    }

    /// A request that costs less than handing it to another thread, while nobody waits before it.
    fn runs_inline(&self, servable: &Servable, input: &Input) -> bool {
        let small = match input {
            Input::Images(images) => images.len() == 1 && pixels_at_most(&images[0], INLINE_PIXELS),
            Input::Tensors(_) => servable.samples(input) == 1,
        };
        small && servable.cost <= self.settings.inline_below && self.pool.is_idle()
    }
}

/// Counts how a request ended, also when its future is dropped half way.
struct Ending<'a> {
    servable: &'a Servable,
    outcome: Outcome,
}

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        self.servable.metrics.count(self.outcome);
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
        | Kind::Forbidden => Outcome::InvalidInput,
        Kind::Internal => Outcome::Error,
    }
}
