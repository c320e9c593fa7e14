//! From sums to figures.

use serde::Serialize;
use utoipa::ToSchema;

use crate::stats::{ClassScores, WeightedSums, class_scores, expected_calibration_error, mean_of_nano, wilson};
use crate::store::{Level, PromiseSums, VersionQuality};

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
    /// The same, corrected for how the samples were chosen: of the labels that say with which probability theirs was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub adjusted: Option<AdjustedFigures>,
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
    /// Sets of classes by their stated coverage, of classifiers of 32 classes at most with a reference.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub sets: Vec<SetFigures>,
    /// Answers that are withheld so that few of the others are wrong, by the stated rate of errors, of classifiers with a
    /// reference.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub abstentions: Vec<AbstentionFigures>,
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

/// Figures in which each answer counts 1/π times, π being the probability with which it was chosen to be labelled
/// (Horvitz and Thompson; the sums are divided by that of the weights, as Hájek does).
#[derive(Debug, Clone, Copy, PartialEq, Serialize, ToSchema)]
pub struct AdjustedFigures {
    /// Answers of which it is known whether they were right, and with which probability they were chosen.
    pub judged: u64,
    /// The predictions that they stand for.
    pub represents: f64,
    /// The equally likely samples that would make it as sure.
    pub effective_samples: f64,
    /// The share of right answers among all predictions, 0 to 1.
    pub accuracy: f64,
    /// The lower end of its 95 % interval: Wilson's, of so many effective samples.
    pub low: f64,
    /// The upper end.
    pub high: f64,
    /// The mean loss, in nats, where probabilities are known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub loss: Option<f64>,
}

impl AdjustedFigures {
    fn of(sums: &WeightedSums) -> Option<Self> {
        let found = sums.accuracy()?;
        Some(Self {
            judged: u64::try_from(sums.judged).unwrap_or_default(),
            represents: sums.weight as f64 / 1e6,
            effective_samples: found.effective,
            accuracy: found.value,
            low: found.interval.low,
            high: found.interval.high,
            loss: sums.mean_loss(),
        })
    }
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

/// Sets of classes that hold the right one with a stated probability.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, ToSchema)]
pub struct SetFigures {
    /// The stated coverage, 0 to 1.
    pub level: f64,
    /// The answers with a set of this level; where the window is a number of labels, those whose true class is known.
    pub answers: u64,
    /// The mean number of classes in their sets.
    pub mean_size: f64,
    /// The answers whose true class is known.
    pub judged: u64,
    /// Those whose set holds it.
    pub covered: u64,
    /// The share of these, 0 to 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub coverage: Option<f64>,
    /// The lower end of its 95 % Wilson interval.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub low: Option<f64>,
    /// The upper end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub high: Option<f64>,
}

/// Answers that are withheld, and the accuracy of the others.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, ToSchema)]
pub struct AbstentionFigures {
    /// The stated share of wrong answers among those given, at most.
    pub error_rate: f64,
    /// The answers that the rate applies to; where the window is a number of labels, those whose truth is known.
    pub answers: u64,
    /// Those of them that had better be withheld.
    pub abstained: u64,
    /// The share of these, 0 to 1.
    pub abstention_rate: f64,
    /// The answers that are not withheld and whose truth is known.
    pub judged: u64,
    /// Those that were right.
    pub correct: u64,
    /// The share of these, 0 to 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub accuracy: Option<f64>,
    /// The lower end of its 95 % Wilson interval.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub low: Option<f64>,
    /// The upper end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub high: Option<f64>,
}

/// Returns a share and the ends of its interval; `None` of nothing.
fn share_with_interval(part: u64, whole: u64) -> Option<[f64; 3]> {
    let interval = wilson(part, whole);
    (whole > 0).then(|| [part as f64 / whole as f64, interval.low, interval.high])
}

/// Returns the answers with a promise and the sum over what they give: of all, or where those are not known of the
/// labelled ones.
fn of_all(sums: &PromiseSums) -> [u64; 2] {
    let whole = [sums.all_samples, sums.all_given];
    let counts = if sums.all_samples > 0 { whole } else { [sums.samples, sums.given] };
    counts.map(|number| u64::try_from(number).unwrap_or_default())
}

impl SetFigures {
    fn of(level: Level, sums: &PromiseSums) -> Option<Self> {
        let [answers, classes] = of_all(sums);
        let [judged, covered] = [sums.samples, sums.kept].map(|number| u64::try_from(number).unwrap_or_default());
        let coverage = share_with_interval(covered, judged);
        (answers > 0).then(|| Self {
            level: level.share(),
            answers,
            mean_size: classes as f64 / answers as f64,
            judged,
            covered,
            coverage: coverage.map(|figures| figures[0]),
            low: coverage.map(|figures| figures[1]),
            high: coverage.map(|figures| figures[2]),
        })
    }
}

impl AbstentionFigures {
    fn of(rate: Level, sums: &PromiseSums) -> Option<Self> {
        let [answers, given] = of_all(sums);
        let [judged, correct] = [sums.given, sums.kept].map(|number| u64::try_from(number).unwrap_or_default());
        let accuracy = share_with_interval(correct, judged);
        (answers > 0).then(|| Self {
            error_rate: rate.share(),
            answers,
            abstained: answers.saturating_sub(given),
            abstention_rate: answers.saturating_sub(given) as f64 / answers as f64,
            judged,
            correct,
            accuracy: accuracy.map(|figures| figures[0]),
            low: accuracy.map(|figures| figures[1]),
            high: accuracy.map(|figures| figures[2]),
        })
    }
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
            adjusted: None,
            loss: None,
            confusion: None,
            classes: None,
            errors: None,
            sets: Vec::new(),
            abstentions: Vec::new(),
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
            adjusted: AdjustedFigures::of(&sums.weighted),
            loss,
            classes: confusion.as_deref().map(class_scores),
            confusion,
            errors: sums.errors().map(|[bias, mean_absolute_error, root_mean_squared_error]| ErrorFigures {
                valued: count(sums.valued),
                bias,
                mean_absolute_error,
                root_mean_squared_error,
            }),
            sets: sums.promises.iter().filter_map(|(term, sums)| SetFigures::of(term.set()?, sums)).collect(),
            abstentions: sums
                .promises
                .iter()
                .filter_map(|(term, sums)| AbstentionFigures::of(term.rate()?, sums))
                .collect(),
            since: quality.since.and_then(|at| jiff::Timestamp::from_microsecond(at).ok()).map(|at| at.to_string()),
        }
    }
}
