//! From sums to figures.

use serde::Serialize;
use utoipa::ToSchema;

use crate::stats::{ClassScores, class_scores, expected_calibration_error, mean_of_nano, wilson};
use crate::store::VersionQuality;

/// The quality of a version on answers whose truth is known.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct FeedbackQuality {
    /// The version.
    pub version: u64,
    /// The answers whose truth is known.
    pub samples: u64,
    /// The answers in the window; absent where the window is a number of labels.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub answered: Option<u64>,
    /// The share of answers whose truth is known, 0 to 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub coverage: Option<f64>,
    /// The mean time from an answer to its label, in seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mean_label_delay_seconds: Option<f64>,
    /// Where answers are right or wrong: how many are right.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub accuracy: Option<AccuracyFigures>,
    /// Where the true class and all probabilities are known: how far off they are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub loss: Option<LossFigures>,
    /// `confusion[truth][predicted]` counts samples; of models with 32 classes at most.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub confusion: Option<Vec<Vec<u64>>>,
    /// Precision, recall and F1 of each class, in the order of the labels.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub classes: Option<Vec<ClassScores>>,
    /// Of numbers: how far off they are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub errors: Option<ErrorFigures>,
    /// The beginning of the window as RFC 3339, where it is one of time: a full hour.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<String>,
}

/// The share of right answers.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, ToSchema)]
pub struct AccuracyFigures {
    /// Answers of which it is known whether they were right.
    pub judged: u64,
    /// Those that were right.
    pub correct: u64,
    /// Their share, 0 to 1.
    pub value: f64,
    /// The lower end of its 95 % Wilson interval.
    pub low: f64,
    /// The upper end.
    pub high: f64,
    /// Expected calibration error over 15 equal bins of confidence, 0 to 1; absent where answers have no confidence.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expected_calibration_error: Option<f64>,
}

/// The loss of a classifier.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, ToSchema)]
pub struct LossFigures {
    /// Answers with a loss.
    pub scored: u64,
    /// Their mean cross-entropy in nats.
    pub value: f64,
    /// The sum of it in billionths of a nat: exact, whatever the order of the labels.
    pub sum_nano: i64,
    /// The mean Brier score, 0 to 2.
    pub brier_score: f64,
}

/// The errors of a model of numbers, in their own unit, to a millionth of it and up to a million each.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, ToSchema)]
pub struct ErrorFigures {
    /// Answers with a true number.
    pub valued: u64,
    /// The mean of predicted less true.
    pub bias: f64,
    /// MAE.
    pub mean_absolute_error: f64,
    /// RMSE.
    pub root_mean_squared_error: f64,
}

impl FeedbackQuality {
    /// Figures of a version of which nothing is known.
    #[cfg(test)]
    pub(super) fn empty(version: u64) -> Self {
        Self {
            version,
            samples: 0,
            answered: None,
            coverage: None,
            mean_label_delay_seconds: None,
            accuracy: None,
            loss: None,
            confusion: None,
            classes: None,
            errors: None,
            since: None,
        }
    }

    /// Returns the figures that follow from sums.
    pub fn of(quality: &VersionQuality) -> Self {
        let sums = &quality.sums;
        let count = |number: i64| u64::try_from(number).unwrap_or_default();
        let (samples, answered) = (count(sums.samples), quality.answered.map(count));
        let share = |whole: u64| (whole > 0).then(|| (samples as f64 / whole as f64).min(1.0));
        let accuracy = (sums.judged > 0).then(|| {
            let (judged, correct) = (count(sums.judged), count(sums.correct));
            let interval = wilson(correct, judged);
            let has_confidence = sums.bins.iter().any(|bin| bin.samples > 0);
            AccuracyFigures {
                judged,
                correct,
                value: correct as f64 / judged as f64,
                low: interval.low,
                high: interval.high,
                expected_calibration_error: has_confidence.then(|| expected_calibration_error(&sums.bins)),
            }
        });
        let loss = (sums.scored > 0).then(|| LossFigures {
            scored: count(sums.scored),
            value: mean_of_nano(sums.loss_nano, count(sums.scored)),
            sum_nano: sums.loss_nano,
            brier_score: mean_of_nano(sums.brier_nano, count(sums.scored)),
        });
        let confusion = quality.confusion().filter(|_| sums.samples > 0);
        Self {
            version: quality.version.version,
            samples,
            answered,
            coverage: answered.and_then(share),
            mean_label_delay_seconds: (samples > 0).then(|| sums.delay_us as f64 / 1e6 / samples as f64),
            accuracy,
            loss,
            classes: confusion.as_deref().map(class_scores),
            confusion,
            errors: sums.errors().map(|[bias, mean_absolute_error, root_mean_squared_error]| ErrorFigures {
                valued: count(sums.valued),
                bias,
                mean_absolute_error,
                root_mean_squared_error,
            }),
            since: quality.since.and_then(|at| jiff::Timestamp::from_microsecond(at).ok()).map(|at| at.to_string()),
        }
    }
}
