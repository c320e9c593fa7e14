//! Classification: a network whose outputs are the logits of classes.

mod evaluate;
pub(super) mod events;
mod loss;
mod pictures;
mod release;
pub(super) mod report;

pub(in crate::trainer) use self::evaluate::predict;
pub use self::evaluate::{Evaluated, evaluate_version};
pub use self::report::{ClassificationReport, ShownMistake, confusions, label};
use super::{Finished, TaskRelease};

use crate::error::Result;
use crate::layers::Architecture;
use crate::repository::GoldenAnswer;
use crate::trainer::batches::Batch;
use crate::trainer::dataset::Dataset;
use crate::trainer::learner::{Learner, Pass, VALIDATION_BATCH};
use crate::trainer::network::{Network, PassInput};
use crate::trainer::progress::Score;

/// A network that classifies.
#[derive(Debug, Clone)]
pub struct Classifier {
    network: Network,
}

impl Classifier {
    /// Makes a classifier with fresh parameters from the seed.
    ///
    /// # Errors
    /// As [`Architecture::plan`].
    pub fn new(architecture: &Architecture, seed: u64) -> Result<Self> {
        Ok(Self { network: Network::new(architecture, seed)? })
    }

    /// Returns the network from a sample to logits.
    pub fn network(&self) -> &Network {
        &self.network
    }

    pub(super) fn release(&self, run: &Finished<'_>) -> Result<TaskRelease> {
        release::release(self, run)
    }
}

/// Returns the golden answer that an output of probabilities is.
pub(in crate::trainer) fn answer(output: &[f32]) -> GoldenAnswer {
    GoldenAnswer::Classification { probabilities: output.to_vec() }
}

impl Learner for Classifier {
    fn networks(&self) -> Vec<&Network> {
        vec![&self.network]
    }

    fn networks_mut(&mut self) -> Vec<&mut Network> {
        vec![&mut self.network]
    }

    /// The loss is the cross-entropy of the softmax of the logits z with the targets t, which are one-hot or
    /// soft. Its gradient is known in closed form, dL/dz = (softmax(z) - t) / N, so no chain of logarithms and
    /// look-ups is differentiated.
    fn pass(&mut self, batch: Batch) -> Result<Pass> {
        let rows = batch.rows();
        let Batch { inputs, labels, targets, weights, dropout, .. } = batch;
        let (mut loss_sum, mut correct) = (0.0, 0);
        let input = PassInput { values: inputs, rows, masks: dropout };
        let gradients = self.network.pass_through(input, false, |logits| {
            (loss_sum, correct) = match targets.as_slice() {
                [] => loss::cross_entropy(logits, &labels, &weights),
                targets => loss::soft_cross_entropy(logits, &labels, &weights, targets),
            };
            Ok(())
        })?;
        Ok(Pass { loss_sum, correct: Some(correct as f64), gradients: gradients.parameters })
    }

    fn validate(&self, data: &Dataset) -> Result<Score> {
        let (mut loss, mut correct) = (0.0, 0);
        for range in data.chunks(VALIDATION_BATCH) {
            let logits = self.network.logits(&data.inputs(range.clone())?)?;
            let (of_these, right) = loss::of_classes(&logits, &data.labels()[range]);
            loss += of_these;
            correct += right;
        }
        let samples = data.len() as f64;
        Ok(Score { samples: data.len() as u64, loss: loss / samples, accuracy: Some(correct as f64 / samples) })
    }
}
