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
    seen: Mutex<Seen>,
}

#[derive(Debug)]
struct Seen {
    marks: Vec<Option<Mark>>,
    /// Set if this state could not be read: that may have been a fault of the moment.
    has_failed: bool,
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
        let seen = Mutex::new(Seen { marks: marks(&paths), has_failed: false });
        Self { paths, seen }
    }

    /// Calls `read` if one of the files is another one than at the last look, and again at every look while it fails.
    /// Returns the error of a state that failed for the first time. Looks wait for each other: whoever returns finds the
    /// newest state taken in.
    pub(super) fn if_changed<E>(&self, read: impl FnOnce() -> Result<(), E>) -> Option<E> {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let now = marks(&self.paths);
        let is_new = seen.marks != now;
        if !is_new && !seen.has_failed {
            return None;
        }
        let failed = read().err();
        *seen = Seen { marks: now, has_failed: failed.is_some() };
        failed.filter(|_| is_new)
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
            for _ in 0..2 {
                let read = || {
                    reads.set(reads.get() + 1);
                    Ok::<(), ()>(())
                };
                assert_eq!(watched.if_changed(read), None);
            }
            reads.replace(0)
        };
        assert_eq!(look(), 0);
        fs::write(&two, "22").unwrap();
        assert_eq!(look(), 1, "a file that appears");
        fs::write(&two, "333").unwrap();
        assert_eq!(look(), 1);
        fs::remove_file(&one).unwrap();
        assert_eq!(look(), 1, "a file that goes");
        fs::write(&one, "4444").unwrap();
        assert_eq!(watched.if_changed(|| Err("a fault")), Some("a fault"));
        assert_eq!(watched.if_changed(|| Err("a fault")), None, "it is told once");
        assert_eq!(look(), 1, "and the state is read as soon as it can be");
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
        let read = || {
            was_read = true;
            Ok::<(), ()>(())
        };
        assert_eq!(watched.if_changed(read), None);
        assert!(was_read);
    }
}
