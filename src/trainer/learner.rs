//! The interface between the training loop and a model of any task.

use super::batches::Batch;
use super::dataset::Dataset;
use super::network::{Network, Parameter};
use super::progress::Score;
use crate::error::Result;

/// Samples that one validation pass takes at a time.
pub(super) const VALIDATION_BATCH: usize = 1000;

/// The result of a forward and backward pass over a batch.
#[derive(Debug)]
pub struct Pass {
    /// Sum of the losses of the samples.
    pub(super) loss_sum: f64,
    /// Samples whose most probable class was right; of an autoencoder, the sum of the shares of their pixels
    /// that were; `None` when numbers are learned.
    pub(super) correct: Option<f64>,
    /// The gradient of the mean loss for each parameter, network by network.
    pub(super) gradients: Vec<Vec<f32>>,
}

/// Something with parameters and a loss.
pub trait Learner {
    /// Its networks.
    fn networks(&self) -> Vec<&Network>;

    /// Its networks, to be changed.
    fn networks_mut(&mut self) -> Vec<&mut Network>;

    /// Random numbers that it takes with each sample; if it does, pixels are drawn black or white.
    fn noise(&self) -> Option<usize> {
        None
    }

    /// Forward and backward over one batch.
    ///
    /// # Errors
    /// [`Error::Internal`](crate::error::Error::Internal) when the samples do not fit the network.
    fn pass(&mut self, batch: Batch) -> Result<Pass>;

    /// Loss and accuracy on data that it was not trained on.
    ///
    /// # Errors
    /// [`Error::Internal`](crate::error::Error::Internal) when the samples do not fit the network.
    fn validate(&self, data: &Dataset) -> Result<Score>;

    /// Its parameters, network by network.
    fn trained(&self) -> Vec<&Parameter> {
        self.networks().into_iter().flat_map(Network::parameters).collect()
    }

    /// Parameters and statistics: all that makes it what it is.
    fn all_arrays(&self) -> Vec<&Parameter> {
        self.networks().into_iter().flat_map(Network::arrays).collect()
    }

    /// The same, to be changed.
    fn all_arrays_mut(&mut self) -> Vec<&mut Parameter> {
        self.networks_mut().into_iter().flat_map(Network::arrays_mut).collect()
    }
}
