//! The accumulator for classifiers: all figures that can be summed sample by sample.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::calibration::Bins;
use super::exact::{brier_nano, loss_nano, mean_of_nano};
use super::{argmax, ratio};

/// Precision, recall and F1, each from 0 to 1.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize, ToSchema)]
pub struct Scores {
    /// The share of the samples predicted to be of this class that are.
    pub precision: f64,
    /// The share of the samples of this class that were found.
    pub recall: f64,
    /// The harmonic mean of precision and recall.
    pub f1: f64,
}

/// The scores of one class.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ClassScores {
    /// The number of samples of this class.
    pub support: u64,
    /// Precision, recall and F1 of the class against the rest.
    #[serde(flatten)]
    pub scores: Scores,
}

/// Loss and accuracy alone, for a data set that is not evaluated in full.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Summary {
    /// The number of samples that were scored.
    pub samples: u64,
    /// Mean sparse categorical cross-entropy in nats.
    pub loss: f64,
    /// Share of samples whose most probable class is the true one, 0 to 1.
    pub accuracy: f64,
}

/// The evaluation of a classifier on labelled samples.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Evaluation {
    /// Samples, log-loss and accuracy.
    #[serde(flatten)]
    pub summary: Summary,
    /// Expected calibration error over 15 equal bins, 0 to 1: the mean distance of confidence from accuracy.
    pub expected_calibration_error: f64,
    /// The plain mean of the class scores.
    pub macro_average: Scores,
    /// The mean of the class scores, weighted by support.
    pub weighted_average: Scores,
    /// The scores of each class, in label order.
    pub classes: Vec<ClassScores>,
    /// `confusion[truth][predicted]` counts samples.
    pub confusion: Vec<Vec<u64>>,
}

/// Accumulates predictions into an [`Evaluation`].
#[derive(Debug, Clone)]
pub struct Evaluator {
    pub(super) confusion: Vec<Vec<u64>>,
    /// Counts by the rank of the true class: most probable, second most probable, ….
    pub(super) ranks: Vec<u64>,
    /// Sums in billionths, so that they do not depend on the order of the samples.
    loss_nano: i64,
    pub(super) brier_nano: i64,
    pub(super) bins: Bins,
}

impl Evaluator {
    /// Creates an empty evaluator for `classes` classes.
    pub fn new(classes: usize) -> Self {
        Self {
            confusion: vec![vec![0; classes]; classes],
            ranks: vec![0; classes],
            loss_nano: 0,
            brier_nano: 0,
            bins: Bins::default(),
        }
    }

    /// Adds one sample: its true class and the predicted distribution.
    ///
    /// # Panics
    /// When `truth` is not below the number of classes or `probabilities` has another length.
    pub fn add(&mut self, truth: usize, probabilities: &[f32]) {
        assert_eq!(probabilities.len(), self.confusion.len(), "one probability per class");
        let predicted = argmax(probabilities);
        self.confusion[truth][predicted] += 1;
        self.ranks[rank(truth, probabilities)] += 1;
        self.loss_nano += loss_nano(probabilities[truth]);
        self.brier_nano += brier_nano(probabilities, truth);
        self.bins.add(f64::from(probabilities[predicted]), predicted == truth);
    }

    /// Returns loss and accuracy so far; zeros without samples.
    pub fn summary(&self) -> Summary {
        let samples: u64 = self.confusion.iter().flatten().sum();
        let correct: u64 = (0..self.confusion.len()).map(|class| self.confusion[class][class]).sum();
        Summary { samples, loss: mean_of_nano(self.loss_nano, samples), accuracy: ratio(correct as f64, samples) }
    }

    /// Returns the evaluation of all samples so far.
    pub fn finish(&self) -> Evaluation {
        let summary = self.summary();
        let classes = class_scores(&self.confusion);
        let count = classes.len() as u64;
        let weighted = |weight: &dyn Fn(&ClassScores) -> u64, total: u64| {
            let mean = |of: &dyn Fn(&Scores) -> f64| {
                ratio(classes.iter().map(|class| of(&class.scores) * weight(class) as f64).sum(), total)
            };
            Scores { precision: mean(&|s| s.precision), recall: mean(&|s| s.recall), f1: mean(&|s| s.f1) }
        };
        Evaluation {
            summary,
            expected_calibration_error: self.bins.expected_error(),
            macro_average: weighted(&|_| 1, count),
            weighted_average: weighted(&|class| class.support, summary.samples),
            classes,
            confusion: self.confusion.clone(),
        }
    }
}

