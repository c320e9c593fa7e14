//! Transfer: a network that is there already is cut at its features and frozen, and a dense head learns from them.
//!
//! The features of all samples are computed once, in the serving engine, and kept on disk. What is published is one graph
//! of both.

mod cache;
mod cut;

use std::path::{Path, PathBuf};

use rayon::prelude::*;

use self::cache::Place;
use self::cut::{Cut, FEATURES};
use super::dataset::Dataset;
use super::export::{Graph, LOGITS, PROBABILITIES, integer, write_network};
use super::network::Network;
use super::tabular::Moments;
use crate::engine::{Plan, declared_signature, graph_facts};
use crate::error::{Error, Result};
use crate::external::External;
use crate::layers::LayerSpec;
use crate::repository::{FoundVersion, MODEL_FILE, ModelSettings, SETTINGS_FILE, VersionFiles, sha256_hex};
use crate::signature::{DType, Guess, ImageTransform, TensorSpec};
use crate::tensor::Tensor;

/// Samples that run together.
const BATCH: usize = 32;

/// A deviation below this part of the largest one is that of a feature which says nothing.
const LEAST_DEVIATION: f64 = 1e-6;

/// The network that a head is put on.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct BackboneChoice {
    /// An ONNX file, or the folder of a version.
    pub path: PathBuf,
    /// The tensor of features; by default the penultimate one.
    pub at: Option<String>,
    /// The folder in which features are kept.
    pub cache: PathBuf,
}

/// A network without its last layers, which stays as it is.
#[derive(Debug, Clone)]
pub(super) struct Backbone {
    cut: Cut,
    plan_onnx: Vec<u8>,
    sample: Vec<usize>,
    cache: PathBuf,
    /// The transform of its pictures.
    pub(super) image: ImageTransform,
    /// The frozen network, in words.
    origin: String,
    /// What was found, for people.
    pub(super) notes: Vec<String>,
}

/// What a head learns from.
#[derive(Debug)]
pub(super) struct Features {
    backbone: Backbone,
    /// The features of the training samples, each with mean 0 and deviation 1.
    pub(super) train: Dataset,
    /// Those of the validation samples, by the same means and deviations.
    pub(super) validation: Dataset,
    mean: Vec<f64>,
    deviation: Vec<f64>,
}

impl Backbone {
    /// Reads a network, and cuts it.
    ///
    /// # Errors
    /// [`Error::Repository`] when the file cannot be used or says too little, [`Error::Config`] for a tensor that it does
    /// not have, [`Error::Io`].
    pub(super) fn read(choice: &BackboneChoice) -> Result<Self> {
        let what = choice.path.display().to_string();
        let refuse = |problem: String| Error::Repository { what: what.clone(), problem };
        let (onnx, image, origin) = read(&choice.path)?;
        let mut notes = vec![format!("backbone {origin}, frozen")];
        let cut = Cut::new(&onnx, choice.at.as_deref()).map_err(|problem| match choice.at {
            Some(_) => Error::Config { setting: "at".into(), problem: format!("{what} {problem}") },
            None => refuse(problem),
        })?;
        let signature = declared_signature(&cut.onnx());
        let [input] = signature.inputs.as_slice() else {
            return Err(refuse(format!("takes {} inputs; a backbone takes one picture", signature.inputs.len())));
        };
        let image = image.map_or_else(|| guessed(&onnx, input, &mut notes), Ok).map_err(&refuse)?;
        if input.dtype != DType::Float32 || !image.fills(input) {
            let (takes, given) = (input.shape_text(), image.text());
            return Err(refuse(format!("takes {} {takes}, which {given} do not fill", input.dtype)));
        }
        let sample = image.sample_shape(input);
        let cut = cut.with_sample(&sample);
        let rank = rank(&cut, &sample).map_err(&refuse)?;
        notes.push(format!("features are tensor {}, {}; --at names another", cut.tensor, cut.why));
        if rank == 4 {
            notes.push("the features of each channel are averaged over its map".into());
        }
        let cut = cut.flattened(rank);
        Ok(Self { plan_onnx: cut.onnx(), cut, sample, cache: choice.cache.clone(), image, origin, notes })
    }

    /// Computes the features of samples, or reads those that were computed before; returns how many a sample has.
    fn features(&self, data: &Dataset) -> Result<(usize, Vec<f32>, bool)> {
        let place = Place::of(&self.cache, &self.plan_onnx, data)?;
        if let Some((width, features)) = place.read() {
            return Ok((width, features, true));
        }
        let plan = Plan::load(&self.plan_onnx)?;
        let ranges: Vec<_> = data.chunks(BATCH).collect();
        let run = |range: &std::ops::Range<usize>| -> Result<Vec<f32>> {
            let shape = std::iter::once(range.len()).chain(self.sample.iter().copied()).collect();
            let outputs = plan.session()?.run(&[Tensor::new(shape, data.inputs(range.clone())?)?])?;
            Ok(outputs.first().map(Tensor::floats).transpose()?.unwrap_or_default().to_vec())
        };
        let parts: Vec<Vec<f32>> = ranges.par_iter().map(run).collect::<Result<_>>()?;
        let features = parts.concat();
        let width = features.len() / data.len().max(1);
        if width * data.len() != features.len() || features.iter().any(|feature| !feature.is_finite()) {
            let problem = "does not give every picture the same number of finite features".into();
            return Err(Error::Repository { what: format!("tensor {}", self.cut.tensor), problem });
        }
        if width > 0 {
            place.write(width, &features)?;
        }
        Ok((width, features, false))
    }
}

