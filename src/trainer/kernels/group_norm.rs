//! Group normalisation (Wu and He 2018), forward and backward, on blocks of samples.
//!
//! A sample is normalised by its own moments alone, so every lane keeps to itself and no block needs to
//! know of the others.

use super::block::sized;
use super::norm::EPSILON;
use crate::simd::with_lanes;

/// Normalises each of `groups` of channels, which are planes of `pixels`; a group has channels that follow
/// each other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct GroupNorm {
    pub(crate) channels: usize,
    pub(crate) pixels: usize,
    pub(crate) groups: usize,
}

impl GroupNorm {
    /// Channels of one group.
    fn width(&self) -> usize {
        self.channels / self.groups
    }

    /// `γ · (x - mean) / √(variance + ε) + β` with a γ and β for each channel, and `max(…, 0)` with `relu`.
    pub(crate) fn forward(&self, (gamma, beta, relu): (&[f32], &[f32], bool), input: &[f32], output: &mut Vec<f32>) {
        let floor = if relu { 0.0 } else { f32::NEG_INFINITY };
        let output = sized(output, input.len());
        with_lanes!(LANES => {
            let size = self.width() * self.pixels;
            let inputs = input.as_chunks::<LANES>().0.chunks_exact(size);
            let outputs = output.as_chunks_mut::<LANES>().0.chunks_exact_mut(size);
            let affine = gamma.chunks_exact(self.width()).zip(beta.chunks_exact(self.width()));
            for ((input, output), (gamma, beta)) in inputs.zip(outputs).zip(affine) {
                let (mean, scale) = moments(input);
                let planes = input.chunks_exact(self.pixels).zip(output.chunks_exact_mut(self.pixels));
                for ((plane, output), (gamma, beta)) in planes.zip(gamma.iter().zip(beta)) {
                    for (to, from) in output.iter_mut().zip(plane) {
                        for lane in 0..LANES {
                            let value = (from[lane] - mean[lane]) * scale[lane] * gamma + beta;
                            // Keeps NaN, so that a run that diverges is noticed.
                            to[lane] = if value < floor { floor } else { value };
                        }
                    }
                }
            }
        });
    }

    /// Adds the gradients of γ and β to `of_gamma` and `of_beta`, and puts that of the input in place of that
    /// of the output, which is zero in lanes without a sample and stays so there.
    ///
    /// With x̂ the normalised input and d = γ·upper it is (d − mean(d) − x̂ · mean(d·x̂)) / √(variance + ε),
    /// the means over the group.
    pub(crate) fn backward(
        &self,
        gamma: &[f32],
        input: &[f32],
        upper: &mut [f32],
        (of_gamma, of_beta): (&mut [f32], &mut [f32]),
    ) {
        with_lanes!(LANES => {
            let size = self.width() * self.pixels;
            let share = 1.0 / size as f32;
            let inputs = input.as_chunks::<LANES>().0.chunks_exact(size);
            let uppers = upper.as_chunks_mut::<LANES>().0.chunks_exact_mut(size);
            let channels = of_gamma.chunks_exact_mut(self.width()).zip(of_beta.chunks_exact_mut(self.width()));
            let channels = channels.zip(gamma.chunks_exact(self.width()));
            for ((input, upper), ((of_gamma, of_beta), gamma)) in inputs.zip(uppers).zip(channels) {
                let (mean, scale) = moments(input);
                let (mut level, mut slope) = ([0.0f32; LANES], [0.0f32; LANES]);
                let planes = input.chunks_exact(self.pixels).zip(upper.chunks_exact(self.pixels));
                for (channel, (plane, upper)) in planes.enumerate() {
                    let (mut sums, mut products) = ([0.0f32; LANES], [0.0f32; LANES]);
                    for (pixel, upper) in plane.iter().zip(upper) {
                        for lane in 0..LANES {
                            sums[lane] += upper[lane];
                            products[lane] += upper[lane] * (pixel[lane] - mean[lane]);
                        }
                    }
                    for lane in 0..LANES {
                        let product = products[lane] * scale[lane];
                        level[lane] += gamma[channel] * sums[lane] * share;
                        slope[lane] += gamma[channel] * product * share;
                        of_beta[channel] += sums[lane];
                        of_gamma[channel] += product;
                    }
                }
                let planes = input.chunks_exact(self.pixels).zip(upper.chunks_exact_mut(self.pixels));
                for ((plane, upper), gamma) in planes.zip(gamma) {
                    for (pixel, upper) in plane.iter().zip(upper) {
                        for lane in 0..LANES {
                            let normalised = (pixel[lane] - mean[lane]) * scale[lane];
                            upper[lane] = (gamma * upper[lane] - level[lane] - normalised * slope[lane]) * scale[lane];
                        }
                    }
                }
            }
        });
    }
}

