//! A version as clients see it: one or more runners, and the transforms around them.

mod answer;
mod class_maps;
mod decode;
mod doubt;
mod drawing;
mod fit;
mod generator;
mod identity;
mod input;
mod named;
mod prediction;
mod quality;
mod reconstruction;
mod text;
mod transforms;
mod vision;
mod vision_prediction;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

pub(crate) use class_maps::{ClassMap, ClassMaps, Mapper};
pub(crate) use decode::Facts;
pub use doubt::{Anomaly, Doubts};
pub use generator::Generator;
pub use identity::{Identity, Places};
pub use input::{Input, Options, Part, VisionOptions};
pub use named::NamedInputs;
pub use prediction::Prediction;
pub use quality::{LiveQuality, LossKind};
pub use vision_prediction::{ClassArea, Detected, Painted, Segmented};

pub(crate) use fit::unusable;
pub(crate) use quality::ProbeSet;
pub(crate) use text::TextAnswer;
pub(crate) use transforms::{Answering, Known, Labels, ScoredOutput, Texts, Transforms};

use self::vision::VisionAnswer;
use crate::config::SchedulingSettings;
use crate::engine::{OptionalInput, ShapePlanCounts};
use crate::error::{Error, Result};
use crate::ids::{ModelName, Version};
use crate::metrics::ServableMetrics;
use crate::repository::triton::{ModelConfig, Served, TritonModel};
use crate::repository::{Manifest, Signed};
use crate::serving::execution::{Runner, Statistics, Tuning};
use crate::signature::{Batching, Column, Dim, ImageTransform, Signature, Transform};
use crate::transform::text::TextEncoder;
use crate::transform::{ImageLimits, SequenceEncoder, Squash};

/// A version in memory. Dropping it frees the engine's memory and removes its metric series.
#[derive(Debug)]
pub struct Servable {
    /// The model.
    pub name: ModelName,
    /// The version.
    pub version: Version,
    /// The manifest, if the version has one.
    pub manifest: Option<Manifest>,
    /// The signer; `None` where signatures are not looked at.
    pub signed: Option<Signed>,
    /// The version as records of its predictions name it, which outlive it.
    pub identity: Arc<Identity>,
    pub(crate) model: Runner,
    pub(crate) transforms: Transforms,
    pub(crate) generator: Option<Generator>,
    pub(crate) class_maps: Arc<ClassMaps>,
    pub(crate) probe: ProbeSet,
    /// The model's `config.pbtxt`, if it has one.
    pub(crate) triton: Option<Arc<TritonModel>>,
}

impl Servable {
    /// Returns the runner of a part.
    ///
    /// # Errors
    /// [`Error::InvalidInput`] when the version has no such part.
    pub fn runner(&self, part: Part) -> Result<&Runner> {
        match part {
            Part::Model => Ok(&self.model),
            Part::Decoder => self.generator.as_ref().map(Generator::decoder).ok_or_else(|| {
                Error::InvalidInput(format!(
                    "model \"{}\" makes no images; only a variational autoencoder does",
                    self.name
                ))
            }),
            Part::ClassMaps => self.class_maps.loaded().map(|mapper| &mapper.runner).ok_or_else(|| {
                Error::InvalidInput(format!("the class-activation maps of model \"{}\" are not loaded", self.name))
            }),
        }
    }

    /// Returns true while runs are under way, which may outlive their requests.
    pub(crate) fn is_running(&self) -> bool {
        let decoder = self.generator.as_ref().map(Generator::decoder);
        let class_maps = self.class_maps.loaded().map(|mapper| &mapper.runner);
        std::iter::once(&self.model).chain(decoder).chain(class_maps).any(Runner::is_running)
    }

    /// Returns the inputs and outputs of the model.
    pub fn signature(&self) -> &Signature {
        self.model.signature()
    }

    /// Returns the way in which samples go into one run of the model.
    pub fn batching(&self) -> Batching {
        self.model.batching()
    }

    /// Returns the settings by which requests to the model are scheduled.
    pub fn scheduling(&self) -> &SchedulingSettings {
        self.model.scheduling()
    }

    /// Returns the number of compute threads that may run the model.
    pub fn compute_threads(&self) -> usize {
        self.model.compute_threads()
    }

