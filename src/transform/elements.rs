//! From pixels to the elements of a model's input: order, type and scale.

use half::f16;

use super::raster::Raster;
use crate::error::{Error, Result};
use crate::signature::{Colour, Layout, PictureTransform};
use crate::tensor::Data;

/// Turns levels that were kept into the elements of an input, as serving does with a picture of them.
#[derive(Debug, Clone, PartialEq)]
pub struct LevelTables {
    /// By channel and level.
    tables: Vec<[f32; 256]>,
    layout: Layout,
    colour: Colour,
}

impl LevelTables {
    /// Returns the tables of a transform; `None` if elements are the levels, grey or in red, green and blue, channel by
    /// channel.
    pub fn of(transform: &PictureTransform) -> Option<Self> {
        let table = |channel| std::array::from_fn(|level| number(transform, channel, level as u8) as f32);
        let tables: Vec<[f32; 256]> = (0..transform.colour.channels()).map(table).collect();
        let is_plain = |table: &[f32; 256]| table.iter().enumerate().all(|(level, number)| *number == level as f32);
        let PictureTransform { layout, colour, .. } = *transform;
        let is_plain = layout == Layout::Nchw && colour != Colour::Bgr && tables.iter().all(is_plain);
        (!is_plain).then_some(Self { tables, layout, colour })
    }

    /// Returns true if the channels are blue, green and red.
    pub fn is_bgr(&self) -> bool {
        self.colour == Colour::Bgr
    }

    /// Appends the elements of one picture, which is kept channel by channel.
    pub fn append(&self, levels: &[u8], to: &mut Vec<f32>) {
        let pixels = levels.len() / self.tables.len();
        let planes = || levels.chunks_exact(pixels).zip(&self.tables);
        match self.layout {
            Layout::Nchw => {
                planes().for_each(|(plane, table)| to.extend(plane.iter().map(|level| table[usize::from(*level)])));
            }
            Layout::Nhwc => {
                let of = |at: usize| planes().map(move |(plane, table)| table[usize::from(plane[at])]);
                (0..pixels).for_each(|at| to.extend(of(at)));
            }
        }
    }
}

/// Appends the elements of a picture of the model's size. Each level of each channel is computed once, in 64 bits, and
/// then rounded to the type of the input.
///
/// # Errors
/// [`Error::Internal`] when the list is of a type that no transform has.
pub(super) fn append(picture: &Raster, transform: &PictureTransform, to: &mut Data) -> Result<()> {
    let level = |channel: usize, level: u8| number(transform, channel, level);
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

/// Appends the levels of a picture of the model's size, channel by channel in the input's order.
pub(super) fn append_levels(picture: &Raster, transform: &PictureTransform, to: &mut Vec<u8>) {
    let planes = PictureTransform { layout: Layout::Nchw, ..transform.clone() };
    lay(picture, &planes, |_, level| level, to);
}

/// Returns the number that a level of a channel stands for.
fn number(transform: &PictureTransform, channel: usize, level: u8) -> f64 {
    (f64::from(level) * transform.scale - transform.mean[channel]) / transform.std[channel]
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
