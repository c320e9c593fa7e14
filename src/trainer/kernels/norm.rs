//! Batch normalisation (Ioffe and Szegedy 2015), forward and backward, over blocks of samples.

use super::block::sized;
use crate::simd::{lanes, with_lanes};

/// Added to the variance before the root is taken.
pub(crate) const EPSILON: f32 = 1e-5;

/// The weight of a batch in the running mean and variance.
const MOMENTUM: f32 = 0.1;

/// Normalises each of `channels`, planes of `pixels`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Norm {
    pub(crate) channels: usize,
    pub(crate) pixels: usize,
}

/// For each channel of one block: the mean, and the sum of the squared distances to it.
#[derive(Debug, Clone)]
pub(crate) struct BlockMoments {
    numbers: f64,
    channels: Vec<(f64, f64)>,
}

/// For each channel of a whole batch.
#[derive(Debug, Clone, Default)]
pub(crate) struct Moments {
    mean: Vec<f32>,
    /// `1 / √(variance + ε)`.
    scale: Vec<f32>,
    variance: Vec<f32>,
    numbers: f64,
}

impl Moments {
    /// From blocks, in their order, by the parallel algorithm of Chan, Golub and LeVeque (1979).
    pub(crate) fn of_batch<'a>(blocks: impl Iterator<Item = &'a BlockMoments>) -> Self {
        let mut all: Option<BlockMoments> = None;
        for block in blocks {
            let Some(all) = &mut all else {
                all = Some(block.clone());
                continue;
            };
            let (before, more) = (all.numbers, block.numbers);
            all.numbers += more;
            for ((mean, squares), (other, more_squares)) in all.channels.iter_mut().zip(&block.channels) {
                let distance = other - *mean;
                *mean += distance * more / (before + more);
                *squares += more_squares + distance * distance * before * more / (before + more);
            }
        }
        let Some(all) = all else { return Self::default() };
        let variance: Vec<f32> = all.channels.iter().map(|(_, squares)| (squares / all.numbers) as f32).collect();
        Self {
            mean: all.channels.iter().map(|(mean, _)| *mean as f32).collect(),
            scale: variance.iter().map(|variance| 1.0 / (variance + EPSILON).sqrt()).collect(),
            variance,
            numbers: all.numbers,
        }
    }

    /// From a running mean and variance.
    pub(crate) fn running(mean: &[f32], variance: &[f32]) -> Self {
        let scale = variance.iter().map(|variance| 1.0 / (variance + EPSILON).sqrt()).collect();
        Self { mean: mean.to_vec(), scale, variance: variance.to_vec(), numbers: 0.0 }
    }

    /// Moves a running mean and variance towards this batch's.
    pub(crate) fn update(&self, mean: &mut [f32], variance: &mut [f32]) {
        // The variance of the population that the batch is a sample of.
        let unbiased = (self.numbers / (self.numbers - 1.0).max(1.0)) as f32;
        for (running, batch) in mean.iter_mut().zip(&self.mean) {
            *running += (batch - *running) * MOMENTUM;
        }
        for (running, batch) in variance.iter_mut().zip(&self.variance) {
            *running += (batch * unbiased - *running) * MOMENTUM;
        }
    }
}

impl Norm {
    /// The moments of a block of which so many lanes hold samples.
    pub(crate) fn moments(&self, input: &[f32], samples: usize) -> BlockMoments {
        let numbers = (self.pixels * samples) as f64;
        let channels = with_lanes!(LANES => {
            let mut channels = Vec::with_capacity(self.channels);
            for plane in input.as_chunks::<LANES>().0.chunks_exact(self.pixels) {
                let mut sums = [0.0f32; LANES];
                for pixel in plane {
                    sums.iter_mut().zip(pixel).for_each(|(sum, value)| *sum += *value);
                }
                let mean = total(&sums, samples) / numbers;
                let (near, mut squares) = (mean as f32, [0.0f32; LANES]);
                for pixel in plane {
                    squares.iter_mut().zip(pixel).for_each(|(sum, value)| *sum += (*value - near) * (*value - near));
                }
                channels.push((mean, total(&squares, samples)));
            }
            channels
        });
        BlockMoments { numbers, channels }
    }

    /// `γ · (x - mean) · scale + β`, and `max(…, 0)` with `relu`.
    pub(crate) fn forward(
        &self,
        moments: &Moments,
        (gamma, beta, relu): (&[f32], &[f32], bool),
        input: &[f32],
        output: &mut Vec<f32>,
    ) {
        let floor = if relu { 0.0 } else { f32::NEG_INFINITY };
        let output = sized(output, input.len());
        with_lanes!(LANES => {
            let size = self.pixels * LANES;
            let planes = input.chunks_exact(size).zip(output.chunks_exact_mut(size));
            for (channel, (plane, output)) in planes.enumerate() {
                let factor = gamma[channel] * moments.scale[channel];
                let offset = beta[channel] - moments.mean[channel] * factor;
                for (to, from) in output.iter_mut().zip(plane) {
                    let value = *from * factor + offset;
                    // Keeps NaN, so that a run that diverges is noticed.
                    *to = if value < floor { floor } else { value };
                }
            }
        });
    }

    /// For each channel of a block the sum of the gradient of the output, and of its product with the
    /// normalised input: the gradients of β and γ.
    pub(crate) fn sums(&self, moments: &Moments, (input, samples): (&[f32], usize), upper: &[f32]) -> Vec<(f64, f64)> {
        with_lanes!(LANES => {
            let mut channels = Vec::with_capacity(self.channels);
            let planes = input.as_chunks::<LANES>().0.chunks_exact(self.pixels);
            let uppers = upper.as_chunks::<LANES>().0.chunks_exact(self.pixels);
            for (channel, (plane, upper)) in planes.zip(uppers).enumerate() {
                let (mean, scale) = (moments.mean[channel], moments.scale[channel]);
                let (mut sums, mut products) = ([0.0f32; LANES], [0.0f32; LANES]);
                for (pixel, upper) in plane.iter().zip(upper) {
                    for lane in 0..LANES {
                        sums[lane] += upper[lane];
                        products[lane] += upper[lane] * (pixel[lane] - mean);
                    }
                }
                channels.push((total(&sums, samples), total(&products, samples) * f64::from(scale)));
            }
            channels
        })
    }

    /// The gradient of the input in place of that of the output, from the batch's sums; zero in lanes
    /// without a sample.
    pub(crate) fn backward(
        &self,
        moments: &Moments,
        gamma: &[f32],
        sums: &[(f64, f64)],
        (input, samples): (&[f32], usize),
        upper: &mut [f32],
    ) {
        with_lanes!(LANES => {
            let size = self.pixels * LANES;
            let planes = input.chunks_exact(size).zip(upper.chunks_exact_mut(size));
            for (channel, (plane, upper)) in planes.enumerate() {
                let (mean, scale) = (moments.mean[channel], moments.scale[channel]);
                let (sum, product) = sums[channel];
                let slope = (product / moments.numbers) as f32 * scale;
                let level = (sum / moments.numbers) as f32;
                let factor = gamma[channel] * scale;
                for (upper, value) in upper.iter_mut().zip(plane) {
                    *upper = (*upper - level - (*value - mean) * slope) * factor;
                }
            }
        });
        let lanes = lanes();
        if samples < lanes {
            upper.chunks_exact_mut(lanes).for_each(|pixel| pixel[samples..].fill(0.0));
        }
    }
}

fn total(lanes: &[f32], samples: usize) -> f64 {
    lanes.iter().take(samples).map(|sum| f64::from(*sum)).sum()
}
