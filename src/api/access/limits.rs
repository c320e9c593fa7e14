//! Limits of a caller, which is a key, or an address without one: a bucket of requests, and slots for those under way.
//!
//! A bucket holds `burst` requests and gets `per_second` new ones in a second (the generic cell rate algorithm, by
//! governor). The buckets of [`MAX_CALLERS`] callers are kept; of more, whole networks share one.

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use arc_swap::ArcSwap;
use governor::clock::{Clock, DefaultClock};
use governor::middleware::NoOpMiddleware;
use governor::state::keyed::DashMapStateStore;
use governor::{Quota, RateLimiter};

use super::slots::{Slot, Slots};
use super::who::Who;
use crate::api::peer::Peer;
use crate::error::{Error, Result};
use crate::keys::{Key, Rate};

/// The callers whose buckets are kept: some 10 MB.
const MAX_CALLERS: usize = 100_000;
/// The requests between two looks for buckets that are full again, which need not be kept.
const SWEEP: u32 = 1024;

/// The limits of this server: one for everybody, and those that keys have of their own.
#[derive(Debug)]
pub(super) struct Limits {
    everybody: Option<Limiter>,
    own: ArcSwap<HashMap<Rate, Arc<Limiter>>>,
    /// The most requests of a caller at the same time.
    concurrency: Option<NonZeroU32>,
    slots: Arc<Slots>,
}

impl Limits {
    /// Limits everybody to a rate, and to so many requests at the same time; without these only keys that have their own.
    pub(super) fn new(rate: Option<Rate>, concurrency: Option<NonZeroU32>) -> Self {
        let slots = Arc::new(Slots::new());
        Self { everybody: rate.map(Limiter::new), own: ArcSwap::default(), concurrency, slots }
    }

    /// Returns true if callers without a key have a limit.
    pub(super) fn is_for_everybody(&self) -> bool {
        self.everybody.is_some() || self.concurrency.is_some()
    }

    /// Takes a request out of the caller's bucket and gives it one of the caller's slots, if these are limited. Requests
    /// that this process makes itself are not.
    ///
    /// # Errors
    /// [`Error::TooManyAtOnce`] when the caller has no slot left; [`Error::RateLimited`] when the bucket is empty.
    pub(super) fn take(&self, key: Option<&Key>, peer: Option<Peer>) -> Result<Option<Slot>> {
        let most = key.and_then(|key| key.concurrency).or(self.concurrency);
        let who = most.and_then(|_| Who::of(key, peer, false));
        let slot = most.zip(who).map(|(most, who)| self.slots.take(who, most)).transpose()?;
        self.take_from_bucket(key, peer).map(|()| slot)
    }

    fn take_from_bucket(&self, key: Option<&Key>, peer: Option<Peer>) -> Result<()> {
        match (key.and_then(|key| key.rate), &self.everybody) {
            (Some(rate), _) => self.own(rate).take(key, peer),
            (None, Some(everybody)) => everybody.take(key, peer),
            (None, None) => Ok(()),
        }
    }

    /// Returns the limiter of the keys with this rate. It outlives a change of their file.
    fn own(&self, rate: Rate) -> Arc<Limiter> {
        if let Some(limiter) = self.own.load().get(&rate) {
            return limiter.clone();
        }
        let new = Arc::new(Limiter::new(rate));
        self.own.rcu(|known| {
            let mut known = HashMap::clone(known);
            known.entry(rate).or_insert_with(|| new.clone());
            known
        });
        self.own.load().get(&rate).cloned().unwrap_or(new)
    }
}

type Buckets<C> = RateLimiter<Who, DashMapStateStore<Who>, C, NoOpMiddleware<<C as Clock>::Instant>>;

/// The buckets of one rate.
#[derive(Debug)]
struct Limiter<C: Clock = DefaultClock> {
    buckets: Buckets<C>,
    clock: C,
    taken: AtomicU32,
    /// More callers than are kept have come.
    is_crowded: AtomicBool,
}

impl Limiter {
    fn new(rate: Rate) -> Self {
        Self::with_clock(rate, DefaultClock::default())
    }
}

impl<C: Clock + Clone> Limiter<C> {
    fn with_clock(rate: Rate, clock: C) -> Self {
        let buckets = RateLimiter::dashmap_with_clock(quota(rate), clock.clone());
        Self { buckets, clock, taken: AtomicU32::new(0), is_crowded: AtomicBool::new(false) }
    }

    /// Takes a request out of the caller's bucket. Requests that this process makes itself have none.
    ///
    /// # Errors
    /// [`Error::RateLimited`] when it is empty.
    fn take(&self, key: Option<&Key>, peer: Option<Peer>) -> Result<()> {
        let Some(who) = Who::of(key, peer, self.is_crowded.load(Ordering::Relaxed)) else { return Ok(()) };
        if self.taken.fetch_add(1, Ordering::Relaxed) % SWEEP == SWEEP - 1 && self.buckets.len() > MAX_CALLERS / 2 {
            self.buckets.retain_recent();
            self.is_crowded.store(self.buckets.len() > MAX_CALLERS, Ordering::Relaxed);
        }
        self.buckets.check_key(&who).map_err(|until| {
            let wait = until.wait_time_from(self.clock.now());
            let retry_after_seconds = u32::try_from(wait.as_secs()).unwrap_or(u32::MAX).saturating_add(1);
            Error::RateLimited { retry_after_seconds }
        })
    }
}

