//! Quality figures of predicted numbers.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The evaluation of a regression.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct RegressionEvaluation {
    /// The number of samples that were compared.
    pub samples: u64,
    /// MAE, the mean of |ŷ − y|.
    pub mean_absolute_error: f64,
    /// RMSE, the root of the mean of (ŷ − y)².
    pub root_mean_squared_error: f64,
    /// R² = 1 − Σ(ŷ − y)² / Σ(y − ȳ)², the share of the variance that is explained. `None` when the truth does
    /// not vary.
    pub r_squared: Option<f64>,
}

/// The relative difference up to which two errors count as equal: kernels of another processor round
/// differently, and JSON does not keep the last bit.
const SAME: f64 = 1e-5;

impl RegressionEvaluation {
    /// Returns MSE, the mean of (ŷ − y)².
    pub fn mean_squared_error(&self) -> f64 {
        self.root_mean_squared_error.powi(2)
    }

    /// Returns true if two evaluations agree up to rounding, as those of one model on the same data do.
    pub fn is_like(&self, other: &Self) -> bool {
        let near = |a: f64, b: f64| (a - b).abs() <= SAME * a.abs().max(b.abs());
        self.samples == other.samples
            && near(self.mean_absolute_error, other.mean_absolute_error)
            && near(self.root_mean_squared_error, other.root_mean_squared_error)
    }
}

/// Accumulates pairs of truth and prediction.
#[derive(Debug, Clone, Copy, Default)]
pub struct RegressionEvaluator {
    samples: u64,
    absolute_sum: f64,
    squared_sum: f64,
    mean: f64,
    variation: f64,
}

impl RegressionEvaluator {
    /// Adds one pair. Mean and variation of the truth are updated by Welford's method (1962, "Note on a Method
    /// for Calculating Corrected Sums of Squares and Products"), which loses no digits to a large mean.
    pub fn add(&mut self, truth: f64, predicted: f64) {
        let error = predicted - truth;
        self.samples += 1;
        self.absolute_sum += error.abs();
        self.squared_sum += error * error;
        let before = truth - self.mean;
        self.mean += before / self.samples as f64;
        self.variation += before * (truth - self.mean);
    }

    /// Returns the evaluation of all pairs so far; zeros without samples.
    pub fn finish(&self) -> RegressionEvaluation {
        RegressionEvaluation {
            samples: self.samples,
            mean_absolute_error: super::ratio(self.absolute_sum, self.samples),
            root_mean_squared_error: super::ratio(self.squared_sum, self.samples).sqrt(),
            r_squared: (self.variation > 0.0).then(|| 1.0 - self.squared_sum / self.variation),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn rounding_makes_no_other_evaluation() {
        let one = evaluate(&[(1.0, 1.5), (2.0, 1.0), (7.0, 7.25)]);
        let rounded = RegressionEvaluation { mean_absolute_error: one.mean_absolute_error * (1.0 + 1e-7), ..one };
        assert!(one.is_like(&one) && one.is_like(&rounded) && rounded.is_like(&one));
        let worse = RegressionEvaluation { root_mean_squared_error: one.root_mean_squared_error * 1.001, ..one };
        assert!(!one.is_like(&worse) && !one.is_like(&RegressionEvaluation { samples: 4, ..one }));
    }

    fn evaluate(pairs: &[(f64, f64)]) -> RegressionEvaluation {
        let mut evaluator = RegressionEvaluator::default();
        pairs.iter().for_each(|(truth, predicted)| evaluator.add(*truth, *predicted));
        evaluator.finish()
    }

    /// The example of scikit-learn's `r2_score`: truths 3, -0.5, 2, 7 and predictions 2.5, 0, 2, 8
    /// give MAE 0.5, MSE 0.375 and R² 0.9486….
    #[test]
    fn errors_agree_with_scikit_learn() {
        let e = evaluate(&[(3.0, 2.5), (-0.5, 0.0), (2.0, 2.0), (7.0, 8.0)]);
        assert!((e.mean_absolute_error - 0.5).abs() < 1e-12);
        assert!((e.root_mean_squared_error - 0.375f64.sqrt()).abs() < 1e-12);
        assert!((e.r_squared.unwrap() - 0.948_608_137_044_967_9).abs() < 1e-12);
    }

    #[test]
    fn nothing_to_explain_is_said_and_not_divided_by() {
        assert_eq!(evaluate(&[]).r_squared, None);
        assert_eq!(evaluate(&[(2.0, 1.0), (2.0, 3.0)]).r_squared, None);
        let far = evaluate(&[(1e9, 1e9), (1e9 + 1.0, 1e9 + 1.0), (1e9 + 2.0, 1e9 + 1.0)]);
        assert!((far.r_squared.unwrap() - 0.5).abs() < 1e-9, "a large mean costs no digits: {far:?}");
    }

    proptest! {
        #[test]
        fn the_mean_error_is_at_most_the_root_mean_square(pairs in prop::collection::vec((-1e3f64..1e3, -1e3f64..1e3), 1..50)) {
            let e = evaluate(&pairs);
            prop_assert!(e.mean_absolute_error <= e.root_mean_squared_error + 1e-9);
            prop_assert!(e.r_squared.is_none_or(|r| r <= 1.0));
            let mut reversed = pairs.clone();
            reversed.reverse();
            prop_assert!((evaluate(&reversed).mean_absolute_error - e.mean_absolute_error).abs() < 1e-9);
        }
    }
}
