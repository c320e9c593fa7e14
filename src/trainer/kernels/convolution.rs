//! Convolutions, forward and backward, each as products over windows of a padded block.

use super::block::{sized, zeroed};
use super::gradient::WeightGradient;
use super::product::{End, Frame, Product, Start, Weights};
use crate::simd::lanes;

/// The shapes of a convolution. Weights are `[outputs, inputs / groups, kernel, kernel]`; kernel, stride and padding are
/// those of the height and of the width.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Convolution {
    pub(crate) inputs: usize,
    pub(crate) outputs: usize,
    /// Height and width going in.
    pub(crate) from: [usize; 2],
    /// Height and width coming out.
    pub(crate) to: [usize; 2],
    pub(crate) kernel: [usize; 2],
    pub(crate) stride: [usize; 2],
    /// Rows and columns of zeros on each side.
    pub(crate) padding: [usize; 2],
    pub(crate) groups: usize,
}

/// The weights of one step, packed for all its blocks.
#[derive(Debug)]
pub(crate) struct PackedConvolution {
    /// For each group.
    forward: Vec<Weights>,
    /// For each group and phase; empty when nobody wants the gradient of the input.
    backward: Vec<Weights>,
}

/// The input pixels whose distance to the first window is the same modulo the stride, along one axis:
/// they are reached by the same rows (or columns) of the kernel.
#[derive(Debug, Clone, Copy)]
struct Phase {
    /// The first row of the kernel that reaches them; the others follow at the stride.
    first_tap: usize,
    taps: usize,
    /// The first pixel; the others follow at the stride.
    first_pixel: usize,
    pixels: usize,
    /// The output row that the first tap of the first pixel reads, counted in the padded gradient.
    reads: usize,
}

impl Convolution {
    fn group_inputs(&self) -> usize {
        self.inputs / self.groups
    }

    fn group_outputs(&self) -> usize {
        self.outputs / self.groups
    }

    fn taps(&self) -> usize {
        self.group_inputs() * self.area()
    }

    fn area(&self) -> usize {
        self.kernel[0] * self.kernel[1]
    }

    fn padded(&self) -> [usize; 2] {
        [0, 1].map(|axis| self.from[axis] + 2 * self.padding[axis])
    }

    /// Zeros above, below, left and right of the input.
    fn margins_of_input(&self) -> [usize; 4] {
        let [height, width] = self.padding;
        [height, height, width, width]
    }

    /// Where each tap of a group's first window lies in the padded input.
    fn window(&self) -> Vec<usize> {
        let [height, width] = self.padded();
        let mut window = Vec::with_capacity(self.taps());
        for channel in 0..self.group_inputs() {
            for y in 0..self.kernel[0] {
                window.extend((0..self.kernel[1]).map(|x| (channel * height + y) * width + x));
            }
        }
        window
    }

    /// Zeros before and after the gradient of the output, so that every phase stays within.
    fn margins(&self, axis: usize) -> [usize; 2] {
        let lead = (self.kernel[axis] - 1) / self.stride[axis];
        let last = (self.from[axis] - 1 + self.padding[axis]) / self.stride[axis];
        [lead, (last + 1).saturating_sub(self.to[axis])]
    }

    fn phases(&self, axis: usize) -> Vec<Phase> {
        let [lead, _] = self.margins(axis);
        let [kernel, stride, padding] = [self.kernel, self.stride, self.padding].map(|of| of[axis]);
        let phase = |first_tap: usize| {
            // Pixels at distance `first_tap + stride · j` from the first window's corner.
            let j = padding.saturating_sub(first_tap).div_ceil(stride);
            let first_pixel = first_tap + stride * j - padding;
            Phase {
                first_tap,
                taps: kernel.saturating_sub(first_tap).div_ceil(stride),
                first_pixel,
                pixels: self.from[axis].saturating_sub(first_pixel).div_ceil(stride),
                reads: lead + j,
            }
        };
        (0..stride).map(phase).collect()
    }

    /// Packs weights; with `backward`, for the gradient of the input too.
    pub(crate) fn pack(&self, weights: &[f32], backward: bool) -> PackedConvolution {
        let (inputs, outputs, taps) = (self.group_inputs(), self.group_outputs(), self.taps());
        let area = self.area();
        let mut packed = PackedConvolution { forward: Vec::new(), backward: Vec::new() };
        for group in weights.chunks_exact(outputs * taps) {
            packed.forward.push(Weights::pack(outputs, taps, self.to[1], |row, tap| group[row * taps + tap]));
            if !backward {
                continue;
            }
            for (down, across) in self.phase_pairs() {
                let area_of_phase = down.taps * across.taps;
                let weight = |input: usize, tap: usize| {
                    let (output, tap) = (tap / area_of_phase, tap % area_of_phase);
                    let y = down.first_tap + tap / across.taps * self.stride[0];
                    let x = across.first_tap + tap % across.taps * self.stride[1];
                    group[output * taps + input * area + y * self.kernel[1] + x]
                };
                packed.backward.push(Weights::pack(inputs, outputs * area_of_phase, across.pixels, weight));
            }
        }
        packed
    }

