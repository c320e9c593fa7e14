//! Decodes a picture at the size that a transform has use for.

use ::image::metadata::Orientation;
use ::image::{DynamicImage, GrayImage, RgbImage};

use super::container::{Format, sniff};
use super::decode::{ImageLimits, check_pixels, damaged_file, decode_picture, exchanges_sides};
use super::frame::Placement;
use super::jpeg;
use super::jpeg::scaled::{Head, Refusal, Scale};
use super::raster::Raster;
use crate::error::{Error, Result};
use crate::signature::{Decoding, PictureTransform};

/// Decodes an image file, and returns it upright with the size that it was sent in. Where the transform allows it, a JPEG
/// file is decoded at a half, a quarter or an eighth: the least that is no smaller than what it is brought to.
///
/// # Errors
/// As [`decode_picture`]; [`Error::InvalidInput`] as [`Placement::of`].
pub(super) fn decode_for(file: &[u8], limits: ImageLimits, transform: &PictureTransform) -> Result<(Raster, [u32; 2])> {
    if transform.decode == Decoding::Scaled
        && sniff(file)? == Format::Jpeg
        && let Some(scaled) = scaled(file, limits, transform)?
    {
        return Ok(scaled);
    }
    let picture = decode_picture(file, limits, transform.background)?;
    let size = [picture.width, picture.height];
    Ok((picture, size))
}

/// Decodes a JPEG file at a part of its size; `None` of one that is to be decoded in full.
fn scaled(file: &[u8], limits: ImageLimits, transform: &PictureTransform) -> Result<Option<(Raster, [u32; 2])>> {
    let whole = jpeg::whole(file, limits.max_pixels)?;
    let Some(head) = Head::read(&whole).filter(|head| !head.size.contains(&0)) else { return Ok(None) };
    check_pixels(head.size.into(), limits.max_pixels)?;
    let upright = |[width, height]: [u32; 2]| {
        if exchanges_sides(head.orientation) { [height, width] } else { [width, height] }
    };
    let size = upright(head.size);
    let Some(scale) = Scale::of(size, Placement::of(size, transform)?.resized) else { return Ok(None) };
    match jpeg::scaled::decode(&whole, scale) {
        Ok(picture) => Ok(Some((turned(picture, &head)?, size))),
        Err(Refusal::Unscalable) => Ok(None),
        Err(Refusal::Damaged) => Err(damaged_file(Format::Jpeg)),
    }
}

/// Turns a picture upright.
fn turned(picture: Raster, head: &Head) -> Result<Raster> {
    if head.orientation == Orientation::NoTransforms {
        return Ok(picture);
    }
    let Raster { width, height, channels, pixels } = picture;
    let picture = match channels {
        1 => GrayImage::from_raw(width, height, pixels).map(DynamicImage::from),
        _ => RgbImage::from_raw(width, height, pixels).map(DynamicImage::from),
    };
    let mut picture = picture.ok_or_else(|| Error::internal("a picture could not be turned", "its size is wrong"))?;
    picture.apply_orientation(head.orientation);
    Raster::of(picture, [0; 3])
}
