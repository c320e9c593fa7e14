//! Names what a file is that cannot be decoded, so that its sender knows what to convert.

/// The beginnings of files: where, which bytes, and the name.
const KNOWN: [(usize, &[u8], &str); 44] = [
    (0, b"\x89PNG", "a PNG whose line ends were changed on the way; transfer it as a binary file"),
    (0, b"\x8aMNG", "an MNG animation"),
    (0, b"GIF8", "a GIF of an unknown version"),
    (0, b"II*\0", "a camera's raw file"),
    (0, b"II+\0", "a BigTIFF image"),
    (0, b"MM\0+", "a BigTIFF image"),
    (0, b"II\xbc\x01", "a JPEG XR image"),
    (0, b"\xff\x0a", "a JPEG XL image"),
    (0, b"\0\0\0\x0cJXL ", "a JPEG XL image"),
    (0, b"\0\0\0\x0cjP  ", "a JPEG 2000 image"),
    (0, b"\xff\x4f\xff\x51", "a JPEG 2000 image"),
    (0, b"BPG\xfb", "a BPG image"),
    (0, b"FLIF", "a FLIF image"),
    (0, b"qoif", "a QOI image"),
    (0, b"farbfeld", "a farbfeld image"),
    (0, b"DDS ", "a DDS texture"),
    (0, b"\xabKTX", "a KTX texture"),
    (0, b"\x76\x2f\x31\x01", "an OpenEXR image"),
    (0, b"#?RADIANCE", "a Radiance HDR image"),
    (0, b"#?RGBE", "a Radiance HDR image"),
    (0, b"8BPS", "a Photoshop document"),
    (0, b"gimp xcf", "a GIMP document"),
    (0, b"\0\0\x01\0", "an ICO image"),
    (0, b"\0\0\x02\0", "a CUR image"),
    (0, b"icns", "an ICNS image"),
    (0, b"FUJIFILM", "a camera's raw file"),
    (128, b"DICM", "a DICOM image"),
    (0, b"SIMPLE  =", "a FITS image"),
    (0, b"%PDF", "a PDF document"),
    (0, b"%!PS", "a PostScript document"),
    (0, b"\x93NUMPY", "a NumPy array"),
    (0, b"PK\x03\x04", "a ZIP archive or an office document"),
    (0, b"\x1f\x8b", "compressed by gzip (say so by content-encoding)"),
    (0, b"\x28\xb5\x2f\xfd", "compressed by zstd"),
    (0, b"\xfd7zXZ", "compressed by xz"),
    (0, b"BZh", "compressed by bzip2"),
    (0, b"\x1a\x45\xdf\xa3", "a Matroska or WebM video"),
    (0, b"RIFF", "a RIFF file, but no WebP image"),
    (0, b"data:", "a data: URL"),
    (0, b"iVBORw0KGgo", "a PNG in base64; send its bytes, or JSON"),
    (0, b"/9j/", "a JPEG in base64; send its bytes, or JSON"),
    (0, b"R0lGOD", "a GIF in base64; send its bytes, or JSON"),
    (0, b"UklGR", "a WebP in base64; send its bytes, or JSON"),
    (4, b"moov", "a QuickTime video"),
];

/// The bytes that are searched for an SVG's first element.
const HEAD: usize = 1024;

/// Returns the name of a file's kind with its article, judged by its first bytes.
pub fn foreign_kind(bytes: &[u8]) -> Option<&'static str> {
    if bytes.get(4..8) == Some(b"ftyp") {
        return Some(of_brands(bytes));
    }
    let known = KNOWN.iter().find(|(at, start, _)| bytes.get(*at..).is_some_and(|rest| rest.starts_with(start)));
    known.map(|(_, _, name)| *name).or_else(|| portable_anymap(bytes)).or_else(|| markup(bytes))
}

