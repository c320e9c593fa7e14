//! Temperature calibration of a published version: fitted on its validation data, folded into its
//! graph, checked in the serving engine, published as a version of its own.

mod graph;

use std::path::{Path, PathBuf};

use serde::Serialize;

use super::card;
use super::dataset::{DataSource, Dataset};
use super::examples::golden;
use super::reference::{self, ReferenceData};
use super::tasks::classification::{ClassificationReport, answer, predict};
use crate::engine::Plan;
use crate::error::{Error, Result};
use crate::ids::Version;
use crate::report::{Document, Subject};
use crate::repository::{
    CARD_FILE, CalibrationProvenance, Check, ClassificationQuality, MODEL_FILE, Manifest, PROBE_FILE, ProbeSample,
    Publication, Quality, TokenizerFiles, VersionFiles, publish,
};
use crate::signature::OutputTransform;
use crate::stats::{Evaluation, Predictions, SIGNIFICANCE, Summary, argmax, chance_of_gain};

/// The largest difference between the graph's probabilities and those that the temperature should give.
const TOLERANCE: f32 = 1e-4;

/// Loss, accuracy and calibration of a version on one data set.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Calibrated {
    /// Samples, loss and accuracy.
    #[serde(flatten)]
    pub summary: Summary,
    /// The expected calibration error.
    pub expected_calibration_error: f64,
}

/// The result of a calibration.
#[derive(Debug, Serialize)]
pub struct CalibrateOutcome {
    /// The version that was calibrated.
    pub from_version: Version,
    /// The temperature that its logits are now divided by.
    pub temperature: f64,
    /// The probability that chance alone gains so much on the validation data.
    pub p_value: f64,
    /// On the validation data, before and after.
    pub validation: [Calibrated; 2],
    /// On the test data, before and after.
    pub test: [Calibrated; 2],
    /// The new version and its folder, if it was published.
    pub published: Option<(Version, PathBuf)>,
}

impl Calibrated {
    fn of(evaluation: &Evaluation) -> Self {
        Self { summary: evaluation.summary, expected_calibration_error: evaluation.expected_calibration_error }
    }
}

impl CalibrateOutcome {
    /// Returns the gain in log-loss on the validation data.
    pub fn gain(&self) -> f64 {
        self.validation[0].summary.loss - self.validation[1].summary.loss
    }
}

/// Calibrates a version that Weir trained, and publishes the result into `models` if that is given and `check_staged`
/// lets it pass.
///
/// # Errors
/// [`Error::Data`] when the data are not those it was trained on, for then nobody knows which samples
/// were held out; [`Error::Config`] when none were; [`Error::Repository`] when the graph has no
/// softmax to put a temperature before; [`Error::GateMissed`] when an answer would change or, if it is
/// to be published, chance explains what is gained.
pub fn calibrate(
    folder: &Path,
    data: &DataSource,
    data_name: &str,
    models: Option<&Path>,
    check_staged: &mut Check<'_>,
) -> Result<CalibrateOutcome> {
    let files = VersionFiles::read(folder, u64::MAX - 1)?;
    let unusable = |problem: &str| Error::Repository { what: folder.display().to_string(), problem: problem.into() };
    let manifest =
        files.manifest.ok_or_else(|| unusable("has no manifest.json, so its validation data are unknown"))?;
    let manifest = manifest.of_folder(folder)?;
    let OutputTransform::Classification { probabilities, .. } = &manifest.transform.output else {
        return Err(unusable("is not a classifier"));
    };
    let (train, validation) = split(&manifest, data, data_name)?;
    let plan = Plan::load(&files.onnx)?;
    let before = [predict(&plan, probabilities, &validation)?, predict(&plan, probabilities, &data.test)?];
    let temperature = before[0].best_temperature() as f32;
    let onnx =
        graph::with_temperature(&files.onnx, probabilities, temperature).map_err(|problem| unusable(&problem))?;
    let plan = Plan::load(&onnx)?;
    let after = [predict(&plan, probabilities, &validation)?, predict(&plan, probabilities, &data.test)?];
    for (before, after) in before.iter().zip(&after) {
        check(before, after, temperature)?;
    }
    let figures = |both: [&Predictions; 2]| both.map(|predictions| Calibrated::of(&predictions.evaluate()));
    let mut outcome = CalibrateOutcome {
        from_version: manifest.version,
        temperature: f64::from(temperature),
        p_value: 1.0,
        validation: figures([&before[0], &after[0]]),
        test: figures([&before[1], &after[1]]),
        published: None,
    };
    outcome.p_value = chance_of_gain(outcome.validation[0].summary.samples, outcome.gain());
    let Some(models) = models else { return Ok(outcome) };
    refuse_chance(&outcome, validation.len())?;
    let has_training = manifest.classification().is_some_and(|quality| quality.training.is_some());
    let training = if has_training { Some(predict(&plan, probabilities, &train)?.evaluate().summary) } else { None };
    let metrics = Some(Quality::Classification(ClassificationQuality {
        training,
        validation: Some(outcome.validation[1].summary),
        test: Some(after[1].evaluate()),
    }));
    let held_out = ReferenceData::held_out(&validation, &data.test);
    let manifest = Manifest {
        created: jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
        weir_version: env!("CARGO_PKG_VERSION").into(),
        signature: plan.signature().clone(),
        metrics,
        golden: golden(&plan, (probabilities, answer), &data.test, manifest.transform.image.as_ref())?,
        reference: Some(reference::of_graph(&plan, &manifest.transform, &held_out)?),
        calibration: Some(CalibrationProvenance {
            from_version: outcome.from_version,
            temperature: outcome.temperature,
            samples: validation.len(),
            expected_calibration_error: outcome.validation.map(|figures| figures.expected_calibration_error),
        }),
        ..manifest
    };
    let tested = format!("test {} of {data_name}", data.test.kind.plural());
    let subject = Subject::new(manifest.model.as_str(), None, plan.engine().name(), tested);
    let report = ClassificationReport::new(subject, &manifest.labels, &after[1], &data.test)?;
    let card = card::markdown(&manifest, &report.markdown());
    let mut published = vec![(MODEL_FILE, onnx), (CARD_FILE, card.into_bytes())];
    if !files.probe.is_empty() {
        published.push((PROBE_FILE, probe_lines(&files.probe)?));
    }
    for (name, bytes) in files.tokenizer.iter().flat_map(TokenizerFiles::named) {
        published.push((name, bytes.to_vec()));
    }
    outcome.published = Some(publish(models, Publication { manifest, files: published }, check_staged)?);
    Ok(outcome)
}

