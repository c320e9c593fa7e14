//! The runs in a folder, as they can be shown while they train and afterwards.
//!
//! A run directory is data from outside: no link in it is followed, what cannot be read is left out, and every answer is
//! bounded in size and number.

mod folder;
mod journal;
mod summary;

use std::path::{Path, PathBuf};
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

/// The most entries of a folder that are looked at, and the most runs among which the newest are chosen.
const MOST_ENTRIES: usize = 2000;
/// The most that the files of one run take of that: its epochs, trials and settings.
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
#[derive(Debug, Serialize, ToSchema)]
pub struct RunList {
    /// The folder, as the server was told; null if it shows no runs (`--runs`).
    pub folder: Option<String>,
    /// The runs: those that train now, and then the others, the one that changed last first.
    pub runs: Vec<RunSummary>,
    /// Older ones that are not listed.
    pub left_out: usize,
}

/// A run with its curves.
#[derive(Debug, Serialize, ToSchema)]
pub struct RunDetail {
    /// Its entry in the list.
    #[serde(flatten)]
    pub summary: RunSummary,
    /// The figures of each epoch so far. Of more than 2000 epochs, every `every`th one and the last.
    pub curves: Vec<EpochFigures>,
    /// The distance of two epochs in `curves`.
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
    /// The trials of a search in their order, or those of a leaderboard, the best first; at most 1000.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub trials: Vec<TrialFigures>,
}

impl Runs {
    /// Shows the runs of a folder, which need not be there yet.
    pub fn new(path: PathBuf) -> Self {
        Self { path }
    }

    /// Returns the runs that changed last, at most so many.
    ///
    /// # Errors
    /// [`Error::Io`] when the folder cannot be read.
    pub fn list(&self, most: usize) -> Result<RunList> {
        let folder = Some(self.path.display().to_string());
        let Some(root) = self.open()? else { return Ok(RunList { folder, runs: Vec::new(), left_out: 0 }) };
        // Names, and not open folders, of which a process may have few.
        let mut found: Vec<(bool, SystemTime, [String; 2])> = Vec::new();
        for preset in names(&root, &self.path)? {
            let Ok(parent) = root.folder(&preset) else { continue };
            for name in names(&parent, &self.path)? {
                if found.len() == MOST_ENTRIES {
                    break;
                }
                let Ok(run) = parent.folder(&name) else { continue };
                let Some(changed) = summary::is_run(&run).then(|| run.changed()).flatten() else { continue };
                found.push((run.is_held(), changed, [preset.clone(), name]));
            }
        }
        found.sort_by(|a, b| (b.0, b.1, &a.2).cmp(&(a.0, a.1, &b.2)));
        let mut left_out = found.len().saturating_sub(most);
        let (mut budget, mut runs) = (Budget(MOST_BYTES), Vec::new());
        for (_, _, [preset, name]) in found.into_iter().take(most) {
            // A run of which not all could be read would be told wrongly.
            if budget.0 < MOST_OF_A_RUN {
                left_out += 1;
                continue;
            }
            let Some(run) = root.folder(&preset).ok().and_then(|preset| preset.folder(&name).ok()) else { continue };
            runs.push(summary::read(&format!("{preset}/{name}"), &run, &mut budget).summary);
        }
        Ok(RunList { folder, runs, left_out })
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
        let mut trials = journal::leaderboard(&run, &mut budget).unwrap_or_else(|| std::mem::take(&mut found.trials));
        trials.truncate(MOST_TRIALS);
        let (curves, every) = thinned(std::mem::take(&mut found.epochs));
        let summary::Found { summary, search, objective, .. } = found;
        Ok(RunDetail { summary, curves, every, settings, search, objective, trials })
    }

    /// Returns the report page of a run.
    ///
    /// # Errors
    /// [`Error::NotFound`], also for one that is too large.
    pub fn report(&self, preset: &str, name: &str) -> Result<Vec<u8>> {
        let report = self.run(preset, name)?.bytes(REPORT_FILE, MOST_REPORT_BYTES);
        report.ok_or_else(|| Error::NotFound(format!("the run {preset}/{name} has no report to show")))
    }

    fn run(&self, preset: &str, name: &str) -> Result<Folder> {
        let open = || {
            if !(is_name(preset) && is_name(name)) {
                return None;
            }
            let run = self.open().ok()??.folder(preset).ok()?.folder(name).ok()?;
            summary::is_run(&run).then_some(run)
        };
        let shown = format!("{preset}/{name}");
        open().ok_or_else(|| Error::NotFound(format!("there is no run {}; GET /runs lists them", quote(&shown))))
    }

    /// Opens the folder; `None` if it is not there.
    fn open(&self) -> Result<Option<Folder>> {
        match Folder::open(&self.path) {
            Ok(folder) => Ok(Some(folder)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Error::io("read", &self.path)(error)),
        }
    }
}

/// Returns the names in a folder that runs and their presets can have.
fn names(folder: &Folder, path: &Path) -> Result<impl Iterator<Item = String>> {
    let names = folder.names(MOST_ENTRIES).map_err(Error::io("read", path))?;
    Ok(names.into_iter().filter(|name| is_name(name)))
}

/// Returns true for a name that leads into no other folder.
fn is_name(name: &str) -> bool {
    name.parse::<ModelName>().is_ok()
}

/// Returns at most [`MOST_POINTS`] epochs, the last among them, and their distance.
fn thinned(epochs: Vec<EpochFigures>) -> (Vec<EpochFigures>, usize) {
    let every = epochs.len().div_ceil(MOST_POINTS).max(1);
    let last = epochs.len().saturating_sub(1);
    let kept = epochs.into_iter().enumerate().filter(|(index, _)| index.is_multiple_of(every) || *index == last);
    (kept.map(|(_, epoch)| epoch).collect(), every)
}

#[cfg(test)]
mod tests;
