//! The tree-structured Parzen estimator (Bergstra et al. 2011, "Algorithms for Hyper-Parameter Optimization",
//! section 4): what the better trials have in common is searched, as far as the worse ones do not have it, too.

use rand::RngExt;
use rand_chacha::ChaCha8Rng;

use super::space::Dimension;

/// The part of the trials that is called good.
const GOOD: f64 = 0.25;

/// Good trials at the most, so that old ones are forgotten in the end.
const MOST_GOOD: usize = 25;

/// Places tried for each dimension.
const CANDIDATES: usize = 24;

/// Trials at random before there is anything to estimate from.
pub(super) const FIRST: usize = 8;

/// Where a trial was on the line of each dimension, and how bad it was.
pub(super) type Seen = (Vec<f64>, f64);

/// A mixture of Gaussians, one around each place and a wide one for what nobody has tried, cut off at the ends.
struct Parzen {
    line: (f64, f64),
    /// Middle and width of each.
    parts: Vec<(f64, f64)>,
}

/// The place on each line where to try next.
pub(super) fn suggest(dimensions: &[Dimension], seen: &[Seen], rng: &mut ChaCha8Rng) -> Vec<f64> {
    let mut order: Vec<&Seen> = seen.iter().collect();
    order.sort_by(|a, b| a.1.total_cmp(&b.1));
    let good = ((GOOD * seen.len() as f64).ceil() as usize).clamp(1, MOST_GOOD).min(order.len());
    let (good, bad) = order.split_at(good);
    let suggest = |(at, dimension): (usize, &Dimension)| {
        let of = |trials: &[&Seen]| trials.iter().map(|trial| trial.0[at]).collect::<Vec<f64>>();
        match dimension.choices() {
            Some(choices) => choose(choices, &of(good), rng),
            None => {
                let [better, worse] = [of(good), of(bad)].map(|places| Parzen::new(dimension.line(), places));
                best(CANDIDATES, || better.draw(rng), |place| better.density(place).ln() - worse.density(place).ln())
            }
        }
    };
    dimensions.iter().enumerate().map(suggest).collect()
}

/// The candidate with the greatest merit.
fn best(candidates: usize, mut draw: impl FnMut() -> f64, merit: impl Fn(f64) -> f64) -> f64 {
    let mut chosen = (draw(), f64::NEG_INFINITY);
    chosen.1 = merit(chosen.0);
    for _ in 1..candidates {
        let place = draw();
        let merit = merit(place);
        if merit > chosen.1 {
            chosen = (place, merit);
        }
    }
    chosen.0
}

/// One of the choices, as often as good trials took it and once more. Not the most promising of several: that keeps
/// to one choice for long, since the choices, unlike places on a line, have no neighbours to try.
fn choose(choices: usize, good: &[f64], rng: &mut ChaCha8Rng) -> f64 {
    let mut weights = vec![1.0; choices];
    good.iter().for_each(|place| weights[(*place as usize).min(choices - 1)] += 1.0);
    let mut left = rng.random::<f64>() * weights.iter().sum::<f64>();
    let chosen = weights.iter().position(|weight| {
        left -= weight;
        left < 0.0
    });
    chosen.unwrap_or(choices - 1) as f64 + 0.5
}

impl Parzen {
    fn new((low, high): (f64, f64), mut places: Vec<f64>) -> Self {
        let range = high - low;
        let middle = low + range / 2.0;
        places.push(middle);
        places.sort_by(f64::total_cmp);
        let narrowest = range / (places.len() as f64).min(100.0);
        // As wide as the way to the farther neighbour, as in the paper.
        let width = |at: usize| {
            let left = places[at] - if at == 0 { low } else { places[at - 1] };
            let right = places.get(at + 1).copied().unwrap_or(high) - places[at];
            left.max(right).clamp(narrowest, range)
        };
        let mut parts: Vec<(f64, f64)> = (0..places.len()).map(|at| (places[at], width(at))).collect();
        if let Some(prior) = parts.iter_mut().find(|part| part.0 == middle) {
            prior.1 = range;
        }
        Self { line: (low, high), parts }
    }

    fn draw(&self, rng: &mut ChaCha8Rng) -> f64 {
        let (middle, width) = self.parts[rng.random_range(0..self.parts.len())];
        let (low, high) = self.line;
        // At least a quarter of each part is on the line, so this ends soon.
        loop {
            // Box and Muller 1958.
            let radius = (-2.0 * (1.0 - rng.random::<f64>()).ln()).sqrt();
            let place = middle + width * radius * (std::f64::consts::TAU * rng.random::<f64>()).cos();
            if (low..high).contains(&place) {
                return place;
            }
        }
    }

    fn density(&self, place: f64) -> f64 {
        let (low, high) = self.line;
        let below = |at: f64| 0.5 * (1.0 + libm::erf(at / std::f64::consts::SQRT_2));
        let part = |&(middle, width): &(f64, f64)| {
            let on_line = below((high - middle) / width) - below((low - middle) / width);
            let distance = (place - middle) / width;
            (-0.5 * distance * distance).exp() / (width * std::f64::consts::TAU.sqrt() * on_line)
        };
        self.parts.iter().map(part).sum::<f64>() / self.parts.len() as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trainer::random::keyed_rng;

    #[test]
    fn a_density_is_one_in_all_and_what_is_drawn_follows_it() {
        let parzen = Parzen::new((-1.0, 3.0), vec![0.0, 0.1, 2.9]);
        let cells = 400;
        let at = |cell: usize| -1.0 + 4.0 * (cell as f64 + 0.5) / cells as f64;
        let sum: f64 = (0..cells).map(|cell| parzen.density(at(cell))).sum::<f64>() * 4.0 / cells as f64;
        assert!((sum - 1.0).abs() < 1e-3, "{sum}");
        let mut rng = keyed_rng(0, "tune", 0, 0);
        let drawn: Vec<f64> = (0..20_000).map(|_| parzen.draw(&mut rng)).collect();
        let left = drawn.iter().filter(|place| **place < 0.5).count() as f64 / 20_000.0;
        let expected: f64 =
            (0..cells).map(at).filter(|x| *x < 0.5).map(|x| parzen.density(x)).sum::<f64>() * 4.0 / cells as f64;
        assert!((left - expected).abs() < 0.02, "{left} {expected}");
    }

    /// A valley along one dimension, and a choice that matters.
    fn badness(place: &[f64]) -> f64 {
        (place[0] - (3e-3f64).ln()).powi(2) + if place[1] as usize == 2 { 0.0 } else { 3.0 }
    }

    #[test]
    fn it_finds_a_valley_sooner_than_chance() {
        let dimensions =
            ["learning_rate=log(1e-6,1)", "batch_size=[8,16,32,64]"].map(|d| super::Dimension::parse(d).unwrap());
        let search = |seed: u64, clever: bool| {
            let mut seen: Vec<Seen> = Vec::new();
            for trial in 0..40 {
                let mut rng = keyed_rng(seed, "tune", 0, trial);
                let place = if !clever || seen.len() < FIRST {
                    dimensions.iter().map(|dimension| dimension.draw(&mut rng)).collect()
                } else {
                    suggest(&dimensions, &seen, &mut rng)
                };
                seen.push((place.clone(), badness(&place)));
            }
            seen.iter().map(|seen| seen.1).fold(f64::INFINITY, f64::min)
        };
        let mean = |clever| (0..20).map(|seed| search(seed, clever)).sum::<f64>() / 20.0;
        let (clever, chance) = (mean(true), mean(false));
        assert!(clever < 0.3 * chance, "{clever} {chance}");
    }
}
