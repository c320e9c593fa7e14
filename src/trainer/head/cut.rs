//! Surgery on an ONNX graph: cut off what is behind a tensor, and put a head there.

use std::collections::{BTreeMap, BTreeSet};

use prost::Message;
use tract_onnx::pb::{GraphProto, ModelProto, NodeProto, TypeProto, ValueInfoProto, tensor_proto, type_proto};

use crate::trainer::export::{Graph, LOGITS, PROBABILITIES, float_value, integer};

/// The output of a graph that was cut.
pub(super) const FEATURES: &str = "weir.features";

/// Operators whose input is what a classifier is told by: they are the last layer of most networks.
const LAST_LAYERS: [&str; 2] = ["Gemm", "MatMul"];

/// Operators whose output that is, where the last layer is a convolution or none.
const POOLS: [&str; 4] = ["GlobalAveragePool", "GlobalMaxPool", "ReduceMean", "Flatten"];

/// The oldest operator set in which what a head is made of means the same as today.
const OLDEST_OPSET: i64 = 7;

/// A graph that ends in features.
#[derive(Debug, Clone)]
pub(super) struct Cut {
    model: ModelProto,
    /// The tensor that was the end.
    pub(super) tensor: String,
    /// How it was found, in words.
    pub(super) why: String,
}

impl Cut {
    /// Cuts a graph behind a tensor, or behind its penultimate one.
    ///
    /// The error is the problem in words.
    pub(super) fn new(onnx: &[u8], at: Option<&str>) -> Result<Self, String> {
        let mut model = ModelProto::decode(onnx).map_err(|_| "is no ONNX file".to_owned())?;
        let opset = model.opset_import.iter().find(|set| set.domain.is_empty() || set.domain == "ai.onnx");
        if opset.is_none_or(|set| set.version < OLDEST_OPSET) {
            return Err(format!("has an operator set older than {OLDEST_OPSET}; export it anew"));
        }
        let graph = model.graph.as_mut().ok_or("holds no graph")?;
        let (tensor, why) = match at {
            Some(tensor) => (named(graph, tensor)?, "as --at says".to_owned()),
            None => penultimate(graph)?,
        };
        keep(graph, &tensor);
        graph.output = vec![untyped(&tensor)];
        let constants: BTreeSet<&str> = graph.initializer.iter().map(|constant| constant.name.as_str()).collect();
        let inputs = graph.input.iter().filter(|input| !constants.contains(input.name.as_str())).count();
        if inputs != 1 {
            return Err(format!("takes {inputs} inputs up to tensor \"{tensor}\"; a backbone takes one picture"));
        }
        Ok(Self { model, tensor, why })
    }

    /// Gives the input a shape: any number of samples of this one.
    pub(super) fn with_sample(mut self, sample: &[usize]) -> Self {
        if let Some(graph) = &mut self.model.graph {
            let constants: BTreeSet<String> = graph.initializer.iter().map(|constant| constant.name.clone()).collect();
            graph.input.retain(|input| !constants.contains(&input.name));
            graph.value_info.clear();
            for input in &mut graph.input {
                *input = float_value(&input.name, sample);
            }
        }
        self
    }

    /// Averages maps of features, and names the features.
    pub(super) fn flattened(mut self, rank: usize) -> Self {
        let mut added = Graph::default();
        match rank {
            4 => {
                added.node("GlobalAveragePool", &[&self.tensor], "weir.pooled", Vec::new());
                added.node("Flatten", &["weir.pooled"], FEATURES, vec![integer("axis", 1)]);
            }
            _ => added.node("Flatten", &[&self.tensor], FEATURES, vec![integer("axis", 1)]),
        }
        self.append(added, vec![untyped(FEATURES)]);
        self
    }

    /// Puts a head behind the features, whose outputs are the logits and probabilities of so many classes.
    pub(super) fn with_head(mut self, head: Graph, classes: usize) -> Self {
        let outputs = [LOGITS, PROBABILITIES].map(|name| float_value(name, &[classes])).to_vec();
        self.append(head, outputs);
        self
    }

    /// Returns the bytes of the file.
    pub(super) fn onnx(&self) -> Vec<u8> {
        self.model.encode_to_vec()
    }

    /// Appends nodes; what is there already under their names gets others.
    fn append(&mut self, added: Graph, outputs: Vec<ValueInfoProto>) {
        let Some(graph) = &mut self.model.graph else { return };
        let of_nodes = added.nodes.iter().flat_map(|node| node.output.iter().cloned());
        let taken: BTreeSet<String> =
            of_nodes.chain(added.constants.iter().map(|constant| constant.name.clone())).collect();
        let names = taken.into_iter().map(|name| (name.clone(), format!("backbone.{name}"))).collect();
        rename(graph, &names);
        for mut node in added.nodes {
            node.name = format!("head.{}", node.name);
            graph.node.push(node);
        }
        graph.initializer.extend(added.constants);
        graph.output = outputs;
    }
}