/// The mean of each lane, and `1 / √(variance + ε)`.
#[inline(always)]
fn moments<const LANES: usize>(numbers: &[[f32; LANES]]) -> ([f32; LANES], [f32; LANES]) {
    let share = 1.0 / numbers.len() as f32;
    let (mut mean, mut scale) = ([0.0f32; LANES], [0.0f32; LANES]);
    for number in numbers {
        mean.iter_mut().zip(number).for_each(|(sum, value)| *sum += *value);
    }
    mean.iter_mut().for_each(|mean| *mean *= share);
    for number in numbers {
        for lane in 0..LANES {
            scale[lane] += (number[lane] - mean[lane]) * (number[lane] - mean[lane]);
        }
    }
    scale.iter_mut().for_each(|scale| *scale = 1.0 / (*scale * share + EPSILON).sqrt());
    (mean, scale)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::simd::lanes;

    /// Returns one sample's outputs, in 64 bits.
    fn expected(shape: &GroupNorm, sample: &[f64], gamma: &[f32], beta: &[f32]) -> Vec<f64> {
        let size = shape.width() * shape.pixels;
        let normalised = sample.chunks_exact(size).flat_map(|group| {
            let mean = group.iter().sum::<f64>() / size as f64;
            let variance = group.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / size as f64;
            group.iter().map(move |value| (value - mean) / (variance + f64::from(EPSILON)).sqrt()).collect::<Vec<_>>()
        });
        let of_channel = |(at, value): (usize, f64)| {
            let channel = at / shape.pixels;
            value * f64::from(gamma[channel]) + f64::from(beta[channel])
        };
        normalised.enumerate().map(of_channel).collect()
    }

    fn number(i: usize) -> f32 {
        ((i * 7919) % 1009) as f32 / 250.0 - 2.0
    }

    proptest! {
        #[test]
        fn it_does_to_each_sample_what_is_done_in_64_bits(
            groups in 1usize..4, width in 1usize..4, pixels in 1usize..9, offset in 0usize..1000, relu: bool, narrow: bool,
        ) {
            #[cfg(target_arch = "x86_64")]
            crate::simd::NARROW.set(narrow);
            let _ = narrow;
            prop_assume!(width * pixels > 1);
            let (shape, lanes) = (GroupNorm { channels: groups * width, pixels, groups }, lanes());
            let input: Vec<f32> = (0..shape.channels * pixels * lanes).map(|i| number(i + offset)).collect();
            let gamma: Vec<f32> = (0..shape.channels).map(|i| number(3 * i + offset)).collect();
            let beta: Vec<f32> = (0..shape.channels).map(|i| number(5 * i + offset)).collect();
            let mut output = Vec::new();
            shape.forward((&gamma, &beta, relu), &input, &mut output);
            for lane in 0..lanes {
                let sample: Vec<f64> = input.iter().skip(lane).step_by(lanes).map(|value| f64::from(*value)).collect();
                let found = output.iter().skip(lane).step_by(lanes);
                for (found, expected) in found.zip(self::expected(&shape, &sample, &gamma, &beta)) {
                    let expected = if relu { expected.max(0.0) } else { expected };
                    prop_assert!((f64::from(*found) - expected).abs() < 1e-4 * expected.abs().max(1.0), "{found} {expected}");
                }
            }
        }

        #[test]
        fn gradients_are_those_of_finite_differences_in_64_bits(
            groups in 1usize..3, width in 1usize..3, pixels in 2usize..6, offset in 0usize..1000,
        ) {
            let (shape, lanes) = (GroupNorm { channels: groups * width, pixels, groups }, lanes());
            let count = shape.channels * pixels;
            let input: Vec<f32> = (0..count * lanes).map(|i| number(i + offset)).collect();
            let gamma: Vec<f32> = (0..shape.channels).map(|i| number(3 * i + offset)).collect();
            let beta = vec![0.5; shape.channels];
            // The loss is the sum of the outputs, each times a number; the last lane has no sample.
            let factors: Vec<f32> =
                (0..count * lanes).map(|i| if lanes > 1 && i % lanes == lanes - 1 { 0.0 } else { number(i * 3 + 1) }).collect();
            let (mut back, mut of_gamma, mut of_beta) = (factors.clone(), vec![0.0; shape.channels], vec![0.0; shape.channels]);
            shape.backward(&gamma, &input, &mut back, (&mut of_gamma, &mut of_beta));
            let lane_of = |values: &[f32], lane: usize| -> Vec<f64> {
                values.iter().skip(lane).step_by(lanes).map(|value| f64::from(*value)).collect()
            };
            let loss = |lane: usize, sample: &[f64], gamma: &[f32], beta: &[f32]| -> f64 {
                expected(&shape, sample, gamma, beta).iter().zip(lane_of(&factors, lane)).map(|(y, f)| y * f).sum()
            };
            for lane in 0..lanes {
                let sample = lane_of(&input, lane);
                for at in 0..count {
                    let moved = |by: f64| {
                        let mut sample = sample.clone();
                        sample[at] += by;
                        loss(lane, &sample, &gamma, &beta)
                    };
                    let (numeric, found) = ((moved(1e-5) - moved(-1e-5)) / 2e-5, f64::from(back[at * lanes + lane]));
                    prop_assert!((numeric - found).abs() < 2e-3 * numeric.abs().max(1.0), "{numeric} {found}");
                }
            }
            for channel in 0..shape.channels {
                let moved = |of_gamma: f32, of_beta: f32| -> f64 {
                    let (mut gamma, mut beta) = (gamma.clone(), beta.clone());
                    gamma[channel] += of_gamma;
                    beta[channel] += of_beta;
                    (0..lanes).map(|lane| loss(lane, &lane_of(&input, lane), &gamma, &beta)).sum()
                };
                let by_gamma = (moved(0.25, 0.0) - moved(-0.25, 0.0)) / 0.5;
                let by_beta = (moved(0.0, 0.25) - moved(0.0, -0.25)) / 0.5;
                prop_assert!((by_gamma - f64::from(of_gamma[channel])).abs() < 2e-3 * by_gamma.abs().max(1.0));
                prop_assert!((by_beta - f64::from(of_beta[channel])).abs() < 2e-3 * by_beta.abs().max(1.0));
            }
        }
    }
}
