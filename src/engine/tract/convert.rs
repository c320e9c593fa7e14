//! Converts between our tensors and those of tract.

use half::f16;
use tract_onnx::prelude::*;
use tract_onnx::tract_hir::internal::bail;

use crate::signature::DType;
use crate::tensor::{Data, Tensor as WeirTensor};

macro_rules! exchanged {
    ($($variant:ident: $ty:ty),* $(,)?) => {
        /// Returns our name of a tract type; `None` if tensors of that type are not exchanged.
        pub(super) fn dtype(datum: DatumType) -> Option<DType> {
            match datum {
                $(datum if datum == <$ty>::datum_type() => Some(DType::$variant),)*
                DatumType::TDim => Some(DType::Int64),
                DatumType::String => Some(DType::String),
                _ => None,
            }
        }

        pub(super) fn to_tract(tensor: &WeirTensor) -> TractResult<Tensor> {
            match tensor.data() {
                $(Data::$variant(elements) => Tensor::from_shape(tensor.shape(), elements),)*
                Data::String(texts) => {
                    let shape = tract_ndarray::IxDyn(tensor.shape());
                    Ok(tract_ndarray::ArrayD::from_shape_vec(shape, texts.clone())?.into_tensor())
                }
                Data::Bfloat16(_) => bail!("tract does not take bfloat16"),
            }
        }

        pub(super) fn from_tract(tensor: &Tensor) -> TractResult<WeirTensor> {
            let data = match tensor.datum_type() {
                $(datum if datum == <$ty>::datum_type() => Data::$variant(tensor.try_as_plain_ram()?.as_slice::<$ty>()?.to_vec()),)*
                DatumType::String => Data::String(tensor.try_as_plain_ram()?.as_slice::<String>()?.to_vec()),
                DatumType::TDim => {
                    let numbers = tensor.cast_to::<i64>()?;
                    Data::Int64(numbers.try_as_plain_ram()?.as_slice::<i64>()?.to_vec())
                }
                other => bail!("an output is of type {other:?}"),
            };
            Ok(WeirTensor::from_data(tensor.shape().to_vec(), data)?)
        }
    };
}

exchanged! {
    Bool: bool, Uint8: u8, Uint16: u16, Uint32: u32, Uint64: u64,
    Int8: i8, Int16: i16, Int32: i32, Int64: i64,
    Float16: f16, Float32: f32, Float64: f64,
}
