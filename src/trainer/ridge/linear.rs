//! Ridge regression of numbers on a few columns, solved in the number of columns.

use super::triangle::Triangle;

/// Penalties on the weights that are tried, for each sample; columns have a deviation of about 1.
const PENALTIES: [f64; 8] = [3e-5, 3e-4, 3e-3, 0.01, 0.03, 0.1, 0.3, 1.0];

/// A linear function of columns.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::trainer) struct Linear {
    /// The weight of each column.
    pub(in crate::trainer) weights: Vec<f64>,
    /// What is added to their sum.
    pub(in crate::trainer) bias: f64,
    /// The penalty on the weights, for each sample.
    pub(in crate::trainer) penalty: f64,
}

impl Linear {
    /// Returns the number for a sample.
    pub(in crate::trainer) fn of(&self, sample: &[f32]) -> f64 {
        let products = sample.iter().zip(&self.weights).map(|(value, weight)| f64::from(*value) * weight);
        self.bias + products.sum::<f64>()
    }
}

/// Returns the linear function of samples of `width` columns that is nearest to the targets, with the penalty whose squared
/// error on each sample left out is least (Allen 1974); `None` without samples, or if they are no numbers.
pub(in crate::trainer) fn linear(samples: &[f32], width: usize, targets: &[f64]) -> Option<Linear> {
    if width == 0 || targets.is_empty() {
        return None;
    }
    let columns = Columns::of(samples, width, targets);
    let tried = PENALTIES.iter().filter_map(|penalty| columns.solve(*penalty));
    let (_, best) = tried.min_by(|a, b| a.0.total_cmp(&b.0))?;
    Some(best)
}

/// Samples whose columns have mean 0, and the products of every two columns.
struct Columns {
    width: usize,
    means: Vec<f64>,
    samples: Vec<f64>,
    /// The mean of the targets, and each less that.
    mean: f64,
    targets: Vec<f64>,
    products: Vec<f64>,
    with_targets: Vec<f64>,
}

impl Columns {
    fn of(samples: &[f32], width: usize, targets: &[f64]) -> Self {
        let count = targets.len() as f64;
        let mut means = vec![0.0; width];
        for sample in samples.chunks_exact(width) {
            means.iter_mut().zip(sample).for_each(|(mean, value)| *mean += f64::from(*value) / count);
        }
        let mean = targets.iter().sum::<f64>() / count;
        let targets: Vec<f64> = targets.iter().map(|target| target - mean).collect();
        let centred = |sample: &[f32]| -> Vec<f64> {
            sample.iter().zip(&means).map(|(value, mean)| f64::from(*value) - mean).collect()
        };
        let samples: Vec<f64> = samples.chunks_exact(width).flat_map(centred).collect();
        let (mut products, mut with_targets) = (vec![0.0; width * width], vec![0.0; width]);
        for (sample, target) in samples.chunks_exact(width).zip(&targets) {
            for (at, value) in sample.iter().enumerate().filter(|(_, value)| **value != 0.0) {
                with_targets[at] += value * target;
                let row = &mut products[at * width..][..width];
                row.iter_mut().zip(sample).for_each(|(product, other)| *product += value * other);
            }
        }
        Self { width, means, samples, mean, targets, products, with_targets }
    }

    /// Returns the mean squared error on samples left out, and the function.
    fn solve(&self, penalty: f64) -> Option<(f64, Linear)> {
        let count = self.targets.len() as f64;
        let mut matrix = self.products.clone();
        (0..self.width).for_each(|at| matrix[at * (self.width + 1)] += penalty * count);
        let triangle = Triangle::of(self.width, matrix)?;
        let weights = triangle.solve(self.with_targets.clone(), 1);
        let mut squares = 0.0;
        for (sample, target) in self.samples.chunks_exact(self.width).zip(&self.targets) {
            let error = target - sample.iter().zip(&weights).map(|(value, weight)| value * weight).sum::<f64>();
            // The mean is fitted to the sample as well, which is one over their number of it.
            let own = (1.0 / count + triangle.leverage(sample)).min(1.0 - 1e-9);
            squares += (error / (1.0 - own)).powi(2);
        }
        let bias = self.mean - weights.iter().zip(&self.means).map(|(weight, mean)| weight * mean).sum::<f64>();
        let is_finite = squares.is_finite() && bias.is_finite();
        is_finite.then_some((squares / count, Linear { weights, bias, penalty }))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Numbers that look random, between -1 and 1.
    fn numbers(count: usize, seed: u64) -> Vec<f32> {
        let mut state = seed.wrapping_mul(2) + 1;
        let mut next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 40) as f32 / (1u64 << 23) as f32 - 1.0
        };
        (0..count).map(|_| next()).collect()
    }

    #[test]
    fn a_line_is_found_and_noise_is_shrunk() {
        let samples = numbers(4 * 200, 1);
        let line = |sample: &[f32]| 7.0 + 2.0 * f64::from(sample[0]) - f64::from(sample[2]);
        let targets: Vec<f64> = samples.chunks_exact(4).map(line).collect();
        let found = linear(&samples, 4, &targets).unwrap();
        assert!((found.bias - 7.0).abs() < 1e-3 && (found.weights[0] - 2.0).abs() < 1e-3, "{found:?}");
        assert_eq!(found.penalty, PENALTIES[0]);
        let noise: Vec<f64> = numbers(30, 5).into_iter().map(f64::from).collect();
        let found = linear(&samples[..20 * 30], 20, &noise).unwrap();
        assert!(found.penalty >= 0.1, "{found:?}");
    }

    #[test]
    fn what_has_no_solution_has_none() {
        assert_eq!(linear(&[], 2, &[]), None);
        assert_eq!(linear(&[f32::NAN, 1.0], 1, &[1.0, 2.0]), None);
        let constant = linear(&[3.0, 3.0, 3.0], 1, &[1.0, 2.0, 3.0]).unwrap();
        assert_eq!((constant.weights.as_slice(), constant.bias), (&[0.0][..], 2.0), "a column that says nothing");
    }

    proptest! {
        /// The short way to the error on samples left out is that of as many fits without one.
        #[test]
        fn a_sample_left_out_is_judged_as_by_a_fit_without_it(seed in 0u64..1000, count in 4usize..12, penalty in 0.01f64..2.0) {
            let (width, samples) = (3, numbers(3 * count, seed));
            let targets: Vec<f64> = numbers(count, seed + 7919).into_iter().map(f64::from).collect();
            let (quick, _) = Columns::of(&samples, width, &targets).solve(penalty).unwrap();
            let mut slow = 0.0;
            for out in 0..count {
                let keep = |at: &usize| *at != out;
                let rest: Vec<f32> =
                    (0..count).filter(keep).flat_map(|at| samples[at * width..][..width].to_vec()).collect();
                let of_rest: Vec<f64> = (0..count).filter(keep).map(|at| targets[at]).collect();
                // The penalty is for each sample, of which there is one less.
                let share = penalty * count as f64 / (count - 1) as f64;
                let (_, found) = Columns::of(&rest, width, &of_rest).solve(share).unwrap();
                slow += (targets[out] - found.of(&samples[out * width..][..width])).powi(2) / count as f64;
            }
            prop_assert!((slow - quick).abs() < 1e-8 * (1.0 + slow), "{slow} {quick}");
        }
    }
}
