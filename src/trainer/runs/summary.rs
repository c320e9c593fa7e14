//! A run directory in short.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::folder::{Budget, Folder};
use super::journal::{self, EpochFigures, Kept, TrialFigures};
use super::{LEADERBOARD_FILE, REPORT_FILE};
use crate::trainer::run_dir::{ARGUMENTS_FILE, PUBLISHED_FILE};
use crate::trainer::tune::{Objective, Outcome};

/// The longest file of settings or facts that is read.
const MOST_BYTES: u64 = 64 << 10;
/// The file of a range test of the learning rate.
const SWEEP_FILE: &str = "lr_find.csv";
/// The file that the end of a training writes.
const CARD_FILE: &str = "card.md";

/// The kind of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum RunKind {
    /// `weir train`.
    Train,
    /// `weir tune`, or a search of `weir train auto`.
    Tune,
    /// The last training of `weir train auto`, with its leaderboard.
    Auto,
    /// `weir lr-find`.
    LrFind,
}

/// The state of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum RunState {
    /// A process trains it now.
    Running,
    /// It came to its end.
    Finished,
    /// It was interrupted, failed, or its process died.
    Stopped,
}

/// The best figures on the validation data, or on the training data where there are none.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, ToSchema)]
pub struct BestFigures {
    /// The epoch that they are of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub epoch: Option<usize>,
    /// The trial that they are of, in a search.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trial: Option<usize>,
    /// The loss.
    pub loss: Option<f64>,
    /// The accuracy, 0 to 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub accuracy: Option<f64>,
    /// True if they are of validation data.
    pub validated: bool,
}

/// The version that a run was published as.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PublishedAs {
    /// The model.
    pub model: String,
    /// The version.
    pub version: u64,
}

/// A run in a list.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct RunSummary {
    /// Its folder: preset and name.
    #[schema(example = "mnist-mlp/3")]
    pub name: String,
    /// Its kind.
    pub kind: RunKind,
    /// Its state.
    pub state: RunState,
    /// When it began.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub started: Option<String>,
    /// Epochs that are over.
    pub epochs: usize,
    /// Epochs in all, by the settings.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub planned_epochs: Option<u64>,
    /// Trials that are over, of a search.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trials: Option<usize>,
    /// Trials in all, by the plan.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub planned_trials: Option<usize>,
    /// The best figures so far.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub best: Option<BestFigures>,
    /// True if the file of its epochs or trials has more than 4 MiB: lines from all over it were read, the first and the
    /// last among them, and `best` is the best of those.
    pub thinned: bool,
    /// The version that it was published as.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub published: Option<PublishedAs>,
    /// True if there is a report page: `/runs/{name}/report`.
    pub has_report: bool,
}

/// A run as its files have it.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) summary: RunSummary,
    /// The epochs that were read.
    pub(super) epochs: Vec<EpochFigures>,
    pub(super) search: Vec<String>,
    pub(super) objective: Option<Objective>,
    /// The trials that were read.
    pub(super) trials: Vec<TrialFigures>,
}

/// Returns true for a folder that a run has been begun in.
pub(super) fn is_run(folder: &Folder) -> bool {
    folder.has(ARGUMENTS_FILE) || folder.has(SWEEP_FILE)
}