    /// Returns the metric handles of the model.
    pub fn metrics(&self) -> &ServableMetrics {
        self.model.metrics()
    }

    /// Returns the figures of the model since it was loaded.
    pub fn statistics(&self) -> &Statistics {
        self.model.statistics()
    }

    /// Returns what was measured of the model and chosen.
    pub fn tuning(&self) -> Arc<Tuning> {
        self.model.tuning()
    }

    /// Records the time that writing an answer of the model took.
    pub fn encoded(&self, elapsed: Duration) {
        self.model.encoded(elapsed);
    }

    /// Returns the shape of one sample of each input: the whole shape when the model has no batch.
    pub fn sample_dims(&self) -> impl Iterator<Item = &[Dim]> {
        self.model.sample_dims()
    }

    /// Returns the size of the first dimension of a request to the model, if all its tensors have it.
    pub fn rows(&self, input: &Input) -> usize {
        input.rows(&self.model)
    }

    /// Returns the most samples that a request may bring if the server allows `limit`: any number if the first dimension
    /// is no batch, as the whole request is one sample then.
    pub fn sample_limit(&self, limit: usize) -> usize {
        if self.model.shares_runs() || self.batching() != Batching::Any { limit } else { usize::MAX }
    }

    /// Returns the inputs of the graph that a request may leave out.
    pub fn optional_inputs(&self) -> &[OptionalInput] {
        self.model.optional_inputs()
    }

    /// Returns the plans for the sizes of requests, if the model has such plans.
    pub fn shape_plans(&self) -> Option<ShapePlanCounts> {
        self.model.shape_plans()
    }

