//! Tensors as bytes: little-endian, row by row, packed; BOOL one byte an element; BYTES, for each
//! element, its length in four bytes and then the element. Nothing is allocated by a number that was
//! not compared with the bytes that are there.

use bytemuck::cast_slice;
use bytes::Bytes;
use half::slice::HalfFloatSliceExt;

use crate::error::{Error, Result};
use crate::signature::DType;
use crate::tensor::Data;

/// The length before each element of BYTES.
const LENGTH_BYTES: usize = size_of::<u32>();

/// The elements of a shape.
///
/// # Errors
/// [`Error::InvalidInput`] when there are more than could be counted.
pub(crate) fn element_count(shape: &[usize]) -> Result<usize> {
    shape
        .iter()
        .try_fold(1usize, |product, &dim| product.checked_mul(dim))
        .ok_or_else(|| Error::InvalidInput(format!("a tensor of shape {shape:?} is too large")))
}

/// Numbers or truth values, exactly as many as the bytes must hold.
///
/// # Errors
/// [`Error::InvalidInput`] when the bytes hold another number of them, or are of strings.
pub(crate) fn read_elements(dtype: DType, count: usize, bytes: &[u8]) -> Result<Data> {
    let size = dtype.bytes().ok_or_else(|| Error::InvalidInput("elements of BYTES carry their lengths".into()))?;
    if count.checked_mul(size) != Some(bytes.len()) {
        return Err(Error::InvalidInput(format!(
            "{count} elements of {size} bytes each were expected, got {} bytes",
            bytes.len()
        )));
    }
    Ok(Data::from_le_bytes(dtype, bytes))
}

/// The elements of a BYTES tensor; they share the memory of `bytes`.
///
/// # Errors
/// [`Error::InvalidInput`] when an element is cut off, or their number is another.
pub(crate) fn read_strings(count: usize, bytes: &Bytes) -> Result<Vec<Bytes>> {
    let refuse = |problem: String| Err(Error::InvalidInput(format!("the elements of BYTES {problem}")));
    // An element is at least its length.
    let mut elements = Vec::with_capacity(count.min(bytes.len() / LENGTH_BYTES));
    let mut at = 0;
    while let Some(length) = bytes[at..].first_chunk::<LENGTH_BYTES>() {
        if elements.len() == count {
            return refuse(format!("must be {count}, got more"));
        }
        let begin = at + LENGTH_BYTES;
        let length = u32::from_le_bytes(*length) as usize;
        if length > bytes.len() - begin {
            let rest = bytes.len() - begin;
            return refuse(format!("are cut off: element {} has {length} bytes, {rest} are left", elements.len()));
        }
        at = begin + length;
        elements.push(bytes.slice(begin..at));
    }
    if at < bytes.len() {
        return refuse(format!("are cut off: {} bytes are too few for the length of one", bytes.len() - at));
    }
    if elements.len() < count {
        return refuse(format!("must be {count}, got {}", elements.len()));
    }
    Ok(elements)
}

/// The bytes that [`write_elements`] writes.
pub(crate) fn byte_size(data: &Data) -> usize {
    match data {
        Data::String(texts) => texts.iter().map(|text| LENGTH_BYTES + text.len()).sum(),
        other => other.len() * other.dtype().bytes().unwrap_or(0),
    }
}

