//! Transfer: a network that is there already is cut at its features and frozen, and a dense head learns from them.
//!
//! The features of all samples are computed once, in the serving engine, and kept on disk. What is published is one graph
//! of both.

mod cache;
mod cut;
mod maps;
mod texts;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use rayon::prelude::*;

use self::cache::Place;
use self::cut::{Cut, FEATURES};
pub use self::maps::Pool;
use self::maps::{Candidate, FeatureMap, GRIDS, last_of_each_scale};
pub(super) use self::texts::TextInput;
use self::texts::{Said, tokenizer_near};
use super::dataset::{Dataset, Targets};
use super::export::{Graph, write_answer};
use super::network::Network;
use super::ridge::{Choice, Products, Truths};
use super::tabular::Moments;
use crate::engine::{Plan, declared_signature, graph_facts};
use crate::error::{Error, Result};
use crate::external::External;
use crate::layers::LayerSpec;
use crate::repository::{
    FoundVersion, MODEL_FILE, Manifest, ModelSettings, SETTINGS_FILE, TokenizerFiles, VersionFiles, sha256_hex,
};
use crate::signature::{DType, Guess, ImageTransform, TensorSpec};
use crate::tensor::Tensor;

/// Samples that run together.
const BATCH: usize = 32;

/// A deviation below this part of the largest one of its tensor is that of a feature which says next to nothing.
const LEAST_DEVIATION: f64 = 1e-3;

/// The most samples by which features are chosen.
const MOST_CHOOSING: usize = 400;

/// Samples up to which a head is solved at once: the work grows with their cube.
pub(super) const MOST_SOLVED: usize = 2_000;

/// Features of a sample, and of all samples, at most, where nobody says how maps are averaged.
const MOST_FEATURES: usize = 32_768;
const MOST_NUMBERS: usize = 1 << 25;

/// The way in which the weights of a head are found.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Solver {
    /// At once for few samples, unless settings of steps are given.
    #[default]
    Auto,
    /// At once, by ridge regression.
    Ridge,
    /// In epochs of steps.
    Steps,
}

impl FromStr for Solver {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        match text {
            "auto" => Ok(Self::Auto),
            "ridge" => Ok(Self::Ridge),
            "steps" => Ok(Self::Steps),
            _ => Err("expected auto, ridge or steps".into()),
        }
    }
}

impl std::fmt::Display for Solver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Auto => "auto",
            Self::Ridge => "ridge",
            Self::Steps => "steps",
        })
    }
}

/// The network that a head is put on.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct BackboneChoice {
    /// An ONNX file, or the folder of a version.
    pub path: PathBuf,
    /// The tensor of features; by default the penultimate one.
    pub at: Option<String>,
    /// The windows of maps that are features, too.
    pub pool: Pool,
    /// The way in which the head's weights are found.
    pub solver: Solver,
    /// The setting of steps that decided for them, where nobody said a solver.
    pub decided_by: Option<String>,
    /// The folder in which features are kept.
    pub cache: PathBuf,
}

/// A network without its last layers, which stays as it is.
#[derive(Debug, Clone)]
pub(super) struct Backbone {
    cut: Cut,
    pool: Pool,
    cache: PathBuf,
    input: BackboneInput,
    /// The frozen network, in words.
    origin: String,
    /// What was found, for people.
    pub(super) notes: Vec<String>,
}

/// The samples that a backbone takes.
#[derive(Debug, Clone)]
enum BackboneInput {
    /// Pictures.
    Pictures(PictureInput),
    /// Texts by a tokenizer.
    Texts(TextInput),
}

/// The pictures that a backbone takes, and the places of their features.
#[derive(Debug, Clone)]
struct PictureInput {
    image: ImageTransform,
    /// The shape of a picture behind the transform.
    sample: Vec<usize>,
    /// The shape of the features, for two samples.
    shape: Vec<usize>,
    /// The maps whose means may be features, too.
    maps: Vec<FeatureMap>,
}

/// A graph that was cut, with what its input takes.
struct Found<I> {
    cut: Cut,
    input: I,
}

/// What was read of a backbone.
struct ReadBackbone {
    onnx: Vec<u8>,
    takes: Takes,
    /// The frozen network, in words.
    origin: String,
}

