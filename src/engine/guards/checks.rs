//! Writes checks: small operators that fail, in words, where a condition does not hold.

use tract_onnx::pb::{AttributeProto, NodeProto, TensorProto, attribute_proto::AttributeType};

use super::flow::{FLOAT, INT32, INT64};

/// The beginning of the name of a check's last node. The library names the node that fails.
const MARK: &str = "weir refuses: ";

/// Returns the words of the check that failed, by what the library says; `None` if something else did.
pub(in crate::engine) fn words(said: &str) -> Option<&str> {
    let (_, rest) = said.split_once("Name:'weir refuses: ")?;
    Some(rest.split_once("' Status Message:").map_or(rest, |(words, _)| words))
}

/// The nodes of checks, which are written before what they check. Their numbers are 32-bit floats.
#[derive(Debug)]
pub(super) struct Checks {
    standard: i64,
    tensor_bytes: u64,
    nodes: Vec<NodeProto>,
    /// Nodes so far, by which names are told apart.
    made: usize,
    count: usize,
}

impl Checks {
    pub(super) fn new(standard: i64, tensor_bytes: u64) -> Self {
        Self { standard, tensor_bytes, nodes: Vec::new(), made: 0, count: 0 }
    }

    /// Returns the number of checks so far.
    pub(super) fn count(&self) -> usize {
        self.count
    }

    /// Returns the version of the standard that the graph names.
    pub(super) fn standard(&self) -> i64 {
        self.standard
    }

    /// Changes the version of the standard; returns the former one.
    pub(super) fn set_standard(&mut self, standard: i64) -> i64 {
        std::mem::replace(&mut self.standard, standard)
    }

    /// Returns the bytes that a tensor may take.
    pub(super) fn tensor_bytes(&self) -> u64 {
        self.tensor_bytes
    }

    /// Hands over the nodes that were made.
    pub(super) fn drain(&mut self, take: impl FnMut(NodeProto)) {
        self.nodes.drain(..).for_each(take);
    }

    /// Adds a node and returns the name of its output.
    pub(super) fn op(&mut self, operator: &str, inputs: &[&str], attribute: Vec<AttributeProto>) -> String {
        self.named(String::new(), operator, inputs, attribute)
    }

    fn named(&mut self, name: String, operator: &str, inputs: &[&str], attribute: Vec<AttributeProto>) -> String {
        self.made += 1;
        let output = format!("weir/check/{}", self.made);
        self.nodes.push(NodeProto {
            name,
            op_type: operator.into(),
            input: inputs.iter().map(|&name| name.to_owned()).collect(),
            output: vec![output.clone()],
            attribute,
            ..NodeProto::default()
        });
        output
    }

