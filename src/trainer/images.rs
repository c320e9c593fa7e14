//! Images of a data set as PNG files.

use std::io::Cursor;

use image::codecs::png::PngEncoder;
use image::{ExtendedColorType, ImageEncoder};

use super::dataset::Dataset;
use crate::error::{Error, Result};

/// One image of a data set of images.
///
/// # Errors
/// [`Error::Internal`] when the encoder fails, [`Error::Io`] as [`Dataset::image`].
pub(super) fn png(data: &Dataset, index: usize) -> Result<Vec<u8>> {
    encode(&data.image(index)?, data.width, data.height, ExtendedColorType::L8)
}

/// Pixels, row by row.
///
/// # Errors
/// [`Error::Internal`] when the encoder fails.
pub(super) fn encode(pixels: &[u8], width: usize, height: usize, color: ExtendedColorType) -> Result<Vec<u8>> {
    let mut file = Cursor::new(Vec::new());
    PngEncoder::new(&mut file)
        .write_image(pixels, width as u32, height as u32, color)
        .map_err(|error| Error::internal("an image could not be encoded", error))?;
    Ok(file.into_inner())
}
