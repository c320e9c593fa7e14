//! A convolution by groups, and as its commonest case the depthwise one, fused with its activation. A few inputs make each
//! output, so it is vectorised over pixels: all outputs of a channel are one long row ([`Planes`]), and a tile of its
//! places times a few channels of the group stays in registers while the products of all taps are summed.

use pulp::{Simd, WithSimd};
use tract_onnx::tract_core::ops::cnn::PoolSpec;
use tract_onnx::tract_hir::internal::*;

use super::cost;
use super::epilogue::{Activation, Epilogue};
use super::planes::Planes;
use crate::simd::{dispatch, registers};

/// The vectors of the widest tile.
pub(super) const WIDEST: usize = 8;

/// The operation. It covers f32, NCHW and two spatial dimensions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Grouped {
    pub(super) conv: PoolSpec,
    groups: usize,
    /// For each group, each block of its outputs and each tap of each input, the weights of the outputs of the block.
    pub(super) weights: Arc<Tensor>,
    pub(super) epilogue: Epilogue,
}

impl Grouped {
    /// Creates a bare convolution from weights `[outputs, inputs of a group, height, width]` and one bias per output. The
    /// groups share inputs and outputs evenly.
    pub(super) fn new(conv: PoolSpec, groups: usize, weights: &[f32], bias: &[f32]) -> Self {
        let each = bias.len() / groups;
        let taps = weights.len() / bias.len();
        let mut packed = Vec::with_capacity(weights.len());
        for group in weights.chunks_exact(each * taps) {
            for (first, width) in blocks(each, registers()) {
                for tap in 0..taps {
                    packed.extend((first..first + width).map(|output| group[output * taps + tap]));
                }
            }
        }
        Self { conv, groups, weights: Arc::new(tensor1(&packed)), epilogue: Epilogue::new(bias, 1) }
    }

    /// Returns true if every channel is convolved alone, to one channel.
    pub(super) fn is_depthwise(&self) -> bool {
        self.groups == self.conv.input_channels && self.groups == self.conv.output_channels
    }

    pub(super) fn with(self, epilogue: Epilogue) -> Self {
        Self { epilogue, ..self }
    }
}

/// Cuts the outputs of a group into blocks whose sums fit into the registers; returns the first output and the size of
/// each.
#[inline(always)]
fn blocks(outputs: usize, registers: usize) -> impl Iterator<Item = (usize, usize)> {
    let most = if registers >= 32 { 8 } else { 4 };
    let mut next = 0;
    std::iter::from_fn(move || {
        let left = outputs - next;
        let width = match left {
            0 => return None,
            8.. => most,
            4.. => 4,
            2.. => 2,
            1 => 1,
        };
        next += width;
        Some((next - width, width))
    })
}

impl Op for Grouped {
    fn name(&self) -> StaticName {
        "GroupedConv".into()
    }

    fn validation(&self) -> Validation {
        Validation::Rounding
    }

    op_as_typed_op!();
}

impl TypedOp for Grouped {
    fn output_facts(&self, inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        Ok(tvec!(f32::fact(self.conv.output_shape(&inputs[0].shape)?.shape)))
    }

    fn cost(&self, inputs: &[&TypedFact]) -> TractResult<TVec<(Cost, TDim)>> {
        cost::convolution(&self.conv, self.groups, &inputs[0].shape)
    }

    as_op!();
}

impl EvalOp for Grouped {
    op_out_of_plan!();

