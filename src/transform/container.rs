//! Inspects an image file before a decoder sees it: its format, whether it is complete, and the size that
//! it declares.
//!
//! Some decoders fill missing parts with grey. To score half a picture would be a wrong answer without an error, so
//! a file that breaks off within its picture is refused, here and in `jpeg` where its decoder would not. What only marks
//! the end of a file may be missing.

use std::borrow::Cow;

use super::foreign::foreign_kind;
use crate::error::{Error, Result};

pub(super) const PNG_SIGNATURE: &[u8] = b"\x89PNG\r\n\x1a\n";
const JPEG_START: &[u8] = &[0xff, 0xd8, 0xff];

/// The accepted formats in words.
pub const ACCEPTED: &str = "PNG, JPEG, WebP, GIF, BMP or TIFF";

/// An accepted image format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    Png,
    Jpeg,
    WebP,
    Gif,
    Bmp,
    Tiff,
}

impl Format {
    /// Returns the format, judged by the first bytes and never by a name or declared type.
    fn of(bytes: &[u8]) -> Option<Self> {
        if bytes.starts_with(PNG_SIGNATURE) {
            Some(Self::Png)
        } else if bytes.starts_with(JPEG_START) {
            Some(Self::Jpeg)
        } else if bytes.starts_with(b"GIF87a") || bytes.starts_with(b"GIF89a") {
            Some(Self::Gif)
        } else if bytes.starts_with(b"RIFF") && bytes.get(8..12) == Some(b"WEBP") {
            Some(Self::WebP)
        } else if is_tiff(bytes) {
            Some(Self::Tiff)
        } else {
            is_bmp(bytes).then_some(Self::Bmp)
        }
    }

    /// Returns the format's usual name.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Png => "PNG",
            Self::Jpeg => "JPEG",
            Self::WebP => "WebP",
            Self::Gif => "GIF",
            Self::Bmp => "BMP",
            Self::Tiff => "TIFF",
        }
    }
}

/// Returns the media type of an image file of an accepted format, judged by its first bytes.
pub fn media_type(bytes: &[u8]) -> Option<&'static str> {
    Some(match Format::of(bytes)? {
        Format::Png => "image/png",
        Format::Jpeg => "image/jpeg",
        Format::WebP => "image/webp",
        Format::Gif => "image/gif",
        Format::Bmp => "image/bmp",
        Format::Tiff => "image/tiff",
    })
}

/// Returns the format of an image.
///
/// # Errors
/// [`Error::UnsupportedMedia`] that names what else the file is, as far as its first bytes tell.
pub(super) fn sniff(bytes: &[u8]) -> Result<Format> {
    if bytes.is_empty() {
        return Err(Error::InvalidInput(format!("the image is empty; expected a {ACCEPTED} file")));
    }
    Format::of(bytes).ok_or_else(|| {
        Error::UnsupportedMedia(match foreign_kind(bytes) {
            Some(kind) => format!("this is {kind}; send {ACCEPTED}"),
            None => format!("the image is not {ACCEPTED} by its first bytes"),
        })
    })
}

/// Canon's raw files begin as TIFF does, and hold no more than a thumbnail for its readers.
fn is_tiff(bytes: &[u8]) -> bool {
    let is_raw = bytes.get(8..10) == Some(b"CR");
    (bytes.starts_with(b"II*\0") || bytes.starts_with(b"MM\0*")) && !is_raw
}

/// Two letters are too few to tell a file from a tensor's bytes: the size of the header that follows is one of a few.
fn is_bmp(bytes: &[u8]) -> bool {
    let header = bytes.get(14..18).and_then(|size| size.first_chunk()).map(|size| u32::from_le_bytes(*size));
    bytes.starts_with(b"BM") && matches!(header, Some(12 | 16 | 40 | 52 | 56 | 64 | 108 | 124))
}

/// Returns the error for a file that breaks off.
pub(super) fn truncated(format: Format, missing: &str) -> Error {
    Error::InvalidInput(format!("the {} file is truncated or damaged: {missing}", format.name()))
}

/// Returns the width and height that a PNG header declares, without decoding anything.
pub(super) fn png_dimensions(bytes: &[u8]) -> Option<(u32, u32)> {
    let header = bytes.get(12..24).filter(|_| bytes.starts_with(PNG_SIGNATURE))?;
    let number = |at: usize| Some(u32::from_be_bytes(header.get(at..at + 4)?.try_into().ok()?));
    header.starts_with(b"IHDR").then_some((number(4)?, number(8)?))
}

/// Returns a PNG file with its end, which browsers and libraries do without: behind the chunk in which it breaks off. Of
/// image data that break off, the decoder says whether pixels are missing. Refuses Apple's variant of PNG, which other
/// programs cannot read.
pub(super) fn whole_png(bytes: &[u8]) -> Result<Cow<'_, [u8]>> {
    if bytes.get(12..16) == Some(b"CgBI") {
        let kind = "a PNG in Apple's own variant (CgBI), as Xcode packs it into applications";
        return Err(Error::UnsupportedMedia(format!("this is {kind}; send the original file")));
    }
    let mut at = PNG_SIGNATURE.len();
    let mut has_data = false;
    let cut = loop {
        let rest = bytes.get(at..).unwrap_or_default();
        let Some(&[a, b, c, d, ref kind @ ..]) = rest.first_chunk::<8>() else { break rest };
        let length = u32::from_be_bytes([a, b, c, d]) as usize;
        let Some(next) = rest.get(length.saturating_add(12)..) else { break rest };
        if kind == b"IEND" {
            return Ok(Cow::Borrowed(bytes));
        }
        has_data |= kind == b"IDAT";
        at = bytes.len() - next.len();
    };
    let data = cut.get(8..).filter(|_| cut.get(4..8) == Some(b"IDAT"));
    if !has_data && data.is_none() {
        return Ok(Cow::Borrowed(bytes));
    }
    let mut whole = bytes[..at].to_vec();
    if let Some(data) = data {
        let declared = cut.first_chunk().map_or(0, |length| u32::from_be_bytes(*length)) as usize;
        push_chunk(&mut whole, b"IDAT", &data[..data.len().min(declared)]);
    }
    push_chunk(&mut whole, b"IEND", &[]);
    Ok(Cow::Owned(whole))
}

