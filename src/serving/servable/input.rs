//! The input of a request, and the ways in which it may be answered.

use bytes::Bytes;

use super::Servable;
use super::doubt::Doubts;
use crate::serving::execution::Runner;
use crate::signature::MaskForm;
use crate::tensor::Tensor;
use crate::transform::PolarityChoice;

/// The input of a request.
#[derive(Debug, Clone)]
pub enum Input {
    /// Encoded images, one sample each.
    Images(Vec<Bytes>),
    /// The inputs of the model, in the signature's order.
    Tensors(Vec<Tensor>),
}

impl Input {
    /// Returns the samples that it brings to a graph.
    pub(crate) fn samples(&self, runner: &Runner) -> usize {
        match self {
            Self::Images(images) => images.len(),
            Self::Tensors(tensors) => runner.samples(tensors),
        }
    }

    /// Returns the samples of a request each by itself. Of a graph without a batch the whole request is one.
    pub fn apart(self, servable: &Servable) -> Vec<Self> {
        match self {
            Self::Images(images) => images.into_iter().map(|image| Self::Images(vec![image])).collect(),
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

    /// Returns the size of its first dimension, if all tensors of the graph have it.
    pub(crate) fn rows(&self, runner: &Runner) -> usize {
        match self {
            Self::Images(images) => images.len(),
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
}
