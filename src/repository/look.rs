//! One look at a repository: every version with the fingerprint of its files, and what stands beside
//! them. Model files are not opened.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use super::aliases::{AliasStore, Aliases};
use super::fingerprint::{Marks, mark};
use super::layout::{FoundVersion, Problem, scan};
use super::settings::{ModelSettings, SETTINGS_FILE};
use super::triton::CONFIG_FILE;
use crate::error::Result;
use crate::ids::{ModelName, Version};

/// A version folder and what its files' metadata says.
#[derive(Debug, Clone)]
pub struct Found {
    /// Where it is, and the settings that it is loaded with.
    pub folder: FoundVersion,
    /// What the metadata of its files says.
    pub marks: Marks,
}

impl Found {
    /// Has the version loaded with other settings, which is a change like that of a file.
    pub fn change_settings(&mut self, settings: Arc<ModelSettings>) {
        self.folder.settings = settings;
        self.marks = Marks::of(&self.folder.path, &self.folder.settings);
    }
}

/// A model's folder.
#[derive(Debug, Clone)]
pub struct FoundModel {
    /// Its versions.
    pub versions: BTreeMap<Version, Found>,
    /// `model.toml` and `config.pbtxt`, or what is wrong with them.
    pub settings: std::result::Result<Arc<ModelSettings>, String>,
    /// `aliases.json`, or what is wrong with it.
    pub aliases: std::result::Result<Arc<Aliases>, String>,
}

/// All that a repository holds.
#[derive(Debug, Clone, Default)]
pub struct Look {
    /// The models whose folders could be read.
    pub models: BTreeMap<ModelName, FoundModel>,
    /// Models whose folder is there and could not be read.
    pub unreadable: BTreeSet<ModelName>,
    /// What was passed over, and why.
    pub problems: Vec<Problem>,
}

type Mark = Option<(u64, SystemTime, u64)>;

/// Parsed files, kept until their metadata changes.
#[derive(Debug)]
struct Cached<T> {
    marks: Vec<Mark>,
    parsed: std::result::Result<Arc<T>, String>,
    /// The last that could be read.
    good: Option<Arc<T>>,
}

impl<T> Cached<T> {
    fn renew(held: Option<Self>, marks: Vec<Mark>, read: impl FnOnce() -> Result<T>) -> Self {
        match held {
            Some(held) if held.marks == marks && held.parsed.is_ok() => held,
            held => {
                let parsed = read().map(Arc::new).map_err(|error| error.without_path());
                let good = parsed.clone().ok().or_else(|| held.and_then(|held| held.good));
                Self { marks, parsed, good }
            }
        }
    }
}

/// Looks at one repository again and again.
#[derive(Debug)]
pub(super) struct Looker {
    models: PathBuf,
    store: AliasStore,
    settings: HashMap<ModelName, Cached<ModelSettings>>,
    aliases: HashMap<ModelName, Cached<Aliases>>,
}

impl Looker {
    pub(super) fn new(models: &Path, store: AliasStore) -> Self {
        Self { models: models.to_owned(), store, settings: HashMap::new(), aliases: HashMap::new() }
    }

    /// # Errors
    /// [`crate::error::Error::Io`] when the repository folder itself cannot be read.
    pub(super) fn look(&mut self) -> Result<Look> {
        let scan = scan(&self.models)?;
        let (mut settings, mut aliases) = (HashMap::new(), HashMap::new());
        let mut look = Look { unreadable: scan.unreadable, problems: scan.problems, ..Look::default() };
        for name in scan.models {
            let folder = self.models.join(name.as_str());
            let files = [SETTINGS_FILE, CONFIG_FILE].map(|file| mark(&folder.join(file))).to_vec();
            let said = Cached::renew(self.settings.remove(&name), files, || ModelSettings::read(&folder));
            let files = self.store.files(&name).iter().map(|path| mark(path)).collect();
            let pointers = Cached::renew(self.aliases.remove(&name), files, || self.store.read(&name));
            let model = FoundModel {
                versions: BTreeMap::new(),
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
            let marks = Marks::of(&folder.path, &folder.settings);
            model.versions.insert(folder.version, Found { folder, marks });
        }
        Ok(look)
    }
}
