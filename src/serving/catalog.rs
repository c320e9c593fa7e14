//! The catalog: an immutable snapshot of all versions, which requests read through one atomic load.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Serialize;
use utoipa::ToSchema;

use super::servable::Servable;
use crate::config::AliasFallback;
use crate::error::{Error, Result};
use crate::ids::{AliasName, ModelName, ModelRef, Version, VersionSpec};
use crate::repository::Aliases;

/// The life of a version, as in TensorFlow Serving.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "UPPERCASE")]
pub enum State {
    /// Known and wanted, not yet begun; the reason says what it waits for.
    Start,
    /// Being read, checked and warmed up.
    Loading,
    /// Serving.
    Available,
    /// No longer asked; requests under way finish.
    Unloading,
    /// Not loaded; the reason says why.
    End,
}

impl State {
    /// Returns the number that stands for it in metrics.
    pub(crate) fn number(self) -> u8 {
        match self {
            Self::Start => 10,
            Self::Loading => 20,
            Self::Available => 30,
            Self::Unloading => 40,
            Self::End => 50,
        }
    }
}

/// One version of a model, loaded or not.
#[derive(Debug, Clone)]
pub struct VersionEntry {
    /// The stage of its life.
    pub state: State,
    /// The reason why it does not serve; while it serves, the fault of its files.
    pub reason: Option<String>,
    /// Failed attempts to load what its folder holds now.
    pub attempts: u32,
    /// The version itself, exactly while it is available.
    pub servable: Option<Arc<Servable>>,
}

/// The versions of one model.
#[derive(Debug, Clone, Default)]
pub struct ModelEntry {
    /// All known versions.
    pub versions: BTreeMap<Version, VersionEntry>,
    /// The versions to which its aliases point.
    pub aliases: Arc<Aliases>,
    /// The reason why it has no version, the fault in its settings or aliases, and the part of `config.pbtxt` that has no
    /// effect.
    pub problem: Option<String>,
    /// The newest available version, resolved when the snapshot is built.
    latest: Option<Arc<Servable>>,
    /// The aliases whose version cannot come, each with the version that answers for it, if one does.
    broken: BTreeMap<AliasName, Option<Arc<Servable>>>,
}

impl ModelEntry {
    /// Makes a model of these versions and aliases.
    pub fn new(
        versions: BTreeMap<Version, VersionEntry>,
        aliases: Arc<Aliases>,
        problem: Option<String>,
        fallback: AliasFallback,
    ) -> Self {
        let latest = versions.values().rev().find_map(|entry| entry.servable.clone());
        let servable = |version: &Version| versions.get(version)?.servable.clone();
        let is_broken = |version: Version| match versions.get(&version) {
            // One that is still being loaded, or will be tried again, is waited for.
            Some(entry) => entry.servable.is_none() && entry.state == State::End,
            None => true,
        };
        // Where nothing serves, that is told of the model.
        let is_broken = |version: Version| latest.is_some() && is_broken(version);
        let broken = aliases.aliases.iter().filter(|(_, alias)| is_broken(alias.version)).map(|(name, alias)| {
            let answers = match fallback {
                AliasFallback::None => None,
                AliasFallback::Previous => alias.history.iter().rev().find_map(servable),
                AliasFallback::Latest => latest.clone(),
            };
            (name.clone(), answers)
        });
        let broken = broken.collect();
        Self { versions, aliases, problem, latest, broken }
    }

    /// Returns the aliases whose version is gone or cannot be loaded, each with the version that answers for it, if one
    /// does.
    pub fn broken(&self) -> impl Iterator<Item = (&AliasName, Option<Version>)> {
        self.broken.iter().map(|(alias, answers)| (alias, answers.as_ref().map(|servable| servable.version)))
    }

