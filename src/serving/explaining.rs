//! Explanations: the same version asked again about masked inputs, behind everybody's requests.

mod activation;
mod parts;

use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use futures_util::future::BoxFuture;
use futures_util::{FutureExt as _, StreamExt as _, TryStreamExt as _};
use rand::SeedableRng as _;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;
use utoipa::ToSchema;

use self::activation::Activation;
use self::parts::{baseline_of, mixed, units_of};
use super::context::{Caller, Deadline, RequestContext};
use super::predictor::Predictor;
use super::servable::{Input, Options, Part, Prediction, Servable};
use crate::config::cores;
use crate::error::{Error, Result};
use crate::ids::quote;
use crate::signature::Batching;
use crate::stats::attribution::{Mask, Method, Plan, Score, Trial, Units};
use crate::tensor::Tensor;
use crate::transform::vision::heat_map;
use crate::transform::{PolarityChoice, ScoredClass};

/// The most masked samples in one run.
const CHUNK: usize = 32;
/// The time that an explanation may take in all, unless its caller has less.
const LIMIT: Duration = Duration::from_secs(60);
/// The units whose Shapley values are found: the equations grow with their square.
const MOST_SHAPLEY_UNITS: usize = 512;
/// The shares of all masks of a method together: some 16 MB.
const MOST_SHARES: usize = 1 << 22;

/// The cells of a picture's grid, in each direction; of Shapley values, which need an answer for many coalitions, fewer.
const CELLS: usize = 14;
const SHAPLEY_CELLS: usize = 7;
/// The most cells, in each direction, that maps have by themselves.
const MOST_CELLS: usize = 32;

/// The values that stand for what is hidden.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = ExplanationBaseline)]
pub enum Baseline {
    /// One that fits the input: of a drawing its background, of a picture the mean of each channel, of a row a missing value
    /// if the version was trained here, else zero.
    Auto,
    /// Zero.
    Zero,
    /// The mean of each channel of a picture, or of each feature of a sequence.
    Mean,
    /// NaN, a missing value.
    Missing,
}

/// The choices about an explanation.
#[derive(Debug, Clone)]
pub struct Explaining {
    /// The method.
    pub method: Method,
    /// The values that stand for hidden parts.
    pub baseline: Baseline,
    /// The class to explain, by label or index; `None` for the most probable one.
    pub class: Option<String>,
    /// The masks of methods that draw them.
    pub samples: usize,
    /// The rows and columns of the grid over a picture; `None` for the method's own.
    pub cells: Option<usize>,
    /// The seed of everything that is drawn.
    pub seed: u64,
    /// True if the explanation is tried against random ones.
    pub scored: bool,
    /// The polarity of an image.
    pub polarity: PolarityChoice,
}

impl Default for Explaining {
    fn default() -> Self {
        Self {
            method: Method::Shap,
            baseline: Baseline::Auto,
            class: None,
            samples: 500,
            cells: None,
            seed: 0,
            scored: true,
            polarity: PolarityChoice::Auto,
        }
    }
}

/// The kind of the units of an explanation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UnitKind {
    /// Cells of a picture, by row.
    Cells,
    /// Columns of a table, with their names.
    Columns(Vec<String>),
    /// Steps of a sequence.
    Steps,
    /// Elements of a tensor, or runs of them.
    Elements,
}

/// An explanation of one answer.
#[derive(Debug)]
pub struct Explanation {
    /// The version that answered.
    pub servable: Arc<Servable>,
    /// The method.
    pub method: Method,
    /// The class that is explained, of a classifier.
    pub class: Option<Explained>,
    /// The explained figure: the confidence of the class, the number, or the score.
    pub value: f64,
    /// The same for the baseline.
    pub baseline_value: f64,
    /// The baseline that was taken.
    pub baseline: Baseline,
    /// The kind of the units.
    pub kind: UnitKind,
    /// The units.
    pub units: Units,
    /// The credit of each unit.
    pub attributions: Vec<f64>,
    /// The answers that were asked for.
    pub evaluations: usize,
    /// The logit of the class and what no part adds to it, of a class-activation map.
    pub logit: Option<Logit>,
    /// The worth of the explanation, if it was tried.
    pub score: Option<Score>,
    /// The sample as the model saw it.
    pub sample: Vec<f32>,
}

