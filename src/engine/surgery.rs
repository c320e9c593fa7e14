//! Cuts of ONNX graphs.

use std::collections::BTreeSet;

use tract_onnx::pb::{GraphProto, NodeProto, TypeProto, ValueInfoProto, tensor_proto, type_proto};

/// Adds the tensors that a node reads, those that the graphs within it read included.
pub fn used_by(node: &NodeProto, wanted: &mut BTreeSet<String>) {
    wanted.extend(node.input.iter().filter(|input| !input.is_empty()).cloned());
    for graph in node.attribute.iter().flat_map(|attribute| attribute.g.iter().chain(&attribute.graphs)) {
        graph.node.iter().for_each(|node| used_by(node, wanted));
        wanted.extend(graph.output.iter().map(|output| output.name.clone()));
    }
}

/// Leaves what these tensors are made by. Nodes are in an order in which each comes after those it needs.
pub fn keep<'t>(graph: &mut GraphProto, tensors: impl IntoIterator<Item = &'t str>) {
    let mut wanted: BTreeSet<String> = tensors.into_iter().map(str::to_owned).collect();
    let nodes = std::mem::take(&mut graph.node);
    for node in nodes.into_iter().rev() {
        if node.output.iter().any(|output| wanted.contains(output)) {
            used_by(&node, &mut wanted);
            graph.node.push(node);
        }
    }
    graph.node.reverse();
    graph.initializer.retain(|constant| wanted.contains(&constant.name));
    graph.input.retain(|input| wanted.contains(&input.name));
    graph.value_info.clear();
}

/// Returns an output of 32-bit floats of any shape.
pub fn untyped(name: &str) -> ValueInfoProto {
    let tensor = type_proto::Tensor { elem_type: tensor_proto::DataType::Float as i32, shape: None };
    let r#type = TypeProto { value: Some(type_proto::Value::TensorType(tensor)), ..TypeProto::default() };
    ValueInfoProto { name: name.to_owned(), r#type: Some(r#type), ..ValueInfoProto::default() }
}
