//! The arithmetic of our operations, as tract counts it.

use tract_onnx::tract_core::ops::cnn::PoolSpec;
use tract_onnx::tract_hir::internal::*;

/// Returns the products of a convolution of maps of this shape.
pub(super) fn convolution(conv: &PoolSpec, groups: usize, input: &[TDim]) -> TractResult<TVec<(Cost, TDim)>> {
    let outputs: TDim = conv.output_shape(input)?.shape.iter().product();
    let taps: usize = conv.kernel_shape.iter().product();
    Ok(tvec!((Cost::FMA(f32::datum_type()), outputs * (taps * conv.input_channels / groups))))
}
