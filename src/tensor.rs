//! Dense, row-major tensors, which transforms, schedulers and engines exchange.

mod real;

use std::borrow::Cow;
use std::ops::Range;

use half::slice::HalfFloatSliceExt;
use half::{bf16, f16};
use serde::ser::{Serialize, SerializeSeq, Serializer};

pub use self::real::Real;
use crate::error::{Error, Result};
use crate::signature::DType;

/// The elements of a tensor, by type.
#[derive(Debug, Clone, PartialEq)]
pub enum Data {
    /// Truth values.
    Bool(Vec<bool>),
    /// Unsigned, 8 bits.
    Uint8(Vec<u8>),
    /// Unsigned, 16 bits.
    Uint16(Vec<u16>),
    /// Unsigned, 32 bits.
    Uint32(Vec<u32>),
    /// Unsigned, 64 bits.
    Uint64(Vec<u64>),
    /// Signed, 8 bits.
    Int8(Vec<i8>),
    /// Signed, 16 bits.
    Int16(Vec<i16>),
    /// Signed, 32 bits.
    Int32(Vec<i32>),
    /// Signed, 64 bits.
    Int64(Vec<i64>),
    /// IEEE 754, 16 bits.
    Float16(Vec<f16>),
    /// Brain floating point, 16 bits.
    Bfloat16(Vec<bf16>),
    /// IEEE 754, 32 bits.
    Float32(Vec<f32>),
    /// IEEE 754, 64 bits.
    Float64(Vec<f64>),
    /// Text in UTF-8.
    String(Vec<String>),
}

/// A type that a tensor can hold.
pub trait Element: Clone + Default + Send + 'static {
    /// The name of the type.
    const DTYPE: DType;
    /// Returns the elements if they are of this type.
    fn of(data: &Data) -> Option<&[Self]>;
    /// Wraps elements of this type.
    fn data(elements: Vec<Self>) -> Data;
    /// Returns the vector of the elements if they are of this type.
    fn of_mut(data: &mut Data) -> Option<&mut Vec<Self>>;
}

macro_rules! elements {
    ($($variant:ident: $ty:ty),* $(,)?) => {
        $(impl Element for $ty {
            const DTYPE: DType = DType::$variant;
            fn of(data: &Data) -> Option<&[Self]> {
                if let Data::$variant(elements) = data { Some(elements) } else { None }
            }
            fn data(elements: Vec<Self>) -> Data {
                Data::$variant(elements)
            }
            fn of_mut(data: &mut Data) -> Option<&mut Vec<Self>> {
                if let Data::$variant(elements) = data { Some(elements) } else { None }
            }
        })*

        /// Evaluates one expression for elements of any type.
        macro_rules! each_data {
            ($data:expr, $elements:ident => $body:expr) => {
                match $data { $($crate::tensor::Data::$variant($elements) => $body,)* }
            };
        }

        impl Data {
            /// Returns the type of the elements.
            pub fn dtype(&self) -> DType {
                match self { $(Self::$variant(_) => DType::$variant,)* }
            }

            /// Creates an empty list of this type with capacity for `capacity` elements.
            pub fn with_capacity(dtype: DType, capacity: usize) -> Self {
                match dtype { $(DType::$variant => Self::$variant(Vec::with_capacity(capacity)),)* }
            }

            /// Creates `count` zeros of this type; `false` for truth values, empty strings for texts.
            pub fn zeros(dtype: DType, count: usize) -> Self {
                match dtype { $(DType::$variant => Self::$variant(vec![<$ty>::default(); count]),)* }
            }

            /// Returns a copy of the elements in `range`.
            pub fn slice(&self, range: Range<usize>) -> Self {
                match self { $(Self::$variant(elements) => Self::$variant(elements[range].to_vec()),)* }
            }

            /// Appends the elements of another list. Returns false, and appends nothing, if its type differs.
            pub fn extend(&mut self, other: &Self) -> bool {
                match (self, other) {
                    $((Self::$variant(elements), Self::$variant(more)) => elements.extend_from_slice(more),)*
                    _ => return false,
                }
                true
            }
        }
    };
}

elements! {
    Bool: bool, Uint8: u8, Uint16: u16, Uint32: u32, Uint64: u64,
    Int8: i8, Int16: i16, Int32: i32, Int64: i64,
    Float16: f16, Bfloat16: bf16, Float32: f32, Float64: f64, String: String,
}

pub(crate) use each_data;

