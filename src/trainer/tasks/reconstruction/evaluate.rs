//! Scoring the graphs of an autoencoder on images, in the engine that serves them, on all cores.

use std::ops::Range;

use rayon::prelude::*;

use super::export::{DECODED, LOG_VARIANCE, MEAN, SCORE};
use super::posterior::Posterior;
use crate::engine::{Plan, Session};
use crate::error::{Error, Result};
use crate::stats::{ImportanceEstimate, LikelihoodEvaluation, active_units, log_mean_exp, standard_normal};
use crate::tensor::Tensor;
use crate::trainer::batches::binarise;
use crate::trainer::dataset::Dataset;
use crate::trainer::export::LOGITS;
use crate::trainer::kernels::bernoulli_log_likelihood;
use crate::trainer::random::keyed_rng;

/// Images that one thread takes at a time.
const CHUNK: usize = 100;

/// The tighter estimate of the likelihood: how many draws for each of how many images. Its cost is a run of
/// the decoder for each draw.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Importance {
    /// Draws for each image.
    pub draws: usize,
    /// Images, the first of the data.
    pub images: usize,
}

impl Default for Importance {
    fn default() -> Self {
        Self { draws: 500, images: 1000 }
    }
}

/// The graphs of an autoencoder.
#[derive(Debug)]
pub(super) struct Plans {
    pub(super) model: Plan,
    pub(super) encoder: Plan,
    pub(super) decoder: Plan,
}

/// The figures of one image.
struct Figures {
    reconstruction: f64,
    divergence: f64,
    likelihood: Option<f64>,
}

impl Plans {
    /// The numbers of a code.
    ///
    /// # Errors
    /// [`Error::Repository`] when the decoder takes something else.
    pub(super) fn latent(&self) -> Result<usize> {
        match self.decoder.signature().inputs.first().and_then(|input| input.sample_shape()).as_deref() {
            Some(&[latent]) if latent > 0 => Ok(latent),
            _ => Err(Error::Repository { what: "decoder.onnx".into(), problem: "takes no code".into() }),
        }
    }

    /// The likelihood of images whose pixels are drawn black or white; the draws are the same every time.
    ///
    /// # Errors
    /// [`Error::Data`] when the images do not fit, [`Error::Internal`] when a graph fails or gives something
    /// that is not finite.
    pub(super) fn evaluate(&self, data: &Dataset, importance: Importance) -> Result<LikelihoodEvaluation> {
        let latent = self.latent()?;
        let chunk = |start: usize| self.evaluate_chunk(data, start, importance, latent);
        let starts: Vec<usize> = (0..data.len()).step_by(CHUNK).collect();
        let chunks = starts.into_par_iter().map(chunk).collect::<Result<Vec<_>>>()?;
        let (codes, figures): (Vec<Vec<f32>>, Vec<Vec<Figures>>) = chunks.into_iter().unzip();
        let figures: Vec<Figures> = figures.into_iter().flatten().collect();
        let samples = figures.len().max(1) as f64;
        let mean = |of: fn(&Figures) -> f64| figures.iter().map(of).sum::<f64>() / samples;
        let (reconstruction, divergence) = (mean(|f| f.reconstruction), mean(|f| f.divergence));
        let likelihoods: Vec<f64> = figures.iter().filter_map(|figures| figures.likelihood).collect();
        let scores = scores(&self.model, data)?;
        let evaluation = LikelihoodEvaluation {
            samples: figures.len() as u64,
            binarisation: "dynamic".into(),
            negative_elbo: reconstruction + divergence,
            reconstruction,
            divergence,
            importance: estimate(&likelihoods, importance.draws),
            latent,
            active_units: active_units(&codes.concat(), latent),
            mean_score: scores.iter().sum::<f64>() / samples,
        };
        match evaluation.negative_elbo.is_finite() && evaluation.mean_score.is_finite() {
            true => Ok(evaluation),
            false => Err(Error::internal("the model's output is not a finite number", "a likelihood of NaN")),
        }
    }

