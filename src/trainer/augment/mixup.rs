//! What targets are when samples are mixed (Zhang et al. 2018, "mixup: Beyond Empirical Risk Minimization") or
//! labels smoothed (Szegedy et al. 2016, "Rethinking the Inception Architecture", section 7).

use rand::RngExt;
use rand_chacha::ChaCha8Rng;

/// The weight of the first of two mixed samples: λ of Beta(α, α), or 1 - λ if that is more, which only exchanges
/// the two; in [0.5, 1]. Drawn by Jöhnk's method, which is meant for α up to 1.
pub(in crate::trainer) fn weight(rng: &mut ChaCha8Rng, alpha: f64) -> f32 {
    loop {
        let [a, b] = [(); 2].map(|()| rng.random::<f64>().powf(1.0 / alpha));
        if a + b > 0.0 && a + b <= 1.0 {
            return (a / (a + b)).max(b / (a + b)) as f32;
        }
    }
}

/// Adds `weight` of a class to the targets of a sample, `smoothing` of it spread over all classes.
pub(in crate::trainer) fn add_target(targets: &mut [f32], class: usize, weight: f32, smoothing: f32) {
    let each = weight * smoothing / targets.len() as f32;
    targets.iter_mut().for_each(|target| *target += each);
    targets[class] += weight * (1.0 - smoothing);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::trainer::random::keyed_rng;

    #[test]
    fn weights_have_the_spread_of_the_beta_distribution() {
        for alpha in [0.05, 0.2, 1.0] {
            let mut rng = keyed_rng(1, "mixup", 0, 0);
            let weights: Vec<f64> = (0..20_000).map(|_| f64::from(weight(&mut rng, alpha))).collect();
            assert!(weights.iter().all(|weight| (0.5..=1.0).contains(weight)));
            let variance = weights.iter().map(|weight| (weight - 0.5).powi(2)).sum::<f64>() / weights.len() as f64;
            let expected = 1.0 / (4.0 * (2.0 * alpha + 1.0));
            assert!((variance / expected - 1.0).abs() < 0.03, "{alpha}: {variance} {expected}");
        }
    }

    proptest! {
        #[test]
        fn targets_are_a_distribution_with_its_mass_where_it_belongs(
            classes in 2usize..20, first: usize, second: usize, weight in 0.5f32..=1.0, smoothing in 0.0f32..0.9,
        ) {
            let (first, second) = (first % classes, second % classes);
            let mut targets = vec![0.0; classes];
            add_target(&mut targets, first, weight, smoothing);
            add_target(&mut targets, second, 1.0 - weight, smoothing);
            prop_assert!((targets.iter().sum::<f32>() - 1.0).abs() < 1e-5);
            let least = smoothing / classes as f32;
            prop_assert!(targets.iter().all(|target| *target >= least - 1e-6));
            prop_assert!(targets[first] >= weight * (1.0 - smoothing));
        }
    }
}
