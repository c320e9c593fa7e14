//! Turns a photo of a drawing into a small, centred, bright drawing on black, as MNIST was made (LeCun,
//! Cortes and Burges, "The MNIST database of handwritten digits").
//!
//! The background is subtracted, Otsu's threshold separates the ink from the paper, and small patches are
//! dropped as dirt. The drawing is then cropped, scaled into the inner 20/28 of the frame, and placed with
//! its centre of mass in the middle.

use super::background::Background;
use super::luma::{Crop, Luma};
use crate::error::Result;
use crate::signature::Polarity;

/// The pixels along the longer side to which photos are shrunk first. This bounds the work.
const WORKING_SIDE: u32 = 1024;

/// The share of the largest patch of ink below which a patch is dirt.
const DIRT: f64 = 0.04;

/// The contrast, in grey levels, below which nothing is ink.
const FAINTEST_INK: u8 = 24;

/// Returns the centred drawing, light on black, `width × height` pixels; all black if nothing is drawn.
pub(super) fn fit(picture: Luma, polarity: Polarity, width: u32, height: u32) -> Result<Luma> {
    let mut ink = ink(shrink(picture)?, polarity);
    let threshold = otsu(&ink.pixels).max(FAINTEST_INK);
    let Some(drawing) = clean(&mut ink, threshold) else {
        return Ok(Luma { width, height, pixels: vec![0; (width * height) as usize] });
    };
    let (room_x, room_y) = (width as f32 * 20.0 / 28.0, height as f32 * 20.0 / 28.0);
    let scale = (room_x / drawing.width as f32).min(room_y / drawing.height as f32);
    let side = |length: u32, most: u32| ((length as f32 * scale).round() as u32).clamp(1, most);
    let mut small = ink.resized(drawing, side(drawing.width, width), side(drawing.height, height))?;
    stretch_contrast(&mut small.pixels);
    Ok(place(&small, width, height))
}

fn shrink(picture: Luma) -> Result<Luma> {
    let longer = picture.width.max(picture.height);
    if longer <= WORKING_SIDE {
        return Ok(picture);
    }
    let side = |length: u32| (u64::from(length) * u64::from(WORKING_SIDE) / u64::from(longer)).max(1) as u32;
    picture.resized(Crop::whole(&picture), side(picture.width), side(picture.height))
}

/// Returns the difference of each pixel from the background in the direction of the drawing.
fn ink(mut picture: Luma, polarity: Polarity) -> Luma {
    let background = Background::estimate(&picture);
    let mut pixels = std::mem::take(&mut picture.pixels);
    for (index, level) in pixels.iter_mut().enumerate() {
        let behind = background.at(&picture, index as u32 % picture.width, index as u32 / picture.width);
        let difference = match polarity {
            Polarity::DarkOnLight => behind - f32::from(*level),
            Polarity::LightOnDark | Polarity::AsIs => f32::from(*level) - behind,
        };
        *level = difference.clamp(0.0, 255.0) as u8;
    }
    Luma { pixels, ..picture }
}

/// Returns the grey level that best separates two classes of pixels (Otsu 1979, "A threshold selection
/// method from gray-level histograms").
fn otsu(pixels: &[u8]) -> u8 {
    let mut histogram = [0u64; 256];
    for pixel in pixels {
        histogram[usize::from(*pixel)] += 1;
    }
    let total = pixels.len() as f64;
    let sum: f64 = histogram.iter().enumerate().map(|(level, count)| level as f64 * *count as f64).sum();
    let (mut below, mut sum_below, mut best, mut threshold) = (0.0, 0.0, -1.0, 0u8);
    for (level, count) in histogram.iter().enumerate() {
        below += *count as f64;
        sum_below += level as f64 * *count as f64;
        let above = total - below;
        if below == 0.0 || above == 0.0 {
            continue;
        }
        let gap = sum_below / below - (sum - sum_below) / above;
        let between = below * above * gap * gap;
        if between > best {
            (best, threshold) = (between, level as u8);
        }
    }
    threshold
}