    /// The means of the codes of some images, row by row, and their figures.
    fn evaluate_chunk(
        &self,
        data: &Dataset,
        start: usize,
        importance: Importance,
        latent: usize,
    ) -> Result<(Vec<f32>, Vec<Figures>)> {
        let (mut encoder, mut decoder) = (self.encoder.session()?, self.decoder.session()?);
        let indices = start..data.len().min(start + CHUNK);
        let (mut pixels, mut noise) = (Vec::new(), Vec::new());
        for index in indices.clone() {
            let key = |purpose| keyed_rng(0, purpose, 0, index as u64);
            let mut image = data.inputs(index..index + 1)?;
            binarise(&mut image, &mut key("test-pix"));
            pixels.append(&mut image);
            standard_normal(&mut key("test-eps"), latent, &mut noise);
        }
        let outputs = run(&self.encoder, &mut encoder, pixels.clone(), indices.len())?;
        let means = output(&self.encoder, &outputs, MEAN)?.to_vec();
        let log_variances = output(&self.encoder, &outputs, LOG_VARIANCE)?;
        let halves = means.chunks_exact(latent).zip(log_variances.chunks_exact(latent));
        let rows: Vec<f32> = halves.flat_map(|(mean, log_variance)| [mean, log_variance].concat()).collect();
        let posterior = Posterior { latent };
        let outputs = run(&self.decoder, &mut decoder, posterior.sample(&rows, &noise), indices.len())?;
        let logits = output(&self.decoder, &outputs, LOGITS)?;
        pixels.iter_mut().for_each(|pixel| *pixel /= 255.0);
        let images = pixels.chunks_exact(data.image_len());
        let each = indices.zip(images.zip(logits.chunks_exact(data.image_len())));
        let mut figures = Vec::new();
        for ((index, (image, logits)), (row, divergence)) in
            each.zip(rows.chunks_exact(2 * latent).zip(posterior.divergences(&rows)))
        {
            let likelihood = match index < importance.images && importance.draws > 0 {
                true => Some(self.likelihood(&mut decoder, image, row, index, importance.draws)?),
                false => None,
            };
            let reconstruction = -bernoulli_log_likelihood(logits, image);
            figures.push(Figures { reconstruction, divergence, likelihood });
        }
        Ok((means, figures))
    }

    /// ln p(x) ≈ ln 1/k Σ p(x|z) p(z) / q(z|x) over k draws of z from q; the constants of both normal
    /// densities cancel.
    fn likelihood(&self, decoder: &mut Session, image: &[f32], row: &[f32], index: usize, draws: usize) -> Result<f64> {
        let posterior = Posterior { latent: row.len() / 2 };
        let mut noise = Vec::new();
        standard_normal(&mut keyed_rng(0, "test-iw", 0, index as u64), draws * posterior.latent, &mut noise);
        let codes = posterior.sample(&row.repeat(draws), &noise);
        let outputs = run(&self.decoder, decoder, codes.clone(), draws)?;
        let logits = output(&self.decoder, &outputs, LOGITS)?;
        let log_deviation: f64 = row[posterior.latent..].iter().map(|value| 0.5 * f64::from(*value)).sum();
        let square = |values: &[f32]| values.iter().map(|value| f64::from(*value).powi(2)).sum::<f64>();
        let each = logits.chunks_exact(image.len()).zip(codes.chunks_exact(posterior.latent));
        let weights: Vec<f64> = each
            .zip(noise.chunks_exact(posterior.latent))
            .map(|((logits, code), noise)| {
                let prior_over_posterior = 0.5 * (square(noise) - square(code)) + log_deviation;
                bernoulli_log_likelihood(logits, image) + prior_over_posterior
            })
            .collect();
        Ok(log_mean_exp(&weights))
    }

