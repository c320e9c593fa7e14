//! The body of `:classify` and `:regress`: examples, and a context that they share.

use bytes::Bytes;

use super::predict_body::read_signature_name;
use crate::api::json::{BASE64_KEY, Cursor, PAIR_KEY, TEXT_KEY, base64_object, parse_error};
use crate::api::tfs::{Example, Feature, check_signature_name, examples_into_input, examples_into_texts};
use crate::error::{Error, Result};
use crate::ids::printable;
use crate::serving::{Input, NamedInputs};

/// The model that a body is read for, and its limits.
#[derive(Debug, Clone, Copy)]
pub(super) struct Expected<'a> {
    pub(super) names: &'a NamedInputs<'a>,
    pub(super) takes_images: bool,
    pub(super) takes_texts: bool,
    /// More examples are refused while they are read: an empty one is two bytes in JSON and far more in memory.
    pub(super) max_examples: usize,
}

/// Reads a body for a model.
///
/// # Errors
/// [`Error::Malformed`] and [`Error::InvalidInput`], in the words of TensorFlow Serving where it has some.
pub(super) fn read(body: &[u8], expected: Expected<'_>) -> Result<Input> {
    let Fields { signature_name, context, examples } =
        read_fields(&mut Cursor::with_words(body), expected).map_err(parse_error)?;
    check_signature_name(signature_name.as_deref().unwrap_or_default())?;
    let examples =
        examples.ok_or_else(|| Error::InvalidInput("key 'examples' is expected and was not found".into()))?;
    if examples.is_empty() {
        return Err(Error::InvalidInput("'examples' value is an empty array".into()));
    }
    let context = context.unwrap_or_default();
    if expected.takes_texts
        && let Some(texts) = examples_into_texts(&examples, &context)?
    {
        return Ok(texts);
    }
    examples_into_input(expected.names, expected.takes_images, &examples, &context)
}

#[derive(Default)]
struct Fields {
    signature_name: Option<String>,
    context: Option<Example>,
    examples: Option<Vec<Example>>,
}

fn read_fields(cursor: &mut Cursor<'_>, expected: Expected<'_>) -> Result<Fields> {
    let mut fields = Fields::default();
    cursor.begins_with(b'{', "an object with 'examples'")?;
    cursor.object(|cursor, key| {
        match key {
            "signature_name" if fields.signature_name.is_none() => {
                fields.signature_name = Some(read_signature_name(cursor)?);
            }
            "context" if fields.context.is_none() => {
                fields.context = Some(read_example(cursor, expected)?);
            }
            "examples" if fields.examples.is_none() => fields.examples = Some(read_examples(cursor, expected)?),
            "signature_name" | "context" | "examples" => {
                return Err(cursor.fault(format_args!("the key '{key}' is given twice")));
            }
            _ => cursor.skip()?,
        }
        Ok(())
    })?;
    cursor.end().map(|()| fields)
}

fn read_examples(cursor: &mut Cursor<'_>, expected: Expected<'_>) -> Result<Vec<Example>> {
    let max_examples = expected.max_examples;
    let mut examples = Vec::new();
    cursor.begins_with(b'[', "'examples' value to be an list/array")?;
    cursor.list(|cursor| {
        if examples.len() == max_examples {
            return Err(
                cursor.fault(format_args!("there are more than {max_examples} examples, the limit of one request"))
            );
        }
        read_example(cursor, expected).map(|example| examples.push(example))
    })?;
    Ok(examples)
}

/// Reads the features that the model has inputs for, and texts for a model that takes such.
fn read_example(cursor: &mut Cursor<'_>, expected: Expected<'_>) -> Result<Example> {
    let mut example = Example::new();
    cursor.begins_with(b'{', "Example must be JSON object")?;
    cursor.object(|cursor, name| {
        let is_text = expected.takes_texts && (name == TEXT_KEY || name == PAIR_KEY);
        if expected.names.position(name).is_none() && !is_text {
            return cursor.skip();
        }
        let feature = read_feature(cursor)?;
        match example.insert(name.to_owned(), feature) {
            None => Ok(()),
            Some(_) => Err(cursor.fault("a feature is given twice")),
        }
    })?;
    Ok(example)
}

/// Reads one value of a feature, or a flat list of them; the first decides the kind of all.
fn read_feature(cursor: &mut Cursor<'_>) -> Result<Feature> {
    let mut feature = None;
    if cursor.peek() == Some(b'[') {
        cursor.list(|cursor| read_value(cursor, &mut feature, "a value of a feature"))?;
    } else {
        read_value(cursor, &mut feature, "a value of a feature or a flat list of them")?;
    }
    Ok(feature.unwrap_or(Feature::Floats(Vec::new())))
}

fn read_value(cursor: &mut Cursor<'_>, feature: &mut Option<Feature>, expected: &str) -> Result<()> {
    let added = match cursor.peek() {
        Some(b'"') => add_bytes(feature, Bytes::from(cursor.string()?.into_owned())),
        Some(b'{') if cursor.first_key().as_deref() == Some(BASE64_KEY) => {
            add_bytes(feature, base64_object(cursor)?.into())
        }
        Some(b'{') => return Err(cursor.fault("a feature has element with unexpected JSON type: Object")),
        Some(b'[') => return Err(cursor.fault("a feature has element with unexpected JSON type: Array")),
        Some(b't' | b'f') => add_integer(feature, i64::from(cursor.boolean()?)),
        Some(b'n') => return Err(cursor.mismatch(expected)),
        _ => {
            let number = cursor.number()?;
            if let Some(integer) = number.get() {
                add_integer(feature, integer)
            } else if number.get::<u64>().is_some() {
                Err("a feature has uint64 element. Only int64 is supported.".into())
            } else if let Some(float) = number.get() {
                add_float(feature, float)
            } else {
                let number = printable(number.text(), 40);
                Err(format!("Cannot convert JSON value: {number} to float without loss of precision."))
            }
        }
    };
    added.map_err(|problem| cursor.fault(problem))
}

type Added = std::result::Result<(), String>;

fn mixed() -> Added {
    Err("a feature has values of several kinds".into())
}

fn add_float(feature: &mut Option<Feature>, number: f32) -> Added {
    // A whole number may be written without a point.
    if let Some(Feature::Integers(values)) = feature {
        *feature = Some(Feature::Floats(values.iter().map(|value| *value as f32).collect()));
    }
    match feature.get_or_insert_with(|| Feature::Floats(Vec::new())) {
        Feature::Floats(values) => values.push(number),
        Feature::Integers(_) | Feature::Bytes(_) => return mixed(),
    }
    Ok(())
}

fn add_integer(feature: &mut Option<Feature>, number: i64) -> Added {
    match feature.get_or_insert_with(|| Feature::Integers(Vec::new())) {
        Feature::Integers(values) => values.push(number),
        Feature::Floats(values) => values.push(number as f32),
        Feature::Bytes(_) => return mixed(),
    }
    Ok(())
}

fn add_bytes(feature: &mut Option<Feature>, bytes: Bytes) -> Added {
    match feature.get_or_insert_with(|| Feature::Bytes(Vec::new())) {
        Feature::Bytes(values) => values.push(bytes),
        Feature::Integers(_) | Feature::Floats(_) => return mixed(),
    }
    Ok(())
}
