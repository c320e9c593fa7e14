//! Channels that become pixels of larger planes (Shi et al. 2016), and back.

use super::block::sized;
use crate::simd::lanes;

/// Each `factor²` channels of `[height, width]` become one of `[height·factor, width·factor]`: pixel (y, x) of their
/// `i·factor + j`th is pixel (y·factor + i, x·factor + j).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Shuffle {
    pub(crate) factor: usize,
    /// Height and width going in.
    pub(crate) from: [usize; 2],
}

impl Shuffle {
    /// The planes as larger ones.
    pub(crate) fn forward(&self, input: &[f32], output: &mut Vec<f32>) {
        let output = sized(output, input.len());
        self.places(input.len(), |small, large| output[large.clone()].copy_from_slice(&input[small.clone()]));
    }

    /// The gradient of the input.
    pub(crate) fn backward(&self, upper: &[f32], back: &mut Vec<f32>) {
        let back = sized(back, upper.len());
        self.places(upper.len(), |small, large| back[small.clone()].copy_from_slice(&upper[large.clone()]));
    }

    /// Tells where each pixel is in the small planes and in the large ones, in numbers of a block that has `len`.
    fn places(&self, len: usize, mut tell: impl FnMut(std::ops::Range<usize>, std::ops::Range<usize>)) {
        let (lanes, factor, [height, width]) = (lanes(), self.factor, self.from);
        let pixel = |at: usize| at * lanes..(at + 1) * lanes;
        for plane in 0..len / (lanes * height * width) {
            let (channel, part) = (plane / (factor * factor), plane % (factor * factor));
            for (y, x) in (0..height).flat_map(|y| (0..width).map(move |x| (y, x))) {
                let row = channel * height * factor + y * factor + part / factor;
                tell(pixel((plane * height + y) * width + x), pixel((row * width + x) * factor + part % factor));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn channels_become_squares_row_by_row_and_back() {
        // Two channels of 2 × 4 out of eight of 1 × 2; ONNX's DepthToSpace in its mode CRD gives the same.
        let expected = [0, 2, 1, 3, 4, 6, 5, 7, 8, 10, 9, 11, 12, 14, 13, 15];
        let shuffle = Shuffle { factor: 2, from: [1, 2] };
        let lanes = lanes();
        let number = |at: usize| (0..lanes).map(move |lane| (at * 100 + lane) as f32);
        let input: Vec<f32> = (0..16).flat_map(number).collect();
        let (mut output, mut back) = (Vec::new(), Vec::new());
        shuffle.forward(&input, &mut output);
        assert_eq!(output, expected.into_iter().flat_map(number).collect::<Vec<f32>>());
        shuffle.backward(&output, &mut back);
        assert_eq!(back, input);
    }
}
