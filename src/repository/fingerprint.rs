//! Changes of files, recognised by their metadata alone.

use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::time::SystemTime;

use super::layout::FoundVersion;
use super::manifest::MANIFEST_FILE;
use super::names::PROBE_FILE;

/// A digest of the size, change time and inode of each file that a version is loaded from, and of the settings that
/// it is loaded with. It differs after any change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fingerprint(pub u64);

/// The metadata of a version's files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Marks {
    /// The digest, which changes whenever the files do.
    pub fingerprint: Fingerprint,
    /// The size of the graph; `None` if it is missing.
    pub model_bytes: Option<u64>,
    /// A manifest is there, whose hashes tell when a copy is complete.
    pub has_manifest: bool,
    /// The last change of any of the files.
    pub changed: SystemTime,
}

impl Marks {
    /// Looks at the files of a version without opening any.
    pub fn of(found: &FoundVersion) -> Self {
        let settings = &found.settings;
        let marks = [settings.model_file(), MANIFEST_FILE, PROBE_FILE].map(|name| found.files.mark(name));
        let beside: Vec<_> = settings.side_files().iter().map(|name| found.model_files.mark(name)).collect();
        let mut hasher = DefaultHasher::new();
        marks.hash(&mut hasher);
        beside.hash(&mut hasher);
        settings.load_text().hash(&mut hasher);
        let changes = marks.iter().chain(&beside).flatten().map(|mark| mark.changed);
        Self {
            fingerprint: Fingerprint(hasher.finish()),
            model_bytes: marks[0].map(|mark| mark.bytes),
            has_manifest: marks[1].is_some(),
            changed: changes.max().unwrap_or(SystemTime::UNIX_EPOCH),
        }
    }
}
