//! Contains the panics of engines, and builds the error for a model file that is refused.

use super::faults;
use crate::error::{Error, Result};
pub(super) use crate::telemetry::contain;

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
