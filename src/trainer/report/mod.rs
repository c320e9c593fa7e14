//! The report of an evaluation: `report.json` for machines, `report.md` for text, and `report.html`,
//! one page that needs no other file, for people.

mod charts;
mod frame;
mod gallery;
mod html;
mod markdown;
mod regression;
mod words;

use std::fs;
use std::path::Path;

use serde::Serialize;

use super::dataset::Dataset;
use super::fit::EpochReport;
use super::images::png;
use crate::engine::EngineKind;
use crate::error::{Error, Result};
use crate::ids::Version;
use crate::stats::{FullEvaluation, Mistake, Predictions};

pub(super) use html::{document, training};
pub use regression::RegressionReport;
pub(super) use regression::evaluation;
pub(super) use words::escape;
pub use words::{confusions, label, percent};

/// Mistakes that a report shows.
const WORST: usize = 48;

/// What was evaluated, on what.
#[derive(Debug, Clone)]
pub struct Subject {
    /// The model.
    pub model: String,
    /// Its version, if it has one already.
    pub version: Option<Version>,
    /// What ran it.
    pub engine: EngineKind,
    /// The data in words, such as `the test images of mnist`.
    pub data: String,
    /// The names of the classes; a class without one is called by its number.
    pub labels: Vec<String>,
}

/// An evaluation with what it is of.
#[derive(Debug, Serialize)]
pub struct Report {
    /// The model.
    pub model: String,
    /// Its version, if it has one already.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<Version>,
    /// What ran it.
    pub engine: EngineKind,
    /// The data in words.
    pub data: String,
    /// When it was made, RFC 3339 in UTC.
    pub created: String,
    /// The names of all classes.
    pub labels: Vec<String>,
    /// The figures.
    #[serde(flatten)]
    pub full: FullEvaluation,
    /// The worst mistakes.
    pub mistakes: Vec<ShownMistake>,
    /// The epochs of the training run, if the report belongs to one.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub history: Vec<EpochReport>,
}

/// A mistake with the image that was mistaken.
#[derive(Debug, Serialize)]
pub struct ShownMistake {
    /// The place of the image in its data set.
    pub index: usize,
    /// Its class.
    pub truth: usize,
    /// The class it was taken for.
    pub predicted: usize,
    /// The probability of that class.
    pub confidence: f32,
    /// The probability of the true class.
    pub truth_probability: f32,
    /// The image as a PNG file; empty of anything else.
    #[serde(skip)]
    png: Vec<u8>,
}

impl Report {
    /// Evaluates predictions.
    ///
    /// # Errors
    /// [`Error::Internal`] when an image cannot be encoded.
    ///
    /// # Panics
    /// When the predictions are of more images than `data` holds.
    pub fn new(subject: Subject, predictions: &Predictions, data: &Dataset) -> Result<Self> {
        let Subject { model, version, engine, data: data_name, labels } = subject;
        let shown = |mistake: &Mistake| {
            let Mistake { index, truth, predicted, confidence, truth_probability } = *mistake;
            let png = if data.is_images() { png(data, index)? } else { Vec::new() };
            Ok(ShownMistake { index, truth, predicted, confidence, truth_probability, png })
        };
        Ok(Self {
            model,
            version,
            engine,
            data: data_name,
            created: jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
            labels: (0..predictions.classes()).map(|class| label(&labels, class)).collect(),
            full: predictions.evaluate_fully(),
            mistakes: predictions.worst(WORST).iter().map(shown).collect::<Result<_>>()?,
            history: Vec::new(),
        })
    }

    /// What was evaluated, on what: `mnist-mlp version 3 on the 10000 test images of mnist`.
    pub fn title(&self) -> String {
        let version = self.version.map_or_else(String::new, |version| format!(" version {version}"));
        format!("{}{version} on the {} {}", self.model, self.full.evaluation.summary.samples, self.data)
    }

    /// As JSON, indented.
    ///
    /// # Errors
    /// [`Error::Internal`], which does not happen with finite numbers.
    pub fn json(&self) -> Result<String> {
        let text = serde_json::to_string_pretty(self)
            .map_err(|error| Error::internal("the report could not be written", error))?;
        Ok(format!("{text}\n"))
    }

    /// As Markdown.
    pub fn markdown(&self) -> String {
        markdown::markdown(self)
    }

    /// As one HTML page without scripts and without any other file.
    pub fn html(&self) -> String {
        html::page(self)
    }

    /// Writes `report.json`, `report.md` and `report.html` into a folder, which is made if need be.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn write(&self, folder: &Path) -> Result<()> {
        fs::create_dir_all(folder).map_err(Error::io("create", folder))?;
        for (name, text) in
            [("report.json", self.json()?), ("report.md", self.markdown()), ("report.html", self.html())]
        {
            let path = folder.join(name);
            fs::write(&path, text).map_err(Error::io("write", path))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
