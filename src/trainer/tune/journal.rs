//! The journal of a search: one line of JSON for what is searched and one for each trial that is over, flushed to
//! the disk before the next begins, so that a search that dies loses the trial under way and nothing else.

use std::fs::{self, File, OpenOptions};
use std::io::{Seek, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{Objective, Sampler};
use crate::error::{Error, Result};
use crate::trainer::progress::Score;

/// The journal's name in the run directory.
const FILE: &str = "journal.jsonl";

/// The plan of a search.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Header {
    /// Of the settings every trial begins from, all of them, as TOML.
    pub(super) settings: String,
    pub(super) search: Vec<String>,
    pub(super) trials: usize,
    pub(super) sampler: Sampler,
    pub(super) objective: Objective,
    pub(super) halving: usize,
    pub(super) first_rung: usize,
    #[serde(default)]
    pub(super) defaults_first: bool,
}

/// The outcome of a trial.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It trained to its end.
    Finished,
    /// It was not among the best at a rung.
    Stopped,
    /// Its loss was no longer a number, or its settings do not go together.
    Failed,
}

/// A trial that is over.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Trial {
    /// Its number, from 1.
    pub trial: usize,
    /// The settings it was given beside those of all trials.
    pub settings: toml::Table,
    /// Its outcome.
    pub outcome: Outcome,
    /// Its objective, the less the better: the loss, or one minus the accuracy; none if it failed.
    pub objective: Option<f64>,
    /// The epoch that figure is of, from 1.
    pub epoch: Option<usize>,
    /// That epoch's figures on the validation data.
    pub validation: Option<Score>,
    /// The objective at each rung it came to.
    pub rungs: Vec<f64>,
    /// Epochs trained.
    pub epochs: usize,
    /// Wall time.
    pub seconds: f64,
    /// Why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

/// An open journal.
#[derive(Debug)]
pub(super) struct Journal {
    path: PathBuf,
    file: File,
}

impl Journal {
    /// Begins one in a run directory.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub(super) fn create(run: &Path, header: &Header) -> Result<Self> {
        let path = run.join(FILE);
        let file = OpenOptions::new().create_new(true).append(true).open(&path).map_err(Error::io("create", &path))?;
        let mut journal = Self { path, file };
        journal.append(header)?;
        Ok(journal)
    }

    /// Opens one to go on with; what a write that was cut short left at its end is taken away.
    ///
    /// # Errors
    /// [`Error::Config`] when there is none, [`Error::Data`] when a line cannot be read.
    pub(super) fn open(run: &Path) -> Result<(Self, Header, Vec<Trial>)> {
        let path = run.join(FILE);
        let text = fs::read_to_string(&path).map_err(|error| Error::Config {
            setting: "resume".into(),
            problem: format!("{} is not the directory of a search: {FILE}: {error}", run.display()),
        })?;
        let whole = text.rfind('\n').map_or(0, |end| end + 1);
        let damaged = |line: usize, problem: &str| Error::Data {
            file: path.display().to_string(),
            problem: format!("line {line}: {problem}"),
        };
        let mut lines = text[..whole].lines().enumerate();
        let (_, first) = lines.next().ok_or_else(|| damaged(1, "there is none; the search had not begun"))?;
        let header = serde_json::from_str(first).map_err(|error| damaged(1, &error.to_string()))?;
        let mut trials: Vec<Trial> = Vec::new();
        for (index, line) in lines {
            let trial: Trial = serde_json::from_str(line).map_err(|error| damaged(index + 1, &error.to_string()))?;
            if trial.trial != trials.len() + 1 {
                return Err(damaged(index + 1, &format!("expected trial {}, got {}", trials.len() + 1, trial.trial)));
            }
            trials.push(trial);
        }
        let mut file = OpenOptions::new().write(true).open(&path).map_err(Error::io("open", &path))?;
        file.set_len(whole as u64).map_err(Error::io("shorten", &path))?;
        file.seek(std::io::SeekFrom::End(0)).map_err(Error::io("read", &path))?;
        Ok((Self { path, file }, header, trials))
    }

    /// Adds a line, and returns when it is on the disk.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub(super) fn append(&mut self, line: &impl Serialize) -> Result<()> {
        let mut text =
            serde_json::to_string(line).map_err(|error| Error::internal("the journal could not be written", error))?;
        text.push('\n');
        self.file
            .write_all(text.as_bytes())
            .and_then(|()| self.file.sync_data())
            .map_err(Error::io("write", &self.path))
    }
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;

    fn trial(number: usize) -> Trial {
        Trial {
            trial: number,
            settings: toml::from_str("batch_size = 32\noptimizer.learning_rate = 0.00123").unwrap(),
            outcome: Outcome::Finished,
            objective: Some(0.125),
            epoch: Some(2),
            validation: None,
            rungs: vec![0.5, 0.25],
            epochs: 3,
            seconds: 1.5,
            problem: None,
        }
    }

    #[test]
    fn a_journal_cut_anywhere_in_its_last_line_goes_on_after_the_one_before() {
        let header = Header {
            settings: "epochs = 3".into(),
            search: vec!["batch_size=[32,64]".into()],
            trials: 9,
            sampler: Sampler::Tpe,
            objective: Objective::Loss,
            halving: 3,
            first_rung: 1,
            defaults_first: false,
        };
        let whole = {
            let run = TempDir::new().unwrap();
            let mut journal = Journal::create(run.path(), &header).unwrap();
            (1..3).for_each(|number| journal.append(&trial(number)).unwrap());
            fs::read(run.path().join(FILE)).unwrap()
        };
        let second = whole.iter().enumerate().filter(|(_, byte)| **byte == b'\n').nth(1).unwrap().0 + 1;
        for cut in [second, second + 1, second + 40, whole.len() - 1] {
            let run = TempDir::new().unwrap();
            fs::write(run.path().join(FILE), &whole[..cut]).unwrap();
            let (mut journal, read, trials) = Journal::open(run.path()).unwrap();
            assert_eq!((read, trials), (header.clone(), vec![trial(1)]), "{cut}");
            journal.append(&trial(2)).unwrap();
            assert!(fs::read(run.path().join(FILE)).unwrap() == whole, "{cut}");
        }
    }

    #[test]
    fn what_is_no_journal_is_refused() {
        let run = TempDir::new().unwrap();
        assert!(matches!(Journal::open(run.path()), Err(Error::Config { .. })));
        for text in ["", "{", "nonsense\n", "{\"settings\":\"\"}\n"] {
            fs::write(run.path().join(FILE), text).unwrap();
            assert!(matches!(Journal::open(run.path()), Err(Error::Data { .. })), "{text}");
        }
    }
}
