//! The search for the largest rate that meets a service level: doubling, then bisection.

/// The smallest rate, in requests per second.
pub const MIN_RATE: f64 = 1.0;
/// The largest rate.
pub const MAX_RATE: f64 = 1e6;

/// A search that is told the outcome of each trial. It neither waits nor measures itself.
///
/// A rate counts as missed only when it is missed twice in a row: one pause of the machine must not end the search far
/// below the capacity of the server.
#[derive(Debug, Clone)]
pub struct RateSearch {
    /// The largest rate that met the service level.
    met: Option<f64>,
    /// The smallest rate that missed it twice.
    missed: Option<f64>,
    trial: f64,
    second_chance: bool,
    precision: f64,
}

impl RateSearch {
    /// Begins at `start` and ends when the largest rate is known to a factor of `1 + precision`.
    pub fn new(start: f64, precision: f64) -> Self {
        let trial = start.clamp(MIN_RATE, MAX_RATE);
        Self { met: None, missed: None, trial, second_chance: true, precision: precision.max(1e-3) }
    }

    /// Returns the rate to try next, or `None` when the search is over.
    pub fn next_trial(&self) -> Option<f64> {
        let over = match (self.met, self.missed) {
            (Some(met), Some(missed)) => missed / met <= 1.0 + self.precision,
            (Some(met), None) => met >= MAX_RATE,
            (None, Some(missed)) => missed <= MIN_RATE,
            (None, None) => false,
        };
        (!over).then_some(self.trial)
    }

    /// Records the outcome of the trial at [`RateSearch::next_trial`].
    pub fn report(&mut self, met: bool) {
        if !met && self.second_chance {
            self.second_chance = false;
            return;
        }
        self.second_chance = true;
        if met {
            self.met = Some(self.trial);
        } else {
            self.missed = Some(self.trial);
        }
        self.trial = match (self.met, self.missed) {
            // Rates are compared by their ratio, so the middle is the geometric one.
            (Some(met), Some(missed)) => (met * missed).sqrt(),
            (Some(met), None) => (met * 2.0).min(MAX_RATE),
            (None, Some(missed)) => (missed / 2.0).max(MIN_RATE),
            (None, None) => self.trial,
        };
    }

    /// Returns the largest rate so far that met the service level.
    pub fn best(&self) -> Option<f64> {
        self.met
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn run(search: &mut RateSearch, meets: impl Fn(f64, usize) -> bool) -> usize {
        let mut trials = 0;
        while let Some(rate) = search.next_trial() {
            search.report(meets(rate, trials));
            trials += 1;
            assert!(trials < 100, "it ends");
        }
        trials
    }

    #[test]
    fn it_doubles_and_then_bisects() {
        let mut search = RateSearch::new(100.0, 0.05);
        let mut tried = Vec::new();
        while let Some(rate) = search.next_trial() {
            tried.push(rate.round());
            search.report(rate <= 500.0);
        }
        assert_eq!(tried[..5], [100.0, 200.0, 400.0, 800.0, 800.0]);
        assert!(tried[5] > 400.0 && tried[5] < 800.0);
        let best = search.best().unwrap();
        assert!((500.0 / 1.05..=500.0).contains(&best), "{best}");
    }

    #[test]
    fn one_pause_of_the_machine_is_forgiven() {
        let mut search = RateSearch::new(100.0, 0.05);
        run(&mut search, |rate, trial| rate <= 3000.0 && trial != 1);
        assert!(search.best().unwrap() > 2800.0);
    }

    #[test]
    fn nothing_and_everything_end_the_search() {
        let mut search = RateSearch::new(100.0, 0.05);
        assert!(run(&mut search, |_, _| false) < 40);
        assert_eq!(search.best(), None);
        let mut search = RateSearch::new(100.0, 0.05);
        assert!(run(&mut search, |_, _| true) < 40);
        assert_eq!(search.best(), Some(MAX_RATE));
    }

    proptest! {
        #[test]
        fn the_answer_is_within_the_precision(capacity in 2f64..9e5, start in 0.1f64..1e7, precision in 0.01f64..0.5) {
            let mut search = RateSearch::new(start, precision);
            run(&mut search, |rate, _| rate <= capacity);
            let best = search.best().unwrap();
            prop_assert!(best <= capacity && best * (1.0 + precision) >= capacity * 0.999_999);
        }
    }
}
