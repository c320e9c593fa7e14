//! The answers to commands. Promotion is done at once; loading and unloading become part of what is wanted,
//! and their callers wait until that has come true or cannot any more.

use std::time::Instant;

use super::Pointed;
use super::commands::{Command, Waiter};
use super::owner::Owner;
use super::record::{Model, Record};
use crate::config::{AliasFallback, Control};
use crate::error::{Error, Result};
use crate::ids::{AliasName, ModelName, Version};
use crate::repository::Aliases;
use crate::serving::lifecycle::contract;

impl Owner {
    pub(super) fn take_command(&mut self, command: Command) {
        // A caller who has left needs no answer: the drops of failed sends below.
        match command {
            Command::Refresh { reply } => {
                let asked = self.source.ask();
                self.waiters.push(Waiter::Refresh { asked, reply });
            }
            Command::Promote { model, alias, version, expected, allow_changes, reply } => {
                drop(reply.send(self.promote(&model, &alias, version, expected, allow_changes)));
            }
            Command::Rollback { model, alias, reply } => drop(reply.send(self.rollback(&model, &alias))),
            Command::Load { model, version, overrides, reply } => match self.check_control() {
                Ok(()) => {
                    let asked = self.source.ask();
                    self.waiters.push(Waiter::Load { model, version, overrides, asked, applied: false, reply });
                }
                Err(error) => drop(reply.send(Err(error))),
            },
            Command::Unload { model, version, reply } => match self.unload(&model, version) {
                Ok(versions) => self.waiters.push(Waiter::Unload { model, versions, reply }),
                Err(error) => drop(reply.send(Err(error))),
            },
        }
    }

    fn check_control(&self) -> Result<()> {
        match self.config.control {
            Control::None => {
                Err(Error::Conflict("versions neither load nor unload: the server runs with --control none".into()))
            }
            Control::Poll | Control::Explicit => Ok(()),
        }
    }

    /// Returns the model of this name, if it has versions.
    fn find(&self, name: &ModelName) -> Result<&Model> {
        let model = self.models.get(name).filter(|model| !model.versions.is_empty());
        model.ok_or_else(|| self.missing(name))
    }

    /// Returns the error for a model that is not known.
    fn missing(&self, name: &ModelName) -> Error {
        if self.read { Error::ModelNotFound { name: name.clone() } } else { Error::unread() }
    }

    fn promote(
        &mut self,
        name: &ModelName,
        alias: &AliasName,
        version: Version,
        expected: Option<Version>,
        allow_changes: bool,
    ) -> Result<Pointed> {
        let model = self.find(name)?;
        check_promotable(name, model, version)?;
        let changes = changes(model, alias, version);
        if !changes.is_empty() && !allow_changes {
            return Err(Error::Conflict(format!(
                "callers of \"{alias}\" would find version {version} changed: {}; if they know, say \"allow_changes\": true \
                 (weir models promote --allow-changes)",
                changes.join("; ")
            )));
        }
        let (aliases, previous) = self.change(name, alias, |aliases| aliases.point(alias, version, expected))?;
        self.pointed(name, alias, (aliases, previous), changes)
    }

    fn rollback(&mut self, name: &ModelName, alias: &AliasName) -> Result<Pointed> {
        let model = self.find(name)?;
        let change = |aliases: &mut Aliases| {
            if !aliases.aliases.contains_key(alias) {
                return Err(Error::AliasNotFound { name: name.clone(), alias: alias.clone() });
            }
            let version = aliases.go_back(alias)?;
            check_promotable(name, model, version).map_err(|error| match error {
                Error::VersionNotFound { .. } => {
                    Error::Conflict(format!("the earlier version {version} is no longer in the repository"))
                }
                error => error,
            })
        };
        let (aliases, previous) = self.change(name, alias, change)?;
        let now = aliases.aliases.get(alias).map(|alias| alias.version);
        let changes = now.map(|now| changes(model, alias, now)).unwrap_or_default();
        self.pointed(name, alias, (aliases, previous), changes)
    }

