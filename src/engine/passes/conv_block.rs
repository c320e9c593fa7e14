//! A convolution, its activation and the max-pooling after it as one operation. It works image by image and
//! row by row, so that each step reads the output of the previous one from the nearest cache.

use pulp::{Simd, WithSimd};
use tract_onnx::tract_core::ops::cnn::PoolSpec;
use tract_onnx::tract_hir::internal::*;

use super::conv_rows::{Row, VECTORS};
use super::cost;
use super::epilogue::{Activation, Epilogue};
use super::image::Image;
use super::max_pool::Windows;
use crate::simd::{dispatch, lanes};

/// The operation. It covers f32, NCHW, two spatial dimensions and one group; the pooling has no dilation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ConvBlock {
    pub(super) conv: PoolSpec,
    /// For each block of channels and each tap, the weights of the channels of the block.
    pub(super) weights: Arc<Tensor>,
    pub(super) epilogue: Epilogue,
    pub(super) pool: Option<PoolSpec>,
}

impl ConvBlock {
    /// Creates a bare convolution from weights `[outputs, inputs, height, width]` and one bias per output.
    pub(super) fn new(conv: PoolSpec, weights: &[f32], bias: &[f32]) -> Self {
        let channels = bias.len();
        let taps = weights.len() / channels;
        let padded = channels.next_multiple_of(lanes());
        let mut packed = Vec::with_capacity(padded * taps);
        let wide = VECTORS * lanes();
        for first in (0..padded).step_by(wide) {
            for tap in 0..taps {
                let block = first..padded.min(first + wide);
                packed.extend(block.map(|c| weights.get(c * taps + tap).copied().unwrap_or_default()));
            }
        }
        let epilogue = Epilogue::new(bias, lanes());
        Self { conv, weights: Arc::new(tensor1(&packed)), epilogue, pool: None }
    }

    fn output_shape<D: DimLike>(&self, input: &[D]) -> TractResult<TVec<D>> {
        let conv = self.conv.output_shape(input)?.shape;
        self.pool.as_ref().map_or(Ok(conv.clone()), |pool| Ok(pool.output_shape(&conv)?.shape))
    }
}

impl Op for ConvBlock {
    fn name(&self) -> StaticName {
        "ConvBlock".into()
    }

    fn validation(&self) -> Validation {
        Validation::Rounding
    }

    op_as_typed_op!();
}

impl TypedOp for ConvBlock {
    fn output_facts(&self, inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        Ok(tvec!(f32::fact(self.output_shape(&inputs[0].shape)?)))
    }

    fn cost(&self, inputs: &[&TypedFact]) -> TractResult<TVec<(Cost, TDim)>> {
        cost::convolution(&self.conv, 1, &inputs[0].shape)
    }

    as_op!();
}

impl EvalOp for ConvBlock {
    op_out_of_plan!();

    fn eval(&self, _ctx: &EvalContext, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        let input = args_1!(inputs);
        let conv = self.conv.output_shape(input.shape())?.shape;
        let shape = self.output_shape(input.shape())?;
        let mut output = Tensor::zero::<f32>(&shape)?;
        let &[_, channels, height, width] = input.shape() else { bail!("a convolution needs four dimensions") };
        if input.len() == 0 || output.len() == 0 {
            return Ok(tvec!(output.into_tvalue()));
        }
        let convolved = [conv[2], conv[3]];
        ensure!(convolved[0] > 0 && convolved[1] > 0, "the kernel is larger than the image");
        let image = Image::new(&self.conv, [channels, height, width], convolved);
        let image = image.context("the stride, dilation or padding is too large for the image")?;
        dispatch(Images {
            image: &image,
            convolved,
            windows: self.pool.as_ref().map(|pool| Windows::of(pool, convolved)),
            activation: self.epilogue.activation,
            channels: shape[1],
            rows: shape[2],
            columns: shape[3],
            weights: self.weights.try_as_plain_ram()?.as_slice()?,
            bias: self.epilogue.bias()?.as_slice()?,
            inputs: input.try_as_plain_ram()?.as_slice::<f32>()?.chunks_exact(channels * height * width),
            outputs: output.try_as_plain_ram_mut()?.as_slice_mut()?,
        });
        Ok(tvec!(output.into_tvalue()))
    }
}

struct Images<'a> {
    image: &'a Image,
    /// Height and width after the convolution, before the pooling.
    convolved: [usize; 2],
    windows: Option<[Windows; 2]>,
    activation: Option<Activation>,
    channels: usize,
    rows: usize,
    columns: usize,
    weights: &'a [f32],
    bias: &'a [f32],
    inputs: std::slice::ChunksExact<'a, f32>,
    outputs: &'a mut [f32],
}

impl WithSimd for Images<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let plane = self.rows * self.columns;
        let wide = VECTORS * S::F32_LANES;
        let mut buffer = self.image.buffer();
        // A ring of the rows that one window needs: row r is at r modulo the height of a window.
        let ring = self.windows.map_or(1, |[down, _]| down.kernel.min(self.convolved[0]));
        let mut convolved = vec![0.0; ring * self.convolved[1] * wide];
        let mut pooled = vec![0.0; self.columns * wide];
        for (input, output) in self.inputs.zip(self.outputs.chunks_exact_mut(self.channels * plane)) {
            let input = self.image.arrange(input, &mut buffer);
            let weights = self.weights.chunks(self.image.taps.len() * wide);
            let blocks = weights.zip(self.bias.chunks(wide)).zip(output.chunks_mut(plane * wide));
            for ((weights, bias), output) in blocks {
                let width = bias.len();
                let row_len = self.convolved[1] * width;
                let convolve = |row: usize, output: &mut [f32]| {
                    let input = &input[self.image.row(row)..];
                    let pixels = self.convolved[1];
                    Row { weights, bias, taps: &self.image.taps, input, output, pixels, activation: self.activation }
                        .compute(simd, width / S::F32_LANES);
                };
                let mut next = 0;
                for row in 0..self.rows {
                    let result = match self.windows {
                        None => {
                            convolve(row, &mut convolved);
                            &convolved
                        }
                        Some([down, across]) => {
                            let window = down.range(row);
                            for row in window.start.max(next)..window.end {
                                convolve(row, &mut convolved[row % ring * row_len..][..row_len]);
                                next = row + 1;
                            }
                            for (column, most) in pooled.chunks_exact_mut(width).enumerate().take(self.columns) {
                                let places = across.range(column);
                                let places = places.start * width..places.end * width;
                                let rows = window.clone().map(|row| &convolved[row % ring * row_len..][places.clone()]);
                                pool(simd, rows, width, most);
                            }
                            &pooled
                        }
                    };
                    let planes = output.chunks_exact_mut(plane);
                    for (channel, plane) in planes.enumerate() {
                        let to = &mut plane[row * self.columns..][..self.columns];
                        for (to, from) in to.iter_mut().zip(result.chunks_exact(width)) {
                            *to = from[channel];
                        }
                    }
                }
            }
        }
    }
}

/// Computes the maximum of each channel over the pixels of some rows. Like tract, it ignores NaN.
#[inline(always)]
fn pool<'a, S: Simd>(simd: S, rows: impl Iterator<Item = &'a [f32]>, width: usize, most: &mut [f32]) {
    let most = S::as_mut_simd_f32s(most).0;
    most.fill(simd.splat_f32s(f32::NEG_INFINITY));
    for row in rows {
        for pixel in row.chunks_exact(width) {
            for (most, &value) in most.iter_mut().zip(S::as_simd_f32s(pixel).0) {
                *most = simd.max_f32s(value, *most);
            }
        }
    }
}
