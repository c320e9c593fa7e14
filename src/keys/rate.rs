//! The limit of a caller.

use std::num::NonZeroU32;
use std::time::Duration;

/// A limit of the requests of one caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Rate {
    /// The time in which one more request is free.
    period: Duration,
    burst: NonZeroU32,
}

impl Rate {
    /// The greatest number of requests in a second.
    pub const MAX_PER_SECOND: f64 = 1e6;

    /// Returns a limit of `per_second` requests, of which `burst` may come at once; without a number, those of a
    /// second. Returns `None` unless `per_second` is from 0.001 to [`Rate::MAX_PER_SECOND`] `burst` is above 0,
    /// and a bucket fills within 500 years.
    pub fn new(per_second: f64, burst: Option<u32>) -> Option<Self> {
        if !(1e-3..=Self::MAX_PER_SECOND).contains(&per_second) {
            return None;
        }
        let burst = NonZeroU32::new(burst.unwrap_or(per_second.ceil() as u32))?;
        let period = Duration::from_secs_f64(1.0 / per_second);
        // The time in which a bucket fills is counted in 64 bits.
        let fills = period.as_nanos().checked_mul(u128::from(burst.get()))?;
        (fills <= u128::from(u64::MAX)).then_some(Self { period, burst })
    }

    /// Returns the number of requests in a second.
    pub fn per_second(self) -> f64 {
        1.0 / self.period.as_secs_f64()
    }

    /// Returns the time in which one more request is free.
    pub fn period(self) -> Duration {
        self.period
    }

    /// Returns the number of requests that may come at once.
    pub fn burst(self) -> NonZeroU32 {
        self.burst
    }
}
