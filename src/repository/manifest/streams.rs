//! The streams that are watched, as a reference has them.

use super::reference::{ColumnReference, DriftReference};
use crate::signature::MOST_WATCHED_COLUMNS;
use crate::stats::Histogram;

/// Something that is watched of each sample.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stream {
    /// The mean of the input's elements.
    InputMean,
    /// Their standard deviation.
    InputDeviation,
    /// Of a picture: black and white were exchanged to reach the model's polarity.
    Inverted,
    /// The most probable class.
    Class,
    /// Its probability, where there is no margin to watch.
    Confidence,
    /// Its lead.
    Margin,
    /// ln Σ eᶻ over the logits.
    Energy,
    /// The number that a model of numbers gives.
    Value,
    /// The tokens of a text.
    Length,
    /// The share of them that the vocabulary does not have.
    UnknownTokens,
    /// The score of the autoencoder that guards the version; it is watched by itself.
    Guard,
    /// The column of a table at this place.
    Column(u8),
}

impl Stream {
    /// Every stream but the columns and the guard's.
    pub const ALL: [Self; 10] = [
        Self::InputMean,
        Self::InputDeviation,
        Self::Inverted,
        Self::Class,
        Self::Confidence,
        Self::Margin,
        Self::Energy,
        Self::Value,
        Self::Length,
        Self::UnknownTokens,
    ];

    /// Returns its name; that of a column goes on with the column's own.
    pub fn name(self) -> &'static str {
        match self {
            Self::InputMean => "input_mean",
            Self::InputDeviation => "input_deviation",
            Self::Inverted => "inverted",
            Self::Class => "class",
            Self::Confidence => "confidence",
            Self::Margin => "margin",
            Self::Energy => "energy",
            Self::Value => "value",
            Self::Length => "length",
            Self::UnknownTokens => "unknown_tokens",
            Self::Guard => "guard",
            Self::Column(_) => "column",
        }
    }
}

/// A stream as the reference has it: samples by bin.
#[derive(Debug, Clone, PartialEq)]
pub struct StreamDistribution {
    /// The stream.
    pub stream: Stream,
    /// Its name, as metrics and answers have it.
    pub name: String,
    /// The edges between bins of numbers; classes, categories and the two ways of a polarity have none.
    pub edges: Option<Vec<f64>>,
    /// Samples by bin.
    pub counts: Vec<u64>,
    /// Set if the last bin is of samples without a value.
    pub counts_missing: bool,
}

impl StreamDistribution {
    fn new(stream: Stream, edges: Option<Vec<f64>>, counts: Vec<u64>) -> Self {
        Self { stream, name: stream.name().into(), edges, counts, counts_missing: false }
    }

    fn of_column(place: usize, column: &ColumnReference) -> Self {
        let stream = Stream::Column(u8::try_from(place).unwrap_or(u8::MAX));
        let ColumnReference { name, edges, counts } = column.clone();
        Self { stream, name: format!("{}:{name}", stream.name()), edges, counts, counts_missing: true }
    }

    /// Returns the bin of a number, or of the place of a class or category.
    pub fn bin(&self, number: f64) -> Option<usize> {
        let kinds = self.valued(&self.counts).len();
        match &self.edges {
            Some(edges) if number.is_finite() => Some(edges.partition_point(|edge| *edge <= number)),
            None if number >= 0.0 && number < kinds as f64 => Some(number as usize),
            Some(_) | None => self.counts_missing.then_some(kinds),
        }
    }

    /// Returns the counts of samples that have a value.
    pub fn valued<'c>(&self, counts: &'c [u64]) -> &'c [u64] {
        &counts[..counts.len().saturating_sub(usize::from(self.counts_missing))]
    }
}

impl DriftReference {
    /// Returns the stream of the guard's scores, if there is a guard.
    pub fn guard_stream(&self) -> Option<StreamDistribution> {
        let Histogram { edges, counts } = self.guard.as_ref()?.scores.clone();
        Some(StreamDistribution::new(Stream::Guard, Some(edges), counts)).filter(|found| found.counts.len() > 1)
    }

    /// Returns the streams that can be watched: those of at least two bins.
    pub fn streams(&self) -> Vec<StreamDistribution> {
        let margin = self.margin.as_ref().map(|margin| &margin.histogram);
        let numbers = [
            (Stream::InputMean, Some(&self.input_mean)),
            (Stream::InputDeviation, Some(&self.input_deviation)),
            (Stream::Confidence, self.confidence.as_ref().filter(|_| margin.is_none())),
            (Stream::Margin, margin),
            (Stream::Energy, self.energy.as_ref()),
            (Stream::Value, self.value.as_ref()),
            (Stream::Length, self.length.as_ref()),
            (Stream::UnknownTokens, self.unknown_tokens.as_ref()),
        ];
        let numbers = numbers.into_iter().filter_map(|(stream, histogram)| {
            let Histogram { edges, counts } = histogram?.clone();
            Some(StreamDistribution::new(stream, Some(edges), counts))
        });
        let straight = |inverted: u64| vec![(self.samples as u64).saturating_sub(inverted), inverted];
        let classes = [
            (Stream::Inverted, self.inverted.map(straight)),
            (Stream::Class, (!self.predictions.is_empty()).then(|| self.predictions.clone())),
        ];
        let classes =
            classes.into_iter().filter_map(|(stream, counts)| Some(StreamDistribution::new(stream, None, counts?)));
        let columns = self.columns.iter().take(MOST_WATCHED_COLUMNS).enumerate();
        let columns = columns.map(|(place, column)| StreamDistribution::of_column(place, column));
        let mut streams: Vec<StreamDistribution> =
            numbers.chain(classes).chain(columns).filter(|found| found.counts.len() > 1).collect();
        streams.sort_by_key(|found| found.stream);
        streams
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_categories_and_missing_cells_have_their_bins() {
        let of = |edges: Option<Vec<f64>>, counts: Vec<u64>| {
            let column = ColumnReference { name: "age".into(), edges, counts };
            StreamDistribution::of_column(3, &column)
        };
        let numbers = of(Some(vec![10.0, 20.0]), vec![1, 2, 3, 4]);
        assert_eq!((numbers.stream, numbers.name.as_str()), (Stream::Column(3), "column:age"));
        let bins = [5.0, 10.0, 25.0, f64::NAN].map(|number| numbers.bin(number));
        assert_eq!(bins, [Some(0), Some(1), Some(2), Some(3)]);
        assert_eq!(numbers.valued(&numbers.counts), [1, 2, 3]);
        let categories = of(None, vec![5, 5, 0]);
        let bins = [0.0, 1.0, -1.0, 7.0, f64::NAN].map(|number| categories.bin(number));
        assert_eq!(bins, [Some(0), Some(1), Some(2), Some(2), Some(2)]);
        let classes = StreamDistribution::new(Stream::Class, None, vec![5, 5]);
        assert_eq!([1.0, 2.0].map(|class| classes.bin(class)), [Some(1), None]);
    }
}
