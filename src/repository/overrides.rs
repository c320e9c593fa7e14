//! What a request to load a model says in place of its `model.toml`, until the next such request.

use std::time::Duration;

use super::serving_settings::{BatchingTable, CacheTable, SchedulingTable};
use super::settings::{ModelSettings, Versions};
use crate::config::VersionPolicy;

/// Settings for one load. Each that is left out stays as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Overrides {
    /// Samples in one run at the most.
    pub max_batch_size: Option<usize>,
    /// Batch sizes that are run without waiting any longer.
    pub preferred_batch_sizes: Option<Vec<usize>>,
    /// How long a request may wait for others, in microseconds.
    pub max_queue_delay_microseconds: Option<u64>,
    /// Runs at the same time.
    pub concurrency: Option<usize>,
    /// Which versions should be loaded.
    pub versions: Option<VersionPolicy>,
    /// Whether answers are remembered.
    pub cache: Option<bool>,
}

impl Overrides {
    /// The settings with these in their place.
    pub fn over(&self, settings: &ModelSettings) -> ModelSettings {
        let mut settings = settings.clone();
        let batching: &mut BatchingTable = settings.batching.get_or_insert_default();
        batching.max_batch_size = self.max_batch_size.or(batching.max_batch_size);
        if let Some(sizes) = &self.preferred_batch_sizes {
            batching.preferred_batch_sizes.clone_from(sizes);
        }
        if let Some(most) = batching.max_batch_size {
            batching.preferred_batch_sizes.retain(|size| *size <= most);
        }
        if let Some(delay) = self.max_queue_delay_microseconds {
            // A longer wait than a request may take at all is none that anybody means.
            let longest = Duration::from_secs(3600).as_micros();
            batching.max_queue_delay_microseconds = Some(delay.min(u64::try_from(longest).unwrap_or(u64::MAX)));
        }
        if let Some(concurrency) = self.concurrency {
            let scheduling: &mut SchedulingTable = settings.scheduling.get_or_insert_default();
            scheduling.concurrency = Some(concurrency);
        }
        if let Some(policy) = &self.versions {
            settings.versions = Some(Versions { policy: policy.clone() });
        }
        if let Some(is_on) = self.cache {
            settings.cache = Some(if is_on { CacheTable::switched_on() } else { CacheTable::none() });
        }
        settings
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_out_stays_as_it_is() {
        let toml = "[batching]\nmax_batch_size = 16\npreferred_batch_sizes = [8]\n[scheduling]\nweight = 2.0";
        let settings: ModelSettings = toml::from_str(toml).unwrap();
        let server = crate::config::ServeOptions::default().resolve().unwrap().serving.scheduling;
        let overrides =
            Overrides { max_batch_size: Some(4), cache: Some(true), concurrency: Some(1), ..Overrides::default() };
        let changed = overrides.over(&settings).scheduling_over(&server);
        assert_eq!((changed.max_batch_size, changed.preferred_batch_sizes.len()), (Some(4), 0));
        assert_eq!((changed.weight, changed.concurrency, changed.cache_bytes), (2.0, Some(1), 16 << 20));
        let same = Overrides::default().over(&settings).scheduling_over(&server);
        assert_eq!(same, settings.scheduling_over(&server));
    }
}
