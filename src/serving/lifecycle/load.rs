//! A version folder → a servable that has proved itself: hashes, signature, golden examples, warm-up.

use std::sync::Arc;
use std::time::Instant;

use arc_swap::ArcSwap;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;

use crate::config::{EngineChoice, SchedulingSettings};
use crate::engine::{EngineKind, Plan, Session};
use crate::error::Result;
use crate::metrics::{Metrics, Source};
use crate::repository::triton::View;
use crate::repository::{
    ClassificationQuality, Example, FoundVersion, ProbeSample, Quality, ReconstructionQuality, RegressionQuality,
    Truth, VersionFiles,
};
use crate::serving::execution::cache::ResponseCache;
use crate::serving::execution::inline::Gather;
use crate::serving::execution::sessions::Runtime;
use crate::serving::execution::statistics::Statistics;
use crate::serving::execution::tuning::{GATHER_PROBE, Pinned, Tuning, TuningStage};
use crate::serving::lifecycle::comparison;
use crate::serving::lifecycle::engines::Candidates;
use crate::serving::lifecycle::triton;
use crate::serving::lifecycle::tuner::{self, Tuner};
use crate::serving::lifecycle::tuning_store::TuningStore;
use crate::serving::lifecycle::verify;
use crate::serving::scheduler::lane::Lane;
use crate::serving::scheduler::pool::Pool;
use crate::serving::servable::generator::{Beside, Generator};
use crate::serving::servable::reconstruction::Reconstruction;
use crate::serving::servable::{Input, Servable};
use crate::signature::{Batching, Signature, TensorSpec};
use crate::stats::{RegressionEvaluation, Summary};
use crate::tensor::Tensor;
use crate::transform::{ImageLimits, SequenceEncoder};

/// What loading needs to know.
#[derive(Debug, Clone)]
pub struct LoadSettings {
    /// Threads that may run the model at once.
    pub threads: usize,
    /// The largest model file.
    pub max_model_bytes: u64,
    /// What an image may cost.
    pub image_limits: ImageLimits,
    /// How requests are scheduled.
    pub scheduling: SchedulingSettings,
    /// The threads that will compute.
    pub pool: Arc<Pool>,
    /// What is known of earlier measurements.
    pub tuning: TuningStore,
    /// What runs a version.
    pub candidates: Candidates,
    /// What measures versions after they serve.
    pub tuner: Option<Arc<Tuner>>,
}

impl LoadSettings {
    /// The plan of a file in the engine that was measured to be the better one, if both were; else
    /// in the first that can run it.
    fn plan(&self, candidates: &Candidates, onnx: &[u8], onnx_sha256: &str) -> Result<Plan> {
        let known = |engine| self.tuning.recall(onnx_sha256, engine);
        if candidates.choice == EngineChoice::Auto
            && let (Some(tract), Some(other)) = (known(EngineKind::Tract), known(EngineKind::OnnxRuntime))
            && comparison::is_better(&tract, &other)
            && let Ok(plan) = candidates.load(EngineKind::OnnxRuntime, onnx, onnx_sha256)
        {
            return Ok(plan);
        }
        candidates.plan(onnx, onnx_sha256)
    }
}

/// Loads one version.
///
/// # Errors
/// [`Error::Repository`] saying what is wrong with its files, [`Error::ModelFailed`] when it fails
/// on a golden example or while warming up.
pub fn load(found: &FoundVersion, settings: &LoadSettings, metrics: &Metrics) -> Result<Servable> {
    let start = Instant::now();
    let VersionFiles { onnx, onnx_sha256, manifest, probe, companions } =
        VersionFiles::read_named(&found.files, found.settings.model_file(), settings.max_model_bytes)?;
    let scheduling = found.settings.scheduling_over(&settings.scheduling);
    let choice = found.settings.engine.map_or(settings.candidates.choice, |table| table.kind);
    let candidates = Candidates { choice, ..settings.candidates.clone() };
    let plan = settings.plan(&candidates, &onnx, &onnx_sha256)?;
    drop(onnx);
    if let Some(manifest) = &manifest {
        verify::signature(manifest, plan.signature())?;
    }
    let view = triton::view(found, plan.signature())?;
    let (mut sessions, tuning) = prepare(settings, &plan, &view, &onnx_sha256, Pinned::of(&scheduling))?;
    triton::warm_up(found, &view, &mut sessions)?;
    let output_labels = triton::output_labels(found, &view)?;
    let (transform, labels) = match &manifest {
        Some(manifest) => (Some(manifest.transform.clone()), manifest.labels.clone()),
        None if found.settings.transform.is_none() && found.settings.labels.is_empty() => {
            triton::classification(&view, &output_labels, &mut sessions[0])?
        }
        None => (found.settings.transform.clone(), found.settings.labels.clone()),
    };
    let View { signature, batching, facing } = view;
    let (answering, reconstruction) = match &transform {
        Some(transform) => (
            verify::transform(transform, &labels, &signature)?,
            Reconstruction::of(transform, manifest.as_ref(), &signature)?,
        ),
        None => (None, None),
    };
    let beside = Beside { found, settings, candidates: &candidates, scheduling: &scheduling, metrics };
    let generator = Generator::load(&beside, manifest.as_ref(), &companions)?;
    let metrics = metrics.bind_servable(found.name.as_str(), &found.version.to_string())?;
    let cache = match scheduling.cache_bytes {
        0 => None,
        bytes => Some(ResponseCache::new(bytes, metrics.cache()?)),
    };
    metrics.set_tuning(tuning.single(), tuning.max_batch);
    let sequence = transform.as_ref().and_then(|transform| transform.sequence.as_ref());
    let mut servable = Servable {
        metrics,
        statistics: Statistics::default(),
        name: found.name.clone(),
        version: found.version,
        probe: probe.iter().map(|probe| decode_probe(probe, &signature)).collect::<Result<_>>()?,
        sequences: sequence.map(SequenceEncoder::new),
        live: arc_swap::ArcSwapOption::empty(),
        lane: Lane::new(settings.pool.clone(), scheduling.clone(), batching, tuning.max_batch),
        gather: Gather::new(settings.threads),
        tuning: ArcSwap::from_pointee(tuning),
        settings: scheduling,
        choice,
        cache,
        onnx_sha256,
        files: found.files.clone(),
        model_file: found.settings.model_file().to_owned(),
        manifest,
        transform,
        labels,
        output_labels,
        triton: found.settings.triton.clone(),
        facing,
        signature,
        runtime: ArcSwap::from_pointee(Runtime::new(plan, settings.threads, sessions)),
        batching,
        answering,
        reconstruction,
        generator,
        image_limits: settings.image_limits,
    };
    verify::golden(&servable)?;
    // The golden examples are nobody's requests.
    servable.statistics = Statistics::default();
    announce(&servable, start);
    Ok(servable)
}

