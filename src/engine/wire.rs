//! The wire format of protocol buffers, field by field: enough to find a message, and to write one in its place.

use super::contain::unusable;
use crate::error::{Error, Result};

/// A field of a message.
#[derive(Debug, Clone, Copy)]
pub(super) struct Field<'b> {
    pub(super) number: u64,
    /// The bytes of a text, a list or a message; `None` for a number.
    pub(super) content: Option<&'b [u8]>,
    /// All bytes of the field.
    pub(super) whole: &'b [u8],
}

/// The fields of a message, in order.
#[derive(Debug)]
pub(super) struct Fields<'b>(&'b [u8]);

/// Iterates over the fields of a message. What is no message ends with an error.
pub(super) fn fields(message: &[u8]) -> Fields<'_> {
    Fields(message)
}

impl<'b> Iterator for Fields<'b> {
    type Item = Result<Field<'b>>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let field = self.read();
        if field.is_err() {
            self.0 = &[];
        }
        Some(field)
    }
}

impl<'b> Fields<'b> {
    fn read(&mut self) -> Result<Field<'b>> {
        let all = self.0;
        let key = self.varint()?;
        let content = match key & 7 {
            0 => {
                self.varint()?;
                None
            }
            1 => {
                self.take(8)?;
                None
            }
            2 => {
                let length = self.varint()?;
                Some(self.take(length)?)
            }
            5 => {
                self.take(4)?;
                None
            }
            _ => return Err(broken()),
        };
        Ok(Field { number: key >> 3, content, whole: &all[..all.len() - self.0.len()] })
    }

    fn varint(&mut self) -> Result<u64> {
        let mut value = 0u64;
        for shift in (0..70).step_by(7) {
            let byte = self.take(1)?[0];
            value |= u64::from(byte & 0x7f).checked_shl(shift).unwrap_or(0);
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(broken())
    }

    fn take(&mut self, length: u64) -> Result<&'b [u8]> {
        let length = usize::try_from(length).ok().filter(|length| *length <= self.0.len()).ok_or_else(broken)?;
        let (head, tail) = self.0.split_at(length);
        self.0 = tail;
        Ok(head)
    }
}

/// Appends a field that holds a text, a list or a message.
pub(super) fn push(out: &mut Vec<u8>, number: u64, content: &[u8]) {
    for mut value in [number << 3 | 2, content.len() as u64] {
        while value >= 0x80 {
            out.push(value as u8 | 0x80);
            value >>= 7;
        }
        out.push(value as u8);
    }
    out.extend_from_slice(content);
}

fn broken() -> Error {
    unusable("it is truncated or not an ONNX model")
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
            push(&mut copy, field.number, field.content.unwrap());
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
    }
}
