//! The task that looks at all figures every second, and tells what changed.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;

use super::Alarms;
use super::book::{Key, Now, Standing};
use super::conditions::{Counts, Progress, Subject};
use crate::config::AlarmSettings;
use crate::metrics::StoreMetrics;
use crate::monitoring::drift::{DriftReport, DriftReports};
use crate::monitoring::events::{DriftTold, EventKind, Events, VersionsTold};
use crate::monitoring::gauges::LiveFigures;
use crate::serving::{Catalog, Predictor, Servable};

/// The time between two looks.
const PERIOD: Duration = Duration::from_secs(1);

/// What the task looks at and tells.
#[derive(Debug, Clone)]
pub struct Overseen {
    /// The versions.
    pub predictor: Arc<Predictor>,
    /// Their traffic.
    pub drift: DriftReports,
    /// Their labels.
    pub figures: LiveFigures,
    /// The store.
    pub store: StoreMetrics,
    /// The alarms.
    pub alarms: Arc<Alarms>,
    /// Who listens.
    pub events: Arc<Events>,
    /// When to alarm.
    pub settings: AlarmSettings,
}

/// Judges all conditions and tells changes of versions and drift, until `stop` turns true.
pub async fn oversee(overseen: Overseen, mut stop: watch::Receiver<bool>) {
    let mut published = overseen.predictor.published();
    let start = Instant::now();
    let mut look = Look::default();
    loop {
        look.look(&overseen, Now { wall: jiff::Timestamp::now(), since_start: start.elapsed() });
        // A predictor that is gone publishes no more.
        let next = async { drop(tokio::time::timeout(PERIOD, published.changed()).await) };
        tokio::select! {
            () = next => {}
            _ = stop.wait_for(|stop| *stop) => return,
        }
    }
}

#[derive(Debug, Default)]
struct Look {
    versions: VersionsTold,
    drift: DriftTold,
    progress: Progress,
}

impl Look {
    fn look(&mut self, overseen: &Overseen, now: Now) {
        let catalog = Arc::clone(&overseen.predictor.catalog());
        for change in self.versions.changes(&catalog) {
            overseen.events.publish(EventKind::Version, Some(change.model()), &change);
        }
        let mut standings = BTreeMap::new();
        let mut dropped = 0;
        for servable in catalog.servables() {
            let report = overseen.drift.found(&servable.identity);
            if let Some(report) = &report {
                self.tell_drift(overseen, servable, report);
            }
            let quality = overseen.figures.of(&servable.identity);
            let subject = Subject {
                model: servable.name.as_str(),
                version: servable.version.0,
                expected_accuracy: expected_accuracy(servable),
                quality: quality.as_ref(),
                drift: report.as_deref(),
            };
            subject.judge(&overseen.settings, &mut standings);
            dropped += servable.metrics().records.dropped.get();
        }
        self.drift.retain(|name, version| catalog.servables().any(|one| one.name == *name && one.version == version));
        self.leave_undecided(overseen, &catalog, &mut standings);
        let counts = Counts { store: overseen.store.counts(), dropped };
        self.progress.judge(counts, &overseen.settings, now.since_start, &mut standings);
        overseen.alarms.update(&standings, now, overseen.settings.hold);
    }

    fn tell_drift(&mut self, overseen: &Overseen, servable: &Servable, report: &DriftReport) {
        for change in self.drift.changes(&servable.name, servable.version, report) {
            overseen.events.publish(EventKind::Drift, Some(servable.name.as_str()), &change);
        }
    }

    /// While versions are still loading, nothing is known of those that do not serve yet.
    fn leave_undecided(&self, overseen: &Overseen, catalog: &Catalog, standings: &mut BTreeMap<Key, Standing>) {
        if catalog.is_settled() {
            return;
        }
        for key in overseen.alarms.lock().keys() {
            if key.subject.is_some() {
                standings.entry(key).or_insert(Standing::Undecided);
            }
        }
    }
}

/// Returns the accuracy on test data, or else on the data of the drift reference.
fn expected_accuracy(servable: &Servable) -> Option<f64> {
    let test = servable.manifest.as_ref().and_then(|manifest| manifest.classification()?.test.as_ref());
    let tested = test.map(|test| test.summary.accuracy);
    tested.or_else(|| servable.identity.reference.as_ref()?.accuracy())
}
