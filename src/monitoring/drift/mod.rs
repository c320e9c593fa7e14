//! Watches what versions are asked and answer, against a reference of each.
//!
//! One consumer of records holds a detector for each version that serves, and puts a report of it where the API
//! finds it. Versions without a reference are not watched, unless they may learn one from their first samples.

mod allowance;
mod guarded;
mod keep;
mod learn;
mod report;
mod sample;
mod version;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use self::allowance::Allowance;
pub use self::guarded::GuardReport;
use self::keep::Keeper;
use self::learn::Lesson;
pub use self::report::{DriftReport, DriftState, EstimateReport, StreamEffect, StreamReport};
use self::version::{KeptWatch, VersionWatch};
use super::guard::{GuardFinding, GuardFindings};
use super::{Consumer, Record};
use crate::config::{DriftSettings, MonitoringConfig};
use crate::error::{Error, Result};
use crate::ids::{ModelName, Version};
use crate::metrics::{DriftFamilies, DriftMetrics, Outcome};
use crate::repository::DriftReference;
use crate::serving::Identity;

type Key = (ModelName, Version);

/// The reports of all versions that are watched.
#[derive(Debug, Clone)]
pub struct DriftReports {
    config: MonitoringConfig,
    keeper: Keeper,
    by_version: Arc<Mutex<BTreeMap<Key, Arc<DriftReport>>>>,
}

impl DriftReports {
    /// Makes room for reports on versions whose states are kept in a folder.
    pub fn new(config: MonitoringConfig, state_folder: &Path) -> Self {
        Self { config, keeper: Keeper::new(state_folder), by_version: Arc::default() }
    }

    /// Returns the report of a version that serves.
    ///
    /// # Errors
    /// [`Error::Conflict`] when monitoring is off, or there is nothing to compare the version with.
    pub fn of(&self, identity: &Identity) -> Result<Arc<DriftReport>> {
        let (name, version) = (&identity.model, identity.version);
        if !self.config.enabled {
            return Err(Error::Conflict("monitoring is off; start the server without --monitoring=false".into()));
        }
        if let Some(report) = self.lock().get(&(name.clone(), version)).cloned() {
            return Ok(report);
        }
        // It has not been asked since the server started.
        let learns = self.config.drift.learn_samples > 0;
        let kept = self.keeper.read(identity).filter(|kept| kept.learnt.is_some() == identity.reference.is_none());
        let learnt = kept.as_ref().and_then(|kept| kept.learnt.clone()).map(Arc::new).filter(|_| learns);
        match identity.reference.clone().or(learnt) {
            Some(reference) => {
                let mut watch = VersionWatch::new(reference, &self.config.drift, identity);
                if let Some(kept) = kept {
                    watch.go_on_from(kept);
                }
                Ok(Arc::new(watch.report()))
            }
            None if learns => Err(Error::Conflict(format!(
                "model \"{name}\" version {version} still learns a reference from its first {} samples",
                self.config.drift.learn_samples
            ))),
            None => Err(Error::Conflict(format!(
                "model \"{name}\" version {version} has no reference to compare its traffic with; weir drift --reference DATA {name}/{version} makes one, and --drift-learn-samples lets versions learn one"
            ))),
        }
    }

