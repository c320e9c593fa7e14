//! The costs of a graph on this machine, and the choices that follow from them.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::sharing::Sharing;
use crate::config::SchedulingSettings;
use crate::engine::EngineKind;

/// The share of the cost in the best smaller batch that a sample may take in a larger one for that batch
/// to be worth its latency, and more than a measurement wavers.
const WORTH: f64 = 0.9;

/// A batch that shows whether a graph gains by inline batches, and the largest share of the single cost
/// that a sample of it may take.
pub(crate) const BATCH_PROBE: usize = 8;
const BATCH_GAIN: f64 = 0.8;

/// The cost of a run of one batch size.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct BatchCost {
    /// Samples in the run.
    pub batch: usize,
    /// The median time of the run in microseconds.
    pub microseconds: f64,
    /// Elements in the inputs of the run.
    pub elements: usize,
}

impl BatchCost {
    fn per_sample(&self) -> f64 {
        self.microseconds / self.batch as f64
    }
}

/// The origin of a version's figures.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum TuningStage {
    /// Measured briefly while loading; the rest follows in the background.
    Loading,
    /// Measured in full by this process.
    Measured,
    /// Measured in full by an earlier process on the same kind of machine.
    Remembered,
    /// No inputs are known that the version runs on; it is measured after its first requests.
    Unmeasured,
}

/// The costs that were measured of a version, and the choices made by them.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct Tuning {
    /// The progress of measuring.
    pub stage: TuningStage,
    /// The engine that executes the version.
    pub engine: EngineKind,
    /// The cost by batch size, ascending; the first is of one sample.
    pub costs: Vec<BatchCost>,
    /// Set if a lone small request runs on the thread that received it.
    pub inline: bool,
    /// Set if inline requests that are ready on the same thread run as one batch there.
    #[serde(rename = "gather")]
    pub inline_batches: bool,
    /// The most samples in one run.
    pub max_batch: usize,
    /// The decision on samples sharing a run.
    #[serde(skip)]
    pub sharing: Sharing,
}

/// The choices that the settings make, so that no measurement does.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Pinned {
    /// The settings' choice of samples in one run.
    pub(crate) max_batch: Option<usize>,
    /// The settings' choice of running inline.
    pub(crate) inline: Option<bool>,
    /// Set if every request runs by itself.
    pub(crate) alone: bool,
    /// A model that is cheaper than this may run inline.
    pub(crate) inline_below: Duration,
}

impl Pinned {
    pub(crate) fn of(settings: &SchedulingSettings) -> Self {
        Self {
            max_batch: settings.max_batch_size,
            inline: settings.inline,
            alone: !settings.across_requests,
            inline_below: settings.inline_below,
        }
    }
}

impl Tuning {
    /// Chooses by costs, the first of which is the cost of one sample.
    pub(crate) fn choose(
        stage: TuningStage,
        engine: EngineKind,
        costs: Vec<BatchCost>,
        sharing: Sharing,
        pinned: Pinned,
    ) -> Self {
        let single = costs.first().map_or(f64::INFINITY, BatchCost::per_sample);
        let inline = pinned.inline.unwrap_or(single <= pinned.inline_below.as_secs_f64() * 1e6);
        let probe = costs.iter().find(|cost| cost.batch == BATCH_PROBE);
        let joins = sharing.is_shared && pinned.max_batch != Some(1) && !pinned.alone;
        let inline_batches = inline && joins && probe.is_some_and(|cost| cost.per_sample() < single * BATCH_GAIN);
        let max_batch = match sharing.is_shared {
            true => pinned.max_batch.unwrap_or_else(|| best_batch(&costs)).min(sharing.largest),
            false => 1,
        };
        Self { stage, engine, costs, inline, inline_batches, max_batch, sharing }
    }

    /// Returns true if a run on inputs of this many elements was measured, or one on more, and may be inline. What was
    /// measured says nothing about a larger input.
    pub(crate) fn is_inline(&self, elements: usize) -> bool {
        self.inline && self.costs.first().is_some_and(|cost| elements <= cost.elements)
    }

    /// Returns the median time of the model alone on one sample.
    pub fn single(&self) -> Duration {
        Duration::from_secs_f64(self.costs.first().map_or(0.0, |cost| cost.microseconds / 1e6))
    }
}

