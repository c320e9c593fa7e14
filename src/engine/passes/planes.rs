//! The memory layout of one channel of an image in a convolution by groups.

use tract_onnx::tract_core::ops::cnn::PoolSpec;

/// A copy of a plane with its padding, cut into phases: the pixels whose row and column leave the same remainders by
/// the strides are side by side. For every tap, the pixels of neighbouring outputs are then neighbours, and the first
/// pixel for the next row of outputs is always [`Planes::width`] further. So all outputs of a plane are one long row, with
/// a few unused places between the rows of the image.
#[derive(Debug)]
pub(super) struct Planes {
    size: [usize; 2],
    stride: [usize; 2],
    before: [usize; 2],
    output: [usize; 2],
    /// The rows and columns of one phase.
    phase: [usize; 2],
    /// The index in a plane of each tap of the first output.
    pub(super) taps: Vec<usize>,
}

/// The places that any channel may have in a layout, however small its image is.
const SMALL: usize = 1 << 12;

/// Returns true if the places of a channel in a layout are in proportion to its pixels before and after the convolution.
/// They are not for a huge stride, dilation or padding, of which a copy would take all memory; `None` is too large a
/// number.
pub(super) fn is_moderate(places: Option<usize>, size: [usize; 2], output: [usize; 2]) -> bool {
    let area = |[height, width]: [usize; 2]| height.saturating_mul(width);
    let most = area(size).saturating_add(area(output)).saturating_mul(4).saturating_add(SMALL);
    places.is_some_and(|places| places <= most)
}

/// Returns the distance of the first tap of an axis from the last.
pub(super) fn reach(conv: &PoolSpec, axis: usize) -> Option<usize> {
    conv.kernel_shape[axis].checked_sub(1)?.checked_mul(conv.dilation(axis))
}

impl Planes {
    /// Returns true if there is a layout, or no need of one because there are no pixels.
    pub(super) fn covers(conv: &PoolSpec, size: [usize; 2], output: [usize; 2]) -> bool {
        size.contains(&0) || output.contains(&0) || Self::new(conv, size, output).is_some()
    }

    /// Plans the layout of planes of `size` that are convolved to `output`. Neither may be empty. `None` if it would take
    /// much more memory than the planes.
    pub(super) fn new(conv: &PoolSpec, size: [usize; 2], output: [usize; 2]) -> Option<Self> {
        let stride = [0, 1].map(|axis| conv.stride(axis));
        let phase = |axis: usize| output[axis].checked_add(reach(conv, axis)?.checked_div(stride[axis])?);
        let phase = [phase(0)?, phase(1)?];
        let places = [phase[1], stride[0], stride[1]].into_iter().try_fold(phase[0], usize::checked_mul);
        if !is_moderate(places, size, output) {
            return None;
        }
        let pads = conv.computed_padding(&size);
        let before = [0, 1].map(|axis| pads[axis].pad_before);
        let mut planes = Self { size, stride, before, output, phase, taps: Vec::new() };
        for y in (0..conv.kernel_shape[0]).map(|y| y * conv.dilation(0)) {
            for x in (0..conv.kernel_shape[1]).map(|x| x * conv.dilation(1)) {
                planes.taps.push(planes.place(y, x));
            }
        }
        Some(planes)
    }

    /// Returns the index of a pixel, counted from the padding.
    fn place(&self, y: usize, x: usize) -> usize {
        let [down, across] = self.stride;
        let phase = y % down * across + x % across;
        phase * self.area() + y / down * self.width() + x / across
    }

    fn area(&self) -> usize {
        self.phase[0] * self.phase[1]
    }

    /// Returns the distance of a row of outputs from the next one.
    pub(super) fn width(&self) -> usize {
        self.phase[1]
    }

    /// Returns the places of a plane in the layout.
    pub(super) fn len(&self) -> usize {
        self.area() * self.stride[0] * self.stride[1]
    }

    /// Returns the places from the first output to the last.
    pub(super) fn outputs(&self) -> usize {
        (self.output[0] - 1) * self.width() + self.output[1]
    }

    /// Returns the pixels of a plane before the convolution.
    pub(super) fn input_area(&self) -> usize {
        self.size[0] * self.size[1]
    }

    /// Returns the pixels of a plane after the convolution.
    pub(super) fn output_area(&self) -> usize {
        self.output[0] * self.output[1]
    }

    /// Copies a plane into the layout. Every call writes the same places of `to`, so the padding stays zero.
    #[inline(always)]
    pub(super) fn arrange(&self, plane: &[f32], to: &mut [f32]) {
        for (y, row) in plane.chunks_exact(self.size[1]).enumerate() {
            let y = y + self.before[0];
            if y / self.stride[0] >= self.phase[0] {
                return;
            }
            let to = &mut to[self.place(y, 0)..];
            match self.stride[1] {
                1 => copy(row, &mut to[..self.width()], self.before[1]),
                2 => self.halve(row, to),
                _ => self.part(row, to),
            }
        }
    }

    /// Copies a row to its even and odd columns.
    #[inline(always)]
    fn halve(&self, row: &[f32], to: &mut [f32]) {
        let (even, odd) = to.split_at_mut(self.area());
        let (even, odd) = (&mut even[..self.width()], &mut odd[..self.width()]);
        let (skip, single) = (self.before[1] / 2, self.before[1] % 2);
        if let (1, Some(&first), Some(odd)) = (single, row.first(), odd.get_mut(skip)) {
            *odd = first;
        }
        let (pairs, last) = row[single.min(row.len())..].as_chunks::<2>();
        let (Some(even), Some(odd)) = (even.get_mut(skip + single..), odd.get_mut(skip + single..)) else { return };
        for ((even, odd), pair) in even.iter_mut().zip(odd).zip(pairs) {
            (*even, *odd) = (pair[0], pair[1]);
        }
        if let ([last], Some(even)) = (last, even.get_mut(pairs.len())) {
            *even = *last;
        }
    }

    /// Copies a row to the columns of each phase.
    #[inline(always)]
    fn part(&self, row: &[f32], to: &mut [f32]) {
        let (stride, before) = (self.stride[1], self.before[1]);
        for phase in 0..stride {
            // The first column of this phase at or after the left edge of the image.
            let skip = before.saturating_sub(phase).div_ceil(stride);
            let row = row.get(skip * stride + phase - before..).unwrap_or_default();
            let to = &mut to[phase * self.area()..][..self.width()];
            if let Some(to) = to.get_mut(skip..) {
                to.iter_mut().zip(row.iter().step_by(stride)).for_each(|(to, &pixel)| *to = pixel);
            }
        }
    }

    /// Copies the rows of the outputs, without the places between them.
    #[inline(always)]
    pub(super) fn gather(&self, outputs: &[f32], plane: &mut [f32]) {
        let rows = outputs.chunks(self.width());
        for (to, row) in plane.chunks_exact_mut(self.output[1]).zip(rows) {
            to.copy_from_slice(&row[..self.output[1]]);
        }
    }
}

/// Copies as many of the pixels as have a place after the padding.
#[inline(always)]
fn copy(row: &[f32], to: &mut [f32], before: usize) {
    if let Some(to) = to.get_mut(before..) {
        let count = row.len().min(to.len());
        to[..count].copy_from_slice(&row[..count]);
    }
}
