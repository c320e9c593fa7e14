//! Quality figures of a model, as pure functions of predictions and truth.
//!
//! Training, `weir evaluate` and the live probe share one accumulator, [`Evaluator`], so their figures
//! agree. [`Predictions`] keeps every distribution for the figures that cannot be accumulated: curves, the
//! worst mistakes, comparisons and the temperature.

mod agreement;
mod anomaly;
pub mod attribution;
mod binomial;
mod calibration;
mod certainty;
mod classification;
mod comparison;
mod conformal;
mod curves;
pub mod drift;
mod estimate;
mod exact;
mod full;
mod histogram;
mod interval;
mod likelihood;
mod moments;
mod normal;
mod predictions;
mod regression;
mod selection;
mod temperature;
mod weighted;

pub use anomaly::{Ranks, combined};
pub use binomial::{binomial_tail, share_at_most};
pub use calibration::ReliabilityBin;
pub use certainty::Certainty;
pub use classification::{ClassScores, Evaluation, Evaluator, Scores, Summary, class_scores};
pub use comparison::{ClassChange, Comparison, McNemar, SIGNIFICANCE, TestMethod, mcnemar};
pub use conformal::{Selective, belongs, conformal_rank, conformal_threshold, is_withheld, selective_threshold};
pub use curves::{ClassCurves, Curve};
pub use estimate::{EstimatedAccuracy, estimated_accuracy};
pub use exact::{
    BinSums, CALIBRATION_BINS, PROBABILITY_FLOOR, brier_nano, calibration_bin, expected_calibration_error, loss_nano,
    mean_of_nano, nano,
};
pub use full::{FullEvaluation, TopK};
pub use histogram::Histogram;
pub use interval::{Interval, wilson};
pub use likelihood::{
    ImportanceEstimate, LikelihoodEvaluation, ReferenceScores, active_units, log_mean_exp, variances,
};
pub use moments::Moments;
pub use normal::standard_normal;
pub use predictions::{Mistake, Predictions};
pub use regression::{RegressionEvaluation, RegressionEvaluator};
pub use selection::{Candidate, Chosen, Selection, choose};
pub use temperature::{MAX_TEMPERATURE, MIN_TEMPERATURE, chance_of_gain};
pub use weighted::{Inclusion, WeightedAccuracy, WeightedSums};

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
