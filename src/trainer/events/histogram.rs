//! A histogram of numbers as TensorBoard shows it: thirty buckets of equal width.

use super::messages::Histogram;

const BUCKETS: usize = 30;

/// Counts numbers; those that are none are left out.
pub(super) fn histogram(values: &[f32]) -> Histogram {
    let finite = || values.iter().copied().filter(|value| value.is_finite()).map(f64::from);
    let (min, max) = (finite().fold(f64::INFINITY, f64::min), finite().fold(f64::NEG_INFINITY, f64::max));
    if min > max {
        return Histogram::default();
    }
    let width = (max - min) / BUCKETS as f64;
    let mut histogram = Histogram {
        min,
        max,
        num: finite().count() as f64,
        sum: finite().sum(),
        sum_squares: finite().map(|value| value * value).sum(),
        // One bucket is enough for numbers that are all alike.
        bucket_limit: if width > 0.0 {
            (1..=BUCKETS).map(|index| min + width * index as f64).collect()
        } else {
            vec![max]
        },
        bucket: vec![0.0; if width > 0.0 { BUCKETS } else { 1 }],
    };
    let last = histogram.bucket.len() - 1;
    for value in finite() {
        let index = if width > 0.0 { ((value - min) / width) as usize } else { 0 };
        histogram.bucket[index.min(last)] += 1.0;
    }
    if let Some(limit) = histogram.bucket_limit.last_mut() {
        // Rounding must not leave the greatest number outside.
        *limit = limit.max(max);
    }
    histogram
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn numbers_that_are_all_alike_or_none_make_a_histogram() {
        assert_eq!(histogram(&[f32::NAN]), Histogram::default());
        let zeros = histogram(&[0.0; 5]);
        assert_eq!((zeros.bucket_limit.as_slice(), zeros.bucket.as_slice()), (&[0.0][..], &[5.0][..]));
        let spread = histogram(&(0..=30).map(|i| i as f32).collect::<Vec<_>>());
        assert_eq!(spread.bucket[29], 2.0, "the greatest belongs to the last bucket");
    }

    proptest! {
        #[test]
        fn every_number_is_in_one_bucket(values in prop::collection::vec(-1e6f32..1e6, 1..100)) {
            let found = histogram(&values);
            prop_assert_eq!(found.bucket.iter().sum::<f64>(), values.len() as f64);
            prop_assert_eq!(found.bucket.len(), found.bucket_limit.len());
            prop_assert!(found.bucket_limit.is_sorted() && found.bucket_limit.last().unwrap() >= &found.max);
        }
    }
}
