//! The response cache of a version.

use prometheus::{Gauge, IntCounter};

/// The metric handles of a response cache.
#[derive(Debug, Clone)]
pub struct CacheMetrics {
    /// Look-ups that found an answer.
    pub hits: IntCounter,
    /// Look-ups that found none.
    pub misses: IntCounter,
    /// The memory of the cache in bytes.
    pub bytes: Gauge,
}

/// The outcomes of a look-up.
pub(super) const CACHE_OUTCOMES: [&str; 2] = ["hit", "miss"];
