//! The share of requests whose samples are kept, chosen by a hash of their identifier: every server with the same share
//! chooses the same ones, and knows of a label whether its prediction was chosen.

use sha2::{Digest, Sha256};

/// A probability in millionths.
const WHOLE: f64 = 1e6;

/// The share of requests whose samples are kept.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct KeptShare(f64);

impl KeptShare {
    /// All of them.
    pub const ALL: Self = Self(1.0);

    /// Returns a share from 0 to 1; what is beyond is one of them.
    pub fn new(share: f64) -> Self {
        Self(share.clamp(0.0, 1.0))
    }

    /// Returns true if the samples of a request are kept, by the identifier that its response carried. All samples of a
    /// request are kept, or none.
    pub fn keeps(self, identifier: &str) -> bool {
        if self.0 >= 1.0 {
            return true;
        }
        let hash = Sha256::digest(identifier);
        let number = hash.first_chunk().map_or(0, |bytes| u64::from_be_bytes(*bytes));
        ((number >> 11) as f64) < self.0 * (1u64 << 53) as f64
    }

    /// Returns the probability with which a sample is kept, in millionths: the weight of one that is kept is a million over
    /// it.
    pub fn millionths(self) -> u32 {
        (self.0 * WHOLE).round().max(1.0) as u32
    }
}

impl std::fmt::Display for KeptShare {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_kept_and_a_larger_one_keeps_the_same_and_more() {
        let identifiers: Vec<String> = (0..20_000).map(|number| uuid::Uuid::from_u128(number).to_string()).collect();
        let kept = |share: f64| -> Vec<bool> {
            identifiers.iter().map(|identifier| KeptShare::new(share).keeps(identifier)).collect()
        };
        let (few, more) = (kept(0.1), kept(0.4));
        let count = |kept: &[bool]| kept.iter().filter(|kept| **kept).count();
        // Four standard errors.
        assert!(count(&few).abs_diff(2000) < 170 && count(&more).abs_diff(8000) < 280);
        assert!(few.iter().zip(&more).all(|(few, more)| *more || !*few));
        assert_eq!((count(&kept(0.0)), count(&kept(1.0))), (0, 20_000));
        assert_eq!([0.25, 1.0, 0.0].map(|share| KeptShare::new(share).millionths()), [250_000, 1_000_000, 1]);
    }
}
