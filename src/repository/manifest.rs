//! `manifest.json`: what a version is, where it comes from, how good it is, and how to check it.

mod reference;
mod schema1;
mod streams;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

pub use self::reference::{Abstention, ColumnReference, ConformalSet, DriftReference, GuardReference, MarginReference};
pub use self::streams::{Stream, StreamDistribution};
use super::reading::{ReadSettings, is_default};
use super::said;
use crate::error::{Error, Result};
use crate::ids::{ModelName, Version};
use crate::layers::Architecture;
use crate::signature::{Signature, Task, Transform};
use crate::stats::{Evaluation, LikelihoodEvaluation, ReferenceScores, RegressionEvaluation, Summary};

/// The name of the manifest in the folder of a version.
pub const MANIFEST_FILE: &str = "manifest.json";

/// The version of the manifest's own shape. Earlier ones are converted on reading, later ones refused.
pub const MANIFEST_SCHEMA: u32 = 2;

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
    /// Its quality figures, if it was evaluated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metrics: Option<Quality>,
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

/// Quality figures by data set, tagged by the task of the model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "task", rename_all = "snake_case")]
pub enum Quality {
    /// Of a classifier.
    Classification(ClassificationQuality),
    /// Of a model of numbers, in their own unit.
    Regression(RegressionQuality),
    /// Of an autoencoder.
    Reconstruction(ReconstructionQuality),
}

/// Quality of a classifier by data set.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ClassificationQuality {
    /// On the training data, with dropout off.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub training: Option<Summary>,
    /// On data held out of training, used for choices.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub validation: Option<Summary>,
    /// On data never used for any choice.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub test: Option<Evaluation>,
}

/// Quality of a model of numbers by data set.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(as = RegressionMetrics)]
pub struct RegressionQuality {
    /// On the training data, with dropout off.
    pub training: RegressionEvaluation,
    /// On data held out of training, used for choices.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub validation: Option<RegressionEvaluation>,
    /// On data never used for any choice.
    pub test: RegressionEvaluation,
}

/// Quality of an autoencoder.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ReconstructionQuality {
    /// On data never used for any choice.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub test: Option<LikelihoodEvaluation>,
    /// The scores of data held out of training: what is usual.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scores: Option<ReferenceScores>,
}

impl Quality {
    /// The task of the model.
    pub fn task(&self) -> Task {
        match self {
            Self::Classification(_) => Task::Classification,
            Self::Regression(_) => Task::Regression,
            Self::Reconstruction(_) => Task::Reconstruction,
        }
    }
}

impl Manifest {
    /// The quality figures of a classifier, if the manifest has them.
    pub fn classification(&self) -> Option<&ClassificationQuality> {
        match &self.metrics {
            Some(Quality::Classification(quality)) => Some(quality),
            Some(Quality::Regression(_) | Quality::Reconstruction(_)) | None => None,
        }
    }

    /// The quality figures of a model of numbers, if the manifest has them.
    pub fn regression(&self) -> Option<&RegressionQuality> {
        match &self.metrics {
            Some(Quality::Regression(quality)) => Some(quality),
            Some(Quality::Classification(_) | Quality::Reconstruction(_)) | None => None,
        }
    }

    /// The quality figures of an autoencoder, if the manifest has them.
    pub fn reconstruction(&self) -> Option<&ReconstructionQuality> {
        match &self.metrics {
            Some(Quality::Reconstruction(quality)) => Some(quality),
            Some(Quality::Classification(_) | Quality::Regression(_)) | None => None,
        }
    }

    /// Reads a manifest of this schema or of an earlier one, which is converted.
    ///
    /// # Errors
    /// [`Error::Incomplete`] when the text ends early, [`Error::Repository`] when it is no manifest, is of a newer
    /// schema, or contradicts itself.
    pub fn parse(bytes: &[u8]) -> Result<Self> {
        let of_json = |error: serde_json::Error| match error.is_eof() {
            true => Error::Incomplete { what: MANIFEST_FILE.into(), problem: said::of_json(&error) },
            false => problem(said::of_json(&error)),
        };
        let schema = serde_json::from_slice::<SchemaOnly>(bytes).map_err(of_json)?.manifest_schema;
        let manifest = match schema {
            ..=1 => schema1::parse(bytes).map_err(of_json)?,
            MANIFEST_SCHEMA => serde_json::from_slice(bytes).map_err(of_json)?,
            newer => {
                let newer = format!("has schema {newer}, this Weir reads up to {MANIFEST_SCHEMA}; use a newer Weir");
                return Err(problem(newer));
            }
        };
        manifest.check()?;
        Ok(manifest)
    }

