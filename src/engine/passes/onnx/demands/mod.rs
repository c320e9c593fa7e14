//! The demands of operators on their inputs: sizes that fit together, indices inside their table, lengths that are none below
//! zero.
//!
//! tract trusts a graph. Where sizes are open, or values come with a request, it computes on: rows of other sizes are
//! multiplied, a 64-bit size is cut to 32 bits, the sixth largest of five numbers is a zero. So a node that makes a demand
//! gets a node of its own before it, which hands one input on once the demand is met and else ends the run in words. Where
//! the file settles that it is met, nothing is left of it.
//!
//! [`table`] says which operators demand what; [`shapes`], [`values`] and [`indices`] are plain functions of sizes and
//! values; [`operator`] is their place in a graph of tract.

mod call;
mod indices;
mod operator;
mod shapes;
mod table;
mod values;

use prost::Message as _;
use tract_onnx::model::OnnxOpRegister;
use tract_onnx::pb::{AttributeProto, NodeProto, attribute_proto::AttributeType};

use super::build::{input, integer};
use super::known::Known;
use crate::engine::Bounds;

/// The operator of the nodes that are added. No file may use it.
pub(super) const OPERATOR: &str = "weir.Demand";

/// The attributes: the node in question, encoded; the place of the input that waits; the bytes that a tensor may take.
const NODE: &str = "node";
const WAITING: &str = "waiting";
const LIMIT: &str = "limit";

/// Makes a reader of ONNX build the nodes of demands.
pub(super) fn register(operators: &mut OnnxOpRegister) {
    operators.insert(OPERATOR, operator::read);
}

/// Returns the node to write before this one, which reads its output from now on; `None` if it demands nothing.
pub(super) fn before(node: &mut NodeProto, known: &Known, bounds: Bounds) -> Option<NodeProto> {
    if !matches!(node.domain.as_str(), "" | "ai.onnx") {
        return None;
    }
    let rule = table::rule(&node.op_type)?;
    // A constant stays one only if it does not wait.
    let is_constant = |at: usize| input(node, at).is_none_or(|name| known.is_constant(name));
    let waiting = rule.waiting.iter().copied().find(|at| !is_constant(*at))?;
    let base = node.output.iter().find(|name| !name.is_empty())?;
    let output = format!("{base}.demand");
    let rest = (0..node.input.len()).filter(|at| *at != waiting);
    let inputs = std::iter::once(waiting).chain(rest).filter_map(|at| input(node, at).map(str::to_owned)).collect();
    let kind = AttributeType::String.into();
    let encoded =
        AttributeProto { name: NODE.into(), r#type: kind, s: node.encode_to_vec(), ..AttributeProto::default() };
    let place = integer(WAITING, i64::try_from(waiting).ok()?);
    let limit = integer(LIMIT, i64::try_from(bounds.tensor_bytes).unwrap_or(i64::MAX));
    let demand = NodeProto {
        name: output.clone(),
        op_type: OPERATOR.into(),
        input: inputs,
        output: vec![output.clone()],
        attribute: vec![encoded, place, limit],
        ..NodeProto::default()
    };
    node.input[waiting] = output;
    Some(demand)
}

#[cfg(test)]
mod tests {
    use tract_onnx::pb::{NodeProto, TensorProto, ValueInfoProto};
    use tract_onnx::prelude::*;

    use super::super::build::integer;
    use super::super::check::{model, node, typed_value, value, weights};
    use super::super::{reader, rewrite};
    use crate::engine::Bounds;

    fn integers(name: &str, values: &[i64]) -> TensorProto {
        let dims = vec![i64::try_from(values.len()).unwrap()];
        TensorProto { name: name.into(), dims, data_type: 7, int64_data: values.to_vec(), ..TensorProto::default() }
    }

    /// Returns how many demands are left of a graph that is loaded.
    fn left(node: NodeProto, inputs: Vec<ValueInfoProto>, constants: Vec<TensorProto>) -> usize {
        let mut model = model(17, node, inputs, constants);
        rewrite(&mut model, Bounds::default()).unwrap();
        let mut graph = reader().model_for_proto_model(&model).unwrap();
        graph.set_output_fact(0, InferenceFact::default()).unwrap();
        let graph = graph.into_typed().unwrap().into_decluttered().unwrap();
        graph.nodes.iter().filter(|node| node.op.name() == "Demand").count()
    }

    #[test]
    fn nothing_is_left_of_what_the_file_settles() {
        // Open dimensions are "d0", "d1", … by their axis, in every input.
        let two = || vec![value("x", &[-1, 4]), value("z", &[-1, 4])];
        let w = || vec![weights("w", &[4, 2], vec![0.5; 8])];
        assert_eq!(left(node("MatMul", &["x", "w"], &["y"], Vec::new()), vec![value("x", &[-1, 4])], w()), 0);
        assert_eq!(left(node("Gemm", &["x", "w"], &["y"], Vec::new()), vec![value("x", &[-1, 4])], w()), 0);
        assert_eq!(left(node("Add", &["x", "z"], &["y"], Vec::new()), two(), Vec::new()), 0);
        assert_eq!(left(node("Concat", &["x", "z"], &["y"], vec![integer("axis", 1)]), two(), Vec::new()), 0);
        let shape = vec![integers("s", &[0, -1, 2])];
        assert_eq!(left(node("Reshape", &["x", "s"], &["y"], Vec::new()), vec![value("x", &[-1, 4])], shape), 0);
        let kernel = vec![weights("k", &[3, 2, 3, 3], vec![0.5; 54])];
        let image = || vec![value("x", &[-1, 2, -1, -1])];
        assert_eq!(left(node("Conv", &["x", "k"], &["y"], Vec::new()), image(), kernel), 0);
        let first = vec![integers("i", &[0])];
        let row = node("Gather", &["x", "i"], &["y"], vec![integer("axis", 1)]);
        assert_eq!(left(row, vec![value("x", &[-1, 4])], first), 0);
    }

    #[test]
    fn what_only_a_run_shows_is_looked_at_in_the_run() {
        let square = vec![value("x", &[-1, -1]), value("z", &[-1, -1])];
        assert_eq!(left(node("MatMul", &["x", "z"], &["y"], Vec::new()), square, Vec::new()), 1);
        let ids = vec![typed_value("i", 7, &[-1])];
        let table = vec![weights("w", &[4, 2], vec![0.5; 8])];
        assert_eq!(left(node("Gather", &["w", "i"], &["y"], Vec::new()), ids, table), 1);
    }
}
