//! The models and versions that a repository holds.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use super::manifest::Manifest;
use super::settings::ModelSettings;
use super::storage::{EntryKind, Files, Storage};
use super::triton::WARMUP_FOLDER;
use crate::error::Result;
use crate::ids::{ModelName, Version, quote};

/// Models, and versions of each, that one scan looks at; the rest is reported and left out.
const MAX_ENTRIES: usize = 1000;

/// A version of a repository. Its folder alone says its model and its number.
#[derive(Debug, Clone, PartialEq)]
pub struct FoundVersion {
    /// The model.
    pub name: ModelName,
    /// The version.
    pub version: Version,
    /// The files of the version.
    pub files: Files,
    /// The files of the model, beside its versions.
    pub model_files: Files,
    /// The settings of `model.toml` and `config.pbtxt`; all defaults from [`scan`], which does not read them.
    pub settings: Arc<ModelSettings>,
}

impl FoundVersion {
    /// Returns the version in a folder `<model>/<version>`.
    ///
    /// # Errors
    /// [`Error::InvalidName`](crate::error::Error::InvalidName) when the folder is not called that.
    pub fn in_folder(folder: &Path) -> Result<Self> {
        let model = folder.parent().unwrap_or(folder);
        let name_of = |path: &Path| path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        Ok(Self {
            name: name_of(model).parse()?,
            version: name_of(folder).parse()?,
            files: folder.into(),
            model_files: model.into(),
            settings: Arc::default(),
        })
    }
}

impl Manifest {
    /// Returns the manifest with the model and version of the folder that it lies in, which count if the version was
    /// copied there.
    ///
    /// # Errors
    /// [`Error::InvalidName`](crate::error::Error::InvalidName) when the folder is not called `<model>/<version>`.
    pub fn of_folder(self, folder: &Path) -> Result<Self> {
        let FoundVersion { name: model, version, .. } = FoundVersion::in_folder(folder)?;
        Ok(Self { model, version, ..self })
    }
}

/// An entry that looks like part of a repository and cannot be one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The path, relative to the repository.
    pub place: String,
    /// The reason why it was passed over.
    pub problem: String,
}

/// The content of a repository.
#[derive(Debug, Default)]
pub struct Scan {
    /// Versions, by name and then ascending number.
    pub versions: Vec<FoundVersion>,
    /// Models whose folder could be read, also those without a version.
    pub models: BTreeSet<ModelName>,
    /// Models whose folder could not be read.
    pub unreadable: BTreeSet<ModelName>,
    /// Entries that were passed over, with the reasons.
    pub problems: Vec<Problem>,
}

/// Lists the versions in a repository. Links and special files are never followed.
///
/// # Errors
/// [`Error::Io`](crate::error::Error::Io) when the repository itself cannot be read.
pub fn scan(storage: &Storage) -> Result<Scan> {
    let mut scan = Scan::default();
    let root = storage.root();
    for name in folders(&root, "", &mut scan.problems)? {
        let place = quote(&name);
        let model = match name.parse::<ModelName>() {
            Ok(model) => model,
            Err(error) => {
                scan.problems.push(Problem { place, problem: error.to_string() });
                continue;
            }
        };
        let files = root.inside(model.as_str());
        match folders(&files, model.as_str(), &mut scan.problems) {
            Ok(versions) => {
                scan_model(&model, &files, &versions, &mut scan);
                scan.models.insert(model);
            }
            Err(error) => {
                scan.problems.push(Problem { place, problem: error.to_string() });
                scan.unreadable.insert(model);
            }
        }
    }
    scan.versions.sort_by(|a, b| (&a.name, a.version).cmp(&(&b.name, b.version)));
    Ok(scan)
}

fn scan_model(model: &ModelName, files: &Files, versions: &[String], scan: &mut Scan) {
    // Triton's place for the data of warm-up requests.
    for folder in versions.iter().filter(|folder| *folder != WARMUP_FOLDER) {
        match folder.parse::<Version>() {
            Ok(version) => scan.versions.push(FoundVersion {
                name: model.clone(),
                version,
                files: files.inside(folder),
                model_files: files.clone(),
                settings: Arc::default(),
            }),
            Err(error) => {
                let place = format!("{model}/{}", quote(folder));
                scan.problems.push(Problem { place, problem: error.to_string() });
            }
        }
    }
}

/// Returns the names of the folders among some files; reports whatever else is there.
fn folders(files: &Files, place: &str, problems: &mut Vec<Problem>) -> Result<Vec<String>> {
    let entries = files.entries(MAX_ENTRIES + 1)?;
    if entries.len() > MAX_ENTRIES {
        let problem = format!("more than {MAX_ENTRIES} entries; the rest is ignored");
        problems.push(Problem { place: place.to_owned(), problem });
    }
    let mut names = Vec::new();
    for entry in entries.into_iter().take(MAX_ENTRIES) {
        match entry.kind {
            EntryKind::Folder => names.push(entry.name),
            EntryKind::Other => problems.push(Problem {
                place: format!("{place}/{}", quote(&entry.name)),
                problem: "is a link or special file, not a folder".to_owned(),
            }),
        }
    }
    Ok(names)
}
