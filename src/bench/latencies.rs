//! Durations, recorded in nanoseconds with three significant digits, and read as percentiles.

use std::time::Duration;

use hdrhistogram::Histogram;
use serde::Serialize;

use crate::error::{Error, Result};

/// Longer durations count as this long.
const LONGEST: Duration = Duration::from_secs(3600);
/// The steps of [`Latencies::curve`] between two powers of ten of `1 / (1 - quantile)`.
const CURVE_STEPS: u32 = 12;

/// A high dynamic range histogram with exact smallest, largest and sum.
#[derive(Debug, Clone)]
pub struct Latencies {
    histogram: Histogram<u64>,
    min: u64,
    max: u64,
    sum: u128,
}

/// The rows of a percentile table, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Percentiles {
    /// The smallest.
    pub min: f64,
    /// The arithmetic mean.
    pub mean: f64,
    /// The median.
    pub p50: f64,
    /// 90 % are not above.
    pub p90: f64,
    /// 95 % are not above.
    pub p95: f64,
    /// 99 % are not above.
    pub p99: f64,
    /// 99.9 % are not above.
    #[serde(rename = "p99.9")]
    pub p99_9: f64,
    /// The largest.
    pub max: f64,
}

/// A point of the percentile curve.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct CurvePoint {
    /// The share of durations that are not above, from 0 to below 1.
    pub quantile: f64,
    /// The duration in milliseconds.
    pub ms: f64,
}

/// A bin of the distribution.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Bin {
    /// The lower edge in milliseconds.
    pub from_ms: f64,
    /// The upper edge in milliseconds, inclusive.
    pub to_ms: f64,
    /// Durations in it.
    pub count: u64,
}

impl Latencies {
    /// An empty histogram; it takes 350 kB and never more.
    ///
    /// # Errors
    /// [`Error::Internal`] if the bounds do not make a histogram, which they do.
    pub fn new() -> Result<Self> {
        let histogram = Histogram::new_with_bounds(1, LONGEST.as_nanos() as u64, 3)
            .map_err(|error| Error::internal("a histogram could not be made", error.to_string()))?;
        Ok(Self { histogram, min: u64::MAX, max: 0, sum: 0 })
    }

    /// Adds a duration.
    pub fn record(&mut self, duration: Duration) {
        let nanoseconds = duration.min(LONGEST).as_nanos() as u64;
        self.histogram.saturating_record(nanoseconds);
        self.min = self.min.min(nanoseconds);
        self.max = self.max.max(nanoseconds);
        self.sum += u128::from(nanoseconds);
    }

    /// Adds everything of another.
    ///
    /// # Errors
    /// [`Error::Internal`] if the bounds differ, which they do not.
    pub fn merge(&mut self, other: &Self) -> Result<()> {
        self.histogram
            .add(&other.histogram)
            .map_err(|error| Error::internal("histograms could not be added", error.to_string()))?;
        self.min = self.min.min(other.min);
        self.max = self.max.max(other.max);
        self.sum += other.sum;
        Ok(())
    }

    /// Returns the number of durations.
    pub fn len(&self) -> u64 {
        self.histogram.len()
    }

    /// Returns true if there are none.
    pub fn is_empty(&self) -> bool {
        self.histogram.is_empty()
    }

    /// The arithmetic mean, zero without durations.
    pub fn mean(&self) -> Duration {
        nanoseconds((self.sum / u128::from(self.len().max(1))) as u64)
    }

    /// The duration of this rank, 1 being the smallest; `None` beyond the last.
    pub fn at_rank(&self, rank: u64) -> Option<Duration> {
        let mut seen = 0;
        let bucket = self.histogram.iter_recorded().find(|bucket| {
            seen += bucket.count_since_last_iteration();
            seen >= rank
        })?;
        Some(nanoseconds(bucket.value_iterated_to().clamp(self.min, self.max)))
    }

    /// The smallest duration that a share of all is not above: `quantile` from 0 to 1, of these and
    /// of `slower` more that are slower than any; `None` if it falls among those.
    pub fn quantile_with(&self, quantile: f64, slower: u64) -> Option<Duration> {
        let total = self.len() + slower;
        self.at_rank(rank(quantile, total))
    }

    /// The rows of a table; `None` without durations.
    pub fn percentiles(&self) -> Option<Percentiles> {
        let ms = |quantile| self.quantile_with(quantile, 0).map(milliseconds);
        Some(Percentiles {
            min: ms(0.0)?,
            mean: milliseconds(self.mean()),
            p50: ms(0.5)?,
            p90: ms(0.9)?,
            p95: ms(0.95)?,
            p99: ms(0.99)?,
            p99_9: ms(0.999)?,
            max: ms(1.0)?,
        })
    }

    /// Returns the percentile curve, evenly spaced in the logarithm of `1 / (1 - quantile)`, as far as the number of
    /// durations supports it.
    pub fn curve(&self) -> Vec<CurvePoint> {
        let decades = (self.len().max(1) as f64).log10();
        let points = (decades * f64::from(CURVE_STEPS)).floor() as u32;
        let mut ranks = (0..=points).map(|step| {
            let quantile = 1.0 - 10f64.powf(-f64::from(step) / f64::from(CURVE_STEPS));
            (quantile, rank(quantile, self.len()))
        });
        let mut curve = Vec::new();
        let (mut seen, mut wanted) = (0, ranks.next());
        for bucket in self.histogram.iter_recorded() {
            seen += bucket.count_since_last_iteration();
            let value = bucket.value_iterated_to().clamp(self.min, self.max);
            while let Some((quantile, _)) = wanted.filter(|(_, rank)| *rank <= seen) {
                curve.push(CurvePoint { quantile, ms: milliseconds(nanoseconds(value)) });
                wanted = ranks.next();
            }
        }
        curve
    }

