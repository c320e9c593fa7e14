//! Finds the convolutions and poolings that our operations cover, and fuses the operations after them.

use tract_onnx::tract_core::model::Rewriter;
use tract_onnx::tract_core::ops::binary::TypedBinOp;
use tract_onnx::tract_core::ops::cnn::{Conv, KernelFormat, MaxPool, PoolSpec};
use tract_onnx::tract_core::ops::einsum::EinSum;
use tract_onnx::tract_core::ops::math::{Add, Mul};
use tract_onnx::tract_hir::internal::*;

use super::average;
use super::conv_block::ConvBlock;
use super::epilogue::Epilogue;
use super::expand::Expand;
use super::graph::{by_channel, floats, is_covered, is_float_maps, only_reader, output_channels, plane};
use super::grouped::Grouped;
use super::image::Image;
use super::max_pool::FastMaxPool;
use super::planes::Planes;
use super::pointwise::Pointwise;
use crate::simd::lanes;

type Rewritten = TractResult<Option<TypedModelPatch>>;

pub(super) fn rewrite(model: &mut TypedModel) -> TractResult<()> {
    // On a machine without vectors the kernels of tract are faster.
    if lanes() > 1 {
        Rewriter::default()
            .with_rule_for("convolution", convolution)
            .with_rule_for("average", average::rewrite)
            .with_rule_for("after-convolution", after_convolution)
            .with_rule_for("after-grouped", after_grouped)
            .with_rule_for("pointwise", pointwise)
            .with_rule_for("after-pointwise", after_pointwise)
            .rewrite(&(), model)?;
    }
    // When both have their activations.
    Rewriter::default().with_rule_for("expand", expand).rewrite(&(), model)?;
    // Only the poolings that are not part of a convolution by now.
    Rewriter::default().with_rule_for("max-pool", max_pool).rewrite(&(), model)
}

fn convolution(_: &(), model: &TypedModel, node: &TypedNode, _: &str, op: &Conv) -> Rewritten {
    let &[input, weights, bias] = &node.inputs[..] else { return Ok(None) };
    let (Some(weights), Some(bias)) = (floats(model, weights)?, floats(model, bias)?) else { return Ok(None) };
    let is_ours = is_covered(&op.pool_spec, model.outlet_fact(input)?)
        && op.q_params.is_none()
        && op.kernel_fmt == KernelFormat::OIHW;
    let channels = op.output_channels();
    let is_even = op.group > 0 && channels.is_multiple_of(op.group) && op.input_channels().is_multiple_of(op.group);
    if !is_ours || !is_even || channels == 0 || weights.len() == 0 || !has_layout(model, node, op)? {
        return Ok(None);
    }
    let bias = match bias.try_as_plain_ram()?.as_slice::<f32>()? {
        &[same] => vec![same; channels],
        each => each.to_vec(),
    };
    ensure!(bias.len() == channels, "the bias does not match the channels");
    let mut weights = weights.try_as_plain_ram()?.as_slice::<f32>()?.to_vec();
    let input = match scaled(model, input)? {
        Some((input, scale)) => {
            weights.iter_mut().for_each(|weight| *weight *= scale);
            input
        }
        None => input,
    };
    let inputs = [input];
    if op.group == 1 {
        let block = ConvBlock::new(op.pool_spec.clone(), &weights, &bias);
        return TypedModelPatch::replace_single_op(model, node, &inputs, block).map(Some);
    }
    if is_pointwise(op, &model.outlet_fact(input)?.shape) {
        let width = op.input_channels() / op.group;
        let block = Pointwise::new(op.group, (channels, width), |output, input| weights[output * width + input]);
        let block = block.with(Epilogue::new(&bias, 1));
        return TypedModelPatch::replace_single_op(model, node, &inputs, block).map(Some);
    }
    let block = Grouped::new(op.pool_spec.clone(), op.group, &weights, &bias);
    TypedModelPatch::replace_single_op(model, node, &inputs, block).map(Some)
}

/// Returns true if the kernel for a covered convolution can lay out the feature maps without much more memory than they
/// have. Their height and width are known here, only the batch may be open.
fn has_layout(model: &TypedModel, node: &TypedNode, op: &Conv) -> TractResult<bool> {
    let (input, output) = (&model.outlet_fact(node.inputs[0])?.shape, &node.outputs[0].fact.shape);
    let (Some(size), Some(output)) = (plane(input), plane(output)) else { return Ok(false) };
    Ok(if op.group == 1 {
        Image::covers(&op.pool_spec, [op.input_channels(), size[0], size[1]], output)
    } else {
        Planes::covers(&op.pool_spec, size, output)
    })
}

