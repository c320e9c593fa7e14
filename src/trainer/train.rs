//! One training run from data to published version.

use std::path::{Path, PathBuf};

use super::autoencoder::{self, AutoencoderReport};
use super::checkpoint::Checkpoint;
use super::dataset::Dataset;
use super::events::{Events, HyperParameter};
use super::fit::{EpochReport, FitSettings, FitState, Snapshot, StepReport, Watch, fit};
use super::learner::{Learner, Model};
use super::lesson::{Lesson, TaskOptions};
use super::network::{Network, Parameter};
use super::own;
use super::presets::{Preset, preset};
use super::recipe;
use super::release::{self, Release};
use super::report::{RegressionReport, Report, curves};
use super::run_dir::{ARGUMENTS_FILE, RunDir};
use crate::error::{Error, Result};
use crate::ids::{ModelName, Version};
use crate::report::{Document, Figure, heat_map};
use crate::repository::publish;

/// What a run is told.
#[derive(Debug, Clone)]
pub struct TrainRequest {
    /// The recipe.
    pub preset: &'static Preset,
    /// A folder or file of labelled samples.
    pub data: PathBuf,
    /// Samples held out of the training data.
    pub validation: usize,
    /// Samples that are left of the rest to train on, every class in proportion; 0 leaves all.
    pub train_samples: usize,
    /// Epochs, batch, seed, optimiser.
    pub fit: FitSettings,
    /// What is said about the data, and the name of the model.
    pub task: TaskOptions,
    /// Where to publish; `None` publishes nothing.
    pub models: Option<PathBuf>,
    /// Whether to write event files for TensorBoard.
    pub tensorboard: bool,
}

/// What a run begins with.
#[derive(Debug)]
pub(super) struct Prepared {
    /// The data.
    pub(super) lesson: Lesson,
    /// What is trained on, as it is fitted.
    pub(super) train: Dataset,
    /// What was held out, as it is fitted.
    pub(super) validation: Dataset,
    /// What has not learnt anything yet.
    pub(super) model: Model,
}

/// What a run made.
#[derive(Debug)]
pub struct TrainOutcome {
    /// Its directory.
    pub run: PathBuf,
    /// The version and where it is, if it was published.
    pub published: Option<(Version, PathBuf)>,
    /// The evaluation on the test data.
    pub report: TrainedReport,
    /// Why it ended before its last epoch, in words, if it did.
    pub ended: Option<String>,
}

/// The evaluation of what was trained.
#[derive(Debug)]
pub enum TrainedReport {
    /// Of a classifier.
    Classifier(Box<Report>),
    /// Of a variational autoencoder.
    Autoencoder(Box<AutoencoderReport>),
    /// Of a model of numbers.
    Regressor(Box<RegressionReport>),
}

impl TrainedReport {
    /// As Markdown.
    pub(super) fn markdown(&self) -> String {
        match self {
            Self::Classifier(report) => report.markdown(),
            Self::Autoencoder(report) => report.markdown(),
            Self::Regressor(report) => report.markdown(),
        }
    }

    /// Writes the report and what belongs to it into the run directory.
    fn write(&self, run: &RunDir) -> Result<()> {
        match self {
            Self::Classifier(report) => {
                let (labels, matrix) = (&report.labels, &report.full.evaluation.confusion);
                run.write("confusion_matrix.svg", &Figure::new("", "").with("", heat_map(labels, matrix)).svg())?;
                run.write_confusion(labels, matrix)?;
                report.write(run.path())
            }
            Self::Autoencoder(report) => report.write(run.path()),
            Self::Regressor(report) => report.write(run.path()),
        }
    }
}

impl TrainRequest {
    /// What the network is called in messages.
    pub fn network(&self) -> &str {
        if self.task.layers.is_empty() { self.preset.name } else { "the network of these layers" }
    }

    /// What the network is, in a sentence without its end.
    pub fn description(&self) -> String {
        match self.task.layers.as_slice() {
            [] => self.preset.description.into(),
            body => own::description(body),
        }
    }

    /// The name to publish under.
    ///
    /// # Errors
    /// [`Error::Config`] when layers of one's own are to be published without a name.
    pub fn model(&self) -> Result<ModelName> {
        match &self.task.model {
            Some(model) => Ok(model.clone()),
            None if self.task.layers.is_empty() || self.models.is_none() => Ok(self.preset.name.parse()?),
            None => {
                let problem = "a network of layers of one's own needs a name, as --model NAME".into();
                Err(Error::Config { setting: "model".into(), problem })
            }
        }
    }

