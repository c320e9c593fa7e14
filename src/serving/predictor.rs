//! The one way to a prediction, shared by every protocol.

use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use bytes::Bytes;
use tokio::sync::watch;

use super::catalog::Catalog;
use super::context::{Caller, Deadline, RequestContext};
use super::execution::{Admitted, Executed, InlineMode, Load, Pool, Runner, Success, Terms};
use super::servable::{Facts, Input, Options, Part, Prediction, Servable};
use super::tap::{Finished, Observer, Tap};
use crate::error::{Error, Kind, Result};
use crate::ids::ModelRef;
use crate::metrics::{GaugeGuard, Outcome, Stage, Stages};
use crate::signature::{Batching, ImageTransform};
use crate::tensor::Tensor;
use crate::transform::text::Text;
use crate::transform::{PolarityChoice, pixels_at_most};

/// An image of no more than this many pixels is decoded on the calling thread; it takes microseconds.
const INLINE_PIXELS: u64 = 128 * 128;

/// Texts of no more bytes than this together are split into tokens on the calling thread.
const INLINE_TEXT_BYTES: usize = 1 << 10;

/// The most small images that are decoded on the calling thread.
const INLINE_IMAGES: usize = 16;

/// The server's limits to a request.
#[derive(Debug, Clone, Copy)]
pub struct PredictorSettings {
    /// The time that a request may take.
    pub timeout: Duration,
    /// The samples that one request may bring.
    pub max_samples: usize,
}

/// A request answered in tensors.
#[derive(Debug)]
pub struct Inference {
    /// The outputs, in the signature's order; all samples of the request are in each.
    pub outputs: Arc<Vec<Tensor>>,
    /// The time that each stage took.
    pub stages: Stages,
}

/// A request answered in the terms of the model's task.
#[derive(Debug)]
pub struct Predicted {
    /// The version that answered.
    pub servable: Arc<Servable>,
    /// The answers, one for each sample, in order.
    pub predictions: Vec<Prediction>,
    /// The samples whose text had more tokens than the model takes.
    pub truncated: Vec<usize>,
    /// The time that each stage took.
    pub stages: Stages,
}

/// A request, what the graph made of it, and what is to be known of its samples.
#[derive(Debug)]
struct Answered {
    inputs: Arc<Vec<Tensor>>,
    outputs: Arc<Vec<Tensor>>,
    facts: Facts,
    stages: Stages,
    cached: bool,
}

impl Answered {
    fn new(executed: Executed, facts: Facts, decode: Duration) -> Self {
        let Executed { inputs, outputs, queue, infer, cached } = executed;
        Self { inputs: Arc::new(inputs), outputs, facts, stages: Stages { decode, queue, infer }, cached }
    }
}

/// A request on its way: who asks, and which part of which version.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asked<'a> {
    context: &'a RequestContext,
    servable: &'a Arc<Servable>,
    part: Part,
    pub(super) runner: &'a Runner,
}

impl<'a> Asked<'a> {
    pub(super) fn new(context: &'a RequestContext, servable: &'a Arc<Servable>, part: Part) -> Result<Self> {
        Ok(Self { context, servable, part, runner: servable.runner(part)? })
    }
}

/// Resolves, admits, executes and counts.
#[derive(Debug)]
pub struct Predictor {
    catalog: ArcSwap<Catalog>,
    /// Set if the present catalog is settled; every publication is a change.
    published: watch::Sender<bool>,
    pool: Arc<Pool>,
    settings: PredictorSettings,
    tap: Tap,
}

impl Predictor {
    /// Makes a predictor over an empty catalog.
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

    /// Returns the present catalog.
    pub fn catalog(&self) -> arc_swap::Guard<Arc<Catalog>> {
        self.catalog.load()
    }

    /// Replaces the catalog; requests under way keep the servable they have.
    pub fn publish(&self, catalog: Catalog) {
        let settled = catalog.is_settled();
        self.catalog.store(Arc::new(catalog));
        self.published.send_replace(settled);
    }

    /// Returns a value that changes with every publication, and is true once every version found has either
    /// loaded or ended.
    pub fn published(&self) -> watch::Receiver<bool> {
        self.published.subscribe()
    }

    /// Returns the servable that a request means.
    ///
    /// # Errors
    /// As [`Catalog::resolve`].
    pub fn resolve(&self, target: &ModelRef) -> Result<Arc<Servable>> {
        self.catalog.load().resolve(target).cloned()
    }

    /// Refuses a request whose body is dear to read while no more may wait for the part. One that is let
    /// through can still be refused when it is admitted.
    ///
    /// # Errors
    /// [`Error::Overloaded`], which is counted as the end of the request; [`Error::InvalidInput`] when the
    /// version has no such part.
    pub fn has_room(&self, context: &RequestContext, servable: &Arc<Servable>, part: Part) -> Result<()> {
        let asked = Asked::new(context, servable, part)?;
        let room = asked.runner.has_room(self.terms(asked, Instant::now()));
        if let Err(error) = &room {
            Ending::begin(&self.tap, asked, 0, Vec::new()).end(outcome_of(error), None, Some(error));
        }
        room
    }