    fn phase_pairs(&self) -> impl Iterator<Item = (Phase, Phase)> {
        let across = self.phases(1);
        self.phases(0).into_iter().flat_map(move |down| across.clone().into_iter().map(move |across| (down, across)))
    }

    /// The outputs of a block, `max(x, 0)` of them with `relu`.
    pub(crate) fn forward(
        &self,
        packed: &PackedConvolution,
        (bias, relu): (Option<&[f32]>, bool),
        input: &[f32],
        scratch: &mut Vec<f32>,
        output: &mut Vec<f32>,
    ) {
        let lanes = lanes();
        let [height, width] = self.padded();
        let input = pad(input, self.from, self.margins_of_input(), scratch);
        let plane = self.to[0] * self.to[1];
        let frame = Frame {
            lines: self.to[0],
            positions: self.to[1],
            step: self.stride[1],
            line: self.stride[0] * width,
            output_start: 0,
            output_step: 1,
            output_line: self.to[1],
            output_row: plane,
        };
        let window = self.window();
        let outputs = self.group_outputs();
        let output = sized(output, self.outputs * plane * lanes);
        let group_input = self.group_inputs() * height * width * lanes;
        for (group, (weights, output)) in
            packed.forward.iter().zip(output.chunks_exact_mut(outputs * plane * lanes)).enumerate()
        {
            let start = bias.map_or(Start::Zero, |bias| Start::Bias(&bias[group * outputs..][..outputs]));
            let end = if relu { End::Relu } else { End::Sum };
            Product { weights, taps: &window, frame, start, end }.run(&input[group * group_input..], output);
        }
    }

    /// The gradient of a block's input.
    pub(crate) fn backward(
        &self,
        packed: &PackedConvolution,
        upper: &[f32],
        scratch: &mut Vec<f32>,
        back: &mut Vec<f32>,
    ) {
        let lanes = lanes();
        let ([top, bottom], [left, right]) = (self.margins(0), self.margins(1));
        let upper = pad(upper, self.to, [top, bottom, left, right], scratch);
        let (height, width) = (top + self.to[0] + bottom, left + self.to[1] + right);
        let plane = self.from[0] * self.from[1];
        let (inputs, outputs) = (self.group_inputs(), self.group_outputs());
        let back = sized(back, self.inputs * plane * lanes);
        let mut weights = packed.backward.iter();
        for (group, back) in back.chunks_exact_mut(inputs * plane * lanes).enumerate() {
            let upper = &upper[group * outputs * height * width * lanes..];
            for ((down, across), weights) in self.phase_pairs().zip(weights.by_ref()) {
                let mut taps = Vec::with_capacity(outputs * down.taps * across.taps);
                for channel in 0..outputs {
                    for y in 0..down.taps {
                        let row = (channel * height + down.reads - y) * width;
                        taps.extend((0..across.taps).map(|x| row + across.reads - x));
                    }
                }
                let frame = Frame {
                    lines: down.pixels,
                    positions: across.pixels,
                    step: 1,
                    line: width,
                    output_start: down.first_pixel * self.from[1] + across.first_pixel,
                    output_step: self.stride[1],
                    output_line: self.stride[0] * self.from[1],
                    output_row: plane,
                };
                Product { weights, taps: &taps, frame, start: Start::Zero, end: End::Sum }.run(upper, back);
            }
        }
    }

    /// Adds a block's gradient of the weights to `sums`.
    pub(crate) fn add_weight_gradient(&self, upper: &[f32], input: &[f32], scratch: &mut Vec<f32>, sums: &mut [f32]) {
        let lanes = lanes();
        let [height, width] = self.padded();
        let input = pad(input, self.from, self.margins_of_input(), scratch);
        let window = self.window();
        let (outputs, plane) = (self.group_outputs(), self.to[0] * self.to[1]);
        let work = WeightGradient {
            rows: outputs,
            row: plane,
            taps: &window,
            lines: self.to[0],
            positions: self.to[1],
            step: self.stride[1],
            line: self.stride[0] * width,
        };
        let group_input = self.group_inputs() * height * width * lanes;
        let groups = upper.chunks_exact(outputs * plane * lanes).zip(sums.chunks_exact_mut(outputs * window.len()));
        for (group, (upper, sums)) in groups.enumerate() {
            work.add(upper, &input[group * group_input..], sums);
        }
    }
}

