//! TensorFlow's `TensorProto` ↔ tensors.
//!
//! A message may hold fewer elements than its shape: the last one stands for all that are missing, and
//! none at all for zeros. So a shape is compared with the limit of a message before anything is made of it.

use bytes::Bytes;
use half::{bf16, f16};

use crate::api::grpc::pb::tensorflow::tensor_shape_proto::Dim;
use crate::api::grpc::pb::tensorflow::{TensorProto, TensorShapeProto};
use crate::api::oip::{element_count, read_elements};
use crate::api::tfs::DataType;
use crate::error::{Error, Result};
use crate::signature::DType;
use crate::tensor::{Data, Tensor};

/// Every type there is here.
const DTYPES: [DType; 14] = [
    DType::Bool,
    DType::Uint8,
    DType::Uint16,
    DType::Uint32,
    DType::Uint64,
    DType::Int8,
    DType::Int16,
    DType::Int32,
    DType::Int64,
    DType::Float16,
    DType::Bfloat16,
    DType::Float32,
    DType::Float64,
    DType::String,
];

/// The dimensions of a tensor; TensorFlow has no more.
const MAX_RANK: usize = 254;

/// The content of a message.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Content {
    /// Numbers or truth values.
    Numbers(Tensor),
    /// Text or encoded images.
    Strings(Vec<usize>, Vec<Bytes>),
}

impl Content {
    /// The tensor of it.
    ///
    /// # Errors
    /// [`Error::InvalidInput`] when it is of bytes that are no text.
    pub(super) fn into_tensor(self) -> Result<Tensor> {
        match self {
            Self::Numbers(tensor) => Ok(tensor),
            Self::Strings(shape, strings) => {
                let text = |(index, bytes): (usize, &Bytes)| {
                    let text = std::str::from_utf8(bytes).map(str::to_owned);
                    text.map_err(|_| Error::InvalidInput(format!("element {index} must be text in UTF-8")))
                };
                let texts: Vec<String> = strings.iter().enumerate().map(text).collect::<Result<_>>()?;
                Tensor::new(shape, texts)
            }
        }
    }
}

/// Reads the content of a message that takes no more than `max_bytes`.
///
/// # Errors
/// [`Error::InvalidInput`] for a type, a shape or elements that cannot be; [`Error::TooLarge`].
pub(super) fn read(message: TensorProto, max_bytes: usize) -> Result<Content> {
    let dtype = DTYPES.into_iter().find(|dtype| DataType::of(*dtype).number == message.dtype);
    let dtype = dtype.ok_or_else(|| {
        let known: Vec<&str> = DTYPES.map(|dtype| DataType::of(dtype).name).into();
        Error::InvalidInput(format!("its dtype must be one of {}, got number {}", known.join(" "), message.dtype))
    })?;
    let shape = shape(message.tensor_shape.as_ref())?;
    let count = element_count(&shape)?;
    if count.checked_mul(dtype.bytes().unwrap_or(size_of::<Bytes>())).is_none_or(|bytes| bytes > max_bytes) {
        let got = format!("a shape of {shape:?} of {}", DataType::of(dtype).name);
        return Err(Error::TooLarge { what: "a tensor", limit: max_bytes as u64, got });
    }
    if dtype == DType::String {
        let strings = match message.tensor_content.is_empty() {
            true => strings_of(message.string_val, count, max_bytes)?,
            false => packed_strings(&message.tensor_content, count)?,
        };
        return Ok(Content::Strings(shape, strings));
    }
    let data = if message.tensor_content.is_empty() {
        typed(message, dtype, count)?
    } else {
        read_elements(dtype, count, &message.tensor_content)?
    };
    Tensor::from_data(shape, data).map(Content::Numbers)
}

/// No shape at all is that of one element.
fn shape(shape: Option<&TensorShapeProto>) -> Result<Vec<usize>> {
    let Some(shape) = shape else { return Ok(Vec::new()) };
    if shape.unknown_rank || shape.dim.len() > MAX_RANK {
        return Err(Error::InvalidInput(format!("its shape must be known, and of at most {MAX_RANK} dimensions")));
    }
    let size = |dim: &Dim| {
        let size = usize::try_from(dim.size);
        size.map_err(|_| Error::InvalidInput(format!("a dimension cannot be negative, got {}", dim.size)))
    };
    shape.dim.iter().map(size).collect()
}

