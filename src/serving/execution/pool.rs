//! The compute threads of the server.

use std::sync::Arc;
use std::time::Duration;

use super::work::Work;
use crate::error::Result;
use crate::metrics::PoolMetrics;
use crate::serving::scheduler;

/// The compute threads, shared by all runners.
#[derive(Debug)]
pub struct Pool(Arc<scheduler::Pool<Work>>);

impl Pool {
    /// Starts `size` compute threads. A thread whose run takes longer than `hang_after` is replaced.
    ///
    /// # Errors
    /// [`crate::error::Error::Internal`] when the system gives no thread.
    pub fn start(size: usize, hang_after: Duration, metrics: PoolMetrics) -> Result<Self> {
        scheduler::Pool::start(size, hang_after, metrics).map(|pool| Self(Arc::new(pool)))
    }

    /// Returns the number of threads that were started.
    pub fn size(&self) -> usize {
        self.0.size()
    }

    /// Returns the number of threads that can compute now, without those that hang.
    pub fn threads(&self) -> usize {
        self.0.threads()
    }

    /// Returns true if no request waits.
    pub(crate) fn is_idle(&self) -> bool {
        self.0.is_idle()
    }

    /// Takes no more requests, ends what runs, and joins the threads that end within this time; false if some did not.
    pub fn close(&self, patience: Duration) -> bool {
        self.0.close(patience)
    }

    pub(super) fn scheduler(&self) -> &Arc<scheduler::Pool<Work>> {
        &self.0
    }
}