/// Reads a run.
pub(super) fn read(name: &str, run: &Folder, budget: &mut Budget) -> Found {
    let Kept { lines: epochs, is_thinned } = journal::epochs(run, budget);
    let (plan, trials, are_trials_thinned) = match journal::search(run, budget) {
        Some((plan, Kept { lines, is_thinned })) => (Some(plan), lines, is_thinned),
        None => (None, Vec::new(), false),
    };
    // Where lines were left out, the numbers on those that are there count.
    let epoch_count = if is_thinned { epochs.last().map_or(0, |last| last.epoch) } else { epochs.len() };
    let last_trial = trials.iter().map(|trial| trial.trial).max();
    let trial_count = if are_trials_thinned { last_trial.unwrap_or(0) } else { trials.len() };
    let kind = match () {
        () if plan.is_some() => RunKind::Tune,
        () if run.has(LEADERBOARD_FILE) => RunKind::Auto,
        () if run.has(SWEEP_FILE) => RunKind::LrFind,
        () => RunKind::Train,
    };
    let is_finished = match (&plan, kind) {
        (Some(plan), _) => trial_count >= plan.trials,
        (None, RunKind::LrFind) => true,
        (None, _) => run.has(CARD_FILE),
    };
    let settings = settings(run, budget);
    let best = match &plan {
        Some(_) => best_trial(&trials).map(best_of_trial),
        None => best_epoch(&epochs),
    };
    let summary = RunSummary {
        name: name.to_owned(),
        kind,
        state: match () {
            () if run.is_held() => RunState::Running,
            () if is_finished => RunState::Finished,
            () => RunState::Stopped,
        },
        started: started(run, budget),
        epochs: epoch_count,
        planned_epochs: settings.get("epochs").and_then(Value::as_u64).filter(|_| kind != RunKind::LrFind),
        trials: plan.as_ref().map(|_| trial_count),
        planned_trials: plan.as_ref().map(|plan| plan.trials.max(trial_count)),
        best,
        thinned: is_thinned || are_trials_thinned,
        published: run.text(PUBLISHED_FILE, MOST_BYTES, budget).and_then(|text| serde_json::from_str(&text).ok()),
        has_report: run.has(REPORT_FILE),
    };
    let objective = plan.as_ref().map(|plan| plan.objective);
    Found { summary, epochs, search: plan.map_or_else(Vec::new, |plan| plan.search), objective, trials }
}

/// Returns the settings of a run, by dotted name.
pub(super) fn settings(run: &Folder, budget: &mut Budget) -> Map<String, Value> {
    let text = run.text(ARGUMENTS_FILE, MOST_BYTES, budget).unwrap_or_default();
    let table: toml::Table = toml::from_str(&text).unwrap_or_default();
    let mut flat = Map::new();
    flatten("", &table, &mut flat);
    flat
}

fn flatten(prefix: &str, table: &toml::Table, flat: &mut Map<String, Value>) {
    for (key, value) in table {
        let name = format!("{prefix}{key}");
        match value {
            toml::Value::Table(inner) => flatten(&format!("{name}."), inner, flat),
            value => {
                flat.insert(name, serde_json::to_value(value).unwrap_or_default());
            }
        }
    }
}

/// Returns when a run began: as it noted, or else when its settings were written.
fn started(run: &Folder, budget: &mut Budget) -> Option<String> {
    let noted = run.text("env.json", MOST_BYTES, budget).and_then(|text| serde_json::from_str::<Value>(&text).ok());
    if let Some(started) = noted.as_ref().and_then(|noted| noted["started"].as_str()) {
        return started.parse::<jiff::Timestamp>().ok().map(|moment| moment.to_string());
    }
    let written = run.written(ARGUMENTS_FILE).or_else(|| run.written(SWEEP_FILE))?;
    let moment = jiff::Timestamp::try_from(written).ok()?;
    Some(moment.strftime("%Y-%m-%dT%H:%M:%SZ").to_string())
}

fn best_epoch(epochs: &[EpochFigures]) -> Option<BestFigures> {
    let validated = epochs.iter().any(|epoch| epoch.validation_loss.is_some());
    let loss = |epoch: &EpochFigures| if validated { epoch.validation_loss } else { epoch.loss };
    let known = epochs.iter().filter_map(|epoch| Some((epoch, loss(epoch)?)));
    let (epoch, loss) = known.min_by(|a, b| a.1.total_cmp(&b.1))?;
    let accuracy = if validated { epoch.validation_accuracy } else { epoch.accuracy };
    Some(BestFigures { epoch: Some(epoch.epoch), trial: None, loss: Some(loss), accuracy, validated })
}

/// Returns the best of the trials that came to their end.
pub(super) fn best_trial(trials: &[TrialFigures]) -> Option<&TrialFigures> {
    let known = trials.iter().filter(|trial| trial.outcome == Outcome::Finished);
    let known = known.filter_map(|trial| Some((trial, trial.objective?)));
    known.min_by(|a, b| a.1.total_cmp(&b.1)).map(|(trial, _)| trial)
}

fn best_of_trial(trial: &TrialFigures) -> BestFigures {
    BestFigures {
        epoch: trial.epoch,
        trial: Some(trial.trial),
        loss: trial.validation.map(|score| score.loss),
        accuracy: trial.validation.and_then(|score| score.accuracy),
        validated: true,
    }
}