/// Returns the kind of a file of the ISO base media format by its brands (ISO/IEC 14496-12, section 4.3): the major one,
/// and for the general ones of still images the compatible ones.
fn of_brands(bytes: &[u8]) -> &'static str {
    let length = bytes.first_chunk().map_or(0, |length| u32::from_be_bytes(*length) as usize);
    let head = bytes.get(8..length.clamp(12, HEAD).min(bytes.len())).unwrap_or_default();
    let mut brands = head.chunks_exact(4).enumerate().filter(|(place, _)| *place != 1).map(|(_, brand)| brand);
    let name = |brand: &[u8]| match brand {
        b"avif" | b"avis" => Some("an AVIF image"),
        b"heic" | b"heix" | b"heim" | b"heis" | b"hevc" | b"hevx" => Some("a HEIC image"),
        b"crx " => Some("a camera's raw file"),
        b"qt  " => Some("a QuickTime video"),
        b"jxl " => Some("a JPEG XL image"),
        _ => None,
    };
    let major = brands.next().unwrap_or_default();
    match name(major) {
        Some(name) => name,
        None if matches!(major, b"mif1" | b"msf1" | b"miaf") => brands.find_map(name).unwrap_or("a HEIF image"),
        None => "an MP4 video or one of its kin",
    }
}

/// Returns the kind of Netpbm's files: P, a digit, and white space.
fn portable_anymap(bytes: &[u8]) -> Option<&'static str> {
    match bytes {
        [b'P', b'1'..=b'7', space, ..] if space.is_ascii_whitespace() => Some("a PNM image (Netpbm)"),
        _ => None,
    }
}

/// Returns the kind of a document in angle brackets.
fn markup(bytes: &[u8]) -> Option<&'static str> {
    let text = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes).trim_ascii_start();
    let head = text[..text.len().min(HEAD)].to_ascii_lowercase();
    let holds = |word: &[u8]| head.windows(word.len()).any(|window| window == word);
    if !head.starts_with(b"<") {
        None
    } else if holds(b"<svg") {
        Some("an SVG image")
    } else if holds(b"<html") || head.starts_with(b"<!doctype html") {
        Some("an HTML page")
    } else {
        Some("an XML or HTML document")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_named() {
        let dicom = [&[0; 128][..], b"DICM"].concat();
        let long = [b"<?xml version=\"1.0\"?><!--".as_slice(), &[b' '; 900], b"-->\n<SVG>"].concat();
        for (bytes, expected) in [
            (b"\0\0\0\x1cftypavif\0\0\0\0".as_slice(), "AVIF"),
            (b"\0\0\0\x1cftypavis", "AVIF"),
            (b"\0\0\0\x18ftypheic", "HEIC"),
            (b"\0\0\0\x1cftypmif1\0\0\0\0mif1avif", "AVIF"),
            (b"\0\0\0\x1cftypmif1\0\0\0\0mif1heic", "HEIC"),
            (b"\0\0\0\x14ftypmif1\0\0\0\0mif1heic", "HEIF"),
            (b"\0\0\0\x14ftypisom\0\0\0\0", "MP4"),
            (b"\0\0\0\x14ftyp", "MP4"),
            (b"\xff\xff\xff\xffftypqt  ", "QuickTime"),
            (b"II*\0\x10\0\0\0CR\x02\0", "raw"),
            (b"MM\0+\0\x08\0\0", "BigTIFF"),
            (b"\0\0\x01\0\x01\0", "ICO"),
            (b"P6\n28 28\n255\n", "PNM"),
            (&dicom, "DICOM"),
            (&long, "SVG"),
            (b"\xef\xbb\xbf \n<!DOCTYPE html>", "HTML"),
            (b"<note/>", "XML"),
            (b"RIFF\0\0\0\0WAVE", "RIFF"),
            (b"\x89PNG\n\x1a\n", "line ends"),
            (b"iVBORw0KGgoAAAA", "base64"),
        ] {
            let found = foreign_kind(bytes).unwrap_or_default();
            assert!(found.contains(expected), "{found}: {bytes:?}");
        }
        for bytes in [b"".as_slice(), b"\0", b"P9 ", b"Pixels", b"seven", b"\0\0\0\0"] {
            assert_eq!(foreign_kind(bytes), None, "{bytes:?}");
        }
    }
}
