//! Lays a picture with transparent parts on a background.
//!
//! A file does not say what lies behind its transparent parts, and programs leave any colour there. They are filled so
//! that what is drawn stands out, by this rule:
//! 1. The rim, the visible pixels beside transparent ones, is taken for the ground of a card if the other visible pixels
//!    hold a drawing, which is what differs from the rim's median by more than [`CONTRAST`]. The transparent parts
//!    continue the ground: by its level if the rim is even, and otherwise, where a drawing's soft edges fade into a
//!    transparent colour, by black or white, whichever is farther from the drawing.
//! 2. Without such a card, the visible pixels are the drawing, and the transparent parts are black or white, whichever
//!    contrasts with their mean.

use ::image::DynamicImage;

use super::luma::Luma;

/// The opacity from which a pixel counts as visible.
const VISIBLE: u8 = 128;

/// The difference from the rim, in grey levels, above which a pixel belongs to a drawing on a card.
const CONTRAST: u8 = 64;

/// A drawing on a card has at least one in so many visible pixels, and so many pixels.
const DRAWN_PART: u64 = 1000;
const DRAWN_PIXELS: u64 = 4;

/// The greatest difference between pixels of an even rim.
const NOISE: u8 = 12;

/// Returns the picture in grey without its transparency.
pub(super) fn flatten(picture: DynamicImage) -> Luma {
    let grey = picture.into_luma_alpha8();
    let (width, height) = grey.dimensions();
    let (pixels, _) = grey.as_raw().as_chunks::<2>();
    let behind = u32::from(Visible::of(pixels, width as usize).behind());
    let laid = |[level, alpha]: &[u8; 2]| {
        let (level, alpha) = (u32::from(*level), u32::from(*alpha));
        ((level * alpha + behind * (255 - alpha) + 127) / 255) as u8
    };
    Luma { width, height, pixels: pixels.iter().map(laid).collect() }
}

/// The levels of the visible pixels.
struct Visible {
    /// Pixels of each level beside a transparent one.
    rim: [u64; 256],
    /// Pixels of each level that are not.
    inner: [u64; 256],
    /// The mean level of all pixels, weighted by their opacity; 0 of none.
    mean: u8,
}

impl Visible {
    fn of(pixels: &[[u8; 2]], width: usize) -> Self {
        let (mut rim, mut inner) = ([0; 256], [0; 256]);
        let (mut sum, mut weight) = (0, 0);
        let is_clear = |pixel: Option<&[u8; 2]>| pixel.is_some_and(|[_, alpha]| *alpha < VISIBLE);
        let rows: Vec<&[[u8; 2]]> = pixels.chunks_exact(width.max(1)).collect();
        for (y, row) in rows.iter().enumerate() {
            let above = y.checked_sub(1).and_then(|y| rows.get(y));
            let below = rows.get(y + 1);
            for (x, [level, alpha]) in row.iter().enumerate() {
                sum += u64::from(*level) * u64::from(*alpha);
                weight += u64::from(*alpha);
                if *alpha < VISIBLE {
                    continue;
                }
                let beside = [
                    x.checked_sub(1).and_then(|x| row.get(x)),
                    row.get(x + 1),
                    above.and_then(|row| row.get(x)),
                    below.and_then(|row| row.get(x)),
                ];
                let counts = if beside.into_iter().any(is_clear) { &mut rim } else { &mut inner };
                counts[usize::from(*level)] += 1;
            }
        }
        Self { rim, inner, mean: sum.checked_div(weight).unwrap_or(0) as u8 }
    }

    /// Returns the level for what lies behind the picture.
    fn behind(&self) -> u8 {
        let against_all = if self.mean > 127 { 0 } else { 255 };
        let Some(ground) = median(&self.rim) else { return against_all };
        let (darker, brighter) = self.drawn_on(ground);
        let drawn = darker.pixels + brighter.pixels;
        let visible: u64 = self.rim.iter().chain(&self.inner).sum();
        if drawn < DRAWN_PIXELS || drawn < visible / DRAWN_PART {
            return against_all;
        }
        match ground {
            _ if !self.rim_is_even(ground) => {
                if darker.difference > brighter.difference {
                    255
                } else {
                    0
                }
            }
            // Programs soften the edges of what is black or white.
            0..=NOISE => 0,
            level if level >= 255 - NOISE => 255,
            level => level,
        }
    }