impl Data {
    /// Returns the number of elements.
    pub fn len(&self) -> usize {
        each_data!(self, elements => elements.len())
    }

    /// Returns true if there are no elements.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the memory that the elements take, including the text of strings.
    pub fn bytes(&self) -> usize {
        match self {
            Self::String(texts) => texts.iter().map(|text| size_of::<String>() + text.len()).sum(),
            other => other.len() * other.dtype().bytes().unwrap_or(0),
        }
    }

    /// Reads elements from their little-endian bytes. Bytes beyond the last whole element are ignored, a truth
    /// value is true unless its byte is 0, and strings are never read.
    pub fn from_le_bytes(dtype: DType, bytes: &[u8]) -> Self {
        macro_rules! read {
            ($variant:ident: $ty:ty) => {
                Self::$variant(bytes.as_chunks().0.iter().map(|bytes| <$ty>::from_le_bytes(*bytes)).collect())
            };
        }
        match dtype {
            DType::Bool => Self::Bool(bytes.iter().map(|byte| *byte != 0).collect()),
            DType::Uint8 => Self::Uint8(bytes.to_vec()),
            DType::Uint16 => read!(Uint16: u16),
            DType::Uint32 => read!(Uint32: u32),
            DType::Uint64 => read!(Uint64: u64),
            DType::Int8 => read!(Int8: i8),
            DType::Int16 => read!(Int16: i16),
            DType::Int32 => read!(Int32: i32),
            DType::Int64 => read!(Int64: i64),
            DType::Float16 => read!(Float16: f16),
            DType::Bfloat16 => read!(Bfloat16: bf16),
            DType::Float32 => read!(Float32: f32),
            DType::Float64 => read!(Float64: f64),
            DType::String => Self::String(Vec::new()),
        }
    }

    /// Passes the elements to `take` as bytes in native order. Two different lists of one type never yield the
    /// same bytes.
    pub fn feed(&self, mut take: impl FnMut(&[u8])) {
        match self {
            Self::Bool(elements) => elements.iter().for_each(|element| take(&[u8::from(*element)])),
            Self::Uint8(elements) => take(elements),
            Self::Uint16(elements) => take(bytemuck::cast_slice(elements)),
            Self::Uint32(elements) => take(bytemuck::cast_slice(elements)),
            Self::Uint64(elements) => take(bytemuck::cast_slice(elements)),
            Self::Int8(elements) => take(bytemuck::cast_slice(elements)),
            Self::Int16(elements) => take(bytemuck::cast_slice(elements)),
            Self::Int32(elements) => take(bytemuck::cast_slice(elements)),
            Self::Int64(elements) => take(bytemuck::cast_slice(elements)),
            Self::Float16(elements) => take(bytemuck::cast_slice(elements.reinterpret_cast())),
            Self::Bfloat16(elements) => take(bytemuck::cast_slice(elements.reinterpret_cast())),
            Self::Float32(elements) => take(bytemuck::cast_slice(elements)),
            Self::Float64(elements) => take(bytemuck::cast_slice(elements)),
            Self::String(texts) => {
                for text in texts {
                    take(&(text.len() as u64).to_le_bytes());
                    take(text.as_bytes());
                }
            }
        }
    }

    /// Returns true if a floating-point element is NaN or infinite.
    pub fn has_non_finite(&self) -> bool {
        match self {
            Self::Float16(elements) => elements.iter().any(|element| !element.is_finite()),
            Self::Bfloat16(elements) => elements.iter().any(|element| !element.is_finite()),
            Self::Float32(elements) => elements.iter().any(|element| !element.is_finite()),
            Self::Float64(elements) => elements.iter().any(|element| !element.is_finite()),
            Self::Bool(_)
            | Self::Uint8(_)
            | Self::Uint16(_)
            | Self::Uint32(_)
            | Self::Uint64(_)
            | Self::Int8(_)
            | Self::Int16(_)
            | Self::Int32(_)
            | Self::Int64(_)
            | Self::String(_) => false,
        }
    }
}