    /// Answers a request to the model in tensors. Dropping the future cancels it: what still waits is not
    /// computed.
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
        let asked = Asked::new(context, servable, Part::Model)?;
        let computed = self.compute(asked, input, options.polarity).await?;
        let (answered, ()) = computed.end(Ok(()))?;
        Ok(Inference { outputs: answered.outputs, stages: answered.stages })
    }

    /// Answers a request in the terms of the model's task. Cancelled as [`Predictor::infer`].
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
        let sent = servable.sent(&input);
        let asked = Asked::new(context, &servable, Part::Model)?;
        let computed = self.compute(asked, input, options.polarity).await?;
        let Answered { outputs, facts, .. } = &computed.answered;
        let truncated = facts.truncated();
        let predictions = if servable.answers_quickly(outputs) {
            servable.predictions(outputs, sent, facts, &options)
        } else {
            let (servable, outputs, facts) = (servable.clone(), outputs.clone(), facts.clone());
            let terms = self.terms(asked, computed.ending.begun);
            terms.offload(asked.runner, move || servable.predictions(&outputs, sent, &facts, &options)).await
        };
        let is_guarded = options.doubts.anomaly && servable.identity.guard_model.is_some();
        let mut predictions = predictions;
        if let Ok(predictions) = &mut predictions
            && is_guarded
        {
            // The guard has what is left of the request's time.
            let deadline = Some(self.terms(asked, computed.ending.begun).deadline);
            let own = RequestContext { caller: Caller::Guard, receipt: None, rows: None, deadline, ..context.clone() };
            self.add_guard(&own, &servable, &computed.answered.inputs, predictions).await;
        }
        let (Answered { stages, .. }, predictions) = computed.end(predictions)?;
        Ok(Predicted { servable, predictions, truncated, stages })
    }

    /// Runs the decoder on codes, one in each row. Cancelled as [`Predictor::infer`].
    ///
    /// # Errors
    /// As [`Predictor::infer`]; also when the version has no decoder.
    pub async fn generate(
        &self,
        context: &RequestContext,
        servable: &Arc<Servable>,
        codes: Tensor,
    ) -> Result<Inference> {
        let asked = Asked::new(context, servable, Part::Decoder)?;
        let input = Input::Tensors(vec![codes]);
        let computed = self.compute(asked, input, PolarityChoice::Auto).await?;
        let (answered, ()) = computed.end(Ok(()))?;
        Ok(Inference { outputs: answered.outputs, stages: answered.stages })
    }

    /// Runs the graph that gives the maps behind an answer, which must be loaded, on a sample. Cancelled as
    /// [`Predictor::infer`].
    ///
    /// # Errors
    /// As [`Predictor::infer`]; also when the version has no such graph.
    pub(super) async fn class_maps(
        &self,
        context: &RequestContext,
        servable: &Arc<Servable>,
        sample: Tensor,
    ) -> Result<Arc<Vec<Tensor>>> {
        let asked = Asked::new(context, servable, Part::ClassMaps)?;
        let computed = self.compute(asked, Input::Tensors(vec![sample]), PolarityChoice::Auto).await?;
        let (answered, ()) = computed.end(Ok(()))?;
        Ok(answered.outputs)
    }

    /// Returns the number of samples, at most `wanted`, that a request of the server's own may bring to a version: one where
    /// the samples of a request do not run independently, and no more than are answered well within the time of a request.
    pub(super) fn most_together(&self, servable: &Servable, wanted: usize) -> usize {
        if servable.batching() != Batching::Any || !servable.model.shares_runs() {
            return 1;
        }
        let most = servable.model.largest_request().unwrap_or(wanted);
        let cost = servable.tuning().costs.first().map(|cost| cost.microseconds / cost.batch.max(1) as f64);
        let in_time = cost.map_or(wanted, |cost| most_in_time(self.limit(&servable.model), cost));
        wanted.min(most).min(in_time).min(self.settings.max_samples).max(1)
    }

    /// Returns the time that a request to a runner may take.
    fn limit(&self, runner: &Runner) -> Duration {
        runner.scheduling().timeout.map_or(self.settings.timeout, |own| own.min(self.settings.timeout))
    }

    /// Runs a request; counts and shows how that ended if it failed.
    async fn compute<'a>(&'a self, asked: Asked<'a>, input: Input, polarity: PolarityChoice) -> Result<Computed<'a>> {
        let samples = input.samples(asked.runner);
        let ending = Ending::begin(&self.tap, asked, samples, self.kept(asked, &input));
        let answered = match self.execute(asked, input, polarity, samples).await {
            Ok(answered) => answered,
            Err(error) => {
                ending.end(outcome_of(&error), None, Some(&error));
                return Err(error);
            }
        };
        Ok(Computed { ending, answered, at: Instant::now() })
    }

    /// Returns true if an observer wants the samples of a version as they came.
    pub fn keeps_inputs(&self, servable: &Servable) -> bool {
        self.tap.keeps_inputs(&servable.identity)
    }

    /// Returns the files of images, where an observer wants them.
    fn kept(&self, asked: Asked<'_>, input: &Input) -> Vec<Bytes> {
        match input {
            Input::Images(images) if asked.part == Part::Model && self.keeps_inputs(asked.servable) => images.clone(),
            Input::Images(_) | Input::Texts(_) | Input::Tensors(_) => Vec::new(),
        }
    }

    /// Returns the terms of a request that began at this moment.
    pub(super) fn terms(&self, asked: Asked<'_>, submitted: Instant) -> Terms {
        let Asked { context, runner, .. } = asked;
        let limit = self.limit(runner);
        let deadline = Deadline { at: submitted + limit, limit }.or_earlier(context.deadline);
        let keeps_inputs = self.tap.is_open() || asked.servable.identity.guard_model.is_some();
        let counted = context.caller.is_client();
        Terms { priority: context.priority, submitted, deadline, counted, keeps_inputs }
    }

    async fn execute(
        &self,
        asked: Asked<'_>,
        input: Input,
        polarity: PolarityChoice,
        samples: usize,
    ) -> Result<Answered> {
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
        let Asked { context, servable, part, runner } = asked;
        if let Some(most) = runner.largest_request().filter(|most| samples > *most) {
            let name = &servable.name;
            return Err(Error::InvalidInput(format!(
                "model \"{name}\" takes at most {most} samples in a request (max_batch_size), got {samples}; larger requests \
                 are cut only with across_requests = true, or dynamic_batching in config.pbtxt"
            )));
        }
        let _in_flight = GaugeGuard::hold(&runner.metrics().in_flight);
        let counted = context.caller.is_client();
        if let Some(mode) = inline_mode(runner, &input)
            && self.pool.is_idle()
            && input.rows(runner) == 1
            && is_quick(servable, &input)
        {
            let start = Instant::now();
            let (tensors, facts) = servable.decode(part, input, polarity)?;
            let decode = start.elapsed();
            return Ok(Answered::new(runner.run_inline(mode, tensors, counted).await?, facts, decode));
        }
        let terms = self.terms(asked, Instant::now());
        let deadline = terms.deadline;
        let admitted = Admitted::new(runner, terms, load_of(servable, runner, &input))?;
        match tokio::time::timeout_at(deadline.at.into(), queued(admitted, asked, input, polarity)).await {
            Ok(Err(Error::DeadlineExceeded { .. })) | Err(_) => Err(deadline.exceeded()),
            Ok(answer) => answer,
        }
    }
}

