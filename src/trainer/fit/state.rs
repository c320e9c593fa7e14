//! Where a run stands: everything needed to go on as if it had never stopped.

use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::FitSettings;
use crate::trainer::learner::Learner;
use crate::trainer::network::Parameter;
use crate::trainer::optimizer::{Average, Slots};
use crate::trainer::progress::{EpochReport, Score, StepReport};

/// The state of a run.
#[derive(Debug, Clone)]
pub struct FitState<M> {
    /// The model that is fitted.
    pub model: M,
    /// The optimiser's slots for each parameter.
    pub(in crate::trainer) slots: Vec<Slots>,
    /// The names of those.
    pub(in crate::trainer) slot_names: &'static [&'static str],
    /// The moving average of the network, if there is one.
    pub(in crate::trainer) average: Option<Average>,
    /// Parameters and statistics of the best epoch so far, if it is to be kept.
    pub(in crate::trainer) best: Option<Vec<Parameter>>,
    pub(super) cursor: Cursor,
}

/// The place in a run, and what is summed up so far.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Cursor {
    /// Whole epochs done.
    pub(in crate::trainer) epoch: usize,
    /// Steps done in the present epoch.
    pub(in crate::trainer) step: usize,
    /// Steps done in all.
    pub(in crate::trainer) steps_done: u64,
    loss_sum: f64,
    correct: Option<f64>,
    seen: usize,
    /// The learning rate of the last step.
    #[serde(default)]
    pub(super) learning_rate: f64,
    /// Time spent on the present epoch, in seconds.
    epoch_seconds: f64,
    /// The epoch whose parameters are kept, from 1.
    #[serde(default)]
    pub(in crate::trainer) best_epoch: Option<usize>,
    /// Why it ended before its last epoch, if it did.
    #[serde(default)]
    pub(in crate::trainer) ending: Option<Ending>,
    /// Whole epochs, oldest first.
    #[serde(default)]
    pub(in crate::trainer) history: Vec<EpochReport>,
}

/// Why a run ended before its last epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ending {
    /// The loss on the validation data had not fallen for as long as it was given.
    OutOfPatience,
    /// Its time was up.
    OutOfTime,
}

impl<M: Learner> FitState<M> {
    /// The beginning of a run.
    pub fn new(model: M, settings: &FitSettings) -> Self {
        let slots = model.trained().into_iter().map(|parameter| settings.optimizer.remember(parameter)).collect();
        let average = (settings.regime.ema_decay > 0.0).then(|| Average::of(&model));
        let slot_names = settings.optimizer.slots();
        Self { model, slots, slot_names, average, best: None, cursor: Cursor::default() }
    }

    /// Exchanges the network's arrays with their average, if there is one: twice is nothing.
    pub(super) fn swap_average(&mut self) {
        if let Some(average) = &mut self.average {
            average.swap(&mut self.model);
        }
    }

    /// Keeps the arrays as they are if the last epoch was the best so far.
    pub(super) fn keep_best(&mut self) {
        let score = |epoch: &EpochReport| epoch.validation.map(|summary| -summary.loss);
        let Some(last) = self.cursor.history.last() else { return };
        let best = self.cursor.best_epoch.and_then(|epoch| self.cursor.history.get(epoch - 1));
        if score(last).is_some() && best.is_none_or(|best| score(last) > score(best)) {
            self.cursor.best_epoch = Some(last.epoch);
            self.best = Some(self.model.all_arrays().into_iter().cloned().collect());
        }
    }

    /// Takes what the run is to give: the best epoch's arrays if they were kept, else the average if there is one.
    pub(super) fn conclude(&mut self) {
        let chosen = self.best.as_ref().or(self.average.as_ref().map(|average| &average.arrays));
        for (array, chosen) in self.model.all_arrays_mut().into_iter().zip(chosen.into_iter().flatten()) {
            array.values.clone_from(&chosen.values);
        }
    }

    /// The epochs done so far.
    pub fn history(&self) -> &[EpochReport] {
        &self.cursor.history
    }

    /// The epoch whose weights were kept, from 1.
    pub fn best_epoch(&self) -> Option<usize> {
        self.cursor.best_epoch
    }

    /// Why it ended before its last epoch, if it did.
    pub fn ending(&self) -> Option<Ending> {
        self.cursor.ending
    }
}

impl Cursor {
    pub(super) fn add(&mut self, loss_sum: f64, correct: Option<f64>, samples: usize, since: &mut Instant) {
        let now = Instant::now();
        self.epoch_seconds += (now - std::mem::replace(since, now)).as_secs_f64();
        self.step += 1;
        self.loss_sum += loss_sum;
        self.correct = correct.map(|correct| self.correct.unwrap_or(0.0) + correct);
        self.seen += samples;
    }

    /// Seconds that the run took so far, without the time between an interruption and going on.
    pub(super) fn seconds(&self) -> f64 {
        self.history.iter().map(|epoch| epoch.duration_seconds).sum::<f64>() + self.epoch_seconds
    }

    pub(super) fn report(&self, steps: usize) -> StepReport {
        let seen = self.seen.max(1) as f64;
        StepReport {
            epoch: self.epoch + 1,
            step: self.step,
            steps,
            loss: self.loss_sum / seen,
            accuracy: self.correct.map(|correct| correct / seen),
            samples_per_second: self.seen as f64 / self.epoch_seconds.max(1e-9),
            learning_rate: self.learning_rate,
        }
    }

    pub(super) fn finish_epoch(&mut self, validation: Option<Score>, validating: Duration) -> EpochReport {
        let last = self.report(self.step);
        let report = EpochReport {
            epoch: last.epoch,
            loss: last.loss,
            accuracy: last.accuracy,
            validation,
            learning_rate: last.learning_rate,
            samples_per_second: last.samples_per_second,
            duration_seconds: self.epoch_seconds + validating.as_secs_f64(),
        };
        let mut history = std::mem::take(&mut self.history);
        history.push(report.clone());
        let (steps_done, best_epoch, ending) = (self.steps_done, self.best_epoch, self.ending);
        *self = Self { epoch: self.epoch + 1, steps_done, best_epoch, ending, history, ..Self::default() };
        report
    }
}
