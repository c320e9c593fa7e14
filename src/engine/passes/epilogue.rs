//! The last steps of a sum of products before it is written: a bias and an activation.

use pulp::Simd;
use tract_onnx::tract_core::ops::binary::TypedBinOp;
use tract_onnx::tract_core::ops::element_wise::ElementWiseOp;
use tract_onnx::tract_core::ops::math::{Add, Max, Min};
use tract_onnx::tract_core::ops::nn::{HardSwish, Silu};
use tract_onnx::tract_hir::internal::*;

/// The sigmoid beyond this bound is that at the bound, as in tract.
const SIGMOID_BOUND: f32 = 14.5;

/// The step after the bias.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Activation {
    /// The least and the largest result. Like in tract, a result that is no number becomes the least one.
    Clip { low: f32, high: f32 },
    /// The value times its clipped line.
    HardSwish,
    /// The value times its sigmoid.
    Silu,
}

/// No bound is NaN.
impl Eq for Activation {}

impl Activation {
    #[inline(always)]
    pub(super) fn apply<S: Simd>(self, simd: S, values: &mut [S::f32s]) {
        match self {
            Self::Clip { low, high } => {
                for value in values {
                    *value = clip(simd, *value, low, high);
                }
            }
            Self::HardSwish => {
                for value in values {
                    let line = simd.mul_add_f32s(simd.splat_f32s(1.0 / 6.0), *value, simd.splat_f32s(0.5));
                    *value = simd.mul_f32s(*value, within(simd, line, 0.0, 1.0));
                }
            }
            Self::Silu => {
                for value in values {
                    let least = simd.max_f32s(simd.splat_f32s(-SIGMOID_BOUND), *value);
                    *value = simd.mul_f32s(least, sigmoid(simd, *value));
                }
            }
        }
    }
}

#[inline(always)]
fn clip<S: Simd>(simd: S, value: S::f32s, low: f32, high: f32) -> S::f32s {
    simd.min_f32s(simd.max_f32s(value, simd.splat_f32s(low)), simd.splat_f32s(high))
}

/// Moves a value beyond the bounds to the bounds; one that is no number stays so. Of two values of which one is no
/// number, the second is the result where the vectors of a machine do not choose otherwise.
#[inline(always)]
fn within<S: Simd>(simd: S, value: S::f32s, low: f32, high: f32) -> S::f32s {
    simd.min_f32s(simd.splat_f32s(high), simd.max_f32s(simd.splat_f32s(low), value))
}

/// Computes the sigmoid by the quotient of polynomials that tract uses.
#[inline(always)]
fn sigmoid<S: Simd>(simd: S, value: S::f32s) -> S::f32s {
    const ABOVE: [f32; 7] =
        [-4.433_153_4e-18, 1.169_974_4e-14, -1.875_289_6e-11, 4.257_889_5e-8, 4.811_817_6e-5, 0.008_163_842, 0.25];
    const BELOW: [f32; 4] = [3.922_936e-6, 0.001_524_872_4, 0.115_988_67, 1.0];
    let value = within(simd, value, -SIGMOID_BOUND, SIGMOID_BOUND);
    let square = simd.mul_f32s(value, value);
    let above = simd.mul_f32s(polynomial(simd, square, ABOVE), value);
    simd.add_f32s(simd.div_f32s(above, polynomial(simd, square, BELOW)), simd.splat_f32s(0.5))
}

/// Computes a polynomial whose highest power comes first.
#[inline(always)]
fn polynomial<S: Simd, const N: usize>(simd: S, value: S::f32s, factors: [f32; N]) -> S::f32s {
    let mut sum = simd.splat_f32s(0.0);
    for factor in factors {
        sum = simd.mul_add_f32s(sum, value, simd.splat_f32s(factor));
    }
    sum
}

/// A bias for each channel, followed by an activation or not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Epilogue {
    channels: usize,
    bias: Arc<Tensor>,
    pub(super) activation: Option<Activation>,
}

impl Epilogue {
    /// Creates an epilogue without an activation. Zeros fill the bias up to a multiple of `width`.
    pub(super) fn new(bias: &[f32], width: usize) -> Self {
        let mut padded = bias.to_vec();
        padded.resize(bias.len().next_multiple_of(width), 0.0);
        Self { channels: bias.len(), bias: Arc::new(tensor1(&padded)), activation: None }
    }