    /// Returns what is darker and what is brighter than the ground by more than the contrast of a drawing.
    fn drawn_on(&self, ground: u8) -> (Drawn, Drawn) {
        let (mut darker, mut brighter) = (Drawn::default(), Drawn::default());
        for (level, pixels) in self.inner.iter().enumerate() {
            let difference = level.abs_diff(ground.into());
            if difference > CONTRAST.into() {
                let side = if level < ground.into() { &mut darker } else { &mut brighter };
                side.pixels += pixels;
                side.difference += pixels * difference as u64;
            }
        }
        (darker, brighter)
    }

    /// Returns true if three quarters of the rim are of one level.
    fn rim_is_even(&self, ground: u8) -> bool {
        let around = usize::from(ground.saturating_sub(NOISE))..=usize::from(ground.saturating_add(NOISE));
        let even: u64 = self.rim[around].iter().sum();
        even * 4 >= self.rim.iter().sum::<u64>() * 3
    }
}

/// Pixels that differ from a ground to one side.
#[derive(Default)]
struct Drawn {
    pixels: u64,
    /// The sum of their differences.
    difference: u64,
}

/// Returns the median of a histogram; `None` of an empty one.
fn median(counts: &[u64; 256]) -> Option<u8> {
    let half = counts.iter().sum::<u64>() / 2;
    let mut below = 0;
    let level = counts.iter().position(|count| {
        below += count;
        below > half
    })?;
    Some(level as u8)
}

#[cfg(test)]
mod tests {
    use super::*;
    use ::image::{GrayAlphaImage, LumaA};

    /// Returns a drawing's pixels: a bar of 4 × 20 in a picture of 28 × 28, softened at its sides.
    fn bar(x: u32, y: u32) -> u8 {
        match (x, y) {
            (12..16, 4..24) => 255,
            (11 | 16, 4..24) => 40 + (y * 37 % 170) as u8,
            _ => 0,
        }
    }

    fn laid(level_and_alpha: impl Fn(u32, u32) -> [u8; 2]) -> Luma {
        flatten(GrayAlphaImage::from_fn(28, 28, |x, y| LumaA(level_and_alpha(x, y))).into())
    }

    fn drawn(level: impl Fn(u32, u32) -> u8) -> Vec<u8> {
        (0..28 * 28).map(|index| level(index % 28, index / 28)).collect()
    }

    #[test]
    fn ink_alone_is_laid_on_what_contrasts_with_it() {
        for (ink, ground) in [(0u8, 255u8), (90, 255), (160, 0), (255, 0)] {
            let expected = drawn(|x, y| {
                let (ink, ground, alpha) = (u32::from(ink), u32::from(ground), u32::from(bar(x, y)));
                ((ink * alpha + ground * (255 - alpha) + 127) / 255) as u8
            });
            assert_eq!(laid(|x, y| [ink, bar(x, y)]).pixels, expected, "{ink}");
        }
        let faint = laid(|x, y| [0, bar(x, y) / 4]);
        assert_eq!((faint.pixels[0], faint.pixels[28 * 10 + 13]), (255, 192), "no pixel is half opaque");
    }

    #[test]
    fn a_card_is_continued_by_its_own_ground() {
        let is_card = |x: u32, y: u32| (6..22).contains(&x) && (2..26).contains(&y);
        for (card, ink) in [(255, 0), (250, 30), (0, 255), (128, 0), (128, 255), (200, 100)] {
            let level = |x, y| if bar(x, y) == 255 { ink } else { card };
            let expected = if card == 250 { 255 } else { card };
            let picture = laid(|x, y| if is_card(x, y) { [level(x, y), 255] } else { [77, 0] });
            assert_eq!(
                picture.pixels,
                drawn(|x, y| if is_card(x, y) { level(x, y) } else { expected }),
                "{ink} on {card}"
            );
        }
    }

    #[test]
    fn a_drawing_that_fades_into_a_transparent_colour_gets_this_colour_back() {
        for paper in [0u8, 255] {
            let level = |x, y| if paper == 0 { bar(x, y) } else { 255 - bar(x, y) };
            let picture = laid(|x, y| [level(x, y), if level(x, y) == paper { 0 } else { 255 }]);
            assert_eq!(picture.pixels, drawn(level), "{paper}");
        }
    }

    #[test]
    fn a_hole_and_nothing_at_all_are_pictures_too() {
        let hole = laid(|x, y| [255, 255 - bar(x, y)]);
        assert_eq!((hole.pixels[0], hole.pixels[28 * 10 + 13]), (255, 0), "a stencil's hole is the drawing");
        assert_eq!(laid(|_, _| [9, 0]).pixels, [255; 784]);
        assert_eq!(laid(|_, _| [9, 255]).pixels, [9; 784]);
    }
}