    /// Returns the report of a version that was asked since it loaded.
    pub(in crate::monitoring) fn found(&self, identity: &Identity) -> Option<Arc<DriftReport>> {
        self.lock().get(&(identity.model.clone(), identity.version)).cloned()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Key, Arc<DriftReport>>> {
        self.by_version.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A version that was asked since it loaded.
#[derive(Debug)]
struct Watched {
    identity: Weak<Identity>,
    key: Key,
    stage: Stage,
    is_new: bool,
    /// The file of its state, and whether that is behind.
    file: PathBuf,
    is_unsaved: bool,
}

#[derive(Debug)]
enum Stage {
    /// There is nothing to compare it with.
    Unwatched,
    Learning(Lesson),
    Watching {
        watch: Box<VersionWatch>,
        metrics: DriftMetrics,
        is_learnt: bool,
    },
}

impl Watched {
    fn save(&mut self) -> std::io::Result<()> {
        if let Stage::Watching { watch, is_learnt, .. } = &self.stage {
            keep::write(&self.file, &watch.kept(*is_learnt))?;
        }
        self.is_unsaved = false;
        Ok(())
    }
}

/// The consumer of records that watches for drift.
#[derive(Debug)]
pub struct DriftWatch {
    settings: DriftSettings,
    families: DriftFamilies,
    reports: DriftReports,
    guards: GuardFindings,
    /// By the serial number of the load.
    versions: BTreeMap<u64, Watched>,
    allowance: Allowance,
    published: Instant,
    saved: Instant,
    /// Set once a state could not be written, so that this is logged once.
    is_failing: bool,
}

/// The longest time between two reports of traffic that goes on: making one costs as much as many samples.
const PERIOD: Duration = Duration::from_millis(200);

/// The time between two looks for states to be stored: a process that is killed loses no more.
const SAVE: Duration = Duration::from_secs(30);

impl DriftWatch {
    /// Makes a consumer that puts its reports into `reports`, and hears of scores from `guards`.
    pub fn new(families: DriftFamilies, reports: DriftReports, guards: GuardFindings) -> Self {
        let (settings, published) = (reports.config.drift, Instant::now());
        let allowance = Allowance::new(settings.samples_per_second);
        reports.keeper.sweep();
        let versions = BTreeMap::new();
        let saved = published;
        Self { settings, families, reports, guards, versions, allowance, published, saved, is_failing: false }
    }

    fn begin(&self, identity: &Arc<Identity>) -> Watched {
        let kept = self.reports.keeper.read(identity);
        let learnt = kept.as_ref().and_then(|kept| kept.learnt.clone()).map(Arc::new);
        let stage = match (&identity.reference, learnt, self.settings.learn_samples) {
            (Some(reference), ..) => self.watch(identity, reference.clone(), kept, false),
            (None, _, 0) => Stage::Unwatched,
            (None, Some(learnt), _) => self.watch(identity, learnt, kept, true),
            (None, None, samples) => Stage::Learning(Lesson::new(samples)),
        };
        let (key, file) = ((identity.model.clone(), identity.version), self.reports.keeper.file(identity));
        Watched { identity: Arc::downgrade(identity), key, stage, is_new: false, file, is_unsaved: false }
    }

    fn watch(
        &self,
        identity: &Identity,
        reference: Arc<DriftReference>,
        kept: Option<KeptWatch>,
        is_learnt: bool,
    ) -> Stage {
        let mut watch = Box::new(VersionWatch::new(reference, &self.settings, identity));
        if let Some(kept) = kept.filter(|kept| kept.learnt.is_some() == is_learnt) {
            watch.go_on_from(kept);
        }
        let metrics = self.families.bind(identity.model.as_str(), &identity.version.to_string(), watch.stream_names());
        Stage::Watching { watch, metrics, is_learnt }
    }

    fn take(&mut self, record: &Record) {
        let serial = record.version.serial;
        if !self.versions.contains_key(&serial) {
            let begun = self.begin(&record.version);
            self.versions.insert(serial, begun);
        }
        let Some(watched) = self.versions.get_mut(&serial) else { return };
        let learnt = match &mut watched.stage {
            Stage::Unwatched => return,
            Stage::Learning(lesson) => lesson.observe(record),
            Stage::Watching { watch, .. } => {
                watch.observe(record);
                None
            }
        };
        watched.is_new = true;
        watched.is_unsaved = true;
        if let Some(reference) = learnt {
            let stage = self.watch(&record.version, Arc::new(reference), None, true);
            if let Some(watched) = self.versions.get_mut(&serial) {
                watched.stage = stage;
            }
        }
    }

    /// Takes what guards have found about versions that were asked.
    fn hear(&mut self) {
        let found: Vec<GuardFinding> = self.guards.take().collect();
        for GuardFinding { identity, outcome } in found {
            // The record of the request may come after its scores: then the next ones count.
            let Some(watched) = self.versions.get_mut(&identity.serial) else { continue };
            let Stage::Watching { watch, .. } = &mut watched.stage else { continue };
            watch.observe_guard(outcome);
            (watched.is_new, watched.is_unsaved) = (true, true);
        }
    }

    /// Shows what changed.
    fn publish(&mut self) {
        for watched in self.versions.values_mut() {
            if !std::mem::take(&mut watched.is_new) {
                continue;
            }
            let Stage::Watching { watch, metrics, .. } = &mut watched.stage else { continue };
            let report = watch.report();
            metrics.set(&report.figures());
            watch.tell_changes(&watched.key, &report);
            self.reports.lock().insert(watched.key.clone(), Arc::new(report));
        }
    }

    /// Stores the states that have changed.
    fn save(&mut self) {
        self.saved = Instant::now();
        let mut failure = None;
        for watched in self.versions.values_mut().filter(|watched| watched.is_unsaved) {
            failure = watched.save().err().or(failure);
        }
        if let Some(error) = &failure
            && !self.is_failing
        {
            tracing::warn!(%error, "the state of drift cannot be stored; after a restart it begins anew");
        }
        self.is_failing = failure.is_some();
    }

    /// Forgets versions that no longer serve, and shows again what a newer load of the same version may have lost.
    fn forget(&mut self) {
        if self.versions.values().any(|watched| watched.identity.strong_count() == 0) {
            self.save();
        }
        let gone: Vec<u64> = self
            .versions
            .iter()
            .filter(|(_, watched)| watched.identity.strong_count() == 0)
            .map(|(serial, _)| *serial)
            .collect();
        for serial in gone {
            let Some(watched) = self.versions.remove(&serial) else { continue };
            let key = watched.key.clone();
            // Its series go.
            drop(watched);
            match self.versions.values_mut().find(|other| other.key == key) {
                Some(other) => other.is_new = true,
                None => drop(self.reports.lock().remove(&key)),
            }
        }
    }
}

impl Consumer for DriftWatch {
    fn consume(&mut self, records: &[Record]) {
        self.hear();
        let mut share = self.allowance.share(records.len(), Instant::now());
        for record in records.iter().filter(|record| record.outcome == Outcome::Success) {
            if share.takes() {
                self.take(record);
            } else if let Some(Watched { stage: Stage::Watching { watch, .. }, .. }) =
                self.versions.get_mut(&record.version.serial)
            {
                watch.pass_over();
            }
        }
        self.allowance.settle(&share);
        if records.is_empty() || self.published.elapsed() >= PERIOD {
            self.settle();
        }
    }

    fn settle(&mut self) {
        self.published = Instant::now();
        self.forget();
        self.publish();
        if self.saved.elapsed() >= SAVE {
            self.save();
        }
    }

    fn close(&mut self) {
        self.save();
    }
}
