//! From the input of a request to the inputs of a graph.

use std::panic::{AssertUnwindSafe, catch_unwind};

use bytes::Bytes;

use super::Servable;
use super::input::{Input, Options, Part};
use super::prediction::Prediction;
use crate::error::{Error, Result};
use crate::signature::{ImageTransform, TensorSpec, shape_text};
use crate::tensor::Tensor;
use crate::transform::{self, PolarityChoice};

/// The inputs of a request as tensors of the graph, and of images whether each was inverted.
pub(crate) type Decoded = (Vec<Tensor>, Option<Vec<bool>>);

impl Servable {
    /// Answers a request on this thread, for nobody's statistics: that is how a version is tried before it
    /// serves.
    ///
    /// # Errors
    /// What is wrong with the input, or [`Error::ModelFailed`].
    pub(crate) fn execute(&self, input: Input, options: Options) -> Result<Vec<Prediction>> {
        let samples = input.rows(&self.model);
        let (tensors, inverted) = self.decode(Part::Model, input, options.polarity)?;
        let outputs = self.model.infer_uncounted(&tensors)?;
        self.predictions(&outputs, samples, inverted.as_deref(), &options)
    }

    /// Returns the inputs as tensors of the graph, checked against the signature.
    ///
    /// # Errors
    /// [`Error::InvalidInput`] naming the input, what it expects and what it got; [`Error::NotFound`] for a
    /// part that the version does not have.
    pub(crate) fn decode(&self, part: Part, input: Input, polarity: PolarityChoice) -> Result<Decoded> {
        let (mut tensors, inverted) = match input {
            Input::Tensors(tensors) => (tensors, None),
            Input::Images(images) => {
                let (tensor, inverted) = self.images_to_tensor(&images, polarity)?;
                (vec![tensor], Some(inverted))
            }
        };
        if part == Part::Model {
            self.transforms.fill_in(&mut tensors)?;
        }
        Ok((self.runner(part)?.prepare(tensors)?, inverted))
    }

    fn images_to_tensor(&self, images: &[Bytes], polarity: PolarityChoice) -> Result<(Tensor, Vec<bool>)> {
        let transform = self.image_transform().ok_or_else(|| {
            Error::UnsupportedMedia(format!(
                "model \"{}\" takes no images, it has no image transform; send JSON with {}",
                self.name,
                match self.sample_dims().next() {
                    Some(dims) => format!("\"instances\" of shape {}", shape_text(dims)),
                    None => "{\"inputs\": {}}, as it has no inputs".into(),
                }
            ))
        })?;
        let sample = self.signature().inputs.first().and_then(TensorSpec::sample_shape).unwrap_or_default();
        let mut data: Vec<f32> = Vec::with_capacity(images.len() * sample.iter().product::<usize>());
        let mut inverted = Vec::with_capacity(images.len());
        for (index, image) in images.iter().enumerate() {
            let prepared =
                self.prepare(image, transform, polarity).map_err(|error| at_image(error, index, images.len()))?;
            data.extend(prepared.pixels.iter().map(|pixel| f32::from(*pixel)));
            inverted.push(prepared.inverted);
        }
        let shape = std::iter::once(images.len()).chain(sample).collect();
        Ok((Tensor::new(shape, data)?, inverted))
    }

    /// Decoders are known to panic on hostile files; that is the file's fault.
    fn prepare(
        &self,
        image: &[u8],
        transform: &ImageTransform,
        polarity: PolarityChoice,
    ) -> Result<transform::Prepared> {
        let work = || transform::prepare(transform::decode(image, self.transforms.image_limits)?, transform, polarity);
        catch_unwind(AssertUnwindSafe(work))
            .unwrap_or_else(|_| Err(Error::InvalidInput("the image is damaged and cannot be decoded".into())))
    }
}

/// Says which of several images is at fault.
fn at_image(error: Error, index: usize, count: usize) -> Error {
    if count == 1 {
        return error;
    }
    match error {
        Error::InvalidInput(what) => Error::InvalidInput(format!("image {index}: {what}")),
        Error::UnsupportedMedia(what) => Error::UnsupportedMedia(format!("image {index}: {what}")),
        Error::TooLarge { what, limit, got } => Error::TooLarge { what, limit, got: format!("{got} (image {index})") },
        other => other,
    }
}