impl Explanation {
    /// Returns the picture as the model saw it, with the credits of its parts in colour: a PNG file.
    ///
    /// # Errors
    /// [`Error::UnsupportedMedia`] when the input was no picture; [`Error::Internal`] when encoding fails.
    pub fn picture(&self) -> Result<Vec<u8>> {
        let (Some(transform), [rows, columns]) = (self.servable.image_transform(), self.units.shape()) else {
            return Err(Error::UnsupportedMedia("only the explanation of a picture can be drawn; ask for JSON".into()));
        };
        let (height, width) = (transform.height() as usize, transform.width() as usize);
        let pixels = mixed(transform, &self.sample);
        heat_map(&pixels, [height, width], &self.attributions, [*rows, *columns]).png()
    }
}

/// A logit that is explained.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Logit {
    /// The logit, as the network gave it.
    pub value: f64,
    /// The bias: what is added to the credits of the parts.
    pub bias: f64,
}

/// A class that is explained.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explained {
    /// Its index.
    pub index: usize,
    /// Its label.
    pub label: String,
}

/// The credits of a sample's parts by a method.
struct Credits {
    attributions: Vec<f64>,
    logit: Option<Logit>,
    /// The runs of the model that it took.
    runs: usize,
    rng: ChaCha8Rng,
}

/// A sample that is asked about with parts hidden.
struct Question<'a> {
    predictor: &'a Predictor,
    context: RequestContext,
    servable: Arc<Servable>,
    shape: Vec<usize>,
    sample: Arc<Vec<f32>>,
    baseline: Arc<Vec<f32>>,
    units: Arc<Units>,
    /// The maps behind the answer, where they are asked for.
    activation: Option<Arc<Activation>>,
    class: Option<usize>,
}

impl Predictor {
    /// Explains the answer for one sample: asks for the answers of masked ones, behind the requests of others, and credits
    /// the parts of the input. Neither statistics of clients nor observers count these answers.
    ///
    /// # Errors
    /// As [`Predictor::predict`]; [`Error::InvalidInput`] for several samples, for inputs that are not one tensor of
    /// 32-bit floats, for answers that are neither classes nor numbers, and for a class that there is not.
    pub async fn explain(
        &self,
        context: &RequestContext,
        servable: Arc<Servable>,
        input: Input,
        wanted: &Explaining,
    ) -> Result<Explanation> {
        let limit = Deadline { at: Instant::now() + LIMIT, limit: LIMIT };
        let deadline = limit.or_earlier(context.deadline);
        if wanted.method == Method::Cam {
            activation::prepare(&servable, deadline).await?;
        }
        let _turn =
            tokio::time::timeout_at(deadline.at.into(), TURNS.acquire()).await.map_err(|_| deadline.exceeded())?;
        let context = RequestContext {
            caller: Caller::Explanation,
            priority: 9,
            receipt: None,
            deadline: Some(deadline),
            ..context.clone()
        };
        let (shape, sample) = decoded(&servable, input, wanted.polarity).await?;
        let activation = match wanted.method {
            Method::Cam => {
                let seen = Activation::of(self, &context, &servable, (&shape, &sample)).await?;
                Some(Arc::new(seen))
            }
            Method::Occlusion | Method::Rise | Method::Shap => None,
        };
        let (kind, units) = units_of(&servable, &shape, sample.len(), grid(wanted, activation.as_deref()));
        check_size(&units, wanted)?;
        let (baseline, hidden) = baseline_of(&servable, &kind, &sample, wanted.baseline)?;
        let mut question = Question {
            predictor: self,
            context,
            servable,
            shape,
            sample: Arc::new(sample),
            baseline: Arc::new(hidden),
            units: Arc::new(units),
            activation,
            class: None,
        };
        let class = question.choose(wanted.class.as_deref()).await?;
        question.class = class.as_ref().map(|class| class.index);
        question.explain(wanted, class, kind, baseline).await
    }
}

