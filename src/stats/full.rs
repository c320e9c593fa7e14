//! The full evaluation of a classifier on a data set.

use serde::{Deserialize, Serialize};

use super::agreement::{cohen_kappa, matthews_correlation};
use super::calibration::ReliabilityBin;
use super::curves::{ClassCurves, curves};
use super::exact::mean_of_nano;
use super::{Evaluation, Interval, Predictions, Scores, ratio, wilson};

/// The values of k for which the top-k accuracy is reported, as far as there are more classes.
const GUESSES: [usize; 4] = [2, 3, 5, 10];

/// An [`Evaluation`] and the figures that are too large for a manifest.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FullEvaluation {
    /// The figures that a manifest holds.
    #[serde(flatten)]
    pub evaluation: Evaluation,
    /// The 95 % Wilson score interval of the accuracy.
    pub accuracy_interval: Interval,
    /// The mean recall of the classes that occur (Brodersen et al. 2010, "The Balanced Accuracy and
    /// Its Posterior Distribution").
    pub balanced_accuracy: f64,
    /// The scores over all decisions together. As each sample has one class, a wrong answer is one false
    /// positive and one false negative, so all three scores equal the accuracy.
    pub micro_average: Scores,
    /// Gorodkin's multi-class form of Matthews' correlation coefficient, -1 to 1.
    pub matthews_correlation: f64,
    /// Cohen's κ, at most 1.
    pub cohen_kappa: f64,
    /// The mean of Σ (p − y)² over the classes (Brier 1950, "Verification of forecasts expressed in
    /// terms of probability"), 0 to 2; not halved.
    pub brier_score: f64,
    /// The top-k accuracy for several k.
    pub top_k: Vec<TopK>,
    /// The largest gap between confidence and accuracy of any bin with samples.
    pub maximum_calibration_error: f64,
    /// The reliability diagram: confidence and accuracy of each bin.
    pub reliability: Vec<ReliabilityBin>,
    /// The mean area under the ROC curves of the classes that have one.
    pub mean_roc_area: Option<f64>,
    /// The mean area under the precision-recall curves of the classes that have one.
    pub mean_precision_recall_area: Option<f64>,
    /// The curves of each class against the rest, in label order; `None` for a class without samples.
    pub curves: Vec<Option<ClassCurves>>,
}

/// The share of samples whose true class is among the `k` most probable ones.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct TopK {
    /// The number of guesses.
    pub k: usize,
    /// The share of samples.
    pub accuracy: f64,
}

impl Predictions {
    /// Returns the part of the evaluation that a manifest holds. It takes one pass over the samples.
    pub fn evaluate(&self) -> Evaluation {
        self.evaluator().finish()
    }

    /// Returns the full evaluation, including the curves, which sort the samples once per class.
    pub fn evaluate_fully(&self) -> FullEvaluation {
        let evaluator = self.evaluator();
        let evaluation = evaluator.finish();
        let summary = evaluation.summary;
        let correct = (0..self.classes()).map(|class| evaluation.confusion[class][class]).sum();
        let of_class = |class: usize| curves(self.iter().map(|(truth, row)| (row[class], truth == class)).collect());
        let curves: Vec<Option<ClassCurves>> = (0..self.classes()).map(of_class).collect();
        let occurring = evaluation.classes.iter().filter(|class| class.support > 0);
        let top = |k: &usize| TopK {
            k: *k,
            accuracy: ratio(evaluator.ranks[..*k].iter().sum::<u64>() as f64, summary.samples),
        };
        FullEvaluation {
            accuracy_interval: wilson(correct, summary.samples),
            balanced_accuracy: mean(occurring.map(|class| class.scores.recall)).unwrap_or(0.0),
            micro_average: Scores { precision: summary.accuracy, recall: summary.accuracy, f1: summary.accuracy },
            matthews_correlation: matthews_correlation(&evaluation.confusion),
            cohen_kappa: cohen_kappa(&evaluation.confusion),
            brier_score: mean_of_nano(evaluator.brier_nano, summary.samples),
            top_k: GUESSES.iter().filter(|k| **k < self.classes()).map(top).collect(),
            maximum_calibration_error: evaluator.bins.maximum_error(),
            reliability: evaluator.bins.reliability(),
            mean_roc_area: mean(curves.iter().flatten().map(|class| class.roc.area)),
            mean_precision_recall_area: mean(curves.iter().flatten().map(|class| class.precision_recall.area)),
            curves,
            evaluation,
        }
    }
}

