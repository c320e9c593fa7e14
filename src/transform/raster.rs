//! A picture in memory, grey or in colour, upright and without transparency.

use ::image::DynamicImage;

use crate::error::{Error, Result};

/// A picture, row by row, of one channel (grey) or three (red, green, blue).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Raster {
    /// Pixels in a row.
    pub width: u32,
    /// Rows.
    pub height: u32,
    /// 1 or 3.
    pub channels: usize,
    /// `width * height * channels` values.
    pub pixels: Vec<u8>,
}

impl Raster {
    /// Makes a picture of what a decoder gives. Transparent parts show the background; of 16 bits the upper eight count.
    ///
    /// # Errors
    /// [`Error::UnsupportedMedia`] for pixels of floating-point numbers.
    pub(super) fn of(picture: DynamicImage, background: [u8; 3]) -> Result<Self> {
        let (width, height) = (picture.width(), picture.height());
        let high = |values: Vec<u16>| values.into_iter().map(|value| (value >> 8) as u8).collect::<Vec<u8>>();
        let (channels, pixels) = match picture {
            DynamicImage::ImageLuma8(grey) => (1, grey.into_raw()),
            DynamicImage::ImageLuma16(grey) => (1, high(grey.into_raw())),
            DynamicImage::ImageRgb8(colour) => (3, colour.into_raw()),
            DynamicImage::ImageRgb16(colour) => (3, high(colour.into_raw())),
            DynamicImage::ImageLumaA8(grey) => flat_grey(&grey.into_raw(), background),
            DynamicImage::ImageLumaA16(grey) => flat_grey(&high(grey.into_raw()), background),
            DynamicImage::ImageRgba8(colour) => (3, flat_colour(&colour.into_raw(), background)),
            DynamicImage::ImageRgba16(colour) => (3, flat_colour(&high(colour.into_raw()), background)),
            _ => {
                return Err(Error::UnsupportedMedia(
                    "the image has pixels of floating-point numbers; save it with 8 or 16 bits a channel".into(),
                ));
            }
        };
        Ok(Self { width, height, channels, pixels })
    }

    /// Returns true if a pixel is not grey.
    pub(super) fn has_colour(&self) -> bool {
        let (pixels, _) = self.pixels.as_chunks::<3>();
        self.channels == 3 && pixels.iter().any(|[red, green, blue]| red != green || green != blue)
    }

    /// Returns the picture in grey.
    pub(super) fn into_grey(self) -> Self {
        if self.channels == 1 {
            return self;
        }
        let (pixels, _) = self.pixels.as_chunks::<3>();
        Self { channels: 1, pixels: pixels.iter().map(luma).collect(), ..self }
    }

    /// Returns the picture in three channels.
    pub(super) fn into_colour(self) -> Self {
        if self.channels == 3 {
            return self;
        }
        Self { channels: 3, pixels: self.pixels.iter().flat_map(|level| [*level; 3]).collect(), ..self }
    }
}

/// Returns the luma of a colour, as Pillow's mode L: ITU-R BT.601 in fixed point.
pub(super) fn luma([red, green, blue]: &[u8; 3]) -> u8 {
    ((u32::from(*red) * 19595 + u32::from(*green) * 38470 + u32::from(*blue) * 7471 + 0x8000) >> 16) as u8
}

/// Returns a value laid on what is behind it, rounded.
fn over(value: u8, alpha: u8, behind: u8) -> u8 {
    let (value, alpha, behind) = (u32::from(value), u32::from(alpha), u32::from(behind));
    ((value * alpha + behind * (255 - alpha) + 127) / 255) as u8
}

/// Returns channels and pixels of a grey picture on a background, which may have a colour.
fn flat_grey(pixels: &[u8], background: [u8; 3]) -> (usize, Vec<u8>) {
    let (pixels, _) = pixels.as_chunks::<2>();
    match background {
        [red, green, blue] if red == green && green == blue => {
            (1, pixels.iter().map(|[level, alpha]| over(*level, *alpha, red)).collect())
        }
        _ => {
            let laid = |[level, alpha]: &[u8; 2]| background.map(|behind| over(*level, *alpha, behind));
            (3, pixels.iter().flat_map(laid).collect())
        }
    }
}

fn flat_colour(pixels: &[u8], background: [u8; 3]) -> Vec<u8> {
    let (pixels, _) = pixels.as_chunks::<4>();
    let laid = |[red, green, blue, alpha]: &[u8; 4]| {
        let colour = [*red, *green, *blue];
        std::array::from_fn::<u8, 3, _>(|channel| over(colour[channel], *alpha, background[channel]))
    };
    pixels.iter().flat_map(laid).collect()
}
