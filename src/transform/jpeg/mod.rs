//! Inspects a JPEG file before its decoder sees it (ITU-T T.81, annex B): which kind of JPEG it is, and whether all of
//! the picture is there.
//!
//! A file that was truncated within a scan and closed again by some tool still passes: it has its end marker, and no
//! available decoder notices.

mod huffman;
pub(super) mod scaled;
mod scans;

use std::borrow::Cow;

use memchr::memchr;

use super::container::{Format, truncated};
use crate::error::{Error, Result};

/// The end of the image.
const EOI: u8 = 0xd9;
const START_OF_SCAN: u8 = 0xda;
const HUFFMAN_TABLES: u8 = 0xc4;
const RESTART_INTERVAL: u8 = 0xdd;
/// The frames that are decoded: sequential ones, and the progressive one.
const BASELINE: u8 = 0xc0;
const PROGRESSIVE: u8 = 0xc2;

/// The scans that a file may have. Each passes over all of the picture; programs write up to a dozen.
const MOST_SCANS: usize = 100;

/// Returns the file as its decoder wants it, which is with an end marker. A file without one is completed if all its
/// blocks of pixels are there, in at most `max_pixels` pixels.
///
/// # Errors
/// [`Error::UnsupportedMedia`] for kinds of JPEG that nothing here decodes, [`Error::InvalidInput`] for a file that
/// breaks off and for one of more than [`MOST_SCANS`].
pub(super) fn whole(file: &[u8], max_pixels: u64) -> Result<Cow<'_, [u8]>> {
    let mut markers = Markers::of(file);
    let (mut has_frame, mut scans) = (false, 0);
    while let Some((marker, segment)) = markers.next() {
        if marker == EOI {
            return Ok(Cow::Borrowed(file));
        }
        scans += usize::from(marker == START_OF_SCAN);
        if scans > MOST_SCANS {
            let problem = format!("the JPEG file has more than {MOST_SCANS} scans; save it anew");
            return Err(Error::InvalidInput(problem));
        }
        if is_frame(marker) && !has_frame {
            has_frame = true;
            if let Some(kind) = refused(marker, segment) {
                return Err(Error::UnsupportedMedia(format!(
                    "this is {kind}; save it as a baseline or progressive JPEG of 8 bits, or as another format"
                )));
            }
        }
    }
    if scans::are_complete(file, max_pixels) {
        return Ok(Cow::Owned([file, &[0xff, EOI]].concat()));
    }
    Err(truncated(Format::Jpeg, "it has no end-of-image marker, and parts of the picture are missing"))
}

/// Returns true for the markers that start a frame: those of T.81, table B.1, and that of JPEG-LS.
fn is_frame(marker: u8) -> bool {
    matches!(marker, 0xc0..=0xcf | 0xf7) && !matches!(marker, HUFFMAN_TABLES | 0xc8 | 0xcc)
}

/// Returns the name of the kind of frame that is not decoded; `None` of one that is.
fn refused(marker: u8, segment: &[u8]) -> Option<&'static str> {
    match (marker, segment) {
        (BASELINE..=PROGRESSIVE, [12, ..]) => Some("a JPEG of 12 bits a sample"),
        (BASELINE..=PROGRESSIVE, [_, 0, 0, ..]) => Some("a JPEG that says its height behind the picture (DNL)"),
        (BASELINE..=PROGRESSIVE, _) => None,
        (0xc3, _) => Some("a lossless JPEG"),
        (0xc9 | 0xca, _) => Some("a JPEG with arithmetic coding"),
        (0xcb, _) => Some("a lossless JPEG with arithmetic coding"),
        (0xf7, _) => Some("a JPEG-LS image"),
        _ => Some("a hierarchical JPEG"),
    }
}

/// The marker segments of a file.
struct Markers<'a> {
    file: &'a [u8],
    at: usize,
}

impl<'a> Markers<'a> {
    fn of(file: &'a [u8]) -> Self {
        Self { file, at: 2 }
    }

