//! The demands by operator.

use super::call::{Call, Outcome};
use super::{indices, shapes, values};

/// A demand of an operator.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rule {
    /// The inputs that may wait for it; the first that is no constant does.
    pub(super) waiting: &'static [usize],
    /// The inputs whose values it is about. Of others it knows the shape.
    pub(super) values: &'static [usize],
    /// True if values that are computed from the sizes of tensors are left to tract, which computes with them.
    pub(super) trusts_sizes: bool,
    /// True if it brings numbers together with sizes of tensors, for which tract cuts them to 32 bits.
    pub(super) joins: bool,
    /// True if tract computes it wrongly of nothing, which it does before a run.
    pub(super) needs_elements: bool,
    pub(super) demand: fn(&Call<'_>) -> Outcome,
}

/// A demand on sizes.
const fn sizes(demand: fn(&Call<'_>) -> Outcome) -> Rule {
    Rule { waiting: &[0, 1, 2, 3], values: &[], trusts_sizes: false, joins: false, needs_elements: false, demand }
}

/// A demand on sizes of an operator that takes any numbers.
const fn joined(demand: fn(&Call<'_>) -> Outcome) -> Rule {
    Rule { joins: true, ..sizes(demand) }
}

/// A demand on values, and on the shape of the first input.
const fn numbers(values: &'static [usize], demand: fn(&Call<'_>) -> Outcome) -> Rule {
    Rule { waiting: &[0, 1, 2], values, trusts_sizes: true, joins: false, needs_elements: false, demand }
}

/// A demand on indices, which are the second input.
const fn table(demand: fn(&Call<'_>) -> Outcome) -> Rule {
    Rule { waiting: &[1, 0], values: &[1], trusts_sizes: false, joins: false, needs_elements: false, demand }
}

/// Returns the demand of an operator; `None` if it makes none that tract does not check.
pub(super) fn rule(operator: &str) -> Option<Rule> {
    Some(match operator {
        "Add" | "Sub" | "Mul" | "Div" | "Pow" | "Mod" | "Max" | "Min" | "Sum" | "Mean" | "And" | "Or" | "Xor"
        | "Equal" | "Less" | "LessOrEqual" | "Greater" | "GreaterOrEqual" | "Where" | "BitShift" | "BitwiseAnd"
        | "BitwiseOr" | "BitwiseXor" => joined(shapes::broadcast),
        "PRelu" => sizes(shapes::broadcast_to_first),
        "MatMul" | "MatMulInteger" => sizes(shapes::matmul),
        "Gemm" => sizes(shapes::gemm),
        "Concat" => joined(shapes::concat),
        "Einsum" => sizes(shapes::einsum),
        "BatchNormalization" | "InstanceNormalization" => sizes(shapes::channels),
        "LayerNormalization" => sizes(shapes::normalized),
        "DepthToSpace" | "SpaceToDepth" => sizes(shapes::blocks),
        "ArgMax" | "ArgMin" => sizes(shapes::extremes),
        "Conv" | "ConvInteger" | "ConvTranspose" => sizes(shapes::convolution),
        "Gather" => table(indices::along_axis),
        "GatherElements" | "ScatterElements" | "Scatter" => table(indices::elements),
        "GatherND" | "ScatterND" => table(indices::places),
        "Tile" => numbers(&[1], values::tile),
        "Expand" => numbers(&[1], values::expand),
        "Reshape" => numbers(&[1], values::reshape),
        "ConstantOfShape" => numbers(&[0], values::constant_of_shape),
        "Range" => numbers(&[0, 1, 2], values::range),
        "Slice" => numbers(&[1, 2, 3, 4], values::slice),
        "Resize" => numbers(&[1, 2, 3], values::resize),
        "NonMaxSuppression" => numbers(&[2, 3], values::suppression),
        "Pad" => numbers(&[1, 3], values::pad),
        "TopK" => numbers(&[1], values::top_k),
        "Split" => numbers(&[1], values::split),
        "OneHot" => numbers(&[1], values::one_hot),
        "ReverseSequence" => numbers(&[1], values::reverse_sequence),
        "Squeeze" => numbers(&[1], values::squeeze),
        "Unsqueeze" => numbers(&[1], values::unsqueeze),
        "CumSum" => numbers(&[1], values::axis),
        "Trilu" => numbers(&[1], values::diagonal),
        "Compress" => numbers(&[1], values::compress),
        "ReduceMax" | "ReduceMin" => Rule { needs_elements: true, ..numbers(&[1], values::axes) },
        reduction if reduction.starts_with("Reduce") => numbers(&[1], values::axes),
        _ => return None,
    })
}
