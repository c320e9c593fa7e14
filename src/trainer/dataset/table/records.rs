//! The records of a CSV file: one thread splits the file into fields, while another one looks at those of the last batch.

use std::io::{self, Read};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::thread;

use csv::{ByteRecord, Reader, ReaderBuilder};

use crate::error::Result;

/// Bytes of fields that a batch holds, but for its last record.
const BATCH: usize = 1 << 17;

/// Fields that a batch holds, but for those of its last record.
const FIELDS: usize = 1 << 15;

/// Batches that wait to be looked at.
const AHEAD: usize = 2;

/// Where a record begins and ends in the file.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    pub(super) byte: u64,
    pub(super) line: u64,
    pub(super) end_byte: u64,
    pub(super) end_line: u64,
}

/// The end of a file.
#[derive(Debug, Clone, Copy)]
pub(super) struct End {
    /// All quotes of the file.
    pub(super) quotes: u64,
    /// The last line.
    pub(super) line: u64,
}

/// Records one behind the other.
#[derive(Debug, Default)]
struct Batch {
    bytes: Vec<u8>,
    /// The ends of all fields among the bytes.
    ends: Vec<usize>,
    /// By record: its place in the file, and how many fields there are up to its end.
    records: Vec<(Place, usize)>,
}

impl Batch {
    fn clear(&mut self) {
        self.bytes.clear();
        self.ends.clear();
        self.records.clear();
    }

    fn push(&mut self, record: &ByteRecord, place: Place) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(record.as_slice());
        self.ends.extend((0..record.len()).filter_map(|field| record.range(field)).map(|range| start + range.end));
        self.records.push((place, self.ends.len()));
    }

    fn is_full(&self) -> bool {
        self.bytes.len() >= BATCH || self.ends.len() >= FIELDS
    }

    /// Calls `take` with each record.
    fn each(&self, take: &mut impl FnMut(&Record<'_>) -> Result<()>) -> Result<()> {
        // All fields are checked at once; if one is no text, each by itself.
        let text = std::str::from_utf8(&self.bytes).ok();
        let (mut start, mut first) = (0, 0);
        for (place, fields) in &self.records {
            let ends = &self.ends[first..*fields];
            take(&Record { place: *place, bytes: &self.bytes, text, start, ends })?;
            (start, first) = (ends.last().copied().unwrap_or(start), *fields);
        }
        Ok(())
    }
}

/// A record.
#[derive(Debug)]
pub(super) struct Record<'b> {
    pub(super) place: Place,
    bytes: &'b [u8],
    text: Option<&'b str>,
    start: usize,
    ends: &'b [usize],
}

impl<'b> Record<'b> {
    /// Returns the number of fields.
    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }

    /// Returns the bytes of each field.
    pub(super) fn fields(&self) -> impl Iterator<Item = &'b [u8]> {
        let bytes = self.bytes;
        self.ranges().map(move |(start, end)| &bytes[start..end])
    }

    /// Returns the text of each field; `None` of what is not UTF-8.
    pub(super) fn texts(&self) -> impl Iterator<Item = Option<&'b str>> {
        let (bytes, text) = (self.bytes, self.text);
        self.ranges().map(move |(start, end)| match text {
            // Not UTF-8 either, if one character goes over the ends of two fields.
            Some(text) => text.get(start..end),
            None => std::str::from_utf8(&bytes[start..end]).ok(),
        })
    }

    fn ranges(&self) -> impl Iterator<Item = (usize, usize)> + use<'b> {
        let mut start = self.start;
        self.ends.iter().map(move |end| (std::mem::replace(&mut start, *end), *end))
    }
}

/// A message of the thread that splits.
enum Told {
    Batch(Batch),
    End(std::result::Result<End, csv::Error>),
}

