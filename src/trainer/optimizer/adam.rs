//! Adam (Kingma and Ba 2015, section 2, with the reordering at its end) and AdamW, which takes away a part of
//! every weight beside that (Loshchilov and Hutter 2019, algorithm 2; the learning rate times the weight decay, as in
//! PyTorch).

use rayon::prelude::*;

use super::{CHUNK, MEMORY_FLOOR};

/// The second moment is of squares.
const SECOND_MOMENT_FLOOR: f32 = 1e-36;

/// The numbers of one step, the same for every element.
#[derive(Debug, Clone, Copy)]
pub(in crate::trainer) struct AdamStep {
    rate: f32,
    first: f32,
    second: f32,
    epsilon: f32,
    /// What is left of a weight that decays.
    kept: f32,
}

impl AdamStep {
    /// The step with this number, counted from 1.
    pub(super) fn new(learning_rate: f64, [beta_1, beta_2]: [f64; 2], epsilon: f64, decay: f64, step: u64) -> Self {
        let power = step as f64;
        let correction = (1.0 - beta_2.powf(power)).sqrt() / (1.0 - beta_1.powf(power));
        Self {
            rate: (learning_rate * correction) as f32,
            first: (1.0 - beta_1) as f32,
            second: (1.0 - beta_2) as f32,
            epsilon: epsilon as f32,
            kept: (1.0 - learning_rate * decay) as f32,
        }
    }

    /// Moves `weights` one step against `gradient`.
    pub(super) fn apply(self, weights: &mut [f32], [first, second]: [&mut [f32]; 2], gradient: &[f32], decays: bool) {
        let kept = if decays { self.kept } else { 1.0 };
        weights
            .par_chunks_mut(CHUNK)
            .zip(first.par_chunks_mut(CHUNK))
            .zip(second.par_chunks_mut(CHUNK))
            .zip(gradient.par_chunks(CHUNK))
            .for_each(|(((weights, first), second), gradient)| {
                crate::simd::vectorized(
                    #[inline(always)]
                    || self.update(weights, [first, second], gradient, kept),
                );
            });
    }

    #[inline(always)]
    fn update(self, weights: &mut [f32], [first, second]: [&mut [f32]; 2], gradient: &[f32], kept: f32) {
        for (((w, m), v), g) in weights.iter_mut().zip(first).zip(second).zip(gradient) {
            let next_m = *m + (*g - *m) * self.first;
            let next_v = *v + (*g * *g - *v) * self.second;
            *m = if next_m.abs() < MEMORY_FLOOR { 0.0 } else { next_m };
            *v = if next_v < SECOND_MOMENT_FLOOR { 0.0 } else { next_v };
            // Without decay 1 is kept, which changes no bit.
            *w = *w * kept - self.rate * *m / (v.sqrt() + self.epsilon);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The textbook form, in 64 bits, without any of the tricks.
    fn reference(rate: f64, decay: f64, gradients: &[f64]) -> f64 {
        let (mut w, mut m, mut v) = (0.5, 0.0, 0.0);
        for (index, g) in gradients.iter().enumerate() {
            let t = index as f64 + 1.0;
            m = 0.9 * m + 0.1 * g;
            v = 0.999 * v + 0.001 * g * g;
            let corrected = rate * (1.0 - 0.999f64.powf(t)).sqrt() / (1.0 - 0.9f64.powf(t));
            w = w - rate * decay * w - corrected * m / (v.sqrt() + 1e-7);
        }
        w
    }

    fn step(rate: f64, decay: f64, number: u64) -> AdamStep {
        AdamStep::new(rate, [0.9, 0.999], 1e-7, decay, number)
    }

    #[test]
    fn steps_follow_the_textbook() {
        let gradients = [0.3, -0.1, 0.0, 0.7, 1e-3, -2.0];
        for decay in [0.0, 0.3] {
            let mut weights = vec![0.5f32; CHUNK + 3];
            let (mut first, mut second) = (vec![0.0; CHUNK + 3], vec![0.0; CHUNK + 3]);
            for (index, gradient) in gradients.iter().enumerate() {
                let gradient = vec![*gradient as f32; CHUNK + 3];
                let step = step(0.01, decay, index as u64 + 1);
                step.apply(&mut weights, [&mut first, &mut second], &gradient, true);
            }
            let expected = reference(0.01, decay, &gradients);
            assert!(weights.iter().all(|weight| (f64::from(*weight) - expected).abs() < 1e-6));
        }
    }

    #[test]
    fn moments_without_gradient_end_at_zero_and_not_in_subnormals() {
        let (mut weights, mut first, mut second) = (vec![0.5f32], vec![1e-10], vec![0.0]);
        for number in 1..2000 {
            step(0.01, 0.0, number).apply(&mut weights, [&mut first, &mut second], &[0.0], true);
        }
        assert_eq!(first, [0.0]);
    }
}
