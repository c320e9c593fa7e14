//! Resamples pictures as Pillow does, to the last bit: two passes whose weights have 22 bits behind the point, and pixels
//! of 8 bits between them.
//!
//! Without antialiasing the kernel keeps its size when a picture shrinks, as TensorFlow and OpenCV do by default; Pillow
//! has no such resize, and the arithmetic is the same.

use super::raster::Raster;
use crate::signature::Interpolation;
use crate::simd::vectorized;

/// The bits behind the point of a weight.
const PRECISION: u32 = 22;
const HALF: i32 = 1 << (PRECISION - 1);

/// A part of a resampled picture: its first pixel, and its size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Window {
    pub(super) corner: [u64; 2],
    pub(super) size: [u32; 2],
}

/// Returns a part of the picture as it would be in another size. The whole is never computed.
pub(super) fn resample(
    picture: &Raster,
    size: [u64; 2],
    window: Window,
    interpolation: Interpolation,
    antialias: bool,
) -> Raster {
    let axis =
        |axis: usize, from: u32| Axis { from, to: size[axis], first: window.corner[axis], count: window.size[axis] };
    let [across, down] = [axis(0, picture.width), axis(1, picture.height)];
    let [width, height] = window.size;
    let pixels = match Kernel::of(interpolation, antialias) {
        None => picked(picture, &across.nearest(), &down.nearest()),
        Some(kernel) => {
            let is_down_first = goes_down_first([picture.width, picture.height], size);
            let (across, down) = (across.weights(kernel, antialias), down.weights(kernel, antialias));
            if is_down_first {
                let length = picture.width as usize * picture.channels;
                let pixels = vertical(&picture.pixels, length, &down, 0);
                let low = Raster { width: picture.width, height, channels: picture.channels, pixels };
                horizontal(&low, &across, 0..height as usize)
            } else {
                let rows = down.used();
                let narrow = horizontal(picture, &across, rows.clone());
                vertical(&narrow, width as usize * picture.channels, &down, rows.start)
            }
        }
    };
    Raster { width, height, channels: picture.channels, pixels }
}

/// Returns true if Pillow (13) would resample the columns before the rows: where a picture loses more than twice as many
/// rows as columns. Earlier ones never do, and their pixels differ by one level at most.
fn goes_down_first([width, height]: [u32; 2], [to_width, to_height]: [u64; 2]) -> bool {
    let lost = |from: u32, to: u64| i64::from(from) - to as i64;
    let (columns, rows) = (lost(width, to_width), lost(height, to_height));
    rows > 0 && 2 * columns < rows
}

/// A function of the distance from the middle of a pixel.
#[derive(Debug, Clone, Copy)]
struct Kernel {
    weight: fn(f64) -> f64,
    support: f64,
}

impl Kernel {
    /// Returns the kernel; `None` where the nearest pixel is taken as it is.
    fn of(interpolation: Interpolation, antialias: bool) -> Option<Self> {
        Some(match interpolation {
            Interpolation::Nearest if antialias => Self { weight: area, support: 0.5 },
            Interpolation::Nearest => return None,
            Interpolation::Bilinear => Self { weight: triangle, support: 1.0 },
            Interpolation::Bicubic => Self { weight: cubic, support: 2.0 },
            Interpolation::Lanczos => Self { weight: lanczos, support: 3.0 },
        })
    }
}

fn area(x: f64) -> f64 {
    if x > -0.5 && x <= 0.5 { 1.0 } else { 0.0 }
}

fn triangle(x: f64) -> f64 {
    let x = x.abs();
    if x < 1.0 { 1.0 - x } else { 0.0 }
}

fn cubic(x: f64) -> f64 {
    const A: f64 = -0.5;
    let x = x.abs();
    if x < 1.0 {
        ((A + 2.0) * x - (A + 3.0)) * x * x + 1.0
    } else if x < 2.0 {
        (((x - 5.0) * x + 8.0) * x - 4.0) * A
    } else {
        0.0
    }
}

fn lanczos(x: f64) -> f64 {
    if (-3.0..3.0).contains(&x) { sinc(x) * sinc(x / 3.0) } else { 0.0 }
}

fn sinc(x: f64) -> f64 {
    if x == 0.0 {
        return 1.0;
    }
    let x = x * std::f64::consts::PI;
    x.sin() / x
}

