//! Prepared data: read, split and brought into the form that the network takes.

use std::sync::Arc;

use super::custom_network::around;
use super::dataset::{DataSource, Dataset, SampleKind, Targets, fitted, recoded, refitted, seen_vocabulary};
use super::head::{Backbone, Features};
use super::presets::{Family, Learns, Sizes};
use super::request::TrainRequest;
use super::sequential::{front, on_sequence};
use super::tabular::{Moments, encodings, on_table, with_linear_path};
use crate::error::{Error, Result};
use crate::layers::{Architecture, LayerSpec};
use crate::repository::ReadSettings;
use crate::signature::{Column, OutputTransform, SequenceTransform, Task, Transform};

/// Nobody having said how many samples are held out, it is at most this part of the training data.
const DEFAULT_PART: usize = 10;

/// Data that were read, split and brought into the form that the network takes, and the network for them.
#[derive(Debug)]
pub struct PreparedData {
    /// To learn from; numbers to be learned are in their own unit.
    pub train: Dataset,
    /// To choose by.
    pub validation: Dataset,
    /// To be judged by, once.
    pub test: Dataset,
    /// The columns of a table, with the categories of the training part.
    pub columns: Vec<Column>,
    /// The elements of sequences, with the tokens of the training part.
    pub sequence: Option<SequenceTransform>,
    /// The task.
    pub task: Task,
    /// Where the data come from; the samples are not there any more.
    pub source: DataSource,
    /// The network.
    pub architecture: Architecture,
    /// The features that a head learns from instead of the pictures or texts.
    pub(super) features: Option<Features>,
    /// The solution in words, if the head was solved at once.
    pub(super) solved: Option<String>,
    /// Mean and standard deviation of the numbers to be learned.
    scale: Option<[f64; 2]>,
}

impl PreparedData {
    /// Returns the transform around a graph that was trained on them.
    pub(super) fn transform(&self, output: OutputTransform) -> Transform {
        let (columns, sequence) = (self.columns.clone(), self.sequence.clone());
        let text = self.features.as_ref().and_then(Features::texts).map(|texts| texts.transform.clone());
        Transform { image: self.source.image.clone(), columns, sequence, text, output }
    }

    /// Returns true if the head was solved at once, so that no epochs are trained.
    pub fn is_solved(&self) -> bool {
        self.solved.is_some()
    }

    /// Reads the data of a request and makes the network for them.
    ///
    /// # Errors
    /// [`Error::Data`] for data that cannot be used, and
    /// [`Error::Config`] for settings that do not fit them.
    pub(super) fn prepare(request: &TrainRequest) -> Result<Self> {
        let options = &request.task;
        let backbone = options.backbone.as_ref().map(Backbone::read).transpose()?;
        let mut source = read(request, backbone.as_ref())?;
        let (train, validation, mut test) = source.take_parts();
        let (mut train, mut validation) = split(request, train, validation)?;
        let outputs = train.classes;
        let Dataset { channels, height, width, .. } = train;
        let sizes = Sizes { channels, height, width, outputs, samples: train.len() };
        let mut architecture = match options.layers.as_slice() {
            [] => (request.preset.architecture)(&sizes),
            body => around(body, [channels, height, width], outputs)?,
        };
        let (mut columns, mut sequence) = (Vec::new(), None);
        if let Some(of_data) = &source.sequence {
            let transform = fitted(&train, of_data, options.data.reading.vocabulary)?;
            for part in [&mut train, &mut validation, &mut test] {
                *part = refitted(part, of_data, &transform)?;
            }
            let front = front(&train, &transform)?;
            architecture = on_sequence(request.network(), architecture, transform.shape(), front)?;
            sequence = Some(transform);
        }
        if train.kind == SampleKind::Rows {
            columns = seen_vocabulary(&train, &source.columns)?;
            for part in [&mut train, &mut validation, &mut test] {
                *part = recoded(part, &source.columns, &columns)?;
            }
            architecture = on_table(request.network(), architecture, encodings(&train, &columns)?)?;
            if options.layers.is_empty() {
                architecture = with_linear_path(architecture);
            }
        }
        // The network first: who gave one that takes no such data is told that, not what else does not fit.
        let task = task(request, &train);
        refuse_misfits(request, &train, task)?;
        let mut scale = None;
        if let Targets::Values(values) = train.targets() {
            let mut moments = Moments::default();
            values.iter().for_each(|value| moments.add(*value));
            let [mean, deviation] = [moments.mean(), moments.wide_deviation()];
            architecture.layers.push(LayerSpec::Destandardize { mean, deviation });
            scale = Some([mean, deviation]);
        }
        train.class_weights = options.class_weights.of(train.labels(), outputs)?;
        if !train.class_weights.is_empty() {
            let weights = source.labels.iter().zip(&train.class_weights).take(12);
            let weights: Vec<String> = weights.map(|(label, weight)| format!("{label} {weight:.3}")).collect();
            source.notes.push(format!("class weights: {}", weights.join(", ")));
        }
        options.backbone.iter().try_for_each(|choice| choice.fits(train.len()))?;
        let (features, solved) = (None, None);
        let prepared =
            Self { train, validation, test, columns, sequence, task, source, architecture, features, solved, scale };
        match backbone {
            Some(backbone) => prepared.with_head(backbone, request.fit.seed),
            None => Ok(prepared),
        }
    }

