//! Scoring a graph on labelled images in the engine that serves it.

use std::path::Path;

use super::dataset::Dataset;
use crate::engine::Plan;
use crate::error::{Error, Result};
use crate::repository::{Manifest, VersionFiles};
use crate::signature::OutputTransform;
use crate::stats::{Evaluation, Evaluator};
use crate::tensor::Tensor;

const BATCH: usize = 64;

/// Scores a published version.
///
/// # Errors
/// [`Error::Repository`] when the version cannot be used, [`Error::Data`] when the images do not
/// fit it.
pub fn evaluate_version(folder: &Path, max_model_bytes: u64, data: &Dataset) -> Result<(Manifest, Evaluation)> {
    let files = VersionFiles::read(folder, max_model_bytes)?;
    let unusable = |problem: &str| Error::Repository { what: folder.display().to_string(), problem: problem.into() };
    let manifest =
        files.manifest.ok_or_else(|| unusable("has no manifest.json, so its labels and outputs are unknown"))?;
    let OutputTransform::Classification { probabilities } = &manifest.transform.output else {
        return Err(unusable("is not a classifier"));
    };
    let plan = Plan::load(&files.onnx)?;
    let evaluation = evaluate(&plan, probabilities, data)?;
    Ok((manifest, evaluation))
}

/// Scores a graph by its output of this name.
pub(super) fn evaluate(plan: &Plan, probabilities: &str, data: &Dataset) -> Result<Evaluation> {
    let misfit = |problem: String| Error::Data { file: "the images".into(), problem };
    let sample = plan.signature().inputs[0].sample_shape().unwrap_or_default();
    if sample.iter().product::<usize>() != data.image_len() {
        return Err(misfit(format!(
            "{} × {} pixels do not fill the model's input {sample:?}",
            data.width, data.height
        )));
    }
    let output = plan.signature().outputs.iter().position(|output| output.name == probabilities);
    let output = output.ok_or_else(|| misfit(format!("the graph has no output \"{probabilities}\"")))?;
    let mut session = plan.session()?;
    let mut evaluator = Evaluator::new(data.classes);
    for (images, labels) in data.pixels.chunks(BATCH * data.image_len()).zip(data.labels.chunks(BATCH)) {
        let shape = std::iter::once(labels.len()).chain(sample.iter().copied()).collect();
        let pixels: Vec<f32> = images.iter().map(|pixel| f32::from(*pixel)).collect();
        let outputs = session.run(&[Tensor::new(shape, pixels)?])?;
        for (row, label) in outputs[output].float_rows()?.zip(labels) {
            if row.len() != data.classes {
                return Err(misfit(format!("{} classes for a model of {}", data.classes, row.len())));
            }
            evaluator.add(usize::from(*label), row);
        }
    }
    Ok(evaluator.finish())
}
