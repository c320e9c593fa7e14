//! One version, loaded and runnable: transform, engine, transform.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;
use bytes::Bytes;
use serde::Serialize;
use utoipa::ToSchema;

use super::gather::Gather;
use super::sessions::Sessions;
use crate::engine::Plan;
use crate::error::{Error, Result};
use crate::ids::{ModelName, Version};
use crate::metrics::{ServableMetrics, Stages};
use crate::repository::Manifest;
use crate::signature::{ImageTransform, Signature};
use crate::stats::Summary;
use crate::tensor::Tensor;
use crate::transform::{self, Classification, ImageLimits, PolarityChoice};

/// What a request brings.
#[derive(Debug, Clone)]
pub enum Input {
    /// Encoded images, one sample each.
    Images(Vec<Bytes>),
    /// Numbers, already in the model's shape.
    Tensor(Tensor),
}

impl Input {
    /// How many samples it holds.
    pub fn samples(&self) -> usize {
        match self {
            Self::Images(images) => images.len(),
            Self::Tensor(tensor) => tensor.rows(),
        }
    }
}

/// What a request wishes.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// How many classes to name.
    pub top_k: usize,
    /// The polarity of the images.
    pub polarity: PolarityChoice,
}

/// The answer for one sample.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[serde(untagged)]
pub enum Prediction {
    /// A model with a distribution over classes.
    Classified {
        #[serde(flatten)]
        classification: Classification,
        /// Of an image: whether black and white were exchanged to reach the model's polarity.
        #[serde(skip_serializing_if = "Option::is_none")]
        inverted: Option<bool>,
    },
    /// A model without output transform.
    Raw {
        /// The numbers of each output, row by row.
        outputs: BTreeMap<String, Vec<f32>>,
    },
}

/// A version in memory. Dropping it frees the engine's memory and removes its metric series.
#[derive(Debug)]
pub struct Servable {
    /// The model.
    pub name: ModelName,
    /// The version.
    pub version: Version,
    /// The manifest, if the version has one.
    pub manifest: Option<Manifest>,
    /// The median time of the model alone on one sample, measured on this machine at load.
    pub cost: Duration,
    /// Its metric handles.
    pub metrics: ServableMetrics,
    pub(super) probe: Vec<(Bytes, usize)>,
    pub(super) live: ArcSwapOption<Summary>,
    pub(super) plan: Plan,
    pub(super) sessions: Sessions,
    pub(super) gather: Option<Gather>,
    pub(super) sample_shape: Vec<usize>,
    pub(super) probabilities: Option<usize>,
    pub(super) image_limits: ImageLimits,
}

impl Servable {
    /// Inputs and outputs.
    pub fn signature(&self) -> &Signature {
        self.plan.signature()
    }

    /// The shape of one sample.
    pub fn sample_shape(&self) -> &[usize] {
        &self.sample_shape
    }

    /// How images become the input, if the model takes images.
    pub fn image_transform(&self) -> Option<&ImageTransform> {
        self.manifest.as_ref()?.transform.image.as_ref()
    }

    /// The labels, by class; empty without a manifest.
    pub fn labels(&self) -> &[String] {
        self.manifest.as_ref().map_or(&[], |manifest| &manifest.labels)
    }

    /// Loss and accuracy of the last whole replay of the probe set.
    pub fn live_quality(&self) -> Option<Summary> {
        self.live.load().as_deref().copied()
    }

    /// Answers a request on this thread.
    ///
    /// # Errors
    /// What is wrong with the input, or [`Error::ModelFailed`].
    pub fn execute(&self, input: Input, options: Options) -> Result<(Vec<Prediction>, Stages)> {
        let start = Instant::now();
        let (tensor, inverted) = self.tensor(input, options.polarity)?;
        let decoded = Instant::now();
        let outputs = self.infer(&tensor)?;
        let inferred = Instant::now();
        let predictions = self.predictions(&outputs, tensor.rows(), inverted.as_deref(), options.top_k)?;
        let stages = Stages { decode: decoded - start, queue: Duration::ZERO, infer: inferred - decoded };
        Ok((predictions, stages))
    }

    /// Answers a request of one sample on this thread, together with those that are ready beside it
    /// if the model gains by that.
    ///
    /// # Errors
    /// As [`Servable::execute`].
    pub(super) async fn execute_inline(&self, input: Input, options: Options) -> Result<(Vec<Prediction>, Stages)> {
        let Some(gather) = &self.gather else { return self.execute(input, options) };
        let start = Instant::now();
        let (tensor, inverted) = self.tensor(input, options.polarity)?;
        let decoded = Instant::now();
        let (outputs, infer) = gather.run(self, tensor).await?;
        let queue = decoded.elapsed().saturating_sub(infer);
        let predictions = self.predictions(&outputs, 1, inverted.as_deref(), options.top_k)?;
        Ok((predictions, Stages { decode: decoded - start, queue, infer }))
    }

