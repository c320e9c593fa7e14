//! The tasks that can be trained. A folder for each owns what is fitted and its loss, the evaluation, the task's part
//! of reports and events, and what it adds to a release. The matches here are all that knows the list of them.

pub(super) mod classification;
pub(super) mod reconstruction;
pub(super) mod regression;

use self::classification::{ClassificationReport, Classifier};
use self::reconstruction::{Autoencoder, ReconstructionReport};
use self::regression::{RegressionReport, Regressor};
use super::batches::Batch;
use super::dataset::Dataset;
use super::events::TestResults;
use super::learner::{Learner, Pass};
use super::network::Network;
use super::prepared::PreparedData;
use super::presets::Family;
use super::progress::{EpochReport, Score};
use super::request::TrainRequest;
use super::run_dir::RunDir;
use super::sequential::rarities;
use crate::engine::Plan;
use crate::error::Result;
use crate::ids::ModelName;
use crate::layers::Architecture;
use crate::report::{Document, Figure, Subject, heat_map};
use crate::repository::{Companion, DriftReference, Golden, Parity, Quality};
use crate::signature::{OutputTransform, Signature, Task};

/// A finished fit, for its release.
#[derive(Debug, Clone, Copy)]
pub(super) struct Finished<'a> {
    pub(super) request: &'a TrainRequest,
    /// The name to publish under.
    pub(super) model: &'a ModelName,
    pub(super) data: &'a PreparedData,
    pub(super) history: &'a [EpochReport],
}

impl Finished<'_> {
    /// Returns the subject of the report on the test data.
    fn subject(&self, plan: &Plan) -> Subject {
        let tested = format!("test {} of {}", self.data.test.kind.plural(), self.request.data_name());
        Subject::new(self.model.as_str(), None, plan.engine().name(), tested)
    }
}

/// The part of a release that a task adds.
#[derive(Debug)]
pub(super) struct TaskRelease {
    pub(super) onnx: Vec<u8>,
    pub(super) signature: Signature,
    pub(super) output: OutputTransform,
    pub(super) labels: Vec<String>,
    /// The network, or encoder and decoder.
    pub(super) networks: (Architecture, Option<Architecture>),
    pub(super) quality: Quality,
    pub(super) reference: DriftReference,
    pub(super) parity: Parity,
    pub(super) golden: Vec<Golden>,
    /// Further graphs: file name, entry in the manifest, bytes.
    pub(super) companions: Vec<(&'static str, Companion, Vec<u8>)>,
    pub(super) report: TaskReport,
}

/// The evaluation of what was trained, by task.
#[derive(Debug)]
pub enum TaskReport {
    /// Of a classifier.
    Classification(Box<ClassificationReport>),
    /// Of a model of numbers.
    Regression(Box<RegressionReport>),
    /// Of an autoencoder.
    Reconstruction(Box<ReconstructionReport>),
}

impl TaskReport {
    /// Returns the report as Markdown.
    pub(super) fn markdown(&self) -> String {
        match self {
            Self::Classification(report) => report.markdown(),
            Self::Regression(report) => report.markdown(),
            Self::Reconstruction(report) => report.markdown(),
        }
    }

    /// Writes the report and what belongs to it into the run directory.
    ///
    /// # Errors
    /// [`Error::Io`](crate::error::Error::Io).
    pub(super) fn write(&self, run: &RunDir) -> Result<()> {
        match self {
            Self::Classification(report) => {
                let (labels, matrix) = (&report.labels, &report.full.evaluation.confusion);
                run.write("confusion_matrix.svg", &Figure::new("", "").with("", heat_map(labels, matrix)).svg())?;
                run.write_confusion(labels, matrix)?;
                report.write(run.path())
            }
            Self::Regression(report) => report.write(run.path()),
            Self::Reconstruction(report) => report.write(run.path()),
        }
    }

    /// Returns what TensorBoard shows of the results on the test data.
    ///
    /// # Errors
    /// [`Error::Internal`](crate::error::Error::Internal) when a picture cannot be encoded.
    pub(super) fn events(&self, test: &Dataset) -> Result<TestResults> {
        match self {
            Self::Classification(report) => classification::events::results(report, test),
            Self::Regression(report) => Ok(regression::events::results(report)),
            Self::Reconstruction(report) => reconstruction::events::results(report),
        }
    }
}

/// The model that is fitted, by task.
#[derive(Debug, Clone)]
pub enum Model {
    /// A network that classifies.
    Classification(Box<Classifier>),
    /// A network that gives a number.
    Regression(Box<Regressor>),
    /// An encoder and a decoder.
    Reconstruction(Box<Autoencoder>),
}

impl Model {
    /// Makes what is fitted to these data, as it is before the first step.
    ///
    /// # Errors
    /// [`Error::Config`](crate::error::Error::Config) when the preset's layers do not fit them, and as [`Dataset::image`].
    pub(super) fn new(request: &TrainRequest, data: &PreparedData) -> Result<Self> {
        let (architecture, seed, members) = (&data.architecture, request.fit.seed, request.task.ensemble);
        let mut model = match (request.preset.family, data.task) {
            (Family::Autoencoder { decoder }, _) => {
                let decoder = decoder(data.train.height, data.train.width);
                Self::Reconstruction(Box::new(Autoencoder::new(architecture, &decoder, seed)?))
            }
            (Family::Network, Task::Regression) => {
                Self::Regression(Box::new(Regressor::ensemble(architecture, seed, members)?))
            }
            (Family::Network, Task::Classification | Task::Reconstruction | Task::Raw) => {
                Self::Classification(Box::new(Classifier::ensemble(architecture, seed, members)?))
            }
        };
        if let Some(tokens) = model.networks().first().and_then(|network| network.weighted_tokens()) {
            let rarities = rarities(&data.train, tokens)?;
            model.networks_mut().into_iter().for_each(|network| network.set_rarities(&rarities));
        }
        Ok(model)
    }
}

impl Model {
    /// Exports, checks and evaluates what was trained.
    ///
    /// # Errors
    /// [`Error::GateMissed`](crate::error::Error::GateMissed) when an exported graph is not what was trained.
    pub(super) fn release(&self, run: &Finished<'_>) -> Result<TaskRelease> {
        match self {
            Self::Classification(model) => model.release(run),
            Self::Regression(model) => model.release(run),
            Self::Reconstruction(model) => model.release(run),
        }
    }
}

impl Learner for Model {
    fn networks(&self) -> Vec<&Network> {
        match self {
            Self::Classification(model) => model.networks(),
            Self::Regression(model) => model.networks(),
            Self::Reconstruction(model) => model.networks(),
        }
    }

    fn networks_mut(&mut self) -> Vec<&mut Network> {
        match self {
            Self::Classification(model) => model.networks_mut(),
            Self::Regression(model) => model.networks_mut(),
            Self::Reconstruction(model) => model.networks_mut(),
        }
    }

    fn noise(&self) -> Option<usize> {
        match self {
            Self::Classification(model) => model.noise(),
            Self::Regression(model) => model.noise(),
            Self::Reconstruction(model) => model.noise(),
        }
    }

    fn pass(&mut self, batch: Batch) -> Result<Pass> {
        match self {
            Self::Classification(model) => model.pass(batch),
            Self::Regression(model) => model.pass(batch),
            Self::Reconstruction(model) => model.pass(batch),
        }
    }

    fn validate(&self, data: &Dataset) -> Result<Score> {
        match self {
            Self::Classification(model) => model.validate(data),
            Self::Regression(model) => model.validate(data),
            Self::Reconstruction(model) => model.validate(data),
        }
    }
}
