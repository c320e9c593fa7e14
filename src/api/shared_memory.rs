//! System shared memory: parts of files in `/dev/shm` that a client on this machine registers under a
//! name and then names in place of tensor bytes.
//!
//! The files are read and written at offsets and never mapped: a mapping of a file that is truncated
//! kills the process. Off unless the setting `--shared-memory` says otherwise.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::Serialize;

use crate::error::{Error, Result};
use crate::ids::quote;

/// Regions that may be registered at once.
const MAX_REGIONS: usize = 1024;
/// The length of a region's name, in bytes.
const MAX_NAME_BYTES: usize = 256;

/// A part of a registered region.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RegionSlice {
    /// The name it was registered under.
    pub(crate) region: String,
    /// Where it begins, from the beginning of the region.
    pub(crate) offset: usize,
    /// Its length in bytes.
    pub(crate) byte_size: usize,
}

/// A registered region.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct RegionStatus {
    /// Its name.
    pub(crate) name: String,
    /// The name of the shared memory object.
    pub(crate) key: String,
    /// Where the region begins in the object.
    pub(crate) offset: u64,
    /// Its length in bytes.
    pub(crate) byte_size: u64,
}

#[derive(Debug)]
struct Region {
    file: File,
    status: RegionStatus,
}

/// The regions of this server.
#[derive(Debug)]
pub(crate) struct Regions {
    /// Where shared memory objects are files; `None` if they may not be used.
    root: Option<PathBuf>,
    /// The most that one tensor may take.
    max_bytes: usize,
    regions: Mutex<BTreeMap<String, Arc<Region>>>,
}

impl Regions {
    /// No regions yet. Tensors of more than `max_bytes` are refused.
    pub(crate) fn new(is_on: bool, max_bytes: usize) -> Self {
        Self { root: is_on.then(|| "/dev/shm".into()), max_bytes, regions: Mutex::default() }
    }

    /// Returns true if shared memory may be used.
    pub(crate) fn is_on(&self) -> bool {
        self.root.is_some()
    }