/// Returns the name of the field for elements of a type.
fn field_of(dtype: DType) -> &'static str {
    match dtype {
        DType::Float32 => "float_val",
        DType::Float64 => "double_val",
        DType::Int8 | DType::Int16 | DType::Int32 | DType::Uint8 | DType::Uint16 => "int_val",
        DType::Int64 => "int64_val",
        DType::Bool => "bool_val",
        DType::Float16 | DType::Bfloat16 => "half_val",
        DType::Uint32 => "uint32_val",
        DType::Uint64 => "uint64_val",
        DType::String => "string_val",
    }
}

/// The elements in the field of their type.
fn typed(message: TensorProto, dtype: DType, count: usize) -> Result<Data> {
    let TensorProto {
        half_val,
        float_val,
        double_val,
        int_val,
        string_val,
        int64_val,
        bool_val,
        uint32_val,
        uint64_val,
        ..
    } = message;
    let meant = field_of(dtype);
    let filled = [
        ("half_val", half_val.len()),
        ("float_val", float_val.len()),
        ("double_val", double_val.len()),
        ("int_val", int_val.len()),
        ("string_val", string_val.len()),
        ("int64_val", int64_val.len()),
        ("bool_val", bool_val.len()),
        ("uint32_val", uint32_val.len()),
        ("uint64_val", uint64_val.len()),
    ];
    // None at all would be read as zeros, which nobody means who filled another field.
    if let Some((other, _)) = filled.iter().find(|(name, length)| *name != meant && *length > 0) {
        let name = DataType::of(dtype).name;
        return Err(Error::InvalidInput(format!("elements of {name} belong into {meant}, but {other} is filled")));
    }
    Ok(match dtype {
        DType::Float32 => Data::Float32(repeated(float_val, count)?),
        DType::Float64 => Data::Float64(repeated(double_val, count)?),
        DType::Int32 => Data::Int32(repeated(int_val, count)?),
        DType::Int16 => Data::Int16(repeated(narrowed(&int_val)?, count)?),
        DType::Int8 => Data::Int8(repeated(narrowed(&int_val)?, count)?),
        DType::Uint8 => Data::Uint8(repeated(narrowed(&int_val)?, count)?),
        DType::Uint16 => Data::Uint16(repeated(narrowed(&int_val)?, count)?),
        DType::Int64 => Data::Int64(repeated(int64_val, count)?),
        DType::Bool => Data::Bool(repeated(bool_val, count)?),
        DType::Uint32 => Data::Uint32(repeated(uint32_val, count)?),
        DType::Uint64 => Data::Uint64(repeated(uint64_val, count)?),
        DType::Float16 => {
            let bits: Vec<u16> = narrowed(&half_val)?;
            Data::Float16(repeated(bits.into_iter().map(f16::from_bits).collect(), count)?)
        }
        DType::Bfloat16 => {
            let bits: Vec<u16> = narrowed(&half_val)?;
            Data::Bfloat16(repeated(bits.into_iter().map(bf16::from_bits).collect(), count)?)
        }
        DType::String => return Err(Error::InvalidInput("elements of DT_STRING belong into string_val".into())),
    })
}

/// Fills up to the number of elements of the shape: the last one stands for those that are missing.
fn repeated<T: Clone + Default>(mut elements: Vec<T>, count: usize) -> Result<Vec<T>> {
    if elements.len() > count {
        let got = elements.len();
        return Err(Error::InvalidInput(format!("its shape has {count} elements, got {got}")));
    }
    let last = elements.last().cloned().unwrap_or_default();
    elements.resize(count, last);
    Ok(elements)
}

fn narrowed<N: TryFrom<i32>>(wide: &[i32]) -> Result<Vec<N>> {
    let narrow = |(index, element): (usize, &i32)| {
        N::try_from(*element)
            .map_err(|_| Error::InvalidInput(format!("element {index} is out of the range of its type: {element}")))
    };
    wide.iter().enumerate().map(narrow).collect()
}

