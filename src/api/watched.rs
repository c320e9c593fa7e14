//! Settings in files that are read again whenever they change: keys and certificates.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::watch;

/// The time between two looks at the files.
const LOOK: Duration = Duration::from_secs(1);

/// Files, and the states in which they were last seen.
#[derive(Debug)]
pub(super) struct Watched {
    paths: Vec<PathBuf>,
    seen: Mutex<Vec<Option<Mark>>>,
}

/// The identity of one state of a file. Kubernetes swaps a link above the file, so what counts is the
/// file that the path leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Mark {
    device: u64,
    inode: u64,
    bytes: u64,
    changed: (i64, i64),
}

impl Mark {
    fn of(path: &Path) -> Option<Self> {
        let metadata = fs::metadata(path).ok()?;
        let changed = (metadata.mtime(), metadata.mtime_nsec());
        Some(Self { device: metadata.dev(), inode: metadata.ino(), bytes: metadata.len(), changed })
    }
}

impl Watched {
    /// Returns these files as seen at this moment. To be called before they are read, so that no change in between
    /// is missed.
    pub(super) fn new<'a>(paths: impl IntoIterator<Item = &'a Path>) -> Self {
        let paths: Vec<PathBuf> = paths.into_iter().map(Path::to_owned).collect();
        let seen = Mutex::new(marks(&paths));
        Self { paths, seen }
    }

    /// Calls `read` if one of the files is another one than at the last look. Looks wait for each other: whoever
    /// returns finds the newest state taken in.
    pub(super) fn if_changed(&self, read: impl FnOnce()) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let now = marks(&self.paths);
        if *seen != now {
            *seen = now;
            read();
        }
    }
}

fn marks(paths: &[PathBuf]) -> Vec<Option<Mark>> {
    paths.iter().map(|path| Mark::of(path)).collect()
}

/// Calls `look` again and again, off the threads of the network, until `closed` turns true.
pub(super) async fn look_repeatedly<T>(owner: Arc<T>, look: fn(&T), mut closed: watch::Receiver<bool>)
where
    T: Send + Sync + 'static,
{
    let mut ticks = tokio::time::interval(LOOK);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            _ = closed.wait_for(|closed| *closed) => return,
        }
        let owner = owner.clone();
        // A file on a network may take its time.
        drop(tokio::task::spawn_blocking(move || look(&owner)).await);
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_change_of_any_file_is_seen_once() {
        let folder = tempfile::tempdir().unwrap();
        let (one, two) = (folder.path().join("one"), folder.path().join("two"));
        fs::write(&one, "1").unwrap();
        let watched = Watched::new([one.as_path(), two.as_path()]);
        let reads = Cell::new(0);
        let look = || {
            watched.if_changed(|| reads.set(reads.get() + 1));
            watched.if_changed(|| reads.set(reads.get() + 1));
            reads.replace(0)
        };
        assert_eq!(look(), 0);
        fs::write(&two, "22").unwrap();
        assert_eq!(look(), 1, "a file that appears");
        fs::write(&two, "333").unwrap();
        assert_eq!(look(), 1);
        fs::remove_file(&one).unwrap();
        assert_eq!(look(), 1, "a file that goes");
    }

    #[test]
    fn what_a_link_leads_to_counts() {
        let folder = tempfile::tempdir().unwrap();
        for version in ["a", "b"] {
            fs::create_dir(folder.path().join(version)).unwrap();
            fs::write(folder.path().join(version).join("file"), "same").unwrap();
        }
        let (link, staged) = (folder.path().join("..data"), folder.path().join("..staged"));
        symlink("a", &link).unwrap();
        let watched = Watched::new([link.join("file").as_path()]);
        symlink("b", &staged).unwrap();
        fs::rename(&staged, &link).unwrap();
        let mut was_read = false;
        watched.if_changed(|| was_read = true);
        assert!(was_read);
    }
}
