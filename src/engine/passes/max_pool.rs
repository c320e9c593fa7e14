//! Max-pooling, row by row: first over the rows of a window, then over its columns, so that both steps
//! work on neighbouring numbers and are vectorised.

use std::ops::Range;

use tract_onnx::tract_core::ops::cnn::PoolSpec;
use tract_onnx::tract_hir::internal::*;

use crate::simd::dispatch;

/// The windows of one axis.
#[derive(Debug, Clone, Copy)]
pub(super) struct Windows {
    pub(super) kernel: usize,
    stride: usize,
    dilation: usize,
    pad: usize,
    size: usize,
}

impl Windows {
    /// Returns the windows of both axes of a pooling for an input of `height` and `width`.
    pub(super) fn of(spec: &PoolSpec, input: [usize; 2]) -> [Self; 2] {
        let pads = spec.computed_padding(&input);
        [0, 1].map(|axis| Self {
            kernel: spec.kernel_shape[axis],
            stride: spec.stride(axis),
            dilation: spec.dilation(axis),
            pad: pads[axis].pad_before,
            size: input[axis],
        })
    }

    /// Iterates over the places of a window, `dilation` apart, that lie within the input.
    fn places(self, window: usize) -> impl Iterator<Item = usize> {
        (0..self.kernel)
            .map(move |tap| window * self.stride + tap * self.dilation)
            .filter(move |&place| place >= self.pad && place - self.pad < self.size)
            .map(move |place| place - self.pad)
    }

    /// Returns the places of a window without dilation that lie within the input.
    #[inline]
    pub(super) fn range(self, window: usize) -> Range<usize> {
        let to = (window * self.stride + self.kernel).saturating_sub(self.pad).min(self.size);
        (window * self.stride).saturating_sub(self.pad).min(to)..to
    }
}

/// The operation. It covers f32, NCHW and two spatial dimensions, without indices.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct FastMaxPool(pub(super) PoolSpec);

impl Op for FastMaxPool {
    fn name(&self) -> StaticName {
        "FastMaxPool".into()
    }

    op_as_typed_op!();
}

impl TypedOp for FastMaxPool {
    fn output_facts(&self, inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        self.0.output_facts(inputs)
    }

    as_op!();
}

impl EvalOp for FastMaxPool {
    op_out_of_plan!();

    fn eval(&self, _ctx: &EvalContext, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        let input = args_1!(inputs);
        let shape = self.0.output_shape(input.shape())?.shape;
        let mut output = Tensor::zero::<f32>(&shape)?;
        let (&[_, _, height, width], &[_, _, rows, columns]) = (input.shape(), &shape[..]) else {
            bail!("max-pooling needs four dimensions")
        };
        if input.len() > 0 && output.len() > 0 {
            let mut results = output.try_as_plain_ram_mut()?;
            let planes = Planes {
                windows: Windows::of(&self.0, [height, width]),
                input: input.try_as_plain_ram()?.as_slice()?,
                output: results.as_slice_mut()?,
                rows,
                columns,
            };
            dispatch(
                #[inline(always)]
                || planes.pool(),
            );
        }
        Ok(tvec!(output.into_tvalue()))
    }
}

struct Planes<'a> {
    windows: [Windows; 2],
    input: &'a [f32],
    output: &'a mut [f32],
    rows: usize,
    columns: usize,
}

impl Planes<'_> {
    #[inline(always)]
    fn pool(self) {
        let [down, across] = self.windows;
        let (height, width) = (down.size, across.size);
        // From the first column that any window reaches to the last, including the padding.
        let phase = self.columns + (across.kernel - 1) * across.dilation / across.stride;
        let mut line = vec![f32::NEG_INFINITY; phase * across.stride];
        let mut phases = vec![f32::NEG_INFINITY; line.len()];
        let inside = across.pad.min(line.len())..(across.pad + width).min(line.len());
        let planes = self.output.chunks_exact_mut(self.rows * self.columns);
        for (plane, output) in self.input.chunks_exact(height * width).zip(planes) {
            for (y, output) in output.chunks_exact_mut(self.columns).enumerate() {
                line[inside.clone()].fill(f32::NEG_INFINITY);
                for row in down.places(y) {
                    max_into(&mut line[inside.clone()], &plane[row * width..]);
                }
                let phases = if across.stride == 1 {
                    &line
                } else {
                    split(&line, across.stride, phase, &mut phases);
                    &phases
                };
                output.fill(f32::NEG_INFINITY);
                for tap in (0..across.kernel).map(|tap| tap * across.dilation) {
                    max_into(output, &phases[tap % across.stride * phase + tap / across.stride..]);
                }
            }
        }
    }
}

/// Puts the columns of each phase of a stride side by side.
#[inline(always)]
fn split(line: &[f32], stride: usize, phase: usize, phases: &mut [f32]) {
    if stride == 2 {
        let (even, odd) = phases.split_at_mut(phase);
        for ((even, odd), pair) in even.iter_mut().zip(odd).zip(line.as_chunks::<2>().0) {
            (*even, *odd) = (pair[0], pair[1]);
        }
        return;
    }
    for (index, phase) in phases.chunks_exact_mut(phase).enumerate() {
        phase.iter_mut().zip(line[index..].iter().step_by(stride)).for_each(|(to, &value)| *to = value);
    }
}

/// Takes the maximum of each pair; NaN counts as nothing, as in tract.
#[inline(always)]
fn max_into(most: &mut [f32], values: &[f32]) {
    for (most, &value) in most.iter_mut().zip(values) {
        *most = if *most < value { value } else { *most };
    }
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
        fn any_pooling_gives_what_tract_gives(
            channels in 1usize..4,
            size in [1usize..30, 1usize..60],
            spec in any_window(1, true),
        ) {
            prop_assume!(fits(&spec, &size));
            let spec = PoolSpec { input_channels: channels, output_channels: channels, ..spec };
            let rewritten = assert_same(&Chain::new(&[channels, size[0], size[1]]).max_pooled(spec).finish());
            prop_assert_eq!(count(&rewritten, "FastMaxPool"), 1);
        }
    }

    #[test]
    fn nan_counts_as_nothing_and_infinity_is_kept() {
        let spec = window(1, [1, 2], [1, 2], PaddingSpec::Valid);
        let (nan, least) = (f32::NAN, f32::NEG_INFINITY);
        let input = tensor4(&[[[[nan, 1.0, 2.0, nan, nan, nan, least, least]]]]).into_tvalue();
        let output = FastMaxPool(spec).eval(&EvalContext::out_of_plan(), tvec!(input)).unwrap();
        assert_eq!(*output[0], tensor4(&[[[[1.0, 2.0, least, least]]]]));
    }
}