/// Appends a chunk of a PNG file, with its length and its checksum.
pub(super) fn push_chunk(file: &mut Vec<u8>, kind: &[u8; 4], data: &[u8]) {
    file.extend((data.len() as u32).to_be_bytes());
    let start = file.len();
    file.extend(kind);
    file.extend(data);
    let sum = crc32fast::hash(&file[start..]);
    file.extend(sum.to_be_bytes());
}

/// Returns the bytes that a WebP file says it has (RFC 9649, section 2.4). Refuses a file with fewer, and one whose
/// chunks reach beyond its end, for which its decoder would allocate whatever they claim.
pub(super) fn whole_webp(bytes: &[u8]) -> Result<&[u8]> {
    let file = number_le(bytes, 4).and_then(|size| bytes.get(..size.checked_add(8)?));
    let file = file.ok_or_else(|| truncated(Format::WebP, "it is shorter than its header says"))?;
    let fits = chunks_fit(file.get(12..).unwrap_or_default(), true);
    fits.then_some(file).ok_or_else(|| truncated(Format::WebP, "a chunk reaches beyond its end"))
}

/// The bytes in front of the chunks of a frame of an animation.
const WEBP_FRAME_HEADER: usize = 16;

/// Returns true if all chunks (type, length, data, padding to even lengths) are whole. Frames hold chunks of their own.
fn chunks_fit(mut rest: &[u8], with_frames: bool) -> bool {
    while rest.len() >= 8 {
        let Some(length) = number_le(rest, 4) else { return false };
        let Some(data) = length.checked_add(8).and_then(|end| rest.get(8..end)) else { return false };
        if with_frames && rest.starts_with(b"ANMF") {
            let parts = data.get(WEBP_FRAME_HEADER..);
            if !parts.is_some_and(|parts| chunks_fit(parts, false)) {
                return false;
            }
        }
        rest = rest.get(8 + length + length % 2..).unwrap_or_default();
    }
    true
}

fn number_le(bytes: &[u8], at: usize) -> Option<usize> {
    Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?) as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chunk(kind: &[u8; 4], data: &[u8]) -> Vec<u8> {
        let padding = &[0][..data.len() % 2];
        [kind, &(data.len() as u32).to_le_bytes()[..], data, padding].concat()
    }

    fn webp(chunks: &[u8]) -> Vec<u8> {
        [b"RIFF", &(chunks.len() as u32 + 4).to_le_bytes()[..], b"WEBP", chunks].concat()
    }

    #[test]
    fn formats_are_told_by_their_first_bytes() {
        let bmp = [b"BM".as_slice(), &[0; 12], &[40, 0, 0, 0]].concat();
        for (bytes, expected) in [
            (b"\x89PNG\r\n\x1a\n".as_slice(), Some("image/png")),
            (b"\xff\xd8\xff\xe0", Some("image/jpeg")),
            (b"GIF87a", Some("image/gif")),
            (b"GIF89a", Some("image/gif")),
            (b"RIFF\0\0\0\0WEBPVP8 ", Some("image/webp")),
            (&bmp, Some("image/bmp")),
            (b"II*\0\x08\0\0\0", Some("image/tiff")),
            (b"MM\0*\0\0\0\x08", Some("image/tiff")),
            (b"II*\0\x10\0\0\0CR\x02\0", None),
            (b"", None),
            (b"\xff\xd8", None),
            (b"GIF88a", None),
            (b"RIFF\0\0\0\0WAVEfmt ", None),
            (b"BM but a text, or a tensor", None),
        ] {
            assert_eq!(media_type(bytes), expected, "{bytes:?}");
        }
    }

    #[test]
    fn a_webp_ends_where_it_says_and_its_chunks_within_it() {
        let frame = |parts: &[u8]| chunk(b"ANMF", &[&[0; WEBP_FRAME_HEADER], parts].concat());
        let whole = webp(&[chunk(b"VP8 ", &[1; 5]), chunk(b"EXIF", &[2; 8])].concat());
        assert_eq!(whole_webp(&whole).unwrap(), whole);
        assert_eq!(whole_webp(&[&whole[..], b"more"].concat()).unwrap(), whole);
        for length in 12..whole.len() {
            assert!(whole_webp(&whole[..length]).is_err(), "{length}");
        }
        let liar = |kind: &[u8; 4]| [kind, &u32::MAX.to_le_bytes()[..]].concat();
        assert!(whole_webp(&webp(&frame(&chunk(b"VP8L", &[3; 9])))).is_ok());
        for chunks in [liar(b"EXIF"), frame(&liar(b"EXIF")), chunk(b"ANMF", &[0; 15])] {
            assert!(whole_webp(&webp(&chunks)).is_err(), "{chunks:?}");
        }
    }
}
