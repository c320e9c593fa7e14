//! The background of a drawing, and from it the polarity.
//!
//! The border of a picture shows its background, which is modelled as a plane, so that light may fall off
//! to one side. Whatever differs from the plane by more than noise is the drawing. The side with the greater
//! sum of differences, darker or brighter, decides the polarity.

use super::luma::Luma;
use crate::signature::Polarity;
use crate::simd::vectorized;

/// The greatest difference from the background, in grey levels, that counts as noise.
const NOISE: f32 = 12.0;

/// The greatest difference from a first fit at which a border pixel still counts as background.
const OUTLIER: f32 = 32.0;

/// A plane of grey levels, `level + across·x + down·y`, with x and y from -1 to 1.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Background {
    level: f32,
    across: f32,
    down: f32,
}

impl Background {
    /// Fits the plane to the pixels of the border. The fit starts from their median, so that strokes that
    /// touch the border do not tilt the plane.
    pub(super) fn estimate(picture: &Luma) -> Self {
        let mut plane = Self { level: border_median(picture), across: 0.0, down: 0.0 };
        // The median is exact for an even background. Only pictures with room for a gradient, which are
        // larger than the input of any model, are worth a slope.
        if picture.width.min(picture.height) >= 64 {
            let border: Vec<_> = border(picture).collect();
            for _ in 0..3 {
                plane = plane.refit(&border, picture);
            }
        }
        plane
    }

    /// Returns the grey level of the background at a place.
    pub(super) fn at(&self, picture: &Luma, x: u32, y: u32) -> f32 {
        let (x, y) = (centred(x, picture.width), centred(y, picture.height));
        self.level + self.across * x + self.down * y
    }

    /// Returns the polarity of the drawing. An empty picture counts as light on dark.
    pub(super) fn polarity(&self, picture: &Luma) -> Polarity {
        if self.is_even() {
            return even_polarity(&picture.pixels, self.level as u8);
        }
        let (mut darker, mut brighter) = (0.0, 0.0);
        for (y, row) in picture.pixels.chunks_exact(picture.width as usize).enumerate() {
            for (x, level) in row.iter().enumerate() {
                let difference = f32::from(*level) - self.at(picture, x as u32, y as u32);
                if difference > NOISE {
                    brighter += difference;
                } else if difference < -NOISE {
                    darker -= difference;
                }
            }
        }
        if darker > brighter { Polarity::DarkOnLight } else { Polarity::LightOnDark }
    }

    fn is_even(&self) -> bool {
        self.across == 0.0 && self.down == 0.0
    }

    /// Takes one step of least squares over the border pixels near the present plane. On a border, x, y
    /// and 1 are nearly orthogonal, so each slope is fitted separately.
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

/// Iterates over the outermost ring of pixels with their places.
fn border(picture: &Luma) -> impl Iterator<Item = (u32, u32, u8)> + '_ {
    let (width, height) = (picture.width, picture.height);
    let rows = picture.pixels.chunks_exact(width.max(1) as usize).enumerate();
    rows.flat_map(move |(y, row)| {
        let y = y as u32;
        let step = if y == 0 || y + 1 == height { 1 } else { (width as usize - 1).max(1) };
        row.iter().enumerate().step_by(step).map(move |(x, level)| (x as u32, y, *level))
    })
}

/// Returns the polarity of a drawing on an even background. This is the usual case and on the hot path, so
/// it computes in integers and with the widest vectors of the CPU.
fn even_polarity(pixels: &[u8], level: u8) -> Polarity {
    let (level, noise) = (i32::from(level), NOISE as i32);
    if level <= noise {
        // Nothing is darker than black by more than noise.
        return Polarity::LightOnDark;
    }
    let (mut darker, mut brighter) = (0i64, 0i64);
    // The sums of 4096 differences fit 32 bits, which vectorise better than 64.
    for part in pixels.chunks(4096) {
        let (dark, bright) = vectorized(
            #[inline(always)]
            || {
                part.iter().fold((0i32, 0i32), |(dark, bright), pixel| {
                    let difference = i32::from(*pixel) - level;
                    let dark = dark - if difference < -noise { difference } else { 0 };
                    (dark, bright + if difference > noise { difference } else { 0 })
                })
            },
        );
        darker += i64::from(dark);
        brighter += i64::from(bright);
    }
    if darker > brighter { Polarity::DarkOnLight } else { Polarity::LightOnDark }
}

