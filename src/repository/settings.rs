//! `models/<model>/model.toml`: what an operator says about one model. Every table is optional; what
//! Triton's `config.pbtxt` says stands where `model.toml` has no such table.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Deserialize;

use super::serving_settings::{BatchingTable, CacheTable, EngineTable, SchedulingTable, Tables};
use super::triton::{self, CONFIG_FILE, TritonModel};
use super::version::{MODEL_FILE, read_file};
use crate::config::{SchedulingSettings, VersionPolicy};
use crate::error::{Error, Result};
use crate::ids::Version;
use crate::signature::Transform;

/// The settings of a model.
pub const SETTINGS_FILE: &str = "model.toml";

/// A larger one is a mistake.
const MAX_BYTES: u64 = 1 << 20;

/// The tables of `model.toml`. A further table is a further field here; unless it is left out of
/// [`ModelSettings::load_text`], the model's versions are loaded anew when it changes.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelSettings {
    /// Whether the model answers requests that name none, where the server's settings say nothing.
    #[serde(default)]
    pub default: bool,
    /// The names of the classes, for versions without a manifest.
    #[serde(default)]
    pub labels: Vec<String>,
    /// The transforms around the graph, for versions without a manifest.
    #[serde(default)]
    pub transform: Option<Transform>,
    /// Which versions should be loaded; `None` for the server's policy.
    #[serde(default)]
    pub versions: Option<Versions>,
    /// What runs the model; `None` for the server's choice.
    #[serde(default)]
    pub engine: Option<EngineTable>,
    /// How requests are put together.
    #[serde(default)]
    pub batching: Option<BatchingTable>,
    /// How the model shares the compute threads.
    #[serde(default)]
    pub scheduling: Option<SchedulingTable>,
    /// Whether answers are remembered.
    #[serde(default)]
    pub cache: Option<CacheTable>,
    /// What `config.pbtxt` says, if there is one; the tables above are then its as well.
    #[serde(skip)]
    pub triton: Option<Arc<TritonModel>>,
}

/// The table `[versions]`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "VersionsTable")]
pub struct Versions {
    /// Which versions should be loaded.
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

