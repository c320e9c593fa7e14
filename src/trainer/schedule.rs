//! How the learning rate goes along a run: what it is multiplied by, as a function of the place in the run and of the
//! losses so far, so that a resumed run needs no memory of its own for it.

use serde::{Deserialize, Serialize};

/// The course of the learning rate along a run.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Schedule {
    /// It stays.
    #[default]
    Constant,
    /// It is multiplied by a factor every so many epochs.
    Step {
        /// Epochs between two steps down, at least 1.
        #[serde(default = "every")]
        every: usize,
        /// Above 0 and at most 1.
        #[serde(default = "factor")]
        factor: f64,
    },
    /// It falls by the same factor in every epoch, evenly over its steps.
    Exponential {
        /// The factor after an epoch, above 0 and at most 1.
        #[serde(default = "left")]
        factor: f64,
    },
    /// It rises evenly over the first part of the steps and falls to zero along half a cosine (Loshchilov and
    /// Hutter 2017, "SGDR", without restarts).
    Cosine {
        /// The part of the steps in which it rises, at least 0 and below 1.
        #[serde(default)]
        warmup: f64,
    },
    /// It rises evenly to the learning rate, falls as long back to where it began, and on to next to nothing (Smith and
    /// Topin 2018, "Super-Convergence").
    OneCycle {
        /// The part of the steps in which it rises, above 0 and at most 0.5.
        #[serde(default = "rise")]
        rise: f64,
        /// Where it begins, as a part of the learning rate, above 0 and at most 1.
        #[serde(default = "start")]
        start: f64,
        /// Where it ends, as a part of the learning rate, at least 0 and at most `start`.
        #[serde(default = "end")]
        end: f64,
        /// How much less the optimiser's momentum (β₁ of Adam) is at the top, where large steps do what it would;
        /// at least 0 and below 1. It comes back as the learning rate falls.
        #[serde(default = "dip")]
        dip: f64,
    },
    /// It is multiplied by a factor when the loss has not fallen for so many epochs: that on the validation data if
    /// there are any, else that of training.
    Plateau {
        /// Epochs without a lower loss, at least 1.
        #[serde(default = "patience")]
        patience: usize,
        /// Above 0 and below 1.
        #[serde(default = "half")]
        factor: f64,
        /// The least improvement of the loss that counts.
        #[serde(default = "difference")]
        min_delta: f64,
        /// The part of the learning rate that it does not fall below.
        #[serde(default = "end")]
        floor: f64,
    },
}

fn every() -> usize {
    10
}

fn factor() -> f64 {
    0.1
}

fn left() -> f64 {
    0.95
}

fn rise() -> f64 {
    0.45
}

fn start() -> f64 {
    0.1
}

fn end() -> f64 {
    1e-3
}

fn dip() -> f64 {
    0.1
}

fn patience() -> usize {
    3
}

fn half() -> f64 {
    0.5
}

fn difference() -> f64 {
    1e-4
}

/// A place in a run.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    /// Steps done.
    pub(super) step: u64,
    /// Steps of the whole run.
    pub(super) steps: u64,
    /// Steps of an epoch.
    pub(super) epoch_steps: u64,
}

impl Schedule {
    /// The names of all kinds.
    pub const KINDS: [&str; 6] = ["constant", "step", "exponential", "cosine", "one_cycle", "plateau"];

    /// Returns the factor on the learning rate for the next step, without [`Schedule::reduction`].
    pub(super) fn factor(self, Place { step, steps, epoch_steps }: Place) -> f64 {
        // The middle of a step, so that the first one is not of size zero.
        let at = step as f64 + 0.5;
        match self {
            Self::Constant | Self::Plateau { .. } => 1.0,
            Self::Step { every, factor } => {
                let drops = step / epoch_steps.max(1) / every.max(1) as u64;
                factor.powf(drops as f64)
            }
            Self::Exponential { factor } => factor.powf(step as f64 / epoch_steps.max(1) as f64),
            Self::Cosine { warmup } => {
                let rise = warmup * steps as f64;
                if at < rise {
                    return at / rise;
                }
                let part = (at - rise) / (steps as f64 - rise).max(1.0);
                0.5 * (1.0 + (std::f64::consts::PI * part.min(1.0)).cos())
            }
            Self::OneCycle { rise, start, end, .. } => {
                let part = (at / steps as f64).min(1.0);
                let between = |from: f64, to: f64, part: f64| from + (to - from) * part;
                if part < rise {
                    between(start, 1.0, part / rise)
                } else if part < 2.0 * rise {
                    between(1.0, start, part / rise - 1.0)
                } else {
                    between(start, end, (part - 2.0 * rise) / (1.0 - 2.0 * rise).max(f64::MIN_POSITIVE))
                }
            }
        }
    }

