//! The answer for one sample.

use std::collections::BTreeMap;

use serde::Serialize;
use utoipa::ToSchema;

use super::doubt::Anomaly;
use super::vision_prediction::{Detected, Painted, Segmented};
use crate::error::Error;
use crate::tensor::{Data, Real};
use crate::transform::text::Span;
use crate::transform::{Classification, ScoredClass};

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
        /// The unusualness of the input, if that was asked for.
        #[serde(skip_serializing_if = "Option::is_none")]
        anomaly: Option<Anomaly>,
        /// The classes that hold the right one with a probability of at least `set_level`, if they were asked for;
        /// possibly none.
        #[serde(skip_serializing_if = "Option::is_none")]
        set: Option<Vec<String>>,
        /// The probability that the right class is in the set, over inputs like those of the reference.
        #[serde(skip_serializing_if = "Option::is_none")]
        set_level: Option<f64>,
        /// True if the answer had better be withheld to keep to the error rate that was asked for.
        #[serde(skip_serializing_if = "Option::is_none")]
        abstained: Option<bool>,
    },
    /// A model with any number of labels at once.
    Labelled {
        /// The labels whose confidence reaches their threshold, surest first.
        labels: Vec<ScoredClass>,
        /// The surest labels, whether or not they reach it.
        top_k: Vec<ScoredClass>,
    },
    /// An autoencoder.
    Reconstructed {
        /// The image made again: a PNG file in base64.
        reconstruction: String,
        /// The mean of the image's code.
        latent: Vec<f32>,
        /// The unlikeliness of the image in nats: the greater, the less like those the model was trained on.
        score: f64,
        /// The share of the reference data that scored lower, 0 to 1; at 1 the image is less likely than all
        /// of them.
        #[serde(skip_serializing_if = "Option::is_none")]
        quantile: Option<f64>,
        /// Of an image: whether black and white were exchanged to reach the model's polarity.
        #[serde(skip_serializing_if = "Option::is_none")]
        inverted: Option<bool>,
    },
    /// A model of numbers.
    Number {
        /// The number; null if it is NaN or infinite, for which JSON has no word.
        #[schema(value_type = Option<f64>, required = true)]
        value: Real,
    },
    /// A detector.
    Detected {
        /// The things that were found, most confident first.
        detections: Vec<Detected>,
    },
    /// A segmenter.
    Segmented(Segmented),
    /// A model of vectors.
    Embedded {
        /// The vector.
        embedding: Vec<f32>,
    },
    /// A model that makes a picture of a picture.
    Painted(Painted),
    /// A model that labels parts of a text.
    Spans {
        /// The parts, in the order of the text.
        spans: Vec<Span>,
    },
    /// A model without output transform.
    Raw {
        /// The elements of each output, row by row; null where one is NaN or infinite.
        #[schema(value_type = BTreeMap<String, Vec<Option<f64>>>)]
        outputs: BTreeMap<String, Data>,
    },
}

impl Prediction {
    /// Returns about how many bytes the answer takes in JSON.
    pub fn json_bytes(&self) -> usize {
        // A class takes about 64 bytes, a box twice as many, and a number about ten.
        match self {
            Self::Classified { classification, .. } => 64 * (1 + classification.top_k.len()),
            Self::Labelled { labels, top_k } => 64 * (labels.len() + top_k.len()),
            Self::Reconstructed { reconstruction, latent, .. } => reconstruction.len() + 10 * latent.len(),
            Self::Number { .. } => 16,
            Self::Detected { detections } => 128 * (1 + detections.len()),
            Self::Segmented(segmented) => segmented.json_bytes(),
            Self::Embedded { embedding } => 16 + 10 * embedding.len(),
            Self::Painted(painted) => 64 + painted.image.len(),
            Self::Spans { spans } => 16 + 96 * spans.len(),
            Self::Raw { outputs } => outputs.values().map(|output| 32 + 10 * output.len()).sum(),
        }
    }
}

/// Returns the error for outputs that hold NaN or an infinity, where an answer cannot be made without every number.
/// A version that is in order gives finite ones for its golden examples, so the input is at fault.
pub(super) fn not_finite(sample: Option<usize>) -> Error {
    let sample = sample.map(|sample| format!(" for sample {sample}")).unwrap_or_default();
    Error::InvalidInput(format!(
        "the model gives NaN or infinity{sample}, so there is no answer; numbers this large or missing are beyond what it computes, and /v2 shows its outputs as they are"
    ))
}
