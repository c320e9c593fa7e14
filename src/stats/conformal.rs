//! Sets of classes with a stated coverage, and answers with a stated rate of errors.
//!
//! Split conformal prediction as it is usually done reaches its coverage on average over calibration sets, which
//! half of them miss. The rank chosen here makes the coverage hold with a stated confidence.

use super::binomial::{binomial_tail, share_at_most};

/// Returns the rank k (from 1) whose k-th smallest of n exchangeable scores covers a further one with probability
/// at least 1 − `alpha`, with confidence 1 − `delta`: the least k with P(Bin(n, 1 − α) ≥ k) ≤ δ. There is none
/// if the samples are too few.
pub fn conformal_rank(samples: u64, alpha: f64, delta: f64) -> Option<u64> {
    if binomial_tail(samples, 1.0 - alpha, samples) > delta {
        return None;
    }
    // The tail falls with k.
    let (mut low, mut high) = (0, samples);
    while high - low > 1 {
        let middle = low + (high - low) / 2;
        if binomial_tail(samples, 1.0 - alpha, middle) <= delta { high = middle } else { low = middle }
    }
    Some(high)
}

/// Returns the score up to which a class belongs to the set; scores are 1 − the probability of the true class. They
/// are sorted. `None` if they are too few.
pub fn conformal_threshold(scores: &mut [f64], alpha: f64, delta: f64) -> Option<f64> {
    let rank = conformal_rank(scores.len() as u64, alpha, delta)?;
    scores.sort_unstable_by(f64::total_cmp);
    Some(scores[rank as usize - 1])
}

/// Returns true if a class of this probability belongs to the set of a threshold.
pub fn belongs(share: f32, threshold: f64) -> bool {
    1.0 - f64::from(share) <= threshold
}

/// Returns true if an answer of this margin is withheld. Margins are compared in 32 bits, as they are kept, so that
/// whoever looks at what is kept comes to the same answer.
pub fn is_withheld(margin: f64, least: f64) -> bool {
    (margin as f32) < least as f32
}

/// The answers that may be given so that few of them are wrong.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Selective {
    /// Answers with at least this margin are given.
    pub margin: f64,
    /// The samples that were answered.
    pub answered: u64,
    /// The wrong ones among them.
    pub errors: u64,
}

