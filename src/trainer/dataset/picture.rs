//! Encoded pictures → grey pixels of one size, by the code that serving uses.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::signature::{DrawingTransform, Fit, Polarity};
use crate::transform::{ImageLimits, PolarityChoice, decode, prepare, size as size_of};

/// Pixels that a picture may have: 64 million, more than cameras make.
const LIMITS: ImageLimits = ImageLimits { max_pixels: 1 << 26 };

/// How pictures of a data set become an input, in training as in serving: scaled to the size, bright on dark.
pub(super) fn transform(width: u32, height: u32) -> DrawingTransform {
    DrawingTransform { width, height, polarity: Polarity::LightOnDark, fit: Fit::Stretch }
}

/// The pixels of a picture, or why there are none.
pub(super) fn pixels(file: &[u8], transform: &DrawingTransform) -> Result<Vec<u8>, String> {
    if file.is_empty() {
        return Err("is empty".into());
    }
    // Decoders are known to panic on hostile files.
    let work = || prepare(decode(file, LIMITS)?, transform, PolarityChoice::Auto);
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(Ok(prepared)) => Ok(prepared.pixels),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err("the image is damaged and cannot be decoded".into()),
    }
}

/// Width and height by the header; `None` if that is damaged.
pub(super) fn size(file: &[u8]) -> Option<(u32, u32)> {
    catch_unwind(|| size_of(file, LIMITS).ok()).ok().flatten()
}

/// The commonest of sizes, and the smaller one of equals.
pub(super) fn commonest(sizes: impl Iterator<Item = (u32, u32)>) -> Option<(u32, u32)> {
    let mut counts: BTreeMap<(u32, u32), usize> = BTreeMap::new();
    sizes.for_each(|size| *counts.entry(size).or_default() += 1);
    counts.into_iter().rev().max_by_key(|(_, count)| *count).map(|(size, _)| size)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_commonest_size_is_taken_and_the_smaller_of_equals() {
        let of = |sizes: &[(u32, u32)]| commonest(sizes.iter().copied());
        assert_eq!(of(&[(9, 9), (8, 8), (9, 9), (7, 7)]), Some((9, 9)));
        assert_eq!(of(&[(9, 9), (8, 8)]), Some((8, 8)));
        assert_eq!(of(&[]), None);
    }

    #[test]
    fn what_is_no_picture_is_said_to_be_none() {
        let transform = transform(8, 8);
        for bad in [&b""[..], b"hello", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff\xe0"] {
            assert!(pixels(bad, &transform).is_err());
            assert_eq!(size(bad), None);
        }
    }
}