    /// Returns the amount by which the momentum is lowered for the next step.
    pub(super) fn momentum_dip(self, place: Place) -> f64 {
        let Self::OneCycle { start, dip, .. } = self else { return 0.0 };
        let height = (self.factor(place) - start) / (1.0 - start).max(f64::MIN_POSITIVE);
        dip * height.clamp(0.0, 1.0)
    }

    /// What the learning rate is multiplied by besides, after epochs with these losses: less than 1 only on a plateau.
    pub(super) fn reduction(self, losses: &[f64]) -> f64 {
        let Self::Plateau { patience, factor, min_delta, floor } = self else { return 1.0 };
        let (mut best, mut waited, mut reduction) = (f64::INFINITY, 0, 1.0);
        for loss in losses {
            if *loss < best - min_delta {
                (best, waited) = (*loss, 0);
            } else {
                waited += 1;
            }
            if waited >= patience {
                (reduction, waited) = (reduction * factor, 0);
            }
        }
        f64::max(reduction, floor)
    }

    /// Returns the first problem of the settings, if there is one.
    pub(super) fn problem(self) -> Option<String> {
        let within = |name, value: f64, fits: bool, range| {
            (!fits).then(|| format!("schedule.{name} must be {range}, got {value}"))
        };
        match self {
            Self::Constant => None,
            Self::Step { every: 0, .. } => Some("schedule.every must be at least 1, got 0".into()),
            Self::Plateau { patience: 0, .. } => Some("schedule.patience must be at least 1, got 0".into()),
            Self::Step { factor, .. } | Self::Exponential { factor } => {
                within("factor", factor, factor > 0.0 && factor <= 1.0, "in (0, 1]")
            }
            Self::Cosine { warmup } => within("warmup", warmup, (0.0..1.0).contains(&warmup), "in [0, 1)"),
            Self::OneCycle { rise, start, end, dip } => within("rise", rise, rise > 0.0 && rise <= 0.5, "in (0, 0.5]")
                .or_else(|| within("start", start, start > 0.0 && start <= 1.0, "in (0, 1]"))
                .or_else(|| within("end", end, (0.0..=start).contains(&end), "at least 0 and at most schedule.start"))
                .or_else(|| within("dip", dip, (0.0..1.0).contains(&dip), "in [0, 1)")),
            Self::Plateau { factor, min_delta, floor, .. } => {
                within("factor", factor, factor > 0.0 && factor < 1.0, "in (0, 1)")
                    .or_else(|| within("min_delta", min_delta, (0.0..1e9).contains(&min_delta), "at least 0"))
                    .or_else(|| within("floor", floor, (0.0..=1.0).contains(&floor), "in [0, 1]"))
            }
        }
    }
}

