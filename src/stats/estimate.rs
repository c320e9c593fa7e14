//! Accuracy without labels: that of a reference, weighted by how often each margin occurs now.
//!
//! The idea is that of confidence-based performance estimation, with the shares of right answers by bins of the
//! margin in place of a calibrated probability. It holds while inputs are of the kind that the reference knows.

use super::interval::Z;

/// An estimated share of right answers.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct EstimatedAccuracy {
    /// The estimate.
    pub accuracy: f64,
    /// Its standard error, of the reference's samples and of the live ones together.
    pub standard_error: f64,
}

impl EstimatedAccuracy {
    /// Returns the end of the 95 % interval below the estimate.
    pub fn low(&self) -> f64 {
        (self.accuracy - Z * self.standard_error).max(0.0)
    }

    /// Returns the end of the 95 % interval above the estimate.
    pub fn high(&self) -> f64 {
        (self.accuracy + Z * self.standard_error).min(1.0)
    }
}

/// Estimates the accuracy from the samples and right answers of a reference in each bin of the margin, and from the
/// live answers in each bin. With w the live shares, a the shares of right answers and m the samples of the reference
/// in a bin, it is Σ w·a, with the variance Σ w²·a(1−a)/m + Σ w·a(1−a)/n; n counts live answers as if they were
/// independent, which is all of them divided by the autocorrelation time `tau`.
///
/// `None` without live answers, or with some in a bin of which the reference knows nothing.
pub fn estimated_accuracy(samples: &[u64], correct: &[u64], live: &[u64], tau: f64) -> Option<EstimatedAccuracy> {
    let all: u64 = live.iter().sum();
    if all == 0 || samples.len() != live.len() || correct.len() != live.len() {
        return None;
    }
    let independent = all as f64 / tau.max(1.0);
    let (mut accuracy, mut variance) = (0.0, 0.0);
    for ((samples, correct), live) in samples.iter().zip(correct).zip(live) {
        if *live == 0 {
            continue;
        }
        if *samples == 0 {
            return None;
        }
        let (weight, known) = (*live as f64 / all as f64, *samples as f64);
        let share = *correct as f64 / known;
        accuracy += weight * share;
        // A bin without a wrong answer is not known to be free of them: half a sample each way.
        let smoothed = (*correct as f64 + 0.5) / (known + 1.0);
        let spread = smoothed * (1.0 - smoothed);
        variance += weight * weight * spread / known + weight * spread / independent;
    }
    Some(EstimatedAccuracy { accuracy, standard_error: variance.sqrt() })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rand::{Rng, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;

    #[test]
    fn shifted_shares_move_the_estimate_as_they_should() {
        let (samples, correct) = ([1000, 1000], [500, 1000]);
        let at = |live: [u64; 2]| estimated_accuracy(&samples, &correct, &live, 1.0).unwrap();
        assert_eq!((at([5, 5]).accuracy, at([10, 0]).accuracy, at([0, 10]).accuracy), (0.75, 0.5, 1.0));
        let (few, dependent) = (at([50, 50]), estimated_accuracy(&samples, &correct, &[500, 500], 10.0).unwrap());
        assert!((few.standard_error / dependent.standard_error - 1.0).abs() < 1e-12);
        assert!((few.standard_error - (0.25 * 0.25 / 1000.0 + 0.125 / 100.0f64).sqrt()).abs() < 1e-4);
        assert!(few.low() < 0.75 && few.high() > 0.75);
    }

    #[test]
    fn what_the_reference_does_not_know_is_not_estimated() {
        assert_eq!(estimated_accuracy(&[10, 0], &[9, 0], &[3, 1], 1.0), None);
        assert!(estimated_accuracy(&[10, 0], &[9, 0], &[3, 0], 1.0).is_some());
        assert_eq!(estimated_accuracy(&[10], &[9], &[0], 1.0), None);
        assert_eq!(estimated_accuracy(&[10], &[9], &[1, 2], 1.0), None);
    }

    /// References and live samples are drawn anew each time; the share of right answers depends on the bin alone.
    #[test]
    fn the_interval_covers_the_truth_of_a_covariate_shift() {
        let mut rng = ChaCha8Rng::seed_from_u64(5);
        let mut uniform = || (rng.next_u64() >> 11) as f64 / (1u64 << 53) as f64;
        let right = |bin: usize| 0.6 + 0.02 * bin as f64;
        let mut covered = 0;
        for _ in 0..400 {
            let (mut samples, mut correct, mut live, mut truth) = ([0; 20], [0; 20], [0; 20], 0);
            for _ in 0..2000 {
                let bin = (uniform() * 20.0) as usize;
                samples[bin] += 1;
                correct[bin] += u64::from(uniform() < right(bin));
            }
            for _ in 0..500 {
                let bin = (uniform() * uniform() * 20.0) as usize;
                live[bin] += 1;
                truth += i32::from(uniform() < right(bin));
            }
            let estimate = estimated_accuracy(&samples, &correct, &live, 1.0).unwrap();
            let truth = f64::from(truth) / 500.0;
            covered += i32::from((estimate.low()..=estimate.high()).contains(&truth));
        }
        assert!((364..=396).contains(&covered), "{covered} of 400");
    }

    proptest! {
        #[test]
        fn an_estimate_lies_between_the_shares_of_the_bins(bins in prop::collection::vec((1u64..99, 0.0f64..=1.0, 0u64..50), 1..9)) {
            let samples: Vec<u64> = bins.iter().map(|bin| bin.0).collect();
            let correct: Vec<u64> = bins.iter().map(|bin| (bin.0 as f64 * bin.1) as u64).collect();
            let live: Vec<u64> = bins.iter().map(|bin| bin.2).collect();
            if let Some(estimate) = estimated_accuracy(&samples, &correct, &live, 1.0) {
                let shares = || samples.iter().zip(&correct).map(|(n, right)| *right as f64 / *n as f64);
                prop_assert!(estimate.accuracy <= shares().fold(0.0, f64::max) + 1e-12);
                prop_assert!(estimate.accuracy >= shares().fold(1.0, f64::min) - 1e-12);
                prop_assert!(estimate.low() >= 0.0 && estimate.high() <= 1.0);
            }
        }
    }
}
