//! Scoring a graph on labelled images in the engine that serves it.

use std::path::Path;

use super::dataset::{DataOptions, DataSource, Dataset, SampleKind, Targets, recoded, refitted};
use crate::engine::{EngineKind, Plan};
use crate::error::{Error, Result};
use crate::repository::{FoundVersion, Manifest, ModelSettings, VersionFiles};
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

/// What a version says of samples with numbers.
#[derive(Debug)]
pub struct EvaluatedNumbers {
    /// The version's manifest.
    pub manifest: Manifest,
    /// What ran it.
    pub engine: EngineKind,
    /// The predictions, in the order of the samples.
    pub predictions: Vec<f64>,
}

/// Reads data as those of a published version were read, and brings them into its columns and classes.
///
/// # Errors
/// [`Error::Repository`] when the version has a manifest that cannot be used, [`Error::Data`] when the data
/// cannot be used or are not of its columns or classes.
pub fn read_for(folder: &Path, data: &Path, mut options: DataOptions) -> Result<DataSource> {
    let manifest = VersionFiles::read(folder, u64::MAX - 1)?.manifest;
    let manifest = manifest.map(|manifest| manifest.of_folder(folder)).transpose()?;
    if let Some(provenance) = manifest.as_ref().and_then(|manifest| manifest.data.as_ref()) {
        let trained = provenance.reading.clone();
        let asked = options.reading;
        options.reading = crate::repository::ReadSettings {
            format: asked.format,
            target: asked.target.or(trained.target),
            image_size: asked.image_size.or(trained.image_size),
            ..trained
        };
    }
    let image = manifest.as_ref().and_then(|manifest| manifest.transform.image.as_ref());
    if let Some(image) = image {
        options.reading.image_size.get_or_insert([image.height, image.width]);
    }
    let mut source = DataSource::read(data, &options)?;
    let Some(manifest) = manifest else { return Ok(source) };
    if source.sequence.is_some() != manifest.transform.sequence.is_some() {
        let (are, takes) = if source.sequence.is_some() { ("are", "none") } else { ("are no", "sequences") };
        let problem = format!("{are} sequences, the model takes {takes}");
        return Err(Error::Data { file: data.display().to_string(), problem });
    }
    let mut parts: Vec<&mut Dataset> = vec![&mut source.train, &mut source.test];
    parts.extend(source.validation.as_mut());
    for part in parts {
        if part.kind == SampleKind::Rows {
            *part = recoded(part, &source.columns, &manifest.transform.columns, options.memory)?;
        }
        if let (Some(from), Some(to)) = (&source.sequence, &manifest.transform.sequence) {
            *part = refitted(part, from, to, options.memory)?;
        }
        if let Targets::Classes(labels) = part.targets()
            && source.labels != manifest.labels
            && !manifest.labels.is_empty()
        {
            *part = part.with_targets(relabelled(labels, &source.labels, &manifest)?, manifest.labels.len());
        }
    }
    if !manifest.labels.is_empty() {
        source.labels.clone_from(&manifest.labels);
    }
    source.columns.clone_from(&manifest.transform.columns);
    source.sequence.clone_from(&manifest.transform.sequence);
    Ok(source)
}

/// The classes of a model by the names of those of the data.
fn relabelled(labels: &[u32], names: &[String], manifest: &Manifest) -> Result<Targets> {
    let places: Vec<Option<u32>> = names
        .iter()
        .map(|name| manifest.labels.iter().position(|label| label == name).map(|place| place as u32))
        .collect();
    let class = |label: &u32| {
        places[*label as usize].ok_or_else(|| Error::Data {
            file: "the data".into(),
            problem: format!(
                "have class {}, which {} version {} does not know",
                crate::ids::quote(&names[*label as usize]),
                manifest.model,
                manifest.version
            ),
        })
    };
    labels.iter().map(class).collect::<Result<_>>().map(Targets::Classes)
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
    each(plan, probabilities, data, |index, row| evaluator.add(data.labels()[index] as usize, row))?;
    Ok(evaluator.finish())
}

/// Keeps what a graph says in its output of this name.
pub(super) fn predict(plan: &Plan, probabilities: &str, data: &Dataset) -> Result<Predictions> {
    let mut predictions = Predictions::new(data.classes);
    each(plan, probabilities, data, |index, row| predictions.push(data.labels()[index] as usize, row))?;
    Ok(predictions)
}

/// The numbers that a graph says in its output of this name.
pub(super) fn values(plan: &Plan, output: &str, data: &Dataset) -> Result<Vec<f64>> {
    let mut values = Vec::with_capacity(data.len());
    each(plan, output, data, |_, row| values.extend(row.first().map(|value| f64::from(*value))))?;
    Ok(values)
}

/// Calls `take` with the place of each sample and what the graph says in its output of this name.
fn each(plan: &Plan, probabilities: &str, data: &Dataset, mut take: impl FnMut(usize, &[f32])) -> Result<()> {
    let misfit = |problem: String| Error::Data { file: "the images".into(), problem };
    let [input] = &plan.signature().inputs[..] else {
        return Err(misfit(format!("fill one input, the model has {}", plan.signature().inputs.len())));
    };
    let sample = input.sample_shape().unwrap_or_default();
    if input.dtype != DType::Float32 || sample.iter().product::<usize>() != data.image_len() {
        let what = data.kind.elements();
        return Err(misfit(format!(
            "{} × {} {what} do not fill the model's input {} {}",
            data.width,
            data.height,
            input.dtype,
            input.shape_text()
        )));
    }
    let output = plan.signature().outputs.iter().position(|output| output.name == probabilities);
    let output = output.ok_or_else(|| misfit(format!("the graph has no output \"{probabilities}\"")))?;
    let mut session = plan.session()?;
    for range in data.chunks(BATCH) {
        let shape = std::iter::once(range.len()).chain(sample.iter().copied()).collect();
        let outputs = session.run(&[Tensor::new(shape, data.inputs(range.clone())?)?])?;
        for (row, index) in outputs[output].float_rows()?.zip(range) {
            if row.len() != data.classes {
                return Err(misfit(format!("{} classes for a model of {}", data.classes, row.len())));
            }
            if row.iter().any(|value| !value.is_finite()) {
                return Err(misfit(format!("the model's output for sample {index} is not a finite number")));
            }
            take(index, row);
        }
    }
    Ok(())
}