impl std::fmt::Display for Schedule {
    /// Writes the suffix of an optimiser's name; nothing if it is constant.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Constant => Ok(()),
            Self::Step { every, factor } => write!(f, ", step size times {factor} every {every} epochs"),
            Self::Exponential { factor } => write!(f, ", step size times {factor} an epoch"),
            Self::Cosine { warmup } => write!(f, ", cosine schedule after {:.0} % of warm-up", warmup * 100.0),
            Self::OneCycle { rise, .. } => write!(f, ", one cycle that rises for {:.0} %", rise * 100.0),
            Self::Plateau { patience, factor, .. } => {
                write!(f, ", step size times {factor} after {patience} epochs without a lower loss")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The factors of a run of 20 epochs of 20 steps.
    fn factors(schedule: Schedule) -> Vec<f64> {
        (0..400).map(|step| schedule.factor(Place { step, steps: 400, epoch_steps: 20 })).collect()
    }

    #[test]
    fn a_cosine_rises_to_the_step_size_and_ends_at_nothing() {
        let factors = factors(Schedule::Cosine { warmup: 0.25 });
        assert!(factors[..100].is_sorted() && factors[100..].is_sorted_by(|a, b| a > b));
        assert!(factors[0] < 0.01 && factors[399] < 1e-4 && factors[100] > 0.999);
        assert!((factors[249] - 0.5).abs() < 0.01);
    }

    #[test]
    fn one_cycle_rises_falls_and_dies_away() {
        let schedule = Schedule::OneCycle { rise: 0.4, start: 0.1, end: 0.001, dip: 0.2 };
        let factors = factors(schedule);
        assert!(factors[..160].is_sorted() && factors[160..].is_sorted_by(|a, b| a > b));
        assert!((factors[0] - 0.1).abs() < 0.01 && (factors[159] - 1.0).abs() < 0.01);
        assert!((factors[319] - 0.1).abs() < 0.01 && factors[399] < 0.003);
        let dip = |step| schedule.momentum_dip(Place { step, steps: 400, epoch_steps: 20 });
        assert!(dip(0) < 0.002 && (dip(159) - 0.2).abs() < 0.002 && (dip(80) - 0.1).abs() < 0.002);
        assert_eq!(dip(350), 0.0, "momentum is back before the learning rate dies away");
    }

    #[test]
    fn steps_fall_at_epochs_and_exponentials_between_them() {
        let steps = factors(Schedule::Step { every: 5, factor: 0.1 });
        assert_eq!((steps[99], steps[100], steps[200]), (1.0, 0.1, 0.010000000000000002));
        let even = factors(Schedule::Exponential { factor: 0.5 });
        assert_eq!((even[0], even[20], even[40]), (1.0, 0.5, 0.25));
        assert!(even.is_sorted_by(|a, b| a > b));
    }

    #[test]
    fn a_plateau_reduces_after_its_patience_and_no_lower_than_its_floor() {
        let schedule = Schedule::Plateau { patience: 2, factor: 0.5, min_delta: 0.1, floor: 0.2 };
        let after = |losses: &[f64]| schedule.reduction(losses);
        assert_eq!(after(&[]), 1.0);
        assert_eq!(after(&[1.0, 0.95]), 1.0);
        assert_eq!(after(&[1.0, 0.95, 0.91]), 0.5, "less than min_delta is no progress");
        assert_eq!(after(&[1.0, 0.95, 0.8, 0.79]), 1.0);
        assert_eq!(after(&[1.0, 2.0, 2.0, 2.0, 2.0]), 0.25);
        assert_eq!(after(&[1.0; 20]), 0.2);
        assert_eq!(after(&[f64::NAN; 3]), 0.5);
    }

    proptest! {
        #[test]
        fn every_factor_is_a_part_of_the_step_size(
            step in 0u64..5000, steps in 1u64..5000, epoch_steps in 1u64..500, a in 0.01f64..1.0, b in 0.0f64..0.99, every in 1usize..9,
        ) {
            for schedule in [
                Schedule::Constant,
                Schedule::Step { every, factor: a },
                Schedule::Exponential { factor: a },
                Schedule::Cosine { warmup: b },
                Schedule::OneCycle { rise: a / 2.0, start: a, end: a * b, dip: b },
                Schedule::Plateau { patience: every, factor: b.max(0.01), min_delta: 0.0, floor: b },
            ] {
                prop_assert_eq!(schedule.problem(), None);
                let place = Place { step, steps, epoch_steps };
                let factor = schedule.factor(place);
                prop_assert!((0.0..=1.0 + 1e-12).contains(&factor), "{:?} {}", schedule, factor);
                prop_assert!((0.0..=b).contains(&schedule.momentum_dip(place)));
            }
        }
    }

    #[test]
    fn what_makes_no_sense_is_refused_and_kinds_have_names() {
        for schedule in [
            Schedule::Step { every: 0, factor: 0.1 },
            Schedule::Step { every: 1, factor: 0.0 },
            Schedule::Exponential { factor: 1.1 },
            Schedule::Cosine { warmup: 1.0 },
            Schedule::Cosine { warmup: f64::NAN },
            Schedule::OneCycle { rise: 0.6, start: 0.1, end: 0.0, dip: 0.1 },
            Schedule::OneCycle { rise: 0.4, start: 0.1, end: 0.2, dip: 0.1 },
            Schedule::OneCycle { rise: 0.4, start: 0.1, end: 0.0, dip: 1.0 },
            Schedule::Plateau { patience: 0, factor: 0.5, min_delta: 0.0, floor: 0.0 },
            Schedule::Plateau { patience: 1, factor: 1.0, min_delta: 0.0, floor: 0.0 },
        ] {
            assert!(schedule.problem().is_some(), "{schedule:?}");
        }
        for kind in Schedule::KINDS {
            let schedule: Schedule = toml::from_str(&format!("kind = \"{kind}\"")).unwrap();
            assert_eq!(schedule.problem(), None);
        }
    }
}
