//! The inverse cosine transform of blocks to fewer pixels than they have coefficients (T.81, annex A.3.3).
//!
//! A pixel is the mean of those pixels of the whole block that it stands for, which are never computed. The numbers are
//! those of the usual integer transform (Loeffler, Ligtenberg and Moschytz, 1989): factors of 13 bits, and two further
//! bits between columns and rows. The results are libjpeg's, bit for bit. Numbers wrap: only a hostile file has such
//! large ones.
//!
//! Sixteen blocks are transformed abreast, which is what vectors are made for; so coefficients of one frequency lie side
//! by side.

use std::num::Wrapping;

/// The bits behind the point of a factor.
const PRECISION: usize = 13;
/// The further bits of a number between the two passes.
const BETWEEN: usize = 2;
/// The logarithm of 8, by which two passes over eight coefficients scale.
const EIGHT: usize = 3;

/// The blocks that are transformed abreast.
pub(super) const LANES: usize = 16;

/// The coefficients of a block, or what they are multiplied by, row by row.
pub(super) type Block = [i16; 64];

/// The coefficients of sixteen blocks. What lies beyond the last one of a block is never looked at.
pub(super) type Blocks = [[i16; LANES]; 128];

/// The pixels of sixteen blocks, row by row.
pub(super) type Pixels<const N: usize> = [[[u8; LANES]; N]; N];

type Number = Wrapping<i32>;

/// Returns eight samples of eight coefficients. Their scale is 2^13.
#[inline(always)]
fn eight(input: [Number; 8]) -> [Number; 8] {
    let [c0, c1, c2, c3, c4, c5, c6, c7] = input;
    let turned = (c2 + c6) * Wrapping(4433);
    let (low, high) = (turned + c2 * Wrapping(6270), turned - c6 * Wrapping(15137));
    let (sum, difference) = ((c0 + c4) << PRECISION, (c0 - c4) << PRECISION);
    let even = [sum + low, difference + high, difference - high, sum - low];
    let both = (c7 + c3 + c5 + c1) * Wrapping(9633);
    let first = both - (c7 + c3) * Wrapping(16069);
    let second = both - (c5 + c1) * Wrapping(3196);
    let outer = (c7 + c1) * Wrapping(7373);
    let inner = (c5 + c3) * Wrapping(20995);
    let odd = [
        c1 * Wrapping(12299) - outer + second,
        c3 * Wrapping(25172) - inner + first,
        c5 * Wrapping(16819) - inner + second,
        c7 * Wrapping(2446) - outer + first,
    ];
    let [e0, e1, e2, e3] = even;
    let [o0, o1, o2, o3] = odd;
    [e0 + o0, e1 + o1, e2 + o2, e3 + o3, e3 - o3, e2 - o2, e1 - o1, e0 - o0]
}

/// Returns the means of two samples each of eight coefficients. Their scale is 2^14.
///
/// The factor of coefficient k for mean j is √8 cos(kπ/16) cos((2j + 1)kπ/8), which is 0 for k = 4.
#[inline(always)]
fn four(input: [Number; 8]) -> [Number; 4] {
    let [c0, c1, c2, c3, _, c5, c6, c7] = input;
    let (mean, low) = (c0 << (PRECISION + 1), c2 * Wrapping(15137) - c6 * Wrapping(6270));
    let outer = c1 * Wrapping(20995) + c3 * Wrapping(7373) - c5 * Wrapping(4926) - c7 * Wrapping(4176);
    let inner = c1 * Wrapping(8697) - c3 * Wrapping(17799) + c5 * Wrapping(11893) - c7 * Wrapping(1730);
    [mean + low + outer, mean - low + inner, mean - low - inner, mean + low - outer]
}

/// Returns the means of four samples each of eight coefficients. Their scale is 2^15.
///
/// The factor of an odd coefficient k is the sum of √2 cos((2n + 1)kπ/16) for n from 0 to 3; that of an even one is 0.
#[inline(always)]
fn two(input: [Number; 8]) -> [Number; 2] {
    let [c0, c1, _, c3, _, c5, _, c7] = input;
    let mean = c0 << (PRECISION + 2);
    let odd = c1 * Wrapping(29692) - c3 * Wrapping(10426) + c5 * Wrapping(6967) - c7 * Wrapping(5906);
    [mean + odd, mean - odd]
}