/// Appends the bytes of a tensor.
pub(crate) fn write_elements(data: &Data, out: &mut Vec<u8>) {
    macro_rules! write {
        ($elements:expr, $plain:expr) => {
            if cfg!(target_endian = "little") {
                out.extend_from_slice(cast_slice($plain))
            } else {
                $elements.iter().for_each(|element| out.extend_from_slice(&element.to_le_bytes()))
            }
        };
    }
    out.reserve(byte_size(data));
    match data {
        Data::Bool(elements) => out.extend(elements.iter().map(|element| u8::from(*element))),
        Data::Uint8(elements) => out.extend_from_slice(elements),
        Data::Int8(elements) => out.extend_from_slice(cast_slice(elements)),
        Data::Uint16(elements) => write!(elements, elements.as_slice()),
        Data::Uint32(elements) => write!(elements, elements.as_slice()),
        Data::Uint64(elements) => write!(elements, elements.as_slice()),
        Data::Int16(elements) => write!(elements, elements.as_slice()),
        Data::Int32(elements) => write!(elements, elements.as_slice()),
        Data::Int64(elements) => write!(elements, elements.as_slice()),
        Data::Float16(elements) => write!(elements, elements.reinterpret_cast()),
        Data::Bfloat16(elements) => write!(elements, elements.reinterpret_cast()),
        Data::Float32(elements) => write!(elements, elements.as_slice()),
        Data::Float64(elements) => write!(elements, elements.as_slice()),
        Data::String(texts) => {
            for text in texts {
                // A model's text of 4 GiB does not fit into any answer either.
                let length = u32::try_from(text.len()).unwrap_or(u32::MAX);
                out.extend_from_slice(&length.to_le_bytes());
                out.extend_from_slice(&text.as_bytes()[..length as usize]);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use half::{bf16, f16};
    use proptest::prelude::*;

    use super::*;

    fn written(data: &Data) -> Vec<u8> {
        let mut out = Vec::new();
        write_elements(data, &mut out);
        assert_eq!(out.len(), byte_size(data));
        out
    }

    #[test]
    fn the_bytes_are_those_of_the_protocol() {
        assert_eq!(written(&Data::Float32(vec![1.0, -0.5])), [0, 0, 0x80, 0x3f, 0, 0, 0, 0xbf]);
        assert_eq!(written(&Data::String(vec!["0.9:7:seven".into()])), b"\x0b\0\0\x000.9:7:seven");
        assert_eq!(written(&Data::Bool(vec![true, false])), [1, 0]);
        assert_eq!(written(&Data::Float16(vec![f16::ONE])), [0, 0x3c]);
        assert_eq!(written(&Data::Bfloat16(vec![bf16::ONE])), [0x80, 0x3f]);
        assert_eq!(written(&Data::Int64(vec![-2])), [0xfe, 255, 255, 255, 255, 255, 255, 255]);
    }

    #[test]
    fn lengths_are_exact() {
        for bytes in [7, 9, 0] {
            assert!(read_elements(DType::Float32, 2, &vec![0; bytes]).is_err(), "{bytes}");
        }
        assert!(read_elements(DType::Float64, usize::MAX / 4, &[]).is_err());
        assert!(element_count(&[1 << 60, 1 << 60]).is_err());
        assert_eq!(element_count(&[]).unwrap(), 1);
        let strings = |count, bytes: &[u8]| read_strings(count, &Bytes::copy_from_slice(bytes));
        for (count, bytes) in [
            (1, &b"\x05\0\0\0abcd"[..]),
            (1, b"\xff\xff\xff\xffabcd"),
            (1, b"\x01\0\0\0ab"),
            (2, b"\x01\0\0\0a"),
            (1, b"\0\0\0"),
            (0, b"\0\0\0\0"),
            (usize::MAX, b""),
        ] {
            assert!(strings(count, bytes).is_err(), "{count} {bytes:?}");
        }
        assert_eq!(strings(2, b"\0\0\0\0\x02\0\0\0ab").unwrap(), [&b""[..], b"ab"]);
        assert!(strings(0, b"").unwrap().is_empty());
    }

    proptest! {
        #[test]
        fn any_numbers_come_back(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            for dtype in [
                DType::Uint8, DType::Uint16, DType::Uint32, DType::Uint64, DType::Int8, DType::Int16, DType::Int32,
                DType::Int64, DType::Float16, DType::Bfloat16, DType::Float32, DType::Float64,
            ] {
                let size = dtype.bytes().unwrap();
                let whole = &bytes[..bytes.len() / size * size];
                prop_assert_eq!(written(&read_elements(dtype, whole.len() / size, whole).unwrap()), whole);
            }
        }

        #[test]
        fn any_strings_come_back(texts in prop::collection::vec(".{0,9}", 0..9)) {
            let bytes = Bytes::from(written(&Data::String(texts.clone())));
            let back = read_strings(texts.len(), &bytes).unwrap();
            prop_assert!(back.iter().map(|element| &element[..]).eq(texts.iter().map(|text| text.as_bytes())));
        }

        #[test]
        fn any_bytes_are_read_or_refused(count in 0usize..9, bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            if let Ok(elements) = read_strings(count, &Bytes::from(bytes.clone())) {
                prop_assert_eq!(elements.len(), count);
                prop_assert_eq!(elements.iter().map(|element| element.len() + 4).sum::<usize>(), bytes.len());
            }
        }
    }
}
