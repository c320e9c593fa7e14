//! Decodes a JPEG file at a half, a quarter or an eighth of its size, as libjpeg-turbo does for Pillow's `Image.draft`.
//!
//! Every code of the file is read, and every pixel is the mean of those that it stands for; but the pixels of the whole
//! picture are never computed. The result is that of libjpeg-turbo, byte for byte. A damaged file is refused, also where
//! the decoder for the full size would guess.

mod bits;
mod colour;
mod cosine;
mod frame;
mod scan;

use ::image::metadata::Orientation;

use self::bits::Coded;
use self::colour::Meaning;
use self::cosine::Block;
use self::frame::{Frame, ORDER};
use super::scans::{Codes, Scan};
use super::{HUFFMAN_TABLES, Markers, RESTART_INTERVAL, START_OF_SCAN, is_frame};
use crate::simd::vectorized;
use crate::transform::raster::Raster;

const QUANTIZATION_TABLES: u8 = 0xdb;
const JFIF: u8 = 0xe0;
const EXIF: u8 = 0xe1;
const ADOBE: u8 = 0xee;

/// The scale at which a picture is decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::transform) enum Scale {
    Half,
    Quarter,
    Eighth,
}

impl Scale {
    /// Returns the smallest scale that leaves no side shorter than is wanted, by Pillow's rule; `None` if that is the full
    /// one.
    pub(in crate::transform) fn of(size: [u32; 2], wanted: [u64; 2]) -> Option<Self> {
        let times = [0, 1].map(|axis| u64::from(size[axis]) / wanted[axis].max(1));
        match times[0].min(times[1]) {
            0 | 1 => None,
            2 | 3 => Some(Self::Half),
            4..=7 => Some(Self::Quarter),
            8.. => Some(Self::Eighth),
        }
    }

    /// Returns the pixels on a side of what becomes of 8 × 8 pixels.
    fn side(self) -> usize {
        match self {
            Self::Half => 4,
            Self::Quarter => 2,
            Self::Eighth => 1,
        }
    }
}

/// What the file says before its first scan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::transform) struct Head {
    /// Width and height as they are stored.
    pub(in crate::transform) size: [u32; 2],
    pub(in crate::transform) orientation: Orientation,
}

impl Head {
    /// Reads the head; `None` if there is no frame.
    pub(in crate::transform) fn read(file: &[u8]) -> Option<Self> {
        let (mut size, mut orientation) = (None, None);
        let mut markers = Markers::of(file);
        while let Some((marker, segment)) = markers.next().filter(|(marker, _)| *marker != START_OF_SCAN) {
            if marker == EXIF
                && let Some(exif) = segment.strip_prefix(b"Exif\0\0").filter(|exif| !exif.is_empty())
            {
                // The last of several holds, as for the decoder of the full size.
                orientation = Orientation::from_exif_chunk(exif);
            } else if is_frame(marker) && size.is_none() {
                let [_, height @ .., third, fourth] = *segment.first_chunk::<5>()?;
                size = Some([[third, fourth], height].map(|side| u16::from_be_bytes(side).into()));
            }
        }
        Some(Self { size: size?, orientation: orientation.unwrap_or(Orientation::NoTransforms) })
    }
}

/// The reason for which there is no scaled picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::transform) enum Refusal {
    /// Files of this kind are decoded at their full size only: those of four colours, of rare subsamplings, and those that
    /// lack scans or Huffman tables.
    Unscalable,
    /// Something is missing or wrong.
    Damaged,
}

/// Decodes a file that [`super::whole`] has passed, as it is stored: its orientation is not applied.
///
/// # Errors
/// [`Refusal`].
pub(in crate::transform) fn decode(file: &[u8], scale: Scale) -> Result<Raster, Refusal> {
    let mut decoder =
        Decoder { scale, codes: Codes::default(), tables: [None; 4], interval: 0, frame: None, said: Said::default() };
    let mut markers = Markers::of(file);
    while let Some((marker, segment)) = markers.next() {
        if marker == START_OF_SCAN {
            let mut coded = Coded::at(file, markers.at);
            decoder.scan(segment, &mut coded)?;
            markers.at = coded.place();
        } else if is_frame(marker) {
            decoder.frame(marker, segment)?;
        } else {
            decoder.segment(marker, segment).ok_or(Refusal::Damaged)?;
        }
    }
    decoder.picture()
}

