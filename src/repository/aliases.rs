//! `models/<model>/aliases.json`: the version that each alias points to.
//!
//! Several processes may share a repository: a change reads, checks and replaces the file under a
//! lock, by write, flush and rename, and counts a generation up. A repository that cannot be written
//! leaves its aliases in the state directory; the greater generation of the two counts.

use std::collections::BTreeMap;
use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::digest::sha256_hex;
use super::said;
use super::storage::{Files, Mark, Storage, sync_folder};
use crate::error::{Error, Result};
use crate::files;
use crate::ids::{AliasName, ModelName, Version};

/// The file with the aliases of a model.
pub const ALIASES_FILE: &str = "aliases.json";
const LOCK_FILE: &str = ".aliases.lock";

/// A larger file is a mistake.
const MAX_BYTES: u64 = 1 << 20;
/// The greatest number of aliases of one model.
const MAX_ALIASES: usize = 100;
/// The number of earlier versions that an alias remembers for a rollback.
const MAX_HISTORY: usize = 20;
/// The longest wait for another process that holds the lock, which it needs for milliseconds.
const LOCK_PATIENCE: Duration = Duration::from_secs(2);
const LOCK_PAUSE: Duration = Duration::from_millis(5);

/// The target of an alias.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Alias {
    /// The version that it points to now.
    pub version: Version,
    /// The versions that it pointed to before, oldest first.
    #[serde(default)]
    pub history: Vec<Version>,
}

/// The aliases of one model.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Aliases {
    /// The number of changes so far.
    pub generation: u64,
    /// The aliases by name.
    pub aliases: BTreeMap<AliasName, Alias>,
}

impl Aliases {
    /// Points an alias to a version.
    ///
    /// # Errors
    /// [`Error::Conflict`] when it does not point where the caller expects (`Version(0)`: that it
    /// does not exist yet), or when there are too many aliases.
    pub fn point(&mut self, alias: &AliasName, version: Version, expected: Option<Version>) -> Result<()> {
        let current = self.aliases.get(alias).map(|alias| alias.version);
        if let Some(expected) = expected
            && current.unwrap_or(Version(0)) != expected
        {
            let points = current.map_or("does not exist".into(), |version| format!("points to version {version}"));
            return Err(Error::Conflict(format!("alias \"{alias}\" {points}, the request expects {expected}")));
        }
        if current.is_none() && self.aliases.len() >= MAX_ALIASES {
            return Err(Error::Conflict(format!("the model has {MAX_ALIASES} aliases already")));
        }
        let entry = self.aliases.entry(alias.clone()).or_insert(Alias { version, history: Vec::new() });
        if entry.version != version {
            entry.history.push(entry.version);
            let surplus = entry.history.len().saturating_sub(MAX_HISTORY);
            entry.history.drain(..surplus);
            entry.version = version;
        }
        Ok(())
    }

    /// Points an alias back to its previous version, and returns that version.
    ///
    /// # Errors
    /// [`Error::Conflict`] when there is no earlier version; the alias must exist.
    pub fn go_back(&mut self, alias: &AliasName) -> Result<Version> {
        let none = || Error::Conflict(format!("alias \"{alias}\" has no earlier version"));
        let entry = self.aliases.get_mut(alias).ok_or_else(none)?;
        entry.version = entry.history.pop().ok_or_else(none)?;
        Ok(entry.version)
    }
}

/// The aliases of all models, on disk.
#[derive(Debug, Clone)]
pub struct AliasStore {
    models: PathBuf,
    fallback: PathBuf,
}

impl AliasStore {
    /// Returns the store of a repository, with the state directory as the fallback for a read-only one.
    pub fn new(storage: &Storage, state_dir: &Path) -> Self {
        match storage {
            Storage::Folder(models) => Self { models: models.clone(), fallback: state_dir.join("aliases") },
        }
    }

