//! TIFF files of a palette, which the decoder refuses, and those whose fields it would read without end.
//!
//! Such a file is a grey one whose levels are places in a table of colours. The copy that the decoder gets says so: one
//! value of its first directory is another. What the decoder gives is looked up in the table.

use std::io::Cursor;

use ::image::codecs::tiff::TiffDecoder;
use ::image::metadata::Orientation;
use ::image::{ColorType, ImageDecoder, ImageResult};

const BITS_PER_SAMPLE: u16 = 258;
const PHOTOMETRIC_INTERPRETATION: u16 = 262;
const SAMPLES_PER_PIXEL: u16 = 277;
const COLOR_MAP: u16 = 320;

const BLACK_IS_ZERO: u16 = 1;
const RGB_PALETTE: u16 = 3;

/// The fields that the decoder reads whole before it can be given limits, at 32 bytes a value, and the most values that
/// they may need: bits, kinds and meanings of samples, and the tables of JPEG within TIFF.
const READ_AT_ONCE: [(u16, usize); 4] = [(BITS_PER_SAMPLE, 64), (338, 64), (339, 64), (347, 1 << 16)];

/// The type of a field of 16-bit numbers.
const SHORT: u16 = 3;

/// A file that the decoder takes, and the colours of its levels.
pub(super) struct Paletted {
    pub(super) file: Vec<u8>,
    pub(super) colours: Vec<[u8; 3]>,
}

/// Reads a file in its byte order; `None` beyond its end.
struct Bytes<'a> {
    file: &'a [u8],
    is_little: bool,
}

impl Bytes<'_> {
    fn short(&self, at: usize) -> Option<u16> {
        let bytes = *self.file.get(at..)?.first_chunk::<2>()?;
        Some(if self.is_little { u16::from_le_bytes(bytes) } else { u16::from_be_bytes(bytes) })
    }

    fn long(&self, at: usize) -> Option<usize> {
        let bytes = *self.file.get(at..)?.first_chunk::<4>()?;
        let long = if self.is_little { u32::from_le_bytes(bytes) } else { u32::from_be_bytes(bytes) };
        usize::try_from(long).ok()
    }

    /// Returns the places of the fields of the first directory.
    fn fields(&self) -> impl Iterator<Item = usize> {
        let directory = self.long(4).unwrap_or_default();
        let count = self.short(directory).unwrap_or_default();
        (0..usize::from(count)).map(move |index| directory + 2 + 12 * index)
    }

    /// Returns the place of a field of the first directory.
    fn field(&self, tag: u16) -> Option<usize> {
        self.fields().find(|at| self.short(*at) == Some(tag))
    }

    /// Returns the one number of a field of 16-bit numbers.
    fn number(&self, tag: u16) -> Option<u16> {
        let at = self.field(tag)?;
        (self.short(at + 2)? == SHORT && self.long(at + 4)? == 1).then(|| self.short(at + 8))?
    }

    /// Returns the colours of a map: all reds, all greens, all blues, of which the upper eight bits count.
    fn colours(&self) -> Option<Vec<[u8; 3]>> {
        let at = self.field(COLOR_MAP)?;
        let count = self.long(at + 4)? / 3;
        if self.short(at + 2)? != SHORT || count != 256 {
            return None;
        }
        let values = self.long(at + 8)?;
        let level = |channel: usize, place: usize| self.short(values + 2 * (channel * count + place));
        let colour = |place| Some([level(0, place)?, level(1, place)?, level(2, place)?]);
        let colours: Vec<[u16; 3]> = (0..count).map(colour).collect::<Option<_>>()?;
        // Some programs write eight bits into the sixteen, as libtiff notes.
        let shift = if colours.iter().flatten().all(|level| *level < 256) { 0 } else { 8 };
        Some(colours.into_iter().map(|colour| colour.map(|level| (level >> shift) as u8)).collect())
    }
}

/// Returns true if a field that the decoder reads at once has more values than a picture can need.
pub(super) fn has_endless_fields(file: &[u8]) -> bool {
    let bytes = Bytes { file, is_little: file.starts_with(b"II") };
    bytes.fields().any(|at| {
        let most = READ_AT_ONCE.iter().find(|(tag, _)| bytes.short(at) == Some(*tag)).map(|(_, most)| *most);
        most.is_some_and(|most| bytes.long(at + 4).is_some_and(|count| count > most))
    })
}

impl Paletted {
    /// Returns the file as one of grey levels; `None` unless it has a palette of 8 bits.
    pub(super) fn of(file: &[u8]) -> Option<Self> {
        let bytes = Bytes { file, is_little: file.starts_with(b"II") };
        if bytes.number(PHOTOMETRIC_INTERPRETATION)? != RGB_PALETTE || bytes.number(BITS_PER_SAMPLE)? != 8 {
            return None;
        }
        if bytes.number(SAMPLES_PER_PIXEL).is_some_and(|samples| samples != 1) {
            return None;
        }
        let colours = bytes.colours()?;
        let at = bytes.field(PHOTOMETRIC_INTERPRETATION)? + 8;
        let grey = if bytes.is_little { BLACK_IS_ZERO.to_le_bytes() } else { BLACK_IS_ZERO.to_be_bytes() };
        let mut file = file.to_vec();
        file.get_mut(at..at + 2)?.copy_from_slice(&grey);
        Some(Self { file, colours })
    }
}

