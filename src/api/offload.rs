//! Long work away from the threads that answer connections.

use tokio::sync::Semaphore;

use crate::error::{Error, Result};

/// Parsing or writing more than this takes so long (about a millisecond) that other connections would
/// notice it.
pub(super) const LONG_BYTES: usize = 128 * 1024;

/// As many at once; more wait, so that parsing cannot take all cores from answering.
static PLACES: Semaphore = Semaphore::const_new(4);

/// Does work that goes over so many bytes: here if they are few, else on a thread that may block.
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
