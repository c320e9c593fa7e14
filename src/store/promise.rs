//! What was promised of an answer, and whether it was kept: sets of classes that hold the right one with a stated
//! probability, and answers that are withheld so that few of those given are wrong.
//!
//! The promises stand in the row of the prediction, as the reference of the version had them when it answered: whoever
//! joins a label to it, now or on another server, comes to the same figures.

use std::collections::BTreeMap;

/// The most promises of one row.
pub(super) const MAX_PROMISES: usize = 6;

/// The greatest number of classes whose sets are kept.
pub const MAX_SET_CLASSES: usize = 32;

/// The steps of levels and rates in a whole.
const STEPS: f64 = 1e4;

/// The bits of a code: a level or rate in steps, and which of both it is.
const LEVEL_BITS: u16 = (1 << 14) - 1;
const IS_RATE: u16 = 1 << 14;
const IS_WITHHELD: u16 = 1 << 15;

/// A level of coverage or a rate of errors, to a ten-thousandth.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Level(u16);

/// A promise about an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Promise {
    /// A set of classes holds the right one.
    Set {
        /// With this probability.
        level: Level,
        /// A bit for each class of the set.
        classes: u32,
    },
    /// Of the answers that are given few are wrong.
    Answer {
        /// This share at most.
        rate: Level,
        /// Set if this answer had better not be given.
        is_withheld: bool,
    },
}

/// The promises of a kind that are counted together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Term {
    /// Sets of a level.
    Set(Level),
    /// Answers with a rate of errors.
    Answer(Level),
}

/// One promise of an answer whose truth is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Settled {
    term: Term,
    /// The classes of the set; of an answer 1 if it is given, and 0 if it is withheld.
    given: u8,
    /// Set if the right class is in the set; of an answer if it is given and right.
    is_kept: bool,
}

/// The promises of one answer whose truth is known.
pub(super) type SettledAll = [Option<Settled>; MAX_PROMISES];

/// Sums over the promises of a term.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PromiseSums {
    /// Answers with this promise whose truth is known.
    pub samples: i64,
    /// Classes of all their sets together; of answers, the ones that are given.
    pub given: i64,
    /// Sets that hold the right class; of answers, the ones that are given and right.
    pub kept: i64,
    /// All answers with this promise in the window, whether their truth is known or not; 0 where the window is a number
    /// of labels.
    pub all_samples: i64,
    /// Classes of all their sets together; of answers, the ones that are given.
    pub all_given: i64,
}

/// Sums by term.
pub type Promises = BTreeMap<Term, PromiseSums>;

impl Level {
    /// Returns the level nearest to a share; `None` for one that is not between 0 and 1 to a ten-thousandth.
    pub fn of(share: f64) -> Option<Self> {
        let steps = (share * STEPS).round();
        (steps > 0.0 && steps < STEPS).then_some(Self(steps as u16))
    }

    /// Returns the level as a share.
    pub fn share(self) -> f64 {
        f64::from(self.0) / STEPS
    }
}

impl std::fmt::Display for Level {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let digits = format!("{:04}", self.0);
        write!(f, "0.{}", digits.trim_end_matches('0'))
    }
}

impl Term {
    /// Returns the level of sets.
    pub fn set(self) -> Option<Level> {
        match self {
            Self::Set(level) => Some(level),
            Self::Answer(_) => None,
        }
    }

    /// Returns the rate of errors of answers.
    pub fn rate(self) -> Option<Level> {
        match self {
            Self::Answer(rate) => Some(rate),
            Self::Set(_) => None,
        }
    }

    pub(super) fn code(self) -> u16 {
        match self {
            Self::Set(level) => level.0,
            Self::Answer(rate) => rate.0 | IS_RATE,
        }
    }

    pub(super) fn of_code(code: u16) -> Self {
        let level = Level(code & LEVEL_BITS);
        if code & IS_RATE == 0 { Self::Set(level) } else { Self::Answer(level) }
    }
}

impl Promise {
    /// Appends the bytes of a promise.
    pub(super) fn write(self, out: &mut Vec<u8>) {
        match self {
            Self::Set { level, classes } => {
                out.extend_from_slice(&Term::Set(level).code().to_le_bytes());
                out.extend_from_slice(&classes.to_le_bytes());
            }
            Self::Answer { rate, is_withheld } => {
                let withheld = if is_withheld { IS_WITHHELD } else { 0 };
                out.extend_from_slice(&(Term::Answer(rate).code() | withheld).to_le_bytes());
            }
        }
    }

    /// Reads a promise whose code has been read; `classes` reads those of a set.
    pub(super) fn read(code: u16, classes: impl FnOnce() -> Option<u32>) -> Option<Self> {
        match Term::of_code(code) {
            Term::Set(level) => Some(Self::Set { level, classes: classes()? }),
            Term::Answer(rate) => Some(Self::Answer { rate, is_withheld: code & IS_WITHHELD != 0 }),
        }
    }

    fn term(self) -> Term {
        match self {
            Self::Set { level, .. } => Term::Set(level),
            Self::Answer { rate, .. } => Term::Answer(rate),
        }
    }

    fn given(self) -> u8 {
        match self {
            Self::Set { classes, .. } => classes.count_ones() as u8,
            Self::Answer { is_withheld, .. } => u8::from(!is_withheld),
        }
    }

