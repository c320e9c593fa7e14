//! Surgery on an ONNX graph: cut off what is behind a tensor, and put a head there.

use std::collections::{BTreeMap, BTreeSet};

use prost::Message;
use tract_onnx::pb::{GraphProto, ModelProto, NodeProto, ValueInfoProto};

use super::maps::{FeatureMap, Windows};
use crate::engine::{keep, untyped, used_by};
use crate::signature::Pool;
use crate::trainer::export::{FLOAT, Graph, float_value, integer, integers};

/// The beginning of the names of nodes that are added.
const OF_HEAD: &str = "head.";

/// The beginning of the names of tensors that are added between a network and its head.
const OURS: &str = "weir.";

/// The output of a graph that was cut.
pub(super) const FEATURES: &str = "weir.features";

/// Operators whose input is what a classifier is told by: they are the last layer of most networks.
const LAST_LAYERS: [&str; 2] = ["Gemm", "MatMul"];

/// Operators whose output that is, where the last layer is a convolution or none.
const POOLS: [&str; 4] = ["GlobalAveragePool", "GlobalMaxPool", "ReduceMean", "Flatten"];

/// Operators that read maps; a mean does where it is one over their sides.
const READERS: [&str; 5] = ["Conv", "MaxPool", "AveragePool", "GlobalAveragePool", "GlobalMaxPool"];

/// What is added to the square of a vector's length, so that one of zeros can be divided by it.
const LEAST_SQUARE: f32 = 1e-24;

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

