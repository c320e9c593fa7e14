//! Changes of files, recognised by their metadata alone.

use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::time::SystemTime;

use super::layout::FoundVersion;
use super::manifest::MANIFEST_FILE;
use super::names::{CARD_FILE, PROBE_FILE, TOKENIZER_FILE, TOKENIZER_SIDE_FILES};
use super::storage::Mark;

/// The most files of a version's folder that are told apart. In a folder with more, only those of fixed names count,
/// and whatever changes the folder itself.
const MAX_FILES: usize = 10_000;

/// A digest of the size, change time and inode of each file in a version's folder but its card, of the settings
/// that it is loaded with, and of the keys that must vouch for it. It differs after any change. Which of the files hold data of the graph would show only in
/// the graph itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fingerprint(pub u64);

/// The metadata of a version's files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Marks {
    /// The digest, which changes whenever the files do.
    pub fingerprint: Fingerprint,
    /// The size of the graph's file; `None` if it is missing.
    pub model_bytes: Option<u64>,
    /// A manifest is there, whose hashes tell when a copy is complete.
    pub has_manifest: bool,
    /// The last change of any of the files.
    pub changed: SystemTime,
}

impl Marks {
    /// Looks at the files of a version without opening any, and finds its graph if that has another name than it
    /// should.
    pub fn find(found: &mut FoundVersion) -> Self {
        let files = found.files.plain_files(MAX_FILES).unwrap_or_else(|| fixed(found));
        let mark = |name: &str| files.iter().find(|(file, _)| file == name).map(|(_, mark)| *mark);
        let has_manifest = mark(MANIFEST_FILE).is_some();
        let is_missing = mark(found.settings.model_file()).is_none();
        let graphs = files.iter().map(|(name, _)| name).filter(|name| name.ends_with(".onnx"));
        found.other_graphs = if is_missing && !has_manifest { graphs.cloned().collect() } else { [].into() };
        Self::digest(found, &files)
    }

    /// Looks at the files of a version again without opening any.
    pub fn of(found: &FoundVersion) -> Self {
        Self::digest(found, &found.files.plain_files(MAX_FILES).unwrap_or_else(|| fixed(found)))
    }

    fn digest(found: &FoundVersion, files: &[(String, Mark)]) -> Self {
        let settings = &found.settings;
        let own: Vec<&(String, Mark)> = files.iter().filter(|(name, _)| name != CARD_FILE).collect();
        let beside: Vec<_> = settings.side_files().iter().map(|name| found.model_files.mark(name)).collect();
        let mut hasher = DefaultHasher::new();
        own.hash(&mut hasher);
        beside.hash(&mut hasher);
        found.model_file().hash(&mut hasher);
        settings.load_text().hash(&mut hasher);
        // Other keys make another judgement of the same files.
        found.trust.hash(&mut hasher);
        let mark = |name: &str| own.iter().find(|(file, _)| file == name).map(|(_, mark)| mark);
        let changes = own.iter().map(|(_, mark)| mark).chain(beside.iter().flatten()).map(|mark| mark.changed);
        Self {
            fingerprint: Fingerprint(hasher.finish()),
            model_bytes: mark(found.model_file()).map(|mark| mark.bytes),
            has_manifest: mark(MANIFEST_FILE).is_some(),
            changed: changes.max().unwrap_or(SystemTime::UNIX_EPOCH),
        }
    }
}

/// Returns the metadata of the files that have fixed names.
fn fixed(found: &FoundVersion) -> Vec<(String, Mark)> {
    let names = [found.settings.model_file(), MANIFEST_FILE, PROBE_FILE, TOKENIZER_FILE];
    let names = names.into_iter().chain(TOKENIZER_SIDE_FILES);
    names.filter_map(|name| Some((name.to_owned(), found.files.mark(name)?))).collect()
}
