//! Poolings, forward and backward.

use super::block::{sized, zeroed};
use crate::simd::{lanes, with_lanes};

/// Windows of `size × size` pixels, `stride` apart, on planes of `from` pixels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Pooling {
    pub(crate) size: usize,
    pub(crate) stride: usize,
    /// Height and width going in.
    pub(crate) from: [usize; 2],
    /// Height and width coming out.
    pub(crate) to: [usize; 2],
}

impl Pooling {
    /// For each output of one plane, in order, where its pixels lie.
    fn windows(&self) -> Vec<Vec<usize>> {
        let pixels = || (0..self.size).flat_map(|y| (0..self.size).map(move |x| y * self.from[1] + x));
        let corner = |y: usize, x: usize| (y * self.from[1] + x) * self.stride;
        let corners = (0..self.to[0]).flat_map(|y| (0..self.to[1]).map(move |x| corner(y, x)));
        corners.map(|corner| pixels().map(|pixel| corner + pixel).collect()).collect()
    }

    fn plane(&self) -> usize {
        self.from[0] * self.from[1]
    }

    fn places(&self) -> usize {
        self.to[0] * self.to[1]
    }

    fn output_len(&self, input: &[f32]) -> usize {
        input.len() / self.plane() * self.places()
    }

    /// The greatest of each window.
    pub(crate) fn max(&self, input: &[f32], output: &mut Vec<f32>) {
        let windows = self.windows();
        let output = sized(output, self.output_len(input));
        with_lanes!(LANES => {
            let planes = input.as_chunks::<LANES>().0.chunks_exact(self.plane());
            let outputs = output.as_chunks_mut::<LANES>().0.chunks_exact_mut(self.places());
            for (plane, output) in planes.zip(outputs) {
                for (window, most) in windows.iter().zip(output) {
                    *most = plane[window[0]];
                    for &pixel in &window[1..] {
                        for (most, &value) in most.iter_mut().zip(&plane[pixel]) {
                            *most = if value > *most { value } else { *most };
                        }
                    }
                }
            }
        });
    }

    /// The gradient of the input: all of a window's gradient goes to the first of its greatest pixels.
    pub(crate) fn max_back(&self, input: &[f32], output: &[f32], upper: &[f32], back: &mut Vec<f32>) {
        let windows = self.windows();
        let back = zeroed(back, input.len());
        with_lanes!(LANES => {
            let planes = input.as_chunks::<LANES>().0.chunks_exact(self.plane());
            let backs = back.as_chunks_mut::<LANES>().0.chunks_exact_mut(self.plane());
            let outputs = output.as_chunks::<LANES>().0.chunks_exact(self.places());
            let uppers = upper.as_chunks::<LANES>().0.chunks_exact(self.places());
            for ((plane, back), (output, upper)) in planes.zip(backs).zip(outputs.zip(uppers)) {
                for (window, (most, upper)) in windows.iter().zip(output.iter().zip(upper)) {
                    // What the window has not given away yet.
                    let mut left = *upper;
                    for &pixel in window {
                        let (values, back) = (&plane[pixel], &mut back[pixel]);
                        for lane in 0..LANES {
                            let given = if values[lane] == most[lane] { left[lane] } else { 0.0 };
                            back[lane] += given;
                            left[lane] -= given;
                        }
                    }
                }
            }
        });
    }

    /// The mean of each window.
    pub(crate) fn average(&self, input: &[f32], output: &mut Vec<f32>) {
        let windows = self.windows();
        let share = 1.0 / (self.size * self.size) as f32;
        let output = zeroed(output, self.output_len(input));
        with_lanes!(LANES => {
            let planes = input.as_chunks::<LANES>().0.chunks_exact(self.plane());
            let outputs = output.as_chunks_mut::<LANES>().0.chunks_exact_mut(self.places());
            for (plane, output) in planes.zip(outputs) {
                for (window, mean) in windows.iter().zip(output) {
                    for &pixel in window {
                        mean.iter_mut().zip(&plane[pixel]).for_each(|(mean, value)| *mean += *value * share);
                    }
                }
            }
        });
    }

    /// The gradient of the input of [`Pooling::average`].
    pub(crate) fn average_back(&self, upper: &[f32], back: &mut Vec<f32>) {
        let windows = self.windows();
        let share = 1.0 / (self.size * self.size) as f32;
        let back = zeroed(back, upper.len() / self.places() * self.plane());
        with_lanes!(LANES => {
            let backs = back.as_chunks_mut::<LANES>().0.chunks_exact_mut(self.plane());
            let uppers = upper.as_chunks::<LANES>().0.chunks_exact(self.places());
            for (back, upper) in backs.zip(uppers) {
                for (window, upper) in windows.iter().zip(upper) {
                    for &pixel in window {
                        back[pixel].iter_mut().zip(upper).for_each(|(back, upper)| *back += *upper * share);
                    }
                }
            }
        });
    }
}

/// The mean of each channel, whose plane has `pixels`.
pub(crate) fn global_average(input: &[f32], pixels: usize, output: &mut Vec<f32>) {
    let share = 1.0 / pixels as f32;
    let output = zeroed(output, input.len() / pixels);
    with_lanes!(LANES => {
        let planes = input.as_chunks::<LANES>().0.chunks_exact(pixels);
        for (plane, mean) in planes.zip(output.as_chunks_mut::<LANES>().0) {
            for pixel in plane {
                mean.iter_mut().zip(pixel).for_each(|(mean, value)| *mean += *value);
            }
            mean.iter_mut().for_each(|mean| *mean *= share);
        }
    });
}

/// The gradient of the input of [`global_average`].
pub(crate) fn global_average_back(upper: &[f32], pixels: usize, back: &mut Vec<f32>) {
    let lanes = lanes();
    let share = 1.0 / pixels as f32;
    back.clear();
    for upper in upper.chunks_exact(lanes) {
        for _ in 0..pixels {
            back.extend(upper.iter().map(|upper| upper * share));
        }
    }
}
