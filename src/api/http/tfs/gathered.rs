//! The inputs of a model as they come in JSON: one value or an object of them by name, each read
//! straight into a buffer of the type that the signature says.

use std::borrow::Cow;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};

use crate::error::{Error, Result};
use crate::ids::printable;
use crate::serving::Input;
use crate::signature::{Batching, Signature, TensorSpec};
use crate::tensor::Tensor;
use crate::transform::{Accepts, Level, Nested, Stack};

/// How inputs are laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::api::http) enum Layout {
    /// A list of instances, each a value or an object of them.
    Rows,
    /// One value or one object, each input with all its samples.
    Columns,
}

/// Inputs under way.
#[derive(Debug)]
pub(in crate::api::http) struct Gathered<'a> {
    signature: &'a Signature,
    accepts: Accepts,
    layout: Layout,
    stacks: Vec<Stack>,
    /// Which inputs the present object has named.
    named: Vec<bool>,
    /// Whether the instances are objects, once there is one.
    objects: Option<bool>,
    count: usize,
}

impl<'a> Gathered<'a> {
    /// Nothing yet.
    pub(in crate::api::http) fn new(signature: &'a Signature, accepts: Accepts, layout: Layout) -> Self {
        let stack = |spec: &TensorSpec| match layout {
            Layout::Rows => Stack::new(spec.dtype, accepts),
            Layout::Columns => Stack::single(spec.dtype, accepts),
        };
        let stacks = signature.inputs.iter().map(stack).collect();
        let named = vec![false; signature.inputs.len()];
        Self { signature, accepts, layout, stacks, named, objects: None, count: 0 }
    }

    /// Reads the next instance, or in columns the only value.
    pub(in crate::api::http) fn item(&mut self) -> Item<'_, 'a> {
        self.count += 1;
        Item { gathered: self }
    }

    /// What was read of each input, in the signature's order.
    pub(in crate::api::http) fn into_nested(self) -> Vec<Nested> {
        self.stacks.into_iter().map(Stack::finish).collect()
    }

    /// What was read as the input of a model.
    ///
    /// # Errors
    /// [`Error::InvalidInput`] naming the input, what it expects and what it got.
    pub(in crate::api::http) fn into_input(self) -> Result<Input> {
        let signature = self.signature;
        let is_whole = signature.batching() == Batching::Whole;
        let mut nested = self.into_nested();
        if let [only] = nested.as_mut_slice()
            && let Some(files) = only.take_files()
        {
            return Ok(Input::Images(files));
        }
        let tensor = |(nested, spec): (Nested, &TensorSpec)| -> Result<Tensor> {
            let what = format!("input \"{}\"", spec.name);
            match is_whole {
                false => nested.into_samples(&what, spec.sample_dims()),
                // A lone number cannot be stacked; a list of one stands for it.
                true if spec.shape.is_empty() && nested.shape() == [1] => {
                    nested.into_only(&what)?.into_whole(&what, &spec.shape)
                }
                true => nested.into_whole(&what, &spec.shape),
            }
        };
        nested.into_iter().zip(&signature.inputs).map(tensor).collect::<Result<_>>().map(Input::Tensors)
    }