    pub(super) fn bias(&self) -> TractResult<PlainView<'_>> {
        self.bias.try_as_plain_ram()
    }

    /// Returns this epilogue extended by the operation of `node`, which reads its result; `None` if that
    /// operation is neither an activation nor a bias.
    pub(super) fn with(&self, model: &TypedModel, node: &TypedNode) -> TractResult<Option<Self>> {
        if let Some(op) = node.op_as::<ElementWiseOp>() {
            return Ok(self.activated(op));
        }
        let Some(op) = node.op_as::<TypedBinOp>() else { return Ok(None) };
        for input in &node.inputs {
            let Some(konst) = &model.outlet_fact(*input)?.konst else { continue };
            if op.0.is::<Add>() && self.activation.is_none() {
                return self.plus(konst);
            }
            if konst.len() == 1 && konst.datum_type() == f32::datum_type() {
                return Ok(self.bounded(op, konst.cast_to_scalar::<f32>()?));
            }
        }
        Ok(None)
    }

    fn activated(&self, op: &ElementWiseOp) -> Option<Self> {
        let activation = if op.0.is::<HardSwish>() {
            Activation::HardSwish
        } else if op.0.is::<Silu>() {
            Activation::Silu
        } else {
            return None;
        };
        self.activation.is_none().then(|| Self { activation: Some(activation), ..self.clone() })
    }

    /// An upper bound alone is not covered: it has another result for what is no number.
    fn bounded(&self, op: &TypedBinOp, bound: f32) -> Option<Self> {
        let clip = match self.activation {
            None if op.0.is::<Max>() && !bound.is_nan() => Activation::Clip { low: bound, high: f32::INFINITY },
            Some(Activation::Clip { low, high: f32::INFINITY }) if op.0.is::<Min>() && low <= bound => {
                Activation::Clip { low, high: bound }
            }
            _ => return None,
        };
        Some(Self { activation: Some(clip), ..self.clone() })
    }

    /// Returns this epilogue with its bias times the factors of the channels.
    pub(super) fn times(&self, factors: &[f32]) -> TractResult<Self> {
        let mut bias = self.bias()?.as_slice::<f32>()?.to_vec();
        bias.iter_mut().zip(factors).for_each(|(bias, factor)| *bias *= factor);
        Ok(Self { bias: Arc::new(tensor1(&bias)), ..self.clone() })
    }

    fn plus(&self, konst: &Tensor) -> TractResult<Option<Self>> {
        let is_by_channel =
            konst.shape().iter().enumerate().all(|(axis, dim)| *dim == if axis == 1 { self.channels } else { 1 });
        if konst.rank() < 2 || !is_by_channel || konst.datum_type() != f32::datum_type() {
            return Ok(None);
        }
        let mut bias = self.bias()?.as_slice::<f32>()?.to_vec();
        let more = konst.try_as_plain_ram()?;
        bias.iter_mut().zip(more.as_slice::<f32>()?).for_each(|(bias, more)| *bias += more);
        Ok(Some(Self { bias: Arc::new(tensor1(&bias)), ..self.clone() }))
    }
}

#[cfg(test)]
mod tests {
    use pulp::WithSimd;

    use super::super::check::{Chain, assert_same, count, window};
    use super::*;
    use crate::simd::{dispatch, lanes};

    struct Applied(Activation, f32);

    impl WithSimd for Applied {
        type Output = f32;

        #[inline(always)]
        fn with_simd<S: Simd>(self, simd: S) -> f32 {
            let mut values = vec![self.1; S::F32_LANES];
            self.0.apply(simd, S::as_mut_simd_f32s(&mut values).0);
            values[0]
        }
    }

    #[test]
    fn extreme_values_have_the_results_of_tract() {
        let relu6 = Activation::Clip { low: 0.0, high: 6.0 };
        let (silu, hard_swish) = (Activation::Silu, Activation::HardSwish);
        let infinity = f32::INFINITY;
        for (activation, value, expected) in [
            (relu6, -3.0, 0.0),
            (relu6, 2.5, 2.5),
            (relu6, infinity, 6.0),
            (relu6, f32::NAN, 0.0),
            (hard_swish, -4.0, 0.0),
            (hard_swish, 1.5, 1.125),
            (hard_swish, 7.0, 7.0),
            (hard_swish, infinity, infinity),
            (silu, 0.0, 0.0),
            (silu, infinity, infinity),
        ] {
            let result = dispatch(Applied(activation, value));
            assert!(result == expected || (result - expected).abs() < 1e-6, "{activation:?} of {value}: {result}");
        }
        let far = dispatch(Applied(silu, -infinity));
        assert!((-1e-4..=0.0).contains(&far), "{far}");
        if lanes() > 1 {
            assert!(dispatch(Applied(silu, f32::NAN)).is_nan() && dispatch(Applied(hard_swish, f32::NAN)).is_nan());
        }
    }

    #[test]
    fn activations_are_fused_into_every_kind_of_convolution() {
        let layer = |kernel: usize, groups: usize| {
            let spec = window(12, [kernel; 2], [1, 1], tract_onnx::tract_core::ops::cnn::PaddingSpec::SameUpper);
            Chain::new(&[12, 9, 11]).scaled(8.0).convolved(spec, groups)
        };
        for (kernel, groups) in [(3, 1), (1, 1), (3, 12), (1, 3)] {
            let ops: [Box<dyn TypedOp>; 2] = [
                Box::new(tract_onnx::tract_core::ops::nn::silu::silu()),
                Box::new(tract_onnx::tract_core::ops::nn::hard_swish()),
            ];
            for op in ops {
                let name = op.name().into_owned();
                let rewritten = assert_same(&layer(kernel, groups).then(op, &[]).finish());
                assert_eq!(count(&rewritten, &name), usize::from(lanes() == 1), "{name} after {kernel}, {groups}");
            }
        }
    }
}
