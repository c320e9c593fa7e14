//! A convolution with a kernel of one pixel, fused with its activation and the addition of other feature maps.
//! It is vectorised over pixels, which are neighbours in the input and in the output.

use pulp::{Simd, WithSimd};
use tract_onnx::tract_hir::internal::*;

use super::epilogue::{Activation, Epilogue};
use crate::simd::{dispatch, lanes, registers};

/// Returns the vectors of pixels and the output channels of the largest tile whose sums, pixels and one
/// weight fit into the registers.
pub(super) const fn tile_size(registers: usize) -> (usize, usize) {
    if registers >= 32 { (3, 8) } else { (2, 6) }
}

/// The operation. It covers f32 of `[batch, channels, pixels…]` with at least as many pixels as a vector
/// has lanes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Pointwise {
    pub(super) outputs: usize,
    /// The parts of the channels that are convolved apart.
    pub(super) groups: usize,
    /// For each block of outputs of a group and each input of it, the weights of the outputs of the block.
    pub(super) weights: Arc<Tensor>,
    pub(super) epilogue: Epilogue,
    /// True if a second input, which has the shape of the output, is added.
    pub(super) adds: bool,
}

impl Pointwise {
    /// Creates the operation with the weights `weight(output, input)` and no bias. `inputs` are those of one of the
    /// `groups`, which share the outputs evenly.
    pub(super) fn new(groups: usize, (outputs, inputs): (usize, usize), weight: impl Fn(usize, usize) -> f32) -> Self {
        let (_, width) = tile_size(registers());
        let each = outputs / groups;
        let mut packed = Vec::with_capacity(groups * each.next_multiple_of(width) * inputs);
        for (group, first) in (0..groups).flat_map(|group| (0..each).step_by(width).map(move |first| (group, first))) {
            for input in 0..inputs {
                let block = first..first + width;
                packed.extend(block.map(|o| if o < each { weight(group * each + o, input) } else { 0.0 }));
            }
        }
        let epilogue = Epilogue::new(&vec![0.0; outputs], 1);
        Self { outputs, groups, weights: Arc::new(tensor1(&packed)), epilogue, adds: false }
    }

    pub(super) fn with(self, epilogue: Epilogue) -> Self {
        Self { epilogue, ..self }
    }

    /// Multiplies the outputs before the activation by the factors of their channels.
    pub(super) fn times(self, factors: &[f32]) -> TractResult<Self> {
        if self.outputs == 0 {
            return Ok(self);
        }
        let (_, width) = tile_size(registers());
        let each = self.outputs / self.groups;
        let mut weights = self.weights.try_as_plain_ram()?.as_slice::<f32>()?.to_vec();
        let group = weights.len() / self.groups;
        let inputs = group / each.next_multiple_of(width);
        for (group, factors) in weights.chunks_exact_mut(group.max(1)).zip(factors.chunks_exact(each.max(1))) {
            for (block, factors) in group.chunks_exact_mut(width * inputs).zip(factors.chunks(width)) {
                for input in block.chunks_exact_mut(width) {
                    input.iter_mut().zip(factors).for_each(|(weight, factor)| *weight *= factor);
                }
            }
        }
        Ok(Self { weights: Arc::new(tensor1(&weights)), epilogue: self.epilogue.times(factors)?, ..self })
    }

    /// Adds a second input.
    pub(super) fn adding(self) -> Self {
        Self { adds: true, ..self }
    }
}

impl Op for Pointwise {
    fn name(&self) -> StaticName {
        "Pointwise".into()
    }

    fn validation(&self) -> Validation {
        Validation::Rounding
    }

    op_as_typed_op!();
}

impl TypedOp for Pointwise {
    fn output_facts(&self, inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        let mut shape = inputs[0].shape.to_tvec();
        shape[1] = self.outputs.to_dim();
        Ok(tvec!(f32::fact(shape)))
    }

    fn cost(&self, inputs: &[&TypedFact]) -> TractResult<TVec<(Cost, TDim)>> {
        let products = inputs[0].shape.volume() * self.outputs / self.groups;
        Ok(tvec!((Cost::FMA(f32::datum_type()), products)))
    }

    as_op!();
}

impl EvalOp for Pointwise {
    op_out_of_plan!();

