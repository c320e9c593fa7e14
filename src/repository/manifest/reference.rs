//! The reference that live traffic is compared with.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::error::{Error, Result};
use crate::ids::{ModelName, Version};
use crate::stats::{Histogram, Ranks, combined};

/// The distributions of inputs and answers on data that was not trained on: to see whether live traffic drifts, to tell
/// unusual inputs, and to say how sure answers are. Parts that a version lacks are left out, and not watched.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct DriftReference {
    /// The data it comes from: `validation`, `test`, both, or `traffic`.
    pub source: String,
    /// The number of samples.
    pub samples: usize,
    /// The mean of each sample's values, as the model takes them (pixels: 0 to 255).
    pub input_mean: Histogram,
    /// The standard deviation of each sample's values.
    pub input_deviation: Histogram,
    /// The probability of each sample's most probable class.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confidence: Option<Histogram>,
    /// The times that each class was the most probable one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub predictions: Vec<u64>,
    /// Of pictures: how many seemed to have the other polarity.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inverted: Option<u64>,
    /// The lead of the most probable class, and how often it was right.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub margin: Option<MarginReference>,
    /// ln Σ eᶻ over the logits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub energy: Option<Histogram>,
    /// The ranks of low energies, which unknown inputs have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unusual: Option<Ranks>,
    /// The number that a model of numbers gives.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<Histogram>,
    /// The columns of a table, in the order of the input, the first 48 of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub columns: Vec<ColumnReference>,
    /// The tokens of a text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub length: Option<Histogram>,
    /// The share of them that the vocabulary does not have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unknown_tokens: Option<Histogram>,
    /// Sets of classes with a stated coverage, by level.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sets: Vec<ConformalSet>,
    /// Thresholds that keep errors rare among the answers given, by rate.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub abstentions: Vec<Abstention>,
    /// The scores of an autoencoder that guards the version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub guard: Option<GuardReference>,
}

/// The scores of a guard, which are high for unlikely inputs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct GuardReference {
    /// The autoencoder.
    #[schema(value_type = String)]
    pub model: ModelName,
    /// Its version.
    #[schema(value_type = u64)]
    pub version: Version,
    /// SHA-256 of its graph: the scores of another one cannot be compared with these.
    pub sha256: String,
    /// The scores in nats.
    pub scores: Histogram,
    /// The ranks of the scores with the sign turned, which unlikely inputs have low.
    pub unlikely: Ranks,
    /// The ranks of Σ ln p over the p-values of energy and score, which depend on each other.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub joint: Option<Ranks>,
}

impl GuardReference {
    /// Returns the p-value of a score alone: the share of samples that are at least as unlikely.
    pub fn p_value(&self, score: f64) -> f64 {
        self.unlikely.p_value(-score)
    }

    /// Returns the p-value of a score together with the p-value of the same sample's energy.
    pub fn combined(&self, energy: f64, score: f64) -> Option<f64> {
        self.joint.as_ref().map(|joint| joint.p_value(combined(&[energy, self.p_value(score)])))
    }
}

/// A column of a reference.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ColumnReference {
    /// Its name in the table's header.
    pub name: String,
    /// The edges between the bins of a column of numbers; a category is a bin.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub edges: Option<Vec<f64>>,
    /// The samples by bin; the last one is of those whose cell is missing, or is no known category.
    pub counts: Vec<u64>,
}

/// The margins of a reference.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct MarginReference {
    /// The logit of the most probable class above that of the next; from probabilities, the difference of logarithms.
    #[serde(flatten)]
    pub histogram: Histogram,
    /// The right answers in each bin; none if the data have no labels.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub correct: Vec<u64>,
}

/// A threshold that makes sets of classes which hold the right one.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ConformalSet {
    /// The share of samples whose set holds the right class, at least.
    pub level: f64,
    /// The probability, over samples that might have been held out, that the threshold keeps to that.
    pub confidence: f64,
    /// The samples that it comes from.
    pub samples: u64,
    /// A class is in the set if 1 − its probability is at most this.
    pub threshold: f64,
}

/// A threshold below which a model had better not answer.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Abstention {
    /// The share of wrong answers among those given, at most.
    pub error_rate: f64,
    /// The probability, over samples that might have been held out, that the threshold keeps to that.
    pub confidence: f64,
    /// Answers with a lower margin are withheld.
    pub margin: f64,
    /// The samples held out that were answered.
    pub answered: u64,
    /// The wrong answers among them.
    pub errors: u64,
}

