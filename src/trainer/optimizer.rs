//! Adam (Kingma and Ba 2015, "Adam: A Method for Stochastic Optimization", section 2, with the
//! reordering at its end), with Keras's defaults.
//!
//! One pass over weights, gradients and moments, on all cores and with the widest vectors the CPU
//! has; every element is computed alike on any of them, so the result does not depend on either.

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

/// Elements that one core updates at a time: 4 arrays of 16 KiB stay in its cache.
const CHUNK: usize = 16 * 1024;

/// Moments below these are zero. Left alone, the moments of weights whose gradient is always zero
/// (pixels that are never drawn on) decay into subnormal numbers, which take a hundred times longer.
const FIRST_MOMENT_FLOOR: f32 = 1e-18;
const SECOND_MOMENT_FLOOR: f32 = 1e-36;

/// The settings of Adam.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct AdamSettings {
    /// Step size.
    pub learning_rate: f64,
    /// Decay of the first moment.
    pub beta_1: f64,
    /// Decay of the second moment.
    pub beta_2: f64,
    /// Added to the root of the second moment.
    pub epsilon: f64,
}

impl AdamSettings {
    /// Keras's defaults with this step size.
    pub fn with_learning_rate(learning_rate: f64) -> Self {
        Self { learning_rate, beta_1: 0.9, beta_2: 0.999, epsilon: 1e-7 }
    }
}

/// The two moments of one parameter.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Moments {
    pub(super) first: Vec<f32>,
    pub(super) second: Vec<f32>,
}

impl Moments {
    pub(super) fn zeros(len: usize) -> Self {
        Self { first: vec![0.0; len], second: vec![0.0; len] }
    }
}

/// The numbers of one step, the same for every element.
#[derive(Debug, Clone, Copy)]
pub(super) struct AdamStep {
    rate: f32,
    first: f32,
    second: f32,
    epsilon: f32,
}

impl AdamStep {
    /// The step with this number, counted from 1.
    pub(super) fn new(settings: &AdamSettings, step: u64) -> Self {
        let power = step as f64;
        let correction = (1.0 - settings.beta_2.powf(power)).sqrt() / (1.0 - settings.beta_1.powf(power));
        Self {
            rate: (settings.learning_rate * correction) as f32,
            first: (1.0 - settings.beta_1) as f32,
            second: (1.0 - settings.beta_2) as f32,
            epsilon: settings.epsilon as f32,
        }
    }

    /// Moves `weights` one step against `gradient`.
    pub(super) fn apply(self, weights: &mut [f32], moments: &mut Moments, gradient: &[f32]) {
        weights
            .par_chunks_mut(CHUNK)
            .zip(moments.first.par_chunks_mut(CHUNK))
            .zip(moments.second.par_chunks_mut(CHUNK))
            .zip(gradient.par_chunks(CHUNK))
            .for_each(|(((weights, first), second), gradient)| {
                pulp::Arch::new().dispatch(
                    #[inline(always)]
                    || self.update(weights, first, second, gradient),
                );
            });
    }

    #[inline(always)]
    fn update(self, weights: &mut [f32], first: &mut [f32], second: &mut [f32], gradient: &[f32]) {
        for (((w, m), v), g) in weights.iter_mut().zip(first).zip(second).zip(gradient) {
            let next_m = *m + (*g - *m) * self.first;
            let next_v = *v + (*g * *g - *v) * self.second;
            *m = if next_m.abs() < FIRST_MOMENT_FLOOR { 0.0 } else { next_m };
            *v = if next_v < SECOND_MOMENT_FLOOR { 0.0 } else { next_v };
            *w -= self.rate * *m / (v.sqrt() + self.epsilon);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The textbook form, in 64 bits, without any of the tricks.
    fn reference(settings: &AdamSettings, gradients: &[f64]) -> f64 {
        let (mut w, mut m, mut v) = (0.5, 0.0, 0.0);
        for (index, g) in gradients.iter().enumerate() {
            let t = index as f64 + 1.0;
            m = settings.beta_1 * m + (1.0 - settings.beta_1) * g;
            v = settings.beta_2 * v + (1.0 - settings.beta_2) * g * g;
            let rate =
                settings.learning_rate * (1.0 - settings.beta_2.powf(t)).sqrt() / (1.0 - settings.beta_1.powf(t));
            w -= rate * m / (v.sqrt() + settings.epsilon);
        }
        w
    }

    #[test]
    fn steps_follow_the_textbook() {
        let settings = AdamSettings::with_learning_rate(0.01);
        let gradients = [0.3, -0.1, 0.0, 0.7, 1e-3, -2.0];
        let mut weights = vec![0.5f32; CHUNK + 3];
        let mut moments = Moments::zeros(CHUNK + 3);
        for (index, gradient) in gradients.iter().enumerate() {
            let gradient = vec![*gradient as f32; CHUNK + 3];
            AdamStep::new(&settings, index as u64 + 1).apply(&mut weights, &mut moments, &gradient);
        }
        let expected = reference(&settings, &gradients);
        assert!(weights.iter().all(|weight| (f64::from(*weight) - expected).abs() < 1e-6));
    }

    #[test]
    fn moments_without_gradient_end_at_zero_and_not_in_subnormals() {
        let settings = AdamSettings::with_learning_rate(0.01);
        let (mut weights, mut moments) = (vec![0.5f32], Moments { first: vec![1e-10], second: vec![0.0] });
        for step in 1..2000 {
            AdamStep::new(&settings, step).apply(&mut weights, &mut moments, &[0.0]);
        }
        assert_eq!(moments.first, [0.0]);
    }
}