    /// Returns the metadata of the files that hold a model's aliases, where they exist.
    pub(super) fn marks(&self, model: &ModelName) -> [Option<Mark>; 2] {
        let mark = |folder: &Path, file: &str| Files::from(folder).mark(file);
        [mark(&self.models.join(model.as_str()), ALIASES_FILE), mark(&self.fallback, &fallback_file(model))]
    }

    /// Returns the aliases of a model; none if there is no file.
    ///
    /// # Errors
    /// [`Error::Repository`] when a file is not what this store writes, [`Error::Io`].
    pub fn read(&self, model: &ModelName) -> Result<Aliases> {
        let beside = read_aliases(&self.models.join(model.as_str()), ALIASES_FILE)?;
        let fallback = read_aliases(&self.fallback, &fallback_file(model))?;
        Ok(if fallback.generation > beside.generation { fallback } else { beside })
    }

    /// Changes the aliases of a model and returns the result; nothing is written when `change` fails or changes
    /// nothing.
    ///
    /// # Errors
    /// What `change` fails with; [`Error::Conflict`] when the present file is damaged or another
    /// process holds the lock; [`Error::Io`] when neither folder can be written.
    pub fn update(&self, model: &ModelName, change: impl FnOnce(&mut Aliases) -> Result<()>) -> Result<Aliases> {
        let beside = self.models.join(model.as_str());
        let (folder, file, lock) = match lock(&beside.join(LOCK_FILE)) {
            Ok(lock) => (beside, ALIASES_FILE.to_owned(), lock),
            Err(LockError::ReadOnly) => {
                fs::create_dir_all(&self.fallback).map_err(Error::io("create", &self.fallback))?;
                let lock = lock(&self.fallback.join(LOCK_FILE)).map_err(LockError::into_error)?;
                (self.fallback.clone(), fallback_file(model), lock)
            }
            Err(error) => return Err(error.into_error()),
        };
        let before = self.read(model).map_err(|error| {
            Error::Conflict(format!(
                "the aliases of model \"{model}\" cannot be read, so they are not changed: {}",
                error.without_path()
            ))
        })?;
        let mut after = before.clone();
        change(&mut after)?;
        if after != before {
            after.generation = before.generation.checked_add(1).ok_or_else(|| {
                Error::Conflict(format!("the aliases of model \"{model}\" have the last generation that there is; remove {ALIASES_FILE} and point them anew"))
            })?;
            let text = serde_json::to_string_pretty(&after)
                .map_err(|error| Error::internal("the aliases could not be written", error))?;
            let place = folder.join(file);
            files::replace(&place, format!("{text}\n").as_bytes()).map_err(Error::io("replace", &place))?;
            sync_folder(&folder)?;
        }
        drop(lock);
        Ok(after)
    }
}

/// Returns the name of a model's file in the state directory; names have at most 255 bytes there.
fn fallback_file(model: &ModelName) -> String {
    const ENDING: &str = ".json";
    match model.as_str().len() + ENDING.len() {
        ..=255 => format!("{model}{ENDING}"),
        _ => format!("{}{ENDING}", sha256_hex(model.as_str().as_bytes())),
    }
}

fn read_aliases(folder: &Path, file: &str) -> Result<Aliases> {
    let Some(bytes) = Files::from(folder).read(file, MAX_BYTES)? else { return Ok(Aliases::default()) };
    serde_json::from_slice(&bytes)
        .map_err(|error| Error::Repository { what: ALIASES_FILE.into(), problem: said::of_json(&error) })
}

enum LockError {
    ReadOnly,
    Held,
    Io(Error),
}

impl LockError {
    fn into_error(self) -> Error {
        match self {
            Self::Held => Error::Conflict("another process is changing the aliases; try again".into()),
            Self::ReadOnly => Error::Conflict("neither the repository nor the state directory can be written".into()),
            Self::Io(error) => error,
        }
    }
}