/// Returns the tensor of a name.
fn named(graph: &GraphProto, tensor: &str) -> Result<String, String> {
    let is_there = graph.node.iter().any(|node| node.output.iter().any(|output| output == tensor));
    if is_there && !tensor.is_empty() {
        return Ok(tensor.to_owned());
    }
    let likely = graph.node.iter().filter(|node| is_one_of(node, &POOLS) || is_one_of(node, &LAST_LAYERS));
    let likely: Vec<&str> = likely.filter_map(|node| node.output.first()).map(String::as_str).collect();
    let shown = likely[likely.len().saturating_sub(12)..].join(", ");
    Err(format!("has no tensor {}; outputs of its dense and pooling layers are: {shown}", crate::ids::quote(tensor)))
}

fn is_one_of(node: &NodeProto, kinds: &[&str]) -> bool {
    kinds.contains(&node.op_type.as_str())
}

/// Returns the tensor before the last layer, and how it was found.
fn penultimate(graph: &GraphProto) -> Result<(String, String), String> {
    let needed = ancestors(graph, graph.output.iter().map(|output| output.name.as_str()));
    let nodes =
        || graph.node.iter().enumerate().rev().filter(|(index, _)| needed.contains(index)).map(|(_, node)| node);
    let is_constant = |name: &String| {
        graph.initializer.iter().any(|constant| constant.name == *name)
            || graph.node.iter().any(|node| node.op_type == "Constant" && node.output.contains(name))
    };
    let last = nodes().find(|node| is_one_of(node, &LAST_LAYERS) && node.input.get(1).is_some_and(is_constant));
    if let Some(input) = last.and_then(|node| node.input.first())
        && graph.node.iter().any(|node| node.output.contains(input))
    {
        let kind = last.map_or("", |node| node.op_type.as_str());
        return Ok((input.clone(), format!("the input of the last {kind}")));
    }
    let pool = nodes().find(|node| is_one_of(node, &POOLS));
    let output = pool.and_then(|node| node.output.first().cloned());
    match (pool, output) {
        (Some(pool), Some(output)) => Ok((output, format!("the output of the last {}", pool.op_type))),
        _ => Err("has neither a dense nor a pooling layer; name the tensor of features by --at".into()),
    }
}

/// Returns the nodes that these tensors are made by.
fn ancestors<'g>(graph: &'g GraphProto, tensors: impl Iterator<Item = &'g str>) -> BTreeSet<usize> {
    let mut wanted: BTreeSet<String> = tensors.map(str::to_owned).collect();
    let mut needed = BTreeSet::new();
    // Nodes are in an order in which each comes after those it needs.
    for (index, node) in graph.node.iter().enumerate().rev() {
        if node.output.iter().any(|output| wanted.contains(output)) {
            needed.insert(index);
            used_by(node, &mut wanted);
        }
    }
    needed
}

/// Adds the tensors that a node reads, those that the graphs within it read included.
fn used_by(node: &NodeProto, wanted: &mut BTreeSet<String>) {
    wanted.extend(node.input.iter().filter(|input| !input.is_empty()).cloned());
    for attribute in &node.attribute {
        for graph in attribute.g.iter().chain(&attribute.graphs) {
            graph.node.iter().for_each(|node| used_by(node, wanted));
            wanted.extend(graph.output.iter().map(|output| output.name.clone()));
        }
    }
}

/// Leaves what a tensor is made by.
fn keep(graph: &mut GraphProto, tensor: &str) {
    let needed = ancestors(graph, std::iter::once(tensor));
    let mut wanted = BTreeSet::new();
    let nodes = std::mem::take(&mut graph.node);
    for (index, node) in nodes.into_iter().enumerate() {
        if needed.contains(&index) {
            used_by(&node, &mut wanted);
            graph.node.push(node);
        }
    }
    graph.initializer.retain(|constant| wanted.contains(&constant.name));
    graph.input.retain(|input| wanted.contains(&input.name));
    graph.value_info.clear();
}

/// Gives tensors other names, wherever they are read and written.
fn rename(graph: &mut GraphProto, names: &BTreeMap<String, String>) {
    let change = |name: &mut String| {
        if let Some(other) = names.get(name) {
            other.clone_into(name);
        }
    };
    for node in &mut graph.node {
        node.input.iter_mut().chain(&mut node.output).for_each(change);
        for attribute in &mut node.attribute {
            attribute.g.iter_mut().chain(&mut attribute.graphs).for_each(|graph| rename(graph, names));
        }
    }
    graph.initializer.iter_mut().for_each(|constant| change(&mut constant.name));
    graph.output.iter_mut().for_each(|output| change(&mut output.name));
}

/// Returns an output of 32-bit floats of any shape.
fn untyped(name: &str) -> ValueInfoProto {
    let tensor = type_proto::Tensor { elem_type: tensor_proto::DataType::Float as i32, shape: None };
    ValueInfoProto {
        name: name.to_owned(),
        r#type: Some(TypeProto { value: Some(type_proto::Value::TensorType(tensor)), ..TypeProto::default() }),
        ..ValueInfoProto::default()
    }
}

