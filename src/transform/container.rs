//! Inspects an image file before a decoder sees it: its format, whether it is complete, and the size that
//! it declares.
//!
//! The decoders of both formats fill missing parts with grey. To score half a picture would be a wrong
//! answer without an error, so a file that does not end as its format demands is refused here. A JPEG that
//! was truncated within a scan and closed again by some tool still passes: no available decoder notices.

use crate::error::{Error, Result};

pub(super) const PNG_SIGNATURE: &[u8] = b"\x89PNG\r\n\x1a\n";
const JPEG_START: &[u8] = &[0xff, 0xd8, 0xff];

/// An accepted image format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    Png,
    Jpeg,
}

/// Returns the format, judged by the first bytes and never by a name or declared type.
pub(super) fn sniff(bytes: &[u8]) -> Result<Format> {
    if bytes.starts_with(PNG_SIGNATURE) {
        Ok(Format::Png)
    } else if bytes.starts_with(JPEG_START) {
        Ok(Format::Jpeg)
    } else if bytes.is_empty() {
        Err(Error::InvalidInput("the image is empty; expected a PNG or JPEG file".into()))
    } else {
        Err(Error::UnsupportedMedia(format!("the image is neither PNG nor JPEG by its first bytes{}", name_of(bytes))))
    }
}

fn name_of(bytes: &[u8]) -> &'static str {
    const KNOWN: [(&[u8], &str); 7] = [
        (b"GIF8", " (it is a GIF)"),
        (b"BM", " (it is a BMP)"),
        (b"RIFF", " (it is a WebP or another RIFF file)"),
        (b"II*\0", " (it is a TIFF)"),
        (b"MM\0*", " (it is a TIFF)"),
        (b"%PDF", " (it is a PDF)"),
        (b"<", " (it is SVG, HTML or XML)"),
    ];
    KNOWN.iter().find(|(magic, _)| bytes.starts_with(magic)).map_or("", |(_, name)| name)
}

/// Refuses a truncated file, and a JPEG with four colour components: too many decoders invert the colours
/// of CMYK and YCCK.
pub(super) fn check_whole(format: Format, bytes: &[u8]) -> Result<()> {
    match format {
        Format::Png => png_is_whole(bytes).then_some(()).ok_or_else(|| truncated("PNG", "IEND chunk")),
        Format::Jpeg => {
            let jpeg = walk_jpeg(bytes).ok_or_else(|| truncated("JPEG", "end-of-image marker"))?;
            if jpeg.components == Some(4) {
                return Err(Error::UnsupportedMedia(
                    "CMYK and YCCK JPEG files are not accepted; save the image as RGB or grey".into(),
                ));
            }
            Ok(())
        }
    }
}

fn truncated(format: &str, end: &str) -> Error {
    Error::InvalidInput(format!("the {format} file is truncated or damaged: it has no {end}"))
}

/// Returns the width and height that a PNG header declares, without decoding anything.
pub(super) fn png_dimensions(bytes: &[u8]) -> Option<(u32, u32)> {
    let header = bytes.get(12..24).filter(|_| bytes.starts_with(PNG_SIGNATURE))?;
    let number = |at: usize| Some(u32::from_be_bytes(header.get(at..at + 4)?.try_into().ok()?));
    header.starts_with(b"IHDR").then_some((number(4)?, number(8)?))
}

/// Walks the chunks (length, type, data, CRC: PNG specification, section 5.3); returns true if the last one
/// is there.
fn png_is_whole(bytes: &[u8]) -> bool {
    let mut rest = &bytes[PNG_SIGNATURE.len()..];
    while let Some((head, body)) = rest.split_at_checked(8) {
        let length = u32::from_be_bytes([head[0], head[1], head[2], head[3]]) as usize;
        let Some(after) = length.checked_add(4).and_then(|skip| body.get(skip..)) else { return false };
        if &head[4..] == b"IEND" {
            return true;
        }
        rest = after;
    }
    false
}

struct JpegOutline {
    components: Option<u8>,
}

/// Walks the markers (ITU-T T.81, annex B) to the end-of-image marker; `None` if it is missing.
fn walk_jpeg(bytes: &[u8]) -> Option<JpegOutline> {
    let mut outline = JpegOutline { components: None };
    let mut at = 2;
    loop {
        while *bytes.get(at)? != 0xff {
            at += 1;
        }
        let marker = *bytes.get(at + 1)?;
        match marker {
            0xff => at += 1,
            0xd9 => return Some(outline),
            // Stuffed bytes and restart markers belong to the entropy-coded data around them.
            0x00 | 0x01 | 0xd0..=0xd8 => at += 2,
            _ => {
                let length = usize::from(u16::from_be_bytes([*bytes.get(at + 2)?, *bytes.get(at + 3)?]));
                let is_frame = matches!(marker, 0xc0..=0xcf) && !matches!(marker, 0xc4 | 0xc8 | 0xcc);
                if is_frame && outline.components.is_none() {
                    outline.components = Some(*bytes.get(at + 9)?);
                }
                at += 2 + length.max(2);
            }
        }
    }
}