fn mean(values: impl Iterator<Item = f64>) -> Option<f64> {
    let (count, sum) = values.fold((0u64, 0.0), |(count, sum), value| (count + 1, sum + value));
    (count > 0).then(|| sum / count as f64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn close(a: f64, b: f64) -> bool {
        (a - b).abs() < 1e-6
    }

    fn predictions(samples: &[(usize, [f32; 4])]) -> Predictions {
        let mut predictions = Predictions::new(4);
        samples.iter().for_each(|(truth, row)| predictions.push(*truth, row));
        predictions
    }

    const SAMPLES: [(usize, [f32; 4]); 8] = [
        (0, [0.7, 0.1, 0.1, 0.1]),
        (0, [0.3, 0.4, 0.2, 0.1]),
        (0, [0.5, 0.2, 0.2, 0.1]),
        (1, [0.1, 0.8, 0.05, 0.05]),
        (1, [0.2, 0.25, 0.5, 0.05]),
        (2, [0.1, 0.2, 0.6, 0.1]),
        (3, [0.4, 0.3, 0.2, 0.1]),
        (3, [0.05, 0.05, 0.1, 0.8]),
    ];

    /// Expected values: scikit-learn's `balanced_accuracy_score`, `matthews_corrcoef`,
    /// `cohen_kappa_score`, `top_k_accuracy_score`, `roc_auc_score(multi_class="ovr")`,
    /// `average_precision_score` of the one-hot truth, `log_loss`; NumPy for the Brier score.
    #[test]
    fn everything_agrees_with_scikit_learn() {
        let e = predictions(&SAMPLES).evaluate_fully();
        let expected = [
            (e.balanced_accuracy, 0.6666666666666666),
            (e.matthews_correlation, 0.5),
            (e.cohen_kappa, 0.4893617021276596),
            (e.brier_score, 0.430624998258427),
            (e.evaluation.summary.loss, 0.8624733752733147),
            (e.top_k[0].accuracy, 0.875),
            (e.top_k[1].accuracy, 0.875),
            (e.mean_roc_area.unwrap(), 0.9),
            (e.mean_precision_recall_area.unwrap(), 0.8333333333333333),
            (e.evaluation.macro_average.f1, 0.6249999999999999),
            (e.evaluation.weighted_average.precision, 0.6875),
        ];
        for (found, expected) in expected {
            assert!(close(found, expected), "{found} {expected}");
        }
        assert_eq!(e.micro_average.f1, e.evaluation.summary.accuracy);
        assert_eq!(e.evaluation.summary.samples, 8);
    }

    #[test]
    fn nothing_at_all_is_evaluated_without_a_division() {
        let e = predictions(&[]).evaluate_fully();
        assert_eq!((e.balanced_accuracy, e.brier_score, e.mean_roc_area), (0.0, 0.0, None));
        assert_eq!(e.curves, [None, None, None, None]);
    }

    #[test]
    fn a_class_that_never_occurs_leaves_the_balanced_accuracy_alone() {
        let e = predictions(&[(0, [1.0, 0.0, 0.0, 0.0]), (1, [1.0, 0.0, 0.0, 0.0])]).evaluate_fully();
        assert!(close(e.balanced_accuracy, 0.5));
        assert!(e.curves[0].is_some() && e.curves[2].is_none());
    }

    #[test]
    fn it_survives_json() {
        let e = predictions(&SAMPLES).evaluate_fully();
        let text = serde_json::to_string(&e).unwrap();
        let back: FullEvaluation = serde_json::from_str(&text).unwrap();
        assert_eq!(back.evaluation.confusion, e.evaluation.confusion);
        assert!(text.starts_with("{\"samples\":8"));
    }

    proptest! {
        #[test]
        fn the_order_of_samples_does_not_matter_and_all_is_within_bounds(
            samples in prop::collection::vec((0usize..4, prop::array::uniform4(0.01f32..1.0)), 1..60)
        ) {
            let normal = |raw: [f32; 4]| { let sum: f32 = raw.iter().sum(); raw.map(|value| value / sum) };
            let samples: Vec<_> = samples.into_iter().map(|(truth, raw)| (truth, normal(raw))).collect();
            let mut turned = samples.clone();
            turned.reverse();
            let (a, b) = (predictions(&samples).evaluate_fully(), predictions(&turned).evaluate_fully());
            prop_assert_eq!(&a.evaluation.confusion, &b.evaluation.confusion);
            prop_assert_eq!(&a.curves, &b.curves);
            prop_assert!(close(a.brier_score, b.brier_score) && close(a.evaluation.summary.loss, b.evaluation.summary.loss));
            prop_assert!((0.0..=2.0).contains(&a.brier_score));
            prop_assert!((-1.0 - 1e-9..=1.0 + 1e-9).contains(&a.matthews_correlation) && a.cohen_kappa <= 1.0);
            prop_assert!(a.top_k.is_sorted_by(|x, y| x.accuracy <= y.accuracy));
            prop_assert!(a.top_k[0].accuracy >= a.evaluation.summary.accuracy);
            prop_assert!(a.accuracy_interval.low <= a.evaluation.summary.accuracy + 1e-12);
            prop_assert!(a.accuracy_interval.high >= a.evaluation.summary.accuracy - 1e-12);
            prop_assert!(a.evaluation.expected_calibration_error <= a.maximum_calibration_error + 1e-12);
        }
    }
}
