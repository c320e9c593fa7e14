//! The model repository extension.

use serde::Serialize;

use super::overrides::overrides;
use super::parameters::Parameter;
use crate::api::audit::{Asked, Change, recorded};
use crate::api::patience::patient;
use crate::api::state::ApiState;
use crate::error::{Error, Result};
use crate::ids::{ModelName, quote};
use crate::repository::Overrides;
use crate::serving::State;

/// One version in the index.
#[derive(Debug, Serialize)]
pub(crate) struct IndexEntry {
    /// The model.
    pub(crate) name: String,
    /// The version.
    pub(crate) version: String,
    /// READY, LOADING, UNLOADING or UNAVAILABLE.
    pub(crate) state: &'static str,
    /// Why it is not ready, or what is wrong with its files.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) reason: Option<String>,
}

/// Every version of every model, or those that are ready.
pub(crate) fn repository_index(state: &ApiState, only_ready: bool) -> Vec<IndexEntry> {
    let catalog = state.predictor().catalog();
    let mut index = Vec::new();
    for (name, model) in catalog.models() {
        for (version, entry) in &model.versions {
            if only_ready && entry.servable.is_none() {
                continue;
            }
            let state = match entry.state {
                State::Available => "READY",
                State::Start | State::Loading => "LOADING",
                State::Unloading => "UNLOADING",
                State::End => "UNAVAILABLE",
            };
            let (name, version, reason) = (name.to_string(), version.to_string(), entry.reason.clone());
            index.push(IndexEntry { name, version, state, reason });
        }
    }
    index
}

/// Loads what the version policy wants of a model, and waits until it serves. The caller must be one
/// who may. The parameter `config` holds settings that stand until the next load.
///
/// # Errors
/// [`Error::InvalidInput`] for parameters that are not supported, and as
/// [`crate::serving::Manager::load_with`].
pub(crate) async fn load(
    state: &ApiState,
    asked: Asked,
    model: &str,
    parameters: Vec<(String, Parameter)>,
) -> Result<()> {
    let model: ModelName = model.parse()?;
    let mut config = Overrides::default();
    for (key, value) in parameters {
        match key.as_str() {
            "config" => config = overrides(state, &model, &value.text(&key)?)?,
            _ if key.starts_with("file:") => {
                return Err(Error::InvalidInput(format!(
                    "the parameter {} is not supported: model files come from the repository and not with a request",
                    quote(&key)
                )));
            }
            _ => return Err(Error::Malformed(format!("there is no parameter {} of a load", quote(&key)))),
        }
    }
    let outcome = patient(state.manager().load_with(model.clone(), config)).await;
    let action = Change { asked, action: "load", model, version: None, alias: None };
    recorded(state.audit(), action, outcome).await.map(drop)
}

/// Unloads a model and waits until its last request is answered. The caller must be one who may.
///
/// # Errors
/// [`Error::Malformed`] for a parameter that there is not, and as [`crate::serving::Manager::unload`].
pub(crate) async fn unload(
    state: &ApiState,
    asked: Asked,
    model: &str,
    parameters: Vec<(String, Parameter)>,
) -> Result<()> {
    let model: ModelName = model.parse()?;
    for (key, value) in parameters {
        match key.as_str() {
            // No model here depends on another.
            "unload_dependents" => drop(value.boolean(&key)?),
            _ => return Err(Error::Malformed(format!("there is no parameter {} of an unload", quote(&key)))),
        }
    }
    let outcome = patient(state.manager().unload(model.clone(), None)).await;
    let action = Change { asked, action: "unload", model, version: None, alias: None };
    recorded(state.audit(), action, outcome).await.map(drop)
}
