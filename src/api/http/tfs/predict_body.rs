//! The body of `:predict`: rows (`instances`) or columns (`inputs`).

use std::borrow::Cow;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::gathered::{Gathered, Layout, json_error};
use crate::api::tfs::check_signature_name;
use crate::error::{Error, Result};
use crate::serving::Input;
use crate::signature::Signature;
use crate::transform::{Accepts, with_words};

/// Reads a body for a model.
///
/// # Errors
/// [`Error::Malformed`] and [`Error::InvalidInput`], where it can be in the words of TensorFlow Serving.
pub(super) fn read(body: &[u8], signature: &Signature, takes_images: bool) -> Result<(Input, Layout)> {
    if body.is_empty() {
        return Err(Error::Malformed("JSON Parse error: The document is empty".into()));
    }
    let fields = with_words(body, |json, words| {
        let accepts = Accepts { words, base64: true, files: takes_images, text_files: false };
        let mut reader = serde_json::Deserializer::from_slice(json);
        let fields = BodySeed { signature, accepts }.deserialize(&mut reader)?;
        reader.end().map(|()| fields)
    });
    let fields = fields.map_err(|error| json_error(&error))?;
    check_signature_name(fields.signature_name.as_deref().unwrap_or_default())?;
    match (fields.instances, fields.inputs) {
        (Some(rows), None) => Ok((rows.into_input()?, Layout::Rows)),
        (None, Some(columns)) => Ok((columns.into_input()?, Layout::Columns)),
        (None, None) => Err(Error::InvalidInput("Missing 'inputs' or 'instances' key".into())),
        (Some(_), Some(_)) => Err(Error::InvalidInput(
            "Not formatted correctly expecting only one of 'inputs' or 'instances' keys to exist".into(),
        )),
    }
}

#[derive(Default)]
struct Fields<'a> {
    signature_name: Option<String>,
    instances: Option<Gathered<'a>>,
    inputs: Option<Gathered<'a>>,
}

struct BodySeed<'a> {
    signature: &'a Signature,
    accepts: Accepts,
}

impl<'de, 'a> DeserializeSeed<'de> for BodySeed<'a> {
    type Value = Fields<'a>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> std::result::Result<Fields<'a>, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de, 'a> Visitor<'de> for BodySeed<'a> {
    type Value = Fields<'a>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with 'instances' or 'inputs'")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> std::result::Result<Fields<'a>, A::Error> {
        let Self { signature, accepts } = self;
        let mut fields = Fields::default();
        while let Some(key) = map.next_key::<Cow<'de, str>>()? {
            match key.as_ref() {
                "signature_name" if fields.signature_name.is_none() => {
                    fields.signature_name = Some(map.next_value_seed(SignatureName)?);
                }
                "instances" if fields.instances.is_none() => {
                    let mut rows = Gathered::new(signature, accepts, Layout::Rows);
                    map.next_value_seed(Instances { rows: &mut rows })?;
                    fields.instances = Some(rows);
                }
                "inputs" if fields.inputs.is_none() => {
                    let mut columns = Gathered::new(signature, accepts, Layout::Columns);
                    map.next_value_seed(columns.item())?;
                    fields.inputs = Some(columns);
                }
                "signature_name" | "instances" | "inputs" => {
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

/// Reads the name of a signature.
pub(super) struct SignatureName;

impl<'de> DeserializeSeed<'de> for SignatureName {
    type Value = String;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> std::result::Result<String, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl Visitor<'_> for SignatureName {
    type Value = String;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string: 'signature_name' key must be a string value.")
    }

    fn visit_str<E: serde::de::Error>(self, name: &str) -> std::result::Result<String, E> {
        Ok(name.to_owned())
    }
}

struct Instances<'g, 'a> {
    rows: &'g mut Gathered<'a>,
}

impl<'de> DeserializeSeed<'de> for Instances<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> std::result::Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Instances<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("'instances' to be an list/array")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> std::result::Result<(), A::Error> {
        let mut is_empty = true;
        while list.next_element_seed(self.rows.item())?.is_some() {
            is_empty = false;
        }
        if is_empty { Err(A::Error::custom("No values in 'instances' array")) } else { Ok(()) }
    }
}
