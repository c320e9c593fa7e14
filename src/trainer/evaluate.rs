//! Running a graph on a data set in the engine that serves it, and reading the data as a version's were read.

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use rayon::prelude::*;

use super::dataset::{DataOptions, DataSource, Dataset, Expected, SampleKind, Targets, refitted};
use crate::engine::Plan;
use crate::error::{Error, Result};
use crate::repository::{Manifest, ReadSettings, VersionFiles};
use crate::signature::{DType, SequenceElements, Task, TensorSpec};
use crate::tensor::{Real, Tensor};
use crate::transform::text::read_tokenizer;

const BATCH: usize = 64;

/// Elements of sequences that run at once, unless one alone has more.
const MOST_ELEMENTS: usize = 1 << 14;

/// Returns the task of the version in a folder, as its manifest says; without a manifest nothing is known of it.
///
/// # Errors
/// [`Error::Repository`] when the version cannot be used.
pub fn task_of(folder: &Path, max_model_bytes: u64) -> Result<Task> {
    let manifest = VersionFiles::read(folder, max_model_bytes)?.manifest;
    Ok(manifest.map_or(Task::Raw, |manifest| manifest.transform.output.task()))
}

/// Reads data as those of a published version were read, in its columns, categories, tokens and classes.
///
/// # Errors
/// [`Error::Repository`] when the version has a manifest that cannot be used, [`Error::Data`] when the data
/// cannot be used or are not of its columns or classes.
pub fn read_for(folder: &Path, data: &Path, options: DataOptions) -> Result<DataSource> {
    read_as(folder, data, options, true)
}

/// Reads data to be answered by a published version, every row of which is a sample.
///
/// # Errors
/// As [`read_for`].
pub fn read_unlabelled(folder: &Path, data: &Path, options: DataOptions) -> Result<DataSource> {
    read_as(folder, data, options, false)
}

fn read_as(folder: &Path, data: &Path, mut options: DataOptions, needs_target: bool) -> Result<DataSource> {
    let VersionFiles { manifest, tokenizer, .. } = VersionFiles::read(folder, u64::MAX - 1)?;
    let manifest = manifest.map(|manifest| manifest.of_folder(folder)).transpose()?;
    let Some(manifest) = manifest else { return DataSource::read(data, &options) };
    let transform = manifest.transform.clone();
    options.reading = settings_for(&manifest, options.reading);
    let labels = manifest.labels.clone();
    options.expected = Some(Arc::new(Expected { transform, labels, needs_target }));
    let mut source = DataSource::read(data, &options)?;
    if let (Some(files), Some(text)) = (&tokenizer, &manifest.transform.text) {
        let (encoder, config) = read_tokenizer(&files.json, files.side.each_ref().map(Option::as_deref))?;
        let filled = encoder.fill(text, &manifest.signature, &config, false);
        let filled = filled.map_err(|problem| Error::Repository { what: folder.display().to_string(), problem })?;
        source.tokenized(Arc::new(filled))?;
    }
    if source.sequence.is_some() != manifest.transform.sequence.is_some() {
        let (are, takes) = if source.sequence.is_some() { ("are", "none") } else { ("are no", "sequences") };
        let problem = format!("{are} sequences, the model takes {takes}");
        return Err(Error::Data { file: data.display().to_string(), problem });
    }
    let mut parts: Vec<&mut Dataset> = vec![&mut source.train, &mut source.test];
    parts.extend(source.validation.as_mut());
    for part in parts {
        if let (Some(from), Some(to)) = (&source.sequence, &manifest.transform.sequence) {
            *part = refitted(part, from, to)?;
        }
        // What comes as numbers is counted, and not named by the model.
        if let Targets::Classes(labels) = part.targets()
            && source.labels != manifest.labels
            && !manifest.labels.is_empty()
            && manifest.transform.output.task() == Task::Classification
        {
            *part = part.with_targets(relabelled(labels, &source.labels, &manifest)?, manifest.labels.len());
        }
    }
    if !manifest.labels.is_empty() {
        source.labels.clone_from(&manifest.labels);
    }
    source.sequence.clone_from(&manifest.transform.sequence);
    source.is_trained_on = manifest.data.as_ref().is_some_and(|data| data.sha256 == source.sha256);
    Ok(source)
}

/// Returns the settings for reading data for a version: what is asked for goes before what it was trained with.
fn settings_for(manifest: &Manifest, asked: ReadSettings) -> ReadSettings {
    let trained = manifest.data.as_ref().map(|data| data.reading.clone()).unwrap_or_default();
    let image = manifest.transform.image.as_ref().map(|image| [image.height(), image.width()]);
    let tokens = manifest.transform.sequence.as_ref().and_then(|sequence| match &sequence.elements {
        SequenceElements::Tokens { split, .. } => *split,
        SequenceElements::Numbers { .. } => None,
    });
    ReadSettings {
        format: asked.format,
        target: asked.target.or(trained.target),
        image_size: asked.image_size.or(trained.image_size).or(image),
        separator: asked.separator,
        decimal: asked.decimal,
        header: asked.header,
        encoding: asked.encoding,
        missing: if asked.missing.is_empty() { trained.missing } else { asked.missing },
        sequence: asked.sequence.or(trained.sequence),
        tokens: tokens.or(asked.tokens),
        ..trained
    }
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
    each_row(plan, name, data, |index, row| {
        if row.len() != data.classes {
            let problem = format!("{} classes for a model of {}", data.classes, row.len());
            return Err(Error::Data { file: "the images".into(), problem });
        }
        take(index, row);
        Ok(())
    })
}

