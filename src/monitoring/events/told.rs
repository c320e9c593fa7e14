//! What was told last, so that only changes are told.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::ids::{ModelName, Version};
use crate::monitoring::drift::{DriftReport, DriftState};
use crate::serving::{Catalog, State};

/// The state of a version as an event has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(in crate::monitoring) struct VersionChange {
    model: String,
    version: u64,
    state: VersionState,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

/// The state as `GET /models` has it, or `REMOVED` once nothing of it is left.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(untagged)]
enum VersionState {
    Known(State),
    Removed(&'static str),
}

/// The states of versions that were told.
#[derive(Debug, Default)]
pub(in crate::monitoring) struct VersionsTold(BTreeMap<(ModelName, Version), (State, Option<String>)>);

impl VersionsTold {
    /// Returns what changed since the last call, with the model of each change.
    pub(in crate::monitoring) fn changes(&mut self, catalog: &Catalog) -> Vec<VersionChange> {
        let mut now = BTreeMap::new();
        for (name, model) in catalog.models() {
            for (version, entry) in &model.versions {
                now.insert((name.clone(), *version), (entry.state, entry.reason.clone()));
            }
        }
        let change = |(name, version): &(ModelName, Version), state: VersionState, reason: Option<String>| {
            VersionChange { model: name.to_string(), version: version.0, state, reason }
        };
        let changed = now
            .iter()
            .filter(|(key, found)| self.0.get(key) != Some(found))
            .map(|(key, (state, reason))| change(key, VersionState::Known(*state), reason.clone()));
        let removed = VersionState::Removed("REMOVED");
        let gone = self.0.keys().filter(|key| !now.contains_key(key)).map(|key| change(key, removed, None));
        let changes = changed.chain(gone).collect();
        self.0 = now;
        changes
    }
}

impl VersionChange {
    /// Returns the model.
    pub(in crate::monitoring) fn model(&self) -> &str {
        &self.model
    }
}

/// The least move of evidence that is news.
const TENTH: f64 = 0.1;

/// The standing of a stream as an event has it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(in crate::monitoring) struct DriftChange {
    model: String,
    version: u64,
    stream: String,
    state: DriftState,
    evidence: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    effect: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    low: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    high: Option<f64>,
}

/// The standing of streams that was told.
#[derive(Debug, Default)]
pub(in crate::monitoring) struct DriftTold(BTreeMap<(ModelName, Version), BTreeMap<String, (DriftState, f64)>>);

impl DriftTold {
    /// Returns the streams of a version whose state is another, or whose evidence moved by a tenth, since the last call.
    pub(in crate::monitoring) fn changes(
        &mut self,
        name: &ModelName,
        version: Version,
        report: &DriftReport,
    ) -> Vec<DriftChange> {
        let told = self.0.entry((name.clone(), version)).or_default();
        let mut changes = Vec::new();
        for stream in &report.streams {
            // That a stream is quiet at first is no news.
            let (state, evidence) = told.get(&stream.stream).copied().unwrap_or((DriftState::Quiet, 0.0));
            if state == stream.state && (stream.evidence - evidence).abs() < TENTH {
                continue;
            }
            told.insert(stream.stream.clone(), (stream.state, stream.evidence));
            let effect = stream.effect.as_ref();
            changes.push(DriftChange {
                model: name.to_string(),
                version: version.0,
                stream: stream.stream.clone(),
                state: stream.state,
                evidence: stream.evidence,
                effect: effect.map(|effect| effect.psi),
                low: effect.map(|effect| effect.low),
                high: effect.map(|effect| effect.high),
            });
        }
        changes
    }

    /// Forgets versions that no longer serve.
    pub(in crate::monitoring) fn retain(&mut self, serves: impl Fn(&ModelName, Version) -> bool) {
        self.0.retain(|(name, version), _| serves(name, *version));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_is_told_when_its_state_or_a_tenth_of_evidence_changed() {
        let (name, mut told): (ModelName, _) = ("m".parse().unwrap(), DriftTold::default());
        let mut names = |report: &DriftReport| {
            let changes = told.changes(&name, Version(1), report);
            changes.into_iter().map(|change| change.stream).collect::<Vec<_>>()
        };
        let mut report = DriftReport::example(500, DriftState::Quiet, None);
        report.streams.iter_mut().for_each(|stream| stream.evidence = 0.09);
        // That a stream is quiet at first is no news.
        assert_eq!(names(&report), ["class"]);
        report.streams[0].evidence = 0.11;
        assert_eq!(names(&report), ["margin"]);
        // Around the edge of a tenth there is no news.
        for evidence in [0.09, 0.11, 0.2, 0.02] {
            report.streams[0].evidence = evidence;
            assert_eq!(names(&report), Vec::<String>::new(), "{evidence}");
        }
        report.streams[0].state = DriftState::Critical;
        assert_eq!(names(&report), ["margin"]);
        told.retain(|_, _| false);
        assert_eq!(told.changes(&name, Version(1), &report).len(), 2);
    }
}
