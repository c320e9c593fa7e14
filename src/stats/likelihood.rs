//! Likelihood figures of a latent variable model: the evidence lower bound, a tighter estimate by importance
//! sampling, and the rank of a score among the scores of known data. All figures are in nats.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The number of equal parts between the quantiles of the reference scores.
const PARTS: usize = 100;

/// The variance of the mean over samples below which a dimension of the code is unused (Burda et al. 2016,
/// section 5).
const ACTIVE_VARIANCE: f64 = 1e-2;

/// The evaluation of a variational autoencoder.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct LikelihoodEvaluation {
    /// The number of samples that were scored.
    pub samples: u64,
    /// The treatment of grey pixels, on which every likelihood depends: `dynamic` draws each pixel black or
    /// white with its grey value as the probability.
    pub binarisation: String,
    /// Mean of −ELBO with one draw of the code; the sum of the next two figures.
    pub negative_elbo: f64,
    /// Mean of −ln p(x|z).
    pub reconstruction: f64,
    /// Mean of KL(q(z|x) ‖ p(z)).
    pub divergence: f64,
    /// The tighter estimate, if it was computed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub importance: Option<ImportanceEstimate>,
    /// The dimensions of the code.
    pub latent: usize,
    /// The dimensions whose mean has a variance over the samples above 0.01.
    pub active_units: usize,
    /// Mean score as the server computes it: −ELBO of the grey image with the mean of the code, not a draw.
    pub mean_score: f64,
}

/// The estimate of −ln p(x) from k weighted codes per sample, drawn from the distribution of the encoder (Burda
/// et al. 2016, "Importance Weighted Autoencoders"). Its expectation is an upper bound, tighter than −ELBO.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ImportanceEstimate {
    /// The number of samples, which are the first of those scored.
    pub samples: u64,
    /// The number of codes per sample, k.
    pub draws: usize,
    /// Mean of −ln p(x).
    pub negative_log_likelihood: f64,
    /// The standard error of that mean.
    pub standard_error: f64,
}

/// The quantiles of the scores of data that a model was not trained on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ReferenceScores {
    /// A description of the data.
    pub data: String,
    /// The number of scores.
    pub samples: u64,
    /// Their mean.
    pub mean: f64,
    /// The minimum, the 99 percentiles, and the maximum.
    pub quantiles: Vec<f64>,
}

impl ReferenceScores {
    /// Returns the quantiles of some scores; `None` if there are none.
    pub fn of(mut scores: Vec<f64>, data: String) -> Option<Self> {
        scores.sort_by(f64::total_cmp);
        let last = scores.len().checked_sub(1)?;
        let quantile = |part: usize| {
            let at = last as f64 * part as f64 / PARTS as f64;
            let (below, share) = (at.floor() as usize, at.fract());
            scores[below] + share * (scores[(below + 1).min(last)] - scores[below])
        };
        Some(Self {
            data,
            samples: scores.len() as u64,
            mean: scores.iter().sum::<f64>() / scores.len() as f64,
            quantiles: (0..=PARTS).map(quantile).collect(),
        })
    }

    /// Returns true if the quantiles are complete, finite and ascending.
    pub fn is_sound(&self) -> bool {
        self.quantiles.len() == PARTS + 1 && self.quantiles.is_sorted() && self.quantiles.iter().all(|q| q.is_finite())
    }

    /// Returns the share of the reference scores below `score`, from 0 to 1, interpolated between quantiles.
    pub fn share_below(&self, score: f64) -> f64 {
        let above = self.quantiles.partition_point(|quantile| *quantile < score);
        let (Some(below), Some(next)) = (above.checked_sub(1), self.quantiles.get(above)) else {
            return if above == 0 { 0.0 } else { 1.0 };
        };
        let low = self.quantiles[below];
        let within = if *next > low { (score - low) / (next - low) } else { 0.0 };
        (below as f64 + within) / PARTS as f64
    }
}

/// Returns ln of the mean of e^x without overflow; −∞ without numbers.
pub fn log_mean_exp(logarithms: &[f64]) -> f64 {
    let greatest = logarithms.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    if !greatest.is_finite() {
        return greatest;
    }
    let sum: f64 = logarithms.iter().map(|x| (x - greatest).exp()).sum();
    greatest + (sum / logarithms.len() as f64).ln()
}

/// Counts the columns of row-major `codes` whose variance is above 0.01.
pub fn active_units(codes: &[f32], latent: usize) -> usize {
    variances(codes, latent).into_iter().filter(|variance| *variance > ACTIVE_VARIANCE).count()
}

/// Returns the variance of each column of row-major `codes`.
pub fn variances(codes: &[f32], latent: usize) -> Vec<f64> {
    let rows = (codes.len() / latent.max(1)).max(1) as f64;
    let variance = |column: usize| {
        let values = || codes.iter().skip(column).step_by(latent).map(|value| f64::from(*value));
        let mean = values().sum::<f64>() / rows;
        values().map(|value| (value - mean).powi(2)).sum::<f64>() / rows
    };
    (0..latent).map(variance).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_score_is_placed_among_the_reference() {
        let scores = (0..=1000).rev().map(f64::from).collect();
        let reference = ReferenceScores::of(scores, "data".into()).unwrap();
        assert!(reference.is_sound() && (reference.mean - 500.0).abs() < 1e-9);
        for (score, share) in [(-5.0, 0.0), (0.0, 0.0), (125.0, 0.125), (999.0, 0.999), (1000.0, 1.0), (1e9, 1.0)] {
            assert!((reference.share_below(score) - share).abs() < 1e-9, "{score}: {}", reference.share_below(score));
        }
        assert!(ReferenceScores::of(Vec::new(), String::new()).is_none());
        let equal = ReferenceScores::of(vec![3.0; 5], String::new()).unwrap();
        assert_eq!((equal.share_below(2.0), equal.share_below(4.0)), (0.0, 1.0));
    }

    #[test]
    fn what_varies_is_active() {
        let codes = [1.0, 5.0, -1.0, 5.0, 1.0, 5.05, -1.0, 5.0];
        assert_eq!(active_units(&codes, 2), 1);
        assert!((variances(&codes, 2)[0] - 1.0).abs() < 1e-9);
    }

    proptest! {
        #[test]
        fn the_mean_of_exponentials_lies_between_the_mean_and_the_greatest(
            logarithms in prop::collection::vec(-2000f64..2000.0, 1..50)
        ) {
            let found = log_mean_exp(&logarithms);
            let mean = logarithms.iter().sum::<f64>() / logarithms.len() as f64;
            let greatest = logarithms.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            prop_assert!(found >= mean - 1e-9 && found <= greatest + 1e-9, "{mean} {found} {greatest}");
        }

        #[test]
        fn shares_grow_with_the_score(scores in prop::collection::vec(0f64..10.0, 1..300), a in -1f64..11.0, b in -1f64..11.0) {
            let reference = ReferenceScores::of(scores, String::new()).unwrap();
            let (low, high) = (reference.share_below(a.min(b)), reference.share_below(a.max(b)));
            prop_assert!(low <= high && (0.0..=1.0).contains(&low) && (0.0..=1.0).contains(&high));
        }
    }
}
