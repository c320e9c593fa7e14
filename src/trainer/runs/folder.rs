//! Folders that others write to: read without following a link, and never more than a limit allows.

use std::fs::{File, TryLockError};
use std::io::{self, Read as _};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::SystemTime;

use rustix::fs::{Dir, Mode, OFlags, openat};

const FOLDER: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);
const FILE: OFlags =
    OFlags::RDONLY.union(OFlags::NOFOLLOW).union(OFlags::NONBLOCK).union(OFlags::NOCTTY).union(OFlags::CLOEXEC);

/// An open folder.
#[derive(Debug)]
pub(super) struct Folder(File);

/// The bytes that may still be read.
#[derive(Debug)]
pub(super) struct Budget(pub(super) u64);

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

    /// Returns the names in it that are words, in their order; at most so many entries are looked at.
    ///
    /// # Errors
    /// Those of the system.
    pub(super) fn names(&self, most: usize) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in Dir::read_from(&self.0)?.take(most) {
            names.extend(entry?.file_name().to_str().ok().map(str::to_owned));
        }
        names.sort_unstable();
        Ok(names)
    }

    /// Returns the moment at which something in it was made, renamed or removed for the last time.
    pub(super) fn changed(&self) -> Option<SystemTime> {
        self.0.metadata().ok()?.modified().ok()
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
        assert_eq!(folder.names(100).unwrap(), [".", "..", "folder", "link", "linked", "pipe", "plain"]);
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
}
