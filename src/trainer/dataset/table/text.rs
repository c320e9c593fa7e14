//! The text of a file, whatever it is packed and encoded in.

use std::fs::File;
use std::io::{self, BufReader, Cursor, Read};
use std::path::Path;

use encoding_rs::{CoderResult, Decoder, Encoding, UTF_8, UTF_16BE, UTF_16LE};
use flate2::read::MultiGzDecoder;

use crate::error::Result;
use crate::trainer::dataset::faults::unusable;

/// Bytes that are read at a time.
const BUFFER: usize = 1 << 16;

/// Bytes by which the encoding of a file is known.
const HEAD: u64 = 1024;

/// The endings of packed files.
const PACKED: [&str; 4] = [".gz", ".gzip", ".zst", ".zstd"];

/// Returns the name of a file in lower case without the ending that says how it is packed.
pub(super) fn unpacked_name(path: &Path) -> String {
    let name = path.file_name().map(|name| name.to_string_lossy().to_ascii_lowercase()).unwrap_or_default();
    let rest = PACKED.iter().find_map(|ending| name.strip_suffix(ending)).map(str::to_owned);
    rest.unwrap_or(name)
}

/// Opens a file as UTF-8 without a byte order mark. Gzip and Zstandard are known by their first bytes; the encoding is the
/// one that is named, else UTF-16 if the file begins like it, else UTF-8, which is not checked here.
///
/// # Errors
/// [`crate::error::Error::Data`] when the file cannot be opened.
pub(super) fn open(path: &Path, encoding: Option<&str>) -> Result<Box<dyn Read>> {
    let broken = |error: io::Error| unusable(path.display(), error);
    let (packed, file) = begun(File::open(path).map_err(broken)?, 4).map_err(broken)?;
    let unpacked: Box<dyn Read> = match packed.as_slice() {
        [0x1f, 0x8b, ..] => Box::new(MultiGzDecoder::new(BufReader::with_capacity(BUFFER, file))),
        [0x28, 0xb5, 0x2f, 0xfd] => Box::new(zstd::Decoder::new(file).map_err(broken)?),
        _ => Box::new(file),
    };
    let mut unpacked = unpacked;
    let mut head = Vec::new();
    unpacked.by_ref().take(HEAD).read_to_end(&mut head).map_err(broken)?;
    let (encoding, mark) = encoding_of(&head, encoding).map_err(|problem| unusable(path.display(), problem))?;
    let rest = Cursor::new(head.split_off(mark)).chain(unpacked);
    Ok(if encoding == UTF_8 { Box::new(rest) } else { Box::new(Decoded::new(rest, encoding)) })
}

type Begun = io::Chain<Cursor<Vec<u8>>, File>;

/// Returns the first bytes of a file, and the file with them.
fn begun(mut file: File, bytes: u64) -> io::Result<(Vec<u8>, Begun)> {
    let mut head = Vec::new();
    file.by_ref().take(bytes).read_to_end(&mut head)?;
    Ok((head.clone(), Cursor::new(head).chain(file)))
}

/// Returns the encoding of a text and the length of its byte order mark.
fn encoding_of(head: &[u8], named: Option<&str>) -> std::result::Result<(&'static Encoding, usize), String> {
    let marked = Encoding::for_bom(head);
    let Some(label) = named else {
        return Ok(marked.unwrap_or_else(|| (unmarked(head), 0)));
    };
    let encoding = Encoding::for_label(label.as_bytes());
    let encoding = encoding.ok_or_else(|| format!("no encoding is called {}", crate::ids::quote(label)))?;
    let is_wide = encoding == UTF_16LE || encoding == UTF_16BE;
    Ok(match marked {
        Some((marked, length)) if marked == encoding || is_wide => (marked, length),
        _ => (encoding, 0),
    })
}

/// Returns the encoding of a text without a mark: UTF-16 if nearly every second byte is 0, as in Western texts.
fn unmarked(head: &[u8]) -> &'static Encoding {
    let pairs = head.len() / 2;
    let zeros = |offset: usize| head.iter().skip(offset).step_by(2).take(pairs).filter(|byte| **byte == 0).count();
    match [zeros(0), zeros(1)] {
        [even, odd] if pairs >= 2 && odd * 10 > pairs * 7 && even * 10 < pairs => UTF_16LE,
        [even, odd] if pairs >= 2 && even * 10 > pairs * 7 && odd * 10 < pairs => UTF_16BE,
        _ => UTF_8,
    }
}

