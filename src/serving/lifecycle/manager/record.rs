//! What the manager keeps of each model and version.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::config::VersionPolicy;
use crate::error::Error;
use crate::ids::Version;
use crate::repository::{Aliases, Fingerprint, Found, FoundModel, ModelSettings, Origin, Overrides};
use crate::serving::catalog::{ModelEntry, State, VersionEntry};
use crate::serving::lifecycle::policy::{self, Failed, Failure, Loading, Standing, VersionView, Wishes};
use crate::serving::servable::Servable;

/// A load that a worker has.
#[derive(Debug)]
pub(super) struct InFlight {
    pub(super) fingerprint: Fingerprint,
    pub(super) cancelled: Arc<AtomicBool>,
}

/// Failed attempts at one state of the files.
#[derive(Debug)]
pub(super) struct Trouble {
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
    /// Whether they may be read.
    at_rest: bool,
    pub(super) aspired: bool,
    pub(super) serving: Option<(Arc<Servable>, Fingerprint)>,
    pub(super) loading: Option<InFlight>,
    pub(super) trouble: Option<Trouble>,
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

    /// Whether it waits only for its files to come to rest.
    pub(super) fn is_restless(&self) -> bool {
        self.aspired && !self.at_rest && self.model_bytes().is_some()
    }

    /// Takes in what a look found. `first`: the first look of all.
    fn see(&mut self, found: Found, origin: Origin, first: bool, interval: Duration, now: Instant) {
        let fingerprint = found.marks.fingerprint;
        let seen_before = self.fingerprint() == Some(fingerprint);
        let since = match self.seen_since {
            Some(since) if seen_before => since,
            _ => now,
        };
        let refused = self.trouble.as_ref().is_some();
        let standing = Standing {
            seen_for: now - since,
            seen_before,
            asked: origin == Origin::Asked,
            untouched_at_start: if first { found.marks.changed.elapsed().ok() } else { None },
            vouched: found.marks.has_manifest && !refused,
        };
        self.at_rest = (seen_before && self.at_rest) || policy::at_rest(standing, interval);
        self.seen_since = Some(since);
        self.found = Some(found);
    }

    /// The caller vouches for the files, and wants no memory of earlier failures.
    pub(super) fn start_afresh(&mut self) {
        self.at_rest = true;
        self.trouble = None;
    }

    /// Takes note that a load failed.
    pub(super) fn fail(&mut self, fingerprint: Fingerprint, error: &Error, now: Instant) {
        let earlier = self.trouble.take().filter(|trouble| trouble.fingerprint == fingerprint);
        let attempts = earlier.map_or(0, |trouble| trouble.attempts).saturating_add(1);
        let again = policy::pause(Failure::of(error), attempts).map(|pause| now + pause);
        self.trouble = Some(Trouble { fingerprint, attempts, again, reason: error.without_path() });
    }

    /// The trouble with the files as they are.
    pub(super) fn present_trouble(&self) -> Option<&Trouble> {
        self.trouble.as_ref().filter(|trouble| self.found.is_none() || Some(trouble.fingerprint) == self.fingerprint())
    }

    /// Whether what serves is what the folder holds.
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
    /// What the admin API last said of the model as a whole.
    pub(super) wanted: bool,
    /// Versions loaded and unloaded by name.
    pub(super) pinned: BTreeSet<Version>,
    pub(super) excluded: BTreeSet<Version>,
    /// The last settings that could be read.
    settings: Option<Arc<ModelSettings>>,
    /// What the last load by request said in their place.
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
        let Occasion { origin, began, first, interval } = occasion;
        self.present = true;
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
            self.versions.entry(version).or_default().see(found, origin, first, interval, began);
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
        self.aliases = Arc::default();
        self.versions.values_mut().for_each(|record| record.found = None);
    }

    /// What is wrong with its settings or aliases; what was last read of them stands.
    pub(super) fn problem(&self) -> Option<String> {
        self.settings_problem.clone().or_else(|| self.aliases_problem.clone())
    }

    /// What of its `config.pbtxt` has no effect.
    pub(super) fn warnings(&self) -> Option<String> {
        self.settings.as_ref()?.warnings()
    }

    /// Whether its settings say that it answers requests that name no model.
    pub(super) fn is_default(&self) -> bool {
        self.settings.as_ref().is_some_and(|settings| settings.default)
    }

    /// What keeps every version from being loaded.
    fn blocked(&self) -> Option<&String> {
        self.settings_problem.as_ref().filter(|_| self.settings.is_none())
    }

    /// What keeps a version from being loaded, but for failures.
    pub(super) fn why_not_loadable(&self, record: &Record) -> Option<String> {
        match &record.found {
            None => Some("its folder is gone".into()),
            Some(found) => match self.blocked() {
                Some(problem) => Some(problem.clone()),
                None => found
                    .marks
                    .model_bytes
                    .is_none()
                    .then(|| format!("{} is missing", found.folder.settings.model_file())),
            },
        }
    }

    /// Says anew which versions should be loaded.
    pub(super) fn aspire(&mut self, default: &VersionPolicy) {
        let on_disk: BTreeSet<Version> =
            self.versions.iter().filter(|(_, record)| record.found.is_some()).map(|(version, _)| *version).collect();
        let aliased = self.aliases.aliases.values().map(|alias| alias.version).collect();
        let own = self.settings.as_ref().and_then(|settings| settings.versions.as_ref().map(|own| &own.policy));
        let own = self.overrides.versions.get().or(own);
        let aspired = policy::aspire(&Wishes {
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

    /// The model as the policy sees it.
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
                    .trouble
                    .as_ref()
                    .map(|trouble| Failed { fingerprint: trouble.fingerprint, again: trouble.again }),
                draining: !record.draining.is_empty(),
            };
            (*version, view)
        };
        self.versions.iter().map(view).collect()
    }

    pub(super) fn is_dismissed(&self, version: Version) -> bool {
        self.excluded.contains(&version) || (!self.wanted && !self.pinned.contains(&version))
    }

    /// The model as requests see it.
    pub(super) fn entry(&self) -> ModelEntry {
        let versions = self.versions.iter().map(|(version, record)| (*version, self.version_entry(*version, record)));
        let problems: Vec<String> = self.problem().into_iter().chain(self.warnings()).collect();
        let problem = (!problems.is_empty()).then(|| problems.join("; "));
        ModelEntry::new(versions.collect(), self.aliases.clone(), problem)
    }

    fn version_entry(&self, version: Version, record: &Record) -> VersionEntry {
        let (state, reason) = self.state(version, record);
        let attempts = record.present_trouble().map_or(0, |trouble| trouble.attempts);
        let servable = record.serving.as_ref().map(|(servable, _)| servable.clone());
        VersionEntry { state, reason, attempts, servable }
    }

    /// Where a version is in its life, and why.
    fn state(&self, version: Version, record: &Record) -> (State, Option<String>) {
        let trouble = record.present_trouble();
        if record.serving.is_some() {
            let note = match (&record.found, trouble) {
                (None, _) => Some("its files are gone; it serves on".to_owned()),
                (_, Some(trouble)) if !record.is_current() => Some(format!(
                    "its files changed and cannot be loaded, the earlier ones serve on: {}",
                    trouble.reason
                )),
                _ if !record.aspired => Some("no longer wanted; it serves until another version does".to_owned()),
                _ => None,
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
        if let Some(trouble) = trouble {
            let state = if trouble.again.is_some() { State::Start } else { State::End };
            return (state, Some(trouble.reason.clone()));
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
