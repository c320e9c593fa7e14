//! How many samples drift is looked for in: all of them, or under load a random share of bounded cost.

use std::time::Instant;

/// The seconds whose allowance may be saved up for a burst.
const SECONDS: f64 = 5.0;

/// A number of samples that comes back with time.
#[derive(Debug)]
pub(super) struct Allowance {
    per_second: f64,
    left: f64,
    at: Instant,
    random: u64,
}

/// The share of a batch that is looked at.
#[derive(Debug)]
pub(super) struct Share {
    /// Of 2⁶⁴ samples so many are taken; `None` for all.
    of_all: Option<u64>,
    random: u64,
    taken: u64,
}

impl Allowance {
    /// Allows so many samples a second on the average; all if it is 0.
    pub(super) fn new(per_second: usize) -> Self {
        let per_second = per_second as f64;
        Self { per_second, left: per_second * SECONDS, at: Instant::now(), random: 0 }
    }

    /// Returns the share of a batch of this size. Each of its samples has the same chance, whatever it is and whatever
    /// stands beside it, so that a share is distributed as the whole is.
    pub(super) fn share(&mut self, count: usize, now: Instant) -> Share {
        let since = now.saturating_duration_since(self.at).as_secs_f64();
        self.left = (self.left + since * self.per_second).min(self.per_second * SECONDS);
        self.at = now;
        let fits = self.per_second == 0.0 || count as f64 <= self.left;
        let of_all = (!fits).then(|| (self.left.max(0.0) / count as f64 * 2f64.powi(64)) as u64);
        Share { of_all, random: self.random, taken: 0 }
    }

    /// Counts what was taken.
    pub(super) fn settle(&mut self, share: &Share) {
        self.left -= share.taken as f64;
        self.random = share.random;
    }
}

impl Share {
    /// Returns true if the next sample is to be looked at.
    pub(super) fn takes(&mut self) -> bool {
        let takes = match self.of_all {
            None => true,
            Some(of_all) => self.next() < of_all,
        };
        self.taken += u64::from(takes);
        takes
    }

    /// Returns the next number of a generator (Steele, Lea and Flood 2014, "SplitMix").
    fn next(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.random ^ (self.random >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn taken(allowance: &mut Allowance, count: usize, now: Instant) -> usize {
        let mut share = allowance.share(count, now);
        let taken = (0..count).filter(|_| share.takes()).count();
        allowance.settle(&share);
        taken
    }

    #[test]
    fn a_burst_is_taken_whole_and_steady_load_by_a_fair_share() {
        let mut allowance = Allowance::new(1000);
        let mut now = Instant::now();
        assert_eq!(taken(&mut allowance, 4900, now), 4900);
        let (mut all, mut odd) = (0, 0);
        for _ in 0..1000 {
            now += Duration::from_millis(10);
            let mut share = allowance.share(400, now);
            let places: Vec<usize> = (0..400).filter(|_| share.takes()).collect();
            allowance.settle(&share);
            all += places.len();
            odd += places.iter().filter(|place| *place % 2 == 1).count();
        }
        assert!((9_800..10_300).contains(&all), "10 s of 1,000 a second: {all}");
        assert!((0.48..0.52).contains(&(odd as f64 / all as f64)), "whatever the rhythm of requests: {odd} of {all}");
    }

    #[test]
    fn without_a_limit_all_are_taken() {
        let mut allowance = Allowance::new(0);
        assert_eq!(taken(&mut allowance, 100_000, Instant::now()), 100_000);
    }
}
