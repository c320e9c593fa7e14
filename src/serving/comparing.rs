//! Two versions of a model asked the same: on how many samples of a probe set do they disagree?

use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use serde::Serialize;
use tokio::sync::Semaphore;
use utoipa::ToSchema;

use super::context::{Caller, Deadline, RequestContext};
use super::predictor::Predictor;
use super::servable::{Input, Options, Prediction, Servable};
use crate::error::{Error, Result};
use crate::repository::Truth;
use crate::stats::{mcnemar, wilson};

/// The differences that are told one by one.
const MOST_TOLD: usize = 20;
/// The time that a comparison may take, unless its caller has less.
const LIMIT: Duration = Duration::from_secs(60);
/// The runs of a comparison go behind the requests of others.
const PRIORITY: u8 = 9;

/// One comparison at a time: it is as many requests as there are samples, twice.
static TURN: LazyLock<Semaphore> = LazyLock::new(|| Semaphore::new(1));

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
        let _turn =
            tokio::time::timeout_at(deadline.at.into(), TURN.acquire()).await.map_err(|_| deadline.exceeded())?;
        let context = RequestContext { deadline: Some(deadline), ..RequestContext::internal(Caller::Probe, PRIORITY) };
        let owner = [this, other].into_iter().find(|servable| !servable.probe.samples.is_empty()).ok_or_else(|| {
            Error::InvalidInput(format!(
                "neither version {} nor {} of \"{}\" has a probe set; versions that are trained here have one",
                this.version, other.version, this.name
            ))
        })?;
        let mut tally = Tally::new(owner);
        for (sample, (input, truth)) in owner.probe.samples.iter().enumerate() {
            if Instant::now() >= deadline.at {
                return Err(deadline.exceeded());
            }
            let ours = self.compared(&context, this, input).await?;
            let theirs = self.compared(&context, other, input).await?;
            tally.add(sample, *truth, ours, theirs)?;
            tokio::task::yield_now().await;
        }
        Ok(tally.agreement())
    }

    async fn compared(&self, context: &RequestContext, servable: &Arc<Servable>, input: &Input) -> Result<Compared> {
        let asked = self.predict(context, servable.clone(), input.clone(), Options::default()).await?;
        match asked.predictions.first() {
            Some(Prediction::Classified { classification, .. }) => {
                Ok(Compared::Label(classification.best.label.clone()))
            }
            Some(Prediction::Number { value }) => Ok(Compared::Number(value.to_f64())),
            Some(Prediction::Reconstructed { score, .. }) => Ok(Compared::Number(*score)),
            _ => Err(Error::InvalidInput("only classes, numbers and scores are compared".into())),
        }
    }
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
