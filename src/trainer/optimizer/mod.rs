//! The optimisers: Adam, AdamW and stochastic gradient descent with momentum.
//!
//! Each is one pass over weights, gradients and what it remembers, on all cores and with the widest
//! vectors the CPU has; every element is computed alike on any of them, so the result does not depend
//! on either. Weight decay is for matrices and kernels only: biases and the scales and offsets of norms,
//! which are vectors, do not overfit and are left alone.

mod adam;
mod average;
mod clip;
mod sgd;

use serde::{Deserialize, Serialize};

use self::adam::AdamStep;
use self::sgd::SgdStep;
use super::network::Parameter;

pub(super) use average::Average;
pub(super) use clip::clip;

/// Elements that one core updates at a time: 4 arrays of 16 KiB stay in its cache.
const CHUNK: usize = 16 * 1024;

/// What is remembered of gradients is zero below this. Left alone, that of weights whose gradient is
/// always zero (pixels that are never drawn on) decays into subnormal numbers, which take a hundred
/// times longer.
const MEMORY_FLOOR: f32 = 1e-18;

/// An optimiser and its settings.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase", deny_unknown_fields)]
pub enum Optimizer {
    /// Adam (Kingma and Ba 2015, "Adam: A Method for Stochastic Optimization"), with Keras's defaults.
    Adam {
        /// Learning rate.
        learning_rate: f64,
        /// Decay of the first moment, at least 0 and below 1.
        #[serde(default = "beta_1")]
        beta_1: f64,
        /// Decay of the second moment, at least 0 and below 1.
        #[serde(default = "beta_2")]
        beta_2: f64,
        /// Added to the root of the second moment.
        #[serde(default = "epsilon")]
        epsilon: f64,
    },
    /// Adam with weight decay beside the gradient instead of in it (Loshchilov and Hutter 2019,
    /// "Decoupled Weight Decay Regularization").
    AdamW {
        /// Learning rate.
        learning_rate: f64,
        /// Decay of the first moment, at least 0 and below 1.
        #[serde(default = "beta_1")]
        beta_1: f64,
        /// Decay of the second moment, at least 0 and below 1.
        #[serde(default = "beta_2")]
        beta_2: f64,
        /// Added to the root of the second moment.
        #[serde(default = "epsilon")]
        epsilon: f64,
        /// The part of a weight that a step with a learning rate of 1 would take away.
        #[serde(default = "weight_decay")]
        weight_decay: f64,
    },
    /// Stochastic gradient descent.
    Sgd {
        /// Learning rate.
        learning_rate: f64,
        /// The share of the last step that goes on, at least 0 and below 1.
        #[serde(default = "momentum")]
        momentum: f64,
        /// Whether the gradient is taken where the momentum leads (Nesterov 1983, in the form of Sutskever
        /// et al. 2013, "On the importance of initialization and momentum in deep learning").
        #[serde(default = "nesterov")]
        nesterov: bool,
        /// Times the weight, added to the gradient.
        #[serde(default)]
        weight_decay: f64,
    },
}

fn beta_1() -> f64 {
    0.9
}

fn beta_2() -> f64 {
    0.999
}

fn epsilon() -> f64 {
    1e-7
}

fn weight_decay() -> f64 {
    1e-2
}

fn momentum() -> f64 {
    0.9
}

fn nesterov() -> bool {
    true
}

/// The optimiser's memory of one parameter, in the order of [`Optimizer::slots`].
pub(super) type Slots = Vec<Vec<f32>>;

/// The numbers of one step, the same for every element.
#[derive(Debug, Clone, Copy)]
pub(super) enum Step {
    Adam(AdamStep),
    Sgd(SgdStep),
}

impl Optimizer {
    /// Adam with this learning rate.
    pub fn adam(learning_rate: f64) -> Self {
        Self::Adam { learning_rate, beta_1: beta_1(), beta_2: beta_2(), epsilon: epsilon() }
    }

    /// AdamW with this learning rate and weight decay.
    pub fn adamw(learning_rate: f64, weight_decay: f64) -> Self {
        Self::AdamW { learning_rate, beta_1: beta_1(), beta_2: beta_2(), epsilon: epsilon(), weight_decay }
    }

