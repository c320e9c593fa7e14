//! Positions times positions, summed: `out[row][tap] += Σ upper[row][position] · input[tap + position]`,
//! which is the gradient of a product's weights.

use pulp::{Simd, WithSimd};

use crate::simd::{dispatch, registers};

/// Rows and taps that one tile holds, for 32 registers and for 16.
const TILES: &[(usize, usize)] = &[(1, 9), (2, 9), (4, 6), (5, 5), (6, 4), (8, 3), (3, 4), (4, 3), (2, 5), (1, 1)];

/// The gradient of the weights of one product.
#[derive(Debug, Clone, Copy)]
pub(super) struct WeightGradient<'a> {
    pub(super) rows: usize,
    /// From a row of `upper` to the next one, in vectors.
    pub(super) row: usize,
    /// Where each tap of the first position lies in the input, in vectors.
    pub(super) taps: &'a [usize],
    pub(super) lines: usize,
    pub(super) positions: usize,
    /// From a position's input to the next one's, in vectors.
    pub(super) step: usize,
    /// From a line's input to the next one's.
    pub(super) line: usize,
}

impl WeightGradient<'_> {
    /// Adds to `sums`, `[rows][taps]`, for a block of samples; `upper` is `[lines][positions]` for each row.
    pub(super) fn add(&self, upper: &[f32], input: &[f32], sums: &mut [f32]) {
        let tile = choose(self.rows, self.taps.len(), registers());
        dispatch(Run { work: *self, tile, upper, input, sums });
    }
}

fn choose(rows: usize, taps: usize, registers: usize) -> (usize, usize) {
    let cost = |&(m, k): &(usize, usize)| rows.div_ceil(m) * taps.div_ceil(k) * ((m * k).max(m + k) * 2 + 4);
    let fits = |&&(m, k): &&(usize, usize)| m * k + m.min(k) < registers;
    TILES.iter().filter(fits).copied().min_by_key(cost).unwrap_or((1, 1))
}

struct Run<'a> {
    work: WeightGradient<'a>,
    tile: (usize, usize),
    upper: &'a [f32],
    input: &'a [f32],
    sums: &'a mut [f32],
}

impl WithSimd for Run<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        macro_rules! tiles {
            ($(($m:literal $k:literal))*) => {
                match (self.tile, self.work.step) {
                    $(
                        (($m, $k), 1) if $m * $k < S::REGISTER_COUNT.max(2) => {
                            simd.vectorize(Tiles::<$m, $k, 1> { run: self });
                        }
                        (($m, $k), 2) if $m * $k < S::REGISTER_COUNT.max(2) => {
                            simd.vectorize(Tiles::<$m, $k, 2> { run: self });
                        }
                        (($m, $k), _) if $m * $k < S::REGISTER_COUNT.max(2) => {
                            simd.vectorize(Tiles::<$m, $k, 0> { run: self });
                        }
                    )*
                    _ => {}
                }
            };
        }
        tiles!((1 9)(2 9)(4 6)(5 5)(6 4)(8 3)(3 4)(4 3)(2 5)(1 1));
    }
}

/// Tiles of `M` rows by `K` taps; `STEP` as in a product.
struct Tiles<'a, const M: usize, const K: usize, const STEP: usize> {
    run: Run<'a>,
}

impl<const M: usize, const K: usize, const STEP: usize> WithSimd for Tiles<'_, M, K, STEP> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let WeightGradient { rows, row: stride, taps, lines, positions, step, line } = self.run.work;
        let step = if STEP == 0 { step } else { STEP };
        let upper = S::as_simd_f32s(self.run.upper).0;
        let input = S::as_simd_f32s(self.run.input).0;
        let zero = simd.splat_f32s(0.0);
        for first_row in (0..rows).step_by(M) {
            for first_tap in (0..taps.len()).step_by(K) {
                // Beyond the last row or tap the last one is computed again and not added.
                let row: [usize; M] = std::array::from_fn(|m| (first_row + m).min(rows - 1) * stride);
                let tap: [usize; K] = std::array::from_fn(|k| taps[(first_tap + k).min(taps.len() - 1)]);
                let mut tile = [[zero; K]; M];
                for at in 0..lines {
                    // Loops, because an array's own `map` is not compiled for the vectors at hand.
                    let span = (positions - 1) * step + 1;
                    let (mut uppers, mut inputs) = ([&upper[..0]; M], [&input[..0]; K]);
                    for (slice, row) in uppers.iter_mut().zip(row) {
                        *slice = &upper[row + at * positions..][..positions];
                    }
                    for (slice, tap) in inputs.iter_mut().zip(tap) {
                        *slice = &input[tap + at * line..][..span];
                    }
                    for position in 0..positions {
                        let mut below = [zero; K];
                        for (value, slice) in below.iter_mut().zip(inputs) {
                            *value = slice[position * step];
                        }
                        for (sums, upper) in tile.iter_mut().zip(uppers) {
                            let upper = upper[position];
                            for (sum, &input) in sums.iter_mut().zip(&below) {
                                *sum = simd.mul_add_f32s(upper, input, *sum);
                            }
                        }
                    }
                }
                for (m, tile) in tile.iter().enumerate().take(rows - first_row) {
                    let sums = &mut self.run.sums[(first_row + m) * taps.len() + first_tap..];
                    for (sum, &value) in sums.iter_mut().zip(tile).take(taps.len() - first_tap) {
                        *sum += simd.reduce_sum_f32s(value);
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::simd::lanes;

    proptest! {
        #[test]
        fn any_tile_gives_what_one_number_at_a_time_gives(
            rows in 1usize..14, taps in 1usize..20, lines in 1usize..3, positions in 1usize..9, step in 1usize..4, narrow: bool,
        ) {
            #[cfg(target_arch = "x86_64")]
            crate::simd::NARROW.set(narrow);
            let _ = narrow;
            let (lanes, line) = (lanes(), positions * step + 1);
            let places: Vec<usize> = (0..taps).map(|tap| (tap * 5) % 37).collect();
            let number = |i: usize| ((i * 7) % 19) as f32 / 19.0 - 0.5;
            let upper: Vec<f32> = (0..rows * lines * positions * lanes).map(number).collect();
            let input: Vec<f32> = (0..(lines * line + 40) * lanes).map(number).collect();
            let mut sums = vec![1.0; rows * taps];
            WeightGradient { rows, row: lines * positions, taps: &places, lines, positions, step, line }.add(&upper, &input, &mut sums);
            for (index, sum) in sums.iter().enumerate() {
                let (row, tap) = (index / taps, places[index % taps]);
                let mut expected = 1.0;
                for (at, position) in (0..lines).flat_map(|at| (0..positions).map(move |position| (at, position))) {
                    for lane in 0..lanes {
                        let above = upper[((row * lines + at) * positions + position) * lanes + lane];
                        expected += above * input[(tap + at * line + position * step) * lanes + lane];
                    }
                }
                prop_assert!((sum - expected).abs() < 1e-3, "{sum} {expected}");
            }
        }
    }
}
