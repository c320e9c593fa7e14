//! PNG files of pictures and of masks.

use std::io::{Cursor, Write};

use flate2::Compression;
use flate2::write::ZlibEncoder;
use image::codecs::png::{CompressionType, FilterType, PngEncoder};
use image::{ExtendedColorType, ImageEncoder};

use super::palette;
use super::segmentation::{ClassMap, NO_CLASS};
use crate::error::{Error, Result};
use crate::transform::container::push_chunk;
use crate::transform::raster::Raster;

impl Raster {
    /// Encodes the picture as a PNG file.
    ///
    /// # Errors
    /// [`Error::Internal`] when the encoder fails.
    pub fn png(&self) -> Result<Vec<u8>> {
        let mut file = Cursor::new(Vec::new());
        let kind = if self.channels == 1 { ExtendedColorType::L8 } else { ExtendedColorType::Rgb8 };
        PngEncoder::new_with_quality(&mut file, CompressionType::Fast, FilterType::Adaptive)
            .write_image(&self.pixels, self.width, self.height, kind)
            .map_err(|error| Error::internal("an image could not be encoded", error))?;
        Ok(file.into_inner())
    }
}

impl ClassMap {
    /// Encodes the map as a PNG file with a palette, whose pixels are the classes (PNG specification, section 11.2):
    /// [`NO_CLASS`] is transparent.
    ///
    /// # Errors
    /// [`Error::Internal`] when compression fails.
    pub fn png(&self) -> Result<Vec<u8>> {
        let failed = |error: std::io::Error| Error::internal("a mask could not be encoded", error);
        let mut header = [self.width.to_be_bytes(), self.height.to_be_bytes()].concat();
        // Eight bits, a palette, and the only ways of compression, filters and order.
        header.extend([8, 3, 0, 0, 0]);
        let mut alpha = [255; 256];
        alpha[usize::from(NO_CLASS)] = 0;
        let mut packed = ZlibEncoder::new(Vec::new(), Compression::fast());
        for row in self.classes.chunks_exact((self.width as usize).max(1)) {
            // A row begins with its filter, and palettes are best left without.
            packed.write_all(&[0]).and_then(|()| packed.write_all(row)).map_err(failed)?;
        }
        let mut file = b"\x89PNG\r\n\x1a\n".to_vec();
        push_chunk(&mut file, b"IHDR", &header);
        push_chunk(&mut file, b"PLTE", palette::of_mask().as_flattened());
        push_chunk(&mut file, b"tRNS", &alpha);
        push_chunk(&mut file, b"IDAT", &packed.finish().map_err(failed)?);
        push_chunk(&mut file, b"IEND", &[]);
        Ok(file)
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "the files are those that the tests made")]
mod tests {
    use super::*;

    #[test]
    fn a_mask_is_read_back_in_its_colours() {
        let map = ClassMap { width: 3, height: 2, classes: vec![0, 1, 2, NO_CLASS, 1, 0] };
        let file = map.png().unwrap();
        let read = image::load_from_memory(&file).unwrap().into_rgba8();
        let expected: Vec<u8> = map
            .classes
            .iter()
            .flat_map(|class| match *class {
                NO_CLASS => [0; 4],
                class => {
                    let [red, green, blue] = palette::colour(class.into());
                    [red, green, blue, 255]
                }
            })
            .collect();
        assert_eq!((read.width(), read.height(), read.into_raw()), (3, 2, expected));
    }

    #[test]
    fn pictures_are_read_back_as_they_were() {
        let colour = Raster { width: 2, height: 1, channels: 3, pixels: vec![1, 2, 3, 250, 0, 7] };
        let read = image::load_from_memory(&colour.png().unwrap()).unwrap();
        assert_eq!(read.into_rgb8().into_raw(), colour.pixels);
        let grey = Raster { width: 1, height: 2, channels: 1, pixels: vec![9, 200] };
        assert_eq!(image::load_from_memory(&grey.png().unwrap()).unwrap().into_luma8().into_raw(), grey.pixels);
    }
}
