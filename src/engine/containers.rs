//! Values of ONNX that are no tensors: maps, sequences, optional values. No protocol of this server carries them.
//!
//! The converters of scikit-learn end a classifier with ZipMap, which turns a table of probabilities into a
//! list of maps from class to probability. It is taken out before an engine sees the graph: the output is the
//! table, and the classes are its labels. The bytes of everything else stay as they are: the messages of the
//! built-in engine do not know every field of ONNX, and would lose some.

use std::borrow::Cow;
use std::collections::BTreeMap;

use prost::Message as _;
use tract_onnx::pb::{
    NodeProto, OperatorSetIdProto, TensorShapeProto, TypeProto, ValueInfoProto, tensor_shape_proto, type_proto,
};

use super::contain::unusable;
use crate::error::Result;
use crate::ids::{printable, quote};
use crate::wire::{fields, push};

/// The field numbers of onnx.proto that lead to nodes, inputs and outputs.
const MODEL_GRAPH: u64 = 7;
const MODEL_OPSET: u64 = 8;
const GRAPH_NODE: u64 = 1;
const GRAPH_INPUT: u64 = 11;
const GRAPH_OUTPUT: u64 = 12;
const GRAPH_VALUE: u64 = 13;
const NODE_OUTPUT: u64 = 2;
const NODE_NAME: u64 = 3;
const NODE_OPERATOR: u64 = 4;
const VALUE_NAME: u64 = 1;
const VALUE_TYPE: u64 = 2;

/// The element type float in onnx.proto.
const FLOAT: i32 = 1;

/// The standard's version that is named where a graph names none: of its operators, only Identity is added.
const STANDARD: i64 = 13;

/// The table that a ZipMap turns into maps, and the classes that are their keys.
#[derive(Debug)]
struct ZipMap {
    table: String,
    classes: Vec<String>,
}

/// The ZipMaps of a graph by their outputs.
type ZipMaps = BTreeMap<String, ZipMap>;

/// Returns the graph with tables in the place of ZipMap's maps, and nothing else changed.
///
/// # Errors
/// The errors of [`refuse_containers`].
pub(super) fn unpack(onnx: &[u8]) -> Result<Cow<'_, [u8]>> {
    refuse_containers(onnx)?;
    if class_names(onnx).is_empty() {
        return Ok(Cow::Borrowed(onnx));
    }
    let (mut model, mut knows_standard) = (Vec::with_capacity(onnx.len()), false);
    for field in fields(onnx) {
        let field = field?;
        match (field.number, field.content()) {
            (MODEL_GRAPH, Some(graph)) => push(&mut model, MODEL_GRAPH, &unzipped(graph, &zip_maps(graph)?)?),
            (MODEL_OPSET, Some(opset)) => {
                knows_standard |= OperatorSetIdProto::decode(opset).is_ok_and(|opset| opset.domain.is_empty());
                model.extend_from_slice(field.whole);
            }
            _ => model.extend_from_slice(field.whole),
        }
    }
    if !knows_standard {
        let opset = OperatorSetIdProto { domain: String::new(), version: STANDARD };
        push(&mut model, MODEL_OPSET, &opset.encode_to_vec());
    }
    Ok(Cow::Owned(model))
}

/// Checks that a model's inputs and outputs are tensors, or the maps of a ZipMap.
///
/// # Errors
/// [`crate::error::Error::Repository`] that names the input or output and says what to do, or when the bytes are not an
/// ONNX model.
pub fn refuse_containers(onnx: &[u8]) -> Result<()> {
    parts(onnx, MODEL_GRAPH).try_for_each(|graph| refuse_in(graph?))
}

/// Returns the classes of each output that is a table in the place of ZipMap's maps, by the output's name. Bytes that
/// are not an ONNX model have none.
pub fn class_names(onnx: &[u8]) -> BTreeMap<String, Vec<String>> {
    let graphs = fields(onnx).flatten().filter(|field| field.number == MODEL_GRAPH).filter_map(|field| field.content());
    let zip_maps = graphs.flat_map(|graph| zip_maps(graph).unwrap_or_default());
    zip_maps.map(|(output, zip_map)| (output, zip_map.classes)).collect()
}

/// Returns the first text of a message in this field; empty if there is none.
fn text(message: &[u8], number: u64) -> Result<String> {
    for field in fields(message) {
        let field = field?;
        if let Some(content) = field.content().filter(|_| field.number == number) {
            return Ok(String::from_utf8_lossy(content).into_owned());
        }
    }
    Ok(String::new())
}

