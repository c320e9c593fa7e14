//! One version, loaded and runnable: transform, engine, transform.

pub(crate) mod execute;
pub(crate) mod generator;
pub(crate) mod reconstruction;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::{ArcSwap, ArcSwapOption};
use bytes::Bytes;
use serde::Serialize;
use utoipa::ToSchema;

use crate::config::{EngineChoice, SchedulingSettings};
use crate::ids::{ModelName, Version};
use crate::metrics::{ServableMetrics, Stage};
use crate::repository::triton::{Facing, TritonModel};
use crate::repository::{Files, Manifest, Truth};
use crate::serving::execution::cache::ResponseCache;
use crate::serving::execution::inline::Gather;
use crate::serving::execution::sessions::Runtime;
use crate::serving::execution::statistics::Statistics;
use crate::serving::execution::tuning::{Pinned, Tuning};
use crate::serving::scheduler::lane::Lane;
use crate::serving::servable::generator::Generator;
use crate::serving::servable::reconstruction::Reconstruction;
use crate::signature::{Batching, Column, Dim, ImageTransform, Signature, Transform};
use crate::tensor::{Data, Tensor};
use crate::transform::{Classification, ImageLimits, PolarityChoice, SequenceEncoder};

/// What a request brings.
#[derive(Debug, Clone)]
pub enum Input {
    /// Encoded images, one sample each.
    Images(Vec<Bytes>),
    /// The inputs of the model, in the signature's order.
    Tensors(Vec<Tensor>),
}

/// What an answer is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answering {
    /// The output that holds a distribution over classes.
    Probabilities(usize),
    /// The output that holds a number.
    Value(usize),
}

impl Answering {
    /// The output that holds a distribution over classes, if one does.
    pub(crate) fn probabilities(self) -> Option<usize> {
        if let Self::Probabilities(output) = self { Some(output) } else { None }
    }
}

/// What a request wishes.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// How many classes to name.
    pub top_k: usize,
    /// The polarity of the images.
    pub polarity: PolarityChoice,
}

impl Default for Options {
    fn default() -> Self {
        Self { top_k: 1, polarity: PolarityChoice::Auto }
    }
}

/// The answer for one sample.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[serde(untagged)]
pub enum Prediction {
    /// A model with a distribution over classes.
    Classified {
        #[serde(flatten)]
        classification: Classification,
        /// Of an image: whether black and white were exchanged to reach the model's polarity.
        #[serde(skip_serializing_if = "Option::is_none")]
        inverted: Option<bool>,
    },
    /// An autoencoder.
    Reconstructed {
        /// The image made again: a PNG file in base64.
        reconstruction: String,
        /// The mean of the image's code.
        latent: Vec<f32>,
        /// How unlikely the image is, in nats: the greater, the less like those the model was trained on.
        score: f64,
        /// The share of the reference data that scored lower, 0 to 1; at 1 the image is less likely than all
        /// of them.
        #[serde(skip_serializing_if = "Option::is_none")]
        quantile: Option<f64>,
        /// Of an image: whether black and white were exchanged to reach the model's polarity.
        #[serde(skip_serializing_if = "Option::is_none")]
        inverted: Option<bool>,
    },
    /// A model of numbers.
    Number {
        /// The number.
        value: f32,
    },
    /// A model without output transform.
    Raw {
        /// The elements of each output, row by row.
        #[schema(value_type = BTreeMap<String, Vec<f64>>)]
        outputs: BTreeMap<String, Data>,
    },
}

/// How well a version does on its probe set, asked as clients ask it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, ToSchema)]
pub struct LiveQuality {
    /// How many samples were scored.
    pub samples: u64,
    /// Mean loss.
    pub loss: f64,
    /// What that is the mean of.
    pub loss_of: LossKind,
    /// Share of right answers of a classifier, 0 to 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub accuracy: Option<f64>,
}

/// What a version's loss is the mean of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum LossKind {
    /// The cross-entropy of a classifier's answers, in nats.
    CrossEntropy,
    /// The scores that an autoencoder gives, in nats.
    Score,
    /// The squared errors of numbers, in the square of their unit.
    SquaredError,
}