fn quota(rate: Rate) -> Quota {
    // A period is never zero.
    let quota = Quota::with_period(rate.period()).unwrap_or(Quota::per_second(NonZeroU32::MIN));
    quota.allow_burst(rate.burst())
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};
    use std::time::Duration;

    use governor::clock::FakeRelativeClock;

    use super::*;

    fn limits(per_second: f64, burst: Option<u32>) -> (Limiter<FakeRelativeClock>, FakeRelativeClock) {
        let clock = FakeRelativeClock::default();
        (Limiter::with_clock(Rate::new(per_second, burst).unwrap(), clock.clone()), clock)
    }

    fn key(digest: u8, rate: Option<Rate>) -> Key {
        Key { name: "k".into(), sha256: Some([digest; 32]), rate, ..Key::default() }
    }

    fn peer(address: &str) -> Option<Peer> {
        Some(Peer::new((address.parse::<IpAddr>().unwrap(), 1).into()))
    }

    #[test]
    fn a_caller_has_a_burst_and_then_the_rate_and_is_told_when_to_come_again() {
        let (limits, clock) = limits(0.5, Some(3));
        let take = |address| limits.take(None, peer(address));
        for _ in 0..3 {
            take("192.0.2.1").unwrap();
        }
        let refused = take("192.0.2.1").unwrap_err();
        assert!(matches!(refused, Error::RateLimited { retry_after_seconds: 2 | 3, .. }), "{refused}");
        take("192.0.2.2").unwrap();
        clock.advance(Duration::from_millis(1999));
        take("192.0.2.1").unwrap_err();
        clock.advance(Duration::from_millis(2));
        take("192.0.2.1").unwrap();
        take("192.0.2.1").unwrap_err();
        for _ in 0..100 {
            limits.take(None, None).unwrap();
        }
    }

    #[test]
    fn keys_have_limits_of_their_own_and_those_without_share_that_of_everybody() {
        let own = Rate::new(0.001, Some(3));
        let none = Limits::new(None, None);
        assert!(!none.is_for_everybody());
        for _ in 0..3 {
            none.take(Some(&key(1, own)), None).unwrap();
            none.take(Some(&key(2, own)), None).unwrap();
        }
        none.take(Some(&key(1, own)), None).unwrap_err();
        for _ in 0..10 {
            none.take(Some(&key(3, None)), peer("192.0.2.1")).unwrap();
        }
        let one = Limits::new(Rate::new(0.001, Some(1)), None);
        one.take(Some(&key(3, None)), None).unwrap();
        one.take(Some(&key(3, None)), None).unwrap_err();
        for _ in 0..3 {
            one.take(Some(&key(1, own)), None).unwrap();
        }
        one.take(None, peer("192.0.2.1")).unwrap();
        one.take(None, peer("192.0.2.1")).unwrap_err();
    }

    #[test]
    fn slots_are_those_of_the_key_or_of_everybody_and_are_taken_before_the_bucket() {
        let most = |count| NonZeroU32::new(count);
        let limits = Limits::new(Rate::new(0.001, Some(2)), most(1));
        assert!(limits.is_for_everybody());
        let held = limits.take(None, peer("192.0.2.1")).unwrap();
        for _ in 0..5 {
            let refused = limits.take(None, peer("192.0.2.1")).unwrap_err();
            assert!(matches!(refused, Error::TooManyAtOnce { limit: 1, .. }), "{refused}");
        }
        drop(held);
        assert!(limits.take(None, peer("192.0.2.1")).unwrap().is_some(), "refusals took nothing");
        assert!(matches!(limits.take(None, peer("192.0.2.1")), Err(Error::RateLimited { .. })));
        assert!(limits.take(None, None).unwrap().is_none());
        let none = Limits::new(None, None);
        assert!(!none.is_for_everybody() && none.take(Some(&key(1, None)), None).unwrap().is_none());
        let own = Key { concurrency: most(2), ..key(1, None) };
        let both = [none.take(Some(&own), None).unwrap(), none.take(Some(&own), None).unwrap()];
        assert!(both.iter().all(Option::is_some) && none.take(Some(&own), None).is_err());
        assert!(none.take(Some(&Key { concurrency: most(1), ..key(2, None) }), None).is_ok(), "another key");
    }

    #[test]
    fn a_network_of_ipv6_is_one_caller_and_a_key_is_another() {
        let (limits, _) = limits(1.0, None);
        limits.take(None, peer("2001:db8::1")).unwrap();
        limits.take(None, peer("2001:db8::2")).unwrap_err();
        limits.take(None, peer("2001:db8:0:1::1")).unwrap();
        for digest in [1, 2] {
            limits.take(Some(&key(digest, None)), peer("2001:db8::1")).unwrap();
            limits.take(Some(&key(digest, None)), peer("2001:db8:9::1")).unwrap_err();
        }
    }

    #[test]
    fn a_flood_of_addresses_takes_bounded_memory_and_ends() {
        let (limits, clock) = limits(1.0, Some(10));
        for bits in 0..400_000_u32 {
            // Some are refused when whole networks share a bucket.
            drop(limits.take(None, Some(Peer::new((Ipv4Addr::from_bits(bits * 101), 1).into()))));
        }
        let kept = limits.buckets.len();
        assert!((MAX_CALLERS..=MAX_CALLERS + SWEEP as usize + (1 << 16)).contains(&kept), "{kept}");
        clock.advance(Duration::from_secs(60));
        for _ in 0..SWEEP {
            drop(limits.take(None, peer("192.0.2.1")));
        }
        assert!(limits.buckets.len() < 10 && !limits.is_crowded.load(Ordering::Relaxed));
    }
}
