//! Calibration: the agreement of confidence and accuracy, measured in bins of equal width over the
//! confidence of the predicted class (Guo et al. 2017, "On Calibration of Modern Neural Networks").

use serde::{Deserialize, Serialize};

use super::exact::{
    BinSums, CALIBRATION_BINS as BINS, calibration_bin, expected_calibration_error, mean_of_nano, nano,
};
use super::ratio;

/// Counts and sums of confidence, by bin.
#[derive(Debug, Clone, Default)]
pub(super) struct Bins([BinSums; BINS]);

/// The samples whose confidence is within `lower..upper` (the last bin includes 1).
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct ReliabilityBin {
    /// The lower end of the bin.
    pub lower: f64,
    /// The upper end of the bin.
    pub upper: f64,
    /// The number of samples in it.
    pub samples: u64,
    /// Their mean confidence; 0 without samples.
    pub confidence: f64,
    /// The share of correct answers; 0 without samples.
    pub accuracy: f64,
}

impl Bins {
    pub(super) fn add(&mut self, confidence: f64, correct: bool) {
        let confidence_nano = nano(confidence);
        let bin = &mut self.0[calibration_bin(confidence_nano)];
        bin.samples += 1;
        bin.correct += u64::from(correct);
        bin.confidence_nano += confidence_nano;
    }

    /// ECE = Σ (n_b / n) · |accuracy_b − confidence_b|, Guo et al. 2017, equation 3.
    pub(super) fn expected_error(&self) -> f64 {
        expected_calibration_error(&self.0)
    }

    /// MCE = max |accuracy_b − confidence_b| over bins with samples, Guo et al. 2017, equation 5.
    pub(super) fn maximum_error(&self) -> f64 {
        self.0.iter().map(|bin| ratio(bin.gap(), bin.samples)).fold(0.0, f64::max)
    }

    pub(super) fn reliability(&self) -> Vec<ReliabilityBin> {
        let bin = |(index, bin): (usize, &BinSums)| ReliabilityBin {
            lower: index as f64 / BINS as f64,
            upper: (index + 1) as f64 / BINS as f64,
            samples: bin.samples,
            confidence: mean_of_nano(bin.confidence_nano, bin.samples),
            accuracy: ratio(bin.correct as f64, bin.samples),
        };
        self.0.iter().enumerate().map(bin).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// By hand: two samples at 0.95 of which one is right, and two at 0.55 of which both are, give
    /// gaps of 0.45 and 0.45 over half the samples each.
    #[test]
    fn errors_are_gaps_weighted_by_samples() {
        let mut bins = Bins::default();
        for (confidence, correct) in [(0.95, true), (0.95, false), (0.55, true), (0.55, true), (0.35, false)] {
            bins.add(confidence, correct);
        }
        assert!((bins.expected_error() - (0.9 + 0.9 + 0.35) / 5.0).abs() < 1e-12);
        assert!((bins.maximum_error() - 0.45).abs() < 1e-12);
        let filled: Vec<(usize, u64)> =
            bins.reliability().iter().enumerate().filter(|(_, b)| b.samples > 0).map(|(i, b)| (i, b.samples)).collect();
        assert_eq!(filled, [(5, 1), (8, 2), (14, 2)]);
    }

    proptest! {
        #[test]
        fn the_expected_error_is_between_zero_and_the_maximum(samples in prop::collection::vec((0.0f64..=1.0, any::<bool>()), 1..200)) {
            let mut bins = Bins::default();
            samples.iter().for_each(|(confidence, correct)| bins.add(*confidence, *correct));
            prop_assert!(bins.expected_error() >= 0.0);
            prop_assert!(bins.expected_error() <= bins.maximum_error() + 1e-12);
            prop_assert!(bins.maximum_error() <= 1.0);
            prop_assert_eq!(bins.reliability().iter().map(|bin| bin.samples).sum::<u64>(), samples.len() as u64);
        }
    }
}