    /// Returns the inputs that a request to the model may name.
    pub fn named_inputs(&self) -> NamedInputs<'_> {
        let signature = self.signature();
        let required = self.transforms.required_inputs(signature.inputs.len());
        NamedInputs::new(signature, required, self.optional_inputs()).with_columns(self.columns())
    }

    /// Returns the declared transforms around the graph, of the manifest or else of `model.toml`.
    pub fn transform(&self) -> Option<&Transform> {
        self.transforms.declared.as_ref()
    }

    /// Returns the transform of images, if the model takes images.
    pub fn image_transform(&self) -> Option<&ImageTransform> {
        self.transform()?.image.as_ref()
    }

    /// Returns the limits above which it refuses an image.
    pub(crate) fn image_limits(&self) -> ImageLimits {
        self.transforms.image_limits
    }

    /// Returns the lines of `model.toml` that a version lacks which seems to take pictures, as they are guessed.
    pub fn missing_settings(&self) -> &[String] {
        &self.transforms.missing
    }

    /// Returns the columns of a table that make up the input; none when the model takes no table.
    pub fn columns(&self) -> &[Column] {
        self.transform().map_or(&[], |transform| &transform.columns)
    }

    /// Returns the encoder of sequences, if the model takes sequences.
    pub fn sequences(&self) -> Option<&SequenceEncoder> {
        self.transforms.sequences.as_ref()
    }

    /// Returns the encoder of texts, if the model takes texts by a tokenizer.
    pub fn texts(&self) -> Option<&TextEncoder> {
        self.transforms.texts.as_ref().map(|texts| &texts.encoder)
    }

    /// Returns true if texts are sent to this model: it reads them, or would if it had a tokenizer.
    pub fn expects_texts(&self) -> bool {
        self.transforms.texts.is_some() || self.transforms.no_texts.is_some()
    }

    /// Returns the name of the input that numbers of tokens go into, of a model that takes texts or would with a tokenizer.
    pub fn token_input(&self) -> Option<&str> {
        let text = self.transform().and_then(|transform| transform.text.as_ref());
        text.map_or(Some("input_ids"), |text| Some(text.input_ids.as_str())).filter(|_| self.expects_texts())
    }

    /// Returns the name under which protocols of tensors tell the one answer to a text; `None` if they tell the graph's
    /// outputs.
    pub fn told_as(&self) -> Option<&'static str> {
        match self.transforms.answering() {
            Answering::Text(answer) => Some(answer.name()),
            _ => None,
        }
    }

    /// Returns how texts are read, and what was measured of that, in words; `None` of a model without a tokenizer.
    pub fn text_reading(&self) -> Option<&str> {
        let read = self.transforms.texts.as_ref().map(|texts| texts.said.as_str());
        read.or(self.transforms.passed_over.as_deref())
    }

    /// Returns the output that holds the scores of classes or labels, if the model answers with such.
    pub fn scored_output(&self) -> Option<(usize, Squash)> {
        match self.transforms.answering() {
            Answering::Classes(ScoredOutput { output, squash })
            | Answering::Labels(ScoredOutput { output, squash }, _) => Some((*output, *squash)),
            Answering::Value(_)
            | Answering::Reconstruction(_)
            | Answering::Vision(_)
            | Answering::Text(_)
            | Answering::Outputs => None,
        }
    }

    /// Returns the name of the output of the graph whose scores have class-activation maps.
    ///
    /// # Errors
    /// [`Error::InvalidInput`] for answers that are neither classes nor numbers.
    pub(crate) fn mapped_output(&self) -> Result<String> {
        let output = match self.transforms.answering() {
            Answering::Value(output) => Some(*output),
            _ => self.scored_output().map(|(output, _)| output),
        };
        let output = output.ok_or_else(|| {
            Error::InvalidInput("class-activation maps are of classes and numbers; take another method".into())
        })?;
        let (runtime, output) = (self.model.runtime(), self.model.graph_output(output));
        let scores = runtime.plan().signature().outputs.get(output).map(|spec| spec.name.clone());
        Ok(scores.unwrap_or_default())
    }

    /// Returns how the outputs of a vision or text model are read, and what of that was guessed, in words; `None` of a
    /// model that answers otherwise.
    pub fn answer_text(&self) -> Option<&str> {
        match self.transforms.answering() {
            Answering::Text(answer) => Some(answer.said()),
            _ => self.vision().map(VisionAnswer::said),
        }
    }

    /// Returns the reading of outputs of a vision model that does more than to classify.
    fn vision(&self) -> Option<&VisionAnswer> {
        match self.transforms.answering() {
            Answering::Vision(answer) => Some(answer),
            Answering::Classes(_)
            | Answering::Labels(..)
            | Answering::Value(_)
            | Answering::Reconstruction(_)
            | Answering::Text(_)
            | Answering::Outputs => None,
        }
    }

    /// Returns the labels by class; none where classes have no names.
    pub fn labels(&self) -> &[String] {
        &self.transforms.labels.classes
    }

    /// Returns the labels of an output of so many classes: its own, of which there may be too few or too many, or else
    /// those of the model, if they are as many.
    pub fn output_labels(&self, output: usize, classes: usize) -> &[String] {
        match self.transforms.labels.outputs.get(&output) {
            Some(own) => own,
            None if self.labels().len() == classes => self.labels(),
            None => &[],
        }
    }

    /// Returns the outputs that have labels of their own, by name.
    pub fn labelled_outputs(&self) -> BTreeMap<String, Vec<String>> {
        let outputs = &self.signature().outputs;
        let labels = self.transforms.labels.outputs.iter();
        labels.filter_map(|(output, labels)| Some((outputs.get(*output)?.name.clone(), labels.clone()))).collect()
    }

    /// Returns the generator of images, if the version has one.
    pub fn generator(&self) -> Option<&Generator> {
        self.generator.as_ref()
    }

    /// Returns the figures of the last whole replay of the probe set.
    pub fn live_quality(&self) -> Option<LiveQuality> {
        self.probe.live()
    }

    /// Returns the version in Triton's words: what its `config.pbtxt` says, completed by what it is. A
    /// request may bring `max_samples`.
    pub fn model_config(&self, max_samples: usize) -> ModelConfig {
        let settings = self.scheduling();
        let served = Served {
            name: &self.name,
            signature: self.signature(),
            shares_runs: self.model.shares_runs(),
            max_samples,
            settings,
            joins: settings.across_requests && self.tuning().max_batch > 1,
            concurrency: settings.concurrency.unwrap_or_else(|| self.compute_threads()),
            model_file: &self.model.source().file,
        };
        ModelConfig::completed(self.triton.as_ref().map(|triton| &triton.config), served)
    }
}