    /// Refuses figures and golden examples of another task than the output's, and a reference that contradicts itself.
    fn check(&self) -> Result<()> {
        if let Some(reference) = &self.reference {
            reference.check(MANIFEST_FILE)?;
        }
        let task = self.transform.output.task();
        if let Some(other) = self.metrics.as_ref().map(Quality::task).filter(|other| *other != task) {
            return Err(problem(format!(
                "has quality figures of a {other} model, but its output is of a {task} model"
            )));
        }
        for (index, example) in self.golden.iter().enumerate() {
            let other = example.answer.task();
            if other != task {
                let what = format!("golden example {index} is of a {other} model, but the output is of a {task} model");
                return Err(problem(what));
            }
        }
        Ok(())
    }
}

fn problem(problem: String) -> Error {
    Error::Repository { what: MANIFEST_FILE.into(), problem }
}

/// What a manifest of any schema has.
#[derive(Deserialize)]
struct SchemaOnly {
    manifest_schema: u32,
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
    /// Learning rate.
    pub learning_rate: f64,
    /// Why it ended before its last epoch, or without its network, if it did.
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

/// An input and the answer it must give.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Golden {
    /// The input.
    pub input: Example,
    /// The answer.
    pub answer: GoldenAnswer,
}

/// A sample that a manifest or a probe set holds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Example {
    /// An image.
    Image {
        /// A PNG file in base64.
        png: String,
    },
    /// A text for a tokenizer.
    Text {
        /// The text.
        text: String,
    },
    /// A row of a table, or a sequence.
    Elements {
        /// The elements of the input, `None` for NaN.
        values: Vec<Option<f32>>,
    },
}

/// The answer to a golden example, tagged by the task of the model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "task", rename_all = "snake_case")]
pub enum GoldenAnswer {
    /// Of a classifier.
    Classification {
        /// The distribution over classes.
        probabilities: Vec<f32>,
    },
    /// Of a model of numbers.
    Regression {
        /// The number.
        value: f64,
        /// How far an answer may be from it; of files that do not say it, a thousandth of the number, or of one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        tolerance: Option<f64>,
    },
    /// Of an autoencoder.
    Reconstruction(GoldenReconstruction),
}

impl GoldenAnswer {
    /// The task of the model.
    pub fn task(&self) -> Task {
        match self {
            Self::Classification { .. } => Task::Classification,
            Self::Regression { .. } => Task::Regression,
            Self::Reconstruction(_) => Task::Reconstruction,
        }
    }
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

/// One line of `probe.jsonl`: a sample that the server replays through its live path.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(from = "ProbeLine", into = "ProbeLine")]
pub struct ProbeSample {
    /// The input.
    pub input: Example,
    /// The truth about it.
    pub truth: Truth,
}

/// The truth about a probe sample.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Truth {
    /// The true class.
    Class(usize),
    /// The true number.
    Value(f64),
    /// Nothing is known, or to be known, of it.
    Unknown,
}

/// A probe sample as it is written.
#[derive(Serialize, Deserialize)]
struct ProbeLine {
    #[serde(default, skip_serializing_if = "String::is_empty")]
    image: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    text: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    features: Vec<Option<f32>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    label: Option<usize>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    value: Option<f64>,
}

impl Example {
    /// Makes an example of the two fields that `probe.jsonl` and manifests of schema 1 have, one of which is empty.
    fn of_fields(image: String, features: Vec<Option<f32>>) -> Self {
        if features.is_empty() { Self::Image { png: image } } else { Self::Elements { values: features } }
    }
}

impl From<ProbeLine> for ProbeSample {
    fn from(ProbeLine { image, text, features, label, value }: ProbeLine) -> Self {
        let truth = match (label, value) {
            (Some(label), _) => Truth::Class(label),
            (None, Some(value)) => Truth::Value(value),
            (None, None) => Truth::Unknown,
        };
        let input = match text {
            Some(text) => Example::Text { text },
            None => Example::of_fields(image, features),
        };
        Self { input, truth }
    }
}

impl From<ProbeSample> for ProbeLine {
    fn from(ProbeSample { input, truth }: ProbeSample) -> Self {
        let (image, text, features) = match input {
            Example::Image { png } => (png, None, Vec::new()),
            Example::Text { text } => (String::new(), Some(text), Vec::new()),
            Example::Elements { values } => (String::new(), None, values),
        };
        let (label, value) = match truth {
            Truth::Class(label) => (Some(label), None),
            Truth::Value(value) => (None, Some(value)),
            Truth::Unknown => (None, None),
        };
        Self { image, text, features, label, value }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn probe_samples_are_written_as_ever() {
        for line in [
            r#"{"image":"aGk=","label":7}"#,
            r#"{"features":[1.5,null],"value":0.25}"#,
            r#"{"features":[1.0],"label":0}"#,
            r#"{"image":"aGk="}"#,
        ] {
            let sample: ProbeSample = serde_json::from_str(line).unwrap();
            assert_eq!(serde_json::to_string(&sample).unwrap(), line);
        }
    }
}
