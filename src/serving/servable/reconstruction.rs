//! The answers of an autoencoder: the reconstructed image, its code, and a score of how unlikely it is.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::fit::unusable;
use super::prediction::{Prediction, not_finite};
use crate::error::Result;
use crate::repository::Manifest;
use crate::signature::{Batching, DType, OutputTransform, Signature, TensorSpec, Transform};
use crate::stats::ReferenceScores;
use crate::tensor::Tensor;
use crate::transform::{ImageFacts, Picture};

/// The places of an answer's parts among a graph's outputs, and of the noise among its inputs.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Reconstruction {
    image: usize,
    code: usize,
    score: usize,
    /// Numbers of noise for each sample.
    noise: usize,
    /// Width and height of an image.
    size: [usize; 2],
    /// The scores of the reference data, if they are known.
    reference: Option<ReferenceScores>,
}

impl Reconstruction {
    /// Finds the parts in a graph; `None` if the transform is of another kind.
    ///
    /// # Errors
    /// [`Error::Repository`] saying what does not fit the graph.
    pub(crate) fn of(transform: &Transform, manifest: Option<&Manifest>, graph: &Signature) -> Result<Option<Self>> {
        let OutputTransform::Reconstruction { reconstruction, code, score, noise } = &transform.output else {
            return Ok(None);
        };
        let Some(image) = &transform.image else {
            return Err(unusable("a model that reconstructs images must take images".into()));
        };
        let elements = |spec: &TensorSpec| -> Option<usize> {
            let fits = spec.dtype == DType::Float32 && graph.batching() == Batching::Any;
            spec.sample_shape().filter(|_| fits).map(|shape| shape.iter().product())
        };
        let output = |name: &str| {
            let index = graph.outputs.iter().position(|output| output.name == name);
            index.map(|index| (index, elements(&graph.outputs[index])))
        };
        let size = [image.width() as usize, image.height() as usize];
        let of_noise = graph.inputs.get(1).filter(|input| input.name == *noise).and_then(elements);
        match (output(reconstruction), output(code), output(score), of_noise) {
            (Some((image, Some(pixels))), Some((code, Some(numbers))), Some((score, Some(1))), Some(noise))
                if pixels == size[0] * size[1] && numbers == noise =>
            {
                let reference = manifest.and_then(Manifest::reconstruction).and_then(|quality| quality.scores.clone());
                if reference.as_ref().is_some_and(|reference| !reference.is_sound()) {
                    return Err(unusable("the reference scores of the manifest are no quantiles".into()));
                }
                Ok(Some(Self { image, code, score, noise, size, reference }))
            }
            found => Err(unusable(format!(
                "the graph must have float outputs \"{reconstruction}\" of {} pixels, \"{code}\" of as many numbers as its second input \"{noise}\", and \"{score}\" of one number for each sample; found {found:?}",
                size[0] * size[1]
            ))),
        }
    }

    /// Returns the place of the score among the outputs.
    pub(super) fn score(&self) -> usize {
        self.score
    }

    /// Returns the noise of a request that brings none: zeros.
    ///
    /// # Errors
    /// [`Error::InvalidInput`] when it would be too large to be counted.
    pub(crate) fn no_noise(&self, samples: usize) -> Result<Tensor> {
        Tensor::zeros(DType::Float32, vec![samples, self.noise])
    }

    /// Returns the answers for all samples of a request.
    ///
    /// # Errors
    /// [`Error::InvalidInput`] when an output is not finite, [`Error::Internal`] when no picture can be made of it.
    pub(crate) fn answers(&self, outputs: &[Tensor], facts: &[ImageFacts]) -> Result<Vec<Prediction>> {
        let parts = [self.image, self.code, self.score];
        if parts.iter().any(|part| outputs[*part].data().has_non_finite()) {
            return Err(not_finite(None));
        }
        let [images, codes] = [self.image, self.code].map(|part| outputs[part].float_rows());
        let scores = outputs[self.score].floats()?;
        let [width, height] = self.size;
        let mut answers = Vec::with_capacity(scores.len());
        for (index, ((image, code), score)) in images?.zip(codes?).zip(scores).enumerate() {
            let score = f64::from(*score);
            answers.push(Prediction::Reconstructed {
                reconstruction: STANDARD.encode(Picture::of_intensities(image, width, height).png()?),
                latent: code.to_vec(),
                score,
                quantile: self.reference.as_ref().map(|reference| reference.share_below(score)),
                inverted: facts.get(index).and_then(|facts| facts.inverted),
            });
        }
        Ok(answers)
    }
}
