//! Training images, moved and changed a little at random, so that a network sees each differently in every epoch.

mod crop;
mod elastic;
mod erase;
mod jitter;
pub(super) mod mixup;
mod patch;

use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use self::crop::Part;
pub(super) use self::patch::Patch;

/// The limits by which an image is moved; every amount is drawn evenly, in both directions. Zero is off.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Augment {
    /// The largest turn, in degrees.
    pub rotate_degrees: f32,
    /// The largest shift along each axis, in pixels.
    pub shift_pixels: f32,
    /// The largest change of size, as a part of it.
    pub scale: f32,
    /// The largest slant, in degrees.
    pub shear_degrees: f32,
    /// The strength of rubber-like distortion, in pixels before smoothing; 34 is Simard's.
    pub elastic_alpha: f32,
    /// Over how many pixels the distortion is smoothed; 4 to 6 keep digits readable.
    pub elastic_sigma: f32,
    /// The probability that a rectangle becomes noise.
    pub erase_probability: f32,
    /// The largest part of an image that becomes noise.
    pub erase_area: f32,
    /// The probability that left and right are exchanged; 0.5 for photos.
    pub flip_probability: f32,
    /// The smallest part of an image's area that is cut out and shown in its place; 1 and 0 cut nothing.
    pub crop_area: f32,
    /// The largest change of brightness, contrast and saturation, each as a part of it.
    pub jitter: f32,
}

impl Default for Augment {
    fn default() -> Self {
        Self::NONE
    }
}

impl Augment {
    /// Images stay as they are.
    pub const NONE: Self = Self {
        rotate_degrees: 0.0,
        shift_pixels: 0.0,
        scale: 0.0,
        shear_degrees: 0.0,
        elastic_alpha: 0.0,
        elastic_sigma: 5.0,
        erase_probability: 0.0,
        erase_area: 0.4,
        flip_probability: 0.0,
        crop_area: 0.0,
        jitter: 0.0,
    };

    /// Turns, shifts and changes of size.
    pub const fn moves(rotate_degrees: f32, shift_pixels: f32, scale: f32) -> Self {
        Self { rotate_degrees, shift_pixels, scale, ..Self::NONE }
    }

    /// Returns true if images stay as they are.
    pub(super) fn is_none(&self) -> bool {
        let Self { rotate_degrees, shift_pixels, scale, shear_degrees, elastic_alpha, erase_probability, .. } = *self;
        [rotate_degrees, shift_pixels, scale, shear_degrees, elastic_alpha, erase_probability] == [0.0; 6]
            && [self.flip_probability, self.jitter] == [0.0; 2]
            && !self.crops()
    }

    fn crops(&self) -> bool {
        self.crop_area > 0.0 && self.crop_area < 1.0
    }

    /// Returns the first problem of the settings, if there is one.
    pub(super) fn problem(&self) -> Option<String> {
        let amounts = [
            ("rotate_degrees", self.rotate_degrees, (0.0..=180.0).contains(&self.rotate_degrees), "in [0, 180]"),
            ("shift_pixels", self.shift_pixels, (0.0..=1e3).contains(&self.shift_pixels), "in [0, 1000]"),
            ("scale", self.scale, (0.0..1.0).contains(&self.scale), "in [0, 1)"),
            ("shear_degrees", self.shear_degrees, (0.0..=80.0).contains(&self.shear_degrees), "in [0, 80]"),
            ("elastic_alpha", self.elastic_alpha, (0.0..=1e3).contains(&self.elastic_alpha), "in [0, 1000]"),
            ("elastic_sigma", self.elastic_sigma, (0.5..=50.0).contains(&self.elastic_sigma), "in [0.5, 50]"),
            ("erase_probability", self.erase_probability, (0.0..=1.0).contains(&self.erase_probability), "in [0, 1]"),
            ("flip_probability", self.flip_probability, (0.0..=1.0).contains(&self.flip_probability), "in [0, 1]"),
            (
                "crop_area",
                self.crop_area,
                self.crop_area == 0.0 || (0.01..=1.0).contains(&self.crop_area),
                "0 or in [0.01, 1]",
            ),
            ("jitter", self.jitter, (0.0..1.0).contains(&self.jitter), "in [0, 1)"),
            (
                "erase_area",
                self.erase_area,
                self.erase_area > erase::SMALLEST_AREA && self.erase_area <= 0.9,
                "in (0.02, 0.9]",
            ),
        ];
        let wrong = amounts.into_iter().find(|(_, _, fits, _)| !fits);
        wrong.map(|(name, value, _, range)| format!("augment.{name} must be {range}, got {value}"))
    }

