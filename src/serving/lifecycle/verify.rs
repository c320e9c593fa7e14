//! Whether a version is what it says it is: identity, signature, transforms, golden examples.

use crate::error::{Error, Result};
use crate::repository::{Golden, GoldenAnswer, GoldenReconstruction, Manifest};
use crate::serving::servable::{Answering, Options, Prediction, Servable};
use crate::signature::{Batching, DType, OutputTransform, Signature, TensorSpec, Transform};
use crate::transform::{self, ImageLimits};

/// How far an answer to a golden example may be from the recorded one: kernels of another CPU round
/// differently, a wrong model is off by far more.
const GOLDEN_TOLERANCE: f32 = 1e-3;

/// The same of the grey values of a reconstruction, 0 to 255.
const GOLDEN_GREY: u8 = 2;

/// Whether the graph is what the manifest promises.
///
/// # Errors
/// [`Error::Repository`] with both.
pub(crate) fn signature(manifest: &Manifest, graph: &Signature) -> Result<()> {
    if manifest.signature != *graph {
        let promised = &manifest.signature;
        return Err(unusable(format!("the manifest's signature {promised:?} is not the graph's {graph:?}")));
    }
    Ok(())
}

/// Whether transforms fit a graph; returns the output that answers are made of.
///
/// # Errors
/// [`Error::Repository`] saying what does not fit.
pub(crate) fn transform(transform: &Transform, labels: &[String], graph: &Signature) -> Result<Option<Answering>> {
    if let Some(image) = &transform.image {
        let pixels = image.width as usize * image.height as usize;
        let fits = |input: &TensorSpec| {
            let sample = input.sample_shape().map(|shape| shape.iter().product());
            input.dtype == DType::Float32 && sample == Some(pixels)
        };
        // An autoencoder takes noise besides.
        let inputs = if matches!(transform.output, OutputTransform::Reconstruction { .. }) { 2 } else { 1 };
        if pixels == 0 || graph.batching() == Batching::Whole || graph.inputs.len() != inputs || !fits(&graph.inputs[0])
        {
            let inputs: Vec<String> = graph.inputs.iter().map(TensorSpec::shape_text).collect();
            return Err(unusable(format!(
                "images of {} × {} grey pixels do not fill the inputs {}",
                image.width,
                image.height,
                inputs.join(", ")
            )));
        }
    }
    if let Some(sequence) = &transform.sequence {
        let shape = sequence.shape();
        let fits = |input: &TensorSpec| input.dtype == DType::Float32 && input.sample_shape().as_ref() == Some(&shape);
        if shape.contains(&0)
            || graph.batching() == Batching::Whole
            || graph.inputs.len() != 1
            || !fits(&graph.inputs[0])
        {
            let inputs: Vec<String> = graph.inputs.iter().map(TensorSpec::shape_text).collect();
            return Err(unusable(format!("sequences of {shape:?} do not fill the inputs {}", inputs.join(", "))));
        }
    }
    if !transform.columns.is_empty() {
        let fits = |input: &TensorSpec| {
            input.dtype == DType::Float32 && input.sample_shape() == Some(vec![transform.columns.len()])
        };
        if graph.batching() == Batching::Whole || graph.inputs.len() != 1 || !fits(&graph.inputs[0]) {
            let inputs: Vec<String> = graph.inputs.iter().map(TensorSpec::shape_text).collect();
            let count = transform.columns.len();
            return Err(unusable(format!("{count} columns do not fill the inputs {}", inputs.join(", "))));
        }
    }
    let probabilities = match &transform.output {
        OutputTransform::Classification { probabilities } => probabilities,
        OutputTransform::Regression { value } => return number(value, graph).map(Some),
        OutputTransform::Reconstruction { .. } | OutputTransform::Raw => return Ok(None),
    };
    let index = graph.outputs.iter().position(|output| output.name == *probabilities);
    let index = index.ok_or_else(|| unusable(format!("the graph has no output \"{probabilities}\"")))?;
    let classes = graph.outputs[index].sample_shape().filter(|shape| shape.len() == 1).map(|shape| shape[0]);
    let classes =
        classes.filter(|_| graph.batching() != Batching::Whole && graph.outputs[index].dtype == DType::Float32);
    let is_known = classes.is_some_and(|classes| labels.is_empty() || labels.len() == classes);
    if !is_known {
        return Err(unusable(format!(
            "{} labels for output \"{probabilities}\" of shape {}",
            labels.len(),
            graph.outputs[index].shape_text()
        )));
    }
    Ok(Some(Answering::Probabilities(index)))
}

