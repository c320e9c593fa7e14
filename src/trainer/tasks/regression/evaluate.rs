//! Scoring a graph on samples with numbers in the engine that serves it.

use std::path::Path;

use crate::engine::{EngineKind, Plan};
use crate::error::{Error, Result};
use crate::repository::{Manifest, VersionFiles};
use crate::signature::OutputTransform;
use crate::stats::{RegressionEvaluation, RegressionEvaluator};
use crate::trainer::dataset::Dataset;
use crate::trainer::evaluate::each_number;

/// The predictions of a version for samples with numbers.
#[derive(Debug)]
pub struct EvaluatedNumbers {
    /// The version's manifest.
    pub manifest: Manifest,
    /// The engine that ran it.
    pub engine: EngineKind,
    /// The predictions, in the order of the samples.
    pub predictions: Vec<f64>,
}

/// Runs a published version of a model of numbers.
///
/// # Errors
/// As [`evaluate_version`].
pub fn evaluate_numbers(folder: &Path, max_model_bytes: u64, data: &Dataset) -> Result<EvaluatedNumbers> {
    let files = VersionFiles::read(folder, max_model_bytes)?;
    let unusable = |problem: &str| Error::Repository { what: folder.display().to_string(), problem: problem.into() };
    let manifest = files.manifest.ok_or_else(|| unusable("has no manifest.json"))?;
    let OutputTransform::Regression { value } = &manifest.transform.output else {
        return Err(unusable("is no model of numbers, which is what the data are for"));
    };
    let plan = Plan::load(&files.onnx)?;
    let predictions = values(&plan, value, data)?;
    Ok(EvaluatedNumbers { engine: plan.engine(), predictions, manifest })
}

/// Returns the figures of predictions, one for each truth.
pub(super) fn figures(truths: &[f64], predictions: &[f64]) -> RegressionEvaluation {
    let mut evaluator = RegressionEvaluator::default();
    truths.iter().zip(predictions).for_each(|(truth, predicted)| evaluator.add(*truth, *predicted));
    evaluator.finish()
}

/// The numbers that a graph says in its output of this name.
pub(super) fn values(plan: &Plan, output: &str, data: &Dataset) -> Result<Vec<f64>> {
    let mut values = Vec::with_capacity(data.len());
    each_number(plan, output, data, |_, value| {
        values.push(value.to_f64());
        Ok(())
    })?;
    Ok(values)
}
