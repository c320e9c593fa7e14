//! Reads TreeEnsembleClassifier and TreeEnsembleRegressor, whose nodes are lists of attributes.

use std::collections::HashMap;

use tract_onnx::model::ParsingContext;
use tract_onnx::pb::{NodeProto, TensorProto};
use tract_onnx::tract_hir::internal::*;

use super::description::{Aggregate, Child, Rule, Test, Trees, Weight};

/// The names of the attributes that differ between the two operators.
#[derive(Debug, Clone, Copy)]
pub(super) struct Names {
    pub(super) ids: &'static str,
    pub(super) node_ids: &'static str,
    pub(super) tree_ids: &'static str,
    pub(super) weights: &'static str,
}

pub(super) const CLASSES: Names =
    Names { ids: "class_ids", node_ids: "class_nodeids", tree_ids: "class_treeids", weights: "class_weights" };

pub(super) const TARGETS: Names =
    Names { ids: "target_ids", node_ids: "target_nodeids", tree_ids: "target_treeids", weights: "target_weights" };

/// A node by the numbers of its tree and of itself.
type NodeId = (i64, i64);

/// The attributes that hold one element for each node.
struct Nodes<'n> {
    node: &'n NodeProto,
    trees: &'n [i64],
    ids: &'n [i64],
    columns: &'n [i64],
    modes: &'n [Vec<u8>],
    thresholds: Vec<f64>,
    yes: &'n [i64],
    no: &'n [i64],
    missing_is_yes: &'n [i64],
}

impl<'n> Nodes<'n> {
    fn read(ctx: &ParsingContext, node: &'n NodeProto) -> TractResult<Self> {
        let nodes = Self {
            node,
            trees: node.get_attr_slice("nodes_treeids")?,
            ids: node.get_attr_slice("nodes_nodeids")?,
            columns: node.get_attr_slice("nodes_featureids")?,
            modes: node.get_attr_slice("nodes_modes")?,
            thresholds: floats(ctx, node, "nodes_values")?,
            yes: node.get_attr_slice("nodes_truenodeids")?,
            no: node.get_attr_slice("nodes_falsenodeids")?,
            missing_is_yes: node.get_attr_opt_slice("nodes_missing_value_tracks_true")?.unwrap_or_default(),
        };
        let count = nodes.ids.len();
        node.expect(count > 0, "at least one node")?;
        for (name, length) in [
            ("nodes_treeids", nodes.trees.len()),
            ("nodes_featureids", nodes.columns.len()),
            ("nodes_modes", nodes.modes.len()),
            ("nodes_values", nodes.thresholds.len()),
            ("nodes_truenodeids", nodes.yes.len()),
            ("nodes_falsenodeids", nodes.no.len()),
        ] {
            node.expect_attr(name, length == count, || format!("{count} elements, got {length}"))?;
        }
        Ok(nodes)
    }

    fn len(&self) -> usize {
        self.ids.len()
    }

    fn id(&self, index: usize) -> NodeId {
        (self.trees[index], self.ids[index])
    }

    fn is_leaf(&self, index: usize) -> bool {
        self.modes[index] == b"LEAF"
    }

    /// Returns the rule of a node that is no leaf. `places` are the places of all nodes.
    fn rule(&self, index: usize, places: &HashMap<NodeId, Child>) -> TractResult<Rule> {
        let place = |number: i64| {
            let place = places.get(&(self.trees[index], number)).copied();
            place.with_context(|| {
                format!("a branch leads to node {number} of tree {}, which is not there", self.trees[index])
            })
        };
        let threshold = self.thresholds[index];
        let test = match self.modes[index].as_slice() {
            b"BRANCH_LEQ" => Test::AtMost(threshold),
            b"BRANCH_LT" => Test::Below(threshold),
            b"BRANCH_GTE" => Test::AtLeast(threshold),
            b"BRANCH_GT" => Test::Above(threshold),
            b"BRANCH_EQ" => Test::Equal(threshold),
            b"BRANCH_NEQ" => Test::Unequal(threshold),
            other => {
                let mode = crate::ids::quote(&String::from_utf8_lossy(other));
                return self.node.bail_attr("nodes_modes", &format!("{mode} is no mode of the standard"));
            }
        };
        Ok(Rule {
            column: column(self.node, self.columns[index])?,
            test,
            yes: place(self.yes[index])?,
            no: place(self.no[index])?,
            missing_is_yes: self.missing_is_yes.get(index) == Some(&1),
        })
    }
}

/// Checks a column's number, of which a bit is kept free.
///
/// # Errors
/// An error that tells the number.
pub(super) fn column(node: &NodeProto, number: i64) -> TractResult<usize> {
    match usize::try_from(number) {
        Ok(column) if column < i32::MAX as usize => Ok(column),
        _ => node.bail(&format!("a node reads column {number}")),
    }
}

