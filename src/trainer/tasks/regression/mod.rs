//! Regression: a network whose output is one number, standardised while it is trained.

mod evaluate;
pub(super) mod events;
mod loss;
mod release;
mod report;

pub use self::evaluate::{EvaluatedNumbers, evaluate_numbers};
pub use self::report::RegressionReport;
use super::{Finished, TaskRelease};

use crate::error::Result;
use crate::layers::Architecture;
use crate::trainer::batches::Batch;
use crate::trainer::dataset::Dataset;
use crate::trainer::learner::{Learner, Pass, VALIDATION_BATCH};
use crate::trainer::members::Members;
use crate::trainer::network::Network;
use crate::trainer::progress::Score;

/// A network that gives a number, or several whose numbers are averaged.
#[derive(Debug, Clone)]
pub struct Regressor {
    members: Members,
}

impl Regressor {
    /// Makes a regressor with fresh parameters from the seed.
    ///
    /// # Errors
    /// As [`Architecture::plan`].
    pub fn new(architecture: &Architecture, seed: u64) -> Result<Self> {
        Self::ensemble(architecture, seed, 1)
    }

    /// Makes several networks from the seed that give the mean of their numbers.
    ///
    /// # Errors
    /// As [`Architecture::plan`].
    pub fn ensemble(architecture: &Architecture, seed: u64, members: usize) -> Result<Self> {
        Ok(Self { members: Members::new(architecture, seed, members)? })
    }

    /// Returns the network from a sample to the number; of several the first.
    pub fn network(&self) -> &Network {
        &self.members.networks()[0]
    }

    /// Returns the numbers for samples of raw input, before the last scale.
    ///
    /// # Errors
    /// As [`Network::logits`].
    pub(in crate::trainer) fn numbers(&self, samples: &[f32]) -> Result<Vec<f32>> {
        self.members.logits(samples)
    }

    pub(super) fn release(&self, run: &Finished<'_>) -> Result<TaskRelease> {
        release::release(self, run)
    }
}

impl Learner for Regressor {
    fn networks(&self) -> Vec<&Network> {
        self.members.networks().iter().collect()
    }

    fn networks_mut(&mut self) -> Vec<&mut Network> {
        self.members.networks_mut().iter_mut().collect()
    }

    /// The loss is the squared error, whose gradient is known in closed form.
    fn pass(&mut self, batch: Batch) -> Result<Pass> {
        let rows = batch.rows();
        let Batch { inputs, values, dropout, .. } = batch;
        let (loss_sum, _, gradients) =
            self.members.pass((inputs, rows), dropout, |outputs| (loss::squared_error(outputs, &values), 0))?;
        Ok(Pass { loss_sum, correct: None, gradients })
    }

    fn validate(&self, data: &Dataset) -> Result<Score> {
        let mut loss = 0.0;
        for range in data.chunks(VALIDATION_BATCH) {
            let outputs = self.members.logits(&data.inputs(range.clone())?)?;
            loss += loss::of_values(&outputs, &data.values()[range]);
        }
        Ok(Score { samples: data.len() as u64, loss: loss / data.len() as f64, accuracy: None })
    }
}
