//! Checks of a version against its own promises: signature, golden examples, and the answer to a picture.

use super::examples;
use crate::error::Result;
use crate::repository::{Golden, GoldenAnswer, GoldenReconstruction, Manifest};
use crate::serving::servable::{Input, Options, Prediction, Servable, unusable};
use crate::signature::Signature;
use crate::transform::{self, ImageLimits, Picture};

/// The largest difference between an answer to a golden example and the recorded one: kernels of another CPU
/// round differently, a wrong model is off by far more.
const GOLDEN_TOLERANCE: f32 = 1e-3;

/// The same of the grey values of a reconstruction, 0 to 255.
const GOLDEN_GREY: u8 = 2;

/// Checks that the graph is what the manifest promises.
///
/// # Errors
/// [`crate::error::Error::Repository`] with both.
pub(crate) fn signature(manifest: &Manifest, graph: &Signature) -> Result<()> {
    if manifest.signature != *graph {
        let promised = &manifest.signature;
        return Err(unusable(format!("the manifest's signature {promised:?} is not the graph's {graph:?}")));
    }
    Ok(())
}

/// Checks that the golden examples get the answers that were recorded, through the code that serves.
///
/// # Errors
/// [`crate::error::Error::Repository`] naming the example, [`crate::error::Error::ModelFailed`].
pub(crate) fn golden(servable: &Servable) -> Result<()> {
    let golden = servable.manifest.as_ref().map_or(&[][..], |manifest| &manifest.golden);
    for (index, example) in golden.iter().enumerate() {
        if let Some(problem) = wrong(servable, example)? {
            return Err(unusable(format!("golden example {index}: {problem}")));
        }
    }
    Ok(())
}

/// Asks a vision model about a plain picture, so that outputs that are not as they were guessed or said to be are found
/// before clients find them.
///
/// # Errors
/// [`crate::error::Error::Repository`] with what was found, and what to write.
pub(crate) fn answer(servable: &Servable) -> Result<()> {
    const SIDE: usize = 32;
    if servable.answer_text().is_none() || servable.image_transform().is_none() {
        return Ok(());
    }
    let picture = Picture { width: SIDE, height: SIDE, pixels: vec![127; SIDE * SIDE] }.png()?;
    match servable.misfit(Input::Images(vec![picture.into()])) {
        Some(problem) => Err(unusable(format!("[answer]: {problem}"))),
        None => Ok(()),
    }
}

/// Returns how the answer to an example differs from the recorded one, if it does.
fn wrong(servable: &Servable, Golden { input, answer }: &Golden) -> Result<Option<String>> {
    let top_k = match answer {
        GoldenAnswer::Classification { probabilities } => probabilities.len(),
        GoldenAnswer::Regression { .. } | GoldenAnswer::Reconstruction(_) => Options::default().top_k,
    };
    let options = Options { top_k, ..Options::default() };
    let answers = servable.execute(examples::input(input, servable.signature())?, options)?;
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
        (GoldenAnswer::Regression { value: expected, tolerance }, [Prediction::Number { value }]) => {
            let difference = (value.to_f64() - expected).abs();
            let allowed = tolerance.unwrap_or(f64::from(GOLDEN_TOLERANCE) * expected.abs().max(1.0));
            let is_off = difference.is_nan() || difference > allowed;
            Ok(is_off.then(|| format!("is {value}, recorded {expected}")))
        }
        (GoldenAnswer::Reconstruction(expected), [Prediction::Reconstructed { reconstruction, latent, score, .. }]) => {
            differs(expected, (reconstruction, latent, *score), servable.transforms.image_limits)
        }
        (other, _) => Ok(Some(format!("the answer is not that of a {} model", other.task()))),
    }
}

/// Returns how an autoencoder's answer differs from the recorded one, if it does.
///
/// # Errors
/// [`crate::error::Error::Repository`] when the recorded image cannot be read.
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
    let grey = |base64: &str| transform::decode(&examples::png_file(base64)?, limits);
    let (found, recorded) = (grey(image)?, grey(&expected.image)?);
    let is_near = |(a, b): (&u8, &u8)| a.abs_diff(*b) <= GOLDEN_GREY;
    let is_like = found.pixels.len() == recorded.pixels.len() && found.pixels.iter().zip(&recorded.pixels).all(is_near);
    Ok((!is_like).then(|| "the reconstruction is another image than the recorded one".into()))
}
