//! The training loop.

use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::batches::BatchPlan;
use super::dataset::Dataset;
use super::network::{Network, Parameter};
use super::optimizer::{AdamSettings, AdamStep, Moments};
use super::regime::Regime;
use crate::error::{Error, Result};
use crate::stats::{Summary, argmax};

/// Samples that one validation pass takes at a time.
const VALIDATION_BATCH: usize = 1000;

/// How a network is fitted.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FitSettings {
    /// Passes over the training data.
    pub epochs: usize,
    /// Samples per step.
    pub batch_size: usize,
    /// The seed of everything random.
    pub seed: u64,
    /// The optimiser.
    pub adam: AdamSettings,
    /// What is done besides.
    #[serde(default)]
    pub regime: Regime,
}

/// Where a run stands: everything needed to go on as if it had never stopped.
#[derive(Debug, Clone)]
pub struct FitState {
    /// The network.
    pub network: Network,
    pub(super) moments: Vec<Moments>,
    /// Parameters and statistics of the best epoch so far, if it is to be kept.
    pub(super) best: Option<Vec<Parameter>>,
    pub(super) cursor: Cursor,
}

/// The place in a run, and what is summed up so far.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Cursor {
    /// Whole epochs done.
    pub(super) epoch: usize,
    /// Steps done in the present epoch.
    pub(super) step: usize,
    /// Steps done in all.
    pub(super) steps_done: u64,
    loss_sum: f64,
    correct: usize,
    seen: usize,
    /// The step size of the last step.
    #[serde(default)]
    learning_rate: f64,
    /// Time spent on the present epoch, in seconds.
    epoch_seconds: f64,
    /// The epoch whose parameters are kept, from 1.
    #[serde(default)]
    pub(super) best_epoch: Option<usize>,
    /// Whole epochs, oldest first.
    pub(super) history: Vec<EpochReport>,
}

/// What one step did.
#[derive(Debug, Clone, Copy)]
pub struct StepReport {
    /// The epoch, from 1.
    pub epoch: usize,
    /// Steps done in this epoch.
    pub step: usize,
    /// Steps of an epoch.
    pub steps: usize,
    /// Mean loss of this epoch so far, in nats.
    pub loss: f64,
    /// Accuracy of this epoch so far, with dropout on.
    pub accuracy: f64,
    /// Samples per second over this epoch.
    pub images_per_second: f64,
    /// The step size used.
    pub learning_rate: f64,
}

/// What one whole epoch did.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EpochReport {
    /// The epoch, from 1.
    pub epoch: usize,
    /// Mean loss over the epoch, in nats, with dropout on.
    pub loss: f64,
    /// Accuracy over the epoch, with dropout on.
    pub accuracy: f64,
    /// Loss and accuracy on the validation data afterwards.
    pub validation: Option<Summary>,
    /// The step size of the last step.
    pub learning_rate: f64,
    /// Samples per second.
    pub images_per_second: f64,
    /// Wall time, validation included.
    pub duration_seconds: f64,
}

/// Who looks on, and may stop the run between two steps.
pub trait Watch {
    /// After every step; true to go on.
    fn step(&mut self, report: &StepReport) -> bool;
    /// After every epoch.
    ///
    /// # Errors
    /// An error ends the run.
    fn epoch(&mut self, report: &EpochReport) -> Result<()>;
    /// After every epoch, with the network as it is then.
    ///
    /// # Errors
    /// An error ends the run.
    fn weights(&mut self, _epoch: usize, _network: &Network) -> Result<()> {
        Ok(())
    }
}

impl FitState {
    /// The beginning of a run.
    pub fn new(network: Network) -> Self {
        let moments = network.parameters().iter().map(|parameter| Moments::zeros(parameter.values.len())).collect();
        Self { network, moments, best: None, cursor: Cursor::default() }
    }

    /// Keeps the parameters as they are if the last epoch was the best so far.
    fn keep_best(&mut self) {
        let score = |epoch: &EpochReport| epoch.validation.map(|summary| -summary.loss);
        let Some(last) = self.cursor.history.last() else { return };
        let best = self.cursor.best_epoch.and_then(|epoch| self.cursor.history.get(epoch - 1));
        if score(last).is_some() && best.is_none_or(|best| score(last) > score(best)) {
            self.cursor.best_epoch = Some(last.epoch);
            self.best = Some(self.network.arrays().cloned().collect());
        }
    }

    /// Goes back to the best epoch's parameters, if they were kept.
    fn take_best(&mut self) {
        if let Some(best) = &self.best {
            for (array, best) in self.network.arrays_mut().zip(best) {
                array.values.clone_from(&best.values);
            }
        }
    }

    /// The epochs done so far.
    pub fn history(&self) -> &[EpochReport] {
        &self.cursor.history
    }
}

