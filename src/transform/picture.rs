//! Turns numbers into grey pictures: one as a PNG file, or several on a contact sheet.

use std::io::Cursor;

use image::codecs::png::PngEncoder;
use image::{ExtendedColorType, ImageEncoder};

use crate::error::{Error, Result};

/// The pixels between and around the pictures of a contact sheet.
const GAP: usize = 2;
/// The grey level of the gaps, which differs from both usual backgrounds.
const PAPER: u8 = 96;

/// Grey pixels, row by row, 0 black to 255 white.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Picture {
    /// Pixels in a row.
    pub width: usize,
    /// Rows.
    pub height: usize,
    /// `width * height` pixels.
    pub pixels: Vec<u8>,
}

impl Picture {
    /// Makes a picture of intensities from 0 to 1. Values outside are clamped, and NaN is black.
    pub fn of_intensities(intensities: &[f32], width: usize, height: usize) -> Self {
        // The conversion of floats to bytes saturates.
        let pixels = intensities.iter().map(|value| (value * 255.0).round() as u8).collect();
        Self { width, height, pixels }
    }

    /// Arranges pictures of one size in rows of `columns`; empty without pictures.
    pub fn contact_sheet(pictures: &[Self], columns: usize) -> Self {
        let (width, height) = pictures.first().map_or((0, 0), |picture| (picture.width, picture.height));
        let columns = columns.clamp(1, pictures.len().max(1));
        let rows = pictures.len().div_ceil(columns);
        let mut sheet =
            Self { width: columns * (width + GAP) + GAP, height: rows * (height + GAP) + GAP, pixels: Vec::new() };
        sheet.pixels = vec![PAPER; sheet.width * sheet.height];
        for (index, picture) in pictures.iter().enumerate() {
            let (left, top) = (GAP + index % columns * (width + GAP), GAP + index / columns * (height + GAP));
            for (row, pixels) in picture.pixels.chunks_exact(width.max(1)).enumerate() {
                sheet.pixels[(top + row) * sheet.width + left..][..width].copy_from_slice(pixels);
            }
        }
        sheet
    }

    /// Encodes the picture as a PNG file.
    ///
    /// # Errors
    /// [`Error::Internal`] when the encoder fails.
    pub fn png(&self) -> Result<Vec<u8>> {
        let mut file = Cursor::new(Vec::new());
        PngEncoder::new(&mut file)
            .write_image(&self.pixels, self.width as u32, self.height as u32, ExtendedColorType::L8)
            .map_err(|error| Error::internal("an image could not be encoded", error))?;
        Ok(file.into_inner())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intensities_become_grey_and_stay_within_it() {
        let picture = Picture::of_intensities(&[0.0, 0.5, 1.0, -1.0, 7.0, f32::NAN], 3, 2);
        assert_eq!(picture.pixels, [0, 128, 255, 0, 255, 0]);
        let limits = crate::transform::ImageLimits { max_pixels: 100 };
        let read = crate::transform::decode(&picture.png().unwrap(), limits).unwrap();
        assert_eq!((read.width, read.height, read.pixels), (3, 2, picture.pixels));
    }

    #[test]
    fn a_contact_sheet_shows_each_picture_where_it_belongs() {
        let plain = |grey: u8| Picture { width: 2, height: 1, pixels: vec![grey; 2] };
        let sheet = Picture::contact_sheet(&[plain(1), plain(2), plain(3)], 2);
        assert_eq!((sheet.width, sheet.height, sheet.pixels.len()), (10, 8, 80));
        let at = |x: usize, y: usize| sheet.pixels[y * 10 + x];
        assert_eq!([at(2, 2), at(3, 2), at(6, 2), at(2, 5), at(6, 5), at(4, 2)], [1, 1, 2, 3, PAPER, PAPER]);
    }
}
