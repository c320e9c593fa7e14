//! The tables `[image]` and `[answer]` of `model.toml`, completed by the graph.

use super::warm::WarmGraph;
use crate::error::{Error, Result};
use crate::repository::{FoundVersion, SETTINGS_FILE};
use crate::signature::{
    AnswerSpec, DType, Dim, GraphFacts, Guess, ImageTransform, OutputTransform, Scores, Signature, Transform,
    scored_classes,
};
use crate::tensor::{Data, Tensor};
use crate::transform::{ImageLimits, Picture, PolarityChoice, append_image};

/// The largest distance of a distribution's sum from 1, in 32 and in 16 bits.
const TOLERANCE: f32 = 1e-3;
const TOLERANCE_OF_HALVES: f32 = 1e-2;

/// Width and height of the pictures that a graph is tried with.
const SIDE: usize = 32;

/// Returns the transforms that the settings of a model declare, with what they leave to the graph filled in, and the
/// names of the classes.
///
/// # Errors
/// [`Error::Repository`] naming the setting that does not fit the graph, or the failure of the model.
pub(super) fn declared(
    found: &FoundVersion,
    graph: &mut WarmGraph,
    facts: &GraphFacts,
) -> Result<(Option<Transform>, Vec<String>)> {
    let settings = &found.settings;
    let mut labels = settings.class_labels(&found.model_files)?;
    if settings.image.is_none() && settings.answer.is_none() {
        return Ok((settings.transform.clone(), labels));
    }
    let image = match settings.image.clone() {
        Some(image) => {
            let input = graph.view.signature.inputs.first();
            let image = image.resolve(input).map_err(|problem| at("image", &problem))?;
            if let Some(input) = input.filter(|input| !image.fills(input)) {
                let (text, shape, dtype) = (image.text(), input.shape_text(), input.dtype);
                return Err(at("image", &format!("{text} do not fill the graph's input {shape} of {dtype}")));
            }
            Some(image)
        }
        None => None,
    };
    let output = match settings.answer.clone() {
        Some(answer) => match answer.seen() {
            Some(output) => output,
            None => answered(answer, image.as_ref(), labels.len(), graph, facts)?,
        },
        None => OutputTransform::Raw,
    };
    if labels.is_empty() && settings.answer.is_some() {
        labels = named(&output, graph, facts);
    }
    Ok((Some(Transform { image, columns: Vec::new(), sequence: None, text: None, output }), labels))
}

/// Returns the names of classes that the exporter put into the graph, unless they are too few or too many.
fn named(output: &OutputTransform, graph: &WarmGraph, facts: &GraphFacts) -> Vec<String> {
    let names = facts.class_names();
    let (OutputTransform::Classification { probabilities: output, .. } | OutputTransform::Labels { output, .. }) =
        output
    else {
        return names;
    };
    let outputs = &graph.view.signature.outputs;
    let classes = outputs.iter().find(|spec| spec.name == *output).and_then(scored_classes).unwrap_or(names.len());
    if !names.is_empty() && names.len() != classes {
        tracing::warn!(
            names = names.len(),
            classes,
            "the graph's metadata names another number of classes; passed over"
        );
        return Vec::new();
    }
    names
}

/// Returns the lines that would make a version take images, guessed by its graph; none if it has an image transform, or
/// seems to take no pictures.
pub(super) fn missing(found: &FoundVersion, graph: &Signature, facts: &GraphFacts) -> Vec<String> {
    let is_silent = found.settings.is_silent_about_transforms();
    let guess = Guess::of(graph, facts).filter(|_| is_silent);
    guess.map(|guess| guess.short()).unwrap_or_default()
}

fn at(table: &str, problem: &str) -> Error {
    Error::Repository { what: SETTINGS_FILE.into(), problem: format!("[{table}]: {problem}") }
}

pub(super) fn answered(
    answer: AnswerSpec,
    image: Option<&ImageTransform>,
    labels: usize,
    graph: &mut WarmGraph,
    facts: &GraphFacts,
) -> Result<OutputTransform> {
    let place = answer.output(&graph.view.signature, labels).map_err(|problem| at("answer", &problem))?;
    let spec = graph.view.signature.outputs[place].clone();
    let Some(classes) = scored_classes(&spec) else {
        let problem =
            format!("output \"{}\" of {} {} holds no scores of classes", spec.name, spec.dtype, spec.shape_text());
        return Err(at("answer", &problem));
    };
    let scores = match answer.scores() {
        Some(scores) => scores,
        None => measured(&answer, place, image, graph, facts)?,
    };
    answer.resolve(&spec.name, scores, classes).map_err(|problem| at("answer", &problem))
}

