//! Sequences: lists of numbers, of lists of numbers or of tokens, and texts, made into the elements of the input as
//! those that were trained on.

use super::cursor::Cursor;
use super::rows::Rows;
use crate::error::{Error, Result};
use crate::ids::quote;
use crate::transform::{Sequence, SequenceBuilder, SequenceEncoder, single};

const EXPECTED: &str = "a sequence: a list of numbers, of equally long lists of numbers or of texts, or a text";

/// Reads a list of sequences. More than `most` are counted and not kept: a short text may make many elements.
pub(in crate::api) fn read_sequences(cursor: &mut Cursor<'_>, encoder: &SequenceEncoder, most: usize) -> Result<Rows> {
    let mut rows = Rows::default();
    cursor.begins_with(b'[', "a list of sequences")?;
    cursor.list(|cursor| {
        let Rows { count, elements, .. } = &mut rows;
        if *count < most {
            let sequence = read_sequence(cursor, *count)?;
            encoder.encode(&sequence, elements).map_err(|problem| at(cursor, *count, &problem))?;
        } else {
            cursor.skip()?;
        }
        *count += 1;
        Ok(())
    })?;
    Ok(rows)
}

fn read_sequence(cursor: &mut Cursor<'_>, index: usize) -> Result<Sequence> {
    match cursor.peek() {
        Some(b'"') => cursor.string().map(|text| Sequence::Text(text.into_owned())),
        Some(b'[') => read_steps(cursor, index),
        _ => Err(cursor.mismatch(EXPECTED)),
    }
}

fn at(cursor: &Cursor<'_>, index: usize, problem: &str) -> Error {
    cursor.fault(format_args!("instance {index}: {problem}"))
}

fn read_steps(cursor: &mut Cursor<'_>, index: usize) -> Result<Sequence> {
    let mut steps = SequenceBuilder::default();
    let mut channels = Vec::new();
    cursor.list(|cursor| {
        let step = match cursor.peek() {
            Some(b'"') => steps.text(&cursor.string()?),
            Some(b'[') => {
                channels.clear();
                cursor.list(|cursor| read_channel(cursor).map(|channel| channels.push(channel)))?;
                steps.list(&channels)
            }
            Some(b'n') if cursor.null() => steps.number(None),
            Some(b't' | b'f') => cursor.boolean().map(|_| Err(steps.unexpected("true or false")))?,
            Some(b'{') => Err(steps.unexpected("an object")),
            _ => steps.number(Some(cursor.number()?.nearest())),
        };
        step.map_err(|problem| at(cursor, index, &problem))
    })?;
    steps.finish().map_err(|problem| at(cursor, index, &problem))
}

/// Reads a number of a step, NaN for null; the inner error says what else it is.
fn read_channel(cursor: &mut Cursor<'_>) -> Result<std::result::Result<f32, String>> {
    let got = match cursor.peek() {
        Some(b'n') if cursor.null() => return Ok(Ok(f32::NAN)),
        Some(b't' | b'f') => cursor.boolean().map(|_| "true or false".into()),
        Some(b'"') => cursor.string().map(|text| quote(&text)),
        Some(b'[') => cursor.skip().map(|()| "a list".into()),
        Some(b'{') => cursor.skip().map(|()| "an object".into()),
        _ => return cursor.number().map(|number| single(number.nearest())),
    };
    got.map(|got| Err(format!("expected numbers, got {got}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::signature::{SequenceElements, SequenceTransform, TokenSplit};

    fn read(elements: SequenceElements, json: &str) -> std::result::Result<Rows, String> {
        let encoder = SequenceEncoder::new(&SequenceTransform { steps: 3, elements });
        read_sequences(&mut Cursor::new(json.as_bytes()), &encoder, 3).map_err(|error| error.to_string())
    }

    fn words() -> SequenceElements {
        SequenceElements::Tokens { split: Some(TokenSplit::Words), vocabulary: vec!["no".into(), "yes".into()] }
    }

    #[test]
    fn sequences_of_any_form_are_padded_and_cut() {
        let rows = read(words(), r#"["yes no", ["no", "yes", "no", "YES"], [2, 3]]"#).unwrap();
        assert_eq!(rows.elements, [0.0, 3.0, 2.0, 3.0, 2.0, 1.0, 0.0, 2.0, 3.0]);
        let rows = read(SequenceElements::Numbers { channels: 1 }, "[[1, 2, 3, 4], [5, 6, null]]").unwrap();
        assert_eq!(rows.elements[..5], [2.0, 3.0, 4.0, 5.0, 6.0]);
        assert!(rows.elements[5].is_nan());
    }

    #[test]
    fn what_is_wrong_is_told_by_instance_and_step() {
        for (json, expected) in [
            (r#"["yes", [1, 2, 9]]"#, "instance 1: step 2: expected a token's number, 0 to 3, got 9"),
            (r#"["yes", []]"#, "instance 1: it has no steps"),
            (r#"["..", ""]"#, "instance 1: it has no tokens"),
            (r#"[["a", 1]]"#, "instance 0: step 1 is a number"),
            (r#"[{"text": "yes"}]"#, "a sequence: a list"),
            (r#"[[1, true]]"#, "instance 0: step 1: expected a number, a list of numbers or a text, got true or false"),
            (r#"[[{}]]"#, "instance 0: step 0: expected a number, a list of numbers or a text, got an object"),
            (r#"[[[1, "x"]]]"#, "instance 0: step 0: expected numbers, got \"x\""),
            (r#"[[[1], [[2]]]]"#, "instance 0: step 1: expected numbers, got a list"),
            (r#"[[1e39]]"#, "instance 0: step 0: 1e39 does not fit a 32-bit float"),
        ] {
            let refused = read(words(), json).unwrap_err();
            assert!(refused.contains(expected), "{json}: {refused}");
        }
        let refused = read(SequenceElements::Numbers { channels: 2 }, r#"[[[1, 2]], "text"]"#).unwrap_err();
        assert!(refused.contains("instance 1: expected a list of lists of 2 numbers, got a text"), "{refused}");
    }

    #[test]
    fn more_than_may_be_are_counted_and_not_kept() {
        let rows = read(words(), r#"["a", "b", "c", "d", {"not": "read"}]"#).unwrap();
        assert_eq!((rows.count, rows.elements.len()), (5, 9));
    }
}
