//! The reference that later traffic is compared with: the distributions of a version's inputs and answers on data that
//! it was not trained on.

mod answers;
mod guard;
mod inputs;

use std::path::Path;

pub use self::guard::Guard;
pub(super) use self::inputs::of_inputs;
use super::dataset::{DataSource, Dataset};
use super::evaluate::each_number;
use crate::engine::Plan;
use crate::error::{Error, Result};
use crate::repository::{DriftReference, FoundVersion, Manifest, ModelSettings, VersionFiles};
use crate::signature::{Dim, OutputTransform, Scores, Transform};
use crate::stats::Histogram;

/// Bins of each histogram: twenty of 5 % tell a shift of the mean by a tenth of the deviation in a few thousand
/// samples.
const BINS: usize = 20;

/// Samples of a reference, if the data have so many. One is compared with all traffic to come, so what chance made
/// of it stays: with 1,000 samples a test at 5 % finds a change that is none in over 11 % of windows for one model in
/// twenty, with 5,000 in 8 %.
pub const REFERENCE_SAMPLES: usize = 5000;

/// Samples of a reference that is made with a version, at most: more would take memory and change no bin by a hundredth.
const MOST_SAMPLES: usize = 100_000;

/// The seed by which test samples are drawn to fill a reference up.
pub const REFERENCE_SEED: u64 = 0;

/// The samples of a reference.
#[derive(Debug)]
pub struct ReferenceData {
    /// Which ones they are, in words.
    pub source: String,
    /// The samples, in parts.
    pub parts: Vec<Dataset>,
}

impl ReferenceData {
    /// Takes the samples held out of training, and as many test samples as are needed for
    /// [`REFERENCE_SAMPLES`]. Those are drawn by [`REFERENCE_SEED`].
    pub fn held_out(validation: &Dataset, test: &Dataset) -> Self {
        let missing = REFERENCE_SAMPLES.saturating_sub(validation.len()).min(test.len());
        let drawn = || test.select(&test.sample(missing, REFERENCE_SEED));
        match (validation.is_empty(), missing) {
            (true, _) => Self { source: "test".into(), parts: vec![drawn()] },
            (false, 0) => {
                let drawn = || validation.select(&validation.sample(MOST_SAMPLES, REFERENCE_SEED));
                let part = if validation.len() > MOST_SAMPLES { drawn() } else { validation.clone() };
                Self { source: "validation".into(), parts: vec![part] }
            }
            (false, _) => Self { source: "validation and test".into(), parts: vec![validation.clone(), drawn()] },
        }
    }

    fn len(&self) -> usize {
        self.parts.iter().map(Dataset::len).sum()
    }
}

/// The part of data that a reference is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Taken {
    /// The test part, or so many samples of it, drawn by [`REFERENCE_SEED`].
    Test(Option<usize>),
    /// All of the data.
    All,
}

/// Makes the reference of a published version from the test part of data, or from all of them. What its output means
/// is said by its manifest, or for a bare file by the `model.toml` of its model. With a guard the reference knows its
/// scores.
///
/// # Errors
/// [`Error::Repository`] when the version or its guard cannot be used, [`Error::Data`] when the data do not fit them or are
/// empty.
pub fn reference_of(
    folder: &Path,
    data: &DataSource,
    taken: Taken,
    guard: Option<Guard<'_>>,
) -> Result<DriftReference> {
    let files = VersionFiles::read(folder, u64::MAX - 1)?;
    let transform = declared(folder, files.manifest.as_ref())?;
    let held_out = match taken {
        Taken::All => {
            let parts = [Some(&data.train), data.validation.as_ref(), Some(&data.test)];
            ReferenceData { source: "data".into(), parts: parts.into_iter().flatten().cloned().collect() }
        }
        Taken::Test(most) => {
            let drawn = most.map(|most| data.test.select(&data.test.sample(most, REFERENCE_SEED)));
            ReferenceData { source: "test".into(), parts: vec![drawn.unwrap_or_else(|| data.test.clone())] }
        }
    };
    let plan = Plan::load(&files.onnx)?;
    let mut reference = match &transform.output {
        OutputTransform::Labels { .. }
        | OutputTransform::Reconstruction { .. }
        | OutputTransform::Detections(_)
        | OutputTransform::Segmentation(_)
        | OutputTransform::Embedding(_)
        | OutputTransform::Image(_)
        | OutputTransform::Spans(_)
        | OutputTransform::Score(_)
        | OutputTransform::Raw => of_inputs(&held_out, &transform),
        OutputTransform::Classification { .. } | OutputTransform::Regression { .. } => {
            of_graph(&plan, &transform, &held_out)
        }
    }?;
    if let Some(guard) = guard {
        guard::add(&mut reference, guard, (&plan, &transform), &held_out)?;
    }
    Ok(reference)
}

