//! Files of a folder: read whole and within limits, links never followed, written durably.

use std::fs::{self, File};
use std::io::{ErrorKind, Read as _, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::SystemTime;

use super::{Entry, EntryKind, Mark};
use crate::error::{Error, Result};

/// Returns the bytes of a plain file, or `None` if there is none.
pub(super) fn read_file(folder: &Path, name: &str, limit: u64) -> Result<Option<Vec<u8>>> {
    let refuse = |problem: String| Error::Repository { what: name.to_owned(), problem };
    let path = folder.join(name);
    let kind = match fs::symlink_metadata(&path) {
        Ok(metadata) => metadata.file_type(),
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Error::io("read", path)(error)),
    };
    if !kind.is_file() {
        return Err(refuse("is a link, folder or special file, not a plain file".into()));
    }
    let file = File::open(&path).map_err(Error::io("open", &path))?;
    // With a byte to spare, in which the end of the file shows without growing.
    let expected = file.metadata().map_or(0, |metadata| metadata.len().min(limit)) + 1;
    let mut bytes = Vec::with_capacity(usize::try_from(expected).unwrap_or_default());
    file.take(limit + 1).read_to_end(&mut bytes).map_err(Error::io("read", &path))?;
    if bytes.len() as u64 > limit {
        return Err(refuse(format!("is larger than the limit of {limit} bytes")));
    }
    Ok(Some(bytes))
}

/// Returns the metadata of a file without opening it.
pub(super) fn mark(path: &Path) -> Option<Mark> {
    let metadata = fs::symlink_metadata(path).ok()?;
    let changed = metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH);
    Some(Mark { bytes: metadata.len(), changed, inode: metadata.ino() })
}

/// Returns at most `limit` entries of a folder that are no plain files, sorted.
pub(super) fn entries(folder: &Path, limit: usize) -> Result<Vec<Entry>> {
    let mut entries = Vec::new();
    for entry in fs::read_dir(folder).map_err(Error::io("read", folder))? {
        let entry = entry.map_err(Error::io("read", folder))?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let kind = entry.file_type().map_err(Error::io("read", folder))?;
        if !name.starts_with('.') && !kind.is_file() {
            let kind = if kind.is_dir() { EntryKind::Folder } else { EntryKind::Other };
            entries.push(Entry { name, kind });
            if entries.len() == limit {
                break;
            }
        }
    }
    entries.sort();
    Ok(entries)
}

/// Writes a file and flushes it to the disk.
pub(in crate::repository) fn write_durably(path: &Path, bytes: &[u8]) -> Result<()> {
    let mut file = File::create(path).map_err(Error::io("create", path))?;
    file.write_all(bytes).map_err(Error::io("write", path))?;
    file.sync_all().map_err(Error::io("flush", path))
}

/// Flushes what a folder holds, so that a rename in it survives a power cut.
pub(in crate::repository) fn sync_folder(path: &Path) -> Result<()> {
    File::open(path).and_then(|folder| folder.sync_all()).map_err(Error::io("flush", path))
}
