//! Answers of a version for every sample of a data set, in the engine that serves it.

use std::path::Path;

use super::dataset::Dataset;
use super::evaluate::{each_number, each_row};
use super::tasks::classification::label;
use crate::engine::Plan;
use crate::error::{Error, Result};
use crate::repository::{FoundVersion, ModelSettings, VersionFiles};
use crate::signature::{OutputTransform, Scores, Task};
use crate::stats::argmax;
use crate::tensor::Real;

/// A version that answers.
#[derive(Debug)]
pub struct Answerer {
    plan: Plan,
    /// The output that holds the answers.
    output: String,
    /// The names of its classes.
    labels: Vec<String>,
    /// What it does.
    pub task: Task,
}

/// The answer for one sample.
#[derive(Debug, Clone, PartialEq)]
pub enum Answer {
    /// The most probable class.
    Class {
        /// Its name.
        label: String,
        /// Its probability.
        confidence: f32,
        /// The probability of each class.
        probabilities: Vec<f32>,
    },
    /// A number.
    Value(Real),
}

impl Answerer {
    /// Loads a version from its folder. What its output means is said by its manifest, or for a bare file by the
    /// `model.toml` of its model.
    ///
    /// # Errors
    /// [`Error::Repository`] when the version cannot be used, or gives neither classes nor numbers.
    pub fn load(folder: &Path, max_model_bytes: u64) -> Result<Self> {
        let files = VersionFiles::read(folder, max_model_bytes)?;
        let (labels, transform) = match files.manifest {
            Some(manifest) => (manifest.labels, Some(manifest.transform)),
            None => {
                let found = FoundVersion::in_folder(folder)?;
                let settings = ModelSettings::read(&found.name, &found.model_files)?;
                (settings.labels, settings.transform)
            }
        };
        let unusable =
            |problem: &str| Error::Repository { what: folder.display().to_string(), problem: problem.into() };
        let output = match transform.map(|transform| transform.output) {
            Some(OutputTransform::Classification { probabilities, scores: Scores::Probabilities }) => {
                (probabilities, Task::Classification)
            }
            Some(OutputTransform::Classification { scores: Scores::Logits, .. }) => {
                return Err(unusable("gives logits, and answers for files need an output of probabilities"));
            }
            Some(OutputTransform::Regression { value }) => (value, Task::Regression),
            Some(
                OutputTransform::Labels { .. }
                | OutputTransform::Detections(_)
                | OutputTransform::Segmentation(_)
                | OutputTransform::Embedding(_)
                | OutputTransform::Image(_)
                | OutputTransform::Spans(_)
                | OutputTransform::Score(_)
                | OutputTransform::Reconstruction { .. }
                | OutputTransform::Raw,
            )
            | None => {
                return Err(unusable(
                    "gives neither classes nor numbers, which are what can be written for each sample",
                ));
            }
        };
        Ok(Self { plan: Plan::load(&files.onnx)?, output: output.0, labels, task: output.1 })
    }

    /// Returns the name of a class.
    pub fn label(&self, class: usize) -> String {
        label(&self.labels, class)
    }

    /// Calls `take` with the index of each sample and the answer for it.
    ///
    /// # Errors
    /// [`Error::Data`] when the samples do not fit the graph, or its output is not finite; what `take` returns.
    pub fn each(&self, data: &Dataset, mut take: impl FnMut(usize, Answer) -> Result<()>) -> Result<()> {
        if self.task != Task::Classification {
            return each_number(&self.plan, &self.output, data, |index, value| take(index, Answer::Value(value)));
        }
        each_row(&self.plan, &self.output, data, |index, row| {
            let class = argmax(row);
            let (label, confidence) = (self.label(class), row[class]);
            take(index, Answer::Class { label, confidence, probabilities: row.to_vec() })
        })
    }
}
