//! Temperature scaling (Guo et al. 2017, "On Calibration of Modern Neural Networks"): all logits are divided
//! by one number T before the softmax. This changes the confidence of a classifier, never its answers.

use super::Predictions;

/// The least temperature of the search. A better one beyond the limits is a sign of another fault.
pub const MIN_TEMPERATURE: f64 = 0.05;
/// The greatest temperature of the search; see [`MIN_TEMPERATURE`].
pub const MAX_TEMPERATURE: f64 = 20.0;

/// The halvings of the search interval of ln T, which is 6 wide: the error is below 1e-13.
const HALVINGS: usize = 46;

impl Predictions {
    /// Returns the temperature with the least log-loss on these samples; 1 without samples.
    ///
    /// A constant added to all logits does not change the softmax, so the logarithms of the probabilities
    /// serve as logits. The log-loss is convex in 1/T. Its slope, the mean of E_p[z] − z_truth, grows with
    /// 1/T, so bisection finds its zero.
    pub fn best_temperature(&self) -> f64 {
        if self.is_empty() {
            return 1.0;
        }
        let (mut cold, mut hot) = (MIN_TEMPERATURE.ln(), MAX_TEMPERATURE.ln());
        for _ in 0..HALVINGS {
            let middle = (cold + hot) / 2.0;
            // Overconfident at this temperature: it must rise.
            if self.slope(middle.exp()) > 0.0 { cold = middle } else { hot = middle }
        }
        ((cold + hot) / 2.0).exp()
    }

    /// Returns the derivative of the summed log-loss with respect to 1/T.
    fn slope(&self, temperature: f64) -> f64 {
        let mut logits = Vec::with_capacity(self.classes());
        let mut sum = 0.0;
        for (truth, row) in self.iter() {
            logits.clear();
            logits.extend(row.iter().map(logit));
            let greatest = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let (mut weights, mut expected) = (0.0, 0.0);
            for z in &logits {
                let weight = ((z - greatest) / temperature).exp();
                weights += weight;
                expected += weight * z;
            }
            sum += expected / weights - logits[truth];
        }
        sum
    }

    /// Returns the predictions of the classifier at another temperature.
    #[must_use]
    pub fn at_temperature(&self, temperature: f64) -> Self {
        let mut scaled = Self::new(self.classes());
        let mut weights = Vec::with_capacity(self.classes());
        for (truth, row) in self.iter() {
            let greatest = row.iter().map(logit).fold(f64::NEG_INFINITY, f64::max);
            weights.clear();
            weights.extend(row.iter().map(|p| ((logit(p) - greatest) / temperature).exp()));
            let sum: f64 = weights.iter().sum();
            let row: Vec<f32> = weights.iter().map(|weight| (weight / sum) as f32).collect();
            scaled.push(truth, &row);
        }
        scaled
    }
}

/// Returns the probability that a temperature reduces the log-loss by at least `gain` although the classifier
/// is calibrated. This is a likelihood-ratio test (Wilks 1938, "The Large-Sample Distribution of the
/// Likelihood Ratio for Testing Composite Hypotheses"): 2·n·gain is χ² with one degree of freedom.
pub fn chance_of_gain(samples: u64, gain: f64) -> f64 {
    libm::erfc((samples as f64 * gain.max(0.0)).sqrt())
}

/// Returns the logarithm of a probability, at least that of the smallest normal 32-bit float.
fn logit(probability: &f32) -> f64 {
    f64::from(probability.max(f32::MIN_POSITIVE)).ln()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rand::RngExt;
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    /// Samples whose truth is drawn from the softmax of random logits, and what a classifier says
    /// that has the logits right but for a factor.
    fn drawn(factor: f64, samples: usize) -> Predictions {
        let mut rng = ChaCha8Rng::seed_from_u64(7);
        let mut predictions = Predictions::new(4);
        for _ in 0..samples {
            let z: Vec<f64> = (0..4).map(|_| rng.random_range(-3.0..3.0)).collect();
            let softmax = |scale: f64| {
                let weights: Vec<f64> = z.iter().map(|z| (z * scale).exp()).collect();
                let sum: f64 = weights.iter().sum();
                weights.into_iter().map(move |weight| weight / sum)
            };
            let mut left = rng.random_range(0.0..1.0);
            let truth = softmax(1.0)
                .position(|p| {
                    left -= p;
                    left < 0.0
                })
                .unwrap_or(3);
            predictions.push(truth, &softmax(factor).map(|p| p as f32).collect::<Vec<_>>());
        }
        predictions
    }

    #[test]
    fn a_factor_on_the_logits_is_found_and_undone() {
        for factor in [0.5, 1.0, 2.5] {
            let predictions = drawn(factor, 20_000);
            let temperature = predictions.best_temperature();
            assert!((temperature / factor - 1.0).abs() < 0.04, "{factor}: {temperature}");
            let after = predictions.at_temperature(temperature).evaluate();
            assert!(after.expected_calibration_error < 0.012, "{}", after.expected_calibration_error);
            assert_eq!(after.confusion, predictions.evaluate().confusion);
        }
    }

    #[test]
    fn a_perfect_or_hopeless_classifier_ends_at_the_bounds() {
        let mut perfect = Predictions::new(2);
        perfect.push(0, &[0.9, 0.1]);
        assert!((perfect.best_temperature() - MIN_TEMPERATURE).abs() < 1e-9);
        let mut hopeless = Predictions::new(2);
        hopeless.push(1, &[1.0, 0.0]);
        assert!((hopeless.best_temperature() - MAX_TEMPERATURE).abs() < 1e-9);
        assert_eq!(Predictions::new(2).best_temperature(), 1.0);
    }

    /// Expected values: SciPy's `chi2.sf(2 * n * gain, 1)`.
    #[test]
    fn a_gain_is_judged_by_the_number_of_samples() {
        for (samples, gain, p) in [
            (1000, 0.0013, 0.106_863_714_993_379),
            (10_000, 0.0013, 3.414_173_577_297_524e-7),
            (5, 0.0, 1.0),
            (5, -1.0, 1.0),
        ] {
            assert!((chance_of_gain(samples, gain) / p - 1.0).abs() < 1e-6, "{}", chance_of_gain(samples, gain));
        }
    }

    proptest! {
        #[test]
        fn no_other_temperature_has_less_loss(
            samples in prop::collection::vec((0usize..3, prop::array::uniform3(0.01f32..1.0)), 4..40), other in 0.3f64..10.0
        ) {
            let mut predictions = Predictions::new(3);
            for (truth, raw) in samples {
                let sum: f32 = raw.iter().sum();
                predictions.push(truth, &raw.map(|value| value / sum));
            }
            let loss = |temperature: f64| predictions.at_temperature(temperature).evaluate().summary.loss;
            prop_assert!(loss(predictions.best_temperature()) <= loss(other) + 1e-5);
        }
    }
}