/// Serialises as a flat list of numbers, truth values or strings.
impl Serialize for Data {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        fn widened<S: Serializer>(
            serializer: S,
            numbers: impl ExactSizeIterator<Item = f32>,
        ) -> std::result::Result<S::Ok, S::Error> {
            let mut list = serializer.serialize_seq(Some(numbers.len()))?;
            for number in numbers {
                list.serialize_element(&number)?;
            }
            list.end()
        }
        match self {
            Self::Bool(elements) => elements.serialize(serializer),
            Self::Uint8(elements) => elements.serialize(serializer),
            Self::Uint16(elements) => elements.serialize(serializer),
            Self::Uint32(elements) => elements.serialize(serializer),
            Self::Uint64(elements) => elements.serialize(serializer),
            Self::Int8(elements) => elements.serialize(serializer),
            Self::Int16(elements) => elements.serialize(serializer),
            Self::Int32(elements) => elements.serialize(serializer),
            Self::Int64(elements) => elements.serialize(serializer),
            Self::Float16(elements) => widened(serializer, elements.iter().map(|element| element.to_f32())),
            Self::Bfloat16(elements) => widened(serializer, elements.iter().map(|element| element.to_f32())),
            Self::Float32(elements) => elements.serialize(serializer),
            Self::Float64(elements) => elements.serialize(serializer),
            Self::String(elements) => elements.serialize(serializer),
        }
    }
}

/// A dense, row-major tensor; the first dimension of a batch is the sample.
#[derive(Debug, Clone, PartialEq)]
pub struct Tensor {
    shape: Vec<usize>,
    data: Data,
}

impl Tensor {
    /// Creates a tensor of `shape` over `elements`.
    ///
    /// # Errors
    /// [`Error::InvalidInput`] when the product of the shape overflows or is not the number of elements.
    pub fn new<T: Element>(shape: Vec<usize>, elements: Vec<T>) -> Result<Self> {
        Self::from_data(shape, T::data(elements))
    }

    /// Creates a tensor of `shape` over `data`.
    ///
    /// # Errors
    /// As [`Tensor::new`].
    pub fn from_data(shape: Vec<usize>, data: Data) -> Result<Self> {
        if elements_of(&shape) != Some(data.len()) {
            return Err(Error::InvalidInput(format!(
                "a tensor of shape {shape:?} does not hold {} elements",
                data.len()
            )));
        }
        Ok(Self { shape, data })
    }

    /// Creates a tensor of zeros, or of empty strings.
    ///
    /// # Errors
    /// [`Error::InvalidInput`] when the product of the shape overflows.
    pub fn zeros(dtype: DType, shape: Vec<usize>) -> Result<Self> {
        let count = elements_of(&shape)
            .ok_or_else(|| Error::InvalidInput(format!("a tensor of shape {shape:?} is too large")))?;
        Ok(Self { shape, data: Data::zeros(dtype, count) })
    }

    /// Returns the dimensions.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// Returns the elements, row by row.
    pub fn data(&self) -> &Data {
        &self.data
    }

    /// Returns the type of the elements.
    pub fn dtype(&self) -> DType {
        self.data.dtype()
    }

    /// Returns the elements as 32-bit floats.
    ///
    /// # Errors
    /// [`Error::InvalidInput`] when they are of another type.
    pub fn floats(&self) -> Result<&[f32]> {
        f32::of(&self.data)
            .ok_or_else(|| Error::InvalidInput(format!("expected elements of float32, got {}", self.dtype())))
    }

    /// Iterates over the samples of 32-bit floats, one slice each; empty for a tensor without elements.
    ///
    /// # Errors
    /// As [`Tensor::floats`].
    pub fn float_rows(&self) -> Result<impl Iterator<Item = &[f32]>> {
        Ok(self.floats()?.chunks_exact(self.row_elements().max(1)))
    }