impl Features {
    /// Computes the features of training and validation samples.
    ///
    /// # Errors
    /// [`Error::Repository`] when the network cannot run or gives what is no features, [`Error::Io`].
    pub(super) fn of(
        backbone: Backbone,
        train: &Dataset,
        validation: &Dataset,
        notes: &mut Vec<String>,
    ) -> Result<Self> {
        let started = std::time::Instant::now();
        let (width, mut of_train, was_there) = backbone.features(train)?;
        let (_, mut of_validation, _) =
            if validation.is_empty() { (width, Vec::new(), true) } else { backbone.features(validation)? };
        let how = if was_there { "read from" } else { "computed, and kept in" };
        let (seconds, folder) = (started.elapsed().as_secs_f64(), backbone.cache.display());
        notes.push(format!("{width} features of each picture were {how} {folder} in {seconds:.1} s"));
        let mut moments = vec![Moments::default(); width];
        for sample in of_train.chunks_exact(width.max(1)) {
            moments.iter_mut().zip(sample).for_each(|(moments, feature)| moments.add(f64::from(*feature)));
        }
        let mean: Vec<f64> = moments.iter().map(Moments::mean).collect();
        let mut deviation: Vec<f64> = moments.iter().map(Moments::deviation).collect();
        let least = deviation.iter().copied().fold(0.0, f64::max) * LEAST_DEVIATION;
        deviation.iter_mut().filter(|deviation| **deviation <= least).for_each(|deviation| *deviation = 1.0);
        for features in [&mut of_train, &mut of_validation] {
            for sample in features.chunks_exact_mut(width.max(1)) {
                for ((feature, mean), deviation) in sample.iter_mut().zip(&mean).zip(&deviation) {
                    *feature = ((f64::from(*feature) - mean) / deviation) as f32;
                }
            }
        }
        let (train, validation) =
            (train.with_features(width, &of_train), validation.with_features(width, &of_validation));
        Ok(Self { backbone, train, validation, mean, deviation })
    }

    /// Returns what the network is, a sentence without its end.
    pub(super) fn description(&self) -> String {
        let Backbone { cut, origin, .. } = &self.backbone;
        format!("A dense layer on {} features of {origin}, tensor {}", self.width(), cut.tensor)
    }

    /// Returns the number of features of a sample.
    pub(super) fn width(&self) -> usize {
        self.train.width
    }

    /// Returns the graph of the frozen network with a trained head on it.
    ///
    /// # Errors
    /// As [`crate::layers::Architecture::output`].
    pub(super) fn merged(&self, head: &Network) -> Result<Vec<u8>> {
        let folded = self.folded(head);
        let mut graph = Graph::default();
        write_network(&mut graph, &folded, FEATURES, LOGITS, "head.");
        graph.node("Softmax", &[LOGITS], PROBABILITIES, vec![integer("axis", 1)]);
        let classes = head.architecture().output()?.iter().product();
        Ok(self.backbone.cut.clone().with_head(graph, classes).onnx())
    }

    /// Returns the head for features as they come: their means and deviations are put into its first layer.
    fn folded(&self, head: &Network) -> Network {
        let mut folded = head.clone();
        if let [weight, bias, ..] = folded.parameters_mut()
            && matches!(head.layers().first(), Some(layer) if matches!(layer.spec, LayerSpec::Dense { .. }))
        {
            let units = bias.values.len();
            let mut sums: Vec<f64> = bias.values.iter().map(|bias| f64::from(*bias)).collect();
            let features = self.mean.iter().zip(&self.deviation);
            for (row, (mean, deviation)) in weight.values.chunks_exact_mut(units).zip(features) {
                for (value, sum) in row.iter_mut().zip(&mut sums) {
                    let scaled = f64::from(*value) / deviation;
                    *sum -= scaled * mean;
                    *value = scaled as f32;
                }
            }
            bias.values = sums.into_iter().map(|sum| sum as f32).collect();
        }
        for parameter in folded.parameters_mut() {
            parameter.name = format!("head.{}", parameter.name);
        }
        folded
    }
}

