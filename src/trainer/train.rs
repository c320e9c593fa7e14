//! One training run from data to published version.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::checkpoint::Checkpoint;
use super::dataset::Mnist;
use super::fit::{EpochReport, FitSettings, FitState, StepReport, Watch, fit};
use super::network::Network;
use super::plots;
use super::presets::{Preset, preset};
use super::release::{self, Parts};
use super::run_dir::{ARGUMENTS_FILE, RunDir};
use crate::error::{Error, Result};
use crate::ids::Version;
use crate::repository::publish;
use crate::stats::Evaluation;

/// What a run is told.
#[derive(Debug, Clone)]
pub struct TrainRequest {
    /// The recipe.
    pub preset: &'static Preset,
    /// The folder with the four IDX files.
    pub data: PathBuf,
    /// Samples held out of the training data.
    pub validation: usize,
    /// Epochs, batch, seed, optimiser.
    pub fit: FitSettings,
    /// Where to publish; `None` publishes nothing.
    pub models: Option<PathBuf>,
}

/// The arguments as they are kept in the run directory.
#[derive(Debug, Serialize, Deserialize)]
struct Arguments {
    preset: String,
    data: PathBuf,
    validation: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    models: Option<PathBuf>,
    fit: FitSettings,
}

/// What a run made.
#[derive(Debug)]
pub struct TrainOutcome {
    /// Its directory.
    pub run: PathBuf,
    /// The version and where it is, if it was published.
    pub published: Option<(Version, PathBuf)>,
    /// The evaluation on the test data.
    pub evaluation: Evaluation,
    /// The evaluation as Markdown.
    pub report: String,
}

impl TrainRequest {
    /// The name of the data set: that of its folder.
    pub(super) fn data_name(&self) -> String {
        self.data.file_name().map_or_else(|| "data".into(), |name| name.to_string_lossy().into_owned())
    }

    /// The request that an interrupted run was given.
    ///
    /// # Errors
    /// [`Error::Config`] when the directory or its arguments cannot be used.
    pub fn of_run(run: &RunDir) -> Result<Self> {
        let path = run.path().join(ARGUMENTS_FILE);
        let text = std::fs::read_to_string(&path).map_err(Error::io("read", &path))?;
        let arguments: Arguments = toml::from_str(&text)
            .map_err(|error| Error::Config { setting: path.display().to_string(), problem: error.to_string() })?;
        let Arguments { preset: name, data, validation, models, fit } = arguments;
        Ok(Self { preset: preset(&name)?, data, validation, fit, models })
    }

    /// Refuses settings that cannot train anything.
    ///
    /// # Errors
    /// [`Error::Config`] naming the setting.
    pub fn validate(&self) -> Result<()> {
        let refuse = |setting: &str, problem: String| Err(Error::Config { setting: setting.into(), problem });
        let rate = self.fit.adam.learning_rate;
        if self.fit.epochs == 0 || self.fit.batch_size == 0 {
            return refuse("epochs and batch-size", "must be at least 1".into());
        }
        if !rate.is_finite() || rate <= 0.0 {
            return refuse("learning-rate", format!("must be a number above 0, got {rate}"));
        }
        if let Some(problem) = self.fit.regime.problem() {
            return refuse("regime", problem);
        }
        Ok(())
    }

    fn write_arguments(&self, run: &RunDir) -> Result<()> {
        let arguments = Arguments {
            preset: self.preset.name.into(),
            data: self.data.clone(),
            validation: self.validation,
            models: self.models.clone(),
            fit: self.fit.clone(),
        };
        let text = toml::to_string_pretty(&arguments)
            .map_err(|error| Error::internal("the arguments could not be written", error))?;
        run.write(ARGUMENTS_FILE, &text)
    }
}

/// Trains, or goes on with an interrupted run, and publishes.
///
/// `begin` is called once with the network before the first step.
///
/// # Errors
/// [`Error::Data`] and [`Error::Config`] before anything is trained; [`Error::Interrupted`] when the
/// watcher said stop, with the state saved; [`Error::Diverged`]; [`Error::GateMissed`].
pub fn train(
    request: &TrainRequest,
    run: &RunDir,
    resume: bool,
    begin: &mut dyn FnMut(&Network, &Mnist),
    watch: &mut dyn Watch,
) -> Result<TrainOutcome> {
    request.validate()?;
    let source = Mnist::read(&request.data)?;
    let (train, validation) = source.train.split_off(request.validation, request.fit.seed)?;
    let architecture = (request.preset.architecture)(train.height, train.width, train.classes);
    let mut state = FitState::new(Network::new(&architecture, request.fit.seed)?);
    if resume {
        Checkpoint::load(&mut state, &run.state_file())?;
    } else {
        request.write_arguments(run)?;
        run.write("env.json", &environment()?)?;
    }
    begin(&state.network, &source);
    let mut recorder = Recorder { run, watch };
    let finished = fit(&mut state, &train, &validation, &request.fit, &mut recorder)?;
    Checkpoint::save(&state, &run.state_file())?;
    if !finished {
        return Err(Error::Interrupted { run: run.path().to_owned() });
    }
    let parts = Parts { train: &train, validation: &validation, source: &source };
    let release = release::prepare(request, &state, &parts)?;
    run.write("curves.svg", &plots::curves(state.history())?)?;
    run.write("confusion_matrix.svg", &plots::confusion(&release.publication.manifest.labels, &release.evaluation)?)?;
    run.write_evaluation(&release.report, &release.publication.manifest.labels, &release.evaluation)?;
    run.write("card.md", &release.card)?;
    let published = request.models.as_deref().map(|models: &Path| publish(models, release.publication)).transpose()?;
    Ok(TrainOutcome { run: run.path().to_owned(), published, evaluation: release.evaluation, report: release.report })
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

/// Writes each epoch to the run directory before passing it on.
struct Recorder<'a> {
    run: &'a RunDir,
    watch: &'a mut dyn Watch,
}

impl Watch for Recorder<'_> {
    fn step(&mut self, report: &StepReport) -> bool {
        self.watch.step(report)
    }

    fn epoch(&mut self, report: &EpochReport) -> Result<()> {
        self.run.append_epoch(report)?;
        self.watch.epoch(report)
    }
}
