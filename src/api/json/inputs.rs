//! The inputs of a model: one value, or an object of them by name, each in a buffer of its own. Errors are in the
//! words of TensorFlow Serving.

use super::cursor::Cursor;
use super::nested::Nested;
use super::stack::{Accepts, BASE64_KEY, Stack};
use crate::error::{Error, Result};
use crate::ids::printable;
use crate::serving::Input;
use crate::signature::{Signature, TensorSpec};

/// The arrangement of inputs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::api) enum Layout {
    /// A list of instances, each a value or an object of them.
    Rows,
    /// One value or one object, each input with all its samples.
    Columns,
}

/// Inputs as they are read.
#[derive(Debug)]
pub(in crate::api) struct Inputs<'a> {
    signature: &'a Signature,
    accepts: Accepts,
    layout: Layout,
    stacks: Vec<Stack>,
    /// The number of inputs, from the first one on, that an object must name.
    required: usize,
    /// Which inputs the present object has named.
    named: Vec<bool>,
    /// True when the instances are objects, false when they are not, unknown before the first.
    objects: Option<bool>,
    count: usize,
}

impl<'a> Inputs<'a> {
    /// Expects the inputs of a model.
    pub(in crate::api) fn new(signature: &'a Signature, accepts: Accepts, layout: Layout) -> Self {
        let stack = |spec: &TensorSpec| match layout {
            Layout::Rows => Stack::list(spec.dtype, accepts),
            Layout::Columns => Stack::single(spec.dtype, accepts),
        };
        let stacks = signature.inputs.iter().map(stack).collect();
        let required = signature.inputs.len();
        Self { signature, accepts, layout, stacks, required, named: vec![false; required], objects: None, count: 0 }
    }

    /// Lets objects leave out the inputs behind the first `required`.
    pub(in crate::api) fn requiring(self, required: usize) -> Self {
        Self { required, ..self }
    }

    /// Returns the number of instances so far.
    pub(in crate::api) fn count(&self) -> usize {
        self.count
    }

    /// Reads the next instance, or in columns the only value.
    pub(in crate::api) fn read(&mut self, cursor: &mut Cursor<'_>) -> Result<()> {
        self.count += 1;
        let takes_bytes = self.stacks.len() == 1 && self.accepts.base64;
        let is_object = cursor.peek() == Some(b'{');
        if is_object && !(takes_bytes && cursor.first_key().as_deref() == Some(BASE64_KEY)) {
            return self.object(cursor);
        }
        self.plain().map_err(|problem| cursor.fault(problem))?.read(cursor)
    }

    /// Returns what was read of each input, in the signature's order.
    pub(in crate::api) fn into_nested(self) -> Vec<Nested> {
        self.stacks.into_iter().map(Stack::finish).collect()
    }

    /// Returns what was read as the input of the model.
    ///
    /// # Errors
    /// [`Error::InvalidInput`] naming the input, what it expects and what it got.
    pub(in crate::api) fn into_input(self) -> Result<Input> {
        let signature = self.signature;
        let batching = signature.batching();
        let mut nested = self.into_nested();
        if let [only] = nested.as_mut_slice()
            && let Some(files) = only.take_files()
        {
            return Ok(Input::Images(files));
        }
        let tensor = |(nested, spec): (Nested, &TensorSpec)| nested.into_input(spec, batching);
        nested.into_iter().zip(&signature.inputs).map(tensor).collect::<Result<_>>().map(Input::Tensors)
    }

    /// Reads an object of values by name.
    fn object(&mut self, cursor: &mut Cursor<'_>) -> Result<()> {
        let (index, specs, layout) = (self.count - 1, &self.signature.inputs, self.layout);
        if layout == Layout::Rows && !*self.objects.get_or_insert(true) {
            let problem = format_args!("Expecting value/list but got object at item {index} of input list");
            return Err(cursor.fault(problem));
        }
        self.named.fill(false);
        cursor.object(|cursor, key| match specs.iter().position(|spec| spec.name == key) {
            Some(input) if std::mem::replace(&mut self.named[input], true) => {
                Err(cursor.fault(format_args!("the input {} is given twice", printable(key, 64))))
            }
            Some(input) => self.stacks[input].read(cursor),
            None if layout == Layout::Columns => cursor.skip(),
            None => Err(cursor.fault(format_args!(
                "Failed to process element: {index} key: {0} of 'instances' list. Error: JSON object: does not have named input: {0}; the model has: {1}",
                printable(key, 64),
                names(specs)
            ))),
        })?;
        let Some(missing) = self.named.iter().take(self.required).position(|named| !named) else { return Ok(()) };
        Err(match layout {
            Layout::Columns => {
                cursor.fault(format_args!("Missing named input: {} in 'inputs' object.", specs[missing].name))
            }
            Layout::Rows => cursor.fault(format_args!(
                "Failed to process element: {index} of 'instances' list. JSON object keys must be equal to: {}",
                names(specs)
            )),
        })
    }

    /// Returns the place of a value without a name, which is the only input.
    fn plain(&mut self) -> std::result::Result<&mut Stack, String> {
        let [stack] = self.stacks.as_mut_slice() else {
            let (given, objects) = match self.layout {
                Layout::Rows => ("instances is a plain list", "list of objects"),
                Layout::Columns => ("inputs is a plain value/list", "an object"),
            };
            return Err(format!(
                "{given}, but expecting {objects} as multiple input tensors required as per tensorinfo_map"
            ));
        };
        if self.layout == Layout::Rows && *self.objects.get_or_insert(false) {
            return Err(format!("Expecting object but got list at item {} of input list", self.count - 1));
        }
        Ok(stack)
    }
}

fn names(specs: &[TensorSpec]) -> String {
    let names: Vec<&str> = specs.iter().map(|spec| spec.name.as_str()).collect();
    names.join(",")
}

/// Returns the error of a body that cannot be read, in the words of TensorFlow Serving.
pub(in crate::api) fn parse_error(error: Error) -> Error {
    match error {
        Error::Malformed(problem) => Error::Malformed(format!("JSON Parse error: {problem}")),
        other => other,
    }
}
