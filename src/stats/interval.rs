//! Confidence intervals of a measured proportion.

use serde::{Deserialize, Serialize};

/// The 97.5 % quantile of the normal distribution, for two-sided 95 % intervals.
pub(super) const Z: f64 = 1.959_963_984_540_054;

/// A 95 % interval.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Interval {
    /// Its lower end.
    pub low: f64,
    /// Its upper end.
    pub high: f64,
}

/// Returns the 95 % score interval of a proportion (Wilson 1927, "Probable Inference, the Law of
/// Succession, and Statistical Inference"): (p̂ + z²/2n ± z·√(p̂(1−p̂)/n + z²/4n²)) / (1 + z²/n). Without
/// samples the interval is 0 to 1.
pub fn wilson(successes: u64, samples: u64) -> Interval {
    if samples == 0 {
        return Interval { low: 0.0, high: 1.0 };
    }
    wilson_of_share(successes as f64 / samples as f64, samples as f64)
}

/// Returns the same interval of a share of so many samples, above 0, which need be no whole number.
pub(super) fn wilson_of_share(share: f64, n: f64) -> Interval {
    let centre = share + Z * Z / (2.0 * n);
    let spread = Z * (share * (1.0 - share) / n + Z * Z / (4.0 * n * n)).sqrt();
    let scale = 1.0 + Z * Z / n;
    Interval { low: ((centre - spread) / scale).max(0.0), high: ((centre + spread) / scale).min(1.0) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Expected values: SciPy's `binomtest(k, n).proportion_ci(0.95, "wilson")`.
    #[test]
    fn the_interval_agrees_with_scipy() {
        for (successes, samples, low, high) in WILSON {
            let interval = wilson(successes, samples);
            assert!((interval.low - low).abs() < 1e-12 && (interval.high - high).abs() < 1e-12, "{interval:?}");
        }
    }

    const WILSON: [(u64, u64, f64, f64); 4] = [
        (0, 10, 0.0, 0.27753279986288926),
        (7, 10, 0.39677814746114526, 0.892208732593699),
        (9740, 10000, 0.970694284357386, 0.9769416851872126),
        (10, 10, 0.7224672001371109, 1.0),
    ];

    proptest! {
        #[test]
        fn the_share_is_inside_and_more_samples_make_it_narrower(successes in 0u64..1000, failures in 0u64..1000) {
            prop_assume!(successes + failures > 0);
            let samples = successes + failures;
            let (once, tenfold) = (wilson(successes, samples), wilson(successes * 10, samples * 10));
            let share = successes as f64 / samples as f64;
            prop_assert!(0.0 <= once.low && once.low <= share + 1e-12 && share <= once.high + 1e-12 && once.high <= 1.0);
            prop_assert!(tenfold.high - tenfold.low < once.high - once.low);
        }
    }
}
