//! Contains the panics of engines, and builds the error for a model file that is refused.

use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::error::{Error, Result};

/// Runs work of an engine and turns a panic into an error. tract panics on some files and inputs. The
/// caller drops the state that the work used, so nothing half-changed is seen again.
pub(super) fn contain<T>(message: &'static str, work: impl FnOnce() -> T) -> Result<T> {
    catch_unwind(AssertUnwindSafe(work)).map_err(|panic| {
        let said =
            panic.downcast_ref::<String>().cloned().or_else(|| panic.downcast_ref::<&str>().map(|s| (*s).to_owned()));
        Error::internal(message, said.unwrap_or_else(|| "a panic without a message".into()))
    })
}

/// The error for a model file that cannot be used.
pub(super) fn unusable(problem: impl Into<String>) -> Error {
    Error::Repository { what: "model.onnx".into(), problem: problem.into() }
}
