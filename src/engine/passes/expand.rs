//! A convolution with a kernel of one pixel and the depthwise one after it, as networks for phones have them: the first
//! makes several times as many channels as there were, and the second convolves each alone. Here a few channels pass
//! through both while they are in a near cache, and the wide feature maps between the two are never written as a whole.

use pulp::{Simd, WithSimd};
use tract_onnx::tract_hir::internal::*;

use super::grouped::{Block, Grouped, WIDEST};
use super::planes::Planes;
use super::pointwise::{Pointwise, Tile, strips, tile_size};
use crate::simd::{dispatch, lanes};

/// The size of the wide feature maps, in numbers, up to which both convolutions are faster apart: the maps stay in a near
/// cache between the two.
const NEAR: usize = 1 << 18;

/// The operation. It covers what [`Pointwise`] and [`Grouped`] do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Expand {
    wide: Pointwise,
    depthwise: Grouped,
}

impl Expand {
    /// Joins two operations with wide feature maps of a `size` between them; `None` if they are faster apart, the first
    /// adds feature maps or has groups, or the second is not depthwise.
    pub(super) fn new(wide: &Pointwise, depthwise: &Grouped, size: usize) -> Option<Self> {
        let is_ours = size > NEAR && wide.groups == 1 && !wide.adds && depthwise.is_depthwise();
        is_ours.then(|| Self { wide: wide.clone(), depthwise: depthwise.clone() })
    }
}

impl Op for Expand {
    fn name(&self) -> StaticName {
        "ExpandDepthwise".into()
    }

    fn validation(&self) -> Validation {
        Validation::Rounding
    }

    op_as_typed_op!();
}

impl TypedOp for Expand {
    fn output_facts(&self, inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        let wide = self.wide.output_facts(inputs)?;
        self.depthwise.output_facts(&[&wide[0]])
    }

    fn cost(&self, inputs: &[&TypedFact]) -> TractResult<TVec<(Cost, TDim)>> {
        let wide = self.wide.output_facts(inputs)?;
        let mut costs = self.wide.cost(inputs)?;
        costs.extend(self.depthwise.cost(&[&wide[0]])?);
        Ok(costs)
    }

    as_op!();
}

impl EvalOp for Expand {
    op_out_of_plan!();

    fn eval(&self, _ctx: &EvalContext, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        let input = args_1!(inputs);
        let &[batch, channels, height, width] = input.shape() else { bail!("a convolution needs four dimensions") };
        let shape = self.depthwise.conv.output_shape(&[batch, self.wide.outputs, height, width])?.shape;
        let mut output = Tensor::zero::<f32>(&shape)?;
        if input.len() > 0 && output.len() > 0 {
            ensure!(height * width >= lanes(), "fewer pixels than a vector holds");
            let planes = Planes::new(&self.depthwise.conv, [height, width], [shape[2], shape[3]]);
            dispatch(Images {
                planes: &planes.context("the stride, dilation or padding is too large for the image")?,
                wide: &self.wide,
                weights: self.wide.weights.try_as_plain_ram()?.as_slice()?,
                bias: self.wide.epilogue.bias()?.as_slice()?,
                depthwise: &self.depthwise,
                depthwise_weights: self.depthwise.weights.try_as_plain_ram()?.as_slice()?,
                depthwise_bias: self.depthwise.epilogue.bias()?.as_slice()?,
                inputs: channels,
                images: input.try_as_plain_ram()?.as_slice()?,
                outputs: output.try_as_plain_ram_mut()?.as_slice_mut()?,
            });
        }
        Ok(tvec!(output.into_tvalue()))
    }
}

struct Images<'a> {
    planes: &'a Planes,
    wide: &'a Pointwise,
    weights: &'a [f32],
    bias: &'a [f32],
    depthwise: &'a Grouped,
    depthwise_weights: &'a [f32],
    depthwise_bias: &'a [f32],
    inputs: usize,
    images: &'a [f32],
    outputs: &'a mut [f32],
}

impl WithSimd for Images<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let planes = self.planes;
        let (pixels, area) = (planes.input_area(), planes.output_area());
        let (widest, width) = tile_size(S::REGISTER_COUNT);
        let taps = planes.taps.len();
        let spare = WIDEST * S::F32_LANES;
        // An image in strips of pixels, in each of which the channels are side by side.
        let mut image = vec![0.0; self.inputs * (pixels + widest * S::F32_LANES)];
        let mut block = vec![0.0; width * pixels];
        let mut plane = vec![0.0; planes.len() + spare];
        let mut sums = vec![0.0; planes.outputs() + spare];
        let row = sums.len();
        let maps = self.images.chunks_exact(self.inputs * pixels);
        for (input, output) in maps.zip(self.outputs.chunks_exact_mut(self.bias.len() * area)) {
            pack::<S>(input, pixels, &mut image);
            let weights = self.weights.chunks_exact(self.inputs * width).zip(self.bias.chunks(width));
            let second = self.depthwise_weights.chunks(taps * width).zip(self.depthwise_bias.chunks(width));
            let blocks = weights.zip(second).zip(output.chunks_mut(width * area));
            for (((weights, bias), (second_weights, second_bias)), output) in blocks {
                let wide = &mut block[..bias.len() * pixels];
                let mut rest = &image[..];
                for (first, vectors) in strips(pixels, S::F32_LANES, widest) {
                    let (strip, others) = rest.split_at(self.inputs * vectors * S::F32_LANES);
                    rest = others;
                    let activation = self.wide.epilogue.activation;
                    Tile { weights, bias, activation, added: None, strip, output: wide, pixels, first }
                        .compute(simd, vectors, width);
                }
                let channels = second_weights.chunks_exact(taps).zip(second_bias.chunks_exact(1));
                let channels = channels.zip(wide.chunks_exact(pixels)).zip(output.chunks_exact_mut(area));
                for (((weights, bias), wide), output) in channels {
                    planes.arrange(wide, &mut plane);
                    let activation = self.depthwise.epilogue.activation;
                    Block { weights, bias, activation, taps: &planes.taps, input: &plane, sums: &mut sums, row }
                        .compute(simd, planes.outputs());
                    planes.gather(&sums, output);
                }
            }
        }
    }
}

