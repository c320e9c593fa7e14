//! Turns the output of a classifier into an answer.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::error::{Error, Result};
use crate::signature::Scores;

/// A class with its probability.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ScoredClass {
    /// The index of the class.
    pub class: usize,
    /// Its label.
    pub label: String,
    /// Its probability, 0 to 1.
    pub confidence: f32,
}

/// The classes of one sample, most probable first.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Classification {
    /// The most probable class.
    #[serde(flatten)]
    pub best: ScoredClass,
    /// The most probable classes, best first.
    pub top_k: Vec<ScoredClass>,
}

/// The function that makes confidences of scores.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Squash {
    /// None: the scores are confidences.
    Nothing,
    /// Softmax, over all classes.
    Softmax,
    /// The logistic function, of each label by itself.
    Sigmoid,
}

impl Squash {
    /// Returns the function for classes, of which one is right.
    pub fn of_classes(scores: Scores) -> Self {
        match scores {
            Scores::Probabilities => Self::Nothing,
            Scores::Logits => Self::Softmax,
        }
    }

    /// Returns the function for labels, of which any number are right.
    pub fn of_labels(scores: Scores) -> Self {
        match scores {
            Scores::Probabilities => Self::Nothing,
            Scores::Logits => Self::Sigmoid,
        }
    }

    /// Returns the confidences of the scores of one sample.
    pub fn confidences(self, scores: &[f32]) -> Cow<'_, [f32]> {
        match self {
            Self::Nothing => Cow::Borrowed(scores),
            Self::Softmax => {
                let highest = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
                let powers: Vec<f64> = scores.iter().map(|score| f64::from(score - highest).exp()).collect();
                let sum: f64 = powers.iter().sum();
                powers.into_iter().map(|power| (power / sum) as f32).collect()
            }
            Self::Sigmoid => scores.iter().map(|score| (1.0 / (1.0 + (-f64::from(*score)).exp())) as f32).collect(),
        }
    }
}

/// Returns the `top_k` most probable classes of one sample. Of equal probabilities the lower class comes
/// first.
///
/// # Errors
/// [`Error::Internal`] when a probability is not a finite number, or there are none.
pub fn classify(probabilities: &[f32], labels: &[String], top_k: usize) -> Result<Classification> {
    if probabilities.is_empty() || probabilities.iter().any(|value| !value.is_finite()) {
        return Err(Error::internal("the model's output is not a finite number", "NaN, infinity or no classes"));
    }
    let mut order: Vec<usize> = (0..probabilities.len()).collect();
    let count = top_k.clamp(1, order.len());
    let by_probability = |a: &usize, b: &usize| probabilities[*b].total_cmp(&probabilities[*a]).then(a.cmp(b));
    if count < order.len() {
        order.select_nth_unstable_by(count, by_probability);
        order.truncate(count);
    }
    order.sort_unstable_by(by_probability);
    let scored = |class: usize| ScoredClass {
        class,
        label: labels.get(class).cloned().unwrap_or_else(|| class.to_string()),
        confidence: probabilities[class],
    };
    Ok(Classification { best: scored(order[0]), top_k: order.into_iter().map(scored).collect() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn scores_become_confidences() {
        assert_eq!(*Squash::Nothing.confidences(&[0.25, 7.0]), [0.25, 7.0]);
        let logits = [1000.0, 1000.0 + 3f32.ln(), -1000.0];
        let shares = Squash::Softmax.confidences(&logits);
        assert!((shares[0] - 0.25).abs() < 1e-4 && (shares[1] - 0.75).abs() < 1e-4 && shares[2] == 0.0, "{shares:?}");
        assert_eq!(*Squash::Sigmoid.confidences(&[0.0, 200.0, -200.0]), [0.5, 1.0, 0.0]);
    }

    #[test]
    fn output_that_is_not_finite_is_an_error() {
        for bad in [f32::NAN, f32::INFINITY] {
            assert!(classify(&[0.5, bad], &[], 1).is_err());
        }
        assert!(classify(&[], &[], 1).is_err());
    }

    proptest! {
        #[test]
        fn top_k_is_the_head_of_the_sorted_classes(values in prop::collection::vec(0f32..1.0, 1..20), k in 0usize..30) {
            let labels: Vec<String> = (0..values.len()).map(|class| format!("label {class}")).collect();
            let answer = classify(&values, &labels, k).unwrap();
            let mut order: Vec<usize> = (0..values.len()).collect();
            order.sort_by(|a, b| values[*b].total_cmp(&values[*a]));
            let expected: Vec<usize> = order.into_iter().take(k.max(1)).collect();
            prop_assert_eq!(answer.top_k.iter().map(|scored| scored.class).collect::<Vec<_>>(), expected);
            prop_assert_eq!(&answer.best, &answer.top_k[0]);
            prop_assert_eq!(&answer.best.label, &labels[answer.best.class]);
        }
    }
}
