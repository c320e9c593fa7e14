//! Finds the inputs of a graph whose values decide about shapes or operations.
//!
//! tract needs to know such a value, as the new shape of a `Reshape` or the axes of a reduction, when it makes a plan.
//! If it comes with a request, the plan is made for that value.

use std::collections::{BTreeSet, HashMap};

use tract_onnx::pb::{GraphProto, NodeProto};

use super::known::Known;

/// The most elements of an input that a plan is made for; a larger one is data.
const MAX_ELEMENTS: i64 = 1024;

/// The inputs of a node that decide about shapes. Graphs compute them from others.
fn sizes(op: &str) -> &'static [usize] {
    match op {
        "Reshape" | "Expand" | "Tile" | "TopK" | "Squeeze" | "Unsqueeze" | "Split" | "CumSum" | "Trilu" => &[1],
        "Pad" => &[1, 3],
        "Slice" => &[1, 2, 3, 4],
        "Resize" => &[1, 2, 3],
        "OneHot" | "DFT" => &[1, 2],
        "Range" => &[0, 1, 2],
        "ConstantOfShape" | "HannWindow" | "HammingWindow" | "BlackmanWindow" => &[0],
        "MelWeightMatrix" => &[0, 1, 2, 3, 4],
        "STFT" => &[1, 3],
        "RNN" | "GRU" | "LSTM" => &[4],
        reduction if reduction.starts_with("Reduce") => &[1],
        _ => &[],
    }
}

/// The inputs of a node that tract takes from the file only, though they decide about numbers alone.
fn numbers(op: &str) -> &'static [usize] {
    match op {
        "Pad" | "STFT" => &[2],
        "QuantizeLinear" | "DequantizeLinear" => &[1, 2],
        "BatchNormalization" => &[1, 2, 3, 4],
        _ => &[],
    }
}

/// Returns the names of the inputs that such values are, or are computed from. An input that may be large is none of
/// them.
pub(in crate::engine) fn arguments(graph: &GraphProto) -> BTreeSet<String> {
    let known = Known::of(graph);
    let mut nodes = Vec::new();
    collect(graph, &mut nodes);
    let producers: HashMap<&str, &NodeProto> =
        nodes.iter().flat_map(|node| node.output.iter().map(|output| (output.as_str(), *node))).collect();
    let inputs: BTreeSet<&str> =
        graph.input.iter().map(|input| input.name.as_str()).filter(|name| !known.is_constant(name)).collect();
    let mut open: Vec<&str> = Vec::new();
    let mut found = BTreeSet::new();
    for node in &nodes {
        open.extend(sizes(&node.op_type).iter().filter_map(|place| node.input.get(*place)).map(String::as_str));
        let given = numbers(&node.op_type).iter().filter_map(|place| node.input.get(*place));
        found.extend(given.filter(|value| inputs.contains(value.as_str()) && is_small(value, &known)).cloned());
    }
    let mut seen = BTreeSet::new();
    while let Some(value) = open.pop() {
        if !seen.insert(value) {
            continue;
        }
        if inputs.contains(value) {
            if is_small(value, &known) {
                found.insert(value.to_owned());
            }
        } else if let Some(node) =
            producers.get(value).filter(|node| !matches!(node.op_type.as_str(), "Shape" | "Size"))
        {
            open.extend(node.input.iter().map(String::as_str));
        }
    }
    found
}

/// Lists the nodes of a graph and of the graphs inside it.
fn collect<'g>(graph: &'g GraphProto, nodes: &mut Vec<&'g NodeProto>) {
    for node in &graph.node {
        nodes.push(node);
        node.attribute.iter().filter_map(|attribute| attribute.g.as_ref()).for_each(|inner| collect(inner, nodes));
    }
}

/// Returns true if the file does not allow many elements. A vector of any length is taken for a list of axes or sizes.
fn is_small(value: &str, known: &Known) -> bool {
    let Some(dims) = known.dims(value) else { return false };
    let elements = dims.iter().map(|dim| dim.unwrap_or(1)).try_fold(1i64, i64::checked_mul);
    (dims.len() <= 1 || dims.iter().all(Option::is_some)) && elements.is_some_and(|count| count <= MAX_ELEMENTS)
}

#[cfg(test)]
mod tests {
    use tract_onnx::pb::{TensorShapeProto, TypeProto, ValueInfoProto, tensor_shape_proto, type_proto};

    use super::*;

    fn value(name: &str, dims: &[i64]) -> ValueInfoProto {
        let dim = |size: &i64| tensor_shape_proto::Dimension {
            value: (*size >= 0).then_some(tensor_shape_proto::dimension::Value::DimValue(*size)),
            ..tensor_shape_proto::Dimension::default()
        };
        let shape = Some(TensorShapeProto { dim: dims.iter().map(dim).collect() });
        let tensor = type_proto::Tensor { elem_type: 7, shape };
        let kind = TypeProto { value: Some(type_proto::Value::TensorType(tensor)), ..TypeProto::default() };
        ValueInfoProto { name: name.into(), r#type: Some(kind), ..ValueInfoProto::default() }
    }

    fn node(op: &str, inputs: &[&str], output: &str) -> NodeProto {
        let input = inputs.iter().map(ToString::to_string).collect();
        NodeProto { op_type: op.into(), input, output: vec![output.into()], ..NodeProto::default() }
    }

    #[test]
    fn what_decides_about_shapes_is_found_through_other_nodes() {
        let graph = GraphProto {
            input: vec![value("x", &[-1, 4]), value("by", &[-1]), value("axes", &[2]), value("y", &[9000])],
            node: vec![
                node("Shape", &["x"], "shape"),
                node("Add", &["shape", "by"], "sum"),
                node("Reshape", &["x", "sum"], "r"),
                node("ReduceSum", &["r", "axes"], "s"),
                node("Tile", &["s", "y"], "t"),
            ],
            ..GraphProto::default()
        };
        assert_eq!(arguments(&graph).into_iter().collect::<Vec<_>>(), ["axes", "by"]);
    }
}