/// Returns the laxest threshold on the margin that keeps the share of wrong answers among those given at most
/// `epsilon` with this confidence. Each sample is its margin and whether the answer was right.
///
/// Thresholds are tried from the strictest on that could pass, each by the exact binomial bound, and the first
/// failure ends the search (fixed-sequence testing), so that no correction for their number is needed.
pub fn selective_threshold(samples: &mut [(f64, bool)], epsilon: f64, confidence: f64) -> Option<Selective> {
    samples.sort_unstable_by(|a, b| b.0.total_cmp(&a.0));
    let least = ((1.0 - confidence).ln() / (-epsilon).ln_1p()).ceil() as usize;
    let (mut best, mut errors) = (None, 0);
    for (index, (margin, correct)) in samples.iter().enumerate() {
        errors += u64::from(!correct);
        let answered = index + 1;
        let has_equal = samples.get(answered).is_some_and(|next| next.0 == *margin);
        if answered < least || has_equal {
            continue;
        }
        if share_at_most(errors, answered as u64, confidence) > epsilon {
            break;
        }
        best = Some(Selective { margin: *margin, answered: answered as u64, errors });
    }
    best
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rand::{Rng, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;

    #[test]
    fn ranks_are_those_of_the_binomial_quantile() {
        let ranks = [
            (0.01, [(2000, 1988), (5000, 4962), (10000, 9917), (1000, 996)]),
            (0.05, [(2000, 1917), (5000, 4776), (10000, 9537), (59, 59)]),
            (0.10, [(2000, 1823), (5000, 4536), (10000, 9050), (29, 29)]),
        ];
        for (alpha, of_samples) in ranks {
            for (samples, rank) in of_samples {
                assert_eq!(conformal_rank(samples, alpha, 0.05), Some(rank), "{samples} at {alpha}");
            }
        }
        let too_few = [(298, 0.01), (58, 0.05), (28, 0.1), (0, 0.1)];
        assert!(too_few.iter().all(|(samples, alpha)| conformal_rank(*samples, *alpha, 0.05).is_none()));
        assert_eq!(conformal_rank(299, 0.01, 0.05), Some(299));
    }

    /// The coverage of a threshold on uniform scores is the threshold itself.
    #[test]
    fn the_coverage_holds_in_as_many_calibrations_as_stated() {
        let mut rng = ChaCha8Rng::seed_from_u64(11);
        let mut uniform = || (rng.next_u64() >> 11) as f64 / (1u64 << 53) as f64;
        let (mut stated, mut usual) = (0, 0);
        for _ in 0..1000 {
            let mut scores: Vec<f64> = (0..1000).map(|_| uniform()).collect();
            stated += i32::from(conformal_threshold(&mut scores, 0.1, 0.05).unwrap() >= 0.9);
            usual += i32::from(scores[(1001.0f64 * 0.9).ceil() as usize - 1] >= 0.9);
        }
        assert!(stated >= 930, "{stated}");
        assert!((430..600).contains(&usual), "without the rank {usual}");
    }

    /// Ten thousand calibration scores are drawn out of fifteen thousand with many ties, as a sure classifier has them. The
    /// threshold covers 99 % of all in at least as many draws as stated; the usual rank does not.
    #[test]
    fn a_coverage_of_99_percent_holds_over_resplits() {
        let mut rng = ChaCha8Rng::seed_from_u64(5);
        let mut below = |count: usize| (rng.next_u64() % count as u64) as usize;
        let mut scores: Vec<f64> = (0..15_000)
            .map(|_| if below(10) < 6 { 0.0 } else { (below(1 << 20) as f64 / f64::from(1 << 20)).powi(6) })
            .collect();
        // What all of them together have beyond a threshold is what a threshold misses.
        let all = scores.clone();
        let (mut stated, mut usual) = (0, 0);
        for _ in 0..1000 {
            for place in 0..10_000 {
                let other = place + below(scores.len() - place);
                scores.swap(place, other);
            }
            let mut part = scores[..10_000].to_vec();
            let threshold = conformal_threshold(&mut part, 0.01, 0.05).unwrap();
            let covers = |threshold: f64| all.iter().filter(|score| **score <= threshold).count() >= 14_850;
            stated += i32::from(covers(threshold));
            usual += i32::from(covers(part[(10_001.0f64 * 0.99).ceil() as usize - 1]));
        }
        assert!(stated >= 930, "{stated}");
        assert!(usual < 750, "without the rank {usual}");
    }

    #[test]
    fn the_threshold_is_the_laxest_before_the_first_failure() {
        let mut samples: Vec<(f64, bool)> = (0..1000).map(|index| (f64::from(index), index >= 500)).collect();
        let found = selective_threshold(&mut samples, 0.01, 0.95).unwrap();
        // One error in 501 has the bound 0.9 %, two in 502 have 1.3 %.
        assert_eq!(found, Selective { margin: 499.0, answered: 501, errors: 1 });
        assert_eq!(selective_threshold(&mut samples[..298].to_vec(), 0.01, 0.95), None);
        let mut equal = vec![(1.0, true); 300];
        equal.push((1.0, false));
        assert_eq!(selective_threshold(&mut equal, 0.01, 0.95), None, "equal margins are answered together");
    }

    proptest! {
        #[test]
        fn the_bound_holds_for_what_was_chosen(wrong in prop::collection::vec(0u8..100, 1..600)) {
            let mut samples: Vec<(f64, bool)> =
                wrong.iter().enumerate().map(|(index, wrong)| (index as f64, *wrong > 1)).collect();
            if let Some(found) = selective_threshold(&mut samples, 0.05, 0.95) {
                let answered = samples.iter().filter(|sample| sample.0 >= found.margin);
                prop_assert_eq!(answered.clone().count() as u64, found.answered);
                prop_assert_eq!(answered.filter(|sample| !sample.1).count() as u64, found.errors);
                prop_assert!(share_at_most(found.errors, found.answered, 0.95) <= 0.05);
            }
        }
    }
}
