//! What is loaded: an immutable snapshot that requests read through one atomic load.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Serialize;
use utoipa::ToSchema;

use super::servable::Servable;
use crate::error::{Error, Result};
use crate::ids::{ModelName, ModelRef, Version, VersionSpec};

/// The life of a version, as in TensorFlow Serving; it moves one way only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "UPPERCASE")]
pub enum State {
    /// Known, not yet begun.
    Start,
    /// Being read, checked and warmed up.
    Loading,
    /// Serving.
    Available,
    /// Ended; the reason says why.
    End,
}

/// One version of a model, loaded or not.
#[derive(Debug, Clone)]
pub struct VersionEntry {
    /// Where it is in its life.
    pub state: State,
    /// Why it is not serving.
    pub reason: Option<String>,
    /// The version itself, exactly while it is available.
    pub servable: Option<Arc<Servable>>,
}

impl VersionEntry {
    /// An entry in a state without a servable.
    pub fn in_state(state: State) -> Self {
        Self { state, reason: None, servable: None }
    }

    /// A version that serves.
    pub fn available(servable: Arc<Servable>) -> Self {
        Self { state: State::Available, reason: None, servable: Some(servable) }
    }

    /// A version that cannot serve.
    pub fn ended(reason: String) -> Self {
        Self { state: State::End, reason: Some(reason), servable: None }
    }
}

/// The versions of one model.
#[derive(Debug, Clone, Default)]
pub struct ModelEntry {
    /// All known versions.
    pub versions: BTreeMap<Version, VersionEntry>,
    /// The newest available one, resolved when the snapshot is built.
    latest: Option<Arc<Servable>>,
}

impl ModelEntry {
    /// The newest available version.
    pub fn latest(&self) -> Option<&Arc<Servable>> {
        self.latest.as_ref()
    }
}

/// All models and versions at one moment.
#[derive(Debug, Clone, Default)]
pub struct Catalog {
    models: BTreeMap<ModelName, ModelEntry>,
    default_model: Option<ModelName>,
    settled: bool,
}

impl Catalog {
    /// An empty catalog whose default model, if given, need not exist yet.
    pub fn new(default_model: Option<ModelName>) -> Self {
        Self { default_model, ..Self::default() }
    }

    /// Enters or replaces one version.
    pub fn set(&mut self, name: ModelName, version: Version, entry: VersionEntry) {
        let model = self.models.entry(name).or_default();
        model.versions.insert(version, entry);
        model.latest = model.versions.values().rev().find_map(|entry| entry.servable.clone());
    }

    /// Says that every version found has either loaded or ended.
    pub fn settle(&mut self) {
        self.settled = true;
    }

    /// Whether every version found has either loaded or ended.
    pub fn is_settled(&self) -> bool {
        self.settled
    }

    /// Whether all loading is done and something serves.
    pub fn is_ready(&self) -> bool {
        self.settled && self.servables().next().is_some()
    }

    /// All models by name.
    pub fn models(&self) -> &BTreeMap<ModelName, ModelEntry> {
        &self.models
    }

    /// All servables, by name and version.
    pub fn servables(&self) -> impl Iterator<Item = &Arc<Servable>> {
        self.models.values().flat_map(|model| model.versions.values()).filter_map(|entry| entry.servable.as_ref())
    }

    /// The model for requests that name none: the configured one, or else the only one there is.
    pub fn default_model(&self) -> Option<&ModelName> {
        self.default_model.as_ref().or_else(|| self.models.keys().next().filter(|_| self.models.len() == 1))
    }

    /// The model of this name.
    ///
    /// # Errors
    /// [`Error::ModelNotFound`].
    pub fn model(&self, name: &ModelName) -> Result<&ModelEntry> {
        self.models.get(name).ok_or_else(|| Error::ModelNotFound { name: name.clone() })
    }

    /// The servable that a request means.
    ///
    /// # Errors
    /// [`Error::NoDefaultModel`], [`Error::ModelNotFound`], [`Error::VersionNotFound`] or
    /// [`Error::NotAvailable`].
    pub fn resolve(&self, target: &ModelRef) -> Result<&Arc<Servable>> {
        let name = target.name.as_ref().or_else(|| self.default_model()).ok_or_else(|| Error::NoDefaultModel {
            available: self.models.keys().map(ModelName::as_str).collect::<Vec<_>>().join(", "),
        })?;
        let model = self.model(name)?;
        let unavailable = |version: Version, entry: &VersionEntry| Error::NotAvailable {
            name: name.clone(),
            version,
            reason: entry.reason.clone().unwrap_or_else(|| "it is still loading".into()),
        };
        match target.version {
            VersionSpec::Specific(version) => {
                let entry = model.versions.get(&version);
                let entry = entry.ok_or_else(|| Error::VersionNotFound { name: name.clone(), version })?;
                entry.servable.as_ref().ok_or_else(|| unavailable(version, entry))
            }
            VersionSpec::Latest => model.latest().ok_or_else(|| match model.versions.last_key_value() {
                Some((version, entry)) => unavailable(*version, entry),
                None => Error::ModelNotFound { name: name.clone() },
            }),
        }
    }
}
