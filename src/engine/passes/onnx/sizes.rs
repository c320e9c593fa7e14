//! Values that are computed from the sizes of tensors.
//!
//! tract computes them with symbols when it makes a plan for any sizes. It takes two different expressions for different
//! numbers then, though a symbol may come to be any number.

use std::collections::HashSet;

use tract_onnx::pb::NodeProto;

use super::build::{Builder, input, output};
use super::demands;

/// Operators that make sizes of sizes.
const KEEPING: [&str; 17] = [
    "Add",
    "Cast",
    "Concat",
    "Div",
    "Gather",
    "Identity",
    "Max",
    "Min",
    "Mod",
    "Mul",
    "ReduceProd",
    "Reshape",
    "Slice",
    "Squeeze",
    "Sub",
    "Unsqueeze",
    "Where",
];

fn is_kept(op: &str) -> bool {
    op == demands::OPERATOR || KEEPING.contains(&op)
}

/// The names of such values.
#[derive(Debug, Clone, Default)]
pub(super) struct Sizes(HashSet<String>);

impl Sizes {
    /// Takes in a node; all nodes before it are known.
    pub(super) fn note(&mut self, node: &NodeProto) {
        let op = node.op_type.as_str();
        if matches!(op, "Shape" | "Size") || is_kept(op) && self.has_any(node) {
            self.0.extend(node.output.iter().cloned());
        }
    }

    fn has_any(&self, node: &NodeProto) -> bool {
        node.input.iter().any(|input| self.0.contains(input))
    }

    /// `Equal` of sizes: not less and not greater, which tract leaves open until the symbols are known.
    pub(super) fn equal(&self, node: &NodeProto, to: &mut Builder) -> bool {
        let (Some(one), Some(other), Some(result)) = (input(node, 0), input(node, 1), output(node, 0)) else {
            return false;
        };
        if !self.has_any(node) {
            return false;
        }
        let least = to.op("GreaterOrEqual", &[one, other], Vec::new());
        let most = to.op("LessOrEqual", &[one, other], Vec::new());
        to.op_to("And", &[&least, &most], Vec::new(), result);
        true
    }
}