/// Gives the colours of a file of a palette.
pub(super) struct PaletteDecoder {
    pub(super) levels: TiffDecoder<Cursor<Vec<u8>>>,
    pub(super) colours: Vec<[u8; 3]>,
}

impl ImageDecoder for PaletteDecoder {
    fn dimensions(&self) -> (u32, u32) {
        self.levels.dimensions()
    }

    fn color_type(&self) -> ColorType {
        ColorType::Rgb8
    }

    fn orientation(&mut self) -> ImageResult<Orientation> {
        self.levels.orientation()
    }

    fn read_image(self, pixels: &mut [u8]) -> ImageResult<()> {
        let mut levels = vec![0; pixels.len() / 3];
        self.levels.read_image(&mut levels)?;
        for (pixel, level) in pixels.as_chunks_mut::<3>().0.iter_mut().zip(levels) {
            // There are as many colours as there are levels.
            *pixel = self.colours.get(usize::from(level)).copied().unwrap_or_default();
        }
        Ok(())
    }

    fn read_image_boxed(self: Box<Self>, pixels: &mut [u8]) -> ImageResult<()> {
        (*self).read_image(pixels)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transform::{ImageLimits, decode, decode_picture};

    const LIMITS: ImageLimits = ImageLimits { max_pixels: 1 << 16 };

    /// A file of 2 × 2 pixels, uncompressed: the levels 0, 1, 2 and 255 of a palette.
    fn file(is_little: bool, bits: u16, scale: u16) -> Vec<u8> {
        let short = |value: u16| if is_little { value.to_le_bytes() } else { value.to_be_bytes() };
        let long = |value: u32| if is_little { value.to_le_bytes() } else { value.to_be_bytes() };
        let mut file = if is_little { b"II*\0".to_vec() } else { b"MM\0*".to_vec() };
        file.extend(long(12));
        file.extend([0, 1, 2, 255]);
        let fields: [(u16, u16, u32, u32); 9] = [
            (256, 3, 1, 2),
            (257, 3, 1, 2),
            (BITS_PER_SAMPLE, 3, 1, u32::from(bits)),
            (259, 3, 1, 1),
            (PHOTOMETRIC_INTERPRETATION, 3, 1, u32::from(RGB_PALETTE)),
            (273, 4, 1, 8),
            (SAMPLES_PER_PIXEL, 3, 1, 1),
            (279, 4, 1, 4),
            (COLOR_MAP, 3, 768, 12 + 2 + 9 * 12 + 4),
        ];
        file.extend(short(fields.len() as u16));
        for (tag, kind, count, value) in fields {
            file.extend(short(tag));
            file.extend(short(kind));
            file.extend(long(count));
            if kind == SHORT && count == 1 {
                file.extend(short(value as u16));
                file.extend([0, 0]);
            } else {
                file.extend(long(value));
            }
        }
        file.extend(long(0));
        for channel in 0..3u16 {
            (0..256u16).for_each(|level| file.extend(short((level + channel * 50).min(255) * scale)));
        }
        file
    }

    #[test]
    fn levels_become_colours_in_either_byte_order() {
        let expected = [0, 50, 100, 1, 51, 101, 2, 52, 102, 255, 255, 255];
        for (is_little, scale) in [(true, 256), (false, 256), (true, 257), (true, 1)] {
            let picture = decode_picture(&file(is_little, 8, scale), LIMITS, [255; 3]).unwrap();
            assert_eq!((picture.width, picture.height, picture.channels), (2, 2, 3));
            assert_eq!(picture.pixels, expected, "{is_little} {scale}");
        }
        assert_eq!(decode(&file(true, 8, 256), LIMITS).unwrap().pixels[3], 255);
    }

    #[test]
    fn a_field_of_more_values_than_a_picture_needs_is_refused() {
        let whole = file(true, 8, 256);
        assert!(!has_endless_fields(&whole));
        let at = Bytes { file: &whole, is_little: true }.field(BITS_PER_SAMPLE).unwrap();
        for count in [65u32, u32::MAX] {
            let mut many = whole.clone();
            many[at + 4..at + 8].copy_from_slice(&count.to_le_bytes());
            assert!(has_endless_fields(&many));
            assert!(decode_picture(&many, LIMITS, [255; 3]).is_err());
        }
        assert!(!has_endless_fields(&whole[..at]) && !has_endless_fields(b"II*\0"));
    }

    #[test]
    fn damaged_and_other_palettes_are_refused_without_a_panic() {
        assert!(decode_picture(&file(true, 4, 256), LIMITS, [255; 3]).is_err());
        let whole = file(true, 8, 256);
        for at in 0..whole.len() {
            assert!(decode_picture(&whole[..at], LIMITS, [255; 3]).is_err(), "{at}");
            let mut changed = whole.clone();
            changed[at] = !changed[at];
            drop(decode_picture(&changed, LIMITS, [255; 3]));
        }
    }
}
