//! What a recipe may add to plain training. Whatever is zero is off, so that a recipe written out has every key.

use serde::{Deserialize, Serialize};

use super::augment::Augment;
use super::schedule::Schedule;

/// The greatest least number of steps in an epoch.
const MOST_EPOCH_STEPS: usize = 1_000_000;

/// All of it; by default none.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Regime {
    /// The least number of steps in an epoch: an epoch passes through smaller data several times; 0 passes once.
    /// Networks of more than a million parameters get proportionally fewer.
    pub min_epoch_steps: usize,
    /// Whether the epoch with the lowest loss on the validation data is taken rather than the last one. The
    /// accuracy says less: a few thousand samples move it by steps as large as what is to be told apart.
    pub keep_best: bool,
    /// The fewest validation samples that `keep_best` chooses by: with fewer the last epoch is taken, as a single sample that
    /// is told wrong with confidence outweighs all others there.
    pub keep_best_from: usize,
    /// Whether numbers of a table of at most 2,000 rows are told by the linear path alone, solved at once, where the network
    /// is not better than that on the validation data by a standard error, and by a mean of both where not by two.
    pub prefer_linear: bool,
    /// Epochs without a lower loss on the validation data after which training ends, with the best epoch's
    /// weights; 0 waits for ever.
    pub patience: usize,
    /// The least improvement of the loss for `patience`, in nats.
    pub min_delta: f64,
    /// Training ends after so many seconds, between two steps; 0 sets no limit.
    pub time_seconds: f64,
    /// Steps between two saves of the state, besides the one after every epoch; 0 has none.
    pub save_every: usize,
    /// The length that gradients are cut down to; 0 leaves them alone.
    pub clip_norm: f64,
    /// How much of itself the moving average of the weights keeps in a step. That average is what is evaluated
    /// and exported, if this is above 0.
    pub ema_decay: f64,
    /// The part of the target that is spread evenly over all classes (Szegedy et al. 2016).
    pub label_smoothing: f32,
    /// The α of the Beta distribution by which two samples and their targets are mixed (Zhang et al. 2018);
    /// 0 mixes none.
    pub mixup: f64,
    /// The α of the Beta distribution by which a rectangle of an image and its part of the target are replaced by those of
    /// another (Yun et al. 2019); 0 replaces none. With mixup every sample gets one of the two.
    pub cutmix: f64,
    /// The schedule of the learning rate.
    pub schedule: Schedule,
    /// The augmentation of training images.
    pub augment: Augment,
}

impl std::fmt::Display for Regime {
    /// Writes the suffix of an optimiser's name; nothing if it is the default.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}{}", self.schedule, self.augment)?;
        if self.clip_norm > 0.0 {
            write!(f, ", gradients cut at {}", self.clip_norm)?;
        }
        if self.label_smoothing > 0.0 {
            write!(f, ", labels smoothed by {}", self.label_smoothing)?;
        }
        if self.mixup > 0.0 {
            write!(f, ", samples mixed by Beta({0}, {0})", self.mixup)?;
        }
        if self.cutmix > 0.0 {
            write!(f, ", rectangles exchanged by Beta({0}, {0})", self.cutmix)?;
        }
        if self.ema_decay > 0.0 {
            write!(f, ", weights averaged with decay {}", self.ema_decay)?;
        }
        match self {
            Self { patience: 1.., .. } | Self { keep_best: true, keep_best_from: ..2, .. } => {
                write!(f, ", epoch chosen on validation")
            }
            Self { keep_best: true, keep_best_from, .. } => {
                write!(f, ", epoch chosen on validation from {keep_best_from} samples on")
            }
            Self { keep_best: false, .. } => Ok(()),
        }
    }
}

impl Regime {
    /// None of it.
    pub const PLAIN: Self = Self {
        min_epoch_steps: 0,
        keep_best: false,
        keep_best_from: 0,
        prefer_linear: false,
        patience: 0,
        min_delta: 0.0,
        time_seconds: 0.0,
        save_every: 0,
        clip_norm: 0.0,
        ema_decay: 0.0,
        label_smoothing: 0.0,
        mixup: 0.0,
        cutmix: 0.0,
        schedule: Schedule::Constant,
        augment: Augment::NONE,
    };