#[cfg(test)]
mod tests {
    use tract_onnx::pb::{OperatorSetIdProto, TensorProto};

    use super::*;

    fn model(nodes: &[(&str, &[&str], &str)], constants: &[&str]) -> Vec<u8> {
        let node = |(kind, inputs, output): &(&str, &[&str], &str)| NodeProto {
            op_type: (*kind).to_owned(),
            input: inputs.iter().map(|input| (*input).to_owned()).collect(),
            output: vec![(*output).to_owned()],
            ..NodeProto::default()
        };
        let constant = |name: &&str| TensorProto { name: (*name).to_owned(), ..TensorProto::default() };
        let last = nodes[nodes.len() - 1].2;
        let graph = GraphProto {
            node: nodes.iter().map(node).collect(),
            initializer: constants.iter().map(constant).collect(),
            input: vec![untyped("x")],
            output: vec![untyped(last)],
            ..GraphProto::default()
        };
        let opset = OperatorSetIdProto { version: 13, ..OperatorSetIdProto::default() };
        ModelProto { graph: Some(graph), opset_import: vec![opset], ..ModelProto::default() }.encode_to_vec()
    }

    fn network() -> Vec<u8> {
        let nodes: [(&str, &[&str], &str); 5] = [
            ("Conv", &["x", "w"], "maps"),
            ("GlobalAveragePool", &["maps"], "logits"),
            ("Flatten", &["logits"], "flat"),
            ("Gemm", &["flat", "v", "b"], "scores"),
            ("Softmax", &["scores"], "p"),
        ];
        model(&nodes, &["w", "v", "b"])
    }

    fn names(cut: &Cut) -> (Vec<&str>, Vec<&str>) {
        let graph = cut.model.graph.as_ref().unwrap();
        (
            graph.node.iter().map(|node| node.op_type.as_str()).collect(),
            graph.initializer.iter().map(|constant| constant.name.as_str()).collect(),
        )
    }

    #[test]
    fn the_penultimate_tensor_is_found_and_what_is_behind_it_goes() {
        let cut = Cut::new(&network(), None).unwrap();
        assert_eq!((cut.tensor.as_str(), cut.why.as_str()), ("flat", "the input of the last Gemm"));
        assert_eq!(names(&cut), (vec!["Conv", "GlobalAveragePool", "Flatten"], vec!["w"]));
        let convolutional: [(&str, &[&str], &str); 2] =
            [("Conv", &["x", "w"], "maps"), ("GlobalAveragePool", &["maps"], "pooled")];
        let cut = Cut::new(&model(&convolutional, &["w"]), None).unwrap();
        assert_eq!((cut.tensor.as_str(), cut.why.as_str()), ("pooled", "the output of the last GlobalAveragePool"));
        let named = Cut::new(&network(), Some("maps")).unwrap();
        assert_eq!(names(&named).0, ["Conv"]);
        // A product of two computed tensors, as in attention, is no last layer.
        let attention: [(&str, &[&str], &str); 2] = [("Flatten", &["x"], "a"), ("MatMul", &["a", "a"], "b")];
        assert_eq!(Cut::new(&model(&attention, &[]), None).unwrap().tensor, "a");
    }

    #[test]
    fn what_is_missing_is_said() {
        let refused = |onnx: &[u8], at| Cut::new(onnx, at).unwrap_err();
        assert!(refused(b"\xff\xff", None).contains("no ONNX file"));
        assert!(refused(&network(), Some("nothing")).contains("logits, flat, scores"));
        let relu: [(&str, &[&str], &str); 1] = [("Relu", &["x"], "y")];
        assert!(refused(&model(&relu, &[]), None).contains("--at"));
        assert!(refused(&ModelProto::default().encode_to_vec(), None).contains("operator set"));
    }

    #[test]
    fn a_head_is_put_behind_and_names_do_not_clash() {
        let mut head = Graph::default();
        head.node("Gemm", &[FEATURES, "w", "b"], LOGITS, Vec::new());
        head.node("Softmax", &[LOGITS], PROBABILITIES, Vec::new());
        head.constant("w", &[1], &[0.5]);
        let merged = Cut::new(&network(), None).unwrap().with_sample(&[1, 4, 4]).flattened(2).with_head(head, 3);
        let graph = merged.model.graph.as_ref().unwrap();
        assert_eq!(graph.node[0].input, ["x", "backbone.w"]);
        assert_eq!(graph.node[1].output, ["backbone.logits"]);
        assert_eq!(graph.node[2].input, ["backbone.logits"]);
        let outputs: Vec<&str> = graph.output.iter().map(|output| output.name.as_str()).collect();
        assert_eq!(outputs, [LOGITS, PROBABILITIES]);
        let mut all: Vec<&String> = graph.node.iter().flat_map(|node| &node.output).collect();
        all.extend(graph.initializer.iter().map(|constant| &constant.name));
        let distinct: BTreeSet<&&String> = all.iter().collect();
        assert_eq!(distinct.len(), all.len());
    }
}
