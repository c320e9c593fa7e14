//! The runs in a folder, as they can be shown while they train and afterwards.
//!
//! A run directory is data from outside: no link in it is followed, what cannot be read is left out, and every answer is
//! bounded in size and number.

mod folder;
mod journal;
mod summary;

use std::io;
use std::path::PathBuf;
use std::time::SystemTime;

use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use self::folder::{Budget, Folder};
pub use self::journal::{EpochFigures, TrialFigures};
pub use self::summary::{BestFigures, PublishedAs, RunKind, RunState, RunSummary};
use super::tune::Objective;
use crate::error::{Error, Result};
use crate::ids::{ModelName, quote};

const LEADERBOARD_FILE: &str = "leaderboard.json";
/// The page for people about what came of a run.
const REPORT_FILE: &str = "report.html";

/// The most entries of the folder and of its folders together of which the dates are looked at.
const MOST_ENTRIES: usize = 100_000;
/// The most folders that are opened: those that changed last.
const MOST_OPENED: usize = 2000;
/// The most that the files of one run are read of: its epochs, trials and settings.
const MOST_OF_A_RUN: u64 = 12 << 20;
/// The bytes that are read for one answer.
const MOST_BYTES: u64 = 64 << 20;
/// The most epochs of a curve: more are thinned out.
const MOST_POINTS: usize = 2000;
/// The most trials and settings of one run.
const MOST_TRIALS: usize = 1000;
const MOST_SETTINGS: usize = 300;
/// The largest report.
const MOST_REPORT_BYTES: u64 = 32 << 20;

/// The folder of runs that a server shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Runs {
    path: PathBuf,
}

/// Runs, the latest first.
#[derive(Debug, Default, Serialize, ToSchema)]
pub struct RunList {
    /// The folder, as the server was told; null if it shows no runs (`--runs`).
    pub folder: Option<String>,
    /// The runs: those that train now, and then the others, the one that changed last first.
    pub runs: Vec<RunSummary>,
    /// Older ones that are not listed. Only the 2000 folders that changed last are opened: an older one is counted by its
    /// place, whatever it holds.
    pub left_out: usize,
    /// True if the folder has more than 100000 entries, of which others were not looked at and are not counted.
    pub incomplete: bool,
    /// Why the folder cannot be read now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

/// A run with its curves.
#[derive(Debug, Serialize, ToSchema)]
pub struct RunDetail {
    /// Its entry in the list.
    #[serde(flatten)]
    pub summary: RunSummary,
    /// The figures of each epoch so far. Of more than 2000 epochs, every `every`th one; the first and the last are always
    /// there.
    pub curves: Vec<EpochFigures>,
    /// The distance of two epochs in `curves`; of a run that is `thinned`, their mean distance.
    pub every: usize,
    /// The settings, by dotted name.
    #[schema(value_type = Object)]
    pub settings: Map<String, Value>,
    /// The settings that a search is over, with their ranges or choices.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub search: Vec<String>,
    /// The figure by which trials are compared: `loss` or `accuracy` on the validation data.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub objective: Option<Objective>,
    /// The trials of a search in their order, or those of a leaderboard, the best first; at most 1000. Of a search with
    /// more, the latest and the best so far.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub trials: Vec<TrialFigures>,
    /// Trials that are not among them.
    pub trials_left_out: usize,
}

/// The places of runs in the folder, the one that changed last first.
#[derive(Debug, Default)]
struct Places {
    latest: Vec<(SystemTime, [String; 2])>,
    is_cut: bool,
}

impl Runs {
    /// Shows the runs of a folder, which need not be there yet.
    ///
    /// # Errors
    /// [`Error::Config`] for what is there and is no folder, or cannot be read.
    pub fn open(path: PathBuf) -> Result<Self> {
        let runs = Self { path };
        let refuse = |error: io::Error| {
            let (shown, hint) = (runs.path.display(), "expected the folder of training runs, as --runs of weir train");
            Error::Config { setting: "runs".into(), problem: format!("{shown} cannot be read: {error}; {hint}") }
        };
        runs.root().map_err(refuse)?;
        Ok(runs)
    }

    /// Returns the runs that changed last, at most so many; why there are none, if the folder cannot be read now.
    pub fn list(&self, most: usize) -> RunList {
        let list = self.latest(most).unwrap_or_else(|error| {
            let problem = Some(format!("the folder cannot be read: {error}"));
            RunList { problem, ..RunList::default() }
        });
        RunList { folder: Some(self.path.display().to_string()), ..list }
    }

    fn latest(&self, most: usize) -> io::Result<RunList> {
        let Some(root) = self.root()? else { return Ok(RunList::default()) };
        let Places { latest, is_cut } = places(&root)?;
        let mut left_out = latest.len().saturating_sub(MOST_OPENED);
        // Names, and not open folders, of which a process may have few.
        let mut found: Vec<(bool, SystemTime, [String; 2])> = Vec::new();
        for (changed, [preset, name]) in latest.into_iter().take(MOST_OPENED) {
            let Some(run) = run_at(&root, &preset, &name) else { continue };
            found.push((run.is_held(), changed, [preset, name]));
        }
        // What trains goes first; the others are in their order already.
        found.sort_by_key(|(is_held, ..)| !is_held);
        left_out += found.len().saturating_sub(most);
        let (mut budget, mut runs) = (Budget(MOST_BYTES), Vec::new());
        for (_, _, [preset, name]) in found.into_iter().take(most) {
            // A run of which not all could be read would be told wrongly.
            if budget.0 < MOST_OF_A_RUN {
                left_out += 1;
                continue;
            }
            let Some(run) = run_at(&root, &preset, &name) else { continue };
            runs.push(summary::read(&format!("{preset}/{name}"), &run, &mut budget).summary);
        }
        Ok(RunList { runs, left_out, incomplete: is_cut, ..RunList::default() })
    }