    fn tensor(&mut self, tensor: TensorProto) -> String {
        let kind = AttributeType::Tensor.into();
        let value = AttributeProto { name: "value".into(), r#type: kind, t: Some(tensor), ..AttributeProto::default() };
        self.op("Constant", &[], vec![value])
    }

    pub(super) fn number(&mut self, value: f32) -> String {
        self.tensor(TensorProto { data_type: FLOAT, float_data: vec![value], ..TensorProto::default() })
    }

    /// Returns an integer of one of the types that divide.
    pub(super) fn integer(&mut self, value: i64, data_type: i32) -> String {
        let mut tensor = TensorProto { data_type, ..TensorProto::default() };
        match i32::try_from(value) {
            Ok(value) if data_type != INT64 => tensor.int32_data = vec![value],
            Ok(_) | Err(_) => tensor.int64_data = vec![value],
        }
        self.tensor(tensor)
    }

    /// Returns a vector of 64-bit integers.
    pub(super) fn vector(&mut self, values: &[i64]) -> String {
        let (dims, int64_data) = (vec![values.len() as i64], values.to_vec());
        self.tensor(TensorProto { dims, data_type: INT64, int64_data, ..TensorProto::default() })
    }

    /// Returns a row of two ones, which adds the rows of a matrix.
    pub(super) fn ones(&mut self) -> String {
        self.tensor(TensorProto {
            dims: vec![1, 2],
            data_type: FLOAT,
            float_data: vec![1.0; 2],
            ..TensorProto::default()
        })
    }

    pub(super) fn cast(&mut self, value: &str, to: i32) -> String {
        self.op("Cast", &[value], vec![integer("to", to.into())])
    }

    pub(super) fn float(&mut self, value: &str) -> String {
        self.cast(value, FLOAT)
    }

    /// Returns the number of elements of a value.
    pub(super) fn size(&mut self, value: &str) -> String {
        let size = self.op("Size", &[value], Vec::new());
        self.float(&size)
    }

    /// Returns the sizes of a value.
    pub(super) fn shape(&mut self, value: &str) -> String {
        let shape = self.op("Shape", &[value], Vec::new());
        self.float(&shape)
    }

    /// Returns the product of all numbers in a value.
    pub(super) fn product(&mut self, value: &str) -> String {
        self.op("ReduceProd", &[value], vec![integer("keepdims", 0)])
    }

    pub(super) fn times(&mut self, a: &str, b: &str) -> String {
        self.op("Mul", &[a, b], Vec::new())
    }

    pub(super) fn over(&mut self, a: &str, b: &str) -> String {
        self.op("Div", &[a, b], Vec::new())
    }

    pub(super) fn less(&mut self, a: &str, than: f32) -> String {
        let than = self.number(than);
        self.op("Less", &[a, &than], Vec::new())
    }

    pub(super) fn greater(&mut self, a: &str, than: f32) -> String {
        let than = self.number(than);
        self.op("Greater", &[a, &than], Vec::new())
    }

    /// Refuses a run, with these words, in which any element of a condition is false. Returns the name of a value that is
    /// `input`, of this type if it is known, once the condition was seen to hold.
    pub(super) fn refuse_unless(
        &mut self,
        condition: &str,
        words: &str,
        input: &str,
        element_type: Option<i32>,
    ) -> String {
        self.count += 1;
        let unmet = self.op("Not", &[condition], Vec::new());
        let unmet = self.float(&unmet);
        let unmet = self.op("ReduceSum", &[&unmet], vec![integer("keepdims", 0)]);
        let unmet = self.cast(&unmet, INT64);
        let zeros = self.vector(&[0]);
        // An index other than 0 fails, and the library names this node.
        let name = format!("{MARK}{}", words.replace('\'', " "));
        let zero = self.named(name, "Gather", &[&zeros, &unmet], Vec::new());
        // The value comes after the check, because it needs its outcome. Adding 0 keeps what the library knows of sizes.
        if let Some(of) = element_type.filter(|of| matches!(*of, INT32 | INT64 | FLOAT)) {
            let zero = if of == INT64 { zero } else { self.cast(&zero, of) };
            return self.op("Add", &[input, &zero], Vec::new());
        }
        // Of any other type its shape does. Reshape copies nothing.
        let shape = self.op("Shape", &[input], Vec::new());
        let shape = self.op("Add", &[&shape, &zero], Vec::new());
        self.op("Reshape", &[input, &shape], Vec::new())
    }
}

pub(super) fn integer(name: &str, value: i64) -> AttributeProto {
    AttributeProto { name: name.into(), r#type: AttributeType::Int.into(), i: value, ..AttributeProto::default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_of_a_check_are_those_of_its_node() {
        let said = "Non-zero status code returned while running Gather node. Name:'weir refuses: node \"r\" (Range) is too \
                    large' Status Message: indices element out of data bounds, idx=1";
        let expected = Some("node \"r\" (Range) is too large");
        assert_eq!(words(said), expected);
        let inside = format!("Non-zero status code returned while running Loop node. Name:'l' Status Message: {said}");
        assert_eq!(words(&inside), expected);
        assert_eq!(words(&said.replace("weir refuses: ", "")), None);
    }
}
