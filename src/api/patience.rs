//! The longest wait for administrative actions.

use std::time::Duration;

use crate::error::{Error, Result};

/// The longest wait for `load` and `unload`, which go on afterwards.
const PATIENCE: Duration = Duration::from_secs(120);

/// Waits for an action.
///
/// # Errors
/// [`Error::DeadlineExceeded`] when it takes too long, and its own.
pub(super) async fn patient<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    let limit_ms = PATIENCE.as_millis() as u64;
    tokio::time::timeout(PATIENCE, work).await.unwrap_or(Err(Error::DeadlineExceeded { limit_ms }))
}
