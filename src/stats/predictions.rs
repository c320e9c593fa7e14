//! All predicted distributions of a data set together with the truth.

use super::{Evaluator, argmax};

/// Mistakes that are held beside the worst so far while these are looked for.
const MOST_HELD: usize = 4096;

/// Labelled samples with the distributions that a classifier predicts.
#[derive(Debug, Clone, PartialEq)]
pub struct Predictions {
    classes: usize,
    truths: Vec<u32>,
    probabilities: Vec<f32>,
}

/// A sample whose most probable class is not the true one.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Mistake {
    /// The index of the sample in its data set.
    pub index: usize,
    /// Its class.
    pub truth: usize,
    /// The predicted class.
    pub predicted: usize,
    /// The probability of that class.
    pub confidence: f32,
    /// The probability of the true class.
    pub truth_probability: f32,
}

impl Predictions {
    /// Creates an empty collection for `classes` classes.
    pub fn new(classes: usize) -> Self {
        Self { classes, truths: Vec::new(), probabilities: Vec::new() }
    }

    /// Adds one sample: its true class and the predicted distribution.
    ///
    /// # Panics
    /// When `truth` is not below the number of classes or `probabilities` has another length.
    pub fn push(&mut self, truth: usize, probabilities: &[f32]) {
        assert!(truth < self.classes && probabilities.len() == self.classes, "one probability per class");
        self.truths.push(truth as u32);
        self.probabilities.extend_from_slice(probabilities);
    }

    /// Returns the number of classes.
    pub fn classes(&self) -> usize {
        self.classes
    }

    /// Returns the number of samples.
    pub fn len(&self) -> usize {
        self.truths.len()
    }

    /// Returns true if there are no samples.
    pub fn is_empty(&self) -> bool {
        self.truths.is_empty()
    }

    /// Iterates over the samples in order: the true class and the distribution.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (usize, &[f32])> {
        // At least 1, because a chunk cannot be empty; without classes there are no samples either.
        self.truths.iter().map(|truth| *truth as usize).zip(self.probabilities.chunks_exact(self.classes.max(1)))
    }

    /// Returns an evaluator to which all samples were added.
    pub(super) fn evaluator(&self) -> Evaluator {
        let mut evaluator = Evaluator::new(self.classes);
        self.iter().for_each(|(truth, row)| evaluator.add(truth, row));
        evaluator
    }

    /// Returns the `count` mistakes with the greatest loss: those with the least probability of the true class,
    /// and of equal ones the most confident first.
    pub fn worst(&self, count: usize) -> Vec<Mistake> {
        let mistake = |(index, (truth, row)): (usize, (usize, &[f32]))| {
            let predicted = argmax(row);
            let (confidence, truth_probability) = (row[predicted], row[truth]);
            (predicted != truth).then_some(Mistake { index, truth, predicted, confidence, truth_probability })
        };
        let keep = |mistakes: &mut Vec<Mistake>| {
            mistakes.sort_by(|a, b| {
                let by_loss = a.truth_probability.total_cmp(&b.truth_probability);
                by_loss.then(b.confidence.total_cmp(&a.confidence)).then(a.index.cmp(&b.index))
            });
            mistakes.truncate(count);
        };
        let mut mistakes: Vec<Mistake> = Vec::new();
        for found in self.iter().enumerate().filter_map(mistake) {
            mistakes.push(found);
            // Of very many mistakes, few are held.
            if mistakes.len() > count + MOST_HELD {
                keep(&mut mistakes);
            }
        }
        keep(&mut mistakes);
        mistakes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_mistakes_come_first_and_right_answers_never() {
        let mut predictions = Predictions::new(3);
        for (truth, row) in [(0, [0.9, 0.1, 0.0]), (1, [0.7, 0.3, 0.0]), (2, [0.0, 0.99, 0.01]), (2, [0.6, 0.3, 0.1])] {
            predictions.push(truth, &row);
        }
        let order: Vec<usize> = predictions.worst(9).iter().map(|mistake| mistake.index).collect();
        assert_eq!(order, [2, 3, 1]);
        assert_eq!(predictions.worst(1)[0].predicted, 1);
    }

    #[test]
    fn the_worst_of_very_many_mistakes_are_the_worst_of_all() {
        let mut predictions = Predictions::new(2);
        let share = |index: usize| (index * 7919 % 10_007) as f32 / 30_000.0;
        (0..10_007).for_each(|index| predictions.push(0, &[share(index), 1.0 - share(index)]));
        let worst: Vec<f32> = predictions.worst(5).iter().map(|mistake| mistake.truth_probability).collect();
        assert_eq!(worst, [0, 1, 2, 3, 4].map(|rank| rank as f32 / 30_000.0));
    }
}
