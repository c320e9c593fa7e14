//! The manager's record of each model and version.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::config::{AliasFallback, VersionPolicy};
use crate::error::Error;
use crate::ids::Version;
use crate::repository::{Aliases, Fingerprint, Found, FoundModel, ModelSettings, Origin, Overrides, Trust};
use crate::serving::catalog::{ModelEntry, State, VersionEntry};
use crate::serving::lifecycle::policy::{self, Demand, Failed, Failure, Loading, Standing, VersionView};
use crate::serving::servable::Servable;

/// A load that a worker has.
#[derive(Debug)]
pub(super) struct InFlight {
    pub(super) fingerprint: Fingerprint,
    pub(super) cancelled: Arc<AtomicBool>,
}

/// Failed attempts at one state of the files.
#[derive(Debug)]
pub(super) struct LoadFailure {
    pub(super) fingerprint: Fingerprint,
    pub(super) attempts: u32,
    pub(super) again: Option<Instant>,
    pub(super) reason: String,
}

/// One version.
#[derive(Debug, Default)]
pub(super) struct Record {
    /// Its folder at the last look; `None` once it is gone.
    pub(super) found: Option<Found>,
    /// When its files were first seen as they are.
    seen_since: Option<Instant>,
    /// Set if they may be read.
    at_rest: bool,
    pub(super) aspired: bool,
    pub(super) serving: Option<(Arc<Servable>, Fingerprint)>,
    pub(super) loading: Option<InFlight>,
    pub(super) failure: Option<LoadFailure>,
    /// Copies out of service that requests under way still hold.
    pub(super) draining: Vec<Arc<Servable>>,
}

impl Record {
    pub(super) fn fingerprint(&self) -> Option<Fingerprint> {
        self.found.as_ref().map(|found| found.marks.fingerprint)
    }

    /// Returns the size of the graph, if there is one.
    pub(super) fn model_bytes(&self) -> Option<u64> {
        self.found.as_ref().and_then(|found| found.marks.model_bytes)
    }

    /// Returns true if it waits only for its files to come to rest.
    pub(super) fn is_restless(&self) -> bool {
        self.aspired && !self.at_rest && self.model_bytes().is_some()
    }

    /// Takes in what a look found that began at `now`.
    fn see(&mut self, found: Found, origin: Origin, interval: Duration, now: Instant) {
        let fingerprint = found.marks.fingerprint;
        let seen_before = self.fingerprint() == Some(fingerprint);
        let since = match self.seen_since {
            Some(since) if seen_before => since,
            _ => now,
        };
        let refused = self.failure.as_ref().is_some();
        let standing = Standing {
            seen_for: now - since,
            seen_before,
            asked: origin == Origin::Asked,
            untouched: found.marks.changed.elapsed().ok().and_then(|elapsed| elapsed.checked_sub(now.elapsed())),
            vouched: found.marks.has_manifest && !refused,
        };
        self.at_rest = (seen_before && self.at_rest) || policy::at_rest(standing, interval);
        self.seen_since = Some(since);
        self.found = Some(found);
    }

    /// Trusts the files as the caller does, and forgets earlier failures.
    pub(super) fn start_afresh(&mut self) {
        self.at_rest = true;
        self.failure = None;
    }

    /// Records a failed attempt.
    pub(super) fn fail(&mut self, fingerprint: Fingerprint, error: &Error, now: Instant) {
        let earlier = self.failure.take().filter(|failure| failure.fingerprint == fingerprint);
        let attempts = earlier.map_or(0, |failure| failure.attempts).saturating_add(1);
        let again = policy::pause(Failure::of(error), attempts).map(|pause| now + pause);
        self.failure = Some(LoadFailure { fingerprint, attempts, again, reason: error.without_path() });
    }

    /// Takes a version out of service if the key that vouched for it is no longer trusted, whatever became of its files.
    pub(super) fn drop_untrusted(&mut self, trust: &Trust) {
        let untrusted = self.serving.take_if(|(servable, _)| !trust.admits(servable.signed.as_ref()));
        self.draining.extend(untrusted.map(|(servable, _)| servable));
    }

    /// Returns the failure to load the files as they are.
    pub(super) fn present_failure(&self) -> Option<&LoadFailure> {
        self.failure.as_ref().filter(|failure| self.found.is_none() || Some(failure.fingerprint) == self.fingerprint())
    }

    /// Returns true if the files that serve are those in the folder.
    pub(super) fn is_current(&self) -> bool {
        self.serving.as_ref().is_some_and(|(_, fingerprint)| Some(*fingerprint) == self.fingerprint())
    }

    pub(super) fn is_out(&self) -> bool {
        self.serving.is_none() && self.loading.is_none() && self.draining.is_empty()
    }
}