/// What is said of a backbone's input.
enum Takes {
    /// Pictures, by a transform if one is declared.
    Pictures(Option<ImageTransform>),
    /// Texts, by a tokenizer.
    Texts(Box<Said>),
}

/// The samples of a head, by their features.
#[derive(Debug)]
pub(super) struct Features {
    backbone: Backbone,
    chosen: Candidate,
    /// The features of the training samples, each with mean 0 and deviation 1.
    pub(super) train: Dataset,
    /// Those of the validation samples, by the same means and deviations.
    pub(super) validation: Dataset,
    scale: Scale,
}

/// Mean and deviation of each feature.
#[derive(Debug)]
struct Scale {
    mean: Vec<f64>,
    deviation: Vec<f64>,
}

/// The weights of a head that was solved at once, in the order of its network's arrays.
#[derive(Debug)]
pub(super) struct Solved {
    pub(super) arrays: [Vec<f32>; 2],
    /// The solution in words.
    pub(super) how: String,
}

impl BackboneChoice {
    /// Refuses to solve a head for more samples than can be solved at once.
    ///
    /// # Errors
    /// [`Error::Config`] naming the setting.
    pub(super) fn fits(&self, samples: usize) -> Result<()> {
        match self.solver {
            Solver::Ridge if samples > MOST_SOLVED => {
                let problem = format!("ridge takes at most {MOST_SOLVED} samples, got {samples}; steps takes any");
                Err(Error::Config { setting: "solver".into(), problem })
            }
            Solver::Ridge | Solver::Auto | Solver::Steps => Ok(()),
        }
    }
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
        let ReadBackbone { onnx, takes, origin } = read(&choice.path)?;
        let mut notes = vec![format!("backbone {origin}, frozen")];
        let at = choice.at.as_deref();
        if let Some(at) = at {
            Cut::new(&onnx, Some(at)).map_err(|problem| {
                let problem = format!("{what} {problem}");
                Error::Config { setting: "at".into(), problem }
            })?;
        }
        let (cut, input) = match takes {
            Takes::Texts(said) => {
                let Found { cut, input } = said.cut(&onnx, at, &mut notes).map_err(refuse)?;
                (cut, BackboneInput::Texts(input))
            }
            Takes::Pictures(image) => {
                let Found { cut, input } = of_pictures(&onnx, at, image, &mut notes).map_err(refuse)?;
                (cut, BackboneInput::Pictures(input))
            }
        };
        let read = Self { cut, pool: choice.pool, cache: choice.cache.clone(), input, origin, notes };
        if read.maps().is_empty() && matches!(read.pool, Pool::Windows(_)) {
            let problem = "averages maps, of which none were found before the features; leave it out".into();
            return Err(Error::Config { setting: "pool".into(), problem });
        }
        Ok(read)
    }

    /// Returns the transform of its pictures; `None` if it takes texts.
    pub(super) fn image(&self) -> Option<&ImageTransform> {
        match &self.input {
            BackboneInput::Pictures(pictures) => Some(&pictures.image),
            BackboneInput::Texts(_) => None,
        }
    }

    /// Returns how it takes texts; `None` if it takes pictures.
    pub(super) fn texts(&self) -> Option<&TextInput> {
        match &self.input {
            BackboneInput::Pictures(_) => None,
            BackboneInput::Texts(texts) => Some(texts),
        }
    }

    /// Returns the maps whose means may be features, too.
    fn maps(&self) -> &[FeatureMap] {
        match &self.input {
            BackboneInput::Pictures(pictures) => &pictures.maps,
            BackboneInput::Texts(_) => &[],
        }
    }

    /// Returns the graph that gives the features, and with each of these grids those of the maps.
    fn graph(&self, grids: &[usize]) -> Cut {
        match &self.input {
            BackboneInput::Pictures(pictures) => {
                self.cut.clone().flattened(pictures.shape.len(), &pictures.maps, grids)
            }
            BackboneInput::Texts(_) => self.cut.clone(),
        }
    }

    /// Returns the grids that come into question for so many samples.
    fn grids(&self, samples: usize) -> Vec<usize> {
        let BackboneInput::Pictures(PictureInput { shape, maps, .. }) = &self.input else { return Vec::new() };
        let width = |grid: usize| shape[1] + maps.iter().map(|map| map.width(grid)).sum::<usize>();
        let fits = |grid: &usize| width(*grid) <= MOST_FEATURES && width(*grid) * samples <= MOST_NUMBERS;
        match self.pool {
            _ if maps.is_empty() => Vec::new(),
            Pool::Auto => GRIDS.into_iter().filter(fits).collect(),
            Pool::None => Vec::new(),
            Pool::Windows(grid) => vec![grid],
        }
    }

    /// Computes the features of samples, or reads those that were computed before; returns how many a sample has.
    fn features(&self, graph: &Cut, data: &Dataset) -> Result<(usize, Vec<f32>, bool)> {
        let (sample, content) = match &self.input {
            BackboneInput::Pictures(pictures) => (pictures.sample.as_slice(), Vec::new()),
            BackboneInput::Texts(texts) => (&[][..], texts.content()),
        };
        let onnx = graph.onnx();
        let place = Place::of(&self.cache, [&onnx, &content], data)?;
        if let Some((width, features)) = place.read() {
            return Ok((width, features, true));
        }
        let plan = Plan::load(&onnx)?;
        let batches = batches(&data.tokens()?);
        let run = |batch: &Vec<usize>| -> Result<Vec<f32>> {
            let outputs = plan.session()?.run(&data.tensors(batch, sample)?)?;
            Ok(outputs.first().map(Tensor::floats).transpose()?.unwrap_or_default().to_vec())
        };
        let parts: Vec<Vec<f32>> = batches.par_iter().map(run).collect::<Result<_>>()?;
        let count: usize = parts.iter().map(Vec::len).sum();
        let width = count / data.len().max(1);
        let is_even = |(part, batch): (&Vec<f32>, &Vec<usize>)| {
            part.len() == width * batch.len() && part.iter().all(|feature| feature.is_finite())
        };
        if !parts.iter().zip(&batches).all(is_even) {
            let problem = format!("does not give every {} the same number of finite features", self.sample());
            return Err(Error::Repository { what: format!("tensor {}", self.cut.tensor), problem });
        }
        let mut features = vec![0.0; count];
        for (part, batch) in parts.iter().zip(&batches) {
            for (feature, index) in part.chunks_exact(width.max(1)).zip(batch) {
                features[index * width..][..width].copy_from_slice(feature);
            }
        }
        if width > 0 {
            place.write(width, &features)?;
        }
        Ok((width, features, false))
    }

    /// Returns the kind of a sample in a word.
    fn sample(&self) -> &'static str {
        match self.input {
            BackboneInput::Pictures(_) => "picture",
            BackboneInput::Texts(_) => "text",
        }
    }

    /// Chooses the features that err least on samples which are left out; returns true, too, if all of them were there.
    fn choose(&self, data: &Dataset, grids: &[usize], notes: &mut Vec<String>) -> Result<(Candidate, bool)> {
        let (width, mut features, was_there) = self.features(&self.graph(grids), data)?;
        let vector =
            width - grids.iter().flat_map(|grid| self.maps().iter().map(|map| map.width(*grid))).sum::<usize>();
        let mut candidates = Candidate::all(vector, self.maps(), grids);
        if !grids.is_empty() && matches!(self.pool, Pool::Windows(_)) {
            candidates.remove(0);
        }
        let blocks: Vec<_> = candidates.iter().flat_map(|candidate| &candidate.blocks).cloned().collect();
        Scale::of(&features, width, &blocks).apply(&mut features);
        let distinct: BTreeMap<usize, Products> = blocks
            .iter()
            .map(|block| (block.start, block))
            .collect::<BTreeMap<_, _>>()
            .into_iter()
            .map(|(start, block)| (start, Products::of(&features, width, block)))
            .collect();
        let truths = truths(data);
        let tried: Vec<Choice> = candidates
            .par_iter()
            .map(|candidate| {
                let parts: Vec<&Products> =
                    candidate.blocks.iter().filter_map(|block| distinct.get(&block.start)).collect();
                Products::mean(&parts).choose(&truths)
            })
            .collect();
        let best = (0..tried.len()).reduce(|best, next| if tried[next].loss < tried[best].loss { next } else { best });
        let best = best.unwrap_or_default();
        if candidates.len() > 1 {
            let name = |candidate: &Candidate| candidate.grid.map_or_else(|| "none".into(), |grid| grid.to_string());
            let losses: Vec<String> = candidates
                .iter()
                .zip(&tried)
                .map(|(candidate, choice)| format!("{} {:.3}", name(candidate), choice.loss))
                .collect();
            notes.push(format!(
                "--pool {} was chosen: of {} training samples, each left out of its fit, the loss is by pool: {}",
                name(&candidates[best]),
                data.len(),
                losses.join(", ")
            ));
        }
        Ok((candidates.swap_remove(best), was_there))
    }
}

