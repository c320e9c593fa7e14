//! One training run from data to published version.

use std::path::{Path, PathBuf};

use super::curves::curves;
use super::dataset::Dataset;
use super::events::{Events, HyperParameter};
use super::fit::{Checkpoint, FitSettings, FitState, fit};
use super::head::{MOST_SOLVED, Solved, Solver};
use super::learner::Learner;
use super::linear_path::prefer_linear;
use super::network::{Network, Parameter};
use super::prepared::PreparedData;
use super::progress::{EpochReport, Snapshot, StepReport, Watch};
use super::release::{Release, release};
use super::request::TrainRequest;
use super::run_dir::{ARGUMENTS_FILE, PUBLISHED_FILE, RunDir};
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

/// Prepares a run, and returns its settings of steps; a head that is solved at once takes none.
fn ready(request: &TrainRequest) -> Result<(Prepared, FitSettings)> {
    let mut prepared = prepare(request)?;
    let mut settings = request.fit.clone();
    let Prepared { data, train, model, .. } = &mut prepared;
    let Some(features) = &data.features else { return Ok((prepared, settings)) };
    let note = if request.solves(train.len()) {
        let Solved { arrays, how } = features.solve(train)?;
        let parameters = model.networks_mut().into_iter().flat_map(Network::parameters_mut);
        parameters.zip(arrays).for_each(|(parameter, array)| parameter.values = array);
        settings.epochs = 0;
        let note = format!("the head is {how}; --solver steps trains it in epochs");
        data.solved = Some(how);
        note
    } else {
        let backbone = request.task.backbone.as_ref();
        let solver = backbone.map_or(Solver::Steps, |backbone| backbone.solver);
        match (solver, backbone.and_then(|backbone| backbone.decided_by.as_ref())) {
            (Solver::Steps, Some(setting)) => {
                format!(
                    "the head is trained in steps, of which {setting} is a setting; --solver ridge without it solves it at once"
                )
            }
            (Solver::Steps | Solver::Ridge, _) => "the head is trained in steps, as --solver says".to_owned(),
            (Solver::Auto, _) => format!("the head is trained in steps, as there are more than {MOST_SOLVED} samples"),
        }
    };
    data.source.notes.push(note);
    Ok((prepared, settings))
}

/// Returns the settings by which TensorBoard compares runs.
fn hyper_parameters(request: &TrainRequest, epochs: usize) -> Vec<(&'static str, HyperParameter)> {
    use HyperParameter::{Number, Text};
    let common = [
        ("preset", Text(request.preset.name.into())),
        ("data", Text(request.data_name())),
        ("validation samples", Number(request.validation as f64)),
        ("seed", Number(request.fit.seed as f64)),
    ];
    let of_steps = [
        ("epochs", Number(epochs as f64)),
        ("batch size", Number(request.fit.batch_size as f64)),
        ("optimizer", Text(request.fit.optimizer.to_string())),
        ("learning rate", Number(request.fit.optimizer.learning_rate())),
    ];
    common.into_iter().chain(of_steps.into_iter().filter(|_| epochs > 0)).collect()
}

/// The callback before the first step, with the networks and the data.
pub type Begin<'b> = dyn FnMut(&[&Network], &PreparedData) + 'b;

/// Checks all that can be checked without training, tells of the network, and returns the epochs that would be trained.
///
/// # Errors
/// [`Error::Data`] and [`Error::Config`].
pub fn rehearse(request: &TrainRequest, begin: &mut Begin<'_>) -> Result<usize> {
    let (Prepared { data, model, .. }, settings) = ready(request)?;
    begin(&model.networks(), &data);
    Ok(settings.epochs)
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
    let (Prepared { data, train, validation, model }, settings) = ready(request)?;
    // The arguments of the run keep the decision: whoever goes on with it or repeats it gets the same.
    let request = &request.with_solver(if data.solved.is_some() { Solver::Ridge } else { Solver::Steps });
    let run = Run { request, settings: &settings, run, resume, data: &data, train: &train, validation: &validation };
    let (mut state, events) = run.fit(model, begin, watch)?;
    let is_asked = settings.regime.prefer_linear && settings.epochs > 0;
    let linear = if is_asked { prefer_linear(&mut state.model, &train, &validation)? } else { None };
    run.conclude(release(request, &state, &data, linear)?, state.history(), events, watch)
}

/// A run that has its directory.
struct Run<'a> {
    request: &'a TrainRequest,
    settings: &'a FitSettings,
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
        let Self { request, settings, run, resume, data, train, validation } = *self;
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
        let shown = hyper_parameters(request, settings.epochs);
        let events = request.tensorboard.then(|| Events::create(run.path(), steps, &shown)).transpose()?;
        let mut recorder = Recorder { run, watch, events, failed: None };
        let finished = match fit(&mut state, train, validation, settings, &mut recorder) {
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
        if !history.is_empty() {
            run.write("curves.svg", &curves(history))?;
        }
        report.write(run)?;
        if let Some(events) = &mut events {
            events.finish(history.len(), report.events(&data.test)?)?;
        }
        run.write("card.md", &card)?;
        let publish = |models: &Path| publish(models, publication, &mut |folder| watch.staged(folder));
        let published = request.models.as_deref().map(publish).transpose()?;
        if let Some((version, _)) = &published {
            let note = serde_json::json!({ "model": request.model()?, "version": version.0 });
            // The version is there: that its number could not be noted does not undo it.
            drop(run.write(PUBLISHED_FILE, &format!("{note}\n")));
        }
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
