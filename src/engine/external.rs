//! Refuses a model that keeps data in other files, before an engine sees it: an engine would look for them by itself.

use super::contain::unusable;
use crate::error::Result;
use crate::external::External;

/// Checks that a model holds all of its data in its own bytes.
///
/// # Errors
/// [`crate::error::Error::Repository`] when it does not, or when the bytes are not an ONNX model.
pub fn refuse_external_data(onnx: &[u8]) -> Result<()> {
    match External::of(onnx)? {
        None => Ok(()),
        Some(_) => Err(unusable("it keeps data in other files (external data), which were not read")),
    }
}
