//! The resemblance of neighbouring requests of a stream.
//!
//! Traffic comes in bursts of a kind. A test that takes each request for independent then finds a change where
//! there is none.

/// Lags beyond this one are not looked at.
const MOST_LAGS: usize = 200;

/// The sum over lags ends where the correlation falls below this.
const LEAST_CORRELATION: f64 = 0.02;

/// Returns the autocorrelation time of a sequence of kinds, 1 + 2 Σ r(l): so many neighbours say as much as one
/// independent sample. It is 1 for independent ones and where nothing varies.
///
/// r(l) is the chance that two samples at this distance are of one kind, above that of any two, as a part of its
/// greatest value: the mean correlation of the indicators of the kinds, weighted by their variances.
pub fn autocorrelation_time(kinds: &[u16]) -> f64 {
    let n = kinds.len();
    let most = kinds.iter().copied().max().map_or(0, usize::from);
    let mut counts = vec![0u64; most + 1];
    kinds.iter().for_each(|kind| counts[usize::from(*kind)] += 1);
    let by_chance: f64 = counts.iter().map(|count| (*count as f64 / n as f64).powi(2)).sum();
    if n < 3 || by_chance >= 1.0 {
        return 1.0;
    }
    sum_over_lags(n, |lag| {
        let same = kinds.iter().zip(&kinds[lag..]).filter(|(a, b)| a == b).count();
        (same as f64 / (n - lag) as f64 - by_chance) / (1.0 - by_chance)
    })
}

/// Returns 1 + 2 Σ r(l). The mean is taken from the sequence itself, which makes every r too small by about τ/n; that
/// is added back, so that long bursts are not taken for short ones.
fn sum_over_lags(n: usize, correlation: impl Fn(usize) -> f64) -> f64 {
    let mut tau = 1.0;
    for lag in 1..=MOST_LAGS.min(n / 2) {
        let r = correlation(lag) + tau / n as f64;
        if r < LEAST_CORRELATION {
            break;
        }
        tau += 2.0 * r;
    }
    tau
}

/// Returns the median; 1 without values.
pub fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    let mut sorted: Vec<f64> = values.into_iter().collect();
    sorted.sort_unstable_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => 1.0,
        odd if odd % 2 == 1 => sorted[middle],
        _ => 0.5 * (sorted[middle - 1] + sorted[middle]),
    }
}