    fn eval(&self, _ctx: &EvalContext, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        let input = &inputs[0];
        let mut shape: TVec<usize> = input.shape().into();
        let channels = shape[1];
        shape[1] = self.outputs;
        let mut output = Tensor::zero::<f32>(&shape)?;
        let pixels: usize = shape[2..].iter().product();
        if output.len() > 0 && channels > 0 {
            ensure!(pixels >= lanes(), "fewer pixels than a vector holds");
            ensure!(channels.is_multiple_of(self.groups), "the channels cannot be shared by the groups");
            let each = self.outputs / self.groups;
            let maps = input.try_as_plain_ram()?;
            let added = match inputs.get(1) {
                Some(added) if self.adds => Some(added.try_as_plain_ram()?),
                _ => None,
            };
            let mut added = match &added {
                Some(added) => Some(added.as_slice::<f32>()?.chunks_exact(each * pixels)),
                None => None,
            };
            let weights = self.weights.try_as_plain_ram()?;
            let weights = weights.as_slice::<f32>()?;
            let bias = self.epilogue.bias()?;
            let groups = weights.chunks_exact(weights.len() / self.groups).zip(bias.as_slice()?.chunks_exact(each));
            let mut results = output.try_as_plain_ram_mut()?;
            let results = results.as_slice_mut::<f32>()?.chunks_exact_mut(each * pixels);
            let maps = maps.as_slice::<f32>()?.chunks_exact(channels / self.groups * pixels);
            for ((input, output), (weights, bias)) in maps.zip(results).zip(groups.cycle()) {
                let added = added.as_mut().and_then(Iterator::next);
                dispatch(Image { weights, bias, activation: self.epilogue.activation, added, input, output, pixels });
            }
        }
        Ok(tvec!(output.into_tvalue()))
    }
}

struct Image<'a> {
    weights: &'a [f32],
    bias: &'a [f32],
    activation: Option<Activation>,
    added: Option<&'a [f32]>,
    input: &'a [f32],
    output: &'a mut [f32],
    pixels: usize,
}

impl WithSimd for Image<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let (widest, width) = tile_size(S::REGISTER_COUNT);
        let inputs = self.input.len() / self.pixels;
        // The pixels of all planes side by side: the planes themselves are too far apart to be read for each block.
        let mut strip = vec![0.0; inputs * widest * S::F32_LANES];
        for (first, vectors) in strips(self.pixels, S::F32_LANES, widest) {
            let count = vectors * S::F32_LANES;
            let planes = self.input.chunks_exact(self.pixels);
            for (plane, to) in planes.zip(strip.chunks_exact_mut(count)) {
                to.copy_from_slice(&plane[first..first + count]);
            }
            let blocks = self.weights.chunks_exact(inputs * width).zip(self.bias.chunks(width));
            let mut added = self.added.map(|added| added.chunks(self.pixels * width));
            for ((weights, bias), output) in blocks.zip(self.output.chunks_mut(self.pixels * width)) {
                let added = added.as_mut().and_then(Iterator::next);
                let tile = Tile {
                    weights,
                    bias,
                    activation: self.activation,
                    added,
                    strip: &strip[..inputs * count],
                    output,
                    pixels: self.pixels,
                    first,
                };
                tile.compute(simd, vectors, width);
            }
        }
    }
}

/// Cuts pixels into strips of at most `widest` vectors; returns the first pixel and the vectors of each. There are at
/// least as many pixels as a vector has lanes. A rest that is narrower than its vectors overlaps the strip before.
#[inline(always)]
pub(super) fn strips(pixels: usize, lanes: usize, widest: usize) -> impl Iterator<Item = (usize, usize)> {
    let mut done = 0;
    std::iter::from_fn(move || {
        let left = (pixels - done).div_ceil(lanes);
        if left == 0 || pixels < lanes {
            return None;
        }
        let vectors = left.div_ceil(left.div_ceil(widest)).min(pixels / lanes);
        let first = done.min(pixels - vectors * lanes);
        done = first + vectors * lanes;
        Some((first, vectors))
    })
}

/// Some pixels of some output channels. `output` and `added` begin at the first of these channels.
pub(super) struct Tile<'a> {
    pub(super) weights: &'a [f32],
    pub(super) bias: &'a [f32],
    pub(super) activation: Option<Activation>,
    pub(super) added: Option<&'a [f32]>,
    pub(super) strip: &'a [f32],
    pub(super) output: &'a mut [f32],
    pub(super) pixels: usize,
    pub(super) first: usize,
}

impl Tile<'_> {
    /// Computes the tile of `vectors` of pixels and `width` channels, which are the sizes that [`tile_size`] allows.
    #[inline(always)]
    pub(super) fn compute<S: Simd>(self, simd: S, vectors: usize, width: usize) {
        match (vectors, width) {
            (1, 8) => simd.vectorize(SizedTile::<1, 8>(self)),
            (2, 8) => simd.vectorize(SizedTile::<2, 8>(self)),
            (3, 8) => simd.vectorize(SizedTile::<3, 8>(self)),
            (1, 6) => simd.vectorize(SizedTile::<1, 6>(self)),
            (2, 6) => simd.vectorize(SizedTile::<2, 6>(self)),
            _ => {}
        }
    }
}