/// What a file has said so far.
struct Decoder {
    scale: Scale,
    codes: Codes,
    /// What coefficients are multiplied by, by the numbers of the tables.
    tables: [Option<Block>; 4],
    /// The units between restarts.
    interval: usize,
    frame: Option<Frame>,
    said: Said,
}

/// What tells the meaning of three components.
#[derive(Default)]
struct Said {
    has_jfif: bool,
    /// The transform that Adobe's segment names.
    adobe: Option<u8>,
}

impl Decoder {
    fn frame(&mut self, marker: u8, segment: &[u8]) -> Result<(), Refusal> {
        if self.frame.is_some() {
            return Err(Refusal::Damaged);
        }
        self.frame = Some(Frame::read(marker, segment, self.scale.side()).ok_or(Refusal::Unscalable)?);
        Ok(())
    }

    fn segment(&mut self, marker: u8, segment: &[u8]) -> Option<()> {
        match marker {
            HUFFMAN_TABLES => self.codes.read(segment)?,
            QUANTIZATION_TABLES => self.quantization(segment)?,
            RESTART_INTERVAL => self.interval = u16::from_be_bytes(*segment.first_chunk()?).into(),
            JFIF => self.said.has_jfif |= segment.starts_with(b"JFIF\0"),
            ADOBE if segment.starts_with(b"Adobe") => self.said.adobe = segment.get(11).copied(),
            _ => {}
        }
        Some(())
    }

    fn quantization(&mut self, mut segment: &[u8]) -> Option<()> {
        while let Some((selector, rest)) = segment.split_first() {
            let bytes = if selector >> 4 == 0 { 1 } else { 2 };
            let (values, rest) = rest.split_at_checked(64 * bytes)?;
            let mut table = [0; 64];
            for (value, place) in values.chunks_exact(bytes).zip(ORDER) {
                let value = value.iter().fold(0u16, |value, byte| value << 8 | u16::from(*byte));
                // Products are computed in 16 bits, in which the sign does not matter.
                table[usize::from(place)] = value as i16;
            }
            *self.tables.get_mut(usize::from(selector & 15))? = Some(table);
            segment = rest;
        }
        Some(())
    }

    fn scan(&mut self, segment: &[u8], coded: &mut Coded<'_>) -> Result<(), Refusal> {
        let frame = self.frame.as_mut().ok_or(Refusal::Damaged)?;
        let scan = Scan::read(segment, frame.is_progressive).ok_or(Refusal::Damaged)?;
        for component in &mut frame.components {
            if !component.has_begun && scan.components.iter().any(|(id, ..)| *id == component.id) {
                component.factors = self.tables.get(component.table).copied().flatten().ok_or(Refusal::Damaged)?;
                component.has_begun = true;
            }
        }
        scan::decode(frame, &scan, &self.codes, self.interval, coded)
    }

    fn picture(self) -> Result<Raster, Refusal> {
        let meaning = self.meaning().ok_or(Refusal::Damaged)?;
        let mut frame = self.frame.ok_or(Refusal::Damaged)?;
        if frame.components.iter().any(|component| component.missing != [0; 64]) {
            return Err(Refusal::Unscalable);
        }
        if frame.is_progressive {
            for component in &mut frame.components {
                vectorized(
                    #[inline(always)]
                    || component.show_all(),
                );
            }
        }
        Ok(colour::picture(&frame, meaning, self.scale.side() > 1))
    }

    /// Returns the meaning of three components by libjpeg's rules.
    fn meaning(&self) -> Option<Meaning> {
        let ids: Vec<u8> = self.frame.as_ref()?.components.iter().map(|component| component.id).collect();
        Some(match self.said {
            Said { has_jfif: true, .. } => Meaning::Differences,
            Said { adobe: Some(0), .. } => Meaning::Colours,
            Said { adobe: Some(_), .. } => Meaning::Differences,
            Said { adobe: None, .. } if ids == *b"RGB" => Meaning::Colours,
            Said { adobe: None, .. } => Meaning::Differences,
        })
    }
}
