//! Contains the panics of engines, and builds the error for a model file that is refused.

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::faults;
use crate::error::{Error, Result};
use crate::telemetry::expecting_panics;

/// Runs work of an engine and returns what a panic said. tract panics on some files and inputs. The caller drops the
/// state that the work used, so nothing half-changed is seen again.
pub(super) fn contain<T>(work: impl FnOnce() -> T) -> std::result::Result<T, String> {
    let caught = expecting_panics(|| catch_unwind(AssertUnwindSafe(work)));
    caught.map_err(|panic| {
        let said =
            panic.downcast_ref::<String>().cloned().or_else(|| panic.downcast_ref::<&str>().map(|s| (*s).to_owned()));
        said.unwrap_or_default()
    })
}

/// Loads a model; a panic becomes a reason in words.
///
/// # Errors
/// Those of the work; [`Error::Repository`] after a panic.
pub(super) fn loading<T>(work: impl FnOnce() -> Result<T>) -> Result<T> {
    contain(work).unwrap_or_else(|said| Err(crashed(&said)))
}

/// Runs a model; a panic becomes a reason in words.
///
/// # Errors
/// Those of the work; [`Error::InvalidInput`] or [`Error::Internal`] after a panic.
pub(super) fn running<T>(work: impl FnOnce() -> Result<T>) -> Result<T> {
    contain(work).unwrap_or_else(|said| Err(faults::running(&said)))
}

fn crashed(said: &str) -> Error {
    unusable(format!("the engine gave up while it read the graph: {}", faults::words(said)))
}

/// The error for a model file that cannot be used.
pub(super) fn unusable(problem: impl Into<String>) -> Error {
    Error::Repository { what: "model.onnx".into(), problem: problem.into() }
}
