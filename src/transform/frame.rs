//! Brings a picture to the size of a model: stretched, cropped or padded.

use super::geometry::Geometry;
use super::raster::{Raster, luma};
use super::resample::{Window, resample};
use crate::error::{Error, Result};
use crate::signature::{Colour, PictureFit, PictureTransform};

/// The greatest length of a scaled picture's side, of which only a part is ever computed.
const MAX_SIDE: u64 = 1 << 24;

/// The greatest length of a picture's side, by which the memory for weights is bounded.
const MAX_PICTURE_SIDE: u32 = 1 << 20;

/// The place of a scaled picture in the input of a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Placement {
    /// The size of the scaled picture.
    pub(super) resized: [u64; 2],
    /// The place of its top left corner; negative where it is cropped.
    pub(super) corner: [i64; 2],
}

impl Placement {
    /// Returns the place of a picture of this size. Rounds as torchvision and Ultralytics do.
    ///
    /// # Errors
    /// [`Error::InvalidInput`] for a picture too narrow to be cropped.
    pub(super) fn of(picture: [u32; 2], transform: &PictureTransform) -> Result<Self> {
        let input = [transform.width, transform.height];
        match transform.fit {
            PictureFit::Stretch => Ok(Self { resized: input.map(u64::from), corner: [0, 0] }),
            PictureFit::Letterbox { .. } => Ok(Self::padded(picture, input)),
            PictureFit::Crop { crop_fraction, shortest_side } => {
                let covered = match (shortest_side, crop_fraction) {
                    (Some(side), _) => [f64::from(side); 2],
                    (None, Some(fraction)) => input.map(|side| (f64::from(side) / fraction).floor()),
                    (None, None) => input.map(f64::from),
                };
                Self::cropped(picture, input, covered)
            }
        }
    }

    fn padded(picture: [u32; 2], input: [u32; 2]) -> Self {
        let ratio = padded_ratio(picture, input);
        let side = |axis: usize| {
            let scaled = (f64::from(picture[axis]) * ratio).round_ties_even() as u64;
            scaled.clamp(1, u64::from(input[axis]))
        };
        let resized = [side(0), side(1)];
        let bar = |axis: usize| {
            let free = f64::from(input[axis]) - resized[axis] as f64;
            (free / 2.0 - 0.1).round_ties_even() as i64
        };
        Self { resized, corner: [bar(0), bar(1)] }
    }

    fn cropped(picture: [u32; 2], input: [u32; 2], covered: [f64; 2]) -> Result<Self> {
        let [width, height] = picture.map(f64::from);
        let resized = if covered[0] == covered[1] {
            let (short, long) = (width.min(height), width.max(height));
            // As torchvision: the shorter side is met, and the longer one is cut to a whole number.
            let longer = (covered[0] * long / short) as u64;
            let short = covered[0] as u64;
            if width <= height { [short, longer] } else { [longer, short] }
        } else {
            let ratio = (width / covered[0]).min(height / covered[1]);
            [width, height].map(|side| (side / ratio).round_ties_even() as u64)
        };
        if resized.iter().any(|side| *side > MAX_SIDE) {
            return Err(Error::InvalidInput(format!(
                "the image has {} × {} pixels, too narrow a strip to take its middle of {} × {}",
                picture[0], picture[1], input[0], input[1]
            )));
        }
        let corner = |axis: usize| {
            let over = resized[axis] as f64 - f64::from(input[axis]);
            -((over / 2.0).round_ties_even() as i64)
        };
        Ok(Self { resized, corner: [corner(0), corner(1)] })
    }

    /// Returns the part of the scaled picture that the input shows, and where in the input it begins.
    fn shown(&self, input: [u32; 2]) -> (Window, [u32; 2]) {
        let part = |axis: usize| {
            let begin = self.corner[axis].max(0) as u64;
            let hidden = (-self.corner[axis]).max(0) as u64;
            let size = (self.resized[axis] - hidden).min(u64::from(input[axis]) - begin);
            (hidden, begin as u32, size as u32)
        };
        let ((hidden_x, x, width), (hidden_y, y, height)) = (part(0), part(1));
        (Window { corner: [hidden_x, hidden_y], size: [width, height] }, [x, y])
    }
}

/// Returns the ratio by which a picture is scaled until it fits.
fn padded_ratio(picture: [u32; 2], input: [u32; 2]) -> f64 {
    (f64::from(input[0]) / f64::from(picture[0])).min(f64::from(input[1]) / f64::from(picture[1]))
}

/// Brings a picture to the size and the channels of a model, and says where it lies there. A grey one stays so for a
/// model of colours. `size` is that of the picture that was sent, upright: it may have been decoded at a part of it.
///
/// # Errors
/// As [`Placement::of`].
pub(super) fn frame(picture: Raster, size: [u32; 2], transform: &PictureTransform) -> Result<(Raster, Geometry)> {
    let [width, height] = size;
    if width.max(height) > MAX_PICTURE_SIDE {
        return Err(Error::InvalidInput(format!(
            "the image has {width} × {height} pixels; a side may have {MAX_PICTURE_SIDE}"
        )));
    }
    let is_grey = transform.colour == Colour::Grey;
    let picture = if is_grey { picture.into_grey() } else { picture };
    let input = [transform.width, transform.height];
    let placement = Placement::of(size, transform)?;
    let (window, corner) = placement.shown(input);
    let is_whole = [u64::from(picture.width), u64::from(picture.height)] == placement.resized
        && window == Window { corner: [0, 0], size: [picture.width, picture.height] };
    let part = match is_whole {
        true => picture,
        false => resample(&picture, placement.resized, window, transform.interpolation, transform.antialias),
    };
    let framed = match transform.fit {
        PictureFit::Letterbox { padding } if window.size != input => {
            let padding = if is_grey { [luma(&padding); 3] } else { padding };
            padded(part, input, corner, padding)
        }
        PictureFit::Letterbox { .. } | PictureFit::Stretch | PictureFit::Crop { .. } => part,
    };
    let Placement { resized, corner } = placement;
    let geometry = Geometry::placed(size, input, resized, corner);
    Ok((
        framed,
        match transform.fit {
            PictureFit::Letterbox { .. } => geometry.with_ratio(padded_ratio(size, input)),
            PictureFit::Stretch | PictureFit::Crop { .. } => geometry,
        },
    ))
}

/// Puts a picture into a larger one of a plain colour.
fn padded(part: Raster, [width, height]: [u32; 2], [left, top]: [u32; 2], padding: [u8; 3]) -> Raster {
    let is_grey = padding[0] == padding[1] && padding[1] == padding[2];
    let part = if part.channels == 1 && is_grey { part } else { part.into_colour() };
    let channels = part.channels;
    let plain = if channels == 1 { &padding[..1] } else { &padding };
    let mut pixels = plain.repeat(width as usize * height as usize);
    let (row, length) = (width as usize * channels, part.width as usize * channels);
    for (y, source) in part.pixels.chunks_exact(length).enumerate() {
        let start = (top as usize + y) * row + left as usize * channels;
        pixels[start..start + length].copy_from_slice(source);
    }
    Raster { width, height, channels, pixels }
}
