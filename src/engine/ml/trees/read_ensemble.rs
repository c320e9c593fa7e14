//! Reads TreeEnsemble, which replaces both older operators from version 5 on.

use tract_onnx::model::ParsingContext;
use tract_onnx::pb::{NodeProto, TensorProto};
use tract_onnx::tract_hir::internal::*;

use super::description::{Aggregate, Child, Rule, Test, Trees, Weight};
use super::read::{column, elements};

/// Reads trees.
///
/// # Errors
/// An error that names what of the node is wrong.
pub(super) fn trees(ctx: &ParsingContext, node: &NodeProto) -> TractResult<Trees> {
    let targets: usize = node.get_attr_opt("n_targets")?.unwrap_or(1);
    node.expect(targets > 0, "at least one target")?;
    let leaves: &[i64] = node.get_attr_slice("leaf_targetids")?;
    let weights = elements(ctx, node.get_attr::<&TensorProto>("leaf_weights")?)?;
    node.expect(weights.len() == leaves.len(), "a target and a weight for each leaf")?;
    let weights = leaves.iter().zip(weights).map(|(target, weight)| {
        let target = usize::try_from(*target).ok().filter(|target| *target < targets);
        Ok(Weight { target: target.with_context(|| format!("a leaf is for a target beyond the {targets}"))?, weight })
    });
    let weights = weights.collect::<TractResult<Vec<_>>>()?;
    let rules = rules(ctx, node)?;
    let roots: &[i64] = node.get_attr_slice("tree_roots")?;
    let roots = roots.iter().map(|root| Ok(Child::Rule(index(*root)?))).collect::<TractResult<_>>()?;
    let ends = (1..=leaves.len()).collect();
    Ok(Trees { roots, rules, ends, weights, targets, aggregate: aggregate(node)? })
}

fn rules(ctx: &ParsingContext, node: &NodeProto) -> TractResult<Vec<Rule>> {
    let columns: &[i64] = node.get_attr_slice("nodes_featureids")?;
    let modes = elements(ctx, node.get_attr::<&TensorProto>("nodes_modes")?)?;
    let splits = elements(ctx, node.get_attr::<&TensorProto>("nodes_splits")?)?;
    let yes: &[i64] = node.get_attr_slice("nodes_truenodeids")?;
    let no: &[i64] = node.get_attr_slice("nodes_falsenodeids")?;
    let yes_is_leaf: &[i64] = node.get_attr_slice("nodes_trueleafs")?;
    let no_is_leaf: &[i64] = node.get_attr_slice("nodes_falseleafs")?;
    let missing: &[i64] = node.get_attr_opt_slice("nodes_missing_value_tracks_true")?.unwrap_or_default();
    let lengths = [modes.len(), splits.len(), yes.len(), no.len(), yes_is_leaf.len(), no_is_leaf.len()];
    node.expect(lengths == [columns.len(); 6], "lists of one length about the nodes")?;
    // The members of each set end with NaN.
    let members = node.get_attr_opt::<&TensorProto>("membership_values")?.map(|tensor| elements(ctx, tensor));
    let members = members.transpose()?.unwrap_or_default();
    let mut sets = members.split(|member| member.is_nan());
    let child = |number: i64, is_leaf: i64| {
        index(number).map(|index| if is_leaf == 1 { Child::Leaf(index) } else { Child::Rule(index) })
    };
    let rule = |at: usize| {
        Ok(Rule {
            column: column(node, columns[at])?,
            test: match modes[at] as u8 {
                0 => Test::AtMost(splits[at]),
                1 => Test::Below(splits[at]),
                2 => Test::AtLeast(splits[at]),
                3 => Test::Above(splits[at]),
                4 => Test::Equal(splits[at]),
                5 => Test::Unequal(splits[at]),
                6 => Test::OneOf(sets.next().unwrap_or_default().to_vec()),
                other => return node.bail_attr("nodes_modes", &format!("{other} is no mode of the standard")),
            },
            yes: child(yes[at], yes_is_leaf[at])?,
            no: child(no[at], no_is_leaf[at])?,
            missing_is_yes: missing.get(at) == Some(&1),
        })
    };
    (0..columns.len()).map(rule).collect()
}

fn index(number: i64) -> TractResult<usize> {
    usize::try_from(number).with_context(|| format!("a branch leads to {number}"))
}

fn aggregate(node: &NodeProto) -> TractResult<Aggregate> {
    match node.get_attr_opt::<i64>("aggregate_function")?.unwrap_or(1) {
        0 => Ok(Aggregate::Average),
        1 => Ok(Aggregate::Sum),
        2 => Ok(Aggregate::Min),
        3 => Ok(Aggregate::Max),
        other => node.bail(&format!("aggregate_function is {other}, the standard knows 0 to 3")),
    }
}
