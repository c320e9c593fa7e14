//! The memory layout of one image during a convolution.

use tract_onnx::tract_core::ops::cnn::PoolSpec;

use super::planes::{is_moderate, reach};

/// Channel planes in which one tap finds the pixels for neighbouring outputs side by side. This is the
/// image itself if it already has that layout, otherwise a copy with the padding and, for a stride, with
/// the columns of each phase side by side.
#[derive(Debug)]
pub(super) struct Image {
    channels: usize,
    height: usize,
    width: usize,
    top: usize,
    left: usize,
    stride: [usize; 2],
    rows: usize,
    /// The columns of one phase. There are as many phases as the stride has columns.
    phase: usize,
    is_copied: bool,
    /// The index of the pixel of each tap (channel, row, column) for the first output.
    pub(super) taps: Vec<usize>,
}

impl Image {
    /// Returns true if there is a layout, or no need of one because there are no pixels.
    pub(super) fn covers(conv: &PoolSpec, input: [usize; 3], output: [usize; 2]) -> bool {
        input.contains(&0) || output.contains(&0) || Self::new(conv, input, output).is_some()
    }

    /// Plans the layout of images of `[channels, height, width]` that are convolved to `[height, width]`.
    /// Neither may be empty. `None` if it would take much more memory than the images.
    pub(super) fn new(conv: &PoolSpec, input: [usize; 3], output: [usize; 2]) -> Option<Self> {
        let [channels, height, width] = input;
        let pads = conv.computed_padding(&[height, width]);
        let (top, left) = (pads[0].pad_before, pads[1].pad_before);
        let stride = [conv.stride(0), conv.stride(1)];
        let length = |axis: usize| {
            let last = (output[axis] - 1).checked_mul(stride[axis])?;
            last.checked_add(reach(conv, axis)?)?.checked_add(1)
        };
        let (rows, columns) = (length(0)?, length(1)?);
        let is_copied = top > 0 || left > 0 || stride[1] > 1 || rows > height || columns > width;
        let (rows, phase) = if is_copied { (rows, columns.div_ceil(stride[1])) } else { (height, width) };
        if is_copied {
            let places = phase.checked_mul(stride[1]).and_then(|row| row.checked_mul(rows));
            let is_number = places.is_some_and(|places| places.checked_mul(channels).is_some());
            if !is_number || !is_moderate(places, [height, width], output) {
                return None;
            }
        }
        let mut image = Self { channels, height, width, top, left, stride, rows, phase, is_copied, taps: Vec::new() };
        for channel in 0..channels {
            for y in 0..conv.kernel_shape[0] {
                let row = (channel * rows + y * conv.dilation(0)) * image.row_len();
                let columns = (0..conv.kernel_shape[1]).map(|x| x * conv.dilation(1));
                image.taps.extend(columns.map(|x| row + x % stride[1] * phase + x / stride[1]));
            }
        }
        Some(image)
    }

    fn row_len(&self) -> usize {
        self.phase * self.stride[1]
    }

    /// Returns the index at which the pixels for a row of outputs begin.
    pub(super) fn row(&self, output: usize) -> usize {
        output * self.stride[0] * self.row_len()
    }

    /// Allocates the zeros for [`Self::arrange`]; empty if the image needs no copy.
    pub(super) fn buffer(&self) -> Vec<f32> {
        vec![0.0; if self.is_copied { self.channels * self.rows * self.row_len() } else { 0 }]
    }

    /// Returns the image in the layout of the taps. Every call writes the same places of `buffer`, so the
    /// padding stays zero.
    pub(super) fn arrange<'a>(&self, image: &'a [f32], buffer: &'a mut [f32]) -> &'a [f32] {
        if !self.is_copied {
            return image;
        }
        let planes = image.chunks_exact(self.height * self.width);
        for (plane, to) in planes.zip(buffer.chunks_exact_mut(self.rows * self.row_len())) {
            let rows = to.chunks_exact_mut(self.row_len()).skip(self.top);
            for (row, to) in plane.chunks_exact(self.width).zip(rows) {
                self.copy_row(row, to);
            }
        }
        buffer
    }

    fn copy_row(&self, row: &[f32], to: &mut [f32]) {
        let stride = self.stride[1];
        if stride == 1 {
            let count = row.len().min(to.len().saturating_sub(self.left));
            to[self.left..self.left + count].copy_from_slice(&row[..count]);
            return;
        }
        if stride == 2 && self.left.is_multiple_of(2) {
            let (even, odd) = to.split_at_mut(self.phase);
            let skip = self.left / 2;
            let (pairs, last) = row.as_chunks::<2>();
            for ((even, odd), pair) in even[skip..].iter_mut().zip(&mut odd[skip..]).zip(pairs) {
                (*even, *odd) = (pair[0], pair[1]);
            }
            if let ([last], Some(even)) = (last, even.get_mut(skip + pairs.len())) {
                *even = *last;
            }
            return;
        }
        for (phase, to) in to.chunks_exact_mut(self.phase).enumerate() {
            // The first column of this phase at or after the left edge of the image.
            let skip = self.left.saturating_sub(phase).div_ceil(stride);
            let from = skip * stride + phase - self.left;
            if let (Some(row), Some(to)) = (row.get(from..), to.get_mut(skip..)) {
                to.iter_mut().zip(row.iter().step_by(stride)).for_each(|(to, &value)| *to = value);
            }
        }
    }
}