/// Returns true for a kernel of one pixel that passes over every pixel of an image with enough of them.
fn is_pointwise(op: &Conv, input: &[TDim]) -> bool {
    let sizes: Vec<usize> = input.iter().skip(2).filter_map(|dim| dim.to_usize().ok()).collect();
    let spec = &op.pool_spec;
    let is_one = |sizes: &[usize]| sizes.iter().all(|size| *size == 1);
    let pads = spec.computed_padding(&sizes);
    is_one(&spec.kernel_shape)
        && is_one(&spec.strides())
        && pads.iter().all(|pad| pad.pad_before == 0 && pad.pad_after == 0)
        && sizes.iter().product::<usize>() >= lanes()
}

fn after_grouped(_: &(), model: &TypedModel, node: &TypedNode, _: &str, op: &Grouped) -> Rewritten {
    let Some(next) = only_reader(model, node)? else { return Ok(None) };
    let Some(epilogue) = op.epilogue.with(model, next)? else { return Ok(None) };
    TypedModelPatch::fuse_with_next(model, node, op.clone().with(epilogue)).map(Some)
}

/// Returns the other factor and the scalar if an outlet is a product with a scalar constant that only one
/// node reads.
fn scaled(model: &TypedModel, outlet: OutletId) -> TractResult<Option<(OutletId, f32)>> {
    let node = model.node(outlet.node);
    let is_product = node.op_as::<TypedBinOp>().is_some_and(|op| op.0.is::<Mul>());
    if !is_product || only_reader(model, node)?.is_none() {
        return Ok(None);
    }
    for (input, factor) in [(0, 1), (1, 0)] {
        let (input, factor) = (node.inputs[input], model.outlet_fact(node.inputs[factor])?);
        let same = model.outlet_fact(input)?.shape == model.outlet_fact(outlet)?.shape;
        if let (true, Some(factor)) = (same, factor.konst.as_ref().filter(|factor| factor.len() == 1)) {
            return Ok(Some((input, factor.cast_to_scalar::<f32>()?)));
        }
    }
    Ok(None)
}

fn after_convolution(_: &(), model: &TypedModel, node: &TypedNode, _: &str, op: &ConvBlock) -> Rewritten {
    let Some(next) = only_reader(model, node)? else { return Ok(None) };
    if op.pool.is_some() {
        return Ok(None);
    }
    let block = if let Some(epilogue) = op.epilogue.with(model, next)? {
        ConvBlock { epilogue, ..op.clone() }
    } else if let Some(spec) = coverable(model, next)?.filter(|spec| spec.dilations().iter().all(|step| *step == 1)) {
        ConvBlock { pool: Some(spec.clone()), ..op.clone() }
    } else {
        return Ok(None);
    };
    TypedModelPatch::fuse_with_next(model, node, block).map(Some)
}

/// Replaces a convolution with a kernel of one pixel, which tract expresses as a matrix product.
fn pointwise(_: &(), model: &TypedModel, node: &TypedNode, _: &str, op: &EinSum) -> Rewritten {
    let &[input, weights] = &node.inputs[..] else { return Ok(None) };
    let (maps, Some(weights)) = (model.outlet_fact(input)?, floats(model, weights)?) else { return Ok(None) };
    let is_ours = maps.rank() > 2 && weights.rank() == 2 && op.q_params.is_none() && is_float_maps(maps);
    let pixels: usize = maps.shape.iter().skip(2).filter_map(|dim| dim.to_usize().ok()).product();
    if !is_ours || node.outputs[0].fact.rank() != maps.rank() || pixels < lanes() {
        return Ok(None);
    }
    let Some(outputs_axis) = output_channels(&op.axes, maps.rank())? else { return Ok(None) };
    let (outputs, inputs) = (weights.shape()[outputs_axis], weights.shape()[1 - outputs_axis]);
    let values = weights.try_as_plain_ram()?;
    let values = values.as_slice::<f32>()?;
    let block = Pointwise::new(1, (outputs, inputs), |output, input| {
        values[if outputs_axis == 0 { output * inputs + input } else { input * outputs + output }]
    });
    TypedModelPatch::replace_single_op(model, node, &[input], block).map(Some)
}