/// Reads numbers that are a list of 32-bit floats or a tensor of any precision.
///
/// # Errors
/// An error that names the attribute.
pub(super) fn floats(ctx: &ParsingContext, node: &NodeProto, name: &str) -> TractResult<Vec<f64>> {
    if let Some(tensor) = node.get_attr_opt::<&TensorProto>(&format!("{name}_as_tensor"))? {
        return elements(ctx, tensor);
    }
    let floats: &[f32] = node.get_attr_opt_slice(name)?.unwrap_or_default();
    Ok(floats.iter().map(|number| f64::from(*number)).collect())
}

/// Reads the numbers of a tensor.
///
/// # Errors
/// An error when it does not hold numbers.
pub(super) fn elements(ctx: &ParsingContext, tensor: &TensorProto) -> TractResult<Vec<f64>> {
    let tensor = ctx.load_tensor(tensor)?;
    let numbers = tensor.cast_to::<f64>()?;
    Ok(numbers.try_as_plain_ram()?.as_slice::<f64>()?.to_vec())
}

/// Reads trees.
///
/// # Errors
/// An error that names what of the node is wrong.
pub(super) fn trees(ctx: &ParsingContext, node: &NodeProto, names: Names, targets: usize) -> TractResult<Trees> {
    let nodes = Nodes::read(ctx, node)?;
    let mut places = HashMap::with_capacity(nodes.len());
    let (mut rules, mut leaves) = (0, 0);
    let mut roots: Vec<NodeId> = Vec::new();
    let mut rooted = std::collections::HashSet::new();
    for index in 0..nodes.len() {
        let place = if nodes.is_leaf(index) { Child::Leaf(leaves) } else { Child::Rule(rules) };
        *if nodes.is_leaf(index) { &mut leaves } else { &mut rules } += 1;
        let (tree, id) = nodes.id(index);
        node.expect(places.insert((tree, id), place).is_none(), || format!("one node {id} in tree {tree}"))?;
        if rooted.insert(tree) {
            roots.push((tree, id));
        }
    }
    let rules = (0..nodes.len()).filter(|index| !nodes.is_leaf(*index)).map(|index| nodes.rule(index, &places));
    let rules = rules.collect::<TractResult<Vec<_>>>()?;
    let (ends, weights) = weights(ctx, node, names, targets, leaves, &places)?;
    let roots = roots.iter().map(|root| places[root]).collect();
    Ok(Trees { roots, rules, ends, weights, targets, aggregate: aggregate(node)? })
}

/// Returns the end of each leaf's weights, and the weights in the order of the leaves.
fn weights(
    ctx: &ParsingContext,
    node: &NodeProto,
    names: Names,
    targets: usize,
    leaves: usize,
    places: &HashMap<NodeId, Child>,
) -> TractResult<(Vec<usize>, Vec<Weight>)> {
    let ids: &[i64] = node.get_attr_slice(names.ids)?;
    let node_ids: &[i64] = node.get_attr_slice(names.node_ids)?;
    let tree_ids: &[i64] = node.get_attr_slice(names.tree_ids)?;
    let numbers = floats(ctx, node, names.weights)?;
    let lengths = [node_ids.len(), tree_ids.len(), numbers.len()];
    node.expect_attr(names.ids, lengths == [ids.len(); 3], || {
        format!("{} elements, got {}", numbers.len(), ids.len())
    })?;
    let mut of_leaves: Vec<(usize, Weight)> = Vec::with_capacity(ids.len());
    for (index, weight) in numbers.into_iter().enumerate() {
        let target = usize::try_from(ids[index]).ok().filter(|target| *target < targets);
        let target = target.with_context(|| format!("{} has {}, there are {targets}", names.ids, ids[index]))?;
        match places.get(&(tree_ids[index], node_ids[index])) {
            Some(Child::Leaf(leaf)) => of_leaves.push((*leaf, Weight { target, weight })),
            // A weight of a node that is no leaf is never reached.
            Some(Child::Rule(_)) => (),
            None => bail!("a weight is for node {} of tree {}, which is not there", node_ids[index], tree_ids[index]),
        }
    }
    of_leaves.sort_by_key(|(leaf, _)| *leaf);
    let ends = (0..leaves).map(|leaf| of_leaves.partition_point(|(other, _)| *other <= leaf)).collect();
    Ok((ends, of_leaves.into_iter().map(|(_, weight)| weight).collect()))
}

fn aggregate(node: &NodeProto) -> TractResult<Aggregate> {
    match node.get_attr_opt::<&str>("aggregate_function")?.unwrap_or("SUM") {
        "SUM" => Ok(Aggregate::Sum),
        "AVERAGE" => Ok(Aggregate::Average),
        "MIN" => Ok(Aggregate::Min),
        "MAX" => Ok(Aggregate::Max),
        other => node.bail(&format!("aggregate_function is {}", crate::ids::quote(other))),
    }
}
