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
use crate::tensor::Tensor;
use crate::trainer::batches::Batch;
use crate::trainer::dataset::Dataset;
use crate::trainer::learner::{Learner, Pass, VALIDATION_BATCH};
use crate::trainer::members::Members;
use crate::trainer::network::Network;
use crate::trainer::progress::Score;

/// A network that classifies, or several whose logits are averaged.
#[derive(Debug, Clone)]
pub struct Classifier {
    members: Members,
}

impl Classifier {
    /// Makes a classifier with fresh parameters from the seed.
    ///
    /// # Errors
    /// As [`Architecture::plan`].
    pub fn new(architecture: &Architecture, seed: u64) -> Result<Self> {
        Self::ensemble(architecture, seed, 1)
    }

    /// Makes several networks from the seed that classify together.
    ///
    /// # Errors
    /// As [`Architecture::plan`].
    pub fn ensemble(architecture: &Architecture, seed: u64, members: usize) -> Result<Self> {
        Ok(Self { members: Members::new(architecture, seed, members)? })
    }

    /// Returns the network from a sample to logits; of several the first.
    pub fn network(&self) -> &Network {
        &self.members.networks()[0]
    }

    pub(super) fn release(&self, run: &Finished<'_>) -> Result<TaskRelease> {
        release::release(self, run)
    }
}

/// Returns the golden answer that an output of probabilities is.
///
/// # Errors
/// [`Error::InvalidInput`](crate::error::Error::InvalidInput) when the output is not of 32-bit floats.
pub(in crate::trainer) fn answer(output: &Tensor) -> Result<GoldenAnswer> {
    Ok(GoldenAnswer::Classification { probabilities: output.floats()?.to_vec() })
}

impl Learner for Classifier {
    fn networks(&self) -> Vec<&Network> {
        self.members.networks().iter().collect()
    }

    fn networks_mut(&mut self) -> Vec<&mut Network> {
        self.members.networks_mut().iter_mut().collect()
    }

    /// The loss is the cross-entropy of the softmax of the logits z with the targets t, which are one-hot or
    /// soft. Its gradient is known in closed form, dL/dz = (softmax(z) - t) / N, so no chain of logarithms and
    /// look-ups is differentiated.
    fn pass(&mut self, batch: Batch) -> Result<Pass> {
        let rows = batch.rows();
        let Batch { inputs, labels, targets, weights, dropout, .. } = batch;
        let (loss_sum, correct, gradients) =
            self.members.pass((inputs, rows), dropout, |logits| match targets.as_slice() {
                [] => loss::cross_entropy(logits, &labels, &weights),
                targets => loss::soft_cross_entropy(logits, &labels, &weights, targets),
            })?;
        Ok(Pass { loss_sum, correct: Some(correct), gradients })
    }

    fn validate(&self, data: &Dataset) -> Result<Score> {
        let (mut loss, mut correct) = (0.0, 0);
        for range in data.chunks(VALIDATION_BATCH) {
            let logits = self.members.logits(&data.inputs(range.clone())?)?;
            let (of_these, right) = loss::of_classes(&logits, &data.labels()[range]);
            loss += of_these;
            correct += right;
        }
        let samples = data.len() as f64;
        Ok(Score { samples: data.len() as u64, loss: loss / samples, accuracy: Some(correct as f64 / samples) })
    }
}
