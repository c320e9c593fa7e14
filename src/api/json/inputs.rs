//! The inputs of a model: one value, or an object of them by name, each in a buffer of its own. Errors are in the
//! words of TensorFlow Serving.

use super::cursor::Cursor;
use super::nested::Nested;
use super::stack::{Accepts, BASE64_KEY, Stack};
use crate::error::{Error, Result};
use crate::ids::printable;
use crate::serving::{Input, NamedInputs};
use crate::signature::{Batching, TensorSpec};
use crate::tensor::Tensor;

/// The arrangement of inputs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::api) enum Layout {
    /// A list of instances, each a value or an object of them.
    Rows,
    /// One value or one object, each input with all its samples.
    Columns,
}

/// The meaning of instances for a model without a batch dimension.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::api) enum Instances {
    /// They are the rows of its inputs, as in TensorFlow Serving.
    Rows,
    /// The only one is all of its inputs.
    Whole,
}

/// Inputs as they are read.
#[derive(Debug)]
pub(in crate::api) struct Inputs<'a> {
    names: NamedInputs<'a>,
    accepts: Accepts,
    layout: Layout,
    stacks: Vec<Stack>,
    /// Which inputs the present object has named.
    named: Vec<bool>,
    /// The number of instances that brought each input.
    brought: Vec<usize>,
    /// True when the instances are objects, false when they are not, unknown before the first.
    objects: Option<bool>,
    count: usize,
}

impl<'a> Inputs<'a> {
    /// Expects the inputs of a model.
    pub(in crate::api) fn new(names: NamedInputs<'a>, accepts: Accepts, layout: Layout) -> Self {
        let stack = |spec: &&TensorSpec| match layout {
            Layout::Rows => Stack::list(spec.dtype, accepts),
            Layout::Columns => Stack::single(spec.dtype, accepts),
        };
        let stacks: Vec<Stack> = names.specs().iter().map(stack).collect();
        let count = stacks.len();
        Self {
            names,
            accepts,
            layout,
            stacks,
            named: vec![false; count],
            brought: vec![0; count],
            objects: None,
            count: 0,
        }
    }

    /// Returns the number of instances so far.
    pub(in crate::api) fn count(&self) -> usize {
        self.count
    }

    /// Reads the next instance, or in columns the only value.
    pub(in crate::api) fn read(&mut self, cursor: &mut Cursor<'_>) -> Result<()> {
        self.count += 1;
        let takes_bytes = self.names.only().is_some() && self.accepts.base64;
        let is_object = cursor.peek() == Some(b'{');
        if is_object && !(takes_bytes && cursor.first_key().as_deref() == Some(BASE64_KEY)) {
            return self.object(cursor);
        }
        self.plain().map_err(|problem| cursor.fault(problem))?.read(cursor)
    }

    /// Returns what was read of each input that was brought, in their order.
    pub(in crate::api) fn into_nested(self) -> Vec<Option<Nested>> {
        let nested = |(stack, brought): (Stack, usize)| (brought > 0).then(|| stack.finish());
        self.stacks.into_iter().zip(self.brought).map(nested).collect()
    }

    /// Returns what was read as the input of the model.
    ///
    /// # Errors
    /// [`Error::InvalidInput`] naming the input, what it expects and what it got.
    pub(in crate::api) fn into_input(self, instances: Instances) -> Result<Input> {
        let (names, layout, count) = (self.names.clone(), self.layout, self.count);
        if layout == Layout::Rows && names.specs().is_empty() && count != 1 {
            return Err(Error::InvalidInput(format!(
                "the model has no inputs, so it gives one answer: expected one empty object, got {count} instances"
            )));
        }
        let mut nested = self.into_nested();
        let files = nested.iter_mut().find_map(|nested| nested.as_mut().and_then(Nested::take_files));
        let mut tensors = Vec::with_capacity(nested.len());
        for (place, nested) in nested.into_iter().enumerate() {
            // What held files holds nothing else.
            let nested = nested.filter(|_| files.is_none() || place > 0);
            let tensor = nested.map(|nested| match layout {
                Layout::Columns => column(nested, &names, place),
                Layout::Rows => rows(nested, &names, place, instances),
            });
            tensors.push(tensor.transpose()?);
        }
        match files {
            Some(files) => names.images_alone(files, &tensors),
            None => names.arranged(tensors).map(Input::Tensors),
        }
    }