    /// Returns whether the promise was kept, if the truth tells it. That an answer was wrong does not say which class is
    /// right; that it was right does, but sets of such answers alone would look too good.
    fn settle(self, class: u32, said: Said) -> Option<Settled> {
        let is_kept = match (self, said) {
            (Self::Set { classes, .. }, Said::Class(truth)) => classes.checked_shr(truth).unwrap_or(0) & 1 == 1,
            (Self::Answer { is_withheld, .. }, Said::Class(truth)) => !is_withheld && truth == class,
            (Self::Answer { is_withheld, .. }, Said::Correct(correct)) => !is_withheld && correct,
            (Self::Set { .. }, Said::Correct(_)) => return None,
        };
        Some(Settled { term: self.term(), given: self.given(), is_kept })
    }
}

/// What a label says of an answer of a classifier.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Said {
    /// The right class.
    Class(u32),
    /// Whether the answer was right.
    Correct(bool),
}

/// Returns the promises of an answer, with this most probable class, whose truth is known.
pub(super) fn settled(promises: &[Promise], class: u32, said: Said) -> SettledAll {
    let mut all = SettledAll::default();
    let found = promises.iter().filter_map(|promise| promise.settle(class, said));
    all.iter_mut().zip(found).for_each(|(place, settled)| *place = Some(settled));
    all
}

/// Adds promises whose truth is known to sums, or with −1 takes them back.
pub(super) fn add(promises: &mut Promises, settled: &SettledAll, sign: i64) {
    for one in settled.iter().flatten() {
        let sums = promises.entry(one.term).or_default();
        sums.samples += sign;
        sums.given += sign * i64::from(one.given);
        sums.kept += sign * i64::from(one.is_kept);
    }
}

/// Adds the promises of an answer to the sums over all answers.
pub(super) fn add_to_traffic(sums: &mut Promises, promises: &[Promise]) {
    for promise in promises {
        let sums = sums.entry(promise.term()).or_default();
        sums.all_samples += 1;
        sums.all_given += i64::from(promise.given());
    }
}

/// Returns what is noted of an outcome.
pub(super) fn to_bytes(settled: &SettledAll) -> Vec<u8> {
    let one = |settled: &Settled| {
        let [low, high] = settled.term.code().to_le_bytes();
        [low, high, settled.given, u8::from(settled.is_kept)]
    };
    settled.iter().flatten().flat_map(one).collect()
}

/// Reads what was noted of an outcome; nothing where nothing was.
pub(super) fn of_bytes(bytes: &[u8]) -> SettledAll {
    let mut all = SettledAll::default();
    for (place, chunk) in all.iter_mut().zip(bytes.as_chunks().0) {
        let [low, high, given, is_kept] = *chunk;
        let term = Term::of_code(u16::from_le_bytes([low, high]));
        *place = Some(Settled { term, given, is_kept: is_kept == 1 });
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn level(share: f64) -> Level {
        Level::of(share).unwrap()
    }

    #[test]
    fn levels_are_kept_to_a_ten_thousandth() {
        for (share, text) in [(0.99, "0.99"), (0.9, "0.9"), (0.001, "0.001"), (0.9999, "0.9999")] {
            assert_eq!((level(share).to_string(), level(share).share()), (text.into(), share));
        }
        assert!([0.0, 1.0, -0.5, 0.00001, f64::NAN].iter().all(|share| Level::of(*share).is_none()));
    }

    #[test]
    fn a_truth_settles_what_it_tells() {
        let promises = vec![
            Promise::Set { level: level(0.99), classes: 0b1000_0110 },
            Promise::Set { level: level(0.9), classes: 0 },
            Promise::Answer { rate: level(0.01), is_withheld: false },
            Promise::Answer { rate: level(0.001), is_withheld: true },
        ];
        let kept = |said| {
            let mut sums = Promises::new();
            add(&mut sums, &settled(&promises, 2, said), 1);
            sums.iter().map(|(term, sums)| (*term, sums.samples, sums.given, sums.kept)).collect::<Vec<_>>()
        };
        let [sets, answers] = [[0.9, 0.99].map(level), [0.001, 0.01].map(level)];
        let right = [
            (Term::Set(sets[0]), 1, 0, 0),
            (Term::Set(sets[1]), 1, 3, 1),
            (Term::Answer(answers[0]), 1, 0, 0),
            (Term::Answer(answers[1]), 1, 1, 1),
        ];
        assert_eq!(kept(Said::Class(2)), right);
        let in_the_set = [right[0], right[1], right[2], (Term::Answer(answers[1]), 1, 1, 0)];
        assert_eq!(kept(Said::Class(7)), in_the_set);
        let outside = [right[0], (Term::Set(sets[1]), 1, 3, 0), right[2], in_the_set[3]];
        assert_eq!((kept(Said::Class(3)), kept(Said::Class(40))), (outside.to_vec(), outside.to_vec()));
        assert_eq!(kept(Said::Correct(true)), right[2..], "the sets cannot be judged");
        assert_eq!(kept(Said::Correct(false)), in_the_set[2..]);
    }

    #[test]
    fn what_is_noted_is_taken_back_exactly() {
        let promise = Promise::Set { level: level(0.95), classes: u32::MAX };
        let found = settled(&[promise], 2, Said::Class(31));
        assert_eq!(of_bytes(&to_bytes(&found)), found);
        let mut sums = Promises::new();
        add(&mut sums, &found, 1);
        assert_eq!(sums[&Term::Set(level(0.95))], PromiseSums { samples: 1, given: 32, kept: 1, ..Default::default() });
        add(&mut sums, &of_bytes(&to_bytes(&found)), -1);
        assert_eq!(sums[&Term::Set(level(0.95))], PromiseSums::default());
        assert_eq!(of_bytes(&[]), SettledAll::default());
    }
}
