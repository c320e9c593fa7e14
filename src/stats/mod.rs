//! Quality figures of a model, as pure functions of predictions and truth.
//!
//! Training, `weir evaluate` and the live probe share one accumulator, [`Evaluator`], so their figures
//! agree. [`Predictions`] keeps every distribution for the figures that cannot be accumulated: curves, the
//! worst mistakes, comparisons and the temperature.

mod agreement;
mod calibration;
mod classification;
mod comparison;
mod curves;
mod full;
mod histogram;
mod interval;
mod likelihood;
mod normal;
mod predictions;
mod regression;
mod temperature;

pub use calibration::ReliabilityBin;
pub use classification::{ClassScores, Evaluation, Evaluator, PROBABILITY_FLOOR, Scores, Summary};
pub use comparison::{ClassChange, Comparison, McNemar, SIGNIFICANCE, TestMethod, mcnemar};
pub use curves::{ClassCurves, Curve};
pub use full::{FullEvaluation, TopK};
pub use histogram::Histogram;
pub use interval::{Interval, wilson};
pub use likelihood::{
    ImportanceEstimate, LikelihoodEvaluation, ReferenceScores, active_units, log_mean_exp, variances,
};
pub use normal::standard_normal;
pub use predictions::{Mistake, Predictions};
pub use regression::{RegressionEvaluation, RegressionEvaluator};
pub use temperature::{MAX_TEMPERATURE, MIN_TEMPERATURE, chance_of_gain};

/// Returns the index of the largest value, the first of equal ones; 0 for an empty slice.
pub fn argmax(values: &[f32]) -> usize {
    let mut best = 0;
    for (index, value) in values.iter().enumerate() {
        if *value > values[best] {
            best = index;
        }
    }
    best
}

/// Returns `part / whole`, or 0 when `whole` is 0 (`zero_division=0` of scikit-learn).
fn ratio(part: f64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part / whole as f64 }
}
