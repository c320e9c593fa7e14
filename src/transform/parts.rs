//! The parts of an input that are watched one by one: the columns of a table, the length of a text.

use std::ops::Range;
use std::sync::Arc;

use crate::signature::{
    Column, ColumnKind, MOST_WATCHED_COLUMNS, PADDING, SequenceElements, Transform, UNKNOWN, places,
};

/// The parts that an input has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum InputParts {
    /// None that mean something by themselves, such as pixels.
    None,
    /// The columns of a table, with the places of their elements.
    Columns(Arc<[ColumnPart]>),
    /// Tokens: how many there are, and the share that the vocabulary does not have.
    Tokens,
}

/// A column that is watched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ColumnPart {
    /// The element at this place.
    Element(usize),
    /// The number of n-grams among the elements at these places; missing if there are none.
    Grams(Range<usize>),
}

impl InputParts {
    /// Returns the parts of the input behind a transform.
    pub fn of(transform: &Transform) -> Self {
        match (&transform.sequence, transform.columns.len()) {
            (Some(sequence), _) => match sequence.elements {
                SequenceElements::Tokens { .. } => Self::Tokens,
                SequenceElements::Numbers { .. } => Self::None,
            },
            (None, 0) => Self::None,
            (None, _) => {
                let of = |(column, place): (&Column, Range<usize>)| match column.kind {
                    ColumnKind::Text { .. } => ColumnPart::Grams(place),
                    _ => ColumnPart::Element(place.start),
                };
                let all = transform.columns.iter().zip(places(&transform.columns));
                Self::Columns(all.map(of).take(MOST_WATCHED_COLUMNS).collect())
            }
        }
    }

    /// Returns the parts of one sample: the columns, or the length and the share of unknown tokens.
    pub fn take(&self, sample: &[f32]) -> Option<Box<[f32]>> {
        match self {
            Self::None => None,
            Self::Columns(columns) => columns.iter().map(|part| part.take(sample)).collect(),
            Self::Tokens => {
                let length = sample.iter().filter(|token| **token != PADDING as f32).count();
                let unknown = sample.iter().filter(|token| **token == UNKNOWN as f32).count();
                Some(Box::new([length as f32, unknown as f32 / length.max(1) as f32]))
            }
        }
    }
}

impl ColumnPart {
    fn take(&self, sample: &[f32]) -> Option<f32> {
        match self {
            Self::Element(place) => sample.get(*place).copied(),
            Self::Grams(places) => {
                let count = sample.get(places.clone())?.iter().filter(|token| **token != PADDING as f32).count();
                Some(if count == 0 { f32::NAN } else { count as f32 })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::signature::{OutputTransform, SequenceTransform};

    #[test]
    fn columns_are_taken_as_they_are_and_tokens_counted() {
        let plain =
            Transform { image: None, columns: Vec::new(), sequence: None, text: None, output: OutputTransform::Raw };
        assert_eq!(InputParts::of(&plain).take(&[1.0]), None);
        let column = |place: usize| Column { name: place.to_string(), kind: ColumnKind::Number };
        let table = Transform { columns: (0..60).map(column).collect(), ..plain.clone() };
        let InputParts::Columns(watched) = InputParts::of(&table) else { panic!("columns are watched") };
        assert_eq!(watched.len(), MOST_WATCHED_COLUMNS);
        let text = Column { name: "text".into(), kind: ColumnKind::Text { grams: 3 } };
        let mixed = Transform { columns: vec![column(0), text, column(1)], ..plain.clone() };
        let parts = InputParts::of(&mixed);
        assert_eq!(parts.take(&[1.0, 0.0, 7.0, 9.0, -1.0]).as_deref(), Some(&[1.0, 2.0, -1.0][..]));
        assert!(parts.take(&[1.0, 0.0, 0.0, 0.0, -1.0]).unwrap()[1].is_nan());
        assert_eq!(parts.take(&[1.0]), None);
        let elements = SequenceElements::Tokens { split: None, vocabulary: Vec::new() };
        let text = Transform { sequence: Some(SequenceTransform { steps: 5, elements }), ..plain };
        let parts = InputParts::of(&text);
        assert_eq!(parts.take(&[0.0, 7.0, 1.0, 1.0, 9.0]).as_deref(), Some(&[4.0, 0.5][..]));
        assert_eq!(parts.take(&[0.0; 5]).as_deref(), Some(&[0.0, 0.0][..]));
    }
}