    fn eval(&self, _ctx: &EvalContext, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        let input = args_1!(inputs);
        let shape = self.conv.output_shape(input.shape())?.shape;
        let &[_, channels, height, width] = input.shape() else { bail!("a convolution needs four dimensions") };
        let is_empty = input.len() == 0 || shape.iter().product::<usize>() == 0;
        ensure!(is_empty || channels == self.conv.input_channels, "the weights are for another number of channels");
        // The planes of a group are copied before its outputs are written, so memory of the same shape serves for both.
        let (input, mut output) = if !is_empty && input.shape() == &shape[..] {
            (None, input.into_tensor())
        } else {
            (Some(input), Tensor::zero::<f32>(&shape)?)
        };
        if is_empty {
            return Ok(tvec!(output.into_tvalue()));
        }
        let planes = Planes::new(&self.conv, [height, width], [shape[2], shape[3]]);
        let planes = planes.context("the stride, dilation or padding is too large for the image")?;
        let input = input.as_ref().map(|input| input.try_as_plain_ram()).transpose()?;
        let group = channels / self.groups * height * width;
        let inputs = match &input {
            Some(input) => Some(input.as_slice::<f32>()?.chunks_exact(group)),
            None => None,
        };
        dispatch(Maps {
            planes: &planes,
            weights: self.weights.try_as_plain_ram()?.as_slice()?,
            bias: self.epilogue.bias()?.as_slice()?,
            activation: self.epilogue.activation,
            groups: self.groups,
            group_inputs: channels / self.groups,
            inputs,
            outputs: output.try_as_plain_ram_mut()?.as_slice_mut()?,
        });
        Ok(tvec!(output.into_tvalue()))
    }
}

struct Maps<'a> {
    planes: &'a Planes,
    weights: &'a [f32],
    bias: &'a [f32],
    activation: Option<Activation>,
    groups: usize,
    group_inputs: usize,
    /// The inputs of each group of each sample; absent if they are in the place of the outputs.
    inputs: Option<std::slice::ChunksExact<'a, f32>>,
    outputs: &'a mut [f32],
}

impl WithSimd for Maps<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        let planes = self.planes;
        let each = self.bias.len() / self.groups;
        let taps: Vec<usize> = (0..self.group_inputs)
            .flat_map(|input| planes.taps.iter().map(move |tap| input * planes.len() + tap))
            .collect();
        // The last tile may reach beyond the last place.
        let spare = WIDEST * S::F32_LANES;
        let mut buffer = vec![0.0; self.group_inputs * planes.len() + spare];
        let row = planes.outputs() + spare;
        let mut sums = vec![0.0; 8.min(each) * row];
        let groups = self.weights.chunks_exact(each * taps.len()).zip(self.bias.chunks_exact(each)).cycle();
        for (output, (mut weights, bias)) in self.outputs.chunks_exact_mut(each * planes.output_area()).zip(groups) {
            let input = self.inputs.as_mut().and_then(Iterator::next).unwrap_or(&*output);
            for (to, plane) in buffer.chunks_exact_mut(planes.len()).zip(input.chunks_exact(planes.input_area())) {
                planes.arrange(plane, to);
            }
            let mut outputs = output.chunks_exact_mut(planes.output_area());
            for (first, width) in blocks(each, S::REGISTER_COUNT) {
                let (these, others) = weights.split_at(width * taps.len());
                weights = others;
                let sums = &mut sums[..width * row];
                let bias = &bias[first..first + width];
                Block { weights: these, bias, activation: self.activation, taps: &taps, input: &buffer, sums, row }
                    .compute(simd, planes.outputs());
                for (sums, plane) in sums.chunks_exact(row).zip(&mut outputs) {
                    planes.gather(sums, plane);
                }
            }
        }
    }
}

/// The outputs of one block of channels.
pub(super) struct Block<'a> {
    pub(super) weights: &'a [f32],
    pub(super) bias: &'a [f32],
    pub(super) activation: Option<Activation>,
    pub(super) taps: &'a [usize],
    pub(super) input: &'a [f32],
    /// A row of sums for each channel, with `WIDEST` vectors to spare.
    pub(super) sums: &'a mut [f32],
    pub(super) row: usize,
}