/// Blackens all pixels but the large patches of ink and a rim around them, which keeps soft edges. Returns
/// the rectangle that holds the patches; `None` if there is no ink.
fn clean(ink: &mut Luma, threshold: u8) -> Option<Crop> {
    let patches = patches(ink, threshold);
    let largest = patches.iter().map(Vec::len).max()?;
    let (width, height) = (ink.width, ink.height);
    let mut keep = vec![false; ink.pixels.len()];
    let (mut left, mut top, mut right, mut bottom) = (width, height, 0, 0);
    for pixel in patches.iter().filter(|patch| patch.len() as f64 >= DIRT * largest as f64).flatten() {
        let (x, y) = (pixel % width, pixel / width);
        (left, right, top, bottom) = (left.min(x), right.max(x), top.min(y), bottom.max(y));
        for near_y in y.saturating_sub(1)..=(y + 1).min(height - 1) {
            for near_x in x.saturating_sub(1)..=(x + 1).min(width - 1) {
                keep[(near_y * width + near_x) as usize] = true;
            }
        }
    }
    for (pixel, keep) in ink.pixels.iter_mut().zip(keep) {
        if !keep {
            *pixel = 0;
        }
    }
    Some(Crop { left, top, width: right - left + 1, height: bottom - top + 1 })
}

/// Returns the 8-connected patches of pixels above the threshold.
fn patches(ink: &Luma, threshold: u8) -> Vec<Vec<u32>> {
    let (width, height) = (ink.width, ink.height);
    let mut unseen: Vec<bool> = ink.pixels.iter().map(|level| *level > threshold).collect();
    let mut patches = Vec::new();
    for start in 0..unseen.len() {
        if !std::mem::take(&mut unseen[start]) {
            continue;
        }
        let mut patch = vec![start as u32];
        let mut next = 0;
        while next < patch.len() {
            let (x, y) = (patch[next] % width, patch[next] / width);
            next += 1;
            for near_y in y.saturating_sub(1)..=(y + 1).min(height - 1) {
                for near_x in x.saturating_sub(1)..=(x + 1).min(width - 1) {
                    let near = near_y * width + near_x;
                    if std::mem::take(&mut unseen[near as usize]) {
                        patch.push(near);
                    }
                }
            }
        }
        patches.push(patch);
    }
    patches
}

/// Makes the brightest tenth of the drawing white. Pens differ, but the strokes of MNIST are all white.
fn stretch_contrast(pixels: &mut [u8]) {
    let mut drawn: Vec<u8> = pixels.iter().copied().filter(|level| *level > 0).collect();
    if drawn.is_empty() {
        return;
    }
    let rank = drawn.len() * 9 / 10;
    let bright = u32::from(*drawn.select_nth_unstable(rank).1).max(1);
    for pixel in pixels {
        *pixel = (u32::from(*pixel) * 255 / bright).min(255) as u8;
    }
}

/// Places the drawing in the frame with its centre of mass in the middle, as far as it fits.
fn place(small: &Luma, width: u32, height: u32) -> Luma {
    let (mut mass, mut mass_x, mut mass_y) = (0.0, 0.0, 0.0);
    for (index, level) in small.pixels.iter().enumerate() {
        let weight = f64::from(*level);
        mass += weight;
        mass_x += weight * (f64::from(index as u32 % small.width) + 0.5);
        mass_y += weight * (f64::from(index as u32 / small.width) + 0.5);
    }
    let offset = |centre: f64, room: u32, size: u32| {
        let wanted = (f64::from(room) / 2.0 - centre).round();
        wanted.clamp(0.0, f64::from(room - size)) as u32
    };
    let left = offset(mass_x / mass.max(1.0), width, small.width);
    let top = offset(mass_y / mass.max(1.0), height, small.height);
    let mut pixels = vec![0; (width * height) as usize];
    for (y, row) in small.pixels.chunks_exact(small.width as usize).enumerate() {
        let start = (top + y as u32) * width + left;
        pixels[start as usize..][..row.len()].copy_from_slice(row);
    }
    Luma { width, height, pixels }
}
