//! The choice of samples to be labelled: the least certain, the most unusual, and a uniform part, with the probability
//! of each choice.

use super::weighted::Inclusion;

/// The shares of a selection: of the most uncertain samples, and of the most unusual ones. The rest is drawn at random
/// from all others, so that no sample is left without a chance.
const UNCERTAIN: f64 = 0.5;
const UNUSUAL: f64 = 0.3;

/// One input that could be labelled.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Candidate {
    /// A number that tells inputs apart; what is drawn at random is decided by it and the seed.
    pub hash: u64,
    /// The lead of the most probable class; `None` where there is none.
    pub margin: Option<f32>,
    /// ln Σ eᶻ over the logits, low for unknown inputs; `None` where it is not known.
    pub energy: Option<f32>,
    /// The predictions that it stands for: the sum of 1/π over those of the same input that were captured, π being the
    /// probability of that.
    pub stands_for: f64,
}

/// The reason for a choice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Selection {
    /// It is among the least certain.
    Uncertain,
    /// It is among the most unusual.
    Unusual,
    /// It was drawn at random.
    Random,
}

impl Selection {
    /// Returns the name, as exports have it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Uncertain => "uncertain",
            Self::Unusual => "unusual",
            Self::Random => "random",
        }
    }
}

/// A choice.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Chosen {
    /// The place of the candidate.
    pub place: usize,
    /// Why it was chosen.
    pub selection: Selection,
    /// The inverse of the number of predictions that a label for it stands for.
    pub inclusion: Inclusion,
}

/// Chooses so many candidates, of which no two have the same hash, in an order that does not tell why they were chosen.
/// The same candidates in any order and the same seed give the same choice.
///
/// Half of them are those with the least margin, three in ten those with the least energy; where candidates have no
/// margin or no energy, that part is drawn at random as well. The random part is a simple random sample of the others.
pub fn choose(candidates: &[Candidate], count: usize, seed: u64) -> Vec<Chosen> {
    let mut rest: Vec<usize> = (0..candidates.len()).collect();
    // Ties, and the order of what comes in, must not matter.
    rest.sort_unstable_by_key(|place| (mixed(candidates[*place].hash, seed), candidates[*place].hash));
    if candidates.len() <= count {
        let all = rest.into_iter().map(|place| chosen(candidates, place, Selection::Random, 1.0));
        return all.collect();
    }
    let part = |share: f64| (count as f64 * share).floor() as usize;
    let (mut found, mut is_chosen) = (Vec::with_capacity(count), vec![false; candidates.len()]);
    for (selection, most) in [(Selection::Uncertain, part(UNCERTAIN)), (Selection::Unusual, part(UNUSUAL))] {
        let score = |place: &usize| match selection {
            Selection::Uncertain => candidates[*place].margin,
            Selection::Unusual => candidates[*place].energy,
            Selection::Random => None,
        };
        let mut scored: Vec<usize> = rest.iter().copied().filter(|place| score(place).is_some()).collect();
        // It keeps the order of equal ones, which is random.
        scored.sort_by(|a, b| score(a).partial_cmp(&score(b)).unwrap_or(std::cmp::Ordering::Equal));
        scored.truncate(most);
        scored.iter().for_each(|place| is_chosen[*place] = true);
        rest.retain(|place| !is_chosen[*place]);
        found.extend(scored.into_iter().map(|place| chosen(candidates, place, selection, 1.0)));
    }
    let drawn = count - found.len();
    let probability = drawn as f64 / rest.len() as f64;
    let random = rest.into_iter().take(drawn).map(|place| chosen(candidates, place, Selection::Random, probability));
    found.extend(random);
    found.sort_by_key(|chosen| mixed(candidates[chosen.place].hash, !seed));
    found
}

fn chosen(candidates: &[Candidate], place: usize, selection: Selection, probability: f64) -> Chosen {
    let stands_for = candidates[place].stands_for.max(1.0) / probability;
    Chosen { place, selection, inclusion: Inclusion::new(1.0 / stands_for).unwrap_or(Inclusion::CERTAIN) }
}