fn after_pointwise(_: &(), model: &TypedModel, node: &TypedNode, _: &str, op: &Pointwise) -> Rewritten {
    let Some(next) = only_reader(model, node)? else { return Ok(None) };
    if let Some(epilogue) = op.epilogue.with(model, next)? {
        return TypedModelPatch::fuse_with_next(model, node, op.clone().with(epilogue)).map(Some);
    }
    let factors = by_channel::<Mul>(model, next, op.outputs)?;
    if let Some(factors) = factors.filter(|_| !op.adds && op.epilogue.activation.is_none()) {
        return TypedModelPatch::fuse_with_next(model, node, op.clone().times(&factors)?).map(Some);
    }
    let is_sum = next.op_as::<TypedBinOp>().is_some_and(|op| op.0.is::<Add>());
    let Some(other) = next.inputs.iter().find(|input| input.node != node.id) else { return Ok(None) };
    let same = model.outlet_fact(*other)?.shape == node.outputs[0].fact.shape;
    if !is_sum || !same || op.adds || op.epilogue.activation.is_some() {
        return Ok(None);
    }
    let mut patch = TypedModelPatch::default();
    let inputs = patch.taps(model, &[node.inputs[0], *other])?;
    let sum = patch.wire_node(&node.name, op.clone().adding(), &inputs)?;
    patch.shunt_outside(model, next.id.into(), sum[0])?;
    Ok(Some(patch))
}

fn expand(_: &(), model: &TypedModel, node: &TypedNode, _: &str, op: &Pointwise) -> Rewritten {
    let Some(next) = only_reader(model, node)? else { return Ok(None) };
    let Some(depthwise) = next.op_as::<Grouped>() else { return Ok(None) };
    let sizes = node.outputs[0].fact.shape.iter().skip(1).map(|dim| dim.to_usize().ok());
    match Expand::new(op, depthwise, sizes.product::<Option<usize>>().unwrap_or(0)) {
        Some(expand) => TypedModelPatch::fuse_with_next(model, node, expand).map(Some),
        None => Ok(None),
    }
}

/// Returns the window of a max-pooling that our operations cover.
fn coverable<'a>(model: &TypedModel, node: &'a TypedNode) -> TractResult<Option<&'a PoolSpec>> {
    let Some(op) = node.op_as::<MaxPool>() else { return Ok(None) };
    let is_ours = op.with_index_outputs.is_none() && is_covered(&op.pool_spec, model.outlet_fact(node.inputs[0])?);
    Ok(is_ours.then_some(&op.pool_spec))
}