/// Returns the contents of a message's fields of this number.
fn parts(message: &[u8], number: u64) -> impl Iterator<Item = Result<&[u8]>> {
    fields(message).filter_map(move |field| match field {
        Ok(field) => field.content().filter(|_| field.number == number).map(Ok),
        Err(broken) => Some(Err(broken.into())),
    })
}

fn zip_maps(graph: &[u8]) -> Result<ZipMaps> {
    let mut found = ZipMaps::new();
    for node in parts(graph, GRAPH_NODE) {
        let node = node?;
        if text(node, NODE_OPERATOR)? != "ZipMap" {
            continue;
        }
        let node = NodeProto::decode(node).map_err(|_| unusable("its node ZipMap is damaged"))?;
        let ([table], [output]) = (node.input.as_slice(), node.output.as_slice()) else {
            return Err(unusable(format!("its node {} (ZipMap) has not one input and one output", quote(&node.name))));
        };
        let listed = |name: &str| node.attribute.iter().find(|attribute| attribute.name == name);
        let texts = listed("classlabels_strings").map(|texts| &texts.strings[..]).unwrap_or_default();
        let numbers = listed("classlabels_int64s").map(|numbers| &numbers.ints[..]).unwrap_or_default();
        let texts = texts.iter().map(|text| String::from_utf8_lossy(text).into_owned());
        let classes = texts.chain(numbers.iter().map(ToString::to_string)).collect();
        found.insert(output.clone(), ZipMap { table: table.clone(), classes });
    }
    Ok(found)
}

/// Returns the graph with Identity for each ZipMap, and outputs of the table's type.
fn unzipped(graph: &[u8], zip_maps: &ZipMaps) -> Result<Vec<u8>> {
    let mut changed = Vec::with_capacity(graph.len());
    for field in fields(graph) {
        let field = field?;
        let name = match (field.number, field.content()) {
            (GRAPH_NODE, Some(node)) => text(node, NODE_OUTPUT)?,
            (GRAPH_OUTPUT | GRAPH_VALUE, Some(value)) => text(value, VALUE_NAME)?,
            _ => String::new(),
        };
        match (field.number, zip_maps.get(&name)) {
            (GRAPH_NODE, Some(zip_map)) => push(&mut changed, GRAPH_NODE, &identity(&name, zip_map).encode_to_vec()),
            (GRAPH_OUTPUT, Some(zip_map)) => push(&mut changed, GRAPH_OUTPUT, &table(&name, zip_map).encode_to_vec()),
            (GRAPH_VALUE, Some(_)) => (),
            _ => changed.extend_from_slice(field.whole),
        }
    }
    Ok(changed)
}

fn identity(output: &str, zip_map: &ZipMap) -> NodeProto {
    NodeProto {
        name: format!("{output}/without-maps"),
        op_type: "Identity".into(),
        input: vec![zip_map.table.clone()],
        output: vec![output.to_owned()],
        ..NodeProto::default()
    }
}

/// Returns the declaration of an output with a column for each class.
fn table(output: &str, zip_map: &ZipMap) -> ValueInfoProto {
    let dimension = |value| tensor_shape_proto::Dimension { value, ..tensor_shape_proto::Dimension::default() };
    let classes = tensor_shape_proto::dimension::Value::DimValue(zip_map.classes.len() as i64);
    let shape = TensorShapeProto { dim: vec![dimension(None), dimension(Some(classes))] };
    let tensor = type_proto::Tensor { elem_type: FLOAT, shape: Some(shape) };
    let of_table = TypeProto { value: Some(type_proto::Value::TensorType(tensor)), ..TypeProto::default() };
    ValueInfoProto { name: output.to_owned(), r#type: Some(of_table), ..ValueInfoProto::default() }
}

/// Refuses a graph with an input or output that is no tensor, except for the outputs of ZipMap.
fn refuse_in(graph: &[u8]) -> Result<()> {
    let zip_maps = zip_maps(graph)?;
    for (number, kind) in [(GRAPH_INPUT, "input"), (GRAPH_OUTPUT, "output")] {
        for value in parts(graph, number) {
            let value = value?;
            let name = text(value, VALUE_NAME)?;
            let Some(container) = container(value)?.filter(|_| !zip_maps.contains_key(&name)) else { continue };
            let node = match source(graph, &name)? {
                Some((node, operator)) => format!(" of node {} ({})", quote(&node), printable(&operator, 40)),
                None => String::new(),
            };
            return Err(unusable(format!(
                "its {kind} {}{node} is {container}, which no protocol here carries: export the model with tensors alone \
                 (scikit-learn: with zipmap=False)",
                quote(&name)
            )));
        }
    }
    Ok(())
}

/// Returns what a declared value is instead of a tensor.
fn container(value: &[u8]) -> Result<Option<&'static str>> {
    for declared in parts(value, VALUE_TYPE) {
        for field in fields(declared?) {
            match field?.number {
                4 => return Ok(Some("a sequence")),
                5 => return Ok(Some("a map")),
                7 => return Ok(Some("an opaque value")),
                8 => return Ok(Some("a sparse tensor")),
                9 => return Ok(Some("an optional value")),
                _ => (),
            }
        }
    }
    Ok(None)
}

