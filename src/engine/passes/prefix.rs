//! Runs the convolutional front of a graph sample by sample.
//!
//! The kernels of tract for one sample are faster than those for any batch, and a batch of feature maps
//! does not fit into the caches. A dense layer, in contrast, gains by a batch; so the front ends before
//! the first dense layer.

use tract_onnx::tract_core::ops::Downsample;
use tract_onnx::tract_core::ops::array::{Pad, Slice, TypedConcat};
use tract_onnx::tract_core::ops::binary::TypedBinOp;
use tract_onnx::tract_core::ops::cast::Cast;
use tract_onnx::tract_core::ops::cnn::{Conv, Deconv, MaxPool, SumPool};
use tract_onnx::tract_core::ops::einsum::EinSum;
use tract_onnx::tract_core::ops::element_wise::ElementWiseOp;
use tract_onnx::tract_core::ops::konst::Const;
use tract_onnx::tract_core::ops::nn::{Reduce, Softmax};
use tract_onnx::tract_core::ops::source::TypedSource;
use tract_onnx::tract_hir::internal::*;

use super::conv_block::ConvBlock;
use super::each_sample::EachSample;
use super::expand::Expand;
use super::grouped::Grouped;
use super::max_pool::FastMaxPool;
use super::pointwise::Pointwise;

/// The size of feature maps, in numbers, above which they are not worth keeping for a whole batch.
const LARGE_MAP: usize = 1 << 16;

/// Moves the front of the graph into one operation, if the batch is symbolic and the graph gains by it.
pub(super) fn rewrite(model: &mut TypedModel) -> TractResult<()> {
    let Some(batch) = batch_symbol(model)? else { return Ok(()) };
    let front = front(model, &batch)?;
    let mut pays = false;
    for node in model.nodes.iter().filter(|node| front[node.id]) {
        let fact = &node.outputs[0].fact;
        let size: Option<usize> = fact.shape.iter().skip(1).map(|dim| dim.to_usize().ok()).product();
        let is_slow_in_batches = node.op_is::<Conv>() || node.op_is::<Deconv>() || node.op_is::<EinSum>();
        let is_ours =
            node.op_is::<ConvBlock>() || node.op_is::<Pointwise>() || node.op_is::<Grouped>() || node.op_is::<Expand>();
        pays |= is_slow_in_batches || is_ours && size.is_some_and(|size| size > LARGE_MAP);
    }
    if !pays {
        return Ok(());
    }
    let is_left = |outlet: &OutletId| {
        let successors = &model.node(outlet.node).outputs[outlet.slot].successors;
        model.outputs.contains(outlet) || successors.iter().any(|inlet| !front[inlet.node])
    };
    let border: Vec<OutletId> = model
        .nodes
        .iter()
        .filter(|node| front[node.id] && !node.op_is::<TypedSource>())
        .flat_map(|node| (0..node.outputs.len()).map(|slot| OutletId::new(node.id, slot)))
        .filter(is_left)
        .collect();
    let inputs: Vec<OutletId> = model.inputs.iter().copied().filter(|input| front[input.node]).collect();
    let mut part = model.clone();
    part.select_output_outlets(&border)?;
    part.set_input_outlets(&inputs)?;
    let op = EachSample::new(&part.into_compact()?, &batch)?;
    let mut patch = TypedModelPatch::default();
    let taps = patch.taps(model, &inputs)?;
    let wires = patch.wire_node("front", op, &taps)?;
    for (outlet, wire) in border.iter().zip(wires) {
        patch.shunt_outside(model, *outlet, wire)?;
    }
    patch.apply(model)?;
    model.compact()
}

fn batch_symbol(model: &TypedModel) -> TractResult<Option<Symbol>> {
    for input in model.input_outlets()? {
        if let Some(TDim::Sym(symbol)) = model.outlet_fact(*input)?.shape.first() {
            return Ok(Some(symbol.clone()));
        }
    }
    Ok(None)
}

/// Returns for each node whether it belongs to the front. Every node of the front, and every node before
/// it, treats each sample separately and is not a dense layer.
fn front(model: &TypedModel, batch: &Symbol) -> TractResult<Vec<bool>> {
    let mut front = vec![false; model.nodes.len()];
    for id in model.eval_order()? {
        let node = model.node(id);
        let is_reached = node.inputs.iter().all(|input| front[input.node] || model.node(input.node).op_is::<Const>());
        front[id] = is_reached && has_batch(&node.outputs[0].fact, batch) && keeps_samples_apart(model, node, batch)?;
    }
    Ok(front)
}

/// Returns true if the first dimension is the batch and all others are fixed.
fn has_batch(fact: &TypedFact, batch: &Symbol) -> bool {
    fact.shape.first() == Some(&TDim::Sym(batch.clone())) && fact.shape.iter().skip(1).all(|dim| dim.to_usize().is_ok())
}

