//! Two versions of a model asked the same: on how many samples of a probe set do they disagree?

use std::collections::HashMap;
use std::ops::Range;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures_util::future::try_join;
use serde::Serialize;
use tokio::sync::{AcquireError, Semaphore};
use utoipa::ToSchema;

use super::context::{Caller, Deadline, RequestContext};
use super::predictor::Predictor;
use super::servable::{Input, Options, Prediction, Servable};
use crate::config::cores;
use crate::error::{Error, Result};
use crate::ids::ModelName;
use crate::repository::Truth;
use crate::stats::{mcnemar, wilson};
use crate::tensor::Tensor;

/// The differences that are told one by one.
const MOST_TOLD: usize = 20;
/// The time that a comparison may take, unless its caller has less.
const LIMIT: Duration = Duration::from_secs(60);
/// The runs of a comparison go behind the requests of others.
const PRIORITY: u8 = 9;

/// The most samples of a request.
const CHUNK: usize = 32;

/// One comparison for each core at a time: each is as many samples as a probe set has, twice. More wait.
static PLACES: LazyLock<Semaphore> = LazyLock::new(|| Semaphore::new(cores()));

/// The turns of the models that are compared now: the comparisons of one model go one after the other.
static TURNS: LazyLock<Mutex<HashMap<ModelName, Arc<Semaphore>>>> = LazyLock::new(Mutex::default);

/// Returns the turn of a model.
fn turn_of(model: &ModelName) -> Arc<Semaphore> {
    let mut turns = TURNS.lock().unwrap_or_else(PoisonError::into_inner);
    // What nobody holds or waits for is made anew.
    turns.retain(|_, turn| Arc::strong_count(turn) > 1);
    turns.entry(model.clone()).or_insert_with(|| Arc::new(Semaphore::new(1))).clone()
}

/// The agreement of two versions on the probe set of one of them.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct Agreement {
    /// The version whose probe set was asked: labelled samples of its test data.
    pub probe_of: u64,
    /// The samples that both answered.
    pub samples: u64,
    /// Samples that they give different classes; of numbers, those that are not equal.
    pub disagreements: u64,
    /// The share of those.
    pub share: f64,
    /// The 95 % interval of that share, were the samples drawn from the traffic.
    #[schema(example = json!([0.01, 0.05]))]
    pub interval: [f64; 2],
    /// The numbers of samples on which either classifier is right.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub right: Option<RightBy>,
    /// The mean distance of two numbers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mean_difference: Option<f64>,
    /// The largest distance of two numbers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub largest_difference: Option<f64>,
    /// The first 20 samples that classifiers disagree about.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub differences: Vec<Difference>,
}

/// The samples by who is right about them.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, ToSchema)]
pub struct RightBy {
    /// Both.
    pub both: u64,
    /// Only the version that was asked.
    pub only_this: u64,
    /// Only the other.
    pub only_other: u64,
    /// None of the two.
    pub neither: u64,
    /// The probability of at least this difference if both were equally good (McNemar's test).
    pub p_value: f64,
}

/// A sample that two classifiers disagree about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Difference {
    /// Its place in the probe set, from 0.
    pub sample: usize,
    /// The right label, if it is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub truth: Option<String>,
    /// The label that the version gave.
    pub this: String,
    /// The label that the other gave.
    pub other: String,
}

/// An answer that can be compared.
enum Compared {
    Label(String),
    Number(f64),
}