/// One model.
#[derive(Debug, Default)]
pub(super) struct Model {
    /// Its folder is there.
    pub(super) present: bool,
    /// Set unless the admin API unloaded the model as a whole.
    pub(super) wanted: bool,
    /// Versions loaded and unloaded by name.
    pub(super) pinned: BTreeSet<Version>,
    pub(super) excluded: BTreeSet<Version>,
    /// The reason why its folder holds no version, exactly if it holds none.
    without: Option<String>,
    /// The last settings that could be read.
    settings: Option<Arc<ModelSettings>>,
    /// The settings that the last load by request put in their place.
    overrides: Overrides,
    settings_problem: Option<String>,
    pub(super) aliases: Arc<Aliases>,
    pub(super) aliases_problem: Option<String>,
    /// When the aliases were last changed from here; an older look knows less.
    pub(super) aliases_written: Option<Instant>,
    pub(super) versions: BTreeMap<Version, Record>,
}

/// The occasion of a look.
#[derive(Debug, Clone, Copy)]
pub(super) struct Occasion {
    pub(super) origin: Origin,
    pub(super) began: Instant,
    pub(super) first: bool,
    pub(super) interval: Duration,
}

impl Model {
    pub(super) fn new(wanted: bool) -> Self {
        Self { wanted, ..Self::default() }
    }

    /// Takes in what a look found in its folder.
    pub(super) fn see(&mut self, found: FoundModel, occasion: Occasion) {
        let Occasion { origin, began, interval, .. } = occasion;
        self.present = true;
        self.without = found.without;
        match found.settings {
            Ok(settings) => (self.settings, self.settings_problem) = (Some(settings), None),
            Err(problem) => self.settings_problem = Some(problem),
        }
        if self.aliases_written.is_none_or(|written| began > written) {
            match found.aliases {
                Ok(aliases) => (self.aliases, self.aliases_problem) = (aliases, None),
                Err(problem) => self.aliases_problem = Some(problem),
            }
        }
        for (version, record) in &mut self.versions {
            if !found.versions.contains_key(version) {
                record.found = None;
            }
        }
        for (version, mut found) in found.versions {
            if self.overrides != Overrides::default() {
                found.change_settings(Arc::new(self.overrides.over(&found.folder.settings)));
            }
            self.versions.entry(version).or_default().see(found, origin, interval, began);
        }
    }

    /// From now on, versions are loaded with these settings in place of the model's own.
    pub(super) fn set_overrides(&mut self, overrides: Overrides) {
        let overrides = overrides.after(&self.overrides);
        if self.overrides == overrides {
            return;
        }
        self.overrides = overrides;
        let own = self.settings.clone().unwrap_or_default();
        let settings = match self.overrides == Overrides::default() {
            true => own,
            false => Arc::new(self.overrides.over(&own)),
        };
        for found in self.versions.values_mut().filter_map(|record| record.found.as_mut()) {
            found.change_settings(settings.clone());
        }
    }

    /// Takes in that its folder is gone.
    pub(super) fn lose(&mut self) {
        self.present = false;
        self.without = None;
        self.aliases = Arc::default();
        self.versions.values_mut().for_each(|record| record.found = None);
    }

    /// Returns the reason why it has no version, for a model that is there and has none.
    pub(super) fn without(&self) -> Option<&String> {
        self.without.as_ref().filter(|_| self.versions.is_empty())
    }

    /// Returns the fault in its settings or aliases; those that were last read without one stand.
    pub(super) fn problem(&self) -> Option<String> {
        self.settings_problem.clone().or_else(|| self.aliases_problem.clone())
    }

    /// Returns the part of its `config.pbtxt` that has no effect.
    pub(super) fn warnings(&self) -> Option<String> {
        self.settings.as_ref()?.warnings()
    }

    /// Returns true if its settings make it the model for requests that name none.
    pub(super) fn is_default(&self) -> bool {
        self.settings.as_ref().is_some_and(|settings| settings.default)
    }

    /// Returns the fault that keeps every version from being loaded.
    fn blocked(&self) -> Option<&String> {
        self.settings_problem.as_ref().filter(|_| self.settings.is_none())
    }

    /// Returns the reason that keeps a version from being loaded, except for failed attempts.
    pub(super) fn why_not_loadable(&self, record: &Record) -> Option<String> {
        match &record.found {
            None => Some("its folder is gone".into()),
            Some(found) => match self.blocked() {
                Some(problem) => Some(problem.clone()),
                None => found.marks.model_bytes.is_none().then(|| found.folder.why_no_graph()),
            },
        }
    }

