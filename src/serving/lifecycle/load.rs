//! Loads a version: a servable that has proved itself by hashes, signature, golden examples and warm-up.

use std::collections::BTreeMap;
use std::panic::resume_unwind;
use std::sync::Arc;
use std::thread;
use std::time::Instant;

use super::class_maps::class_maps;
use super::companion::CompanionLoader;
use super::graphs::{GraphFile, GraphLoader, LoadSettings};
use super::warm::WarmGraph;
use super::{examples, reference, text, triton, verify, vision};
use crate::engine::{class_names, graph_facts};
use crate::error::Result;
use crate::metrics::{Metrics, Source};
use crate::repository::{
    ClassificationQuality, FoundVersion, Manifest, ProbeSample, Quality, ReconstructionQuality, RegressionQuality,
    TokenizerFiles, Truth, VersionFiles,
};
use crate::serving::servable::{Identity, Input, Known, Labels, ProbeSet, Servable, Texts, Transforms};
use crate::signature::{GraphFacts, Signature, Transform};
use crate::stats::{RegressionEvaluation, Summary};

/// Loads one version.
///
/// # Errors
/// [`crate::error::Error::Repository`] saying what is wrong with its files,
/// [`crate::error::Error::ModelFailed`] when it fails on a golden example or while warming up.
pub fn load(found: &FoundVersion, settings: &LoadSettings, metrics: &Arc<Metrics>) -> Result<Servable> {
    let start = Instant::now();
    let VersionFiles { onnx, onnx_sha256, manifest, reference, probe, tokenizer, companions, signed } =
        VersionFiles::read_found(found, settings.max_model_bytes)?;
    let graphs = GraphLoader::new(found, settings, metrics);
    let classes = class_names(&onnx);
    let facts = graph_facts(&onnx);
    let companions = CompanionLoader { graphs: &graphs, manifest: manifest.as_ref(), files: &companions };
    // Two graphs take as long as the slower one.
    let (model, generator) = thread::scope(|scope| {
        let generator = companions.has_decoder().then(|| scope.spawn(|| companions.generator()));
        let model = warm_model(found, &graphs, manifest.as_ref(), onnx, &onnx_sha256);
        (model, generator.map(|thread| thread.join().unwrap_or_else(|panic| resume_unwind(panic))))
    });
    let mut graph = model?;
    let generator = generator.transpose()?.flatten();
    let Declared { transform, labels, texts, passed_over } =
        declared(found, (manifest.as_ref(), tokenizer.as_ref()), &mut graph, classes, &facts)?;
    let signature = &graph.view.signature;
    let known = Known { manifest: manifest.as_ref(), signature, facts: &facts };
    let mut transforms = Transforms::new(transform, labels, known, settings.image_limits)?;
    transforms.missing = vision::missing(found, signature, &facts);
    transforms.no_texts = passed_over.clone().or_else(|| text::missing(found, tokenizer.is_some(), signature));
    transforms.passed_over = passed_over;
    transforms.texts = texts;
    let probe = ProbeSet::new(samples(&probe, signature)?);
    let answering = tokenizer.as_ref().map_or(onnx_sha256.clone(), |files| onnx_sha256.clone() + &files.sha256());
    let identity = Identity::new(found, &answering, &transforms, signature, reference)?;
    let file = GraphFile { name: found.model_file(), sha256: &onnx_sha256 };
    let model = graphs.runner(graph, &file, found.name.as_str(), graphs.scheduling.cache_bytes)?;
    let servable = Servable {
        name: found.name.clone(),
        version: found.version,
        manifest,
        signed,
        identity: Arc::new(identity),
        model,
        transforms,
        generator,
        class_maps: Arc::new(class_maps(found, settings, metrics, &onnx_sha256)),
        probe,
        triton: found.settings.triton.clone(),
    };
    verify::golden(&servable)?;
    verify::answer(&servable)?;
    reference::compare(&servable, settings);
    announce(&servable, start);
    Ok(servable)
}

