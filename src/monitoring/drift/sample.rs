//! The value of each stream in a record.

use crate::monitoring::{Answer, Record};
use crate::repository::Stream;

/// Returns the value of a stream, if the sample has one; classes and categories are their places. A column's is NaN
/// where its cell is missing.
pub(super) fn value(stream: Stream, record: &Record) -> Option<f64> {
    let finite = |value: f32| value.is_finite().then(|| f64::from(value));
    let part = |place: usize| record.parts.as_ref().and_then(|parts| parts.get(place)).copied();
    match (stream, &record.answer) {
        (Stream::InputMean, _) => finite(record.input?.mean),
        (Stream::InputDeviation, _) => finite(record.input?.deviation),
        (Stream::Inverted, _) => record.inverted.map(|inverted| f64::from(u8::from(inverted))),
        (Stream::Length, _) => part(0).and_then(finite),
        (Stream::UnknownTokens, _) => part(1).and_then(finite),
        (Stream::Column(place), _) => part(usize::from(place)).map(f64::from),
        (Stream::Class, Answer::Classified { class, .. }) => Some(f64::from(*class)),
        (Stream::Confidence, Answer::Classified { confidence, .. }) => finite(*confidence),
        (Stream::Margin, Answer::Classified { margin, .. }) => finite(*margin),
        (Stream::Energy, Answer::Classified { energy, .. }) => finite((*energy)?),
        (Stream::Value, Answer::Value(value)) => Some(value.to_f64()).filter(|value| value.is_finite()),
        // Scores come later, by another way.
        (Stream::Guard, _) => None,
        (
            Stream::Class | Stream::Confidence | Stream::Margin | Stream::Energy | Stream::Value,
            Answer::None | Answer::Classified { .. } | Answer::Value(_) | Answer::Score(_),
        ) => None,
    }
}