impl Block<'_> {
    /// Computes the first `places` of every row, and perhaps some more.
    #[inline(always)]
    pub(super) fn compute<S: Simd>(mut self, simd: S, places: usize) {
        match self.bias.len() {
            1 => self.with_channels::<S, 1>(simd, places, 8),
            2 => self.with_channels::<S, 2>(simd, places, if S::REGISTER_COUNT >= 32 { 8 } else { 4 }),
            4 => self.with_channels::<S, 4>(simd, places, if S::REGISTER_COUNT >= 32 { 4 } else { 3 }),
            _ => self.with_channels::<S, 8>(simd, places, 3),
        }
    }

    /// Computes the rows by tiles of `widest` vectors, and what is left by a narrower one.
    #[inline(always)]
    fn with_channels<S: Simd, const C: usize>(&mut self, simd: S, places: usize, widest: usize) {
        let step = widest * S::F32_LANES;
        let whole = places / step * step;
        self.run::<S, C>(simd, 0..whole, widest);
        self.run::<S, C>(simd, whole..places, (places - whole).div_ceil(S::F32_LANES));
    }

    #[inline(always)]
    fn run<S: Simd, const C: usize>(&mut self, simd: S, places: std::ops::Range<usize>, vectors: usize) {
        match vectors {
            0 => {}
            1 => simd.vectorize(Tiles::<C, 1>(self, places)),
            2 => simd.vectorize(Tiles::<C, 2>(self, places)),
            3 => simd.vectorize(Tiles::<C, 3>(self, places)),
            4 if C <= 4 => simd.vectorize(Tiles::<C, 4>(self, places)),
            _ if C <= 2 => simd.vectorize(Tiles::<C, WIDEST>(self, places)),
            _ => {}
        }
    }
}

/// The tiles of `V` vectors and `C` channels that cover some places.
struct Tiles<'t, 'b, const C: usize, const V: usize>(&'t mut Block<'b>, std::ops::Range<usize>);

impl<const C: usize, const V: usize> WithSimd for Tiles<'_, '_, C, V> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self(block, places) = self;
        let step = V * S::F32_LANES;
        for first in places.step_by(step) {
            let mut sums = Self::products(simd, block, first);
            for (row, sums) in block.sums.chunks_exact_mut(block.row).zip(&mut sums) {
                if let Some(activation) = block.activation {
                    activation.apply(simd, sums);
                }
                S::as_mut_simd_f32s(&mut row[first..first + step]).0.copy_from_slice(sums);
            }
        }
    }
}

