//! What a request decides inside a graph: values, and by them sizes.

use std::collections::{HashMap, HashSet};

use prost::Message as _;
use tract_onnx::pb::{AttributeProto, NodeProto, TensorProto, ValueInfoProto, type_proto};

use super::damaged;
use crate::error::Result;
use crate::ids::{printable, quote};

/// Element types by their numbers in onnx.proto.
pub(super) const FLOAT: i32 = 1;
pub(super) const INT32: i32 = 6;
pub(super) const INT64: i32 = 7;
pub(super) const BOOL: i32 = 9;

/// Constants of more bytes are not searched for a −1.
const SMALL: usize = 512;

/// The inputs of an operator whose values decide about the sizes of its outputs.
fn deciding(operator: &str) -> &'static [usize] {
    match operator {
        "ConstantOfShape" | "NonZero" | "Unique" | "HannWindow" | "HammingWindow" | "BlackmanWindow" => &[0],
        "Tile" | "Expand" | "OneHot" | "Reshape" | "Squeeze" | "Unsqueeze" | "TopK" | "Split" | "DFT"
        | "AffineGrid" | "CenterCropPad" | "Upsample" | "ReduceSum" | "ReduceMax" | "ReduceMin" | "ReduceMean"
        | "ReduceProd" => &[1],
        "MelWeightMatrix" | "Compress" => &[0, 1],
        "Col2Im" => &[1, 2],
        "Pad" | "STFT" => &[1, 3],
        "MaxUnpool" => &[2],
        "Range" => &[0, 1, 2],
        "Resize" => &[1, 2, 3],
        "Slice" => &[1, 2, 3, 4],
        "NonMaxSuppression" => &[0, 1, 2, 3, 4],
        _ => &[],
    }
}

/// The place of a graph.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// Requests bring its inputs.
    Outside,
    /// It is the body of a loop, whose inputs may grow from round to round.
    Loop,
}

impl Place {
    pub(super) fn of(is_loop: bool) -> Self {
        if is_loop { Self::Loop } else { Self::Outside }
    }
}

/// The values by their names in which a request has a say.
#[derive(Debug, Clone, Default)]
pub(super) struct Flow {
    /// Values that depend on the values of inputs, and not on their sizes alone.
    values: HashSet<String>,
    /// Values whose sizes depend on the values of inputs.
    sizes: HashSet<String>,
    types: HashMap<String, i32>,
    /// Constants that hold a −1.
    minus_one: HashSet<String>,
}

impl Flow {
    pub(super) fn decides_value(&self, name: &str) -> bool {
        self.values.contains(name)
    }

    pub(super) fn decides_size(&self, name: &str) -> bool {
        self.sizes.contains(name)
    }

    /// Returns true if a value may be −1.
    pub(super) fn may_be_minus_one(&self, name: &str) -> bool {
        self.values.contains(name) || self.minus_one.contains(name)
    }

    /// Returns the element type of a value, if it is known.
    pub(super) fn element_type(&self, name: &str) -> Option<i32> {
        self.types.get(name).copied()
    }

    /// Takes in the declaration of a value.
    pub(super) fn declare(&mut self, value: &ValueInfoProto) {
        if let Some(type_proto::Value::TensorType(tensor)) = value.r#type.as_ref().and_then(|kind| kind.value.as_ref())
        {
            self.types.insert(value.name.clone(), tensor.elem_type);
        }
    }

    /// Takes in an input.
    pub(super) fn ask(&mut self, value: &ValueInfoProto, place: Place) {
        self.declare(value);
        self.values.insert(value.name.clone());
        if place == Place::Loop {
            self.sizes.insert(value.name.clone());
        }
    }

    /// Takes in an input of a function, of which only the name is known.
    pub(super) fn ask_by_name(&mut self, name: &str) {
        self.values.insert(name.to_owned());
        self.sizes.insert(name.to_owned());
    }

    /// Takes in an initializer.
    pub(super) fn hold(&mut self, tensor: &[u8]) -> Result<()> {
        const NAME: u64 = 8;
        if tensor.len() <= SMALL {
            let tensor = TensorProto::decode(tensor).map_err(|_| damaged())?;
            self.keep(&tensor.name, &tensor);
        } else if let Some(name) = super::parts(tensor, NAME).next() {
            let name = String::from_utf8_lossy(name).into_owned();
            self.values.remove(&name);
        }
        Ok(())
    }

    fn keep(&mut self, name: &str, tensor: &TensorProto) {
        self.types.insert(name.to_owned(), tensor.data_type);
        let raw = &tensor.raw_data;
        let holds = match tensor.data_type {
            INT64 => tensor.int64_data.contains(&-1) || raw.chunks_exact(8).any(|bytes| bytes == [0xff; 8]),
            INT32 => tensor.int32_data.contains(&-1) || raw.chunks_exact(4).any(|bytes| bytes == [0xff; 4]),
            _ => false,
        };
        if holds {
            self.minus_one.insert(name.to_owned());
        }
    }

