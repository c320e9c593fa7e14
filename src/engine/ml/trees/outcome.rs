//! From the scores of an ensemble to its answer. Cases that the standard leaves open are decided as in ONNX
//! Runtime.

use tract_onnx::tract_hir::internal::*;

use super::forest::Score;
use super::number::Number;
use crate::engine::ml::labels::{Chosen, Labels};
use crate::engine::ml::scores::{PostTransform, both, probit};

/// The answer of a classifier.
#[derive(Debug)]
pub(super) struct Classes {
    pub(super) labels: Labels,
    /// What the scores begin with: one for each class, or none; for two classes, also a single one.
    pub(super) base_values: Vec<f64>,
    pub(super) post_transform: PostTransform,
    /// True if there are two classes and all weights are for the same one of them.
    pub(super) is_binary: bool,
    /// True if no weight is negative.
    pub(super) is_positive: bool,
}

impl Classes {
    /// Checks that the base values are as many as the classes allow.
    pub(super) fn expect_base_values(&self) -> TractResult<()> {
        let (bases, classes) = (self.base_values.len(), self.labels.len());
        let fits = bases == 0 || bases == classes || (classes == 2 && bases == 1);
        ensure!(fits, "there are {bases} base values for {classes} classes");
        Ok(())
    }

    /// Chooses the class of a sample, and writes a score for each class.
    pub(super) fn answer<T: Number>(&self, scores: &mut [Score<T>], answer: &mut [f32]) -> Chosen {
        match scores {
            [score] => {
                let value = score.value + self.base(0);
                answer[0] = self.lone(value.to_f32());
                Chosen::Sign(value > T::default())
            }
            [first, second] => self.answer_two(*first, *second, answer),
            scores => {
                for (class, score) in scores.iter_mut().enumerate().take(self.base_values.len()) {
                    score.value += self.base(class);
                    score.is_seen = true;
                }
                let mut best: Option<usize> = None;
                for class in (0..scores.len()).filter(|class| scores[*class].is_seen) {
                    if best.is_none_or(|best| scores[class].value > scores[best].value) {
                        best = Some(class);
                    }
                }
                answer.iter_mut().zip(scores).for_each(|(answer, score)| *answer = score.value.to_f32());
                self.post_transform.apply(answer);
                Chosen::Class(best.unwrap_or(0))
            }
        }
    }

    fn base<T: Number>(&self, class: usize) -> T {
        T::nearest(self.base_values.get(class).copied().unwrap_or(0.0))
    }

    /// Returns a score that has no other beside it.
    fn lone(&self, score: f32) -> f32 {
        if self.post_transform == PostTransform::Probit { probit(score) } else { score }
    }

    fn answer_two<T: Number>(&self, mut first: Score<T>, mut second: Score<T>, answer: &mut [f32]) -> Chosen {
        let bases = self.base_values.len();
        if bases == 2 && second.is_seen {
            second.value = self.base::<T>(1) + first.value;
            first.value = -second.value;
        } else {
            first.value += self.base(0);
            second.value += self.base(1);
        }
        let has_both = bases == 2 || second.is_seen;
        let positive = match (second.is_seen, first.is_seen) {
            (true, _) => second.value,
            (false, true) => first.value,
            (false, false) => T::default(),
        };
        let is_yes = positive > if self.is_binary && self.is_positive { T::nearest(0.5) } else { T::default() };
        if has_both {
            answer.copy_from_slice(&[first.shown(), second.shown()]);
            self.post_transform.apply(answer);
        } else if self.is_binary || bases == 0 {
            let is_share = self.is_binary && self.is_positive;
            answer.copy_from_slice(&both(first.shown(), is_share, self.post_transform));
        } else {
            answer.copy_from_slice(&[self.lone(first.shown()), 0.0]);
        }
        if self.is_binary { Chosen::Class(usize::from(is_yes)) } else { Chosen::Sign(is_yes) }
    }
}

/// The answer of a regressor.
#[derive(Debug)]
pub(super) struct Targets {
    /// What the scores begin with: one for each target, or none.
    pub(super) base_values: Vec<f64>,
    pub(super) post_transform: PostTransform,
}

impl Targets {
    /// Writes a number for each target of a sample. Of several targets, one without a weight is 0. `trees` is the number of trees where scores are averages.
    pub(super) fn answer<T: Number>(&self, scores: &[Score<T>], trees: Option<usize>, answer: &mut [T]) {
        for (target, (score, answer)) in scores.iter().zip(&mut *answer).enumerate() {
            let base = T::nearest(self.base_values.get(target).copied().unwrap_or(0.0));
            let value = trees.map_or(score.value, |trees| score.value / T::nearest(trees as f64)) + base;
            *answer = if score.is_seen || scores.len() == 1 { value } else { T::default() };
        }
        if self.post_transform != PostTransform::None {
            let mut numbers: Vec<f32> = answer.iter().map(|number| number.to_f32()).collect();
            self.post_transform.apply(&mut numbers);
            answer.iter_mut().zip(numbers).for_each(|(answer, number)| *answer = T::nearest(f64::from(number)));
        }
    }
}