/// The output of this name, which holds one number for each sample.
fn number(name: &str, graph: &Signature) -> Result<Answering> {
    let index = graph.outputs.iter().position(|output| output.name == name);
    let index = index.ok_or_else(|| unusable(format!("the graph has no output \"{name}\"")))?;
    let output = &graph.outputs[index];
    let is_one = output.sample_shape().is_some_and(|shape| shape.iter().product::<usize>() == 1);
    if !is_one || output.dtype != DType::Float32 || graph.batching() == Batching::Whole {
        return Err(unusable(format!("output \"{name}\" of shape {} is not one number", output.shape_text())));
    }
    Ok(Answering::Value(index))
}

/// Checks that the golden examples get the answers that were recorded, through the code that serves.
///
/// # Errors
/// [`Error::Repository`] naming the example, [`Error::ModelFailed`].
pub(crate) fn golden(servable: &Servable) -> Result<()> {
    let golden = servable.manifest.as_ref().map_or(&[][..], |manifest| &manifest.golden);
    for (index, example) in golden.iter().enumerate() {
        if let Some(problem) = wrong(servable, example)? {
            return Err(unusable(format!("golden example {index}: {problem}")));
        }
    }
    Ok(())
}

/// Returns how the answer to an example differs from the recorded one, if it does.
fn wrong(servable: &Servable, Golden { input, answer }: &Golden) -> Result<Option<String>> {
    let top_k = match answer {
        GoldenAnswer::Classification { probabilities } => probabilities.len(),
        GoldenAnswer::Regression { .. } | GoldenAnswer::Reconstruction(_) => Options::default().top_k,
    };
    let options = Options { top_k, ..Options::default() };
    let answers = servable.execute(crate::serving::lifecycle::load::sample(input, &servable.signature)?, options)?;
    match (answer, answers.as_slice()) {
        (GoldenAnswer::Classification { probabilities }, [Prediction::Classified { classification, .. }]) => {
            Ok(classification.top_k.iter().find_map(|scored| {
                let expected = probabilities.get(scored.class).copied().unwrap_or(f32::NAN);
                let difference = (scored.confidence - expected).abs();
                let is_off = difference.is_nan() || difference > GOLDEN_TOLERANCE;
                is_off.then(|| {
                    format!("class {} has probability {}, recorded {expected}", scored.class, scored.confidence)
                })
            }))
        }
        (GoldenAnswer::Regression { value: expected }, [Prediction::Number { value }]) => {
            let difference = (value - expected).abs();
            let is_off = difference.is_nan() || difference > GOLDEN_TOLERANCE * expected.abs().max(1.0);
            Ok(is_off.then(|| format!("is {value}, recorded {expected}")))
        }
        (GoldenAnswer::Reconstruction(expected), [Prediction::Reconstructed { reconstruction, latent, score, .. }]) => {
            differs(expected, (reconstruction, latent, *score), servable.image_limits)
        }
        (other, _) => Ok(Some(format!("the answer is not that of a {} model", other.task()))),
    }
}

/// How an autoencoder's answer differs from the recorded one, if it does.
///
/// # Errors
/// [`Error::Repository`] when the recorded image cannot be read.
fn differs(
    expected: &GoldenReconstruction,
    (image, code, score): (&str, &[f32], f64),
    limits: ImageLimits,
) -> Result<Option<String>> {
    let tolerance = |expected: f64| f64::from(GOLDEN_TOLERANCE) * expected.abs().max(1.0);
    let is_off = |found: f64, expected: f64| {
        let difference = (found - expected).abs();
        difference.is_nan() || difference > tolerance(expected)
    };
    if is_off(score, expected.score) {
        return Ok(Some(format!("the score is {score}, recorded {}", expected.score)));
    }
    let numbers = || code.iter().zip(&expected.code);
    if code.len() != expected.code.len() || numbers().any(|(a, b)| is_off(f64::from(*a), f64::from(*b))) {
        return Ok(Some(format!("the code is {code:?}, recorded {:?}", expected.code)));
    }
    let grey = |base64: &str| transform::decode(&crate::serving::lifecycle::load::decode_base64(base64)?, limits);
    let (found, recorded) = (grey(image)?, grey(&expected.image)?);
    let is_near = |(a, b): (&u8, &u8)| a.abs_diff(*b) <= GOLDEN_GREY;
    let is_like = found.pixels.len() == recorded.pixels.len() && found.pixels.iter().zip(&recorded.pixels).all(is_near);
    Ok((!is_like).then(|| "the reconstruction is another image than the recorded one".into()))
}

/// A version that cannot be served.
pub(crate) fn unusable(problem: String) -> Error {
    Error::Repository { what: "the version".into(), problem }
}
