//! Decodes image files: to grey for drawings, and to grey or colours for pictures.

use std::io::Cursor;

use ::image::codecs::{
    bmp::BmpDecoder, gif::GifDecoder, jpeg::JpegDecoder, png::PngDecoder, tiff::TiffDecoder, webp::WebPDecoder,
};
use ::image::metadata::Orientation;
use ::image::{ColorType, DynamicImage, ImageDecoder, ImageError, Limits};

use super::alpha;
use super::container::{self, Format};
use super::jpeg;
use super::luma::Luma;
use super::raster::Raster;
use super::small_png;
use super::tiff_palette::{PaletteDecoder, Paletted, has_endless_fields};
use super::webp_tables;
use crate::error::{Error, Result};

/// The limits above which an image is refused.
#[derive(Debug, Clone, Copy)]
pub struct ImageLimits {
    /// The greatest width × height that is decoded.
    pub max_pixels: u64,
}

/// The bytes that the decoder of PNG may allocate per pixel, and besides for colour profiles and texts.
const PNG_BYTES_PER_PIXEL: u64 = 8;
const PNG_BYTES: u64 = 16 << 20;

/// The bytes of a pixel of a TIFF file, four channels of 16 bits, and what its decoder may allocate besides.
const TIFF_BYTES_PER_PIXEL: u64 = 8;
const TIFF_BYTES: u64 = 16 << 20;

/// The pixels above which the decoder of GIF refuses a frame.
const MAX_GIF_PIXELS: u64 = 12_500_000;

/// Returns true if the header of the file guarantees at most this many pixels. Only PNG declares its size
/// at a fixed place; the answer for every other file is false.
pub fn pixels_at_most(bytes: &[u8], pixels: u64) -> bool {
    container::png_dimensions(bytes).is_some_and(|size| pixels_of(size) <= pixels)
}

/// Returns what decoding a file costs, in bytes of an ordinary photo: those of the file, or a third of its pixels if that
/// is more. Only PNG declares them at a fixed place. A file of more pixels than the limit costs nothing: it is refused
/// before any of them is read.
pub fn effort(bytes: &[u8], limits: ImageLimits) -> u64 {
    let pixels = container::png_dimensions(bytes).map_or(0, pixels_of);
    if pixels > limits.max_pixels { 0 } else { (bytes.len() as u64).max(pixels / 3) }
}

/// Decodes an image file to grey (ITU-R BT.709 luma), with its EXIF orientation applied.
///
/// Transparent parts are filled so that the drawing stands out (`alpha`). Animations yield their first frame. JPEG
/// files of four colours (CMYK and YCCK) are taken as Adobe writes them, inverted and without a profile. The bytes of
/// the file decide its format.
///
/// # Errors
/// [`Error::UnsupportedMedia`] for another format or a variant that is not decoded, [`Error::TooLarge`] above the pixel
/// limit, which is checked before any pixel is allocated, [`Error::InvalidInput`] for a damaged file.
pub fn decode(file: &[u8], limits: ImageLimits) -> Result<Luma> {
    if let Some(picture) = small_png::decode(file, limits.max_pixels) {
        return Ok(picture);
    }
    Opened::open(file, limits)?.read()
}

/// Decodes an image file to a picture of its own colours, upright, as [`decode`] does but for three things: transparent
/// parts show the background, of 16 bits the upper eight count, and grey stays grey.
///
/// # Errors
/// As [`decode`].
pub fn decode_picture(file: &[u8], limits: ImageLimits, background: [u8; 3]) -> Result<Raster> {
    if let Some(Luma { width, height, pixels }) = small_png::decode(file, limits.max_pixels) {
        return Ok(Raster { width, height, channels: 1, pixels });
    }
    Opened::open(file, limits)?.picture(background)
}

/// Returns the width and height that an image file declares, as they are with its EXIF orientation applied.
///
/// # Errors
/// As [`decode`].
pub fn size(file: &[u8], limits: ImageLimits) -> Result<(u32, u32)> {
    let mut opened = Opened::open(file, limits)?;
    let (width, height) = opened.decoder.dimensions();
    Ok(if exchanges_sides(opened.orientation()) { (height, width) } else { (width, height) })
}

/// A file whose header was read.
struct Opened<'a> {
    format: Format,
    decoder: Box<dyn ImageDecoder + 'a>,
    max_pixels: u64,
}

