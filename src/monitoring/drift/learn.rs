//! A reference made of a version's first samples, where none was given.

use std::collections::BTreeMap;

use super::sample::value;
use crate::monitoring::{Answer, Record};
use crate::repository::{DriftReference, MarginReference, Stream};
use crate::stats::{Histogram, Ranks};

/// Bins of each histogram, as the trainer makes them.
const BINS: usize = 20;

/// The samples that a version has been asked so far.
#[derive(Debug)]
pub(super) struct Lesson {
    wanted: usize,
    taken: usize,
    values: BTreeMap<Stream, Vec<f64>>,
}

impl Lesson {
    pub(super) fn new(wanted: usize) -> Self {
        Self { wanted, taken: 0, values: BTreeMap::new() }
    }

    /// Takes a sample; returns the reference with the last one that was wanted.
    pub(super) fn observe(&mut self, record: &Record) -> Option<DriftReference> {
        for stream in Stream::ALL {
            if let Some(value) = value(stream, record) {
                self.values.entry(stream).or_default().push(value);
            }
        }
        self.taken += 1;
        (self.taken >= self.wanted).then(|| self.reference(record))
    }

    fn reference(&mut self, last: &Record) -> DriftReference {
        let classes = match &last.answer {
            Answer::Classified { classes, .. } => *classes as usize,
            Answer::None | Answer::Value(_) | Answer::Score(_) => 0,
        };
        let mut predictions = vec![0; classes];
        for class in self.values.remove(&Stream::Class).unwrap_or_default() {
            if let Some(count) = predictions.get_mut(class as usize) {
                *count += 1;
            }
        }
        let inverted = self.values.remove(&Stream::Inverted);
        let energies = self.values.get(&Stream::Energy).cloned();
        let mut histogram =
            |stream: Stream| self.values.remove(&stream).map(|values| Histogram::by_quantiles(values, BINS));
        let nothing = || Histogram { edges: Vec::new(), counts: vec![0] };
        DriftReference {
            source: "traffic".into(),
            samples: self.taken,
            input_mean: histogram(Stream::InputMean).unwrap_or_else(nothing),
            input_deviation: histogram(Stream::InputDeviation).unwrap_or_else(nothing),
            confidence: histogram(Stream::Confidence),
            margin: histogram(Stream::Margin).map(|histogram| MarginReference { histogram, correct: Vec::new() }),
            value: histogram(Stream::Value),
            energy: histogram(Stream::Energy),
            length: histogram(Stream::Length),
            unknown_tokens: histogram(Stream::UnknownTokens),
            unusual: energies.map(Ranks::new),
            inverted: inverted.map(|seen| seen.iter().sum::<f64>() as u64),
            predictions,
            // Columns need names, which only a transform has.
            columns: Vec::new(),
            sets: Vec::new(),
            abstentions: Vec::new(),
            guard: None,
        }
    }
}