    /// Changes the aliases on disk; also returns where this one pointed before.
    fn change(
        &self,
        name: &ModelName,
        alias: &AliasName,
        change: impl FnOnce(&mut Aliases) -> Result<()>,
    ) -> Result<(Aliases, Option<Version>)> {
        let mut previous = None;
        let aliases = self.store.update(name, |aliases| {
            previous = aliases.aliases.get(alias).map(|alias| alias.version);
            change(aliases)
        })?;
        Ok((aliases, previous))
    }

    /// Takes changed aliases over; requests see them before the caller has its answer.
    fn pointed(
        &mut self,
        name: &ModelName,
        alias: &AliasName,
        (aliases, previous): (Aliases, Option<Version>),
        changes: Vec<String>,
    ) -> Result<Pointed> {
        let generation = aliases.generation;
        let version = aliases.aliases.get(alias).map(|alias| alias.version);
        let version = version.ok_or_else(|| Error::AliasNotFound { name: name.clone(), alias: alias.clone() })?;
        if let Some(model) = self.models.get_mut(name) {
            model.aliases = aliases.into();
            model.aliases_problem = None;
            model.aliases_written = Some(Instant::now());
        }
        // The step that follows every event publishes before it answers others; this caller is answered now.
        self.publish();
        tracing::info!(model = name.as_str(), alias = alias.as_str(), version = version.0, "alias points");
        if !changes.is_empty() {
            let changes = changes.join("; ");
            tracing::warn!(model = name.as_str(), alias = alias.as_str(), changes, "callers find the version changed");
        }
        Ok(Pointed { version, previous, generation, changes })
    }

    /// Lets the next decision unload versions, and returns which.
    fn unload(&mut self, name: &ModelName, version: Option<Version>) -> Result<Vec<Version>> {
        self.check_control()?;
        self.find(name)?;
        let model = self.models.get_mut(name).ok_or_else(|| Error::ModelNotFound { name: name.clone() })?;
        let Some(version) = version else {
            model.wanted = false;
            model.pinned.clear();
            model.excluded.clear();
            return Ok(model.versions.keys().copied().collect());
        };
        if !model.versions.contains_key(&version) {
            return Err(Error::VersionNotFound { name: name.clone(), version });
        }
        let pointing = model.aliases.aliases.iter().find(|(_, alias)| alias.version == version && model.wanted);
        if let Some((alias, _)) = pointing {
            return Err(Error::Conflict(format!(
                "alias \"{alias}\" points to version {version}; promote another version first, or unload the whole model"
            )));
        }
        model.pinned.remove(&version);
        model.excluded.insert(version);
        Ok(vec![version])
    }

    /// Puts the loads into force whose look has been taken.
    pub(super) fn apply_loads(&mut self) {
        for mut waiter in std::mem::take(&mut self.waiters) {
            if let Waiter::Load { model: name, version, overrides, asked, applied, .. } = &mut waiter
                && !*applied
                && *asked <= self.answered
            {
                *applied = true;
                let wanted = match self.models.get_mut(name) {
                    Some(model) if !model.versions.is_empty() => {
                        model.set_overrides(std::mem::take(overrides));
                        want(name, model, *version)
                    }
                    _ => Err(self.missing(name)),
                };
                if let Err(error) = wanted {
                    if let Waiter::Load { reply, .. } = waiter {
                        drop(reply.send(Err(error)));
                    }
                    continue;
                }
            }
            self.waiters.push(waiter);
        }
    }

    /// Answers those whose wait is over.
    pub(super) fn answer(&mut self) {
        for waiter in std::mem::take(&mut self.waiters) {
            if waiter.is_abandoned() {
                continue;
            }
            match waiter {
                Waiter::Refresh { asked, reply } if asked <= self.answered && self.is_quiet() => {
                    drop(reply.send(Ok(())));
                }
                Waiter::Load { model, version, overrides, asked, applied: true, reply } => {
                    match self.loaded(&model, version) {
                        Some(outcome) => drop(reply.send(outcome)),
                        None => {
                            self.waiters.push(Waiter::Load { model, version, overrides, asked, applied: true, reply });
                        }
                    }
                }
                Waiter::Unload { model, versions, reply } => match self.unloaded(&model, &versions) {
                    Some(outcome) => drop(reply.send(outcome.map(|()| versions))),
                    None => self.waiters.push(Waiter::Unload { model, versions, reply }),
                },
                waiting => self.waiters.push(waiting),
            }
        }
    }

