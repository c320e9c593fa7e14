//! Folds the product after a convolution by groups, such as that of a batch norm, into its weights. tract folds those
//! after other convolutions.

use tract_onnx::tract_core::model::Rewriter;
use tract_onnx::tract_core::ops::cnn::{Conv, KernelFormat};
use tract_onnx::tract_core::ops::math::Mul;
use tract_onnx::tract_core::ops::nn::DataFormat;
use tract_onnx::tract_hir::internal::*;

use super::graph::{by_channel, floats, only_reader};

type Rewritten = TractResult<Option<TypedModelPatch>>;

pub(super) fn rewrite(model: &mut TypedModel) -> TractResult<()> {
    Rewriter::default().with_rule_for("scaled-convolution", convolution).rewrite(&(), model)
}

fn convolution(_: &(), model: &TypedModel, node: &TypedNode, _: &str, op: &Conv) -> Rewritten {
    let &[input, weights, bias] = &node.inputs[..] else { return Ok(None) };
    let is_ours = op.q_params.is_none()
        && op.kernel_fmt == KernelFormat::OIHW
        && op.pool_spec.data_format == DataFormat::NCHW
        && node.outputs[0].fact.datum_type == f32::datum_type();
    let (Some(weights), Some(bias)) = (floats(model, weights)?, floats(model, bias)?) else { return Ok(None) };
    let channels = op.output_channels();
    if !is_ours || channels == 0 || weights.len() == 0 || (bias.len() != channels && bias.len() != 1) {
        return Ok(None);
    }
    let Some(next) = only_reader(model, node)? else { return Ok(None) };
    let Some(factors) = by_channel::<Mul>(model, next, channels)? else { return Ok(None) };
    let mut values = weights.try_as_plain_ram()?.as_slice::<f32>()?.to_vec();
    for (values, factor) in values.chunks_exact_mut(weights.len() / channels).zip(&factors) {
        values.iter_mut().for_each(|value| *value *= factor);
    }
    let bias = bias.try_as_plain_ram()?;
    let bias: Vec<f32> = bias.as_slice::<f32>()?.iter().cycle().zip(&factors).map(|(bias, by)| bias * by).collect();
    let mut patch = TypedModelPatch::default();
    let mut inputs = patch.taps(model, &[input])?;
    inputs.push(patch.add_const(format!("{}.weights", node.name), Tensor::from_shape(weights.shape(), &values)?)?);
    inputs.push(patch.add_const(format!("{}.bias", node.name), tensor1(&bias))?);
    let output = patch.wire_node(&node.name, op.clone(), &inputs)?;
    patch.shunt_outside(model, next.id.into(), output[0])?;
    Ok(Some(patch))
}

#[cfg(test)]
mod tests {
    use tract_onnx::tract_core::ops::cnn::PaddingSpec;
    use tract_onnx::tract_core::ops::math;

    use super::super::check::{Chain, assert_same, count, window};
    use crate::simd::lanes;

    /// Appends a batch norm, as tract writes it.
    fn normed(mut chain: Chain, channels: usize) -> Chain {
        let [scale, shift] = [chain.random(&[1, channels, 1, 1]), chain.random(&[1, channels, 1, 1])];
        let [scale, shift] = [chain.constant(scale), chain.constant(shift)];
        chain.then(math::mul(), &[scale]).then(math::add(), &[shift])
    }

    #[test]
    fn a_norm_after_every_kind_of_convolution_is_folded() {
        for (kernel, groups) in [(3, 1), (1, 1), (3, 6), (3, 2), (1, 3)] {
            let spec = window(6, [kernel; 2], [1, 1], PaddingSpec::SameUpper);
            let chain = normed(Chain::new(&[6, 8, 9]).convolved(spec, groups), 6).relu();
            let rewritten = assert_same(&chain.finish());
            if lanes() > 1 {
                assert_eq!(rewritten.nodes.len(), 2, "kernel {kernel}, groups {groups}: {rewritten}");
            }
        }
    }

    #[test]
    fn what_is_no_factor_for_a_channel_stays() {
        let spec = || window(6, [3; 2], [1, 1], PaddingSpec::SameUpper);
        let mut chain = Chain::new(&[6, 8, 9]).convolved(spec(), 3);
        let columns = chain.random(&[1, 1, 1, 9]);
        let columns = chain.constant(columns);
        let rewritten = assert_same(&chain.then(math::mul(), &[columns]).finish());
        assert_eq!(count(&rewritten, "Mul"), 1);
        let chain = Chain::new(&[6, 8, 9]).convolved(spec(), 3);
        let convolved = chain.last;
        let mut chain = normed(chain, 6);
        chain.model.select_output_outlets(&[convolved, chain.last]).unwrap();
        let rewritten = assert_same(&chain.model.into_decluttered().unwrap());
        assert_eq!(count(&rewritten, "Mul"), 1, "others read the convolution");
    }
}
