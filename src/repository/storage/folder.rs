//! Files of a folder: read whole and within limits, links followed by the rule below, written durably.
//!
//! A link of a folder may lead to any folder, and that of a graph to any file: nothing comes out of them but models.
//! Any other file may be a link that ends in the repository, in the folder that its own folder's links lead to, or in
//! the `blobs` of a Hugging Face cache. So an archive that was unpacked into the repository cannot make the server
//! show a file of the machine as labels, settings or weights.

use std::fs::{self, File, Metadata};
use std::io::{ErrorKind, Read as _, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::{Entry, EntryKind, Mark, Reach};
use crate::error::{Error, Result};
use crate::files;

/// The bytes that are read at once of a file that is not kept as a whole.
const PIECE_BYTES: usize = 1 << 20;

/// A file that was opened, and what messages call it.
pub(super) struct Opened<'n> {
    file: File,
    pub(super) bytes: u64,
    name: &'n str,
    path: PathBuf,
}

/// Opens a plain file of `folder`, which lies below `root`; `None` if there is none.
pub(super) fn open<'n>(root: &Path, folder: &Path, name: &'n str, reach: Reach) -> Result<Option<Opened<'n>>> {
    let Some(path) = locate(root, folder, name, reach)? else { return Ok(None) };
    let file = File::open(&path).map_err(Error::io("open", &path))?;
    let metadata = file.metadata().map_err(Error::io("open", &path))?;
    if !metadata.is_file() {
        return Err(special(name));
    }
    Ok(Some(Opened { file, bytes: metadata.len(), name, path }))
}

/// Returns the place where the file itself lies; `None` if there is none.
fn locate(root: &Path, folder: &Path, name: &str, reach: Reach) -> Result<Option<PathBuf>> {
    let path = folder.join(name);
    let kind = match fs::symlink_metadata(&path) {
        Ok(metadata) => metadata.file_type(),
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Error::io("read", path)(error)),
    };
    if !kind.is_symlink() {
        return if kind.is_file() { Ok(Some(path)) } else { Err(special(name)) };
    }
    let end = fs::canonicalize(&path).map_err(|_| refuse(name, "is a link that leads nowhere"))?;
    if !fs::metadata(&end).is_ok_and(|metadata| metadata.is_file()) {
        return Err(special(name));
    }
    if reach == Reach::Inside && !may_end(&end, root, folder) {
        let problem =
            "is a link that leads out of the repository, which is not followed; docs/serving.md says which are";
        return Err(refuse(name, problem));
    }
    Ok(Some(end))
}

/// Returns true if a link of a file in `folder` may end at this place.
fn may_end(end: &Path, root: &Path, folder: &Path) -> bool {
    let mut homes = folder.ancestors().take_while(|place| place.starts_with(root));
    let is_home = |place: &Path| fs::canonicalize(place).is_ok_and(|place| end.starts_with(place));
    let of = |place: &Path| place.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let is_in_hub = || {
        let blobs = end.parent().filter(|blobs| of(blobs) == "blobs");
        blobs.and_then(Path::parent).is_some_and(|model| of(model).starts_with("models--"))
    };
    homes.any(is_home) || is_in_hub()
}

impl Opened<'_> {
    /// Returns the bytes, which may be at most `limit`.
    pub(super) fn read(self, limit: u64) -> Result<Vec<u8>> {
        // With a byte to spare, in which the end of the file shows without growing.
        let expected = self.bytes.min(limit) + 1;
        let mut bytes = Vec::with_capacity(usize::try_from(expected).unwrap_or_default());
        self.file.take(limit + 1).read_to_end(&mut bytes).map_err(Error::io("read", &self.path))?;
        if bytes.len() as u64 > limit {
            return Err(refuse(self.name, &format!("is larger than the limit of {limit} bytes")));
        }
        Ok(bytes)
    }

    /// Shows the bytes piece by piece, each with its place in the file, and returns how many they were.
    pub(super) fn pass(mut self, mut show: impl FnMut(u64, &[u8])) -> Result<u64> {
        let mut piece = vec![0; usize::try_from(self.bytes + 1).unwrap_or(PIECE_BYTES).min(PIECE_BYTES)];
        let mut at = 0;
        loop {
            match self.file.read(&mut piece) {
                Ok(0) => return Ok(at),
                Ok(count) => {
                    show(at, &piece[..count]);
                    at += count as u64;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(Error::io("read", &self.path)(error)),
            }
        }
    }
}

fn special(name: &str) -> Error {
    refuse(name, "is a folder or special file, not a plain file")
}

fn refuse(name: &str, problem: &str) -> Error {
    Error::Repository { what: crate::ids::printable(name, 80), problem: problem.to_owned() }
}

/// Returns the metadata of a plain file, or of the one that a link leads to, without opening it.
pub(super) fn mark(path: &Path) -> Option<Mark> {
    fs::metadata(path).ok().filter(Metadata::is_file).map(|metadata| mark_of(&metadata))
}

fn mark_of(metadata: &Metadata) -> Mark {
    let changed = metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH);
    Mark { bytes: metadata.len(), changed, device: metadata.dev(), inode: metadata.ino() }
}

/// Returns at most `limit` entries of a folder that are no plain files and no links to such, sorted.
pub(super) fn entries(folder: &Path, limit: usize) -> Result<Vec<Entry>> {
    let mut entries = Vec::new();
    for entry in fs::read_dir(folder).map_err(Error::io("read", folder))? {
        let entry = entry.map_err(Error::io("read", folder))?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let kind = entry.file_type().map_err(Error::io("read", folder))?;
        let kind =
            if kind.is_symlink() { fs::metadata(entry.path()).ok().map(|at| at.file_type()) } else { Some(kind) };
        let kind = match kind {
            Some(kind) if kind.is_file() => continue,
            Some(kind) if kind.is_dir() => EntryKind::Folder,
            Some(_) => EntryKind::Special,
            None => EntryKind::Lost,
        };
        if !name.starts_with('.') {
            entries.push(Entry { name, kind });
            if entries.len() == limit {
                break;
            }
        }
    }
    entries.sort();
    Ok(entries)
}

/// Returns the plain files of a folder and what links to such lead to, with their metadata, sorted by name; `None` if
/// there are more than `limit` or the folder cannot be read.
pub(super) fn plain_files(folder: &Path, limit: usize) -> Option<Vec<(String, Mark)>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).ok()? {
        let entry = entry.ok()?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.starts_with('.') {
            continue;
        }
        if let Some(mark) = mark(&entry.path()) {
            files.push((name, mark));
        }
        if files.len() > limit {
            return None;
        }
    }
    files.sort_by(|(a, _), (b, _)| a.cmp(b));
    Some(files)
}

/// Writes a file and flushes it to the disk.
pub(in crate::repository) fn write_durably(path: &Path, bytes: &[u8]) -> Result<()> {
    let created = files::open(path, File::options().create(true).truncate(true).write(true));
    let mut file = created.map_err(Error::io("create", path))?;
    file.write_all(bytes).map_err(Error::io("write", path))?;
    file.sync_all().map_err(Error::io("flush", path))
}

/// Flushes what a folder holds, so that a rename in it survives a power cut.
pub(in crate::repository) fn sync_folder(path: &Path) -> Result<()> {
    File::open(path).and_then(|folder| folder.sync_all()).map_err(Error::io("flush", path))
}
