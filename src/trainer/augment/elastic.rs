//! Elastic distortions (Simard, Steinkraus and Platt 2003, "Best Practices for Convolutional Neural Networks
//! Applied to Visual Document Analysis", section 2): every pixel is moved at random, like its neighbours.

use rand::RngExt;
use rand_chacha::ChaCha8Rng;

/// How far each pixel is moved to the right and down, row by row: evenly drawn in [-1, 1], smoothed by a Gaussian
/// of `sigma` pixels, beyond the border of which nothing moves, times `alpha`.
pub(super) fn displacements(
    rng: &mut ChaCha8Rng,
    (width, height): (usize, usize),
    alpha: f32,
    sigma: f32,
) -> [Vec<f32>; 2] {
    let kernel = gaussian(sigma);
    [(); 2].map(|()| {
        let drawn: Vec<f32> = (0..width * height).map(|_| rng.random_range(-1.0f32..=1.0) * alpha).collect();
        // Along the rows and turned over, twice: rows and columns, in their places again.
        smooth(&smooth(&drawn, width, &kernel), height, &kernel)
    })
}

/// The right half of a Gaussian, cut off at three times its width; both halves sum up to 1.
fn gaussian(sigma: f32) -> Vec<f32> {
    let reach = (3.0 * sigma).ceil() as usize;
    let half: Vec<f32> = (0..=reach).map(|at| (-0.5 * (at as f32 / sigma).powi(2)).exp()).collect();
    let sum = 2.0 * half.iter().sum::<f32>() - half[0];
    half.iter().map(|value| value / sum).collect()
}

/// Smooths rows of `width` and gives the result by columns.
fn smooth(values: &[f32], width: usize, kernel: &[f32]) -> Vec<f32> {
    let height = values.len() / width;
    let mut turned = vec![0.0; values.len()];
    let mut smoothed = vec![0.0f32; width];
    for (y, row) in values.chunks_exact(width).enumerate() {
        smoothed.iter_mut().zip(row).for_each(|(sum, value)| *sum = value * kernel[0]);
        for (distance, weight) in kernel.iter().enumerate().skip(1).take(width - 1) {
            let overlap = width - distance;
            smoothed[..overlap].iter_mut().zip(&row[distance..]).for_each(|(sum, value)| *sum += value * weight);
            smoothed[distance..].iter_mut().zip(&row[..overlap]).for_each(|(sum, value)| *sum += value * weight);
        }
        smoothed.iter().enumerate().for_each(|(x, value)| turned[x * height + y] = *value);
    }
    turned
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trainer::random::keyed_rng;

    #[test]
    fn a_single_pixel_becomes_a_gaussian() {
        let (width, height, sigma) = (31, 25, 2.0f32);
        let mut values = vec![0.0; width * height];
        values[12 * width + 15] = 1.0;
        let kernel = gaussian(sigma);
        let smoothed = smooth(&smooth(&values, width, &kernel), height, &kernel);
        let sum: f32 = smoothed.iter().sum();
        assert!((sum - 1.0).abs() < 1e-4, "{sum}");
        for (x, y) in [(15, 12), (17, 12), (15, 10), (18, 9)] {
            let distance = ((x as f32 - 15.0).powi(2) + (y as f32 - 12.0).powi(2)) / (2.0 * sigma * sigma);
            let expected = (-distance).exp() / (2.0 * std::f32::consts::PI * sigma * sigma);
            assert!((smoothed[y * width + x] - expected).abs() < 1e-3 * (1.0 + expected));
        }
    }

    #[test]
    fn neighbours_move_alike_by_about_as_much_as_the_theory_says() {
        let (mut squares, mut differences, mut count) = (0.0f64, 0.0f64, 0.0f64);
        for index in 0..50 {
            let moved = displacements(&mut keyed_rng(1, "augment", 0, index), (40, 40), 34.0, 4.0);
            for values in &moved {
                for y in 14..26 {
                    for x in 14..26 {
                        let (here, beside) = (values[y * 40 + x], values[y * 40 + x + 1]);
                        squares += f64::from(here).powi(2);
                        differences += f64::from(here - beside).powi(2);
                        count += 1.0;
                    }
                }
            }
        }
        // The standard deviation of evenly drawn numbers, 1/√3, times that of the smoothing, 1 / (2 σ √π).
        let expected = 34.0 / 3f64.sqrt() / (2.0 * 4.0 * std::f64::consts::PI.sqrt());
        let (size, step) = ((squares / count).sqrt(), (differences / count).sqrt());
        assert!((size / expected - 1.0).abs() < 0.15, "{size} {expected}");
        assert!(step < 0.3 * size, "{step} {size}");
    }
}
