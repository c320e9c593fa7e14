//! A version folder → a servable that has proved itself: hashes, signature, golden examples, warm-up.

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;

use super::catalog::{Catalog, State, VersionEntry};
use super::engines::Candidates;
use super::gather::Gather;
use super::predictor::Predictor;
use super::servable::{Input, Options, Prediction, Servable};
use super::sessions::Sessions;
use crate::engine;
use crate::error::{Error, Result};
use crate::ids::ModelName;
use crate::metrics::{Metrics, Source};
use crate::repository::{FoundVersion, Golden, Manifest, ProbeSample, VersionFiles, scan};
use crate::signature::{Batching, DType, OutputTransform, Signature, TensorSpec};
use crate::transform::{ImageLimits, PolarityChoice};

/// How far an answer to a golden example may be from the recorded one: kernels of another CPU round
/// differently, a wrong model is off by far more.
const GOLDEN_TOLERANCE: f32 = 1e-3;

/// The batch that shows whether a model gains by batching, and the share of the single cost that a
/// sample of it may take at the most.
const GATHER_PROBE: usize = 8;
const GATHER_GAIN: f64 = 0.8;

/// What loading needs to know.
#[derive(Debug, Clone)]
pub struct LoadSettings {
    /// Threads that may run the model at once.
    pub threads: usize,
    /// Those among them that compute what is not tiny.
    pub compute_threads: usize,
    /// The largest model file.
    pub max_model_bytes: u64,
    /// What an image may cost.
    pub image_limits: ImageLimits,
    /// What runs a version.
    pub candidates: Candidates,
}

/// Loads every version of the repository into the predictor's catalog, one after the other; each
/// serves as soon as it is ready. A version that fails ends with a reason, the others go on.
///
/// # Errors
/// [`Error::Io`] when the repository folder itself cannot be read.
pub fn load_all(
    root: &Path,
    default_model: Option<ModelName>,
    settings: &LoadSettings,
    metrics: &Metrics,
    predictor: &Predictor,
) -> Result<()> {
    let found = scan(root)?;
    for problem in &found.problems {
        tracing::warn!(place = %problem.place, problem = %problem.problem, "not part of the repository");
    }
    let mut catalog = Catalog::new(default_model);
    for version in &found.versions {
        catalog.set(version.name.clone(), version.version, VersionEntry::in_state(State::Start));
    }
    predictor.publish(catalog.clone());
    for version in &found.versions {
        let (model, number) = (version.name.as_str(), version.version.0);
        let entry = match load(version, settings, metrics) {
            Ok(servable) => {
                let (engine, batch_1_us) = (servable.engine().name(), servable.cost.as_micros() as u64);
                tracing::info!(model, version = number, engine, batch_1_us, "available");
                VersionEntry::available(Arc::new(servable))
            }
            Err(error) => {
                tracing::error!(model, version = number, error = %error, cause = ?std::error::Error::source(&error).map(ToString::to_string), "cannot be loaded");
                VersionEntry::ended(error.to_string())
            }
        };
        catalog.set(version.name.clone(), version.version, entry);
        predictor.publish(catalog.clone());
    }
    catalog.settle();
    predictor.publish(catalog);
    Ok(())
}

/// Loads one version.
///
/// # Errors
/// [`Error::Repository`] saying what is wrong with its files, [`Error::ModelFailed`] when it fails
/// on a golden example or while warming up.
pub fn load(found: &FoundVersion, settings: &LoadSettings, metrics: &Metrics) -> Result<Servable> {
    let start = Instant::now();
    let VersionFiles { onnx, manifest, probe } = VersionFiles::read(&found.path, settings.max_model_bytes)?;
    if let Some(manifest) = &manifest {
        check_identity(found, manifest)?;
    }
    let plan = settings.candidates.plan(&onnx)?;
    plan.prepare(settings.compute_threads)?;
    let signature = plan.signature();
    let batching = signature.batching();
    let probabilities = match &manifest {
        Some(manifest) => check_signature(manifest, signature)?,
        None => None,
    };
    let mut session = plan.session()?;
    let single = engine::measure(&mut session, &engine::zeros(signature, 1)?)?;
    let gather = batching == Batching::Any && {
        let batch = engine::measure(&mut session, &engine::zeros(signature, GATHER_PROBE)?)?;
        batch < single.mul_f64(GATHER_PROBE as f64 * GATHER_GAIN)
    };
    let servable = Servable {
        metrics: metrics.bind_servable(found.name.as_str(), &found.version.to_string())?,
        name: found.name.clone(),
        version: found.version,
        probe: probe.iter().map(decode_probe).collect::<Result<_>>()?,
        live: arc_swap::ArcSwapOption::empty(),
        sessions: Sessions::new(settings.threads),
        gather: gather.then(|| Gather::new(settings.threads)),
        manifest,
        cost: single,
        plan,
        batching,
        probabilities,
        image_limits: settings.image_limits,
    };
    check_golden(&servable)?;
    announce(&servable, start);
    Ok(servable)
}

