//! Helpers for the tests of the passes: builds small graphs and compares rewritten ones with the originals.

use std::collections::HashMap;

use proptest::prelude::*;
use tract_onnx::tract_core::ops::cnn::{Conv, KernelFormat, MaxPool, PaddingSpec, PoolSpec};
use tract_onnx::tract_core::ops::math;
use tract_onnx::tract_core::ops::nn::DataFormat;
use tract_onnx::tract_hir::internal::*;

use crate::simd::NARROW;

/// A graph under construction: a chain whose last value is `last`.
#[derive(Debug)]
pub(super) struct Chain {
    pub(super) model: TypedModel,
    pub(super) last: OutletId,
    noise: u32,
}

impl Chain {
    /// Starts a graph whose input is a batch of any size.
    pub(super) fn new(sample: &[usize]) -> Self {
        let mut model = TypedModel::default();
        let mut shape = tvec!(model.symbols.sym("N").to_dim());
        shape.extend(sample.iter().map(ToDim::to_dim));
        let last = model.add_source("x", f32::fact(shape)).unwrap();
        Self { model, last, noise: 1 }
    }

    pub(super) fn random(&mut self, shape: &[usize]) -> Tensor {
        let mut next = || {
            self.noise = self.noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (self.noise >> 16) as f32 / 32768.0 - 1.0
        };
        let data: Vec<f32> = (0..shape.iter().product()).map(|_| next()).collect();
        Tensor::from_shape(shape, &data).unwrap()
    }

    pub(super) fn constant(&mut self, tensor: Tensor) -> OutletId {
        let name = format!("constant{}", self.model.nodes.len());
        self.model.add_const(name, tensor).unwrap()
    }

    pub(super) fn then(mut self, op: impl Into<Box<dyn TypedOp>>, more: &[OutletId]) -> Self {
        let name = format!("node{}", self.model.nodes.len());
        let inputs: Vec<OutletId> = std::iter::once(self.last).chain(more.iter().copied()).collect();
        self.last = self.model.wire_node(name, op.into(), &inputs).unwrap()[0];
        self
    }

    pub(super) fn convolved(mut self, pool_spec: PoolSpec, group: usize) -> Self {
        let mut shape = vec![pool_spec.output_channels, pool_spec.input_channels / group];
        shape.extend(&pool_spec.kernel_shape);
        let (weights, bias) = (self.random(&shape), self.random(&shape[..1]));
        let constants = [self.constant(weights), self.constant(bias)];
        self.then(Conv { pool_spec, kernel_fmt: KernelFormat::OIHW, group, q_params: None }, &constants)
    }

    pub(super) fn relu(mut self) -> Self {
        let zero = self.constant(tensor4(&[[[[0f32]]]]));
        self.then(math::max(), &[zero])
    }

    pub(super) fn at_most(mut self, high: f32) -> Self {
        let high = self.constant(tensor4(&[[[[high]]]]));
        self.then(math::min(), &[high])
    }

    pub(super) fn scaled(mut self, by: f32) -> Self {
        let by = self.constant(tensor4(&[[[[by]]]]));
        self.then(math::mul(), &[by])
    }

    pub(super) fn max_pooled(self, pool_spec: PoolSpec) -> Self {
        self.then(MaxPool { pool_spec, with_index_outputs: None }, &[])
    }

    pub(super) fn finish(mut self) -> TypedModel {
        self.model.select_output_outlets(&[self.last]).unwrap();
        self.model.into_decluttered().unwrap()
    }
}

/// Returns a window that keeps the number of channels.
pub(super) fn window(channels: usize, kernel: [usize; 2], stride: [usize; 2], padding: PaddingSpec) -> PoolSpec {
    let (kernel, stride) = (kernel.into_iter().collect(), stride.into_iter().collect());
    PoolSpec::new(DataFormat::NCHW, kernel, padding, None, Some(stride), channels, channels)
}