    /// Appends the image, channel by channel and `width` pixels a row, turned, slanted, scaled, shifted and distorted
    /// around its centre, with bilinear interpolation and zeros for what was not on it; a part of it instead of all, its
    /// colours changed, and with a part of it erased.
    pub(super) fn append(&self, image: &[u8], [channels, width]: [usize; 2], rng: &mut ChaCha8Rng, to: &mut Vec<f32>) {
        let size = (width, image.len() / channels / width);
        let moves = self.draw(rng, size);
        let begin = to.len();
        for plane in image.chunks_exact(size.0 * size.1) {
            for y in 0..size.1 {
                to.extend((0..width).map(|x| bilinear(plane, size, moves.origin(x, y, size))));
            }
        }
        if self.jitter > 0.0 {
            jitter::jitter(rng, &mut to[begin..], channels, self.jitter);
        }
        if self.erase_probability > 0.0 && rng.random::<f32>() < self.erase_probability {
            erase::erase(rng, &mut to[begin..], [channels, width], self.erase_area);
        }
    }

    /// Draws how one image is moved.
    fn draw(&self, rng: &mut ChaCha8Rng, size: (usize, usize)) -> Moves {
        let mut draw = |most: f32| if most > 0.0 { rng.random_range(-most..=most) } else { 0.0 };
        let angle = draw(self.rotate_degrees).to_radians();
        let scale = 1.0 + draw(self.scale);
        let (right, down) = (draw(self.shift_pixels), draw(self.shift_pixels));
        let slant = draw(self.shear_degrees).to_radians().tan();
        let elastic = (self.elastic_alpha > 0.0)
            .then(|| elastic::displacements(rng, size, self.elastic_alpha, self.elastic_sigma));
        let flips = self.flip_probability > 0.0 && rng.random::<f32>() < self.flip_probability;
        let part = if self.crops() { Part::drawn(rng, size, self.crop_area) } else { Part::whole(size) };
        // Where the pixels of the new image come from, which is the way back.
        let (cos, sin) = (angle.cos() / scale, angle.sin() / scale);
        Moves { cos, sin, right, down, slant, elastic, flips, part }
    }
}

/// The moves of one image.
struct Moves {
    cos: f32,
    sin: f32,
    right: f32,
    down: f32,
    slant: f32,
    elastic: Option<[Vec<f32>; 2]>,
    flips: bool,
    part: Part,
}

impl Moves {
    /// Returns the place in the image that a pixel of the new one shows.
    fn origin(&self, x: usize, y: usize, (width, height): (usize, usize)) -> (f32, f32) {
        let (centre_x, centre_y) = ((width - 1) as f32 / 2.0, (height - 1) as f32 / 2.0);
        let from_x = x as f32 - centre_x - self.right;
        let from_y = y as f32 - centre_y - self.down;
        let (across, along) = (self.cos * from_x + self.sin * from_y, self.cos * from_y - self.sin * from_x);
        let mut place = (across - self.slant * along + centre_x, along + centre_y);
        if let Some([by_x, by_y]) = &self.elastic {
            place.0 += by_x[y * width + x];
            place.1 += by_y[y * width + x];
        }
        if self.flips {
            place.0 = (width - 1) as f32 - place.0;
        }
        self.part.point(place, (width, height))
    }
}