impl<const C: usize, const V: usize> Tiles<'_, '_, C, V> {
    /// Returns the sums by value, so that they stay in registers until they are complete.
    #[inline(always)]
    fn products<S: Simd>(simd: S, block: &Block<'_>, first: usize) -> [[S::f32s; V]; C] {
        let bias = block.bias.first_chunk::<C>().copied().unwrap_or([0.0; C]);
        let mut sums = bias.map(|bias| [simd.splat_f32s(bias); V]);
        let input = &block.input[first..];
        for (weights, &tap) in block.weights.as_chunks::<C>().0.iter().zip(block.taps) {
            let pixels = input.get(tap..tap + V * S::F32_LANES).unwrap_or_default();
            let Some(pixels) = S::as_simd_f32s(pixels).0.first_chunk::<V>() else { return sums };
            for (sums, &weight) in sums.iter_mut().zip(weights) {
                let weight = simd.splat_f32s(weight);
                for (sum, &pixel) in sums.iter_mut().zip(pixels) {
                    *sum = simd.mul_add_f32s(weight, pixel, *sum);
                }
            }
        }
        sums
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tract_onnx::tract_core::ops::cnn::PaddingSpec;

    use super::super::check::{Chain, any_window, assert_same, count, fits, window};
    use super::*;
    use crate::simd::lanes;

    /// Returns a window that makes `outputs` of `inputs` channels.
    fn from_to(inputs: usize, outputs: usize, spec: PoolSpec) -> PoolSpec {
        PoolSpec { input_channels: inputs, output_channels: outputs, ..spec }
    }

    fn numbers(count: usize) -> Vec<f32> {
        (0..count).map(|index| (index * 7919 % 101) as f32 / 50.0 - 1.0).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]

        #[test]
        fn any_convolution_by_groups_gives_what_tract_gives(
            (groups, inputs, outputs) in (2usize..6, 1usize..4, 1usize..18),
            size in [1usize..24, 1usize..40],
            spec in any_window(1, false),
            bounds in 0..3,
        ) {
            prop_assume!(fits(&spec, &size));
            let spec = from_to(groups * inputs, groups * outputs, spec);
            let mut chain = Chain::new(&[groups * inputs, size[0], size[1]]).convolved(spec, groups);
            for bound in 0..bounds {
                chain = if bound == 0 { chain.relu() } else { chain.at_most(0.75) };
            }
            let rewritten = assert_same(&chain.finish());
            if lanes() > 1 {
                prop_assert_eq!(["Conv", "Max", "Min"].map(|name| count(&rewritten, name)), [0; 3]);
            }
        }

        #[test]
        fn any_depthwise_convolution_gives_what_tract_gives(
            (channels, each) in (2usize..9, 1usize..3),
            size in [1usize..40, 1usize..140],
            spec in any_window(1, false),
        ) {
            prop_assume!(fits(&spec, &size));
            let spec = from_to(channels, channels * each, spec);
            assert_same(&Chain::new(&[channels, size[0], size[1]]).convolved(spec, channels).relu().finish());
        }
    }

    #[test]
    fn a_depthwise_layer_becomes_one_operation() {
        for stride in [1, 2, 3] {
            let spec = window(40, [3; 2], [stride; 2], PaddingSpec::SameUpper);
            let chain = Chain::new(&[40, 15, 15]).scaled(0.5).convolved(spec, 40).relu().at_most(6.0);
            let rewritten = assert_same(&chain.finish());
            let left: Vec<_> = rewritten.nodes.iter().map(|node| node.op.name()).collect();
            if lanes() > 1 {
                assert_eq!(left, ["Source", "GroupedConv"]);
            }
        }
    }

    #[test]
    fn a_sample_has_the_same_bits_in_every_batch() {
        for (groups, inputs, outputs, stride) in [(6, 6, 6, 1), (6, 6, 6, 2), (3, 6, 33, 1)] {
            let padding = PaddingSpec::Explicit(tvec![1, 1], tvec![1, 1]);
            let spec = from_to(inputs, outputs, window(1, [3; 2], [stride; 2], padding));
            let op = Grouped::new(spec, groups, &numbers(outputs * inputs / groups * 9), &numbers(outputs));
            let run = |samples: &[f32]| {
                let batch = samples.len() / (inputs * 11 * 13);
                let input = Tensor::from_shape(&[batch, inputs, 11, 13], samples).unwrap().into_tvalue();
                let output = op.eval(&EvalContext::out_of_plan(), tvec!(input)).unwrap().remove(0);
                output.try_as_plain_ram().unwrap().as_slice::<f32>().unwrap().to_vec()
            };
            let samples = numbers(5 * inputs * 11 * 13);
            let alone: Vec<f32> = samples.chunks(inputs * 11 * 13).flat_map(run).collect();
            assert!(run(&samples).iter().map(|value| value.to_bits()).eq(alone.iter().map(|value| value.to_bits())));
        }
    }

    #[test]
    fn another_number_of_channels_is_refused() {
        let op = Grouped::new(window(4, [1; 2], [1; 2], PaddingSpec::Valid), 2, &numbers(8), &numbers(4));
        let input = Tensor::zero::<f32>(&[1, 5, 3, 3]).unwrap().into_tvalue();
        assert!(op.eval(&EvalContext::out_of_plan(), tvec!(input)).is_err());
    }
}