impl Question<'_> {
    async fn explain(
        self,
        wanted: &Explaining,
        class: Option<Explained>,
        kind: UnitKind,
        baseline: Baseline,
    ) -> Result<Explanation> {
        let ends =
            self.answers(&[self.units.mask(true), self.units.mask(false)]).await.map_err(|error| match error {
                Error::InvalidInput(problem) if baseline == Baseline::Missing => Error::InvalidInput(format!(
                    "{problem}; the baseline is NaN, a missing value: take the baseline zero"
                )),
                error => error,
            })?;
        let (value, baseline_value) = (ends[0], ends[1]);
        let Credits { attributions, logit, runs, mut rng } = self.credits(wanted, [value, baseline_value]).await?;
        // One more answered which class there is to explain.
        let mut evaluations = 1 + ends.len() + runs;
        let mut score = None;
        if wanted.scored {
            let trial = Trial::new(&attributions, &mut rng);
            let answers = self.answers(trial.masks()).await?;
            evaluations += answers.len();
            score = Some(trial.score(&answers, value, baseline_value));
        }
        let Self { servable, units, sample, .. } = self;
        Ok(Explanation {
            servable,
            method: wanted.method,
            class,
            value,
            baseline_value,
            baseline,
            kind,
            units: Arc::unwrap_or_clone(units),
            attributions,
            evaluations,
            logit,
            score,
            sample: Arc::unwrap_or_clone(sample),
        })
    }

    /// Credits the units; of the answers, those for the sample and for the baseline are known.
    async fn credits(&self, wanted: &Explaining, [value, baseline_value]: [f64; 2]) -> Result<Credits> {
        let mut rng = ChaCha8Rng::seed_from_u64(wanted.seed);
        if let Some(activation) = &self.activation {
            let (activation, servable) = (activation.clone(), self.servable.clone());
            let (class, units) = (self.class, self.units.clone());
            let credits = blocking(move || activation.credits(&servable, class, &units)).await??;
            let (attributions, logit) = credits;
            return Ok(Credits { attributions, logit: Some(logit), runs: 1, rng });
        }
        let (method, samples, units) = (wanted.method, wanted.samples, self.units.clone());
        let (plan, rng) = blocking(move || (Plan::new(method, &units, samples, &mut rng), rng)).await?;
        let answers = self.answers(plan.masks()).await?;
        let runs = answers.len();
        let attributions = blocking(move || plan.attributions(&answers, value, baseline_value)).await?;
        Ok(Credits { attributions, logit: None, runs, rng })
    }

    /// Returns the answers for masked samples, in order.
    async fn answers(&self, masks: &[Mask]) -> Result<Vec<f64>> {
        let chunks = masks.chunks(self.predictor.most_together(&self.servable, CHUNK));
        // Named, since the compiler does not see by itself that these may move between threads.
        let chunks: Vec<BoxFuture<'_, Result<Vec<f64>>>> = chunks.map(|masks| self.answer(masks).boxed()).collect();
        let chunks = futures_util::stream::iter(chunks).buffered(self.servable.compute_threads().max(1));
        Ok(chunks.try_collect::<Vec<_>>().await?.concat())
    }

    async fn answer(&self, masks: &[Mask]) -> Result<Vec<f64>> {
        // A small model may answer on this thread without ever waiting: others have their turn, and the time counts.
        tokio::task::yield_now().await;
        if let Some(deadline) = self.context.deadline.filter(|deadline| Instant::now() >= deadline.at) {
            return Err(deadline.exceeded());
        }
        let predictions = self.predictions(masks).await?;
        predictions.iter().map(|prediction| value_of(prediction, self.class)).collect()
    }

    async fn predictions(&self, masks: &[Mask]) -> Result<Vec<Prediction>> {
        let count = masks.len();
        let elements = if count * self.sample.len() > LONG {
            let (sample, baseline, units) = (self.sample.clone(), self.baseline.clone(), self.units.clone());
            let masks = masks.to_vec();
            blocking(move || masked(&units, &sample, &baseline, &masks)).await?
        } else {
            masked(&self.units, &self.sample, &self.baseline, masks)
        };
        let mut shape = self.shape.clone();
        if self.servable.batching() == Batching::Any {
            shape[0] = count;
        }
        let input = Input::Tensors(vec![Tensor::new(shape, elements)?]);
        let options = Options { top_k: usize::MAX, ..Options::default() };
        Ok(self.predictor.predict(&self.context, self.servable.clone(), input, options).await?.predictions)
    }

    /// Returns the class to explain; `None` of a model of numbers.
    async fn choose(&self, wanted: Option<&str>) -> Result<Option<Explained>> {
        let answered = self.predictions(&[self.units.mask(true)]).await?;
        let classes = match answered.first() {
            Some(Prediction::Classified { classification, .. }) => &classification.top_k,
            Some(Prediction::Labelled { top_k, .. }) => top_k,
            _ if wanted.is_some() => {
                return Err(Error::InvalidInput(format!("model \"{}\" has no classes to choose", self.servable.name)));
            }
            _ => return Ok(None),
        };
        let is_wanted = |name: &str| {
            let labelled = classes.iter().find(|class| class.label == name);
            labelled.or_else(|| classes.iter().find(|class| name.parse() == Ok(class.class)))
        };
        let found = match wanted {
            Some(name) => is_wanted(name).ok_or_else(|| {
                let model = &self.servable.name;
                Error::InvalidInput(format!("model \"{model}\" has no class {}", quote(name)))
            })?,
            None => classes.first().ok_or_else(|| Error::InvalidInput("the model names no class".into()))?,
        };
        Ok(Some(Explained { index: found.class, label: found.label.clone() }))
    }
}

