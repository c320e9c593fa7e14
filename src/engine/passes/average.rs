//! Writes sums and averages over windows as depthwise convolutions.

use tract_onnx::tract_core::ops::cnn::{PoolSpec, SumPool};
use tract_onnx::tract_core::ops::math;
use tract_onnx::tract_hir::internal::*;

use super::graph::{is_covered, plane};
use super::grouped::Grouped;
use super::planes::Planes;
use crate::simd::lanes;

/// The most weights of a pooling, one for each tap of each channel; beyond it tract takes less memory, as it has no weights.
const MAX_WEIGHTS: usize = 1 << 20;

/// Replaces a pooling over windows. Where windows reach into the padding, the sums may need different factors; they are
/// those that tract's operation has for an image of ones.
pub(super) fn rewrite(
    _: &(),
    model: &TypedModel,
    node: &TypedNode,
    _: &str,
    op: &SumPool,
) -> TractResult<Option<TypedModelPatch>> {
    let fact = model.outlet_fact(node.inputs[0])?;
    if !is_covered(&op.pool_spec, fact) {
        return Ok(None);
    }
    let input = sizes(&fact.shape[1..])?;
    let &[channels, height, width] = &input[..] else { return Ok(None) };
    let taps = op.pool_spec.kernel_shape.iter().try_fold(1, |taps: usize, size| taps.checked_mul(*size));
    let weights = taps.and_then(|taps| taps.checked_mul(channels)).filter(|weights| *weights <= MAX_WEIGHTS);
    let (Some(weights), Some(output)) = (weights, plane(&node.outputs[0].fact.shape)) else { return Ok(None) };
    if !Planes::covers(&op.pool_spec, [height, width], output) {
        return Ok(None);
    }
    let Some(factors) = factors(op, [height, width])? else { return Ok(None) };
    let spec = PoolSpec { input_channels: channels, output_channels: channels, ..op.pool_spec.clone() };
    let first = factors[0];
    let is_uniform = factors.iter().all(|factor| *factor == first);
    let weights = vec![if is_uniform { first } else { 1.0 }; weights];
    let sums = Grouped::new(spec, channels, &weights, &vec![0.0; channels]);
    let mut patch = TypedModelPatch::default();
    let input = patch.taps(model, &node.inputs)?;
    let mut result = patch.wire_node(&node.name, sums, &input)?;
    if !is_uniform {
        let factors = Tensor::from_shape(&[1, 1, output[0], output[1]], &factors)?;
        let factors = patch.add_const(format!("{}.factors", node.name), factors)?;
        result = patch.wire_node(format!("{}.mean", node.name), math::mul(), &[result[0], factors])?;
    }
    patch.shunt_outside(model, node.id.into(), result[0])?;
    Ok(Some(patch))
}

fn sizes(dims: &[TDim]) -> TractResult<TVec<usize>> {
    dims.iter().map(|dim| Ok(dim.to_usize()?)).collect()
}

/// Returns the factor of the sum of each window; `None` if there are fewer windows than a vector has lanes, or there is
/// one of padding alone.
fn factors(op: &SumPool, size: [usize; 2]) -> TractResult<Option<Vec<f32>>> {
    let [height, width] = size;
    let ones = tensor0(1f32).broadcast_scalar_to_shape(&[1, 1, height, width])?.into_tvalue();
    let pool_spec = PoolSpec { input_channels: 1, output_channels: 1, ..op.pool_spec.clone() };
    let pooled = |normalize| {
        let op = SumPool { pool_spec: pool_spec.clone(), normalize, ..op.clone() };
        let output = op.eval(&EvalContext::out_of_plan(), tvec!(ones.clone()))?.remove(0);
        Ok::<_, TractError>(output.try_as_plain_ram()?.as_slice::<f32>()?.to_vec())
    };
    let sums = pooled(false)?;
    if sums.len() < lanes() || sums.contains(&0.0) {
        return Ok(None);
    }
    let results = if op.normalize { pooled(true)? } else { sums.clone() };
    Ok(Some(results.iter().zip(&sums).map(|(result, sum)| result / sum).collect()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tract_onnx::tract_core::ops::cnn::PaddingSpec;

    use super::super::check::{Chain, any_window, assert_same, count, fits, window};
    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]

        #[test]
        fn any_average_gives_what_tract_gives(
            channels in 1usize..5,
            size in [1usize..24, 1usize..40],
            pool_spec in any_window(1, true),
            (count_include_pad, normalize) in (any::<bool>(), any::<bool>()),
        ) {
            prop_assume!(fits(&pool_spec, &size));
            let pool_spec = PoolSpec { input_channels: channels, output_channels: channels, ..pool_spec };
            let pool = SumPool { pool_spec, count_include_pad, normalize };
            let is_number = factors(&pool, size).unwrap().is_some();
            prop_assume!(is_number);
            let rewritten = assert_same(&Chain::new(&[channels, size[0], size[1]]).then(pool, &[]).finish());
            prop_assert_eq!(count(&rewritten, "GroupedConv"), usize::from(lanes() > 1));
        }
    }

    #[test]
    fn what_would_take_too_much_memory_stays_with_tract() {
        for (step, is_ours) in [(1_000_000_000_000, false), (2, true)] {
            let pool_spec = window(8, [1; 2], [1, step], PaddingSpec::Valid);
            let pool = SumPool { pool_spec, count_include_pad: false, normalize: true };
            let rewritten = assert_same(&Chain::new(&[8, 32, 8]).then(pool, &[]).finish());
            assert_eq!(count(&rewritten, "GroupedConv"), usize::from(is_ours && lanes() > 1), "{rewritten}");
        }
        // Its results are not compared, tract would take long for them.
        let padding = PaddingSpec::Explicit(tvec![249, 249], tvec![250, 250]);
        let pool_spec = window(8, [500; 2], [1; 2], padding);
        let pool = SumPool { pool_spec, count_include_pad: false, normalize: true };
        let rewritten = super::super::speed_up(Chain::new(&[8, 32, 8]).then(pool, &[]).finish()).unwrap();
        assert_eq!(count(&rewritten, "GroupedConv"), 0, "{rewritten}");
    }

    #[test]
    fn an_average_without_padding_is_one_operation() {
        let pool_spec = window(3, [2; 2], [2; 2], PaddingSpec::Valid);
        let pool = SumPool { pool_spec, count_include_pad: false, normalize: true };
        let rewritten = assert_same(&Chain::new(&[3, 8, 8]).then(pool, &[]).finish());
        if lanes() > 1 {
            assert_eq!(rewritten.nodes.len(), 2, "{rewritten}");
        }
    }
}
