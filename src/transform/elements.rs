//! From pixels to the elements of a model's input: order, type and scale.

use half::f16;

use super::raster::Raster;
use crate::error::{Error, Result};
use crate::signature::{Colour, Layout, PictureTransform};
use crate::tensor::Data;

/// Appends the elements of a picture of the model's size. Each level of each channel is computed once, in 64 bits, and
/// then rounded to the type of the input.
///
/// # Errors
/// [`Error::Internal`] when the list is of a type that no transform has.
pub(super) fn append(picture: &Raster, transform: &PictureTransform, to: &mut Data) -> Result<()> {
    let level = |channel: usize, level: u8| {
        (f64::from(level) * transform.scale - transform.mean[channel]) / transform.std[channel]
    };
    match to {
        Data::Uint8(elements) => lay(picture, transform, |_, level| level, elements),
        Data::Float32(elements) => lay(picture, transform, |channel, value| level(channel, value) as f32, elements),
        Data::Float16(elements) => {
            lay(picture, transform, |channel, value| f16::from_f64(level(channel, value)), elements);
        }
        other => {
            let dtype = other.dtype();
            return Err(Error::internal("an image cannot be an input of this type", format!("{dtype}")));
        }
    }
    Ok(())
}

/// Appends the elements in the order of the input, each by the table of its channel.
fn lay<T: Copy>(picture: &Raster, transform: &PictureTransform, level: impl Fn(usize, u8) -> T, to: &mut Vec<T>) {
    let channels = transform.colour.channels();
    let tables: Vec<[T; 256]> =
        (0..channels).map(|channel| std::array::from_fn(|value| level(channel, value as u8))).collect();
    let source = |channel: usize| match transform.colour {
        _ if picture.channels == 1 => 0,
        Colour::Bgr => channels - 1 - channel,
        Colour::Rgb | Colour::Grey => channel,
    };
    let pixels = || picture.pixels.chunks_exact(picture.channels);
    match transform.layout {
        Layout::Nchw => {
            for (channel, table) in tables.iter().enumerate() {
                let source = source(channel);
                to.extend(pixels().map(|pixel| table[usize::from(pixel[source])]));
            }
        }
        Layout::Nhwc => {
            for pixel in pixels() {
                to.extend(tables.iter().enumerate().map(|(channel, table)| table[usize::from(pixel[source(channel)])]));
            }
        }
    }
}
