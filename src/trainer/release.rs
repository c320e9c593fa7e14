//! A finished fit → a checked, evaluated, published version.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::card;
use super::dataset::{Dataset, Targets};
use super::evaluate::{evaluate, predict, values};
use super::export::{PROBABILITIES, VALUE, to_onnx};
use super::fit::{Ending, EpochReport, FitState};
use super::images::png;
use super::learner::Learner;
use super::lesson::Lesson;
use super::parity;
use super::reference;
use super::report::{RegressionReport, Report, evaluation};
use super::train::{TrainRequest, TrainedReport};
use crate::engine::Plan;
use crate::error::{Error, Result};
use crate::ids::Version;
use crate::report::Subject;
use crate::repository::{
    CARD_FILE, ClassificationQuality, DataProvenance, Example, Golden, GoldenAnswer, MANIFEST_SCHEMA, MODEL_FILE,
    Manifest, PROBE_FILE, ProbeSample, Publication, Quality, ReadSettings, RegressionQuality, TrainingProvenance,
    Truth,
};
use crate::signature::{Fit, ImageTransform, OutputTransform, Transform};
use crate::tensor::Tensor;
use crate::transform::{Luma, PolarityChoice, prepare as prepare_image};

/// Labelled test samples that a version carries for the live probe.
const PROBE_SAMPLES: usize = 250;

/// Examples that every load checks.
const GOLDEN_SAMPLES: usize = 8;

/// What there is to publish.
#[derive(Debug)]
pub(super) struct Release {
    pub(super) publication: Publication,
    pub(super) report: TrainedReport,
    pub(super) card: String,
    /// Why training ended before its last epoch, in words, if it did.
    pub(super) ended: Option<String>,
}

/// Exports, checks parity, evaluates in the serving engine and writes the manifest.
///
/// # Errors
/// [`Error::GateMissed`] when the exported graph is not what was trained.
pub(super) fn prepare(request: &TrainRequest, state: &FitState, lesson: &Lesson) -> Result<Release> {
    let model = request.model()?;
    let network = &state.network;
    let onnx = to_onnx(network, model.as_str())?;
    let plan = Plan::load(&onnx)?;
    let ended = ended(request, state);
    let parity = parity::check(network, &plan, &lesson.train)?;
    let Lesson { train, validation, test, source, .. } = lesson;
    let labels = source.labels.clone();
    let tested = format!("test {} of {}", test.kind.plural(), request.data_name());
    let subject = Subject::new(model.as_str(), None, plan.engine().name(), tested);
    let history = state.history().to_vec();
    let (metrics, reference, output, report) = match lesson.is_regression() {
        false => {
            let predictions = predict(&plan, PROBABILITIES, test)?;
            let held_out = predict(&plan, PROBABILITIES, validation)?;
            let metrics = Quality::Classification(ClassificationQuality {
                training: Some(evaluate(&plan, PROBABILITIES, train)?.summary),
                validation: (!held_out.is_empty()).then(|| held_out.evaluate().summary),
                test: Some(predictions.evaluate()),
            });
            let reference = reference::of_classifier((validation, &held_out), (test, &predictions))?;
            let mut report = Report::new(subject, &labels, &predictions, test)?;
            report.history = history;
            let output = OutputTransform::Classification { probabilities: PROBABILITIES.into() };
            (metrics, reference, output, TrainedReport::Classifier(Box::new(report)))
        }
        true => {
            let predictions = values(&plan, VALUE, test)?;
            let figures = |data: &Dataset| -> Result<_> { Ok(evaluation(data.values(), &values(&plan, VALUE, data)?)) };
            let metrics = Quality::Regression(RegressionQuality {
                training: figures(train)?,
                validation: if validation.is_empty() { None } else { Some(figures(validation)?) },
                test: evaluation(test.values(), &predictions),
            });
            let mut report = RegressionReport::new(subject, test.values(), &predictions);
            report.history = history;
            let output = OutputTransform::Regression { value: VALUE.into() };
            let reference = reference::of_inputs(validation, test)?;
            (metrics, reference, output, TrainedReport::Regressor(Box::new(report)))
        }
    };
    let architecture = network.architecture();
    let (columns, sequence) = (lesson.columns.clone(), lesson.sequence.clone());
    let transform = Transform { image: source.image.clone(), columns, sequence, output };
    let golden = golden(&plan, test, transform.image.as_ref())?;
    let probe = probe(test, transform.image.as_ref(), request.fit.seed, true)?;
    let manifest = Manifest {
        manifest_schema: MANIFEST_SCHEMA,
        model,
        version: Version(0),
        description: request.description(),
        created: now(),
        weir_version: env!("CARGO_PKG_VERSION").into(),
        signature: plan.signature().clone(),
        transform,
        labels,
        parameters: Some(architecture.parameters()?),
        multiply_adds: Some(architecture.multiply_adds()?),
        architecture: Some(architecture.clone()),
        decoder: None,
        metrics: Some(metrics),
        data: Some(data_provenance(request, lesson)),
        training: Some(training_provenance(request, lesson, state.history(), ended.clone())),
        parity: Some(parity),
        calibration: None,
        reference: Some(reference),
        golden,
        companions: BTreeMap::new(),
        files: BTreeMap::new(),
    };
    let card = card::markdown(&manifest, &report.markdown());
    let mut files = vec![(MODEL_FILE, onnx), (CARD_FILE, card.clone().into_bytes())];
    if !probe.is_empty() {
        files.insert(1, (PROBE_FILE, probe.into_bytes()));
    }
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

pub(super) fn data_provenance(request: &TrainRequest, lesson: &Lesson) -> DataProvenance {
    DataProvenance {
        name: request.data_name(),
        sha256: lesson.source.sha256.clone(),
        training_samples: lesson.train.len(),
        validation_samples: lesson.validation.len(),
        test_samples: lesson.test.len(),
        reading: ReadSettings { target: lesson.source.target.clone(), ..request.task.data.reading.clone() },
    }
}

pub(super) fn training_provenance(
    request: &TrainRequest,
    lesson: &Lesson,
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
        class_weights: lesson.train.class_weights.clone(),
        ended,
        duration_seconds: round_ms(history.iter().map(|epoch| epoch.duration_seconds).sum()),
    }
}