/// Reads the graph of a file or version, the transform of its pictures if that is declared, and what it is in words.
fn read(path: &Path) -> Result<(Vec<u8>, Option<ImageTransform>, String)> {
    let refuse = |problem: &str| Error::Repository { what: path.display().to_string(), problem: problem.into() };
    if path.is_dir() {
        let found = FoundVersion::in_folder(path)?;
        let files = VersionFiles::read(path, u64::MAX - 1)?;
        if let Some(manifest) = files.manifest {
            let image = manifest.transform.image.clone();
            let image = image.ok_or_else(|| refuse("takes no pictures"))?;
            return Ok((files.onnx, Some(image), format!("{} version {}", manifest.model, found.version)));
        }
        let settings = ModelSettings::read(&found.name, &found.model_files)?;
        let image = image_of(&settings, &files.onnx).map_err(|problem| refuse(&problem))?;
        return Ok((files.onnx, image, format!("{} version {}", found.name, found.version)));
    }
    let onnx = std::fs::read(path).map_err(Error::io("read", path))?;
    if External::of(&onnx)?.is_some() {
        return Err(refuse("keeps its data in other files; put it into a repository and name the model"));
    }
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let origin = format!("{name} (SHA-256 {})", sha256_hex(&onnx));
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let is_model = path.file_name().is_some_and(|name| name == MODEL_FILE);
    if is_model && let Some(manifest) = VersionFiles::read(folder, u64::MAX - 1).ok().and_then(|files| files.manifest) {
        return Ok((onnx, manifest.transform.image, origin));
    }
    for folder in [Some(folder), folder.parent()].into_iter().flatten() {
        if folder.join(SETTINGS_FILE).is_file() {
            let settings = ModelSettings::read(&"backbone".parse()?, &folder.into())?;
            let image = image_of(&settings, &onnx).map_err(|problem| refuse(&problem))?;
            return Ok((onnx, image, origin));
        }
    }
    Ok((onnx, None, origin))
}

/// Returns the transform that settings declare for a graph.
fn image_of(settings: &ModelSettings, onnx: &[u8]) -> std::result::Result<Option<ImageTransform>, String> {
    let signature = declared_signature(onnx);
    match (&settings.image, &settings.transform) {
        (Some(spec), _) => spec.clone().resolve(signature.inputs.first()).map(Some),
        (None, transform) => Ok(transform.as_ref().and_then(|transform| transform.image.clone())),
    }
}

/// Returns the transform that a graph without settings seems to want.
fn guessed(onnx: &[u8], input: &TensorSpec, notes: &mut Vec<String>) -> std::result::Result<ImageTransform, String> {
    let missing = "does not say how pictures become its input: put a model.toml with an [image] table beside it \
                   (weir models describe FILE.onnx writes one)";
    let guess = Guess::of(&declared_signature(onnx), &graph_facts(onnx)).ok_or_else(|| missing.to_owned())?;
    let settings: ModelSettings = toml::from_str(&guess.toml()).map_err(|_| missing.to_owned())?;
    let image = settings.image.ok_or_else(|| missing.to_owned())?.resolve(Some(input))?;
    notes.push(format!(
        "the transform of pictures is a guess ({}), which a model.toml beside the file replaces: {}",
        image.text(),
        guess.short().join(", ")
    ));
    Ok(image)
}

/// Runs a cut graph on two plain pictures, and returns the number of dimensions of its features; a graph that gives a
/// sample something else in company is refused.
fn rank(cut: &Cut, sample: &[usize]) -> std::result::Result<usize, String> {
    let plan = Plan::load(&cut.onnx()).map_err(|error| format!("cannot be run up to {}: {error}", cut.tensor))?;
    let size: usize = sample.iter().product();
    let elements: Vec<f32> = (0..2 * size).map(|at| (at * 7919 % 256) as f32).collect();
    let run = |count: usize, elements: &[f32]| -> Result<Tensor> {
        let shape = std::iter::once(count).chain(sample.iter().copied()).collect();
        let outputs = plan.session()?.run(&[Tensor::new(shape, elements.to_vec())?])?;
        outputs.into_iter().next().ok_or_else(|| Error::internal("a graph gave no output", "features"))
    };
    let together = run(2, &elements);
    let alone = run(1, &elements[size..]);
    let (Ok(together), Ok(alone)) = (together, alone) else {
        return Err(format!(
            "does not run for 1 and for 2 pictures up to {}; export it with an open batch",
            cut.tensor
        ));
    };
    let (Ok(of_both), Ok(of_one)) = (together.floats(), alone.floats()) else {
        return Err(format!("gives no 32-bit floats at {}", cut.tensor));
    };
    let same = of_both.len() == 2 * of_one.len()
        && of_both[of_one.len()..].iter().zip(of_one).all(|(a, b)| (a - b).abs() <= 1e-3 * (1.0 + b.abs()));
    match together.shape().len() {
        _ if !same => Err(format!("gives a picture other features in company, at {}", cut.tensor)),
        rank @ (2 | 4) => Ok(rank),
        rank => Err(format!(
            "gives {rank} dimensions at {}; features have 2, or 4 of maps: name another tensor by --at",
            cut.tensor
        )),
    }
}
