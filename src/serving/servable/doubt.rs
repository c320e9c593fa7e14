//! The reliability of answers, by the reference of the version.

use serde::Serialize;
use utoipa::ToSchema;

use super::Servable;
use crate::error::{Error, Result};
use crate::repository::{DriftReference, GuardReference};
use crate::stats::{Certainty, Ranks, belongs, is_withheld};

/// The questions of a request about the reliability of its answer.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Doubts {
    /// The unusualness of the input.
    pub anomaly: bool,
    /// The classes that hold the right one with this probability.
    pub set_level: Option<f64>,
    /// The share of wrong answers among those given, to be kept to by withholding this one.
    pub error_rate: Option<f64>,
}

/// The unusualness of an input.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct Anomaly {
    /// The share of the reference's samples that are at least as unusual: by the energy, and by the guard's score as well
    /// where there is one.
    p_value: f64,
    /// ln Σ eᶻ over the logits, which is low for unknown inputs.
    energy: f64,
    /// The score of the autoencoder that guards the model, in nats: high for unlikely inputs.
    #[serde(skip_serializing_if = "Option::is_none")]
    score: Option<f64>,
    /// The reason why the guard gave no score.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::serving) guard_problem: Option<String>,
}

impl Anomaly {
    fn new(ranks: &Ranks, energy: f64) -> Self {
        Self { p_value: ranks.p_value(energy), energy, score: None, guard_problem: None }
    }

    /// Takes the guard's score in.
    pub(in crate::serving) fn add(&mut self, score: f64, reference: &GuardReference) {
        self.score = Some(score);
        match reference.combined(self.p_value, score) {
            Some(p_value) => self.p_value = p_value,
            None => self.guard_problem = Some("the reference knows no scores and energies together".into()),
        }
    }
}

/// The part of an answer that says how reliable it is.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Doubt {
    pub(super) anomaly: Option<Anomaly>,
    pub(super) set: Option<Vec<String>>,
    pub(super) set_level: Option<f64>,
    pub(super) abstained: Option<bool>,
}

/// The parts of a reference that answer a request's questions.
#[derive(Debug, Clone, Copy)]
pub(super) struct Doubter<'a> {
    unusual: Option<&'a Ranks>,
    /// The level, and the probability that a class of the set has at least.
    set: Option<(f64, f64)>,
    margin: Option<f64>,
    labels: &'a [String],
}

/// Levels and rates that differ by less are the same.
const SAME: f64 = 1e-9;

impl<'a> Doubter<'a> {
    /// Finds what a request wants to know; `None` if that is nothing.
    ///
    /// # Errors
    /// [`Error::InvalidInput`] saying what the version lacks, and what it has.
    pub(super) fn new(servable: &'a Servable, doubts: Doubts) -> Result<Option<Self>> {
        if doubts == Doubts::default() {
            return Ok(None);
        }
        let (model, version) = (&servable.name, servable.version);
        let lacks = |what: String| {
            Error::InvalidInput(format!(
                "model \"{model}\" version {version} has {what}; weir drift --reference DATA {model}/{version} makes what labelled data allow"
            ))
        };
        let reference =
            servable.identity.reference.as_deref().ok_or_else(|| lacks("no reference to judge answers by".into()))?;
        let unusual = match doubts.anomaly {
            true => Some(reference.unusual.as_ref().ok_or_else(|| lacks("no reference of unusual inputs".into()))?),
            false => None,
        };
        let set = doubts.set_level.map(|level| set_threshold(reference, level).map_err(lacks)).transpose()?;
        let margin = doubts.error_rate.map(|rate| least_margin(reference, rate).map_err(lacks)).transpose()?;
        Ok(Some(Self { unusual, set, margin, labels: servable.labels() }))
    }

    /// Judges one answer.
    pub(super) fn judge(&self, shares: &[f32], logits: Option<&[f32]>) -> Doubt {
        let certainty = logits.map_or_else(|| Certainty::of_probabilities(shares), Certainty::of_logits);
        let anomaly = |ranks: &Ranks| certainty.energy.map(|energy| Anomaly::new(ranks, energy));
        let named = |class: usize| self.labels.get(class).cloned().unwrap_or_else(|| class.to_string());
        let set = |(_, threshold): (f64, f64)| {
            let inside = shares.iter().enumerate().filter(|(_, share)| belongs(**share, threshold));
            inside.map(|(class, _)| named(class)).collect()
        };
        Doubt {
            anomaly: self.unusual.and_then(anomaly),
            set: self.set.map(set),
            set_level: self.set.map(|(level, _)| level),
            abstained: self.margin.map(|least| is_withheld(certainty.margin, least)),
        }
    }
}

/// Returns the level and the threshold of sets.
fn set_threshold(reference: &DriftReference, level: f64) -> std::result::Result<(f64, f64), String> {
    let found = reference.sets.iter().find(|set| (set.level - level).abs() < SAME);
    found.map(|set| (set.level, set.threshold)).ok_or_else(|| {
        let known: Vec<f64> = reference.sets.iter().map(|set| set.level).collect();
        format!("no sets of level {level}, but of {}", listed(&known))
    })
}

/// Returns the margin that an answer must have.
fn least_margin(reference: &DriftReference, rate: f64) -> std::result::Result<f64, String> {
    let found = reference.abstentions.iter().find(|abstention| (abstention.error_rate - rate).abs() < SAME);
    found.map(|abstention| abstention.margin).ok_or_else(|| {
        let known: Vec<f64> = reference.abstentions.iter().map(|abstention| abstention.error_rate).collect();
        format!("no threshold for an error rate of {rate}, but for {}", listed(&known))
    })
}

fn listed(known: &[f64]) -> String {
    match known {
        [] => "none".into(),
        known => known.iter().map(f64::to_string).collect::<Vec<_>>().join(", "),
    }
}
