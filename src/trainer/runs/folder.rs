//! Folders that others write to: read without following a link, and never more than a limit allows.

use std::fs::{File, TryLockError};
use std::io::{self, Read as _};
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::time::{Duration, SystemTime};

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, openat, statat};

const FOLDER: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);
const FILE: OFlags =
    OFlags::RDONLY.union(OFlags::NOFOLLOW).union(OFlags::NONBLOCK).union(OFlags::NOCTTY).union(OFlags::CLOEXEC);

/// An open folder.
#[derive(Debug)]
pub(super) struct Folder(File);

/// The bytes that may still be read.
#[derive(Debug)]
pub(super) struct Budget(pub(super) u64);

/// The folders in a folder.
#[derive(Debug, Default)]
pub(super) struct Listed {
    /// Their names, and when something in each was made, renamed or removed for the last time.
    pub(super) folders: Vec<(String, SystemTime)>,
    /// The entries that were looked at.
    pub(super) entries: usize,
    /// True if there are more entries.
    pub(super) is_cut: bool,
}

/// The lines of a file.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Lines {
    /// Pieces of the file, in order, each of whole lines: the whole of it, or pieces at even distances.
    pub(super) pieces: Vec<String>,
    /// True if what is between the pieces was not read.
    pub(super) is_thinned: bool,
}

/// The bytes of a piece of a file that is too long to be read whole: some lines.
const PIECE_BYTES: u64 = 4 << 10;

