//! The wire format of protocol buffers, read field by field where it lies: enough to find a message in a file, and to
//! write another in its place. Everything that is not looked for keeps its bytes.

use std::ops::Range;

use crate::error::Error;

/// One field of a message.
#[derive(Debug, Clone)]
pub(crate) struct Field<'b> {
    pub(crate) number: u64,
    pub(crate) value: Value<'b>,
    /// All bytes of the field, its key included.
    pub(crate) whole: &'b [u8],
    /// Their place in all bytes that are read.
    pub(crate) place: Range<usize>,
}

/// The value of a field.
#[derive(Debug, Clone)]
pub(crate) enum Value<'b> {
    Varint(u64),
    /// A text, a list or a message, and the places of its length and of itself.
    Bytes {
        content: &'b [u8],
        length: Range<usize>,
        place: Range<usize>,
    },
    /// Four or eight bytes.
    Fixed,
}

impl<'b> Field<'b> {
    /// Returns the bytes of a text, a list or a message; `None` for a number.
    pub(crate) fn content(&self) -> Option<&'b [u8]> {
        match self.value {
            Value::Bytes { content, .. } => Some(content),
            Value::Varint(_) | Value::Fixed => None,
        }
    }
}

/// The bytes are not the wire format of protocol buffers.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Broken;

impl From<Broken> for Error {
    fn from(_: Broken) -> Self {
        Self::Repository { what: "model.onnx".into(), problem: "it is truncated or not an ONNX model".into() }
    }
}

/// The fields of a message, in order. What is no message ends with an error.
#[derive(Debug)]
pub(crate) struct Fields<'b> {
    bytes: &'b [u8],
    rest: Range<usize>,
}

/// Iterates over the fields of a message.
pub(crate) fn fields(message: &[u8]) -> Fields<'_> {
    Fields::of(message, 0..message.len())
}

impl<'b> Fields<'b> {
    /// Iterates over the fields of the message in a part of the bytes.
    pub(crate) fn of(bytes: &'b [u8], message: Range<usize>) -> Self {
        Self { bytes, rest: message }
    }

    fn read(&mut self) -> Result<Field<'b>, Broken> {
        let start = self.rest.start;
        let key = self.varint()?;
        let value = match key & 7 {
            0 => Value::Varint(self.varint()?),
            1 => self.take(8).map(|_| Value::Fixed)?,
            2 => {
                let begin = self.rest.start;
                let count = self.varint()?;
                let length = begin..self.rest.start;
                let place = self.take(count)?;
                Value::Bytes { content: &self.bytes[place.clone()], length, place }
            }
            5 => self.take(4).map(|_| Value::Fixed)?,
            _ => return Err(Broken),
        };
        let (number, place) = (key >> 3, start..self.rest.start);
        if number == 0 {
            return Err(Broken);
        }
        Ok(Field { number, value, whole: &self.bytes[place.clone()], place })
    }

    fn varint(&mut self) -> Result<u64, Broken> {
        let mut value = 0u64;
        for shift in (0..70).step_by(7) {
            let place = self.take(1)?;
            let byte = self.bytes[place.start];
            value |= u64::from(byte & 0x7f).checked_shl(shift).unwrap_or(0);
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(Broken)
    }

    fn take(&mut self, count: u64) -> Result<Range<usize>, Broken> {
        let count = usize::try_from(count).ok().filter(|count| *count <= self.rest.len()).ok_or(Broken)?;
        let taken = self.rest.start..self.rest.start + count;
        self.rest.start = taken.end;
        Ok(taken)
    }
}

impl<'b> Iterator for Fields<'b> {
    type Item = Result<Field<'b>, Broken>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let field = self.read();
        if field.is_err() {
            self.rest.start = self.rest.end;
        }
        Some(field)
    }
}

/// Appends a field that holds a text, a list or a message.
pub(crate) fn push(out: &mut Vec<u8>, number: u64, content: &[u8]) {
    put_varint(out, number << 3 | 2);
    put_varint(out, content.len() as u64);
    out.extend_from_slice(content);
}

/// Appends a number as it is written in messages.
pub(crate) fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Returns the number of bytes that [`put_varint`] appends.
pub(crate) fn varint_bytes(value: u64) -> usize {
    (64 - (value | 1).leading_zeros() as usize).div_ceil(7)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use prost::Message as _;
    use tract_onnx::pb::ValueInfoProto;

    use super::*;

    #[test]
    fn fields_are_found_and_written() {
        let value = ValueInfoProto { name: "x".repeat(300), doc_string: "d".into(), ..ValueInfoProto::default() };
        let bytes = value.encode_to_vec();
        let mut copy = Vec::new();
        for field in fields(&bytes) {
            let field = field.unwrap();
            assert_eq!(&bytes[field.place.clone()], field.whole);
            push(&mut copy, field.number, field.content().unwrap());
        }
        assert_eq!(copy, bytes);
        assert!(fields(&bytes[..200]).any(|field| field.is_err()));
    }

    proptest! {
        #[test]
        fn noise_ends_and_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let read: usize = fields(&bytes).filter_map(|field| field.ok().map(|field| field.whole.len())).sum();
            prop_assert!(read <= bytes.len());
        }

        #[test]
        fn numbers_are_written_in_as_many_bytes_as_stated(value in any::<u64>()) {
            let mut bytes = Vec::new();
            put_varint(&mut bytes, value);
            prop_assert_eq!(bytes.len(), varint_bytes(value));
        }
    }
}
