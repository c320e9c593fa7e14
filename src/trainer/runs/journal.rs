//! The files that a run keeps line by line, read while it may still write them. What is no whole line of the expected
//! kind is passed over.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::folder::{Budget, Folder, Lines};
use crate::trainer::progress::Score;
use crate::trainer::tune::{Objective, Outcome};

/// The journal of a search: a line of its settings, and one for each trial.
const JOURNAL: &str = "journal.jsonl";

/// The bytes that the first line of a journal may have.
const MOST_PLAN_BYTES: u64 = 64 << 10;

/// The bytes that are read of a file of lines: of a longer one, pieces from all over it.
pub(super) const MOST_BYTES: u64 = 4 << 20;

/// The figures of an epoch.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct EpochFigures {
    /// The epoch, from 1.
    pub epoch: usize,
    /// The loss on the training data.
    pub loss: Option<f64>,
    /// The accuracy on the training data, 0 to 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accuracy: Option<f64>,
    /// The loss on the validation data.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub validation_loss: Option<f64>,
    /// The accuracy on the validation data, 0 to 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub validation_accuracy: Option<f64>,
    /// The learning rate of the last step.
    pub learning_rate: Option<f64>,
    /// Samples per second.
    pub samples_per_second: Option<f64>,
    /// The wall time of the epoch in seconds, validation included.
    pub seconds: Option<f64>,
}

/// An epoch as `metrics.jsonl` has it.
#[derive(Debug, Deserialize)]
struct EpochLine {
    epoch: usize,
    loss: Option<f64>,
    accuracy: Option<f64>,
    validation: Option<Score>,
    learning_rate: Option<f64>,
    images_per_second: Option<f64>,
    duration_seconds: Option<f64>,
}

impl From<EpochLine> for EpochFigures {
    fn from(line: EpochLine) -> Self {
        Self {
            epoch: line.epoch,
            loss: line.loss,
            accuracy: line.accuracy,
            validation_loss: line.validation.map(|score| score.loss),
            validation_accuracy: line.validation.and_then(|score| score.accuracy),
            learning_rate: line.learning_rate,
            samples_per_second: line.images_per_second,
            seconds: line.duration_seconds,
        }
    }
}

/// A trial of a search that is over.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct TrialFigures {
    /// Its number in its search, from 1.
    pub trial: usize,
    /// The preset, on a leaderboard of several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preset: Option<String>,
    /// The settings that were searched, by name.
    #[schema(value_type = Object)]
    pub settings: Map<String, Value>,
    /// The outcome: `finished`, `stopped` (not among the best at a rung) or `failed`.
    #[schema(value_type = String)]
    pub outcome: Outcome,
    /// The figure by which trials are compared: the loss, or one minus the accuracy.
    pub objective: Option<f64>,
    /// The epoch that it is of.
    pub epoch: Option<usize>,
    /// The figures on the validation data.
    #[schema(value_type = Option<Object>)]
    pub validation: Option<Score>,
    /// Epochs trained.
    #[serde(default)]
    pub epochs: usize,
    /// The wall time in seconds.
    #[serde(default)]
    pub seconds: f64,
    /// Why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

/// The plan of a search, the first line of its journal.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(super) struct Plan {
    pub(super) search: Vec<String>,
    pub(super) trials: usize,
    pub(super) objective: Objective,
}

/// The leaderboard of `weir train auto`.
#[derive(Debug, Deserialize)]
struct Leaderboard {
    leaderboard: Vec<TrialFigures>,
}

/// What was read of a file of lines, and whether lines of it were left out.
#[derive(Debug)]
pub(super) struct Kept<T> {
    pub(super) lines: Vec<T>,
    pub(super) is_thinned: bool,
}

/// Returns the epochs of a run so far; of very many, some from all over the run with the first and the last.
pub(super) fn epochs(run: &Folder, budget: &mut Budget) -> Kept<EpochFigures> {
    let Lines { pieces, is_thinned } = run.lines("metrics.jsonl", MOST_BYTES, budget).unwrap_or_default();
    let lines = pieces.iter().flat_map(|piece| lines::<EpochLine>(piece)).map(EpochFigures::from).collect();
    Kept { lines, is_thinned }
}

/// Returns the plan of a search and its trials so far, if the run is a search; of very many trials, some from all over the
/// search.
pub(super) fn search(run: &Folder, budget: &mut Budget) -> Option<(Plan, Kept<TrialFigures>)> {
    // The first line holds all settings, which may be longer than a piece.
    let plan = serde_json::from_str(run.text(JOURNAL, MOST_PLAN_BYTES, budget)?.lines().next()?).ok()?;
    let Lines { pieces, is_thinned } = run.lines(JOURNAL, MOST_BYTES, budget)?;
    Some((plan, Kept { lines: pieces.iter().flat_map(|piece| lines(piece)).collect(), is_thinned }))
}

/// Returns the leaderboard of a run, if it has one, the best trial first.
pub(super) fn leaderboard(run: &Folder, budget: &mut Budget) -> Option<Vec<TrialFigures>> {
    let text = run.text(super::LEADERBOARD_FILE, MOST_BYTES, budget)?;
    Some(serde_json::from_str::<Leaderboard>(&text).ok()?.leaderboard)
}

fn lines<T: DeserializeOwned>(text: &str) -> impl Iterator<Item = T> {
    text.lines().filter_map(|line| serde_json::from_str(line).ok())
}
