//! What the paper looks like: the background of a drawing, estimated from the picture's border.

use super::image::Luma;
use crate::signature::Polarity;

/// Differences from the background up to this many grey levels are noise.
const NOISE: f32 = 12.0;

/// Border pixels further than this from a first fit are drawing, not background.
const OUTLIER: f32 = 32.0;

/// A plane of grey levels, `level + across·x + down·y` with x and y from -1 to 1: paper under light
/// that falls off to one side.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Background {
    level: f32,
    across: f32,
    down: f32,
}

impl Background {
    /// Fits the plane to the pixels of the border, starting from their median so that strokes
    /// touching the border do not tilt it.
    pub(super) fn estimate(picture: &Luma) -> Self {
        let border = border(picture);
        let mut levels: Vec<u8> = border.iter().map(|(_, _, level)| *level).collect();
        let middle = levels.len() / 2;
        let median = if levels.is_empty() { 0 } else { *levels.select_nth_unstable(middle).1 };
        let mut plane = Self { level: f32::from(median), across: 0.0, down: 0.0 };
        // The median is exact for an even background; only pictures with room for a gradient,
        // larger than any model's input, are worth a slope.
        if picture.width.min(picture.height) >= 64 {
            for _ in 0..3 {
                plane = plane.refit(&border, picture);
            }
        }
        plane
    }

    /// The grey level at a place.
    pub(super) fn at(&self, picture: &Luma, x: u32, y: u32) -> f32 {
        let (x, y) = (centred(x, picture.width), centred(y, picture.height));
        self.level + self.across * x + self.down * y
    }

    /// Whether the drawing is darker or brighter than the background: the side with the greater sum
    /// of differences, beyond noise, wins. An empty picture counts as light on dark.
    pub(super) fn polarity(&self, picture: &Luma) -> Polarity {
        let (mut darker, mut brighter) = (0.0, 0.0);
        for (index, level) in picture.pixels.iter().enumerate() {
            let (x, y) = (index as u32 % picture.width, index as u32 / picture.width);
            let difference = f32::from(*level) - self.at(picture, x, y);
            if difference > NOISE {
                brighter += difference;
            } else if difference < -NOISE {
                darker -= difference;
            }
        }
        if darker > brighter { Polarity::DarkOnLight } else { Polarity::LightOnDark }
    }

    /// One step of least squares over the border pixels that lie near the present plane. On a
    /// border, x, y and 1 are so nearly orthogonal that each slope is fitted by itself.
    fn refit(self, border: &[(u32, u32, u8)], picture: &Luma) -> Self {
        let mut sums = Sums::default();
        for &(x, y, level) in border {
            let difference = f32::from(level) - self.at(picture, x, y);
            if difference.abs() <= OUTLIER {
                sums.add(centred(x, picture.width), centred(y, picture.height), difference);
            }
        }
        if sums.count < 8.0 {
            return self;
        }
        Self {
            level: self.level + sums.d / sums.count,
            across: self.across + slope(sums.xd, sums.xx),
            down: self.down + slope(sums.yd, sums.yy),
        }
    }
}

#[derive(Default)]
struct Sums {
    count: f32,
    d: f32,
    xd: f32,
    xx: f32,
    yd: f32,
    yy: f32,
}

impl Sums {
    fn add(&mut self, x: f32, y: f32, difference: f32) {
        self.count += 1.0;
        self.d += difference;
        self.xd += x * difference;
        self.xx += x * x;
        self.yd += y * difference;
        self.yy += y * y;
    }
}

fn slope(product: f32, square: f32) -> f32 {
    if square > 0.0 { product / square } else { 0.0 }
}

fn centred(at: u32, size: u32) -> f32 {
    if size < 2 { 0.0 } else { 2.0 * at as f32 / (size - 1) as f32 - 1.0 }
}

/// The outermost ring of pixels with their places.
fn border(picture: &Luma) -> Vec<(u32, u32, u8)> {
    let (width, height) = (picture.width, picture.height);
    let mut ring = Vec::with_capacity(2 * (width + height) as usize);
    for y in 0..height {
        let row = &picture.pixels[(y * width) as usize..][..width as usize];
        if y == 0 || y + 1 == height {
            ring.extend(row.iter().enumerate().map(|(x, level)| (x as u32, y, *level)));
        } else {
            ring.push((0, y, row[0]));
            ring.push((width - 1, y, row[width as usize - 1]));
        }
    }
    ring
}
