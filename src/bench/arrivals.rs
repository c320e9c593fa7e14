//! The schedule of an open loop: the intended start of each request, a function of rate and seed.

use std::time::Duration;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

/// The distribution of the gaps between arrivals.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Pattern {
    /// All gaps are alike.
    #[default]
    Constant,
    /// Gaps are exponential, as from many independent callers.
    Poisson,
}

/// The intended starts of one generator thread, as rising offsets from the start of the step.
///
/// Two clones give the same starts: one wakes the thread, the other is consumed by it.
#[derive(Debug, Clone)]
pub struct Arrivals {
    pattern: Pattern,
    /// Arrivals per second of this share.
    rate: f64,
    /// Offset of the first arrival, in gaps of this share.
    phase: f64,
    index: u64,
    /// The last start of a Poisson process, in seconds.
    clock: f64,
    rng: ChaCha8Rng,
    next: Option<Duration>,
    end: Option<Duration>,
    left: u64,
}

impl Arrivals {
    /// Creates share number `share` of `shares` of a schedule of `rate` arrivals per second. Together, the shares of a
    /// constant schedule are evenly spaced, and those of a Poisson schedule are a Poisson process.
    pub fn new(pattern: Pattern, rate: f64, (share, shares): (u64, u64), seed: u64) -> Self {
        let shares_f64 = shares.max(1) as f64;
        let mut arrivals = Self {
            pattern,
            rate: rate / shares_f64,
            phase: share as f64 / shares_f64,
            index: 0,
            clock: 0.0,
            rng: ChaCha8Rng::seed_from_u64(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ share),
            next: None,
            end: None,
            left: u64::MAX,
        };
        arrivals.advance();
        arrivals
    }

    /// Ends the schedule before this offset.
    #[must_use]
    pub fn until(mut self, end: Option<Duration>) -> Self {
        self.end = end;
        self
    }

    /// Ends the schedule after this many arrivals of this share.
    #[must_use]
    pub fn at_most(mut self, limit: u64) -> Self {
        self.left = limit;
        self
    }

    /// Returns the next start without taking it.
    pub fn peek(&self) -> Option<Duration> {
        self.next.filter(|next| self.left > 0 && self.end.is_none_or(|end| *next < end))
    }

    /// Takes the next start if it is not after `now`.
    pub fn due(&mut self, now: Duration) -> Option<Duration> {
        self.peek().filter(|next| *next <= now)?;
        self.next()
    }

    fn advance(&mut self) {
        let seconds = match self.pattern {
            // By multiplication: a sum of gaps would drift.
            Pattern::Constant => (self.index as f64 + self.phase) / self.rate,
            Pattern::Poisson => {
                let uniform: f64 = self.rng.random();
                // 1 - uniform is never 0.
                self.clock += -(1.0 - uniform).ln() / self.rate;
                self.clock
            }
        };
        self.index += 1;
        self.next = Duration::try_from_secs_f64(seconds).ok();
    }
}

impl Iterator for Arrivals {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        let next = self.peek()?;
        self.left -= 1;
        self.advance();
        Some(next)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn constant_arrivals_do_not_drift_and_shares_interleave() {
        let second = Some(Duration::from_secs(1));
        let one: Vec<_> = Arrivals::new(Pattern::Constant, 1000.0, (0, 1), 0).until(second).collect();
        assert_eq!(one.len(), 1000);
        assert_eq!(one[999], Duration::from_millis(999));
        let mut three: Vec<_> =
            (0..3).flat_map(|share| Arrivals::new(Pattern::Constant, 1000.0, (share, 3), 0).until(second)).collect();
        three.sort();
        assert_eq!(three.len(), 1000);
        for (a, b) in three.iter().zip(&one) {
            assert!(a.abs_diff(*b) < Duration::from_nanos(10));
        }
    }

    #[test]
    fn poisson_arrivals_have_the_rate_and_the_spread_of_a_poisson_process() {
        let count = 20_000;
        let starts: Vec<_> = Arrivals::new(Pattern::Poisson, 500.0, (0, 1), 7).at_most(count).collect();
        let gaps: Vec<f64> = starts.windows(2).map(|pair| (pair[1] - pair[0]).as_secs_f64()).collect();
        let mean = gaps.iter().sum::<f64>() / gaps.len() as f64;
        let variance = gaps.iter().map(|gap| (gap - mean).powi(2)).sum::<f64>() / gaps.len() as f64;
        // Mean and standard deviation of an exponential are the same.
        assert!((mean * 500.0 - 1.0).abs() < 0.03, "{mean}");
        assert!((variance.sqrt() * 500.0 - 1.0).abs() < 0.05, "{variance}");
    }

    #[test]
    fn what_is_not_due_is_not_taken() {
        let mut arrivals = Arrivals::new(Pattern::Constant, 10.0, (0, 1), 0).at_most(2);
        assert_eq!(arrivals.due(Duration::ZERO), Some(Duration::ZERO));
        assert_eq!(arrivals.due(Duration::from_millis(99)), None);
        assert_eq!(arrivals.due(Duration::from_millis(100)), Some(Duration::from_millis(100)));
        assert_eq!(arrivals.due(Duration::from_secs(9)), None);
    }

    proptest! {
        #[test]
        fn clones_agree_starts_never_fall_and_bounds_hold(
            poisson: bool, rate in 0.5f64..50_000.0, share in 0u64..4, seed: u64, limit in 0u64..500,
        ) {
            let pattern = if poisson { Pattern::Poisson } else { Pattern::Constant };
            let end = Duration::from_secs(2);
            let arrivals = Arrivals::new(pattern, rate, (share, 4), seed).until(Some(end)).at_most(limit);
            let starts: Vec<_> = arrivals.clone().collect();
            prop_assert_eq!(&starts, &arrivals.collect::<Vec<_>>());
            prop_assert!(starts.len() as u64 <= limit);
            prop_assert!(starts.is_sorted() && starts.iter().all(|start| *start < end));
        }
    }
}
