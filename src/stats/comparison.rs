//! Compares two classifiers on the same samples and tests whether chance explains the difference.

use serde::{Deserialize, Serialize};

use super::interval::Z;
use super::{Interval, Predictions, Summary, argmax, ratio};

/// The p-value below which a difference counts as significant.
pub const SIGNIFICANCE: f64 = 0.05;

/// The number of discordant samples (only one of the two is correct) below which the exact test is used.
const EXACT_BELOW: u64 = 25;

/// The method that gave a p-value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TestMethod {
    /// The exact binomial test.
    ExactBinomial,
    /// χ² with one degree of freedom and continuity correction.
    ChiSquareCorrected,
}

/// The result of McNemar's test.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct McNemar {
    /// Samples on which only the first is correct.
    pub only_first: u64,
    /// Samples on which only the second is correct.
    pub only_second: u64,
    /// The probability of a difference at least as large if both were equally good.
    pub p_value: f64,
    /// The method that gave the p-value.
    pub method: TestMethod,
}

/// The comparison of two classifiers on the same samples.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Comparison {
    /// Samples, loss and accuracy of the first.
    pub first: Summary,
    /// Samples, loss and accuracy of the second.
    pub second: Summary,
    /// The accuracy of the second minus that of the first.
    pub difference: f64,
    /// The 95 % interval of that difference.
    pub difference_interval: Interval,
    /// McNemar's test of the difference.
    pub mcnemar: McNemar,
    /// The share of samples on which both give the same answer.
    pub same_answer: f64,
    /// The change of each class, in label order.
    pub classes: Vec<ClassChange>,
}

/// The change of one class from the first classifier to the second.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct ClassChange {
    /// Samples of the class.
    pub support: u64,
    /// Recall of the first and the second.
    pub recall: [f64; 2],
    /// F1 of the first and the second.
    pub f1: [f64; 2],
    /// McNemar's p-value on the samples of this class alone. With many classes some are small by chance.
    pub p_value: f64,
}

/// Runs McNemar's test on the samples for which only one of two classifiers is correct (McNemar 1947,
/// "Note on the Sampling Error of the Difference between Correlated Proportions").
///
/// With fewer than 25 such samples this is the two-sided exact binomial test, otherwise
/// χ² = (|b − c| − 1)² / (b + c) with Edwards' (1948) continuity correction, whose p-value for one degree of
/// freedom is erfc(√(χ²/2)).
pub fn mcnemar(only_first: u64, only_second: u64) -> McNemar {
    let discordant = only_first + only_second;
    let (p_value, method) = if discordant < EXACT_BELOW {
        (exact(only_first.min(only_second), discordant), TestMethod::ExactBinomial)
    } else {
        let gap = only_first.abs_diff(only_second).saturating_sub(1) as f64;
        (libm::erfc((gap * gap / discordant as f64 / 2.0).sqrt()), TestMethod::ChiSquareCorrected)
    };
    McNemar { only_first, only_second, p_value, method }
}

/// Returns twice the probability of at most `fewer` heads in `tosses` of a fair coin, at most 1.
fn exact(fewer: u64, tosses: u64) -> f64 {
    let (mut ways, mut sum) = (1.0, 0.0);
    for heads in 0..=fewer {
        sum += ways;
        ways *= (tosses - heads) as f64 / (heads + 1) as f64;
    }
    (2.0 * sum / (tosses as f64).exp2()).min(1.0)
}

impl McNemar {
    /// Returns true if chance is an unlikely explanation of the difference.
    pub fn is_significant(&self) -> bool {
        self.p_value < SIGNIFICANCE
    }
}

