//! One request through a servable: decode, infer, answer.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Instant;

use bytes::Bytes;

use crate::error::{Error, Result};
use crate::serving::servable::{Answering, Input, Options, Prediction, Servable};
use crate::signature::{Batching, Dim, ImageTransform, TensorSpec, shape_text};
use crate::tensor::Tensor;
use crate::transform::{self, PolarityChoice};

/// The inputs of a request as tensors, and of images whether each was inverted.
pub(crate) type Decoded = (Vec<Tensor>, Option<Vec<bool>>);

impl Servable {
    /// Answers a request on this thread.
    ///
    /// # Errors
    /// What is wrong with the input, or [`Error::ModelFailed`].
    pub fn execute(&self, input: Input, options: Options) -> Result<Vec<Prediction>> {
        let samples = self.samples(&input);
        let (tensors, inverted) = self.decode(input, options.polarity)?;
        let outputs = self.infer(&tensors)?;
        self.predictions(&outputs, samples, inverted.as_deref(), options.top_k)
    }

    /// The inputs as tensors, checked against the signature.
    ///
    /// # Errors
    /// [`Error::InvalidInput`] naming the input, what it expects and what it got.
    pub(crate) fn decode(&self, input: Input, polarity: PolarityChoice) -> Result<Decoded> {
        match input {
            Input::Tensors(mut tensors) => {
                self.fill_in(&mut tensors)?;
                self.check_tensors(&tensors)?;
                Ok((self.to_graph(tensors)?, None))
            }
            Input::Images(images) => {
                let (tensor, inverted) = self.images_to_tensor(&images, polarity)?;
                let mut tensors = vec![tensor];
                self.fill_in(&mut tensors)?;
                Ok((self.to_graph(tensors)?, Some(inverted)))
            }
        }
    }

    /// Tensors of clients in the shapes of the graph.
    fn to_graph(&self, tensors: Vec<Tensor>) -> Result<Vec<Tensor>> {
        match &self.facing {
            Some(facing) => facing.to_graph(tensors),
            None => Ok(tensors),
        }
    }

    /// Inputs of zeros for the graph, for a batch of this many samples.
    ///
    /// # Errors
    /// [`Error::InvalidInput`] when an input would be too large to be counted.
    pub(crate) fn zeros(&self, batch: usize) -> Result<Vec<Tensor>> {
        self.to_graph(crate::engine::zeros(&self.signature, batch)?)
    }

    /// Runs the model alone. A model of a fixed batch gets the samples in pieces of that size; no
    /// samples at all are not run if the shapes of the outputs are known without.
    ///
    /// # Errors
    /// [`Error::InvalidInput`] when the samples do not fill a model's fixed batch, [`Error::ModelFailed`].
    pub(crate) fn infer(&self, tensors: &[Tensor]) -> Result<Vec<Tensor>> {
        let rows = tensors.first().map_or(1, Tensor::rows);
        match self.batching {
            Batching::Whole => self.run(tensors, 1),
            Batching::Any if rows == 0 => self.no_samples(),
            Batching::Any => self.run(tensors, rows),
            Batching::Fixed(size) if size == rows => self.run(tensors, rows),
            Batching::Fixed(size) if rows == 0 || !rows.is_multiple_of(size) => {
                Err(Error::InvalidInput(format!("the model takes batches of exactly {size}, got {rows} samples")))
            }
            Batching::Fixed(size) => {
                let mut pieces = Vec::with_capacity(rows / size);
                for start in (0..rows).step_by(size) {
                    let piece: Vec<Tensor> =
                        tensors.iter().map(|tensor| tensor.slice_rows(start..start + size)).collect();
                    pieces.push(self.run(&piece, size)?);
                }
                let joined = |output: usize| Tensor::concat_rows(pieces.iter().map(move |piece| &piece[output]));
                (0..self.signature().outputs.len())
                    .map(|output| joined(output).map_err(|error| self.failed(error)))
                    .collect()
            }
        }
    }

    /// One run in this thread's session, and a check that no sample was lost in it.
    fn run(&self, tensors: &[Tensor], samples: usize) -> Result<Vec<Tensor>> {
        self.metrics.batch_size.observe(samples as f64);
        let start = Instant::now();
        let runtime = self.runtime.load();
        let outputs = runtime.with(|session| session.run(tensors)).map_err(|error| self.failed(error))?;
        if self.batching != Batching::Whole
            && let Some(output) = outputs.iter().find(|output| output.shape().first() != Some(&samples))
        {
            let shapes = format!("{samples} samples went in, an output of shape {:?} came out", output.shape());
            return Err(self.failed(Error::internal("the model lost samples", shapes)));
        }
        self.statistics.ran(samples, start.elapsed());
        match &self.facing {
            Some(facing) => facing.to_client(outputs).map_err(|error| self.failed(error)),
            None => Ok(outputs),
        }
    }

