//! Scoring a graph on labelled images in the engine that serves it.

use std::path::Path;

use super::dataset::Dataset;
use crate::engine::{EngineKind, Plan};
use crate::error::{Error, Result};
use crate::repository::{Manifest, ModelSettings, VersionFiles};
use crate::signature::{DType, OutputTransform};
use crate::stats::{Evaluation, Evaluator, Predictions};
use crate::tensor::Tensor;

const BATCH: usize = 64;

/// What a version says of labelled images.
#[derive(Debug)]
pub struct Evaluated {
    /// The version's manifest, if it has one.
    pub manifest: Option<Manifest>,
    /// The names of the classes.
    pub labels: Vec<String>,
    /// What ran it.
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
            let settings = folder.parent().map(ModelSettings::read).transpose()?.unwrap_or_default();
            (settings.labels, settings.transform)
        }
    };
    let Some(transform) = transform else {
        return Err(unusable("has no manifest.json, and its model.toml does not say which output holds probabilities"));
    };
    let OutputTransform::Classification { probabilities } = &transform.output else {
        return Err(unusable("is not a classifier"));
    };
    let plan = Plan::load(&files.onnx)?;
    let predictions = predict(&plan, probabilities, data)?;
    Ok(Evaluated { manifest: files.manifest, labels, engine: plan.engine(), predictions })
}

/// Scores a graph by its output of this name.
pub(super) fn evaluate(plan: &Plan, probabilities: &str, data: &Dataset) -> Result<Evaluation> {
    let mut evaluator = Evaluator::new(data.classes);
    each(plan, probabilities, data, |truth, row| evaluator.add(truth, row))?;
    Ok(evaluator.finish())
}

/// Keeps what a graph says in its output of this name.
pub(super) fn predict(plan: &Plan, probabilities: &str, data: &Dataset) -> Result<Predictions> {
    let mut predictions = Predictions::new(data.classes);
    each(plan, probabilities, data, |truth, row| predictions.push(truth, row))?;
    Ok(predictions)
}

/// Calls `take` with the class of each image and the graph's distribution over classes.
fn each(plan: &Plan, probabilities: &str, data: &Dataset, mut take: impl FnMut(usize, &[f32])) -> Result<()> {
    let misfit = |problem: String| Error::Data { file: "the images".into(), problem };
    let [input] = &plan.signature().inputs[..] else {
        return Err(misfit(format!("fill one input, the model has {}", plan.signature().inputs.len())));
    };
    let sample = input.sample_shape().unwrap_or_default();
    if input.dtype != DType::Float32 || sample.iter().product::<usize>() != data.image_len() {
        return Err(misfit(format!(
            "{} × {} pixels do not fill the model's input {} {}",
            data.width,
            data.height,
            input.dtype,
            input.shape_text()
        )));
    }
    let output = plan.signature().outputs.iter().position(|output| output.name == probabilities);
    let output = output.ok_or_else(|| misfit(format!("the graph has no output \"{probabilities}\"")))?;
    let mut session = plan.session()?;
    for (images, labels) in data.pixels.chunks(BATCH * data.image_len()).zip(data.labels.chunks(BATCH)) {
        let shape = std::iter::once(labels.len()).chain(sample.iter().copied()).collect();
        let pixels: Vec<f32> = images.iter().map(|pixel| f32::from(*pixel)).collect();
        let outputs = session.run(&[Tensor::new(shape, pixels)?])?;
        for (row, label) in outputs[output].float_rows()?.zip(labels) {
            if row.len() != data.classes {
                return Err(misfit(format!("{} classes for a model of {}", data.classes, row.len())));
            }
            if row.iter().any(|value| !value.is_finite()) {
                return Err(misfit(format!("the model's output for one of class {label} is not a finite number")));
            }
            take(usize::from(*label), row);
        }
    }
    Ok(())
}
