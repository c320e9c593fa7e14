//! The certainty of one answer of a classifier, in figures that do not saturate as probabilities do.

use super::argmax;

/// The most probable class of a sample and how clearly it leads.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Certainty {
    /// The most probable class, the first of equal ones.
    pub class: usize,
    /// The logit of that class above the greatest of the others; 0 with fewer than two classes.
    pub margin: f64,
    /// ln Σ eᶻ over the logits z (Liu et al. 2020, "Energy-based Out-of-distribution Detection", with the sign
    /// turned: unknown inputs have low values). Probabilities do not tell it.
    pub energy: Option<f64>,
}

impl Certainty {
    /// Returns the certainty of logits.
    pub fn of_logits(logits: &[f32]) -> Self {
        let class = argmax(logits);
        let top = logits.get(class).copied().map_or(0.0, f64::from);
        let sum: f64 = logits.iter().map(|logit| (f64::from(*logit) - top).exp()).sum();
        let energy = if logits.is_empty() { None } else { Some(top + sum.ln()) };
        Self { class, margin: lead(logits, class, f64::from), energy }
    }

    /// Returns the certainty of a distribution. The margin of logits is the difference of the logarithms of their
    /// probabilities, so it is the same, but for probabilities that a float of 32 bits cannot hold.
    pub fn of_probabilities(probabilities: &[f32]) -> Self {
        let class = argmax(probabilities);
        Self { class, margin: lead(probabilities, class, logarithm), energy: None }
    }
}

/// Returns the value of a class above the greatest of the others.
fn lead(values: &[f32], class: usize, scale: fn(f32) -> f64) -> f64 {
    let others = values.iter().enumerate().filter(|(index, _)| *index != class).map(|(_, value)| scale(*value));
    let second = others.fold(f64::NEG_INFINITY, f64::max);
    match values.get(class) {
        Some(first) if second.is_finite() => scale(*first) - second,
        Some(_) | None => 0.0,
    }
}

/// Returns the natural logarithm of a probability, at least that of the smallest normal float.
fn logarithm(probability: f32) -> f64 {
    f64::from(probability.max(f32::MIN_POSITIVE)).ln()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn logits_beyond_what_probabilities_hold_are_told_apart() {
        let sure = Certainty::of_logits(&[40.0, -2.0, 3.0]);
        assert_eq!((sure.class, sure.margin), (0, 37.0));
        assert!((sure.energy.unwrap() - 40.0).abs() < 1e-12);
        assert_eq!(Certainty::of_logits(&[400.0, 0.0]).margin, 400.0);
        assert_eq!(Certainty::of_probabilities(&[1.0, 0.0]).margin, -f64::from(f32::MIN_POSITIVE).ln());
    }

    #[test]
    fn fewer_than_two_classes_have_no_margin() {
        assert_eq!(Certainty::of_logits(&[]), Certainty { class: 0, margin: 0.0, energy: None });
        assert_eq!(Certainty::of_logits(&[3.0]).margin, 0.0);
        assert_eq!(Certainty::of_probabilities(&[1.0]).margin, 0.0);
    }

    proptest! {
        #[test]
        fn logits_and_their_softmax_agree(logits in prop::collection::vec(-20f32..20.0, 2..9)) {
            let of_logits = Certainty::of_logits(&logits);
            let energy = of_logits.energy.unwrap();
            let probabilities: Vec<f32> =
                logits.iter().map(|logit| (f64::from(*logit) - energy).exp() as f32).collect();
            let of_probabilities = Certainty::of_probabilities(&probabilities);
            prop_assert!((of_logits.margin - of_probabilities.margin).abs() < 1e-4);
            prop_assert!(of_logits.margin >= 0.0 && energy >= f64::from(logits[of_logits.class]) - 1e-9);
        }
    }
}