impl Folder {
    /// Opens a folder by its path, which may be a link.
    ///
    /// # Errors
    /// Those of the system.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        Ok(Self(File::from(openat(rustix::fs::CWD, path, FOLDER, Mode::empty())?)))
    }

    /// Opens a folder in this one.
    ///
    /// # Errors
    /// Those of the system, also for a link.
    pub(super) fn folder(&self, name: &str) -> io::Result<Self> {
        Ok(Self(self.at(name, FOLDER | OFlags::NOFOLLOW)?))
    }

    /// Returns the folders in it whose names are wanted, without following links; at most so many entries are looked at.
    ///
    /// # Errors
    /// Those of the system.
    pub(super) fn folders(&self, most: usize, is_wanted: impl Fn(&str) -> bool) -> io::Result<Listed> {
        let mut listed = Listed::default();
        for entry in Dir::read_from(&self.0)? {
            let entry = entry?;
            let Ok(name) = entry.file_name().to_str() else { continue };
            if matches!(name, "." | "..") {
                continue;
            }
            if listed.entries == most {
                listed.is_cut = true;
                break;
            }
            listed.entries += 1;
            // What went away meanwhile is passed over.
            let changed = if is_wanted(name) { self.folder_changed(name) } else { None };
            listed.folders.extend(changed.map(|changed| (name.to_owned(), changed)));
        }
        Ok(listed)
    }

    /// Returns when something in a folder of this one was made, renamed or removed for the last time; `None` of anything
    /// else.
    fn folder_changed(&self, name: &str) -> Option<SystemTime> {
        let found = statat(&self.0, name, AtFlags::SYMLINK_NOFOLLOW).ok()?;
        if FileType::from_raw_mode(found.st_mode) != FileType::Directory {
            return None;
        }
        // Systems differ in the type.
        let seconds = u64::try_from(i128::from(found.st_mtime)).unwrap_or(0);
        let nanoseconds = u32::try_from(i128::from(found.st_mtime_nsec)).unwrap_or(0);
        SystemTime::UNIX_EPOCH.checked_add(Duration::new(seconds, nanoseconds))
    }

    /// Returns true while somebody holds the folder by an exclusive lock.
    pub(super) fn is_held(&self) -> bool {
        match self.0.try_lock_shared() {
            Err(TryLockError::WouldBlock) => true,
            // A file system without locks.
            Err(TryLockError::Error(_)) => false,
            Ok(()) => {
                // What cannot be unlocked is so when the folder is closed.
                drop(self.0.unlock());
                false
            }
        }
    }

    /// Returns true if there is a plain file of this name.
    pub(super) fn has(&self, name: &str) -> bool {
        self.file(name).is_some()
    }

    /// Returns the moment at which a plain file was last written.
    pub(super) fn written(&self, name: &str) -> Option<SystemTime> {
        self.file(name)?.metadata().ok()?.modified().ok()
    }

    /// Returns a plain file as text; of a longer one, the first `limit` bytes. The bytes are taken from the budget.
    pub(super) fn text(&self, name: &str, limit: u64, budget: &mut Budget) -> Option<String> {
        let mut bytes = Vec::new();
        self.file(name)?.take(limit.min(budget.0)).read_to_end(&mut bytes).ok()?;
        budget.0 -= bytes.len() as u64;
        Some(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// Returns the lines of a plain file. Of one with more than `limit` bytes, pieces at even distances are read that have
    /// so many together, the first and the last lines among them. The bytes are taken from the budget.
    pub(super) fn lines(&self, name: &str, limit: u64, budget: &mut Budget) -> Option<Lines> {
        let mut file = self.file(name)?;
        let (length, limit) = (file.metadata().ok()?.len(), limit.min(budget.0));
        if length <= limit {
            let mut bytes = Vec::new();
            // It may grow meanwhile.
            file.by_ref().take(limit).read_to_end(&mut bytes).ok()?;
            budget.0 -= bytes.len() as u64;
            return Some(Lines { pieces: vec![String::from_utf8_lossy(&bytes).into_owned()], is_thinned: false });
        }
        let pieces = limit / PIECE_BYTES;
        let last = length - PIECE_BYTES.min(length);
        let mut lines = Lines { pieces: Vec::new(), is_thinned: true };
        for piece in 0..pieces {
            // The last piece ends where the file does.
            let start = u128::from(last) * u128::from(piece) / u128::from((pieces - 1).max(1));
            let start = u64::try_from(start).unwrap_or(last);
            let mut bytes = vec![0; PIECE_BYTES as usize];
            let read = file.read_at(&mut bytes, start).ok()?;
            budget.0 -= read as u64;
            bytes.truncate(read);
            lines.pieces.extend(whole_lines(&bytes, start == 0));
        }
        Some(lines)
    }

    /// Returns the bytes of a plain file; `None` also for one of more than `limit` bytes.
    pub(super) fn bytes(&self, name: &str, limit: u64) -> Option<Vec<u8>> {
        let mut bytes = Vec::new();
        self.file(name)?.take(limit + 1).read_to_end(&mut bytes).ok()?;
        (bytes.len() as u64 <= limit).then_some(bytes)
    }

    fn file(&self, name: &str) -> Option<File> {
        let file = self.at(name, FILE).ok()?;
        file.metadata().is_ok_and(|found| found.is_file()).then_some(file)
    }

    fn at(&self, name: &str, flags: OFlags) -> io::Result<File> {
        let opened: OwnedFd = openat(&self.0, name, flags, Mode::empty())?;
        Ok(File::from(opened))
    }
}

/// Returns the whole lines of a piece of a file, which may begin within a line; `None` if it has none.
fn whole_lines(piece: &[u8], begins_a_line: bool) -> Option<String> {
    let is_end = |byte: &u8| *byte == b'\n';
    let start = if begins_a_line { 0 } else { piece.iter().position(is_end)? + 1 };
    let end = piece.iter().rposition(is_end)? + 1;
    (start < end).then(|| String::from_utf8_lossy(&piece[start..end]).into_owned())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use tempfile::TempDir;

    use super::*;

    #[test]
    fn no_link_is_followed_and_nothing_but_plain_files_is_read() {
        let outside = TempDir::new().unwrap();
        fs::write(outside.path().join("secret"), "secret").unwrap();
        let inside = TempDir::new().unwrap();
        symlink(outside.path(), inside.path().join("linked")).unwrap();
        symlink(outside.path().join("secret"), inside.path().join("link")).unwrap();
        fs::create_dir(inside.path().join("folder")).unwrap();
        fs::write(inside.path().join("plain"), "text").unwrap();
        rustix::fs::mknodat(
            rustix::fs::CWD,
            inside.path().join("pipe"),
            rustix::fs::FileType::Fifo,
            Mode::from_raw_mode(0o600),
            0,
        )
        .unwrap();
        let (folder, mut budget) = (Folder::open(inside.path()).unwrap(), Budget(100));
        let listed = folder.folders(100, |_| true).unwrap();
        assert_eq!(listed.folders.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), ["folder"]);
        assert_eq!((listed.entries, listed.is_cut), (5, false));
        assert!(folder.folders(4, |_| true).unwrap().is_cut && !folder.folders(5, |_| true).unwrap().is_cut);
        assert!(folder.folders(100, |name| name != "folder").unwrap().folders.is_empty());
        assert!(folder.folder("linked").is_err() && folder.folder("plain").is_err());
        for name in ["link", "linked", "pipe", "folder", "none"] {
            assert_eq!(folder.text(name, 9, &mut budget), None, "{name}");
            assert!(!folder.has(name) && folder.bytes(name, 9).is_none(), "{name}");
        }
        assert_eq!(folder.text("plain", 9, &mut budget).as_deref(), Some("text"));
        assert!(folder.has("plain") && folder.folder("folder").is_ok());
    }

    #[test]
    fn no_more_is_read_than_the_limits_allow() {
        let inside = TempDir::new().unwrap();
        fs::write(inside.path().join("file"), "12345").unwrap();
        let (folder, mut budget) = (Folder::open(inside.path()).unwrap(), Budget(7));
        assert_eq!(folder.text("file", 3, &mut budget).as_deref(), Some("123"));
        assert_eq!(folder.text("file", 9, &mut budget).as_deref(), Some("1234"));
        assert_eq!(folder.text("file", 9, &mut budget).as_deref(), Some(""));
        assert_eq!(folder.bytes("file", 5).as_deref(), Some(&b"12345"[..]));
        assert_eq!(folder.bytes("file", 4), None);
    }

    #[test]
    fn of_a_long_file_lines_from_all_over_it_are_read() {
        let inside = TempDir::new().unwrap();
        let text: String = (0..100_000).map(|line| format!("line {line}\n")).collect();
        fs::write(inside.path().join("file"), text.clone() + "torn").unwrap();
        let folder = Folder::open(inside.path()).unwrap();
        let mut budget = Budget(10 << 20);
        let whole = folder.lines("file", 10 << 20, &mut budget).unwrap();
        assert!(!whole.is_thinned && whole.pieces == [text.clone() + "torn"]);
        assert_eq!(budget.0, (10 << 20) - text.len() as u64 - 4);
        let mut budget = Budget(10 << 20);
        let some = folder.lines("file", 40 << 10, &mut budget).unwrap();
        assert_eq!((some.is_thinned, some.pieces.len(), budget.0), (true, 10, (10 << 20) - (40 << 10)));
        assert!(some.pieces[0].starts_with("line 0\n") && some.pieces[9].ends_with("line 99999\n"));
        let numbers: Vec<usize> =
            some.pieces.iter().flat_map(|piece| piece.lines()).map(|line| line[5..].parse().unwrap()).collect();
        assert!(numbers.is_sorted(), "no line is cut, and none is read twice");
        assert_eq!(folder.lines("file", 10 << 20, &mut Budget(0)).unwrap().pieces.len(), 0);
        assert_eq!(folder.lines("none", 9, &mut Budget(9)), None);
    }
}
