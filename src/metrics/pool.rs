//! The compute threads.

use prometheus::{Gauge, IntCounter, Registry};

use super::register;
use crate::error::Result;

/// Handles of the compute pool's families.
#[derive(Debug, Clone)]
pub struct PoolMetrics {
    /// Threads that compute; those written off do not count.
    pub threads: Gauge,
    /// Runs that did not come back in time and cost a thread.
    pub hung: IntCounter,
}

impl PoolMetrics {
    pub(super) fn register(registry: &Registry) -> Result<Self> {
        let threads =
            Gauge::new("weir_compute_threads", "Threads that run models; those lost to a hung run do not count.");
        let hung =
            IntCounter::new("weir_hung_runs_total", "Runs that did not come back in time and cost their thread.");
        Ok(Self { threads: register(registry, threads)?, hung: register(registry, hung)? })
    }
}