/// Calls `take` with each record of a text that `open` opens.
///
/// # Errors
/// Those of `open` and `take`, as they are.
pub(super) fn each_record(
    (separator, quote): (u8, u8),
    open: impl FnOnce() -> Result<Box<dyn Read>> + Send,
    mut take: impl FnMut(&Record<'_>) -> Result<()>,
) -> Result<std::result::Result<End, csv::Error>> {
    thread::scope(|scope| {
        let (told, batches) = sync_channel(AHEAD);
        let (used, empty) = channel();
        let splitter = scope.spawn(move || -> Result<()> {
            let inner = Counted { inner: open()?, quote, quotes: 0 };
            let mut builder = ReaderBuilder::new();
            builder.delimiter(separator).quote(quote).has_headers(false).flexible(true).buffer_capacity(1 << 18);
            split(builder.from_reader(inner), &told, &empty);
            Ok(())
        });
        let ended = look(&batches, &used, &mut take);
        // Whoever splits is told by that that nobody listens any more.
        drop(batches);
        let opened = splitter.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        match (opened, ended?) {
            (Err(error), _) => Err(error),
            (Ok(()), Some(end)) => Ok(end),
            (Ok(()), None) => Ok(Ok(End { quotes: 0, line: 0 })),
        }
    })
}

/// Looks at all batches, and returns how the file ended.
fn look(
    batches: &Receiver<Told>,
    used: &Sender<Batch>,
    take: &mut impl FnMut(&Record<'_>) -> Result<()>,
) -> Result<Option<std::result::Result<End, csv::Error>>> {
    for told in batches {
        match told {
            Told::Batch(batch) => {
                batch.each(take)?;
                // The splitter may be done already, and take it no more.
                used.send(batch).ok();
            }
            Told::End(end) => return Ok(Some(end)),
        }
    }
    Ok(None)
}

/// Splits a text to its end, or until nobody listens.
fn split<R: Read>(mut reader: Reader<Counted<R>>, told: &SyncSender<Told>, empty: &Receiver<Batch>) {
    let mut record = ByteRecord::new();
    loop {
        let mut batch = empty.try_recv().unwrap_or_default();
        batch.clear();
        let mut end = None;
        while !batch.is_full() && end.is_none() {
            let start = reader.position().clone();
            match reader.read_byte_record(&mut record) {
                Ok(true) => {
                    let (begin, after) = (record.position().unwrap_or(&start), reader.position());
                    let (byte, line) = (begin.byte(), begin.line());
                    let (end_byte, end_line) = (after.byte(), after.line());
                    batch.push(&record, Place { byte, line, end_byte, end_line });
                }
                Ok(false) => end = Some(Ok(End { quotes: reader.get_ref().quotes, line: reader.position().line() })),
                Err(error) => end = Some(Err(error)),
            }
        }
        if told.send(Told::Batch(batch)).is_err() {
            return;
        }
        if let Some(end) = end {
            // If nobody listens any more, nothing is missed.
            told.send(Told::End(end)).ok();
            return;
        }
    }
}

/// Counts the quotes that pass.
struct Counted<R> {
    inner: R,
    quote: u8,
    quotes: u64,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(to)?;
        let quotes: usize = to[..read].chunks(255).map(|bytes| quotes_in(bytes, self.quote)).sum();
        self.quotes += quotes as u64;
        Ok(read)
    }
}

/// Returns the number of quotes in at most 255 bytes; a count that fits a byte is one for vectors.
fn quotes_in(bytes: &[u8], quote: u8) -> usize {
    usize::from(bytes.iter().fold(0u8, |count, byte| count + u8::from(*byte == quote)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Error;
    use proptest::prelude::*;

    fn read(text: Vec<u8>, mut take: impl FnMut(&Record<'_>) -> Result<()>) -> Result<End> {
        let open = move || Ok(Box::new(io::Cursor::new(text)) as Box<dyn Read>);
        Ok(each_record((b',', b'"'), open, |record| take(record))?.unwrap())
    }

    #[test]
    fn quotes_are_counted() {
        assert_eq!(quotes_in(&[b'"'; 255], b'"'), 255);
        let end = read(b"\"a\"\"\n\",b\nc,d\n".to_vec(), |_| Ok(())).unwrap();
        assert_eq!((end.quotes, end.line), (4, 4));
    }

    #[test]
    fn a_character_over_two_fields_is_none() {
        let mut texts = Vec::new();
        read(b"\xc3,\xa9,\xc3\xa9\n".to_vec(), |record| {
            texts.extend(record.texts().map(|text| text.map(str::to_owned)));
            Ok(())
        })
        .unwrap();
        assert_eq!(texts, [None, None, Some("é".to_owned())]);
    }

    #[test]
    fn who_stops_ends_the_reading_and_what_cannot_be_opened_is_said() {
        let (mut rows, stop) = (0, || Error::Config { setting: "stop".into(), problem: String::new() });
        let stopped = read(b"a,b\n".repeat(1_000_000), |_| {
            rows += 1;
            if rows == 3 { Err(stop()) } else { Ok(()) }
        });
        assert!(stopped.unwrap_err().to_string().contains("stop") && rows == 3);
        assert!(each_record((b',', b'"'), || Err(stop()), |_| Ok(())).is_err());
    }

    proptest! {
        #[test]
        fn records_are_those_of_the_file_whatever_the_batches(
            rows in prop::collection::vec(prop::collection::vec("[a-zé\"\n, ]{0,6}", 1..5), 0..50), times in prop::sample::select(vec![1usize, 2000]),
        ) {
            let mut writer = csv::WriterBuilder::new().flexible(true).from_writer(Vec::new());
            let all = || std::iter::repeat_n(&rows, times).flatten();
            all().for_each(|row| writer.write_record(row).unwrap());
            let text = writer.into_inner().unwrap();
            let mut expected = all();
            let mut ends = 0;
            let end = read(text.clone(), |record| {
                let found: Vec<&str> = record.texts().map(Option::unwrap).collect();
                assert_eq!(&found, expected.next().unwrap());
                let bytes: Vec<&[u8]> = record.fields().collect();
                assert_eq!(bytes, found.iter().map(|text| text.as_bytes()).collect::<Vec<_>>());
                assert_eq!((record.len(), record.place.byte), (found.len(), ends));
                ends = record.place.end_byte;
                assert!(record.place.end_line > record.place.line);
                Ok(())
            });
            prop_assert!(expected.next().is_none());
            prop_assert_eq!(end.unwrap().quotes, text.iter().filter(|byte| **byte == b'"').count() as u64);
        }
    }
}
