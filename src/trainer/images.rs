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
    let color = if data.channels == 1 { ExtendedColorType::L8 } else { ExtendedColorType::Rgb8 };
    encode(&pixels(data, index)?, data.width, data.height, color)
}

/// The pixels of one image, row by row, each of one level or of red, green and blue.
///
/// # Errors
/// As [`Dataset::image`].
pub(super) fn pixels(data: &Dataset, index: usize) -> Result<Vec<u8>> {
    let planes = data.image(index)?;
    let plane = data.width * data.height;
    let mut order: Vec<usize> = (0..data.channels).collect();
    if data.is_bgr() {
        order.reverse();
    }
    Ok((0..plane).flat_map(|at| order.iter().map(move |channel| channel * plane + at)).map(|at| planes[at]).collect())
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