/// Returns the name and the operator of the node that computes a value.
fn source(graph: &[u8], value: &str) -> Result<Option<(String, String)>> {
    for node in parts(graph, GRAPH_NODE) {
        let node = node?;
        for output in parts(node, NODE_OUTPUT) {
            if output? == value.as_bytes() {
                return Ok(Some((text(node, NODE_NAME)?, text(node, NODE_OPERATOR)?)));
            }
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use tract_onnx::pb::{AttributeProto, GraphProto, ModelProto};

    use super::*;

    /// Returns a value whose type is the field `kind` of a type.
    fn value(name: &str, kind: u64) -> Vec<u8> {
        let mut declared = Vec::new();
        push(&mut declared, kind, &[]);
        let mut bytes = ValueInfoProto { name: name.into(), ..ValueInfoProto::default() }.encode_to_vec();
        push(&mut bytes, VALUE_TYPE, &declared);
        bytes
    }

    /// Returns a model of one node with an output of this kind, and a field that nobody knows.
    fn model(node: NodeProto, kind: u64) -> Vec<u8> {
        let graph = GraphProto { node: vec![node], ..GraphProto::default() };
        let mut graph = graph.encode_to_vec();
        push(&mut graph, GRAPH_OUTPUT, &value("maps", kind));
        push(&mut graph, GRAPH_VALUE, &value("maps", kind));
        push(&mut graph, 77, b"unknown");
        let mut bytes = ModelProto { ir_version: 8, ..ModelProto::default() }.encode_to_vec();
        push(&mut bytes, MODEL_GRAPH, &graph);
        bytes
    }

    fn node(operator: &str, classes: &[i64]) -> NodeProto {
        let classes =
            AttributeProto { name: "classlabels_int64s".into(), ints: classes.to_vec(), ..AttributeProto::default() };
        NodeProto {
            name: "last".into(),
            op_type: operator.into(),
            input: vec!["shares".into()],
            output: vec!["maps".into()],
            attribute: vec![classes],
            ..NodeProto::default()
        }
    }

    #[test]
    fn maps_become_a_table_with_classes() {
        let bytes = model(node("ZipMap", &[3, 7]), 4);
        assert_eq!(class_names(&bytes), [("maps".to_owned(), vec!["3".to_owned(), "7".to_owned()])].into());
        let unpacked = unpack(&bytes).unwrap();
        assert!(unpacked.windows(7).any(|part| part == b"unknown"), "unknown fields stay");
        let model = ModelProto::decode(&*unpacked).unwrap();
        assert_eq!(model.opset_import[0].version, STANDARD);
        let graph = model.graph.unwrap();
        assert_eq!((graph.node[0].op_type.as_str(), graph.node[0].input[0].as_str()), ("Identity", "shares"));
        assert_eq!(graph.output[0].name, "maps");
        assert!(graph.output[0].r#type.as_ref().unwrap().value.is_some() && graph.value_info.is_empty());
        assert!(matches!(unpack(&unpacked).unwrap(), Cow::Borrowed(_)), "once is enough");
    }

    #[test]
    fn other_containers_are_refused_by_name_node_and_remedy() {
        for (kind, expected) in [(4, "a sequence"), (5, "a map"), (8, "a sparse tensor"), (9, "an optional value")] {
            let said = unpack(&model(node("SequenceConstruct", &[]), kind)).unwrap_err().to_string();
            for part in [expected, "\"maps\"", "\"last\"", "SequenceConstruct", "zipmap=False"] {
                assert!(said.contains(part), "{said}");
            }
        }
        assert!(matches!(unpack(&model(node("Identity", &[]), 1)).unwrap(), Cow::Borrowed(_)));
    }
}
