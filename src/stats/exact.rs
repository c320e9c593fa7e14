//! The figures of one sample as integers, whose sums do not depend on the order of the samples and can be taken back.

/// The least probability whose logarithm is taken, as in Keras: one confident mistake then costs 16.1 nats
/// and not infinity.
pub const PROBABILITY_FLOOR: f64 = 1e-7;

/// The number of bins of the calibration error, as in Guo et al. 2017.
pub const CALIBRATION_BINS: usize = 15;

/// Returns a figure in billionths, rounded.
pub fn nano(value: f64) -> i64 {
    (value * 1e9).round() as i64
}

/// Returns the mean of `samples` figures whose sum is given in billionths; 0 without samples.
pub fn mean_of_nano(sum: i64, samples: u64) -> f64 {
    if samples == 0 { 0.0 } else { sum as f64 / 1e9 / samples as f64 }
}

/// Returns −ln of the probability of the true class, in billionths of a nat.
pub fn loss_nano(probability: f32) -> i64 {
    nano(-f64::from(probability).max(PROBABILITY_FLOOR).ln())
}

/// Returns Σ (p − y)² over the classes, in billionths.
pub fn brier_nano(probabilities: &[f32], truth: usize) -> i64 {
    let squared = |(class, p): (usize, &f32)| (f64::from(*p) - f64::from(u8::from(class == truth))).powi(2);
    nano(probabilities.iter().enumerate().map(squared).sum())
}

/// Returns the bin of a confidence in billionths, from 0 to [`CALIBRATION_BINS`] − 1.
pub fn calibration_bin(confidence_nano: i64) -> usize {
    let bin = confidence_nano.saturating_mul(CALIBRATION_BINS as i64) / 1_000_000_000;
    usize::try_from(bin).unwrap_or(0).min(CALIBRATION_BINS - 1)
}

/// The samples of one calibration bin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct BinSums {
    /// Their number.
    pub samples: u64,
    /// Those that were answered correctly.
    pub correct: u64,
    /// The sum of their confidences, in billionths.
    pub confidence_nano: i64,
}

impl BinSums {
    /// Returns the distance of the sum of confidences from the number of correct answers.
    pub(super) fn gap(&self) -> f64 {
        (self.confidence_nano as f64 / 1e9 - self.correct as f64).abs()
    }
}

/// Returns ECE = Σ (n_b / n) · |accuracy_b − confidence_b|, Guo et al. 2017, equation 3; 0 without samples.
pub fn expected_calibration_error(bins: &[BinSums]) -> f64 {
    super::ratio(bins.iter().map(BinSums::gap).sum(), bins.iter().map(|bin| bin.samples).sum())
}
