//! A finished fit → a checked, evaluated, published version.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::card;
use super::dataset::{Dataset, Mnist};
use super::evaluate::{evaluate, predict};
use super::export::{PROBABILITIES, to_onnx};
use super::fit::{Ending, EpochReport, FitState};
use super::images::png;
use super::learner::Learner;
use super::parity;
use super::reference;
use super::report::{Report, Subject};
use super::train::TrainRequest;
use crate::engine::Plan;
use crate::error::{Error, Result};
use crate::ids::{ModelName, Version};
use crate::repository::{
    CARD_FILE, DataProvenance, Golden, MANIFEST_SCHEMA, MODEL_FILE, Manifest, ModelMetrics, PROBE_FILE, ProbeSample,
    Publication, TrainingProvenance,
};
use crate::signature::{Fit, ImageTransform, OutputTransform, Polarity, Transform};
use crate::tensor::Tensor;

/// Labelled test samples that a version carries for the live probe.
const PROBE_SAMPLES: usize = 250;

/// Examples that every load checks.
const GOLDEN_SAMPLES: usize = 8;

/// The data of a run, as split.
#[derive(Debug)]
pub(super) struct Parts<'a> {
    pub(super) train: &'a Dataset,
    pub(super) validation: &'a Dataset,
    pub(super) source: &'a Mnist,
}

/// What there is to publish.
#[derive(Debug)]
pub(super) struct Release {
    pub(super) publication: Publication,
    pub(super) report: Report,
    pub(super) card: String,
    /// Why training ended before its last epoch, in words, if it did.
    pub(super) ended: Option<String>,
}

/// Exports, checks parity, evaluates in the serving engine and writes the manifest.
///
/// # Errors
/// [`Error::GateMissed`] when the exported graph is not what was trained.
pub(super) fn prepare(request: &TrainRequest, state: &FitState, parts: &Parts<'_>) -> Result<Release> {
    let preset = request.preset;
    let network = &state.network;
    let onnx = to_onnx(network, preset.name)?;
    let plan = Plan::load(&onnx)?;
    let parity = parity::check(network, &plan, parts.train)?;
    let test = &parts.source.test;
    let predictions = predict(&plan, PROBABILITIES, test)?;
    let training = evaluate(&plan, PROBABILITIES, parts.train)?.summary;
    let held_out = predict(&plan, PROBABILITIES, parts.validation)?;
    let validation = (!held_out.is_empty()).then(|| held_out.evaluate().summary);
    let reference = reference::of_classifier(parts, &held_out, &predictions);
    let architecture = network.architecture();
    let ended = ended(request, state);
    let labels: Vec<String> = (0..test.classes).map(|class| class.to_string()).collect();
    let manifest = Manifest {
        manifest_schema: MANIFEST_SCHEMA,
        model: preset.name.parse::<ModelName>()?,
        version: Version(0),
        description: preset.description.into(),
        created: now(),
        weir_version: env!("CARGO_PKG_VERSION").into(),
        signature: plan.signature().clone(),
        transform: Transform {
            image: Some(image_transform(test)),
            output: OutputTransform::Classification { probabilities: PROBABILITIES.into() },
        },
        labels: labels.clone(),
        parameters: Some(architecture.parameters()?),
        multiply_adds: Some(architecture.multiply_adds()?),
        architecture: Some(architecture.clone()),
        decoder: None,
        metrics: ModelMetrics {
            training: Some(training),
            validation,
            test: Some(predictions.evaluate()),
            ..ModelMetrics::default()
        },
        data: Some(data_provenance(request, parts)),
        training: Some(training_provenance(request, state.history(), ended.clone())),
        parity: Some(parity),
        calibration: None,
        reference: Some(reference),
        golden: golden(&plan, test)?,
        companions: BTreeMap::new(),
        files: BTreeMap::new(),
    };
    let subject = Subject {
        model: preset.name.into(),
        version: None,
        engine: plan.engine(),
        data: format!("test images of {}", request.data_name()),
        labels,
    };
    let mut report = Report::new(subject, &predictions, test)?;
    report.history = state.history().to_vec();
    let card = card::markdown(&manifest, &report.markdown());
    let probe = probe(test, request.fit.seed, true)?;
    let files = vec![(MODEL_FILE, onnx), (PROBE_FILE, probe.into_bytes()), (CARD_FILE, card.clone().into_bytes())];
    Ok(Release { publication: Publication { manifest, files }, report, card, ended })
}