impl Predictor {
    /// Asks two versions about the probe set of the first, or else of the second, behind everybody's requests.
    ///
    /// # Errors
    /// As [`Predictor::predict`]; [`Error::InvalidInput`] when neither has a probe set, or their answers are neither classes
    /// nor numbers alike.
    pub async fn compare(
        &self,
        context: &RequestContext,
        this: &Arc<Servable>,
        other: &Arc<Servable>,
    ) -> Result<Agreement> {
        let limit = Deadline { at: Instant::now() + LIMIT, limit: LIMIT };
        let deadline = limit.or_earlier(context.deadline);
        let ended = |closed: AcquireError| Error::internal("comparisons have ended", closed);
        let entered = async {
            let turn = turn_of(&this.name).acquire_owned().await?;
            Ok::<_, AcquireError>((turn, PLACES.acquire().await?))
        };
        let entered = tokio::time::timeout_at(deadline.at.into(), entered).await.map_err(|_| deadline.exceeded())?;
        let _entered = entered.map_err(ended)?;
        let context = RequestContext { deadline: Some(deadline), ..RequestContext::internal(Caller::Probe, PRIORITY) };
        let owner = [this, other].into_iter().find(|servable| !servable.probe.samples.is_empty()).ok_or_else(|| {
            Error::InvalidInput(format!(
                "neither version {} nor {} of \"{}\" has a probe set; versions that are trained here have one",
                this.version, other.version, this.name
            ))
        })?;
        let mut tally = Tally::new(owner);
        let samples = &owner.probe.samples;
        let most = [this, other].map(|servable| self.most_together(servable, CHUNK)).into_iter().min().unwrap_or(1);
        for chunk in chunks(samples, most) {
            if Instant::now() >= deadline.at {
                return Err(deadline.exceeded());
            }
            let input = joined(&samples[chunk.clone()])?;
            let ours = self.compared(&context, this, input.clone(), chunk.len());
            let theirs = self.compared(&context, other, input, chunk.len());
            let (ours, theirs) = try_join(ours, theirs).await?;
            for (sample, (ours, theirs)) in chunk.zip(ours.into_iter().zip(theirs)) {
                tally.add(sample, samples[sample].1, ours, theirs)?;
            }
            tokio::task::yield_now().await;
        }
        Ok(tally.agreement())
    }

    /// Returns the answers of a version for so many samples.
    async fn compared(
        &self,
        context: &RequestContext,
        servable: &Arc<Servable>,
        input: Input,
        samples: usize,
    ) -> Result<Vec<Compared>> {
        let asked = self.predict(context, servable.clone(), input, Options::default()).await?;
        let compared = |prediction: &Prediction| match prediction {
            Prediction::Classified { classification, .. } => Some(Compared::Label(classification.best.label.clone())),
            Prediction::Number { value } => Some(Compared::Number(value.to_f64())),
            Prediction::Reconstructed { score, .. } => Some(Compared::Number(*score)),
            _ => None,
        };
        let answers: Option<Vec<Compared>> = asked.predictions.iter().map(compared).collect();
        answers
            .filter(|answers| answers.len() == samples)
            .ok_or_else(|| Error::InvalidInput("only classes, numbers and scores are compared".into()))
    }
}

/// Returns ranges of samples that go into one request, at most so many.
fn chunks(samples: &[(Input, Truth)], most: usize) -> Vec<Range<usize>> {
    let mut chunks: Vec<Range<usize>> = Vec::new();
    for (place, (input, _)) in samples.iter().enumerate() {
        match chunks.last_mut().filter(|chunk| chunk.len() < most && fits(&samples[chunk.start].0, input)) {
            Some(chunk) => chunk.end = place + 1,
            None => chunks.push(place..place + 1),
        }
    }
    chunks
}

/// Returns true if two inputs of one sample each can be one of two.
fn fits(one: &Input, other: &Input) -> bool {
    let is_alike = |(a, b): (&Tensor, &Tensor)| {
        a.dtype() == b.dtype() && !a.shape().is_empty() && a.shape().get(1..) == b.shape().get(1..)
    };
    match (one, other) {
        (Input::Images(_), Input::Images(_)) | (Input::Texts(_), Input::Texts(_)) => true,
        (Input::Tensors(a), Input::Tensors(b)) => a.len() == b.len() && a.iter().zip(b).all(is_alike),
        _ => false,
    }
}

/// Returns samples that fit each other as one input.
fn joined(samples: &[(Input, Truth)]) -> Result<Input> {
    let (mut images, mut texts, mut tensors) = (Vec::new(), Vec::new(), Vec::new());
    for (input, _) in samples {
        match input {
            Input::Images(own) => images.extend_from_slice(own),
            Input::Texts(own) => texts.extend_from_slice(own),
            Input::Tensors(own) => tensors.push(own),
        }
    }
    if !images.is_empty() {
        return Ok(Input::Images(images));
    }
    if !texts.is_empty() {
        return Ok(Input::Texts(texts));
    }
    if let [only] = tensors.as_slice() {
        return Ok(Input::Tensors((*only).clone()));
    }
    let inputs = tensors.first().map_or(0, |first| first.len());
    let one = |place: usize| Tensor::concat_rows(tensors.iter().map(|own| &own[place]));
    (0..inputs).map(one).collect::<Result<_>>().map(Input::Tensors)
}

/// The comparison so far.
struct Tally<'s> {
    owner: &'s Servable,
    samples: u64,
    disagreements: u64,
    /// By whether this and the other are right.
    right: [[u64; 2]; 2],
    labelled: u64,
    numbers: u64,
    sum: f64,
    largest: f64,
    differences: Vec<Difference>,
}

