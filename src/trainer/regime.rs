//! What a recipe may add to plain training: a schedule of the step size, moved images, and the choice of
//! an epoch.

use serde::{Deserialize, Serialize};

use super::augment::Augment;

/// How the step size goes along a run.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Schedule {
    /// It stays.
    #[default]
    Constant,
    /// It rises evenly over the first part of the steps and falls to zero along half a cosine.
    Cosine {
        /// The part of the steps in which it rises, at least 0 and below 1.
        warmup: f64,
    },
}

/// All of it; by default none.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Regime {
    /// Whether the epoch with the lowest loss on the validation data is taken rather than the last one. The
    /// accuracy says less: a few thousand samples move it by steps as large as what is to be told apart.
    #[serde(default)]
    pub keep_best: bool,
    /// The schedule of the step size.
    #[serde(default)]
    pub schedule: Schedule,
    /// How training images are moved, if they are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub augment: Option<Augment>,
}

impl Schedule {
    /// What the step size is multiplied by at one of so many steps, counted from 0.
    pub(super) fn factor(self, step: u64, steps: u64) -> f64 {
        match self {
            Self::Constant => 1.0,
            Self::Cosine { warmup } => {
                let rise = warmup * steps as f64;
                let at = step as f64 + 0.5;
                if at < rise {
                    return at / rise;
                }
                let part = (at - rise) / (steps as f64 - rise).max(1.0);
                0.5 * (1.0 + (std::f64::consts::PI * part.min(1.0)).cos())
            }
        }
    }
}

impl std::fmt::Display for Regime {
    /// What it adds to the name of an optimiser; nothing if it is the default.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if let Schedule::Cosine { warmup } = self.schedule {
            write!(f, ", cosine schedule after {:.0} % of warm-up", warmup * 100.0)?;
        }
        if let Some(Augment { rotate_degrees, shift_pixels, scale }) = self.augment {
            write!(f, ", images moved by up to {rotate_degrees}°, {shift_pixels} pixels and {:.0} %", scale * 100.0)?;
        }
        if self.keep_best { write!(f, ", epoch chosen on validation") } else { Ok(()) }
    }
}

impl Regime {
    /// What is wrong with it, if something is.
    pub(super) fn problem(&self) -> Option<String> {
        if let Schedule::Cosine { warmup } = self.schedule
            && !(0.0..1.0).contains(&warmup)
        {
            return Some(format!("warmup must be in [0, 1), got {warmup}"));
        }
        match &self.augment {
            Some(augment) if !augment.is_possible() => Some(format!(
                "images can be turned by up to 180 degrees, shifted by up to 1000 pixels and scaled by less than 1, got {augment:?}"
            )),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cosine_rises_to_the_step_size_and_ends_at_nothing() {
        let schedule = Schedule::Cosine { warmup: 0.25 };
        let factors: Vec<f64> = (0..400).map(|step| schedule.factor(step, 400)).collect();
        assert!(factors[..100].is_sorted() && factors[100..].is_sorted_by(|a, b| a > b));
        assert!(factors[0] < 0.01 && factors[399] < 1e-4 && factors[100] > 0.999);
        assert!((factors[249] - 0.5).abs() < 0.01);
        assert_eq!(Schedule::Constant.factor(7, 9), 1.0);
        assert!((0..20).all(|step| Schedule::Cosine { warmup: 0.0 }.factor(step, 3).is_finite()));
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        let with = |warmup, scale| Regime {
            schedule: Schedule::Cosine { warmup },
            augment: Some(Augment { rotate_degrees: 5.0, shift_pixels: 1.0, scale }),
            ..Regime::default()
        };
        assert_eq!(with(0.1, 0.1).problem(), None);
        for (warmup, scale) in [(1.0, 0.1), (f64::NAN, 0.1), (0.1, 1.0), (0.1, f32::NAN), (-0.1, 0.1)] {
            assert!(with(warmup, scale).problem().is_some(), "{warmup} {scale}");
        }
    }
}
