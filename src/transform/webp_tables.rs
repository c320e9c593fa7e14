//! Counts the tables of prefix codes that a lossless WebP asks for (RFC 9649, section 3), before its decoder sees it.
//!
//! A table takes kilobytes and a few bytes of the file, and a picture of one pixel may ask for 65,536 groups of five. What
//! comes before the tables is read here to know how many there are: the images of the transforms, and the one that gives
//! each part of the picture its group. No pixel is kept.

use crate::error::{Error, Result};

/// The most parts with codes of their own that libwebp's encoder makes of a picture.
const MOST_GROUPS: u32 = 2600;

/// The chunks that say how large a picture is, or hold one.
const KINDS: [&[u8; 4]; 4] = [b"VP8X", b"ANMF", b"VP8L", b"ALPH"];

const SIGNATURE: u32 = 0x2f;
const COLOUR_INDEXING: u32 = 3;
const SUBTRACT_GREEN: u32 = 2;

/// Symbols of the green code below this are levels, and those below the next one lengths of copies.
const LEVELS: u32 = 256;
const COPIES: u32 = LEVELS + 24;
const DISTANCES: u32 = 40;

/// The order in which the lengths of the codes of lengths are written.
const LENGTH_ORDER: [usize; 19] = [17, 18, 0, 1, 2, 3, 4, 5, 16, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15];

/// Refuses a file whose picture, or its transparency, asks for more tables than any encoder writes.
///
/// The file's chunks are whole. A picture of more than `max_pixels` is left to its decoder.
///
/// # Errors
/// [`Error::InvalidInput`], also for a stream that breaks the format before its tables.
pub(super) fn check(file: &[u8], max_pixels: u64) -> Result<()> {
    let mut canvas = None;
    let mut seen = [false; KINDS.len()];
    for (kind, data) in Chunks(file.get(12..).unwrap_or_default()) {
        let Some(place) = KINDS.iter().position(|known| **known == kind) else { continue };
        // Of several chunks of a kind the first counts.
        if std::mem::replace(&mut seen[place], true) {
            continue;
        }
        match &kind {
            b"VP8X" => canvas = size_at(data, 4),
            b"ANMF" => {
                let frame = size_at(data, 6);
                let parts = Chunks(data.get(16..).unwrap_or_default()).take(2);
                for (kind, data) in parts {
                    check_chunk(kind, data, frame, max_pixels)?;
                }
            }
            _ => check_chunk(kind, data, canvas, max_pixels)?,
        }
    }
    Ok(())
}

fn check_chunk(kind: [u8; 4], data: &[u8], size: Option<[u32; 2]>, max_pixels: u64) -> Result<()> {
    let mut bits = Bits { bytes: data, at: 0 };
    let stream = match (&kind, size) {
        (b"VP8L", _) => picture_size(&mut bits),
        // The header of transparency: its two lowest bits are 1 if it is compressed.
        (b"ALPH", Some(size)) if data.first().is_some_and(|header| header & 3 == 1) => bits.read(8).map(|_| size),
        _ => return Ok(()),
    };
    let broken = || Error::InvalidInput("the WebP file is damaged and cannot be decoded".into());
    let size = stream.ok_or_else(broken)?;
    if u64::from(size[0]) * u64::from(size[1]) > max_pixels {
        return Ok(());
    }
    let Groups { wanted, parts } = groups(&mut bits, size).ok_or_else(broken)?;
    if wanted > parts.min(MOST_GROUPS) {
        return Err(Error::InvalidInput(format!(
            "the WebP file asks for {wanted} groups of prefix codes for {parts} parts of its picture"
        )));
    }
    Ok(())
}

/// The chunks of a file: type and data.
struct Chunks<'a>(&'a [u8]);

impl<'a> Iterator for Chunks<'a> {
    type Item = ([u8; 4], &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let kind = *self.0.first_chunk::<4>()?;
        let length = u32::from_le_bytes(*self.0.get(4..)?.first_chunk()?) as usize;
        let data = self.0.get(8..length.checked_add(8)?)?;
        self.0 = self.0.get(8 + length + length % 2..).unwrap_or_default();
        Some((kind, data))
    }
}

/// Returns the width and height, of 24 bits each and less one, at a place.
fn size_at(data: &[u8], at: usize) -> Option<[u32; 2]> {
    let side = |at: usize| {
        let bytes = data.get(at..at + 3)?;
        Some(u32::from_le_bytes([bytes[0], bytes[1], bytes[2], 0]) + 1)
    };
    Some([side(at)?, side(at + 3)?])
}