    /// The name of the data set: that of its folder or file.
    pub(super) fn data_name(&self) -> String {
        self.data.file_name().map_or_else(|| "data".into(), |name| name.to_string_lossy().into_owned())
    }

    /// The request that an interrupted run was given.
    ///
    /// # Errors
    /// [`Error::Config`] when the directory or its arguments cannot be used.
    pub fn of_run(run: &RunDir) -> Result<Self> {
        let path = run.path().join(ARGUMENTS_FILE);
        let table = recipe::read_settings(&path)?;
        let name = table.get("preset").and_then(toml::Value::as_str).unwrap_or_default().to_owned();
        recipe::resolve(preset(&name)?, Some((&path, table)), &[])
    }

    /// Refuses settings that cannot train anything.
    ///
    /// # Errors
    /// [`Error::Config`] naming the setting.
    pub fn validate(&self) -> Result<()> {
        let refuse = |setting: &str, problem: String| Err(Error::Config { setting: setting.into(), problem });
        if self.fit.epochs == 0 || self.fit.batch_size == 0 {
            return refuse("epochs and batch-size", "must be at least 1".into());
        }
        if let Some((setting, problem)) = self.fit.optimizer.problem() {
            return refuse(setting, problem);
        }
        if let Some(problem) = self.fit.regime.problem() {
            return refuse("regime", problem);
        }
        if self.fit.regime.patience > 0 && self.validation == 0 {
            return refuse("patience", "needs validation samples to judge epochs by; --validation is 0".into());
        }
        self.model()?;
        Ok(())
    }

    /// Reads the data, splits them and makes the network: all that can be wrong before the first step.
    ///
    /// # Errors
    /// [`Error::Data`] and [`Error::Config`].
    pub(super) fn prepare(&self) -> Result<Prepared> {
        self.validate()?;
        let lesson = Lesson::prepare(self)?;
        let (train, validation) = lesson.fitted();
        let model = lesson.learner(self)?;
        Ok(Prepared { lesson, train, validation, model })
    }

    /// What TensorBoard compares runs by.
    fn hyper_parameters(&self) -> Vec<(&'static str, HyperParameter)> {
        use HyperParameter::{Number, Text};
        vec![
            ("preset", Text(self.preset.name.into())),
            ("data", Text(self.data_name())),
            ("epochs", Number(self.fit.epochs as f64)),
            ("batch size", Number(self.fit.batch_size as f64)),
            ("optimizer", Text(self.fit.optimizer.to_string())),
            ("learning rate", Number(self.fit.optimizer.learning_rate())),
            ("validation samples", Number(self.validation as f64)),
            ("seed", Number(self.fit.seed as f64)),
        ]
    }
}

/// What `begin` is told before the first step: the networks and the data.
pub type Begin<'b> = dyn FnMut(&[&Network], &Lesson) + 'b;

/// Checks all that can be checked without training, and tells of the network.
///
/// # Errors
/// [`Error::Data`] and [`Error::Config`].
pub fn rehearse(request: &TrainRequest, begin: &mut Begin<'_>) -> Result<()> {
    let Prepared { lesson, model, .. } = request.prepare()?;
    begin(&model.networks(), &lesson);
    Ok(())
}

/// Trains, or goes on with an interrupted run, and publishes.
///
/// `begin` is called once with the networks before the first step.
///
/// # Errors
/// [`Error::Data`] and [`Error::Config`] before anything is trained; [`Error::Interrupted`] when the
/// watcher said stop, with the state saved; [`Error::Diverged`]; [`Error::GateMissed`].
pub fn train(
    request: &TrainRequest,
    run: &RunDir,
    resume: bool,
    begin: &mut Begin<'_>,
    watch: &mut dyn Watch,
) -> Result<TrainOutcome> {
    let Prepared { lesson, train, validation, model } = request.prepare()?;
    let run = Run { request, run, resume, lesson: &lesson, train: &train, validation: &validation };
    match model {
        Model::Classifier(network) => {
            let (state, events) = run.fit(*network, begin, watch)?;
            run.conclude(release::prepare(request, &state, &lesson)?, state.history(), events)
        }
        Model::Autoencoder(autoencoder) => {
            let (state, events) = run.fit(*autoencoder, begin, watch)?;
            run.conclude(autoencoder::prepare(request, &state, &lesson)?, state.history(), events)
        }
    }
}

/// A run that has its directory.
struct Run<'a> {
    request: &'a TrainRequest,
    run: &'a RunDir,
    resume: bool,
    lesson: &'a Lesson,
    /// What is fitted, and what it is judged by.
    train: &'a Dataset,
    validation: &'a Dataset,
}