/// Makes the sessions that must be there before the first request, each of which has run, and chooses how requests
/// run: by the measurements of an earlier process, or else by a brief one now.
pub(crate) fn prepare(
    settings: &LoadSettings,
    plan: &Plan,
    view: &View,
    onnx_sha256: &str,
    pinned: Pinned,
) -> Result<(Vec<Session>, Tuning)> {
    let count = if plan.has_cheap_sessions() { 1 } else { settings.pool.size() };
    let mut sessions = comparison::warm(plan, count)?;
    if let Some(costs) = settings.tuning.recall(onnx_sha256, plan.engine()) {
        return Ok((sessions, Tuning::choose(TuningStage::Remembered, plan.engine(), costs, pinned)));
    }
    let mut costs = vec![tuner::cost(&mut sessions[0], 1, &triton::zeros(view, 1)?)?];
    if view.batching == Batching::Any {
        costs.push(tuner::cost(&mut sessions[0], GATHER_PROBE, &triton::zeros(view, GATHER_PROBE)?)?);
    }
    Ok((sessions, Tuning::choose(TuningStage::Loading, plan.engine(), costs, pinned)))
}

fn decode_probe(probe: &ProbeSample, signature: &Signature) -> Result<(Input, Truth)> {
    Ok((sample(&probe.input, signature)?, probe.truth))
}

/// An example of a manifest or a probe set as a request.
pub(crate) fn sample(example: &Example, signature: &Signature) -> Result<Input> {
    let features = match example {
        Example::Image { png } => return Ok(Input::Images(vec![decode_base64(png)?])),
        Example::Elements { values } => values,
    };
    let mut shape = signature.inputs.first().and_then(TensorSpec::sample_shape).unwrap_or_default();
    if shape.iter().product::<usize>() != features.len() {
        return Err(verify::unusable(format!("an example has {} elements, a sample is {shape:?}", features.len())));
    }
    shape.insert(0, 1);
    let elements = features.iter().map(|element| element.unwrap_or(f32::NAN)).collect();
    Ok(Input::Tensors(vec![Tensor::new(shape, elements)?]))
}

pub(crate) fn decode_base64(text: &str) -> Result<Bytes> {
    STANDARD.decode(text).map(Bytes::from).map_err(|error| verify::unusable(format!("an image is not base64: {error}")))
}

fn announce(servable: &Servable, start: Instant) {
    servable.metrics.announce(start.elapsed());
    let Some(manifest) = &servable.manifest else { return };
    for (source, loss, accuracy) in manifest.metrics.as_ref().map(known_quality).into_iter().flatten() {
        servable.metrics.set_quality(source, loss, accuracy);
    }
}

/// Loss and accuracy by where they are from, in the unit of the version's live figures: of an autoencoder its mean
/// score, of a model of numbers its mean squared error.
fn known_quality(quality: &Quality) -> Vec<(Source, f64, Option<f64>)> {
    let known: [(Source, Option<(f64, Option<f64>)>); 3] = match quality {
        Quality::Classification(ClassificationQuality { training, validation, test }) => {
            let figures = |summary: Summary| (summary.loss, Some(summary.accuracy));
            [
                (Source::Training, training.map(figures)),
                (Source::Validation, validation.map(figures)),
                (Source::Test, test.as_ref().map(|test| figures(test.summary))),
            ]
        }
        Quality::Regression(RegressionQuality { training, validation, test }) => {
            let figures = |evaluation: &RegressionEvaluation| (evaluation.mean_squared_error(), None);
            [
                (Source::Training, Some(figures(training))),
                (Source::Validation, validation.as_ref().map(figures)),
                (Source::Test, Some(figures(test))),
            ]
        }
        Quality::Reconstruction(ReconstructionQuality { test, scores }) => [
            (Source::Training, None),
            (Source::Validation, scores.as_ref().map(|scores| (scores.mean, None))),
            (Source::Test, test.as_ref().map(|test| (test.mean_score, None))),
        ],
    };
    known.into_iter().filter_map(|(source, figures)| figures.map(|(loss, accuracy)| (source, loss, accuracy))).collect()
}