    /// Returns the version for requests that name none: that of the alias `stable`, or without it the newest
    /// available one.
    pub fn default_version(&self) -> Option<Version> {
        let stable = self.aliases.aliases.get(AliasName::STABLE).map(|alias| alias.version);
        let answers = self.broken.get(AliasName::STABLE).and_then(|answers| answers.as_ref());
        let stable = answers.map(|servable| servable.version).or(stable);
        stable.or_else(|| self.latest().map(|servable| servable.version))
    }

    /// Returns the reason why no version serves: that of the newest, or of there being none.
    fn why_idle(&self) -> String {
        match (self.versions.last_key_value(), &self.problem) {
            (Some((version, entry)), _) => {
                let reason = entry.reason.as_deref().unwrap_or("it is still loading");
                format!("version {version}: {reason}")
            }
            (None, Some(problem)) => problem.clone(),
            (None, None) => "it has no version".into(),
        }
    }

    /// Returns the newest available version.
    pub fn latest(&self) -> Option<&Arc<Servable>> {
        self.latest.as_ref()
    }
}

/// All models and versions at one moment.
#[derive(Debug, Clone, Default)]
pub struct Catalog {
    models: BTreeMap<ModelName, ModelEntry>,
    default_model: Option<ModelName>,
    /// Set once the repository was read: a model that is missing here is then missing there.
    read: bool,
    settled: bool,
    empty_is_ready: bool,
}

impl Catalog {
    /// Makes an empty catalog, whose default model need not exist yet.
    pub fn new(default_model: Option<ModelName>) -> Self {
        Self { default_model, ..Self::default() }
    }

    /// Enters or replaces one model.
    pub fn set(&mut self, name: ModelName, model: ModelEntry) {
        self.models.insert(name, model);
    }

    /// Lets the server be ready also while no version serves: the admin API decides what is loaded.
    pub fn ready_when_empty(&mut self) {
        self.empty_is_ready = true;
    }

    /// Records that the repository was read: from now on, models that are not here do not exist.
    pub fn mark_read(&mut self) {
        self.read = true;
    }

    /// Returns true once the repository was read.
    pub fn is_read(&self) -> bool {
        self.read
    }

    /// Records that every version found has either loaded or ended.
    pub fn settle(&mut self) {
        self.settled = true;
    }

    /// Returns true once every version found has either loaded or ended.
    pub fn is_settled(&self) -> bool {
        self.settled
    }

    /// Returns true once all loading is done and a version serves.
    pub fn is_ready(&self) -> bool {
        self.settled && (self.empty_is_ready || self.servables().next().is_some())
    }

    /// Returns all models by name.
    pub fn models(&self) -> &BTreeMap<ModelName, ModelEntry> {
        &self.models
    }

    /// Returns all servables, by name and version.
    pub fn servables(&self) -> impl Iterator<Item = &Arc<Servable>> {
        self.models.values().flat_map(|model| model.versions.values()).filter_map(|entry| entry.servable.as_ref())
    }

    /// Returns the model for requests that name none: the one that was declared the default, or else the only one.
    pub fn default_model(&self) -> Option<&ModelName> {
        let mut names = self.names();
        self.default_model.as_ref().or_else(|| names.next().filter(|_| names.next().is_none()))
    }

    /// Returns the names of the models that have versions.
    fn names(&self) -> impl Iterator<Item = &ModelName> {
        self.models.iter().filter(|(_, model)| !model.versions.is_empty()).map(|(name, _)| name)
    }

    /// Returns the models that have no version that serves, each with a reason.
    pub fn idle(&self) -> impl Iterator<Item = (&ModelName, String)> {
        let idle = self.models.iter().filter(|(_, model)| model.latest.is_none());
        idle.map(|(name, model)| (name, model.why_idle()))
    }