    /// Returns a run with its curves.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub fn show(&self, preset: &str, name: &str) -> Result<RunDetail> {
        let run = self.run(preset, name)?;
        let mut budget = Budget(MOST_BYTES);
        let mut found = summary::read(&format!("{preset}/{name}"), &run, &mut budget);
        let settings = summary::settings(&run, &mut budget).into_iter().take(MOST_SETTINGS).collect();
        let (trials, trials_left_out) = match journal::leaderboard(&run, &mut budget) {
            Some(mut board) => {
                let left_out = board.len().saturating_sub(MOST_TRIALS);
                board.truncate(MOST_TRIALS);
                (board, left_out)
            }
            None => {
                let trials = latest_trials(std::mem::take(&mut found.trials));
                let left_out = found.summary.trials.unwrap_or(0).saturating_sub(trials.len());
                (trials, left_out)
            }
        };
        let (curves, every) = thinned(std::mem::take(&mut found.epochs));
        let summary::Found { summary, search, objective, .. } = found;
        Ok(RunDetail { summary, curves, every, settings, search, objective, trials, trials_left_out })
    }

    /// Returns the report page of a run.
    ///
    /// # Errors
    /// [`Error::NotFound`], also for one that is too large.
    pub fn report(&self, preset: &str, name: &str) -> Result<Vec<u8>> {
        let run = self.run(preset, name)?;
        run.bytes(REPORT_FILE, MOST_REPORT_BYTES).ok_or_else(|| {
            let why =
                if run.has(REPORT_FILE) { "has a report that is too large to show" } else { "has no report to show" };
            Error::NotFound(format!("the run {preset}/{name} {why}"))
        })
    }

    /// Opens a run.
    fn run(&self, preset: &str, name: &str) -> Result<Folder> {
        let root =
            self.root().map_err(|error| Error::NotFound(format!("the folder of runs cannot be read: {error}")))?;
        let open = || root.filter(|_| is_name(preset) && is_name(name)).and_then(|root| run_at(&root, preset, name));
        let shown = format!("{preset}/{name}");
        open().ok_or_else(|| Error::NotFound(format!("there is no run {}; GET /runs lists them", quote(&shown))))
    }

    /// Opens the folder; `None` if it is not there.
    fn root(&self) -> io::Result<Option<Folder>> {
        match Folder::open(&self.path) {
            Ok(folder) => Ok(Some(folder)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// Opens a run by the names of its folder and the one above it; `None` if there is none.
fn run_at(root: &Folder, preset: &str, name: &str) -> Option<Folder> {
    let run = root.folder(preset).ok()?.folder(name).ok()?;
    summary::is_run(&run).then_some(run)
}

/// Returns the places where runs may be, by their dates. A folder among them that cannot be read has none.
///
/// # Errors
/// Those of the system when the folder itself cannot be read.
fn places(root: &Folder) -> io::Result<Places> {
    let presets = root.folders(MOST_ENTRIES, is_name)?;
    let mut places = Places { latest: Vec::new(), is_cut: presets.is_cut };
    let mut entries = presets.entries;
    for (preset, _) in presets.folders {
        let most = MOST_ENTRIES.saturating_sub(entries);
        let Ok(runs) = root.folder(&preset).and_then(|parent| parent.folders(most, is_name)) else { continue };
        entries += runs.entries;
        places.is_cut |= runs.is_cut;
        places.latest.extend(runs.folders.into_iter().map(|(name, changed)| (changed, [preset.clone(), name])));
    }
    places.latest.sort_unstable_by(|a, b| b.cmp(a));
    Ok(places)
}

/// Returns true for a name that leads into no other folder.
fn is_name(name: &str) -> bool {
    name.parse::<ModelName>().is_ok()
}

/// Returns epochs at even distances, about [`MOST_POINTS`] at the most with the first and the last, and their distance.
fn thinned(epochs: Vec<EpochFigures>) -> (Vec<EpochFigures>, usize) {
    let numbers = || epochs.iter().map(|epoch| epoch.epoch);
    let (Some(first), Some(last)) = (numbers().min(), numbers().max()) else { return (epochs, 1) };
    let step = (last - first).saturating_add(1).div_ceil(MOST_POINTS);
    let (end, mut next) = (epochs.len() - 1, 0);
    let mut kept = Vec::new();
    for (place, epoch) in epochs.into_iter().enumerate() {
        if epoch.epoch >= next || place == end {
            next = epoch.epoch.saturating_add(step);
            kept.push(epoch);
        }
    }
    let distance = (last - first) / kept.len().saturating_sub(1).max(1);
    (kept, step.max(distance))
}

/// Returns at most [`MOST_TRIALS`] trials of a search in their order: the latest, and the best so far.
fn latest_trials(mut trials: Vec<TrialFigures>) -> Vec<TrialFigures> {
    let older = trials.len().saturating_sub(MOST_TRIALS);
    if older == 0 {
        return trials;
    }
    let best = summary::best_trial(&trials).map(|best| best.trial);
    let kept = trials.split_off(older);
    match trials.into_iter().find(|trial| Some(trial.trial) == best) {
        Some(best) => std::iter::once(best).chain(kept.into_iter().skip(1)).collect(),
        None => kept,
    }
}

#[cfg(test)]
mod tests;
