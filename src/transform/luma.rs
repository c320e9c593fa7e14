//! A grey picture in memory, and resampling of its parts.

use fast_image_resize as fir;

use crate::error::{Error, Result};

/// A grey picture, row by row, 0 black to 255 white.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Luma {
    /// Pixels in a row.
    pub width: u32,
    /// Rows.
    pub height: u32,
    /// `width * height` pixels.
    pub pixels: Vec<u8>,
}

/// A rectangle of a picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Crop {
    pub(super) left: u32,
    pub(super) top: u32,
    pub(super) width: u32,
    pub(super) height: u32,
}

impl Crop {
    /// Returns the rectangle that holds all of a picture.
    pub(super) fn whole(picture: &Luma) -> Self {
        Self { left: 0, top: 0, width: picture.width, height: picture.height }
    }
}

impl Luma {
    /// Exchanges black and white.
    pub(super) fn invert(&mut self) {
        self.pixels.iter_mut().for_each(|pixel| *pixel = 255 - *pixel);
    }

    /// Resamples a part of the picture with a box filter, which averages areas when it shrinks.
    pub(super) fn resized(&self, crop: Crop, width: u32, height: u32) -> Result<Self> {
        let failed = |source: Box<dyn std::error::Error + Send + Sync>| {
            Error::internal("the image could not be resized", source)
        };
        // Typed, or the program would hold the code for every type of pixels, 3 MB.
        let source = fir::images::TypedImageRef::<fir::pixels::U8>::from_buffer(self.width, self.height, &self.pixels)
            .map_err(|error| failed(error.into()))?;
        let mut pixels = vec![0; width as usize * height as usize];
        let mut target = fir::images::TypedImage::<fir::pixels::U8>::from_buffer(width, height, &mut pixels)
            .map_err(|error| failed(error.into()))?;
        let options = fir::ResizeOptions::new().resize_alg(fir::ResizeAlg::Convolution(fir::FilterType::Box)).crop(
            crop.left.into(),
            crop.top.into(),
            crop.width.into(),
            crop.height.into(),
        );
        fir::Resizer::new().resize_typed(&source, &mut target, &options).map_err(|error| failed(error.into()))?;
        Ok(Self { width, height, pixels })
    }
}