impl Scale {
    /// Returns mean and deviation of each column; one that hardly changes, beside those of its block, gets the largest
    /// deviation of the block.
    fn of(features: &[f32], width: usize, blocks: &[std::ops::Range<usize>]) -> Self {
        let mut moments = vec![Moments::default(); width];
        for sample in features.chunks_exact(width.max(1)) {
            moments.iter_mut().zip(sample).for_each(|(moments, feature)| moments.add(f64::from(*feature)));
        }
        let mean: Vec<f64> = moments.iter().map(Moments::mean).collect();
        let mut deviation: Vec<f64> = moments.iter().map(Moments::spread).collect();
        for block in blocks {
            let of_block = &mut deviation[block.clone()];
            let largest = of_block.iter().copied().fold(0.0, f64::max);
            let instead = if largest > 0.0 { largest } else { 1.0 };
            of_block.iter_mut().filter(|value| **value <= largest * LEAST_DEVIATION).for_each(|value| *value = instead);
        }
        Self { mean, deviation }
    }

    fn apply(&self, features: &mut [f32]) {
        for sample in features.chunks_exact_mut(self.mean.len().max(1)) {
            for ((feature, mean), deviation) in sample.iter_mut().zip(&self.mean).zip(&self.deviation) {
                *feature = ((f64::from(*feature) - mean) / deviation) as f32;
            }
        }
    }
}