    /// Decides anew which versions should be loaded.
    pub(super) fn aspire(&mut self, default: &VersionPolicy) {
        let on_disk: BTreeSet<Version> =
            self.versions.iter().filter(|(_, record)| record.found.is_some()).map(|(version, _)| *version).collect();
        let aliased = self.aliases.aliases.values().map(|alias| alias.version).collect();
        let own = self.settings.as_ref().and_then(|settings| settings.versions.as_ref().map(|own| &own.policy));
        let own = self.overrides.versions.get().or(own);
        let aspired = policy::aspire(&Demand {
            wanted: self.wanted,
            policy: own.unwrap_or(default),
            on_disk: &on_disk,
            aliased: &aliased,
            pinned: &self.pinned,
            excluded: &self.excluded,
        });
        for (version, record) in &mut self.versions {
            record.aspired = aspired.contains(version);
        }
    }

    /// Returns the model as the policy sees it.
    pub(super) fn views(&self) -> BTreeMap<Version, VersionView> {
        let blocked = self.blocked().is_some();
        let view = |(version, record): (&Version, &Record)| {
            let view = VersionView {
                aspired: record.aspired,
                dismissed: self.is_dismissed(*version),
                on_disk: record.found.is_some(),
                loadable: record
                    .found
                    .as_ref()
                    .filter(|found| record.at_rest && found.marks.model_bytes.is_some() && !blocked)
                    .map(|found| found.marks.fingerprint),
                serving: record.serving.as_ref().map(|(_, fingerprint)| *fingerprint),
                loading: record.loading.as_ref().map(|flight| Loading {
                    fingerprint: flight.fingerprint,
                    cancelled: flight.cancelled.load(Ordering::Relaxed),
                }),
                failed: record
                    .failure
                    .as_ref()
                    .map(|failure| Failed { fingerprint: failure.fingerprint, again: failure.again }),
                draining: !record.draining.is_empty(),
            };
            (*version, view)
        };
        self.versions.iter().map(view).collect()
    }

    pub(super) fn is_dismissed(&self, version: Version) -> bool {
        self.excluded.contains(&version) || (!self.wanted && !self.pinned.contains(&version))
    }

    /// Returns the model as requests see it.
    pub(super) fn entry(&self, fallback: AliasFallback) -> ModelEntry {
        let versions = self.versions.iter().map(|(version, record)| (*version, self.version_entry(*version, record)));
        let without = self.without().cloned();
        let problems: Vec<String> = without.into_iter().chain(self.problem()).chain(self.warnings()).collect();
        let problem = (!problems.is_empty()).then(|| problems.join("; "));
        ModelEntry::new(versions.collect(), self.aliases.clone(), problem, fallback)
    }

    fn version_entry(&self, version: Version, record: &Record) -> VersionEntry {
        let (state, reason) = self.state(version, record);
        let attempts = record.present_failure().map_or(0, |failure| failure.attempts);
        let servable = record.serving.as_ref().map(|(servable, _)| servable.clone());
        VersionEntry { state, reason, attempts, servable }
    }

    /// Returns the stage of a version's life, and the reason for it.
    fn state(&self, version: Version, record: &Record) -> (State, Option<String>) {
        let failure = record.present_failure();
        if let Some((servable, _)) = &record.serving {
            let note = match (&record.found, failure) {
                (None, _) => Some("its files are gone; it serves on".to_owned()),
                (_, Some(failure)) if !record.is_current() => Some(format!(
                    "its files changed and cannot be loaded, the earlier ones serve on: {}",
                    failure.reason
                )),
                _ if !record.aspired => Some("no longer wanted; it serves until another version does".to_owned()),
                (Some(found), _) => found.folder.trust.as_ref().and_then(|trust| trust.mark(servable.signed.as_ref())),
            };
            return (State::Available, note);
        }
        if let Some(flight) = &record.loading {
            return match flight.cancelled.load(Ordering::Relaxed) {
                false => (State::Loading, None),
                true => (State::Unloading, Some("its load is being cancelled".into())),
            };
        }
        if !record.aspired {
            return match record.draining.is_empty() {
                false => (State::Unloading, Some("requests under way are being finished".into())),
                true => (State::End, Some(self.why_not_wanted(version).into())),
            };
        }
        if let Some(failure) = failure {
            let state = if failure.again.is_some() { State::Start } else { State::End };
            return (state, Some(failure.reason.clone()));
        }
        match self.why_not_loadable(record) {
            Some(reason) if record.found.is_some() && self.blocked().is_none() => (State::Start, Some(reason)),
            Some(reason) => (State::End, Some(reason)),
            None if !record.at_rest => (State::Start, Some("its files are still changing".into())),
            None => (State::Start, None),
        }
    }

    fn why_not_wanted(&self, version: Version) -> &'static str {
        if self.excluded.contains(&version) {
            "unloaded by request"
        } else if !self.wanted {
            "not loaded; the admin API loads it"
        } else {
            "the version policy leaves it out"
        }
    }
}
