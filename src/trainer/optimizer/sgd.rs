//! Stochastic gradient descent with momentum (Sutskever et al. 2013, section 2).

use rayon::prelude::*;

use super::{CHUNK, MEMORY_FLOOR};

/// The numbers of one step, the same for every element.
#[derive(Debug, Clone, Copy)]
pub(in crate::trainer) struct SgdStep {
    rate: f32,
    momentum: f32,
    /// How much of the gradient and of the velocity a step takes: (0, 1), or with Nesterov's momentum (1, μ).
    mix: [f32; 2],
    decay: f32,
}

impl SgdStep {
    /// A step of this size.
    pub(super) fn new(rate: f64, momentum: f64, nesterov: bool, decay: f64) -> Self {
        let momentum = momentum as f32;
        let mix = if nesterov { [1.0, momentum] } else { [0.0, 1.0] };
        Self { rate: rate as f32, momentum, mix, decay: decay as f32 }
    }

    /// Moves `weights` one step against `gradient`; there is no velocity without momentum.
    pub(super) fn apply(self, weights: &mut [f32], velocity: Option<&mut Vec<f32>>, gradient: &[f32], decays: bool) {
        let decay = if decays { self.decay } else { 0.0 };
        let chunks = weights.par_chunks_mut(CHUNK).zip(gradient.par_chunks(CHUNK));
        match velocity {
            Some(velocity) => chunks.zip(velocity.par_chunks_mut(CHUNK)).for_each(|((weights, gradient), velocity)| {
                crate::simd::vectorized(
                    #[inline(always)]
                    || self.with_momentum(weights, velocity, gradient, decay),
                );
            }),
            None => chunks.for_each(|(weights, gradient)| {
                crate::simd::vectorized(
                    #[inline(always)]
                    || self.plain(weights, gradient, decay),
                );
            }),
        }
    }

    #[inline(always)]
    fn with_momentum(self, weights: &mut [f32], velocity: &mut [f32], gradient: &[f32], decay: f32) {
        for ((w, v), g) in weights.iter_mut().zip(velocity).zip(gradient) {
            let slope = *g + decay * *w;
            let next = self.momentum * *v + slope;
            *v = if next.abs() < MEMORY_FLOOR { 0.0 } else { next };
            *w -= self.rate * (self.mix[0] * slope + self.mix[1] * *v);
        }
    }

    #[inline(always)]
    fn plain(self, weights: &mut [f32], gradient: &[f32], decay: f32) {
        for (w, g) in weights.iter_mut().zip(gradient) {
            *w -= self.rate * (*g + decay * *w);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sutskever's form: the velocity is the step itself and the gradient is taken at θ + μv. The weights kept
    /// here are those of the look-ahead, as in Bengio et al. 2013, "Advances in Optimizing Recurrent Networks",
    /// equation 7.
    fn reference(rate: f64, momentum: f64, nesterov: bool, decay: f64, gradients: &[f64]) -> f64 {
        let (mut w, mut v) = (0.5, 0.0);
        for g in gradients {
            let g = g + decay * w;
            let last = v;
            v = momentum * v - rate * g;
            w += if nesterov { (1.0 + momentum) * v - momentum * last } else { v };
        }
        w
    }

    #[test]
    fn steps_follow_the_textbook() {
        let gradients = [0.3, -0.1, 0.0, 0.7, 1e-3, -2.0];
        for (momentum, nesterov, decay) in [(0.0, false, 0.0), (0.9, false, 0.0), (0.9, true, 0.0), (0.8, true, 0.1)] {
            let mut weights = vec![0.5f32; CHUNK + 3];
            let mut velocity = (momentum > 0.0).then(|| vec![0.0; CHUNK + 3]);
            for gradient in gradients {
                let step = SgdStep::new(0.01, momentum, nesterov, decay);
                step.apply(&mut weights, velocity.as_mut(), &vec![gradient as f32; CHUNK + 3], true);
            }
            let expected = reference(0.01, momentum, nesterov, decay, &gradients);
            assert!(
                weights.iter().all(|weight| (f64::from(*weight) - expected).abs() < 1e-6),
                "{momentum} {nesterov} {decay}: {} {expected}",
                weights[0]
            );
        }
    }

    #[test]
    fn a_velocity_without_gradient_ends_at_zero_and_not_in_subnormals() {
        let (mut weights, mut velocity) = (vec![0.5f32], vec![1e-3]);
        for _ in 0..500 {
            SgdStep::new(0.01, 0.9, true, 0.0).apply(&mut weights, Some(&mut velocity), &[0.0], true);
        }
        assert_eq!(velocity, [0.0]);
    }
}