    /// Computes the features of the pictures or texts, and makes the network one that takes them.
    fn with_head(mut self, backbone: Backbone, seed: u64) -> Result<Self> {
        if !self.train.is_images() && backbone.texts().is_none() {
            let problem = "a head on this network learns from pictures, which the data are not".into();
            return Err(Error::Config { setting: "backbone".into(), problem });
        }
        let (train, validation) = self.fitted();
        let features = Features::of(backbone, [&train, &validation], seed, &mut self.source.notes)?;
        let mut layers = vec![LayerSpec::Dense { units: self.train.classes }];
        layers.extend(self.scale.map(|[mean, deviation]| LayerSpec::Destandardize { mean, deviation }));
        self.architecture = Architecture { input: vec![features.width()], layers };
        self.features = Some(features);
        Ok(self)
    }

    /// Training and validation data as they are fitted: numbers to be learned have mean 0 and deviation 1.
    pub(super) fn fitted(&self) -> (Dataset, Dataset) {
        let fitted = |data: &Dataset| match self.scale {
            Some([mean, deviation]) => {
                let values = data.values().iter().map(|value| (value - mean) / deviation).collect();
                data.with_targets(Targets::Values(values), 1)
            }
            None => data.clone(),
        };
        match &self.features {
            Some(features) => (features.train.clone(), features.validation.clone()),
            None => (fitted(&self.train), fitted(&self.validation)),
        }
    }
}

/// Reads the data, pictures and texts as a network that is there already takes them.
fn read(request: &TrainRequest, backbone: Option<&Backbone>) -> Result<DataSource> {
    let mut options = request.reading();
    options.image = backbone.and_then(Backbone::image).map(|image| Arc::new(image.clone()));
    let texts = backbone.and_then(Backbone::texts);
    options.takes_texts = texts.is_some();
    let ReadSettings { tokens, steps, vocabulary, .. } = &options.reading;
    if texts.is_some() && (tokens.is_some() || steps.is_some() || vocabulary.is_some()) {
        let problem = "are the tokenizer's of the backbone; leave them out".into();
        return Err(Error::Config { setting: "tokens, steps and vocabulary".into(), problem });
    }
    let mut source = DataSource::read(&request.data, &options)?;
    texts.map(|texts| source.tokenized(texts.encoder.clone())).transpose()?;
    source.notes.splice(0..0, backbone.into_iter().flat_map(|backbone| backbone.notes.clone()));
    Ok(source)
}

/// Returns the samples to learn from and those to choose by.
fn split(request: &TrainRequest, train: Dataset, validation: Option<Dataset>) -> Result<(Dataset, Dataset)> {
    let (mut train, validation) = match validation {
        Some(validation) => (train, validation),
        None => {
            let most = train.len() / DEFAULT_PART;
            let is_capped = request.task.caps_validation;
            let count = if is_capped { request.validation.min(most) } else { request.validation };
            train.split_off(count, request.fit.seed)?
        }
    };
    if request.train_samples > train.len() {
        let problem = format!("there are {} to train on, got {}", train.len(), request.train_samples);
        return Err(Error::Config { setting: "train-samples".into(), problem });
    }
    if request.train_samples > 0 {
        train = train.select(&train.sample(request.train_samples, request.fit.seed));
    }
    Ok((train, validation))
}

/// Returns the task: that of an autoencoder, or else what the data say.
fn task(request: &TrainRequest, train: &Dataset) -> Task {
    match (request.preset.family, train.targets()) {
        (Family::Autoencoder { .. }, _) => Task::Reconstruction,
        (Family::Network, Targets::Classes(_)) => Task::Classification,
        (Family::Network, Targets::Values(_)) => Task::Regression,
    }
}

