//! Summarises a distribution as counts between edges: small enough for a manifest, and sufficient for a
//! comparison with a later distribution.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Counts of numbers in adjacent bins.
///
/// `edges` are ascending and separate the bins, so there is one fewer of them. Bin 0 holds the numbers below
/// the first edge, bin k those from edge k−1 to below edge k, the last bin those from the last edge on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Histogram {
    /// The edges between the bins.
    pub edges: Vec<f64>,
    /// The count of each bin.
    pub counts: Vec<u64>,
}

impl Histogram {
    /// Divides numbers at their quantiles into at most `bins` bins of about equal counts; into fewer where many
    /// numbers are equal. Numbers that are not finite are left out. An edge is half way between two of the numbers, so
    /// that a last digit that is lost in a file moves none of them into another bin.
    pub fn by_quantiles(numbers: impl IntoIterator<Item = f64>, bins: usize) -> Self {
        let mut sorted: Vec<f64> = numbers.into_iter().filter(|number| number.is_finite()).collect();
        sorted.sort_unstable_by(f64::total_cmp);
        // An edge at the smallest number would leave the first bin empty.
        let above_least = sorted.partition_point(|number| *number <= sorted[0]);
        let first = |quantile: usize| {
            let number = *sorted.get(above_least.max(quantile * sorted.len() / bins))?;
            let below = sorted[sorted.partition_point(|other| *other < number) - 1];
            let middle = 0.5 * below + 0.5 * number;
            // Neighbours that are as close as floats can be have nothing between them.
            Some(if middle > below { middle } else { number })
        };
        let mut edges: Vec<f64> = (1..bins).filter_map(first).collect();
        edges.dedup();
        let mut histogram = Self { counts: vec![0; edges.len() + 1], edges };
        for number in sorted {
            let bin = histogram.bin(number);
            histogram.counts[bin] += 1;
        }
        histogram
    }

    /// Returns the bin of a number.
    pub fn bin(&self, number: f64) -> usize {
        self.edges.partition_point(|edge| *edge <= number)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn bins_hold_equal_parts_of_what_is_spread_out() {
        let histogram = Histogram::by_quantiles((0..1000).rev().map(f64::from), 10);
        assert_eq!(histogram.counts, [100; 10]);
        assert_eq!(histogram.edges, [99.5, 199.5, 299.5, 399.5, 499.5, 599.5, 699.5, 799.5, 899.5]);
        assert_eq!((histogram.bin(-1e9), histogram.bin(99.4), histogram.bin(99.5), histogram.bin(1e9)), (0, 0, 1, 9));
    }

    #[test]
    fn equal_numbers_share_a_bin_and_what_is_no_number_none() {
        let histogram = Histogram::by_quantiles([1.0, 1.0, 1.0, f64::NAN, 1.0, 2.0], 4);
        assert_eq!((histogram.edges, histogram.counts), (vec![1.5], vec![4, 1]));
        let nothing = Histogram::by_quantiles([f64::INFINITY], 4);
        assert_eq!((nothing.edges, nothing.counts), (vec![], vec![0]));
    }

    proptest! {
        #[test]
        fn every_number_is_counted_once_and_no_bin_is_empty(numbers in prop::collection::vec(-3i8..4, 1..60), bins in 1usize..12) {
            let numbers: Vec<f64> = numbers.into_iter().map(f64::from).collect();
            let histogram = Histogram::by_quantiles(numbers.iter().copied(), bins);
            prop_assert!(histogram.edges.is_sorted_by(|a, b| a < b) && histogram.counts.len() <= bins);
            prop_assert_eq!(histogram.counts.len(), histogram.edges.len() + 1);
            prop_assert!(histogram.counts.iter().all(|count| *count > 0));
            for (bin, count) in histogram.counts.iter().enumerate() {
                let low = bin.checked_sub(1).map_or(f64::NEG_INFINITY, |edge| histogram.edges[edge]);
                let high = histogram.edges.get(bin).copied().unwrap_or(f64::INFINITY);
                let within = numbers.iter().filter(|number| (low..high).contains(*number)).count();
                prop_assert_eq!(within as u64, *count);
            }
        }
    }
}