/// Returns the rows and columns of the grid over a picture: as stated, or else those of the maps, or of the method.
fn grid(wanted: &Explaining, activation: Option<&Activation>) -> [usize; 2] {
    match (wanted.cells, activation) {
        (Some(cells), _) => [cells; 2],
        (None, Some(activation)) => activation.size.map(|side| side.min(MOST_CELLS)),
        (None, None) if wanted.method == Method::Shap => [SHAPLEY_CELLS; 2],
        (None, None) => [CELLS; 2],
    }
}

/// Returns the elements of a sample behind each of the masks, one after the other.
fn masked(units: &Units, sample: &[f32], baseline: &[f32], masks: &[Mask]) -> Vec<f32> {
    let mut elements = Vec::with_capacity(masks.len() * sample.len());
    masks.iter().for_each(|mask| units.append(sample, baseline, mask, &mut elements));
    elements
}

/// The elements whose masking takes about a millisecond.
const LONG: usize = 1 << 18;

/// One explanation for each core at a time: their masks take memory. More wait, until their time is over.
static TURNS: LazyLock<Semaphore> = LazyLock::new(|| Semaphore::new(cores()));

/// One place for each core: pictures that are decoded take memory, and others need the threads that may block.
static PLACES: LazyLock<Semaphore> = LazyLock::new(|| Semaphore::new(cores()));

/// Does long work on a thread that may block, when there is a place.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T> {
    let place = PLACES.acquire().await.map_err(|closed| Error::internal("explanations have ended", closed))?;
    let work = move || {
        let done = work();
        drop(place);
        done
    };
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|panicked| Error::internal("an explanation broke off", panicked))
}

/// Returns the only sample of a request as the graph takes it: its shape, with the batch, and its elements.
async fn decoded(servable: &Arc<Servable>, input: Input, polarity: PolarityChoice) -> Result<(Vec<usize>, Vec<f32>)> {
    let samples = input.samples(&servable.model);
    if samples != 1 {
        return Err(Error::InvalidInput(format!("one sample is explained at a time, got {samples}")));
    }
    let version = servable.clone();
    let (tensors, _) = blocking(move || version.decode(Part::Model, input, polarity)).await??;
    // Behind the input of a request there may be one that the server fills in.
    match tensors.first().filter(|_| servable.named_inputs().required() == 1) {
        Some(tensor) if tensor.floats().is_ok_and(|elements| !elements.is_empty()) => {
            Ok((tensor.shape().to_vec(), tensor.floats()?.to_vec()))
        }
        _ => Err(Error::InvalidInput(format!(
            "model \"{}\" cannot be explained: its input must be one tensor of 32-bit floats",
            servable.name
        ))),
    }
}

/// Refuses an explanation that would take much memory or time beside the runs of the model.
fn check_size(units: &Units, wanted: &Explaining) -> Result<()> {
    let (units, samples) = (units.len(), wanted.samples);
    if wanted.method == Method::Shap && units > MOST_SHAPLEY_UNITS {
        return Err(Error::InvalidInput(format!(
            "Shapley values are found for at most {MOST_SHAPLEY_UNITS} parts, and this input has {units}; take fewer cells, \
             or the method occlusion"
        )));
    }
    let masks = match wanted.method {
        Method::Occlusion => units,
        Method::Rise | Method::Shap => samples,
        Method::Cam => 0,
    };
    if masks.saturating_mul(units) > MOST_SHARES {
        return Err(Error::InvalidInput(format!(
            "{masks} masks of {units} parts are too many: at most {MOST_SHARES} in all; take fewer cells or samples"
        )));
    }
    Ok(())
}

/// Returns what is explained of an answer.
fn value_of(prediction: &Prediction, class: Option<usize>) -> Result<f64> {
    let confidence = |classes: &[ScoredClass]| {
        let found = classes.iter().find(|scored| Some(scored.class) == class);
        found.map_or(0.0, |scored| f64::from(scored.confidence))
    };
    let value = match prediction {
        Prediction::Classified { classification, .. } => confidence(&classification.top_k),
        Prediction::Labelled { top_k, .. } => confidence(top_k),
        Prediction::Number { value } => value.to_f64(),
        Prediction::Reconstructed { score, .. } => *score,
        Prediction::Detected { .. }
        | Prediction::Segmented(_)
        | Prediction::Embedded { .. }
        | Prediction::Spans { .. }
        | Prediction::Painted(_)
        | Prediction::Raw { .. } => {
            return Err(Error::InvalidInput("only classes, numbers and scores are explained".into()));
        }
    };
    if value.is_finite() {
        return Ok(value);
    }
    Err(Error::InvalidInput("the model gives no finite number for parts of this input; take another baseline".into()))
}
