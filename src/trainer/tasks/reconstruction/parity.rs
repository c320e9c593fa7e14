//! The parity gate of an autoencoder: all three graphs, in the engine that will serve them.

use super::Autoencoder;
use super::evaluate::{Plans, output, run_with};
use super::export::{DECODED, LOG_VARIANCE, MEAN, RECONSTRUCTION, SCORE};
use super::posterior::Posterior;
use crate::error::{Error, Result};
use crate::repository::Parity;
use crate::stats::standard_normal;
use crate::trainer::dataset::Dataset;
use crate::trainer::export::LOGITS;
use crate::trainer::kernels::bernoulli_log_likelihood;
use crate::trainer::parity::{BATCH_SIZES, SAMPLES};
use crate::trainer::random::keyed_rng;

/// The largest difference that rounding explains, as a part of the number where that is above 1. Of a score,
/// which is a sum over all pixels of an image and around 100 nats, that is a hundredth of a nat.
const TOLERANCE: f64 = 1e-4;

/// Compares autoencoder and exported graphs on images and drawn codes.
///
/// # Errors
/// [`Error::GateMissed`] naming the output that differs most from what was trained.
pub(super) fn check(autoencoder: &Autoencoder, plans: &Plans, data: &Dataset) -> Result<Parity> {
    let latent = autoencoder.latent();
    let posterior = Posterior { latent };
    let mut sessions = (plans.model.session()?, plans.encoder.session()?, plans.decoder.session()?);
    let (mut samples, mut next) = (0, 0);
    let mut found = [MEAN, LOG_VARIANCE, LOGITS, DECODED, RECONSTRUCTION, SCORE].map(|name| (name, 0.0f64));
    for size in BATCH_SIZES {
        let until = samples + SAMPLES.div_ceil(BATCH_SIZES.len());
        while samples < until {
            let mut pixels = Vec::with_capacity(size * data.image_len());
            for row in 0..size {
                data.append((next + row) % data.len(), &mut pixels)?;
            }
            let mut noise = Vec::new();
            standard_normal(&mut keyed_rng(0, "parity", 0, next as u64), size * latent, &mut noise);
            next += size;
            let rows = autoencoder.encoder().logits(&pixels)?;
            let half = |start: usize| -> Vec<f32> {
                rows.chunks_exact(2 * latent).flat_map(|row| &row[start..start + latent]).copied().collect()
            };
            let (means, log_variances) = (half(0), half(latent));
            let codes = posterior.sample(&rows, &noise);
            let logits = autoencoder.decoder().logits(&codes)?;
            let intensities: Vec<f32> = logits.iter().map(|x| (1.0 / (1.0 + (-f64::from(*x)).exp())) as f32).collect();
            let targets: Vec<f32> = pixels.iter().map(|pixel| pixel / 255.0).collect();
            let per_image = logits.chunks_exact(data.image_len()).zip(targets.chunks_exact(data.image_len()));
            let scores: Vec<f32> = per_image
                .zip(posterior.divergences(&rows))
                .map(|((logits, targets), divergence)| (divergence - bernoulli_log_likelihood(logits, targets)) as f32)
                .collect();

            let encoded = run_with(&plans.encoder, &mut sessions.1, pixels.clone(), size, None)?;
            let decoded = run_with(&plans.decoder, &mut sessions.2, codes, size, None)?;
            let whole = run_with(&plans.model, &mut sessions.0, pixels, size, Some(noise))?;
            for (plan, outputs, name, expected) in [
                (&plans.encoder, &encoded, MEAN, &means),
                (&plans.encoder, &encoded, LOG_VARIANCE, &log_variances),
                (&plans.decoder, &decoded, LOGITS, &logits),
                (&plans.decoder, &decoded, DECODED, &intensities),
                (&plans.model, &whole, MEAN, &means),
                (&plans.model, &whole, LOG_VARIANCE, &log_variances),
                (&plans.model, &whole, RECONSTRUCTION, &intensities),
                (&plans.model, &whole, SCORE, &scores),
            ] {
                let difference = difference(output(plan, outputs, name)?, expected);
                let slot = found.iter_mut().find(|(known, _)| *known == name);
                slot.into_iter().for_each(|(_, largest)| *largest = largest.max(difference));
            }
            samples += size;
        }
    }
    if let Some((name, difference)) = found.iter().find(|(_, difference)| *difference > TOLERANCE) {
        return Err(Error::GateMissed(format!(
            "the exported graphs disagree with the trainer: output \"{name}\" by {difference:.1e} of itself (allowed {TOLERANCE:.0e}) in {samples} samples"
        )));
    }
    let of = |name: &str| found.iter().find(|(known, _)| *known == name).map_or(0.0, |(_, difference)| *difference);
    Ok(Parity {
        engine: plans.model.engine().name().into(),
        samples,
        max_abs_logit_difference: of(LOGITS),
        argmax_mismatches: 0,
        max_relative_score_difference: Some(of(SCORE)),
    })
}

/// The largest difference, as a part of the expected number where that is above 1; infinite where something is
/// no number, or missing.
fn difference(found: &[f32], expected: &[f32]) -> f64 {
    if found.len() != expected.len() {
        return f64::INFINITY;
    }
    let each = found.iter().zip(expected).map(|(a, b)| {
        let difference = f64::from(a - b).abs() / f64::from(b.abs()).max(1.0);
        if difference.is_nan() { f64::INFINITY } else { difference }
    });
    each.fold(0.0, f64::max)
}
