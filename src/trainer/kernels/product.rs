//! Weights times positions: `out[row][position] = start + Σ weight[row][tap] · input[tap + position]`.

use pulp::{Simd, WithSimd};

use crate::simd::{dispatch, registers};

/// Taps after which the sums go back to memory, so that the positions they read stay in the nearest
/// cache while all rows pass over them.
const TAPS: usize = 144;

/// Rows and positions that one tile holds at most, for 32 registers and for 16: the sums, the shorter side
/// and one more must fit.
const TILES: &[(usize, usize)] = &[
    (1, 8),
    (2, 8),
    (3, 8),
    (4, 6),
    (5, 5),
    (6, 4),
    (8, 3),
    (12, 2),
    (24, 1),
    (2, 5),
    (3, 4),
    (4, 3),
    (6, 2),
    (12, 1),
    (1, 4),
    (2, 2),
    (2, 1),
    (1, 2),
    (1, 1),
];

/// Weights, packed for the tile that suits their shape best.
#[derive(Debug)]
pub(super) struct Weights {
    tile: (usize, usize),
    rows: usize,
    taps: usize,
    /// For each block of rows and each tap the weights of the rows; rows beyond the last are zero.
    packed: Vec<f32>,
}

/// Where the positions lie, in vectors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Frame {
    /// Lines of positions.
    pub(super) lines: usize,
    /// Positions of a line.
    pub(super) positions: usize,
    /// From a position's input to the next one's.
    pub(super) step: usize,
    /// From a line's input to the next one's.
    pub(super) line: usize,
    /// The first output.
    pub(super) output_start: usize,
    /// From a position's output to the next one's.
    pub(super) output_step: usize,
    /// From a line's output to the next one's.
    pub(super) output_line: usize,
    /// From a row's outputs to the next one's.
    pub(super) output_row: usize,
}

/// The initial value of the sums.
#[derive(Debug, Clone, Copy)]
pub(super) enum Start<'a> {
    Zero,
    /// A number for each row.
    Bias(&'a [f32]),
    /// The previous content of the output.
    Output,
}

/// The final operation on the sums.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    Sum,
    /// `max(sum, 0)`.
    Relu,
}

/// One product on one block of samples.
#[derive(Debug)]
pub(super) struct Product<'a> {
    pub(super) weights: &'a Weights,
    /// Where each tap of the first position lies in the input, in vectors.
    pub(super) taps: &'a [usize],
    pub(super) frame: Frame,
    pub(super) start: Start<'a>,
    pub(super) end: End,
}

impl Weights {
    /// `weight(row, tap)` for products over lines of so many positions.
    pub(super) fn pack(rows: usize, taps: usize, positions: usize, weight: impl Fn(usize, usize) -> f32) -> Self {
        let tile = choose(rows, positions, registers());
        let mut packed = Vec::with_capacity(rows.next_multiple_of(tile.0) * taps);
        for first in (0..rows).step_by(tile.0) {
            for tap in 0..taps {
                packed.extend((first..first + tile.0).map(|row| if row < rows { weight(row, tap) } else { 0.0 }));
            }
        }
        Self { tile, rows, taps, packed }
    }
}

/// The tile with the least to do: arithmetic, or loads where they are more.
fn choose(rows: usize, positions: usize, registers: usize) -> (usize, usize) {
    let cost = |&(m, v): &(usize, usize)| {
        let tiles = rows.div_ceil(m) * positions.div_ceil(v);
        // Loads, sums, and what a tile costs however small it is.
        tiles * ((m * v).max(m + v) * 2 + 4)
    };
    let fits = |&&(m, v): &&(usize, usize)| v <= positions && m * v + m.min(v) < registers;
    TILES.iter().filter(fits).copied().min_by_key(cost).unwrap_or((1, 1))
}

impl Product<'_> {
    /// Computes it; all numbers are vectors of `lanes()` samples.
    pub(super) fn run(&self, input: &[f32], output: &mut [f32]) {
        dispatch(Run { product: self, input, output });
    }
}

