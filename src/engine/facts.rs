//! Reads what a graph says about itself, from the bytes of its file. Nothing here can refuse a graph.

use prost::Message as _;
use tract_onnx::pb::tensor_shape_proto::dimension::Value as Size;
use tract_onnx::pb::{NodeProto, StringStringEntryProto, TensorProto, ValueInfoProto, tensor_shape_proto, type_proto};

use crate::signature::{BATCH, DType, Dim, GraphFacts, Signature, Step, TensorSpec};
use crate::wire::fields;

const MODEL_PRODUCER: u64 = 2;
const MODEL_GRAPH: u64 = 7;
const MODEL_METADATA: u64 = 14;
const GRAPH_NODE: u64 = 1;
const GRAPH_CONSTANT: u64 = 5;
const GRAPH_INPUT: u64 = 11;
const GRAPH_OUTPUT: u64 = 12;
const NAME: u64 = 1;
const CONSTANT_NAME: u64 = 8;

/// The longest metadata that are read, in bytes.
const MAX_TEXT: usize = 1 << 20;

/// The longest constant that is read, in bytes: a number for each channel, and its name.
const MAX_CONSTANT: usize = 512;

/// The longest node that is read, in bytes.
const MAX_NODE: usize = 4096;

/// The most operations on the first input.
const MAX_STEPS: usize = 8;

/// Returns what a graph says about itself; of bytes that are no graph, nothing.
pub fn graph_facts(onnx: &[u8]) -> GraphFacts {
    let mut facts = GraphFacts::default();
    for field in fields(onnx).map_while(Result::ok) {
        let Some(content) = field.content() else { continue };
        match field.number {
            MODEL_PRODUCER => facts.producer = String::from_utf8_lossy(content).into_owned(),
            MODEL_METADATA if content.len() <= MAX_TEXT => {
                if let Ok(StringStringEntryProto { key, value }) = StringStringEntryProto::decode(content) {
                    facts.metadata.push((key, value));
                }
            }
            MODEL_GRAPH => {
                let graph = Graph::read(content);
                facts.opening = graph.opening();
                facts.closing = graph.closing();
            }
            _ => {}
        }
    }
    facts
}

/// Returns the inputs and outputs as the file declares them, without a look at what lies between: those of them that are
/// tensors of a type that the server knows. A first dimension without a size is the batch.
pub fn declared_signature(onnx: &[u8]) -> Signature {
    let mut signature = Signature { inputs: Vec::new(), outputs: Vec::new() };
    for graph in parts(onnx, MODEL_GRAPH) {
        let constants: Vec<String> = parts(graph, GRAPH_CONSTANT).map(|tensor| text(tensor, CONSTANT_NAME)).collect();
        let specs = |number| parts(graph, number).filter_map(|value| spec(&ValueInfoProto::decode(value).ok()?));
        signature.inputs.extend(specs(GRAPH_INPUT).filter(|spec| !constants.contains(&spec.name)));
        signature.outputs.extend(specs(GRAPH_OUTPUT));
    }
    signature
}

fn parts(message: &[u8], number: u64) -> impl Iterator<Item = &[u8]> {
    fields(message)
        .map_while(Result::ok)
        .filter(move |field| field.number == number)
        .filter_map(|field| field.content())
}

fn text(message: &[u8], number: u64) -> String {
    String::from_utf8_lossy(parts(message, number).next().unwrap_or_default()).into_owned()
}

fn spec(value: &ValueInfoProto) -> Option<TensorSpec> {
    let type_proto::Value::TensorType(tensor) = value.r#type.as_ref()?.value.as_ref()?;
    let dim = |(axis, dim): (usize, &tensor_shape_proto::Dimension)| match &dim.value {
        Some(Size::DimValue(size)) if *size >= 0 => Dim::Fixed(*size as usize),
        _ if axis == 0 => Dim::Symbol(BATCH.into()),
        Some(Size::DimParam(name)) if !name.is_empty() => Dim::Symbol(name.clone()),
        _ => Dim::Symbol(format!("d{axis}")),
    };
    let shape = tensor.shape.iter().flat_map(|shape| shape.dim.iter().enumerate().map(dim)).collect();
    Some(TensorSpec { name: value.name.clone(), dtype: dtype(tensor.elem_type)?, shape })
}

/// Returns the type of a number in onnx.proto.
fn dtype(number: i32) -> Option<DType> {
    Some(match number {
        1 => DType::Float32,
        2 => DType::Uint8,
        3 => DType::Int8,
        4 => DType::Uint16,
        5 => DType::Int16,
        6 => DType::Int32,
        7 => DType::Int64,
        8 => DType::String,
        9 => DType::Bool,
        10 => DType::Float16,
        11 => DType::Float64,
        12 => DType::Uint32,
        13 => DType::Uint64,
        16 => DType::Bfloat16,
        _ => return None,
    })
}