/// The smallest batch whose samples are about as cheap as they get: a larger one would cost latency
/// and gain nothing.
fn best_batch(costs: &[BatchCost]) -> usize {
    let cheaper = |best: BatchCost, next: &BatchCost| {
        if next.per_sample() < best.per_sample() * WORTH { *next } else { best }
    };
    costs.iter().copied().reduce(|best, next| cheaper(best, &next)).map_or(1, |best| best.batch)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn choose(costs: &[(usize, f64)], pinned: Pinned) -> Tuning {
        let costs = costs.iter().map(|&(batch, microseconds)| cost(batch, microseconds)).collect();
        let sharing = Sharing { is_shared: true, largest: 64, reason: String::new() };
        Tuning::choose(TuningStage::Measured, EngineKind::Tract, costs, sharing, pinned)
    }

    fn cost(batch: usize, microseconds: f64) -> BatchCost {
        BatchCost { batch, microseconds, elements: batch * 10 }
    }

    fn pinned() -> Pinned {
        Pinned { inline_below: Duration::from_micros(200), ..Pinned::default() }
    }

    #[test]
    fn a_dense_network_is_batched_and_runs_inline() {
        let tuning = choose(&[(1, 6.5), (2, 11.0), (4, 17.0), (8, 29.0), (16, 51.0), (32, 97.0)], pinned());
        assert_eq!((tuning.inline, tuning.inline_batches, tuning.max_batch), (true, true, 16));
    }

    #[test]
    fn what_was_measured_says_nothing_about_a_larger_input() {
        let tuning = choose(&[(1, 6.5), (8, 29.0)], pinned());
        assert_eq!([0, 9, 10, 11, 80].map(|elements| tuning.is_inline(elements)), [true, true, true, false, false]);
        let asked_for = choose(&[(1, 9000.0)], Pinned { inline: Some(true), ..pinned() });
        assert!(asked_for.is_inline(10) && !asked_for.is_inline(11));
        assert!(!choose(&[(1, 9000.0)], pinned()).is_inline(1));
    }

    #[test]
    fn a_model_that_batches_badly_is_not_batched() {
        let tuning = choose(&[(1, 277.0), (2, 560.0), (4, 1150.0), (8, 2400.0), (32, 12_000.0)], pinned());
        assert_eq!((tuning.inline, tuning.inline_batches, tuning.max_batch), (false, false, 1));
    }

    #[test]
    fn a_gain_too_small_to_wait_for_is_left_alone() {
        assert_eq!(choose(&[(1, 100.0), (2, 196.0), (4, 388.0)], pinned()).max_batch, 1);
        assert_eq!(choose(&[(1, 100.0), (2, 120.0), (4, 236.0)], pinned()).max_batch, 2);
        assert_eq!(choose(&[(1, 100.0), (2, 185.0), (4, 350.0), (8, 690.0)], pinned()).max_batch, 4);
    }

    #[test]
    fn settings_win_over_measurements() {
        let fixed = Pinned { max_batch: Some(4), inline: Some(false), ..pinned() };
        let tuning = choose(&[(1, 6.5), (8, 29.0)], fixed);
        assert_eq!((tuning.inline, tuning.inline_batches, tuning.max_batch), (false, false, 4));
        assert_eq!(choose(&[], pinned()).max_batch, 1);
    }

    #[test]
    fn what_is_not_shown_to_be_independent_shares_no_run_whatever_the_settings_say() {
        let costs = vec![cost(1, 6.5), cost(8, 29.0)];
        let alone = Sharing { is_shared: false, largest: 1, reason: String::new() };
        let fixed = Pinned { max_batch: Some(4), ..pinned() };
        let tuning = Tuning::choose(TuningStage::Measured, EngineKind::Tract, costs, alone.clone(), fixed);
        assert_eq!((tuning.inline, tuning.inline_batches, tuning.max_batch), (true, false, 1));
        let unmeasured = Tuning::choose(TuningStage::Unmeasured, EngineKind::Tract, Vec::new(), alone, pinned());
        assert!(!unmeasured.inline, "nobody knows how long it takes");
    }
}
