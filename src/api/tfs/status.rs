//! The states of versions, as `GetModelStatus` tells them.

use super::model_spec::{ModelSpec, Wanted, unrecognized};
use crate::error::{Error, Result};
use crate::ids::Version;
use crate::serving::{Catalog, State, VersionEntry};

/// The outcome of the last attempt to load a version, as a code of gRPC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Code {
    /// Nothing is wrong.
    Ok,
    /// It could not be loaded.
    Internal,
}

/// One version of a model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct VersionStatus {
    /// Its number.
    pub(crate) version: u64,
    /// Where it is in its life; the names are TensorFlow Serving's own.
    pub(crate) state: State,
    /// The fault, if there is one.
    pub(crate) code: Code,
    /// Why it does not serve.
    pub(crate) message: String,
}

impl Code {
    /// Its name in `error_codes.proto`.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Ok => "OK",
            Self::Internal => "INTERNAL",
        }
    }

    /// Its number there.
    pub(crate) fn number(self) -> i32 {
        match self {
            Self::Ok => 0,
            Self::Internal => 13,
        }
    }
}

/// The states of the versions that are asked for, newest first.
///
/// # Errors
/// [`Error::NotFound`] when there is no such model or version, [`Error::InvalidInput`] for an unknown
/// label, [`Error::NotReady`] before the repository was read.
pub(crate) fn version_statuses(catalog: &Catalog, spec: &ModelSpec) -> Result<Vec<VersionStatus>> {
    let none = || Error::NotFound(format!("Could not find any versions of model {}", spec.shown_name()));
    let name = spec.model_name().map_err(|_| none())?;
    let model = catalog.model(&name).map_err(|error| match error {
        Error::ModelNotFound { .. } => none(),
        other => other,
    })?;
    let one = |version: Version| {
        let entry = model.versions.get(&version).ok_or_else(|| {
            Error::NotFound(format!("Could not find version {version} of model {}", spec.shown_name()))
        })?;
        Ok(vec![status(version, entry)])
    };
    match &spec.wanted {
        Wanted::Latest if model.versions.is_empty() => Err(none()),
        Wanted::Latest => Ok(model.versions.iter().rev().map(|(version, entry)| status(*version, entry)).collect()),
        Wanted::Version(number) => one(Version(*number)),
        Wanted::Label(label) => {
            one(model.aliases.aliases.get(label.as_str()).ok_or_else(|| unrecognized(label))?.version)
        }
    }
}

fn status(version: Version, entry: &VersionEntry) -> VersionStatus {
    // While a version serves, the reason says what is wrong with newer files of it.
    let has_failed = entry.attempts > 0 && entry.state != State::Available;
    let message = match entry.state {
        State::Available => String::new(),
        _ => entry.reason.clone().unwrap_or_default(),
    };
    let code = if has_failed { Code::Internal } else { Code::Ok };
    VersionStatus { version: version.0, state: entry.state, code, message }
}
