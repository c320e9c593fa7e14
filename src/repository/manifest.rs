//! `manifest.json`: what a version is, where it comes from, how good it is, and how to check it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::reading::{ReadSettings, is_default};
use crate::ids::{ModelName, Version};
use crate::layers::Architecture;
use crate::signature::{Signature, Transform};
use crate::stats::{Evaluation, Histogram, LikelihoodEvaluation, ReferenceScores, RegressionEvaluation, Summary};

/// The version of the manifest's own shape; a reader refuses a greater one.
pub const MANIFEST_SCHEMA: u32 = 1;

/// The manifest of one model version.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// [`MANIFEST_SCHEMA`] of the writer.
    pub manifest_schema: u32,
    /// The model.
    pub model: ModelName,
    /// The version.
    pub version: Version,
    /// One sentence about it.
    pub description: String,
    /// When it was made, RFC 3339 in UTC.
    pub created: String,
    /// The Weir that made it.
    pub weir_version: String,
    /// Names, dtypes and shapes of inputs and outputs.
    pub signature: Signature,
    /// The transforms around the graph.
    pub transform: Transform,
    /// The labels, by class index.
    pub labels: Vec<String>,
    /// The layers, when Weir trained it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub architecture: Option<Architecture>,
    /// The layers of an autoencoder's decoder; `architecture` is then its encoder.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decoder: Option<Architecture>,
    /// Trainable numbers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parameters: Option<usize>,
    /// Multiply-adds for one sample.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub multiply_adds: Option<usize>,
    /// How good it is, by data set.
    #[serde(default)]
    pub metrics: ModelMetrics,
    /// What it was trained on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<DataProvenance>,
    /// How it was trained.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub training: Option<TrainingProvenance>,
    /// How well the exported graph agrees with the trainer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parity: Option<Parity>,
    /// How its probabilities were calibrated, if they were.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub calibration: Option<CalibrationProvenance>,
    /// How inputs and answers are distributed on data that was not trained on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reference: Option<DriftReference>,
    /// Inputs with the answers they must give, checked at every load.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub golden: Vec<Golden>,
    /// Further graphs of the version, by the name of their file.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub companions: BTreeMap<String, Companion>,
    /// The files of the version but this one, by name.
    pub files: BTreeMap<String, FileEntry>,
}

/// Quality by data set.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ModelMetrics {
    /// On the training data, with dropout off.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub training: Option<Summary>,
    /// On data held out of training, used for choices.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub validation: Option<Summary>,
    /// On data never used for any choice.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub test: Option<Evaluation>,
    /// Of an autoencoder, on data never used for any choice.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub likelihood: Option<LikelihoodEvaluation>,
    /// The scores that an autoencoder gives to data held out of training: what is usual.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scores: Option<ReferenceScores>,
    /// Of a model of numbers, in their own unit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub regression: Option<RegressionMetrics>,
}

/// Quality of a model of numbers by data set, as [`ModelMetrics`] has it of classes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct RegressionMetrics {
    /// On the training data, with dropout off.
    pub training: RegressionEvaluation,
    /// On data held out of training, used for choices.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub validation: Option<RegressionEvaluation>,
    /// On data never used for any choice.
    pub test: RegressionEvaluation,
}

/// A graph beside `model.onnx`. Its hash is in the manifest's list of files.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Companion {
    /// What it is there for.
    pub role: CompanionRole,
    /// Names, dtypes and shapes of its inputs and outputs.
    pub signature: Signature,
}

/// What a graph beside `model.onnx` is there for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CompanionRole {
    /// Makes codes of images; for those who want codes without their scores, the server does not load it.
    Encoder,
    /// Makes images of codes: `[N, numbers]` → [`INTENSITIES`].
    Decoder,
}

/// The output of a decoder that holds images, intensities from 0 to 1.
pub const INTENSITIES: &str = "probabilities";

