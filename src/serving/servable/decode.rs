//! From the input of a request to the inputs of a graph.

use std::panic::{AssertUnwindSafe, catch_unwind};

use bytes::Bytes;

use super::Servable;
use super::input::{Input, Options, Part};
use super::prediction::Prediction;
use super::text::facts_of_mask;
use crate::error::{Error, Result};
use crate::signature::{Batching, ImageTransform, shape_text};
use crate::tensor::{Data, Tensor};
use crate::transform::text::{Text, TextFacts};
use crate::transform::{self, ImageFacts, PolarityChoice};

/// The most bytes of one text or of its pair: all of it is normalised before it is cut.
const MAX_TEXT_BYTES: usize = 1 << 20;

/// The inputs of a request as tensors of the graph, and facts about its samples.
pub(crate) type Decoded = (Vec<Tensor>, Facts);

/// The facts about the samples of a request that answers need.
#[derive(Debug, Clone, Default)]
pub(crate) struct Facts {
    /// Of each image; none of other requests.
    pub(crate) images: Vec<ImageFacts>,
    /// Of each text; none of other requests.
    pub(crate) texts: Vec<TextFacts>,
}

impl Facts {
    /// Returns the samples whose text had more tokens than the model takes.
    pub(crate) fn truncated(&self) -> Vec<usize> {
        (0..self.texts.len()).filter(|sample| self.texts[*sample].truncated).collect()
    }
}

impl Servable {
    /// Answers a request on this thread, for nobody's statistics: that is how a version is tried before it
    /// serves.
    ///
    /// # Errors
    /// What is wrong with the input, or [`Error::ModelFailed`].
    pub(crate) fn execute(&self, input: Input, options: Options) -> Result<Vec<Prediction>> {
        let sent = self.sent(&input);
        let (tensors, facts) = self.decode(Part::Model, input, options.polarity)?;
        let outputs = self.model.infer_uncounted(&tensors)?;
        self.predictions(&outputs, sent, &facts, &options)
    }

    /// Returns the inputs as tensors of the graph, checked against the signature.
    ///
    /// # Errors
    /// [`Error::InvalidInput`] naming the input, what it expects and what it got; [`Error::NotFound`] for a
    /// part that the version does not have.
    pub(crate) fn decode(&self, part: Part, input: Input, polarity: PolarityChoice) -> Result<Decoded> {
        let (mut tensors, facts) = match input {
            Input::Tensors(tensors) => {
                let texts = self.masked(&tensors);
                (tensors, Facts { images: Vec::new(), texts })
            }
            Input::Images(images) => {
                let (tensor, images) = self.images_to_tensor(&images, polarity)?;
                (vec![tensor], Facts { images, texts: Vec::new() })
            }
            Input::Texts(texts) => self.texts_to_tensors(&texts)?,
        };
        if part == Part::Model {
            self.transforms.fill_in(&mut tensors)?;
        }
        Ok((self.runner(part)?.prepare(tensors)?, facts))
    }

    /// Returns facts about texts that came as tensors, by their mask; none of other models.
    fn masked(&self, tensors: &[Tensor]) -> Vec<TextFacts> {
        let mask = self.transforms.texts.as_ref().and_then(|texts| tensors.get(texts.mask?));
        mask.map(facts_of_mask).unwrap_or_default()
    }

    fn texts_to_tensors(&self, sent: &[Text]) -> Result<Decoded> {
        let name = &self.name;
        let texts = self.transforms.texts.as_ref().ok_or_else(|| {
            Error::InvalidInput(format!("model \"{name}\" takes no texts: {}", self.transforms.no_texts()))
        })?;
        if self.batching() == Batching::Whole && sent.len() != 1 {
            let count = sent.len();
            return Err(Error::InvalidInput(format!(
                "model \"{name}\" has no batch dimension: expected one text, got {count}"
            )));
        }
        sent.iter().enumerate().try_for_each(|(index, text)| check_size(text, index, sent.len()))?;
        let encoded = texts.encoder.encode(sent)?;
        let is_even = || encoded.facts.iter().all(|facts| facts.kept.iter().all(|is_kept| *is_kept));
        if !texts.pads && !is_even() {
            return Err(Error::InvalidInput(format!(
                "model \"{name}\" gives padded texts other answers, so texts of different lengths cannot share a request; send them one by one"
            )));
        }
        let truncated = encoded.facts.iter().filter(|facts| facts.truncated).count();
        self.metrics().texts_truncated(truncated);
        Ok((encoded.tensors, Facts { images: Vec::new(), texts: encoded.facts }))
    }

    fn images_to_tensor(&self, images: &[Bytes], polarity: PolarityChoice) -> Result<(Tensor, Vec<ImageFacts>)> {
        let transform = self.image_transform().ok_or_else(|| self.takes_no_images())?;
        if self.batching() == Batching::Whole && images.len() != 1 {
            let (name, count) = (&self.name, images.len());
            return Err(Error::InvalidInput(format!(
                "model \"{name}\" has no batch dimension: expected one image, got {count}"
            )));
        }
        let sample = transform.sample_shape(&self.signature().inputs[0]);
        let mut data = Data::with_capacity(transform.dtype(), images.len() * sample.iter().product::<usize>());
        let mut facts = Vec::with_capacity(images.len());
        for (index, image) in images.iter().enumerate() {
            let appended = self.append(image, transform, polarity, &mut data);
            facts.push(appended.map_err(|error| at_image(error, index, images.len()))?);
        }
        let shape = std::iter::once(images.len()).chain(sample).collect();
        Ok((Tensor::from_data(shape, data)?, facts))
    }

    fn takes_no_images(&self) -> Error {
        let missing = &self.transforms.missing;
        if !missing.is_empty() {
            let (name, lines) = (&self.name, missing.join("; "));
            return Error::UnsupportedMedia(format!(
                "model \"{name}\" takes no images yet: nothing says how they become its input. Its {name}/model.toml lacks lines as these, guessed by the graph: {lines} (\"weir models describe\" says why)"
            ));
        }
        let instead = match self.sample_dims().next() {
            Some(dims) => format!("\"instances\" of shape {}", shape_text(dims)),
            None => "{\"inputs\": {}}, as it has no inputs".into(),
        };
        let name = &self.name;
        Error::UnsupportedMedia(format!(
            "model \"{name}\" takes no images, it has no image transform; send JSON with {instead}"
        ))
    }

    /// Decoders are known to panic on hostile files; that is the file's fault.
    fn append(
        &self,
        image: &[u8],
        transform: &ImageTransform,
        polarity: PolarityChoice,
        to: &mut Data,
    ) -> Result<ImageFacts> {
        let work = || transform::append_image(image, transform, self.transforms.image_limits, polarity, to);
        catch_unwind(AssertUnwindSafe(work))
            .unwrap_or_else(|_| Err(Error::InvalidInput("the image is damaged and cannot be decoded".into())))
    }
}

/// Checks the size of a text and of its pair.
fn check_size(text: &Text, index: usize, count: usize) -> Result<()> {
    let greatest = text.text.len().max(text.pair.as_ref().map_or(0, String::len));
    if greatest <= MAX_TEXT_BYTES {
        return Ok(());
    }
    let at = if count == 1 { String::new() } else { format!(" (text {index})") };
    let got = format!("{greatest} bytes{at}");
    Err(Error::TooLarge { what: "the text", limit: MAX_TEXT_BYTES as u64, got })
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
