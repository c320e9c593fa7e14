//! How long administrative actions are waited for.

use std::time::Duration;

use crate::error::{Error, Result};

/// How long `load` and `unload` are waited for; they go on afterwards.
const PATIENCE: Duration = Duration::from_secs(120);

/// Waits for an action.
///
/// # Errors
/// [`Error::DeadlineExceeded`] when it takes too long, and its own.
pub(super) async fn patient<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    let limit_ms = PATIENCE.as_millis() as u64;
    tokio::time::timeout(PATIENCE, work).await.unwrap_or(Err(Error::DeadlineExceeded { limit_ms }))
}
