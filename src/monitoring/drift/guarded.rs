//! The stream of a guard's scores. It is watched by itself: a guard is asked about a share of the samples that the other
//! streams are of, and more slowly.

use std::collections::VecDeque;

use serde::Serialize;
use utoipa::ToSchema;

use crate::config::DriftSettings;
use crate::repository::{DriftReference, StreamDistribution};
use crate::stats::drift::{Bins, Detector, DetectorSettings, Standing, StreamReference};

/// An input with at most this p-value is counted as unusual.
pub(super) const UNUSUAL: f64 = 0.01;

/// The least scores that the share of unusual inputs is taken from.
const LEAST: usize = 100;

/// The guard of a version.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[schema(as = GuardOfVersion)]
pub struct GuardReport {
    /// The autoencoder.
    pub model: String,
    /// Its version that the reference was made with; absent where the reference knows of none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<u64>,
    /// The samples that it has scored since the version loaded.
    pub scored: u64,
    /// The reason why it gave no score when it was last asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

/// The detector of a guard's scores.
#[derive(Debug)]
pub(super) struct Guarded {
    pub(super) distribution: StreamDistribution,
    pub(super) detector: Detector,
    /// For each of the last scores whether its input is unusual.
    unusual: VecDeque<bool>,
    window: usize,
}

impl Guarded {
    /// Makes the detector, if the reference knows scores.
    pub(super) fn new(reference: &DriftReference, settings: &DriftSettings, seed: u64) -> Option<Self> {
        let distribution = reference.guard_stream()?;
        let counts = distribution.counts.clone();
        let stream = StreamReference { counts, bins: Bins::Ordered, shows_dependence: true };
        let detector_settings = DetectorSettings {
            window: settings.window,
            learning_windows: settings.learning_windows,
            run_length: settings.run_length,
        };
        let detector = Detector::new(vec![stream], detector_settings, seed);
        Some(Self { distribution, detector, unusual: VecDeque::new(), window: settings.window })
    }

    /// Takes the score of a sample and the energy of its answer.
    pub(super) fn observe(&mut self, reference: &DriftReference, energy: Option<f64>, score: f64) {
        self.detector.observe(&[self.distribution.bin(score)]);
        let Some(guard) = &reference.guard else { return };
        let energy = energy.zip(reference.unusual.as_ref()).map(|(energy, ranks)| ranks.p_value(energy));
        let both = energy.and_then(|energy| guard.combined(energy, score));
        self.unusual.push_back(both.unwrap_or_else(|| guard.p_value(score)) <= UNUSUAL);
        if self.unusual.len() > self.window {
            self.unusual.pop_front();
        }
    }

    /// Returns the share of unusual inputs, once there are enough scores.
    pub(super) fn anomaly_share(&self) -> Option<f64> {
        let unusual = self.unusual.iter().filter(|unusual| **unusual).count();
        (self.unusual.len() >= LEAST).then(|| unusual as f64 / self.unusual.len() as f64)
    }

    /// Forgets the scores of the last window: a guard that gives none says nothing of the inputs of today.
    pub(super) fn forget(&mut self) {
        self.unusual.clear();
    }

    pub(super) fn standing(&self) -> Standing {
        self.detector.standing()
    }
}