impl DriftReference {
    /// Returns the share of right answers, if the data had labels.
    pub fn accuracy(&self) -> Option<f64> {
        let margin = self.margin.as_ref().filter(|margin| !margin.correct.is_empty())?;
        let all: u64 = margin.histogram.counts.iter().sum();
        (all > 0).then(|| margin.correct.iter().sum::<u64>() as f64 / all as f64)
    }

    /// Refuses figures that contradict each other, which a damaged or hand-made file may hold.
    ///
    /// # Errors
    /// [`Error::Repository`] naming the file and what is wrong.
    pub fn check(&self, file: &str) -> Result<()> {
        let problem = |problem: String| Error::Repository { what: file.to_owned(), problem };
        let margin = self.margin.as_ref().map(|margin| &margin.histogram);
        let named = [
            ("input_mean", Some(&self.input_mean)),
            ("input_deviation", Some(&self.input_deviation)),
            ("confidence", self.confidence.as_ref()),
            ("margin", margin),
            ("energy", self.energy.as_ref()),
            ("value", self.value.as_ref()),
            ("length", self.length.as_ref()),
            ("unknown_tokens", self.unknown_tokens.as_ref()),
            ("guard", self.guard.as_ref().map(|guard| &guard.scores)),
        ];
        for (name, histogram) in named.iter().filter_map(|(name, histogram)| Some((name, (*histogram)?))) {
            let Histogram { edges, counts } = histogram;
            if counts.len() != edges.len() + 1 || !edges.is_sorted_by(|a, b| a < b) {
                let (counts, edges) = (counts.len(), edges.len());
                return Err(problem(format!(
                    "the reference's {name} has {counts} counts for {edges} edges, which must ascend and be one fewer"
                )));
            }
        }
        let columns = self.columns.iter().map(|column| column.counts.as_slice());
        let inverted = [self.samples as u64, self.inverted.unwrap_or(0)];
        let ranked = [self.unusual.as_ref().map_or(0, |ranks| ranks.samples)];
        let mut all = named.iter().filter_map(|(_, histogram)| Some(histogram.as_ref()?.counts.as_slice()));
        let are_too_many = |counts: &[u64]| !is_countable(counts);
        if all.any(are_too_many) || columns.chain([self.predictions.as_slice(), &inverted, &ranked]).any(are_too_many) {
            return Err(problem("the reference counts more samples than there can be".into()));
        }
        let is_odd = |column: &&ColumnReference| match &column.edges {
            Some(edges) => column.counts.len() != edges.len() + 2 || !edges.is_sorted_by(|a, b| a < b),
            None => column.counts.len() < 2,
        };
        if let Some(column) = self.columns.iter().find(is_odd) {
            let name = crate::ids::quote(&column.name);
            return Err(problem(format!("the reference's column {name} needs a count for each bin and one more")));
        }
        if let Some(MarginReference { histogram, correct }) = &self.margin {
            let fits = correct.len() == histogram.counts.len()
                && correct.iter().zip(&histogram.counts).all(|(correct, all)| correct <= all);
            if !correct.is_empty() && !fits {
                return Err(problem("the reference has more right answers than answers in a bin of its margin".into()));
            }
        }
        let guard = self.guard.as_ref();
        let ranks = [
            ("energies", self.unusual.as_ref()),
            ("the guard's scores", guard.map(|guard| &guard.unlikely)),
            ("energies and scores", guard.and_then(|guard| guard.joint.as_ref())),
        ];
        if let Some((what, _)) = ranks.iter().find(|(_, ranks)| ranks.is_some_and(are_unfit)) {
            return Err(problem(format!("the reference's ranks of {what} do not fit their values")));
        }
        Ok(())
    }
}

/// Returns true if ranks do not fit their values, or are more than there can be.
fn are_unfit(ranks: &Ranks) -> bool {
    let is_odd = |rank: &u64| *rank == 0 || *rank > ranks.samples;
    ranks.samples >= 1 << 53 || ranks.values.len() != ranks.ranks.len() || ranks.ranks.iter().any(is_odd)
}

/// Returns true if the sum of counts is one that a float of 64 bits holds exactly.
fn is_countable(counts: &[u64]) -> bool {
    let sum = counts.iter().try_fold(0u64, |sum, count| sum.checked_add(*count));
    sum.is_some_and(|sum| sum <= 1 << 53)
}
