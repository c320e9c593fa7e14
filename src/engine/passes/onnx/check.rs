//! Helpers for the tests of the passes over files: builds graphs, rewrites them, and runs them in tract.

use tract_onnx::pb::{
    AttributeProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto, TensorProto, TensorShapeProto, TypeProto,
    ValueInfoProto, attribute_proto::AttributeType, tensor_shape_proto, type_proto,
};
use tract_onnx::prelude::*;

use super::build::FLOAT;
use crate::engine::Bounds;

/// Returns a value of 32-bit floats; a dimension below zero is open.
pub(super) fn value(name: &str, dims: &[i64]) -> ValueInfoProto {
    typed_value(name, FLOAT, dims)
}

pub(super) fn typed_value(name: &str, elem_type: i32, dims: &[i64]) -> ValueInfoProto {
    let dim = |(axis, size): (usize, &i64)| tensor_shape_proto::Dimension {
        value: Some(match size {
            0.. => tensor_shape_proto::dimension::Value::DimValue(*size),
            _ => tensor_shape_proto::dimension::Value::DimParam(format!("d{axis}")),
        }),
        ..tensor_shape_proto::Dimension::default()
    };
    let shape = Some(TensorShapeProto { dim: dims.iter().enumerate().map(dim).collect() });
    let tensor = type_proto::Value::TensorType(type_proto::Tensor { elem_type, shape });
    let kind = TypeProto { value: Some(tensor), ..TypeProto::default() };
    ValueInfoProto { name: name.into(), r#type: Some(kind), ..ValueInfoProto::default() }
}

pub(super) fn node(op: &str, inputs: &[&str], outputs: &[&str], attribute: Vec<AttributeProto>) -> NodeProto {
    let names = |names: &[&str]| names.iter().map(ToString::to_string).collect();
    NodeProto { op_type: op.into(), input: names(inputs), output: names(outputs), attribute, ..NodeProto::default() }
}

pub(super) fn float(name: &str, value: f32) -> AttributeProto {
    AttributeProto { name: name.into(), r#type: AttributeType::Float.into(), f: value, ..AttributeProto::default() }
}

pub(super) fn weights(name: &str, dims: &[i64], values: Vec<f32>) -> TensorProto {
    TensorProto {
        name: name.into(),
        dims: dims.to_vec(),
        data_type: FLOAT,
        float_data: values,
        ..TensorProto::default()
    }
}

/// Returns a model of one node.
pub(super) fn model(
    opset: i64,
    node: NodeProto,
    input: Vec<ValueInfoProto>,
    initializer: Vec<TensorProto>,
) -> ModelProto {
    let output = node.output.iter().filter(|name| !name.is_empty());
    let output = output.map(|name| ValueInfoProto { name: name.clone(), ..ValueInfoProto::default() }).collect();
    let graph = GraphProto { node: vec![node], input, output, initializer, ..GraphProto::default() };
    let opset_import = vec![OperatorSetIdProto { domain: String::new(), version: opset }];
    ModelProto { ir_version: 8, opset_import, graph: Some(graph), ..ModelProto::default() }
}

/// Runs a model after it was rewritten.
pub(super) fn run(mut model: ModelProto, inputs: Vec<Tensor>) -> Vec<Tensor> {
    super::rewrite(&mut model, Bounds::default()).unwrap();
    let mut graph = super::reader().model_for_proto_model(&model).unwrap();
    for output in 0..graph.outputs.len() {
        graph.set_output_fact(output, InferenceFact::default()).unwrap();
    }
    let plan = graph.into_typed().unwrap().into_optimized().unwrap().into_runnable().unwrap();
    let outputs = plan.run(inputs.into_iter().map(IntoTValue::into_tvalue).collect()).unwrap();
    outputs.into_iter().map(IntoTensor::into_tensor).collect()
}

/// Returns what a rewrite says of a model that it refuses.
pub(super) fn refusal(mut model: ModelProto) -> String {
    super::rewrite(&mut model, Bounds::default()).err().unwrap_or_default()
}

pub(super) fn floats(tensor: &Tensor) -> Vec<f32> {
    tensor.try_as_plain_ram().unwrap().as_slice::<f32>().unwrap().to_vec()
}

pub(super) fn assert_close(got: &[f32], want: &[f32]) {
    assert_eq!(got.len(), want.len());
    for (got, want) in got.iter().zip(want) {
        assert!(got == want || (got - want).abs() <= 1e-5 * want.abs().max(1.0), "{got}, expected {want}");
    }
}

/// Returns numbers between -1 and 1 that look random.
pub(super) fn noise(count: usize) -> Vec<f32> {
    let mut state = 7u32;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 16) as f32 / 32768.0 - 1.0
    };
    (0..count).map(|_| next()).collect()
}
