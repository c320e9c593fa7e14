//! A look at the nodes of a graph for what may make samples depend on each other. It proves nothing: it decides how long
//! the measurement may take.

use std::collections::HashSet;

use prost::Message as _;
use tract_onnx::pb::NodeProto;

use crate::wire::fields;

/// Operators that look along the first dimension, or at sizes and values of the whole tensor.
const WHOLE: [&str; 22] = [
    "CumSum",
    "NonZero",
    "Unique",
    "Loop",
    "Scan",
    "If",
    "Compress",
    "ReverseSequence",
    "Size",
    "NonMaxSuppression",
    "Range",
    "LSTM",
    "GRU",
    "RNN",
    "MeanVarianceNormalization",
    "Einsum",
    "Trilu",
    "EyeLike",
    "Det",
    "SequenceConstruct",
    "SplitToSequence",
    "DynamicQuantizeLinear",
];

/// Operators that look along the dimension that their attribute names.
const ALONG: [&str; 9] =
    ["Softmax", "LogSoftmax", "Hardmax", "LpNormalization", "TopK", "ArgMax", "ArgMin", "Flatten", "Split"];

/// Operators that only pass sizes on.
const PASSING: [&str; 11] =
    ["Gather", "Slice", "Cast", "Squeeze", "Unsqueeze", "Concat", "Identity", "Add", "Sub", "Mul", "Div"];

/// Operators for which a size among the inputs is a shape, and no number to compute with.
const SHAPING: [&str; 8] = ["Reshape", "Expand", "ConstantOfShape", "Tile", "Resize", "Upsample", "Pad", "Slice"];

/// Returns true if the nodes of an ONNX file look as if samples might depend on each other: they reduce, scan or sort
/// along the first dimension, or compute with its size.
pub(super) fn is_suspicious(onnx: &[u8]) -> bool {
    nodes(onnx).is_none_or(|(nodes, constants)| {
        let mut sizes: HashSet<String> = HashSet::new();
        let mut constants = constants;
        nodes.iter().any(|node| {
            let is_size = |name: &&String| sizes.contains(name.as_str());
            let is_number = |name: &&String| !name.is_empty() && !is_size(name) && !constants.contains(name.as_str());
            let (has_size, has_number) =
                (node.input.iter().any(|name| is_size(&name)), node.input.iter().any(|name| is_number(&name)));
            let op = node.op_type.as_str();
            match op {
                "Shape" => sizes.extend(node.output.iter().cloned()),
                "Constant" => constants.extend(node.output.iter().cloned()),
                _ if has_size && PASSING.contains(&op) && !has_number => sizes.extend(node.output.iter().cloned()),
                _ if has_size && !SHAPING.contains(&op) => return true,
                _ => {}
            }
            looks_along_first(node)
        })
    })
}

fn looks_along_first(node: &NodeProto) -> bool {
    let attribute = |name: &str| node.attribute.iter().find(|attribute| attribute.name == name);
    let op = node.op_type.as_str();
    match op {
        // Without the attribute the axes are all of them, or an input.
        _ if op.starts_with("Reduce") => attribute("axes").is_none_or(|axes| axes.ints.contains(&0)),
        "ArgMax" | "ArgMin" | "Split" => attribute("axis").is_none_or(|axis| axis.i == 0),
        "BatchNormalization" => attribute("training_mode").is_some_and(|mode| mode.i == 1),
        "Transpose" => attribute("perm").is_none_or(|perm| perm.ints.first() != Some(&0)),
        _ => WHOLE.contains(&op) || (ALONG.contains(&op) && attribute("axis").is_some_and(|axis| axis.i == 0)),
    }
}

/// Returns the nodes of the outermost graph and the names of its initializers; `None` for what cannot be read.
fn nodes(onnx: &[u8]) -> Option<(Vec<NodeProto>, HashSet<String>)> {
    const GRAPH: u64 = 7;
    const NODE: u64 = 1;
    const INITIALIZER: u64 = 5;
    let of_model = fields(onnx).collect::<Result<Vec<_>, _>>().ok()?;
    let graph = of_model.iter().find(|field| field.number == GRAPH)?.content()?;
    let (mut nodes, mut constants) = (Vec::new(), HashSet::new());
    for field in fields(graph) {
        let field = field.ok()?;
        match (field.number, field.content()) {
            (NODE, Some(node)) => nodes.push(NodeProto::decode(node).ok()?),
            (INITIALIZER, Some(tensor)) => constants.extend(name_of(tensor)),
            _ => {}
        }
    }
    Some((nodes, constants))
}

/// Returns the name of an initializer, without a copy of its elements.
fn name_of(tensor: &[u8]) -> Option<String> {
    const NAME: u64 = 8;
    let name = fields(tensor).filter_map(Result::ok).find(|field| field.number == NAME)?.content()?;
    Some(String::from_utf8_lossy(name).into_owned())
}

#[cfg(test)]
mod tests {
    use prost::Message as _;
    use tract_onnx::pb::{AttributeProto, GraphProto, ModelProto, TensorProto};

    use super::*;

    fn node(op: &str, inputs: &[&str], output: &str, attributes: &[(&str, &[i64])]) -> NodeProto {
        let attribute = |(name, ints): &(&str, &[i64])| AttributeProto {
            name: (*name).into(),
            i: ints.first().copied().unwrap_or(0),
            ints: ints.to_vec(),
            ..AttributeProto::default()
        };
        NodeProto {
            op_type: op.into(),
            input: inputs.iter().map(|name| (*name).into()).collect(),
            output: vec![output.into()],
            attribute: attributes.iter().map(attribute).collect(),
            ..NodeProto::default()
        }
    }

    fn looks(nodes: &[NodeProto]) -> bool {
        let initializer = vec![TensorProto { name: "w".into(), ..TensorProto::default() }];
        let graph = GraphProto { node: nodes.to_vec(), initializer, ..GraphProto::default() };
        is_suspicious(&ModelProto { graph: Some(graph), ..ModelProto::default() }.encode_to_vec())
    }

    #[test]
    fn what_looks_along_the_first_dimension_or_counts_samples_is_suspicious() {
        let size = || vec![node("Shape", &["x"], "s", &[]), node("Gather", &["s", "w"], "n", &[])];
        let counted = |op: &str| [size(), vec![node(op, &["x", "n"], "y", &[])]].concat();
        for nodes in [
            vec![node("CumSum", &["x", "w"], "y", &[])],
            vec![node("ReduceMax", &["x"], "y", &[("axes", &[0])])],
            vec![node("ReduceSum", &["x", "w"], "y", &[])],
            vec![node("Softmax", &["x"], "y", &[("axis", &[0])])],
            vec![node("Transpose", &["x"], "y", &[("perm", &[1, 0])])],
            counted("Mul"),
            [size(), vec![node("Greater", &["n", "w"], "c", &[]), node("Where", &["c", "x", "w"], "y", &[])]].concat(),
        ] {
            assert!(looks(&nodes), "{nodes:?}");
        }
        for nodes in [
            vec![node("MatMul", &["x", "w"], "y", &[])],
            vec![node("ReduceMean", &["x"], "y", &[("axes", &[-1])])],
            vec![node("Softmax", &["x"], "y", &[("axis", &[1])])],
            [size(), vec![node("Concat", &["n", "w"], "t", &[("axis", &[0])]), node("Reshape", &["x", "t"], "y", &[])]]
                .concat(),
            vec![node("Conv", &["x", "w"], "h", &[]), node("Relu", &["h"], "y", &[])],
        ] {
            assert!(!looks(&nodes), "{nodes:?}");
        }
        assert!(is_suspicious(b"no model"));
    }
}