    fn root(&self) -> Result<&Path> {
        self.root.as_deref().ok_or_else(|| {
            Error::Forbidden("shared memory is switched off; the setting --shared-memory switches it on".into())
        })
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Arc<Region>>> {
        self.regions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Registers a part of a shared memory object.
    ///
    /// # Errors
    /// [`Error::Forbidden`] when shared memory is off; [`Error::InvalidInput`] for a key that is no plain
    /// name, names no shared memory object, or one that is shorter; [`Error::Conflict`] when the name is
    /// taken or there are too many.
    pub(crate) fn register(&self, name: &str, key: &str, offset: u64, byte_size: u64) -> Result<()> {
        let root = self.root()?;
        let quoted = quote(name);
        if name.is_empty() || name.len() > MAX_NAME_BYTES {
            return Err(Error::Malformed(format!("a region's name has 1 to {MAX_NAME_BYTES} bytes, got {quoted}")));
        }
        let file = open(root, key)?;
        let there = file.metadata().map_err(|_| unusable(key))?.len();
        if byte_size == 0 || offset.checked_add(byte_size).is_none_or(|end| end > there) {
            let key = quote(key);
            return Err(Error::InvalidInput(format!(
                "the region must lie inside the shared memory {key} of {there} bytes, got {byte_size} bytes from {offset} on"
            )));
        }
        let mut regions = self.lock();
        if regions.contains_key(name) {
            return Err(Error::Conflict(format!("a region is registered as {quoted} already; unregister it first")));
        }
        if regions.len() >= MAX_REGIONS {
            return Err(Error::Conflict(format!("{MAX_REGIONS} regions are registered, and more may not be")));
        }
        let status = RegionStatus { name: name.to_owned(), key: key.to_owned(), offset, byte_size };
        regions.insert(name.to_owned(), Arc::new(Region { file, status }));
        Ok(())
    }

    /// Forgets a region, or all for no name; one that is not there is forgotten already.
    ///
    /// # Errors
    /// [`Error::Forbidden`] when shared memory is off.
    pub(crate) fn unregister(&self, name: Option<&str>) -> Result<()> {
        self.root()?;
        match name {
            Some(name) => drop(self.lock().remove(name)),
            None => self.lock().clear(),
        }
        Ok(())
    }

    /// One region, or all for no name.
    ///
    /// # Errors
    /// [`Error::Forbidden`] when shared memory is off, [`Error::NotFound`] for a name that is not
    /// registered.
    pub(crate) fn status(&self, name: Option<&str>) -> Result<Vec<RegionStatus>> {
        self.root()?;
        match name {
            Some(name) => Ok(vec![self.region(name)?.status.clone()]),
            None => Ok(self.lock().values().map(|region| region.status.clone()).collect()),
        }
    }

    fn region(&self, name: &str) -> Result<Arc<Region>> {
        self.root()?;
        let region = self.lock().get(name).cloned();
        region.ok_or_else(|| Error::NotFound(format!("no region of shared memory is registered as {}", quote(name))))
    }

    /// The bytes of a part of a region.
    ///
    /// # Errors
    /// [`Error::InvalidInput`] when it does not lie inside the region, or the memory shrank;
    /// [`Error::TooLarge`]; as [`Regions::status`].
    pub(crate) fn read(&self, slice: &RegionSlice) -> Result<Vec<u8>> {
        let region = self.region(&slice.region)?;
        let start = self.place(&region, slice, slice.byte_size)?;
        let mut bytes = vec![0; slice.byte_size];
        region.file.read_exact_at(&mut bytes, start).map_err(|_| shrunk(slice))?;
        Ok(bytes)
    }

    /// Writes to the beginning of a part of a region.
    ///
    /// # Errors
    /// As [`Regions::read`].
    pub(crate) fn write(&self, slice: &RegionSlice, bytes: &[u8]) -> Result<()> {
        let region = self.region(&slice.region)?;
        let start = self.place(&region, slice, bytes.len())?;
        region.file.write_all_at(bytes, start).map_err(|_| shrunk(slice))
    }

    /// Where a part of a region lies in its file, if all of it does.
    fn place(&self, region: &Region, slice: &RegionSlice, bytes: usize) -> Result<u64> {
        if bytes > self.max_bytes {
            let limit = self.max_bytes as u64;
            return Err(Error::TooLarge { what: "a tensor in shared memory", limit, got: format!("{bytes} bytes") });
        }
        let RegionStatus { offset, byte_size, .. } = region.status;
        let end = slice.offset.checked_add(slice.byte_size.max(bytes)).map(|end| end as u64);
        if end.is_none_or(|end| end > byte_size) {
            let (name, size, from) = (quote(&slice.region), slice.byte_size, slice.offset);
            return Err(Error::InvalidInput(format!(
                "the tensor must lie inside the region {name} of {byte_size} bytes, got {size} bytes from {from} on"
            )));
        }
        let start = offset + slice.offset as u64;
        // A write beyond its end would make the file longer.
        let there = region.file.metadata().map_err(|_| shrunk(slice))?.len();
        if start + bytes as u64 > there { Err(shrunk(slice)) } else { Ok(start) }
    }
}

/// The refusal of memory of a GPU.
pub(crate) fn cuda_is_absent() -> Error {
    Error::InvalidInput("there is no CUDA shared memory here: models run on the CPU".into())
}

/// Opens a shared memory object: a plain file directly below `root`.
fn open(root: &Path, key: &str) -> Result<File> {
    let name = key.strip_prefix('/').unwrap_or(key);
    let is_plain = !matches!(name, "" | "." | "..") && name.len() <= 255 && !name.contains(['/', '\0']);
    if !is_plain {
        return Err(Error::InvalidInput(format!(
            "the key of shared memory must be one name, with or without a slash before it; got {}",
            quote(key)
        )));
    }
    let path = root.join(name);
    let before = fs::symlink_metadata(&path).map_err(|_| unusable(key))?;
    if !before.file_type().is_file() {
        return Err(unusable(key));
    }
    // Opened for both, which does not wait even if the name became a pipe's meanwhile.
    let file = File::options().read(true).write(true).open(&path).map_err(|_| unusable(key))?;
    let opened = file.metadata().map_err(|_| unusable(key))?;
    // Another file than the one looked at was put there, or a link.
    if (opened.dev(), opened.ino()) != (before.dev(), before.ino()) { Err(unusable(key)) } else { Ok(file) }
}

fn unusable(key: &str) -> Error {
    Error::InvalidInput(format!(
        "there is no shared memory {} on this machine that the server may read and write",
        quote(key)
    ))
}

fn shrunk(slice: &RegionSlice) -> Error {
    Error::InvalidInput(format!("the shared memory of the region {} is shorter than it was", quote(&slice.region)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn regions(root: &Path) -> Regions {
        Regions { root: Some(root.to_owned()), ..Regions::new(true, 64) }
    }

    fn slice(offset: usize, byte_size: usize) -> RegionSlice {
        RegionSlice { region: "r".into(), offset, byte_size }
    }

    #[test]
    fn parts_are_read_and_written_inside_their_region_only() {
        let folder = tempfile::TempDir::new().unwrap();
        let path = folder.path().join("x");
        fs::write(&path, [0u8, 1, 2, 3, 4, 5, 6, 7, 8, 9]).unwrap();
        let regions = regions(folder.path());
        regions.register("r", "/x", 2, 6).unwrap();
        assert_eq!(regions.read(&slice(1, 3)).unwrap(), [3, 4, 5]);
        assert_eq!(regions.read(&slice(0, 6)).unwrap(), [2, 3, 4, 5, 6, 7]);
        regions.write(&slice(4, 2), &[70, 71]).unwrap();
        assert_eq!(fs::read(&path).unwrap(), [0, 1, 2, 3, 4, 5, 70, 71, 8, 9]);
        for (offset, size) in [(0, 7), (6, 1), (usize::MAX, 2), (1, usize::MAX), (3, 65)] {
            assert!(regions.read(&slice(offset, size)).is_err(), "{offset} {size}");
        }
        assert!(regions.write(&slice(5, 1), &[0, 0]).is_err());
        assert!(regions.write(&slice(0, 2), &[0; 7]).is_err());
        File::options().write(true).open(&path).unwrap().set_len(4).unwrap();
        assert!(regions.read(&slice(1, 3)).unwrap_err().to_string().contains("shorter"));
        assert!(regions.write(&slice(4, 2), &[1, 1]).is_err());
        assert_eq!(fs::metadata(&path).unwrap().len(), 4, "a write does not make it longer");
    }

    #[test]
    fn only_plain_files_directly_there_are_opened() {
        let folder = tempfile::TempDir::new().unwrap();
        let root = folder.path().join("shm");
        fs::create_dir_all(root.join("folder")).unwrap();
        fs::write(folder.path().join("secret"), b"secret").unwrap();
        fs::write(root.join("folder/x"), b"x").unwrap();
        fs::write(root.join("empty"), b"").unwrap();
        std::os::unix::fs::symlink("../secret", root.join("link")).unwrap();
        let regions = regions(&root);
        for key in [
            "",
            "/",
            "..",
            "/..",
            ".",
            "../secret",
            "folder/x",
            "folder",
            "//folder",
            "link",
            "absent",
            "a\0b",
            "empty",
        ] {
            assert!(regions.register("r", key, 0, 1).is_err(), "{key:?}");
        }
        assert!(regions.register("r", &"x".repeat(300), 0, 1).is_err());
        assert!(regions.status(None).unwrap().is_empty());
    }

    #[test]
    fn names_are_taken_once_and_freed() {
        let folder = tempfile::TempDir::new().unwrap();
        fs::write(folder.path().join("x"), [0; 8]).unwrap();
        let regions = regions(folder.path());
        regions.register("r", "x", 0, 8).unwrap();
        assert!(matches!(regions.register("r", "x", 0, 8), Err(Error::Conflict(_))));
        for (offset, size) in [(0, 9), (1, 8), (u64::MAX, 1), (0, 0)] {
            assert!(regions.register("s", "x", offset, size).is_err(), "{offset} {size}");
        }
        let status = RegionStatus { name: "r".into(), key: "x".into(), offset: 0, byte_size: 8 };
        assert_eq!(regions.status(Some("r")).unwrap(), [status]);
        assert!(regions.status(Some("s")).is_err());
        regions.unregister(Some("s")).unwrap();
        regions.unregister(None).unwrap();
        assert!(regions.status(None).unwrap().is_empty() && regions.read(&slice(0, 1)).is_err());
        let off = Regions::new(false, 64);
        assert!(matches!(off.register("r", "x", 0, 1), Err(Error::Forbidden(_))));
        assert!(matches!(off.read(&slice(0, 1)), Err(Error::Forbidden(_))));
    }
}