/// Refuses settings that data of this kind have no use for.
fn refuse_misfits(request: &TrainRequest, train: &Dataset, task: Task) -> Result<()> {
    let refuse = |setting: &str, problem: &str| Err(Error::Config { setting: setting.into(), problem: problem.into() });
    let regime = &request.fit.regime;
    if !train.is_images() && !regime.augment.is_none() {
        return refuse("augment", "moves images, which the data are not, so give --augment none");
    }
    if request.task.backbone.is_some() && !(regime.augment.is_none() && regime.cutmix == 0.0) {
        return refuse("augment and cutmix", "change pictures, whose features are computed once; leave them out");
    }
    if !train.is_images() && regime.cutmix > 0.0 {
        return refuse("cutmix", "exchanges rectangles of images, which the data are not");
    }
    if train.kind == SampleKind::Sequences && regime.mixup > 0.0 {
        return refuse("mixup", "mixes samples number by number, which sequences are not made for");
    }
    if request.preset.learns == Learns::Texts && train.kind != SampleKind::Sequences {
        return refuse(
            "PRESET",
            "text learns from texts, which the data are not; weir train dense takes tables and pictures",
        );
    }
    let is_autoencoder = task == Task::Reconstruction;
    let mixes = regime.mixup > 0.0 || regime.cutmix > 0.0;
    // A preset that smooths the labels of classes learns numbers without.
    let smooths = regime.label_smoothing > 0.0 && regime.label_smoothing != request.preset.regime.label_smoothing;
    if task != Task::Classification && (mixes || smooths) {
        return refuse("mixup, cutmix and label-smoothing", "are for classes, and no classes are to be learned");
    }
    if is_autoencoder && !request.task.layers.is_empty() {
        return refuse("layers", "are those of one network, and an autoencoder is two; choose another preset");
    }
    if is_autoencoder && (!train.is_images() || !train.values().is_empty()) {
        return refuse("preset", "an autoencoder learns images, which the data are not");
    }
    if is_autoencoder && train.channels > 1 {
        return refuse("colour", "an autoencoder learns grey images; give --colour grey");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trainer::presets::preset;

    /// Rows whose categories are met in another order than that of the alphabet, so that a model numbers them anew.
    fn rows(count: usize) -> String {
        let kinds = ["red", "green", "blue"];
        let row = |index: usize| format!("{}.5,{},{}\n", index * 7 % 50, kinds[index % 3], ["a", "b"][index % 2]);
        (0..count).fold("size,kind,label\n".into(), |csv, index| csv + &row(index))
    }

    #[test]
    fn all_parts_together_take_no_more_memory_than_there_is() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("rows.csv");
        std::fs::write(&path, rows(1000)).unwrap();
        let prepared = |memory| {
            let mut request = TrainRequest::of_preset(preset("dense").unwrap());
            (request.data, request.task.data.memory) = (path.clone(), memory);
            PreparedData::prepare(&request).unwrap()
        };
        // A row has two elements of four bytes, and what lies beside it.
        let enough = 1000 * (8 + 16);
        for (memory, is_spilled) in [(enough, false), (enough - 1, true)] {
            let data = prepared(memory);
            let parts = [&data.train, &data.validation, &data.test];
            assert_eq!(parts.map(Dataset::len).iter().sum::<usize>(), 1000);
            assert!(data.source.train.is_empty() && data.source.test.is_empty());
            let (most, store) = data.train.most_taken();
            assert!(most <= memory && most > memory / 2, "{most} of {memory}");
            assert!(parts.iter().all(|part| part.is_spilled() == is_spilled && part.most_taken().1 == store));
        }
        let [all, spilled] = [enough, 100].map(prepared);
        let elements = |data: &PreparedData| data.test.inputs(0..data.test.len()).unwrap();
        assert_eq!(elements(&all), elements(&spilled));
        // Blue comes before red, though it was met after it.
        let kinds: Vec<f32> = elements(&all).chunks(2).map(|row| row[1]).collect();
        let origin = |index| (data_row(&all, index) + 2) % 3;
        let expected: Vec<f32> = (0..kinds.len()).map(|index| [2.0, 1.0, 0.0][origin(index)]).collect();
        assert_eq!(kinds, expected);
    }

    fn data_row(data: &PreparedData, index: usize) -> usize {
        data.test.origin(index).1.unwrap() as usize
    }

    #[test]
    fn what_the_data_have_no_use_for_is_refused() {
        let classes = Dataset::images(1, 1, vec![0, 1], vec![0, 1], 2);
        let numbers = classes.with_targets(Targets::Values(vec![0.5, 1.5]), 1);
        let refused = |name: &str, data: &Dataset, change: fn(&mut TrainRequest)| {
            let mut request = TrainRequest::of_preset(preset(name).unwrap());
            change(&mut request);
            refuse_misfits(&request, data, task(&request, data))
                .err()
                .map(|error| error.to_string())
                .unwrap_or_default()
        };
        assert_eq!(refused("mnist-mlp", &classes, |request| request.fit.regime.mixup = 0.2), "");
        assert_eq!(refused("dense", &numbers, |_| {}), "");
        assert!(refused("dense", &numbers, |request| request.fit.regime.mixup = 0.2).contains("no classes"));
        assert_eq!(refused("cnn", &numbers, |_| {}), "");
        assert!(refused("cnn", &numbers, |request| request.fit.regime.label_smoothing = 0.1).contains("no classes"));
        let smoothed = refused("mnist-vae", &classes, |request| request.fit.regime.label_smoothing = 0.1);
        assert!(smoothed.contains("no classes"), "{smoothed}");
        assert!(refused("mnist-vae", &numbers, |_| {}).contains("autoencoder"));
    }
}
