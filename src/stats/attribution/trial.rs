//! What an explanation is worth: the fall of the answer when units are hidden in its order, and its rise when they are
//! shown, against random orders (Petsiuk et al., 2018).

use rand::seq::SliceRandom as _;
use rand_chacha::ChaCha8Rng;

use super::units::Mask;

/// The steps in which units are hidden or shown.
const STEPS: usize = 16;
/// The random orders that an explanation is compared with.
const RANDOM_ORDERS: usize = 10;

/// The masks that try an explanation.
#[derive(Debug)]
pub struct Trial {
    masks: Vec<Mask>,
    steps: usize,
}

/// The outcome of a trial. Areas are means of the answer over the share of units that is hidden or shown.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Score {
    /// The area as units are hidden, the most important first: the lower, the better.
    pub deletion: f64,
    /// That of random orders, on the average.
    pub random_deletion: f64,
    /// The area as units are shown, the most important first: the higher, the better.
    pub insertion: f64,
    /// That of random orders, on the average.
    pub random_insertion: f64,
    /// The share of random orders whose answer falls no faster as units are hidden; 0 if it falls more slowly in none.
    pub beats: f64,
}

impl Score {
    /// Returns true if the explanation's order beats at least nine of ten random ones.
    pub fn is_better_than_random(&self) -> bool {
        self.beats >= 0.9
    }
}

impl Trial {
    /// Makes the masks for an explanation and for random orders.
    pub fn new(attributions: &[f64], rng: &mut ChaCha8Rng) -> Self {
        let units = attributions.len();
        let steps = units.clamp(1, STEPS);
        let mut own: Vec<usize> = (0..units).collect();
        own.sort_by(|a, b| attributions[*b].total_cmp(&attributions[*a]));
        let mut orders = vec![own.clone()];
        for _ in 0..RANDOM_ORDERS {
            own.shuffle(rng);
            orders.push(own.clone());
        }
        let masks = orders.iter().flat_map(|order| {
            // The first and the last step are the sample itself and the baseline, whose answers are known.
            [0.0, 1.0].into_iter().flat_map(move |touched| {
                (1..steps).map(move |step| {
                    let mut mask = vec![1.0 - touched; units];
                    order[..step * units / steps].iter().for_each(|unit| mask[*unit] = touched);
                    mask
                })
            })
        });
        Self { masks: masks.collect(), steps }
    }

    /// Returns the masks to ask about.
    pub fn masks(&self) -> &[Mask] {
        &self.masks
    }

    /// Returns the outcome by the answers for the masks, for the sample itself and for the baseline.
    pub fn score(&self, answers: &[f64], whole: f64, empty: f64) -> Score {
        let inner = self.steps - 1;
        // By the trapezoid rule.
        let area = |answers: &[f64]| (answers.iter().sum::<f64>() + f64::midpoint(whole, empty)) / self.steps as f64;
        let areas: Vec<[f64; 2]> = (0..=RANDOM_ORDERS)
            .map(|order| [0, 1].map(|way| area(&answers[(2 * order + way) * inner..][..inner])))
            .collect();
        let random = &areas[1..];
        let mean = |way: usize| random.iter().map(|areas| areas[way]).sum::<f64>() / random.len() as f64;
        let deletion = areas[0][0];
        // Of few units many orders are the same one, whose answers differ in their last digits at most.
        let alike = 1e-6 * (whole - empty).abs();
        let is_worse = random.iter().any(|areas| areas[0] > deletion + alike);
        let beaten = random.iter().filter(|areas| is_worse && areas[0] >= deletion - alike).count();
        Score {
            deletion,
            random_deletion: mean(0),
            insertion: areas[0][1],
            random_insertion: mean(1),
            beats: beaten as f64 / random.len() as f64,
        }
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    fn try_out(attributions: &[f64], answer: impl Fn(&[f32]) -> f64) -> Score {
        let trial = Trial::new(attributions, &mut ChaCha8Rng::seed_from_u64(4));
        let answers: Vec<f64> = trial.masks().iter().map(|mask| answer(mask)).collect();
        let units = attributions.len();
        trial.score(&answers, answer(&vec![1.0; units]), answer(&vec![0.0; units]))
    }

    #[test]
    fn a_right_order_beats_random_ones_and_a_wrong_one_does_not() {
        let weights: Vec<f64> = (0..40).map(|unit| if unit < 4 { 1.0 } else { 0.0 }).collect();
        let answer = |mask: &[f32]| mask.iter().zip(&weights).map(|(shown, weight)| f64::from(*shown) * weight).sum();
        let right = try_out(&weights, answer);
        assert!(right.is_better_than_random() && right.deletion < 0.5 && right.insertion > 3.5, "{right:?}");
        assert!((right.random_deletion - 2.0).abs() < 0.7 && (right.random_insertion - 2.0).abs() < 0.7, "{right:?}");
        let wrong: Vec<f64> = weights.iter().map(|weight| -weight).collect();
        assert!(!try_out(&wrong, answer).is_better_than_random());
        let nothing = try_out(&[0.0; 40], |_| 0.5);
        assert!(!nothing.is_better_than_random() && nothing.beats == 0.0, "{nothing:?}");
    }

    #[test]
    fn of_few_units_the_right_order_is_better_than_random() {
        for weights in [[2.0, 1.0], [1.0, 2.0]] {
            let answer =
                |mask: &[f32]| mask.iter().zip(weights).map(|(shown, weight)| f64::from(*shown) * weight).sum();
            assert!(try_out(&weights, answer).is_better_than_random());
            assert!(!try_out(&weights.map(|weight: f64| -weight), answer).is_better_than_random());
        }
    }

    #[test]
    fn a_single_unit_has_nothing_to_order() {
        let score = try_out(&[1.0], |mask| f64::from(mask[0]));
        assert_eq!((score.deletion, score.insertion, score.beats), (0.5, 0.5, 0.0));
    }
}
