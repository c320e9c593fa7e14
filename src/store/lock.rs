//! One process for each state folder.

use std::fs::{self, File, TryLockError};
use std::path::Path;
use std::thread;
use std::time::Duration;

use crossbeam_channel::bounded;

use crate::error::{Error, Result};
use crate::files;

const FILE: &str = "weir.lock";

/// The time for which a predecessor that is going away is waited for.
const PATIENCE: Duration = Duration::from_secs(3);

/// A folder that no other process uses while this lives.
#[derive(Debug)]
pub(super) struct FolderLock {
    _file: File,
}

impl FolderLock {
    /// Locks a folder, which is made if it is not there. `None` when the system gives no lock, for instance because
    /// the folder cannot be written.
    ///
    /// # Errors
    /// [`Error::Config`] when another process holds the folder, also after a few seconds.
    pub(super) fn take(folder: &Path) -> Result<Option<Self>> {
        let path = folder.join(FILE);
        let open = || {
            fs::create_dir_all(folder)?;
            files::open_own(&path, File::options().create(true).truncate(false).write(true))
        };
        let refused = |error: std::io::Error| {
            tracing::warn!(path = %path.display(), %error, "the state folder cannot be locked");
            Ok(None)
        };
        let file = match open() {
            Ok(file) => file,
            Err(error) => return refused(error),
        };
        match file.try_lock() {
            Ok(()) => return Ok(Some(Self { _file: file })),
            Err(TryLockError::Error(error)) => return refused(error),
            Err(TryLockError::WouldBlock) => {}
        }
        // The thread ends with the process if the lock never comes.
        let (locked, waited) = bounded(1);
        thread::spawn(move || file.lock().is_ok_and(|()| locked.send(file).is_ok()));
        match waited.recv_timeout(PATIENCE) {
            Ok(file) => Ok(Some(Self { _file: file })),
            Err(_) => Err(Error::Config {
                setting: "state-dir".into(),
                problem: format!(
                    "another weir uses {}; stop it, or give this one a folder of its own",
                    folder.display()
                ),
            }),
        }
    }
}