/// Reads the header of a lossless picture.
fn picture_size(bits: &mut Bits<'_>) -> Option<[u32; 2]> {
    if bits.read(8)? != SIGNATURE {
        return None;
    }
    let size = [bits.read(14)? + 1, bits.read(14)? + 1];
    bits.read(4)?;
    Some(size)
}

/// The groups of codes that a picture asks for, and the parts that it has.
#[derive(Debug, PartialEq, Eq)]
struct Groups {
    wanted: u32,
    parts: u32,
}

/// Reads a stream up to its tables; `None` where it breaks the format.
fn groups(bits: &mut Bits<'_>, [mut width, height]: [u32; 2]) -> Option<Groups> {
    let mut seen = [false; 4];
    while bits.read(1)? == 1 {
        let transform = bits.read(2)?;
        if std::mem::replace(seen.get_mut(transform as usize)?, true) {
            return None;
        }
        match transform {
            SUBTRACT_GREEN => {}
            COLOUR_INDEXING => {
                let colours = bits.read(8)? + 1;
                greatest_group(bits, u64::from(colours))?;
                let packed = [(2, 3), (4, 2), (16, 1)].into_iter().find(|(most, _)| colours <= *most);
                width = width.div_ceil(1 << packed.map_or(0, |(_, shift)| shift));
            }
            _ => {
                let side = bits.read(3)? + 2;
                greatest_group(bits, u64::from(width.div_ceil(1 << side)) * u64::from(height.div_ceil(1 << side)))?;
            }
        }
    }
    cache_size(bits)?;
    if bits.read(1)? == 0 {
        return Some(Groups { wanted: 1, parts: 1 });
    }
    let side = bits.read(3)? + 2;
    let parts = width.div_ceil(1 << side) * height.div_ceil(1 << side);
    Some(Groups { wanted: greatest_group(bits, u64::from(parts))? + 1, parts })
}

/// Returns the symbols that a cache of colours adds to the green code.
fn cache_size(bits: &mut Bits<'_>) -> Option<u32> {
    if bits.read(1)? == 0 {
        return Some(0);
    }
    let size = bits.read(4)?;
    (1..=11).contains(&size).then(|| 1 << size)
}

/// Reads an image within the stream, and returns the greatest number that red and green make. Copies and colours of the
/// cache repeat what was there.
fn greatest_group(bits: &mut Bits<'_>, pixels: u64) -> Option<u32> {
    let cache = cache_size(bits)?;
    let green = Code::read(bits, COPIES + cache)?;
    let [red, blue, alpha] = [Code::read(bits, LEVELS)?, Code::read(bits, LEVELS)?, Code::read(bits, LEVELS)?];
    let distance = Code::read(bits, DISTANCES)?;
    let (mut at, mut greatest) = (0, 0);
    while at < pixels {
        let symbol = green.next(bits)?;
        if symbol < LEVELS {
            let high = red.next(bits)?;
            blue.next(bits)?;
            alpha.next(bits)?;
            greatest = greatest.max(high << 8 | symbol);
            at += 1;
        } else if symbol < COPIES {
            at += u64::from(prefixed(bits, symbol - LEVELS)?);
            let far = distance.next(bits)?;
            prefixed(bits, far)?;
        } else {
            at += 1;
        }
    }
    Some(greatest)
}

/// Reads the rest of a number that begins with a prefix.
fn prefixed(bits: &mut Bits<'_>, prefix: u32) -> Option<u32> {
    if prefix < 4 {
        return Some(prefix + 1);
    }
    let extra = (prefix - 2) >> 1;
    Some(((2 + (prefix & 1)) << extra) + bits.read(extra)? + 1)
}

/// A canonical prefix code.
#[derive(Debug)]
struct Code {
    /// How many codes have each length, from 1 on; none of a code of one symbol, which takes no bits.
    counts: [u32; 15],
    /// The symbols in the order of their codes.
    symbols: Vec<u32>,
}

