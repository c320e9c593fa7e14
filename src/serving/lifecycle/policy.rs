//! The decisions about versions: pure functions of what is known and the time, so that every case is a line
//! of a table. Nothing here loads, unloads or waits.
//!
//! The rules: a version that is wanted loads before one that is not wanted goes; a model's only
//! serving version stays, unless somebody asked for it to go or the model's folder is gone; a
//! repository that cannot be read, or is empty all at once, changes nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use crate::config::VersionPolicy;
use crate::error::Error;
use crate::ids::Version;
use crate::repository::Fingerprint;

/// The most attempts at a load that fails for a reason which may pass.
const MAX_ATTEMPTS: u32 = 5;
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// The facts that decide which versions of a model should be loaded.
#[derive(Debug)]
pub(crate) struct Demand<'a> {
    /// Set if the model as a whole is wanted.
    pub(crate) wanted: bool,
    pub(crate) policy: &'a VersionPolicy,
    pub(crate) on_disk: &'a BTreeSet<Version>,
    /// The versions to which aliases point.
    pub(crate) aliased: &'a BTreeSet<Version>,
    /// Loaded by name through the admin API.
    pub(crate) pinned: &'a BTreeSet<Version>,
    /// Unloaded by name through the admin API.
    pub(crate) excluded: &'a BTreeSet<Version>,
}

/// Returns the complete aspired set of one model.
pub(crate) fn aspire(demand: &Demand<'_>) -> BTreeSet<Version> {
    let Demand { wanted, policy, on_disk, aliased, pinned, excluded } = demand;
    let mut aspired: BTreeSet<Version> = match policy {
        _ if !wanted => BTreeSet::new(),
        VersionPolicy::All => (*on_disk).clone(),
        VersionPolicy::Latest(count) => on_disk.iter().rev().take(*count).copied().collect(),
        VersionPolicy::Specific(versions) => versions.intersection(on_disk).copied().collect(),
    };
    aspired.extend(pinned.iter().filter(|version| on_disk.contains(version)));
    aspired.retain(|version| !excluded.contains(version));
    if *wanted {
        aspired.extend(*aliased);
    }
    aspired
}

/// A load under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Loading {
    pub(crate) fingerprint: Fingerprint,
    pub(crate) cancelled: bool,
}

/// The failed attempts at one state of a version's files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Failed {
    pub(crate) fingerprint: Fingerprint,
    /// The moment of the next attempt; `None` for not before the files change.
    pub(crate) again: Option<Instant>,
}

/// The facts about one version.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct VersionView {
    pub(crate) aspired: bool,
    /// Somebody asked for it to go, so it may be the last one.
    pub(crate) dismissed: bool,
    /// Its folder is there.
    pub(crate) on_disk: bool,
    /// Its files, once they may be read.
    pub(crate) loadable: Option<Fingerprint>,
    pub(crate) serving: Option<Fingerprint>,
    pub(crate) loading: Option<Loading>,
    pub(crate) failed: Option<Failed>,
    /// Copies that still answer requests under way.
    pub(crate) draining: bool,
}

/// An action on a version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Action {
    /// Load what its folder holds now; a copy that serves goes on until then.
    Load,
    /// Drop the load under way when it is done.
    Cancel,
    /// Go on with the load under way after all.
    Resume,
    /// Take it out of service.
    Unload,
    /// Forget it.
    Forget,
}

/// Returns the actions on the versions of a model. `gone`: its folder is gone, while others are there.
pub(crate) fn decide(versions: &BTreeMap<Version, VersionView>, gone: bool, now: Instant) -> Vec<(Version, Action)> {
    let aspired = || versions.values().filter(|view| view.aspired);
    let others_decided = aspired().all(is_decided);
    let another_serves = aspired().any(|view| view.serving.is_some());
    let may_go = gone || (another_serves && others_decided);
    let act = |view: &VersionView| match view {
        VersionView { aspired: true, .. } => load(view, now),
        VersionView { loading: Some(Loading { cancelled: false, .. }), .. } => Some(Action::Cancel),
        VersionView { serving: Some(_), dismissed, .. } => (may_go || *dismissed).then_some(Action::Unload),
        VersionView { on_disk: false, loading: None, draining: false, .. } => Some(Action::Forget),
        _ => None,
    };
    versions.iter().rev().filter_map(|(version, view)| Some((*version, act(view)?))).collect()
}

/// Returns true if waiting for a wanted version has come to an end.
fn is_decided(view: &VersionView) -> bool {
    let given_up = view.failed.is_some_and(|failed| failed.again.is_none());
    view.serving.is_some() || !view.on_disk || (given_up && view.loading.is_none())
}

fn load(view: &VersionView, now: Instant) -> Option<Action> {
    let fingerprint = view.loadable?;
    match view.loading {
        Some(loading) if loading.cancelled && loading.fingerprint == fingerprint => return Some(Action::Resume),
        Some(_) => return None,
        None => {}
    }
    if view.serving == Some(fingerprint) {
        return None;
    }
    match view.failed {
        Some(failed) if failed.fingerprint == fingerprint => {
            failed.again.is_some_and(|again| again <= now).then_some(Action::Load)
        }
        _ => Some(Action::Load),
    }
}

/// The prospects of another attempt after a failed load.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Failure {
    /// The files do not belong together yet: it may take any time.
    Incomplete,
    /// It may pass.
    Passing,
    /// The same files will fail again.
    Lasting,
}

impl Failure {
    pub(crate) fn of(error: &Error) -> Self {
        match error {
            Error::Incomplete { .. } => Self::Incomplete,
            Error::Io { .. } => Self::Passing,
            _ => Self::Lasting,
        }
    }
}

/// Returns the pause after this many failed attempts; `None` for giving up until the files change.
pub(crate) fn pause(failure: Failure, attempts: u32) -> Option<Duration> {
    let doubled = FIRST_PAUSE.saturating_mul(1 << attempts.saturating_sub(1).min(16)).min(LONGEST_PAUSE);
    match failure {
        Failure::Incomplete => Some(doubled),
        Failure::Passing => (attempts < MAX_ATTEMPTS).then_some(doubled),
        Failure::Lasting => None,
    }
}

/// The evidence for files being complete.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Standing {
    /// The time since they were first seen as they are.
    pub(crate) seen_for: Duration,
    /// Set if an earlier look saw them as they are.
    pub(crate) seen_before: bool,
    /// Set if the present look was asked for.
    pub(crate) asked: bool,
    /// The time between their last change and the look; none when the change is in the future.
    pub(crate) untouched: Option<Duration>,
    /// A manifest tells whether they are complete, and has not refused them yet.
    pub(crate) vouched: bool,
}

/// Returns true if files that may be in the middle of being copied have come to rest: a manifest vouches for
/// them, they were last changed well before the look, or two looks saw the same.
pub(crate) fn at_rest(standing: Standing, interval: Duration) -> bool {
    const OLD_ENOUGH: Duration = Duration::from_secs(3);
    standing.vouched
        || standing.untouched.is_some_and(|untouched| untouched >= OLD_ENOUGH)
        || (standing.seen_before && (standing.asked || standing.seen_for >= interval / 2))
}

#[cfg(test)]
#[path = "policy_tests.rs"]
mod tests;