/// A tile of `V` vectors of pixels and `C` channels.
struct SizedTile<'a, const V: usize, const C: usize>(Tile<'a>);

impl<const V: usize, const C: usize> WithSimd for SizedTile<'_, V, C> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let tile = self.0;
        let mut sums = Self::products(simd, &tile);
        let mut added = tile.added.map(|added| added.chunks_exact(tile.pixels));
        for (plane, sums) in tile.output.chunks_exact_mut(tile.pixels).zip(&mut sums) {
            if let Some(added) = added.as_mut().and_then(Iterator::next) {
                for (sum, &added) in sums.iter_mut().zip(S::as_simd_f32s(&added[tile.first..]).0) {
                    *sum = simd.add_f32s(*sum, added);
                }
            }
            if let Some(activation) = tile.activation {
                activation.apply(simd, sums);
            }
            let plane = S::as_mut_simd_f32s(&mut plane[tile.first..]).0;
            plane[..V].copy_from_slice(sums);
        }
    }
}

impl<const V: usize, const C: usize> SizedTile<'_, V, C> {
    /// Returns the sums by value, so that they stay in registers until they are complete.
    #[inline(always)]
    fn products<S: Simd>(simd: S, tile: &Tile<'_>) -> [[S::f32s; V]; C] {
        let bias: [f32; C] = std::array::from_fn(|output| tile.bias.get(output).copied().unwrap_or_default());
        let mut sums = bias.map(|bias| [simd.splat_f32s(bias); V]);
        let strip = S::as_simd_f32s(tile.strip).0.as_chunks::<V>().0;
        for (pixels, weights) in strip.iter().zip(tile.weights.as_chunks::<C>().0) {
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
    use tract_onnx::tract_core::ops::cnn::{PaddingSpec, PoolSpec};
    use tract_onnx::tract_core::ops::einsum::EinSum;
    use tract_onnx::tract_core::ops::math;

    use super::super::check::{Chain, assert_same, count, window};
    use super::*;

    fn pointwise(inputs: usize, outputs: usize) -> PoolSpec {
        PoolSpec { output_channels: outputs, ..window(inputs, [1; 2], [1; 2], PaddingSpec::Valid) }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(100))]

        #[test]
        fn any_number_of_channels_and_pixels_gives_what_tract_gives(
            (inputs, outputs) in (1usize..20, 1usize..20),
            size in [1usize..20, 1usize..12],
            (adds, relu) in (any::<bool>(), any::<bool>()),
        ) {
            let mut chain = Chain::new(&[inputs, size[0], size[1]]).convolved(pointwise(inputs, outputs), 1);
            let first = chain.last;
            chain = chain.convolved(pointwise(outputs, outputs), 1);
            if adds {
                chain = chain.then(math::add(), &[first]);
            }
            if relu {
                chain = chain.relu();
            }
            assert_same(&chain.finish());
        }
    }

    #[test]
    fn no_outputs_are_multiplied() {
        let none = Pointwise::new(1, (0, 3), |_, _| 1.0);
        assert_eq!(none.clone().times(&[]).unwrap(), none);
    }

    #[test]
    fn a_residual_layer_becomes_one_operation() {
        let chain = Chain::new(&[8, 7, 7]).relu();
        let first = chain.last;
        let chain = chain.convolved(pointwise(8, 8), 1).then(math::add(), &[first]).relu();
        let rewritten = assert_same(&chain.finish());
        if lanes() > 1 {
            let left = ["EinSum", "Add", "Max", "Pointwise"].map(|name| count(&rewritten, name));
            assert_eq!(left, [0, 0, 1, 1]);
        }
    }

    #[test]
    fn what_looks_like_a_pointwise_convolution_is_told_apart() {
        for (axes, weights, is_ours) in [
            ("NIL,IO->NOL", [5, 9], true),
            ("NIL,OI->NOL", [9, 5], true),
            ("NIL,LO->NIO", [20, 9], false),
            ("NIL,OI->NLO", [9, 5], false),
        ] {
            let mut chain = Chain::new(&[5, 20]);
            let weights = chain.random(&weights);
            let weights = chain.constant(weights);
            let product = EinSum { axes: axes.parse().unwrap(), operating_dt: f32::datum_type(), q_params: None };
            let rewritten = assert_same(&chain.then(product, &[weights]).finish());
            assert_eq!(count(&rewritten, "Pointwise"), usize::from(is_ours && lanes() > 1), "{axes}");
        }
    }
}
