//! Rewrites an ONNX file before tract parses it.
//!
//! tract has no operator for some nodes, computes others otherwise than ONNX says, and passes over attributes that it
//! does not know. These passes replace such nodes by others that it computes rightly, and refuse what they cannot
//! replace: a wrong answer is worse than none. They know names and attributes, and what the file declares of types
//! and shapes, but no values that are computed.

mod arguments;
mod branch;
mod build;
#[cfg(test)]
mod check;
mod demands;
mod known;
mod loss;
mod numerics;
mod pooling;
mod recurrent;
mod refuse;
mod sizes;
mod whole;

pub(in crate::engine) use arguments::arguments;
use tract_onnx::Onnx;
use tract_onnx::pb::{GraphProto, ModelProto, NodeProto};

use self::build::Builder;
use self::known::Known;
use self::refuse::Refusal;
use self::sizes::Sizes;
use crate::engine::Bounds;

/// Returns tract's reader of ONNX, with operators of ours in place of some of its own.
pub(in crate::engine) fn reader() -> Onnx {
    let mut onnx = tract_onnx::onnx();
    onnx.op_register.insert("If", branch::read);
    demands::register(&mut onnx.op_register);
    onnx.op_register.insert(whole::OPERATOR, whole::read);
    onnx
}

/// Replaces the nodes that tract does not compute, or computes wrongly. None makes a tensor beyond the `bounds`.
///
/// # Errors
/// The reason, when a node can be neither computed nor replaced.
pub(in crate::engine) fn rewrite(model: &mut ModelProto, bounds: Bounds) -> Result<(), Refusal> {
    let default = |domain: &str| matches!(domain, "" | "ai.onnx");
    let opset = model.opset_import.iter().find(|import| default(&import.domain)).map_or(1, |import| import.version);
    model.graph.as_mut().map_or(Ok(()), |graph| rewrite_graph(graph, opset, bounds, Sizes::default()))
}

fn rewrite_graph(graph: &mut GraphProto, opset: i64, bounds: Bounds, mut sizes: Sizes) -> Result<(), Refusal> {
    let mut known = Known::of(graph);
    let nodes = std::mem::take(&mut graph.node);
    let mut written = Vec::with_capacity(nodes.len());
    for mut node in nodes {
        for inner in node.attribute.iter_mut().filter_map(|attribute| attribute.g.as_mut()) {
            rewrite_graph(inner, opset, bounds, sizes.clone())?;
        }
        refuse::check(&node, &known)?;
        sizes.note(&node);
        let mut builder = Builder::new(&node, opset);
        if numerics::extreme_of_nothing(&node, &known, &mut builder) {
            written.append(&mut builder.finish());
            continue;
        }
        if let Some(demand) = demands::before(&mut node, &known, bounds) {
            known.alias(&demand.output[0], &demand.input[0]);
            sizes.note(&demand);
            written.push(demand);
        }
        let is_compared = node.op_type == "Equal" && sizes.equal(&node, &mut builder);
        if is_compared || is_replaced(&mut node, &known, opset, &mut builder)? {
            written.append(&mut builder.finish());
        } else {
            written.push(node);
        }
    }
    graph.node = written;
    Ok(())
}

/// Writes what takes the place of a node; returns false if the node stays, changed or as it is.
fn is_replaced(node: &mut NodeProto, known: &Known, opset: i64, to: &mut Builder) -> Result<bool, Refusal> {
    if !matches!(node.domain.as_str(), "" | "ai.onnx" | "ai.onnx.ml") {
        return Ok(false);
    }
    match node.op_type.as_str() {
        "RNN" | "GRU" | "LSTM" => recurrent::rewrite(node, known, to),
        "NegativeLogLikelihoodLoss" => Ok(loss::negative_log_likelihood(node, to)),
        "SoftmaxCrossEntropyLoss" if opset >= 13 => Ok(loss::cross_entropy(node, to)),
        "LpPool" => Ok(pooling::lp_pool(node, to)),
        "Celu" => Ok(numerics::celu(node, to)),
        "Softplus" => Ok(numerics::softplus(node, to)),
        "Swish" => Ok(numerics::swish(node, to)),
        "Binarizer" => Ok(numerics::binarizer(node, to)),
        "ReduceLogSumExp" => Ok(numerics::log_sum_exp(node, to)),
        "ReverseSequence" => Ok(numerics::reverse_sequence(node, to)),
        "OneHot" => Ok(numerics::one_hot(node, known, to)),
        "GatherND" | "ScatterND" => Ok(numerics::wrap_indices(node, known, to)),
        "DequantizeLinear" => Ok(numerics::dequantize(node, known, to)),
        "Cast" => {
            whole::rename(node);
            Ok(false)
        }
        "ConstantOfShape" => {
            numerics::give_value(node);
            Ok(false)
        }
        _ => Ok(false),
    }
}
