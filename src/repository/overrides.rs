//! What a request to load a model says in place of its `model.toml`, until the next such request.

use super::serving_settings::{BatchingTable, CacheTable, SchedulingTable};
use super::settings::{ModelSettings, Versions};
use crate::config::VersionPolicy;

/// Memory for a response cache that was switched on without saying how much.
const CACHE_BYTES: u64 = 64 << 20;

/// A longer wait than this is none that anybody means.
const LONGEST_DELAY_MICROSECONDS: u64 = 3_600_000_000;

/// One setting of a load.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Choice<T> {
    /// The model's own, or the server's.
    #[default]
    Own,
    /// As the load before said.
    Kept,
    /// This.
    Set(T),
}

impl<T: Clone> Choice<T> {
    /// What was said, if it is not the model's own.
    pub fn get(&self) -> Option<&T> {
        if let Self::Set(value) = self { Some(value) } else { None }
    }

    fn after(self, earlier: &Self) -> Self {
        if let Self::Kept = self { earlier.clone() } else { self }
    }
}

/// Settings for one load.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Overrides {
    /// Samples in one run at the most.
    pub max_batch_size: Choice<usize>,
    /// Batch sizes that are run without waiting any longer.
    pub preferred_batch_sizes: Choice<Vec<usize>>,
    /// How long a request may wait for others, in microseconds.
    pub max_queue_delay_microseconds: Choice<u64>,
    /// Runs at the same time.
    pub concurrency: Choice<usize>,
    /// Which versions should be loaded.
    pub versions: Choice<VersionPolicy>,
    /// Whether answers are remembered.
    pub cache: Choice<bool>,
}

impl Overrides {
    /// These, where what is kept is that of an earlier load.
    pub fn after(self, earlier: &Self) -> Self {
        Self {
            max_batch_size: self.max_batch_size.after(&earlier.max_batch_size),
            preferred_batch_sizes: self.preferred_batch_sizes.after(&earlier.preferred_batch_sizes),
            max_queue_delay_microseconds: self
                .max_queue_delay_microseconds
                .after(&earlier.max_queue_delay_microseconds),
            concurrency: self.concurrency.after(&earlier.concurrency),
            versions: self.versions.after(&earlier.versions),
            cache: self.cache.after(&earlier.cache),
        }
    }

    /// The settings with these in their place.
    pub fn over(&self, settings: &ModelSettings) -> ModelSettings {
        let mut settings = settings.clone();
        let batching: &mut BatchingTable = settings.batching.get_or_insert_default();
        batching.max_batch_size = self.max_batch_size.get().copied().or(batching.max_batch_size);
        if let Some(sizes) = self.preferred_batch_sizes.get() {
            batching.preferred_batch_sizes.clone_from(sizes);
        }
        if let Some(most) = batching.max_batch_size {
            batching.preferred_batch_sizes.retain(|size| *size <= most);
        }
        if let Some(delay) = self.max_queue_delay_microseconds.get() {
            batching.max_queue_delay_microseconds = Some((*delay).min(LONGEST_DELAY_MICROSECONDS));
        }
        if let Some(concurrency) = self.concurrency.get() {
            let scheduling: &mut SchedulingTable = settings.scheduling.get_or_insert_default();
            scheduling.concurrency = Some(*concurrency);
        }
        if let Some(policy) = self.versions.get() {
            settings.versions = Some(Versions { policy: policy.clone() });
        }
        if let Some(is_on) = self.cache.get() {
            settings.cache = Some(CacheTable { max_bytes: if *is_on { CACHE_BYTES } else { 0 } });
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
        let (max_batch_size, cache, concurrency) = (Choice::Set(4), Choice::Set(true), Choice::Set(1));
        let overrides = Overrides { max_batch_size, cache, concurrency, ..Overrides::default() };
        let kept = Overrides { max_batch_size: Choice::Kept, versions: Choice::Kept, ..Overrides::default() };
        let later = kept.clone().after(&overrides);
        assert_eq!((later.max_batch_size.get(), later.cache.get(), later.versions), (Some(&4), None, Choice::Own));
        assert_eq!(kept.after(&Overrides::default()), Overrides::default());
        let changed = overrides.over(&settings).scheduling_over(&server);
        assert_eq!((changed.max_batch_size, changed.preferred_batch_sizes.len()), (Some(4), 0));
        assert_eq!((changed.weight, changed.concurrency, changed.cache_bytes), (2.0, Some(1), CACHE_BYTES));
        let same = Overrides::default().over(&settings).scheduling_over(&server);
        assert_eq!(same, settings.scheduling_over(&server));
    }
}
