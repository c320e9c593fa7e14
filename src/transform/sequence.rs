//! Reads sequences from JSON: lists of numbers, lists of such lists, lists of texts, and texts. The same code
//! reads training data and requests.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use crate::ids::quote;

/// A sequence before it is encoded.
#[derive(Debug, Clone, PartialEq)]
pub enum Sequence {
    /// Steps of `channels` numbers each; NaN stands for a missing number.
    Numbers {
        /// The numbers of a step.
        channels: usize,
        /// The numbers of all steps.
        elements: Vec<f32>,
    },
    /// Tokens.
    Tokens(Vec<String>),
    /// A text that is not split into tokens yet.
    Text(String),
}

/// A sequence, or a message that says what is wrong with it.
pub type Parsed = std::result::Result<Sequence, String>;

impl Sequence {
    /// Reads a list of numbers, of equally long lists of numbers, or of texts. Any other list is read to its
    /// end, too, and answered by a message.
    ///
    /// # Errors
    /// The error of the deserializer when the text is not JSON.
    pub fn read_list<'de, A: SeqAccess<'de>>(mut list: A) -> std::result::Result<Parsed, A::Error> {
        let mut steps = SequenceBuilder::default();
        while let Some(step) = list.next_element_seed(StepSeed(&mut steps))? {
            if let Err(problem) = step {
                while list.next_element::<IgnoredAny>()?.is_some() {}
                return Ok(Err(problem));
            }
        }
        Ok(steps.finish())
    }

    /// Describes the kind of sequence for a message.
    pub fn words(&self) -> String {
        match self {
            Self::Numbers { channels: 1, .. } => "a list of numbers".into(),
            Self::Numbers { channels, .. } => format!("a list of lists of {channels} numbers"),
            Self::Tokens(_) => "a list of texts".into(),
            Self::Text(_) => "a text".into(),
        }
    }
}

/// Reads a text or a list.
#[derive(Debug)]
pub struct SequenceSeed;

impl<'de> DeserializeSeed<'de> for SequenceSeed {
    type Value = Parsed;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> std::result::Result<Parsed, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for SequenceSeed {
    type Value = Parsed;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a sequence: a list of numbers, of equally long lists of numbers or of texts, or a text")
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> std::result::Result<Parsed, E> {
        Ok(Ok(Sequence::Text(text.to_owned())))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> std::result::Result<Parsed, A::Error> {
        Sequence::read_list(list)
    }
}

/// Builds a sequence step by step. The first step determines the kind of all others.
#[derive(Debug, Default)]
pub struct SequenceBuilder {
    count: usize,
    is_nested: bool,
    channels: usize,
    elements: Vec<f32>,
    texts: Vec<String>,
}

/// The result of adding a step; the error says what is wrong with it.
type StepResult = std::result::Result<(), String>;

impl SequenceBuilder {
    /// Adds a step of one number; `None` is a missing one.
    ///
    /// # Errors
    /// When the steps before it are of another kind, or the number does not fit a 32-bit float.
    pub fn number(&mut self, number: Option<f64>) -> StepResult {
        if self.count > 0 && (self.is_nested || !self.texts.is_empty()) {
            return self.refuse(if number.is_some() { "a number" } else { "null" });
        }
        let element = number.map_or(Ok(f32::NAN), finite).map_err(|problem| self.at(&problem))?;
        self.channels = 1;
        self.elements.push(element);
        self.count += 1;
        Ok(())
    }

    /// Adds a step of one token.
    ///
    /// # Errors
    /// When the steps before it are of another kind.
    pub fn text(&mut self, text: &str) -> StepResult {
        if self.count > self.texts.len() {
            return self.refuse("a text");
        }
        self.texts.push(text.to_owned());
        self.count += 1;
        Ok(())
    }

    /// Adds a step of several numbers.
    ///
    /// # Errors
    /// When the steps before it are of another kind or length, or one of the numbers is an error.
    pub fn list(&mut self, numbers: &[std::result::Result<f32, String>]) -> StepResult {
        if self.count > 0 && !self.is_nested {
            return self.refuse("a list");
        }
        let expected = if self.count == 0 { numbers.len().max(1) } else { self.channels };
        if numbers.len() != expected {
            return Err(self.at(&format!("has {} numbers, expected {expected}", numbers.len())));
        }
        for number in numbers {
            self.elements.push(number.as_ref().map_err(|problem| self.at(problem)).copied()?);
        }
        (self.is_nested, self.channels) = (true, expected);
        self.count += 1;
        Ok(())
    }

    /// Returns the sequence.
    ///
    /// # Errors
    /// When it has no steps.
    pub fn finish(self) -> Parsed {
        match self.count {
            0 => Err("it has no steps".into()),
            _ if !self.texts.is_empty() => Ok(Sequence::Tokens(self.texts)),
            _ => Ok(Sequence::Numbers { channels: self.channels, elements: self.elements }),
        }
    }

    fn refuse(&self, got: &str) -> StepResult {
        let before = match (self.is_nested, self.texts.is_empty()) {
            (true, _) => "lists of numbers",
            (false, true) => "numbers",
            (false, false) => "texts",
        };
        Err(format!("step {} is {got}, those before it are {before}", self.count))
    }

    fn at(&self, problem: &str) -> String {
        format!("step {}: {problem}", self.count)
    }
}

fn finite(number: f64) -> std::result::Result<f32, String> {
    let single = number as f32;
    if single.is_finite() { Ok(single) } else { Err(format!("{number:e} does not fit a 32-bit float")) }
}

struct StepSeed<'s>(&'s mut SequenceBuilder);

impl<'de> DeserializeSeed<'de> for StepSeed<'_> {
    type Value = StepResult;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> std::result::Result<StepResult, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for StepSeed<'_> {
    type Value = StepResult;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "step {}: a number, a list of numbers or a text", self.0.count)
    }

    fn visit_f64<E>(self, number: f64) -> std::result::Result<StepResult, E> {
        Ok(self.0.number(Some(number)))
    }

    fn visit_u64<E>(self, number: u64) -> std::result::Result<StepResult, E> {
        Ok(self.0.number(Some(number as f64)))
    }

    fn visit_i64<E>(self, number: i64) -> std::result::Result<StepResult, E> {
        Ok(self.0.number(Some(number as f64)))
    }

    fn visit_unit<E>(self) -> std::result::Result<StepResult, E> {
        Ok(self.0.number(None))
    }

    fn visit_bool<E>(self, _: bool) -> std::result::Result<StepResult, E> {
        Ok(Err(self.0.at("expected a number, a list of numbers or a text, got true or false")))
    }

    fn visit_str<E>(self, text: &str) -> std::result::Result<StepResult, E> {
        Ok(self.0.text(text))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> std::result::Result<StepResult, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Err(self.0.at("expected a number, a list of numbers or a text, got an object")))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> std::result::Result<StepResult, A::Error> {
        let mut numbers = Vec::with_capacity(self.0.channels);
        while let Some(number) = list.next_element_seed(ChannelSeed)? {
            numbers.push(number);
        }
        Ok(self.0.list(&numbers))
    }
}

