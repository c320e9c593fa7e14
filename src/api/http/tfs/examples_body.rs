//! The body of `:classify` and `:regress`: examples, and a context that they share.

use std::borrow::Cow;
use std::fmt;

use bytes::Bytes;
use serde::de::{DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::gathered::json_error;
use super::predict_body::SignatureName;
use crate::api::tfs::{Example, Feature, check_signature_name, examples_into_input};
use crate::error::Error;
use crate::serving::Input;
use crate::signature::Signature;
use crate::transform::{BASE64_KEY, Base64, with_words, word_number};

type Result<T, E = Error> = std::result::Result<T, E>;

/// What a body is read for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reading<'a> {
    pub(super) signature: &'a Signature,
    pub(super) takes_images: bool,
    /// More examples than this are refused while they are read: an empty one is two bytes in JSON and far
    /// more in memory.
    pub(super) max_examples: usize,
}

impl Reading<'_> {
    /// Reads a body.
    ///
    /// # Errors
    /// [`Error::Malformed`] and [`Error::InvalidInput`], where it can be in the words of TensorFlow
    /// Serving.
    pub(super) fn read(self, body: &[u8]) -> Result<Input> {
        if body.is_empty() {
            return Err(Error::Malformed("JSON Parse error: The document is empty".into()));
        }
        let fields = with_words(body, |json, words| {
            let mut reader = serde_json::Deserializer::from_slice(json);
            let fields = BodySeed { reading: self, words }.deserialize(&mut reader)?;
            reader.end().map(|()| fields)
        });
        let fields = fields.map_err(|error| json_error(&error))?;
        check_signature_name(fields.signature_name.as_deref().unwrap_or_default())?;
        let examples = fields
            .examples
            .ok_or_else(|| Error::InvalidInput("key 'examples' is expected and was not found".into()))?;
        if examples.is_empty() {
            return Err(Error::InvalidInput("'examples' value is an empty array".into()));
        }
        examples_into_input(self.signature, self.takes_images, &examples, &fields.context.unwrap_or_default())
    }
}

#[derive(Default)]
struct Fields {
    signature_name: Option<String>,
    context: Option<Example>,
    examples: Option<Vec<Example>>,
}

#[derive(Clone, Copy)]
struct BodySeed<'a> {
    reading: Reading<'a>,
    words: bool,
}

impl<'de> DeserializeSeed<'de> for BodySeed<'_> {
    type Value = Fields;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> std::result::Result<Fields, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for BodySeed<'_> {
    type Value = Fields;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with 'examples'")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> std::result::Result<Fields, A::Error> {
        let mut fields = Fields::default();
        while let Some(key) = map.next_key::<Cow<'de, str>>()? {
            match key.as_ref() {
                "signature_name" if fields.signature_name.is_none() => {
                    fields.signature_name = Some(map.next_value_seed(SignatureName)?);
                }
                "context" if fields.context.is_none() => {
                    fields.context = Some(map.next_value_seed(ExampleSeed(self))?);
                }
                "examples" if fields.examples.is_none() => {
                    fields.examples = Some(map.next_value_seed(ExamplesSeed(self))?);
                }
                "signature_name" | "context" | "examples" => {
                    return Err(A::Error::custom(format_args!("the key '{key}' is given twice")));
                }
                _ => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(fields)
    }
}

struct ExamplesSeed<'a>(BodySeed<'a>);

impl<'de> DeserializeSeed<'de> for ExamplesSeed<'_> {
    type Value = Vec<Example>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> std::result::Result<Vec<Example>, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for ExamplesSeed<'_> {
    type Value = Vec<Example>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("'examples' value to be an list/array")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> std::result::Result<Vec<Example>, A::Error> {
        let mut examples = Vec::new();
        while let Some(example) = list.next_element_seed(ExampleSeed(self.0))? {
            let limit = self.0.reading.max_examples;
            if examples.len() == limit {
                return Err(A::Error::custom(format_args!(
                    "there are more than {limit} examples, the limit of one request"
                )));
            }
            examples.push(example);
        }
        Ok(examples)
    }
}

struct ExampleSeed<'a>(BodySeed<'a>);