/// One axis of a picture, `from` pixels long, that gets the length `to`, of which `count` pixels are wanted.
#[derive(Debug, Clone, Copy)]
struct Axis {
    from: u32,
    to: u64,
    first: u64,
    count: u32,
}

impl Axis {
    /// Returns the weights of the wanted pixels.
    fn weights(self, kernel: Kernel, antialias: bool) -> Weights {
        if u64::from(self.from) == self.to {
            return Weights::copy(self.first as usize, self.count as usize);
        }
        let scale = f64::from(self.from) / self.to as f64;
        let width = if antialias { scale.max(1.0) } else { 1.0 };
        let (support, narrowing) = (kernel.support * width, 1.0 / width);
        let longest = (support.ceil() as usize * 2 + 1).min(self.from as usize);
        let starts = Vec::with_capacity(self.count as usize);
        let mut weights = Weights { starts, taps: Vec::new(), longest, changes_nothing: false };
        weights.taps.reserve_exact(longest * self.count as usize);
        let mut taps: Vec<f64> = Vec::with_capacity(longest);
        for at in 0..self.count {
            let centre = ((self.first + u64::from(at)) as f64 + 0.5) * scale;
            // As Pillow does, the limits are rounded by truncation after adding a half.
            let start = ((centre - support + 0.5) as i64).max(0) as usize;
            let end = ((centre + support + 0.5) as i64).min(i64::from(self.from)) as usize;
            taps.clear();
            taps.extend((start..end).map(|pixel| (kernel.weight)((pixel as f64 - centre + 0.5) * narrowing)));
            let sum: f64 = taps.iter().fold(0.0, |sum, tap| sum + tap);
            let fixed = |tap: f64| {
                let tap = if sum == 0.0 { tap } else { tap / sum } * f64::from(1 << PRECISION);
                (if tap < 0.0 { tap - 0.5 } else { tap + 0.5 }) as i32
            };
            weights.starts.push((start, end - start));
            weights.taps.extend(taps.iter().map(|tap| fixed(*tap)));
            weights.taps.resize((at as usize + 1) * longest, 0);
        }
        weights
    }

    /// Returns the nearest pixels. Pillow sums the distances up, and so the sum is what counts.
    fn nearest(self) -> Vec<usize> {
        let step = f64::from(self.from) / self.to as f64;
        let mut place = step * 0.5;
        let mut nearest = Vec::with_capacity(self.count as usize);
        for _ in 0..self.first {
            place += step;
        }
        for _ in 0..self.count {
            nearest.push((place as usize).min(self.from as usize - 1));
            place += step;
        }
        nearest
    }
}

/// The weights of the pixels that each pixel of a resampled axis is made of.
#[derive(Debug)]
struct Weights {
    /// The first pixel, and the count.
    starts: Vec<(usize, usize)>,
    /// `longest` weights for each.
    taps: Vec<i32>,
    longest: usize,
    changes_nothing: bool,
}

impl Weights {
    /// Returns the weights that change nothing.
    fn copy(first: usize, count: usize) -> Self {
        let starts = (first..first + count).map(|at| (at, 1)).collect();
        Self { starts, taps: vec![1 << PRECISION; count], longest: 1, changes_nothing: true }
    }

    /// Returns the pixels that any weight is for.
    fn used(&self) -> std::ops::Range<usize> {
        let first = self.starts.first().map_or(0, |(start, _)| *start);
        let last = self.starts.last().map_or(0, |(start, count)| start + count);
        first..last
    }

    fn of(&self, at: usize) -> (usize, &[i32]) {
        let (start, count) = self.starts[at];
        (start, &self.taps[at * self.longest..][..count])
    }
}

/// Returns some rows of the picture, each resampled.
fn horizontal(picture: &Raster, weights: &Weights, rows: std::ops::Range<usize>) -> Vec<u8> {
    match picture.channels {
        1 => horizontal_of::<1>(picture, weights, rows),
        _ => horizontal_of::<3>(picture, weights, rows),
    }
}