/// Returns the samples, each of so many microseconds, that take an eighth of a limit together.
fn most_in_time(limit: Duration, microseconds: f64) -> usize {
    (limit.as_secs_f64() * 1e6 / 8.0 / microseconds.max(1.0)) as usize
}

/// A request that has run, and of which an answer is to be made. Dropping it counts it as cancelled.
struct Computed<'a> {
    ending: Ending<'a>,
    answered: Answered,
    /// The moment at which it had run.
    at: Instant,
}

impl Computed<'_> {
    /// Counts and shows how the request ended, and returns the answer.
    ///
    /// # Errors
    /// That of making the answer.
    fn end<T>(self, made: Result<T>) -> Result<(Answered, T)> {
        let Self { ending, answered, at } = self;
        let answer = match made {
            Ok(answer) => answer,
            Err(error) => {
                ending.end(outcome_of(&error), Some(&answered), Some(&error));
                return Err(error);
            }
        };
        let (Asked { context, runner, .. }, samples) = (ending.asked, ending.samples);
        let success = match context.caller {
            Caller::Probe => Outcome::Probe,
            Caller::Explanation => Outcome::Explanation,
            Caller::Guard => Outcome::Guard,
            Caller::Client(_) | Caller::WarmUp => Outcome::Success,
        };
        let (stages, cached) = (answered.stages, answered.cached);
        let output = at.elapsed();
        let total = ending.end(success, Some(&answered), None);
        if context.caller.is_client() {
            runner.statistics().succeeded(Success { samples, stages, cached, output, total });
        }
        runner.metrics().observe(Stage::Decode, stages.decode);
        runner.metrics().observe(Stage::Queue, stages.queue);
        runner.metrics().observe(Stage::Infer, stages.infer);
        Ok((answered, answer))
    }
}

