//! Training images, moved a little at random, so that a network sees each differently in every epoch.

use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

/// How far an image may be moved; every amount is drawn evenly, in both directions.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Augment {
    /// The largest turn, in degrees.
    pub rotate_degrees: f32,
    /// The largest shift along each axis, in pixels.
    pub shift_pixels: f32,
    /// The largest change of size, as a part of it.
    pub scale: f32,
}

impl Augment {
    /// Whether every amount makes sense.
    pub(super) fn is_possible(&self) -> bool {
        (0.0..=180.0).contains(&self.rotate_degrees)
            && (0.0..=1e3).contains(&self.shift_pixels)
            && (0.0..1.0).contains(&self.scale)
    }

    /// Appends the image, `width` pixels a row, turned, scaled and shifted around its centre, with bilinear
    /// interpolation and zeros for what was not on it.
    pub(super) fn append(&self, image: &[u8], width: usize, rng: &mut ChaCha8Rng, to: &mut Vec<f32>) {
        let mut draw = |most: f32| if most > 0.0 { rng.random_range(-most..=most) } else { 0.0 };
        let angle = draw(self.rotate_degrees).to_radians();
        let scale = 1.0 + draw(self.scale);
        let (right, down) = (draw(self.shift_pixels), draw(self.shift_pixels));
        // Where the pixels of the new image come from, which is the way back.
        let (cos, sin) = (angle.cos() / scale, angle.sin() / scale);
        let height = image.len() / width;
        let (centre_x, centre_y) = ((width - 1) as f32 / 2.0, (height - 1) as f32 / 2.0);
        for y in 0..height {
            let from_y = y as f32 - centre_y - down;
            for x in 0..width {
                let from_x = x as f32 - centre_x - right;
                let place = (cos * from_x + sin * from_y + centre_x, cos * from_y - sin * from_x + centre_y);
                to.push(bilinear(image, (width, height), place));
            }
        }
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
    use crate::trainer::batches::keyed_rng;

    fn moved(augment: Augment, image: &[u8], width: usize, index: u64) -> Vec<f32> {
        let mut to = Vec::new();
        augment.append(image, width, &mut keyed_rng(3, "augment", 1, index), &mut to);
        to
    }

    #[test]
    fn nothing_moves_when_nothing_may() {
        let image: Vec<u8> = (0..35).map(|i| i * 7).collect();
        let none = Augment { rotate_degrees: 0.0, shift_pixels: 0.0, scale: 0.0 };
        let expected: Vec<f32> = image.iter().map(|pixel| f32::from(*pixel)).collect();
        assert_eq!(moved(none, &image, 7, 0), expected);
    }

    #[test]
    fn a_drawing_in_the_middle_keeps_its_ink_and_its_place_on_the_whole() {
        let mut image = vec![0; 28 * 28];
        (10..18).for_each(|y| image[y * 28 + 10..y * 28 + 18].fill(200));
        let augment = Augment { rotate_degrees: 15.0, shift_pixels: 2.0, scale: 0.1 };
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

    proptest! {
        #[test]
        fn any_movement_of_any_image_keeps_within_its_range(
            (width, height) in (1usize..9, 1usize..9), rotate_degrees in 0f32..180.0, shift_pixels in 0f32..40.0, scale in 0f32..0.9,
        ) {
            let image: Vec<u8> = (0..width * height).map(|i| (i * 37 % 256) as u8).collect();
            let moved = moved(Augment { rotate_degrees, shift_pixels, scale }, &image, width, 0);
            prop_assert_eq!(moved.len(), image.len());
            prop_assert!(moved.iter().all(|pixel| (0.0..=255.0).contains(pixel)));
        }
    }
}