fn horizontal_of<const CHANNELS: usize>(picture: &Raster, weights: &Weights, rows: std::ops::Range<usize>) -> Vec<u8> {
    let (from, to) = (picture.width as usize * CHANNELS, weights.starts.len() * CHANNELS);
    let source = &picture.pixels[rows.start * from..rows.end * from];
    if weights.changes_nothing {
        let first = weights.starts.first().map_or(0, |(start, _)| start * CHANNELS);
        return source.chunks_exact(from).flat_map(|row| &row[first..first + to]).copied().collect();
    }
    let mut narrow = vec![0; rows.len() * to];
    let used = weights.used();
    let mut padded = Vec::with_capacity(used.len());
    for (row, narrow) in source.chunks_exact(from).zip(narrow.chunks_exact_mut(to)) {
        let narrow = narrow.as_chunks_mut::<CHANNELS>().0;
        if CHANNELS > 1 {
            padded.clear();
            let (pixels, _) = row[used.start * CHANNELS..used.end * CHANNELS].as_chunks::<CHANNELS>();
            padded.extend(pixels.iter().map(|pixel| std::array::from_fn(|at| pixel.get(at).copied().unwrap_or(0))));
        }
        let padded = &padded[..];
        vectorized(
            #[inline(always)]
            || match CHANNELS {
                1 => across_levels(row, weights, narrow),
                _ => across_colours(padded, used.start, weights, narrow),
            },
        );
    }
    narrow
}

#[inline(always)]
fn across_levels<const CHANNELS: usize>(row: &[u8], weights: &Weights, narrow: &mut [[u8; CHANNELS]]) {
    for (at, pixel) in narrow.iter_mut().enumerate() {
        let (start, taps) = weights.of(at);
        let products = row[start..start + taps.len()].iter().zip(taps);
        let sum = products.fold(HALF, |sum, (level, tap)| sum.wrapping_add(i32::from(*level).wrapping_mul(*tap)));
        *pixel = [rounded(sum); CHANNELS];
    }
}

/// Sums four values abreast, which vectors are made for: those of a pixel, and one that is not used. The row begins with
/// the pixel `first`.
#[inline(always)]
fn across_colours<const CHANNELS: usize>(
    row: &[[u8; 4]],
    first: usize,
    weights: &Weights,
    narrow: &mut [[u8; CHANNELS]],
) {
    for (at, pixel) in narrow.iter_mut().enumerate() {
        let (start, taps) = weights.of(at);
        let mut sums = [HALF; 4];
        for (values, tap) in row[start - first..][..taps.len()].iter().zip(taps) {
            for (sum, value) in sums.iter_mut().zip(values) {
                *sum = sum.wrapping_add(i32::from(*value).wrapping_mul(*tap));
            }
        }
        for (value, sum) in pixel.iter_mut().zip(sums) {
            *value = rounded(sum);
        }
    }
}

/// Returns the columns resampled of rows of `length` values, the first of which is the row `first` of the picture.
fn vertical(rows: &[u8], length: usize, weights: &Weights, first: usize) -> Vec<u8> {
    if weights.changes_nothing {
        return rows.to_vec();
    }
    let mut pixels = vec![0; weights.starts.len() * length];
    let mut sums = vec![0i32; length];
    for (at, pixels) in pixels.chunks_exact_mut(length).enumerate() {
        let (start, taps) = weights.of(at);
        let source = &rows[(start - first) * length..];
        let sums = &mut sums[..];
        vectorized(
            #[inline(always)]
            || {
                sums.fill(HALF);
                for (row, tap) in source.chunks_exact(length).zip(taps) {
                    for (sum, value) in sums.iter_mut().zip(row) {
                        *sum = sum.wrapping_add(i32::from(*value).wrapping_mul(*tap));
                    }
                }
                for (pixel, sum) in pixels.iter_mut().zip(sums.iter()) {
                    *pixel = rounded(*sum);
                }
            },
        );
    }
    pixels
}

#[inline(always)]
fn rounded(sum: i32) -> u8 {
    (sum >> PRECISION).clamp(0, 255) as u8
}

/// Returns the pixels at these columns and rows.
fn picked(picture: &Raster, columns: &[usize], rows: &[usize]) -> Vec<u8> {
    let channels = picture.channels;
    let length = picture.width as usize * channels;
    let mut pixels = Vec::with_capacity(columns.len() * rows.len() * channels);
    for row in rows {
        let row = &picture.pixels[row * length..][..length];
        for column in columns {
            pixels.extend_from_slice(&row[column * channels..][..channels]);
        }
    }
    pixels
}
