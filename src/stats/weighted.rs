//! Figures from samples that were chosen for labelling with known, unequal probabilities.
//!
//! Each answer counts 1/π times, π being the probability with which it was chosen (Horvitz and Thompson 1952), and the
//! sums are divided by that of the weights (Hájek 1971). So answers that were chosen because they are uncertain do not
//! make a model look worse than it is. The sums are integers: they are exact in any order, and taking back gives 0.

use super::interval::{Interval, wilson_of_share};

/// Weights are counted in millionths.
const MICRO: f64 = 1e6;

/// Probabilities are kept in billionths.
const BILLION: f64 = 1e9;

/// The probability with which a sample was chosen: from one in a million to 1, in billionths.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Inclusion(u32);

impl Inclusion {
    /// The inclusion of what is chosen in any case.
    pub const CERTAIN: Self = Self(1_000_000_000);

    /// The least.
    const LEAST: u32 = 1000;

    /// Returns a probability above 0 and up to 1, of which the least that is kept is one in a million; `None` for any
    /// other number.
    pub fn new(probability: f64) -> Option<Self> {
        let is_one = probability > 0.0 && probability <= 1.0;
        is_one.then(|| Self(((probability * BILLION).round() as u32).clamp(Self::LEAST, Self::CERTAIN.0)))
    }

    /// Returns the probability that this many billionths are.
    pub fn of_billionths(billionths: i64) -> Option<Self> {
        let billionths = u32::try_from(billionths).ok()?;
        (Self::LEAST..=Self::CERTAIN.0).contains(&billionths).then_some(Self(billionths))
    }

    /// Returns the probability in billionths.
    pub fn billionths(self) -> i64 {
        self.0.into()
    }

    /// Returns the probability.
    pub fn probability(self) -> f64 {
        f64::from(self.0) / BILLION
    }

    /// Returns the number of samples that one stands for, in millionths: 10⁶ to 10¹².
    fn weight_micro(self) -> i64 {
        (MICRO * BILLION / f64::from(self.0)).round() as i64
    }
}

/// Sums over samples that each count with a weight.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct WeightedSums {
    /// The samples of which it is known whether the answer was right.
    pub judged: i64,
    /// The sum of their weights, in millionths.
    pub weight: i64,
    /// The sum of the weights of right answers.
    pub correct: i64,
    /// The sum of the squares of the weights, in millionths squared.
    pub square: i128,
    /// That of the right answers.
    pub correct_square: i128,
    /// The sum of the weights of answers with a loss.
    pub scored: i64,
    /// The sum of their losses in billionths of a nat, times their weights.
    pub loss: i128,
}

/// An accuracy that is corrected for the choice of the samples.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct WeightedAccuracy {
    /// The share of right answers, 0 to 1.
    pub value: f64,
    /// Its 95 % interval.
    pub interval: Interval,
    /// The equally likely samples that would make it as sure.
    pub effective: f64,
}

impl WeightedSums {
    /// Adds an answer, or with −1 takes it back.
    pub fn add(&mut self, inclusion: Inclusion, correct: Option<bool>, loss_nano: Option<i64>, sign: i64) {
        let weight = inclusion.weight_micro();
        if let Some(correct) = correct {
            let square = i128::from(weight) * i128::from(weight) * i128::from(sign);
            self.judged += sign;
            self.weight += sign * weight;
            self.square += square;
            if correct {
                self.correct += sign * weight;
                self.correct_square += square;
            }
        }
        if let Some(loss) = loss_nano {
            self.scored += sign * weight;
            self.loss += i128::from(sign) * i128::from(weight) * i128::from(loss);
        }
    }

    /// Adds other sums.
    pub fn merge(&mut self, other: &Self) {
        self.judged += other.judged;
        self.weight += other.weight;
        self.correct += other.correct;
        self.square += other.square;
        self.correct_square += other.correct_square;
        self.scored += other.scored;
        self.loss += other.loss;
    }

