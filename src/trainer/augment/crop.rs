//! Random resized crops (Szegedy et al. 2015, "Going Deeper with Convolutions", section 6): a part of the image, of a random
//! size and shape, is what the network sees in the whole frame.

use rand::RngExt;
use rand_chacha::ChaCha8Rng;

/// The flattest part, height over width; the steepest one is its inverse.
const FLATTEST: f32 = 0.75;

/// A part of an image, in pixels.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Part {
    left: f32,
    top: f32,
    width: f32,
    height: f32,
}

impl Part {
    /// Returns the whole image.
    pub(super) fn whole((width, height): (usize, usize)) -> Self {
        Self { left: 0.0, top: 0.0, width: width as f32, height: height as f32 }
    }

    /// Draws a part of at least this share of the image's area.
    pub(super) fn drawn(rng: &mut ChaCha8Rng, (width, height): (usize, usize), smallest_area: f32) -> Self {
        let (width, height) = (width as f32, height as f32);
        let share = rng.random_range(smallest_area..=1.0);
        let ratio = rng.random_range(FLATTEST.ln()..=-FLATTEST.ln()).exp();
        // What would reach beyond the image ends at its edges.
        let (wide, tall) = ((share / ratio).sqrt().min(1.0) * width, (share * ratio).sqrt().min(1.0) * height);
        let mut place = |most: f32| if most > 0.0 { rng.random_range(0.0..=most) } else { 0.0 };
        Self { left: place(width - wide), top: place(height - tall), width: wide, height: tall }
    }

    /// Returns the point of the image that a point of the frame shows; both count the middles of pixels.
    pub(super) fn point(&self, (x, y): (f32, f32), (width, height): (usize, usize)) -> (f32, f32) {
        let axis = |at: f32, begin: f32, size: f32, frame: usize| {
            if size == frame as f32 {
                return at;
            }
            // Within the frame, the border shows the border and not what is beyond it.
            let is_within = at > -0.5 && at < frame as f32 - 0.5;
            let point = begin + (at + 0.5) * size / frame as f32 - 0.5;
            if is_within { point.clamp(0.0, frame as f32 - 1.0) } else { point }
        };
        (axis(x, self.left, self.width, width), axis(y, self.top, self.height, height))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::trainer::random::keyed_rng;

    proptest! {
        #[test]
        fn a_part_lies_within_the_image_and_fills_the_frame(
            size in (1usize..60, 1usize..60), smallest in 0.05f32..1.0, index: u64,
        ) {
            let part = Part::drawn(&mut keyed_rng(0, "augment", 0, index), size, smallest);
            let (width, height) = (size.0 as f32, size.1 as f32);
            prop_assert!(part.left >= 0.0 && part.left + part.width <= width + 1e-3);
            prop_assert!(part.top >= 0.0 && part.top + part.height <= height + 1e-3);
            prop_assert!(part.width * part.height >= smallest * width * height * FLATTEST * 0.999);
            for corner in [(0.0, 0.0), (width - 1.0, height - 1.0)] {
                let (x, y) = part.point(corner, size);
                prop_assert!(x >= 0.0 && x <= width - 1.0 && y >= 0.0 && y <= height - 1.0, "{x} {y}");
            }
            prop_assert_eq!(Part::whole(size).point((3.25, -7.0), size), (3.25, -7.0));
        }
    }
}
