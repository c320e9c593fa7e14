//! The JSON body of `/predict`, read in one pass: the signature says what the elements are.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, Error as _, IgnoredAny, IntoDeserializer, MapAccess, Visitor};

use super::predict_rows::{Rows, RowsSeed};
use super::predict_sequences::SequencesSeed;
use crate::error::{Error, Result};
use crate::signature::{Batching, Column, DType, Signature, TensorSpec};
use crate::tensor::Tensor;
use crate::transform::{Accepts, Nested, NestedSeed, PolarityChoice, SequenceEncoder};

const FIELDS: [&str; 7] = ["images", "instances", "inputs", "top_k", "polarity", "timeout_ms", "priority"];

/// What the instances of a body are.
#[derive(Debug, Clone, Copy)]
pub(super) enum Instances<'a> {
    /// The elements of the input.
    Elements,
    /// Rows of a table.
    Rows(&'a [Column]),
    /// Sequences.
    Sequences(&'a SequenceEncoder),
}

/// What a body says.
#[derive(Default)]
pub(super) struct JsonBody {
    pub(super) images: Option<Vec<String>>,
    instances: Option<Nested>,
    /// The instances of a model that takes rows of a table or sequences.
    rows: Option<Rows>,
    /// By the order of the signature; and names that it does not have.
    inputs: Option<(Vec<Option<Nested>>, Vec<String>)>,
    pub(super) top_k: Option<u16>,
    pub(super) polarity: Option<PolarityChoice>,
    pub(super) timeout_ms: Option<u64>,
    pub(super) priority: Option<u64>,
}

impl JsonBody {
    /// Reads a body for a model. Of rows and sequences no more than `most` are kept.
    ///
    /// # Errors
    /// [`Error::Malformed`] with the place and the fault.
    pub(super) fn read(body: &[u8], signature: &Signature, instances: Instances<'_>, most: usize) -> Result<Self> {
        let mut json = serde_json::Deserializer::from_slice(body);
        let parsed =
            BodySeed { signature, instances, most }.deserialize(&mut json).and_then(|body| json.end().map(|()| body));
        parsed.map_err(|error| {
            Error::Malformed(format!(
                "the JSON body cannot be read: {error}; expected {{\"images\": [\"<base64>\", …]}} or {{\"instances\": [[numbers], …]}}"
            ))
        })
    }

    /// How many rows or sequences were sent.
    pub(super) fn rows(&self) -> usize {
        self.rows.as_ref().map_or(0, |rows| rows.count)
    }

    /// Whether more than one kind of input was sent.
    pub(super) fn is_ambiguous(&self) -> bool {
        [self.images.is_some(), self.instances.is_some() || self.rows.is_some(), self.inputs.is_some()]
            .into_iter()
            .filter(|sent| *sent)
            .count()
            > 1
    }

    /// The inputs of the model, if they were sent as elements: the first `required`, or all of them.
    ///
    /// # Errors
    /// [`Error::InvalidInput`] naming the input, what it expects and what it got.
    pub(super) fn into_tensors(self, signature: &Signature, required: usize) -> Result<Option<Vec<Tensor>>> {
        if let Some(rows) = self.rows {
            if rows.is_empty() {
                return Err(Error::InvalidInput("\"instances\" is empty; expected at least one".into()));
            }
            let sample = signature.inputs.first().and_then(TensorSpec::sample_shape).unwrap_or_default();
            return rows.into_tensor(&sample).map(|tensor| Some(vec![tensor]));
        }
        let is_whole = signature.batching() == Batching::Whole;
        if let Some(nested) = self.instances {
            let (Some(input), 1) = (signature.inputs.first(), required) else {
                return Err(Error::InvalidInput(format!(
                    "the model takes {} inputs; send \"inputs\" with each of them by name: {}",
                    signature.inputs.len(),
                    names(signature)
                )));
            };
            let what = "\"instances\"";
            let tensor = match is_whole {
                true => nested.into_only(what)?.into_whole(what, &input.shape)?,
                false => nested.into_samples(what, input.sample_dims())?,
            };
            return Ok(Some(vec![tensor]));
        }
        let Some((inputs, unknown)) = self.inputs else { return Ok(None) };
        if let Some(name) = unknown.first() {
            let name = crate::ids::quote(name);
            return Err(Error::InvalidInput(format!("the model has no input {name}; it has: {}", names(signature))));
        }
        let given = match inputs.iter().skip(required).any(Option::is_some) {
            true => inputs.len(),
            false => required,
        };
        let tensor = |(nested, spec): (Option<Nested>, &TensorSpec)| {
            let what = format!("input \"{}\"", spec.name);
            let nested = nested.ok_or_else(|| Error::InvalidInput(format!("{what} is missing")))?;
            match is_whole {
                true => nested.into_whole(&what, &spec.shape),
                false => nested.into_samples(&what, spec.sample_dims()),
            }
        };
        inputs.into_iter().zip(&signature.inputs).take(given).map(tensor).collect::<Result<_>>().map(Some)
    }
}

fn names(signature: &Signature) -> String {
    let names: Vec<&str> = signature.inputs.iter().map(|input| input.name.as_str()).collect();
    names.join(", ")
}

struct BodySeed<'a> {
    signature: &'a Signature,
    instances: Instances<'a>,
    most: usize,
}