fn check_identity(found: &FoundVersion, manifest: &Manifest) -> Result<()> {
    if manifest.model != found.name || manifest.version != found.version {
        return Err(unusable(format!(
            "the manifest is of {} version {}, the folder says {} version {}",
            manifest.model, manifest.version, found.name, found.version
        )));
    }
    Ok(())
}

/// Compares what the manifest promises with what the graph is; returns the output that holds the
/// probabilities.
fn check_signature(manifest: &Manifest, graph: &Signature) -> Result<Option<usize>> {
    if manifest.signature != *graph {
        return Err(unusable(format!(
            "the manifest's signature {:?} is not the graph's {graph:?}",
            manifest.signature
        )));
    }
    if let Some(image) = &manifest.transform.image {
        let pixels = image.width as usize * image.height as usize;
        let fits = |input: &TensorSpec| {
            let sample = input.sample_shape().map(|shape| shape.iter().product());
            input.dtype == DType::Float32 && sample == Some(pixels)
        };
        if pixels == 0 || graph.batching() == Batching::Whole || graph.inputs.len() != 1 || !fits(&graph.inputs[0]) {
            let inputs: Vec<String> = graph.inputs.iter().map(TensorSpec::shape_text).collect();
            return Err(unusable(format!(
                "images of {} × {} grey pixels do not fill the inputs {}",
                image.width,
                image.height,
                inputs.join(", ")
            )));
        }
    }
    let OutputTransform::Classification { probabilities } = &manifest.transform.output else { return Ok(None) };
    let index = graph.outputs.iter().position(|output| output.name == *probabilities);
    let index = index.ok_or_else(|| unusable(format!("the graph has no output \"{probabilities}\"")))?;
    let classes = graph.outputs[index].sample_shape().filter(|shape| shape.len() == 1).map(|shape| shape[0]);
    let classes =
        classes.filter(|_| graph.batching() != Batching::Whole && graph.outputs[index].dtype == DType::Float32);
    if classes != Some(manifest.labels.len()) {
        return Err(unusable(format!(
            "{} labels for an output of shape {:?}",
            manifest.labels.len(),
            graph.outputs[index].shape
        )));
    }
    Ok(Some(index))
}

fn decode_probe(sample: &ProbeSample) -> Result<(Bytes, usize)> {
    Ok((decode_base64(&sample.image)?, sample.label))
}

fn decode_base64(text: &str) -> Result<Bytes> {
    STANDARD.decode(text).map(Bytes::from).map_err(|error| unusable(format!("an image is not base64: {error}")))
}

fn check_golden(servable: &Servable) -> Result<()> {
    let golden = servable.manifest.as_ref().map_or(&[][..], |manifest| &manifest.golden);
    for (index, Golden { image, probabilities }) in golden.iter().enumerate() {
        let options = Options { top_k: probabilities.len(), polarity: PolarityChoice::Auto };
        let (answers, _) = servable.execute(Input::Images(vec![decode_base64(image)?]), options)?;
        let [Prediction::Classified { classification, .. }] = answers.as_slice() else {
            return Err(unusable("golden examples need a classification output".into()));
        };
        for scored in &classification.top_k {
            let expected = probabilities.get(scored.class).copied().unwrap_or(f32::NAN);
            let difference = (scored.confidence - expected).abs();
            if difference.is_nan() || difference > GOLDEN_TOLERANCE {
                return Err(unusable(format!(
                    "golden example {index}: class {} has probability {}, recorded {expected}",
                    scored.class, scored.confidence
                )));
            }
        }
    }
    Ok(())
}

fn announce(servable: &Servable, start: Instant) {
    servable.metrics.announce(start.elapsed());
    let Some(manifest) = &servable.manifest else { return };
    let test = manifest.metrics.test.as_ref().map(|test| test.summary);
    let known = [
        (Source::Training, manifest.metrics.training),
        (Source::Validation, manifest.metrics.validation),
        (Source::Test, test),
    ];
    for (source, summary) in known {
        if let Some(summary) = summary {
            servable.metrics.set_quality(source, summary);
        }
    }
}

fn unusable(problem: String) -> Error {
    Error::Repository { what: "the version".into(), problem }
}
