//! `models/<model>/model.toml`: what an operator says about one model. Every table is optional.

use std::collections::BTreeSet;
use std::path::Path;

use serde::Deserialize;

use super::version::read_file;
use crate::config::VersionPolicy;
use crate::error::{Error, Result};
use crate::ids::Version;

/// The settings of a model.
pub const SETTINGS_FILE: &str = "model.toml";

/// A larger one is a mistake.
const MAX_BYTES: u64 = 1 << 20;

/// The tables of `model.toml`. A further table is a further field here; unless it is left out of
/// [`ModelSettings::load_text`], the model's versions are loaded anew when it changes.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelSettings {
    /// Which versions should be loaded; `None` for the server's policy.
    #[serde(default)]
    pub versions: Option<Versions>,
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
    /// Reads the file of a model's folder; all defaults if there is none.
    ///
    /// # Errors
    /// [`Error::Repository`] naming the line at fault, [`Error::Io`].
    pub fn read(model: &Path) -> Result<Self> {
        let refuse = |problem: String| Error::Repository { what: SETTINGS_FILE.into(), problem };
        let Some(bytes) = read_file(model, SETTINGS_FILE, MAX_BYTES)? else { return Ok(Self::default()) };
        let text = String::from_utf8(bytes).map_err(|error| refuse(error.to_string()))?;
        toml::from_str(&text).map_err(|error| refuse(error.to_string()))
    }

    /// What a loaded version depends on, as text to compare.
    pub(super) fn load_text(&self) -> String {
        format!("{:?}", Self { versions: None, ..self.clone() })
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