/// Returns true if an operation is known to keep the batch in place and samples separate. A constant has
/// the same shape for any batch, so the operation can only broadcast it.
fn keeps_samples_apart(model: &TypedModel, node: &TypedNode, batch: &Symbol) -> TractResult<bool> {
    if node.outputs.len() != 1 {
        return Ok(false);
    }
    if let Some(op) = node.op_as::<EinSum>() {
        let rank = node.outputs[0].fact.rank();
        let axis = op.axes.axis((InOut::Out(0), 0))?;
        let is_sample = |(slot, input): (usize, &OutletId)| {
            let fact = model.outlet_fact(*input)?;
            let places = &axis.inputs[slot];
            Ok(if has_batch(fact, batch) { places[..] == [0] } else { fact.konst.is_some() && places.is_empty() })
        };
        let apart = node.inputs.iter().enumerate().map(is_sample).collect::<TractResult<Vec<bool>>>()?;
        return Ok(rank > 2 && apart.iter().all(|apart| *apart));
    }
    let op = &node.op;
    Ok(op.is::<TypedSource>()
        || op.is::<ConvBlock>()
        || op.is::<Pointwise>()
        || op.is::<Grouped>()
        || op.is::<Expand>()
        || op.is::<FastMaxPool>()
        || op.is::<TypedBinOp>()
        || op.is::<ElementWiseOp>()
        || op.is::<Cast>()
        || op.downcast_ref::<Conv>().is_some_and(|op| op.pool_spec.data_format.has_n() && is_first(model, node, batch))
        || op
            .downcast_ref::<Deconv>()
            .is_some_and(|op| op.pool_spec.data_format.has_n() && is_first(model, node, batch))
        || op.downcast_ref::<MaxPool>().is_some_and(|op| op.pool_spec.data_format.has_n())
        || op.downcast_ref::<SumPool>().is_some_and(|op| op.pool_spec.data_format.has_n())
        || op.downcast_ref::<TypedConcat>().is_some_and(|op| op.axis > 0)
        || op.downcast_ref::<Slice>().is_some_and(|op| op.axis > 0)
        || op.downcast_ref::<Downsample>().is_some_and(|op| op.axis > 0)
        || op.downcast_ref::<Pad>().is_some_and(|op| op.pads[0] == (0, 0))
        || op.downcast_ref::<Reduce>().is_some_and(|op| !op.axes.contains(&0))
        || op.downcast_ref::<Softmax>().is_some_and(|op| !op.axes.contains(&0))
        || op.downcast_ref::<AxisOp>().is_some_and(|op| match op {
            AxisOp::Add(axis) | AxisOp::Rm(axis) | AxisOp::Reshape(axis, ..) => *axis > 0,
            AxisOp::Move(from, to) => *from > 0 && *to > 0,
        }))
}

/// Returns true if the batch is in the data of a convolution, not in its kernel.
fn is_first(model: &TypedModel, node: &TypedNode, batch: &Symbol) -> bool {
    node.inputs[1..]
        .iter()
        .all(|input| model.outlet_fact(*input).is_ok_and(|fact| fact.konst.is_some() && !has_batch(fact, batch)))
}

#[cfg(test)]
mod tests {
    use tract_onnx::tract_core::ops::cnn::{PaddingSpec, PoolSpec};
    use tract_onnx::tract_core::ops::math;
    use tract_onnx::tract_core::ops::nn::{DataFormat, Reducer, SoftmaxKind};

    use super::super::check::{Chain, assert_same, count, window};
    use super::*;

    fn convolution(inputs: usize, outputs: usize, kernel: usize) -> PoolSpec {
        PoolSpec { output_channels: outputs, ..window(inputs, [kernel; 2], [1, 1], PaddingSpec::SameUpper) }
    }

    /// A convolution of channels last, which stays with tract.
    fn channels_last() -> Chain {
        let spec = PoolSpec { data_format: DataFormat::NHWC, ..convolution(6, 6, 3) };
        Chain::new(&[4, 6, 6]).convolved(spec, 1).relu()
    }

    #[test]
    fn the_front_ends_before_the_dense_layer() {
        let mut chain = channels_last().convolved(convolution(4, 6, 1), 1);
        chain = chain.then(AxisOp::Reshape(1, tvec![6.to_dim(), 6.to_dim(), 6.to_dim()], tvec![216.to_dim()]), &[]);
        let weights = chain.random(&[216, 5]);
        let weights = chain.constant(weights);
        let axes = "mk,kn->mn".parse().unwrap();
        let dense = EinSum { axes, operating_dt: f32::datum_type(), q_params: None };
        let rewritten = assert_same(&chain.then(dense, &[weights]).finish());
        assert_eq!((count(&rewritten, "EachSample"), count(&rewritten, "EinSum")), (1, 1));
    }

    #[test]
    fn several_values_may_leave_the_front() {
        let mut chain = channels_last();
        let first = chain.last;
        let input = chain.model.inputs[0];
        chain = chain.convolved(convolution(4, 4, 3), 2).then(math::add(), &[input]);
        chain = chain.then(TypedConcat { axis: 1 }, &[first]);
        let last = chain.last;
        chain.model.select_output_outlets(&[first, last, input]).unwrap();
        let rewritten = assert_same(&chain.model.into_decluttered().unwrap());
        assert_eq!(count(&rewritten, "EachSample"), 1);
    }

    #[test]
    fn what_mixes_samples_stays_outside() {
        let softmax = Softmax { axes: tvec![0], quant_output_dt: None, kind: SoftmaxKind::default() };
        let sum = Reduce { axes: tvec![0], reducer: Reducer::Sum };
        let mixed = [
            channels_last().then(softmax, &[]),
            channels_last().then(sum, &[]),
            channels_last().then(AxisOp::Move(0, 1), &[]),
        ];
        for (chain, name) in mixed.into_iter().zip(["Softmax", "Reduce<Sum>", "MoveAxis"]) {
            let rewritten = assert_same(&chain.finish());
            assert_eq!((count(&rewritten, "EachSample"), count(&rewritten, name)), (1, 1), "{name}");
        }
    }

    #[test]
    fn small_covered_graphs_run_as_a_batch() {
        let chain = Chain::new(&[1, 8, 8]).convolved(convolution(1, 4, 3), 1).relu();
        let expected = usize::from(crate::simd::lanes() == 1);
        assert_eq!(count(&assert_same(&chain.finish()), "EachSample"), expected);
    }
}
