//! Loading a version before anybody can ask for it.

use std::path::Path;
use std::sync::Arc;

use super::engines::Candidates;
use super::graphs::LoadSettings;
use super::load::load;
use super::tuning_store::TuningStore;
use crate::config::ServingConfig;
use crate::engine::{Engines, Hints};
use crate::error::Result;
use crate::ids::ModelName;
use crate::metrics::Metrics;
use crate::repository::FoundVersion;
use crate::serving::execution::Pool;
use crate::transform::ImageLimits;

/// Loads the version in a folder as a server with these settings does, with its golden examples and warm-up, and lets go
/// of it. The file is trusted: no process of its own tries it first.
///
/// # Errors
/// As [`load`].
pub fn rehearse(folder: &Path, model: &ModelName, config: &ServingConfig) -> Result<()> {
    let metrics = Arc::new(Metrics::new()?);
    let pool = Arc::new(Pool::start(1, config.hang_after, metrics.pool.clone())?);
    let settings = LoadSettings {
        threads: 1,
        // A server's limit to the size can be raised.
        max_model_bytes: u64::MAX - 1,
        image_limits: ImageLimits { max_pixels: config.max_image_pixels },
        scheduling: config.scheduling.clone(),
        pool: pool.clone(),
        tuning: TuningStore::new(None),
        candidates: Candidates {
            choice: config.engine,
            engines: Engines::new(config.onnxruntime.clone()),
            checker: None,
            hints: Hints::default(),
        },
        tuner: None,
    };
    let loaded = load(&FoundVersion::staged(folder, model.clone()), &settings, &metrics).map(drop);
    if !pool.close(config.hang_after) {
        tracing::warn!(%model, "a compute thread hangs that tried the version, and is left behind");
    }
    loaded
}