/// Returns a number that looks random, by SplitMix64.
fn mixed(hash: u64, seed: u64) -> u64 {
    let mut z = hash ^ seed.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use rand::{RngExt as _, SeedableRng as _};
    use rand_chacha::ChaCha8Rng;

    use super::*;
    use crate::stats::WeightedSums;

    fn candidate(hash: u64, margin: f32, energy: f32) -> Candidate {
        Candidate { hash, margin: Some(margin), energy: Some(energy), stands_for: 1.0 }
    }

    #[test]
    fn half_are_uncertain_three_in_ten_unusual_and_the_rest_random() {
        let all: Vec<Candidate> = (0..1000).map(|n| candidate(n, n as f32, -(n as f32))).collect();
        let chosen = choose(&all, 100, 7);
        let of = |selection: Selection| {
            let mut places: Vec<usize> =
                chosen.iter().filter(|one| one.selection == selection).map(|one| one.place).collect();
            places.sort_unstable();
            places
        };
        assert_eq!(of(Selection::Uncertain), (0..50).collect::<Vec<_>>());
        assert_eq!(of(Selection::Unusual), (970..1000).collect::<Vec<_>>());
        assert_eq!(of(Selection::Random).len(), 20);
        let inclusion = |selection| chosen.iter().find(|one| one.selection == selection).unwrap().inclusion;
        assert_eq!(inclusion(Selection::Uncertain), Inclusion::CERTAIN);
        assert_eq!(inclusion(Selection::Random), Inclusion::new(20.0 / 920.0).unwrap());
        // The sum of the weights is the number of candidates.
        let weights: f64 = chosen.iter().map(|one| 1.0 / one.inclusion.probability()).sum();
        assert!((weights - 1000.0).abs() < 1e-3, "{weights}");
    }

    #[test]
    fn the_choice_depends_on_the_seed_and_not_on_the_order() {
        let all: Vec<Candidate> = (0..500).map(|n| candidate(n * 31, (n % 7) as f32, (n % 5) as f32)).collect();
        let mut turned = all.clone();
        turned.reverse();
        let hashes = |all: &[Candidate], seed| -> Vec<u64> {
            choose(all, 60, seed).iter().map(|one| all[one.place].hash).collect()
        };
        assert_eq!(hashes(&all, 1), hashes(&turned, 1));
        assert_ne!(hashes(&all, 1), hashes(&all, 2));
        assert_eq!(choose(&all, 900, 1).len(), 500, "fewer than are asked for are all of them");
        assert!(choose(&all, 900, 1).iter().all(|one| one.inclusion == Inclusion::CERTAIN));
        assert!(choose(&[], 10, 1).is_empty());
    }

    #[test]
    fn without_margins_and_energies_all_are_random() {
        let all: Vec<Candidate> =
            (0..100).map(|hash| Candidate { hash, margin: None, energy: None, stands_for: 2.0 }).collect();
        let chosen = choose(&all, 10, 3);
        assert!(chosen.iter().all(|one| one.selection == Selection::Random));
        assert_eq!(chosen[0].inclusion, Inclusion::new(0.05).unwrap());
    }

    /// χ² of how often each of 200 candidates is drawn: 199 degrees of freedom, of which 99.9 % are below 267.5.
    #[test]
    fn the_random_part_is_uniform() {
        let all: Vec<Candidate> =
            (0..200).map(|hash| Candidate { hash, margin: None, energy: None, stands_for: 1.0 }).collect();
        let (rounds, count) = (2000, 20);
        let mut drawn = vec![0u32; all.len()];
        for seed in 0..rounds {
            choose(&all, count, seed).iter().for_each(|one| drawn[one.place] += 1);
        }
        let expected = rounds as f64 * count as f64 / all.len() as f64;
        // Draws without putting back vary less by the share that is not drawn.
        let chi: f64 = drawn.iter().map(|n| (f64::from(*n) - expected).powi(2) / (expected * 0.9)).sum();
        assert!(chi < 267.5, "{chi}");
    }

    /// 200 draws of 400 out of 20,000 answers, which are wrong the more often the less certain they are. The plain share
    /// of right answers among the chosen is far off; the corrected one is right on the average, and its interval
    /// covers the truth as often as it says.
    #[test]
    fn the_corrected_accuracy_of_a_biased_selection_is_right_and_the_plain_one_is_not() {
        let mut random = ChaCha8Rng::seed_from_u64(11);
        let population: Vec<(Candidate, bool)> = (0..20_000)
            .map(|hash| {
                let margin: f32 = random.random_range(0.0..10.0);
                let wrong = random.random::<f32>() < 0.5 * (-margin / 1.5).exp() + 0.03;
                (candidate(hash, margin, random.random_range(0.0..5.0)), !wrong)
            })
            .collect();
        let truth = population.iter().filter(|(_, right)| *right).count() as f64 / population.len() as f64;
        let candidates: Vec<Candidate> = population.iter().map(|(candidate, _)| *candidate).collect();
        let (draws, mut covered, mut plain, mut corrected) = (200, 0, 0.0, 0.0);
        for seed in 0..draws {
            let (mut sums, mut right) = (WeightedSums::default(), 0);
            let chosen = choose(&candidates, 400, seed);
            for one in &chosen {
                let is_right = population[one.place].1;
                right += u32::from(is_right);
                sums.add(one.inclusion, Some(is_right), None, 1);
            }
            let found = sums.accuracy().unwrap();
            covered += u32::from(found.interval.low <= truth && truth <= found.interval.high);
            plain += f64::from(right) / chosen.len() as f64 / f64::from(draws as u32);
            corrected += found.value / f64::from(draws as u32);
        }
        assert!((plain - truth).abs() > 0.1, "the plain share would do: {plain} for {truth}");
        assert!((corrected - truth).abs() < 0.01, "{corrected} for {truth}");
        assert!(covered >= 184, "{covered} of {draws} intervals cover {truth}");
    }
}
