//! The wire format of protobuf, read where it lies, and the messages of ONNX that lead to a tensor.

use std::ops::Range;

/// The messages of ONNX that lead to a tensor, and what a tensor says of data in other files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Message {
    Model,
    Training,
    Function,
    Graph,
    Node,
    Attribute,
    Sparse,
    Tensor,
}

/// The field numbers of a tensor's own bytes, of `external_data` and of `data_location`.
pub(super) const RAW_DATA: u64 = 9;
pub(super) const EXTERNAL_DATA: u64 = 13;
pub(super) const DATA_LOCATION: u64 = 14;

impl Message {
    /// Returns the message that a field holds, by the field number in onnx.proto.
    pub(super) fn field(self, number: u64) -> Option<Self> {
        match (self, number) {
            (Self::Model, 7) | (Self::Training, 1 | 2) | (Self::Attribute, 6 | 11) => Some(Self::Graph),
            (Self::Model, 20) => Some(Self::Training),
            (Self::Model, 25) => Some(Self::Function),
            (Self::Graph, 1) | (Self::Function, 7) => Some(Self::Node),
            (Self::Node, 5) | (Self::Function, 11) => Some(Self::Attribute),
            (Self::Graph, 15) | (Self::Attribute, 22 | 23) => Some(Self::Sparse),
            (Self::Graph, 5) | (Self::Attribute, 5 | 10) | (Self::Sparse, 1 | 2) => Some(Self::Tensor),
            _ => None,
        }
    }
}

/// One field of a message. All places count from the start of the file.
#[derive(Debug)]
pub(super) struct Field {
    pub(super) number: u64,
    pub(super) value: Value,
    /// The whole field, its key included.
    pub(super) place: Range<usize>,
}

/// The value of a field.
#[derive(Debug)]
pub(super) enum Value {
    Varint(u64),
    /// Bytes, a text or a message, and the place where their length is written.
    Bytes {
        length: Range<usize>,
        content: Range<usize>,
    },
    /// Four or eight bytes.
    Fixed,
}

/// The bytes are not the wire format of protobuf.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Broken;

/// Reads the fields of the message in a part of the bytes.
#[derive(Debug)]
pub(super) struct Fields<'b> {
    bytes: &'b [u8],
    rest: Range<usize>,
}

impl<'b> Fields<'b> {
    pub(super) fn of(bytes: &'b [u8], message: Range<usize>) -> Self {
        Self { bytes, rest: message }
    }

    /// Returns the next field; `None` at the end of the message.
    pub(super) fn next(&mut self) -> Result<Option<Field>, Broken> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        let start = self.rest.start;
        let key = self.varint()?;
        let value = match key & 7 {
            0 => Value::Varint(self.varint()?),
            1 => self.take(8).map(|_| Value::Fixed)?,
            2 => {
                let begin = self.rest.start;
                let count = self.varint()?;
                let length = begin..self.rest.start;
                Value::Bytes { length, content: self.take(count)? }
            }
            5 => self.take(4).map(|_| Value::Fixed)?,
            _ => return Err(Broken),
        };
        let number = key >> 3;
        if number == 0 { Err(Broken) } else { Ok(Some(Field { number, value, place: start..self.rest.start })) }
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

/// Appends a number as it is written in messages.
pub(super) fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Returns the number of bytes that [`put_varint`] appends.
pub(super) fn varint_bytes(value: u64) -> usize {
    (64 - (value | 1).leading_zeros() as usize).div_ceil(7)
}
