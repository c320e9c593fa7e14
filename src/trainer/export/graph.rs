//! Writing nodes, constants and types of an ONNX graph.

use tract_onnx::pb::tensor_shape_proto::{Dimension, dimension};
use tract_onnx::pb::{
    AttributeProto, NodeProto, TensorProto, TensorShapeProto, TypeProto, ValueInfoProto, attribute_proto, tensor_proto,
    type_proto,
};

/// A graph being written.
#[derive(Debug, Default)]
pub(in crate::trainer) struct Graph {
    pub(in crate::trainer) nodes: Vec<NodeProto>,
    pub(in crate::trainer) constants: Vec<TensorProto>,
}

impl Graph {
    pub(in crate::trainer) fn node(&mut self, op: &str, inputs: &[&str], output: &str, attribute: Vec<AttributeProto>) {
        self.node_of(op, inputs, &[output], attribute);
    }

    /// A node of several outputs; one without a name is not wanted.
    pub(in crate::trainer) fn node_of(
        &mut self,
        op: &str,
        inputs: &[&str],
        outputs: &[&str],
        attribute: Vec<AttributeProto>,
    ) {
        self.nodes.push(NodeProto {
            input: inputs.iter().map(|&input| input.to_owned()).collect(),
            output: outputs.iter().map(|&output| output.to_owned()).collect(),
            name: format!("{}_{}", op.to_lowercase(), self.nodes.len()),
            op_type: op.to_owned(),
            attribute,
            ..NodeProto::default()
        });
    }

    pub(in crate::trainer) fn integers_constant(&mut self, name: &str, values: &[i64]) {
        self.constants.push(TensorProto {
            dims: vec![values.len() as i64],
            data_type: tensor_proto::DataType::Int64 as i32,
            name: name.to_owned(),
            raw_data: values.iter().flat_map(|value| value.to_le_bytes()).collect(),
            ..TensorProto::default()
        });
    }

    /// A single number of 64 bits.
    pub(in crate::trainer) fn wide_constant(&mut self, name: &str, value: f64) {
        self.constants.push(TensorProto {
            data_type: tensor_proto::DataType::Double as i32,
            name: name.to_owned(),
            raw_data: value.to_le_bytes().to_vec(),
            ..TensorProto::default()
        });
    }

    pub(in crate::trainer) fn constant(&mut self, name: &str, shape: &[usize], values: &[f32]) {
        self.constants.push(TensorProto {
            dims: shape.iter().map(|&size| size as i64).collect(),
            data_type: tensor_proto::DataType::Float as i32,
            name: name.to_owned(),
            raw_data: values.iter().flat_map(|value| value.to_le_bytes()).collect(),
            ..TensorProto::default()
        });
    }
}

/// The numbers of element types in ONNX.
pub(in crate::trainer) const FLOAT: i64 = tensor_proto::DataType::Float as i64;
pub(in crate::trainer) const DOUBLE: i64 = tensor_proto::DataType::Double as i64;
pub(in crate::trainer) const INT64: i64 = tensor_proto::DataType::Int64 as i64;

pub(in crate::trainer) fn integer(name: &str, value: i64) -> AttributeProto {
    AttributeProto {
        name: name.to_owned(),
        r#type: attribute_proto::AttributeType::Int as i32,
        i: value,
        ..AttributeProto::default()
    }
}

pub(in crate::trainer) fn integers(name: &str, values: &[usize]) -> AttributeProto {
    AttributeProto {
        name: name.to_owned(),
        r#type: attribute_proto::AttributeType::Ints as i32,
        ints: values.iter().map(|&value| value as i64).collect(),
        ..AttributeProto::default()
    }
}

pub(in crate::trainer) fn text(name: &str, value: &str) -> AttributeProto {
    AttributeProto {
        name: name.to_owned(),
        r#type: attribute_proto::AttributeType::String as i32,
        s: value.as_bytes().to_vec(),
        ..AttributeProto::default()
    }
}

pub(in crate::trainer) fn float(name: &str, value: f32) -> AttributeProto {
    AttributeProto {
        name: name.to_owned(),
        r#type: attribute_proto::AttributeType::Float as i32,
        f: value,
        ..AttributeProto::default()
    }
}

/// A 32-bit float tensor of `[N, sample…]`.
pub(in crate::trainer) fn float_value(name: &str, sample: &[usize]) -> ValueInfoProto {
    value_of(name, sample, tensor_proto::DataType::Float)
}

/// A 64-bit float tensor of `[N, sample…]`.
pub(in crate::trainer) fn double_value(name: &str, sample: &[usize]) -> ValueInfoProto {
    value_of(name, sample, tensor_proto::DataType::Double)
}

fn value_of(name: &str, sample: &[usize], elements: tensor_proto::DataType) -> ValueInfoProto {
    let dim = |value: dimension::Value| Dimension { value: Some(value), ..Dimension::default() };
    let batch = dim(dimension::Value::DimParam("N".into()));
    let dims = std::iter::once(batch).chain(sample.iter().map(|&size| dim(dimension::Value::DimValue(size as i64))));
    let tensor =
        type_proto::Tensor { elem_type: elements as i32, shape: Some(TensorShapeProto { dim: dims.collect() }) };
    ValueInfoProto {
        name: name.to_owned(),
        r#type: Some(TypeProto { value: Some(type_proto::Value::TensorType(tensor)), ..TypeProto::default() }),
        ..ValueInfoProto::default()
    }
}
