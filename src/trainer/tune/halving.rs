//! Which trials are worth more epochs: asynchronous successive halving (Li et al. 2020, "A System for Massively
//! Parallel Hyperparameter Tuning", algorithm 2), in the form that stops trials one after the other.

/// The epochs after which trials are compared: the first rung and then every one `factor` times as high, below
/// the last epoch; none with a factor below 2.
pub(super) fn rungs(first: usize, factor: usize, epochs: usize) -> Vec<usize> {
    if factor < 2 {
        return Vec::new();
    }
    let heights = std::iter::successors(Some(first.max(1)), |rung| rung.checked_mul(factor));
    heights.take_while(|rung| *rung < epochs).collect()
}

/// Whether a trial with this figure goes on from a rung where others had those: if it is among the best `factor`th
/// part of them, itself included. The first ones always do.
pub(super) fn goes_on(own: f64, others: &[f64], factor: usize) -> bool {
    let better = others.iter().filter(|other| **other < own).count();
    own.is_finite() && better < (others.len() + 1).div_ceil(factor.max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rungs_are_below_the_end() {
        assert_eq!(rungs(1, 3, 27), [1, 3, 9]);
        assert_eq!(rungs(2, 2, 9), [2, 4, 8]);
        assert!(rungs(5, 3, 5).is_empty());
        assert_eq!(rungs(0, 3, 4), [1, 3]);
        assert!(rungs(1, 0, 100).is_empty());
    }

    #[test]
    fn the_best_part_goes_on() {
        assert!(goes_on(9.0, &[], 3), "alone");
        assert!(!goes_on(9.0, &[1.0, 2.0], 3));
        assert!(goes_on(0.5, &[1.0, 2.0], 3));
        assert!(goes_on(1.5, &[1.0, 2.0, 3.0], 3), "four make room for two");
        assert!(goes_on(1.0, &[1.0, 1.0], 3), "equals are not better");
        assert!(!goes_on(f64::NAN, &[], 3));
        let figures: Vec<f64> = (0..90).map(|at| f64::from(at * 37 % 90)).collect();
        let kept = figures.iter().filter(|own| {
            let others: Vec<f64> = figures.iter().copied().filter(|other| other != *own).collect();
            goes_on(**own, &others, 3)
        });
        assert_eq!(kept.count(), 30);
    }
}