impl<'de> DeserializeSeed<'de> for ExampleSeed<'_> {
    type Value = Example;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> std::result::Result<Example, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for ExampleSeed<'_> {
    type Value = Example;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Example must be JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> std::result::Result<Example, A::Error> {
        let mut example = Example::new();
        while let Some(name) = map.next_key::<Cow<'de, str>>()? {
            // What no input takes is not kept.
            if !self.0.reading.signature.inputs.iter().any(|spec| spec.name == name) {
                map.next_value::<IgnoredAny>()?;
                continue;
            }
            let mut feature = None;
            map.next_value_seed(Values { feature: &mut feature, words: self.0.words, in_list: false })?;
            if example.insert(name.into_owned(), feature.unwrap_or(Feature::Floats(Vec::new()))).is_some() {
                return Err(A::Error::custom("a feature is given twice"));
            }
        }
        Ok(example)
    }
}

/// Reads one value of a feature, or a flat list of them; the first says of which kind they are.
struct Values<'a> {
    feature: &'a mut Option<Feature>,
    words: bool,
    in_list: bool,
}

impl Values<'_> {
    fn mixed<E: serde::de::Error>() -> E {
        E::custom("a feature has values of several kinds")
    }

    fn float<E: serde::de::Error>(self, number: f32) -> Result<(), E> {
        // A whole number may be written without a point.
        if let Some(Feature::Integers(values)) = self.feature {
            *self.feature = Some(Feature::Floats(values.iter().map(|value| *value as f32).collect()));
        }
        match self.feature.get_or_insert_with(|| Feature::Floats(Vec::new())) {
            Feature::Floats(values) => values.push(number),
            _ => return Err(Self::mixed()),
        }
        Ok(())
    }

    fn integer<E: serde::de::Error>(self, number: i64) -> Result<(), E> {
        match self.feature.get_or_insert_with(|| Feature::Integers(Vec::new())) {
            Feature::Integers(values) => values.push(number),
            Feature::Floats(values) => values.push(number as f32),
            Feature::Bytes(_) => return Err(Self::mixed()),
        }
        Ok(())
    }

    fn bytes<E: serde::de::Error>(self, bytes: Bytes) -> Result<(), E> {
        match self.feature.get_or_insert_with(|| Feature::Bytes(Vec::new())) {
            Feature::Bytes(values) => values.push(bytes),
            _ => return Err(Self::mixed()),
        }
        Ok(())
    }
}

impl<'de> DeserializeSeed<'de> for Values<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Values<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.in_list { "a value of a feature" } else { "a value of a feature or a flat list of them" })
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        if self.in_list {
            return Err(A::Error::custom("a feature has element with unexpected JSON type: Array"));
        }
        while list
            .next_element_seed(Values { feature: &mut *self.feature, words: self.words, in_list: true })?
            .is_some()
        {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let key = map.next_key::<Cow<'de, str>>()?;
        if key.as_deref() == Some(BASE64_KEY) {
            let bytes = map.next_value_seed(Base64)?;
            if map.next_key::<IgnoredAny>()?.is_some() {
                return Err(A::Error::custom("an object with \"b64\" has no other key"));
            }
            return self.bytes(bytes.into());
        }
        match word_number(key.as_deref()) {
            Some(number) if self.words => {
                if key.is_some() {
                    map.next_value::<IgnoredAny>()?;
                }
                self.float(number as f32)
            }
            _ => Err(A::Error::custom("a feature has element with unexpected JSON type: Object")),
        }
    }

    fn visit_bool<E: serde::de::Error>(self, value: bool) -> Result<(), E> {
        self.integer(i64::from(value))
    }

    fn visit_i64<E: serde::de::Error>(self, value: i64) -> Result<(), E> {
        self.integer(value)
    }

    fn visit_u64<E: serde::de::Error>(self, value: u64) -> Result<(), E> {
        let value = i64::try_from(value);
        self.integer(value.map_err(|_| E::custom("a feature has uint64 element. Only int64 is supported."))?)
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<(), E> {
        let narrow = value as f32;
        if !narrow.is_finite() {
            return Err(E::custom(format_args!(
                "Cannot convert JSON value: {value} to float without loss of precision."
            )));
        }
        self.float(narrow)
    }

    fn visit_str<E: serde::de::Error>(self, value: &str) -> Result<(), E> {
        self.bytes(Bytes::copy_from_slice(value.as_bytes()))
    }
}
