//! The transforms around the graph of a model.

use std::collections::BTreeMap;

use super::fit;
use super::reconstruction::Reconstruction;
use super::text::TextAnswer;
use super::vision::VisionAnswer;
use crate::error::Result;
use crate::repository::Manifest;
use crate::signature::{GraphFacts, OutputTransform, Signature, Transform, scored_classes};
use crate::tensor::Tensor;
use crate::transform::text::TextEncoder;
use crate::transform::{ImageLimits, SequenceEncoder, Squash};

/// The part of the outputs that answers are made of.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Answering {
    /// The output that holds the scores of classes.
    Classes(ScoredOutput),
    /// The output that holds the scores of labels, and the threshold of each.
    Labels(ScoredOutput, Vec<f32>),
    /// The output that holds a number.
    Value(usize),
    /// The outputs of an autoencoder.
    Reconstruction(Reconstruction),
    /// The outputs of a vision model that does more than to classify.
    Vision(VisionAnswer),
    /// The outputs of a text model that does more than to classify.
    Text(TextAnswer),
    /// All outputs, as they are.
    Outputs,
}

/// An output with a score for each class.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ScoredOutput {
    /// Its place in the signature.
    pub(crate) output: usize,
    /// The function that makes confidences of its scores.
    pub(crate) squash: Squash,
}

/// The labels of a version.
#[derive(Debug, Default)]
pub(crate) struct Labels {
    /// By class; empty where classes have no names.
    pub(crate) classes: Vec<String>,
    /// By output: the classes that a file of Triton's repository names.
    pub(crate) outputs: BTreeMap<usize, Vec<String>>,
}

/// Everything that is known of the graph of a version.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Known<'a> {
    /// The manifest of the version, if it has one.
    pub(crate) manifest: Option<&'a Manifest>,
    /// Inputs and outputs.
    pub(crate) signature: &'a Signature,
    /// The words of its exporter.
    pub(crate) facts: &'a GraphFacts,
}

/// The reading of texts.
#[derive(Debug)]
pub(crate) struct Texts {
    /// The tokenizer with the inputs that it fills.
    pub(crate) encoder: TextEncoder,
    /// The place of the input that tells tokens from padding.
    pub(crate) mask: Option<usize>,
    /// True if texts of different lengths may share a request: padding does not change answers.
    pub(crate) pads: bool,
    /// The sentence that says what is read how, and what was measured.
    pub(crate) said: String,
}

/// Everything between the input of a request and the graph, and between the graph and an answer.
#[derive(Debug)]
pub(crate) struct Transforms {
    /// The declaration, of the manifest or else of `model.toml`.
    pub(crate) declared: Option<Transform>,
    pub(crate) sequences: Option<SequenceEncoder>,
    pub(crate) texts: Option<Texts>,
    pub(crate) labels: Labels,
    pub(crate) image_limits: ImageLimits,
    /// The lines of `model.toml` that a graph lacks which seems to take pictures, as they are guessed.
    pub(crate) missing: Vec<String>,
    /// The reason why no texts are taken, of a graph that takes numbers of tokens.
    pub(crate) no_texts: Option<String>,
    /// The reason why a tokenizer beside the graph is not used.
    pub(crate) passed_over: Option<String>,
    answering: Answering,
}

impl Transforms {
    /// Makes the transforms of a graph.
    ///
    /// # Errors
    /// [`crate::error::Error::Repository`] saying what does not fit the graph.
    pub(crate) fn new(
        declared: Option<Transform>,
        labels: Labels,
        known: Known<'_>,
        image_limits: ImageLimits,
    ) -> Result<Self> {
        let answering = match &declared {
            Some(transform) => {
                fit::inputs(transform, known.signature)?;
                answering(transform, &labels.classes, known)?
            }
            None => Answering::Outputs,
        };
        let sequences = declared.as_ref().and_then(|transform| transform.sequence.as_ref()).map(SequenceEncoder::new);
        Ok(Self {
            declared,
            sequences,
            texts: None,
            labels,
            image_limits,
            missing: Vec::new(),
            no_texts: None,
            passed_over: None,
            answering,
        })
    }

    /// Returns what a version lacks to take texts, and where to put it.
    pub(super) fn no_texts(&self) -> String {
        self.no_texts.clone().unwrap_or_else(|| "it has no tokenizer".into())
    }

    pub(crate) fn answering(&self) -> &Answering {
        &self.answering
    }

    /// Returns the number of inputs that a request must bring to a graph of `inputs`; the rest are filled in.
    pub(super) fn required_inputs(&self, inputs: usize) -> usize {
        match self.answering {
            Answering::Reconstruction(_) => 1,
            Answering::Classes(_)
            | Answering::Labels(..)
            | Answering::Value(_)
            | Answering::Vision(_)
            | Answering::Text(_)
            | Answering::Outputs => inputs,
        }
    }

    /// Adds the noise to a request that has none.
    ///
    /// # Errors
    /// [`crate::error::Error::InvalidInput`] when it would be too large to be counted.
    pub(super) fn fill_in(&self, tensors: &mut Vec<Tensor>) -> Result<()> {
        if let (Answering::Reconstruction(reconstruction), [image]) = (&self.answering, tensors.as_slice()) {
            let noise = reconstruction.no_noise(image.rows())?;
            tensors.push(noise);
        }
        Ok(())
    }
}

fn answering(transform: &Transform, labels: &[String], known: Known<'_>) -> Result<Answering> {
    let Known { manifest, signature: graph, facts } = known;
    match &transform.output {
        OutputTransform::Classification { probabilities, scores } => {
            let output = fit::distribution(probabilities, labels, graph)?;
            Ok(Answering::Classes(ScoredOutput { output, squash: Squash::of_classes(*scores) }))
        }
        OutputTransform::Labels { output, scores, thresholds } => {
            let output = fit::distribution(output, labels, graph)?;
            let classes = scored_classes(&graph.outputs[output]).unwrap_or_default();
            if thresholds.len() != classes {
                let count = thresholds.len();
                return Err(fit::unusable(format!("there are {count} thresholds for {classes} labels")));
            }
            Ok(Answering::Labels(ScoredOutput { output, squash: Squash::of_labels(*scores) }, thresholds.clone()))
        }
        OutputTransform::Regression { value } => fit::number(value, graph).map(Answering::Value),
        OutputTransform::Reconstruction { .. } => {
            let reconstruction = Reconstruction::of(transform, manifest, graph)?;
            Ok(reconstruction.map_or(Answering::Outputs, Answering::Reconstruction))
        }
        OutputTransform::Spans(_) | OutputTransform::Score(_) | OutputTransform::Embedding(_)
            if transform.text.is_some() =>
        {
            let answer = TextAnswer::of(transform, graph, labels)?;
            Ok(answer.map_or(Answering::Outputs, Answering::Text))
        }
        OutputTransform::Detections(_)
        | OutputTransform::Segmentation(_)
        | OutputTransform::Embedding(_)
        | OutputTransform::Image(_) => {
            let answer = VisionAnswer::of(transform, graph, facts, labels.len())?;
            Ok(answer.map_or(Answering::Outputs, Answering::Vision))
        }
        OutputTransform::Spans(_) | OutputTransform::Score(_) => Err(fit::unusable(
            "[answer]: spans and scores are answers to texts, and the version has no tokenizer.json for a graph that takes input_ids".into(),
        )),
        OutputTransform::Raw => Ok(Answering::Outputs),
    }
}
