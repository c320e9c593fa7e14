//! A search for settings: trials one after the other, each a training run judged on the validation data. The test
//! data have no part in it.

mod halving;
mod journal;
mod report;
mod space;
mod tpe;

use std::path::Path;
use std::time::Instant;

use serde::{Deserialize, Serialize};
use toml::Table;

use self::journal::{Header, Journal};
pub use self::journal::{Outcome, Trial};
pub use self::space::Dimension;
use super::fit::{FitState, fit};
use super::presets::preset;
use super::progress::{EpochReport, Score, StepReport, Watch};
use super::random::keyed_rng;
use super::recipe::{Override, as_they_were, resolve};
use super::request::TrainRequest;
use super::run_dir::{ARGUMENTS_FILE, RunDir};
use super::tasks::Model;
use super::train::{Prepared, prepare};
use crate::error::{Error, Result};
use crate::signature::Task;

/// The plan of a search.
#[derive(Debug, Clone, PartialEq)]
pub struct TunePlan {
    /// Trials in all.
    pub trials: usize,
    /// The settings that are searched.
    pub search: Vec<String>,
    /// The rule for the next trial.
    pub sampler: Sampler,
    /// The figure by which trials are judged.
    pub objective: Objective,
    /// At every rung, one trial in so many goes on; below 2 all do.
    pub halving: usize,
    /// The epoch of the first rung.
    pub first_rung: usize,
    /// True if the first trial has the settings of the request.
    pub defaults_first: bool,
}

/// The rule for the next trial.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Sampler {
    /// By chance.
    Random,
    /// By what the better trials so far have in common.
    Tpe,
}

/// The figure on the validation data by which trials are judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Objective {
    /// The loss.
    Loss,
    /// One minus the accuracy.
    Accuracy,
}

/// The result of a search.
#[derive(Debug, Clone, Serialize)]
pub struct Tuned {
    /// All trials, in their order.
    pub trials: Vec<Trial>,
    /// The number of the best one that was trained to its end.
    pub best: Option<usize>,
}

/// A watcher of a search, which may stop it between two steps.
pub trait TuneWatch {
    /// Returns true to go on.
    fn goes_on(&mut self) -> bool;
    /// A trial begins, counted from 1, with these settings.
    fn begins(&mut self, trial: usize, settings: &Table);
    /// A trial is over.
    fn ended(&mut self, trial: &Trial, best: bool);
}

impl TunePlan {
    fn of(header: &Header) -> Self {
        Self {
            trials: header.trials,
            search: header.search.clone(),
            sampler: header.sampler,
            objective: header.objective,
            halving: header.halving,
            first_rung: header.first_rung,
            defaults_first: header.defaults_first,
        }
    }

    /// Returns the dimensions that are searched.
    ///
    /// # Errors
    /// [`Error::Config`] naming what cannot.
    pub fn validate(&self) -> Result<Vec<Dimension>> {
        let refuse = |setting: &str, problem: String| Err(Error::Config { setting: setting.into(), problem });
        let dimensions = self.search.iter().map(|text| Dimension::parse(text)).collect::<Result<Vec<_>>>()?;
        if dimensions.is_empty() || self.trials == 0 {
            return refuse("tune", "needs --search at least once and at least one of --trials".into());
        }
        let mut keys: Vec<&str> = dimensions.iter().map(|dimension| dimension.key.as_str()).collect();
        keys.sort_unstable();
        if keys.contains(&"solver") {
            return refuse("--search", "a head is trained in steps here; its solver cannot be searched".into());
        }
        match keys.windows(2).find(|pair| pair[0] == pair[1]) {
            Some(twice) => refuse("--search", format!("{} is searched twice", twice[0])),
            None => Ok(dimensions),
        }
    }
}

/// Begins a search in a run directory.
///
/// # Errors
/// As [`train`](super::train()) before its first step, and [`Error::Config`] when what is searched cannot be set.
/// [`Error::Interrupted`] when the watcher said stop; every trial that is over is kept.
pub fn tune(request: &TrainRequest, plan: &TunePlan, run: &RunDir, watch: &mut dyn TuneWatch) -> Result<Tuned> {
    let header = Header {
        settings: request.in_steps()?.to_toml()?,
        search: plan.search.clone(),
        trials: plan.trials,
        sampler: plan.sampler,
        objective: plan.objective,
        halving: plan.halving,
        first_rung: plan.first_rung,
        defaults_first: plan.defaults_first,
    };
    let search = Search::new(header, run)?;
    run.write(ARGUMENTS_FILE, &search.header.settings)?;
    let journal = Journal::create(run.path(), &search.header)?;
    search.go_on(journal, Vec::new(), watch)
}

