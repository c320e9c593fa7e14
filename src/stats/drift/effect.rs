//! Sizes of a change between two distributions over the same bins.

use serde::{Deserialize, Serialize};

use crate::stats::interval::{Interval, Z};

/// A stream is alarmed only if its index is above this with all of its interval.
pub(super) const LEAST_EFFECT: f64 = 0.05;

/// The distance of live counts from those of a reference.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Effect {
    /// The population stability index less what chance alone gives: 0 on average without a change. For a normal
    /// distribution that moves by δ standard deviations it is about δ².
    pub psi: f64,
    /// The 95 % interval of it.
    pub interval: Interval,
    /// The probability of so large an index without a change.
    pub p_value: f64,
}

/// Compares live counts with those of a reference, bin by bin; `None` if either is empty or they differ in bins.
///
/// With p and q the shares after half a count is added to each bin, PSI = Σ (q − p)·ln(q/p). Without a change PSI/k is
/// about χ² with B − 1 degrees of freedom, k = τ/n + 1/m: n live samples count as n/τ independent ones.
pub fn effect(reference: &[u64], live: &[u64], tau: f64) -> Option<Effect> {
    let (known, seen) = (reference.iter().sum::<u64>() as f64, live.iter().sum::<u64>() as f64);
    if known == 0.0 || seen == 0.0 || reference.len() != live.len() || live.len() < 2 {
        return None;
    }
    let (bins, half) = (live.len() as f64, 0.5 * live.len() as f64);
    let terms = reference.iter().zip(live).map(|(reference, live)| {
        let p = (*reference as f64 + 0.5) / (known + half);
        let q = (*live as f64 + 0.5) / (seen + half);
        (q - p) * (q / p).ln()
    });
    let raw: f64 = terms.sum();
    let k = tau.max(1.0) / seen + 1.0 / known;
    let psi = raw - (bins - 1.0) * k;
    let spread = Z * (2.0 * k * k * (bins - 1.0) + 4.0 * k * psi.max(0.0)).sqrt();
    let p_value = chi_squared_above(raw / k, live.len() as u32 - 1);
    Some(Effect { psi, interval: Interval { low: psi - spread, high: psi + spread }, p_value })
}

/// Returns the least shift in standard deviations that a window of so many samples shows with its whole interval above
/// the level of alarms, on average; infinity without samples. A shift of δ has an index of about δ².
pub fn visible_shift(reference: &[u64], seen: u64, tau: f64) -> f64 {
    let known: u64 = reference.iter().sum();
    if known == 0 || seen == 0 {
        return f64::INFINITY;
    }
    let (freedom, k) = (reference.len() as f64 - 1.0, tau.max(1.0) / seen as f64 + 1.0 / known as f64);
    let low = |psi: f64| psi - Z * (2.0 * k * k * freedom + 4.0 * k * psi).sqrt();
    let (mut least, mut most) = (0.0, 1.0);
    while low(most) < LEAST_EFFECT {
        most *= 2.0;
    }
    for _ in 0..40 {
        let middle = 0.5 * (least + most);
        if low(middle) < LEAST_EFFECT { least = middle } else { most = middle }
    }
    most.sqrt()
}

/// Returns P(χ² > `value`) with so many degrees of freedom, by the finite sums that exist for whole numbers of them.
pub fn chi_squared_above(value: f64, freedom: u32) -> f64 {
    if value <= 0.0 || freedom == 0 {
        return if value <= 0.0 { 1.0 } else { 0.0 };
    }
    let half = 0.5 * value;
    // Γ(a, x)/Γ(a) rises by x^a e^(−x)/Γ(a + 1) with each step of a from ½ or 1 on.
    let is_odd = freedom % 2 == 1;
    let mut sum = if is_odd { libm::erfc(half.sqrt()) } else { (-half).exp() };
    let mut a = if is_odd { 0.5 } else { 1.0 };
    while a < f64::from(freedom) / 2.0 {
        sum += (a * half.ln() - half - libm::lgamma(a + 1.0)).exp();
        a += 1.0;
    }
    sum.min(1.0)
}

