//! Shapley values by weighted least squares: KernelSHAP.

use rand::RngExt as _;
use rand::seq::SliceRandom as _;
use rand_chacha::ChaCha8Rng;

use super::linear::solve;
use super::units::Mask;

/// Units of which all coalitions are asked about.
const EXACT_UNITS: usize = 11;

/// Returns coalitions of units and their weights, without the empty and the whole one, which are known. Of few units they
/// are all there are; of more, pairs of a random one and its complement, drawn by the kernel's weights.
pub(super) fn coalitions(units: usize, samples: usize, rng: &mut ChaCha8Rng) -> (Vec<Mask>, Vec<f64>) {
    if units < 2 {
        return (Vec::new(), Vec::new());
    }
    if units <= EXACT_UNITS {
        let sets = 1..(1_u32 << units) - 1;
        let mask = |set: u32| (0..units).map(|unit| f32::from(u8::from(set >> unit & 1 == 1))).collect();
        return (sets.clone().map(mask).collect(), sets.map(|set| kernel(units, set.count_ones() as usize)).collect());
    }
    let of_size: Vec<f64> = (1..units).map(|size| 1.0 / (size * (units - size)) as f64).collect();
    let all: f64 = of_size.iter().sum();
    let mut order: Vec<usize> = (0..units).collect();
    let mut masks = Vec::with_capacity(samples + 1);
    while masks.len() < samples.max(2 * units) {
        let mut left = rng.random::<f64>() * all;
        let size = 1 + of_size.iter().position(|weight| (left -= weight, left <= 0.0).1).unwrap_or(0);
        order.shuffle(rng);
        let mut mask = vec![0.0; units];
        order[..size].iter().for_each(|unit| mask[*unit] = 1.0);
        masks.push(mask.iter().map(|shown| 1.0 - shown).collect());
        masks.push(mask);
    }
    let weights = vec![1.0; masks.len()];
    (masks, weights)
}

/// The weight of one coalition of a size.
fn kernel(units: usize, size: usize) -> f64 {
    let choose = (0..size).fold(1.0, |product, k| product * (units - k) as f64 / (k + 1) as f64);
    (units - 1) as f64 / (choose * (size * (units - size)) as f64)
}

/// Returns the values, which add up to `whole - empty`.
pub(super) fn attributions(masks: &[Mask], weights: &[f64], answers: &[f64], whole: f64, empty: f64) -> Vec<f64> {
    let units = masks.first().map_or(1, Vec::len);
    let total = whole - empty;
    if units == 1 {
        return vec![total];
    }
    // The last value is what the others leave of the total, so that the sum holds exactly.
    let free = units - 1;
    let (mut matrix, mut right) = (vec![0.0; free * free], vec![0.0; free]);
    for ((mask, weight), answer) in masks.iter().zip(weights).zip(answers) {
        let last = f64::from(mask[free]);
        let row: Vec<f64> = mask[..free].iter().map(|shown| f64::from(*shown) - last).collect();
        let target = answer - empty - last * total;
        for (i, left) in row.iter().enumerate().filter(|(_, left)| **left != 0.0) {
            right[i] += weight * left * target;
            matrix[i * free..][..=i].iter_mut().zip(&row).for_each(|(cell, other)| *cell += weight * left * other);
        }
    }
    let size = (0..free).map(|i| matrix[i * free + i]).sum::<f64>() / free as f64;
    (0..free).for_each(|i| matrix[i * free + i] += 1e-12 * size);
    // Too few coalitions to tell the units apart: all get the same.
    let mut values = solve(matrix, right).unwrap_or_else(|| vec![total / units as f64; free]);
    values.push(total - values.iter().sum::<f64>());
    values
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    fn explain(units: usize, samples: usize, answer: impl Fn(&[f32]) -> f64) -> Vec<f64> {
        let (masks, weights) = coalitions(units, samples, &mut ChaCha8Rng::seed_from_u64(9));
        let answers: Vec<f64> = masks.iter().map(|mask| answer(mask)).collect();
        attributions(&masks, &weights, &answers, answer(&vec![1.0; units]), answer(&vec![0.0; units]))
    }

    #[test]
    fn a_linear_model_is_explained_exactly_by_any_sample() {
        for units in [1, 2, 5, 40] {
            let answer = |mask: &[f32]| mask.iter().zip(1..).map(|(shown, k)| f64::from(*shown) * f64::from(k)).sum();
            let found = explain(units, 300, answer);
            assert!(found.iter().zip(1..).all(|(value, k)| (value - f64::from(k)).abs() < 1e-8), "{found:?}");
        }
    }

    #[test]
    fn interactions_are_shared_as_shapley_says() {
        // The glove game: one left glove, two right ones; a pair is worth 1. Shapley: 2/3, 1/6, 1/6.
        let pair = |mask: &[f32]| f64::from(u8::from(mask[0] > 0.0 && (mask[1] > 0.0 || mask[2] > 0.0)));
        let found = explain(3, 0, pair);
        for (value, expected) in found.iter().zip([2.0 / 3.0, 1.0 / 6.0, 1.0 / 6.0]) {
            assert!((value - expected).abs() < 1e-9, "{found:?}");
        }
    }

    #[test]
    fn sampled_values_come_close_and_always_add_up() {
        let answer = |mask: &[f32]| {
            let sum: f64 = mask.iter().map(|shown| f64::from(*shown)).sum();
            sum * sum / 10.0 + 3.0 * f64::from(mask[0] * mask[1])
        };
        let found = explain(20, 4000, answer);
        assert!((found.iter().sum::<f64>() - 43.0).abs() < 1e-9);
        // By symmetry every unit has 2 of the square, and the pair 1.5 each beside.
        assert!(found.iter().enumerate().all(|(unit, value)| (value - if unit < 2 { 3.5 } else { 2.0 }).abs() < 0.1));
    }
}