/// Returns what samples teach.
fn truths(data: &Dataset) -> Truths<'_> {
    match data.targets() {
        Targets::Classes(labels) => Truths::Classes { labels, classes: data.classes, weights: &data.class_weights },
        Targets::Values(values) => Truths::Values(values),
    }
}

/// Parts samples into batches of one number of tokens each.
fn batches(tokens: &[usize]) -> Vec<Vec<usize>> {
    let mut order: Vec<usize> = (0..tokens.len()).collect();
    order.sort_by_key(|index| tokens[*index]);
    let alike = order.chunk_by(|a, b| tokens[*a] == tokens[*b]);
    alike.flat_map(|alike| alike.chunks(BATCH).map(<[usize]>::to_vec)).collect()
}

/// Cuts a graph that takes pictures.
fn of_pictures(
    onnx: &[u8],
    at: Option<&str>,
    image: Option<ImageTransform>,
    notes: &mut Vec<String>,
) -> std::result::Result<Found<PictureInput>, String> {
    let cut = Cut::new(onnx, at)?;
    let signature = declared_signature(&cut.onnx());
    let [input] = signature.inputs.as_slice() else {
        let (count, tensor) = (signature.inputs.len(), &cut.tensor);
        return Err(format!(
            "takes {count} inputs up to tensor \"{tensor}\"; a backbone takes one picture, or texts by a tokenizer.json beside it"
        ));
    };
    let image = image.map_or_else(|| guessed(onnx, input, notes), Ok)?;
    if input.dtype != DType::Float32 || !image.fills(input) {
        let (takes, given) = (input.shape_text(), image.text());
        return Err(format!("takes {} {takes}, which {given} do not fill", input.dtype));
    }
    let sample = image.sample_shape(input);
    let cut = cut.with_sample(&sample);
    let shape = shape(&cut, &sample)?;
    notes.push(format!("features are tensor {}, {}; --at names another", cut.tensor, cut.why));
    if shape.len() == 4 {
        notes.push("the features of each channel are averaged over its map".into());
    }
    let maps = match at {
        Some(_) => FeatureMap::of(&cut.tensor, &shape).into_iter().collect(),
        None => maps(&cut, &sample).unwrap_or_else(|error| {
            notes.push(format!("maps inside the network are no features, as it does not run with them: {error}"));
            Vec::new()
        }),
    };
    Ok(Found { cut, input: PictureInput { image, sample, shape, maps } })
}