struct Run<'a> {
    product: &'a Product<'a>,
    input: &'a [f32],
    output: &'a mut [f32],
}

impl WithSimd for Run<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        macro_rules! tiles {
            ($(($m:literal $v:literal))*) => {
                match (self.product.weights.tile, self.product.frame.step) {
                    $(
                        (($m, $v), 1) if $m * $v < S::REGISTER_COUNT.max(2) => {
                            simd.vectorize(Tiles::<$m, $v, 1> { run: self });
                        }
                        (($m, $v), 2) if $m * $v < S::REGISTER_COUNT.max(2) => {
                            simd.vectorize(Tiles::<$m, $v, 2> { run: self });
                        }
                        (($m, $v), _) if $m * $v < S::REGISTER_COUNT.max(2) => {
                            simd.vectorize(Tiles::<$m, $v, 0> { run: self });
                        }
                    )*
                    _ => {}
                }
            };
        }
        tiles!((1 8)(2 8)(3 8)(4 6)(5 5)(6 4)(8 3)(12 2)(24 1)(2 5)(3 4)(4 3)(6 2)(12 1)(1 4)(2 2)(2 1)(1 2)(1 1));
    }
}

/// Tiles of `M` rows by `V` positions that are `STEP` vectors apart; 0 is any step.
struct Tiles<'a, const M: usize, const V: usize, const STEP: usize> {
    run: Run<'a>,
}

impl<const M: usize, const V: usize, const STEP: usize> WithSimd for Tiles<'_, M, V, STEP> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Product { weights, taps, frame, start, end } = self.run.product;
        let input = S::as_simd_f32s(self.run.input).0;
        let output = S::as_mut_simd_f32s(self.run.output).0;
        let packed = weights.packed.as_chunks::<M>().0;
        let chunks = taps.len().div_ceil(TAPS).max(1);
        let zero = simd.splat_f32s(0.0);
        for chunk in 0..chunks {
            let first_tap = chunk * TAPS;
            let last_tap = taps.len().min(first_tap + TAPS);
            let taps = &taps[first_tap..last_tap];
            for line in 0..frame.lines {
                for tile in 0..frame.positions.div_ceil(V) {
                    // The last tile overlaps the one before it rather than being narrower, unless the sums
                    // go on from the output, which must not be added to twice.
                    let position = (tile * V).min(frame.positions - V);
                    let done = tile * V - position;
                    let input = &input[line * frame.line + position * frame.step..];
                    let place = frame.output_start + line * frame.output_line + position * frame.output_step;
                    for (block, first_row) in (0..weights.rows).step_by(M).enumerate() {
                        let packed = &packed[block * weights.taps + first_tap..][..taps.len()];
                        let rows = M.min(weights.rows - first_row);
                        let mut sums = [[zero; V]; M];
                        for (row, sums) in sums.iter_mut().enumerate().take(rows) {
                            match start {
                                Start::Bias(bias) if chunk == 0 => *sums = [simd.splat_f32s(bias[first_row + row]); V],
                                Start::Zero if chunk == 0 => {}
                                _ => {
                                    let place = place + (first_row + row) * frame.output_row;
                                    for (v, sum) in sums.iter_mut().enumerate() {
                                        *sum = output[place + v * frame.output_step];
                                    }
                                }
                            }
                        }
                        add_taps::<S, M, V, STEP>(simd, packed, taps, input, frame.step, &mut sums);
                        let ends = chunk + 1 == chunks && *end == End::Relu;
                        for (row, sums) in sums.iter().enumerate().take(rows) {
                            let place = place + (first_row + row) * frame.output_row;
                            for (v, &sum) in sums.iter().enumerate().skip(done) {
                                let sum = if ends { simd.max_f32s(sum, zero) } else { sum };
                                output[place + v * frame.output_step] = sum;
                            }
                        }
                    }
                }
            }
        }
    }
}