/// Transforms columns, then rows, by a transform whose results have a scale of so many bits.
#[inline(always)]
fn transformed<const N: usize>(
    blocks: &Blocks,
    factors: &Block,
    scale: usize,
    transform: impl Fn([Number; 8]) -> [Number; N],
) -> Pixels<N> {
    let mut between = [[[Wrapping(0); LANES]; 8]; N];
    for column in 0..8 {
        for lane in 0..LANES {
            let mut input = [Wrapping(0); 8];
            for row in 0..8 {
                let coefficient = blocks[row * 8 + column][lane].wrapping_mul(factors[row * 8 + column]);
                input[row] = Wrapping(i32::from(coefficient));
            }
            let output = transform(input);
            for row in 0..N {
                between[row][column][lane] = rounded(output[row], scale - BETWEEN);
            }
        }
    }
    let mut pixels = [[[0; LANES]; N]; N];
    for row in 0..N {
        for lane in 0..LANES {
            let mut input = [Wrapping(0); 8];
            for column in 0..8 {
                input[column] = between[row][column][lane];
            }
            let output = transform(input);
            for column in 0..N {
                pixels[row][column][lane] = level(rounded(output[column], scale + BETWEEN + EIGHT));
            }
        }
    }
    pixels
}

#[inline(always)]
fn rounded(value: Number, bits: usize) -> Number {
    (value + Wrapping(1 << (bits - 1))) >> bits
}

/// Returns a level of 0 to 255 of one around 0.
#[inline(always)]
fn level(value: Number) -> u8 {
    (value + Wrapping(128)).0.clamp(0, 255) as u8
}

/// Returns the 8 × 8 pixels of each block.
#[inline(always)]
pub(super) fn whole(blocks: &Blocks, factors: &Block) -> Pixels<8> {
    transformed(blocks, factors, PRECISION, eight)
}

/// Returns 4 × 4 pixels of each block.
#[inline(always)]
pub(super) fn half(blocks: &Blocks, factors: &Block) -> Pixels<4> {
    transformed(blocks, factors, PRECISION + 1, four)
}

/// Returns 2 × 2 pixels of each block.
#[inline(always)]
pub(super) fn quarter(blocks: &Blocks, factors: &Block) -> Pixels<2> {
    transformed(blocks, factors, PRECISION + 2, two)
}

/// Returns the one pixel of each block.
#[inline(always)]
pub(super) fn eighth(blocks: &Blocks, factors: &Block) -> Pixels<1> {
    let mut pixels = [[[0; LANES]; 1]; 1];
    for (pixel, coefficient) in pixels[0][0].iter_mut().zip(&blocks[0]) {
        *pixel = level(rounded(Wrapping(i32::from(coefficient.wrapping_mul(factors[0]))), EIGHT));
    }
    pixels
}

#[cfg(test)]
mod tests {
    use std::f64::consts::{PI, SQRT_2};

    use super::*;

    /// Returns what a coefficient of 1 gives.
    fn of_one<const N: usize>(at: usize, transform: fn([Number; 8]) -> [Number; N]) -> [i32; N] {
        let mut input = [Wrapping(0); 8];
        input[at] = Wrapping(1);
        transform(input).map(|number| number.0)
    }

    #[test]
    fn factors_are_those_of_the_cosine_transform_and_its_means() {
        for at in 0..8 {
            let sample = |n: usize| {
                let factor = if at == 0 { 1.0 } else { SQRT_2 };
                factor * ((2 * n + 1) as f64 * at as f64 * PI / 16.0).cos() * f64::from(1 << PRECISION)
            };
            let sum = |samples: std::ops::Range<usize>| samples.map(sample).sum::<f64>();
            // Factors are rounded, and those of all samples are sums of up to four.
            let near = |found: i32, expected: f64, most: f64| {
                assert!((f64::from(found) - expected).abs() <= most, "{at}: {found} {expected}");
            };
            for (n, found) in of_one(at, eight).into_iter().enumerate() {
                near(found, sample(n), 2.0);
            }
            for (n, found) in of_one(at, four).into_iter().enumerate() {
                near(found, sum(2 * n..2 * n + 2), 0.6);
            }
            for (n, found) in of_one(at, two).into_iter().enumerate() {
                near(found, sum(4 * n..4 * n + 4), 0.6);
            }
        }
    }

    #[test]
    fn a_flat_block_is_flat_at_every_scale() {
        let levels = [-2000, -1024, -77, -4, -1, 0, 3, 4, 9, 1000, 2000, 7, 8, 9, 10, 11];
        let (mut blocks, mut factors) = ([[0; LANES]; 128], [1; 64]);
        (blocks[0], factors[0]) = (levels, 3);
        let [[means]] = eighth(&blocks, &factors);
        assert_eq!(means[..5], [0, 0, 99, 127, 128], "{means:?}");
        assert_eq!(quarter(&blocks, &factors), [[means; 2]; 2]);
        assert_eq!(half(&blocks, &factors), [[means; 4]; 4]);
        assert_eq!(whole(&blocks, &factors), [[means; 8]; 8]);
    }
}