/// Trains to the last epoch, or until the watcher says stop; returns whether the end was reached.
///
/// # Errors
/// [`Error::Diverged`] when the loss is no longer a number.
pub fn fit(
    state: &mut FitState,
    train: &Dataset,
    validation: &Dataset,
    settings: &FitSettings,
    watch: &mut dyn Watch,
) -> Result<bool> {
    while state.cursor.epoch < settings.epochs {
        if !fit_epoch(state, train, settings, watch)? {
            return Ok(false);
        }
        let start = Instant::now();
        let summary = if validation.is_empty() { None } else { Some(validate(&state.network, validation)?) };
        let report = state.cursor.finish_epoch(summary, start.elapsed());
        if settings.regime.keep_best {
            state.keep_best();
        }
        watch.epoch(&report)?;
        watch.weights(report.epoch, &state.network)?;
    }
    state.take_best();
    Ok(true)
}

fn fit_epoch(state: &mut FitState, train: &Dataset, settings: &FitSettings, watch: &mut dyn Watch) -> Result<bool> {
    let dropout = state.network.dropout();
    let plan = BatchPlan {
        seed: settings.seed,
        epoch: state.cursor.epoch,
        batch_size: settings.batch_size,
        dropout,
        augment: settings.regime.augment,
    };
    let steps = plan.steps(train.len());
    let all_steps = (steps * settings.epochs) as u64;
    std::thread::scope(|scope| {
        let (batches, _producer) = plan.produce(scope, train, state.cursor.step);
        let mut start = Instant::now();
        for batch in batches {
            let samples = batch.labels.len();
            let pass = state.network.pass(batch)?;
            if !pass.loss_sum.is_finite() {
                let (epoch, batch) = (state.cursor.epoch + 1, state.cursor.step + 1);
                return Err(Error::Diverged { loss: pass.loss_sum, epoch, batch });
            }
            let factor = settings.regime.schedule.factor(state.cursor.steps_done, all_steps);
            let adam = AdamSettings { learning_rate: settings.adam.learning_rate * factor, ..settings.adam };
            state.cursor.steps_done += 1;
            let step = AdamStep::new(&adam, state.cursor.steps_done);
            let parameters = state.network.parameters_mut().iter_mut().zip(&mut state.moments);
            for ((parameter, moments), gradient) in parameters.zip(&pass.gradients) {
                step.apply(&mut parameter.values, moments, gradient);
            }
            state.cursor.learning_rate = adam.learning_rate;
            state.cursor.add(pass.loss_sum, pass.correct, samples, &mut start);
            if !watch.step(&state.cursor.report(steps)) {
                return Ok(false);
            }
        }
        Ok(true)
    })
}

impl Cursor {
    fn add(&mut self, loss_sum: f64, correct: usize, samples: usize, since: &mut Instant) {
        let now = Instant::now();
        self.epoch_seconds += (now - std::mem::replace(since, now)).as_secs_f64();
        self.step += 1;
        self.loss_sum += loss_sum;
        self.correct += correct;
        self.seen += samples;
    }

    fn report(&self, steps: usize) -> StepReport {
        let seen = self.seen.max(1) as f64;
        StepReport {
            epoch: self.epoch + 1,
            step: self.step,
            steps,
            loss: self.loss_sum / seen,
            accuracy: self.correct as f64 / seen,
            images_per_second: self.seen as f64 / self.epoch_seconds.max(1e-9),
            learning_rate: self.learning_rate,
        }
    }

    fn finish_epoch(&mut self, validation: Option<Summary>, validating: Duration) -> EpochReport {
        let last = self.report(self.step);
        let report = EpochReport {
            epoch: last.epoch,
            loss: last.loss,
            accuracy: last.accuracy,
            validation,
            learning_rate: last.learning_rate,
            images_per_second: last.images_per_second,
            duration_seconds: self.epoch_seconds + validating.as_secs_f64(),
        };
        let mut history = std::mem::take(&mut self.history);
        history.push(report.clone());
        let (steps_done, best_epoch) = (self.steps_done, self.best_epoch);
        *self = Self { epoch: self.epoch + 1, steps_done, best_epoch, history, ..Self::default() };
        report
    }
}

/// Loss and accuracy of the network itself, before any export.
fn validate(network: &Network, data: &Dataset) -> Result<Summary> {
    let (mut loss, mut correct) = (0.0, 0usize);
    for (images, labels) in
        data.pixels.chunks(VALIDATION_BATCH * data.image_len()).zip(data.labels.chunks(VALIDATION_BATCH))
    {
        let input: Vec<f32> = images.iter().map(|pixel| f32::from(*pixel)).collect();
        let logits = network.logits(&input)?;
        for (row, label) in logits.chunks_exact(data.classes).zip(labels) {
            let greatest = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            let sum: f64 = row.iter().map(|value| f64::from(value - greatest).exp()).sum();
            loss += sum.ln() - f64::from(row[usize::from(*label)] - greatest);
            correct += usize::from(argmax(row) == usize::from(*label));
        }
    }
    let samples = data.len() as f64;
    Ok(Summary { samples: data.len() as u64, loss: loss / samples, accuracy: correct as f64 / samples })
}
