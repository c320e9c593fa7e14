//! Converts between our tensors and those of ONNX Runtime. Inputs are lent, outputs are copied once.

use ort::session::SessionInputValue;
use ort::value::{DynValue, Tensor, TensorElementType, TensorRef, ValueType};

use super::half::Halves;
use super::values::{dims, failed};
use crate::error::{Error, Result};
use crate::signature::DType;
use crate::tensor::{Data, Tensor as WeirTensor};

macro_rules! exchanged {
    ($($variant:ident: $ty:ty),* $(,)?) => {
        /// Returns our name of an ONNX Runtime type; `None` if tensors of that type are not exchanged.
        pub(super) fn dtype(element: TensorElementType) -> Option<DType> {
            match element {
                $(TensorElementType::$variant => Some(DType::$variant),)*
                TensorElementType::Float16 => Some(DType::Float16),
                TensorElementType::Bfloat16 => Some(DType::Bfloat16),
                TensorElementType::String => Some(DType::String),
                _ => None,
            }
        }

        /// Lends a tensor. Strings and half-precision numbers are copied.
        pub(super) fn to_ort<'t>(tensor: &'t WeirTensor, halves: &mut Halves) -> Result<SessionInputValue<'t>> {
            let shape = tensor.shape();
            match tensor.data() {
                $(Data::$variant(elements) => {
                    TensorRef::from_array_view((shape, elements.as_slice())).map(SessionInputValue::from).map_err(failed)
                })*
                Data::Float16(_) | Data::Bfloat16(_) => halves.narrow(tensor).map(SessionInputValue::from),
                Data::String(texts) => {
                    if texts.iter().any(|text| text.contains('\0')) {
                        return Err(Error::InvalidInput("ONNX Runtime does not accept strings that contain a NUL character".into()));
                    }
                    let strings = Tensor::from_string_array((shape, texts.as_slice()));
                    strings.map(SessionInputValue::from).map_err(failed)
                }
            }
        }

        /// Copies an output.
        pub(super) fn from_ort(value: &DynValue, halves: &mut Halves) -> Result<WeirTensor> {
            let ValueType::Tensor { ty, .. } = value.dtype() else {
                return Err(Error::internal("the model failed", format!("an output is a {}", value.dtype())));
            };
            let (shape, data) = match ty {
                $(TensorElementType::$variant => {
                    let (shape, elements) = value.try_extract_tensor::<$ty>().map_err(failed)?;
                    (shape, Data::$variant(elements.to_vec()))
                })*
                TensorElementType::String => {
                    let (shape, texts) = value.try_extract_strings().map_err(failed)?;
                    (shape, Data::String(texts))
                }
                TensorElementType::Float16 => return halves.widen(value, DType::Float16),
                TensorElementType::Bfloat16 => return halves.widen(value, DType::Bfloat16),
                other => return Err(Error::internal("the model failed", format!("an output is of type {other}"))),
            };
            WeirTensor::from_data(dims(shape), data)
        }
    };
}

exchanged! {
    Bool: bool, Uint8: u8, Uint16: u16, Uint32: u32, Uint64: u64,
    Int8: i8, Int16: i16, Int32: i32, Int64: i64, Float32: f32, Float64: f64,
}
