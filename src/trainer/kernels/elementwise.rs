//! Passes over a block, number by number.

use super::gates::sigmoid;
use crate::simd::{vectorized, with_lanes};

/// Each number times the same factor.
pub(crate) fn rescale(input: &[f32], factor: f32, output: &mut Vec<f32>) {
    output.clear();
    output.extend(input.iter().map(|value| value * factor));
}

/// `max(x, 0)`; NaN stays NaN, so that a run that diverges is noticed.
pub(crate) fn relu(input: &[f32], output: &mut Vec<f32>) {
    output.clear();
    output.extend(input.iter().map(|value| if *value < 0.0 { 0.0 } else { *value }));
}

/// Sums, `max(x, 0)` of them with `relu`.
pub(crate) fn sum(one: &[f32], other: &[f32], relu: bool, output: &mut Vec<f32>) {
    let floor = if relu { 0.0 } else { f32::NEG_INFINITY };
    output.clear();
    output.extend(one.iter().zip(other).map(|(one, other)| {
        let sum = one + other;
        if sum < floor { floor } else { sum }
    }));
}

/// Products with a mask.
pub(crate) fn mask(input: &[f32], factors: &[f32], output: &mut Vec<f32>) {
    output.clear();
    output.extend(input.iter().zip(factors).map(|(value, factor)| value * factor));
}

/// The gradient of `max(x, 0)` from its output, in place.
pub(crate) fn relu_back(output: &[f32], upper: &mut [f32]) {
    vectorized(
        #[inline(always)]
        || {
            for (upper, value) in upper.iter_mut().zip(output) {
                *upper = if *value > 0.0 { *upper } else { 0.0 };
            }
        },
    );
}

/// `x · σ(x)`.
pub(crate) fn silu(input: &[f32], output: &mut Vec<f32>) {
    output.clear();
    output.extend_from_slice(input);
    vectorized(
        #[inline(always)]
        || output.iter_mut().for_each(|value| *value *= sigmoid(*value)),
    );
}

/// The gradient of `x · σ(x)` from x, in place: σ · (1 + x · (1 − σ)) times that of the output.
pub(crate) fn silu_back(input: &[f32], upper: &mut [f32]) {
    vectorized(
        #[inline(always)]
        || {
            for (upper, value) in upper.iter_mut().zip(input) {
                let share = sigmoid(*value);
                *upper *= share * (1.0 + value * (1.0 - share));
            }
        },
    );
}

/// Adds the sum of each plane of `pixels` to `sums`.
pub(crate) fn add_plane_sums(planes: &[f32], pixels: usize, sums: &mut [f32]) {
    with_lanes!(LANES => {
        for (plane, total) in planes.as_chunks::<LANES>().0.chunks_exact(pixels).zip(&mut *sums) {
            let mut sums = [0.0f32; LANES];
            for pixel in plane {
                sums.iter_mut().zip(pixel).for_each(|(sum, value)| *sum += *value);
            }
            *total += sums.iter().sum::<f32>();
        }
    });
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn silu_and_its_gradient_are_what_they_are_in_64_bits(inputs in prop::collection::vec(-90f32..90.0, 1..50)) {
            let (mut outputs, mut slopes) = (Vec::new(), vec![1.0; inputs.len()]);
            silu(&inputs, &mut outputs);
            silu_back(&inputs, &mut slopes);
            for ((x, found), slope) in inputs.iter().map(|x| f64::from(*x)).zip(&outputs).zip(&slopes) {
                let value = |x: f64| x / (1.0 + (-x).exp());
                let numeric = (value(x + 1e-5) - value(x - 1e-5)) / 2e-5;
                prop_assert!((f64::from(*found) - value(x)).abs() < 1e-6 * x.abs().max(1.0), "{found} at {x}");
                prop_assert!((f64::from(*slope) - numeric).abs() < 1e-5, "{slope} {numeric} at {x}");
            }
        }
    }
}