/// Goes on with a search that was interrupted or killed, or that is to have more trials than it had.
///
/// # Errors
/// As [`tune`], and [`Error::Config`] or [`Error::Data`] when there is no journal or it cannot be read.
pub fn resume_tune(folder: &Path, trials: Option<usize>, watch: &mut dyn TuneWatch) -> Result<Tuned> {
    let (journal, mut header, done) = Journal::open(folder)?;
    header.trials = trials.unwrap_or(header.trials);
    Search::new(header, &RunDir::of_search(folder))?.go_on(journal, done, watch)
}

/// A search under way.
struct Search<'r> {
    header: Header,
    base: Table,
    request: TrainRequest,
    prepared: Prepared,
    dimensions: Vec<Dimension>,
    run: &'r Path,
}

impl Search<'_> {
    fn new(header: Header, run: &RunDir) -> Result<Search<'_>> {
        let base: Table = toml::from_str(&header.settings)
            .map_err(|error| Error::internal("the settings could not be read", error))?;
        // Trials of an older Weir are compared with those to come.
        let base = as_they_were(base)?;
        let request = request(&base, &[])?.in_steps()?;
        if request.validation == 0 {
            let problem = "trials are judged on validation samples; --validation is 0".into();
            return Err(Error::Config { setting: "validation".into(), problem });
        }
        let dimensions = TunePlan::of(&header).validate()?;
        let prepared = prepare(&request)?;
        if header.objective == Objective::Accuracy && prepared.data.task == Task::Regression {
            let problem =
                "numbers are learned, which have no accuracy; --objective loss compares their squared errors".into();
            return Err(Error::Config { setting: "objective".into(), problem });
        }
        Ok(Search { header, base, request, prepared, dimensions, run: run.path() })
    }

    fn go_on(&self, mut journal: Journal, mut trials: Vec<Trial>, watch: &mut dyn TuneWatch) -> Result<Tuned> {
        // What can never be set is found before anything is trained, and not as a trial that failed. With a kind
        // among what is searched, other settings come and go with it.
        if trials.is_empty() && !self.dimensions.iter().any(|dimension| dimension.key.ends_with(".kind")) {
            let changes: Vec<Override> = self.next(&trials).iter().map(|(key, value)| given(key, value)).collect();
            request(&self.base, &changes)?;
        }
        while trials.len() < self.header.trials {
            let settings = self.next(&trials);
            watch.begins(trials.len() + 1, &settings);
            let Some(trial) = self.run_trial(settings, &trials, watch)? else {
                self.report(&trials)?;
                return Err(Error::Interrupted { run: self.run.to_owned(), command: "weir tune" });
            };
            journal.append(&trial)?;
            trials.push(trial);
            let last = &trials[trials.len() - 1];
            watch.ended(last, best(&trials) == Some(last.trial));
        }
        self.report(&trials)
    }

    /// The settings of the next trial: a function of the seed and the trials so far.
    fn next(&self, trials: &[Trial]) -> Table {
        if trials.is_empty() && self.header.defaults_first {
            let own = |dimension: &Dimension| Some((dimension.key.clone(), at(&self.base, &dimension.key)?.clone()));
            return self.dimensions.iter().filter_map(own).collect();
        }
        let mut rng = keyed_rng(self.request.fit.seed, "tune", 0, trials.len() as u64);
        let places = if self.header.sampler == Sampler::Random || trials.len() < tpe::FIRST {
            self.dimensions.iter().map(|dimension| dimension.draw(&mut rng)).collect()
        } else {
            let seen = |trial: &Trial| {
                let place = |dimension: &Dimension| {
                    let value = trial.settings.get(&dimension.key);
                    value.map_or_else(|| dimension.line().0, |value| dimension.place(value))
                };
                let places = self.dimensions.iter().map(place).collect();
                (places, trial.objective.unwrap_or(f64::INFINITY))
            };
            tpe::suggest(&self.dimensions, &trials.iter().map(seen).collect::<Vec<_>>(), &mut rng)
        };
        self.dimensions
            .iter()
            .zip(places)
            .map(|(dimension, place)| (dimension.key.clone(), dimension.value(place)))
            .collect()
    }

    /// Trains with these settings; `None` if the watcher said stop.
    fn run_trial(&self, settings: Table, trials: &[Trial], watch: &mut dyn TuneWatch) -> Result<Option<Trial>> {
        let start = Instant::now();
        let given: Vec<Override> = settings.iter().map(|(key, value)| given(key, value)).collect();
        let mut trial = Trial {
            trial: trials.len() + 1,
            settings,
            outcome: Outcome::Failed,
            objective: None,
            epoch: None,
            validation: None,
            rungs: Vec::new(),
            epochs: 0,
            seconds: 0.0,
            problem: None,
        };
        let done = request(&self.base, &given).and_then(|request| {
            request.validate()?;
            let rungs = halving::rungs(self.header.first_rung, self.header.halving, request.fit.epochs);
            let mut race =
                Race { search: self, trials, rungs, reached: Vec::new(), epochs: Vec::new(), out: false, watch };
            let mut state = FitState::new(Model::new(&request, &self.prepared.data)?, &request.fit);
            let finished = fit(&mut state, &self.prepared.train, &self.prepared.validation, &request.fit, &mut race);
            trial.rungs = std::mem::take(&mut race.reached);
            trial.epochs = state.history().len();
            let out = race.out;
            let finished = finished?;
            let judged = state.best_epoch().or(Some(trial.epochs));
            // What was stopped early is judged by the best it came to.
            let judged = if finished { judged } else { race.best_epoch() };
            if let Some(report) = judged.and_then(|epoch| state.history().get(epoch - 1)) {
                trial.objective = report.validation.map(|summary| self.header.objective.of(&summary));
                trial.epoch = Some(report.epoch);
                trial.validation = report.validation.map(|summary| Score {
                    loss: nine_digits(summary.loss),
                    accuracy: summary.accuracy.map(nine_digits),
                    ..summary
                });
            }
            Ok((finished, out))
        });
        trial.seconds = (start.elapsed().as_secs_f64() * 1e3).round() / 1e3;
        match done {
            Ok((true, _)) => trial.outcome = Outcome::Finished,
            Ok((false, true)) => trial.outcome = Outcome::Stopped,
            Ok((false, false)) => return Ok(None),
            Err(error @ (Error::Diverged { .. } | Error::Config { .. })) => trial.problem = Some(error.to_string()),
            Err(error) => return Err(error),
        }
        Ok(Some(trial))
    }
}

