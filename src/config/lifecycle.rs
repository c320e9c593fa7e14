//! Settings of the lifecycle: the versions that are loaded, when, and by whose request.

use std::collections::BTreeSet;
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::ValueEnum;
use serde::Deserialize;

use crate::ids::{InvalidName, ModelName, Version, quote};

/// The cause of loading and unloading.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Control {
    /// The repository is watched, and what it holds is loaded.
    #[default]
    Poll,
    /// Only models that the settings and then the admin API name are loaded.
    Explicit,
    /// Versions that are there at start are loaded, and nothing changes afterwards.
    None,
}

/// The callers that may do something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Callers {
    /// Callers on this machine.
    #[default]
    Loopback,
    /// Everybody who reaches the port.
    All,
    /// Nobody.
    Off,
}

/// The versions of a model that should be loaded, beside those that an alias points to.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum VersionPolicy {
    /// All versions.
    #[default]
    All,
    /// The versions with the greatest numbers, this many.
    Latest(usize),
    /// The versions with these numbers.
    Specific(BTreeSet<Version>),
}

impl FromStr for VersionPolicy {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        let bad = || InvalidName {
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
            Some(("specific", list)) => list
                .split(',')
                .map(|text| text.parse().map_err(|_| bad()))
                .collect::<Result<_, _>>()
                .map(Self::Specific),
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
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// The version that answers for an alias whose own version is gone or cannot be loaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AliasFallback {
    /// None: requests for the alias are refused.
    #[default]
    None,
    /// The one that the alias pointed to before, as far back as one serves.
    Previous,
    /// The newest that serves.
    Latest,
}

/// The fate of a version that no trusted key has signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash, ValueEnum, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Unsigned {
    /// It is not loaded.
    #[default]
    Refuse,
    /// It is loaded, and its entry says why nobody vouches for it.
    Mark,
    /// It is loaded like any other.
    Allow,
}

/// The keys that vouch for versions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrustSettings {
    /// The file of public keys.
    pub keys: PathBuf,
    /// The fate of a version that none of them has signed.
    pub unsigned: Unsigned,
}

/// A model to load at start in explicit mode.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LoadModel {
    /// Every model of the repository.
    Every,
    /// This one.
    Named(ModelName),
}

/// Settings of loading and unloading.
#[derive(Debug, Clone)]
pub struct LifecycleConfig {
    /// The cause of loading and unloading.
    pub control: Control,
    /// In explicit mode: the models that are loaded at start.
    pub load_models: Vec<LoadModel>,
    /// The time between two looks at the repository.
    pub poll_interval: Duration,
    /// The policy for models without one of their own.
    pub version_policy: VersionPolicy,
    /// The version that answers for an alias whose own is gone.
    pub alias_fallback: AliasFallback,
    /// The number of versions that are loaded at the same time.
    pub load_threads: usize,
    /// The same until the versions of the start are loaded.
    pub start_threads: usize,
    /// The keys that vouch for versions; `None` if signatures are not looked at.
    pub trust: Option<TrustSettings>,
    /// The folder for what the server writes: the audit trail, and the aliases of a read-only repository.
    pub state_dir: PathBuf,
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
}
