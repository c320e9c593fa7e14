//! Which model and version a request names, and how it is told that there is no such.

use std::fmt;
use std::sync::Arc;

use crate::error::{Error, Result};
use crate::ids::{ModelName, ModelRef, Version, VersionSpec, printable};
use crate::serving::{Predictor, Servable};

/// The part of a name that a message repeats.
const MAX_NAME_CHARS: usize = 64;

/// A model as a request names it; nothing of it is checked yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ModelSpec {
    /// The name of the model.
    pub(crate) name: String,
    /// The version of it.
    pub(crate) wanted: Wanted,
}

/// The version that a request wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// The one that the alias `stable` points to, or without that alias the newest available one.
    Latest,
    /// This one.
    Version(u64),
    /// The one that the alias of this name points to: what TensorFlow Serving calls a version label.
    Label(String),
}

impl ModelSpec {
    /// The servable that is meant.
    ///
    /// # Errors
    /// [`Error::NotFound`] when there is none that serves, [`Error::InvalidInput`] for an unknown label.
    pub(crate) fn resolve(&self, predictor: &Predictor) -> Result<Arc<Servable>> {
        let name = self.model_name()?;
        let version = match &self.wanted {
            Wanted::Latest => VersionSpec::Latest,
            Wanted::Version(number) => VersionSpec::Specific(Version(*number)),
            Wanted::Label(label) => VersionSpec::Alias(label.parse().map_err(|_| unrecognized(label))?),
        };
        predictor.resolve(&ModelRef { name: Some(name), version }).map_err(|error| match error {
            Error::ModelNotFound { .. } | Error::VersionNotFound { .. } => self.not_found(),
            // TensorFlow Serving finds only what serves.
            Error::NotAvailable { reason, .. } | Error::NoneAvailable { reason, .. } => {
                Error::NotFound(format!("{} ({reason})", self.not_found()))
            }
            Error::AliasNotFound { alias, .. } => unrecognized(alias.as_str()),
            other => other,
        })
    }

    /// The name, checked.
    ///
    /// # Errors
    /// [`Error::NotFound`] when no model can be called so.
    pub(super) fn model_name(&self) -> Result<ModelName> {
        self.name.parse().map_err(|_| self.not_found())
    }

    pub(super) fn shown_name(&self) -> String {
        printable(&self.name, MAX_NAME_CHARS)
    }

    fn not_found(&self) -> Error {
        Error::NotFound(format!("Servable not found for request: {self}"))
    }
}

/// Writes it as in the messages: `Latest(m)`, `Specific(m, 7)`.
impl fmt::Display for ModelSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.shown_name();
        match &self.wanted {
            Wanted::Latest => write!(f, "Latest({name})"),
            Wanted::Version(number) => write!(f, "Specific({name}, {number})"),
            Wanted::Label(label) => write!(f, "Specific({name}, {})", printable(label, MAX_NAME_CHARS)),
        }
    }
}

pub(super) fn unrecognized(label: &str) -> Error {
    Error::InvalidInput(format!("Unrecognized servable version label: {}", printable(label, MAX_NAME_CHARS)))
}