/// The parts of a graph that are short.
#[derive(Default)]
struct Graph {
    nodes: Vec<NodeProto>,
    constants: Vec<TensorProto>,
    inputs: Vec<String>,
    outputs: Vec<String>,
}

impl Graph {
    fn read(graph: &[u8]) -> Self {
        let mut read = Self::default();
        for field in fields(graph).map_while(Result::ok) {
            let Some(content) = field.content() else { continue };
            match field.number {
                GRAPH_NODE if content.len() <= MAX_NODE => read.nodes.extend(NodeProto::decode(content)),
                GRAPH_CONSTANT if content.len() <= MAX_CONSTANT => read.constants.extend(TensorProto::decode(content)),
                GRAPH_INPUT => read.inputs.push(text(content, NAME)),
                GRAPH_OUTPUT => read.outputs.push(text(content, NAME)),
                _ => {}
            }
        }
        read
    }

    /// Returns the arithmetic that the first input goes through alone.
    fn opening(&self) -> Vec<Step> {
        let mut steps = Vec::new();
        let Some(mut value) = self.inputs.first() else { return steps };
        while steps.len() < MAX_STEPS {
            let mut users = self.nodes.iter().filter(|node| node.input.contains(value));
            let (Some(node), None) = (users.next(), users.next()) else { break };
            let is_arithmetic = matches!(
                node.op_type.as_str(),
                "Add" | "Sub" | "Mul" | "Div" | "Cast" | "Transpose" | "Identity" | "BatchNormalization" | "Neg"
            );
            let Some(output) = node.output.first().filter(|_| is_arithmetic) else { break };
            let constant = node.input.iter().find(|input| *input != value);
            let values = constant.map(|name| self.values(name)).unwrap_or_default();
            steps.push(Step { operator: node.op_type.clone(), values });
            value = output;
        }
        steps
    }

    fn closing(&self) -> Vec<(String, String)> {
        let maker = |output: &String| {
            let node = self.nodes.iter().find(|node| node.output.contains(output))?;
            Some((output.clone(), node.op_type.clone()))
        };
        self.outputs.iter().filter_map(maker).collect()
    }

    /// Returns the elements of a constant of floats; none of any other.
    fn values(&self, name: &str) -> Vec<f32> {
        const FLOAT: i32 = 1;
        let of_node = |node: &NodeProto| {
            let is_it = node.op_type == "Constant" && node.output.first().is_some_and(|output| output == name);
            node.attribute.iter().filter(|_| is_it).find_map(|attribute| attribute.t.clone())
        };
        let tensor = self.constants.iter().find(|tensor| tensor.name == name).cloned();
        let Some(tensor) = tensor.or_else(|| self.nodes.iter().find_map(of_node)) else { return Vec::new() };
        match tensor.data_type {
            FLOAT if tensor.float_data.is_empty() => {
                tensor.raw_data.as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect()
            }
            FLOAT => tensor.float_data,
            _ => Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use tract_onnx::pb::{GraphProto, ModelProto};

    use super::*;

    fn node(operator: &str, input: &[&str], output: &str) -> NodeProto {
        let input = input.iter().map(|name| (*name).to_owned()).collect();
        NodeProto { op_type: operator.into(), input, output: vec![output.into()], ..NodeProto::default() }
    }

    #[test]
    fn the_first_and_the_last_operations_are_found() {
        let value = |name: &str| ValueInfoProto { name: name.into(), ..ValueInfoProto::default() };
        let constant = |name: &str, values: &[f32]| TensorProto {
            name: name.into(),
            dims: vec![values.len() as i64],
            data_type: 1,
            raw_data: values.iter().flat_map(|value| value.to_le_bytes()).collect(),
            ..TensorProto::default()
        };
        let graph = GraphProto {
            node: vec![
                node("Sub", &["x", "mean"], "a"),
                node("Div", &["a", "std"], "b"),
                node("Conv", &["b", "w"], "c"),
                node("Softmax", &["c"], "y"),
            ],
            initializer: vec![constant("mean", &[0.5, 0.25, 0.125]), constant("std", &[2.0])],
            input: vec![value("x")],
            output: vec![value("y")],
            ..GraphProto::default()
        };
        let metadata = StringStringEntryProto { key: "names".into(), value: "{0: 'a'}".into() };
        let model = ModelProto {
            producer_name: "pytorch".into(),
            graph: Some(graph),
            metadata_props: vec![metadata],
            ..ModelProto::default()
        };
        let facts = graph_facts(&model.encode_to_vec());
        let step = |operator: &str, values: &[f32]| Step { operator: operator.into(), values: values.into() };
        assert_eq!(facts.opening, [step("Sub", &[0.5, 0.25, 0.125]), step("Div", &[2.0])]);
        assert_eq!(facts.closing_of("y"), Some("Softmax"));
        assert_eq!((facts.producer.as_str(), facts.class_names()), ("pytorch", vec!["a".to_owned()]));
        assert_eq!(graph_facts(b"no graph"), GraphFacts::default());
    }
}