impl<'s> Tally<'s> {
    fn new(owner: &'s Servable) -> Self {
        Self {
            owner,
            samples: 0,
            disagreements: 0,
            right: [[0; 2]; 2],
            labelled: 0,
            numbers: 0,
            sum: 0.0,
            largest: 0.0,
            differences: Vec::new(),
        }
    }

    fn add(&mut self, sample: usize, truth: Truth, this: Compared, other: Compared) -> Result<()> {
        self.samples += 1;
        match (this, other) {
            (Compared::Label(this), Compared::Label(other)) => self.add_labels(sample, truth, this, other),
            (Compared::Number(this), Compared::Number(other)) => {
                let are_equal = this == other || (this.is_nan() && other.is_nan());
                self.disagreements += u64::from(!are_equal);
                let distance = (this - other).abs();
                // Where one of them is no finite number, no distance says how far apart they are.
                if distance.is_finite() {
                    self.numbers += 1;
                    self.sum += distance;
                    self.largest = self.largest.max(distance);
                }
            }
            _ => return Err(Error::InvalidInput("one of the versions gives classes, and the other numbers".into())),
        }
        Ok(())
    }

    fn add_labels(&mut self, sample: usize, truth: Truth, this: String, other: String) {
        let truth = match truth {
            Truth::Class(class) => self.owner.labels().get(class),
            Truth::Value(_) | Truth::Unknown => None,
        };
        if let Some(truth) = truth {
            self.labelled += 1;
            self.right[usize::from(this == *truth)][usize::from(other == *truth)] += 1;
        }
        if this != other {
            self.disagreements += 1;
            if self.differences.len() < MOST_TOLD {
                self.differences.push(Difference { sample, truth: truth.cloned(), this, other });
            }
        }
    }

    fn agreement(self) -> Agreement {
        let [[neither, only_other], [only_this, both]] = self.right;
        let interval = wilson(self.disagreements, self.samples);
        let p_value = mcnemar(only_this, only_other).p_value;
        let numbers = self.numbers > 0;
        Agreement {
            probe_of: self.owner.version.0,
            samples: self.samples,
            disagreements: self.disagreements,
            share: self.disagreements as f64 / self.samples.max(1) as f64,
            interval: [interval.low, interval.high],
            right: (self.labelled > 0).then_some(RightBy { both, only_this, only_other, neither, p_value }),
            mean_difference: numbers.then(|| self.sum / self.numbers as f64),
            largest_difference: numbers.then_some(self.largest),
            differences: self.differences,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(shape: &[usize]) -> (Input, Truth) {
        let elements = vec![1.0f32; shape.iter().product()];
        (Input::Tensors(vec![Tensor::new(shape.to_vec(), elements).unwrap()]), Truth::Unknown)
    }

    #[test]
    fn samples_that_fit_each_other_go_together() {
        let samples = [rows(&[1, 4]), rows(&[1, 4]), rows(&[1, 4]), rows(&[1, 5]), rows(&[1, 4]), rows(&[])];
        assert_eq!(chunks(&samples, 2), [0..2, 2..3, 3..4, 4..5, 5..6]);
        assert_eq!(chunks(&samples, 9), [0..3, 3..4, 4..5, 5..6]);
        assert_eq!(chunks(&samples, 1).len(), 6);
        assert!(chunks(&[], 9).is_empty());
        let Input::Tensors(tensors) = joined(&samples[..3]).unwrap() else { panic!("tensors") };
        assert_eq!((tensors.len(), tensors[0].shape()), (1, &[3, 4][..]));
        let images = [b"a", b"b"].map(|file| (Input::Images(vec![file.to_vec().into()]), Truth::Unknown));
        assert!(matches!(joined(&images).unwrap(), Input::Images(both) if both.len() == 2));
        assert!(!fits(&images[0].0, &samples[0].0));
    }

    #[test]
    fn different_models_are_compared_side_by_side_and_one_model_in_turn() {
        let [one, other] = ["comparing-one", "comparing-other"].map(|name| name.parse::<ModelName>().unwrap());
        let held = turn_of(&one).try_acquire_owned().unwrap();
        assert!(turn_of(&one).try_acquire_owned().is_err(), "the same model waits");
        let beside = turn_of(&other).try_acquire_owned().unwrap();
        drop(held);
        assert!(turn_of(&one).try_acquire_owned().is_ok());
        assert!(turn_of(&other).try_acquire_owned().is_err());
        drop(beside);
    }
}