    /// Gradient descent with this learning rate and Nesterov's momentum.
    pub fn sgd(learning_rate: f64, momentum: f64) -> Self {
        Self::Sgd { learning_rate, momentum, nesterov: momentum > 0.0, weight_decay: 0.0 }
    }

    /// The learning rate, before any schedule.
    pub fn learning_rate(&self) -> f64 {
        match *self {
            Self::Adam { learning_rate, .. } | Self::AdamW { learning_rate, .. } | Self::Sgd { learning_rate, .. } => {
                learning_rate
            }
        }
    }

    /// The same with another learning rate.
    #[must_use]
    pub fn with_learning_rate(mut self, rate: f64) -> Self {
        match &mut self {
            Self::Adam { learning_rate, .. } | Self::AdamW { learning_rate, .. } | Self::Sgd { learning_rate, .. } => {
                *learning_rate = rate;
            }
        }
        self
    }

    /// Returns the names of the slots of each parameter in checkpoints.
    pub(super) fn slots(&self) -> &'static [&'static str] {
        match self {
            Self::Adam { .. } | Self::AdamW { .. } => &["adam.first", "adam.second"],
            Self::Sgd { momentum, .. } if *momentum > 0.0 => &["sgd.velocity"],
            Self::Sgd { .. } => &[],
        }
    }

    /// Returns the slots of a parameter before the first step.
    pub(super) fn remember(&self, parameter: &Parameter) -> Slots {
        vec![vec![0.0; parameter.values.len()]; self.slots().len()]
    }

    /// The step with this number, counted from 1, at so much of the learning rate and with so much less momentum.
    pub(super) fn step(&self, factor: f64, dip: f64, number: u64) -> Step {
        let rate = self.learning_rate() * factor;
        let less = |momentum: f64| (momentum - dip).max(0.0);
        match *self {
            Self::Adam { beta_1, beta_2, epsilon, .. } => {
                Step::Adam(AdamStep::new(rate, [less(beta_1), beta_2], epsilon, 0.0, number))
            }
            Self::AdamW { beta_1, beta_2, epsilon, weight_decay, .. } => {
                Step::Adam(AdamStep::new(rate, [less(beta_1), beta_2], epsilon, weight_decay, number))
            }
            Self::Sgd { momentum, nesterov, weight_decay, .. } => {
                Step::Sgd(SgdStep::new(rate, less(momentum), nesterov, weight_decay))
            }
        }
    }

    /// The setting that makes no sense and what is wrong with it, if one does not.
    pub(super) fn problem(&self) -> Option<(&'static str, String)> {
        let part = |name, value: f64| {
            (!(0.0..1.0).contains(&value)).then(|| (name, format!("must be in [0, 1), got {value}")))
        };
        let above = |name, value: f64| {
            (!(value.is_finite() && value > 0.0)).then(|| (name, format!("must be a number above 0, got {value}")))
        };
        let decay = |value: f64| part("optimizer.weight_decay", value);
        above("learning-rate", self.learning_rate()).or_else(|| match *self {
            Self::Adam { beta_1, beta_2, epsilon, .. } => part("optimizer.beta_1", beta_1)
                .or_else(|| part("optimizer.beta_2", beta_2))
                .or_else(|| above("optimizer.epsilon", epsilon)),
            Self::AdamW { beta_1, beta_2, epsilon, weight_decay, .. } => part("optimizer.beta_1", beta_1)
                .or_else(|| part("optimizer.beta_2", beta_2))
                .or_else(|| above("optimizer.epsilon", epsilon))
                .or_else(|| decay(weight_decay)),
            Self::Sgd { momentum, nesterov, weight_decay, .. } => {
                part("optimizer.momentum", momentum).or_else(|| decay(weight_decay)).or_else(|| {
                    (nesterov && momentum == 0.0)
                        .then(|| ("optimizer.nesterov", "needs a momentum above 0; it is false without one".into()))
                })
            }
        })
    }
}

impl Step {
    /// Moves a parameter one step against its gradient.
    pub(super) fn apply(self, parameter: &mut Parameter, slots: &mut Slots, gradient: &[f32]) {
        let decays = parameter.shape.len() > 1;
        match (self, slots.as_mut_slice()) {
            (Self::Adam(step), [first, second]) => step.apply(&mut parameter.values, [first, second], gradient, decays),
            (Self::Sgd(step), slots) => step.apply(&mut parameter.values, slots.first_mut(), gradient, decays),
            (Self::Adam(_), _) => {}
        }
    }
}