/// Calls `take` with the index of each sample and the graph's output of this name for it, whatever its length.
///
/// # Errors
/// As [`each_output`], and what `take` returns.
pub(super) fn each_row(
    plan: &Plan,
    name: &str,
    data: &Dataset,
    mut take: impl FnMut(usize, &[f32]) -> Result<()>,
) -> Result<()> {
    let output = output_of(plan, name)?;
    each_run(plan, data, |range, outputs| {
        for (row, index) in outputs[output].float_rows()?.zip(range) {
            if row.iter().any(|value| !value.is_finite()) {
                return Err(not_finite(index));
            }
            take(index, row)?;
        }
        Ok(())
    })
}

/// Calls `take` with the index of each sample and the only number of the graph's output of this name for it.
///
/// # Errors
/// As [`each_row`], and [`Error::Data`] when the output is not one number.
pub(super) fn each_number(
    plan: &Plan,
    name: &str,
    data: &Dataset,
    mut take: impl FnMut(usize, Real) -> Result<()>,
) -> Result<()> {
    let output = output_of(plan, name)?;
    each_run(plan, data, |range, outputs| {
        for (place, index) in range.enumerate() {
            let number = outputs[output].real(place).ok_or_else(|| no_number(name))?;
            if !number.is_finite() {
                return Err(not_finite(index));
            }
            take(index, number)?;
        }
        Ok(())
    })
}

/// Calls `take` with the index of each sample of these elements, so many each, the graph's output of this name for a batch, and
/// the sample's place in it.
///
/// # Errors
/// [`Error::Data`] when the samples do not fit the graph, and what `take` returns.
pub(super) fn each_row_of(
    plan: &Plan,
    name: &str,
    (elements, width): (&[f32], usize),
    mut take: impl FnMut(usize, &Tensor, usize) -> Result<()>,
) -> Result<()> {
    let output = output_of(plan, name)?;
    let sample = plan.signature().inputs.first().and_then(TensorSpec::sample_shape).unwrap_or_default();
    let mut session = plan.session()?;
    for (chunk, elements) in elements.chunks(BATCH * width.max(1)).enumerate() {
        let rows = elements.len() / width.max(1);
        let shape = std::iter::once(rows).chain(sample.iter().copied()).collect();
        let outputs = session.run(&[Tensor::new(shape, elements.to_vec())?])?;
        (0..rows).try_for_each(|place| take(chunk * BATCH + place, &outputs[output], place))?;
    }
    Ok(())
}

/// Returns the number of a sample at a place in a batch, of the output of this name.
///
/// # Errors
/// [`Error::Data`] when the output is not one finite number.
pub(super) fn number_of(output: &Tensor, place: usize, name: &str) -> Result<f64> {
    let number = output.real(place).filter(|number| number.is_finite()).ok_or_else(|| no_number(name))?;
    Ok(number.to_f64())
}

fn no_number(name: &str) -> Error {
    misfit(format!("the model's output \"{name}\" is not one number"))
}

/// Returns the place of the output of this name.
fn output_of(plan: &Plan, name: &str) -> Result<usize> {
    let output = plan.signature().outputs.iter().position(|output| output.name == name);
    output.ok_or_else(|| misfit(format!("the graph has no output \"{name}\"")))
}

fn not_finite(index: usize) -> Error {
    misfit(format!("the model's output for sample {index} is not a finite number"))
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
    if data.is_texts() {
        return each_text(plan, data, take);
    }
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
    // What a graph looks up for each element of long sequences stays in the cache of a core.
    let batch = (MOST_ELEMENTS / data.image_len().max(1)).clamp(1, BATCH);
    let batch = if data.kind == SampleKind::Sequences { batch } else { BATCH };
    for range in data.chunks(batch) {
        let samples: Vec<usize> = range.clone().collect();
        take(range, &session.run(&data.tensors(&samples, &sample)?)?)?;
    }
    Ok(())
}

/// Calls `take` with each text and all outputs of the graph for it. Each runs alone, so none is padded, and those of a batch
/// run at once.
fn each_text(plan: &Plan, data: &Dataset, mut take: impl FnMut(Range<usize>, &[Tensor]) -> Result<()>) -> Result<()> {
    for range in data.chunks(BATCH) {
        let run = |index: usize| plan.session()?.run(&data.tensors(&[index], &[])?);
        let outputs: Vec<Vec<Tensor>> = range.clone().into_par_iter().map(run).collect::<Result<_>>()?;
        range.zip(&outputs).try_for_each(|(index, outputs)| take(index..index + 1, outputs))?;
    }
    Ok(())
}

fn misfit(problem: String) -> Error {
    Error::Data { file: "the images".into(), problem }
}