fn strings_of(strings: Vec<Bytes>, count: usize, max_bytes: usize) -> Result<Vec<Bytes>> {
    // Repeated bytes share their memory, but not once they are text.
    let missing = count.saturating_sub(strings.len());
    if missing.saturating_mul(strings.last().map_or(0, Bytes::len)) > max_bytes {
        let got = format!("{missing} repetitions of its last element");
        return Err(Error::TooLarge { what: "a tensor", limit: max_bytes as u64, got });
    }
    repeated(strings, count)
}

/// Strings as they lie in `tensor_content`: the lengths of all, then the bytes of all.
fn packed_strings(content: &Bytes, count: usize) -> Result<Vec<Bytes>> {
    let cut_off = || Error::InvalidInput("the strings in its tensor_content are cut off, or too many".into());
    let mut rest = &content[..];
    // A length takes a byte at least.
    let mut lengths = Vec::with_capacity(count.min(content.len()));
    for _ in 0..count {
        let length = prost::encoding::decode_varint(&mut rest).map_err(|_| cut_off())?;
        lengths.push(usize::try_from(length).map_err(|_| cut_off())?);
    }
    let mut begin = content.len() - rest.len();
    let mut strings = Vec::with_capacity(lengths.len());
    for length in lengths {
        let end = begin.checked_add(length).filter(|end| *end <= content.len()).ok_or_else(cut_off)?;
        strings.push(content.slice(begin..end));
        begin = end;
    }
    if begin == content.len() { Ok(strings) } else { Err(cut_off()) }
}