/// Returns the graph of the model, ready for its first request.
///
/// # Errors
/// As [`load`].
fn warm_model(
    found: &FoundVersion,
    graphs: &GraphLoader<'_>,
    manifest: Option<&Manifest>,
    onnx: Vec<u8>,
    onnx_sha256: &str,
) -> Result<WarmGraph> {
    let tried = graphs.plan(&onnx, onnx_sha256)?;
    drop(onnx);
    if let Some(manifest) = manifest {
        verify::signature(manifest, tried.plan.signature())?;
    }
    let view = triton::view(found, &tried.plan)?;
    let mut graph = graphs.warm(tried, view, onnx_sha256, manifest.is_some())?;
    triton::warm_up(found, &graph.view, &mut graph.sessions)?;
    Ok(graph)
}

/// What is declared of a version.
struct Declared {
    transform: Option<Transform>,
    labels: Labels,
    texts: Option<Texts>,
    /// The reason why the tokenizer is not used, if it was a guess that does not hold.
    passed_over: Option<String>,
}

/// Returns the transforms that the manifest, the tokenizer, `model.toml`, `config.pbtxt` or the graph declares, in this
/// order, and the labels. `classes` are those that the graph itself names, by output.
fn declared(
    found: &FoundVersion,
    (manifest, tokenizer): (Option<&Manifest>, Option<&TokenizerFiles>),
    graph: &mut WarmGraph,
    classes: BTreeMap<String, Vec<String>>,
    facts: &GraphFacts,
) -> Result<Declared> {
    let mut outputs = triton::output_labels(found, &graph.view)?;
    for (name, classes) in classes {
        if let Some(output) = graph.view.signature.outputs.iter().position(|spec| spec.name == name) {
            outputs.entry(output).or_insert(classes);
        }
    }
    let mut passed_over = None;
    match (tokenizer, manifest) {
        (Some(files), Some(Manifest { transform, labels: classes, .. })) if transform.text.is_some() => {
            let texts = Some(text::Reader::read(files)?.complete(transform, graph)?);
            let labels = Labels { classes: classes.clone(), outputs };
            return Ok(Declared { transform: Some(transform.clone()), labels, texts, passed_over });
        }
        (Some(files), None) => match text::declared(files, found, graph, facts)? {
            text::Found::Texts(declared) => {
                let text::Declared { transform, labels: classes, texts } = *declared;
                let labels = Labels { classes, outputs };
                return Ok(Declared { transform: Some(transform), labels, texts: Some(texts), passed_over });
            }
            text::Found::PassedOver(reason) => passed_over = Some(reason),
            text::Found::Nothing => {}
        },
        (None, None) if found.settings.text.is_some() => return Err(text::no_tokenizer(found)),
        (Some(_) | None, _) => {}
    }
    let (transform, classes) = match manifest {
        Some(manifest) => (Some(manifest.transform.clone()), manifest.labels.clone()),
        None if found.settings.is_silent_about_transforms() => triton::classification(graph, &outputs)?,
        None => vision::declared(found, graph, facts)?,
    };
    Ok(Declared { transform, labels: Labels { classes, outputs }, texts: None, passed_over })
}

fn samples(probe: &[ProbeSample], signature: &Signature) -> Result<Vec<(Input, Truth)>> {
    probe.iter().map(|sample| Ok((examples::input(&sample.input, signature)?, sample.truth))).collect()
}

fn announce(servable: &Servable, start: Instant) {
    servable.metrics().announce(start.elapsed());
    let tuning = servable.tuning();
    let (model, version) = (servable.name.as_str(), servable.version.0);
    if tuning.sharing.is_shared {
        tracing::debug!(model, version, batching = tuning.sharing.reason, "loaded");
    } else {
        tracing::info!(model, version, batching = tuning.sharing.reason, "requests share no runs");
    }
    let Some(manifest) = &servable.manifest else { return };
    for (source, loss, accuracy) in manifest.metrics.as_ref().map(known_quality).into_iter().flatten() {
        servable.metrics().set_quality(source, loss, accuracy);
    }
}

/// A loss, and the accuracy where there is one.
type Figures = (f64, Option<f64>);

/// Returns loss and accuracy by their source. The loss is in the unit of the version's live figures: the mean score
/// of an autoencoder, the mean squared error of a model of numbers.
fn known_quality(quality: &Quality) -> Vec<(Source, f64, Option<f64>)> {
    let known: [(Source, Option<Figures>); 3] = match quality {
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