/// The way from a vector of each token to one of a text.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pooling<'a> {
    /// What is taken of the vectors.
    pub(super) pool: Pool,
    /// The input that tells tokens (1) from padding (0).
    pub(super) mask: Option<&'a str>,
    /// The input that takes the numbers of the tokens.
    pub(super) ids: &'a str,
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
        keep(graph, [tensor.as_str()]);
        let tensor = leave_our_names(graph, tensor);
        graph.output = vec![untyped(&tensor)];
        Ok(Self { model, tensor, why })
    }

    /// Says how the tensor was found.
    pub(super) fn because(mut self, why: &str) -> Self {
        why.clone_into(&mut self.why);
        self
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

    /// Returns the tensors that convolutions and poolings read, in the order in which they do.
    pub(super) fn inner(&self) -> Vec<&str> {
        let nodes = || self.model.graph.iter().flat_map(|graph| &graph.node);
        let made: BTreeSet<&String> =
            nodes().filter(|node| node.op_type != "Constant").flat_map(|node| &node.output).collect();
        let mut found = Vec::new();
        let reads_maps = |node: &&NodeProto| {
            is_one_of(node, &READERS)
                || node.op_type == "ReduceMean"
                    && self.model.graph.as_ref().is_some_and(|graph| is_mean_of_maps(graph, node))
        };
        for input in nodes().filter(reads_maps).filter_map(|node| node.input.first()) {
            if made.contains(input) && !found.contains(&input.as_str()) {
                found.push(input.as_str());
            }
        }
        found
    }

    /// Makes these tensors the outputs, each by its own name.
    pub(super) fn giving(mut self, tensors: &[&str]) -> Self {
        if let Some(graph) = &mut self.model.graph {
            graph.output = tensors.iter().map(|tensor| untyped(tensor)).collect();
        }
        self
    }

    /// Makes one vector of the tensor, whose maps are averaged, and of `maps`, averaged over the windows of each grid.
    pub(super) fn flattened(mut self, rank: usize, maps: &[FeatureMap], grids: &[usize]) -> Self {
        let mut added = Graph::default();
        let vector = if grids.is_empty() || maps.is_empty() { FEATURES } else { "weir.vector" };
        let mut tensor = self.tensor.as_str();
        if rank == 4 {
            added.node("GlobalAveragePool", &[tensor], "weir.pooled", Vec::new());
            tensor = "weir.pooled";
        }
        added.node("Flatten", &[tensor], vector, vec![integer("axis", 1)]);
        if vector != FEATURES {
            let mut parts = vec![vector.to_owned()];
            for (grid, (index, map)) in
                grids.iter().flat_map(|grid| maps.iter().enumerate().map(move |map| (grid, map)))
            {
                parts.push(windows(&mut added, map, *grid, index));
            }
            let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
            added.node("Concat", &parts, FEATURES, vec![integer("axis", 1)]);
        }
        self.append(added, vec![untyped(FEATURES)]);
        self
    }

    /// Makes one vector of the vectors of a text's tokens, where there are several, of length 1 if asked, and names the
    /// features.
    pub(super) fn of_texts(mut self, pooling: Option<Pooling<'_>>, normalise: bool) -> Self {
        let mut added = Graph::default();
        added.node("Cast", &[&self.tensor], "weir.vectors", vec![integer("to", FLOAT)]);
        let mut vector = "weir.vectors";
        if let Some(pooling) = pooling {
            pooling.write(&mut added, vector, "weir.pooled");
            vector = "weir.pooled";
        }
        added.node("Flatten", &[vector], if normalise { "weir.vector" } else { FEATURES }, vec![integer("axis", 1)]);
        if normalise {
            // A product with itself as a row and a column is the square of the length.
            added.integers_constant("weir.row", &[0, 1, -1]);
            added.integers_constant("weir.column", &[0, -1, 1]);
            added.integers_constant("weir.single", &[0, 1]);
            added.constant("weir.least", &[1], &[LEAST_SQUARE]);
            added.node("Reshape", &["weir.vector", "weir.row"], "weir.as_row", Vec::new());
            added.node("Reshape", &["weir.vector", "weir.column"], "weir.as_column", Vec::new());
            added.node("MatMul", &["weir.as_row", "weir.as_column"], "weir.product", Vec::new());
            added.node("Reshape", &["weir.product", "weir.single"], "weir.square", Vec::new());
            added.node("Add", &["weir.square", "weir.least"], "weir.some_square", Vec::new());
            added.node("Sqrt", &["weir.some_square"], "weir.length", Vec::new());
            added.node("Div", &["weir.vector", "weir.length"], FEATURES, Vec::new());
        }
        self.append(added, vec![untyped(FEATURES)]);
        self
    }

    /// Puts a head behind the features, whose outputs are those of the whole.
    pub(super) fn with_head(mut self, head: Graph, outputs: Vec<ValueInfoProto>) -> Self {
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
        let names = others(graph, |name| taken.contains(name));
        rename(graph, &names);
        for mut node in added.nodes {
            node.name = format!("{OF_HEAD}{}", node.name);
            graph.node.push(node);
        }
        graph.initializer.extend(added.constants);
        graph.output = outputs;
    }
}

/// Writes the means of a map's windows as a vector, and returns its name.
fn windows(graph: &mut Graph, map: &FeatureMap, grid: usize, index: usize) -> String {
    let Windows { kernel, strides, .. } = map.windows(grid);
    let name = format!("weir.windows_{grid}_{index}");
    let mut tensor = map.tensor.clone();
    if kernel != [1, 1] {
        tensor = format!("{name}.map");
        let attributes = vec![integers("kernel_shape", &kernel), integers("strides", &strides)];
        graph.node("AveragePool", &[&map.tensor], &tensor, attributes);
    }
    graph.node("Flatten", &[&tensor], &name, vec![integer("axis", 1)]);
    name
}

