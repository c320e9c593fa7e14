//! A version in a repository folder, as an argument names it: `mnist-mlp`, `mnist-mlp/3`,
//! `mnist-mlp/stable`.

use std::path::Path;
use std::str::FromStr;

use crate::error::{Error, Result};
use crate::ids::{ModelName, Version, VersionSpec};
use crate::repository::{AliasStore, FoundVersion, Storage, scan};

/// A model and one of its versions.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Target {
    pub(super) name: ModelName,
    /// [`VersionSpec::Latest`] is the newest.
    pub(super) version: VersionSpec,
}

impl FromStr for Target {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let (name, version) = match text.split_once('/') {
            Some((name, version)) => (name, version.parse()?),
            None => (text, VersionSpec::Latest),
        };
        Ok(Self { name: name.parse()?, version })
    }
}

impl Target {
    /// Finds the version in a repository folder.
    ///
    /// # Errors
    /// [`Error::Config`] when there is no such model or version, [`Error::Io`].
    pub(super) fn find(&self, models: &Path) -> Result<FoundVersion> {
        let refuse = |problem: String| Error::Config { setting: "MODEL".into(), problem };
        let storage = Storage::from(models);
        let all = scan(&storage)?.versions;
        let of_model: Vec<FoundVersion> = all.into_iter().filter(|found| found.name == self.name).collect();
        let versions: Vec<String> = of_model.iter().map(|found| found.version.to_string()).collect();
        let nothing = || match versions.is_empty() {
            true => refuse(format!("{} holds no model \"{}\"", models.display(), self.name)),
            false => refuse(format!(
                "model \"{}\" has no version {} in {}; there are: {}",
                self.name,
                self.version_text(),
                models.display(),
                versions.join(", ")
            )),
        };
        let wanted: Option<Version> = match &self.version {
            VersionSpec::Latest => None,
            VersionSpec::Specific(version) => Some(*version),
            VersionSpec::Alias(alias) => {
                let aliases = AliasStore::new(&storage, Path::new("state")).read(&self.name)?;
                Some(aliases.aliases.get(alias).ok_or_else(nothing)?.version)
            }
        };
        // Versions are sorted, so the last one is the newest.
        of_model.into_iter().rfind(|found| wanted.is_none_or(|version| found.version == version)).ok_or_else(nothing)
    }

    fn version_text(&self) -> String {
        match &self.version {
            VersionSpec::Latest => "at all".into(),
            VersionSpec::Specific(version) => version.to_string(),
            VersionSpec::Alias(alias) => format!("called \"{}\"", alias.as_str()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_a_name_and_perhaps_a_version_or_alias() {
        let target = |text: &str| text.parse::<Target>();
        assert_eq!(target("a").unwrap().version, VersionSpec::Latest);
        assert_eq!(target("a/3").unwrap().version, VersionSpec::Specific(Version(3)));
        assert_eq!(target("a/stable").unwrap().version, VersionSpec::Alias("stable".parse().unwrap()));
        for bad in ["", "/", "a/", "/1", "a/00", "a/1/2", "../a", "a/../b"] {
            assert!(target(bad).is_err(), "{bad}");
        }
    }
}