/// A version in memory. Dropping it frees the engine's memory and removes its metric series.
#[derive(Debug)]
pub struct Servable {
    /// The model.
    pub name: ModelName,
    /// The version.
    pub version: Version,
    /// The manifest, if the version has one.
    pub manifest: Option<Manifest>,
    /// The transforms around the graph, of the manifest or else of `model.toml`.
    pub transform: Option<Transform>,
    pub(crate) sequences: Option<SequenceEncoder>,
    pub(crate) labels: Vec<String>,
    /// By output: the classes that a file of Triton's repository names.
    pub(crate) output_labels: BTreeMap<usize, Vec<String>>,
    /// What `config.pbtxt` says.
    pub(crate) triton: Option<Arc<TritonModel>>,
    /// How the tensors of clients become those of the graph, where they differ.
    pub(crate) facing: Option<Facing>,
    /// Its metric handles.
    pub metrics: ServableMetrics,
    /// What it did since it was loaded.
    pub statistics: Statistics,
    pub(crate) probe: Vec<(Input, Truth)>,
    pub(crate) live: ArcSwapOption<LiveQuality>,
    pub(crate) signature: Signature,
    pub(crate) runtime: ArcSwap<Runtime>,
    pub(crate) lane: Lane,
    pub(crate) gather: Gather,
    pub(crate) tuning: ArcSwap<Tuning>,
    pub(crate) settings: SchedulingSettings,
    pub(crate) cache: Option<ResponseCache>,
    pub(crate) onnx_sha256: String,
    pub(crate) files: Files,
    pub(crate) model_file: String,
    pub(crate) choice: EngineChoice,
    pub(crate) batching: Batching,
    /// The output that answers are made of, if the model classifies or gives numbers.
    pub(crate) answering: Option<Answering>,
    /// Of an autoencoder: what its answers are made of.
    pub(crate) reconstruction: Option<Reconstruction>,
    pub(crate) generator: Option<Generator>,
    pub(crate) image_limits: ImageLimits,
}

impl Servable {
    /// Inputs and outputs.
    pub fn signature(&self) -> &Signature {
        &self.signature
    }

    /// How samples go into one run.
    pub fn batching(&self) -> Batching {
        self.batching
    }

    /// How its requests are scheduled.
    pub fn scheduling(&self) -> &SchedulingSettings {
        &self.settings
    }

    /// The compute threads that may run it.
    pub fn compute_threads(&self) -> usize {
        self.lane.threads()
    }

    /// What was measured of it and chosen.
    pub fn tuning(&self) -> Arc<Tuning> {
        self.tuning.load_full()
    }

    /// What the settings leave to be measured.
    pub(crate) fn pinned(&self) -> Pinned {
        Pinned::of(&self.settings)
    }

    /// Puts a choice into force.
    pub(crate) fn apply(&self, tuning: Tuning) {
        self.metrics.set_tuning(tuning.single(), tuning.max_batch);
        self.lane.set_max_batch(tuning.max_batch);
        self.tuning.store(Arc::new(tuning));
    }

    /// The shape of one sample of each input: all of it when the model has no batch.
    pub fn sample_dims(&self) -> impl Iterator<Item = &[Dim]> {
        self.signature().inputs.iter().map(|input| match self.batching {
            Batching::Whole => input.shape.as_slice(),
            Batching::Any | Batching::Fixed(_) => input.sample_dims(),
        })
    }

    /// How many samples a request holds.
    pub fn samples(&self, input: &Input) -> usize {
        match input {
            Input::Images(images) => images.len(),
            Input::Tensors(_) if self.batching == Batching::Whole => 1,
            Input::Tensors(tensors) => tensors.first().map_or(0, Tensor::rows),
        }
    }

    /// How images become the input, if the model takes images.
    pub fn image_transform(&self) -> Option<&ImageTransform> {
        self.transform.as_ref()?.image.as_ref()
    }

    /// The columns of a table that make up the input; empty when the model takes no table.
    pub fn columns(&self) -> &[Column] {
        self.transform.as_ref().map_or(&[], |transform| &transform.columns)
    }

    /// What makes the input of sequences, if the model takes sequences.
    pub fn sequences(&self) -> Option<&SequenceEncoder> {
        self.sequences.as_ref()
    }

    /// The labels, by class; empty where classes have no names.
    pub fn labels(&self) -> &[String] {
        &self.labels
    }

    /// Takes note of the time that writing an answer took.
    pub fn encoded(&self, elapsed: Duration) {
        self.metrics.observe(Stage::Encode, elapsed);
        self.statistics.encoded(elapsed);
    }

    /// The labels of an output, by class: its own, or else those of the model, which may be of another
    /// output and then of another number.
    pub fn output_labels(&self, output: usize) -> &[String] {
        self.output_labels.get(&output).unwrap_or(&self.labels)
    }

    /// What makes images of codes, if the version can.
    pub fn generator(&self) -> Option<&Generator> {
        self.generator.as_ref()
    }

    /// What the last whole replay of the probe set gave.
    pub fn live_quality(&self) -> Option<LiveQuality> {
        self.live.load().as_deref().copied()
    }
}
