//! Encoded pictures → grey pixels of one size, by the code that serving uses.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};

use super::DataOptions;
use crate::repository::PictureChoice;
use crate::signature::{DrawingTransform, Fit, ImageTransform, Polarity};
use crate::transform::{ImageLimits, Luma, PolarityChoice, Prepared, decode, prepare, size as size_of};

/// Pixels that a picture may have: 64 million, more than cameras make.
const LIMITS: ImageLimits = ImageLimits { max_pixels: 1 << 26 };

/// Returns how pictures of a data set become an input, in training as in serving. `drawn` is the rule for drawings of
/// another size.
pub(super) fn transform(options: &DataOptions, [height, width]: [u32; 2], drawn: Fit) -> DrawingTransform {
    let expected = options.expected.as_ref().and_then(|expected| expected.transform.image.as_ref());
    if let Some(drawing) = expected.and_then(ImageTransform::drawing) {
        return DrawingTransform { width, height, ..drawing.clone() };
    }
    match options.reading.transform {
        PictureChoice::Drawing => DrawingTransform { width, height, polarity: Polarity::LightOnDark, fit: drawn },
        PictureChoice::AsIs | PictureChoice::Auto => {
            DrawingTransform { width, height, polarity: Polarity::AsIs, fit: Fit::Stretch }
        }
    }
}

/// Counts the pictures whose black and white were exchanged.
#[derive(Debug, Default)]
pub(super) struct Inverted {
    count: usize,
    of: usize,
}

impl Inverted {
    /// Takes a prepared picture into account, and returns its pixels.
    pub(super) fn counted(&mut self, prepared: Prepared) -> Vec<u8> {
        self.of += 1;
        self.count += usize::from(prepared.inverted);
        prepared.pixels
    }

    /// Returns what was done, for people.
    pub(super) fn note(&self, transform: &DrawingTransform, choice: PictureChoice) -> Option<String> {
        let Self { count, of } = self;
        match (transform.polarity, choice) {
            (Polarity::AsIs, PictureChoice::Auto) => Some(
                "pictures are taken as they are; the presets mnist-… and --transform drawing exchange black and white in \
                 those that seem dark on bright"
                    .into(),
            ),
            (Polarity::AsIs, _) => None,
            (Polarity::LightOnDark | Polarity::DarkOnLight, _) => Some(format!(
                "pictures are drawings: black and white were exchanged in {count} of {of}; --transform as-is takes them \
                 as they are"
            )),
        }
    }
}

/// Prepares pixels of the size of the transform, as serving does with a picture of them.
///
/// # Errors
/// [`crate::error::Error::Internal`], which valid sizes rule out.
pub(super) fn drawn(pixels: Vec<u8>, transform: &DrawingTransform) -> crate::error::Result<Prepared> {
    let picture = Luma { width: transform.width, height: transform.height, pixels };
    prepare(picture, transform, PolarityChoice::Auto)
}

/// The pixels of a picture, or why there are none.
pub(super) fn pixels(file: &[u8], transform: &DrawingTransform) -> Result<Prepared, String> {
    if file.is_empty() {
        return Err("is empty".into());
    }
    // Decoders are known to panic on hostile files.
    let work = || prepare(decode(file, LIMITS)?, transform, PolarityChoice::Auto);
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(Ok(prepared)) => Ok(prepared),
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
        let transform = transform(&DataOptions::default(), [8, 8], Fit::Stretch);
        assert_eq!(transform.polarity, Polarity::AsIs);
        for bad in [&b""[..], b"hello", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff\xe0"] {
            assert!(pixels(bad, &transform).is_err());
            assert_eq!(size(bad), None);
        }
    }
}
