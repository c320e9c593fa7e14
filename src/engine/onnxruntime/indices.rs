//! Indices outside their table: the library says which index, and of which node. These are the words for whose index it is,
//! where, and of what table.

use tract_onnx::pb::NodeProto;

use crate::engine::faults::{IndexFault, place_in};
use crate::engine::guards;
use crate::tensor::{Data, Tensor};

/// The operators that look indices up. Their table is the first input, the indices are the second.
const OPERATORS: [&str; 6] = ["Gather", "GatherElements", "GatherND", "ScatterElements", "ScatterND", "Scatter"];

/// The words of the library before the index.
const BEFORE: [&str; 4] =
    ["idx=", "Actual value is ", "invalid index found, index = ", "invalid indice found, indice = "];

/// A node that looks indices up.
#[derive(Debug, Clone)]
struct Lookup {
    name: String,
    operator: String,
    table: String,
    indices: String,
    /// The axis of the table, where it is one for all indices.
    axis: Option<i64>,
}

/// The nodes of a graph that look indices up.
#[derive(Debug, Default)]
pub(super) struct Lookups(Vec<Lookup>);

impl Lookups {
    /// Returns those of a file.
    pub(super) fn of(onnx: &[u8]) -> Self {
        Self(
            guards::nodes(onnx, |operator| OPERATORS.contains(&operator))
                .filter_map(|node| Lookup::of(&node))
                .collect(),
        )
    }

    /// Returns the words for what the library said of a run on these inputs; `None` if it is about something else.
    pub(super) fn words(&self, said: &str, inputs: &[(&str, &Tensor)]) -> Option<String> {
        let (operator, rest) = said.split_once("running ")?.1.split_once(" node. Name:'")?;
        let (name, message) = rest.split_once('\'')?;
        let index = BEFORE.iter().find_map(|before| number(message.split_once(before)?.1))?;
        let mut of = self.0.iter().filter(|node| node.operator == operator && node.name == name);
        // Nodes without names are told apart only if there is one.
        let node = of.next().filter(|_| of.next().is_none())?;
        let place = inputs.iter().find(|(name, _)| *name == node.indices).and_then(|(_, given)| place_of(index, given));
        let range = range(message);
        Some(
            IndexFault { indices: &node.indices, index, place, table: &node.table, axis: node.axis, range }.to_string(),
        )
    }
}

impl Lookup {
    fn of(node: &NodeProto) -> Option<Self> {
        let [table, indices, ..] = node.input.as_slice() else { return None };
        let axis = node.attribute.iter().find(|attribute| attribute.name == "axis").map_or(0, |axis| axis.i);
        Some(Self {
            name: node.name.clone(),
            operator: node.op_type.clone(),
            table: table.clone(),
            indices: indices.clone(),
            axis: (!node.op_type.ends_with("ND")).then_some(axis),
        })
    }
}

/// Returns the whole number that a text begins with.
fn number(text: &str) -> Option<i64> {
    let end = text.char_indices().find(|(at, one)| !(one.is_ascii_digit() || *at == 0 && *one == '-'));
    text[..end.map_or(text.len(), |(at, _)| at)].parse().ok()
}

/// Returns the range that a message gives: `[-5,4]` or `[-5 , 4]`.
fn range(message: &str) -> Option<(i64, i64)> {
    let (least, most) = message.split_once('[')?.1.split_once(']')?.0.split_once(',')?;
    Some((least.trim().parse().ok()?, most.trim().parse().ok()?))
}

/// Returns the position of a number in a tensor.
fn place_of(index: i64, tensor: &Tensor) -> Option<Vec<usize>> {
    let at = match tensor.data() {
        Data::Int64(values) => values.iter().position(|value| *value == index),
        Data::Int32(values) => values.iter().position(|value| i64::from(*value) == index),
        _ => None,
    };
    Some(place_in(at?, tensor.shape()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lookups() -> Lookups {
        let node = |operator: &str, name: &str| Lookup {
            name: name.into(),
            operator: operator.into(),
            table: "wte".into(),
            indices: "ids".into(),
            axis: (operator == "Gather").then_some(0),
        };
        Lookups(vec![node("Gather", "embed"), node("GatherND", "")])
    }

    #[test]
    fn an_index_is_named_with_its_place_and_its_table() {
        let ids = Tensor::new(vec![2, 2], vec![1i64, 2, 50257, 0]).unwrap();
        let inputs = [("ids", &ids)];
        let said = "Non-zero status code returned while running Gather node. Name:'embed' Status Message: indices element \
                    out of data bounds, idx=50257 must be within the inclusive range [-50257,50256]";
        assert_eq!(
            lookups().words(said, &inputs).unwrap(),
            "indices \"ids\": value 50257 at [1, 0] is outside axis 0 of the table \"wte\" (-50257 to 50256)"
        );
        let said = "Non-zero status code returned while running GatherND node. Name:'' Status Message: invalid index found, \
                    index = -9";
        assert_eq!(lookups().words(said, &inputs).unwrap(), "indices \"ids\": value -9 is outside the table \"wte\"");
        assert_eq!(lookups().words("Integer division by zero", &inputs), None);
        let other = "running Gather node. Name:'other' Status Message: idx=9 must be within the inclusive range [-5,4]";
        assert_eq!(lookups().words(other, &inputs), None);
    }
}
