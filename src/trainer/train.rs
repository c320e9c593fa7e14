//! One training run from data to published version.

use std::path::{Path, PathBuf};

use super::curves::curves;
use super::dataset::Dataset;
use super::events::{Events, HyperParameter};
use super::fit::{Checkpoint, FitState, fit};
use super::learner::Learner;
use super::network::{Network, Parameter};
use super::prepared::PreparedData;
use super::progress::{EpochReport, Snapshot, StepReport, Watch};
use super::release::{Release, release};
use super::request::TrainRequest;
use super::run_dir::{ARGUMENTS_FILE, RunDir};
use super::tasks::{Model, TaskReport};
use crate::error::{Error, Result};
use crate::ids::Version;
use crate::repository::publish;

/// The state at the beginning of a run.
#[derive(Debug)]
pub(super) struct Prepared {
    /// The data.
    pub(super) data: PreparedData,
    /// The training data, as they are fitted.
    pub(super) train: Dataset,
    /// The validation data, as they are fitted.
    pub(super) validation: Dataset,
    /// The untrained model.
    pub(super) model: Model,
}

/// The result of a run.
#[derive(Debug)]
pub struct TrainOutcome {
    /// Its directory.
    pub run: PathBuf,
    /// The version and where it is, if it was published.
    pub published: Option<(Version, PathBuf)>,
    /// The evaluation on the test data.
    pub report: TaskReport,
    /// Why it ended before its last epoch, in words, if it did.
    pub ended: Option<String>,
}

/// Reads the data, splits them and makes the network: all that can be wrong before the first step.
///
/// # Errors
/// [`Error::Data`] and [`Error::Config`].
pub(super) fn prepare(request: &TrainRequest) -> Result<Prepared> {
    request.validate()?;
    let data = PreparedData::prepare(request)?;
    let (train, validation) = data.fitted();
    let model = Model::new(request, &data)?;
    Ok(Prepared { data, train, validation, model })
}

/// Returns the settings by which TensorBoard compares runs.
fn hyper_parameters(request: &TrainRequest) -> Vec<(&'static str, HyperParameter)> {
    use HyperParameter::{Number, Text};
    vec![
        ("preset", Text(request.preset.name.into())),
        ("data", Text(request.data_name())),
        ("epochs", Number(request.fit.epochs as f64)),
        ("batch size", Number(request.fit.batch_size as f64)),
        ("optimizer", Text(request.fit.optimizer.to_string())),
        ("learning rate", Number(request.fit.optimizer.learning_rate())),
        ("validation samples", Number(request.validation as f64)),
        ("seed", Number(request.fit.seed as f64)),
    ]
}

/// The callback before the first step, with the networks and the data.
pub type Begin<'b> = dyn FnMut(&[&Network], &PreparedData) + 'b;

/// Checks all that can be checked without training, and tells of the network.
///
/// # Errors
/// [`Error::Data`] and [`Error::Config`].
pub fn rehearse(request: &TrainRequest, begin: &mut Begin<'_>) -> Result<()> {
    let Prepared { data, model, .. } = prepare(request)?;
    begin(&model.networks(), &data);
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
    let Prepared { data, train, validation, model } = prepare(request)?;
    let run = Run { request, run, resume, data: &data, train: &train, validation: &validation };
    let (state, events) = run.fit(model, begin, watch)?;
    run.conclude(release(request, &state, &data)?, state.history(), events, watch)
}

/// A run that has its directory.
struct Run<'a> {
    request: &'a TrainRequest,
    run: &'a RunDir,
    resume: bool,
    data: &'a PreparedData,
    /// The data that are fitted, and those that judge the fit.
    train: &'a Dataset,
    validation: &'a Dataset,
}

impl Run<'_> {
    /// Trains to the end, and saves the state in any case.
    fn fit(
        &self,
        model: Model,
        begin: &mut Begin<'_>,
        watch: &mut dyn Watch,
    ) -> Result<(FitState<Model>, Option<Events>)> {
        let Self { request, run, resume, data, train, validation } = *self;
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
        begin(&state.model.networks(), data);
        let steps = request.fit.plan(&state.model, 0).steps(train.len());
        let settings = hyper_parameters(request);
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
    fn conclude(
        &self,
        release: Release,
        history: &[EpochReport],
        mut events: Option<Events>,
        watch: &mut dyn Watch,
    ) -> Result<TrainOutcome> {
        let Self { run, request, data, .. } = *self;
        let Release { publication, report, card, ended } = release;
        run.write("curves.svg", &curves(history))?;
        report.write(run)?;
        if let Some(events) = &mut events {
            events.finish(history.len(), report.events(&data.test)?)?;
        }
        run.write("card.md", &card)?;
        let publish = |models: &Path| publish(models, publication, &mut |folder| watch.staged(folder));
        let published = request.models.as_deref().map(publish).transpose()?;
        Ok(TrainOutcome { run: run.path().to_owned(), published, report, ended })
    }
}

/// Returns a description of the machine.
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
