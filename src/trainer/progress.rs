//! The progress of a run, as it is told to a watcher.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::network::Parameter;
use crate::error::Result;

/// The score of a model on some samples.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Score {
    /// The number of samples.
    pub samples: u64,
    /// Mean loss: cross-entropy in nats; of an autoencoder −ELBO in nats; of numbers the squared error, the
    /// variance of the training data being 1.
    pub loss: f64,
    /// Share of samples whose most probable class is right, 0 to 1; of an autoencoder, of pixels that are more
    /// likely right than wrong. Numbers have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accuracy: Option<f64>,
}

/// The result of one step.
#[derive(Debug, Clone, Copy)]
pub struct StepReport {
    /// The epoch, from 1.
    pub epoch: usize,
    /// Steps done in this epoch.
    pub step: usize,
    /// Steps of an epoch.
    pub steps: usize,
    /// Mean loss of this epoch so far, in the unit of [`Score`].
    pub loss: f64,
    /// Accuracy of this epoch so far, with dropout on, if there is one; see [`Score`].
    pub accuracy: Option<f64>,
    /// Samples per second over this epoch.
    pub samples_per_second: f64,
    /// The learning rate used.
    pub learning_rate: f64,
}

/// The result of one epoch, whole or cut short by time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EpochReport {
    /// The epoch, from 1.
    pub epoch: usize,
    /// Mean loss over the epoch, with dropout on, in the unit of [`Score`].
    pub loss: f64,
    /// Accuracy over the epoch, with dropout on, if there is one; see [`Score`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accuracy: Option<f64>,
    /// Loss and accuracy on the validation data afterwards.
    pub validation: Option<Score>,
    /// The learning rate of the last step.
    pub learning_rate: f64,
    /// Samples per second.
    #[serde(rename = "images_per_second")]
    pub samples_per_second: f64,
    /// Wall time, validation included.
    pub duration_seconds: f64,
}

impl EpochReport {
    /// Returns the unit of the losses of a run, in words.
    pub(super) fn loss_unit(history: &[Self]) -> &'static str {
        if history.iter().all(|epoch| epoch.accuracy.is_some()) { "nats" } else { "standardised squares" }
    }

    /// Returns the loss by which epochs are compared: on the validation data if there are any, else on the training
    /// data.
    pub(super) fn judged_loss(&self) -> f64 {
        self.validation.map_or(self.loss, |summary| summary.loss)
    }
}

/// The state of a run, as it can be saved.
pub trait Snapshot {
    /// Writes it as a checkpoint.
    ///
    /// # Errors
    /// [`Error::Io`](crate::error::Error::Io).
    fn save(&self, path: &Path) -> Result<()>;

    /// Steps done in all.
    fn steps_done(&self) -> u64;
}

/// A watcher, which may stop the run between two steps.
pub trait Watch {
    /// After every step; true to go on.
    fn step(&mut self, report: &StepReport) -> bool;
    /// After every epoch.
    ///
    /// # Errors
    /// An error ends the run.
    fn epoch(&mut self, report: &EpochReport) -> Result<()>;
    /// After every epoch, with the parameters as they are then.
    ///
    /// # Errors
    /// An error ends the run.
    fn weights(&mut self, _epoch: usize, _parameters: &[&Parameter]) -> Result<()> {
        Ok(())
    }
    /// Before a version is published, with the folder in which it is complete.
    ///
    /// # Errors
    /// An error keeps it from being published.
    fn staged(&mut self, _folder: &Path) -> Result<()> {
        Ok(())
    }
    /// Where a run that dies could go on from: after every epoch, and every so many steps.
    ///
    /// # Errors
    /// An error ends the run.
    fn save(&mut self, _state: &dyn Snapshot) -> Result<()> {
        Ok(())
    }
}