impl Features {
    /// Chooses and computes the features of training and validation samples; numbers to be learned have mean 0 and deviation
    /// 1.
    ///
    /// # Errors
    /// [`Error::Repository`] when the network cannot run or gives what is no features, [`Error::Io`].
    pub(super) fn of(
        backbone: Backbone,
        [train, validation]: [&Dataset; 2],
        seed: u64,
        notes: &mut Vec<String>,
    ) -> Result<Self> {
        let started = std::time::Instant::now();
        let grids = backbone.grids(train.len());
        let few =
            if train.len() > MOST_CHOOSING { train.select(&train.sample(MOST_CHOOSING, seed)) } else { train.clone() };
        let (chosen, were_there) = backbone.choose(&few, &grids, notes)?;
        let grids: Vec<usize> = chosen.grid.into_iter().collect();
        let chosen = Candidate::all(chosen.blocks[0].len(), backbone.maps(), &grids).pop().unwrap_or(chosen);
        let graph = backbone.graph(&grids);
        let (width, mut of_train, was_there) = backbone.features(&graph, train)?;
        let (_, mut of_validation, _) =
            if validation.is_empty() { (width, Vec::new(), true) } else { backbone.features(&graph, validation)? };
        // What was computed a moment ago to choose by was not there before.
        let verb = if was_there && were_there { "read from" } else { "computed, and kept in" };
        let (seconds, folder) = (started.elapsed().as_secs_f64(), backbone.cache.display());
        let sample = backbone.sample();
        notes.push(format!("{width} features of each {sample} were {verb} {folder} in {seconds:.1} s"));
        let scale = Scale::of(&of_train, width, &chosen.blocks);
        scale.apply(&mut of_train);
        scale.apply(&mut of_validation);
        let (train, validation) =
            (train.with_features(width, &of_train), validation.with_features(width, &of_validation));
        Ok(Self { backbone, chosen, train, validation, scale })
    }

    /// Describes the network, in a sentence without its end.
    pub(super) fn description(&self) -> String {
        let Backbone { cut, origin, .. } = &self.backbone;
        let features = self.chosen.text(&cut.tensor, self.backbone.maps());
        format!("A dense layer on features of {origin}: {features}")
    }

    /// Returns how the frozen network takes texts; `None` if it takes pictures.
    pub(super) fn texts(&self) -> Option<&TextInput> {
        self.backbone.texts()
    }

    /// Returns the number of features of a sample.
    pub(super) fn width(&self) -> usize {
        self.train.width
    }

    /// Solves the head for the training samples as they are fitted, with the penalty that errs least on each of them left out.
    ///
    /// # Errors
    /// [`Error::Config`] when there is no solution.
    pub(super) fn solve(&self, train: &Dataset) -> Result<Solved> {
        let refuse = |problem: String| Err(Error::Config { setting: "solver".into(), problem });
        let (width, samples) = (self.width(), train.inputs(0..train.len())?);
        let parts: Vec<Products> =
            self.chosen.blocks.iter().map(|block| Products::of(&samples, width, block)).collect();
        let (products, truths) = (Products::mean(&parts.iter().collect::<Vec<_>>()), truths(train));
        let Choice { penalty, factor, .. } = products.choose(&truths);
        let solved = products.solve(&truths, penalty);
        let Some(solved) = solved.filter(|solved| solved.iter().all(|factor| factor.is_finite())) else {
            return refuse("ridge finds no weights for these features; take steps".into());
        };
        let outputs = solved.len() / train.len().max(1);
        let mut weights = vec![0.0f64; width * outputs];
        let mut bias = vec![0.0f64; outputs];
        for (sample, factors) in samples.chunks_exact(width).zip(solved.chunks_exact(outputs)) {
            bias.iter_mut().zip(factors).for_each(|(bias, of_sample)| *bias += factor * of_sample);
            for (row, feature) in weights.chunks_exact_mut(outputs).zip(sample) {
                row.iter_mut().zip(factors).for_each(|(weight, of_sample)| *weight += f64::from(*feature) * of_sample);
            }
        }
        for block in &self.chosen.blocks {
            let scale = factor / (self.chosen.blocks.len() * block.len().max(1)) as f64;
            weights[block.start * outputs..block.end * outputs].iter_mut().for_each(|weight| *weight *= scale);
        }
        let single = |numbers: Vec<f64>| numbers.into_iter().map(|number| number as f32).collect();
        let how = format!("ridge regression solved at once, penalty {penalty}, scores times {factor:.2}");
        Ok(Solved { arrays: [single(weights), single(bias)], how })
    }

