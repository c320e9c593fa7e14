//! Publishing a version: staged beside its place, flushed to disk, renamed into it. A reader sees all of it or
//! nothing, even after a power cut.

use std::fs;
use std::path::{Path, PathBuf};

use super::digest::sha256_hex;
use super::layout::scan;
use super::manifest::{DriftReference, FileEntry, MANIFEST_FILE, Manifest};
use super::names::REFERENCE_FILE;
use super::storage::{Storage, sync_folder, write_durably};
use crate::error::{Error, Result};
use crate::ids::Version;

/// The number of attempts to take a number that other publishers may take first.
const ATTEMPTS: usize = 16;

/// The content of a new version. [`publish`] sets the version number and the list of files in its manifest.
#[derive(Debug)]
pub struct Publication {
    /// The manifest, complete but for `version` and `files`.
    pub manifest: Manifest,
    /// The other files, by name.
    pub files: Vec<(&'static str, Vec<u8>)>,
}

/// Judges the folder of a version that is complete, before it becomes visible. An error keeps it from being published.
pub type Check<'c> = dyn FnMut(&Path) -> Result<()> + 'c;

/// Publishes the next version of a model, if `check` lets it pass, and returns its number and folder.
///
/// # Errors
/// [`Error::Io`] when a step fails, and what `check` returns; nothing is visible then, and the staging folder is removed.
pub fn publish(root: &Path, mut publication: Publication, check: &mut Check<'_>) -> Result<(Version, PathBuf)> {
    let model = root.join(publication.manifest.model.as_str());
    fs::create_dir_all(&model).map_err(Error::io("create", &model))?;
    let entry = |(name, bytes): &(&str, Vec<u8>)| {
        ((*name).to_owned(), FileEntry { sha256: sha256_hex(bytes), bytes: bytes.len() as u64 })
    };
    publication.manifest.files = publication.files.iter().map(entry).collect();
    let staging = Staging(model.join(format!(".staging-{}", uuid::Uuid::now_v7())));
    fs::create_dir(&staging.0).map_err(Error::io("create", &staging.0))?;
    for (name, bytes) in &publication.files {
        write_durably(&staging.0.join(name), bytes)?;
    }
    for attempt in 1.. {
        publication.manifest.version = next_version(root, &publication.manifest)?;
        let text = serde_json::to_string_pretty(&publication.manifest)
            .map_err(|error| Error::internal("the manifest could not be written", error))?;
        write_durably(&staging.0.join(MANIFEST_FILE), format!("{text}\n").as_bytes())?;
        sync_folder(&staging.0)?;
        if attempt == 1 {
            check(&staging.0)?;
        }
        let place = model.join(publication.manifest.version.to_string());
        match fs::rename(&staging.0, &place) {
            Ok(()) => {
                sync_folder(&model)?;
                return Ok((publication.manifest.version, place));
            }
            // Somebody else published this number in between.
            Err(_) if attempt < ATTEMPTS && place.exists() => {}
            Err(error) => return Err(Error::io("publish", place)(error)),
        }
    }
    unreachable!("the last attempt returns")
}

/// Puts a reference for drift beside the files of a version, in place of one that may be there. A server that has
/// loaded the version loads it again with it.
///
/// # Errors
/// [`Error::Io`] when a step fails; the folder is then as it was.
pub fn publish_reference(folder: &Path, reference: &DriftReference) -> Result<PathBuf> {
    let text = serde_json::to_string_pretty(reference)
        .map_err(|error| Error::internal("the reference could not be written", error))?;
    put(folder, REFERENCE_FILE, format!("{text}\n").as_bytes())
}

/// Puts a file into a folder, in place of one that may be there: whole, or not at all.
pub(super) fn put(folder: &Path, name: &str, bytes: &[u8]) -> Result<PathBuf> {
    let place = folder.join(name);
    let staged = folder.join(format!(".{name}-{}", uuid::Uuid::now_v7()));
    let renamed =
        write_durably(&staged, bytes).and_then(|()| fs::rename(&staged, &place).map_err(Error::io("publish", &place)));
    if renamed.is_err() {
        drop(fs::remove_file(&staged));
    }
    renamed?;
    sync_folder(folder)?;
    Ok(place)
}

fn next_version(root: &Path, manifest: &Manifest) -> Result<Version> {
    let taken = scan(&Storage::from(root))?
        .versions
        .into_iter()
        .filter(|found| found.name == manifest.model)
        .map(|found| found.version.0);
    Ok(Version(taken.max().unwrap_or(0) + 1))
}

/// A staging folder that vanishes unless it was renamed away.
struct Staging(PathBuf);

impl Drop for Staging {
    fn drop(&mut self) {
        // After a successful rename there is nothing left to remove.
        drop(fs::remove_dir_all(&self.0));
    }
}
