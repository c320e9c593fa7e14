//! Hashes of the parts of a text. Published models depend on them: they never change.

use crate::signature::GRAM_BUCKETS;

/// What a part of a text is, which sets equal texts apart.
#[derive(Clone, Copy)]
pub(super) enum Kind {
    Word = 1,
    Pair = 2,
    Run = 3,
}

/// A hash of bytes by FNV-1a (Fowler, Noll and Vo).
#[derive(Clone, Copy)]
pub(super) struct Hash(u64);

impl Hash {
    /// That of a gram before its first byte.
    pub(super) fn new(kind: Kind) -> Self {
        Self(0xcbf2_9ce4_8422_2325).add(&[kind as u8])
    }

    /// Returns the hash with further bytes.
    pub(super) fn add(self, bytes: &[u8]) -> Self {
        Self(bytes.iter().fold(self.0, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)))
    }

    /// Returns the hash of a pair of words, from those of the words.
    pub(super) fn pair(self, next: Self) -> Self {
        Self(self.0.rotate_left(23) ^ next.0).mixed()
    }

    /// Returns the hash of a few bytes that are a number.
    pub(super) fn of_number(kind: Kind, number: u32) -> Self {
        Self(u64::from(number) | ((kind as u64) << 32)).mixed()
    }

    /// Returns a hash whose bits all depend on all others (the end of MurmurHash3, Appleby 2011).
    fn mixed(self) -> Self {
        let mut bits = self.0;
        bits = (bits ^ (bits >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
        bits = (bits ^ (bits >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
        Self(bits ^ (bits >> 33))
    }

    /// Folds the hash to as many bits as there are buckets.
    pub(super) fn bucket(self) -> usize {
        (self.0 ^ (self.0 >> 32)) as usize % GRAM_BUCKETS
    }
}
