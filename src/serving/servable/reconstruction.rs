//! What an autoencoder answers: the image made again, its code, and how unlikely it is.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::error::{Error, Result};
use crate::repository::Manifest;
use crate::serving::servable::{Prediction, Servable};
use crate::signature::{Batching, DType, OutputTransform, Signature, TensorSpec, Transform};
use crate::stats::ReferenceScores;
use crate::tensor::Tensor;
use crate::transform::Picture;

/// Where the parts of an answer are among a graph's outputs, and the noise among its inputs.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Reconstruction {
    image: usize,
    code: usize,
    score: usize,
    /// Numbers of noise for each sample.
    noise: usize,
    /// Width and height of an image.
    size: [usize; 2],
    /// What scores are usual, if that is known.
    reference: Option<ReferenceScores>,
}

impl Reconstruction {
    /// Reads a transform; `None` if it is another one.
    ///
    /// # Errors
    /// [`Error::Repository`] saying what does not fit the graph.
    pub(crate) fn of(transform: &Transform, manifest: Option<&Manifest>, graph: &Signature) -> Result<Option<Self>> {
        let OutputTransform::Reconstruction { reconstruction, code, score, noise } = &transform.output else {
            return Ok(None);
        };
        let unusable = |problem: String| Err(crate::serving::lifecycle::verify::unusable(problem));
        let Some(image) = &transform.image else {
            return unusable("a model that makes images again must take images".into());
        };
        let elements = |spec: &TensorSpec| -> Option<usize> {
            let fits = spec.dtype == DType::Float32 && graph.batching() == Batching::Any;
            spec.sample_shape().filter(|_| fits).map(|shape| shape.iter().product())
        };
        let output = |name: &str| {
            let index = graph.outputs.iter().position(|output| output.name == name);
            index.map(|index| (index, elements(&graph.outputs[index])))
        };
        let size = [image.width as usize, image.height as usize];
        let of_noise = graph.inputs.get(1).filter(|input| input.name == *noise).and_then(elements);
        match (output(reconstruction), output(code), output(score), of_noise) {
            (Some((image, Some(pixels))), Some((code, Some(numbers))), Some((score, Some(1))), Some(noise))
                if pixels == size[0] * size[1] && numbers == noise =>
            {
                let reference = manifest.and_then(Manifest::reconstruction).and_then(|quality| quality.scores.clone());
                if reference.as_ref().is_some_and(|reference| !reference.is_sound()) {
                    return unusable("the reference scores of the manifest are no quantiles".into());
                }
                Ok(Some(Self { image, code, score, noise, size, reference }))
            }
            found => unusable(format!(
                "the graph must have float outputs \"{reconstruction}\" of {} pixels, \"{code}\" of as many numbers as its second input \"{noise}\", and \"{score}\" of one number for each sample; found {found:?}",
                size[0] * size[1]
            )),
        }
    }

    /// The noise for images that come without: none.
    ///
    /// # Errors
    /// [`Error::InvalidInput`] when it would be too large to be counted.
    pub(crate) fn no_noise(&self, samples: usize) -> Result<Tensor> {
        Tensor::zeros(DType::Float32, vec![samples, self.noise])
    }

    /// The answers for all samples of a request.
    ///
    /// # Errors
    /// [`Error::Internal`] when an output is not finite, or no picture can be made of it.
    pub(crate) fn answers(&self, outputs: &[Tensor], inverted: Option<&[bool]>) -> Result<Vec<Prediction>> {
        let parts = [self.image, self.code, self.score];
        if parts.iter().any(|part| outputs[*part].data().has_non_finite()) {
            return Err(Error::internal("the model's output is not a finite number", "NaN or infinity"));
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
                inverted: inverted.map(|inverted| inverted[index]),
            });
        }
        Ok(answers)
    }
}

impl Servable {
    /// How many inputs a request must bring; the rest are filled in.
    pub fn required_inputs(&self) -> usize {
        if self.reconstruction.is_some() { 1 } else { self.signature().inputs.len() }
    }

    /// Adds the noise to a request that has none.
    ///
    /// # Errors
    /// As [`Reconstruction::no_noise`].
    pub(crate) fn fill_in(&self, tensors: &mut Vec<Tensor>) -> Result<()> {
        if let (Some(reconstruction), [image]) = (&self.reconstruction, tensors.as_slice()) {
            let noise = reconstruction.no_noise(image.rows())?;
            tensors.push(noise);
        }
        Ok(())
    }
}
