//! The directory of a run, `runs/<preset>/<number>`: everything the run was told, did and made.

use std::fs::{self, File, TryLockError};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::progress::EpochReport;
use crate::error::{Error, Result};

/// The resolved arguments.
pub(super) const ARGUMENTS_FILE: &str = "args.toml";
/// The state to go on from.
pub(super) const STATE_FILE: &str = "state.safetensors";

/// The version that a run was published as.
pub(super) const PUBLISHED_FILE: &str = "published.json";

/// Tries to hold a directory that somebody looks at in this very moment.
const TRIES: usize = 100;

const CSV_HEADER: &str =
    "epoch,loss,accuracy,validation_loss,validation_accuracy,learning_rate,images_per_second,duration_seconds";

/// The directory of a run. While this value or a clone of it lives, the directory is held: whoever looks at it can tell
/// a run that trains from one whose process died.
#[derive(Debug, Clone)]
pub struct RunDir {
    path: PathBuf,
    _held: Option<Arc<File>>,
}

/// Holds a directory by an exclusive lock, where the file system has locks. Whoever looks at it takes a shared one for a
/// moment.
fn hold(path: &Path) -> Option<Arc<File>> {
    let folder = File::open(path).ok()?;
    for _ in 0..TRIES {
        match folder.try_lock() {
            Ok(()) => return Some(Arc::new(folder)),
            Err(TryLockError::WouldBlock) => std::thread::yield_now(),
            Err(TryLockError::Error(_)) => return None,
        }
    }
    None
}

impl RunDir {
    fn held(path: PathBuf) -> Self {
        Self { _held: hold(&path), path }
    }

    /// Makes a new directory, `<runs>/<preset>/<name>` or the next free number; never reuses one.
    ///
    /// # Errors
    /// [`Error::Config`] when the name is taken, [`Error::Io`].
    pub fn create(runs: &Path, preset: &str, name: Option<&str>) -> Result<Self> {
        let parent = runs.join(preset);
        fs::create_dir_all(&parent).map_err(Error::io("create", &parent))?;
        if let Some(name) = name {
            // The alphabet of model names keeps a run inside its folder.
            name.parse::<crate::ids::ModelName>()?;
            let path = parent.join(name);
            return match fs::create_dir(&path) {
                Ok(()) => Ok(Self::held(path)),
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Err(Error::Config {
                    setting: "name".into(),
                    problem: format!(
                        "{} exists and runs are never overwritten; choose another name, or go on with --resume",
                        path.display()
                    ),
                }),
                Err(error) => Err(Error::io("create", path)(error)),
            };
        }
        for number in 1.. {
            let path = parent.join(number.to_string());
            match fs::create_dir(&path) {
                Ok(()) => return Ok(Self::held(path)),
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(Error::io("create", path)(error)),
            }
        }
        unreachable!("there is always a next number")
    }

    /// The directory of an earlier run.
    ///
    /// # Errors
    /// [`Error::Config`] when it holds no saved state.
    pub fn open(path: &Path) -> Result<Self> {
        if path.join(STATE_FILE).is_file() && path.join(ARGUMENTS_FILE).is_file() {
            return Ok(Self::held(path.to_owned()));
        }
        let problem = format!(
            "{} holds no {STATE_FILE} and {ARGUMENTS_FILE}; it is not the directory of an interrupted run",
            path.display()
        );
        Err(Error::Config { setting: "resume".into(), problem })
    }

    /// The directory of an earlier search, whose journal says whether it is one.
    pub(super) fn of_search(path: &Path) -> Self {
        Self::held(path.to_owned())
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The state to go on from.
    pub fn state_file(&self) -> PathBuf {
        self.path.join(STATE_FILE)
    }

    /// Writes one file.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn write(&self, name: &str, text: &str) -> Result<()> {
        let path = self.path.join(name);
        fs::write(&path, text).map_err(Error::io("write", path))
    }

    /// Appends an epoch to `metrics.jsonl` and `metrics.csv`.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn append_epoch(&self, report: &EpochReport) -> Result<()> {
        let json =
            serde_json::to_string(report).map_err(|error| Error::internal("an epoch could not be written", error))?;
        self.append("metrics.jsonl", "", &json)?;
        let cell = |number: Option<f64>| number.map_or_else(String::new, |number| number.to_string());
        let validation =
            [report.validation.map(|score| score.loss), report.validation.and_then(|score| score.accuracy)];
        let [validation_loss, validation_accuracy] = validation.map(cell);
        let row = format!(
            "{},{},{},{validation_loss},{validation_accuracy},{},{},{}",
            report.epoch,
            report.loss,
            cell(report.accuracy),
            report.learning_rate,
            report.samples_per_second,
            report.duration_seconds
        );
        self.append("metrics.csv", CSV_HEADER, &row)
    }

    /// Writes `metrics.jsonl` and `metrics.csv` anew: what a run that died did after it was last saved is done again.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn rewrite_epochs(&self, history: &[EpochReport]) -> Result<()> {
        for name in ["metrics.jsonl", "metrics.csv"] {
            let path = self.path.join(name);
            match fs::remove_file(&path) {
                Ok(()) => {}
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => return Err(Error::io("remove", path)(error)),
            }
        }
        history.iter().try_for_each(|report| self.append_epoch(report))
    }

    fn append(&self, name: &str, header: &str, line: &str) -> Result<()> {
        let path = self.path.join(name);
        let fresh = !path.exists() && !header.is_empty();
        let mut file =
            fs::OpenOptions::new().create(true).append(true).open(&path).map_err(Error::io("open", &path))?;
        let text = if fresh { format!("{header}\n{line}\n") } else { format!("{line}\n") };
        file.write_all(text.as_bytes()).map_err(Error::io("write", &path))
    }

    /// Writes the counts of `confusion[truth][predicted]` as `confusion_matrix.csv`.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn write_confusion(&self, labels: &[String], confusion: &[Vec<u64>]) -> Result<()> {
        let labels: Vec<String> = labels.iter().map(|label| field(label)).collect();
        let mut csv = format!("true\\predicted,{}\n", labels.join(","));
        for (label, row) in labels.iter().zip(confusion) {
            let counts: Vec<String> = row.iter().map(u64::to_string).collect();
            csv.push_str(&format!("{label},{}\n", counts.join(",")));
        }
        self.write("confusion_matrix.csv", &csv)
    }
}

/// A field of a CSV file (RFC 4180).
fn field(text: &str) -> String {
    if text.contains([',', '"', '\n', '\r']) { format!("\"{}\"", text.replace('"', "\"\"")) } else { text.to_owned() }
}