/// Returns the scores of each class of a square matrix whose `confusion[truth][predicted]` counts samples.
pub fn class_scores(confusion: &[Vec<u64>]) -> Vec<ClassScores> {
    let scores = |class: usize| {
        let hits = confusion[class][class] as f64;
        let support: u64 = confusion[class].iter().sum();
        let predicted: u64 = confusion.iter().map(|row| row[class]).sum();
        let (precision, recall) = (ratio(hits, predicted), ratio(hits, support));
        let sum = precision + recall;
        let f1 = if sum > 0.0 { 2.0 * precision * recall / sum } else { 0.0 };
        ClassScores { support, scores: Scores { precision, recall, f1 } }
    };
    (0..confusion.len()).map(scores).collect()
}

/// Returns the rank of the true class, from 0. Of equal probabilities the first class ranks higher, as in
/// [`argmax`].
fn rank(truth: usize, probabilities: &[f32]) -> usize {
    let before = |(class, p): (usize, &f32)| *p > probabilities[truth] || (*p == probabilities[truth] && class < truth);
    probabilities.iter().enumerate().filter(|entry| before(*entry)).count()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::PROBABILITY_FLOOR;
    use proptest::prelude::*;

    fn close(a: f64, b: f64) -> bool {
        (a - b).abs() < 1e-9
    }

    /// Expected values: scikit-learn 1.5 `classification_report` and `log_loss` on these six samples.
    #[test]
    fn scores_agree_with_a_worked_example() {
        let mut evaluator = Evaluator::new(3);
        for (truth, p) in [
            (0, [0.7, 0.2, 0.1]),
            (0, [0.4, 0.5, 0.1]),
            (1, [0.1, 0.8, 0.1]),
            (1, [0.2, 0.6, 0.2]),
            (2, [0.1, 0.1, 0.8]),
            (2, [0.5, 0.2, 0.3]),
        ] {
            evaluator.add(truth, &p);
        }
        let e = evaluator.finish();
        assert_eq!(e.confusion, [[1, 1, 0], [0, 2, 0], [1, 0, 1]]);
        assert!(close(e.summary.accuracy, 4.0 / 6.0));
        let expected = -(0.7f32.ln() + 0.4f32.ln() + 0.8f32.ln() + 0.6f32.ln() + 0.8f32.ln() + 0.3f32.ln()) / 6.0;
        assert!((e.summary.loss - f64::from(expected)).abs() < 1e-6);
        assert!(close(e.classes[0].scores.precision, 0.5) && close(e.classes[0].scores.recall, 0.5));
        assert!(close(e.classes[1].scores.precision, 2.0 / 3.0) && close(e.classes[1].scores.f1, 0.8));
        assert!(close(e.macro_average.precision, (0.5 + 2.0 / 3.0 + 1.0) / 3.0));
        assert!(close(e.macro_average.recall, e.weighted_average.recall));
    }

    #[test]
    fn a_class_that_never_occurs_scores_zero_and_nothing_divides_by_zero() {
        let mut evaluator = Evaluator::new(3);
        assert_eq!(evaluator.finish().summary, Summary { samples: 0, loss: 0.0, accuracy: 0.0 });
        evaluator.add(0, &[0.0, 1.0, 0.0]);
        let e = evaluator.finish();
        assert_eq!(e.classes[2].scores, Scores::default());
        assert!(close(e.summary.loss, -PROBABILITY_FLOOR.ln()));
        assert!(close(e.expected_calibration_error, 1.0));
    }

    #[test]
    fn calibration_error_is_the_gap_between_confidence_and_accuracy() {
        let mut evaluator = Evaluator::new(2);
        for index in 0..10 {
            evaluator.add(usize::from(index >= 8), &[0.8, 0.2]);
        }
        assert!(evaluator.finish().expected_calibration_error < 1e-6);
        evaluator.add(1, &[0.8, 0.2]);
        assert!(evaluator.finish().expected_calibration_error > 0.05);
    }

    proptest! {
        #[test]
        fn averages_stay_within_the_classes_and_accuracy_is_weighted_recall(
            samples in prop::collection::vec((0usize..4, prop::array::uniform4(0.01f32..1.0)), 1..60)
        ) {
            let mut evaluator = Evaluator::new(4);
            for (truth, raw) in &samples {
                let sum: f32 = raw.iter().sum();
                evaluator.add(*truth, &raw.map(|value| value / sum));
            }
            let e = evaluator.finish();
            prop_assert_eq!(e.summary.samples, samples.len() as u64);
            prop_assert!(close(e.weighted_average.recall, e.summary.accuracy));
            prop_assert!((0.0..=1.0).contains(&e.macro_average.f1));
            prop_assert!((0.0..=1.0).contains(&e.expected_calibration_error));
            prop_assert!(e.summary.loss >= 0.0);
        }
    }
}