/// Reads one number of a step.
struct ChannelSeed;

impl<'de> DeserializeSeed<'de> for ChannelSeed {
    type Value = std::result::Result<f32, String>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> std::result::Result<Self::Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl ChannelSeed {
    fn refuse(got: &str) -> std::result::Result<f32, String> {
        Err(format!("expected numbers, got {got}"))
    }
}

impl<'de> Visitor<'de> for ChannelSeed {
    type Value = std::result::Result<f32, String>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number or null")
    }

    fn visit_f64<E>(self, number: f64) -> std::result::Result<Self::Value, E> {
        Ok(finite(number))
    }

    fn visit_u64<E>(self, number: u64) -> std::result::Result<Self::Value, E> {
        Ok(finite(number as f64))
    }

    fn visit_i64<E>(self, number: i64) -> std::result::Result<Self::Value, E> {
        Ok(finite(number as f64))
    }

    fn visit_unit<E>(self) -> std::result::Result<Self::Value, E> {
        Ok(Ok(f32::NAN))
    }

    fn visit_bool<E>(self, _: bool) -> std::result::Result<Self::Value, E> {
        Ok(Self::refuse("true or false"))
    }

    fn visit_str<E>(self, text: &str) -> std::result::Result<Self::Value, E> {
        Ok(Self::refuse(&quote(text)))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> std::result::Result<Self::Value, A::Error> {
        while list.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Self::refuse("a list"))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> std::result::Result<Self::Value, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Self::refuse("an object"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Parsed {
        let mut deserializer = serde_json::Deserializer::from_str(json);
        let parsed = SequenceSeed.deserialize(&mut deserializer).map_err(|error| error.to_string())?;
        deserializer.end().unwrap();
        parsed
    }

    #[test]
    fn lists_are_numbers_of_channels_or_tokens() {
        let numbers = |channels, elements: &[f32]| Ok(Sequence::Numbers { channels, elements: elements.to_vec() });
        assert_eq!(read("[1, 2.5, -3]"), numbers(1, &[1.0, 2.5, -3.0]));
        assert_eq!(read("[[1, 2], [3, 4]]"), numbers(2, &[1.0, 2.0, 3.0, 4.0]));
        assert_eq!(read(r#"["a", "b c"]"#), Ok(Sequence::Tokens(vec!["a".into(), "b c".into()])));
        assert_eq!(read(r#""some text""#), Ok(Sequence::Text("some text".into())));
        let Ok(Sequence::Numbers { elements, .. }) = read("[null, 1]") else { panic!("null is missing") };
        assert!(elements[0].is_nan() && elements[1] == 1.0);
        let Ok(Sequence::Numbers { channels: 2, elements }) = read("[[1, null], [2, 3]]") else { panic!() };
        assert!(elements[1].is_nan());
    }

    #[test]
    fn other_json_is_refused_by_step_and_read_to_its_end() {
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
            ("7", "a sequence: a list of numbers"),
        ] {
            let refused = read(json).unwrap_err();
            assert!(refused.contains(expected), "{json}: {refused}");
        }
    }
}
