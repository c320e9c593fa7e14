//! Whether files changed, told by their metadata alone.

use std::collections::hash_map::DefaultHasher;
use std::fs;
use std::hash::{Hash, Hasher};
use std::path::Path;
use std::time::SystemTime;

use super::manifest::MANIFEST_FILE;
use super::settings::ModelSettings;
use super::version::PROBE_FILE;

/// A digest of the size, change time and inode of each file that a version is loaded from, and of
/// the settings that it is loaded with. Another one means that something changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fingerprint(pub u64);

/// What the metadata of a version's files says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Marks {
    /// Changes whenever the files do.
    pub fingerprint: Fingerprint,
    /// The size of the graph; `None` if it is missing.
    pub model_bytes: Option<u64>,
    /// Whether there is a manifest, whose hashes say when a copy is complete.
    pub has_manifest: bool,
    /// The last change of any of the files.
    pub changed: SystemTime,
}

/// Size, change time and inode of a file; `None` if there is none.
pub(super) fn mark(path: &Path) -> Option<(u64, SystemTime, u64)> {
    let metadata = fs::symlink_metadata(path).ok()?;
    #[cfg(unix)]
    let inode = std::os::unix::fs::MetadataExt::ino(&metadata);
    #[cfg(not(unix))]
    let inode = 0;
    Some((metadata.len(), metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH), inode))
}

impl Marks {
    /// Looks at the files of a version's folder without opening any.
    pub fn of(folder: &Path, settings: &ModelSettings) -> Self {
        let marks = [settings.model_file(), MANIFEST_FILE, PROBE_FILE].map(|name| mark(&folder.join(name)));
        let beside: Vec<_> = folder
            .parent()
            .map_or_else(Vec::new, |model| settings.side_files().iter().map(|name| mark(&model.join(name))).collect());
        let mut hasher = DefaultHasher::new();
        marks.hash(&mut hasher);
        beside.hash(&mut hasher);
        settings.load_text().hash(&mut hasher);
        Self {
            fingerprint: Fingerprint(hasher.finish()),
            model_bytes: marks[0].map(|(bytes, ..)| bytes),
            has_manifest: marks[1].is_some(),
            changed: marks.iter().chain(&beside).flatten().map(|mark| mark.1).max().unwrap_or(SystemTime::UNIX_EPOCH),
        }
    }
}
