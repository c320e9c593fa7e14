//! One look at a repository: every version with the fingerprint of its files, and what stands beside
//! them. Model files are not opened.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use super::aliases::{AliasStore, Aliases};
use super::fingerprint::Marks;
use super::layout::{FoundVersion, Problem, scan};
use super::names::MODEL_FILE;
use super::settings::{ModelSettings, SETTINGS_FILE};
use super::storage::{Files, Mark, Storage};
use super::triton::CONFIG_FILE;
use super::vouching::{Trust, TrustFile};
use crate::error::{Error, Result};
use crate::ids::{ModelName, Version, quote};

/// The most files beside the versions of a model that are looked at for a misplaced graph.
const MAX_FILES: usize = 1000;

/// A version with the metadata of its files.
#[derive(Debug, Clone)]
pub struct Found {
    /// The version, with the settings that it is loaded with.
    pub folder: FoundVersion,
    /// The metadata of its files.
    pub marks: Marks,
}

impl Found {
    /// Changes the settings that the version is loaded with, which counts like a change of a file.
    pub fn change_settings(&mut self, settings: Arc<ModelSettings>) {
        self.folder.settings = settings;
        self.marks = Marks::of(&self.folder);
    }
}

/// A model's folder.
#[derive(Debug, Clone)]
pub struct FoundModel {
    /// Its versions.
    pub versions: BTreeMap<Version, Found>,
    /// The reason why it has no version, exactly if it has none.
    pub without: Option<String>,
    /// The settings of `model.toml` and `config.pbtxt`, or the reason why they cannot be read.
    pub settings: std::result::Result<Arc<ModelSettings>, String>,
    /// The content of `aliases.json`, or the reason why it cannot be read.
    pub aliases: std::result::Result<Arc<Aliases>, String>,
}

/// The content of a repository.
#[derive(Debug, Clone, Default)]
pub struct Look {
    /// The models whose folders could be read.
    pub models: BTreeMap<ModelName, FoundModel>,
    /// Models whose folder is there and could not be read.
    pub unreadable: BTreeSet<ModelName>,
    /// Entries that were passed over, with the reasons.
    pub problems: Vec<Problem>,
}

/// Returns the reason why a model's folder holds no version.
fn why_without(name: &ModelName, files: &Files) -> String {
    let place = format!("{name}/1/{MODEL_FILE}");
    let beside = files.plain_files(MAX_FILES).unwrap_or_default();
    match beside.iter().map(|(file, _)| file).find(|file| file.ends_with(".onnx")) {
        Some(graph) => {
            format!("it has no version: {} is not in a folder of a version; move it to {place}", quote(graph))
        }
        None => format!("it has no version: a version is a folder whose name is a number, as in {place}"),
    }
}

/// Parsed files, kept until their metadata changes.
#[derive(Debug)]
struct Cached<T> {
    marks: Vec<Option<Mark>>,
    parsed: std::result::Result<Arc<T>, String>,
    /// The last that could be read.
    good: Option<Arc<T>>,
}

impl<T> Cached<T> {
    fn renew(held: Option<Self>, marks: Vec<Option<Mark>>, read: impl FnOnce() -> Result<T>) -> Self {
        match held {
            Some(held) if held.marks == marks && held.parsed.is_ok() => held,
            held => {
                // Files are anybody's: one that breaks its reader must not hide the others.
                let read = catch_unwind(AssertUnwindSafe(read)).unwrap_or_else(|_| {
                    let problem = "reading it failed by a fault of Weir, which the log tells more of";
                    Err(Error::Repository { what: "the file".into(), problem: problem.into() })
                });
                let parsed = read.map(Arc::new).map_err(|error| error.without_path());
                let good = parsed.clone().ok().or_else(|| held.and_then(|held| held.good));
                Self { marks, parsed, good }
            }
        }
    }
}

/// Looks at one repository again and again.
#[derive(Debug)]
pub(super) struct Looker {
    storage: Storage,
    store: AliasStore,
    file: Option<TrustFile>,
    /// The keys that must vouch for versions, as they were read last.
    trust: Option<Arc<Trust>>,
    settings: HashMap<ModelName, Cached<ModelSettings>>,
    aliases: HashMap<ModelName, Cached<Aliases>>,
}

impl Looker {
    pub(super) fn new(storage: Storage, store: AliasStore, file: Option<TrustFile>) -> Self {
        Self { storage, store, file, trust: None, settings: HashMap::new(), aliases: HashMap::new() }
    }

    /// Returns the keys that must vouch for versions, read again if their file changed.
    pub(super) fn trust(&mut self) -> Option<Arc<Trust>> {
        self.trust = self.file.as_mut().map(TrustFile::look);
        self.trust.clone()
    }

    /// Looks at the repository once more, by the keys that [`Looker::trust`] returned last.
    ///
    /// # Errors
    /// [`crate::error::Error::Io`] when the repository itself cannot be read.
    pub(super) fn look(&mut self) -> Result<Look> {
        let scan = scan(&self.storage)?;
        let (mut settings, mut aliases) = (HashMap::new(), HashMap::new());
        let mut look = Look { unreadable: scan.unreadable, problems: scan.problems, ..Look::default() };
        let with_versions: BTreeSet<&ModelName> = scan.versions.iter().map(|found| &found.name).collect();
        for name in scan.models {
            let files = self.storage.root().inside(name.as_str());
            let marks = [SETTINGS_FILE, CONFIG_FILE].map(|file| files.mark(file)).to_vec();
            let said = Cached::renew(self.settings.remove(&name), marks, || ModelSettings::read(&name, &files));
            let marks = self.store.marks(&name).to_vec();
            let pointers = Cached::renew(self.aliases.remove(&name), marks, || self.store.read(&name));
            let model = FoundModel {
                versions: BTreeMap::new(),
                without: (!with_versions.contains(&name)).then(|| why_without(&name, &files)),
                settings: said.parsed.clone(),
                aliases: pointers.parsed.clone(),
            };
            look.models.insert(name.clone(), model);
            settings.insert(name.clone(), said);
            aliases.insert(name, pointers);
        }
        (self.settings, self.aliases) = (settings, aliases);
        for mut folder in scan.versions {
            let Some(model) = look.models.get_mut(&folder.name) else { continue };
            // The last ones that could be read stand, so that a slip of the pen reloads nothing.
            if let Some(settings) = self.settings.get(&folder.name).and_then(|said| said.good.as_ref()) {
                folder.settings = settings.clone();
            }
            folder.trust.clone_from(&self.trust);
            let marks = Marks::find(&mut folder);
            model.versions.insert(folder.version, Found { folder, marks });
        }
        Ok(look)
    }
}
