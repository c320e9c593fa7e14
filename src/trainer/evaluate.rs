//! Running a graph on a data set in the engine that serves it, and reading the data as a version's were read.

use std::ops::Range;
use std::path::Path;

use super::dataset::{DataOptions, DataSource, Dataset, SampleKind, Targets, recoded, refitted};
use crate::engine::Plan;
use crate::error::{Error, Result};
use crate::repository::{Manifest, VersionFiles};
use crate::signature::{DType, Task};
use crate::tensor::Tensor;

const BATCH: usize = 64;

/// Returns the task of the version in a folder, as its manifest says; without a manifest nothing is known of it.
///
/// # Errors
/// [`Error::Repository`] when the version cannot be used.
pub fn task_of(folder: &Path, max_model_bytes: u64) -> Result<Task> {
    let manifest = VersionFiles::read(folder, max_model_bytes)?.manifest;
    Ok(manifest.map_or(Task::Raw, |manifest| manifest.transform.output.task()))
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
        options.reading.image_size.get_or_insert([image.height(), image.width()]);
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

/// Calls `take` with the index of each sample and the graph's output of this name for it.
///
/// # Errors
/// [`Error::Data`] when the samples do not fit the graph, or its output is not finite.
pub(super) fn each_output(plan: &Plan, name: &str, data: &Dataset, mut take: impl FnMut(usize, &[f32])) -> Result<()> {
    let output = plan.signature().outputs.iter().position(|output| output.name == name);
    let output = output.ok_or_else(|| misfit(format!("the graph has no output \"{name}\"")))?;
    each_run(plan, data, |range, outputs| {
        for (row, index) in outputs[output].float_rows()?.zip(range) {
            if row.len() != data.classes {
                return Err(misfit(format!("{} classes for a model of {}", data.classes, row.len())));
            }
            if row.iter().any(|value| !value.is_finite()) {
                return Err(misfit(format!("the model's output for sample {index} is not a finite number")));
            }
            take(index, row);
        }
        Ok(())
    })
}

/// Calls `take` with consecutive samples and all outputs of the graph for them.
///
/// # Errors
/// [`Error::Data`] when the samples do not fit the graph, and what `take` fails with.
pub(super) fn each_run(
    plan: &Plan,
    data: &Dataset,
    mut take: impl FnMut(Range<usize>, &[Tensor]) -> Result<()>,
) -> Result<()> {
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
    let mut session = plan.session()?;
    for range in data.chunks(BATCH) {
        let shape = std::iter::once(range.len()).chain(sample.iter().copied()).collect();
        let outputs = session.run(&[Tensor::new(shape, data.inputs(range.clone())?)?])?;
        take(range, &outputs)?;
    }
    Ok(())
}

fn misfit(problem: String) -> Error {
    Error::Data { file: "the images".into(), problem }
}