/// Returns the transform of a version, which may be declared beside it; without any, only inputs are known.
pub(super) fn declared(folder: &Path, manifest: Option<&Manifest>) -> Result<Transform> {
    if let Some(manifest) = manifest {
        return Ok(manifest.transform.clone());
    }
    let found = FoundVersion::in_folder(folder)?;
    let settings = ModelSettings::read(&found.name, &found.model_files)?;
    Ok(settings.transform.unwrap_or(Transform {
        image: None,
        columns: Vec::new(),
        sequence: None,
        text: None,
        output: OutputTransform::Raw,
    }))
}

/// Returns the reference of a graph whose output is a distribution or a number.
///
/// # Errors
/// [`Error::Data`] when the samples do not fit the graph or its output is not finite, and as [`Dataset::image`].
pub(super) fn of_graph(plan: &Plan, transform: &Transform, data: &ReferenceData) -> Result<DriftReference> {
    let mut reference = of_inputs(data, transform)?;
    let place = |name: &String| {
        let found = plan.signature().outputs.iter().position(|output| output.name == *name);
        found.ok_or_else(|| unfit(format!("the graph has no output \"{name}\"")))
    };
    match &transform.output {
        OutputTransform::Classification { probabilities, scores: Scores::Probabilities } => {
            let place = place(probabilities)?;
            let answers = answers::of(plan, [Some(place), plan.signature().logits_of(place)], data)?;
            let classes = match plan.signature().outputs[place].shape.last() {
                Some(Dim::Fixed(classes)) => *classes,
                Some(Dim::Symbol(_)) | None => 0,
            };
            answers::add(&mut reference, &answers, classes);
        }
        OutputTransform::Regression { value } => {
            let mut values = Vec::with_capacity(data.len());
            for part in &data.parts {
                each_number(plan, value, part, |_, value| {
                    values.push(value.to_f64());
                    Ok(())
                })?;
            }
            reference.value = Some(Histogram::by_quantiles(values, BINS));
        }
        OutputTransform::Classification { scores: Scores::Logits, .. }
        | OutputTransform::Labels { .. }
        | OutputTransform::Reconstruction { .. }
        | OutputTransform::Detections(_)
        | OutputTransform::Segmentation(_)
        | OutputTransform::Embedding(_)
        | OutputTransform::Image(_)
        | OutputTransform::Spans(_)
        | OutputTransform::Score(_)
        | OutputTransform::Raw => {}
    }
    Ok(reference)
}

fn unfit(problem: String) -> Error {
    Error::Data { file: "the data of the reference".into(), problem }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn data(pixels: Vec<u8>, labels: Vec<u32>) -> Dataset {
        Dataset::images(2, 1, pixels, labels, 2)
    }

    fn plain() -> Transform {
        Transform { image: None, columns: Vec::new(), sequence: None, text: None, output: OutputTransform::Raw }
    }

    #[test]
    fn a_reference_is_filled_up_with_test_samples() {
        let (test, nothing) = (data(vec![7, 7], vec![1]), data(vec![], vec![]));
        let validation = data(vec![0, 0, 10, 30, 255, 255], vec![0, 1, 1]);
        let source = |validation, test| {
            let found = ReferenceData::held_out(validation, test);
            (found.source.clone(), found.len())
        };
        assert_eq!(source(&validation, &test), ("validation and test".into(), 4));
        assert_eq!(source(&nothing, &test), ("test".into(), 1));
        let many = data(vec![3; 2 * REFERENCE_SAMPLES], vec![0; REFERENCE_SAMPLES]);
        assert_eq!(source(&many, &test), ("validation".into(), REFERENCE_SAMPLES));
        assert_eq!(source(&validation, &many).1, REFERENCE_SAMPLES);
        assert!(of_inputs(&ReferenceData::held_out(&nothing, &nothing), &plain()).is_err());
    }
}
