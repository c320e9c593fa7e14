//! The tables of `model.toml` that say how a model is run: each setting that is left out is the
//! server's.

use std::time::Duration;

use serde::Deserialize;

use crate::config::{EngineChoice, SchedulingSettings};

/// The table `[engine]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EngineTable {
    /// What runs the model.
    pub kind: EngineChoice,
}

/// The table `[batching]`; the meaning is Triton's.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct BatchingTable {
    pub(super) max_batch_size: Option<usize>,
    pub(super) max_queue_delay_microseconds: Option<u64>,
    pub(super) preferred_batch_sizes: Vec<usize>,
}

/// The table `[scheduling]`.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SchedulingTable {
    weight: Option<f64>,
    pub(super) concurrency: Option<usize>,
    queue_capacity: Option<usize>,
    inline: Option<bool>,
}

/// The table `[cache]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CacheTable {
    pub(super) max_bytes: u64,
}

/// The tables together.
#[derive(Debug, Clone, Copy)]
pub(super) struct Tables<'a> {
    pub(super) batching: Option<&'a BatchingTable>,
    pub(super) scheduling: Option<&'a SchedulingTable>,
    pub(super) cache: Option<CacheTable>,
}

impl Tables<'_> {
    /// The server's settings with those of the model in their place.
    pub(super) fn over(self, server: &SchedulingSettings) -> SchedulingSettings {
        let mut settings = server.clone();
        if let Some(table) = self.batching {
            settings.max_batch_size = table.max_batch_size.or(server.max_batch_size);
            if let Some(delay) = table.max_queue_delay_microseconds {
                settings.max_queue_delay = Duration::from_micros(delay);
            }
            settings.preferred_batch_sizes.clone_from(&table.preferred_batch_sizes);
            settings.preferred_batch_sizes.sort_unstable();
        }
        if let Some(table) = self.scheduling {
            settings.weight = table.weight.unwrap_or(server.weight);
            settings.concurrency = table.concurrency.or(server.concurrency);
            settings.queue_capacity = table.queue_capacity.unwrap_or(server.queue_capacity);
            settings.inline = table.inline.or(server.inline);
        }
        if let Some(table) = self.cache {
            settings.cache_bytes = table.max_bytes;
        }
        settings
    }

    /// What is wrong with the values, if anything is.
    pub(super) fn problem(self) -> Option<String> {
        let zero = |name: &str, value: Option<usize>| (value == Some(0)).then(|| format!("{name} must be at least 1"));
        let batching = self.batching.and_then(|table| {
            let largest = table.preferred_batch_sizes.iter().copied().max();
            let smallest = table.preferred_batch_sizes.iter().copied().min();
            zero("max_batch_size", table.max_batch_size).or_else(|| zero("preferred_batch_sizes", smallest)).or_else(
                || {
                    let most = table.max_batch_size?;
                    let largest = largest.filter(|size| *size > most)?;
                    Some(format!("preferred_batch_sizes holds {largest}, more than max_batch_size = {most}"))
                },
            )
        });
        let scheduling = self.scheduling.and_then(|table| {
            let weight = table.weight.filter(|weight| !(*weight > 0.0 && weight.is_finite()));
            zero("concurrency", table.concurrency)
                .or_else(|| zero("queue_capacity", table.queue_capacity))
                .or_else(|| weight.map(|weight| format!("weight must be a number above 0, got {weight}")))
        });
        batching.or(scheduling)
    }
}
