//! The unusualness of one value among those of a reference, as a p-value.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Ranks of a reference's values, exact where they are low and coarser above: what a p-value of a low value needs,
/// small enough for a manifest.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Ranks {
    /// The number of values.
    pub samples: u64,
    /// Some of them, ascending.
    pub values: Vec<f64>,
    /// The number of values up to each of these, itself included.
    pub ranks: Vec<u64>,
}

/// Ranks up to this one are all kept; above, the next kept one is larger by a sixteenth.
const EXACT: usize = 16;

impl Ranks {
    /// Makes ranks of values; what is not finite is left out.
    pub fn new(values: impl IntoIterator<Item = f64>) -> Self {
        let mut sorted: Vec<f64> = values.into_iter().filter(|value| value.is_finite()).collect();
        sorted.sort_unstable_by(f64::total_cmp);
        let mut ranks = Self { samples: sorted.len() as u64, values: Vec::new(), ranks: Vec::new() };
        let mut rank = 1;
        while rank <= sorted.len() {
            let value = sorted[rank - 1];
            let below = sorted.partition_point(|other| *other < value);
            let up_to = sorted.partition_point(|other| *other <= value);
            // Many equal ones would hide how many are below them.
            if up_to > below + 1 && below as u64 > ranks.ranks.last().copied().unwrap_or(0) {
                ranks.values.push(sorted[below - 1]);
                ranks.ranks.push(below as u64);
            }
            ranks.values.push(value);
            ranks.ranks.push(up_to as u64);
            rank = up_to + (up_to / EXACT).max(1);
        }
        if let (Some(last), Some(kept)) = (sorted.last(), ranks.values.last())
            && last > kept
        {
            ranks.values.push(*last);
            ranks.ranks.push(ranks.samples);
        }
        ranks
    }

    /// Returns the p-value of a value for being lower than usual, (1 + values up to it) / (1 + values). Between two
    /// kept values it is the most that it can be, so it is never too small.
    pub fn p_value(&self, value: f64) -> f64 {
        let at = self.values.partition_point(|kept| *kept < value);
        let rank = match (self.values.get(at), self.ranks.get(at)) {
            (Some(kept), Some(rank)) if *kept > value => rank - 1,
            (Some(_), Some(rank)) => *rank,
            (None, _) | (_, None) => self.samples,
        };
        (1 + rank) as f64 / (1 + self.samples) as f64
    }
}

/// Returns one value for several p-values of a sample, lower the less usual it is: Σ ln p (Fisher 1925). As these
/// depend on each other, its own p-value is a rank among those of a reference.
pub fn combined(p_values: &[f64]) -> f64 {
    p_values.iter().map(|p| p.max(f64::MIN_POSITIVE).ln()).sum()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn p_values_are_exact_where_they_are_small() {
        let ranks = Ranks::new((1..=5000).map(f64::from));
        assert_eq!(ranks.p_value(0.5), 1.0 / 5001.0);
        for value in 1..=16u32 {
            assert_eq!(ranks.p_value(f64::from(value)), f64::from(value + 1) / 5001.0);
        }
        assert_eq!(ranks.p_value(6000.0), 1.0);
        assert!(ranks.values.len() < 150, "{}", ranks.values.len());
        assert_eq!(Ranks::new([f64::NAN]).p_value(1.0), 1.0);
        assert_eq!(combined(&[0.1, 0.01]), 0.1f64.ln() + 0.01f64.ln());
    }

    proptest! {
        #[test]
        fn a_p_value_is_never_below_the_exact_one_and_at_most_a_tenth_above(
            values in prop::collection::vec(-500i16..500, 1..800), asked in -600i16..600,
        ) {
            let ranks = Ranks::new(values.iter().map(|value| f64::from(*value)));
            let exact = (1 + values.iter().filter(|value| **value <= asked).count()) as f64 / (1 + values.len()) as f64;
            let found = ranks.p_value(f64::from(asked));
            prop_assert!(found >= exact && found <= 1.0);
            if values.contains(&asked) {
                prop_assert!(found <= exact * 1.1 + 1e-12, "{} {}", found, exact);
            }
            prop_assert_eq!(*ranks.ranks.last().unwrap(), values.len() as u64);
        }
    }
}