/// Takes the lock of a folder; it is free again when the file is dropped, or its process has ended.
#[expect(clippy::disallowed_methods, reason = "nothing tells when another process lets go of a file lock")]
fn lock(path: &Path) -> std::result::Result<File, LockError> {
    let opened = files::open(path, File::options().create(true).truncate(false).write(true));
    let file = opened.map_err(|error| match error.kind() {
        io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::PermissionDenied => LockError::ReadOnly,
        _ => LockError::Io(Error::io("lock", path)(error)),
    })?;
    let patience = Instant::now() + LOCK_PATIENCE;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) if Instant::now() < patience => std::thread::sleep(LOCK_PAUSE),
            Err(TryLockError::WouldBlock) => return Err(LockError::Held),
            Err(TryLockError::Error(error)) => return Err(LockError::Io(Error::io("lock", path)(error))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn store() -> (tempfile::TempDir, AliasStore, ModelName, AliasName) {
        let root = tempfile::TempDir::new().unwrap();
        fs::create_dir_all(root.path().join("models/m")).unwrap();
        let store = AliasStore::new(&Storage::Folder(root.path().join("models")), &root.path().join("state"));
        (root, store, "m".parse().unwrap(), "stable".parse().unwrap())
    }

    #[test]
    fn an_alias_moves_by_compare_and_set_and_remembers_where_it_was() {
        let (_root, store, model, stable) = store();
        let point = |version, expected: Option<u64>| {
            store.update(&model, |aliases| aliases.point(&stable, Version(version), expected.map(Version)))
        };
        assert_eq!(point(1, Some(0)).unwrap().generation, 1);
        assert!(point(2, Some(0)).unwrap_err().to_string().contains("points to version 1"));
        assert!(point(2, Some(3)).is_err());
        assert_eq!(point(2, Some(1)).unwrap().generation, 2);
        assert_eq!(point(2, None).unwrap().generation, 2, "nothing changed");
        assert_eq!(store.read(&model).unwrap().aliases[&stable].history, [Version(1)]);
        let back = store.update(&model, |aliases| aliases.go_back(&stable).map(drop)).unwrap();
        assert_eq!((back.aliases[&stable].version, back.generation), (Version(1), 3));
        assert!(store.update(&model, |aliases| aliases.go_back(&stable).map(drop)).is_err());
    }

    #[test]
    fn the_longest_name_of_a_model_makes_a_name_of_a_file() {
        for length in [1, 250, 251, 255] {
            let model: ModelName = "m".repeat(length).parse().unwrap();
            assert!(fallback_file(&model).len() <= 255);
        }
    }

    #[test]
    fn the_history_is_bounded() {
        let (_root, store, model, stable) = store();
        for version in 1..=50 {
            store.update(&model, |aliases| aliases.point(&stable, Version(version), None)).unwrap();
        }
        assert_eq!(store.read(&model).unwrap().aliases[&stable].history.len(), MAX_HISTORY);
    }

    #[test]
    fn many_writers_lose_no_change() {
        let (_root, store, model, _) = store();
        std::thread::scope(|scope| {
            for writer in 0..8 {
                let (store, model) = (&store, &model);
                scope.spawn(move || {
                    let alias: AliasName = format!("w{writer}").parse().unwrap();
                    for version in 1..=10 {
                        store.update(model, |aliases| aliases.point(&alias, Version(version), None)).unwrap();
                    }
                });
            }
        });
        let read = store.read(&model).unwrap();
        assert_eq!((read.generation, read.aliases.len()), (80, 8));
    }

    #[test]
    fn a_damaged_file_is_refused_and_left_alone() {
        let (root, store, model, stable) = store();
        let file = root.path().join("models/m/aliases.json");
        for garbage in ["", "{", "[]", "{\"generation\": 1}", "\0\0\0"] {
            fs::write(&file, garbage).unwrap();
            assert!(store.read(&model).is_err(), "{garbage:?}");
            let refused = store.update(&model, |aliases| aliases.point(&stable, Version(1), None)).unwrap_err();
            assert!(refused.to_string().contains("aliases.json"), "{refused}");
            assert_eq!(fs::read_to_string(&file).unwrap(), garbage);
        }
    }
}
