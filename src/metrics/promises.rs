//! Sets of classes and withheld answers, by version and level.

use std::sync::{Mutex, PoisonError};

use prometheus::{GaugeVec, Opts, Registry};

use super::{register, set_or_remove};
use crate::error::Result;

const LEVEL: [&str; 3] = ["model", "version", "level"];

/// Names and descriptions, in the order of [`PromiseGauges::values`].
const GAUGES: [(&str, &str); 9] = [
    ("weir_conformal_target", "The stated coverage of sets of classes."),
    ("weir_conformal_coverage", "Share of sets that hold the right class, of answers whose truth is known."),
    ("weir_conformal_coverage_low", "Lower end of the 95 % Wilson interval of the coverage."),
    ("weir_conformal_coverage_high", "Upper end of the 95 % Wilson interval of the coverage."),
    ("weir_conformal_set_size", "Mean number of classes in a set, of all answers."),
    (
        "weir_abstention_ratio",
        "Share of answers that had better be withheld, of all answers; level is the rate of errors.",
    ),
    ("weir_answered_accuracy", "Share of right answers among those not withheld; level is the stated rate of errors."),
    ("weir_answered_accuracy_low", "Lower end of the 95 % Wilson interval of the accuracy of answers not withheld."),
    ("weir_answered_accuracy_high", "Upper end of the 95 % Wilson interval of the accuracy of answers not withheld."),
];

/// The families.
#[derive(Debug, Clone)]
pub(super) struct PromiseFamilies(Vec<GaugeVec>);

/// The figures of one level of sets, or of one rate of errors.
#[derive(Debug, Clone, PartialEq)]
pub struct PromiseGauges {
    /// The level or rate.
    pub level: String,
    /// Its figures.
    pub figures: PromiseFigures,
}

/// The figures of a promise; what is not known has no series.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum PromiseFigures {
    /// Sets of classes.
    Sets {
        /// The stated coverage.
        target: f64,
        /// The coverage and the ends of its interval.
        coverage: Option<[f64; 3]>,
        /// The mean number of classes.
        mean_size: Option<f64>,
    },
    /// Answers that may be withheld.
    Answers {
        /// The share that is withheld.
        withheld: Option<f64>,
        /// The accuracy of the others and the ends of its interval.
        accuracy: Option<[f64; 3]>,
    },
}

/// The series of one version.
#[derive(Debug)]
pub(super) struct PromiseMetrics {
    families: PromiseFamilies,
    model: String,
    version: String,
    /// The levels that have series.
    shown: Mutex<Vec<String>>,
}

impl PromiseFamilies {
    pub(super) fn register(registry: &Registry) -> Result<Self> {
        let gauge = |(name, help): (&str, &str)| register(registry, GaugeVec::new(Opts::new(name, help), &LEVEL));
        GAUGES.into_iter().map(gauge).collect::<Result<_>>().map(Self)
    }

    pub(super) fn bind(&self, model: &str, version: &str) -> PromiseMetrics {
        PromiseMetrics {
            families: self.clone(),
            model: model.to_owned(),
            version: version.to_owned(),
            shown: Mutex::default(),
        }
    }
}

impl PromiseGauges {
    fn values(&self) -> [Option<f64>; GAUGES.len()] {
        let of = |figures: Option<[f64; 3]>| {
            figures.map_or([None; 3], |[value, low, high]| [Some(value), Some(low), Some(high)])
        };
        match self.figures {
            PromiseFigures::Sets { target, coverage, mean_size } => {
                let [value, low, high] = of(coverage);
                [Some(target), value, low, high, mean_size, None, None, None, None]
            }
            PromiseFigures::Answers { withheld, accuracy } => {
                let [value, low, high] = of(accuracy);
                [None, None, None, None, None, withheld, value, low, high]
            }
        }
    }
}

impl PromiseMetrics {
    /// Shows these figures; those of other levels go.
    pub(super) fn set(&self, gauges: &[PromiseGauges]) {
        let mut shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        let mut levels: Vec<&String> = gauges.iter().map(|gauges| &gauges.level).chain(&*shown).collect();
        levels.sort_unstable();
        levels.dedup();
        for level in levels {
            // Sets and answers have their own families, so that a level may also be a rate.
            let mut values = [None; GAUGES.len()];
            for gauges in gauges.iter().filter(|gauges| gauges.level == *level) {
                values.iter_mut().zip(gauges.values()).for_each(|(value, known)| *value = known.or(*value));
            }
            // A scrape at this moment finds the figures that stay.
            values.into_iter().enumerate().for_each(|(place, value)| self.show_one(place, level, value));
        }
        *shown = gauges.iter().map(|gauges| gauges.level.clone()).collect();
    }

    fn show_one(&self, place: usize, level: &str, value: Option<f64>) {
        let Some(family) = self.families.0.get(place) else { return };
        set_or_remove(family, &[&self.model, &self.version, level], value);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::super::Metrics;
    use super::*;

    fn sets(level: &str, coverage: f64) -> PromiseGauges {
        let figures =
            PromiseFigures::Sets { target: 0.9, coverage: Some([coverage, coverage, coverage]), mean_size: None };
        PromiseGauges { level: level.into(), figures }
    }

    #[test]
    fn levels_that_stay_are_always_there_and_others_go() {
        let metrics = Metrics::new().unwrap();
        let bound = metrics.bind_servable("m", "1").unwrap();
        let text = || String::from_utf8(metrics.encode().unwrap()).unwrap();
        let series = |name: &str, level: &str| format!("{name}{{level=\"{level}\",model=\"m\",version=\"1\"}}");
        let answers = PromiseGauges {
            level: "0.01".into(),
            figures: PromiseFigures::Answers { withheld: Some(0.25), accuracy: None },
        };
        bound.set_promises(&[sets("0.01", 0.5), answers.clone(), sets("0.9", 0.5)]);
        let all = text();
        for (name, level) in
            [("weir_conformal_coverage", "0.01"), ("weir_abstention_ratio", "0.01"), ("weir_conformal_coverage", "0.9")]
        {
            assert!(all.contains(&series(name, level)), "{name} {level}: a level may also be a rate");
        }
        bound.set_promises(&[answers, sets("0.9", 0.5)]);
        assert!(!text().contains(&series("weir_conformal_coverage", "0.01")));
        assert!(text().contains(&series("weir_abstention_ratio", "0.01")));
        let is_over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                (0..500).for_each(|number| bound.set_promises(&[sets("0.9", f64::from(number) / 500.0)]));
                is_over.store(true, Ordering::Relaxed);
            });
            while !is_over.load(Ordering::Relaxed) {
                assert!(text().contains(&series("weir_conformal_coverage", "0.9")), "at every moment");
            }
        });
    }
}