    /// Reads an object of values by name.
    fn object(&mut self, cursor: &mut Cursor<'_>) -> Result<()> {
        let (index, names, layout) = (self.count - 1, &self.names, self.layout);
        if layout == Layout::Rows && !*self.objects.get_or_insert(true) {
            let problem = format_args!("Expecting value/list but got object at item {index} of input list");
            return Err(cursor.fault(problem));
        }
        self.named.fill(false);
        cursor.object(|cursor, key| match names.position(key) {
            Some(input) if std::mem::replace(&mut self.named[input], true) => {
                Err(cursor.fault(format_args!("the input {} is given twice", printable(key, 64))))
            }
            Some(input) => {
                self.brought[input] += 1;
                self.stacks[input].read(cursor)
            }
            None => {
                let (name, listed) = (printable(key, 64), names.listed());
                Err(match layout {
                    Layout::Columns => {
                        cursor.fault(format_args!("'inputs' object: the model has no input named {name}; it {listed}"))
                    }
                    Layout::Rows => cursor.fault(format_args!(
                        "Failed to process element: {index} key: {name} of 'instances' list. Error: JSON object: does not have named input: {name}; the model {listed}",
                    )),
                })
            }
        })?;
        if let Some(missing) = self.named.iter().take(names.required()).position(|named| !named) {
            return Err(match layout {
                Layout::Columns => cursor
                    .fault(format_args!("Missing named input: {} in 'inputs' object.", names.specs()[missing].name)),
                Layout::Rows => cursor.fault(format_args!(
                    "Failed to process element: {index} of 'instances' list. JSON object keys must be equal to: {}",
                    required(names)
                )),
            });
        }
        // An input that may be left out is left out by all or by none.
        let uneven = self.brought.iter().position(|brought| *brought != 0 && *brought != self.count);
        uneven.map_or(Ok(()), |input| {
            let name = &names.specs()[input].name;
            Err(cursor.fault(format_args!(
                "Failed to process element: {index} of 'instances' list. The input {name} must be given by all instances or by none"
            )))
        })
    }

    /// Returns the place of a value without a name: of the only input that must be brought.
    fn plain(&mut self) -> std::result::Result<&mut Stack, String> {
        if self.names.only().is_none() {
            let (given, objects) = match self.layout {
                Layout::Rows => ("instances is a plain list", "list of objects"),
                Layout::Columns => ("inputs is a plain value/list", "an object"),
            };
            return Err(match self.names.specs() {
                [] => format!("{given}, but the model has no inputs: expecting {objects} without keys"),
                _ => {
                    format!("{given}, but expecting {objects} as multiple input tensors required as per tensorinfo_map")
                }
            });
        }
        if self.layout == Layout::Rows && *self.objects.get_or_insert(false) {
            return Err(format!("Expecting object but got list at item {} of input list", self.count - 1));
        }
        let (Some(stack), Some(brought)) = (self.stacks.first_mut(), self.brought.first_mut()) else {
            return Err("the model has no inputs".into());
        };
        *brought += 1;
        Ok(stack)
    }
}

/// Returns the tensor of an input that was sent with all its samples.
///
/// # Errors
/// [`Error::InvalidInput`] naming the input, what it expects and what it got.
pub(in crate::api) fn column(nested: Nested, names: &NamedInputs<'_>, place: usize) -> Result<Tensor> {
    let batching = if names.is_shared(place) { Batching::Whole } else { names.batching() };
    nested.into_input(names.specs()[place], batching)
}

/// Returns the tensor of an input of which there is one value for each instance.
fn rows(nested: Nested, names: &NamedInputs<'_>, place: usize, instances: Instances) -> Result<Tensor> {
    let (spec, batching) = (names.specs()[place], names.batching());
    let what = format_args!("\"{}\" in \"instances\"", spec.name);
    match (batching, instances) {
        _ if names.is_shared(place) => nested.into_shared(what, &spec.shape),
        (Batching::Whole, Instances::Whole) => nested.into_only(what)?.into_whole(what, &spec.shape),
        (_, Instances::Rows) => nested.into_input(spec, batching),
        (_, Instances::Whole) => nested.into_samples(what, spec.sample_dims()),
    }
}

fn required(names: &NamedInputs<'_>) -> String {
    let required = names.specs().iter().take(names.required()).map(|spec| spec.name.as_str());
    required.collect::<Vec<_>>().join(",")
}

/// Returns the error of a body that cannot be read, in the words of TensorFlow Serving.
pub(in crate::api) fn parse_error(error: Error) -> Error {
    match error {
        Error::Malformed(problem) => Error::Malformed(format!("JSON Parse error: {problem}")),
        other => other,
    }
}
