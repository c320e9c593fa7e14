//! The scores that a guarding autoencoder gives the samples of a reference.

use std::path::Path;

use super::{BINS, ReferenceData, answers, declared, unfit};
use crate::engine::Plan;
use crate::error::{Error, Result};
use crate::ids::{ModelName, Version};
use crate::repository::{DriftReference, GuardReference, VersionFiles};
use crate::signature::{DType, OutputTransform, Transform};
use crate::stats::{Histogram, Ranks, combined};
use crate::tensor::Tensor;
use crate::trainer::dataset::Dataset;

/// Samples in one run.
const BATCH: usize = 64;

/// An autoencoder that looks at the inputs of another model.
#[derive(Debug, Clone, Copy)]
pub struct Guard<'a> {
    /// Its name.
    pub model: &'a ModelName,
    /// Its version.
    pub version: Version,
    /// The folder of that.
    pub folder: &'a Path,
}

/// Adds the guard's scores to a reference, and their ranks together with the energies of the guarded graph.
///
/// # Errors
/// [`Error::Repository`] when the guard cannot be used or sees samples in another way than the guarded model,
/// [`Error::Data`] when the samples do not fit it or its scores are not finite.
pub(super) fn add(
    reference: &mut DriftReference,
    guard: Guard<'_>,
    (plan, transform): (&Plan, &Transform),
    data: &ReferenceData,
) -> Result<()> {
    let files = VersionFiles::read(guard.folder, u64::MAX - 1)?;
    let own = declared(guard.folder, files.manifest.as_ref())?;
    let refuse = |problem: &str| {
        let what = format!("the guard {} version {}", guard.model, guard.version);
        Error::Repository { what, problem: problem.into() }
    };
    let OutputTransform::Reconstruction { score, .. } = &own.output else {
        return Err(refuse("expected an autoencoder, which gives samples a score"));
    };
    if own.image != transform.image {
        return Err(refuse("it sees pictures in another way than the model that it should guard"));
    }
    let scorer = Plan::load(&files.onnx)?;
    let mut scores = Vec::with_capacity(data.len());
    for part in &data.parts {
        score_all(&scorer, score, part, &mut scores)?;
    }
    let unlikely = Ranks::new(scores.iter().map(|score| -score));
    let energies = match &transform.output {
        OutputTransform::Classification { probabilities, .. } => energies(plan, probabilities, data)?,
        _ => Vec::new(),
    };
    let joint = reference.unusual.as_ref().filter(|_| energies.len() == scores.len()).map(|unusual| {
        let pairs = energies.iter().zip(&scores);
        Ranks::new(pairs.map(|(energy, score)| combined(&[unusual.p_value(*energy), unlikely.p_value(-score)])))
    });
    reference.guard = Some(GuardReference {
        model: guard.model.clone(),
        version: guard.version,
        sha256: files.onnx_sha256,
        scores: Histogram::by_quantiles(scores, BINS),
        unlikely,
        joint,
    });
    Ok(())
}

/// Returns the energies of a graph's answers; none if it gives no logits.
fn energies(plan: &Plan, probabilities: &str, data: &ReferenceData) -> Result<Vec<f64>> {
    let outputs = &plan.signature().outputs;
    let Some(place) = outputs.iter().position(|output| output.name == probabilities) else { return Ok(Vec::new()) };
    let answers = answers::of(plan, [Some(place), plan.signature().logits_of(place)], data)?;
    Ok(answers.iter().filter_map(answers::Answer::energy).collect())
}

/// Appends the score of each sample, as it is served: without noise.
fn score_all(scorer: &Plan, name: &str, data: &Dataset, scores: &mut Vec<f64>) -> Result<()> {
    let signature = scorer.signature();
    let output = signature.outputs.iter().position(|output| output.name == name);
    let output = output.ok_or_else(|| unfit(format!("the guard has no output \"{name}\"")))?;
    let shapes: Vec<Vec<usize>> =
        signature.inputs.iter().map(|input| input.sample_shape().unwrap_or_default()).collect();
    let of_float = signature.inputs.iter().all(|input| input.dtype == DType::Float32);
    if !of_float || shapes.first().is_none_or(|sample| sample.iter().product::<usize>() != data.image_len()) {
        let what = data.kind.elements();
        return Err(unfit(format!("{} × {} {what} do not fill the guard's input", data.width, data.height)));
    }
    let mut session = scorer.session()?;
    for range in data.chunks(BATCH) {
        let rows = range.len();
        let mut inputs = Vec::with_capacity(shapes.len());
        for (place, sample) in shapes.iter().enumerate() {
            let shape: Vec<usize> = std::iter::once(rows).chain(sample.iter().copied()).collect();
            inputs.push(match place {
                0 => Tensor::new(shape, data.inputs(range.clone())?)?,
                _ => Tensor::zeros(DType::Float32, shape)?,
            });
        }
        let outputs = session.run(&inputs)?;
        let found = outputs[output].floats()?;
        if found.len() != rows || found.iter().any(|score| !score.is_finite()) {
            return Err(unfit(format!("the guard gives no finite score for each of the samples {range:?}")));
        }
        scores.extend(found.iter().map(|score| f64::from(*score)));
    }
    Ok(())
}
