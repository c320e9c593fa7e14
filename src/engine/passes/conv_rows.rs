//! Computes rows of a convolution, vectorised over output channels. A tile of neighbouring pixels times
//! a few vectors of channels stays in registers while the products of all taps are summed.

use pulp::{Simd, WithSimd};

use super::epilogue::Activation;

/// The vectors of output channels in one tile.
pub(super) const VECTORS: usize = 2;
/// The pixels of the widest tile.
const MAX_TILE: usize = 14;

/// One row of output pixels for the channels of one block.
#[derive(Debug)]
pub(super) struct Row<'a> {
    /// For each tap, the weights of the channels of the block.
    pub(super) weights: &'a [f32],
    /// The biases of the channels of the block.
    pub(super) bias: &'a [f32],
    /// The index in `input` of each tap of the first pixel; those of the next pixel are one greater.
    pub(super) taps: &'a [usize],
    pub(super) input: &'a [f32],
    /// Pixels, each with the channels of the block side by side.
    pub(super) output: &'a mut [f32],
    pub(super) pixels: usize,
    pub(super) activation: Option<Activation>,
}

impl Row<'_> {
    /// Computes the row for a block of `vectors` (1 or [`VECTORS`]) vectors of channels.
    #[inline(always)]
    pub(super) fn compute<S: Simd>(self, simd: S, vectors: usize) {
        match vectors {
            1 => self.with_vectors::<S, 1>(simd),
            _ => self.with_vectors::<S, VECTORS>(simd),
        }
    }

    #[inline(always)]
    fn with_vectors<S: Simd, const C: usize>(self, simd: S) {
        // The sums, the weights of a tap and one pixel must fit into the registers.
        let widest = if S::REGISTER_COUNT >= 32 { MAX_TILE } else { (S::REGISTER_COUNT - 1 - C) / C };
        let widest = widest.min(MAX_TILE);
        let tile = self.pixels.div_ceil(self.pixels.div_ceil(widest));
        macro_rules! dispatch {
            ($($p:literal)*) => {
                match tile {
                    $($p if $p <= widest => simd.vectorize(Tiles::<C, $p>(self)),)*
                    _ => {}
                }
            };
        }
        dispatch!(1 2 3 4 5 6 7 8 9 10 11 12 13 14);
    }
}

struct Tiles<'a, const C: usize, const P: usize>(Row<'a>);

impl<const C: usize, const P: usize> WithSimd for Tiles<'_, C, P> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let row = self.0;
        let weights = S::as_simd_f32s(row.weights).0.as_chunks::<C>().0;
        let Some(bias) = S::as_simd_f32s(row.bias).0.first_chunk::<C>() else { return };
        let output = S::as_mut_simd_f32s(row.output).0.as_chunks_mut::<C>().0;
        for tile in 0..row.pixels.div_ceil(P) {
            // The last tile overlaps the previous one instead of being narrower.
            let first = (tile * P).min(row.pixels - P);
            let input = &row.input[first..];
            let mut sums = [*bias; P];
            for (weights, &tap) in weights.iter().zip(row.taps) {
                let Some(pixels) = input.get(tap..).and_then(<[f32]>::first_chunk::<P>) else { return };
                for (sums, &pixel) in sums.iter_mut().zip(pixels) {
                    let pixel = simd.splat_f32s(pixel);
                    for (sum, &weight) in sums.iter_mut().zip(weights) {
                        *sum = simd.mul_add_f32s(weight, pixel, *sum);
                    }
                }
            }
            if let Some(activation) = row.activation {
                activation.apply(simd, sums.as_flattened_mut());
            }
            output[first..first + P].copy_from_slice(&sums);
        }
    }
}