/// Refuses a gain that chance explains.
fn refuse_chance(outcome: &CalibrateOutcome, samples: usize) -> Result<()> {
    if outcome.p_value < SIGNIFICANCE {
        return Ok(());
    }
    Err(Error::GateMissed(format!(
        "a temperature of {:.3} gains {:.5} nats on the {samples} validation samples, which chance explains (p = {:.2}); the version is calibrated as it is",
        outcome.temperature,
        outcome.gain(),
        outcome.p_value
    )))
}

fn probe_lines(probe: &[ProbeSample]) -> Result<Vec<u8>> {
    let line = |sample| serde_json::to_string(sample).map(|line| line + "\n");
    let lines: std::result::Result<String, _> = probe.iter().map(line).collect();
    Ok(lines.map_err(|error| Error::internal("the probe set could not be written", error))?.into_bytes())
}

/// The training and validation data of a version, split as they were when it was trained.
fn split(manifest: &Manifest, data: &DataSource, data_name: &str) -> Result<(Dataset, Dataset)> {
    let (Some(provenance), Some(training)) = (&manifest.data, &manifest.training) else {
        let problem = "does not say what it was trained on, so its validation data are unknown".into();
        return Err(Error::Repository { what: "manifest.json".into(), problem });
    };
    if provenance.sha256 != data.sha256 {
        let problem = format!(
            "is not what {} version {} was trained on (the SHA-256 of its files differ), so nobody can tell which samples it has not seen",
            manifest.model, manifest.version
        );
        return Err(Error::Data { file: data_name.into(), problem });
    }
    if let Some(validation) = &data.validation {
        return Ok((data.train.clone(), validation.clone()));
    }
    if provenance.validation_samples == 0 {
        let problem = format!(
            "{} version {} was trained on all samples; train one with --validation, since a temperature fitted on samples that it has seen would be wrong",
            manifest.model, manifest.version
        );
        return Err(Error::Config { setting: "MODEL".into(), problem });
    }
    data.train.clone().split_off(provenance.validation_samples, training.seed)
}

/// The gate: no answer changes, and the graph says what the temperature should make it say.
fn check(before: &Predictions, after: &Predictions, temperature: f32) -> Result<()> {
    let expected = before.at_temperature(f64::from(temperature));
    let (mut changed, mut largest) = (0usize, 0f32);
    for ((old, new), expected) in before.iter().zip(after.iter()).zip(expected.iter()) {
        changed += usize::from(argmax(old.1) != argmax(new.1));
        let difference = new.1.iter().zip(expected.1).map(|(a, b)| (a - b).abs());
        largest = difference.fold(largest, f32::max);
    }
    if changed > 0 || largest > TOLERANCE {
        return Err(Error::GateMissed(format!(
            "with a temperature of {temperature:.3}, {changed} of {} answers change and probabilities are up to {largest:.1e} from what they should be (allowed: none, {TOLERANCE:.0e})",
            before.len()
        )));
    }
    Ok(())
}
