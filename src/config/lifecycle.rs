//! Which versions are loaded, when, and who may change that.

use std::collections::BTreeSet;
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::ValueEnum;
use serde::Deserialize;

use super::ServeOptions;
use super::values::{at_least_one, refuse, seconds};
use crate::error::{Error, Result};
use crate::ids::{ModelName, Version, quote};

/// What makes versions load and unload.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Control {
    /// The repository is watched, and what it holds is loaded.
    #[default]
    Poll,
    /// Nothing is loaded but what the settings and then the admin API name.
    Explicit,
    /// What is there at start is loaded; nothing changes afterwards.
    None,
}

/// Who may use the admin API.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Admin {
    /// Callers on this machine.
    #[default]
    Loopback,
    /// Everybody who reaches the port.
    All,
    /// Nobody.
    Off,
}

/// Which of a model's versions should be loaded; those that an alias points to always are.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum VersionPolicy {
    /// All of them.
    #[default]
    All,
    /// This many of the greatest numbers.
    Latest(usize),
    /// These.
    Specific(BTreeSet<Version>),
}

impl FromStr for VersionPolicy {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let bad = || Error::InvalidName {
            what: "version policy",
            expected: "all, latest, latest:2 or specific:1,3",
            got: quote(text),
        };
        match text.split_once(':') {
            None if text == "all" => Ok(Self::All),
            None if text == "latest" => Ok(Self::Latest(1)),
            Some(("latest", count)) => match count.parse() {
                Ok(count) if count > 0 => Ok(Self::Latest(count)),
                _ => Err(bad()),
            },
            Some(("specific", list)) => {
                list.split(',').map(|text| text.parse().map_err(|_| bad())).collect::<Result<_>>().map(Self::Specific)
            }
            _ => Err(bad()),
        }
    }
}

impl fmt::Display for VersionPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("all"),
            Self::Latest(count) => write!(f, "latest:{count}"),
            Self::Specific(versions) => {
                let list: Vec<String> = versions.iter().map(ToString::to_string).collect();
                write!(f, "specific:{}", list.join(","))
            }
        }
    }
}

impl<'de> Deserialize<'de> for VersionPolicy {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// A model to load at start in explicit mode.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LoadModel {
    /// Every model of the repository.
    Every,
    /// This one.
    Named(ModelName),
}

/// How versions come and go.
#[derive(Debug, Clone)]
pub struct LifecycleConfig {
    /// What makes versions load and unload.
    pub control: Control,
    /// In explicit mode: what is loaded at start.
    pub load_models: Vec<LoadModel>,
    /// Between two looks at the repository.
    pub poll_interval: Duration,
    /// Of models that have none of their own.
    pub version_policy: VersionPolicy,
    /// Versions that are loaded at once.
    pub load_threads: usize,
    /// What the server writes: the audit trail, and aliases of a repository that is read-only.
    pub state_dir: PathBuf,
}

impl LifecycleConfig {
    /// Fills in the defaults and checks every value.
    ///
    /// # Errors
    /// [`Error::Config`] naming the setting.
    pub(super) fn resolve(options: &ServeOptions) -> Result<Self> {
        let control = options.control.unwrap_or_default();
        let named = options.load_model.clone().unwrap_or_default();
        if control != Control::Explicit && !named.is_empty() {
            return Err(refuse("load-model", "names what to load in explicit mode; add --control explicit".into()));
        }
        let parse = |name: &String| match name.as_str() {
            "*" => Ok(LoadModel::Every),
            name => name.parse().map(LoadModel::Named),
        };
        Ok(Self {
            control,
            load_models: named.iter().map(parse).collect::<Result<_>>()?,
            poll_interval: seconds("poll-interval-seconds", options.poll_interval_seconds.unwrap_or(2.0))?,
            version_policy: options.version_policy.clone().unwrap_or_default(),
            load_threads: at_least_one("load-threads", options.load_threads.unwrap_or(1))?,
            state_dir: options.state_dir.clone().unwrap_or_else(|| "state".into()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_policy_reads_as_it_writes() {
        for text in ["all", "latest:1", "latest:7", "specific:1,3"] {
            assert_eq!(text.parse::<VersionPolicy>().unwrap().to_string(), text);
        }
        assert_eq!("latest".parse::<VersionPolicy>().unwrap(), VersionPolicy::Latest(1));
        for bad in
            ["", "newest", "latest:0", "latest:-1", "latest:x", "specific:", "specific:1,,2", "specific:01", "all:1"]
        {
            assert!(bad.parse::<VersionPolicy>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn models_are_named_for_loading_in_explicit_mode_only() {
        let options = ServeOptions { load_model: Some(vec!["*".into()]), ..ServeOptions::default() };
        assert!(LifecycleConfig::resolve(&options).unwrap_err().to_string().contains("explicit"));
        let explicit = ServeOptions { control: Some(Control::Explicit), ..options };
        assert_eq!(LifecycleConfig::resolve(&explicit).unwrap().load_models, [LoadModel::Every]);
    }
}
