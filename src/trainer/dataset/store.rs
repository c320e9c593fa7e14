//! Where samples lie: in memory, or beyond a limit in an unlinked temporary file of records of one
//! size, which are read at random.

use std::borrow::Cow;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::os::unix::fs::FileExt;

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

/// Records of one size.
#[derive(Debug)]
pub(super) struct Store {
    element: Element,
    record: usize,
    place: Place,
}

#[derive(Debug)]
enum Place {
    Memory(Vec<u8>),
    File(File),
}

impl Store {
    /// Records that are in memory already, of so many bytes each.
    pub(super) fn in_memory(element: Element, record: usize, bytes: Vec<u8>) -> Self {
        Self { element, record, place: Place::Memory(bytes) }
    }

    /// Records that were read as a whole; more than `limit` bytes are moved into a temporary file.
    ///
    /// # Errors
    /// [`Error::Io`] when the temporary file cannot be made or written.
    pub(super) fn keep(element: Element, elements: usize, bytes: Vec<u8>, limit: u64) -> Result<Self> {
        let record = elements * element.bytes();
        if bytes.len() as u64 <= limit {
            return Ok(Self::in_memory(element, record, bytes));
        }
        let mut writer = StoreWriter::new(element, elements, limit);
        writer.write(&bytes)?;
        writer.finish()
    }

    /// Returns true if the records are in a file.
    pub(super) fn is_spilled(&self) -> bool {
        matches!(self.place, Place::File(_))
    }

    /// The bytes of one record.
    ///
    /// # Errors
    /// [`Error::Io`] when the temporary file cannot be read.
    pub(super) fn record(&self, index: usize) -> Result<Cow<'_, [u8]>> {
        let start = index * self.record;
        match &self.place {
            Place::Memory(bytes) => Ok(Cow::Borrowed(&bytes[start..][..self.record])),
            Place::File(file) => {
                let mut bytes = vec![0; self.record];
                file.read_exact_at(&mut bytes, start as u64).map_err(Error::io("read", SPILLED))?;
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

/// Collects records, and moves them into a file once they take more than a limit.
#[derive(Debug)]
pub(super) struct StoreWriter {
    element: Element,
    record: usize,
    limit: u64,
    memory: Vec<u8>,
    file: Option<BufWriter<File>>,
}

impl StoreWriter {
    /// No record yet, of so many elements each; `limit` bytes may lie in memory.
    pub(super) fn new(element: Element, elements: usize, limit: u64) -> Self {
        Self { element, record: elements * element.bytes(), limit, memory: Vec::new(), file: None }
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
        for float in floats {
            self.memory.extend_from_slice(&float.to_le_bytes());
        }
        self.spill_if_full()
    }

    /// Keeps the first `elements` of each record alone, of which there are so many.
    ///
    /// # Errors
    /// As [`StoreWriter::pixels`], and as [`Store::record`].
    pub(super) fn narrow(&mut self, records: usize, elements: usize) -> Result<()> {
        let record = elements * self.element.bytes();
        let narrow = Self { element: self.element, record, limit: self.limit, memory: Vec::new(), file: None };
        let wide = std::mem::replace(self, narrow).finish()?;
        (0..records).try_for_each(|index| self.write(&wide.record(index)?[..record]))
    }

    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.memory.extend_from_slice(bytes);
        self.spill_if_full()
    }

    fn spill_if_full(&mut self) -> Result<()> {
        let is_full = self.memory.len() as u64 > self.limit;
        if self.file.is_none() && is_full {
            let file = tempfile::tempfile().map_err(Error::io("create", SPILLED))?;
            self.file = Some(BufWriter::with_capacity(1 << 20, file));
        }
        if let Some(file) = &mut self.file {
            file.write_all(&self.memory).map_err(Error::io("write", SPILLED))?;
            if is_full {
                self.memory = Vec::new();
            }
            self.memory.clear();
        }
        Ok(())
    }

    /// All records.
    ///
    /// # Errors
    /// As [`StoreWriter::pixels`].
    pub(super) fn finish(self) -> Result<Store> {
        let Self { element, record, mut memory, file, .. } = self;
        let place = match file {
            Some(file) => {
                let file = file.into_inner().map_err(|error| Error::io("write", SPILLED)(error.into_error()))?;
                Place::File(file)
            }
            None => {
                memory.shrink_to_fit();
                Place::Memory(memory)
            }
        };
        Ok(Store { element, record, place })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_record_is_the_same_wherever_it_lies(floats in prop::collection::vec(prop::array::uniform3(any::<f32>()), 1..40), limit in 0u64..500) {
            let written = |limit| {
                let mut writer = StoreWriter::new(Element::Float, 3, limit);
                floats.iter().for_each(|record| writer.floats(record).unwrap());
                writer.finish().unwrap()
            };
            let (memory, file) = (written(u64::MAX), written(limit));
            prop_assert!(!memory.is_spilled());
            prop_assert_eq!(file.is_spilled(), floats.len() as u64 * 12 > limit);
            for index in (0..floats.len()).rev() {
                prop_assert_eq!(memory.record(index).unwrap(), file.record(index).unwrap());
            }
        }
    }
}
