//! The variational autoencoder (Kingma and Welling 2014, "Auto-Encoding Variational Bayes"): an encoder from
//! an image to the mean and log variance of a normal distribution over codes, and a decoder from a code to
//! the logits of pixels that are on or off.
//!
//! The loss of a sample is −ELBO in nats, with one draw of the code: −ln p(x|z) + KL(q(z|x) ‖ N(0, 1)). Images
//! are binarised anew whenever they are drawn; that is what every likelihood here is of.

#[cfg(test)]
mod check;
mod evaluate;
pub(super) mod events;
mod export;
mod parity;
mod pictures;
mod posterior;
mod release;
mod report;

pub use self::evaluate::Importance;
use self::posterior::Posterior;
pub use self::release::evaluate_autoencoder;
pub use self::report::ReconstructionReport;
use super::{Finished, TaskRelease};
use crate::error::{Error, Result};
use crate::layers::Architecture;
use crate::stats::standard_normal;
use crate::trainer::batches::{Batch, binarise};
use crate::trainer::dataset::Dataset;
use crate::trainer::kernels::{bernoulli_back, bernoulli_log_likelihood};
use crate::trainer::learner::{Learner, Pass, VALIDATION_BATCH};
use crate::trainer::network::{Network, PassInput};
use crate::trainer::progress::Score;
use crate::trainer::random::keyed_rng;

/// A variational autoencoder.
#[derive(Debug, Clone)]
pub struct Autoencoder {
    encoder: Network,
    decoder: Network,
    latent: usize,
}

impl Autoencoder {
    /// An autoencoder with fresh parameters from the seed.
    ///
    /// # Errors
    /// [`Error::Config`] when the two do not fit together, or the decoder does not begin with a dense layer.
    pub fn new(encoder: &Architecture, decoder: &Architecture, seed: u64) -> Result<Self> {
        let encoder = Network::part(encoder, seed, 0, "encoder.")?;
        let decoder = Network::part(decoder, seed, 1, "decoder.")?;
        let refuse = |problem| Err(Error::Config { setting: "autoencoder".into(), problem });
        let (code, latent) = (encoder.architecture().output()?, decoder.architecture().input.clone());
        let &[latent] = latent.as_slice() else {
            return refuse(format!("the decoder must take a code of one dimension, got {latent:?}"));
        };
        if code != [2 * latent] || latent == 0 {
            return refuse(format!("an encoder to {code:?} does not give mean and log variance of {latent} numbers"));
        }
        let pixels: usize = encoder.architecture().input.iter().product();
        let logits: usize = decoder.architecture().output()?.iter().product();
        if logits != pixels {
            return refuse(format!("the decoder must give {pixels} logits, one for each pixel, got {logits}"));
        }
        if !decoder.begins_dense() {
            return refuse("the decoder must begin with a dense layer".into());
        }
        Ok(Self { encoder, decoder, latent })
    }

    /// The network from an image to `[mean…, log variance…]`.
    pub fn encoder(&self) -> &Network {
        &self.encoder
    }

    /// The network from a code to logits.
    pub fn decoder(&self) -> &Network {
        &self.decoder
    }

    /// The numbers of a code.
    pub fn latent(&self) -> usize {
        self.latent
    }

    pub(super) fn release(&self, run: &Finished<'_>) -> Result<TaskRelease> {
        release::release(self, run)
    }
}

impl Learner for Autoencoder {
    fn networks(&self) -> Vec<&Network> {
        vec![&self.encoder, &self.decoder]
    }

    fn networks_mut(&mut self) -> Vec<&mut Network> {
        vec![&mut self.encoder, &mut self.decoder]
    }

    fn noise(&self) -> Option<usize> {
        Some(self.latent)
    }

    /// The decoder's pass is made within the encoder's loss, which needs the gradient of the code.
    fn pass(&mut self, batch: Batch) -> Result<Pass> {
        let Batch { inputs: pixels, labels, mut dropout, noise, .. } = batch;
        let (rows, latent) = (labels.len(), self.latent);
        let targets: Vec<f32> = pixels.iter().map(|pixel| pixel / 255.0).collect();
        let decoder_masks = dropout.split_off(self.encoder.dropout().len());
        let scale = 1.0 / rows as f32;
        let (mut loss_sum, mut correct, mut of_decoder) = (0.0, 0.0, Vec::new());
        let input = PassInput { values: pixels, rows, masks: dropout };
        let decoder = &mut self.decoder;
        let of_encoder = self.encoder.pass_through(input, false, |codes| {
            let posterior = Posterior { latent };
            let input = PassInput { values: posterior.sample(codes, &noise), rows, masks: decoder_masks };
            loss_sum = posterior.divergences(codes).sum();
            let gradients = decoder.pass_through(input, true, |logits| {
                loss_sum -= bernoulli_log_likelihood(logits, &targets);
                correct = right_pixels(logits, &targets) as f64 * rows as f64 / targets.len() as f64;
                bernoulli_back(logits, &targets, scale);
                Ok(())
            })?;
            posterior.backward(codes, &noise, &gradients.input.unwrap_or_default(), scale);
            of_decoder = gradients.parameters;
            Ok(())
        })?;
        let mut gradients = of_encoder.parameters;
        gradients.append(&mut of_decoder);
        Ok(Pass { loss_sum, correct: Some(correct), gradients })
    }

    /// The images and the codes are drawn alike in every epoch of every run, so that figures can be compared.
    fn validate(&self, data: &Dataset) -> Result<Score> {
        let posterior = Posterior { latent: self.latent };
        let (mut loss, mut right) = (0.0, 0);
        let every: Vec<usize> = (0..data.len()).collect();
        for indices in every.chunks(VALIDATION_BATCH) {
            let (mut pixels, mut noise) = (Vec::new(), Vec::new());
            for &index in indices {
                let key = |purpose| keyed_rng(0, purpose, 0, index as u64);
                let mut image = data.inputs(index..index + 1)?;
                binarise(&mut image, &mut key("val-pix"));
                pixels.append(&mut image);
                standard_normal(&mut key("val-code"), self.latent, &mut noise);
            }
            let codes = self.encoder.logits(&pixels)?;
            let logits = self.decoder.logits(&posterior.sample(&codes, &noise))?;
            pixels.iter_mut().for_each(|pixel| *pixel /= 255.0);
            loss += posterior.divergences(&codes).sum::<f64>() - bernoulli_log_likelihood(&logits, &pixels);
            right += right_pixels(&logits, &pixels);
        }
        let samples = data.len() as u64;
        let accuracy = right as f64 / (data.len() * data.image_len()).max(1) as f64;
        Ok(Score { samples, loss: loss / samples.max(1) as f64, accuracy: Some(accuracy) })
    }
}

/// Pixels that are on where that is the likelier, and off where it is not.
fn right_pixels(logits: &[f32], targets: &[f32]) -> usize {
    logits.iter().zip(targets).filter(|(logit, target)| (**logit > 0.0) == (**target > 0.5)).count()
}