/// The best trial among those that were trained to their end.
fn best(trials: &[Trial]) -> Option<usize> {
    let finished = trials.iter().filter(|trial| trial.outcome == Outcome::Finished && trial.objective.is_some());
    finished
        .min_by(|a, b| a.objective.unwrap_or(f64::INFINITY).total_cmp(&b.objective.unwrap_or(f64::INFINITY)))
        .map(|trial| trial.trial)
}

/// Returns the value at a dotted key.
fn at<'t>(table: &'t Table, key: &str) -> Option<&'t toml::Value> {
    match key.split_once('.') {
        Some((first, rest)) => at(table.get(first)?.as_table()?, rest),
        None => table.get(key),
    }
}

fn given(key: &str, value: &toml::Value) -> Override {
    Override { origin: "--search".into(), key: key.into(), value: value.clone() }
}

/// The request of resolved settings with some changed.
fn request(base: &Table, changes: &[Override]) -> Result<TrainRequest> {
    let name = base.get("preset").and_then(toml::Value::as_str).unwrap_or_default();
    resolve(preset(name)?, Some((Path::new("tune"), base.clone())), changes)
}

impl Objective {
    fn of(self, summary: &Score) -> f64 {
        nine_digits(match self {
            Self::Loss => summary.loss,
            Self::Accuracy => 1.0 - summary.accuracy.unwrap_or_default(),
        })
    }
}

/// The number to nine digits, which a journal gives back as it was: JSON may lose the last bit of longer ones.
fn nine_digits(figure: f64) -> f64 {
    format!("{figure:.8e}").parse().unwrap_or(figure)
}

/// A trial under way, against those before it.
struct Race<'s, 'r> {
    search: &'s Search<'r>,
    trials: &'s [Trial],
    rungs: Vec<usize>,
    /// The objective at each rung so far, and after each epoch.
    reached: Vec<f64>,
    epochs: Vec<f64>,
    out: bool,
    watch: &'s mut dyn TuneWatch,
}

impl Race<'_, '_> {
    fn best_epoch(&self) -> Option<usize> {
        let best = self.epochs.iter().enumerate().min_by(|a, b| a.1.total_cmp(b.1));
        best.map(|(epoch, _)| epoch + 1)
    }
}

impl Watch for Race<'_, '_> {
    fn step(&mut self, _: &StepReport) -> bool {
        !self.out && self.watch.goes_on()
    }

    fn epoch(&mut self, report: &EpochReport) -> Result<()> {
        let figure = report.validation.map_or(f64::INFINITY, |summary| self.search.header.objective.of(&summary));
        self.epochs.push(figure);
        let rung = self.reached.len();
        if self.rungs.get(rung) == Some(&report.epoch) {
            let own = self.epochs.iter().copied().fold(f64::INFINITY, f64::min);
            let others: Vec<f64> = self.trials.iter().filter_map(|trial| trial.rungs.get(rung).copied()).collect();
            self.reached.push(own);
            self.out = !halving::goes_on(own, &others, self.search.header.halving);
        }
        Ok(())
    }
}
