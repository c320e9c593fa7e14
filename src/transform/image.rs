//! Turns an image file into the elements that a model takes, in training and serving alike.
//!
//! A picture of the model's own size keeps every pixel. A drawing of another size is stretched, or centred as MNIST was
//! (`centre`), as the transform says. For a model of drawings black and white are exchanged if the polarity is the
//! opposite one; it is estimated (`background`) unless the request states it. Any other picture keeps its colours;
//! `frame` brings it to size, and `elements` to numbers.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::background::Background;
use super::centre;
use super::decode::{ImageLimits, decode};
use super::elements;
use super::frame::frame;
use super::geometry::Geometry;
use super::luma::{Crop, Luma};
use super::raster::Raster;
use super::scaled::decode_for;
use crate::error::{Error, Result};
use crate::signature::{DrawingTransform, Fit, ImageTransform, PictureTransform, Polarity};
use crate::tensor::Data;

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

/// A drawing in the size and polarity of a model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prepared {
    /// The pixels, `width * height` of the transform.
    pub pixels: Vec<u8>,
    /// True if black and white were exchanged to match the model's polarity.
    pub inverted: bool,
}

/// The facts about a sent image that the answer to it needs.
#[derive(Debug, Clone, PartialEq)]
pub struct ImageFacts {
    /// True if black and white were exchanged; `None` for a model that takes more than drawings.
    pub inverted: Option<bool>,
    /// The place of the picture in the input; `None` of a drawing that was centred.
    pub geometry: Option<Geometry>,
}

/// Appends the elements of an image file to those of others.
///
/// # Errors
/// As [`decode`]; [`Error::InvalidInput`] for a shape of picture that cannot be brought to the model's size.
pub fn append_image(
    file: &[u8],
    transform: &ImageTransform,
    limits: ImageLimits,
    choice: PolarityChoice,
    to: &mut Data,
) -> Result<ImageFacts> {
    match transform {
        ImageTransform::Drawing(drawing) => {
            let picture = decode(file, limits)?;
            let (size, input) = ([picture.width, picture.height], [drawing.width, drawing.height]);
            let is_stretched = size == input || drawing.fit == Fit::Stretch;
            let geometry = is_stretched.then(|| Geometry::stretched(size, input));
            let prepared = prepare(picture, drawing, choice)?;
            let Data::Float32(elements) = to else {
                return Err(Error::internal("a drawing cannot be an input of this type", to.dtype().to_string()));
            };
            elements.extend(prepared.pixels.iter().map(|pixel| f32::from(*pixel)));
            Ok(ImageFacts { inverted: Some(prepared.inverted), geometry })
        }
        ImageTransform::Picture(transform) => {
            let (picture, size) = decode_for(file, limits, transform)?;
            let (picture, geometry) = frame(picture, size, transform)?;
            elements::append(&picture, transform, to)?;
            Ok(ImageFacts { inverted: None, geometry: Some(geometry) })
        }
    }
}

/// Appends the levels of a picture file, 0 to 255, brought to the size and colours of a model, channel by channel;
/// [`LevelTables`] makes elements of them. Returns true if the file has pixels that are not grey.
///
/// # Errors
/// As [`append_image`].
///
/// [`LevelTables`]: super::LevelTables
pub fn append_levels(file: &[u8], transform: &PictureTransform, limits: ImageLimits, to: &mut Vec<u8>) -> Result<bool> {
    let (picture, size) = decode_for(file, limits, transform)?;
    let has_colour = picture.has_colour();
    let (picture, _) = frame(picture, size, transform)?;
    elements::append_levels(&picture, transform, to);
    Ok(has_colour)
}

/// Appends the levels of a grey picture in memory, as [`append_levels`] does with a file of it.
///
/// # Errors
/// As [`append_image`].
pub fn append_grey_levels(picture: Luma, transform: &PictureTransform, to: &mut Vec<u8>) -> Result<()> {
    let Luma { width, height, pixels } = picture;
    let (picture, _) = frame(Raster { width, height, channels: 1, pixels }, [width, height], transform)?;
    elements::append_levels(&picture, transform, to);
    Ok(())
}

/// Converts a drawing to the size and polarity of a model.
///
/// # Errors
/// [`Error::InvalidInput`] when a polarity is stated to a model that takes pictures as they are, and
/// [`Error::Internal`] when resizing fails, which valid sizes rule out.
pub fn prepare(picture: Luma, transform: &DrawingTransform, choice: PolarityChoice) -> Result<Prepared> {
    if transform.polarity == Polarity::AsIs {
        if choice != PolarityChoice::Auto {
            let problem = "the model takes images as they are; polarity is for models of drawings, so leave it out";
            return Err(Error::InvalidInput(problem.into()));
        }
        if transform.fit == Fit::Stretch {
            return as_it_is(picture, transform);
        }
    }
    let polarity = match choice {
        PolarityChoice::LightOnDark => Polarity::LightOnDark,
        PolarityChoice::DarkOnLight => Polarity::DarkOnLight,
        PolarityChoice::Auto => Background::estimate(&picture).polarity(&picture),
    };
    let inverted = polarity != transform.polarity && transform.polarity != Polarity::AsIs;
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

/// Stretches a picture to the size of a model, and changes nothing else.
fn as_it_is(picture: Luma, DrawingTransform { width, height, .. }: &DrawingTransform) -> Result<Prepared> {
    let is_of_size = (picture.width, picture.height) == (*width, *height);
    let picture = if is_of_size { picture } else { picture.resized(Crop::whole(&picture), *width, *height)? };
    Ok(Prepared { pixels: picture.pixels, inverted: false })
}
