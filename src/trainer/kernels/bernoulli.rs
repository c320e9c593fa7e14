//! Pixels that are on with probability σ(x), independent of each other: the likelihood and its gradient.

use super::gates::{exp, sigmoid};
use crate::simd::{dispatch, with_lanes};

/// Vectors whose factors of 1 + e^-|x|, each at most 2, are multiplied before a logarithm is taken: 2^64
/// is far from the end of the range.
const RUN: usize = 64;

/// ln p(targets | logits) = Σ t·x − ln(1 + e^x), in nats; targets from 0 to 1.
pub(crate) fn bernoulli_log_likelihood(logits: &[f32], targets: &[f32]) -> f64 {
    let mut total = 0.0f64;
    with_lanes!(LANES => {
        for (logits, targets) in logits.chunks(LANES * RUN).zip(targets.chunks(LANES * RUN)) {
            let (mut sum, mut product) = ([0.0f32; LANES], [1.0f32; LANES]);
            let (vectors, rest) = logits.as_chunks::<LANES>();
            let (target_vectors, target_rest) = targets.as_chunks::<LANES>();
            for (x, t) in vectors.iter().zip(target_vectors) {
                for lane in 0..LANES {
                    // ln(1 + e^x) = max(x, 0) + ln(1 + e^-|x|), which does not overflow.
                    sum[lane] += t[lane] * x[lane] - x[lane].max(0.0);
                    product[lane] *= 1.0 + exp(-x[lane].abs());
                }
            }
            for (lane, (x, t)) in rest.iter().zip(target_rest).enumerate() {
                sum[lane] += t * x - x.max(0.0);
                product[lane] *= 1.0 + exp(-x.abs());
            }
            total += sum.iter().map(|sum| f64::from(*sum)).sum::<f64>();
            total -= product.iter().map(|product| f64::from(*product).ln()).sum::<f64>();
        }
    });
    total
}

/// Turns logits into the gradient of −`scale`·ln p(targets | logits), in place.
pub(crate) fn bernoulli_back(logits: &mut [f32], targets: &[f32], scale: f32) {
    dispatch(
        #[inline(always)]
        || {
            for (x, t) in logits.iter_mut().zip(targets) {
                *x = (sigmoid(*x) - t) * scale;
            }
        },
    );
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn likelihood_and_gradient_are_what_they_are_in_64_bits(
            pixels in prop::collection::vec((-90f32..90.0, 0f32..=1.0), 1..1500)
        ) {
            let (mut logits, targets): (Vec<f32>, Vec<f32>) = pixels.into_iter().unzip();
            let exact = |x: f64, t: f64| t * x - x.max(0.0) - (-x.abs()).exp().ln_1p();
            let terms = logits.iter().zip(&targets).map(|(x, t)| exact(f64::from(*x), f64::from(*t)));
            let (expected, found) = (terms.sum::<f64>(), bernoulli_log_likelihood(&logits, &targets));
            prop_assert!((found - expected).abs() <= 1e-5 * expected.abs() + 1e-4, "{found} {expected}");
            let slopes: Vec<f64> = logits.iter().map(|x| 1.0 / (1.0 + (-f64::from(*x)).exp())).collect();
            bernoulli_back(&mut logits, &targets, 0.5);
            for ((found, slope), t) in logits.iter().zip(slopes).zip(&targets) {
                prop_assert!((f64::from(*found) - 0.5 * (slope - f64::from(*t))).abs() < 1e-6);
            }
        }
    }

    #[test]
    fn what_is_no_number_stays_one() {
        assert!(bernoulli_log_likelihood(&[f32::NAN, 0.0], &[1.0, 0.0]).is_nan());
    }
}
