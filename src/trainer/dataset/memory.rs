//! The memory of one data set, which everything that holds its samples shares: what one store takes is not there for the
//! others.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// A limit in bytes, and what of it is taken. Clones are handles of one budget.
#[derive(Debug, Clone)]
pub(super) struct Budget(Arc<Counters>);

#[derive(Debug)]
struct Counters {
    limit: u64,
    taken: AtomicU64,
    most: AtomicU64,
}

impl Budget {
    /// Returns a budget of which nothing is taken.
    pub(super) fn new(limit: u64) -> Self {
        Self(Arc::new(Counters { limit, taken: AtomicU64::new(0), most: AtomicU64::new(0) }))
    }

    /// Returns a budget without a limit, for what is in memory already.
    pub(super) fn unlimited() -> Self {
        Self::new(u64::MAX)
    }

    /// Returns a reservation of no bytes yet.
    pub(super) fn reservation(&self) -> Reservation {
        Reservation { budget: self.clone(), bytes: 0 }
    }

    /// Returns the most bytes that were taken at once.
    #[cfg(test)]
    pub(super) fn most_taken(&self) -> u64 {
        self.0.most.load(Relaxed)
    }
}

/// A part of a budget, which goes back when it is dropped.
#[derive(Debug)]
pub(super) struct Reservation {
    budget: Budget,
    bytes: u64,
}

impl Reservation {
    /// Takes further bytes, and returns true, if they are left.
    pub(super) fn takes(&mut self, bytes: u64) -> bool {
        let Counters { limit, taken, most } = &*self.budget.0;
        let fits = |taken: u64| taken.checked_add(bytes).filter(|sum| sum <= limit);
        let Ok(before) = taken.fetch_update(Relaxed, Relaxed, fits) else { return false };
        most.fetch_max(before + bytes, Relaxed);
        self.bytes += bytes;
        true
    }

    /// Gives all back.
    pub(super) fn clear(&mut self) {
        self.budget.0.taken.fetch_sub(self.bytes, Relaxed);
        self.bytes = 0;
    }

    /// Returns the budget that it is a part of.
    pub(super) fn budget(&self) -> &Budget {
        &self.budget
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_one_takes_the_other_does_not_get_until_it_is_given_back() {
        let budget = Budget::new(10);
        let (mut one, mut other) = (budget.reservation(), budget.reservation());
        assert!(one.takes(6) && other.takes(4));
        assert!(!one.takes(1) && !other.takes(u64::MAX));
        drop(other);
        assert!(one.takes(4) && !one.takes(1));
        one.clear();
        assert!(one.takes(10));
        assert_eq!(budget.most_taken(), 10);
    }
}
