//! Leaves administrative actions, of whichever protocol, in the audit trail.

use super::state::ApiState;
use crate::error::{Error, Result};
use crate::ids::{AliasName, ModelName, RequestId, Version};
use crate::store::AuditEntry;

/// An action.
#[derive(Debug)]
pub(super) struct Action {
    pub(super) id: RequestId,
    pub(super) name: &'static str,
    pub(super) model: ModelName,
    pub(super) version: Option<Version>,
    pub(super) alias: Option<AliasName>,
}

/// Leaves an action in the audit trail and passes its outcome on.
///
/// # Errors
/// Those of the outcome; a trail that cannot be written is our trouble and not the caller's.
pub(super) async fn recorded<T>(state: &ApiState, action: Action, outcome: Result<T>) -> Result<T> {
    let line = AuditEntry {
        time: jiff::Timestamp::now().to_string(),
        request_id: action.id.as_str().to_owned(),
        action: action.name.to_owned(),
        model: action.model.to_string(),
        version: action.version.map(|version| version.0),
        alias: action.alias.map(|alias| alias.to_string()),
        outcome: outcome.as_ref().map_or_else(Error::without_path, |_| "done".to_owned()),
    };
    let audit = state.audit().clone();
    let written = tokio::task::spawn_blocking(move || audit.record(line)).await;
    match written {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::error!(error = %error, "the audit trail cannot be written"),
        Err(error) => tracing::error!(error = %error, "the audit trail cannot be written"),
    }
    outcome
}
