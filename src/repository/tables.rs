//! The tables of `model.toml` that say which versions are loaded and how a model is run. A setting that is left out
//! is the server's.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::Deserialize;

use crate::config::{EngineChoice, SchedulingSettings, VersionPolicy};
use crate::ids::Version;

/// The table `[versions]`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "VersionsTable")]
pub struct Versions {
    /// The versions that should be loaded.
    pub policy: VersionPolicy,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct VersionsTable {
    policy: PolicyName,
    count: Option<usize>,
    specific: Option<BTreeSet<u64>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum PolicyName {
    All,
    Latest,
    Specific,
}

impl TryFrom<VersionsTable> for Versions {
    type Error = &'static str;

    fn try_from(table: VersionsTable) -> Result<Self, Self::Error> {
        let policy = match (table.policy, table.count, table.specific) {
            (PolicyName::All, None, None) => VersionPolicy::All,
            (PolicyName::Latest, Some(0), _) => return Err("count must be at least 1"),
            (PolicyName::Latest, count, None) => VersionPolicy::Latest(count.unwrap_or(1)),
            (PolicyName::Specific, None, Some(list)) if !list.is_empty() => {
                VersionPolicy::Specific(list.into_iter().map(Version).collect())
            }
            (PolicyName::Specific, ..) => {
                return Err("policy \"specific\" needs specific = [versions] and nothing else");
            }
            _ => return Err("count belongs to policy \"latest\", and specific to policy \"specific\""),
        };
        Ok(Self { policy })
    }
}

/// The table `[engine]`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct EngineTable {
    /// The engine that runs the model; `None` for the server's choice.
    pub kind: Option<EngineChoice>,
    /// Shapes that the inputs of a request may have, by name, with or without the batch.
    pub example: BTreeMap<String, Vec<usize>>,
}

/// The table `[batching]`; the meaning is Triton's.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct BatchingTable {
    pub(super) max_batch_size: Option<usize>,
    pub(super) max_queue_delay_microseconds: Option<u64>,
    pub(super) preferred_batch_sizes: Vec<usize>,
    pub(super) across_requests: Option<bool>,
}

/// The table `[scheduling]`.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SchedulingTable {
    pub(super) weight: Option<f64>,
    pub(super) concurrency: Option<usize>,
    pub(super) queue_capacity: Option<usize>,
    pub(super) inline: Option<bool>,
    pub(super) default_priority: Option<u8>,
    pub(super) timeout_microseconds: Option<u64>,
}

/// The table `[cache]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CacheTable {
    max_bytes: u64,
    /// The server's size comes first, if it has one.
    #[serde(skip)]
    is_default: bool,
}

impl CacheTable {
    /// A cache that was asked for without saying how large: of the server's size, or of 16 MiB where the
    /// server has none.
    pub(super) fn switched_on() -> Self {
        Self { max_bytes: 16 << 20, is_default: true }
    }

    /// No cache.
    pub(super) fn none() -> Self {
        Self { max_bytes: 0, is_default: false }
    }
}

/// The tables together.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Tables {
    pub(super) versions: Option<Versions>,
    pub(super) engine: Option<EngineTable>,
    pub(super) batching: Option<BatchingTable>,
    pub(super) scheduling: Option<SchedulingTable>,
    pub(super) cache: Option<CacheTable>,
}

impl Tables {
    /// Returns the server's settings with those of the model in their place.
    pub(super) fn over(&self, server: &SchedulingSettings) -> SchedulingSettings {
        let mut settings = server.clone();
        if let Some(table) = &self.batching {
            settings.max_batch_size = table.max_batch_size.or(server.max_batch_size);
            if let Some(delay) = table.max_queue_delay_microseconds {
                settings.max_queue_delay = Duration::from_micros(delay);
            }
            settings.preferred_batch_sizes.clone_from(&table.preferred_batch_sizes);
            settings.preferred_batch_sizes.sort_unstable();
            settings.across_requests = table.across_requests.unwrap_or(server.across_requests);
        }
        if let Some(table) = &self.scheduling {
            settings.weight = table.weight.unwrap_or(server.weight);
            settings.concurrency = table.concurrency.or(server.concurrency);
            settings.queue_capacity = table.queue_capacity.unwrap_or(server.queue_capacity);
            settings.inline = table.inline.or(server.inline);
            settings.default_priority = table.default_priority.unwrap_or(server.default_priority);
            settings.timeout = table.timeout_microseconds.map(Duration::from_micros).or(server.timeout);
        }
        if let Some(table) = self.cache {
            let is_server_s = table.is_default && server.cache_bytes > 0;
            settings.cache_bytes = if is_server_s { server.cache_bytes } else { table.max_bytes };
        }
        settings
    }

    /// Returns the first value that cannot be, in words.
    pub(super) fn problem(&self) -> Option<String> {
        let zero = |name: &str, value: Option<usize>| (value == Some(0)).then(|| format!("{name} must be at least 1"));
        let batching = self.batching.as_ref().and_then(|table| {
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
        let scheduling = self.scheduling.as_ref().and_then(|table| {
            let weight = table.weight.filter(|weight| !(*weight > 0.0 && weight.is_finite()));
            let priority = table.default_priority.filter(|priority| !(1..=9).contains(priority));
            zero("concurrency", table.concurrency)
                .or_else(|| zero("queue_capacity", table.queue_capacity))
                .or_else(|| weight.map(|weight| format!("weight must be a number above 0, got {weight}")))
                .or_else(|| priority.map(|priority| format!("default_priority must be from 1 to 9, got {priority}")))
                .or_else(|| {
                    zero("timeout_microseconds", table.timeout_microseconds.map(|micros| usize::from(micros > 0)))
                })
        });
        let example = self.engine.as_ref().and_then(|table| {
            let (name, _) = table.example.iter().find(|(_, shape)| shape.contains(&0))?;
            Some(format!("engine.example.{name}: a size must be at least 1"))
        });
        batching.or(scheduling).or(example)
    }
}
