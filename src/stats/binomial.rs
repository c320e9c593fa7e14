//! Exact tails of the binomial distribution, and bounds of a share from them.

/// Returns P(X ≥ `least`) of X ~ Bin(`trials`, `share`).
///
/// The probabilities are summed by their ratios from the mode on, which needs no special function and is exact to
/// rounding for any number of trials.
pub fn binomial_tail(trials: u64, share: f64, least: u64) -> f64 {
    if least == 0 {
        return 1.0;
    }
    if least > trials || share <= 0.0 {
        return 0.0;
    }
    if share >= 1.0 {
        return 1.0;
    }
    let odds = share / (1.0 - share);
    let n = trials as f64;
    let mode = (((n + 1.0) * share) as u64).min(trials);
    let (mut all, mut tail) = (1.0, if mode >= least { 1.0 } else { 0.0 });
    let mut term = 1.0;
    for count in mode..trials {
        let k = count as f64;
        term *= (n - k) / (k + 1.0) * odds;
        all += term;
        if count + 1 >= least {
            tail += term;
        }
        if term < NEGLIGIBLE && count + 1 >= least {
            break;
        }
    }
    term = 1.0;
    for count in (1..=mode).rev() {
        let k = count as f64;
        term *= k / ((n - k + 1.0) * odds);
        all += term;
        if count > least {
            tail += term;
        }
        if term < NEGLIGIBLE {
            break;
        }
    }
    tail / all
}

/// Terms below this part of the greatest no longer count.
const NEGLIGIBLE: f64 = 1e-30;

/// Returns the exact upper bound of a share with this confidence (Clopper and Pearson 1934): the share at which so
/// few `successes` in `trials` have the probability 1 − `confidence`. Without trials it is 1.
pub fn share_at_most(successes: u64, trials: u64, confidence: f64) -> f64 {
    if trials == 0 || successes >= trials {
        return 1.0;
    }
    let chance = 1.0 - confidence;
    let (mut low, mut high) = (successes as f64 / trials as f64, 1.0);
    // Each step halves the bracket; 60 reach the precision of a float of 64 bits.
    for _ in 0..60 {
        let middle = 0.5 * (low + high);
        if 1.0 - binomial_tail(trials, middle, successes + 1) > chance {
            low = middle;
        } else {
            high = middle;
        }
    }
    0.5 * (low + high)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Expected values: SciPy's `binom.sf(k - 1, n, p)`.
    #[test]
    fn tails_agree_with_scipy() {
        for (trials, share, least, expected) in TAILS {
            let found = binomial_tail(trials, share, least);
            assert!((found - expected).abs() < 1e-12, "{trials} {share} {least}: {found}");
        }
    }

    const TAILS: [(u64, f64, u64, f64); 4] =
        [(10, 0.5, 5, 0.623046875), (10, 0.3, 10, 5.9049e-6), (3, 0.2, 1, 0.488), (5, 0.9, 0, 1.0)];

    #[test]
    fn without_errors_the_bound_is_the_rule_of_three() {
        for (trials, bound) in [(299, 0.01), (598, 0.005), (2995, 0.001)] {
            assert!(share_at_most(0, trials, 0.95) <= bound && share_at_most(0, trials - 1, 0.95) > bound);
        }
        assert_eq!((share_at_most(0, 0, 0.95), share_at_most(3, 3, 0.95)), (1.0, 1.0));
    }

    proptest! {
        #[test]
        fn tails_fall_with_the_count_and_agree_with_the_sum(trials in 1u64..40, share in 0.01f64..0.99) {
            let choose = |k: u64| (0..k).map(|i| (trials - i) as f64 / (i + 1) as f64).product::<f64>();
            let mut sum = 0.0;
            for least in (0..=trials).rev() {
                sum += choose(least) * share.powi(least as i32) * (1.0 - share).powi((trials - least) as i32);
                prop_assert!((binomial_tail(trials, share, least) - sum).abs() < 1e-12);
            }
        }

        #[test]
        fn the_bound_is_where_the_tail_is_what_was_asked(trials in 2u64..3000, part in 0.0f64..1.0) {
            let successes = ((trials - 1) as f64 * part) as u64;
            let bound = share_at_most(successes, trials, 0.95);
            prop_assert!((1.0 - binomial_tail(trials, bound, successes + 1) - 0.05).abs() < 1e-9);
        }
    }
}
