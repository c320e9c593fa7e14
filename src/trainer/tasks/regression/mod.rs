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
use crate::trainer::network::{Network, PassInput};
use crate::trainer::progress::Score;

/// A network that gives a number.
#[derive(Debug, Clone)]
pub struct Regressor {
    network: Network,
}

impl Regressor {
    /// Makes a regressor with fresh parameters from the seed.
    ///
    /// # Errors
    /// As [`Architecture::plan`].
    pub fn new(architecture: &Architecture, seed: u64) -> Result<Self> {
        Ok(Self { network: Network::new(architecture, seed)? })
    }

    /// Returns the network from a sample to the number.
    pub fn network(&self) -> &Network {
        &self.network
    }

    pub(super) fn release(&self, run: &Finished<'_>) -> Result<TaskRelease> {
        release::release(self, run)
    }
}

impl Learner for Regressor {
    fn networks(&self) -> Vec<&Network> {
        vec![&self.network]
    }

    fn networks_mut(&mut self) -> Vec<&mut Network> {
        vec![&mut self.network]
    }

    /// The loss is the squared error, whose gradient is known in closed form.
    fn pass(&mut self, batch: Batch) -> Result<Pass> {
        let rows = batch.rows();
        let Batch { inputs, values, dropout, .. } = batch;
        let mut loss_sum = 0.0;
        let input = PassInput { values: inputs, rows, masks: dropout };
        let gradients = self.network.pass_through(input, false, |outputs| {
            loss_sum = loss::squared_error(outputs, &values);
            Ok(())
        })?;
        Ok(Pass { loss_sum, correct: None, gradients: gradients.parameters })
    }

    fn validate(&self, data: &Dataset) -> Result<Score> {
        let mut loss = 0.0;
        for range in data.chunks(VALIDATION_BATCH) {
            let outputs = self.network.logits(&data.inputs(range.clone())?)?;
            loss += loss::of_values(&outputs, &data.values()[range]);
        }
        Ok(Score { samples: data.len() as u64, loss: loss / data.len() as f64, accuracy: None })
    }
}