    /// Returns the corrected accuracy; `None` without samples.
    ///
    /// The interval is Wilson's with an effective number of samples: the smaller one of Kish's (Σw)²/Σw² and of that by
    /// the linearised variance Σw²(y − p)²/(Σw)². The first alone would forget that wrong answers may be heavy, the
    /// second that none of the few heavy ones may have been wrong by chance.
    pub fn accuracy(&self) -> Option<WeightedAccuracy> {
        if self.weight <= 0 || self.square <= 0 {
            return None;
        }
        let (weight, square) = (self.weight as f64, self.square as f64);
        let value = (self.correct as f64 / weight).clamp(0.0, 1.0);
        let kish = weight * weight / square;
        let right = self.correct_square as f64;
        let spread = (right * (1.0 - value) * (1.0 - value) + (square - right) * value * value) / (weight * weight);
        let effective = if spread > 0.0 { kish.min(value * (1.0 - value) / spread) } else { kish };
        Some(WeightedAccuracy { value, interval: wilson_of_share(value, effective), effective })
    }

    /// Returns the corrected mean loss in nats; `None` without losses.
    pub fn mean_loss(&self) -> Option<f64> {
        (self.scored > 0).then(|| self.loss as f64 / self.scored as f64 / BILLION)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::stats::wilson;

    #[test]
    fn a_probability_is_above_zero_and_at_most_one() {
        assert_eq!(Inclusion::new(1.0), Some(Inclusion::CERTAIN));
        assert_eq!(Inclusion::new(0.25).unwrap().weight_micro(), 4_000_000);
        assert_eq!(Inclusion::new(1e-300).unwrap().weight_micro(), 1_000_000_000_000);
        for bad in [0.0, -0.5, 1.0001, f64::NAN, f64::INFINITY] {
            assert_eq!(Inclusion::new(bad), None, "{bad}");
        }
        assert_eq!(Inclusion::of_billionths(999), None);
        assert_eq!(Inclusion::of_billionths(250_000_000), Inclusion::new(0.25));
    }

    proptest! {
        #[test]
        fn equal_weights_give_the_plain_share_and_its_interval(correct in 0u64..500, wrong in 0u64..500, p in 0.01f64..=1.0) {
            prop_assume!(correct + wrong > 0);
            let mut sums = WeightedSums::default();
            let inclusion = Inclusion::new(p).unwrap();
            (0..correct).for_each(|_| sums.add(inclusion, Some(true), None, 1));
            (0..wrong).for_each(|_| sums.add(inclusion, Some(false), None, 1));
            let (found, plain) = (sums.accuracy().unwrap(), wilson(correct, correct + wrong));
            prop_assert!((found.value - correct as f64 / (correct + wrong) as f64).abs() < 1e-12);
            prop_assert!((found.effective - (correct + wrong) as f64).abs() < 1e-6);
            prop_assert!((found.interval.low - plain.low).abs() < 1e-9 && (found.interval.high - plain.high).abs() < 1e-9);
        }

        #[test]
        fn sums_do_not_depend_on_the_order_and_taking_back_gives_zero(
            answers in prop::collection::vec((1e-6f64..=1.0, any::<Option<bool>>(), prop::option::of(0i64..16_000_000_000)), 0..50)
        ) {
            let each = |sums: &mut WeightedSums, answers: &mut dyn Iterator<Item = &(f64, Option<bool>, Option<i64>)>, sign| {
                for (p, correct, loss) in answers {
                    sums.add(Inclusion::new(*p).unwrap(), *correct, *loss, sign);
                }
            };
            let (mut forth, mut back) = (WeightedSums::default(), WeightedSums::default());
            each(&mut forth, &mut answers.iter(), 1);
            each(&mut back, &mut answers.iter().rev(), 1);
            prop_assert_eq!(forth, back);
            each(&mut forth, &mut answers.iter().rev(), -1);
            prop_assert_eq!(forth, WeightedSums::default());
        }
    }
}