    /// Takes in a node, whose inputs are known.
    pub(super) fn pass(&mut self, node: &NodeProto, has_bodies: bool) {
        let has = |set: &HashSet<String>| node.input.iter().any(|name| set.contains(name));
        let (values, sizes) = (has(&self.values), has(&self.sizes));
        let is_standard = matches!(node.domain.as_str(), "" | "ai.onnx");
        let is_decided = |index: &usize| node.input.get(*index).is_some_and(|name| self.values.contains(name));
        let (values, sizes) = match node.op_type.as_str() {
            _ if has_bodies => (true, true),
            "Shape" | "Size" if is_standard => (sizes, false),
            operator if is_standard => (values, sizes || deciding(operator).iter().any(is_decided)),
            // Nobody knows what it does.
            _ => (values, sizes || values),
        };
        let element_type = self.output_type(node);
        for name in node.output.iter().filter(|name| !name.is_empty()) {
            if values {
                self.values.insert(name.clone());
            }
            if sizes {
                self.sizes.insert(name.clone());
            }
        }
        if let (Some(element_type), Some(name)) = (element_type, node.output.first()) {
            self.types.entry(name.clone()).or_insert(element_type);
        }
        if let Some(tensor) = attribute(node, "value").and_then(|value| value.t.as_ref())
            && node.op_type == "Constant"
        {
            self.keep(&node.output[0], tensor);
        }
    }

    /// Returns the element type of the first output of a node, if it is known.
    fn output_type(&self, node: &NodeProto) -> Option<i32> {
        // Nobody knows what another domain's gives; a wrong type in a check would make the library refuse the graph.
        if !matches!(node.domain.as_str(), "" | "ai.onnx") {
            return None;
        }
        let input = |index: usize| node.input.get(index).and_then(|name| self.element_type(name));
        let named = |name: &str| attribute(node, name).and_then(|of| i32::try_from(of.i).ok());
        match node.op_type.as_str() {
            "Shape" | "Size" | "NonZero" | "ArgMax" | "ArgMin" | "NonMaxSuppression" | "SequenceLength" => Some(INT64),
            "Equal" | "Greater" | "GreaterOrEqual" | "Less" | "LessOrEqual" | "And" | "Or" | "Xor" | "Not"
            | "IsNaN" | "IsInf" | "RegexFullMatch" | "OptionalHasElement" => Some(BOOL),
            "Cast" => named("to"),
            "EyeLike" | "RandomNormalLike" | "RandomUniformLike" | "Bernoulli" => named("dtype").or_else(|| input(0)),
            "RandomNormal" | "RandomUniform" => named("dtype").or(Some(FLOAT)),
            "Multinomial" => named("dtype").or(Some(INT32)),
            "HannWindow" | "HammingWindow" | "BlackmanWindow" | "MelWeightMatrix" => {
                named("output_datatype").or(Some(FLOAT))
            }
            "Constant" | "ConstantOfShape" => {
                let of_tensor =
                    attribute(node, "value").and_then(|value| value.t.as_ref()).map(|tensor| tensor.data_type);
                let is_integer = attribute(node, "value_int").or(attribute(node, "value_ints")).is_some();
                of_tensor.or(Some(if is_integer { INT64 } else { FLOAT }))
            }
            "OneHot" => input(2),
            "Where" | "CastLike" => input(1),
            "QuantizeLinear"
            | "DequantizeLinear"
            | "DynamicQuantizeLinear"
            | "MatMulInteger"
            | "ConvInteger"
            | "QLinearConv"
            | "QLinearMatMul"
            | "ImageDecoder"
            | "TfIdfVectorizer"
            | "If"
            | "Loop"
            | "Scan" => None,
            _ => input(0),
        }
    }
}

/// Returns an attribute of a node.
pub(super) fn attribute<'n>(node: &'n NodeProto, name: &str) -> Option<&'n AttributeProto> {
    node.attribute.iter().find(|attribute| attribute.name == name)
}

/// Returns a node in words.
pub(super) fn subject(node: &NodeProto) -> String {
    format!("node {} ({})", quote(&node.name), printable(&node.op_type, 40))
}

/// Returns the name of an input, if it is there and a request decides about its values.
pub(super) fn decided<'n>(node: &'n NodeProto, flow: &Flow, index: usize) -> Option<&'n str> {
    node.input.get(index).map(String::as_str).filter(|name| flow.decides_value(name))
}