#[inline(always)]
fn add_taps<S: Simd, const M: usize, const V: usize, const STEP: usize>(
    simd: S,
    packed: &[[f32; M]],
    taps: &[usize],
    input: &[S::f32s],
    step: usize,
    sums: &mut [[S::f32s; V]; M],
) {
    let step = if STEP == 0 { step } else { STEP };
    let mut local = *sums;
    for (weights, &tap) in packed.iter().zip(taps) {
        let input = &input[tap..][..(V - 1) * step + 1];
        let positions: [S::f32s; V] = std::array::from_fn(|v| input[v * step]);
        for (sums, &weight) in local.iter_mut().zip(weights) {
            let weight = simd.splat_f32s(weight);
            for (sum, &position) in sums.iter_mut().zip(&positions) {
                *sum = simd.mul_add_f32s(weight, position, *sum);
            }
        }
    }
    *sums = local;
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::simd::lanes;

    /// One number at a time.
    fn reference(product: &Product<'_>, weight: impl Fn(usize, usize) -> f32, input: &[f32], output: &mut [f32]) {
        let (f, lanes) = (product.frame, lanes());
        for row in 0..product.weights.rows {
            for (line, position) in (0..f.lines).flat_map(|line| (0..f.positions).map(move |p| (line, p))) {
                for lane in 0..lanes {
                    let place = f.output_start + line * f.output_line + position * f.output_step + row * f.output_row;
                    let value = &mut output[place * lanes + lane];
                    let mut sum = match product.start {
                        Start::Zero => 0.0,
                        Start::Bias(bias) => bias[row],
                        Start::Output => *value,
                    };
                    for (index, tap) in product.taps.iter().enumerate() {
                        let at = tap + line * f.line + position * f.step;
                        sum += weight(row, index) * input[at * lanes + lane];
                    }
                    *value = if product.end == End::Relu { sum.max(0.0) } else { sum };
                }
            }
        }
    }

    proptest! {
        #[test]
        fn any_tile_gives_what_one_number_at_a_time_gives(
            rows in 1usize..30, taps in 0usize..300, lines in 1usize..3, positions in 1usize..14,
            step in 1usize..4, (start, relu, narrow) in (0usize..3, any::<bool>(), any::<bool>()),
        ) {
            #[cfg(target_arch = "x86_64")]
            crate::simd::NARROW.set(narrow);
            let _ = narrow;
            let lanes = lanes();
            let weight = |row: usize, tap: usize| ((row * 31 + tap * 17) % 13) as f32 / 13.0 - 0.4;
            let weights = Weights::pack(rows, taps, positions, weight);
            let line = positions * step + 1;
            let frame = Frame {
                lines, positions, step, line, output_start: 1, output_step: 2,
                output_line: positions * 2 + 1, output_row: lines * (positions * 2 + 1),
            };
            let places: Vec<usize> = (0..taps).map(|tap| (tap * 5) % 37).collect();
            let bias: Vec<f32> = (0..rows).map(|row| row as f32 / 7.0 - 1.0).collect();
            let start = [Start::Zero, Start::Bias(&bias), Start::Output][start];
            let end = if relu { End::Relu } else { End::Sum };
            let product = Product { weights: &weights, taps: &places, frame, start, end };
            let input: Vec<f32> = (0..(lines * line + 40) * lanes).map(|i| ((i * 7) % 19) as f32 / 19.0 - 0.5).collect();
            let mut expected: Vec<f32> = (0..(1 + rows * frame.output_row) * lanes).map(|i| (i % 5) as f32).collect();
            let mut output = expected.clone();
            product.run(&input, &mut output);
            reference(&product, weight, &input, &mut expected);
            for (a, b) in output.iter().zip(&expected) {
                prop_assert!((a - b).abs() < 1e-3, "{a} {b}");
            }
        }
    }
}
