//! A budget of bytes: all request bodies in memory together. A slow client holds no more of it than
//! it has sent.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Bytes that may be held at once.
#[derive(Debug)]
pub(super) struct ByteBudget {
    limit: usize,
    held: AtomicUsize,
}

/// A part of a budget, given back on drop.
#[derive(Debug)]
pub(super) struct Held {
    budget: Arc<ByteBudget>,
    bytes: usize,
}

impl ByteBudget {
    pub(super) fn new(limit: usize) -> Self {
        Self { limit, held: AtomicUsize::new(0) }
    }

    /// Holds nothing yet.
    pub(super) fn open(self: &Arc<Self>) -> Held {
        Held { budget: self.clone(), bytes: 0 }
    }
}

impl Held {
    /// Takes more; false, and nothing taken, when the budget does not have it.
    pub(super) fn grow(&mut self, bytes: usize) -> bool {
        let before = self.budget.held.fetch_add(bytes, Ordering::Relaxed);
        if before.saturating_add(bytes) > self.budget.limit {
            self.budget.held.fetch_sub(bytes, Ordering::Relaxed);
            return false;
        }
        self.bytes += bytes;
        true
    }

    /// Gives back all that is held.
    pub(super) fn release(&mut self) {
        self.budget.held.fetch_sub(std::mem::take(&mut self.bytes), Ordering::Relaxed);
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.budget.held.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_is_exact_and_everything_comes_back() {
        let budget = Arc::new(ByteBudget::new(10));
        let (mut a, mut b) = (budget.open(), budget.open());
        assert!(a.grow(6) && b.grow(4));
        assert!(!a.grow(1));
        drop(b);
        assert!(a.grow(4) && !a.grow(1));
        drop(a);
        assert_eq!(budget.held.load(Ordering::Relaxed), 0);
    }
}
