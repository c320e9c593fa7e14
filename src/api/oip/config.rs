//! The model configuration extension: what is known of a version, in Triton's words.

use super::metadata::resolve;
use crate::api::state::ApiState;
use crate::error::Result;
pub(crate) use crate::repository::triton::ModelConfig;

/// The configuration of a version: what its `config.pbtxt` says, completed by what it is.
///
/// # Errors
/// As [`resolve`].
pub(crate) fn model_config(state: &ApiState, name: &str, version: &str) -> Result<ModelConfig> {
    Ok(resolve(state, name, version)?.model_config(state.settings().max_samples))
}
