//! Decodes the plainest PNG files without set-up: small, 8-bit grey, not interlaced, one data chunk. Clients
//! of digit models send such files, and a general decoder spends most of its time on buffers and tables for
//! them.
//!
//! All other files, and all flawed ones, are left to the general decoder: this one never refuses a file.

use super::container::PNG_SIGNATURE;
use super::luma::Luma;

/// The size above which a picture gains nothing by this decoder.
const MAX_PIXELS: u64 = 128 * 128;

/// The row above the first one.
static BLACK: [u8; MAX_PIXELS as usize] = [0; MAX_PIXELS as usize];

/// The header of an 8-bit grey picture without interlacing, after its size (PNG specification, section
/// 11.2.1): depth, colour type, compression, filter, interlace.
const PLAIN: [u8; 5] = [8, 0, 0, 0, 0];

/// Returns the picture if the file is of the plain kind and flawless.
pub(super) fn decode(file: &[u8], max_pixels: u64) -> Option<Luma> {
    let rest = file.strip_prefix(PNG_SIGNATURE)?;
    let (header, rest) = chunk(rest, b"IHDR")?;
    let (size, kind) = header.split_at_checked(8)?;
    let number = |at: usize| Some(u32::from_be_bytes(size.get(at..at + 4)?.try_into().ok()?));
    let (width, height) = (number(0)?, number(4)?);
    let pixels = u64::from(width) * u64::from(height);
    if kind != PLAIN || pixels == 0 || pixels > MAX_PIXELS.min(max_pixels) {
        return None;
    }
    let (data, rest) = chunk(rest, b"IDAT")?;
    chunk(rest, b"IEND")?;
    let pixels = unpack(data, width as usize, height as usize)?;
    Some(Luma { width, height, pixels })
}

/// Returns the data of a chunk of this type with a valid checksum, and the bytes after it.
fn chunk<'a>(bytes: &'a [u8], kind: &[u8; 4]) -> Option<(&'a [u8], &'a [u8])> {
    let length = u32::from_be_bytes(*bytes.first_chunk()?) as usize;
    let typed = bytes.get(4..length.checked_add(8)?)?;
    let sum = bytes.get(length + 8..)?.first_chunk()?;
    let data = typed.strip_prefix(kind)?;
    (crc32fast::hash(typed) == u32::from_be_bytes(*sum)).then(|| (data, &bytes[length + 12..]))
}

/// Returns the pixels of a zlib stream of filtered rows that has exactly the right length.
fn unpack(data: &[u8], width: usize, height: usize) -> Option<Vec<u8>> {
    let mut rows = vec![0; height * (width + 1)];
    let mut inflater = fdeflate::Decompressor::new();
    let (_, produced) = inflater.read(data, &mut rows, 0, true).ok()?;
    if !inflater.is_done() || produced != rows.len() {
        return None;
    }
    let mut pixels = Vec::with_capacity(width * height);
    for row in rows.chunks_exact(width + 1) {
        let start = pixels.len();
        pixels.extend_from_slice(&row[1..]);
        let (above, current) = pixels.split_at_mut(start);
        unfilter(row[0], above.rchunks_exact(width).next().unwrap_or(&BLACK[..width]), current)?;
    }
    Some(pixels)
}

/// Reverts the filter of a row in place (PNG specification, section 9.2), for pixels of one byte.
fn unfilter(filter: u8, above: &[u8], row: &mut [u8]) -> Option<()> {
    let (mut left, mut up_left) = (0u8, 0u8);
    match filter {
        0 => {}
        1 => {
            for pixel in row {
                *pixel = pixel.wrapping_add(left);
                left = *pixel;
            }
        }
        2 => row.iter_mut().zip(above).for_each(|(pixel, up)| *pixel = pixel.wrapping_add(*up)),
        3 => {
            for (pixel, &up) in row.iter_mut().zip(above) {
                *pixel = pixel.wrapping_add(u8::midpoint(left, up));
                left = *pixel;
            }
        }
        4 => {
            for (pixel, &up) in row.iter_mut().zip(above) {
                *pixel = pixel.wrapping_add(paeth(left, up, up_left));
                (left, up_left) = (*pixel, up);
            }
        }
        _ => return None,
    }
    Some(())
}

/// Returns the neighbour nearest to left + up - up-left.
fn paeth(left: u8, up: u8, up_left: u8) -> u8 {
    let (a, b, c) = (i16::from(left), i16::from(up), i16::from(up_left));
    let (to_left, to_up, to_up_left) = ((b - c).abs(), (a - c).abs(), (a + b - 2 * c).abs());
    if to_left <= to_up && to_left <= to_up_left {
        left
    } else if to_up <= to_up_left {
        up
    } else {
        up_left
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ::image::codecs::png::{CompressionType, FilterType, PngEncoder};
    use ::image::{ExtendedColorType, ImageEncoder};
    use proptest::prelude::*;

    fn encode(width: u32, pixels: &[u8], filter: FilterType, color: ExtendedColorType) -> Vec<u8> {
        let mut file = Vec::new();
        let height = pixels.len() as u32 / width / u32::from(color.channel_count());
        let encoder = PngEncoder::new_with_quality(&mut file, CompressionType::Default, filter);
        encoder.write_image(pixels, width, height, color).unwrap();
        file
    }

    #[test]
    fn other_kinds_and_sizes_are_left_to_the_general_decoder() {
        let grey = encode(4, &[7; 16], FilterType::NoFilter, ExtendedColorType::L8);
        assert!(decode(&grey, 16).is_some() && decode(&grey, 15).is_none());
        assert!(decode(&encode(4, &[7; 48], FilterType::NoFilter, ExtendedColorType::Rgb8), 1000).is_none());
        assert!(
            decode(&encode(129, &vec![7; 129 * 128], FilterType::NoFilter, ExtendedColorType::L8), 1 << 20).is_none()
        );
    }

    #[test]
    fn no_flawed_file_is_decoded() {
        let file = encode(5, &(0..25).map(|i| i * 9).collect::<Vec<u8>>(), FilterType::Paeth, ExtendedColorType::L8);
        for length in 0..file.len() {
            assert!(decode(&file[..length], 1000).is_none(), "{length}");
        }
        for place in 0..file.len() {
            let mut changed = file.clone();
            changed[place] ^= 0x10;
            assert!(decode(&changed, 1000).is_none(), "{place}");
        }
    }

    proptest! {
        #[test]
        fn every_filter_and_size_gives_back_the_pixels(width in 1usize..40, height in 1usize..20, seed: u64, smooth: bool) {
            let pixel = |index: usize| {
                let noise = (seed.wrapping_mul(index as u64 + 1) >> 40) as u8;
                if smooth { (index % width * 3 + index / width * 5) as u8 ^ (noise & 3) } else { noise }
            };
            let pixels: Vec<u8> = (0..width * height).map(pixel).collect();
            for filter in [FilterType::NoFilter, FilterType::Sub, FilterType::Up, FilterType::Avg, FilterType::Paeth, FilterType::Adaptive] {
                let file = encode(width as u32, &pixels, filter, ExtendedColorType::L8);
                let decoded = decode(&file, 1000).unwrap();
                prop_assert_eq!((decoded.width as usize, decoded.height as usize), (width, height));
                prop_assert_eq!(&decoded.pixels, &pixels);
            }
        }
    }
}