    fn try_from(table: VersionsTable) -> std::result::Result<Self, Self::Error> {
        let policy = match (table.policy, table.count, table.specific) {
            (PolicyName::All, None, None) => VersionPolicy::All,
            (PolicyName::Latest, Some(0), _) => return Err("count must be at least 1"),
            (PolicyName::Latest, count, None) => VersionPolicy::Latest(count.unwrap_or(1)),
            (PolicyName::Specific, None, Some(list)) if !list.is_empty() && !list.contains(&0) => {
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

impl ModelSettings {
    /// Reads the files of a model's folder; all defaults if there are none.
    ///
    /// # Errors
    /// [`Error::Repository`] naming the line at fault, [`Error::Io`].
    pub fn read(model: &Path) -> Result<Self> {
        let (own, triton) = (Self::read_own(model)?, triton::read(model)?);
        Ok(match (own, triton) {
            (Some(own), Some(triton)) => own.over(triton),
            (own, triton) => own.or(triton).unwrap_or_default(),
        })
    }

    fn read_own(model: &Path) -> Result<Option<Self>> {
        let refuse = |problem: String| Error::Repository { what: SETTINGS_FILE.into(), problem };
        let Some(bytes) = read_file(model, SETTINGS_FILE, MAX_BYTES)? else { return Ok(None) };
        let text = String::from_utf8(bytes).map_err(|error| refuse(error.to_string()))?;
        let settings: Self = toml::from_str(&text).map_err(|error| refuse(error.to_string()))?;
        match settings.tables().problem() {
            Some(problem) => Err(refuse(problem)),
            None => Ok(Some(settings)),
        }
    }

    /// These settings, and table by table those of a `config.pbtxt` where these are silent.
    fn over(self, lower: Self) -> Self {
        let both = [
            ("versions", self.versions.is_some() && lower.versions.is_some()),
            ("engine", self.engine.is_some() && lower.engine.is_some()),
            ("batching", self.batching.is_some() && lower.batching.is_some()),
            ("scheduling", self.scheduling.is_some() && lower.scheduling.is_some()),
            ("cache", self.cache.is_some() && lower.cache.is_some()),
        ];
        let won: Vec<&str> = both.iter().filter(|(_, both)| *both).map(|(table, _)| *table).collect();
        let of_it = if won.is_empty() { "no table of both".into() } else { won.join(", ") };
        let note = format!("{SETTINGS_FILE} is there as well and wins table by table: {of_it}");
        Self {
            default: self.default,
            labels: self.labels,
            transform: self.transform,
            versions: self.versions.or(lower.versions),
            engine: self.engine.or(lower.engine),
            batching: self.batching.or(lower.batching),
            scheduling: self.scheduling.or(lower.scheduling),
            cache: self.cache.or(lower.cache),
            triton: lower.triton.map(|triton| Arc::new(triton.with_note(note))),
        }
    }

    /// The file in a version's folder that holds the graph.
    pub fn model_file(&self) -> &str {
        let named = self.triton.as_ref().map(|triton| triton.config.default_model_filename.as_str());
        named.filter(|name| !name.is_empty()).unwrap_or(MODEL_FILE)
    }

    /// The files beside the version folders that a version is loaded with, relative to the model's.
    pub(super) fn side_files(&self) -> Vec<PathBuf> {
        self.triton.as_ref().map_or_else(Vec::new, |triton| triton.side_files())
    }

    /// What of `config.pbtxt` has no effect.
    pub fn warnings(&self) -> Option<String> {
        let warnings = &self.triton.as_ref()?.warnings;
        (!warnings.is_empty()).then(|| format!("{CONFIG_FILE}: {}", warnings.join("; ")))
    }

    /// How requests are scheduled: the server's settings with those of the model in their place.
    pub fn scheduling_over(&self, server: &SchedulingSettings) -> SchedulingSettings {
        self.tables().over(server)
    }

    fn tables(&self) -> Tables<'_> {
        Tables { batching: self.batching.as_ref(), scheduling: self.scheduling.as_ref(), cache: self.cache }
    }

    /// What a loaded version depends on, as text to compare.
    pub(super) fn load_text(&self) -> String {
        // Warnings name lines, which other lines may move.
        let config = self.triton.as_ref().map(|triton| &triton.config);
        format!("{:?} {config:?}", Self { default: false, versions: None, triton: None, ..self.clone() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> std::result::Result<ModelSettings, String> {
        toml::from_str(text).map_err(|error| error.to_string())
    }

    #[test]
    fn a_policy_for_one_model() {
        let policy = |text: &str| parse(text).unwrap().versions.unwrap().policy.to_string();
        assert_eq!(policy("[versions]\npolicy = \"latest\"\ncount = 2"), "latest:2");
        assert_eq!(policy("[versions]\npolicy = \"latest\""), "latest:1");
        assert_eq!(policy("[versions]\npolicy = \"all\""), "all");
        assert_eq!(policy("[versions]\npolicy = \"specific\"\nspecific = [3, 1]"), "specific:1,3");
        assert_eq!(parse("").unwrap(), ModelSettings::default());
    }

    #[test]
    fn a_default_model_is_loaded_as_any_other() {
        assert!(parse("default = true").unwrap().default && !parse("").unwrap().default);
        assert_eq!(parse("default = true").unwrap().load_text(), parse("").unwrap().load_text());
        assert!(parse("default = 1").is_err());
    }

    #[test]
    fn what_a_model_says_stands_in_place_of_what_the_server_says() {
        let server = crate::config::ServeOptions::default().resolve().unwrap().serving.scheduling;
        assert_eq!(ModelSettings::default().scheduling_over(&server), server);
        let text = "[engine]\nkind = \"tract\"\n[batching]\nmax_batch_size = 16\npreferred_batch_sizes = [8, 4]\n\
            max_queue_delay_microseconds = 250\n[scheduling]\nweight = 2.0\nconcurrency = 1\nqueue_capacity = 7\n\
            inline = false\n[cache]\nmax_bytes = 9";
        let settings = parse(text).unwrap();
        assert_eq!(settings.engine.unwrap().kind, crate::config::EngineChoice::Tract);
        let model = settings.scheduling_over(&server);
        assert_eq!((model.max_batch_size, model.preferred_batch_sizes.as_slice()), (Some(16), &[4, 8][..]));
        assert_eq!((model.max_queue_delay.as_micros(), model.weight, model.concurrency), (250, 2.0, Some(1)));
        assert_eq!((model.queue_capacity, model.inline, model.cache_bytes), (7, Some(false), 9));
        assert_eq!(model.inline_below, server.inline_below);
    }

    #[test]
    fn the_example_of_the_readme_is_read() {
        let readme = include_str!("../../README.md");
        let examples = readme.split("```toml\n").skip(1).filter_map(|rest| rest.split("```").next());
        let examples: Vec<&str> = examples.filter(|example| !example.starts_with(' ')).collect();
        assert!(!examples.is_empty());
        for example in examples {
            let settings = parse(example).unwrap();
            assert_eq!(settings.tables().problem(), None);
            assert_eq!(settings.labels, ["cat", "dog"]);
        }
    }

    #[test]
    fn values_that_cannot_be_are_refused() {
        for (text, expected) in [
            ("[batching]\nmax_batch_size = 0", "max_batch_size must be at least 1"),
            ("[batching]\nmax_batch_size = 4\npreferred_batch_sizes = [8]", "holds 8, more than"),
            ("[scheduling]\nweight = 0.0", "weight must be"),
            ("[scheduling]\nconcurrency = 0", "concurrency must be at least 1"),
        ] {
            let problem = parse(text).unwrap().tables().problem().unwrap();
            assert!(problem.contains(expected), "{text}: {problem}");
        }
    }

    #[test]
    fn what_is_wrong_is_named_with_its_line() {
        for (text, expected) in [
            ("\n[verions]\npolicy = \"all\"", "line 2"),
            ("[versions]\npolicy = \"newest\"", "line 2"),
            ("[versions]\npolicy = \"all\"\ncuont = 2", "line 3"),
            ("[versions]\npolicy = \"latest\"\ncount = 0", "at least 1"),
            ("[versions]\npolicy = \"all\"\ncount = 2", "belongs to"),
            ("[versions]\npolicy = \"specific\"", "needs specific"),
            ("[versions]\npolicy = \"specific\"\nspecific = [0]", "needs specific"),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.contains(expected), "{text:?}: {error}");
        }
    }
}
