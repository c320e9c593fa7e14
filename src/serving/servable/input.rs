//! The input of a request, and the ways in which it may be answered.

use bytes::Bytes;

use super::Servable;
use super::doubt::Doubts;
use crate::serving::execution::Runner;
use crate::signature::MaskForm;
use crate::tensor::Tensor;
use crate::transform::text::Text;
use crate::transform::{ImageLimits, PolarityChoice, effort};

/// The input of a request.
#[derive(Debug, Clone)]
pub enum Input {
    /// Encoded images, one sample each.
    Images(Vec<Bytes>),
    /// Texts for a tokenizer, one sample each.
    Texts(Vec<Text>),
    /// The inputs of the model, in the signature's order.
    Tensors(Vec<Tensor>),
}

impl Input {
    /// Returns the samples that it brings to a graph.
    pub(crate) fn samples(&self, runner: &Runner) -> usize {
        match self {
            Self::Images(images) => images.len(),
            Self::Texts(texts) => texts.len(),
            Self::Tensors(tensors) => runner.samples(tensors),
        }
    }

    /// Returns the samples of a request each by itself. Of a graph without a batch the whole request is one.
    pub fn apart(self, servable: &Servable) -> Vec<Self> {
        match self {
            Self::Images(images) => images.into_iter().map(|image| Self::Images(vec![image])).collect(),
            Self::Texts(texts) => texts.into_iter().map(|text| Self::Texts(vec![text])).collect(),
            Self::Tensors(tensors) => {
                let samples = servable.model.samples(&tensors);
                if samples == 1 {
                    return vec![Self::Tensors(tensors)];
                }
                let one = |at: usize| tensors.iter().map(|tensor| tensor.slice_rows(at..at + 1)).collect();
                (0..samples).map(|at| Self::Tensors(one(at))).collect()
            }
        }
    }

    /// Returns the bytes of its images or texts; of an image whose header declares many more pixels than it has bytes, a
    /// third of those, and of one above the limits nothing.
    pub(crate) fn encoded(&self, limits: ImageLimits) -> u64 {
        match self {
            Self::Images(images) => images.iter().map(|image| effort(image, limits)).fold(0, u64::saturating_add),
            Self::Texts(texts) => texts.iter().map(|text| text.bytes() as u64).sum(),
            Self::Tensors(_) => 0,
        }
    }

    /// Returns the size of its first dimension, if all tensors of the graph have it.
    pub(crate) fn rows(&self, runner: &Runner) -> usize {
        match self {
            Self::Images(images) => images.len(),
            Self::Texts(texts) => texts.len(),
            Self::Tensors(tensors) => runner.rows(tensors),
        }
    }
}

/// The choices that a request makes about its answer.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// The number of classes to name.
    pub top_k: usize,
    /// The polarity of the images.
    pub polarity: PolarityChoice,
    /// The questions about the answer's reliability.
    pub doubts: Doubts,
    /// The choices about the answer of a vision model.
    pub vision: VisionOptions,
}

/// The choices that a request makes about the answer of a vision model, in place of the model's own.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct VisionOptions {
    /// Boxes of no more confidence are left out.
    pub confidence: Option<f32>,
    /// The overlap above which the less confident box of a class is left out.
    pub iou: Option<f32>,
    /// The most boxes.
    pub max_detections: Option<usize>,
    /// The form of a class map.
    pub mask: Option<MaskForm>,
    /// True if the answer is to be drawn.
    pub draws: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self { top_k: 1, polarity: PolarityChoice::Auto, doubts: Doubts::default(), vision: VisionOptions::default() }
    }
}

/// A part of a version that can be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Part {
    /// The model itself.
    Model,
    /// The decoder of an autoencoder.
    Decoder,
    /// The graph that gives the maps of class-activation maps, once it is loaded.
    ClassMaps,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the beginning of a PNG file that declares this size.
    fn png(width: u32, height: u32) -> Bytes {
        let start = b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR";
        let size = [width.to_be_bytes(), height.to_be_bytes()].concat();
        [&start[..], &size, &[8, 0, 0, 0, 0, 0, 0, 0, 0]].concat().into()
    }

    #[test]
    fn an_image_costs_what_it_declares_unless_it_will_be_refused() {
        let encoded = |images: Vec<Bytes>, max_pixels| Input::Images(images).encoded(ImageLimits { max_pixels });
        assert_eq!(encoded(vec![png(300, 100), png(30, 100), b"\xff\xd8\xff".to_vec().into()], 30_000), 11_003);
        assert_eq!(encoded(vec![png(300, 100), png(30, 100)], 29_999), 1000);
        let greatest = || vec![png(u32::MAX, u32::MAX); 8];
        assert_eq!(encoded(greatest(), 1 << 26), 0);
        assert_eq!(encoded(greatest(), u64::MAX), u64::MAX);
    }
}
