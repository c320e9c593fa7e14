//! The parts of an input that are watched one by one: the columns of a table, the length of a text.

use crate::signature::{MOST_WATCHED_COLUMNS, PADDING, SequenceElements, Transform, UNKNOWN};

/// The parts that an input has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InputParts {
    /// None that mean something by themselves, such as pixels.
    None,
    /// So many columns of a table, each an element.
    Columns(usize),
    /// Tokens: how many there are, and the share that the vocabulary does not have.
    Tokens,
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
            (None, columns) => Self::Columns(columns.min(MOST_WATCHED_COLUMNS)),
        }
    }

    /// Returns the parts of one sample: the columns, or the length and the share of unknown tokens.
    pub fn take(self, sample: &[f32]) -> Option<Box<[f32]>> {
        match self {
            Self::None => None,
            Self::Columns(columns) => sample.get(..columns).map(Box::from),
            Self::Tokens => {
                let length = sample.iter().filter(|token| **token != PADDING as f32).count();
                let unknown = sample.iter().filter(|token| **token == UNKNOWN as f32).count();
                Some(Box::new([length as f32, unknown as f32 / length.max(1) as f32]))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::signature::{Column, ColumnKind, OutputTransform, SequenceTransform};

    #[test]
    fn columns_are_taken_as_they_are_and_tokens_counted() {
        let plain = Transform { image: None, columns: Vec::new(), sequence: None, output: OutputTransform::Raw };
        assert_eq!(InputParts::of(&plain).take(&[1.0]), None);
        let column = |place: usize| Column { name: place.to_string(), kind: ColumnKind::Number };
        let table = Transform { columns: (0..60).map(column).collect(), ..plain.clone() };
        assert_eq!(InputParts::of(&table), InputParts::Columns(MOST_WATCHED_COLUMNS));
        assert_eq!(InputParts::Columns(2).take(&[1.0, -1.0, 5.0]).as_deref(), Some(&[1.0, -1.0][..]));
        assert_eq!(InputParts::Columns(2).take(&[1.0]), None);
        let elements = SequenceElements::Tokens { split: None, vocabulary: Vec::new() };
        let text = Transform { sequence: Some(SequenceTransform { steps: 5, elements }), ..plain };
        let parts = InputParts::of(&text);
        assert_eq!(parts.take(&[0.0, 7.0, 1.0, 1.0, 9.0]).as_deref(), Some(&[4.0, 0.5][..]));
        assert_eq!(parts.take(&[0.0; 5]).as_deref(), Some(&[0.0, 0.0][..]));
    }
}