impl Run<'_> {
    /// Trains to the end, and saves the state in any case.
    fn fit<M: Learner>(
        &self,
        model: M,
        begin: &mut Begin<'_>,
        watch: &mut dyn Watch,
    ) -> Result<(FitState<M>, Option<Events>)> {
        let Self { request, run, resume, lesson, train, validation } = *self;
        let mut state = FitState::new(model, &request.fit);
        if resume {
            Checkpoint::load(&mut state, &run.state_file())?;
            run.rewrite_epochs(state.history())?;
        } else {
            run.write(ARGUMENTS_FILE, &request.to_toml()?)?;
            run.write("env.json", &environment()?)?;
            // A run that is killed before its first epoch is over can be gone on with, too.
            Checkpoint::save(&state, &run.state_file())?;
        }
        begin(&state.network.networks(), lesson);
        let steps = train.len().div_ceil(request.fit.batch_size);
        let settings = request.hyper_parameters();
        let events = request.tensorboard.then(|| Events::create(run.path(), steps, &settings)).transpose()?;
        let mut recorder = Recorder { run, watch, events, failed: None };
        let finished = match fit(&mut state, train, validation, &request.fit, &mut recorder) {
            Ok(finished) => finished,
            Err(error) => {
                // The run has failed already; that its events could not be written adds nothing.
                drop(recorder.events.as_mut().map(Events::failed));
                return Err(error);
            }
        };
        let Recorder { mut events, failed, .. } = recorder;
        Checkpoint::save(&state, &run.state_file())?;
        if let Some(error) = failed {
            return Err(error);
        }
        if !finished {
            events.as_mut().map(Events::flush).transpose()?;
            return Err(Error::Interrupted { run: run.path().to_owned(), command: "weir train" });
        }
        Ok((state, events))
    }

    /// Writes what came of it into the run directory, and publishes it.
    fn conclude(&self, release: Release, history: &[EpochReport], mut events: Option<Events>) -> Result<TrainOutcome> {
        let Self { run, request, lesson, .. } = *self;
        let Release { publication, report, card, ended } = release;
        run.write("curves.svg", &curves(history))?;
        report.write(run)?;
        let events = events.as_mut();
        match &report {
            TrainedReport::Classifier(report) => events.map(|events| events.finish(report, &lesson.test)),
            TrainedReport::Regressor(report) => events.map(|events| events.finish_regression(report)),
            TrainedReport::Autoencoder(report) => events.map(|events| events.finish_autoencoder(report)),
        }
        .transpose()?;
        run.write("card.md", &card)?;
        let published = request.models.as_deref().map(|models: &Path| publish(models, publication)).transpose()?;
        Ok(TrainOutcome { run: run.path().to_owned(), published, report, ended })
    }
}

/// What the run ran on.
fn environment() -> Result<String> {
    let environment = serde_json::json!({
        "weir": env!("CARGO_PKG_VERSION"),
        "os": std::env::consts::OS,
        "architecture": std::env::consts::ARCH,
        "threads": rayon::current_num_threads(),
        "started": jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
    });
    let text = serde_json::to_string_pretty(&environment)
        .map_err(|error| Error::internal("env.json could not be written", error))?;
    Ok(format!("{text}\n"))
}

/// Writes steps and epochs to the run directory before passing them on.
struct Recorder<'a> {
    run: &'a RunDir,
    watch: &'a mut dyn Watch,
    events: Option<Events>,
    /// Why a step could not be written; the run is stopped then, and saved.
    failed: Option<Error>,
}

impl Watch for Recorder<'_> {
    fn step(&mut self, report: &StepReport) -> bool {
        let written = self.events.as_mut().map_or(Ok(()), |events| events.step(report));
        self.failed = written.err();
        self.watch.step(report) && self.failed.is_none()
    }

    fn epoch(&mut self, report: &EpochReport) -> Result<()> {
        self.run.append_epoch(report)?;
        self.events.as_mut().map(|events| events.epoch(report)).transpose()?;
        self.watch.epoch(report)
    }

    fn weights(&mut self, epoch: usize, parameters: &[&Parameter]) -> Result<()> {
        self.events.as_mut().map(|events| events.weights(epoch, parameters)).transpose()?;
        self.watch.weights(epoch, parameters)
    }

    fn save(&mut self, state: &dyn Snapshot) -> Result<()> {
        state.save(&self.run.state_file())
    }
}