/// Makes UTF-8 of a text in another encoding.
struct Decoded<R> {
    inner: R,
    decoder: Decoder,
    raw: Vec<u8>,
    text: Vec<u8>,
    taken: usize,
    has_ended: bool,
}

impl<R: Read> Decoded<R> {
    fn new(inner: R, encoding: &'static Encoding) -> Self {
        let decoder = encoding.new_decoder_without_bom_handling();
        Self { inner, decoder, raw: vec![0; BUFFER], text: Vec::new(), taken: 0, has_ended: false }
    }

    fn refill(&mut self) -> io::Result<()> {
        let read = self.inner.read(&mut self.raw)?;
        self.has_ended = read == 0;
        let most = self.decoder.max_utf8_buffer_length(read).unwrap_or(4 * BUFFER);
        self.text.resize(most, 0);
        self.taken = 0;
        let (result, _, written, is_damaged) =
            self.decoder.decode_to_utf8(&self.raw[..read], &mut self.text, self.has_ended);
        if is_damaged || result == CoderResult::OutputFull {
            let problem = format!("is not text in {}; --encoding names another", self.decoder.encoding().name());
            return Err(io::Error::new(io::ErrorKind::InvalidData, problem));
        }
        self.text.truncate(written);
        Ok(())
    }
}

impl<R: Read> Read for Decoded<R> {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        while self.taken == self.text.len() && !self.has_ended {
            self.refill()?;
        }
        let count = to.len().min(self.text.len() - self.taken);
        to[..count].copy_from_slice(&self.text[self.taken..][..count]);
        self.taken += count;
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(bytes: &[u8], encoding: Option<&str>) -> std::result::Result<String, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.csv");
        std::fs::write(&path, bytes).unwrap();
        let mut text = String::new();
        let mut file = open(&path, encoding).map_err(|error| error.to_string())?;
        file.read_to_string(&mut text).map_err(|error| error.to_string())?;
        Ok(text)
    }

    fn wide(text: &str, bytes: fn(u16) -> [u8; 2]) -> Vec<u8> {
        text.encode_utf16().flat_map(bytes).collect()
    }

    #[test]
    fn every_encoding_becomes_utf_8_without_a_mark() {
        let words = "naïve,größe\n1,2\n";
        assert_eq!(text(words.as_bytes(), None).unwrap(), words);
        assert_eq!(text(format!("\u{feff}{words}").as_bytes(), None).unwrap(), words);
        for marked in [words.to_owned(), format!("\u{feff}{words}")] {
            assert_eq!(text(&wide(&marked, u16::to_le_bytes), None).unwrap(), words);
            assert_eq!(text(&wide(&marked, u16::to_be_bytes), None).unwrap(), words);
        }
        assert_eq!(text(&wide(&format!("\u{feff}{words}"), u16::to_be_bytes), Some("utf-16")).unwrap(), words);
        assert_eq!(text(b"gr\xf6\xdfe", Some("latin1")).unwrap(), "größe");
        assert!(text(b"gr\xf6", Some("shift_jis")).unwrap_err().contains("Shift_JIS"));
        let long = "größe,1\n".repeat(40_000);
        assert_eq!(text(&wide(&format!("\u{feff}{long}"), u16::to_le_bytes), None).unwrap(), long);
    }

    #[test]
    fn packed_files_are_known_by_their_first_bytes() {
        use std::io::Write;
        let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        packed.write_all(b"a,b\n").unwrap();
        let once = packed.finish().unwrap();
        assert_eq!(text(&[once.clone(), once].concat(), None).unwrap(), "a,b\na,b\n");
        assert_eq!(text(&zstd::encode_all(&b"a,b\n"[..], 1).unwrap(), None).unwrap(), "a,b\n");
        assert_eq!(unpacked_name(Path::new("x/Train.CSV.gz")), "train.csv");
    }
}
