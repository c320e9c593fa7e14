//! Where samples lie: in memory, or beyond a limit in an unlinked temporary file of records of one
//! size, which are read at random.

use std::borrow::Cow;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::os::unix::fs::FileExt;

use super::memory::{Budget, Reservation};
use crate::error::{Error, Result};

/// The type of the elements of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Element {
    /// Grey pixels, a byte each.
    Pixel,
    /// 32-bit floats, little-endian.
    Float,
}

impl Element {
    /// The size of one in bytes.
    pub(super) fn bytes(self) -> usize {
        match self {
            Self::Pixel => 1,
            Self::Float => 4,
        }
    }
}

/// Bytes of records that are kept in one piece: a store that grows copies nothing that it holds.
const CHUNK: usize = 1 << 22;

/// Bytes that each record takes beside itself: its number, what is to be learned of it, its place in a split and in the order
/// of an epoch.
pub(super) const BESIDE: u64 = 16;

/// Records of one size.
#[derive(Debug)]
pub(super) struct Store {
    element: Element,
    record: usize,
    place: Place,
    taken: Reservation,
}

#[derive(Debug)]
enum Place {
    /// The number of records in each chunk but the last one.
    Memory {
        chunks: Vec<Vec<u8>>,
        records: usize,
    },
    File(File),
}

impl Store {
    /// Records that are in memory already, of so many bytes each.
    pub(super) fn in_memory(element: Element, record: usize, bytes: Vec<u8>) -> Self {
        let place = Place::Memory { chunks: vec![bytes], records: usize::MAX };
        Self { element, record, place, taken: Budget::unlimited().reservation() }
    }

    /// Records that were read as a whole; what is more than the budget has is moved into a temporary file.
    ///
    /// # Errors
    /// [`Error::Io`] when the temporary file cannot be made or written.
    pub(super) fn keep(element: Element, elements: usize, bytes: Vec<u8>, budget: &Budget) -> Result<Self> {
        let record = elements * element.bytes();
        let count = (bytes.len() / record.max(1)) as u64;
        let mut taken = budget.reservation();
        if taken.takes(bytes.len() as u64 + count * BESIDE) {
            return Ok(Self { taken, ..Self::in_memory(element, record, bytes) });
        }
        let mut file = spilled()?;
        file.write_all(&bytes).map_err(Error::io("write", SPILLED))?;
        Ok(Self { element, record, place: Place::File(finished(file)?), taken })
    }

    /// Returns true if the records are in a file.
    pub(super) fn is_spilled(&self) -> bool {
        matches!(self.place, Place::File(_))
    }

    /// Returns the budget that the records are kept in.
    pub(super) fn budget(&self) -> &Budget {
        self.taken.budget()
    }

    /// The bytes of one record.
    ///
    /// # Errors
    /// [`Error::Io`] when the temporary file cannot be read.
    pub(super) fn record(&self, index: usize) -> Result<Cow<'_, [u8]>> {
        match &self.place {
            Place::Memory { chunks, records } => {
                let chunk = &chunks[index / records];
                Ok(Cow::Borrowed(&chunk[index % records * self.record..][..self.record]))
            }
            Place::File(file) => {
                let mut bytes = vec![0; self.record];
                file.read_exact_at(&mut bytes, (index * self.record) as u64).map_err(Error::io("read", SPILLED))?;
                Ok(Cow::Owned(bytes))
            }
        }
    }

    /// Appends the elements of one record.
    ///
    /// # Errors
    /// As [`Store::record`].
    pub(super) fn append(&self, index: usize, to: &mut Vec<f32>) -> Result<()> {
        let record = self.record(index)?;
        match self.element {
            Element::Pixel => to.extend(record.iter().map(|pixel| f32::from(*pixel))),
            Element::Float => {
                let float = |bytes: &[u8]| f32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
                to.extend(record.chunks_exact(4).map(float));
            }
        }
        Ok(())
    }
}

/// The name of the temporary file, which has none, in error messages.
const SPILLED: &str = "the temporary file of samples";

/// Returns a new temporary file.
fn spilled() -> Result<BufWriter<File>> {
    let file = tempfile::tempfile().map_err(Error::io("create", SPILLED))?;
    Ok(BufWriter::with_capacity(1 << 20, file))
}

/// Writes what is left to be written.
fn finished(file: BufWriter<File>) -> Result<File> {
    file.into_inner().map_err(|error| Error::io("write", SPILLED)(error.into_error()))
}

/// Collects records, and moves them into a file once they take more than the budget has left.
#[derive(Debug)]
pub(super) struct StoreWriter {
    element: Element,
    record: usize,
    taken: Reservation,
    chunks: Vec<Vec<u8>>,
    file: Option<BufWriter<File>>,
    /// The bytes of the record that is written.
    bytes: Vec<u8>,
}

impl StoreWriter {
    /// No record yet, of so many elements each, which may lie in the memory of a budget.
    pub(super) fn new(element: Element, elements: usize, budget: &Budget) -> Self {
        let (record, taken) = (elements * element.bytes(), budget.reservation());
        Self { element, record, taken, chunks: Vec::new(), file: None, bytes: Vec::new() }
    }

    /// Adds a record of pixels.
    ///
    /// # Errors
    /// [`Error::Io`] when the temporary file cannot be made or written.
    pub(super) fn pixels(&mut self, pixels: &[u8]) -> Result<()> {
        debug_assert_eq!(pixels.len(), self.record);
        self.write(pixels)
    }

