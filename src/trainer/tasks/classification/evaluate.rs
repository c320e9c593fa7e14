//! Scoring a graph on labelled samples in the engine that serves it.

use std::path::Path;

use crate::engine::{EngineKind, Plan};
use crate::error::{Error, Result};
use crate::repository::{FoundVersion, Manifest, ModelSettings, VersionFiles};
use crate::signature::{OutputTransform, Scores};
use crate::stats::{Evaluation, Evaluator, Predictions};
use crate::trainer::dataset::Dataset;
use crate::trainer::evaluate::each_output;

/// The predictions of a version for labelled samples.
#[derive(Debug)]
pub struct Evaluated {
    /// The version's manifest, if it has one.
    pub manifest: Option<Manifest>,
    /// The names of the classes.
    pub labels: Vec<String>,
    /// The engine that ran it.
    pub engine: EngineKind,
    /// The predictions, in the order of the images.
    pub predictions: Predictions,
}

/// Runs a published version on labelled images. What its output means is said by its manifest, or for
/// a bare file by the `model.toml` of its model.
///
/// # Errors
/// [`Error::Repository`] when the version cannot be used, [`Error::Data`] when the images do not
/// fit it.
pub fn evaluate_version(folder: &Path, max_model_bytes: u64, data: &Dataset) -> Result<Evaluated> {
    let files = VersionFiles::read(folder, max_model_bytes)?;
    let unusable = |problem: &str| Error::Repository { what: folder.display().to_string(), problem: problem.into() };
    let (labels, transform) = match &files.manifest {
        Some(manifest) => (manifest.labels.clone(), Some(manifest.transform.clone())),
        None => {
            let found = FoundVersion::in_folder(folder)?;
            let settings = ModelSettings::read(&found.name, &found.model_files)?;
            (settings.labels, settings.transform)
        }
    };
    let Some(transform) = transform else {
        return Err(unusable("has no manifest.json, and its model.toml does not say which output holds probabilities"));
    };
    let OutputTransform::Classification { probabilities, scores } = &transform.output else {
        return Err(unusable("is not a classifier"));
    };
    if *scores != Scores::Probabilities {
        return Err(unusable("gives logits, and evaluating needs an output of probabilities"));
    }
    let plan = Plan::load(&files.onnx)?;
    let predictions = predict(&plan, probabilities, data)?;
    Ok(Evaluated { manifest: files.manifest, labels, engine: plan.engine(), predictions })
}

/// Scores a graph by its output of this name.
pub(in crate::trainer) fn evaluate(plan: &Plan, probabilities: &str, data: &Dataset) -> Result<Evaluation> {
    let mut evaluator = Evaluator::new(data.classes);
    each_output(plan, probabilities, data, |index, row| evaluator.add(data.labels()[index] as usize, row))?;
    Ok(evaluator.finish())
}

/// Keeps what a graph says in its output of this name.
pub(in crate::trainer) fn predict(plan: &Plan, probabilities: &str, data: &Dataset) -> Result<Predictions> {
    let mut predictions = Predictions::new(data.classes);
    each_output(plan, probabilities, data, |index, row| predictions.push(data.labels()[index] as usize, row))?;
    Ok(predictions)
}