/// Generates windows of any kernel, stride, dilation and padding. Only poolings may round their size up:
/// ONNX has no such convolution, and tract reads beyond the image in one.
pub(super) fn any_window(channels: usize, may_round_up: bool) -> impl Strategy<Value = PoolSpec> {
    let pads = prop::array::uniform4(0usize..3)
        .prop_map(|[top, left, bottom, right]| (tvec![top, left], tvec![bottom, right]));
    let padding = prop_oneof![
        Just(PaddingSpec::Valid),
        Just(PaddingSpec::SameUpper),
        Just(PaddingSpec::SameLower),
        pads.clone().prop_map(|(before, after)| PaddingSpec::Explicit(before, after)),
        (pads, any::<bool>()).prop_map(move |((before, after), up)| PaddingSpec::ExplicitOnnxPool(
            before,
            after,
            up && may_round_up
        )),
    ];
    let pair = |range: std::ops::Range<usize>| [range.clone(), range];
    (pair(1..5), pair(1..4), pair(1..3), padding).prop_map(move |(kernel, stride, dilation, padding)| PoolSpec {
        dilations: Some(dilation.into_iter().collect()),
        ..window(channels, kernel, stride, padding)
    })
}

/// Returns true if the kernel of a pooling or convolution fits into the image.
pub(super) fn fits(spec: &PoolSpec, input: &[usize]) -> bool {
    let reach = |axis: usize| (spec.kernel_shape[axis] - 1) * spec.dilation(axis) < input[axis];
    reach(0) && reach(1)
}

/// Asserts that the passes change no result by more than rounding, for a symbolic and a fixed batch, with
/// the widest vectors of this machine and with narrower ones. Returns the graph rewritten for any batch.
pub(super) fn assert_same(model: &TypedModel) -> TypedModel {
    NARROW.set(true);
    assert_same_here(model);
    NARROW.set(false);
    assert_same_here(model)
}

fn assert_same_here(model: &TypedModel) -> TypedModel {
    let rewritten = super::speed_up(model.clone()).unwrap();
    let expected = model.clone().into_runnable().unwrap();
    let any_batch = rewritten.clone().into_optimized().unwrap().into_runnable().unwrap();
    for batch in [1usize, 3] {
        let input = sample_input(model, batch);
        let batch = HashMap::from([(model.symbols.sym("N"), TDim::from(batch))]);
        let fixed = super::speed_up(model.set_symbols(&batch).unwrap()).unwrap();
        let fixed = fixed.into_optimized().unwrap().into_runnable().unwrap();
        let want = expected.run(input.clone()).unwrap();
        for plan in [&any_batch, &fixed] {
            assert_close(&want, &plan.run(input.clone()).unwrap());
        }
    }
    rewritten
}

fn sample_input(model: &TypedModel, batch: usize) -> TVec<TValue> {
    let mut shape = vec![batch];
    shape.extend(model.input_fact(0).unwrap().shape.iter().skip(1).map(|dim| dim.to_usize().unwrap()));
    tvec!(Chain { model: TypedModel::default(), last: OutletId::new(0, 0), noise: 99 }.random(&shape).into_tvalue())
}

fn assert_close(want: &[TValue], got: &[TValue]) {
    assert_eq!(want.len(), got.len());
    for (want, got) in want.iter().zip(got) {
        assert_eq!(want.shape(), got.shape());
        let (want, got) = (want.try_as_plain_ram().unwrap(), got.try_as_plain_ram().unwrap());
        let (want, got) = (want.as_slice::<f32>().unwrap(), got.as_slice::<f32>().unwrap());
        let scale = want.iter().filter(|value| **value > f32::MIN).fold(1f32, |most, value| most.max(value.abs()));
        for (want, got) in want.iter().zip(got) {
            // Over padding alone a maximum of tract is the least finite number, and one of ours is less.
            let is_least = *want == f32::MIN && *got == f32::NEG_INFINITY;
            assert!(is_least || (want - got).abs() <= 1e-5 * scale, "{want} became {got}");
        }
    }
}

/// Counts the nodes that have this operation.
pub(super) fn count(model: &TypedModel, name: &str) -> usize {
    model.nodes.iter().filter(|node| node.op.name() == name).count()
}
