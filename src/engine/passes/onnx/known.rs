//! What a file says of the values in a graph.

use std::collections::{HashMap, HashSet};

use tract_onnx::pb::{GraphProto, ValueInfoProto, tensor_shape_proto::dimension::Value, type_proto};

/// Dimensions by the names of values, as far as the file declares them, and which values it holds. A dimension is `None`
/// if it is open.
#[derive(Debug)]
pub(super) struct Known {
    shapes: HashMap<String, Vec<Option<i64>>>,
    constants: HashSet<String>,
}

impl Known {
    pub(super) fn of(graph: &GraphProto) -> Self {
        let mut known = Self { shapes: HashMap::new(), constants: HashSet::new() };
        for value in graph.input.iter().chain(&graph.value_info).chain(&graph.output) {
            known.declare(value);
        }
        for tensor in &graph.initializer {
            known.shapes.insert(tensor.name.clone(), tensor.dims.iter().copied().map(Some).collect());
            known.constants.insert(tensor.name.clone());
        }
        for node in graph.node.iter().filter(|node| node.op_type == "Constant") {
            known.constants.extend(node.output.first().cloned());
        }
        known
    }

    fn declare(&mut self, value: &ValueInfoProto) {
        let Some(type_proto::Value::TensorType(tensor)) = value.r#type.as_ref().and_then(|kind| kind.value.as_ref())
        else {
            return;
        };
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
    }

    pub(super) fn dims(&self, value: &str) -> Option<&[Option<i64>]> {
        self.shapes.get(value).map(Vec::as_slice)
    }

    /// Returns true if the value stands in the file.
    pub(super) fn is_constant(&self, value: &str) -> bool {
        self.constants.contains(value)
    }
}
