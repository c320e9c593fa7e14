//! Ridge regression on products of samples, whose answers to each sample left out of it cost next to nothing (Allen 1974).
//!
//! Of a few samples with many features it is solved in the number of samples ([`Products`]), and of more samples with few
//! features in that of features ([`mod@linear`]).

mod linear;
mod triangle;

use std::ops::Range;

use rayon::prelude::*;

pub(super) use self::linear::{Linear, linear};
use self::triangle::Triangle;

/// Penalties on the weights that are tried, where a sample's product with itself is about 1.
const PENALTIES: [f64; 5] = [0.03, 0.1, 0.3, 1.0, 3.0];

/// The logarithms between which the factor on scores of classes is searched, and the steps of that search.
const LOG_FACTORS: [f64; 2] = [-2.0, 8.0];
const FACTOR_STEPS: usize = 24;

/// The targets of samples.
#[derive(Debug, Clone, Copy)]
pub(super) enum Truths<'t> {
    /// Classes, how many there are, and the weight of each; none if all weigh 1.
    Classes { labels: &'t [u32], classes: usize, weights: &'t [f32] },
    /// Numbers with mean 0 and deviation 1.
    Values(&'t [f64]),
}

/// The products of every two samples, row by row.
#[derive(Debug, Clone)]
pub(super) struct Products {
    size: usize,
    values: Vec<f64>,
}

/// The numbers by which a head is solved.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Choice {
    /// The penalty on the weights.
    pub(super) penalty: f64,
    /// The factor that makes logits of scores.
    pub(super) factor: f64,
    /// The mean loss of samples that were left out: cross-entropy in nats, or the squared error.
    pub(super) loss: f64,
}

impl Truths<'_> {
    fn outputs(&self) -> usize {
        match self {
            Self::Classes { classes, .. } => *classes,
            Self::Values(_) => 1,
        }
    }

    /// Returns what is to be met, row by row.
    fn targets(&self) -> Vec<f64> {
        match self {
            Self::Values(values) => values.to_vec(),
            Self::Classes { labels, classes, .. } => {
                let other = -1.0 / *classes as f64;
                let mut targets = vec![other; labels.len() * classes];
                labels.iter().enumerate().for_each(|(row, label)| targets[row * classes + *label as usize] += 1.0);
                targets
            }
        }
    }

    fn weight(&self, sample: usize) -> f64 {
        match self {
            Self::Classes { labels, weights, .. } => {
                weights.get(labels[sample] as usize).map_or(1.0, |weight| f64::from(*weight).max(1e-6))
            }
            Self::Values(_) => 1.0,
        }
    }

    /// Returns the mean loss of scores, and the factor on them with the lowest one.
    fn judge(&self, scores: &[f64]) -> (f64, f64) {
        match self {
            Self::Values(values) => {
                let squares = values.iter().zip(scores).map(|(value, score)| (value - score).powi(2));
                (squares.sum::<f64>() / values.len().max(1) as f64, 1.0)
            }
            Self::Classes { .. } => self.best_factor(scores),
        }
    }

    /// Searches the factor by golden sections: the loss has one minimum.
    fn best_factor(&self, scores: &[f64]) -> (f64, f64) {
        let part = (5.0f64.sqrt() - 1.0) / 2.0;
        let [mut low, mut high] = LOG_FACTORS;
        let loss = |logarithm: f64| self.cross_entropy(scores, logarithm.exp());
        let [mut a, mut b] = [high - part * (high - low), low + part * (high - low)];
        let [mut of_a, mut of_b] = [loss(a), loss(b)];
        for _ in 0..FACTOR_STEPS {
            if of_a <= of_b {
                (high, b, of_b) = (b, a, of_a);
                a = high - part * (high - low);
                of_a = loss(a);
            } else {
                (low, a, of_a) = (a, b, of_b);
                b = low + part * (high - low);
                of_b = loss(b);
            }
        }
        if of_a <= of_b { (of_a, a.exp()) } else { (of_b, b.exp()) }
    }

    /// Returns the mean cross-entropy of scores times a factor. Of as many samples that are all right, one more might have been
    /// wrong (the rule of succession), so that no factor is endless.
    fn cross_entropy(&self, scores: &[f64], factor: f64) -> f64 {
        let Self::Classes { labels, classes, .. } = self else { return 0.0 };
        let doubt = 1.0 / (labels.len() + 2) as f64;
        let [mut sum, mut weights] = [0.0, 0.0];
        for (sample, (row, label)) in scores.chunks_exact(*classes).zip(*labels).enumerate() {
            let greatest = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let total: f64 = row.iter().map(|score| (factor * (score - greatest)).exp()).sum();
            let mean = row.iter().sum::<f64>() / *classes as f64;
            let target = (1.0 - doubt) * row[*label as usize] + doubt * mean;
            let weight = self.weight(sample);
            sum += weight * (total.ln() - factor * (target - greatest));
            weights += weight;
        }
        sum / weights.max(f64::MIN_POSITIVE)
    }
}