impl Comparison {
    /// Compares two classifiers.
    ///
    /// The interval is that of a difference of paired proportions: (c − b)/n ± z·√(b + c − (c − b)²/n)/n,
    /// with b and c as in McNemar's test (Fleiss, Levin and Paik 2003, "Statistical Methods for Rates
    /// and Proportions", section 13.1).
    ///
    /// # Panics
    /// When the two do not share samples and classes.
    pub fn of(first: &Predictions, second: &Predictions) -> Self {
        assert_eq!((first.len(), first.classes()), (second.len(), second.classes()), "the same samples");
        let mut only = vec![[0u64; 2]; first.classes()];
        let mut same = 0u64;
        for ((truth, a), (other, b)) in first.iter().zip(second.iter()) {
            assert_eq!(truth, other, "the same samples in the same order");
            let (a, b) = (argmax(a), argmax(b));
            same += u64::from(a == b);
            only[truth][0] += u64::from(a == truth && b != truth);
            only[truth][1] += u64::from(a != truth && b == truth);
        }
        let [only_first, only_second] = [0, 1].map(|which| only.iter().map(|class| class[which]).sum::<u64>());
        let (a, b) = (first.evaluate(), second.evaluate());
        let n = a.summary.samples;
        let gain = only_second as f64 - only_first as f64;
        let variance = (only_first + only_second) as f64 - ratio(gain * gain, n);
        let (difference, spread) = (ratio(gain, n), ratio(Z * variance.max(0.0).sqrt(), n));
        let change = |(class, only): (usize, &[u64; 2])| {
            let (a, b) = (a.classes[class], b.classes[class]);
            ClassChange {
                support: a.support,
                recall: [a.scores.recall, b.scores.recall],
                f1: [a.scores.f1, b.scores.f1],
                p_value: mcnemar(only[0], only[1]).p_value,
            }
        };
        Self {
            first: a.summary,
            second: b.summary,
            difference,
            difference_interval: Interval { low: difference - spread, high: difference + spread },
            mcnemar: mcnemar(only_first, only_second),
            same_answer: ratio(same as f64, n),
            classes: only.iter().enumerate().map(change).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Expected values: SciPy's `binomtest(b, b + c).pvalue`, and `chi2.sf((|b - c| - 1)² / (b + c), 1)`.
    #[test]
    fn p_values_agree_with_scipy() {
        for (b, c, p_value, method) in [
            (0, 0, 1.0, TestMethod::ExactBinomial),
            (1, 5, 0.21875, TestMethod::ExactBinomial),
            (10, 14, 0.5412561893463135, TestMethod::ExactBinomial),
            (3, 21, 0.0002771615982055664, TestMethod::ExactBinomial),
            (10, 15, 0.4237107971667936, TestMethod::ChiSquareCorrected),
            (30, 60, 0.0022366244452098703, TestMethod::ChiSquareCorrected),
            (200, 100, 1.0920986772733468e-08, TestMethod::ChiSquareCorrected),
        ] {
            let test = mcnemar(b, c);
            assert!((test.p_value - p_value).abs() <= 1e-9 * p_value, "{test:?}, expected {p_value}");
            assert_eq!(test.method, method);
        }
    }

    fn predictions(answers: &[(usize, usize)]) -> Predictions {
        let mut predictions = Predictions::new(3);
        for (truth, answer) in answers {
            let mut row = [0.1; 3];
            row[*answer] = 0.8;
            predictions.push(*truth, &row);
        }
        predictions
    }

    /// By hand: of six samples the first gets two right, the second five; three only the second.
    #[test]
    fn a_comparison_counts_what_only_one_gets_right() {
        let first = predictions(&[(0, 0), (0, 1), (1, 0), (1, 1), (2, 1), (2, 0)]);
        let second = predictions(&[(0, 0), (0, 0), (1, 1), (1, 1), (2, 2), (2, 1)]);
        let comparison = Comparison::of(&first, &second);
        assert_eq!((comparison.mcnemar.only_first, comparison.mcnemar.only_second), (0, 3));
        assert!((comparison.difference - 0.5).abs() < 1e-12 && (comparison.mcnemar.p_value - 0.25).abs() < 1e-12);
        assert!(!comparison.mcnemar.is_significant());
        assert!((comparison.same_answer - 2.0 / 6.0).abs() < 1e-12);
        assert_eq!(comparison.classes[2].recall, [0.0, 0.5]);
        // 0.5 ± 1.96·√(3 − 9/6)/6
        assert!((comparison.difference_interval.high - 0.900_075_973).abs() < 1e-8, "{comparison:?}");
    }

    proptest! {
        #[test]
        fn the_test_is_symmetric_and_a_probability(b in 0u64..3000, c in 0u64..3000) {
            let (one, other) = (mcnemar(b, c), mcnemar(c, b));
            prop_assert_eq!(one.p_value, other.p_value);
            prop_assert!((0.0..=1.0).contains(&one.p_value));
        }

        #[test]
        fn a_classifier_does_not_differ_from_itself(answers in prop::collection::vec((0usize..3, 0usize..3), 0..40)) {
            let one = predictions(&answers);
            let comparison = Comparison::of(&one, &one);
            prop_assert_eq!((comparison.difference, comparison.mcnemar.p_value), (0.0, 1.0));
            prop_assert_eq!(comparison.first, comparison.second);
        }
    }
}
