//! Sequences in the JSON body of `/predict`: lists of numbers, of lists of numbers or of tokens, and texts, made
//! into the elements of the input as those that were trained on.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error as _, IgnoredAny, SeqAccess, Visitor};

use super::predict_rows::Rows;
use crate::transform::{SequenceEncoder, SequenceSeed};

/// Reads a list of sequences.
pub(super) struct SequencesSeed<'a> {
    pub(super) encoder: &'a SequenceEncoder,
    /// More are counted and not kept: a short text may make many elements.
    pub(super) most: usize,
}

impl<'de> DeserializeSeed<'de> for SequencesSeed<'_> {
    type Value = Rows;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> std::result::Result<Rows, D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for SequencesSeed<'_> {
    type Value = Rows;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of sequences")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> std::result::Result<Rows, A::Error> {
        let mut rows = Rows::default();
        loop {
            if rows.count >= self.most {
                if list.next_element::<IgnoredAny>()?.is_none() {
                    return Ok(rows);
                }
            } else {
                let Some(sequence) = list.next_element_seed(SequenceSeed)? else { return Ok(rows) };
                let encoded = sequence.and_then(|sequence| self.encoder.encode(&sequence, &mut rows.elements));
                encoded.map_err(|problem| A::Error::custom(format_args!("instance {}: {problem}", rows.count)))?;
            }
            rows.count += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::signature::{SequenceElements, SequenceTransform, TokenSplit};

    fn read(elements: SequenceElements, json: &str) -> std::result::Result<Rows, String> {
        let encoder = SequenceEncoder::new(&SequenceTransform { steps: 3, elements });
        let seed = SequencesSeed { encoder: &encoder, most: 3 };
        seed.deserialize(&mut serde_json::Deserializer::from_str(json)).map_err(|error| error.to_string())
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