    /// The input as a tensor, and of images whether each was inverted.
    fn tensor(&self, input: Input, polarity: PolarityChoice) -> Result<(Tensor, Option<Vec<bool>>)> {
        match input {
            Input::Tensor(tensor) => Ok((tensor, None)),
            Input::Images(images) => {
                let (tensor, inverted) = self.images_to_tensor(&images, polarity)?;
                Ok((tensor, Some(inverted)))
            }
        }
    }

    /// Runs the model alone. A model of a fixed batch gets the samples in pieces of that size.
    pub(super) fn infer(&self, tensor: &Tensor) -> Result<Vec<Tensor>> {
        let rows = tensor.rows();
        let run = |batch: &Tensor| {
            self.metrics.batch_size.observe(batch.rows() as f64);
            self.sessions.with(&self.plan, |session| session.run(batch)).map_err(|error| self.failed(error))
        };
        let Some(size) = self.plan.fixed_batch().filter(|size| *size != rows) else {
            return run(tensor);
        };
        if size == 0 || !rows.is_multiple_of(size) {
            return Err(Error::InvalidInput(format!("the model takes batches of exactly {size}, got {rows} samples")));
        }
        let mut joined: Vec<(Vec<usize>, Vec<f32>)> = Vec::new();
        for piece in tensor.data().chunks_exact(size * tensor.row_elements()) {
            let shape = std::iter::once(size).chain(tensor.shape()[1..].iter().copied()).collect();
            for (index, output) in run(&Tensor::new(shape, piece.to_vec())?)?.into_iter().enumerate() {
                if joined.len() == index {
                    joined.push((output.shape().to_vec(), Vec::new()));
                }
                joined[index].1.extend_from_slice(output.data());
            }
        }
        let rejoin = |(mut shape, data): (Vec<usize>, Vec<f32>)| {
            if let Some(first) = shape.first_mut() {
                *first = rows;
            }
            Tensor::new(shape, data).map_err(|error| self.failed(error))
        };
        joined.into_iter().map(rejoin).collect()
    }

    fn images_to_tensor(&self, images: &[Bytes], polarity: PolarityChoice) -> Result<(Tensor, Vec<bool>)> {
        let transform = self.image_transform().ok_or_else(|| {
            Error::UnsupportedMedia(format!(
                "model \"{}\" takes no images, it has no image transform; send JSON with \"instances\" of shape {:?}",
                self.name, self.sample_shape
            ))
        })?;
        let mut data = Vec::with_capacity(images.len() * self.sample_shape.iter().product::<usize>());
        let mut inverted = Vec::with_capacity(images.len());
        for (index, image) in images.iter().enumerate() {
            let prepared =
                self.prepare(image, transform, polarity).map_err(|error| at_image(error, index, images.len()))?;
            data.extend(prepared.pixels.iter().map(|pixel| f32::from(*pixel)));
            inverted.push(prepared.inverted);
        }
        let shape = std::iter::once(images.len()).chain(self.sample_shape.iter().copied()).collect();
        Ok((Tensor::new(shape, data)?, inverted))
    }

    /// Decoders are known to panic on hostile files; that is the file's fault.
    fn prepare(
        &self,
        image: &[u8],
        transform: &ImageTransform,
        polarity: PolarityChoice,
    ) -> Result<transform::Prepared> {
        let work = || transform::prepare(transform::decode(image, self.image_limits)?, transform, polarity);
        catch_unwind(AssertUnwindSafe(work))
            .unwrap_or_else(|_| Err(Error::InvalidInput("the image is damaged and cannot be decoded".into())))
    }

    fn predictions(
        &self,
        outputs: &[Tensor],
        rows: usize,
        inverted: Option<&[bool]>,
        top_k: usize,
    ) -> Result<Vec<Prediction>> {
        if let Some(output) = outputs.iter().find(|output| output.rows() != rows) {
            let shapes = format!("{rows} samples went in, an output of shape {:?} came out", output.shape());
            return Err(self.failed(Error::internal("the model lost samples", shapes)));
        }
        if let Some(output) = self.probabilities {
            let classified = |(index, row): (usize, &[f32])| {
                let classification =
                    transform::classify(row, self.labels(), top_k).map_err(|error| self.failed(error))?;
                Ok(Prediction::Classified { classification, inverted: inverted.map(|inverted| inverted[index]) })
            };
            return outputs[output].rows_iter().enumerate().map(classified).collect();
        }
        if outputs.iter().any(|output| output.data().iter().any(|number| !number.is_finite())) {
            return Err(self.failed(Error::internal("the model's output is not a finite number", "NaN or infinity")));
        }
        let names = self.signature().outputs.iter().map(|spec| spec.name.clone());
        let raw = |row: usize| {
            let slice = |output: &Tensor| output.rows_iter().nth(row).map(<[f32]>::to_vec).unwrap_or_default();
            Prediction::Raw { outputs: names.clone().zip(outputs.iter().map(slice)).collect() }
        };
        Ok((0..rows).map(raw).collect())
    }

    fn failed(&self, error: Error) -> Error {
        Error::ModelFailed { name: self.name.clone(), version: self.version, source: Box::new(error) }
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
