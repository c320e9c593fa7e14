//! What a file says of the values in a graph.

use std::collections::{HashMap, HashSet};

use tract_onnx::pb::{GraphProto, TensorProto, ValueInfoProto, tensor_shape_proto::dimension::Value, type_proto};

use super::build::{FLOAT, attribute};

/// The number of truth values in onnx.proto.
const BOOL: i32 = 9;

/// Dimensions and types by the names of values, as far as the file declares them, and which values it holds. A dimension is `None`
/// if it is open.
#[derive(Debug)]
pub(super) struct Known {
    shapes: HashMap<String, Vec<Option<i64>>>,
    /// Element types, as onnx.proto numbers them.
    types: HashMap<String, i32>,
    constants: HashSet<String>,
    /// Constants of one truth value or one 32-bit float.
    scalars: HashMap<String, f32>,
}

impl Known {
    pub(super) fn of(graph: &GraphProto) -> Self {
        let mut known =
            Self { shapes: HashMap::new(), types: HashMap::new(), constants: HashSet::new(), scalars: HashMap::new() };
        for value in graph.input.iter().chain(&graph.value_info).chain(&graph.output) {
            known.declare(value);
        }
        for tensor in &graph.initializer {
            known.shapes.insert(tensor.name.clone(), tensor.dims.iter().copied().map(Some).collect());
            known.types.insert(tensor.name.clone(), tensor.data_type);
            known.constants.insert(tensor.name.clone());
            known.scalars.extend(scalar(tensor).map(|number| (tensor.name.clone(), number)));
        }
        for node in graph.node.iter().filter(|node| node.op_type == "Constant") {
            known.constants.extend(node.output.first().cloned());
            let tensor = attribute(node, "value").and_then(|value| value.t.as_ref());
            known.types.extend(node.output.first().cloned().zip(tensor.map(|tensor| tensor.data_type)));
            let number = tensor.and_then(scalar);
            known.scalars.extend(node.output.first().cloned().zip(number));
        }
        known
    }

    fn declare(&mut self, value: &ValueInfoProto) {
        let Some(type_proto::Value::TensorType(tensor)) = value.r#type.as_ref().and_then(|kind| kind.value.as_ref())
        else {
            return;
        };
        self.types.insert(value.name.clone(), tensor.elem_type);
        if let Some(shape) = &tensor.shape {
            let dims = shape.dim.iter().map(|dim| match dim.value {
                Some(Value::DimValue(size)) => Some(size),
                _ => None,
            });
            self.shapes.insert(value.name.clone(), dims.collect());
        }
    }

    /// Takes in a value that is another one under a new name.
    pub(super) fn alias(&mut self, name: &str, of: &str) {
        if let Some(dims) = self.shapes.get(of).cloned() {
            self.shapes.insert(name.to_owned(), dims);
        }
        if let Some(kind) = self.types.get(of).copied() {
            self.types.insert(name.to_owned(), kind);
        }
    }

    /// Returns the element type of a value, as onnx.proto numbers it, if the file says it.
    pub(super) fn element_type(&self, value: &str) -> Option<i32> {
        self.types.get(value).copied()
    }

    pub(super) fn dims(&self, value: &str) -> Option<&[Option<i64>]> {
        self.shapes.get(value).map(Vec::as_slice)
    }

    /// Returns true if the value stands in the file.
    pub(super) fn is_constant(&self, value: &str) -> bool {
        self.constants.contains(value)
    }

    /// Returns a value of the file that is one truth value (1 or 0) or one 32-bit float.
    pub(super) fn scalar(&self, value: &str) -> Option<f32> {
        self.scalars.get(value).copied()
    }
}

fn scalar(tensor: &TensorProto) -> Option<f32> {
    let raw = tensor.raw_data.as_slice();
    match tensor.data_type {
        _ if tensor.dims.iter().any(|dim| *dim != 1) => None,
        BOOL => {
            let stored = tensor.int32_data.first().map(|number| *number != 0);
            stored.or_else(|| raw.first().map(|byte| *byte != 0)).map(|is_true| f32::from(u8::from(is_true)))
        }
        FLOAT => {
            let stored = tensor.float_data.first().copied();
            stored.or_else(|| raw.try_into().ok().map(f32::from_le_bytes))
        }
        _ => None,
    }
}
