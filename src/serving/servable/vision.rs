//! The answers of vision models: boxes, class maps, vectors and pictures, told in the pixels of the sent picture.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::fit::unusable;
use super::input::{Input, VisionOptions};
use super::prediction::{Prediction, not_finite};
use super::vision_prediction::{Detected, Painted, Segmented};
use crate::error::{Error, Result};
use crate::signature::{Fit, GraphFacts, ImageTransform, Layout, OutputTransform, Signature, Transform};
use crate::tensor::{Data, Tensor};
use crate::transform::vision::{
    Detector, Embedder, Fault, Found, GraphOutputs, Painter, SampleOutput, Segmenter, Thresholds,
};
use crate::transform::{Geometry, ImageFacts};

/// Outputs of more elements than this are not looked through on a thread that answers connections.
const QUICK_ELEMENTS: usize = 1 << 15;

/// The reading of a graph's outputs as the answer of a vision model.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum VisionAnswer {
    /// Boxes.
    Detections(Detector),
    /// A class for each pixel.
    Segmentation(Segmenter),
    /// A vector.
    Embedding(Embedder),
    /// A picture.
    Image(Painter),
}

/// The outputs of a run, and the pictures that it was asked about.
#[derive(Debug, Clone, Copy)]
pub(super) struct Seen<'a> {
    pub(super) outputs: &'a [Tensor],
    /// True if the outputs are those of one sample, without a batch.
    pub(super) is_whole: bool,
    pub(super) samples: usize,
    pub(super) images: &'a [ImageFacts],
    /// Width and height of the input where tensors were sent.
    pub(super) input: [u32; 2],
    pub(super) labels: &'a [String],
}

impl VisionAnswer {
    /// Resolves a transform against a graph; `None` if its output is of another kind.
    ///
    /// # Errors
    /// [`Error::Repository`] saying what does not fit.
    pub(crate) fn of(
        transform: &Transform,
        graph: &Signature,
        facts: &GraphFacts,
        labels: usize,
    ) -> Result<Option<Self>> {
        let outputs = GraphOutputs::new(graph);
        let resolved = match &transform.output {
            OutputTransform::Detections(answer) => {
                Detector::resolve(answer, outputs, &facts.metadata, labels).map(Self::Detections)
            }
            OutputTransform::Segmentation(answer) => Segmenter::resolve(answer, outputs).map(Self::Segmentation),
            OutputTransform::Embedding(answer) => Embedder::resolve(answer, outputs).map(Self::Embedding),
            OutputTransform::Image(answer) => Painter::resolve(answer, outputs).map(Self::Image),
            OutputTransform::Classification { .. }
            | OutputTransform::Labels { .. }
            | OutputTransform::Reconstruction { .. }
            | OutputTransform::Regression { .. }
            | OutputTransform::Spans(_)
            | OutputTransform::Score(_)
            | OutputTransform::Raw => return Ok(None),
        };
        let resolved = resolved.map_err(|problem| unusable(format!("[answer]: {problem}")))?;
        let is_centred =
            matches!(&transform.image, Some(ImageTransform::Drawing(drawing)) if drawing.fit == Fit::CentreOfMass);
        if is_centred && !matches!(resolved, Self::Embedding(_)) {
            let problem = "[answer]: a drawing that is centred by its mass has no place in the sent picture; say another fit in [image]";
            return Err(unusable(problem.into()));
        }
        Ok(Some(resolved))
    }

    /// Returns the sentence that says what is read how, and what of it was guessed.
    pub(crate) fn said(&self) -> &str {
        match self {
            Self::Detections(detector) => detector.said(),
            Self::Segmentation(segmenter) => segmenter.said(),
            Self::Embedding(embedder) => embedder.said(),
            Self::Image(painter) => painter.said(),
        }
    }

