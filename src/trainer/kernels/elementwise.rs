//! Passes over a block, number by number.

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
