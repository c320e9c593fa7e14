//! Settings of a request to load a model, which replace those of its `model.toml` until the next such request.

use super::settings::ModelSettings;
use super::tables::{BatchingTable, CacheTable, SchedulingTable, Versions};
use crate::config::VersionPolicy;

/// The longest queue delay that is accepted; a longer one is cut.
const LONGEST_DELAY_MICROSECONDS: u64 = 3_600_000_000;

/// One setting of a load.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Choice<T> {
    /// The model's own setting, or the server's.
    #[default]
    Own,
    /// The setting of the load before.
    Kept,
    /// This value.
    Set(T),
}

impl<T: Clone> Choice<T> {
    /// Returns the value, if it is not the model's own.
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
    /// The largest batch in samples.
    pub max_batch_size: Choice<usize>,
    /// Batch sizes that are run at once instead of waiting for more.
    pub preferred_batch_sizes: Choice<Vec<usize>>,
    /// The longest time that a request waits for others, in microseconds.
    pub max_queue_delay_microseconds: Choice<u64>,
    /// The number of runs at the same time.
    pub concurrency: Choice<usize>,
    /// The versions that should be loaded.
    pub versions: Choice<VersionPolicy>,
    /// The response cache, on or off.
    pub cache: Choice<bool>,
}

impl Overrides {
    /// Returns these settings, with those that are kept taken from an earlier load.
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

    /// Returns the settings of a model with these in their place.
    pub fn over(&self, settings: &ModelSettings) -> ModelSettings {
        let mut settings = settings.clone();
        let batching: &mut BatchingTable = settings.batching.get_or_insert_default();
        batching.max_batch_size = self.max_batch_size.get().copied().or(batching.max_batch_size);
        if let Some(sizes) = self.preferred_batch_sizes.get() {
            batching.preferred_batch_sizes.clone_from(sizes);
        }
        if self.preferred_batch_sizes.get().is_some() || self.max_queue_delay_microseconds.get().is_some() {
            batching.across_requests = Some(true);
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
            settings.cache = Some(if *is_on { CacheTable::switched_on() } else { CacheTable::none() });
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
        assert_eq!((changed.weight, changed.concurrency, changed.cache_bytes), (2.0, Some(1), 16 << 20));
        let same = Overrides::default().over(&settings).scheduling_over(&server);
        assert_eq!(same, settings.scheduling_over(&server));
    }
}
