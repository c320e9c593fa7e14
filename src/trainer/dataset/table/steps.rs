//! Sequences in JSON Lines, read step by step.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use crate::ids::quote;
use crate::transform::{Parsed, SequenceBuilder, StepResult, single};

/// Reads a list: of numbers, of equally long lists of numbers, or of texts. What is no such list is read to its end,
/// too.
///
/// # Errors
/// Only what is no JSON.
pub(super) fn read_sequence<'de, A: SeqAccess<'de>>(mut list: A) -> Result<Parsed, A::Error> {
    let mut steps = SequenceBuilder::default();
    while let Some(step) = list.next_element_seed(StepSeed(&mut steps))? {
        if let Err(problem) = step {
            while list.next_element::<IgnoredAny>()?.is_some() {}
            return Ok(Err(problem));
        }
    }
    Ok(steps.finish())
}

/// Reads a step into the sequence that it belongs to.
struct StepSeed<'s>(&'s mut SequenceBuilder);

impl<'de> DeserializeSeed<'de> for StepSeed<'_> {
    type Value = StepResult;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<StepResult, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for StepSeed<'_> {
    type Value = StepResult;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number, a list of numbers or a text")
    }

    fn visit_f64<E>(self, number: f64) -> Result<StepResult, E> {
        Ok(self.0.number(Some(number)))
    }

    fn visit_u64<E>(self, number: u64) -> Result<StepResult, E> {
        Ok(self.0.number(Some(number as f64)))
    }

    fn visit_i64<E>(self, number: i64) -> Result<StepResult, E> {
        Ok(self.0.number(Some(number as f64)))
    }

    fn visit_unit<E>(self) -> Result<StepResult, E> {
        Ok(self.0.number(None))
    }

    fn visit_bool<E>(self, _: bool) -> Result<StepResult, E> {
        Ok(Err(self.0.unexpected("true or false")))
    }

    fn visit_str<E>(self, text: &str) -> Result<StepResult, E> {
        Ok(self.0.text(text))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<StepResult, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Err(self.0.unexpected("an object")))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<StepResult, A::Error> {
        let mut numbers = Vec::new();
        while let Some(number) = list.next_element_seed(ChannelSeed)? {
            numbers.push(number);
        }
        Ok(self.0.list(&numbers))
    }
}

/// Reads one number of a step.
struct ChannelSeed;

impl<'de> DeserializeSeed<'de> for ChannelSeed {
    type Value = Result<f32, String>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl ChannelSeed {
    fn refuse(got: &str) -> Result<f32, String> {
        Err(format!("expected numbers, got {got}"))
    }
}

impl<'de> Visitor<'de> for ChannelSeed {
    type Value = Result<f32, String>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number or null")
    }

    fn visit_f64<E>(self, number: f64) -> Result<Self::Value, E> {
        Ok(single(number))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Self::Value, E> {
        Ok(single(number as f64))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Self::Value, E> {
        Ok(single(number as f64))
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(Ok(f32::NAN))
    }

    fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> {
        Ok(Self::refuse("true or false"))
    }

    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Self::refuse(&quote(text)))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        while list.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Self::refuse("a list"))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Self::refuse("an object"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transform::Sequence;

    struct ListSeed;

    impl<'de> Visitor<'de> for ListSeed {
        type Value = Parsed;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a list")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<Parsed, A::Error> {
            read_sequence(list)
        }
    }

    fn read(json: &str) -> Parsed {
        let mut deserializer = serde_json::Deserializer::from_str(json);
        let parsed = deserializer.deserialize_seq(ListSeed).map_err(|error| error.to_string())?;
        deserializer.end().unwrap();
        parsed
    }

    #[test]
    fn lists_are_numbers_of_channels_or_tokens() {
        let numbers = |channels, elements: &[f32]| Ok(Sequence::Numbers { channels, elements: elements.to_vec() });
        assert_eq!(read("[1, 2.5, -3]"), numbers(1, &[1.0, 2.5, -3.0]));
        assert_eq!(read("[[1, 2], [3, 4]]"), numbers(2, &[1.0, 2.0, 3.0, 4.0]));
        assert_eq!(read(r#"["a", "b c"]"#), Ok(Sequence::Tokens(vec!["a".into(), "b c".into()])));
        let Ok(Sequence::Numbers { elements, .. }) = read("[null, 1]") else { panic!("null is missing") };
        assert!(elements[0].is_nan() && elements[1] == 1.0);
        let Ok(Sequence::Numbers { channels: 2, elements }) = read("[[1, null], [2, 3]]") else { panic!() };
        assert!(elements[1].is_nan());
    }

    #[test]
    fn what_is_no_sequence_is_refused_with_its_step_and_read_to_its_end() {
        for (json, expected) in [
            ("[]", "it has no steps"),
            (r#"[1, "a"]"#, "step 1 is a text, those before it are numbers"),
            (r#"["a", 1, 2]"#, "step 1 is a number, those before it are texts"),
            (r#"["a", null]"#, "step 1 is null, those before it are texts"),
            (r#"["a", [1]]"#, "step 1 is a list, those before it are texts"),
            ("[[1], 2]", "step 1 is a number, those before it are lists of numbers"),
            (r#"[[1], "a"]"#, "step 1 is a text, those before it are lists of numbers"),
            ("[1, [2, 3]]", "step 1 is a list, those before it are numbers"),
            ("[[1, 2], [3], [4, 5]]", "step 1: has 1 numbers, expected 2"),
            ("[[], []]", "step 0: has 0 numbers, expected 1"),
            ("[1e39]", "step 0: 1e39 does not fit"),
            ("[1, [[2]], {}]", "step 1"),
            (r#"[[1, "x"], [{"a": [1]}]]"#, "step 0: expected numbers, got \"x\""),
            (r#"[true]"#, "got true or false"),
            (r#"[{"a": 1}, {}]"#, "got an object"),
        ] {
            let refused = read(json).unwrap_err();
            assert!(refused.contains(expected), "{json}: {refused}");
        }
    }
}