/// Returns the Jensen-Shannon distance of two sets of counts, with logarithms to base 2: 0 to 1. 0 if one is empty.
pub fn jensen_shannon(first: &[u64], second: &[u64]) -> f64 {
    let totals = [first, second].map(|counts| counts.iter().sum::<u64>() as f64);
    if totals.contains(&0.0) {
        return 0.0;
    }
    let part = |share: f64, middle: f64| if share > 0.0 { share * (share / middle).log2() } else { 0.0 };
    let terms = first.iter().zip(second).map(|(first, second)| {
        let (p, q) = (*first as f64 / totals[0], *second as f64 / totals[1]);
        let middle = 0.5 * (p + q);
        part(p, middle) + part(q, middle)
    });
    (0.5 * terms.sum::<f64>()).max(0.0).sqrt()
}

/// Returns the largest difference between the cumulative shares of two sets of counts in ascending bins, which is the
/// statistic of Kolmogorov and Smirnov on the bins. 0 if one is empty.
pub fn kolmogorov_smirnov(first: &[u64], second: &[u64]) -> f64 {
    gaps(first, second).fold(0.0, |most, gap| gap.abs().max(most))
}

/// Returns the first Wasserstein distance of two sets of counts at these ascending places. 0 if one is empty.
pub fn wasserstein(places: &[f64], first: &[u64], second: &[u64]) -> f64 {
    gaps(first, second).zip(places.windows(2)).map(|(gap, pair)| gap.abs() * (pair[1] - pair[0])).sum()
}

/// Returns the differences of the cumulative shares.
fn gaps<'a>(first: &'a [u64], second: &'a [u64]) -> impl Iterator<Item = f64> + 'a {
    let totals = [first, second].map(|counts| counts.iter().sum::<u64>());
    let share = move |count: u64, total: u64| count as f64 / total as f64;
    let mut sums = [0, 0];
    first.iter().zip(second).filter(move |_| !totals.contains(&0)).map(move |(first, second)| {
        sums = [sums[0] + first, sums[1] + second];
        share(sums[0], totals[0]) - share(sums[1], totals[1])
    })
}

/// Returns a place for each bin between ascending edges: the middle, and for the outer bins half a neighbour's width
/// beyond the edge.
pub fn places(edges: &[f64]) -> Vec<f64> {
    let (Some(first), Some(last)) = (edges.first(), edges.last()) else { return vec![0.0] };
    let half = |pair: Option<&[f64]>| pair.map_or(0.5, |pair| 0.5 * (pair[1] - pair[0]));
    let inner = edges.windows(2).map(|pair| 0.5 * (pair[0] + pair[1]));
    let low = first - half(edges.windows(2).next());
    let high = last + half(edges.windows(2).last());
    std::iter::once(low).chain(inner).chain(std::iter::once(high)).collect()
}

/// Returns the standard deviation of counts at these places; 0 if there are none.
pub fn deviation(places: &[f64], counts: &[u64]) -> f64 {
    let all = counts.iter().sum::<u64>() as f64;
    if all == 0.0 {
        return 0.0;
    }
    let mean = |of: &dyn Fn(f64) -> f64| {
        places.iter().zip(counts).map(|(place, count)| of(*place) * *count as f64).sum::<f64>() / all
    };
    let centre = mean(&|place| place);
    mean(&|place| (place - centre).powi(2)).sqrt()
}

/// Returns which of several p-values are significant when at most this share of those named may be false (Benjamini
/// and Hochberg 1995).
pub fn benjamini_hochberg(p_values: &[f64], rate: f64) -> Vec<bool> {
    let mut order: Vec<usize> = (0..p_values.len()).collect();
    order.sort_unstable_by(|a, b| p_values[*a].total_cmp(&p_values[*b]));
    let limit = |place: usize| rate * (place + 1) as f64 / p_values.len() as f64;
    let passing = (0..order.len()).rev().find(|place| p_values[order[*place]] <= limit(*place));
    let mut named = vec![false; p_values.len()];
    for index in passing.map_or(&[][..], |last| &order[..=last]) {
        named[*index] = true;
    }
    named
}
