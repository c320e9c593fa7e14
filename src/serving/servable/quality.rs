//! The quality that a version shows while it serves.

use std::sync::Arc;

use arc_swap::ArcSwapOption;
use serde::Serialize;
use utoipa::ToSchema;

use super::input::Input;
use crate::repository::Truth;

/// The quality of a version on its probe set, asked as clients ask it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, ToSchema)]
pub struct LiveQuality {
    /// The samples that were scored.
    pub samples: u64,
    /// Mean loss.
    pub loss: f64,
    /// The quantity that it is the mean of.
    pub loss_of: LossKind,
    /// Share of right answers of a classifier, 0 to 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub accuracy: Option<f64>,
}

/// The quantity that a version's loss is the mean of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum LossKind {
    /// The cross-entropy of a classifier's answers, in nats.
    CrossEntropy,
    /// The scores that an autoencoder gives, in nats.
    Score,
    /// The squared errors of numbers, in the square of their unit.
    SquaredError,
}

/// The labelled samples of a version, and what their last whole replay gave.
#[derive(Debug)]
pub(crate) struct ProbeSet {
    pub(crate) samples: Vec<(Input, Truth)>,
    live: ArcSwapOption<LiveQuality>,
}

impl ProbeSet {
    pub(crate) fn new(samples: Vec<(Input, Truth)>) -> Self {
        Self { samples, live: ArcSwapOption::empty() }
    }

    /// Returns the figures of the last whole replay.
    pub(crate) fn live(&self) -> Option<LiveQuality> {
        self.live.load().as_deref().copied()
    }

    pub(crate) fn record(&self, live: LiveQuality) {
        self.live.store(Some(Arc::new(live)));
    }
}