    /// Returns the outcome of a load; `None` while it is open.
    fn loaded(&self, name: &ModelName, version: Option<Version>) -> Option<Result<Vec<Version>>> {
        let conflict = |text: String| Some(Err(Error::Conflict(text)));
        let Some(model) = self.models.get(name) else { return Some(Err(Error::ModelNotFound { name: name.clone() })) };
        let overtaken = "it was unloaded by another request meanwhile";
        let targets: Vec<(Version, &Record)> = match version {
            Some(version) => match model.versions.get(&version) {
                Some(record) if record.aspired => vec![(version, record)],
                _ => return conflict(overtaken.into()),
            },
            None if !model.wanted => return conflict(overtaken.into()),
            None => model.versions.iter().filter(|(_, record)| record.aspired).map(|(v, r)| (*v, r)).collect(),
        };
        if targets.is_empty() {
            return conflict(format!("the version policy of model \"{name}\" chooses none of its versions"));
        }
        for (version, record) in &targets {
            if record.is_current() || record.loading.is_some() {
                continue;
            }
            let failure = record.present_failure().map(|failure| failure.reason.clone());
            let stuck = model.why_not_loadable(record);
            if let Some(reason) = failure.or(stuck) {
                return conflict(format!("version {version} cannot be loaded: {reason}"));
            }
        }
        let done = targets.iter().all(|(_, record)| record.is_current());
        done.then(|| Ok(targets.iter().map(|(version, _)| *version).collect()))
    }

    /// Returns the outcome of an unload; `None` while it is open.
    fn unloaded(&self, name: &ModelName, versions: &[Version]) -> Option<Result<()>> {
        let Some(model) = self.models.get(name) else { return Some(Ok(())) };
        let mut records = versions.iter().filter_map(|version| model.versions.get(version));
        if records.clone().any(|record| record.aspired) {
            return Some(Err(Error::Conflict("it was loaded by another request meanwhile".into())));
        }
        records.all(Record::is_out).then_some(Ok(()))
    }
}

/// Lets the next decision load a version, or what the policy wants of a model.
fn want(name: &ModelName, model: &mut Model, version: Option<Version>) -> Result<()> {
    match version {
        Some(version) => {
            let record = model.versions.get_mut(&version).filter(|record| record.found.is_some());
            let record = record.ok_or_else(|| Error::VersionNotFound { name: name.clone(), version })?;
            record.start_afresh();
            model.excluded.remove(&version);
            model.pinned.insert(version);
        }
        None => {
            model.wanted = true;
            model.excluded.clear();
            model.versions.values_mut().for_each(Record::start_afresh);
        }
    }
    Ok(())
}

/// Returns what the callers of an alias would find changed in a version; nothing while the alias points to none that
/// serves.
fn changes(model: &Model, alias: &AliasName, version: Version) -> Vec<String> {
    let servable = |version: Version| Some(&model.versions.get(&version)?.serving.as_ref()?.0);
    let before = model.aliases.aliases.get(alias).and_then(|alias| servable(alias.version));
    match (before, servable(version)) {
        (Some(before), Some(after)) => contract::changes(before, after),
        _ => Vec::new(),
    }
}

/// Checks that an alias may point to a version: it serves, and will go on serving.
fn check_promotable(name: &ModelName, model: &Model, version: Version) -> Result<()> {
    let record = model.versions.get(&version);
    let record = record.ok_or_else(|| Error::VersionNotFound { name: name.clone(), version })?;
    let conflict = |why: &str| Err(Error::Conflict(format!("version {version} is not AVAILABLE: {why}")));
    match (&record.serving, &record.found) {
        (Some(_), Some(_)) => Ok(()),
        (Some(_), None) => conflict("its files are gone"),
        (None, _) => {
            let entry = model.entry(AliasFallback::None);
            let reason = entry.versions.get(&version).and_then(|entry| entry.reason.clone());
            conflict(reason.as_deref().unwrap_or("it is being loaded"))
        }
    }
}