/// Why training ended before its last epoch, if it did.
pub(super) fn ended<M: Learner>(request: &TrainRequest, state: &FitState<M>) -> Option<String> {
    let regime = &request.fit.regime;
    let reason = match state.ending()? {
        Ending::OutOfPatience => {
            format!("the loss on the validation data had not fallen for {} epochs", regime.patience)
        }
        Ending::OutOfTime => format!("its {} s were up", regime.time_seconds),
    };
    let weights = state.best_epoch().map_or_else(|| "the last ones".into(), |epoch| format!("those of epoch {epoch}"));
    Some(format!(
        "in epoch {} of {}, as {reason}; the weights are {weights}",
        state.history().len(),
        request.fit.epochs
    ))
}

/// When this is, RFC 3339 in UTC.
pub(super) fn now() -> String {
    jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// How an image becomes an input like the images of this data set.
pub(super) fn image_transform(data: &Dataset) -> ImageTransform {
    ImageTransform {
        width: data.width as u32,
        height: data.height as u32,
        polarity: Polarity::LightOnDark,
        fit: Fit::CentreOfMass,
    }
}

pub(super) fn data_provenance(request: &TrainRequest, parts: &Parts<'_>) -> DataProvenance {
    DataProvenance {
        name: request.data_name(),
        sha256: parts.source.sha256.clone(),
        training_samples: parts.train.len(),
        validation_samples: parts.validation.len(),
        test_samples: parts.source.test.len(),
    }
}

pub(super) fn training_provenance(
    request: &TrainRequest,
    history: &[EpochReport],
    ended: Option<String>,
) -> TrainingProvenance {
    TrainingProvenance {
        preset: request.preset.name.into(),
        seed: request.fit.seed,
        epochs: history.len(),
        batch_size: request.fit.batch_size,
        optimizer: format!("{}{}", request.fit.optimizer, request.fit.regime),
        learning_rate: request.fit.optimizer.learning_rate(),
        ended,
        duration_seconds: round_ms(history.iter().map(|epoch| epoch.duration_seconds).sum()),
    }
}

fn round_ms(seconds: f64) -> f64 {
    (seconds * 1e3).round() / 1e3
}

/// The first test images with the answers of a graph.
pub(super) fn golden(plan: &Plan, test: &Dataset) -> Result<Vec<Golden>> {
    let mut session = plan.session()?;
    let output = plan.signature().outputs.iter().position(|output| output.name == PROBABILITIES).unwrap_or(0);
    let shape: Vec<usize> =
        std::iter::once(1).chain(plan.signature().inputs[0].sample_shape().unwrap_or_default()).collect();
    let example = |index: usize| {
        let pixels: Vec<f32> = test.image(index).iter().map(|pixel| f32::from(*pixel)).collect();
        let outputs = session.run(&[Tensor::new(shape.clone(), pixels)?])?;
        Ok(Golden {
            image: png_base64(test, index)?,
            probabilities: outputs[output].floats()?.to_vec(),
            reconstruction: None,
        })
    };
    (0..GOLDEN_SAMPLES.min(test.len())).map(example).collect()
}

/// The lines of a probe set.
///
/// # Errors
/// [`Error::Internal`] when an image cannot be encoded.
pub(super) fn probe(test: &Dataset, seed: u64, labelled: bool) -> Result<String> {
    let mut lines = String::new();
    for index in test.sample(PROBE_SAMPLES, seed) {
        let label = labelled.then(|| usize::from(test.labels[index]));
        let sample = ProbeSample { image: png_base64(test, index)?, label };
        let line = serde_json::to_string(&sample)
            .map_err(|error| Error::internal("the probe set could not be written", error))?;
        lines.push_str(&line);
        lines.push('\n');
    }
    Ok(lines)
}

/// One image as a PNG file in base64.
///
/// # Errors
/// [`Error::Internal`] when the encoder fails.
pub(super) fn png_base64(data: &Dataset, index: usize) -> Result<String> {
    Ok(STANDARD.encode(png(data, index)?))
}
