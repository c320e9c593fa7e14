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
    /// A folder, and the one above it in which links may end.
    Folder { path: Arc<Path>, root: Arc<Path> },
}

/// The places to which the link of a file may lead.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reach {
    /// The repository, the folder that holds the link, and caches that are known.
    Inside,
    /// Any file; of a graph, which nothing but a model comes out of.
    Anywhere,
}

impl Files {
    /// Returns the handle to a folder among these files.
    pub(super) fn inside(&self, folder: &str) -> Self {
        match &self.0 {
            Place::Folder { path, root } => Self(Place::Folder { path: path.join(folder).into(), root: root.clone() }),
        }
    }

    /// Returns the bytes of a plain file, or `None` if there is none.
    ///
    /// # Errors
    /// [`Error::Repository`](crate::error::Error::Repository) when it is no plain file, a link that is not followed,
    /// or larger than `limit` bytes, [`Error::Io`](crate::error::Error::Io).
    pub fn read(&self, name: &str, limit: u64) -> Result<Option<Vec<u8>>> {
        self.read_within(name, limit, Reach::Inside)
    }

    /// Returns the bytes of a plain file that may be a link which leads this far, or `None` if there is none.
    ///
    /// # Errors
    /// As [`Files::read`].
    pub(super) fn read_within(&self, name: &str, limit: u64, reach: Reach) -> Result<Option<Vec<u8>>> {
        match &self.0 {
            Place::Folder { path, root } => {
                folder::open(root, path, name, reach)?.map(|file| file.read(limit)).transpose()
            }
        }
    }

    /// Returns the size of a plain file, or `None` if there is none.
    ///
    /// # Errors
    /// As [`Files::read`].
    pub(super) fn bytes(&self, name: &str) -> Result<Option<u64>> {
        match &self.0 {
            Place::Folder { path, root } => Ok(folder::open(root, path, name, Reach::Inside)?.map(|file| file.bytes)),
        }
    }

    /// Shows the bytes of a plain file piece by piece, each with its place in the file, and returns how many they
    /// were; `None` if there is no such file.
    ///
    /// # Errors
    /// As [`Files::read`].
    pub(super) fn pass(&self, name: &str, show: impl FnMut(u64, &[u8])) -> Result<Option<u64>> {
        match &self.0 {
            Place::Folder { path, root } => {
                folder::open(root, path, name, Reach::Inside)?.map(|file| file.pass(show)).transpose()
            }
        }
    }

    /// Returns the metadata of a file, which changes with its content; `None` if there is no such file.
    pub(super) fn mark(&self, name: &str) -> Option<Mark> {
        match &self.0 {
            Place::Folder { path, .. } => folder::mark(&path.join(name)),
        }
    }

    /// Returns the names and the metadata of the plain files at the top of these files, sorted; `None` if there are
    /// more than `limit` or they cannot be listed. Names that begin with a dot are left out.
    pub(super) fn plain_files(&self, limit: usize) -> Option<Vec<(String, Mark)>> {
        match &self.0 {
            Place::Folder { path, .. } => folder::plain_files(path, limit),
        }
    }

    /// Returns at most `limit` entries at the top of these files that are no plain files, sorted. Names that begin
    /// with a dot are staging areas and other people's business, and are left out.
    pub(super) fn entries(&self, limit: usize) -> Result<Vec<Entry>> {
        match &self.0 {
            Place::Folder { path, .. } => folder::entries(path, limit),
        }
    }

    /// Returns the folder on this machine, for commands that work on one.
    pub fn folder(&self) -> &Path {
        match &self.0 {
            Place::Folder { path, .. } => path,
        }
    }
}

impl From<&Path> for Files {
    fn from(folder: &Path) -> Self {
        let path: Arc<Path> = folder.into();
        Self(Place::Folder { root: path.clone(), path })
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
            Place::Folder { path, .. } => path.display().fmt(f),
        }
    }
}

/// The size, change time, device and inode of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Mark {
    pub(super) bytes: u64,
    pub(super) changed: SystemTime,
    device: u64,
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
    /// A folder, or a link to one.
    Folder,
    /// A link that leads nowhere, or to what cannot be looked at.
    Lost,
    /// Neither a file nor a folder.
    Special,
}
