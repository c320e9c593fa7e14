//! Puts the components of a picture together to pixels, by libjpeg's rules.

use super::frame::{Component, Frame};
use crate::simd::vectorized;
use crate::transform::raster::Raster;

/// The meaning of three components.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Meaning {
    /// Luma and two differences of colours (JFIF).
    Differences,
    /// Red, green, blue.
    Colours,
}

/// Returns the picture. Components of fewer pixels are interpolated where `is_smooth`, else repeated.
pub(super) fn picture(frame: &Frame, meaning: Meaning, is_smooth: bool) -> Raster {
    let [width, height] = frame.size;
    let channels = frame.components.len();
    let mut pixels = vec![0; width * height * channels];
    let mut rows = vec![vec![0; width]; channels];
    for (y, line) in pixels.chunks_exact_mut(width * channels).enumerate() {
        for (component, row) in frame.components.iter().zip(&mut rows) {
            spread(component, y, is_smooth, row);
        }
        match rows.as_slice() {
            [first, second, third] => {
                let (line, _) = line.as_chunks_mut::<3>();
                vectorized(
                    #[inline(always)]
                    || together(first, second, third, meaning, line),
                );
            }
            rows => rows.iter().for_each(|row| line.copy_from_slice(row)),
        }
    }
    Raster { width: width as u32, height: height as u32, channels, pixels }
}

#[inline(always)]
fn together(first: &[u8], second: &[u8], third: &[u8], meaning: Meaning, line: &mut [[u8; 3]]) {
    let components = first.iter().zip(second).zip(third);
    for (pixel, ((first, second), third)) in line.iter_mut().zip(components) {
        *pixel = match meaning {
            Meaning::Colours => [*first, *second, *third],
            Meaning::Differences => colour(*first, *second, *third),
        };
    }
}

/// Returns the colour of a luma and two differences (JFIF): 1.402, 0.344136, 0.714136 and 1.772 with 16 bits behind the
/// point.
#[inline(always)]
fn colour(luma: u8, blue: u8, red: u8) -> [u8; 3] {
    const HALF: i32 = 1 << 15;
    let (luma, blue, red) = (i32::from(luma), i32::from(blue).wrapping_sub(128), i32::from(red).wrapping_sub(128));
    let added = |sum: i32| luma.wrapping_add(sum.wrapping_add(HALF) >> 16).clamp(0, 255) as u8;
    [
        added(red.wrapping_mul(91881)),
        added(blue.wrapping_mul(-22554).wrapping_sub(red.wrapping_mul(46802))),
        added(blue.wrapping_mul(116130)),
    ]
}

/// Writes a row of the picture.
fn spread(component: &Component, y: usize, is_smooth: bool, row: &mut [u8]) {
    let [across, down] = component.spread;
    let source = component.row(y / down);
    match [across, down] {
        [1, 1] => row.copy_from_slice(source),
        [2, 1] if is_smooth && source.len() > 2 => widened(source, row),
        [1, 2] if is_smooth => {
            // Three parts of the nearest row and one of the next but one.
            let (other, bias) = match y % 2 {
                0 => ((y / 2).saturating_sub(1), 1),
                _ => ((y / 2 + 1).min(component.shown[1] - 1), 2),
            };
            for ((level, near), far) in row.iter_mut().zip(source).zip(component.row(other)) {
                *level = mixed(*near, *far, bias);
            }
        }
        _ => row.iter_mut().enumerate().for_each(|(x, level)| *level = source[x / across]),
    }
}

/// Doubles a row: each level is mixed with that of its other neighbour.
fn widened(source: &[u8], row: &mut [u8]) {
    let last = source.len() - 1;
    for (x, level) in row.iter_mut().enumerate() {
        let near = source[x / 2];
        *level = match x {
            0 => near,
            _ if x % 2 == 0 => mixed(near, source[x / 2 - 1], 1),
            _ if x / 2 == last => near,
            _ => mixed(near, source[x / 2 + 1], 2),
        };
    }
}

/// Returns three parts of one level and one of another. The bias makes rounding up and down alike often.
fn mixed(near: u8, far: u8, bias: u16) -> u8 {
    ((u16::from(near) * 3 + u16::from(far) + bias) >> 2) as u8
}