/// The message of a tensor, with its elements in the field of their type: many clients read that field.
pub(super) fn write(tensor: &Tensor) -> TensorProto {
    let dim = tensor.shape().iter().map(|size| Dim { size: *size as i64, name: String::new() }).collect();
    let mut message = TensorProto {
        dtype: DataType::of(tensor.dtype()).number,
        tensor_shape: Some(TensorShapeProto { dim, unknown_rank: false }),
        ..TensorProto::default()
    };
    fn widened<T: Copy + Into<i32>>(elements: &[T]) -> Vec<i32> {
        elements.iter().map(|element| (*element).into()).collect()
    }
    match tensor.data() {
        Data::Bool(elements) => message.bool_val.clone_from(elements),
        Data::Uint8(elements) => message.int_val = widened(elements),
        Data::Uint16(elements) => message.int_val = widened(elements),
        Data::Uint32(elements) => message.uint32_val.clone_from(elements),
        Data::Uint64(elements) => message.uint64_val.clone_from(elements),
        Data::Int8(elements) => message.int_val = widened(elements),
        Data::Int16(elements) => message.int_val = widened(elements),
        Data::Int32(elements) => message.int_val.clone_from(elements),
        Data::Int64(elements) => message.int64_val.clone_from(elements),
        Data::Float16(elements) => message.half_val = elements.iter().map(|element| element.to_bits().into()).collect(),
        Data::Bfloat16(elements) => {
            message.half_val = elements.iter().map(|element| element.to_bits().into()).collect()
        }
        Data::Float32(elements) => message.float_val.clone_from(elements),
        Data::Float64(elements) => message.double_val.clone_from(elements),
        Data::String(texts) => {
            message.string_val = texts.iter().map(|text| Bytes::copy_from_slice(text.as_bytes())).collect();
        }
    }
    message
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::api::oip::write_elements;

    const MAX_BYTES: usize = 1 << 20;

    fn message(dtype: i32, dims: &[i64]) -> TensorProto {
        let dim = dims.iter().map(|size| Dim { size: *size, name: String::new() }).collect();
        TensorProto {
            dtype,
            tensor_shape: Some(TensorShapeProto { dim, unknown_rank: false }),
            ..TensorProto::default()
        }
    }

    fn tensor(message: TensorProto) -> Result<Tensor> {
        read(message, MAX_BYTES)?.into_tensor()
    }

    #[test]
    fn the_last_element_stands_for_those_that_are_missing() {
        let some = TensorProto { float_val: vec![1.0, 2.0], ..message(1, &[2, 2]) };
        assert_eq!(tensor(some).unwrap().floats().unwrap(), [1.0, 2.0, 2.0, 2.0]);
        assert_eq!(tensor(message(9, &[3])).unwrap().data(), &Data::Int64(vec![0; 3]));
        let strings = TensorProto { string_val: vec![Bytes::from_static(b"a")], ..message(7, &[2]) };
        assert_eq!(tensor(strings).unwrap().data(), &Data::String(vec!["a".into(), "a".into()]));
        let half = TensorProto { half_val: vec![0x3c00], ..message(19, &[]) };
        assert_eq!(tensor(half).unwrap().data(), &Data::Float16(vec![f16::ONE]));
        let lone = TensorProto { dtype: 10, bool_val: vec![true], ..TensorProto::default() };
        assert_eq!(tensor(lone).unwrap(), Tensor::new(vec![], vec![true]).unwrap());
    }

    #[test]
    fn what_cannot_be_is_refused_before_anything_is_made_of_it() {
        let unknown =
            TensorProto { tensor_shape: Some(TensorShapeProto { dim: vec![], unknown_rank: true }), ..message(1, &[]) };
        let long = Bytes::from(vec![b'x'; 1000]);
        for bad in [
            message(0, &[1]),
            message(8, &[1]),
            message(999, &[1]),
            message(1, &[-1]),
            message(1, &[1 << 60]),
            message(1, &[1 << 60, 1 << 60]),
            message(4, &[1 << 21]),
            message(7, &[1 << 16]),
            unknown,
            TensorProto { float_val: vec![1.0; 3], ..message(1, &[2]) },
            TensorProto { double_val: vec![1.0], ..message(1, &[1]) },
            TensorProto { int_val: vec![256], ..message(4, &[1]) },
            TensorProto { half_val: vec![-1], ..message(14, &[1]) },
            TensorProto { tensor_content: Bytes::from_static(&[0; 7]), ..message(1, &[2]) },
            TensorProto { string_val: vec![long], ..message(7, &[10_000]) },
            TensorProto { tensor_content: Bytes::from_static(b"\x02\x02aab"), ..message(7, &[2]) },
            TensorProto {
                tensor_content: Bytes::from_static(b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"),
                ..message(7, &[1])
            },
        ] {
            assert!(tensor(bad.clone()).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn strings_may_lie_packed() {
        let packed = TensorProto { tensor_content: Bytes::from_static(b"\x01\x00\x02abc"), ..message(7, &[3]) };
        assert_eq!(tensor(packed).unwrap().data(), &Data::String(vec!["a".into(), String::new(), "bc".into()]));
    }

    proptest! {
        #[test]
        fn numbers_come_back_typed_and_packed(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            for dtype in DTYPES.into_iter().filter(|dtype| *dtype != DType::String) {
                let size = dtype.bytes().unwrap();
                let whole = &bytes[..bytes.len() / size * size];
                let data = read_elements(dtype, whole.len() / size, whole).unwrap();
                let original = Tensor::from_data(vec![whole.len() / size], data).unwrap();
                let typed = write(&original);
                let mut content = Vec::new();
                write_elements(original.data(), &mut content);
                let packed = TensorProto {
                    dtype: typed.dtype,
                    tensor_shape: typed.tensor_shape.clone(),
                    tensor_content: content.clone().into(),
                    ..TensorProto::default()
                };
                for message in [typed, packed] {
                    // Compared by their bytes: NaN differs from itself.
                    let mut back = Vec::new();
                    write_elements(tensor(message).unwrap().data(), &mut back);
                    prop_assert_eq!(&back, &content);
                }
            }
        }

        #[test]
        fn strings_come_back(texts in prop::collection::vec(".{0,9}", 0..9)) {
            let original = Tensor::new(vec![texts.len()], texts).unwrap();
            prop_assert_eq!(tensor(write(&original)).unwrap(), original);
        }

        #[test]
        fn any_content_is_read_or_refused(
            dtype in 0i32..25,
            dims in prop::collection::vec(-1i64..5, 0..4),
            content in prop::collection::vec(any::<u8>(), 0..40),
            ints in prop::collection::vec(any::<i32>(), 0..5),
        ) {
            let packed = TensorProto { tensor_content: content.into(), ..message(dtype, &dims) };
            let typed = TensorProto { int_val: ints.clone(), half_val: ints, ..message(dtype, &dims) };
            for message in [packed, typed] {
                if let Ok(tensor) = tensor(message) {
                    prop_assert_eq!(tensor.shape().iter().product::<usize>(), tensor.data().len());
                }
            }
        }
    }
}
