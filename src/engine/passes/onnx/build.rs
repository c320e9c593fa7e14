//! Writes nodes, and reads attributes and constants of nodes.

use tract_onnx::pb::{AttributeProto, NodeProto, TensorProto, attribute_proto::AttributeType};

/// Element types by their numbers in onnx.proto.
pub(super) const FLOAT: i32 = 1;
pub(super) const INT64: i32 = 7;

/// The nodes that take the place of one node. Their names and values are derived from its first output, which no
/// other node of the graph has.
#[derive(Debug)]
pub(super) struct Builder {
    base: String,
    opset: i64,
    nodes: Vec<NodeProto>,
}

impl Builder {
    pub(super) fn new(node: &NodeProto, opset: i64) -> Self {
        let base = node.output.iter().find(|name| !name.is_empty()).cloned().unwrap_or_default();
        Self { base, opset, nodes: Vec::new() }
    }

    pub(super) fn finish(self) -> Vec<NodeProto> {
        self.nodes
    }

    /// Appends a node as it is.
    pub(super) fn push(&mut self, node: NodeProto) {
        self.nodes.push(node);
    }

    /// Appends a node and returns the name of its only output.
    pub(super) fn op(&mut self, op: &str, inputs: &[&str], attributes: Vec<AttributeProto>) -> String {
        let output = self.fresh(op);
        self.op_to(op, inputs, attributes, &output);
        output
    }

    /// Appends a node whose only output has this name.
    pub(super) fn op_to(&mut self, op: &str, inputs: &[&str], attribute: Vec<AttributeProto>, output: &str) {
        self.nodes.push(NodeProto {
            name: format!("{}.{}", self.base, self.nodes.len()),
            op_type: op.into(),
            input: inputs.iter().map(|&name| name.to_owned()).collect(),
            output: vec![output.to_owned()],
            attribute,
            ..NodeProto::default()
        });
    }

    /// Returns a name that no value of the graph has.
    pub(super) fn fresh(&self, what: &str) -> String {
        format!("{}.{what}.{}", self.base, self.nodes.len())
    }

    fn constant(&mut self, value: TensorProto) -> String {
        let attribute = AttributeProto {
            name: "value".into(),
            r#type: AttributeType::Tensor.into(),
            t: Some(value),
            ..AttributeProto::default()
        };
        self.op("Constant", &[], vec![attribute])
    }

    /// Returns a vector of 64-bit integers.
    pub(super) fn integers(&mut self, values: &[i64]) -> String {
        self.constant(integers(vec![i64::try_from(values.len()).unwrap_or(0)], values))
    }

    /// Returns a number without dimensions, of the element type of `like`.
    pub(super) fn integer_like(&mut self, value: i64, like: &str) -> String {
        let value = self.constant(integers(Vec::new(), &[value]));
        self.op("CastLike", &[&value, like], Vec::new())
    }

    /// Returns a number without dimensions, of the element type of `like`.
    pub(super) fn number_like(&mut self, value: f32, like: &str) -> String {
        let value = self.numbers(Vec::new(), &[value]);
        self.op("CastLike", &[&value, like], Vec::new())
    }

    /// Returns a tensor of 32-bit floats.
    pub(super) fn numbers(&mut self, dims: Vec<i64>, values: &[f32]) -> String {
        self.constant(TensorProto { dims, data_type: FLOAT, float_data: values.to_vec(), ..TensorProto::default() })
    }

    /// Reduces `value` over `axes`, or over all of them if there are none.
    pub(super) fn reduce(&mut self, op: &str, value: &str, axes: &[i64], keep: bool) -> String {
        let mut attributes = vec![integer("keepdims", keep.into())];
        if axes.is_empty() {
            return self.op(op, &[value], attributes);
        }
        if self.opset >= if op == "ReduceSum" { 13 } else { 18 } {
            let axes = self.integers(axes);
            return self.op(op, &[value, &axes], attributes);
        }
        attributes.push(integers_attribute("axes", axes));
        self.op(op, &[value], attributes)
    }

    /// Adds or removes a dimension of one: `op` is `Unsqueeze` or `Squeeze`.
    pub(super) fn reshape(&mut self, op: &str, value: &str, axis: i64) -> String {
        if self.opset >= 13 {
            let axis = self.integers(&[axis]);
            return self.op(op, &[value, &axis], Vec::new());
        }
        self.op(op, &[value], vec![integers_attribute("axes", &[axis])])
    }

    /// Takes the elements from `start` to `end` along one axis.
    pub(super) fn slice(&mut self, value: &str, axis: i64, start: i64, end: i64) -> String {
        let output = self.fresh("Slice");
        self.slice_to(value, axis, start, end, &output);
        output
    }

    /// As [`Builder::slice`], with a name for the result.
    pub(super) fn slice_to(&mut self, value: &str, axis: i64, start: i64, end: i64, output: &str) {
        if self.opset >= 10 {
            let [start, end, axis] = [start, end, axis].map(|bound| self.integers(&[bound]));
            return self.op_to("Slice", &[value, &start, &end, &axis], Vec::new(), output);
        }
        let bounds = [("starts", start), ("ends", end), ("axes", axis)];
        let attributes = bounds.map(|(name, bound)| integers_attribute(name, &[bound]));
        self.op_to("Slice", &[value], attributes.into(), output);
    }

    /// Joins values along an axis.
    pub(super) fn concat(&mut self, values: &[&str], axis: i64) -> String {
        self.op("Concat", values, vec![integer("axis", axis)])
    }
}

fn integers(dims: Vec<i64>, values: &[i64]) -> TensorProto {
    TensorProto { dims, data_type: INT64, int64_data: values.to_vec(), ..TensorProto::default() }
}

pub(super) fn integer(name: &str, value: i64) -> AttributeProto {
    AttributeProto { name: name.into(), r#type: AttributeType::Int.into(), i: value, ..AttributeProto::default() }
}

pub(super) fn integers_attribute(name: &str, values: &[i64]) -> AttributeProto {
    AttributeProto {
        name: name.into(),
        r#type: AttributeType::Ints.into(),
        ints: values.to_vec(),
        ..AttributeProto::default()
    }
}

pub(super) fn text(name: &str, value: &str) -> AttributeProto {
    AttributeProto {
        name: name.into(),
        r#type: AttributeType::String.into(),
        s: value.into(),
        ..AttributeProto::default()
    }
}

/// Returns an attribute of a node.
pub(super) fn attribute<'n>(node: &'n NodeProto, name: &str) -> Option<&'n AttributeProto> {
    node.attribute.iter().find(|attribute| attribute.name == name)
}

/// Returns an integer attribute, or its default.
pub(super) fn integer_of(node: &NodeProto, name: &str, default: i64) -> i64 {
    attribute(node, name).map_or(default, |attribute| attribute.i)
}

/// Returns a text attribute, or its default.
pub(super) fn text_of<'n>(node: &'n NodeProto, name: &str, default: &'n str) -> &'n str {
    attribute(node, name).map_or(default, |attribute| std::str::from_utf8(&attribute.s).unwrap_or_default())
}

/// Returns the name of an input; `None` if the node leaves it out.
pub(super) fn input(node: &NodeProto, at: usize) -> Option<&str> {
    node.input.get(at).map(String::as_str).filter(|name| !name.is_empty())
}

/// Returns the name of an output; `None` if the node leaves it out.
pub(super) fn output(node: &NodeProto, at: usize) -> Option<&str> {
    node.output.get(at).map(String::as_str).filter(|name| !name.is_empty())
}