    /// Adds the bytes of a record as another store of these elements has them.
    ///
    /// # Errors
    /// As [`StoreWriter::pixels`].
    pub(super) fn record(&mut self, bytes: &[u8]) -> Result<()> {
        debug_assert_eq!(bytes.len(), self.record);
        self.write(bytes)
    }

    /// Adds a record of floats.
    ///
    /// # Errors
    /// As [`StoreWriter::pixels`].
    pub(super) fn floats(&mut self, floats: &[f32]) -> Result<()> {
        debug_assert_eq!(floats.len() * 4, self.record);
        let mut bytes = std::mem::take(&mut self.bytes);
        bytes.clear();
        bytes.extend(floats.iter().flat_map(|float| float.to_le_bytes()));
        let written = self.write(&bytes);
        self.bytes = bytes;
        written
    }

    /// Keeps the first `elements` of each record alone.
    ///
    /// # Errors
    /// As [`StoreWriter::pixels`], and as [`Store::record`].
    pub(super) fn narrow(&mut self, records: usize, elements: usize) -> Result<()> {
        let narrow = Self::new(self.element, elements, self.taken.budget());
        let (kept, wide) = (elements * self.element.bytes(), self.record);
        let mut old = std::mem::replace(self, narrow);
        if old.file.is_some() {
            let old = old.finish()?;
            return (0..records).try_for_each(|index| self.write(&old.record(index)?[..kept]));
        }
        // Chunk by chunk, each given back before the next is looked at.
        old.taken.clear();
        let mut chunks = old.chunks.into_iter();
        chunks.try_for_each(|chunk| chunk.chunks_exact(wide).try_for_each(|record| self.write(&record[..kept])))
    }

    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        if self.file.is_none() && !self.taken.takes(bytes.len() as u64 + BESIDE) {
            self.spill()?;
        }
        if let Some(file) = &mut self.file {
            return file.write_all(bytes).map_err(Error::io("write", SPILLED));
        }
        let is_full = |chunk: &Vec<u8>| chunk.len() + bytes.len() > self.chunk();
        if self.chunks.last().is_none_or(is_full) {
            self.chunks.push(Vec::new());
        }
        if let Some(chunk) = self.chunks.last_mut() {
            chunk.extend_from_slice(bytes);
        }
        Ok(())
    }

    /// Moves the records that are there into a file.
    fn spill(&mut self) -> Result<()> {
        let mut file = spilled()?;
        for chunk in self.chunks.drain(..) {
            file.write_all(&chunk).map_err(Error::io("write", SPILLED))?;
        }
        self.chunks = Vec::new();
        self.taken.clear();
        self.file = Some(file);
        Ok(())
    }

    /// Returns the bytes of a full chunk: those of whole records.
    fn chunk(&self) -> usize {
        self.records() * self.record
    }

    /// Returns the records of a full chunk.
    fn records(&self) -> usize {
        (CHUNK / self.record.max(1)).max(1)
    }

    /// All records.
    ///
    /// # Errors
    /// As [`StoreWriter::pixels`].
    pub(super) fn finish(self) -> Result<Store> {
        let records = self.records();
        let Self { element, record, taken, mut chunks, file, .. } = self;
        let place = match file {
            Some(file) => Place::File(finished(file)?),
            None => {
                chunks.iter_mut().rev().take(1).for_each(Vec::shrink_to_fit);
                Place::Memory { chunks, records }
            }
        };
        Ok(Store { element, record, place, taken })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn records_are_the_same_across_chunks_and_narrowed() {
        let side = CHUNK / 5;
        let mut writer = StoreWriter::new(Element::Pixel, side, &Budget::unlimited());
        (0..12u8).for_each(|index| writer.pixels(&vec![index; side]).unwrap());
        assert_eq!(writer.chunks.len(), 3);
        writer.narrow(12, 2).unwrap();
        let store = writer.finish().unwrap();
        (0..12u8).for_each(|index| assert_eq!(&*store.record(index.into()).unwrap(), [index; 2]));
        assert_eq!(store.budget().most_taken(), 12 * (side as u64 + BESIDE));
    }

    #[test]
    fn stores_of_one_budget_take_no_more_than_it_has() {
        let budget = Budget::new(1000);
        let filled = |records: usize| {
            let mut writer = StoreWriter::new(Element::Float, 5, &budget);
            (0..records).for_each(|record| writer.floats(&[record as f32; 5]).unwrap());
            writer.finish().unwrap()
        };
        // A record takes 20 bytes and those beside it.
        let (first, second) = (filled(20), filled(8));
        assert!(!first.is_spilled() && second.is_spilled());
        let kept = Store::keep(Element::Pixel, 10, vec![0; 100], &budget).unwrap();
        assert!(!kept.is_spilled(), "what was spilled is given back");
        drop(first);
        assert!(!filled(20).is_spilled() && filled(28).is_spilled());
        assert!(budget.most_taken() <= 1000, "{}", budget.most_taken());
    }

    proptest! {
        #[test]
        fn a_record_is_the_same_wherever_it_lies(floats in prop::collection::vec(prop::array::uniform3(any::<f32>()), 1..40), limit in 0u64..1000) {
            let written = |limit| {
                let mut writer = StoreWriter::new(Element::Float, 3, &Budget::new(limit));
                floats.iter().for_each(|record| writer.floats(record).unwrap());
                writer.finish().unwrap()
            };
            let (memory, file) = (written(u64::MAX), written(limit));
            prop_assert!(!memory.is_spilled());
            prop_assert_eq!(file.is_spilled(), floats.len() as u64 * (12 + BESIDE) > limit);
            for index in (0..floats.len()).rev() {
                prop_assert_eq!(memory.record(index).unwrap(), file.record(index).unwrap());
            }
        }
    }
}
