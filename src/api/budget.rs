//! The limits that bodies of every protocol share: the pieces of one, and the memory of all together, of which
//! a slow client holds no more than it has sent.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::error::{Error, Result};

/// The most pieces that a body, or a message of a stream, may come in. One of tiny pieces costs far more than its
/// bytes.
pub(super) const MAX_PIECES: usize = 65_536;

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

    /// Checks that so many bytes would be had now.
    ///
    /// # Errors
    /// [`Error::Overloaded`].
    pub(super) fn has_room(&self, bytes: usize) -> Result<()> {
        let is_enough = self.held.load(Ordering::Relaxed).saturating_add(bytes) <= self.limit;
        if is_enough { Ok(()) } else { Err(is_spent()) }
    }

    /// Holds nothing yet.
    pub(super) fn open(self: &Arc<Self>) -> Held {
        Held { budget: self.clone(), bytes: 0 }
    }
}

impl Held {
    /// Takes more.
    ///
    /// # Errors
    /// [`Error::Overloaded`], and nothing taken, when the budget does not have it.
    pub(super) fn grow(&mut self, bytes: usize) -> Result<()> {
        let before = self.budget.held.fetch_add(bytes, Ordering::Relaxed);
        if before.saturating_add(bytes) > self.budget.limit {
            self.budget.held.fetch_sub(bytes, Ordering::Relaxed);
            return Err(is_spent());
        }
        self.bytes += bytes;
        Ok(())
    }

    /// Gives back all that is held.
    pub(super) fn release(&mut self) {
        self.budget.held.fetch_sub(std::mem::take(&mut self.bytes), Ordering::Relaxed);
    }
}

fn is_spent() -> Error {
    Error::Overloaded { what: "request bodies fill the memory set aside for them", retry_after_seconds: 1 }
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
        assert!(a.grow(6).is_ok() && b.grow(4).is_ok());
        assert!(matches!(a.grow(1), Err(Error::Overloaded { .. })));
        assert!(budget.has_room(0).is_ok() && budget.has_room(1).is_err());
        drop(b);
        assert!(a.grow(4).is_ok() && a.grow(1).is_err());
        drop(a);
        assert_eq!(budget.held.load(Ordering::Relaxed), 0);
    }
}