impl Code {
    /// Reads a code of an alphabet of this size.
    fn read(bits: &mut Bits<'_>, alphabet: u32) -> Option<Self> {
        if bits.read(1)? == 0 {
            return Self::of(&lengths(bits, alphabet)?);
        }
        let has_two = bits.read(1)? == 1;
        let is_long = bits.read(1)?;
        let first = bits.read(1 + 7 * is_long)?;
        let second = if has_two { Some(bits.read(8)?) } else { None };
        if first >= alphabet || second.is_some_and(|second| second >= alphabet) {
            return None;
        }
        let mut counts = [0; 15];
        counts[0] = if has_two { 2 } else { 0 };
        Some(Self { counts, symbols: std::iter::once(first).chain(second).collect() })
    }

    /// Returns the code of symbols of these lengths; `None` unless it is complete.
    fn of(lengths: &[u8]) -> Option<Self> {
        let mut counts = [0u32; 15];
        let mut by_length: Vec<(u8, u32)> = (0u32..)
            .zip(lengths)
            .filter(|(_, length)| **length > 0)
            .map(|(symbol, length)| (*length, symbol))
            .collect();
        by_length.sort_unstable();
        let symbols: Vec<u32> = by_length.iter().map(|(_, symbol)| *symbol).collect();
        if symbols.len() < 2 {
            return (symbols.len() == 1).then_some(Self { counts, symbols });
        }
        by_length.iter().for_each(|(length, _)| counts[usize::from(*length) - 1] += 1);
        let used: u32 = (1u32..).zip(&counts).map(|(length, count)| count << (15 - length)).sum();
        (used == 1 << 15).then_some(Self { counts, symbols })
    }

    /// Reads a symbol.
    fn next(&self, bits: &mut Bits<'_>) -> Option<u32> {
        if let [alone] = self.symbols.as_slice() {
            return Some(*alone);
        }
        let (mut code, mut first, mut index) = (0, 0, 0);
        for count in self.counts {
            code |= bits.read(1)?;
            if code < first + count {
                return self.symbols.get((index + code - first) as usize).copied();
            }
            index += count;
            first = (first + count) << 1;
            code <<= 1;
        }
        None
    }
}

/// Reads the lengths of the codes of an alphabet.
fn lengths(bits: &mut Bits<'_>, alphabet: u32) -> Option<Vec<u8>> {
    let mut of_lengths = [0; 19];
    let count = 4 + bits.read(4)? as usize;
    for place in LENGTH_ORDER.get(..count)? {
        of_lengths[*place] = bits.read(3)? as u8;
    }
    let code = Code::of(&of_lengths)?;
    let mut left = alphabet;
    if bits.read(1)? == 1 {
        let width = 2 + 2 * bits.read(3)?;
        left = 2 + bits.read(width)?;
        if left > alphabet {
            return None;
        }
    }
    let alphabet = alphabet as usize;
    let (mut lengths, mut previous) = (Vec::with_capacity(alphabet), 8);
    while lengths.len() < alphabet && left > 0 {
        left -= 1;
        let (length, repeats) = match code.next(bits)? {
            16 => (previous, 3 + bits.read(2)?),
            17 => (0, 3 + bits.read(3)?),
            18 => (0, 11 + bits.read(7)?),
            length => (length as u8, 1),
        };
        if length > 0 {
            previous = length;
        }
        let end = lengths.len() + repeats as usize;
        if end > alphabet {
            return None;
        }
        lengths.resize(end, length);
    }
    lengths.resize(alphabet, 0);
    Some(lengths)
}

/// Reads bits, of each byte the lowest first.
struct Bits<'a> {
    bytes: &'a [u8],
    /// The number of bits before.
    at: usize,
}

impl Bits<'_> {
    /// Returns the next bits as a number, at most 25; `None` beyond the end.
    fn read(&mut self, count: u32) -> Option<u32> {
        let mut number = 0u64;
        let (byte, shift) = (self.at / 8, self.at % 8);
        let end = self.at + count as usize;
        let bytes = self.bytes.get(byte..end.div_ceil(8))?;
        for (place, byte) in bytes.iter().take(5).enumerate() {
            number |= u64::from(*byte) << (8 * place);
        }
        self.at = end;
        Some((number >> shift) as u32 & ((1 << count) - 1))
    }
}

#[cfg(test)]
mod tests {
    use image::codecs::webp::WebPEncoder;
    use image::{ExtendedColorType, ImageEncoder};
    use proptest::prelude::*;

    use super::*;

    const LIMIT: u64 = 1 << 20;

    /// Writes bits, of each byte the lowest first.
    #[derive(Default)]
    struct Writer(Vec<bool>);