    /// Returns true if the best epoch's weights by so many validation samples are kept and taken at the end.
    pub(super) fn keeps_best(&self, validation: usize) -> bool {
        self.patience > 0 || self.keep_best && !self.has_too_few(validation)
    }

    /// Returns true if the best epoch is wanted, and so many validation samples are there but too few to choose it by.
    pub fn has_too_few(&self, validation: usize) -> bool {
        self.patience == 0 && self.keep_best && (1..self.keep_best_from).contains(&validation)
    }

    /// Returns true if epochs with these losses on the validation data say that more will not help.
    pub(super) fn has_waited_enough(&self, losses: impl Iterator<Item = f64>) -> bool {
        let (mut best, mut waited) = (f64::INFINITY, 0);
        for loss in losses {
            if loss < best - self.min_delta {
                (best, waited) = (loss, 0);
            } else {
                waited += 1;
            }
        }
        self.patience > 0 && waited >= self.patience
    }

    /// Returns the first problem of the settings, if there is one.
    pub(super) fn problem(&self) -> Option<String> {
        let within =
            |name, value: f64, fits: bool, range| (!fits).then(|| format!("{name} must be {range}, got {value}"));
        let positive = |name, value: f64| within(name, value, (0.0..1e12).contains(&value), "0 or more");
        let part = |name, value: f64| within(name, value, (0.0..1.0).contains(&value), "in [0, 1)");
        let steps = (self.min_epoch_steps > MOST_EPOCH_STEPS)
            .then(|| format!("min_epoch_steps must be at most {MOST_EPOCH_STEPS}, got {}", self.min_epoch_steps));
        steps
            .or_else(|| self.schedule.problem())
            .or_else(|| self.augment.problem())
            .or_else(|| positive("min_delta", self.min_delta))
            .or_else(|| positive("time_seconds", self.time_seconds))
            .or_else(|| positive("clip_norm", self.clip_norm))
            .or_else(|| part("ema_decay", self.ema_decay))
            .or_else(|| part("label_smoothing", f64::from(self.label_smoothing)))
            .or_else(|| {
                let mut alphas = [("mixup", self.mixup), ("cutmix", self.cutmix)].into_iter();
                alphas.find_map(|(name, alpha)| {
                    let fits = alpha == 0.0 || (0.05..=1.0).contains(&alpha);
                    within(name, alpha, fits, "0 or in [0.05, 1]")
                })
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patience_counts_epochs_since_the_last_real_progress() {
        let regime = Regime { patience: 2, min_delta: 0.1, ..Regime::PLAIN };
        let stops = |losses: &[f64]| regime.has_waited_enough(losses.iter().copied());
        assert!(!stops(&[]) && !stops(&[1.0]) && !stops(&[1.0, 0.95]));
        assert!(stops(&[1.0, 0.95, 0.91]));
        assert!(!stops(&[1.0, 0.95, 0.85, 0.84]));
        assert!(!Regime::PLAIN.has_waited_enough([1.0; 50].into_iter()));
        assert!(Regime { patience: 1, ..Regime::PLAIN }.keeps_best(0));
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        assert_eq!(Regime::PLAIN, Regime::default());
        assert_eq!(Regime::PLAIN.problem(), None);
        for (name, regime) in [
            ("warmup", Regime { schedule: Schedule::Cosine { warmup: -0.1 }, ..Regime::PLAIN }),
            ("scale", Regime { augment: Augment { scale: 1.0, ..Augment::NONE }, ..Regime::PLAIN }),
            ("min_epoch_steps", Regime { min_epoch_steps: usize::MAX, ..Regime::PLAIN }),
            ("min_delta", Regime { min_delta: f64::NAN, ..Regime::PLAIN }),
            ("time_seconds", Regime { time_seconds: -1.0, ..Regime::PLAIN }),
            ("clip_norm", Regime { clip_norm: f64::INFINITY, ..Regime::PLAIN }),
            ("ema_decay", Regime { ema_decay: 1.0, ..Regime::PLAIN }),
            ("label_smoothing", Regime { label_smoothing: 1.0, ..Regime::PLAIN }),
            ("mixup", Regime { mixup: 1e-3, ..Regime::PLAIN }),
            ("cutmix", Regime { cutmix: 2.0, ..Regime::PLAIN }),
        ] {
            assert!(regime.problem().is_some_and(|problem| problem.contains(name)), "{regime:?}");
        }
    }
}
