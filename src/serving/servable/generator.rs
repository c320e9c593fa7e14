//! The decoder of an autoencoder: a second runner of its version, with a lane, limits and metrics of its own.

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use super::fit::unusable;
use super::prediction::not_finite;
use crate::error::Result;
use crate::repository::INTENSITIES;
use crate::serving::execution::Runner;
use crate::signature::{Batching, DType, ImageTransform, TensorSpec};
use crate::stats::standard_normal;
use crate::tensor::Tensor;
use crate::transform::Picture;

/// Makes images of codes.
#[derive(Debug)]
pub struct Generator {
    decoder: Runner,
    latent: usize,
    /// Width and height of an image.
    size: [usize; 2],
    /// The output that holds them.
    intensities: usize,
}

impl Generator {
    /// Takes a decoder into use that was read from this file and makes the images of this transform.
    ///
    /// # Errors
    /// [`crate::error::Error::Repository`] when it does not fit them.
    pub(crate) fn new(decoder: Runner, file: &str, image: &ImageTransform) -> Result<Self> {
        let signature = decoder.signature();
        let size = [image.width() as usize, image.height() as usize];
        let elements = |spec: &TensorSpec| -> Option<usize> {
            let fits = spec.dtype == DType::Float32 && signature.batching() == Batching::Any;
            spec.sample_shape().filter(|_| fits).map(|shape| shape.iter().product())
        };
        let intensities = signature.outputs.iter().position(|output| output.name == INTENSITIES);
        let pixels = intensities.and_then(|output| elements(&signature.outputs[output]));
        let latent = match signature.inputs.as_slice() {
            [code] if code.shape.len() == 2 => elements(code),
            _ => None,
        };
        match (latent, intensities) {
            (Some(latent @ 1..), Some(intensities)) if pixels == Some(size[0] * size[1]) => {
                Ok(Self { decoder, latent, size, intensities })
            }
            _ => Err(unusable(format!(
                "{file} must make an output \"{INTENSITIES}\" of {} × {} pixels of codes [N, numbers]: {signature:?}",
                image.width(),
                image.height()
            ))),
        }
    }

    /// Returns the decoder.
    pub fn decoder(&self) -> &Runner {
        &self.decoder
    }

    /// Returns the length of a code.
    pub fn latent(&self) -> usize {
        self.latent
    }

    /// Returns codes drawn from the standard normal distribution, row by row. Each depends on the seed and its
    /// place alone, so asking for more gives the same ones first.
    pub fn draw(&self, seed: u64, count: usize) -> Vec<f32> {
        let mut codes = Vec::with_capacity(count * self.latent);
        for place in 0..count as u64 {
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            rng.set_stream(place);
            standard_normal(&mut rng, self.latent, &mut codes);
        }
        codes
    }

    /// Returns the images in the decoder's outputs.
    ///
    /// # Errors
    /// [`crate::error::Error::InvalidInput`] when an intensity is not a finite number.
    pub fn pictures(&self, outputs: &[Tensor]) -> Result<Vec<Picture>> {
        let intensities = &outputs[self.intensities];
        if intensities.data().has_non_finite() {
            return Err(not_finite(None));
        }
        let [width, height] = self.size;
        let rows = intensities.float_rows().map_err(|error| self.decoder.failed(error))?;
        Ok(rows.map(|row| Picture::of_intensities(row, width, height)).collect())
    }
}