    /// Reads an object of values by name, whose first key was read already.
    fn object<'de, A: MapAccess<'de>>(
        &mut self,
        first: Option<Cow<'de, str>>,
        mut map: A,
    ) -> std::result::Result<(), A::Error> {
        let index = self.count.saturating_sub(1);
        if self.layout == Layout::Rows && !*self.objects.get_or_insert(true) {
            return Err(A::Error::custom(format_args!(
                "Expecting value/list but got object at item {index} of input list"
            )));
        }
        self.named.fill(false);
        let mut next = first;
        while let Some(key) = next {
            match self.signature.inputs.iter().position(|spec| spec.name == key) {
                Some(input) if std::mem::replace(&mut self.named[input], true) => {
                    return Err(A::Error::custom(format_args!("the input {} is given twice", printable(&key, 64))));
                }
                Some(input) => map.next_value_seed(self.stacks[input].instance())?,
                None if self.layout == Layout::Columns => {
                    map.next_value::<IgnoredAny>()?;
                }
                None => {
                    return Err(A::Error::custom(format_args!(
                        "Failed to process element: {index} key: {0} of 'instances' list. Error: JSON object: does not have named input: {0}",
                        printable(&key, 64)
                    )));
                }
            }
            next = map.next_key()?;
        }
        let specs = &self.signature.inputs;
        match (self.named.iter().position(|named| !named), self.layout) {
            (None, _) => Ok(()),
            (Some(input), Layout::Columns) => {
                Err(A::Error::custom(format_args!("Missing named input: {} in 'inputs' object.", specs[input].name)))
            }
            (Some(_), Layout::Rows) => {
                let names: Vec<&str> = specs.iter().map(|spec| spec.name.as_str()).collect();
                Err(A::Error::custom(format_args!(
                    "Failed to process element: {index} of 'instances' list. JSON object keys must be equal to: {}",
                    names.join(",")
                )))
            }
        }
    }

    /// The place of a value without a name: of the only input.
    fn plain<E: serde::de::Error>(&mut self) -> std::result::Result<Level<'_>, E> {
        let [stack] = self.stacks.as_mut_slice() else {
            return Err(E::custom(match self.layout {
                Layout::Rows => {
                    "instances is a plain list, but expecting list of objects as multiple input tensors required as per tensorinfo_map"
                }
                Layout::Columns => {
                    "inputs is a plain value/list, but expecting an object as multiple input tensors required as per tensorinfo_map"
                }
            }));
        };
        if self.layout == Layout::Rows && *self.objects.get_or_insert(false) {
            let index = self.count.saturating_sub(1);
            return Err(E::custom(format_args!("Expecting object but got list at item {index} of input list")));
        }
        Ok(stack.instance())
    }
}

/// Reads one instance, or in columns the only value.
#[derive(Debug)]
pub(in crate::api::http) struct Item<'g, 'a> {
    gathered: &'g mut Gathered<'a>,
}

impl Item<'_, '_> {
    /// Reads an object whose first key was read already: the inputs by name, or an element that is written
    /// as an object.
    pub(in crate::api::http) fn object<'de, A: MapAccess<'de>>(
        self,
        first: Option<Cow<'de, str>>,
        map: A,
    ) -> std::result::Result<(), A::Error> {
        if self.gathered.stacks.len() == 1 && Level::is_element_key(first.as_deref(), self.gathered.accepts) {
            return self.gathered.plain()?.object(first.as_deref(), map);
        }
        self.gathered.object(first, map)
    }
}

impl<'de> DeserializeSeed<'de> for Item<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> std::result::Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Item<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value, a list of values, or an object with the inputs by name")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> std::result::Result<(), A::Error> {
        let first = map.next_key::<Cow<'de, str>>()?;
        self.object(first, map)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> std::result::Result<(), A::Error> {
        self.gathered.plain()?.visit_seq(list)
    }

    fn visit_bool<E: serde::de::Error>(self, value: bool) -> std::result::Result<(), E> {
        self.gathered.plain()?.visit_bool(value)
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> std::result::Result<(), E> {
        self.gathered.plain()?.visit_f64(value)
    }

    fn visit_i64<E: serde::de::Error>(self, value: i64) -> std::result::Result<(), E> {
        self.gathered.plain()?.visit_i64(value)
    }

    fn visit_u64<E: serde::de::Error>(self, value: u64) -> std::result::Result<(), E> {
        self.gathered.plain()?.visit_u64(value)
    }

    fn visit_str<E: serde::de::Error>(self, value: &str) -> std::result::Result<(), E> {
        self.gathered.plain()?.visit_str(value)
    }
}

/// What a parser of JSON found fault with.
pub(in crate::api::http) fn json_error(error: &serde_json::Error) -> Error {
    match error.classify() {
        serde_json::error::Category::Data => Error::InvalidInput(error.to_string()),
        _ => Error::Malformed(format!("JSON Parse error: {error}")),
    }
}