/// Where the training data came from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct DataProvenance {
    /// The name of the data set.
    pub name: String,
    /// SHA-256 of each of its files as read, by name.
    pub sha256: BTreeMap<String, String>,
    /// Samples trained on.
    pub training_samples: usize,
    /// Samples held out.
    pub validation_samples: usize,
    /// Samples tested on.
    pub test_samples: usize,
    /// How they were read.
    #[serde(default, skip_serializing_if = "is_default")]
    pub reading: ReadSettings,
}

/// How the version was trained: enough to do it again.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct TrainingProvenance {
    /// The preset.
    pub preset: String,
    /// The seed of everything random.
    pub seed: u64,
    /// Passes over the training data.
    pub epochs: usize,
    /// Samples per step.
    pub batch_size: usize,
    /// The optimiser and its settings, in words.
    pub optimizer: String,
    /// Step size.
    pub learning_rate: f64,
    /// Why it ended before its last epoch, if it did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<String>,
    /// What a sample of each class weighed in the loss, if not all weighed 1.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub class_weights: Vec<f32>,
    /// Wall time of the epochs, validation included.
    pub duration_seconds: f64,
}

/// How well the exported graph, run in the serving engine, agrees with the trainer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Parity {
    /// The engine that ran the graph.
    pub engine: String,
    /// Samples compared, in batches of several sizes.
    pub samples: usize,
    /// The largest difference of any logit.
    pub max_abs_logit_difference: f64,
    /// Samples whose most probable class differed.
    pub argmax_mismatches: usize,
    /// Of an autoencoder: the largest difference of a score, as a part of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_relative_score_difference: Option<f64>,
}

/// How the probabilities of a version were calibrated: its logits are divided by a temperature
/// before the softmax.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CalibrationProvenance {
    /// The version it was made from; its logits and answers are the same.
    pub from_version: Version,
    /// The temperature; if that version had one, on top of it.
    pub temperature: f64,
    /// The validation samples it was fitted on.
    pub samples: usize,
    /// The expected calibration error on these, before and after.
    pub expected_calibration_error: [f64; 2],
}

/// What live traffic is compared with to see whether it drifts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct DriftReference {
    /// The data it comes from: `validation`, or `test` where nothing was held out.
    pub source: String,
    /// How many samples that were.
    pub samples: usize,
    /// The mean of each sample's values, as the model takes them (pixels: 0 to 255).
    pub input_mean: Histogram,
    /// The standard deviation of each sample's values.
    pub input_deviation: Histogram,
    /// The probability of each sample's most probable class.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confidence: Option<Histogram>,
    /// How often each class was the most probable one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub predictions: Vec<u64>,
}

/// An input and the answer it must give.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Golden {
    /// A PNG file in base64; empty if it is a row of a table.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub image: String,
    /// A row of a table: the elements of the input, `None` for NaN; empty if it is an image.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub features: Vec<Option<f32>>,
    /// The distribution over classes; empty if it is no classifier.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub probabilities: Vec<f32>,
    /// The number, of a model of numbers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<f32>,
    /// What an autoencoder makes of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reconstruction: Option<GoldenReconstruction>,
}

/// What an autoencoder must make of an image, with the noise zero.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GoldenReconstruction {
    /// The image made again: a PNG file in base64.
    pub image: String,
    /// The code.
    pub code: Vec<f32>,
    /// The score in nats.
    pub score: f64,
}

/// One file of a version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct FileEntry {
    /// Its SHA-256 in hexadecimal.
    pub sha256: String,
    /// Its size.
    pub bytes: u64,
}

/// One line of `probe.jsonl`: a sample that the server replays through its live path, with the truth about it unless
/// it is for an autoencoder.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ProbeSample {
    /// A PNG file in base64; empty if it is a row of a table.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub image: String,
    /// A row of a table, as in [`Golden`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub features: Vec<Option<f32>>,
    /// The true class.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<usize>,
    /// The true number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<f64>,
}