impl Products {
    /// Returns the products of samples over a block of their columns, divided by its width.
    pub(super) fn of(samples: &[f32], width: usize, block: &Range<usize>) -> Self {
        let rows: Vec<&[f32]> = samples.chunks_exact(width).map(|row| &row[block.clone()]).collect();
        let scale = 1.0 / block.len().max(1) as f64;
        let below: Vec<Vec<f64>> = (0..rows.len())
            .into_par_iter()
            .map(|i| (0..=i).map(|j| product(rows[i], rows[j]) * scale).collect())
            .collect();
        let size = rows.len();
        let mut values = vec![0.0; size * size];
        for (i, row) in below.iter().enumerate() {
            for (j, value) in row.iter().enumerate() {
                values[i * size + j] = *value;
                values[j * size + i] = *value;
            }
        }
        Self { size, values }
    }

    /// Returns the mean of the products of several blocks, and 1 for a bias.
    pub(super) fn mean(blocks: &[&Self]) -> Self {
        let size = blocks.first().map_or(0, |block| block.size);
        let share = 1.0 / blocks.len().max(1) as f64;
        let value = |at: usize| 1.0 + share * blocks.iter().map(|block| block.values[at]).sum::<f64>();
        Self { size, values: (0..size * size).map(value).collect() }
    }

    /// Returns the penalty that errs least on samples that are left out, one after the other.
    pub(super) fn choose(&self, truths: &Truths<'_>) -> Choice {
        let choice = |penalty: f64| {
            let (loss, factor) =
                self.left_out(truths, penalty).map_or((f64::INFINITY, 1.0), |scores| truths.judge(&scores));
            Choice { penalty, factor, loss }
        };
        let tried: Vec<Choice> = PENALTIES.into_par_iter().map(choice).collect();
        let least = |best: Choice, next: Choice| if next.loss < best.loss { next } else { best };
        tried.into_iter().reduce(least).unwrap_or(Choice { penalty: 1.0, factor: 1.0, loss: f64::INFINITY })
    }

    /// Returns the factors of the samples whose sum of products is nearest to the targets, row by row; `None` if the products
    /// are no numbers.
    pub(super) fn solve(&self, truths: &Truths<'_>, penalty: f64) -> Option<Vec<f64>> {
        Some(self.triangle(truths, penalty)?.solve(truths.targets(), truths.outputs()))
    }

    /// Returns the scores of each sample by all others.
    fn left_out(&self, truths: &Truths<'_>, penalty: f64) -> Option<Vec<f64>> {
        let triangle = self.triangle(truths, penalty)?;
        let (targets, outputs) = (truths.targets(), truths.outputs());
        let factors = triangle.solve(targets.clone(), outputs);
        let diagonal = triangle.diagonal_of_inverse();
        let score = |(at, (target, factor)): (usize, (&f64, &f64))| target - factor / diagonal[at / outputs];
        Some(targets.iter().zip(&factors).enumerate().map(score).collect())
    }

    /// Returns the triangle of the products with the penalty on their diagonal: a sample that weighs more is penalised less.
    fn triangle(&self, truths: &Truths<'_>, penalty: f64) -> Option<Triangle> {
        let mut values = self.values.clone();
        (0..self.size).for_each(|at| values[at * self.size + at] += penalty / truths.weight(at));
        Triangle::of(self.size, values)
    }
}

