//! The response cache of a version.

use prometheus::{Gauge, IntCounter};

/// The bound handles of a response cache.
#[derive(Debug, Clone)]
pub struct CacheMetrics {
    /// Answers found.
    pub hits: IntCounter,
    /// Answers not found.
    pub misses: IntCounter,
    /// Memory taken.
    pub bytes: Gauge,
}

/// How a look-up ends.
pub(super) const CACHE_OUTCOMES: [&str; 2] = ["hit", "miss"];