    /// Returns the tensor with elements of 32 bits, if they are floats of 16 or of 32.
    ///
    /// # Errors
    /// As [`Tensor::floats`].
    pub fn to_floats(&self) -> Result<Cow<'_, Self>> {
        match &self.data {
            Data::Float16(elements) => {
                let elements = Data::Float32(elements.iter().map(|element| element.to_f32()).collect());
                Ok(Cow::Owned(Self { shape: self.shape.clone(), data: elements }))
            }
            _ => self.floats().map(|_| Cow::Borrowed(self)),
        }
    }

    /// Returns the only element of a sample, if the samples have one and the elements are floats of 32 or of 64 bits.
    pub fn real(&self, sample: usize) -> Option<Real> {
        if self.row_elements() != 1 {
            return None;
        }
        match &self.data {
            Data::Float32(elements) => elements.get(sample).copied().map(Real::Single),
            Data::Float64(elements) => elements.get(sample).copied().map(Real::Double),
            _ => None,
        }
    }

    /// Returns the number of samples: the first dimension, or 1 for a scalar.
    pub fn rows(&self) -> usize {
        self.shape.first().copied().unwrap_or(1)
    }

    /// Returns the number of elements of one sample.
    pub fn row_elements(&self) -> usize {
        self.shape.iter().skip(1).product()
    }

    /// Returns a copy of the samples in `rows`.
    pub fn slice_rows(&self, rows: Range<usize>) -> Self {
        let width = self.row_elements();
        let shape = std::iter::once(rows.len()).chain(self.shape.iter().skip(1).copied()).collect();
        Self { shape, data: self.data.slice(rows.start * width..rows.end * width) }
    }

    /// Joins the samples of several tensors, one after the other.
    ///
    /// # Errors
    /// [`Error::InvalidInput`] when the tensors differ in type or in the shape of a sample, or there are none.
    pub fn concat_rows<'a>(parts: impl Iterator<Item = &'a Self> + Clone) -> Result<Self> {
        let differ = || Error::InvalidInput("tensors of different samples cannot be joined".into());
        let first = parts.clone().next().ok_or_else(differ)?;
        let mut data = Data::with_capacity(first.dtype(), parts.clone().map(|part| part.data.len()).sum());
        let mut rows = 0;
        for part in parts {
            if part.shape.is_empty() || part.shape[1..] != first.shape[1..] || !data.extend(&part.data) {
                return Err(differ());
            }
            rows += part.shape[0];
        }
        let shape = std::iter::once(rows).chain(first.shape[1..].iter().copied()).collect();
        Ok(Self { shape, data })
    }

    /// Returns the elements.
    pub fn into_data(self) -> Data {
        self.data
    }
}

fn elements_of(shape: &[usize]) -> Option<usize> {
    shape.iter().try_fold(1usize, |product, &dim| product.checked_mul(dim))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_shape_must_hold_exactly_the_data() {
        assert!(Tensor::new(vec![2, 3], vec![0.0f32; 6]).is_ok());
        assert!(Tensor::new(vec![2, 3], vec![0i64; 5]).is_err());
        assert!(Tensor::new::<f32>(vec![1 << 60, 1 << 60], vec![]).is_err());
        assert!(Tensor::zeros(DType::Float32, vec![1 << 60, 1 << 60]).is_err());
        assert!(Tensor::new::<bool>(vec![0, 3], vec![]).is_ok());
        assert_eq!(Tensor::new(vec![], vec![7u8]).unwrap().rows(), 1);
    }

    #[test]
    fn only_tensors_of_like_samples_are_joined() {
        let floats = Tensor::new(vec![1, 2], vec![1.0f32, 2.0]).unwrap();
        let wider = Tensor::new(vec![1, 3], vec![0.0f32; 3]).unwrap();
        let integers = Tensor::new(vec![1, 2], vec![1i32, 2]).unwrap();
        let scalar = Tensor::new(vec![], vec![1.0f32]).unwrap();
        for other in [&wider, &integers, &scalar] {
            assert!(Tensor::concat_rows([&floats, other].into_iter()).is_err());
        }
        assert!(Tensor::concat_rows(std::iter::empty()).is_err());
    }

    #[test]
    fn elements_are_written_as_json_of_their_own_kind() {
        let json = |data: Data| serde_json::to_string(&data).unwrap();
        assert_eq!(json(Data::Int64(vec![i64::MIN, 9_007_199_254_740_993])), "[-9223372036854775808,9007199254740993]");
        assert_eq!(json(Data::Float16(vec![f16::from_f32(0.5)])), "[0.5]");
        assert_eq!(json(Data::Bool(vec![true])), "[true]");
        assert_eq!(json(Data::String(vec!["a\"b".into()])), r#"["a\"b"]"#);
    }

    proptest! {
        #[test]
        fn slices_joined_again_are_the_whole(rows in 1usize..9, width in 0usize..5, cut in 0usize..9) {
            let cut = cut.min(rows);
            let numbers = (0..rows * width).map(|number| number as u32).collect();
            let whole = Tensor::new(vec![rows, width], numbers).unwrap();
            let (head, tail) = (whole.slice_rows(0..cut), whole.slice_rows(cut..rows));
            prop_assert_eq!(head.rows(), cut);
            prop_assert_eq!(Tensor::concat_rows([&head, &tail].into_iter()).unwrap(), whole);
        }
    }
}