    /// Returns the distribution in at most `bins` bins whose edges have a constant ratio.
    pub fn bins(&self, bins: usize) -> Vec<Bin> {
        if self.is_empty() || bins == 0 {
            return Vec::new();
        }
        let (low, high) = (self.min.max(1) as f64, self.max.max(1) as f64);
        let ratio = (high / low).max(1.0 + 1e-9).ln();
        // A spread below the histogram's own resolution has one bin.
        let bins = if high / low < 1.002 { 1 } else { bins };
        let edge = |index: usize| low * (ratio * index as f64 / bins as f64).exp();
        let mut found: Vec<Bin> =
            (0..bins).map(|index| Bin { from_ms: edge(index) / 1e6, to_ms: edge(index + 1) / 1e6, count: 0 }).collect();
        for bucket in self.histogram.iter_recorded() {
            let value = (bucket.value_iterated_to().clamp(self.min, self.max)).max(1) as f64;
            let place = ((value / low).ln() / ratio * bins as f64).ceil() as usize;
            found[place.saturating_sub(1).min(bins - 1)].count += bucket.count_since_last_iteration();
        }
        found
    }
}

/// Returns the rank, from 1, of the smallest of `total` elements that a share `quantile` of them does not exceed.
fn rank(quantile: f64, total: u64) -> u64 {
    // 0.99 * 100 is 99.00000000000001 or less than 99 according to taste; neither may move the rank.
    let exact = quantile.clamp(0.0, 1.0) * total as f64;
    ((exact - exact.abs() * 1e-12).ceil() as u64).clamp(1, total.max(1))
}

fn nanoseconds(count: u64) -> Duration {
    Duration::from_nanos(count)
}

/// Returns a duration in milliseconds.
pub fn milliseconds(duration: Duration) -> f64 {
    duration.as_nanos() as f64 / 1e6
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(micros: &[u64]) -> Latencies {
        let mut latencies = Latencies::new().unwrap();
        micros.iter().for_each(|&value| latencies.record(Duration::from_micros(value)));
        latencies
    }

    #[test]
    fn percentiles_are_those_of_the_definition() {
        let rows = of(&(1..=1000).map(|n| n * 10).collect::<Vec<_>>()).percentiles().unwrap();
        for (row, expected) in [
            (rows.min, 0.01),
            (rows.mean, 5.005),
            (rows.p50, 5.0),
            (rows.p90, 9.0),
            (rows.p95, 9.5),
            (rows.p99, 9.9),
            (rows.p99_9, 9.99),
            (rows.max, 10.0),
        ] {
            assert!((row / expected - 1.0).abs() < 1e-3, "{row} {expected}");
        }
        assert_eq!(of(&[]).percentiles(), None);
    }

    #[test]
    fn failures_are_slower_than_anything() {
        let latencies = of(&[1000; 99]);
        assert!(latencies.quantile_with(0.99, 1).is_some());
        assert_eq!(latencies.quantile_with(0.99, 2), None);
        assert_eq!(of(&[]).quantile_with(0.5, 10), None);
    }

    #[test]
    fn ranks_are_exact_where_floating_point_is_not() {
        for (quantile, total, expected) in
            [(0.99, 100, 99), (0.999, 1000, 999), (0.07, 100, 7), (0.5, 3, 2), (0.0, 5, 1), (1.0, 5, 5), (0.95, 20, 19)]
        {
            assert_eq!(rank(quantile, total), expected, "{quantile} of {total}");
        }
    }

    proptest! {
        #[test]
        fn rows_rise_and_bins_hold_everything(values in proptest::collection::vec(0u64..100_000_000, 1..300), bins in 1usize..50) {
            let latencies = of(&values);
            let rows = latencies.percentiles().unwrap();
            let rising = [rows.min, rows.p50, rows.p90, rows.p95, rows.p99, rows.p99_9, rows.max];
            prop_assert!(rising.is_sorted(), "{:?}", rising);
            prop_assert!(rows.min <= rows.mean && rows.mean <= rows.max);
            prop_assert_eq!(latencies.bins(bins).iter().map(|bin| bin.count).sum::<u64>(), values.len() as u64);
            let curve = latencies.curve();
            prop_assert!(curve.is_sorted_by(|a, b| a.quantile < b.quantile && a.ms <= b.ms));
            prop_assert!(!curve.is_empty());
        }

        #[test]
        fn a_quantile_is_within_the_resolution_of_the_sorted_list(
            mut values in proptest::collection::vec(1u64..10_000_000, 1..300), quantile in 0f64..=1.0,
        ) {
            let found = of(&values).quantile_with(quantile, 0).unwrap().as_secs_f64() * 1e6;
            values.sort_unstable();
            let exact = values[rank(quantile, values.len() as u64) as usize - 1] as f64;
            prop_assert!((found / exact - 1.0).abs() <= 1e-3, "{} {}", found, exact);
        }

        #[test]
        fn merging_is_recording_together(a in proptest::collection::vec(0u64..1_000_000, 0..50), b in proptest::collection::vec(0u64..1_000_000, 0..50)) {
            let mut merged = of(&a);
            merged.merge(&of(&b)).unwrap();
            prop_assert_eq!(merged.percentiles(), of(&[a, b].concat()).percentiles());
        }
    }
}