    impl Writer {
        fn put(&mut self, number: u32, count: u32) -> &mut Self {
            self.0.extend((0..count).map(|bit| number >> bit & 1 == 1));
            self
        }

        /// A code of one symbol.
        fn alone(&mut self, symbol: u32) -> &mut Self {
            self.put(0b101, 3).put(symbol, 8)
        }

        fn file(&self, kind: &[u8; 4]) -> Vec<u8> {
            let byte = |bits: &[bool]| bits.iter().rev().fold(0u8, |byte, bit| byte << 1 | u8::from(*bit));
            let data: Vec<u8> = self.0.chunks(8).map(byte).chain([0; 9]).collect();
            let chunk = [kind, &(data.len() as u32).to_le_bytes()[..], &data, &[0][..data.len() % 2]].concat();
            [b"RIFF", &(chunk.len() as u32 + 4).to_le_bytes()[..], b"WEBP", &chunk].concat()
        }
    }

    /// A picture of 16 × 12 pixels with parts of 8 × 8 and so many groups.
    fn asks_for(groups: u32) -> Vec<u8> {
        let mut bits = Writer::default();
        bits.put(SIGNATURE, 8).put(15, 14).put(11, 14).put(0, 4);
        // Subtract green, and a predictor for the whole.
        bits.put(1, 1).put(SUBTRACT_GREEN, 2).put(1, 1).put(0, 2).put(7, 3).put(0, 1);
        for _ in 0..5 {
            bits.alone(0);
        }
        bits.put(0, 1).put(0, 1).put(1, 1).put(1, 3).put(0, 1);
        bits.alone((groups - 1) & 255).alone((groups - 1) >> 8);
        for _ in 0..3 {
            bits.alone(0);
        }
        bits.file(b"VP8L")
    }

    #[test]
    fn a_picture_may_ask_for_as_many_groups_as_it_has_parts() {
        assert!(check(&asks_for(4), LIMIT).is_ok());
        for groups in [5, 256, 65_536] {
            let refused = check(&asks_for(groups), LIMIT).unwrap_err().to_string();
            assert!(refused.contains(&format!("asks for {groups} groups of prefix codes for 4 parts")), "{refused}");
        }
        assert!(check(&asks_for(65_536), 100).is_ok(), "too many pixels, which its decoder says");
    }

    #[test]
    fn streams_that_break_off_are_refused() {
        let whole = asks_for(4);
        for length in 0..22 {
            let mut bits = Bits { bytes: &whole[20..20 + length], at: 0 };
            let found = picture_size(&mut bits).and_then(|size| groups(&mut bits, size));
            assert_eq!(found, (length == 21).then_some(Groups { wanted: 4, parts: 4 }), "{length}");
        }
    }

    #[test]
    fn codes_are_read_as_they_are_written() {
        // Lengths 2, 1, 3, 3: the codes are 10, 0, 110, 111.
        let code = Code::of(&[2, 1, 3, 3]).unwrap();
        let mut bits = Bits { bytes: &[0b1100_1101, 0b0000_0001], at: 0 };
        let symbols: Vec<u32> = (0..4).map(|_| code.next(&mut bits).unwrap()).collect();
        assert_eq!(symbols, [0, 2, 1, 3]);
        assert!(Code::of(&[1, 2]).is_none() && Code::of(&[1, 1, 1]).is_none() && Code::of(&[0, 0]).is_none());
        assert_eq!(Code::of(&[0, 3]).unwrap().next(&mut bits), Some(1));
        assert_eq!(prefixed(&mut Bits { bytes: &[1], at: 0 }, 6), Some(10));
    }

    proptest! {
        /// Whatever an encoder writes passes.
        #[test]
        fn pictures_pass(width in 1u32..70, height in 1u32..70, levels in prop::collection::vec(any::<u8>(), 1..400)) {
            let pixels: Vec<u8> = levels.iter().copied().cycle().take((width * height * 4) as usize).collect();
            let mut file = Vec::new();
            WebPEncoder::new_lossless(&mut file).write_image(&pixels, width, height, ExtendedColorType::Rgba8).unwrap();
            prop_assert!(check(&file, LIMIT).is_ok());
        }

        #[test]
        fn noise_is_judged_without_a_panic(data in prop::collection::vec(any::<u8>(), 0..400)) {
            let chunk = [b"VP8L", &(data.len() as u32).to_le_bytes()[..], &data].concat();
            drop(check(&[&[0; 12], &chunk[..]].concat(), LIMIT));
        }
    }
}
