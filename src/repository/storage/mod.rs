//! The places where a repository's files are kept, as a closed set, and handles to the files.
//!
//! A handle gives the bytes of a file by its name. Nothing else knows where the files lie: loading, settings and
//! hashes work on bytes, so that a further kind of storage is a further variant here.

mod folder;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

pub(super) use folder::{sync_folder, write_durably};

use crate::error::Result;

/// A source of models and versions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Storage {
    /// A folder of this machine, or one that is mounted.
    Folder(PathBuf),
}

impl Storage {
    /// Returns the handle to the top of the repository.
    pub(super) fn root(&self) -> Files {
        match self {
            Self::Folder(root) => root.as_path().into(),
        }
    }

    /// Returns the folder that the system can watch for changes, if there is one.
    pub(super) fn watchable(&self) -> Option<&Path> {
        match self {
            Self::Folder(root) => Some(root),
        }
    }

    /// Checks that the repository can be read.
    ///
    /// # Errors
    /// [`Error::Io`](crate::error::Error::Io) when it cannot.
    pub fn check(&self) -> Result<()> {
        self.root().entries(1).map(drop)
    }
}

impl From<&Path> for Storage {
    fn from(folder: &Path) -> Self {
        Self::Folder(folder.to_owned())
    }
}

impl fmt::Display for Storage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.root().fmt(f)
    }
}

/// The files of a repository, of a model or of one of its versions. Clones are cheap.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Files(Place);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Place {
    Folder(Arc<Path>),
}

impl Files {
    /// Returns the handle to a folder among these files.
    pub(super) fn inside(&self, folder: &str) -> Self {
        match &self.0 {
            Place::Folder(path) => path.join(folder).as_path().into(),
        }
    }

    /// Returns the bytes of a plain file, or `None` if there is none.
    ///
    /// # Errors
    /// [`Error::Repository`](crate::error::Error::Repository) when it is no plain file or larger than `limit` bytes,
    /// [`Error::Io`](crate::error::Error::Io).
    pub fn read(&self, name: &str, limit: u64) -> Result<Option<Vec<u8>>> {
        match &self.0 {
            Place::Folder(path) => folder::read_file(path, name, limit),
        }
    }

    /// Returns the metadata of a file, which changes with its content; `None` if there is no such file.
    pub(super) fn mark(&self, name: &str) -> Option<Mark> {
        match &self.0 {
            Place::Folder(path) => folder::mark(&path.join(name)),
        }
    }

    /// Returns at most `limit` entries at the top of these files that are no plain files, sorted. Names that begin
    /// with a dot are staging areas and other people's business, and are left out.
    pub(super) fn entries(&self, limit: usize) -> Result<Vec<Entry>> {
        match &self.0 {
            Place::Folder(path) => folder::entries(path, limit),
        }
    }

    /// Returns the folder on this machine, for commands that work on one.
    pub fn folder(&self) -> &Path {
        match &self.0 {
            Place::Folder(path) => path,
        }
    }
}

impl From<&Path> for Files {
    fn from(folder: &Path) -> Self {
        Self(Place::Folder(folder.into()))
    }
}

impl From<&PathBuf> for Files {
    fn from(folder: &PathBuf) -> Self {
        folder.as_path().into()
    }
}

impl From<&Self> for Files {
    fn from(files: &Self) -> Self {
        files.clone()
    }
}

impl fmt::Display for Files {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Place::Folder(path) => path.display().fmt(f),
        }
    }
}

/// The size, change time and inode of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Mark {
    pub(super) bytes: u64,
    pub(super) changed: SystemTime,
    inode: u64,
}

/// One entry of a folder.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Entry {
    pub(super) name: String,
    pub(super) kind: EntryKind,
}

/// The kind of an entry that is no plain file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum EntryKind {
    Folder,
    /// A link or a special file, which is never followed.
    Other,
}
