//! Random numbers by key, so that every draw is the same on any thread and after any interruption.

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

/// Returns the generator for one purpose at one place of a run.
pub(super) fn keyed_rng(seed: u64, purpose: &str, epoch: u64, step: u64) -> ChaCha8Rng {
    let mut key = [0; 32];
    key[..8].copy_from_slice(&seed.to_le_bytes());
    for (slot, byte) in key[8..16].iter_mut().zip(purpose.bytes()) {
        *slot = byte;
    }
    key[16..24].copy_from_slice(&epoch.to_le_bytes());
    key[24..].copy_from_slice(&step.to_le_bytes());
    ChaCha8Rng::from_seed(key)
}
