//! The audit trail: every change of what serves, and every acknowledgement of an alarm, leaves an entry, whatever protocol asked for it.

use std::sync::Arc;

use super::access::Caller;
use crate::error::{Error, Result};
use crate::ids::{AliasName, ModelName, RequestId, Version};
use crate::monitoring::Alarm;
use crate::store::{Audit, AuditEntry, AuditedAlarm};

/// The request that asks for a change, and who sent it.
#[derive(Debug, Clone)]
pub(super) struct Asked {
    id: RequestId,
    by: String,
}

impl Asked {
    pub(super) fn new(id: RequestId, caller: &Caller) -> Self {
        Self { id, by: caller.to_string() }
    }
}

/// A change that somebody asked for.
#[derive(Debug)]
pub(super) struct Change {
    pub(super) asked: Asked,
    pub(super) action: &'static str,
    pub(super) model: ModelName,
    pub(super) version: Option<Version>,
    pub(super) alias: Option<AliasName>,
}

/// Enters a change in the audit trail and returns its outcome. A trail that cannot be written is logged; the
/// caller has no part in that.
pub(super) async fn recorded<T>(audit: &Arc<Audit>, change: Change, outcome: Result<T>) -> Result<T> {
    let line = AuditEntry {
        time: jiff::Timestamp::now().to_string(),
        request_id: change.asked.id.as_str().to_owned(),
        by: Some(change.asked.by),
        action: change.action.to_owned(),
        model: change.model.to_string(),
        version: change.version.map(|version| version.0),
        alias: change.alias.map(|alias| alias.to_string()),
        alarm: None,
        outcome: outcome.as_ref().map_or_else(Error::without_path, |_| "done".to_owned()),
    };
    record(audit, line).await;
    outcome
}

/// Enters the acknowledgement of an alarm in the audit trail and returns its outcome.
pub(super) async fn recorded_acknowledgement(
    audit: &Arc<Audit>,
    asked: Asked,
    mut alarm: AuditedAlarm,
    outcome: Result<Alarm>,
) -> Result<Alarm> {
    let known = outcome.as_ref().ok();
    alarm.kind = known.map(|known| known.kind.name().to_owned());
    let line = AuditEntry {
        time: jiff::Timestamp::now().to_string(),
        request_id: asked.id.as_str().to_owned(),
        by: Some(asked.by),
        action: "acknowledge".to_owned(),
        model: known.and_then(|known| known.model.clone()).unwrap_or_default(),
        version: known.and_then(|known| known.version),
        alias: None,
        alarm: Some(alarm),
        outcome: outcome.as_ref().map_or_else(Error::without_path, |_| "done".to_owned()),
    };
    record(audit, line).await;
    outcome
}

async fn record(audit: &Arc<Audit>, line: AuditEntry) {
    if let Err(error) = audit.record(line).await {
        tracing::error!(error = %error, "the audit trail cannot be written");
    }
}