impl<'a> Opened<'a> {
    /// Reads the header. Refuses a file that breaks off and one of too many pixels.
    fn open(file: &'a [u8], limits: ImageLimits) -> Result<Self> {
        let format = container::sniff(file)?;
        let mut max_pixels = limits.max_pixels;
        let failed = |error| damaged(&error, format, limits.max_pixels);
        let decoder: Box<dyn ImageDecoder + 'a> = match format {
            Format::Png => {
                let whole = container::whole_png(file)?;
                let mut allowed = Limits::no_limits();
                let pixels = container::png_dimensions(file).map_or(max_pixels, pixels_of).min(max_pixels);
                allowed.max_alloc = Some(pixels.saturating_mul(PNG_BYTES_PER_PIXEL).saturating_add(PNG_BYTES));
                Box::new(PngDecoder::with_limits(Cursor::new(whole), allowed).map_err(failed)?)
            }
            Format::Jpeg => {
                let whole = jpeg::whole(file, max_pixels)?;
                Box::new(JpegDecoder::new(Cursor::new(whole)).map_err(failed)?)
            }
            Format::WebP => {
                let whole = container::whole_webp(file)?;
                webp_tables::check(whole, max_pixels)?;
                Box::new(WebPDecoder::new(Cursor::new(whole)).map_err(failed)?)
            }
            Format::Gif => {
                max_pixels = max_pixels.min(MAX_GIF_PIXELS);
                Box::new(GifDecoder::new(Cursor::new(file)).map_err(failed)?)
            }
            Format::Bmp => Box::new(BmpDecoder::new(Cursor::new(file)).map_err(failed)?),
            Format::Tiff if has_endless_fields(file) => {
                return Err(Error::InvalidInput(
                    "the TIFF file has a field of more values than a picture needs".into(),
                ));
            }
            Format::Tiff => match Paletted::of(file) {
                None => Box::new(tiff(file, max_pixels).map_err(failed)?),
                Some(Paletted { file, colours }) => {
                    let levels = tiff(file, max_pixels).map_err(failed)?;
                    Box::new(PaletteDecoder { levels, colours })
                }
            },
        };
        let (width, height) = decoder.dimensions();
        check_pixels((width, height), max_pixels)?;
        if width == 0 || height == 0 {
            return Err(Error::InvalidInput(format!(
                "the {} file has no pixels, or too many on a side",
                format.name()
            )));
        }
        Ok(Self { format, decoder, max_pixels })
    }

    /// Returns the orientation. With a damaged EXIF block only that is lost.
    fn orientation(&mut self) -> Orientation {
        self.decoder.orientation().unwrap_or(Orientation::NoTransforms)
    }

    fn picture(mut self, background: [u8; 3]) -> Result<Raster> {
        let (width, height) = self.decoder.dimensions();
        let orientation = self.orientation();
        let failed = |error| damaged(&error, self.format, self.max_pixels);
        let channels = match self.decoder.color_type() {
            ColorType::L8 => Some(1),
            ColorType::Rgb8 => Some(3),
            _ => None,
        };
        if let Some(channels) = channels.filter(|_| orientation == Orientation::NoTransforms) {
            let mut pixels = vec![0; self.decoder.total_bytes() as usize];
            self.decoder.read_image(&mut pixels).map_err(failed)?;
            return Ok(Raster { width, height, channels, pixels });
        }
        let mut picture = DynamicImage::from_decoder(self.decoder).map_err(failed)?;
        picture.apply_orientation(orientation);
        Raster::of(picture, background)
    }

    fn read(mut self) -> Result<Luma> {
        let (width, height) = self.decoder.dimensions();
        let orientation = self.orientation();
        let failed = |error| damaged(&error, self.format, self.max_pixels);
        if self.decoder.color_type() == ColorType::L8 && orientation == Orientation::NoTransforms {
            let mut pixels = vec![0; self.decoder.total_bytes() as usize];
            self.decoder.read_image(&mut pixels).map_err(failed)?;
            return Ok(Luma { width, height, pixels });
        }
        let mut picture = DynamicImage::from_decoder(self.decoder).map_err(failed)?;
        picture.apply_orientation(orientation);
        if picture.color().has_alpha() {
            return Ok(alpha::flatten(picture));
        }
        let grey = picture.into_luma8();
        Ok(Luma { width: grey.width(), height: grey.height(), pixels: grey.into_raw() })
    }
}

/// Opens a TIFF file, whose decoder may allocate what its pixels take, and as much again.
fn tiff<F: AsRef<[u8]>>(file: F, max_pixels: u64) -> std::result::Result<TiffDecoder<Cursor<F>>, ImageError> {
    let mut decoder = TiffDecoder::new(Cursor::new(file))?;
    let pixels = pixels_of(decoder.dimensions()).min(max_pixels);
    let mut allowed = Limits::no_limits();
    allowed.max_alloc = Some(pixels.saturating_mul(2 * TIFF_BYTES_PER_PIXEL).saturating_add(TIFF_BYTES));
    decoder.set_limits(allowed)?;
    Ok(decoder)
}

/// Refuses a picture of too many pixels.
pub(super) fn check_pixels((width, height): (u32, u32), max_pixels: u64) -> Result<()> {
    if pixels_of((width, height)) > max_pixels {
        let got = format!("{width} × {height} pixels");
        return Err(Error::TooLarge { what: "the image", limit: max_pixels, got });
    }
    Ok(())
}

/// Returns true if width and height of an upright picture are height and width of the file's.
pub(super) fn exchanges_sides(orientation: Orientation) -> bool {
    match orientation {
        Orientation::NoTransforms
        | Orientation::Rotate180
        | Orientation::FlipHorizontal
        | Orientation::FlipVertical => false,
        Orientation::Rotate90 | Orientation::Rotate270 | Orientation::Rotate90FlipH | Orientation::Rotate270FlipH => {
            true
        }
    }
}

fn pixels_of((width, height): (u32, u32)) -> u64 {
    u64::from(width) * u64::from(height)
}

/// Returns the error about a file of which something is missing or wrong.
pub(super) fn damaged_file(format: Format) -> Error {
    Error::InvalidInput(format!("the {} file is damaged and cannot be decoded", format.name()))
}

fn damaged(error: &ImageError, format: Format, max_pixels: u64) -> Error {
    match error {
        ImageError::Limits(_) => Error::TooLarge {
            what: "the image",
            limit: max_pixels,
            got: "a file that needs more memory to decode than so many pixels".into(),
        },
        ImageError::Unsupported(_) => Error::UnsupportedMedia(format!(
            "the {} file uses a feature of its format that is not supported",
            format.name()
        )),
        _ => damaged_file(format),
    }
}