fn max_pool(_: &(), model: &TypedModel, node: &TypedNode, _: &str, _: &MaxPool) -> Rewritten {
    coverable(model, node)?
        .map(|spec| TypedModelPatch::replace_single_op(model, node, &node.inputs, FastMaxPool(spec.clone())))
        .transpose()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tract_onnx::tract_core::ops::cnn::PaddingSpec;

    use super::super::check::{Chain, any_window, assert_same, count, fits, window};
    use super::*;

    fn valid(channels: usize, kernel: usize, stride: usize) -> PoolSpec {
        window(channels, [kernel; 2], [stride; 2], PaddingSpec::Valid)
    }

    fn convolution(inputs: usize, outputs: usize) -> PoolSpec {
        PoolSpec { output_channels: outputs, ..valid(inputs, 3, 1) }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]

        #[test]
        fn any_convolution_gives_what_tract_gives(
            (inputs, outputs) in (1usize..4, 1usize..70),
            size in [1usize..20, 1usize..40],
            (spec, pool) in (any_window(1, false), prop::option::of(any_window(1, true))),
            (scale, relu) in (any::<bool>(), any::<bool>()),
        ) {
            let spec = PoolSpec { input_channels: inputs, output_channels: outputs, ..spec };
            prop_assume!(fits(&spec, &size));
            let mut chain = Chain::new(&[inputs, size[0], size[1]]);
            if scale {
                chain = chain.scaled(0.25);
            }
            chain = chain.convolved(spec.clone(), 1);
            if relu {
                chain = chain.relu();
            }
            if let Some(pool) = pool {
                let size: Vec<usize> = spec.computed_padding(&size).iter().map(|axis| axis.convoluted).collect();
                prop_assume!(fits(&pool, &size));
                chain = chain.max_pooled(PoolSpec { input_channels: outputs, output_channels: outputs, ..pool });
            }
            assert_same(&chain.finish());
        }
    }

    #[test]
    fn a_layer_becomes_one_operation() {
        let chain =
            Chain::new(&[3, 12, 12]).scaled(0.5).convolved(convolution(3, 40), 1).relu().max_pooled(valid(40, 2, 2));
        let rewritten = assert_same(&chain.finish());
        let left: Vec<_> = rewritten.nodes.iter().map(|node| node.op.name()).collect();
        let expected =
            if lanes() > 1 { vec!["Source", "ConvBlock"] } else { left.iter().map(|name| &**name).collect() };
        assert_eq!(left, expected);
    }

    #[test]
    fn what_others_read_is_not_fused() {
        let mut chain = Chain::new(&[3, 12, 12]).scaled(0.5);
        let scaled = chain.last;
        chain = chain.convolved(convolution(3, 8), 1);
        let convolved = chain.last;
        chain = chain.relu().max_pooled(valid(8, 2, 2));
        let pooled = chain.last;
        chain.model.select_output_outlets(&[scaled, convolved, pooled]).unwrap();
        let rewritten = assert_same(&chain.model.into_decluttered().unwrap());
        assert_eq!((count(&rewritten, "Mul"), count(&rewritten, "Max")), (1, 1));
    }

    #[test]
    fn bounds_are_fused_in_their_order() {
        let layer = || Chain::new(&[3, 12, 12]).convolved(convolution(3, 8), 1);
        let left = |chain: Chain| {
            let rewritten = assert_same(&chain.finish());
            (count(&rewritten, "Max"), count(&rewritten, "Min"))
        };
        let expected = |fused, tract| if lanes() > 1 { fused } else { tract };
        assert_eq!(left(layer().relu().at_most(6.0)), expected((0, 0), (1, 1)));
        // An upper bound below the lower one, and one that has none before it, stay with tract.
        assert_eq!(left(layer().relu().at_most(-1.0)), expected((0, 1), (1, 1)));
        assert_eq!(left(layer().at_most(0.5).relu()), (1, 1));
    }

    #[test]
    fn a_pointwise_convolution_by_groups_becomes_one_operation() {
        let spec = PoolSpec { output_channels: 30, ..valid(12, 1, 1) };
        let chain = Chain::new(&[12, 7, 9]).convolved(spec, 3).relu();
        let rewritten = assert_same(&chain.finish());
        assert_eq!(count(&rewritten, "Pointwise"), usize::from(lanes() > 1));
    }

    #[test]
    fn what_would_take_too_much_memory_stays_with_tract() {
        let stride = |step| window(2, [3; 2], [step; 2], PaddingSpec::Valid);
        let dilation = |step| PoolSpec {
            dilations: Some(tvec![step; 2]),
            ..window(2, [3; 2], [1; 2], PaddingSpec::Explicit(tvec![step; 2], tvec![step; 2]))
        };
        for (huge, usual) in [(stride(1_000_000), stride(2)), (dilation(100_000), dilation(3))] {
            for (group, ours) in [(1, "ConvBlock"), (2, "GroupedConv")] {
                let model = Chain::new(&[2, 8, 8]).convolved(huge.clone(), group).finish();
                // Without groups tract itself may write all padding, so that one is not run.
                let left = if group == 1 { super::super::speed_up(model).unwrap() } else { assert_same(&model) };
                assert_eq!(count(&left, ours), 0, "{left}");
                let left = assert_same(&Chain::new(&[2, 8, 8]).convolved(usual.clone(), group).finish());
                assert_eq!(count(&left, ours), usize::from(lanes() > 1), "{left}");
            }
        }
    }

    #[test]
    fn a_pooling_much_larger_than_its_image_needs_no_more_rows() {
        let padding = PaddingSpec::Explicit(tvec![9_999, 0], tvec![9_999, 0]);
        let pool = window(4, [10_000, 1], [5_000, 1], padding);
        let chain = Chain::new(&[2, 8, 8]).convolved(PoolSpec { output_channels: 4, ..valid(2, 3, 1) }, 1);
        assert_same(&chain.max_pooled(pool).finish());
    }

    #[test]
    fn wide_rows_and_many_channels_are_tiled() {
        let chain = Chain::new(&[2, 5, 131]).convolved(convolution(2, 100), 1).convolved(convolution(100, 33), 1);
        assert_same(&chain.finish());
    }
}
