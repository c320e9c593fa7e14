//! The weights of samples in the loss, by class.

use std::str::FromStr;

use crate::error::{Error, Result};

/// The rule for the weights of classes.
#[derive(Debug, Clone, Default, PartialEq)]
pub enum ClassWeights {
    /// All alike.
    #[default]
    None,
    /// So that all classes weigh the same in sum, and a sample 1 in the mean: N / (classes · samples of the
    /// class), as scikit-learn's `class_weight="balanced"`.
    Balanced,
    /// By class, in the order of the labels.
    Given(Vec<f32>),
}

impl FromStr for ClassWeights {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        match text {
            "none" => Ok(Self::None),
            "balanced" => Ok(Self::Balanced),
            _ => {
                let weights: std::result::Result<Vec<f32>, _> =
                    text.split(',').map(|part| part.trim().parse()).collect();
                weights
                    .map(Self::Given)
                    .map_err(|_| "expected none, balanced, or a number for each class as 1,0.5,3".into())
            }
        }
    }
}

impl std::fmt::Display for ClassWeights {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::None => f.write_str("none"),
            Self::Balanced => f.write_str("balanced"),
            Self::Given(weights) => {
                let weights: Vec<String> = weights.iter().map(f32::to_string).collect();
                f.write_str(&weights.join(","))
            }
        }
    }
}

impl ClassWeights {
    /// The weights of the classes of some samples; empty when all weigh 1.
    ///
    /// # Errors
    /// [`Error::Config`] for weights that do not fit the classes.
    pub(super) fn of(&self, labels: &[u32], classes: usize) -> Result<Vec<f32>> {
        let refuse = |problem: String| Err(Error::Config { setting: "class-weights".into(), problem });
        match self {
            Self::None => Ok(Vec::new()),
            Self::Balanced | Self::Given(_) if labels.is_empty() => {
                refuse("there are no classes; numbers are to be learned".into())
            }
            Self::Balanced => {
                let mut counts = vec![0u32; classes];
                labels.iter().for_each(|label| counts[*label as usize] += 1);
                let weight = |count: &u32| labels.len() as f64 / (classes as f64 * f64::from((*count).max(1)));
                Ok(counts.iter().map(|count| weight(count) as f32).collect())
            }
            Self::Given(weights) if weights.len() != classes => {
                refuse(format!("{} weights for {classes} classes", weights.len()))
            }
            Self::Given(weights) if !weights.iter().all(|weight| weight.is_finite() && *weight >= 0.0) => {
                refuse("weights must be numbers from 0 on".into())
            }
            Self::Given(weights) if weights.iter().all(|weight| *weight == 0.0) => {
                refuse("one class at least must weigh something".into())
            }
            Self::Given(weights) => Ok(weights.clone()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_are_a_word_or_a_list_of_numbers() {
        for text in ["none", "balanced", "1,0.5"] {
            assert_eq!(text.parse::<ClassWeights>().unwrap().to_string(), text);
        }
        assert_eq!("none".parse(), Ok(ClassWeights::None));
        assert_eq!("balanced".parse(), Ok(ClassWeights::Balanced));
        assert_eq!("1, 0.5".parse(), Ok(ClassWeights::Given(vec![1.0, 0.5])));
        assert!("heavy".parse::<ClassWeights>().is_err());
    }

    #[test]
    fn balanced_classes_weigh_the_same_in_sum() {
        let weights = ClassWeights::Balanced.of(&[0, 0, 0, 1], 2).unwrap();
        assert_eq!(weights, [4.0 / 6.0, 2.0]);
    }

    #[test]
    fn weights_that_do_not_fit_are_refused() {
        for bad in [vec![1.0], vec![1.0, -1.0], vec![1.0, f32::NAN], vec![0.0, 0.0]] {
            assert!(ClassWeights::Given(bad).of(&[0, 1], 2).is_err());
        }
        assert!(ClassWeights::Balanced.of(&[], 1).is_err());
        assert!(ClassWeights::None.of(&[], 1).unwrap().is_empty());
    }
}