impl std::fmt::Display for Optimizer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Adam { beta_1, beta_2, epsilon, .. } => write!(f, "Adam (β₁ {beta_1}, β₂ {beta_2}, ε {epsilon:e})"),
            Self::AdamW { beta_1, beta_2, epsilon, weight_decay, .. } => {
                write!(f, "AdamW (β₁ {beta_1}, β₂ {beta_2}, ε {epsilon:e}, weight decay {weight_decay})")
            }
            Self::Sgd { momentum, nesterov, weight_decay, .. } => {
                let nesterov = if *nesterov { "Nesterov " } else { "" };
                write!(f, "SGD ({nesterov}momentum {momentum}, weight decay {weight_decay})")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn biases_and_norms_do_not_decay() {
        for optimizer in [
            Optimizer::adamw(0.1, 0.5),
            Optimizer::Sgd { learning_rate: 0.1, momentum: 0.0, nesterov: false, weight_decay: 0.5 },
        ] {
            for (shape, expected) in [(vec![2, 1], [0.95, -0.95]), (vec![2], [1.0, -1.0])] {
                let mut parameter = Parameter { name: "p".into(), shape, values: vec![1.0, -1.0] };
                let mut slots = optimizer.remember(&parameter);
                optimizer.step(1.0, 0.0, 1).apply(&mut parameter, &mut slots, &[0.0, 0.0]);
                assert_eq!(parameter.values, expected, "{optimizer}");
            }
        }
    }

    #[test]
    fn momentum_can_be_less_for_a_step() {
        let moved = |optimizer: Optimizer, dip| {
            let mut parameter = Parameter { name: "p".into(), shape: vec![1], values: vec![0.0] };
            let mut slots = optimizer.remember(&parameter);
            for (number, dip) in [(1, 0.0), (2, dip)] {
                optimizer.step(1.0, dip, number).apply(&mut parameter, &mut slots, &[-1.0]);
            }
            parameter.values[0]
        };
        let sgd = Optimizer::Sgd { learning_rate: 1.0, momentum: 0.75, nesterov: false, weight_decay: 0.0 };
        assert_eq!([moved(sgd, 0.0), moved(sgd, 0.25), moved(sgd, 1.0)], [2.75, 2.5, 2.0]);
        assert_eq!(moved(Optimizer::sgd(1.0, 0.0), 0.5), 2.0, "none is none");
        assert_ne!(moved(Optimizer::adam(1.0), 0.0), moved(Optimizer::adam(1.0), 0.5));
    }

    #[test]
    fn settings_that_make_no_sense_are_named() {
        let sgd =
            |momentum, nesterov, weight_decay| Optimizer::Sgd { learning_rate: 0.1, momentum, nesterov, weight_decay };
        for (optimizer, setting) in [
            (Optimizer::adam(0.0), "learning-rate"),
            (Optimizer::adam(f64::NAN), "learning-rate"),
            (Optimizer::adamw(1e-3, -1.0), "optimizer.weight_decay"),
            (sgd(1.0, false, 0.0), "optimizer.momentum"),
            (sgd(0.0, true, 0.0), "optimizer.nesterov"),
            (sgd(0.9, true, f64::INFINITY), "optimizer.weight_decay"),
        ] {
            assert_eq!(optimizer.problem().map(|problem| problem.0), Some(setting), "{optimizer}");
        }
        assert_eq!(Optimizer::sgd(0.1, 0.9).problem(), None);
    }

    #[test]
    fn kinds_are_written_by_their_names_and_fill_in_what_is_left_out() {
        let read: Optimizer = toml::from_str("kind = \"adamw\"\nlearning_rate = 1").unwrap();
        assert_eq!(read, Optimizer::adamw(1.0, 1e-2));
        let read: Optimizer = toml::from_str("kind = \"sgd\"\nlearning_rate = 0.1").unwrap();
        assert_eq!(read, Optimizer::sgd(0.1, 0.9));
        assert!(toml::from_str::<Optimizer>("kind = \"adam\"\nlearning_rate = 1\nweight_decay = 0.1").is_err());
    }
}