impl<'de> DeserializeSeed<'de> for BodySeed<'_> {
    type Value = JsonBody;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> std::result::Result<JsonBody, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for BodySeed<'_> {
    type Value = JsonBody;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> std::result::Result<JsonBody, A::Error> {
        let mut body = JsonBody::default();
        let mut seen = [false; FIELDS.len()];
        while let Some(key) = map.next_key::<Cow<'de, str>>()? {
            let Some(field) = FIELDS.iter().position(|field| *field == key) else {
                return Err(A::Error::unknown_field(&key, &FIELDS));
            };
            if std::mem::replace(&mut seen[field], true) {
                return Err(A::Error::duplicate_field(FIELDS[field]));
            }
            match field {
                0 => body.images = map.next_value()?,
                1 => match self.instances {
                    Instances::Rows(columns) => {
                        body.rows = Some(map.next_value_seed(RowsSeed { columns, most: self.most })?);
                    }
                    Instances::Sequences(encoder) => {
                        body.rows = Some(map.next_value_seed(SequencesSeed { encoder, most: self.most })?);
                    }
                    Instances::Elements => {
                        let dtype = self.signature.inputs.first().map_or(DType::Float32, |input| input.dtype);
                        let seed = NestedSeed { dtype, scalar: false, accepts: Accepts::default() };
                        body.instances = Some(map.next_value_seed(seed)?);
                    }
                },
                2 => body.inputs = Some(map.next_value_seed(InputsSeed { signature: self.signature })?),
                3 => body.top_k = map.next_value()?,
                4 => body.polarity = polarity(map.next_value()?)?,
                5 => body.timeout_ms = map.next_value()?,
                _ => body.priority = map.next_value()?,
            }
        }
        Ok(body)
    }
}

/// A polarity written as a string; a derived enum would take `{"auto": null}`, too.
fn polarity<E: serde::de::Error>(name: Option<Cow<'_, str>>) -> std::result::Result<Option<PolarityChoice>, E> {
    name.map(|name| PolarityChoice::deserialize(name.as_ref().into_deserializer())).transpose()
}

struct InputsSeed<'a> {
    signature: &'a Signature,
}

impl<'de> DeserializeSeed<'de> for InputsSeed<'_> {
    type Value = (Vec<Option<Nested>>, Vec<String>);

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> std::result::Result<Self::Value, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for InputsSeed<'_> {
    type Value = (Vec<Option<Nested>>, Vec<String>);

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with the inputs by name")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> std::result::Result<Self::Value, A::Error> {
        let specs = &self.signature.inputs;
        let mut inputs: Vec<Option<Nested>> = specs.iter().map(|_| None).collect();
        let mut unknown = Vec::new();
        while let Some(name) = map.next_key::<Cow<'de, str>>()? {
            let Some(index) = specs.iter().position(|spec| spec.name == name) else {
                map.next_value::<IgnoredAny>()?;
                unknown.push(name.into_owned());
                continue;
            };
            if inputs[index].is_some() {
                return Err(A::Error::custom(format_args!("the input {} is given twice", crate::ids::quote(&name))));
            }
            let spec = &specs[index];
            let seed = NestedSeed { dtype: spec.dtype, scalar: spec.shape.is_empty(), accepts: Accepts::default() };
            inputs[index] = Some(map.next_value_seed(seed)?);
        }
        Ok((inputs, unknown))
    }
}