impl std::fmt::Display for Augment {
    /// Writes the suffix of an optimiser's name; nothing if it is off.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { rotate_degrees, shift_pixels, scale, shear_degrees, elastic_alpha, erase_probability, .. } = self;
        if [*rotate_degrees, *shift_pixels, *scale] != [0.0; 3] {
            write!(f, ", images moved by up to {rotate_degrees}°, {shift_pixels} pixels and {:.0} %", scale * 100.0)?;
        }
        if *shear_degrees > 0.0 {
            write!(f, ", slanted by up to {shear_degrees}°")?;
        }
        if *elastic_alpha > 0.0 {
            write!(f, ", distorted with α {elastic_alpha} and σ {}", self.elastic_sigma)?;
        }
        if *erase_probability > 0.0 {
            write!(f, ", partly erased with probability {erase_probability}")?;
        }
        if self.flip_probability > 0.0 {
            write!(f, ", mirrored with probability {}", self.flip_probability)?;
        }
        if self.crops() {
            write!(f, ", cut to {:.0} % or more", self.crop_area * 100.0)?;
        }
        if self.jitter > 0.0 {
            write!(f, ", colours changed by up to {:.0} %", self.jitter * 100.0)?;
        }
        Ok(())
    }
}

fn bilinear(image: &[u8], (width, height): (usize, usize), (x, y): (f32, f32)) -> f32 {
    // A border of one pixel, so that images fade out; also turns away what is no number.
    if !(x > -1.0 && y > -1.0 && x < width as f32 && y < height as f32) {
        return 0.0;
    }
    let (left, top) = (x.floor(), y.floor());
    let (across, along) = (x - left, y - top);
    let (left, top) = (left as i32, top as i32);
    let pixel = |x: i32, y: i32| {
        let inside = x >= 0 && y >= 0 && (x as usize) < width && (y as usize) < height;
        if inside { f32::from(image[y as usize * width + x as usize]) } else { 0.0 }
    };
    let upper = pixel(left, top) * (1.0 - across) + pixel(left + 1, top) * across;
    let lower = pixel(left, top + 1) * (1.0 - across) + pixel(left + 1, top + 1) * across;
    upper * (1.0 - along) + lower * along
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::trainer::random::keyed_rng;

    fn moved(augment: Augment, image: &[u8], width: usize, index: u64) -> Vec<f32> {
        let mut to = Vec::new();
        augment.append(image, [1, width], &mut keyed_rng(3, "augment", 1, index), &mut to);
        to
    }

    #[test]
    fn nothing_moves_when_nothing_may() {
        let image: Vec<u8> = (0..35).map(|i| i * 7).collect();
        let expected: Vec<f32> = image.iter().map(|pixel| f32::from(*pixel)).collect();
        assert_eq!(moved(Augment::NONE, &image, 7, 0), expected);
        assert!(Augment::NONE.is_none() && !Augment::moves(0.0, 1.0, 0.0).is_none());
    }

    #[test]
    fn a_drawing_in_the_middle_keeps_its_ink_and_its_place_on_the_whole() {
        let mut image = vec![0; 28 * 28];
        (10..18).for_each(|y| image[y * 28 + 10..y * 28 + 18].fill(200));
        let augment = Augment { shear_degrees: 10.0, ..Augment::moves(15.0, 2.0, 0.1) };
        let (mut ink, mut centre) = (0.0, 0.0);
        for index in 0..400 {
            let moved = moved(augment, &image, 28, index);
            let total: f32 = moved.iter().sum();
            let x = moved.iter().enumerate().map(|(i, value)| (i % 28) as f32 * value).sum::<f32>() / total;
            assert!((x - 13.5).abs() <= 2.1, "{x}");
            ink += total / 400.0;
            centre += x / 400.0;
        }
        assert!((ink / (64.0 * 200.0) - 1.0).abs() < 0.03, "{ink}");
        assert!((centre - 13.5).abs() < 0.3, "{centre}");
    }

    #[test]
    fn a_mirrored_image_shows_the_same_in_every_channel() {
        let image: Vec<u8> = (0..36).map(|i| i * 7).collect();
        let augment = Augment { flip_probability: 0.5, ..Augment::NONE };
        let mut mirrored = 0;
        for index in 0..40 {
            let mut to = Vec::new();
            augment.append(&image, [3, 4], &mut keyed_rng(3, "augment", 1, index), &mut to);
            let is_mirrored = to[0] != f32::from(image[0]);
            for (row, rows) in to.chunks_exact(4).zip(image.chunks_exact(4)) {
                let mut row: Vec<u8> = row.iter().map(|value| *value as u8).collect();
                if is_mirrored {
                    row.reverse();
                }
                assert_eq!(row, rows);
            }
            mirrored += usize::from(is_mirrored);
        }
        assert!((10..30).contains(&mirrored), "{mirrored}");
    }

    #[test]
    fn a_slant_moves_rows_and_leaves_the_middle_one() {
        let mut image = vec![0; 21 * 21];
        (0..21).for_each(|y| image[y * 21 + 10] = 200);
        let augment = Augment { shear_degrees: 40.0, ..Augment::NONE };
        let slanted = (0..20).map(|index| moved(augment, &image, 21, index));
        let column = |image: &[f32], y: usize| {
            let row = &image[y * 21..][..21];
            let ink: f32 = row.iter().sum();
            row.iter().enumerate().map(|(x, value)| x as f32 * value).sum::<f32>() / ink
        };
        let mut most: f32 = 0.0;
        for image in slanted {
            let (top, middle, bottom) = (column(&image, 2), column(&image, 10), column(&image, 18));
            assert!((middle - 10.0).abs() < 1e-3);
            assert!(((top - 10.0) + (bottom - 10.0)).abs() < 0.1, "{top} {bottom}");
            most = most.max((top - 10.0).abs());
        }
        assert!(most > 2.0 && most <= 8.0 * 40f32.to_radians().tan() + 0.1, "{most}");
    }

    #[test]
    fn amounts_out_of_range_are_named_and_old_recipes_are_read() {
        for (name, wrong) in [
            ("rotate_degrees", Augment { rotate_degrees: 200.0, ..Augment::NONE }),
            ("shift_pixels", Augment { shift_pixels: -1.0, ..Augment::NONE }),
            ("scale", Augment { scale: f32::NAN, ..Augment::NONE }),
            ("shear_degrees", Augment { shear_degrees: 90.0, ..Augment::NONE }),
            ("elastic_alpha", Augment { elastic_alpha: f32::INFINITY, ..Augment::NONE }),
            ("elastic_sigma", Augment { elastic_sigma: 0.0, ..Augment::NONE }),
            ("erase_probability", Augment { erase_probability: 1.1, ..Augment::NONE }),
            ("erase_area", Augment { erase_area: 0.01, ..Augment::NONE }),
            ("flip_probability", Augment { flip_probability: -0.1, ..Augment::NONE }),
            ("crop_area", Augment { crop_area: 1.5, ..Augment::NONE }),
            ("jitter", Augment { jitter: 1.0, ..Augment::NONE }),
        ] {
            assert!(wrong.problem().is_some_and(|problem| problem.contains(name)), "{wrong:?}");
        }
        let old: Augment = toml::from_str("rotate_degrees = 10\nshift_pixels = 2.0\nscale = 0.1").unwrap();
        assert_eq!(old, Augment::moves(10.0, 2.0, 0.1));
    }

    proptest! {
        #[test]
        fn any_change_of_any_image_keeps_within_its_range_and_is_the_same_again(
            (width, height) in (1usize..9, 1usize..9),
            (rotate_degrees, shift_pixels, scale) in (0f32..180.0, 0f32..40.0, 0f32..0.9),
            (shear_degrees, elastic_alpha, elastic_sigma) in (0f32..80.0, 0f32..100.0, 0.5f32..8.0),
            (erase_probability, erase_area) in (0f32..1.0, 0.03f32..0.9),
            (flip_probability, crop_area, jitter) in (0f32..1.0, 0.01f32..1.0, 0f32..0.9), channels in prop::sample::select(vec![1usize, 3]),
        ) {
            let augment = Augment {
                rotate_degrees, shift_pixels, scale, shear_degrees, elastic_alpha, elastic_sigma, erase_probability, erase_area,
                flip_probability, crop_area, jitter,
            };
            prop_assert_eq!(augment.problem(), None);
            let image: Vec<u8> = (0..channels * width * height).map(|i| (i * 37 % 256) as u8).collect();
            let moved = |augment: Augment, image: &[u8], width: usize, index: u64| {
                let mut to = Vec::new();
                augment.append(image, [channels, width], &mut keyed_rng(3, "augment", 1, index), &mut to);
                to
            };
            let changed = moved(augment, &image, width, 0);
            prop_assert_eq!(changed.len(), image.len());
            prop_assert!(changed.iter().all(|pixel| (0.0..=255.0).contains(pixel)));
            prop_assert_eq!(changed, moved(augment, &image, width, 0));
        }
    }
}