impl Pooling<'_> {
    /// Writes the nodes from vectors `[N, tokens, D]` to one, `[N, 1, D]`. They mean the same in every operator set.
    fn write(&self, graph: &mut Graph, vectors: &str, pooled: &str) {
        match self.pool {
            Pool::First => {
                graph.integers_constant("weir.first", &[0]);
                graph.node("Gather", &[vectors, "weir.first"], pooled, vec![integer("axis", 1)]);
            }
            Pool::Mean => {
                match self.mask {
                    Some(mask) => graph.node("Cast", &[mask], "weir.kept", vec![integer("to", FLOAT)]),
                    None => {
                        // No padding is told from tokens, so all count.
                        graph.constant("weir.none", &[1], &[0.0]);
                        graph.constant("weir.one", &[1], &[1.0]);
                        graph.node("Cast", &[self.ids], "weir.ids", vec![integer("to", FLOAT)]);
                        graph.node("Mul", &["weir.ids", "weir.none"], "weir.zeros", Vec::new());
                        graph.node("Add", &["weir.zeros", "weir.one"], "weir.kept", Vec::new());
                    }
                }
                graph.integers_constant("weir.tokens_last", &[0, 1, -1]);
                graph.integers_constant("weir.tokens_first", &[0, -1, 1]);
                graph.node("Reshape", &["weir.kept", "weir.tokens_last"], "weir.weights", Vec::new());
                graph.node("Reshape", &["weir.kept", "weir.tokens_first"], "weir.counted", Vec::new());
                graph.node("MatMul", &["weir.weights", vectors], "weir.sum", Vec::new());
                graph.node("MatMul", &["weir.weights", "weir.counted"], "weir.count", Vec::new());
                graph.node("Div", &["weir.sum", "weir.count"], pooled, Vec::new());
            }
        }
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

/// Returns true if a mean is one over the two sides of maps, as an attribute or a constant input says.
fn is_mean_of_maps(graph: &GraphProto, node: &NodeProto) -> bool {
    let said = node.attribute.iter().find(|attribute| attribute.name == "axes").map(|attribute| attribute.ints.clone());
    let mut axes = said.or_else(|| whole_numbers(graph, node.input.get(1)?)).unwrap_or_default();
    axes.sort_unstable();
    axes == [2, 3] || axes == [-2, -1]
}

/// Returns the numbers of a constant.
fn whole_numbers(graph: &GraphProto, name: &str) -> Option<Vec<i64>> {
    let made = |node: &&NodeProto| node.op_type == "Constant" && node.output.iter().any(|output| output == name);
    let of_node = || graph.node.iter().find(made)?.attribute.iter().find_map(|attribute| attribute.t.as_ref());
    let constant = graph.initializer.iter().find(|constant| constant.name == name).or_else(of_node)?;
    if !constant.int64_data.is_empty() {
        return Some(constant.int64_data.clone());
    }
    let (numbers, _) = constant.raw_data.as_chunks::<8>();
    Some(numbers.iter().map(|bytes| i64::from_le_bytes(*bytes)).collect())
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

/// Leaves the names of what is added here to it: a network may have been made by this very program.
fn leave_our_names(graph: &mut GraphProto, tensor: String) -> String {
    let names = others(graph, |name| name.starts_with(OURS));
    rename(graph, &names);
    graph.node.iter_mut().filter(|node| node.name.starts_with(OF_HEAD)).for_each(|node| node.name.clear());
    names.get(&tensor).cloned().unwrap_or(tensor)
}

/// Returns other names, which nothing has, for the tensors of a graph that `is_taken`.
fn others(graph: &GraphProto, is_taken: impl Fn(&str) -> bool) -> BTreeMap<String, String> {
    let of_nodes = graph.node.iter().flat_map(|node| &node.output);
    let names: BTreeSet<&String> = of_nodes.chain(graph.initializer.iter().map(|constant| &constant.name)).collect();
    let other = |name: &String| {
        let mut other = format!("backbone.{name}");
        while names.contains(&other) || is_taken(&other) {
            other = format!("backbone.{other}");
        }
        other
    };
    names.iter().filter(|name| is_taken(name)).map(|name| ((*name).clone(), other(name))).collect()
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

#[cfg(test)]
mod tests {
    use tract_onnx::pb::{AttributeProto, OperatorSetIdProto, TensorProto};

    use super::*;
    use crate::trainer::export::{LOGITS, PROBABILITIES};

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
    fn maps_are_what_convolutions_and_poolings_read_and_their_windows_join_the_vector() {
        let nodes: [(&str, &[&str], &str); 6] = [
            ("Conv", &["x", "w"], "maps"),
            ("Relu", &["maps"], "active"),
            ("MaxPool", &["active"], "half"),
            ("Conv", &["half", "u"], "last"),
            ("GlobalAveragePool", &["last"], "pooled"),
            ("Gemm", &["pooled", "v", "b"], "scores"),
        ];
        let cut = Cut::new(&model(&nodes, &["w", "u", "v", "b"]), None).unwrap();
        assert_eq!(cut.inner(), ["active", "half", "last"], "neither the picture nor a weight");
        let maps = [FeatureMap { tensor: "active".into(), channels: 2, sides: [5, 5] }];
        let flat = cut.flattened(4, &maps, &[2, 5]);
        let graph = flat.model.graph.as_ref().unwrap();
        let kinds: Vec<&str> = graph.node[5..].iter().map(|node| node.op_type.as_str()).collect();
        let expected = ["GlobalAveragePool", "Flatten", "AveragePool", "Flatten", "Flatten", "Concat"];
        assert_eq!(kinds, expected, "windows of one place need no pooling");
        assert_eq!(graph.node[10].input.len(), 3);
    }

    fn axes_of(axes: &[i64]) -> AttributeProto {
        AttributeProto { name: "axes".into(), ints: axes.to_vec(), ..AttributeProto::default() }
    }

    /// A mean over channels or tokens reads no maps.
    #[test]
    fn a_mean_reads_maps_where_it_is_one_over_their_sides() {
        let nodes: [(&str, &[&str], &str); 3] =
            [("Relu", &["x"], "active"), ("ReduceMean", &["active", "axes"], "pooled"), ("Flatten", &["pooled"], "f")];
        for (axes, expected) in [(&[2, 3][..], true), (&[-1, -2], true), (&[1], false), (&[1, 2], false), (&[], false)]
        {
            let mut model = ModelProto::decode(&*model(&nodes, &["axes"])).unwrap();
            let change = |graph: &mut GraphProto, is_attribute: bool| match is_attribute {
                true => graph.node[1].attribute = vec![axes_of(axes)],
                false => {
                    graph.initializer[0].raw_data = axes.iter().flat_map(|axis: &i64| axis.to_le_bytes()).collect()
                }
            };
            for is_attribute in [false, true] {
                change(model.graph.as_mut().unwrap(), is_attribute);
                let cut = Cut::new(&model.encode_to_vec(), None).unwrap();
                assert_eq!(cut.inner().contains(&"active"), expected, "{axes:?} {is_attribute}");
            }
        }
    }

    #[test]
    fn a_network_with_a_head_of_ours_is_a_backbone_like_any() {
        let mut head = Graph::default();
        head.node("Gemm", &[FEATURES, "w", "b"], LOGITS, Vec::new());
        head.constant("w", &[1], &[0.5]);
        head.constant("b", &[1], &[0.5]);
        let mut onnx = network();
        for _ in 0..3 {
            let outputs = vec![float_value(LOGITS, &[1])];
            let cut = Cut::new(&onnx, None).unwrap().with_sample(&[1, 4, 4]).flattened(2, &[], &[]);
            let mut again = Graph::default();
            again.nodes.clone_from(&head.nodes);
            again.constants.clone_from(&head.constants);
            onnx = cut.with_head(again, outputs).onnx();
            let graph = ModelProto::decode(onnx.as_slice()).unwrap().graph.unwrap();
            let mut known: BTreeSet<String> = graph.initializer.iter().map(|constant| constant.name.clone()).collect();
            known.insert("x".into());
            for node in &graph.node {
                assert!(node.input.iter().all(|input| known.contains(input)), "{node:?} comes after what it reads");
                assert!(
                    node.output.iter().all(|output| known.insert(output.clone())),
                    "{node:?} has a name of its own"
                );
            }
        }
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
        let merged = Cut::new(&network(), None).unwrap().with_sample(&[1, 4, 4]).flattened(2, &[], &[]);
        let merged = merged.with_head(head, [LOGITS, PROBABILITIES].map(|name| float_value(name, &[3])).to_vec());
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