/// Answers an admitted request by the pool; small images and short texts are decoded here, others by the pool as well.
async fn queued(admitted: Admitted<'_>, asked: Asked<'_>, input: Input, polarity: PolarityChoice) -> Result<Answered> {
    let start = Instant::now();
    let (servable, part) = (asked.servable, asked.part);
    let (tensors, facts) = if is_quick(asked.servable, &input) {
        servable.decode(part, input, polarity)?
    } else {
        let servable = servable.clone();
        admitted.decode(move || servable.decode(part, input, polarity)).await?
    };
    let decode = start.elapsed();
    Ok(Answered::new(admitted.infer(tensors).await?, facts, decode))
}

/// Returns the way in which a request runs on the calling thread, if it may. Images are brought to the size that was
/// measured.
fn inline_mode(runner: &Runner, input: &Input) -> Option<InlineMode> {
    match input {
        Input::Images(_) => runner.inline_mode(&[]),
        // The cost was measured for the length of an example, and texts have lengths of their own.
        Input::Texts(_) => None,
        Input::Tensors(tensors) => runner.inline_mode(tensors),
    }
}

/// Returns the part of a request that costs time of a compute thread.
fn load_of(servable: &Servable, runner: &Runner, input: &Input) -> Load {
    let encoded = if is_quick(servable, input) { 0 } else { input.encoded(servable.image_limits()) };
    Load { encoded, rows: input.rows(runner).max(1) }
}

/// Returns true if an input is decoded, and brought to the size of the model, in no time.
fn is_quick(servable: &Servable, input: &Input) -> bool {
    let is_small = |image: &ImageTransform| u64::from(image.width()) * u64::from(image.height()) <= INLINE_PIXELS;
    match input {
        Input::Images(images) => {
            images.len() <= INLINE_IMAGES
                && images.iter().all(|image| pixels_at_most(image, INLINE_PIXELS))
                && servable.image_transform().is_none_or(is_small)
        }
        Input::Texts(texts) => texts.iter().map(Text::bytes).sum::<usize>() <= INLINE_TEXT_BYTES,
        Input::Tensors(_) => true,
    }
}

/// Counts and shows how a request ended, exactly once, also when its future is dropped half way.
struct Ending<'a> {
    tap: &'a Tap,
    asked: Asked<'a>,
    samples: usize,
    /// The files of images, where an observer wants them.
    sent: Vec<Bytes>,
    begun: Instant,
    is_over: bool,
}

impl<'a> Ending<'a> {
    fn begin(tap: &'a Tap, asked: Asked<'a>, samples: usize, sent: Vec<Bytes>) -> Self {
        Self { tap, asked, samples, sent, begun: Instant::now(), is_over: false }
    }

    /// Returns the time that the request took.
    fn end(mut self, outcome: Outcome, answered: Option<&Answered>, error: Option<&Error>) -> Duration {
        self.is_over = true;
        self.record(outcome, answered, error)
    }

    fn record(&self, outcome: Outcome, answered: Option<&Answered>, error: Option<&Error>) -> Duration {
        let total = self.begun.elapsed();
        let Asked { context, servable, part, runner } = self.asked;
        runner.metrics().count(outcome);
        if context.caller.is_client() && outcome != Outcome::Success {
            runner.statistics().failed(total);
        }
        let rows = context.rows.as_ref().map_or(&[][..], |rows| rows.as_slice());
        self.tap.show(|| Finished {
            sent: if self.sent.is_empty() { rows } else { &self.sent },
            context,
            servable,
            part,
            samples: self.samples,
            inputs: answered.map(|answered| &answered.inputs),
            outputs: answered.map(|answered| &answered.outputs),
            images: answered.map_or(&[], |answered| &answered.facts.images),
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
        Kind::Overloaded | Kind::RateLimited | Kind::Unavailable => Outcome::Overloaded,
        Kind::DeadlineExceeded => Outcome::DeadlineExceeded,
        Kind::Cancelled => Outcome::Cancelled,
        Kind::SlowClient
        | Kind::WrongMethod
        | Kind::NotFound
        | Kind::Malformed
        | Kind::InvalidInput
        | Kind::UnsupportedMedia
        | Kind::TooLarge
        | Kind::Conflict
        | Kind::Gone
        | Kind::Unauthenticated
        | Kind::Forbidden
        | Kind::Unsupported => Outcome::InvalidInput,
        Kind::StorageFull | Kind::Internal => Outcome::Error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_of_the_servers_own_are_no_longer_than_is_answered_in_time() {
        let limit = Duration::from_secs(10);
        for (microseconds, most) in [(0.0, 1_250_000), (5.0, 250_000), (100_000.0, 12), (2e6, 0), (f64::NAN, 1_250_000)]
        {
            assert_eq!(most_in_time(limit, microseconds), most, "{microseconds}");
        }
    }
}
