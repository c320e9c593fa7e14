//! CutMix (Yun et al. 2019, "CutMix: Regularization Strategy to Train Strong Classifiers"): a rectangle of one image is
//! replaced by that of another.

use rand::RngExt;
use rand_chacha::ChaCha8Rng;

/// A rectangle, in pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::trainer) struct Patch {
    left: usize,
    top: usize,
    width: usize,
    height: usize,
}

impl Patch {
    /// Draws a rectangle of this share of an image and of its aspect ratio, around any of its points; what reaches beyond
    /// the image is cut off.
    pub(in crate::trainer) fn drawn(rng: &mut ChaCha8Rng, size: [usize; 2], share: f32) -> Self {
        let mut axis = |size: usize| {
            let long = (share.sqrt() * size as f32).round() as usize;
            let centre = rng.random_range(0..size.max(1));
            let begin = centre.saturating_sub(long / 2);
            (begin, (begin + long).min(size) - begin)
        };
        let ((left, width), (top, height)) = (axis(size[0]), axis(size[1]));
        Self { left, top, width, height }
    }

    /// Returns its share of an image.
    pub(in crate::trainer) fn share(&self, [width, height]: [usize; 2]) -> f32 {
        (self.width * self.height) as f32 / (width * height).max(1) as f32
    }

    /// Copies the rectangle from one image to another, in every channel.
    pub(in crate::trainer) fn copy(&self, from: &[f32], to: &mut [f32], [width, height]: [usize; 2]) {
        let planes = from.chunks_exact(width * height).zip(to.chunks_exact_mut(width * height));
        for (from, to) in planes {
            for row in self.top..self.top + self.height {
                let row = row * width + self.left..row * width + self.left + self.width;
                to[row.clone()].copy_from_slice(&from[row]);
            }
        }
    }
}