    fn no_samples(&self) -> Result<Vec<Tensor>> {
        let empty = |output: &TensorSpec| {
            let shape = output.sample_shape().ok_or_else(|| {
                Error::InvalidInput("the request holds no sample, and the model's output shape depends on it".into())
            })?;
            Tensor::zeros(output.dtype, std::iter::once(0).chain(shape).collect())
        };
        self.signature().outputs.iter().map(empty).collect()
    }

    fn check_tensors(&self, tensors: &[Tensor]) -> Result<()> {
        let specs = &self.signature().inputs;
        if tensors.len() != specs.len() {
            let names: Vec<&str> = specs.iter().map(|spec| spec.name.as_str()).collect();
            return Err(Error::InvalidInput(format!(
                "the model takes {} inputs ({}), got {}",
                specs.len(),
                names.join(", "),
                tensors.len()
            )));
        }
        let rows = tensors.first().map_or(1, Tensor::rows);
        for (tensor, spec) in tensors.iter().zip(specs) {
            if tensor.dtype() != spec.dtype {
                let (expected, got) = (spec.dtype, tensor.dtype());
                return Err(Error::InvalidInput(format!("input \"{}\" is of {expected}, got {got}", spec.name)));
            }
            let batched = self.batching != Batching::Whole;
            let fits = tensor.shape().len() == spec.shape.len()
                && tensor.shape().iter().zip(&spec.shape).skip(usize::from(batched)).all(|(size, dim)| match dim {
                    Dim::Fixed(expected) => size == expected,
                    Dim::Symbol(_) => true,
                });
            if !fits {
                return Err(Error::InvalidInput(format!(
                    "input \"{}\" is of shape {}, got {:?}",
                    spec.name,
                    shape_text(&spec.shape),
                    tensor.shape()
                )));
            }
            if batched && tensor.rows() != rows {
                return Err(Error::InvalidInput(format!(
                    "input \"{}\" holds {} samples, the first input {rows}",
                    spec.name,
                    tensor.rows()
                )));
            }
        }
        Ok(())
    }

    fn images_to_tensor(&self, images: &[Bytes], polarity: PolarityChoice) -> Result<(Tensor, Vec<bool>)> {
        let spec = &self.signature().inputs[0];
        let transform = self.image_transform().ok_or_else(|| {
            Error::UnsupportedMedia(format!(
                "model \"{}\" takes no images, it has no image transform; send JSON with \"instances\" of shape {}",
                self.name,
                shape_text(self.sample_dims().next().unwrap_or_default())
            ))
        })?;
        let sample = spec.sample_shape().unwrap_or_default();
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
        let work = || transform::prepare(transform::decode(image, self.image_limits)?, transform, polarity);
        catch_unwind(AssertUnwindSafe(work))
            .unwrap_or_else(|_| Err(Error::InvalidInput("the image is damaged and cannot be decoded".into())))
    }

    /// The answers for `samples` samples.
    ///
    /// # Errors
    /// [`Error::ModelFailed`] when an output is not a finite number.
    pub(crate) fn predictions(
        &self,
        outputs: &[Tensor],
        samples: usize,
        inverted: Option<&[bool]>,
        top_k: usize,
    ) -> Result<Vec<Prediction>> {
        if let Some(Answering::Value(output)) = self.answering {
            let number = |row: &[f32]| match row {
                [value] if value.is_finite() => Ok(Prediction::Number { value: *value }),
                _ => Err(self.failed(Error::internal("the model's output is not a finite number", "NaN or infinity"))),
            };
            return outputs[output].float_rows().map_err(|error| self.failed(error))?.map(number).collect();
        }
        if let Some(Answering::Probabilities(output)) = self.answering {
            let classified = |(index, row): (usize, &[f32])| {
                let classification =
                    transform::classify(row, self.labels(), top_k).map_err(|error| self.failed(error))?;
                Ok(Prediction::Classified { classification, inverted: inverted.map(|inverted| inverted[index]) })
            };
            let rows = outputs[output].float_rows().map_err(|error| self.failed(error))?;
            return rows.enumerate().map(classified).collect();
        }
        if let Some(reconstruction) = &self.reconstruction {
            return reconstruction.answers(outputs, inverted).map_err(|error| self.failed(error));
        }
        if outputs.iter().any(|output| output.data().has_non_finite()) {
            return Err(self.failed(Error::internal("the model's output is not a finite number", "NaN or infinity")));
        }
        let names = self.signature().outputs.iter().map(|spec| spec.name.clone());
        let raw = |sample: usize| {
            let elements = |output: &Tensor| match self.batching {
                Batching::Whole => output.data().clone(),
                Batching::Any | Batching::Fixed(_) => output.slice_rows(sample..sample + 1).into_data(),
            };
            Prediction::Raw { outputs: names.clone().zip(outputs.iter().map(elements)).collect() }
        };
        Ok((0..samples).map(raw).collect())
    }

    pub(crate) fn failed(&self, error: Error) -> Error {
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