fn round_ms(seconds: f64) -> f64 {
    (seconds * 1e3).round() / 1e3
}

/// The first test samples with the answers of a graph.
pub(super) fn golden(plan: &Plan, test: &Dataset, image: Option<&ImageTransform>) -> Result<Vec<Golden>> {
    let mut session = plan.session()?;
    let named = |name: &str| plan.signature().outputs.iter().position(|output| output.name == name);
    let (output, is_value) = match named(VALUE) {
        Some(output) => (output, true),
        None => (named(PROBABILITIES).unwrap_or(0), false),
    };
    let shape: Vec<usize> =
        std::iter::once(1).chain(plan.signature().inputs[0].sample_shape().unwrap_or_default()).collect();
    let golden = |index: usize| {
        let outputs = session.run(&[Tensor::new(shape.clone(), test.inputs(index..index + 1)?)?])?;
        let answer = outputs[output].floats()?;
        let answer = match is_value {
            true => GoldenAnswer::Regression { value: answer.first().copied().unwrap_or(f32::NAN) },
            false => GoldenAnswer::Classification { probabilities: answer.to_vec() },
        };
        Ok(Golden { input: example(test, index)?, answer })
    };
    servable_samples(test, image, GOLDEN_SAMPLES)?.into_iter().map(golden).collect()
}

/// The places of the first samples, so many at the most, that come through serving unchanged.
///
/// # Errors
/// As [`Dataset::image`].
pub(super) fn servable_samples(test: &Dataset, image: Option<&ImageTransform>, most: usize) -> Result<Vec<usize>> {
    let mut found = Vec::with_capacity(most);
    for index in 0..test.len() {
        if found.len() == most {
            break;
        }
        if is_served_as_it_is(test, index, image)? {
            found.push(index);
        }
    }
    Ok(found)
}

/// The samples for the live probe, with the truth about each unless it is for an autoencoder.
///
/// # Errors
/// [`Error::Internal`] when an image cannot be encoded, and as [`Dataset::image`].
pub(super) fn probe(test: &Dataset, image: Option<&ImageTransform>, seed: u64, labelled: bool) -> Result<String> {
    let mut lines = String::new();
    for index in test.sample(PROBE_SAMPLES, seed) {
        if !is_served_as_it_is(test, index, image)? {
            continue;
        }
        let truth = match test.targets() {
            Targets::Classes(labels) if labelled => Truth::Class(labels[index] as usize),
            Targets::Values(values) => Truth::Value(values[index]),
            Targets::Classes(_) => Truth::Unknown,
        };
        let sample = ProbeSample { input: example(test, index)?, truth };
        let line = serde_json::to_string(&sample)
            .map_err(|error| Error::internal("the probe set could not be written", error))?;
        lines.push_str(&line);
        lines.push('\n');
    }
    Ok(lines)
}

/// One sample as manifests and probe sets hold it.
///
/// # Errors
/// [`Error::Internal`] when the encoder of images fails, and as [`Dataset::inputs`].
pub(super) fn example(data: &Dataset, index: usize) -> Result<Example> {
    if data.is_images() {
        return Ok(Example::Image { png: STANDARD.encode(png(data, index)?) });
    }
    let values = data.inputs(index..index + 1)?;
    Ok(Example::Elements { values: values.into_iter().map(|value| (!value.is_nan()).then_some(value)).collect() })
}

/// Whether a sample that was brought to its size once comes through serving unchanged: by its border alone,
/// a small picture can seem to have the other polarity than the large one it was made of.
fn is_served_as_it_is(data: &Dataset, index: usize, image: Option<&ImageTransform>) -> Result<bool> {
    let Some(image) = image.filter(|image| image.fit == Fit::Stretch) else { return Ok(true) };
    let pixels = data.image(index)?.into_owned();
    let picture = Luma { width: image.width, height: image.height, pixels };
    Ok(!prepare_image(picture, image, PolarityChoice::Auto)?.inverted)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::signature::Polarity;

    #[test]
    fn samples_that_serving_would_invert_are_no_examples() {
        // Bright on dark, dark on bright, bright on dark: 4 × 4 pixels with a drawing of 4 in the middle.
        let drawn = |paper: u8, ink: u8| {
            (0..16).map(move |at| if [5, 6, 9, 10].contains(&at) { ink } else { paper }).collect::<Vec<u8>>()
        };
        let pixels = [drawn(0, 255), drawn(255, 0), drawn(0, 255)].concat();
        let data = Dataset::images(4, 4, pixels, vec![0, 1, 0], 2);
        let image = |fit| ImageTransform { width: 4, height: 4, polarity: Polarity::LightOnDark, fit };
        let found = |fit, most| servable_samples(&data, Some(&image(fit)), most).unwrap();
        assert_eq!(found(Fit::Stretch, 5), [0, 2]);
        assert_eq!(found(Fit::Stretch, 1), [0]);
        assert_eq!(found(Fit::CentreOfMass, 5), [0, 1, 2], "data in MNIST's likeness are taken as they are");
        assert_eq!(servable_samples(&data, None, 2).unwrap(), [0, 1]);
    }
}
