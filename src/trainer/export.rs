//! A trained network as an ONNX file (IR 8, opset 18): raw input, normalisation and softmax in the
//! graph, the batch a symbol.

use tract_onnx::pb::tensor_shape_proto::{Dimension, dimension};
use tract_onnx::pb::{
    AttributeProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto, StringStringEntryProto, TensorProto,
    TensorShapeProto, TypeProto, ValueInfoProto, attribute_proto, tensor_proto, type_proto,
};

use super::network::{Network, Parameter};
use crate::error::Result;
use crate::layers::{LayerSpec, PlannedLayer};

/// The input: raw pixels.
pub(super) const INPUT: &str = "image";
/// The output before the softmax.
pub(super) const LOGITS: &str = "logits";
/// The output after it.
pub(super) const PROBABILITIES: &str = "probabilities";

const IR_VERSION: i64 = 8;
const OPSET: i64 = 18;

/// The bytes of the ONNX file. The same network gives the same bytes.
///
/// # Errors
/// As [`crate::layers::Architecture::plan`].
pub fn to_onnx(network: &Network, name: &str) -> Result<Vec<u8>> {
    let mut graph = Graph::default();
    let mut parameters = network.parameters().iter();
    let last = network.layers().iter().rposition(|layer| !matches!(layer.spec, LayerSpec::Dropout { .. }));
    let mut value = INPUT.to_owned();
    let mut folded = 1.0;
    for (index, layer) in network.layers().iter().enumerate() {
        let next = if Some(index) == last { LOGITS.to_owned() } else { format!("{}_{index}", layer.spec.name()) };
        match &layer.spec {
            LayerSpec::Rescale { scale } if is_before_dense(&network.layers()[index + 1..]) => {
                folded *= scale;
                continue;
            }
            LayerSpec::Rescale { scale } => {
                let factor = format!("{next}.scale");
                graph.constant(&factor, &[], &[*scale]);
                graph.node("Mul", &[&value, &factor], &next, Vec::new());
            }
            LayerSpec::Flatten => graph.node("Flatten", &[&value], &next, vec![integer("axis", 1)]),
            LayerSpec::Dense { .. } => {
                let mut inputs = vec![value.clone()];
                // Weight, then bias; a scale before the product is part of the weight.
                let scales = [std::mem::replace(&mut folded, 1.0), 1.0];
                for (scale, Parameter { name, shape, values }) in scales.into_iter().zip(parameters.by_ref()) {
                    let scaled: Vec<f32> = values.iter().map(|value| value * scale).collect();
                    graph.constant(name, shape, &scaled);
                    inputs.push(name.clone());
                }
                let inputs: Vec<&str> = inputs.iter().map(String::as_str).collect();
                graph.node("Gemm", &inputs, &next, Vec::new());
            }
            LayerSpec::Relu => graph.node("Relu", &[&value], &next, Vec::new()),
            LayerSpec::Dropout { .. } => continue,
        }
        value = next;
    }
    graph.node("Softmax", &[LOGITS], PROBABILITIES, vec![integer("axis", 1)]);
    let output = network.architecture().output()?;
    let proto = GraphProto {
        node: graph.nodes,
        initializer: graph.constants,
        name: name.to_owned(),
        input: vec![float_value(INPUT, &network.architecture().input)],
        output: vec![float_value(LOGITS, &output), float_value(PROBABILITIES, &output)],
        ..GraphProto::default()
    };
    let model = ModelProto {
        ir_version: IR_VERSION,
        opset_import: vec![OperatorSetIdProto { domain: String::new(), version: OPSET }],
        producer_name: "weir".into(),
        producer_version: env!("CARGO_PKG_VERSION").into(),
        graph: Some(proto),
        metadata_props: vec![StringStringEntryProto { key: "model".into(), value: name.to_owned() }],
        ..ModelProto::default()
    };
    Ok(prost::Message::encode_to_vec(&model))
}

/// Whether a dense layer is next but for layers that a scale passes through: then the scale can be
/// folded into its weight, which saves a pass over the input at every inference.
fn is_before_dense(rest: &[PlannedLayer]) -> bool {
    let transparent = |layer: &&PlannedLayer| matches!(layer.spec, LayerSpec::Flatten | LayerSpec::Dropout { .. });
    rest.iter().find(|layer| !transparent(layer)).is_some_and(|layer| matches!(layer.spec, LayerSpec::Dense { .. }))
}

#[derive(Default)]
struct Graph {
    nodes: Vec<NodeProto>,
    constants: Vec<TensorProto>,
}

impl Graph {
    fn node(&mut self, op: &str, inputs: &[&str], output: &str, attribute: Vec<AttributeProto>) {
        self.nodes.push(NodeProto {
            input: inputs.iter().map(|&input| input.to_owned()).collect(),
            output: vec![output.to_owned()],
            name: format!("{}_{}", op.to_lowercase(), self.nodes.len()),
            op_type: op.to_owned(),
            attribute,
            ..NodeProto::default()
        });
    }

    fn constant(&mut self, name: &str, shape: &[usize], values: &[f32]) {
        self.constants.push(TensorProto {
            dims: shape.iter().map(|&size| size as i64).collect(),
            data_type: tensor_proto::DataType::Float as i32,
            name: name.to_owned(),
            raw_data: values.iter().flat_map(|value| value.to_le_bytes()).collect(),
            ..TensorProto::default()
        });
    }
}

fn integer(name: &str, value: i64) -> AttributeProto {
    AttributeProto {
        name: name.to_owned(),
        r#type: attribute_proto::AttributeType::Int as i32,
        i: value,
        ..AttributeProto::default()
    }
}

/// A 32-bit float tensor of `[N, sample…]`.
fn float_value(name: &str, sample: &[usize]) -> ValueInfoProto {
    let dim = |value: dimension::Value| Dimension { value: Some(value), ..Dimension::default() };
    let batch = dim(dimension::Value::DimParam("N".into()));
    let dims = std::iter::once(batch).chain(sample.iter().map(|&size| dim(dimension::Value::DimValue(size as i64))));
    let tensor = type_proto::Tensor {
        elem_type: tensor_proto::DataType::Float as i32,
        shape: Some(TensorShapeProto { dim: dims.collect() }),
    };
    ValueInfoProto {
        name: name.to_owned(),
        r#type: Some(TypeProto { value: Some(type_proto::Value::TensorType(tensor)), ..TypeProto::default() }),
        ..ValueInfoProto::default()
    }
}