/// Returns the product of two samples.
fn product(a: &[f32], b: &[f32]) -> f64 {
    let (a, a_rest) = a.as_chunks::<8>();
    let (b, b_rest) = b.as_chunks::<8>();
    let mut sums = [0.0f64; 8];
    for (a, b) in a.iter().zip(b) {
        (0..8).for_each(|at| sums[at] += f64::from(a[at]) * f64::from(b[at]));
    }
    let rest: f64 = a_rest.iter().zip(b_rest).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum();
    sums.iter().sum::<f64>() + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Numbers that look random.
    fn numbers(count: usize) -> Vec<f32> {
        let mut state = 1u64;
        let mut next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 40) as f32 / (1u64 << 23) as f32 - 1.0
        };
        (0..count).map(|_| next()).collect()
    }

    fn products(samples: &[f32], width: usize) -> Products {
        Products::mean(&[&Products::of(samples, width, &(0..width))])
    }

    /// The scores of samples by the factors of others.
    fn scores(factors: &[f64], outputs: usize, known: &[f32], asked: &[f32], width: usize) -> Vec<f64> {
        let kernel = |a: &[f32], b: &[f32]| 1.0 + product(a, b) / width as f64;
        let mut found = vec![0.0; asked.len() / width * outputs];
        for (row, sample) in asked.chunks_exact(width).enumerate() {
            for (other, factors) in known.chunks_exact(width).zip(factors.chunks_exact(outputs)) {
                factors
                    .iter()
                    .enumerate()
                    .for_each(|(at, factor)| found[row * outputs + at] += factor * kernel(sample, other));
            }
        }
        found
    }

    #[test]
    fn a_sample_left_out_is_scored_as_by_a_fit_without_it() {
        let (width, samples) = (5, numbers(5 * 9));
        let labels = [0, 1, 2, 0, 1, 2, 0, 1, 1];
        for weights in [&[][..], &[1.0, 0.5, 2.0]] {
            let all = Truths::Classes { labels: &labels, classes: 3, weights };
            let quick = products(&samples, width).left_out(&all, 0.3).unwrap();
            for out in 0..labels.len() {
                let others: Vec<usize> = (0..labels.len()).filter(|at| *at != out).collect();
                let rest: Vec<f32> = others.iter().flat_map(|at| samples[at * width..][..width].to_vec()).collect();
                let rest_labels: Vec<u32> = others.iter().map(|at| labels[*at]).collect();
                let truths = Truths::Classes { labels: &rest_labels, classes: 3, weights };
                let factors = products(&rest, width).solve(&truths, 0.3).unwrap();
                let slow = scores(&factors, 3, &rest, &samples[out * width..][..width], width);
                for (slow, quick) in slow.iter().zip(&quick[out * 3..]) {
                    assert!((slow - quick).abs() < 1e-9, "{slow} {quick}");
                }
            }
        }
    }

    #[test]
    fn a_small_penalty_meets_the_targets_and_noise_wants_a_large_one() {
        let samples = numbers(12 * 60);
        let values: Vec<f64> = (0..60).map(|at| f64::from(samples[at * 12] - samples[at * 12 + 5])).collect();
        let truths = Truths::Values(&values);
        let products = products(&samples, 12);
        let factors = products.solve(&truths, 1e-9).unwrap();
        for (value, score) in values.iter().zip(scores(&factors, 1, &samples, &samples, 12)) {
            assert!((value - score).abs() < 1e-3, "{value} {score}");
        }
        assert_eq!(products.choose(&truths).penalty, PENALTIES[0]);
        let noise: Vec<f64> = (0..60).map(|at| if at % 3 == 0 { 1.0 } else { -0.5 }).collect();
        assert!(products.choose(&Truths::Values(&noise)).penalty >= 1.0);
    }

    #[test]
    fn scores_that_are_all_right_leave_a_doubt() {
        let labels = [0, 1, 0, 1];
        let truths = Truths::Classes { labels: &labels, classes: 2, weights: &[] };
        let (_, sure) = truths.judge(&[1.0, 0.0, 0.0, 1.0, 1.0, 0.0, 0.0, 1.0]);
        // Half of the doubt, 1 in 6, falls to the other class: 11 in 12 are right.
        assert!((sure - 11.0f64.ln()).abs() < 0.01, "{sure}");
        let (_, unsure) = truths.judge(&[1.0, 0.0, 1.0, 0.0, 1.0, 0.0, 0.0, 1.0]);
        assert!(unsure < sure);
    }

    #[test]
    fn numbers_that_are_none_have_no_solution() {
        let labels = [0, 1];
        let truths = Truths::Classes { labels: &labels, classes: 2, weights: &[] };
        assert!(products(&[f32::NAN, 1.0], 1).solve(&truths, 1.0).is_none());
    }
}