/// Returns the median level of the border; 0 for a picture without pixels. On the hot path, so it visits the pixels
/// of the border without their places.
fn border_median(picture: &Luma) -> f32 {
    let mut counts = [0u32; 256];
    let mut total = 0;
    let mut count = |levels: &[u8]| {
        levels.iter().for_each(|level| counts[usize::from(*level)] += 1);
        total += levels.len() as u32;
    };
    let mut rows = picture.pixels.chunks_exact(picture.width.max(1) as usize);
    [rows.next(), rows.next_back()].into_iter().flatten().for_each(&mut count);
    for row in rows {
        count(&row[..1]);
        count(row.get(1..).and_then(<[u8]>::last).map_or(&[], std::slice::from_ref));
    }
    let mut below = 0;
    let median = counts.iter().position(|count| {
        below += count;
        below > total / 2
    });
    median.unwrap_or(0) as f32
}

#[cfg(test)]
mod tests {
    use super::*;

    fn picture(width: u32, height: u32, level: impl Fn(u32, u32) -> u8) -> Luma {
        let pixels = (0..width * height).map(|index| level(index % width, index / width)).collect();
        Luma { width, height, pixels }
    }

    #[test]
    fn the_border_is_every_outer_pixel_once() {
        for (width, height) in [(1, 1), (1, 5), (5, 1), (2, 2), (3, 4), (28, 28)] {
            let all = picture(width, height, |x, y| (x + y) as u8);
            let expected = (0..height)
                .flat_map(|y| (0..width).map(move |x| (x, y)))
                .filter(|&(x, y)| x == 0 || y == 0 || x + 1 == width || y + 1 == height);
            let found: Vec<_> = border(&all).map(|(x, y, _)| (x, y)).collect();
            assert_eq!(found, expected.collect::<Vec<_>>(), "{width} {height}");
        }
    }

    #[test]
    fn the_median_is_that_of_the_border() {
        for (width, height) in [(1, 1), (1, 5), (5, 1), (2, 2), (3, 4), (28, 28)] {
            let all = picture(width, height, |x, y| (x * 37 + y * 101) as u8);
            let mut levels: Vec<u8> = border(&all).map(|(_, _, level)| level).collect();
            levels.sort_unstable();
            assert_eq!(border_median(&all), f32::from(levels[levels.len() / 2]), "{width} {height}");
        }
        assert_eq!(border_median(&picture(0, 0, |_, _| 0)), 0.0);
    }

    #[test]
    fn light_that_falls_off_is_background_and_not_drawing() {
        let shaded = picture(100, 80, |x, y| (220 - x - y / 2) as u8);
        let plane = Background::estimate(&shaded);
        for (x, y) in [(0, 0), (99, 0), (0, 79), (99, 79), (50, 40)] {
            let level = f32::from(shaded.pixels[(y * 100 + x) as usize]);
            assert!((plane.at(&shaded, x, y) - level).abs() < 3.0, "{x} {y}");
        }
    }

    #[test]
    fn the_drawing_is_what_differs_most() {
        let stroke = |x: u32| (10..14).contains(&x);
        for (paper, ink, polarity) in [
            (250, 20, Polarity::DarkOnLight),
            (110, 20, Polarity::DarkOnLight),
            (0, 255, Polarity::LightOnDark),
            (140, 240, Polarity::LightOnDark),
            (90, 90, Polarity::LightOnDark),
        ] {
            let drawn = picture(28, 28, |x, y| if stroke(x) && (4..24).contains(&y) { ink } else { paper });
            assert_eq!(Background::estimate(&drawn).polarity(&drawn), polarity, "{ink} on {paper}");
        }
    }
}
