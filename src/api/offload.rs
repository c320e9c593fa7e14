//! Long work away from the threads that answer connections.

use std::sync::LazyLock;

use tokio::sync::Semaphore;

use crate::config::cores;
use crate::error::{Error, Result};

/// Parsing or writing more than this takes about a millisecond, which other connections would notice.
pub(super) const LONG_BYTES: usize = 128 * 1024;

/// One place for each core. More work waits, so that parsing cannot take all memory and time from answering.
static PLACES: LazyLock<Semaphore> = LazyLock::new(|| Semaphore::new(cores()));

/// Does work on so many bytes: here if they are few, else on a thread that may block.
///
/// # Errors
/// Those of the work; [`Error::Internal`] when it panics.
pub(super) async fn off_reactor<T: Send + 'static>(
    bytes: usize,
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    if bytes <= LONG_BYTES {
        return work();
    }
    let place = PLACES.acquire().await.map_err(|closed| Error::internal("long work has ended", closed))?;
    let work = move || {
        let done = work();
        drop(place);
        done
    };
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|panicked| Err(Error::internal("long work broke off", panicked)))
}