/// Returns the meaning of an output's scores: by the operator that makes them, or else by what the graph gives for three
/// pictures, black, white and noise, or for its example.
fn measured(
    answer: &AnswerSpec,
    place: usize,
    image: Option<&ImageTransform>,
    graph: &mut WarmGraph,
    facts: &GraphFacts,
) -> Result<Scores> {
    let output = graph.view.signature.outputs[place].name.clone();
    let (scores, by) = match (facts.closing_of(&output), answer) {
        (Some("Softmax"), AnswerSpec::Classes { .. }) | (Some("Sigmoid"), AnswerSpec::Labels { .. }) => {
            (Scores::Probabilities, "its operator")
        }
        _ => {
            let mut judgements = Vec::new();
            for inputs in trials(image, graph)? {
                judgements.extend(are_probabilities(answer, &run(graph, &inputs)?[place])?);
            }
            match judgements.as_slice() {
                [] => {
                    let problem = "scores is missing: what the graph gives for examples is unknown or no number, so say \"logits\" or \"probabilities\"";
                    return Err(at("answer", problem));
                }
                all if all.iter().all(|holds| *holds) => (Scores::Probabilities, "measured"),
                _ => (Scores::Logits, "measured"),
            }
        }
    };
    tracing::info!(output, ?scores, by, "the meaning of the scores; [answer] of model.toml may say another");
    Ok(scores)
}

/// Returns for each row of finite numbers whether it can be of probabilities.
fn are_probabilities(answer: &AnswerSpec, output: &Tensor) -> Result<Vec<bool>> {
    let tolerance = if output.dtype() == DType::Float16 { TOLERANCE_OF_HALVES } else { TOLERANCE };
    let floats = output.to_floats()?;
    let rows = floats.float_rows()?.filter(|row| row.iter().all(|score| score.is_finite()));
    let judge = |row: &[f32]| {
        let are_shares = row.iter().all(|score| (0.0..=1.0).contains(score));
        let is_whole = (row.iter().sum::<f32>() - 1.0).abs() <= tolerance;
        are_shares && (is_whole || matches!(answer, AnswerSpec::Labels { .. }))
    };
    Ok(rows.map(judge).collect())
}

/// Returns inputs of one run each: pictures, if the graph takes such, or else its example, if there is one.
fn trials(image: Option<&ImageTransform>, graph: &WarmGraph) -> Result<Vec<Vec<Tensor>>> {
    let (Some(image), [input]) = (image, graph.view.signature.inputs.as_slice()) else {
        return graph.examples.iter().map(|examples| examples.of(None)).collect();
    };
    let count = if let Some(Dim::Fixed(count)) = input.shape.first() { *count } else { 1 };
    // A linear congruential generator: any noise will do.
    let noise = |at: u32| (at.wrapping_mul(1_664_525).wrapping_add(1_013_904_223) >> 24) as u8;
    let pictures = [vec![0; SIDE * SIDE], vec![255; SIDE * SIDE], (0..(SIDE * SIDE) as u32).map(noise).collect()];
    let limits = ImageLimits { max_pixels: (SIDE * SIDE) as u64 };
    let trial = |pixels: Vec<u8>| {
        let file = Picture { width: SIDE, height: SIDE, pixels }.png()?;
        let mut elements = Data::with_capacity(image.dtype(), 0);
        for _ in 0..count {
            append_image(&file, image, limits, PolarityChoice::LightOnDark, &mut elements)?;
        }
        let shape = std::iter::once(count).chain(image.sample_shape(input)).collect();
        let tensors = vec![Tensor::from_data(shape, elements)?];
        match &graph.view.adapter {
            Some(adapter) => adapter.to_graph(tensors),
            None => Ok(tensors),
        }
    };
    pictures.into_iter().map(trial).collect()
}

pub(super) fn run(graph: &mut WarmGraph, inputs: &[Tensor]) -> Result<Vec<Tensor>> {
    let outputs = graph.sessions[0].run(inputs)?;
    match &graph.view.adapter {
        Some(adapter) => adapter.to_client(outputs),
        None => Ok(outputs),
    }
}
