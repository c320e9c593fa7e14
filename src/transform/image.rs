//! Turns an encoded image into the grey pixels that a model takes.
//!
//! A picture of the model's own size keeps every pixel, except that black and white are exchanged if its
//! polarity is the opposite one. Polarity is estimated (`background`) unless the request states it. A
//! picture of another size is stretched, or centred as MNIST was (`centre`), as the transform says.

use std::io::Cursor;

use ::image::codecs::{jpeg::JpegDecoder, png::PngDecoder};
use ::image::metadata::Orientation;
use ::image::{ColorType, DynamicImage, ImageDecoder, ImageError, Limits};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::background::Background;
use super::centre;
use super::container::{self, Format};
use super::luma::{Crop, Luma};
use super::small_png;
use crate::error::{Error, Result};
use crate::signature::{Fit, ImageTransform, Polarity};

/// The limits above which an image is refused.
#[derive(Debug, Clone, Copy)]
pub struct ImageLimits {
    /// The greatest width × height that is decoded.
    pub max_pixels: u64,
}

/// The bytes that a decoder may allocate besides the picture itself, per pixel of the limit.
const DECODER_BYTES_PER_PIXEL: u64 = 8;

/// The polarity of a picture as stated by the caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum PolarityChoice {
    /// Estimate it: the border shows the background, and the greatest differences from it are the drawing.
    #[default]
    Auto,
    /// Bright strokes on a dark background.
    LightOnDark,
    /// Dark strokes on a bright background.
    DarkOnLight,
}

/// A picture in the size, colour and polarity of a model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prepared {
    /// The pixels, `width * height` of the transform.
    pub pixels: Vec<u8>,
    /// True if black and white were exchanged to match the model's polarity.
    pub inverted: bool,
}

/// Returns true if the header of the file guarantees at most this many pixels. Only PNG declares its size
/// at a fixed place; the answer for every other file is false.
pub fn pixels_at_most(bytes: &[u8], pixels: u64) -> bool {
    container::png_dimensions(bytes).is_some_and(|(width, height)| u64::from(width) * u64::from(height) <= pixels)
}

/// Decodes a PNG or JPEG file to grey (ITU-R BT.709 luma), with its EXIF orientation applied.
///
/// Transparent pixels become black or white, whichever contrasts with the visible ones. Animations yield
/// their first frame. The bytes of the file decide its format.
///
/// # Errors
/// [`Error::UnsupportedMedia`] for another format or CMYK, [`Error::TooLarge`] above the pixel
/// limit, which is checked before any pixel is allocated, [`Error::InvalidInput`] for a damaged file.
pub fn decode(bytes: &[u8], limits: ImageLimits) -> Result<Luma> {
    if let Some(picture) = small_png::decode(bytes, limits.max_pixels) {
        return Ok(picture);
    }
    let format = container::sniff(bytes)?;
    container::check_whole(format, bytes)?;
    match format {
        Format::Png => {
            let mut allowed = Limits::no_limits();
            allowed.max_alloc = Some(limits.max_pixels.saturating_mul(DECODER_BYTES_PER_PIXEL));
            read(PngDecoder::with_limits(Cursor::new(bytes), allowed).map_err(|error| damaged(error, limits))?, limits)
        }
        Format::Jpeg => read(JpegDecoder::new(Cursor::new(bytes)).map_err(|error| damaged(error, limits))?, limits),
    }
}

fn read(mut decoder: impl ImageDecoder, limits: ImageLimits) -> Result<Luma> {
    let (width, height) = decoder.dimensions();
    if u64::from(width) * u64::from(height) > limits.max_pixels {
        return Err(Error::TooLarge {
            what: "the image",
            limit: limits.max_pixels,
            got: format!("{width} × {height} pixels"),
        });
    }
    // With a damaged EXIF block only the orientation is lost.
    let orientation = decoder.orientation().unwrap_or(Orientation::NoTransforms);
    if decoder.color_type() == ColorType::L8 && orientation == Orientation::NoTransforms {
        let mut pixels = vec![0; decoder.total_bytes() as usize];
        decoder.read_image(&mut pixels).map_err(|error| damaged(error, limits))?;
        return Ok(Luma { width, height, pixels });
    }
    let mut picture = DynamicImage::from_decoder(decoder).map_err(|error| damaged(error, limits))?;
    picture.apply_orientation(orientation);
    if picture.color().has_alpha() {
        picture = flatten_alpha(&picture);
    }
    let grey = picture.into_luma8();
    Ok(Luma { width: grey.width(), height: grey.height(), pixels: grey.into_raw() })
}

/// Lays a transparent picture on black or white, whichever contrasts with its visible pixels.
fn flatten_alpha(picture: &DynamicImage) -> DynamicImage {
    let mut grey = picture.to_luma_alpha8();
    let (sum, weight) = grey.pixels().fold((0u64, 0u64), |(sum, weight), pixel| {
        let alpha = u64::from(pixel.0[1]);
        (sum + u64::from(pixel.0[0]) * alpha, weight + alpha)
    });
    let behind = if sum > weight * 127 { 0 } else { 255 };
    for pixel in grey.pixels_mut() {
        let [value, alpha] = pixel.0.map(u32::from);
        pixel.0 = [((value * alpha + behind * (255 - alpha) + 127) / 255) as u8, 255];
    }
    DynamicImage::ImageLumaA8(grey)
}

#[expect(clippy::needless_pass_by_value, reason = "the shape that map_err wants")]
fn damaged(error: ImageError, limits: ImageLimits) -> Error {
    match error {
        ImageError::Limits(_) => Error::TooLarge {
            what: "the image",
            limit: limits.max_pixels,
            got: "a file that needs more memory to decode than so many pixels".into(),
        },
        ImageError::Unsupported(_) => {
            Error::UnsupportedMedia("the image uses a feature of its format that is not supported".into())
        }
        _ => Error::InvalidInput("the image is damaged and cannot be decoded".into()),
    }
}

/// Converts a picture to the size and polarity of a model.
///
/// # Errors
/// [`Error::Internal`] when resizing fails, which valid sizes rule out.
pub fn prepare(picture: Luma, transform: &ImageTransform, choice: PolarityChoice) -> Result<Prepared> {
    let background = Background::estimate(&picture);
    let polarity = match choice {
        PolarityChoice::LightOnDark => Polarity::LightOnDark,
        PolarityChoice::DarkOnLight => Polarity::DarkOnLight,
        PolarityChoice::Auto => background.polarity(&picture),
    };
    let inverted = polarity != transform.polarity;
    let is_of_size = (picture.width, picture.height) == (transform.width, transform.height);
    let mut prepared = match transform.fit {
        _ if is_of_size => picture,
        Fit::Stretch => picture.resized(Crop::whole(&picture), transform.width, transform.height)?,
        Fit::CentreOfMass => {
            let mut centred = centre::fit(picture, polarity, transform.width, transform.height)?;
            // Centring yields light strokes on black, whatever the picture had.
            if transform.polarity == Polarity::DarkOnLight {
                centred.invert();
            }
            return Ok(Prepared { pixels: centred.pixels, inverted });
        }
    };
    if inverted {
        prepared.invert();
    }
    Ok(Prepared { pixels: prepared.pixels, inverted })
}
