//! Makes a finished fit a version that can be published. What the task adds is its own, all else is here.

use super::card;
use super::examples::probe;
use super::fit::{Ending, FitState};
use super::head::Features;
use super::prepared::PreparedData;
use super::progress::EpochReport;
use super::regime::Regime;
use super::request::TrainRequest;
use super::tasks::{Finished, Model, TaskRelease, TaskReport};
use crate::error::Result;
use crate::ids::Version;
use crate::repository::{
    CARD_FILE, DataProvenance, MANIFEST_SCHEMA, MODEL_FILE, Manifest, PROBE_FILE, Publication, ReadSettings,
    TrainingProvenance,
};
use crate::signature::Task;

/// A version that is ready to be published.
#[derive(Debug)]
pub(super) struct Release {
    pub(super) publication: Publication,
    pub(super) report: TaskReport,
    pub(super) card: String,
    /// Why training ended before its last epoch, or without its network, in words, if it did.
    pub(super) ended: Option<String>,
}

/// Exports, checks parity, evaluates in the serving engine and writes the manifest; `linear` says in words that the linear
/// path was taken alone, if it was.
///
/// # Errors
/// [`Error::GateMissed`](crate::error::Error::GateMissed) when an exported graph is not what was trained.
pub(super) fn release(
    request: &TrainRequest,
    state: &FitState<Model>,
    data: &PreparedData,
    linear: Option<String>,
) -> Result<Release> {
    let model = request.model()?;
    let ended: Vec<String> = ended(request, state).into_iter().chain(linear).collect();
    let ended = (!ended.is_empty()).then(|| ended.join("; "));
    let part = state.model.release(&Finished { request, model: &model, data, history: state.history() })?;
    let TaskRelease { onnx, signature, output, labels, networks, quality, reference, parity, golden, .. } = part;
    let image = data.source.image.clone();
    let probe = probe(&data.test, image.as_ref(), request.fit.seed, data.task)?;
    let [mut parameters, mut multiply_adds] = [0, 0];
    for network in [Some(&networks.0), networks.1.as_ref()].into_iter().flatten() {
        parameters += network.parameters()?;
        multiply_adds += network.multiply_adds()?;
    }
    let members = request.task.ensemble.max(1);
    let manifest = Manifest {
        manifest_schema: MANIFEST_SCHEMA,
        model,
        version: Version(0),
        description: data.features.as_ref().map_or_else(|| request.description(), Features::description),
        created: now(),
        weir_version: env!("CARGO_PKG_VERSION").into(),
        signature,
        transform: data.transform(output),
        labels,
        parameters: Some(parameters * members),
        multiply_adds: Some(multiply_adds * members),
        architecture: Some(networks.0),
        decoder: networks.1,
        metrics: Some(quality),
        data: Some(data_provenance(request, data)),
        training: Some(training_provenance(request, data, state.history(), ended.clone())),
        parity: Some(parity),
        calibration: None,
        reference: Some(reference),
        golden,
        companions: part
            .companions
            .iter()
            .map(|(name, companion, _)| ((*name).to_owned(), companion.clone()))
            .collect(),
        files: std::collections::BTreeMap::new(),
    };
    let card = card::markdown(&manifest, &part.report.markdown());
    let mut files = vec![(MODEL_FILE, onnx), (CARD_FILE, card.clone().into_bytes())];
    files.extend(data.features.as_ref().and_then(Features::texts).into_iter().flat_map(|texts| texts.files.clone()));
    files.extend(part.companions.into_iter().map(|(name, _, onnx)| (name, onnx)));
    if !probe.is_empty() {
        files.push((PROBE_FILE, probe.into_bytes()));
    }
    Ok(Release { publication: Publication { manifest, files }, report: part.report, card, ended })
}

/// Returns why training ended before its last epoch, if it did.
fn ended(request: &TrainRequest, state: &FitState<Model>) -> Option<String> {
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

/// Returns the time, RFC 3339 in UTC.
fn now() -> String {
    jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

fn data_provenance(request: &TrainRequest, data: &PreparedData) -> DataProvenance {
    DataProvenance {
        name: request.data_name(),
        sha256: data.source.sha256.clone(),
        training_samples: data.train.len(),
        validation_samples: data.validation.len(),
        test_samples: data.test.len(),
        reading: ReadSettings { target: data.source.target.clone(), ..request.reading().reading },
    }
}

fn training_provenance(
    request: &TrainRequest,
    data: &PreparedData,
    history: &[EpochReport],
    ended: Option<String>,
) -> TrainingProvenance {
    let is_smoothed = data.task == Task::Classification;
    let label_smoothing = if is_smoothed { request.fit.regime.label_smoothing } else { 0.0 };
    let regime = Regime { label_smoothing, ..request.fit.regime };
    TrainingProvenance {
        preset: request.preset.name.into(),
        seed: request.fit.seed,
        epochs: history.len(),
        batch_size: request.fit.batch_size,
        optimizer: data.solved.clone().unwrap_or_else(|| format!("{}{regime}", request.fit.optimizer)),
        learning_rate: if data.solved.is_some() { 0.0 } else { request.fit.optimizer.learning_rate() },
        class_weights: data.train.class_weights.clone(),
        ended,
        duration_seconds: round_ms(history.iter().map(|epoch| epoch.duration_seconds).sum()),
    }
}

fn round_ms(seconds: f64) -> f64 {
    (seconds * 1e3).round() / 1e3
}