    /// Returns the name of the kind, as `[answer]` has it.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Detections(_) => "detections",
            Self::Segmentation(_) => "segmentation",
            Self::Embedding(_) => "embedding",
            Self::Image(_) => "image",
        }
    }

    /// Returns true if answers are made of outputs of so many elements in no time.
    pub(super) fn is_quick(&self, elements: usize) -> bool {
        match self {
            Self::Detections(_) | Self::Embedding(_) => elements <= QUICK_ELEMENTS,
            // The picture that was sent may be larger than the output.
            Self::Segmentation(_) | Self::Image(_) => false,
        }
    }

    /// Returns the answers for all samples.
    ///
    /// # Errors
    /// [`Error::InvalidInput`] when an output is not finite, [`Error::Internal`] when the outputs are not as resolved.
    pub(super) fn answers(&self, seen: Seen<'_>, options: VisionOptions) -> Result<Vec<Prediction>> {
        let elements: Vec<Cow<'_, [f32]>> = seen.outputs.iter().map(|output| floats(output.data())).collect();
        let sample = |sample: usize| {
            let place = (!seen.is_whole).then_some(sample);
            let outputs: Vec<SampleOutput<'_>> = seen
                .outputs
                .iter()
                .zip(&elements)
                .map(|(output, elements)| of_sample(output, elements, place))
                .collect();
            let sent = seen.images.get(sample).and_then(|facts| facts.geometry);
            let geometry = sent.unwrap_or_else(|| Geometry::stretched(seen.input, seen.input));
            let answer = self.answer(&outputs, &geometry, seen.labels, options);
            answer.map_err(|failed| match failed {
                Failed::Fault(Fault::NotFinite) => not_finite(Some(sample)),
                Failed::Fault(Fault::Misfit(said)) => Error::internal("the outputs are not as expected", said),
                Failed::Error(error) => error,
            })
        };
        (0..if seen.is_whole { 1 } else { seen.samples }).map(sample).collect()
    }

    fn answer(
        &self,
        outputs: &[SampleOutput<'_>],
        geometry: &Geometry,
        labels: &[String],
        options: VisionOptions,
    ) -> std::result::Result<Prediction, Failed> {
        match self {
            Self::Detections(detector) => {
                let found = detector.detect(outputs, geometry, thresholds(detector.defaults(), options))?;
                let told = |found: &Found| Detected::new(found, label(detector, found.class, labels));
                Ok(Prediction::Detected { detections: found.iter().map(told).collect() })
            }
            Self::Segmentation(segmenter) => {
                let map = segmenter.segment(outputs, geometry)?;
                let form = options.mask.unwrap_or(segmenter.form());
                Ok(Prediction::Segmented(Segmented::new(map, form, labels, options.draws)?))
            }
            Self::Embedding(embedder) => Ok(Prediction::Embedded { embedding: embedder.embed(outputs)? }),
            Self::Image(painter) => {
                let picture = painter.paint(outputs, geometry)?;
                let image = STANDARD.encode(picture.png()?);
                Ok(Prediction::Painted(Painted { image, width: picture.width, height: picture.height }))
            }
        }
    }
}

/// A reason why there is no answer.
enum Failed {
    Fault(Fault),
    Error(Error),
}

impl From<Fault> for Failed {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

impl From<Error> for Failed {
    fn from(error: Error) -> Self {
        Self::Error(error)
    }
}

/// Returns width and height of a model's input: the size that files are brought to, or that of the tensor that was sent.
pub(super) fn input_size(input: &Input, transform: Option<&ImageTransform>) -> [u32; 2] {
    let of_files = || transform.map_or([1, 1], |image| [image.width(), image.height()]);
    let Input::Tensors(tensors) = input else { return of_files() };
    let layout = match transform {
        Some(ImageTransform::Picture(picture)) => Some(picture.layout),
        Some(ImageTransform::Drawing(_)) | None => None,
    };
    let Some([_, first, second, last]) = tensors.first().and_then(|tensor| <[usize; 4]>::try_from(tensor.shape()).ok())
    else {
        return of_files();
    };
    // Channels are fewer than rows.
    let is_last = layout.map_or(last < first, |layout| layout == Layout::Nhwc);
    let (height, width) = if is_last { (first, second) } else { (second, last) };
    [width, height].map(|side| u32::try_from(side).unwrap_or(u32::MAX))
}

/// Returns the part of an output that belongs to a sample; all of it where there is no batch.
pub(super) fn of_sample<'a>(output: &'a Tensor, elements: &'a [f32], sample: Option<usize>) -> SampleOutput<'a> {
    let Some(sample) = sample else { return SampleOutput { shape: output.shape(), data: elements } };
    let width = output.row_elements();
    SampleOutput {
        shape: output.shape().get(1..).unwrap_or_default(),
        data: elements.get(sample * width..(sample + 1) * width).unwrap_or_default(),
    }
}

fn thresholds(defaults: Thresholds, options: VisionOptions) -> Thresholds {
    Thresholds {
        confidence: options.confidence.unwrap_or(defaults.confidence),
        iou: options.iou.unwrap_or(defaults.iou),
        most: options.max_detections.unwrap_or(defaults.most),
    }
}

/// Returns the label of a class: its number where it has none.
fn label(detector: &Detector, class: usize, labels: &[String]) -> String {
    let named = detector.label_of(class).and_then(|place| labels.get(place));
    named.cloned().unwrap_or_else(|| class.to_string())
}

/// Returns elements as 32-bit floats; of texts none.
pub(super) fn floats(data: &Data) -> Cow<'_, [f32]> {
    macro_rules! converted {
        ($elements:expr, $one:expr) => {
            Cow::Owned($elements.iter().map($one).collect())
        };
    }
    match data {
        Data::Float32(elements) => Cow::Borrowed(elements),
        Data::Float16(elements) => converted!(elements, |element| element.to_f32()),
        Data::Bfloat16(elements) => converted!(elements, |element| element.to_f32()),
        Data::Float64(elements) => converted!(elements, |element| *element as f32),
        Data::Bool(elements) => converted!(elements, |element| f32::from(u8::from(*element))),
        Data::Uint8(elements) => converted!(elements, |element| f32::from(*element)),
        Data::Uint16(elements) => converted!(elements, |element| f32::from(*element)),
        Data::Uint32(elements) => converted!(elements, |element| *element as f32),
        Data::Uint64(elements) => converted!(elements, |element| *element as f32),
        Data::Int8(elements) => converted!(elements, |element| f32::from(*element)),
        Data::Int16(elements) => converted!(elements, |element| f32::from(*element)),
        Data::Int32(elements) => converted!(elements, |element| *element as f32),
        Data::Int64(elements) => converted!(elements, |element| *element as f32),
        Data::String(_) => Cow::Borrowed(&[]),
    }
}
