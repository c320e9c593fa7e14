//! The compute threads.

use prometheus::{Gauge, IntCounter, Registry};

use super::register;
use crate::error::Result;

/// The metric handles of the compute pool.
#[derive(Debug, Clone)]
pub struct PoolMetrics {
    /// The compute threads, without those that were written off.
    pub threads: Gauge,
    /// Runs that did not return in time and cost a thread.
    pub hung: IntCounter,
}

impl PoolMetrics {
    pub(super) fn register(registry: &Registry) -> Result<Self> {
        let threads = Gauge::new("weir_compute_threads", "Threads that run models, without those lost to a hung run.");
        let hung = IntCounter::new("weir_hung_runs_total", "Runs that did not return in time and cost their thread.");
        Ok(Self { threads: register(registry, threads)?, hung: register(registry, hung)? })
    }
}
