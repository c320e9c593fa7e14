//! The reports of an evaluation: `report.json` for programs, `report.md` for text, and `report.html`, one page that
//! needs no other file, for people.

mod charts;
mod gallery;
mod html;
mod markdown;
mod words;

use serde::Serialize;

use crate::error::Result;
use crate::report::{Document, Subject};
use crate::stats::{FullEvaluation, Mistake, Predictions};
use crate::trainer::dataset::Dataset;
use crate::trainer::images::png;
use crate::trainer::permutation::PermutationImportance;
use crate::trainer::progress::EpochReport;

pub use words::{confusions, label};

/// Mistakes that a report shows.
const WORST: usize = 48;

/// The evaluation of a classifier.
#[derive(Debug, Serialize)]
pub struct ClassificationReport {
    /// The model and the data.
    #[serde(flatten)]
    pub subject: Subject,
    /// The names of all classes.
    pub labels: Vec<String>,
    /// The figures.
    #[serde(flatten)]
    pub full: FullEvaluation,
    /// The importance of each column of a table, if it was measured.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub importance: Option<PermutationImportance>,
    /// The worst mistakes.
    pub mistakes: Vec<ShownMistake>,
    /// The epochs of the training run, if the report belongs to one.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub history: Vec<EpochReport>,
}

/// A mistake with the image that was misclassified.
#[derive(Debug, Serialize)]
pub struct ShownMistake {
    /// The index of the sample in its data set.
    pub index: usize,
    /// Its class.
    pub truth: usize,
    /// The class it was taken for.
    pub predicted: usize,
    /// The probability of that class.
    pub confidence: f32,
    /// The probability of the true class.
    pub truth_probability: f32,
    /// The image as a PNG file; empty if the sample is no image.
    #[serde(skip)]
    png: Vec<u8>,
}

impl ClassificationReport {
    /// Evaluates predictions. A class that `labels` has no name for is called by its number.
    ///
    /// # Errors
    /// [`Error::Internal`](crate::error::Error::Internal) when an image cannot be encoded.
    ///
    /// # Panics
    /// When there are more predictions than `data` has samples.
    pub fn new(subject: Subject, labels: &[String], predictions: &Predictions, data: &Dataset) -> Result<Self> {
        let shown = |mistake: &Mistake| {
            let Mistake { index, truth, predicted, confidence, truth_probability } = *mistake;
            let png = if data.is_images() { png(data, index)? } else { Vec::new() };
            Ok(ShownMistake { index, truth, predicted, confidence, truth_probability, png })
        };
        Ok(Self {
            subject,
            labels: (0..predictions.classes()).map(|class| label(labels, class)).collect(),
            full: predictions.evaluate_fully(),
            mistakes: predictions.worst(WORST).iter().map(shown).collect::<Result<_>>()?,
            importance: None,
            history: Vec::new(),
        })
    }

    /// Returns the number of samples that were evaluated.
    pub fn samples(&self) -> u64 {
        self.full.evaluation.summary.samples
    }
}

impl Document for ClassificationReport {
    fn markdown(&self) -> String {
        markdown::markdown(self)
    }

    fn html(&self) -> Result<String> {
        Ok(html::page(self))
    }
}

#[cfg(test)]
mod tests;