/// Copies an image to its strips.
#[inline(always)]
fn pack<S: Simd>(image: &[f32], pixels: usize, to: &mut [f32]) {
    let (widest, _) = tile_size(S::REGISTER_COUNT);
    let channels = image.len() / pixels;
    let mut rest = to;
    for (first, vectors) in strips(pixels, S::F32_LANES, widest) {
        let count = vectors * S::F32_LANES;
        let (strip, others) = rest.split_at_mut(channels * count);
        rest = others;
        for (to, plane) in strip.chunks_exact_mut(count).zip(image.chunks_exact(pixels)) {
            to.copy_from_slice(&plane[first..first + count]);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;
    use tract_onnx::tract_core::ops::cnn::{PaddingSpec, PoolSpec};

    use super::super::check::{Chain, any_window, assert_same, count, fits, window};
    use super::*;

    fn pointwise(inputs: usize, outputs: usize) -> PoolSpec {
        PoolSpec { output_channels: outputs, ..window(inputs, [1; 2], [1; 2], PaddingSpec::Valid) }
    }

    fn numbers(count: usize) -> Vec<f32> {
        (0..count).map(|index| (index * 7919 % 101) as f32 / 50.0 - 1.0).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]

        #[test]
        fn both_convolutions_have_the_bits_that_they_have_apart(
            (batch, inputs, outputs) in (1usize..3, 1usize..9, 2usize..30),
            size in [1usize..20, 1usize..40],
            spec in any_window(1, false),
        ) {
            prop_assume!(fits(&spec, &size) && size[0] * size[1] >= lanes());
            let spec = PoolSpec { input_channels: outputs, output_channels: outputs, ..spec };
            let taps = spec.kernel_shape.iter().product::<usize>();
            let wide = Pointwise::new(1, (outputs, inputs), |o, i| (o * 5 + i * 3) as f32 / 50.0 - 1.0);
            let depthwise = Grouped::new(spec, outputs, &numbers(outputs * taps), &numbers(outputs));
            let expand = Expand::new(&wide, &depthwise, NEAR + 1).unwrap();
            let maps = Tensor::from_shape(&[batch, inputs, size[0], size[1]], &numbers(batch * inputs * size[0] * size[1]));
            let maps = maps.unwrap().into_tvalue();
            let run = |op: &dyn TypedOp, input: TValue| op.eval(&EvalContext::out_of_plan(), tvec!(input)).unwrap().remove(0);
            prop_assert_eq!(run(&expand, maps.clone()), run(&depthwise, run(&wide, maps)));
        }
    }

    #[test]
    fn a_block_of_mobilenet_becomes_two_operations() {
        let wide = window(24, [3; 2], [1; 2], PaddingSpec::SameUpper);
        let chain = Chain::new(&[4, 112, 112]).convolved(pointwise(4, 24), 1).relu().at_most(6.0);
        let chain = chain.convolved(wide, 24).relu().at_most(6.0).convolved(pointwise(24, 4), 1);
        let model = chain.finish();
        assert_same(&model);
        let batch = HashMap::from([(model.symbols.sym("N"), TDim::from(1))]);
        let rewritten = super::super::speed_up(model.set_symbols(&batch).unwrap()).unwrap();
        let left: Vec<_> = rewritten.nodes.iter().map(|node| node.op.name()).collect();
        if lanes() > 1 {
            assert_eq!(left, ["Source", "ExpandDepthwise", "Pointwise"]);
        }
    }

    #[test]
    fn what_others_read_stays_apart() {
        let mut chain = Chain::new(&[4, 192, 192]).convolved(pointwise(4, 8), 1);
        let wide = chain.last;
        chain = chain.convolved(window(8, [3; 2], [2; 2], PaddingSpec::SameUpper), 8);
        let last = chain.last;
        chain.model.select_output_outlets(&[wide, last]).unwrap();
        let rewritten = assert_same(&chain.model.into_decluttered().unwrap());
        assert_eq!(count(&rewritten, "ExpandDepthwise"), 0);
    }
}
