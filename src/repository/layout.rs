//! The models and versions that a repository holds.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use super::manifest::Manifest;
use super::names::MODEL_FILE;
use super::settings::ModelSettings;
use super::storage::{EntryKind, Files, Storage};
use super::triton::WARMUP_FOLDER;
use super::vouching::Trust;
use crate::error::Result;
use crate::ids::{ModelName, Version, quote};
use crate::signing::Place;

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
    /// The keys that must vouch for it; `None` if signatures are not looked at, as from [`scan`].
    pub trust: Option<Arc<Trust>>,
    /// Files that end in `.onnx`, where none is called as it should be; none from [`scan`], which does not look.
    pub(super) other_graphs: Arc<[String]>,
}

impl FoundVersion {
    /// Returns the version in a folder `<model>/<version>`.
    ///
    /// # Errors
    /// [`Error::InvalidName`](crate::error::Error::InvalidName) when the folder is not called that.
    pub fn in_folder(folder: &Path) -> Result<Self> {
        let model = folder.parent().unwrap_or(folder);
        let name_of = |path: &Path| path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let number = name_of(folder);
        Ok(Self {
            name: name_of(model).parse()?,
            version: Version::of_folder(&number).map_or_else(|| number.parse(), Ok)?,
            files: folder.into(),
            model_files: model.into(),
            settings: Arc::default(),
            trust: None,
            other_graphs: Arc::default(),
        })
    }

    /// Returns a version that is not in its place yet, in a folder of any name; its number is 0.
    pub fn staged(folder: &Path, name: ModelName) -> Self {
        Self {
            name,
            version: Version(0),
            files: folder.into(),
            model_files: folder.parent().unwrap_or(folder).into(),
            settings: Arc::default(),
            trust: None,
            other_graphs: Arc::default(),
        }
    }

    /// Returns its place, for which it is signed.
    pub fn place(&self) -> Place {
        Place { model: self.name.clone(), version: self.version }
    }

    /// Returns the name of the file that holds the graph: the one that the settings name, or else `model.onnx`, or
    /// else the only one that ends in `.onnx` in a folder without a manifest.
    pub fn model_file(&self) -> &str {
        match &*self.other_graphs {
            [only] if self.settings.named_model_file().is_none() => only,
            _ => self.settings.model_file(),
        }
    }

    /// Returns the reason why there is no graph, for a folder without one.
    pub fn why_no_graph(&self) -> String {
        let missing = format!("{} is missing", self.settings.model_file());
        let others: Vec<String> = self.other_graphs.iter().take(3).map(|name| quote(name)).collect();
        match (others.is_empty(), self.settings.named_model_file()) {
            (true, _) => missing,
            (false, Some(_)) => format!("{missing}; the folder has {}", others.join(", ")),
            (false, None) => format!(
                "{missing}; the folder has {}: name one as default_model_filename in config.pbtxt, or call it {MODEL_FILE}",
                others.join(", ")
            ),
        }
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

/// Lists the versions in a repository. Folders of models and versions may be links.
///
/// # Errors
/// [`Error::Io`](crate::error::Error::Io) when the repository itself cannot be read.
pub fn scan(storage: &Storage) -> Result<Scan> {
    let mut scan = Scan::default();
    let root = storage.root();
    for Named { name, is_lost } in folders(&root, "", &mut scan.problems)? {
        let place = quote(&name);
        let model = match name.parse::<ModelName>() {
            Ok(model) => model,
            Err(error) => {
                scan.problems.push(Problem { place, problem: error.to_string() });
                continue;
            }
        };
        // A link to a share that is gone for the moment is no reason to let go of the model.
        if is_lost {
            scan.unreadable.insert(model);
            continue;
        }
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

fn scan_model(model: &ModelName, files: &Files, folders: &[Named], scan: &mut Scan) {
    let mut versions: BTreeMap<Version, &str> = BTreeMap::new();
    // Triton's place for the data of warm-up requests.
    for Named { name: folder, is_lost } in folders.iter().filter(|folder| folder.name != WARMUP_FOLDER) {
        let mut pass_over = |folder: &str, problem: String| {
            scan.problems.push(Problem { place: format!("{model}/{}", quote(folder)), problem });
        };
        let Some(version) = Version::of_folder(folder) else {
            pass_over(folder, "is not the number of a version".into());
            continue;
        };
        // Of several folders that mean one version, the one with the fewest leading zeros is it.
        let (kept, other) = match versions.get(&version) {
            _ if *is_lost => continue,
            None => (folder.as_str(), None),
            Some(held) if held.len() > folder.len() => (folder.as_str(), Some(*held)),
            Some(held) => (*held, Some(folder.as_str())),
        };
        if let Some(other) = other {
            pass_over(other, format!("means version {version}, which the folder {} is already", quote(kept)));
        }
        versions.insert(version, kept);
    }
    scan.versions.extend(versions.into_iter().map(|(version, folder)| FoundVersion {
        name: model.clone(),
        version,
        files: files.inside(folder),
        model_files: files.clone(),
        settings: Arc::default(),
        trust: None,
        other_graphs: Arc::default(),
    }));
}

/// The name of a folder, or of a link that leads to none at the moment.
struct Named {
    name: String,
    is_lost: bool,
}

/// Returns the names of the folders among some files; reports whatever else is there.
fn folders(files: &Files, place: &str, problems: &mut Vec<Problem>) -> Result<Vec<Named>> {
    let entries = files.entries(MAX_ENTRIES + 1)?;
    if entries.len() > MAX_ENTRIES {
        let problem = format!("more than {MAX_ENTRIES} entries; the rest is ignored");
        problems.push(Problem { place: place.to_owned(), problem });
    }
    let mut names = Vec::new();
    for entry in entries.into_iter().take(MAX_ENTRIES) {
        let problem = match entry.kind {
            EntryKind::Folder => None,
            EntryKind::Lost => Some("is a link that leads nowhere"),
            EntryKind::Special => Some("is a special file, not a folder"),
        };
        if let Some(problem) = problem {
            problems.push(Problem { place: format!("{place}/{}", quote(&entry.name)), problem: problem.to_owned() });
        }
        if entry.kind != EntryKind::Special {
            names.push(Named { name: entry.name, is_lost: entry.kind == EntryKind::Lost });
        }
    }
    Ok(names)
}