    /// Intensities from 0 to 1 that the decoder gives for codes, row by row.
    ///
    /// # Errors
    /// [`Error::Internal`] when the graph fails.
    pub(super) fn decode(&self, codes: &[f32], rows: usize) -> Result<Vec<f32>> {
        let outputs = run(&self.decoder, &mut self.decoder.session()?, codes.to_vec(), rows)?;
        Ok(output(&self.decoder, &outputs, DECODED)?.to_vec())
    }

    /// The means of the codes of grey images, row by row.
    ///
    /// # Errors
    /// As [`Plans::evaluate`].
    pub(super) fn encode(&self, data: &Dataset) -> Result<Vec<f32>> {
        let outputs = run(&self.encoder, &mut self.encoder.session()?, data.inputs(0..data.len())?, data.len())?;
        Ok(output(&self.encoder, &outputs, MEAN)?.to_vec())
    }
}

fn estimate(likelihoods: &[f64], draws: usize) -> Option<ImportanceEstimate> {
    let samples = likelihoods.len() as f64;
    let mean = likelihoods.iter().sum::<f64>() / samples;
    let square: f64 = likelihoods.iter().map(|value| (value - mean).powi(2)).sum();
    (!likelihoods.is_empty()).then(|| ImportanceEstimate {
        samples: likelihoods.len() as u64,
        draws,
        negative_log_likelihood: -mean,
        standard_error: (square / (samples - 1.0).max(1.0) / samples).sqrt(),
    })
}

/// The scores of grey images as they are served, with the noise zero.
///
/// # Errors
/// As [`Plans::evaluate`].
pub(super) fn scores(model: &Plan, data: &Dataset) -> Result<Vec<f64>> {
    let [_, noise] = &model.signature().inputs[..] else {
        return Err(misfit(format!("fill the first of two inputs, the model has {}", model.signature().inputs.len())));
    };
    let latent: usize = noise.sample_shape().unwrap_or_default().iter().product();
    let chunk = |images: Range<usize>| {
        let (rows, pixels) = (images.len(), data.inputs(images)?);
        let outputs = run_with(model, &mut model.session()?, pixels, rows, Some(vec![0.0; rows * latent]))?;
        Ok(output(model, &outputs, SCORE)?.iter().map(|score| f64::from(*score)).collect::<Vec<f64>>())
    };
    let chunks: Vec<Range<usize>> = data.chunks(CHUNK).collect();
    Ok(chunks.into_par_iter().map(chunk).collect::<Result<Vec<_>>>()?.concat())
}

fn run(plan: &Plan, session: &mut Session, values: Vec<f32>, rows: usize) -> Result<Vec<Tensor>> {
    run_with(plan, session, values, rows, None)
}

/// Runs a graph on rows of its first input, and of its second one if there is any.
pub(super) fn run_with(
    plan: &Plan,
    session: &mut Session,
    values: Vec<f32>,
    rows: usize,
    noise: Option<Vec<f32>>,
) -> Result<Vec<Tensor>> {
    let specs = &plan.signature().inputs;
    let mut inputs = Vec::with_capacity(2);
    for (spec, values) in specs.iter().zip([Some(values), noise].into_iter().flatten()) {
        let sample = spec.sample_shape().unwrap_or_default();
        if values.len() != rows * sample.iter().product::<usize>() {
            let got = values.len() / rows.max(1);
            return Err(misfit(format!("of {got} pixels do not fill the model's input {}", spec.shape_text())));
        }
        inputs.push(Tensor::new(std::iter::once(rows).chain(sample).collect(), values)?);
    }
    session.run(&inputs)
}

/// The elements of an output by its name.
///
/// # Errors
/// [`Error::Data`] when the graph has none of that name.
pub(super) fn output<'a>(plan: &Plan, outputs: &'a [Tensor], name: &str) -> Result<&'a [f32]> {
    let index = plan.signature().outputs.iter().position(|output| output.name == name);
    outputs[index.ok_or_else(|| misfit(format!("need the graph's output \"{name}\", which it does not have")))?]
        .floats()
}

fn misfit(problem: String) -> Error {
    Error::Data { file: "the images".into(), problem }
}