    /// Returns the graph of the frozen network with a trained head on it.
    ///
    /// # Errors
    /// As [`crate::layers::Architecture::output`].
    pub(super) fn merged(&self, head: &Network) -> Result<Vec<u8>> {
        let mut graph = Graph::default();
        let outputs = write_answer(&mut graph, &[self.folded(head)], FEATURES)?;
        let grids: Vec<usize> = self.chosen.grid.into_iter().collect();
        Ok(self.backbone.graph(&grids).with_head(graph, outputs).onnx())
    }

    /// Returns the head for features as they come: their means and deviations are put into its first layer.
    fn folded(&self, head: &Network) -> Network {
        let mut folded = head.clone();
        if let [weight, bias, ..] = folded.parameters_mut()
            && matches!(head.layers().first(), Some(layer) if matches!(layer.spec, LayerSpec::Dense { .. }))
        {
            let units = bias.values.len();
            let mut sums: Vec<f64> = bias.values.iter().map(|bias| f64::from(*bias)).collect();
            let features = self.scale.mean.iter().zip(&self.scale.deviation);
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

/// Reads the graph of a file or version, what is said of its input, and what it is in words.
fn read(path: &Path) -> Result<ReadBackbone> {
    let refuse = |problem: &str| Error::Repository { what: path.display().to_string(), problem: problem.into() };
    if path.is_dir() {
        let found = FoundVersion::in_folder(path)?;
        let VersionFiles { onnx, manifest, tokenizer, .. } = VersionFiles::read(path, u64::MAX - 1)?;
        if let Some(manifest) = manifest {
            let origin = format!("{} version {}", manifest.model, found.version);
            let takes = by_manifest(&manifest, tokenizer).ok_or_else(|| refuse("takes no pictures and no texts"))?;
            return Ok(ReadBackbone { onnx, takes, origin });
        }
        let settings = ModelSettings::read(&found.name, &found.model_files)?;
        let origin = format!("{} version {}", found.name, found.version);
        let takes = by_settings(Some(&settings), tokenizer, &onnx).map_err(|problem| refuse(&problem))?;
        return Ok(ReadBackbone { onnx, takes, origin });
    }
    let onnx = std::fs::read(path).map_err(Error::io("read", path))?;
    if External::of(&onnx)?.is_some() {
        return Err(refuse("keeps its data in other files; put it into a repository and name the model"));
    }
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let origin = format!("{name} (SHA-256 {})", sha256_hex(&onnx));
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let is_model = path.file_name().is_some_and(|name| name == MODEL_FILE);
    if is_model
        && let Ok(VersionFiles { manifest: Some(manifest), tokenizer, .. }) = VersionFiles::read(folder, u64::MAX - 1)
    {
        let takes = by_manifest(&manifest, tokenizer).unwrap_or(Takes::Pictures(None));
        return Ok(ReadBackbone { onnx, takes, origin });
    }
    let beside =
        [Some(folder), folder.parent()].into_iter().flatten().find(|folder| folder.join(SETTINGS_FILE).is_file());
    let settings = beside.map(|folder| ModelSettings::read(&"backbone".parse()?, &folder.into())).transpose()?;
    let takes = by_settings(settings.as_ref(), tokenizer_near(path)?, &onnx).map_err(|problem| refuse(&problem))?;
    Ok(ReadBackbone { onnx, takes, origin })
}

/// Returns what a manifest says of the input; `None` if it is none that a backbone may have.
fn by_manifest(manifest: &Manifest, tokenizer: Option<TokenizerFiles>) -> Option<Takes> {
    let image = manifest.transform.image.clone();
    let texts = || Some(Takes::Texts(Box::new(Said::by_manifest(&manifest.transform, tokenizer)?)));
    image.map(|image| Takes::Pictures(Some(image))).or_else(texts)
}

/// Returns what settings and the tokenizer beside a graph say of its input.
fn by_settings(
    settings: Option<&ModelSettings>,
    tokenizer: Option<TokenizerFiles>,
    onnx: &[u8],
) -> std::result::Result<Takes, String> {
    if let Some(said) = Said::by_settings(settings, tokenizer, onnx) {
        return Ok(Takes::Texts(Box::new(said)));
    }
    let image = settings.map(|settings| image_of(settings, onnx)).transpose()?;
    Ok(Takes::Pictures(image.flatten()))
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

/// Returns the last map of each scale that a cut graph computes.
///
/// # Errors
/// As [`Plan::load`] and a run, when the graph cannot give what is inside it.
fn maps(cut: &Cut, sample: &[usize]) -> Result<Vec<FeatureMap>> {
    let names = cut.inner();
    let look = || -> Result<Vec<Tensor>> {
        let shape = std::iter::once(1).chain(sample.iter().copied()).collect();
        let zeros = vec![0.0f32; sample.iter().product()];
        Plan::load(&cut.clone().giving(&names).onnx())?.session()?.run(&[Tensor::new(shape, zeros)?])
    };
    let outputs = if names.is_empty() { Vec::new() } else { look()? };
    let maps = names.iter().zip(&outputs).filter_map(|(name, map)| FeatureMap::of(name, map.shape()));
    Ok(last_of_each_scale(maps.collect()))
}

/// Runs a cut graph on two plain pictures, and returns the shape of their features; a graph that gives a sample something
/// else in company is refused.
fn shape(cut: &Cut, sample: &[usize]) -> std::result::Result<Vec<usize>, String> {
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
        2 | 4 => Ok(together.shape().to_vec()),
        rank => Err(format!(
            "gives {rank} dimensions at {}; features have 2, or 4 of maps: name another tensor by --at",
            cut.tensor
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layers::Architecture;

    #[test]
    fn a_merged_head_of_numbers_gives_what_the_head_gives_in_its_own_unit() {
        let folder = tempfile::TempDir::new().unwrap();
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/vision/colours.onnx");
        let backbone =
            Backbone::read(&BackboneChoice { path, cache: folder.path().into(), ..BackboneChoice::default() }).unwrap();
        let image = backbone.image().unwrap();
        let sample = [3, image.height() as usize, image.width() as usize];
        let size: usize = sample.iter().product();
        let pixels = (0..5 * size).map(|at: usize| (at * 7919 % 251 + at / size) as u8).collect();
        let values: Vec<f64> = (0..5).map(|at| 5.0 + f64::from(at)).collect();
        let data = Dataset::pictures(sample, pixels, vec![0; 5], 1).with_targets(Targets::Values(values), 1);
        let features = Features::of(backbone, [&data, &data.select(&[])], 0, &mut Vec::new()).unwrap();
        let layers = vec![LayerSpec::Dense { units: 1 }, LayerSpec::Destandardize { mean: 7.0, deviation: 2.0 }];
        let head = Network::new(&Architecture { input: vec![features.width()], layers }, 3).unwrap();

        let plan = Plan::load(&features.merged(&head).unwrap()).unwrap();
        let names: Vec<&str> = plan.signature().outputs.iter().map(|output| output.name.as_str()).collect();
        assert_eq!(names, ["standardized", "value"]);
        let shape = std::iter::once(5).chain(sample).collect();
        let input = Tensor::new(shape, data.inputs(0..5).unwrap()).unwrap();
        let outputs = plan.session().unwrap().run(&[input]).unwrap();
        let expected = head.logits(&features.train.inputs(0..5).unwrap()).unwrap();
        let found = [outputs[0].floats().unwrap(), outputs[1].floats().unwrap()];
        assert_eq!(features.train.values(), data.values());
        for (row, expected) in expected.iter().enumerate() {
            assert!((found[0][row] - expected).abs() < 1e-4, "{} {expected}", found[0][row]);
            assert!((found[1][row] - (7.0 + 2.0 * expected)).abs() < 1e-3, "{} {expected}", found[1][row]);
        }
    }
}