    /// Returns the aliases whose version is gone or cannot be loaded, each with what becomes of its requests.
    pub fn broken_aliases(&self) -> impl Iterator<Item = (String, String)> {
        self.models.iter().flat_map(|(name, model)| {
            model.broken().filter_map(move |(alias, answers)| {
                let version = model.aliases.aliases.get(alias)?.version;
                let why = match model.versions.get(&version) {
                    Some(entry) => entry.reason.as_deref().unwrap_or("it is not wanted"),
                    None => "it is not in the repository",
                };
                let then = match answers {
                    Some(answers) => format!("version {answers} answers for it"),
                    None => "requests for it are refused".to_owned(),
                };
                Some((format!("{name}/{alias}"), format!("version {version}: {why}; {then}")))
            })
        })
    }

    /// Returns the model of this name.
    ///
    /// # Errors
    /// [`Error::ModelNotFound`]; [`Error::NotReady`] before the repository was read.
    pub fn model(&self, name: &ModelName) -> Result<&ModelEntry> {
        self.models.get(name).ok_or_else(|| self.missing(Error::ModelNotFound { name: name.clone() }))
    }

    /// Returns the error for something that is not here: the given one, if it would be here if it existed.
    fn missing(&self, error: Error) -> Error {
        if self.read { error } else { Error::unread() }
    }

    /// Returns the servable that a request asks for.
    ///
    /// # Errors
    /// [`Error::NoDefaultModel`], [`Error::ModelNotFound`], [`Error::VersionNotFound`], [`Error::NotAvailable`] or
    /// [`Error::NoneAvailable`]; before the repository was read [`Error::NotReady`] instead of the first two.
    pub fn resolve(&self, target: &ModelRef) -> Result<&Arc<Servable>> {
        let no_default = || {
            let available = self.names().map(ModelName::as_str).collect::<Vec<_>>().join(", ");
            self.missing(Error::NoDefaultModel { available })
        };
        let name = target.name.as_ref().or_else(|| self.default_model()).ok_or_else(no_default)?;
        let model = self.model(name)?;
        let unavailable = |version: Version, entry: &VersionEntry| Error::NotAvailable {
            name: name.clone(),
            version,
            reason: entry.reason.clone().unwrap_or_else(|| "it is still loading".into()),
        };
        let specific = |version: Version| {
            let entry = model.versions.get(&version);
            let entry = entry.ok_or_else(|| Error::VersionNotFound { name: name.clone(), version })?;
            entry.servable.as_ref().ok_or_else(|| unavailable(version, entry))
        };
        let aliased = |alias: &str, version: Version| match model.broken.get(alias) {
            Some(Some(answers)) => Ok(answers),
            Some(None) | None => specific(version),
        };
        match &target.version {
            VersionSpec::Specific(version) => specific(*version),
            VersionSpec::Alias(alias) => match model.aliases.aliases.get(alias) {
                Some(entry) => aliased(alias.as_str(), entry.version),
                None => Err(Error::AliasNotFound { name: name.clone(), alias: alias.clone() }),
            },
            VersionSpec::Latest => match (model.aliases.aliases.get(AliasName::STABLE), model.latest()) {
                (Some(stable), _) => aliased(AliasName::STABLE, stable.version),
                (None, Some(latest)) => Ok(latest),
                (None, None) => Err(match model.versions.last_key_value() {
                    Some((version, entry)) => unavailable(*version, entry),
                    None => Error::NoneAvailable { name: name.clone(), reason: model.why_idle() },
                }),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Kind;

    #[test]
    fn before_the_repository_was_read_nothing_is_said_to_be_missing() {
        let named = ModelRef { name: Some("digits".parse().unwrap()), version: VersionSpec::Latest };
        let unnamed = ModelRef { name: None, version: VersionSpec::Latest };
        let kinds = |catalog: &Catalog| [&named, &unnamed].map(|target| catalog.resolve(target).unwrap_err().kind());
        let mut catalog = Catalog::default();
        assert_eq!(kinds(&catalog), [Kind::Unavailable, Kind::Unavailable]);
        catalog.mark_read();
        assert_eq!(kinds(&catalog), [Kind::NotFound, Kind::Malformed]);
    }
}
