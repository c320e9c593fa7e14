//! The requests of each caller that are under way: they hold a slot until their answer has been sent.
//!
//! A caller is kept for as long as one of its requests is, so that the memory is bounded by the connections. The map is
//! in shards, each with a lock of its own, and is not looked at where no caller has such a limit.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};
use std::num::NonZeroU32;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use http_body::{Body, Frame, SizeHint};

use super::who::Who;
use crate::error::{Error, Result};

/// The parts of the map, of which callers share few.
const SHARDS: usize = 64;

/// The time after which a refused caller may try again: when one of its own requests ends is its own to know.
const RETRY_SECONDS: u32 = 1;

/// The number of requests of each caller.
#[derive(Debug)]
pub(super) struct Slots {
    shards: [Mutex<HashMap<Who, u32>>; SHARDS],
    hasher: RandomState,
}

impl Slots {
    pub(super) fn new() -> Self {
        Self { shards: std::array::from_fn(|_| Mutex::default()), hasher: RandomState::new() }
    }

    /// Takes a slot of a caller that may have `most` at the same time.
    ///
    /// # Errors
    /// [`Error::TooManyAtOnce`] when it has as many.
    pub(super) fn take(self: &Arc<Self>, who: Who, most: NonZeroU32) -> Result<Slot> {
        let mut shard = self.shard(&who);
        let taken = shard.entry(who).or_default();
        if *taken >= most.get() {
            return Err(Error::TooManyAtOnce { limit: most.get(), retry_after_seconds: RETRY_SECONDS });
        }
        *taken += 1;
        drop(shard);
        Ok(Slot { slots: self.clone(), who })
    }

    fn shard(&self, who: &Who) -> MutexGuard<'_, HashMap<Who, u32>> {
        let place = self.hasher.hash_one(who) as usize % SHARDS;
        // Nothing that can panic runs under the lock.
        self.shards[place].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The place of a request among those of its caller, given back on drop.
#[derive(Debug)]
pub(in crate::api) struct Slot {
    slots: Arc<Slots>,
    who: Who,
}

impl Slot {
    /// Returns a body that holds the slot until it has been sent.
    pub(in crate::api) fn held_by<B>(self, body: B) -> Holding<B> {
        Holding { body, _slot: self }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut shard = self.slots.shard(&self.who);
        match shard.get_mut(&self.who) {
            Some(taken) if *taken > 1 => *taken -= 1,
            _ => drop(shard.remove(&self.who)),
        }
    }
}

/// A body that holds a slot.
#[derive(Debug)]
pub(in crate::api) struct Holding<B> {
    body: B,
    _slot: Slot,
}

impl<B: Body + Unpin> Body for Holding<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<std::result::Result<Frame<B::Data>, B::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    #[test]
    fn a_caller_has_so_many_at_once_and_is_forgotten_after_the_last() {
        let slots = Arc::new(Slots::new());
        let two = NonZeroU32::new(2).unwrap();
        let who = |last| Who::Network(Ipv4Addr::new(192, 0, 2, last).into());
        let one = slots.take(who(1), two).unwrap();
        let held = slots.take(who(1), two).unwrap().held_by(http_body_util::Full::new(bytes::Bytes::from_static(b"x")));
        assert_eq!((held.size_hint().exact(), held.is_end_stream()), (Some(1), false));
        let refused = slots.take(who(1), two).unwrap_err();
        assert!(matches!(refused, Error::TooManyAtOnce { limit: 2, .. }), "{refused}");
        let other = slots.take(who(2), two).unwrap();
        drop(one);
        let again = slots.take(who(1), two).unwrap();
        slots.take(who(1), two).unwrap_err();
        drop((again, held, other));
        assert!(slots.shards.iter().all(|shard| shard.lock().unwrap().is_empty()));
    }
}
