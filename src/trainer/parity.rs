//! The parity gate: what was exported must be what was trained, in the engine that will serve it.

use super::dataset::Dataset;
use super::export::{LOGITS, STANDARDIZED};
use super::members::mean_logits;
use super::network::Network;
use crate::engine::Plan;
use crate::error::{Error, Result};
use crate::repository::Parity;
use crate::signature::TensorSpec;
use crate::stats::argmax;

/// Samples compared in all, at least; every batch size takes part.
pub(super) const SAMPLES: usize = 1500;

/// Batch sizes: the plan for one sample, an odd batch, a full one.
pub(super) const BATCH_SIZES: [usize; 3] = [1, 7, 64];

/// The largest difference of a logit that rounding explains, as a part of the largest logit where that is above 1: sums of
/// many products are as exact as their largest terms.
const TOLERANCE: f64 = 2e-4;

/// Compares the mean of networks and the exported graph on samples: what the graph takes of each, and what the networks do,
/// which differs where a part of the graph was never trained.
///
/// # Errors
/// [`Error::GateMissed`] when a logit differs by more than rounding explains, or an answer differs where the trainer is not
/// undecided within as much.
pub(super) fn check(networks: &[Network], plan: &Plan, [data, of_network]: [&Dataset; 2]) -> Result<Parity> {
    let output =
        plan.signature().outputs.iter().position(|output| [LOGITS, STANDARDIZED].contains(&output.name.as_str()));
    let output = output.ok_or_else(|| Error::GateMissed(format!("the exported graph has no output \"{LOGITS}\"")))?;
    let sample = plan.signature().inputs.first().and_then(TensorSpec::sample_shape).unwrap_or_default();
    let (mut session, tokens) = (plan.session()?, data.tokens()?);
    let mut parity = Parity {
        engine: plan.engine().name().into(),
        samples: 0,
        max_abs_logit_difference: 0.0,
        argmax_mismatches: 0,
        max_relative_score_difference: None,
    };
    let (mut next, mut largest) = (0, 1.0f64);
    let mut differing: Vec<f64> = Vec::new();
    for size in BATCH_SIZES {
        let until = parity.samples + SAMPLES.div_ceil(BATCH_SIZES.len());
        while parity.samples < until {
            let batch = batch(&tokens, next, size);
            let mut elements = Vec::with_capacity(size * of_network.image_len());
            batch.iter().try_for_each(|index| of_network.append(*index, &mut elements))?;
            let trained = mean_logits(networks, &elements)?;
            let served = session.run(&data.tensors(&batch, &sample)?)?;
            next += size;
            let classes = trained.len() / size;
            for (row, expected) in served[output].float_rows()?.zip(trained.chunks_exact(classes)) {
                for (a, b) in row.iter().zip(expected) {
                    let difference = f64::from(a - b).abs();
                    // `f64::max` would lose a NaN.
                    let difference = if difference.is_nan() { f64::INFINITY } else { difference };
                    parity.max_abs_logit_difference = parity.max_abs_logit_difference.max(difference);
                }
                largest = expected.iter().map(|logit| f64::from(logit.abs())).fold(largest, f64::max);
                let (found, answer) = (argmax(row), argmax(expected));
                if found != answer {
                    differing.push(f64::from(expected[answer] - expected[found]));
                }
            }
            parity.samples += size;
        }
    }
    let allowed = TOLERANCE * largest;
    parity.argmax_mismatches = differing.iter().filter(|margin| **margin > allowed || margin.is_nan()).count();
    if parity.max_abs_logit_difference > allowed || parity.argmax_mismatches > 0 {
        return Err(Error::GateMissed(format!(
            "the exported graph disagrees with the trainer: largest logit difference {:.1e} (allowed {allowed:.1e}, as logits go up to {largest:.1}), {} different answers in {} samples",
            parity.max_abs_logit_difference, parity.argmax_mismatches, parity.samples
        )));
    }
    Ok(parity)
}

/// Returns so many samples from a place on, over and over. All have as many tokens as the first, so that none is padded: what
/// padding does is not the export's.
fn batch(tokens: &[usize], next: usize, size: usize) -> Vec<usize> {
    let from = (0..tokens.len()).map(|row| (next + row) % tokens.len());
    let alike = from.filter(|index| tokens[*index] == tokens[next % tokens.len()]);
    let alike: Vec<usize> = alike.take(size).collect();
    alike.iter().copied().cycle().take(size).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layers::{Architecture, LayerSpec};
    use crate::trainer::export::to_onnx;

    #[test]
    fn the_rounding_of_large_sums_is_no_disagreement_and_another_weight_is() {
        // Sums of 50,000 products of pixels, as of a large photo: in another order they differ by more than 2e-4.
        let layers = vec![LayerSpec::Flatten, LayerSpec::Dense { units: 2 }];
        let architecture = Architecture { input: vec![1, 224, 224], layers };
        let network = |seed| Network::new(&architecture, seed).unwrap();
        let pixels = (0..2 * 224 * 224).map(|pixel: usize| (pixel * 7919 % 251) as u8).collect();
        let data = Dataset::images(224, 224, pixels, vec![0, 1], 2);
        let plan = Plan::load(&to_onnx(&network(1), "photos").unwrap()).unwrap();
        let parity = check(&[network(1)], &plan, [&data, &data]).unwrap();
        assert!(parity.samples >= SAMPLES && parity.argmax_mismatches == 0, "{parity:?}");
        assert!(matches!(check(&[network(2)], &plan, [&data, &data]), Err(Error::GateMissed(_))));
    }
}
