//! The response cache: outputs by inputs, bounded in bytes.
//!
//! A cache belongs to one runner, so it answers for one version only, and a version that goes takes its
//! answers with it. The key is a SHA-256 of dtypes, shapes and elements.

use std::sync::Arc;

use quick_cache::Weighter;
use quick_cache::sync::Cache;
use sha2::{Digest, Sha256};

use crate::metrics::CacheMetrics;
use crate::tensor::Tensor;

/// The key of a request.
pub(crate) type Key = [u8; 32];

type Outputs = Arc<Vec<Tensor>>;

/// The bytes that an entry takes beside its outputs.
const ENTRY_BYTES: usize = 160;

#[derive(Debug, Clone)]
struct Bytes;

impl Weighter<Key, Outputs> for Bytes {
    fn weight(&self, _: &Key, outputs: &Outputs) -> u64 {
        let tensor = |tensor: &Tensor| tensor.data().bytes() + size_of_val(tensor.shape());
        (ENTRY_BYTES + outputs.iter().map(tensor).sum::<usize>()) as u64
    }
}

/// The answers of one runner.
#[derive(Debug)]
pub(crate) struct ResponseCache {
    cache: Cache<Key, Outputs, Bytes>,
    metrics: CacheMetrics,
}

impl ResponseCache {
    /// Makes room for this many bytes of keys and outputs.
    pub(crate) fn new(bytes: u64, metrics: CacheMetrics) -> Self {
        let entries = (bytes / (2 * ENTRY_BYTES as u64)).clamp(1, 1 << 20) as usize;
        Self { cache: Cache::with_weighter(entries, bytes, Bytes), metrics }
    }

    /// Returns the key of these inputs.
    pub(crate) fn key(inputs: &[Tensor]) -> Key {
        let mut hash = Sha256::new();
        for input in inputs {
            hash.update([input.dtype() as u8, input.shape().len() as u8]);
            input.shape().iter().for_each(|dim| hash.update((*dim as u64).to_le_bytes()));
            input.data().feed(|bytes| hash.update(bytes));
        }
        hash.finalize().into()
    }

    /// Returns the outputs under a key if there are any, and counts a hit or a miss.
    pub(crate) fn get(&self, key: &Key) -> Option<Outputs> {
        let found = self.cache.get(key);
        if found.is_some() {
            self.metrics.hits.inc()
        } else {
            self.metrics.misses.inc()
        }
        found
    }

    /// Forgets all outputs.
    pub(crate) fn clear(&self) {
        self.cache.clear();
        self.metrics.bytes.set(0.0);
    }

    /// Keeps outputs under a key.
    pub(crate) fn insert(&self, key: Key, outputs: Outputs) {
        self.cache.insert(key, outputs);
        self.metrics.bytes.set(self.cache.weight() as f64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Metrics;

    fn cache(bytes: u64) -> ResponseCache {
        let metrics = Metrics::new().unwrap().bind_servable("m", "1").unwrap();
        ResponseCache::new(bytes, metrics.cache().unwrap())
    }

    fn tensor(numbers: &[f32]) -> Tensor {
        Tensor::new(vec![1, numbers.len()], numbers.to_vec()).unwrap()
    }

    #[test]
    fn inputs_that_differ_in_anything_have_keys_of_their_own() {
        let keys = [
            ResponseCache::key(&[tensor(&[1.0, 2.0])]),
            ResponseCache::key(&[tensor(&[1.0, 2.5])]),
            ResponseCache::key(&[Tensor::new(vec![2, 1], vec![1.0f32, 2.0]).unwrap()]),
            ResponseCache::key(&[Tensor::new(vec![1, 2], vec![1i32, 2]).unwrap()]),
            ResponseCache::key(&[tensor(&[1.0]), tensor(&[2.0])]),
            ResponseCache::key(&[Tensor::new(vec![1, 2], vec!["ab".to_owned(), "c".to_owned()]).unwrap()]),
            ResponseCache::key(&[Tensor::new(vec![1, 2], vec!["a".to_owned(), "bc".to_owned()]).unwrap()]),
        ];
        let distinct: std::collections::BTreeSet<_> = keys.iter().collect();
        assert_eq!(distinct.len(), keys.len());
        assert_eq!(ResponseCache::key(&[tensor(&[1.0, 2.0])]), keys[0]);
    }

    #[test]
    fn it_never_holds_more_bytes_than_it_may() {
        let cache = cache(100_000);
        for number in 0..2000 {
            cache.insert(ResponseCache::key(&[tensor(&[number as f32])]), Arc::new(vec![tensor(&[0.0; 100])]));
            assert!(cache.cache.weight() <= 100_000);
        }
        assert!(cache.cache.len() > 50);
        let last = ResponseCache::key(&[tensor(&[-1.0])]);
        assert!(cache.get(&last).is_none());
        cache.insert(last, Arc::new(vec![tensor(&[7.0])]));
        assert_eq!(cache.get(&last).unwrap()[0], tensor(&[7.0]));
        assert_eq!((cache.metrics.hits.get(), cache.metrics.misses.get()), (1, 1));
    }
}
