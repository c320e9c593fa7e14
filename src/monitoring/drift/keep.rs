//! Keeps the state of watches in the state folder, so that a restart of the server forgets nothing.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use sha2::{Digest, Sha256};

use super::version::KeptWatch;
use crate::files;
use crate::ids::hexadecimal;
use crate::serving::Identity;

/// The folder of the states, inside that of the server.
const FOLDER: &str = "drift";

/// The largest state that is read.
const MAX_BYTES: u64 = 16 << 20;

/// The time after which the state of a version that is not asked any more is removed.
const MAX_AGE: Duration = Duration::from_secs(90 * 86_400);

/// The place of the states.
#[derive(Debug, Clone)]
pub(super) struct Keeper {
    folder: PathBuf,
}

impl Keeper {
    /// Keeps states in the folder of a server.
    pub(super) fn new(state_folder: &Path) -> Self {
        Self { folder: state_folder.join(FOLDER) }
    }

    /// Removes the states of versions that have long not been asked.
    pub(super) fn sweep(&self) {
        let Ok(entries) = fs::read_dir(&self.folder) else { return };
        for entry in entries.flatten() {
            let changed = entry.metadata().and_then(|found| found.modified()).ok();
            let age = changed.and_then(|changed| SystemTime::now().duration_since(changed).ok());
            if age.is_some_and(|age| age > MAX_AGE) {
                // It is looked at again after the next start.
                fs::remove_file(entry.path()).ok();
            }
        }
    }

    /// Returns the file of a version: one that was published again with other files has another.
    pub(super) fn file(&self, identity: &Identity) -> PathBuf {
        let name = format!("{}/{}/", identity.model, identity.version);
        let hash = Sha256::new().chain_update(name).chain_update(identity.digest).finalize();
        self.folder.join(hexadecimal(&hash[..16]) + ".json")
    }

    /// Reads the state of a version; `None` where there is none that can be used.
    pub(super) fn read(&self, identity: &Identity) -> Option<KeptWatch> {
        let path = self.file(identity);
        let bytes = match files::read(&path, MAX_BYTES) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return None,
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "the state of drift cannot be read; it begins anew");
                return None;
            }
        };
        match serde_json::from_slice(&bytes) {
            Ok(kept) => Some(kept),
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "the state of drift cannot be read; it begins anew");
                None
            }
        }
    }
}

/// Writes a state: wholly, or not at all.
///
/// # Errors
/// That of the file system.
pub(super) fn write(path: &Path, kept: &KeptWatch) -> std::io::Result<()> {
    files::replace(path, &serde_json::to_vec(kept)?)
}
