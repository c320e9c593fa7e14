//! The training loop.

mod checkpoint;
mod state;
#[cfg(test)]
mod tests;

use std::time::Instant;

use serde::{Deserialize, Serialize};

pub use self::checkpoint::Checkpoint;
pub use self::state::{Ending, FitState};
use super::batches::{Batch, BatchPlan};
use super::dataset::Dataset;
use super::learner::Learner;
use super::network::Network;
use super::optimizer::{Optimizer, clip};
use super::progress::{EpochReport, Watch};
use super::regime::Regime;
use super::schedule::Place;
use crate::error::{Error, Result};

/// Parameters that the least number of steps in an epoch may update in all: a large network on few pictures would take
/// minutes, and learns them by heart sooner.
const UPDATES: usize = 100_000_000;

/// The settings of a fit.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FitSettings {
    /// Passes over the training data.
    pub epochs: usize,
    /// Samples per step.
    pub batch_size: usize,
    /// The seed of everything random.
    pub seed: u64,
    /// Everything beyond plain training.
    #[serde(flatten)]
    pub regime: Regime,
    /// The optimiser.
    pub optimizer: Optimizer,
}

/// The pace of a step.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pace {
    /// The factor on the learning rate.
    pub(super) factor: f64,
    /// The amount by which the momentum is lowered.
    pub(super) dip: f64,
}

/// The result of one pass and step.
#[derive(Debug, Clone, Copy)]
pub(super) struct StepDone {
    /// Sum of the losses of the samples.
    pub(super) loss_sum: f64,
    correct: Option<f64>,
    pub(super) samples: usize,
}

/// Why an epoch's steps ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stop {
    AllDone,
    OutOfTime,
    Watcher,
}

/// Trains to the last epoch, to the end of patience or time, or until the watcher says stop; returns whether it is
/// done, which it is not only in the last case.
///
/// # Errors
/// [`Error::Diverged`] when the loss is no longer a number, and what the watcher fails with.
pub fn fit<M: Learner>(
    state: &mut FitState<M>,
    train: &Dataset,
    validation: &Dataset,
    settings: &FitSettings,
    watch: &mut dyn Watch,
) -> Result<bool> {
    let regime = &settings.regime;
    while state.cursor.ending.is_none() && state.cursor.epoch < settings.epochs {
        let stop = fit_epoch(state, train, settings, watch)?;
        if stop == Stop::Watcher {
            return Ok(false);
        }
        let start = Instant::now();
        let last_batch = state.cursor.step;
        state.swap_average();
        let summary = if validation.is_empty() { None } else { Some(state.model.validate(validation)?) };
        let report = state.cursor.finish_epoch(summary, start.elapsed());
        if !report.judged_loss().is_finite() {
            let (loss, epoch) = (report.judged_loss(), report.epoch);
            return Err(Error::Diverged { loss, epoch, batch: last_batch });
        }
        if regime.keeps_best(validation.len()) {
            state.keep_best();
        }
        state.swap_average();
        if stop == Stop::OutOfTime {
            state.cursor.ending = Some(Ending::OutOfTime);
        } else if state.cursor.epoch < settings.epochs
            && regime.has_waited_enough(state.history().iter().map(EpochReport::judged_loss))
        {
            state.cursor.ending = Some(Ending::OutOfPatience);
        }
        watch.epoch(&report)?;
        watch.weights(report.epoch, &state.model.trained())?;
        watch.save(state)?;
    }
    state.conclude();
    Ok(true)
}

fn fit_epoch<M: Learner>(
    state: &mut FitState<M>,
    train: &Dataset,
    settings: &FitSettings,
    watch: &mut dyn Watch,
) -> Result<Stop> {
    let regime = &settings.regime;
    let plan = settings.plan(&state.model, state.cursor.epoch);
    let steps = plan.steps(train.len());
    let losses: Vec<f64> = state.history().iter().map(EpochReport::judged_loss).collect();
    let reduction = regime.schedule.reduction(&losses);
    std::thread::scope(|scope| {
        let (batches, _producer) = plan.produce(scope, train, state.cursor.step);
        let mut start = Instant::now();
        for batch in batches {
            let place = Place {
                step: state.cursor.steps_done,
                steps: (steps * settings.epochs) as u64,
                epoch_steps: steps as u64,
            };
            let pace =
                Pace { factor: regime.schedule.factor(place) * reduction, dip: regime.schedule.momentum_dip(place) };
            let done = state.step(batch?, pace, settings)?;
            state.cursor.add(done.loss_sum, done.correct, done.samples, &mut start);
            if regime.save_every > 0 && state.cursor.steps_done.is_multiple_of(regime.save_every as u64) {
                watch.save(state)?;
            }
            if !watch.step(&state.cursor.report(steps)) {
                return Ok(Stop::Watcher);
            }
            let is_last = place.step + 1 >= place.steps;
            if regime.time_seconds > 0.0 && !is_last && state.cursor.seconds() >= regime.time_seconds {
                return Ok(Stop::OutOfTime);
            }
        }
        Ok(Stop::AllDone)
    })
}

impl FitSettings {
    /// Returns the plan for the batches of an epoch, counted from 0.
    pub(super) fn plan(&self, learner: &impl Learner, epoch: usize) -> BatchPlan {
        let parameters = learner.trained().iter().map(|parameter| parameter.values.len()).sum::<usize>();
        BatchPlan {
            seed: self.seed,
            epoch,
            batch_size: self.batch_size,
            min_steps: self.regime.min_epoch_steps.min(UPDATES / parameters.max(1)),
            dropout: learner.networks().into_iter().flat_map(Network::dropout).collect(),
            augment: self.regime.augment,
            mixup: self.regime.mixup,
            cutmix: self.regime.cutmix,
            label_smoothing: self.regime.label_smoothing,
            noise: learner.noise(),
        }
    }
}

impl<M: Learner> FitState<M> {
    /// One pass and one step.
    ///
    /// # Errors
    /// [`Error::Diverged`] when the loss is not a number; nothing is moved then.
    pub(super) fn step(&mut self, batch: Batch, pace: Pace, settings: &FitSettings) -> Result<StepDone> {
        let samples = batch.rows();
        let mut pass = self.model.pass(batch)?;
        if !pass.loss_sum.is_finite() {
            let (epoch, batch) = (self.cursor.epoch + 1, self.cursor.step + 1);
            return Err(Error::Diverged { loss: pass.loss_sum, epoch, batch });
        }
        if settings.regime.clip_norm > 0.0 {
            clip(&mut pass.gradients, settings.regime.clip_norm);
        }
        self.cursor.steps_done += 1;
        self.cursor.learning_rate = settings.optimizer.learning_rate() * pace.factor;
        let step = settings.optimizer.step(pace.factor, pace.dip, self.cursor.steps_done);
        let parameters = self.model.networks_mut().into_iter().flat_map(Network::parameters_mut);
        for ((parameter, slots), gradient) in parameters.zip(&mut self.slots).zip(&pass.gradients) {
            step.apply(parameter, slots, gradient);
        }
        if let Some(average) = &mut self.average {
            average.add(&self.model, settings.regime.ema_decay, self.cursor.steps_done);
        }
        Ok(StepDone { loss_sum: pass.loss_sum, correct: pass.correct, samples })
    }
}
