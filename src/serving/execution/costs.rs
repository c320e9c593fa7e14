//! The measured cost of the requests of a version, by which the length of its queue is judged.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// The part of a request that costs time of a thread.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Load {
    /// The bytes that are decoded before the run, or what is worth as many.
    pub(crate) encoded: u64,
    /// The samples of the run.
    pub(crate) rows: usize,
}

/// The time that decoding and runs took lately.
#[derive(Debug, Default)]
pub(super) struct Costs {
    decoding: Average,
    running: Average,
}

impl Costs {
    /// Takes in that so many bytes were decoded.
    pub(super) fn decoded(&self, encoded: u64, took: Duration) {
        self.decoding.take(encoded, took);
    }

    /// Takes in a run of so many samples.
    pub(super) fn ran(&self, rows: usize, took: Duration) {
        self.running.take(rows as u64, took);
    }

    /// Returns the time that a request is expected to take. `single` is that of a run of one sample as measured when the
    /// version was loaded, for as long as none came by the queue.
    pub(super) fn expected(&self, load: Load, single: Duration) -> Duration {
        let decoding = self.decoding.unit_ns().unwrap_or(0.0) * load.encoded as f64;
        let running = self.running.unit_ns().unwrap_or(single.as_nanos() as f64) * load.rows as f64;
        Duration::from_nanos((decoding + running) as u64)
    }
}

/// Moving averages of the nanoseconds and of the units of what was measured, as the bits of two floats; zero before the
/// first. They are averaged apart, so that what has many units counts for more than what has few.
#[derive(Debug, Default)]
struct Average(AtomicU64);

impl Average {
    fn take(&self, units: u64, took: Duration) {
        const SMOOTHING: f32 = 0.2;
        let last = (took.as_nanos() as f32, units.max(1) as f32);
        let smoothed = |before: f32, last: f32| before + SMOOTHING * (last - before);
        let next = |before: (f32, f32)| (smoothed(before.0, last.0), smoothed(before.1, last.1));
        let (time, units) = self.load().map_or(last, next);
        // Of two threads that write at once one is not heard, which an average bears.
        self.0.store(u64::from(time.to_bits()) << 32 | u64::from(units.to_bits()), Ordering::Relaxed);
    }

    /// Returns the time and the units, which belong together.
    fn load(&self) -> Option<(f32, f32)> {
        let bits = self.0.load(Ordering::Relaxed);
        let averages = (f32::from_bits((bits >> 32) as u32), f32::from_bits(bits as u32));
        (averages.1 > 0.0).then_some(averages)
    }

    fn unit_ns(&self) -> Option<f64> {
        self.load().map(|(time, units)| f64::from(time) / f64::from(units)).filter(|unit| *unit > 0.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_expected_to_take_what_others_took() {
        let (costs, ms) = (Costs::default(), Duration::from_millis);
        let photo = Load { encoded: 4_000_000, rows: 2 };
        assert_eq!(costs.expected(photo, ms(3)), ms(6), "only the run was measured");
        costs.decoded(2_000_000, ms(50));
        costs.ran(8, ms(16));
        assert_eq!(costs.expected(photo, ms(3)), ms(104));
        for _ in 0..60 {
            costs.decoded(1_000_000, ms(100));
        }
        let later = costs.expected(photo, ms(3)).as_secs_f64();
        assert!((0.403..0.405).contains(&later), "{later}");
    }
    #[test]
    fn many_small_ones_do_not_make_large_ones_dear() {
        let (costs, ms) = (Costs::default(), Duration::from_millis);
        // Each has a millisecond that does not depend on its size.
        for _ in 0..40 {
            costs.decoded(1_000, ms(1));
            costs.decoded(1_000_000, ms(100));
        }
        let large = costs.expected(Load { encoded: 1_000_000, rows: 0 }, Duration::ZERO).as_secs_f64();
        assert!((0.099..0.103).contains(&large), "{large}");
    }
}
