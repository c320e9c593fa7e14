//! Exchanges half-precision tensors with ONNX Runtime.
//!
//! The binding, as we build it, exchanges no such tensors. ONNX Runtime itself therefore converts them
//! from and to 32-bit floats, which represent every half-precision number exactly.

use half::{bf16, f16};
use ort::session::{Session, SessionInputValue};
use ort::value::{DynValue, TensorRef};
use prost::Message;
use tract_onnx::pb::{
    AttributeProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto, TypeProto, ValueInfoProto, attribute_proto,
    type_proto,
};

use super::library::Library;
use super::values::{failed, floats};
use crate::error::{Error, Result};
use crate::signature::DType;
use crate::tensor::{Data, Tensor};

/// Element types by their numbers in onnx.proto.
const FLOAT: i32 = 1;
const FLOAT16: i32 = 10;
const BFLOAT16: i32 = 16;

/// The conversions of one session. Each is created when it is first needed.
#[derive(Debug)]
pub(super) struct Halves {
    library: &'static Library,
    made: Vec<((i32, i32), Session)>,
}

impl Halves {
    pub(super) fn new(library: &'static Library) -> Self {
        Self { library, made: Vec::new() }
    }

    fn cast(&mut self, from: i32, to: i32) -> Result<&mut Session> {
        let known = self.made.iter().position(|(pair, _)| *pair == (from, to));
        let at = match known {
            Some(at) => at,
            None => {
                let session = self.library.session(&cast_model(from, to))?;
                self.made.push(((from, to), session));
                self.made.len() - 1
            }
        };
        Ok(&mut self.made[at].1)
    }

    /// Copies one of our half-precision tensors into a value of ONNX Runtime.
    pub(super) fn narrow(&mut self, tensor: &Tensor) -> Result<DynValue> {
        let (wide, to): (Vec<f32>, i32) = match tensor.data() {
            Data::Float16(elements) => (elements.iter().map(|element| element.to_f32()).collect(), FLOAT16),
            Data::Bfloat16(elements) => (elements.iter().map(|element| element.to_f32()).collect(), BFLOAT16),
            other => {
                return Err(Error::internal(
                    "the model failed",
                    format!("{} is not a half-precision type", other.dtype()),
                ));
            }
        };
        let input = TensorRef::from_array_view((tensor.shape(), wide.as_slice())).map_err(failed)?;
        let input = [SessionInputValue::from(input)];
        let mut outputs = self.cast(FLOAT, to)?.run(input).map_err(failed)?;
        outputs.remove("y").ok_or_else(|| Error::internal("the model failed", "a cast returned no output"))
    }

    /// Copies a half-precision value of ONNX Runtime into a tensor of ours.
    pub(super) fn widen(&mut self, value: &DynValue, dtype: DType) -> Result<Tensor> {
        let from = if dtype == DType::Float16 { FLOAT16 } else { BFLOAT16 };
        let input = [SessionInputValue::from(value)];
        let outputs = self.cast(from, FLOAT)?.run(input).map_err(failed)?;
        let (shape, wide) = floats(&outputs["y"])?;
        let data = match dtype {
            DType::Float16 => Data::Float16(wide.iter().map(|element| f16::from_f32(*element)).collect()),
            _ => Data::Bfloat16(wide.iter().map(|element| bf16::from_f32(*element)).collect()),
        };
        Tensor::from_data(shape, data)
    }
}

/// Returns the model y = Cast(x) for any shape.
fn cast_model(from: i32, to: i32) -> Vec<u8> {
    let value = |name: &str, elem_type| ValueInfoProto {
        name: name.into(),
        r#type: Some(TypeProto {
            value: Some(type_proto::Value::TensorType(type_proto::Tensor { elem_type, shape: None })),
            ..TypeProto::default()
        }),
        ..ValueInfoProto::default()
    };
    let attribute = AttributeProto {
        name: "to".into(),
        r#type: attribute_proto::AttributeType::Int as i32,
        i: i64::from(to),
        ..AttributeProto::default()
    };
    let node = NodeProto {
        op_type: "Cast".into(),
        input: vec!["x".into()],
        output: vec!["y".into()],
        attribute: vec![attribute],
        ..NodeProto::default()
    };
    let graph = GraphProto {
        name: "cast".into(),
        node: vec![node],
        input: vec![value("x", from)],
        output: vec![value("y", to)],
        ..GraphProto::default()
    };
    let opset = OperatorSetIdProto { domain: String::new(), version: 13 };
    ModelProto { ir_version: 8, opset_import: vec![opset], graph: Some(graph), ..ModelProto::default() }.encode_to_vec()
}