/// Planes of `size` with zeros around them (above, below, left, right), if there are any to add.
fn pad<'a>(planes: &'a [f32], size: [usize; 2], margins: [usize; 4], scratch: &'a mut Vec<f32>) -> &'a [f32] {
    if margins == [0; 4] {
        return planes;
    }
    let lanes = lanes();
    let [top, bottom, left, right] = margins;
    let row = size[1] * lanes;
    let (wide, high) = ((left + size[1] + right) * lanes, top + size[0] + bottom);
    let padded = zeroed(scratch, planes.len() / (size[0] * row) * high * wide);
    for (plane, padded) in planes.chunks_exact(size[0] * row).zip(padded.chunks_exact_mut(high * wide)) {
        for (from, to) in plane.chunks_exact(row).zip(padded.chunks_exact_mut(wide).skip(top)) {
            to[left * lanes..][..row].copy_from_slice(from);
        }
    }
    padded
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::trainer::kernels::{pack, unpack};

    /// What a convolution is: calls `visit(output, weight, input)` with the places of every product.
    fn visit(c: &Convolution, mut visit: impl FnMut(usize, usize, usize)) {
        let (group_inputs, group_outputs) = (c.inputs / c.groups, c.outputs / c.groups);
        for (output, input) in (0..c.outputs).flat_map(|o| (0..group_inputs).map(move |i| (o, i))) {
            let channel = output / group_outputs * group_inputs + input;
            for (y, x) in (0..c.to[0]).flat_map(|y| (0..c.to[1]).map(move |x| (y, x))) {
                for (ky, kx) in (0..c.kernel[0]).flat_map(|ky| (0..c.kernel[1]).map(move |kx| (ky, kx))) {
                    let (row, column) = (y * c.stride[0] + ky, x * c.stride[1] + kx);
                    let inside = |at: usize, axis: usize| at >= c.padding[axis] && at < c.from[axis] + c.padding[axis];
                    if inside(row, 0) && inside(column, 1) {
                        visit(
                            (output * c.to[0] + y) * c.to[1] + x,
                            ((output * group_inputs + input) * c.kernel[0] + ky) * c.kernel[1] + kx,
                            (channel * c.from[0] + row - c.padding[0]) * c.from[1] + column - c.padding[1],
                        );
                    }
                }
            }
        }
    }

    fn close(found: &[f32], expected: &[f32]) {
        assert_eq!(found.len(), expected.len());
        for (a, b) in found.iter().zip(expected) {
            assert!((a - b).abs() < 1e-3 * (1.0 + b.abs()), "{a} {b}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(300))]

        /// Output and both gradients, for any shape, against the definition.
        #[test]
        fn any_convolution_follows_the_definition(
            (groups, group_inputs, group_outputs) in (1usize..4, 1usize..5, 1usize..9),
            from in [1usize..12, 1usize..14], kernel in [1usize..6, 1usize..6],
            stride in [1usize..4, 1usize..4], padding in [0usize..3, 0usize..3], narrow: bool,
        ) {
            #[cfg(target_arch = "x86_64")]
            crate::simd::NARROW.set(narrow);
            let _ = narrow;
            prop_assume!([0, 1].iter().all(|&axis| padding[axis] < kernel[axis] && from[axis] + 2 * padding[axis] >= kernel[axis]));
            let to = [0, 1].map(|axis| (from[axis] + 2 * padding[axis] - kernel[axis]) / stride[axis] + 1);
            let (inputs, outputs) = (groups * group_inputs, groups * group_outputs);
            let c = Convolution { inputs, outputs, from, to, kernel, stride, padding, groups };
            let number = |i: usize| ((i * 7) % 23) as f32 / 23.0 - 0.5;
            let samples = 3;
            let (size_in, size_out) = (inputs * from[0] * from[1], outputs * to[0] * to[1]);
            let weights: Vec<f32> = (0..outputs * group_inputs * kernel[0] * kernel[1]).map(number).collect();
            let input: Vec<f32> = (0..samples * size_in).map(number).collect();
            let upper: Vec<f32> = (0..samples * size_out).map(|i| number(i + 5)).collect();
            let (mut output, mut back) = (vec![0.0; samples * size_out], vec![0.0; samples * size_in]);
            let mut gradient = vec![0.0; weights.len()];
            for s in 0..samples {
                visit(&c, |o, w, i| {
                    output[s * size_out + o] += weights[w] * input[s * size_in + i];
                    back[s * size_in + i] += weights[w] * upper[s * size_out + o];
                    gradient[w] += upper[s * size_out + o] * input[s * size_in + i];
                });
            }
            let packed = c.pack(&weights, true);
            let (blocks, uppers) = (pack(&input, size_in), pack(&upper, size_out));
            let (mut outputs, mut backs, mut sums) = (Vec::new(), Vec::new(), vec![0.0; weights.len()]);
            let mut scratch = vec![7.0; 11];
            for (block, upper) in blocks.iter().zip(&uppers) {
                // What buffers held before must not matter.
                let (mut output, mut back) = (vec![3.0; 1000], vec![3.0; 1000]);
                c.forward(&packed, (None, false), &block.values, &mut scratch, &mut output);
                c.backward(&packed, &upper.values, &mut scratch, &mut back);
                c.add_weight_gradient(&upper.values, &block.values, &mut scratch, &mut sums);
                outputs.push((output, block.samples));
                backs.push((back, block.samples));
            }
            close(&unpack(outputs.iter().map(|(values, samples)| (values.as_slice(), *samples))), &output);
            close(&unpack(backs.iter().map(|(values, samples)| (values.as_slice(), *samples))), &back);
            close(&sums, &gradient);
        }
    }
}