    /// Returns the next marker that is none of entropy-coded data, and its segment without its length; `None` behind the
    /// end of the image, whatever follows there, and at the end of the file.
    fn next(&mut self) -> Option<(u8, &'a [u8])> {
        loop {
            self.at += memchr(0xff, self.file.get(self.at..)?)?;
            match *self.file.get(self.at + 1)? {
                0xff => self.at += 1,
                // Stuffed bytes and restart markers belong to the entropy-coded data around them.
                0x00 | 0x01 | 0xd0..=0xd8 => self.at += 2,
                EOI => {
                    self.at = self.file.len();
                    return Some((EOI, &[]));
                }
                marker => {
                    let length = u16::from_be_bytes(*self.file.get(self.at + 2..)?.first_chunk()?);
                    let end = self.at + 2 + usize::from(length.max(2));
                    let segment = self.file.get(self.at + 4..end)?;
                    self.at = end;
                    return Some((marker, segment));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILES: [&[u8]; 4] = [
        include_bytes!("../../../tests/fixtures/images/progressive-grey.jpg"),
        include_bytes!("../../../tests/fixtures/images/progressive.jpg"),
        include_bytes!("../../../tests/fixtures/images/subsampled.jpg"),
        include_bytes!("../../../tests/fixtures/images/ycck.jpg"),
    ];

    #[test]
    fn the_end_marker_may_be_missing_and_nothing_else() {
        for file in FILES {
            assert!(matches!(whole(file, 1 << 20), Ok(Cow::Borrowed(_))));
            let open = &file[..file.len() - 2];
            assert_eq!(whole(open, 1 << 20).unwrap(), file);
            assert!(whole(open, 100).is_err(), "more pixels than are allowed");
            for length in 2..open.len() {
                let error = whole(&open[..length], 1 << 20).unwrap_err();
                assert!(matches!(error, Error::InvalidInput(_)), "{length} of {}", file.len());
            }
        }
    }

    #[test]
    fn damaged_scans_are_not_complete() {
        // A progressive file that lacks one of its scans is coarse.
        let file = &FILES[0][..FILES[0].len() - 2];
        let scans: Vec<usize> = (0..file.len()).filter(|at| file[*at..].starts_with(&[0xff, START_OF_SCAN])).collect();
        assert!(scans.len() > 3);
        let last = [&file[..scans[1]], &file[scans[2]..]].concat();
        assert!(whole(&last, 1 << 20).is_err());
        // Restart markers out of their places.
        let at = FILES[2].windows(2).position(|pair| pair == [0xff, 0xd1]).unwrap();
        let without = [&FILES[2][..at], &FILES[2][at + 2..FILES[2].len() - 2]].concat();
        assert!(whole(&without, 1 << 20).is_err());
    }

    #[test]
    fn a_file_of_many_scans_is_refused() {
        let file = FILES[0];
        let scans: Vec<usize> = (0..file.len()).filter(|at| file[*at..].starts_with(&[0xff, START_OF_SCAN])).collect();
        let many = |count: usize| {
            let [before, again, after] = [&file[..scans[1]], &file[scans[1]..scans[2]], &file[scans[2]..]];
            [before, &again.repeat(count), after].concat()
        };
        let others = scans.len() - 1;
        assert!(whole(&many(MOST_SCANS - others), 1 << 20).is_ok());
        let refused = whole(&many(MOST_SCANS - others + 1), 1 << 20).unwrap_err().to_string();
        assert!(refused.contains("more than 100 scans"), "{refused}");
    }

    #[test]
    fn kinds_that_are_not_decoded_are_named() {
        for (marker, precision, expected) in [
            (0xc0, 8, None),
            (0xc2, 8, None),
            (0xc1, 12, Some("12 bits")),
            (0xc3, 8, Some("a lossless")),
            (0xc5, 8, Some("hierarchical")),
            (0xca, 8, Some("arithmetic")),
            (0xf7, 8, Some("JPEG-LS")),
        ] {
            let frame = [0xff, 0xd8, 0xff, marker, 0, 11, precision, 0, 8, 0, 8, 1, 1, 0x11, 0, 0xff, 0xd9];
            let found = whole(&frame, 64).err().map(|error| error.to_string());
            match expected {
                None => assert_eq!(found, None),
                Some(words) => assert!(found.as_ref().is_some_and(|found| found.contains(words)), "{found:?}"),
            }
        }
    }
}
