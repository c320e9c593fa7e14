//! The JSON body of `/predict`, read in one pass: the signature decides the type of the elements.

use std::borrow::Cow;
use std::ops::Range;

use serde::Deserialize;
use serde::de::IntoDeserializer;

use crate::api::json::{
    Accepts, Cursor, Inputs, Instances as Meaning, Layout, Nested, Rows, Stack, Texts, column, is_list_of_texts,
    read_rows, read_sequences, read_texts,
};
use crate::error::{Error, Result};
use crate::ids::{quote, shortened};
use crate::serving::{Input, NamedInputs};
use crate::signature::{Batching, Column, DType, TensorSpec};
use crate::tensor::Tensor;
use crate::transform::text::Text;
use crate::transform::{PolarityChoice, SequenceEncoder};

const FIELDS: [&str; 10] =
    ["images", "instances", "inputs", "text", "pair", "top_k", "polarity", "timeout_ms", "priority", "strict"];

/// The kind of the instances of a body.
#[derive(Debug, Clone, Copy)]
pub(super) enum Instances<'a> {
    /// The elements of the input.
    Elements,
    /// Rows of a table.
    Rows(&'a [Column]),
    /// Sequences.
    Sequences(&'a SequenceEncoder),
    /// Texts for a tokenizer, or the elements of the inputs.
    Texts,
}

/// The model that a body is read for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Expected<'a> {
    pub(super) names: &'a NamedInputs<'a>,
    pub(super) instances: Instances<'a>,
    /// Of rows and sequences no more are kept.
    pub(super) most: usize,
    /// Set if the places of rows and sequences in the body are wanted.
    pub(super) wants_places: bool,
}

/// The content of a body.
#[derive(Default)]
pub(super) struct JsonBody<'b> {
    pub(super) images: Option<Vec<Cow<'b, str>>>,
    instances: Option<Nested>,
    /// Instances that are objects.
    named: Option<Result<Input>>,
    /// The instances of a model that takes rows of a table or sequences.
    rows: Option<Rows>,
    /// The places of these in the body, if they are wanted.
    pub(super) places: Vec<Range<usize>>,
    /// The instances of a model that takes texts.
    texts: Option<Texts>,
    /// The only text, and the one that it is compared with.
    text: Option<Cow<'b, str>>,
    pair: Option<Cow<'b, str>>,
    /// In their order; and names that the model does not have.
    inputs: Option<(Vec<Option<Nested>>, Vec<String>)>,
    /// The bytes of the body.
    length: usize,
    pub(super) top_k: Option<u16>,
    pub(super) polarity: Option<PolarityChoice>,
    pub(super) timeout_ms: Option<u64>,
    pub(super) priority: Option<u64>,
    /// True if a category that the model does not know is an error.
    strict: bool,
}

impl<'b> JsonBody<'b> {
    /// Reads a body for a model.
    ///
    /// # Errors
    /// [`Error::Malformed`] with the place and the fault.
    pub(super) fn read(body: &'b [u8], expected: Expected<'_>) -> Result<Self> {
        let mut cursor = Cursor::new(body);
        let mut body = Self { length: body.len(), ..Self::default() };
        let mut seen = [false; FIELDS.len()];
        let read = cursor.object(|cursor, key| {
            let field = FIELDS.iter().position(|field| *field == key);
            let Some(field) = field else {
                let known = FIELDS.join(", ");
                return Err(cursor.fault(format_args!("there is no key {}; there are: {known}", quote(key))));
            };
            if std::mem::replace(&mut seen[field], true) {
                return Err(cursor.fault(format_args!("the key {} is given twice", quote(key))));
            }
            body.read_field(cursor, key, expected)
        });
        match read.and_then(|()| cursor.end()).and_then(|()| body.refuse_unknown()) {
            Ok(()) => Ok(body),
            Err(Error::Malformed(problem) | Error::InvalidInput(problem)) => Err(Error::Malformed(format!(
                "the JSON body cannot be read: {problem}; expected {{\"images\": [\"<base64>\", …]}} or {{\"instances\": [[numbers], …]}}"
            ))),
            Err(other) => Err(other),
        }
    }

    fn read_field(&mut self, cursor: &mut Cursor<'b>, key: &str, expected: Expected<'_>) -> Result<()> {
        let Expected { names, instances, most, wants_places } = expected;
        let has_places = matches!(instances, Instances::Rows(_) | Instances::Sequences(_));
        if wants_places && key == "instances" && has_places {
            self.places = places(cursor.clone(), self.length, most)?;
        }
        match (key, instances) {
            ("images", _) => self.images = read_images(cursor)?,
            ("instances", Instances::Rows(columns)) => self.rows = Some(read_rows(cursor, columns, most)?),
            ("instances", Instances::Sequences(encoder)) => self.rows = Some(read_sequences(cursor, encoder, most)?),
            ("instances", Instances::Texts) if is_list_of_texts(cursor) => {
                self.texts = Some(read_texts(cursor, most)?);
            }
            ("text", _) => self.text = cursor.optional_string()?,
            ("pair", _) => self.pair = cursor.optional_string()?,
            ("instances", Instances::Elements | Instances::Texts) if is_list_of_objects(cursor) => {
                let mut rows = Inputs::new(names.clone(), Accepts::default(), Layout::Rows);
                cursor.list(|cursor| rows.read(cursor))?;
                self.named = Some(rows.into_input(Meaning::Whole));
            }
            ("instances", Instances::Elements | Instances::Texts) => {
                let dtype = names.specs().first().map_or(DType::Float32, |input| input.dtype);
                cursor.begins_with(b'[', "a list of instances")?;
                self.instances = Some(read_nested(cursor, dtype)?);
            }
            ("inputs", _) => self.inputs = Some(read_inputs(cursor, names)?),
            ("top_k", _) => self.top_k = cursor.optional_whole("a whole number up to 65535")?,
            ("polarity", _) => self.polarity = read_polarity(cursor)?,
            ("timeout_ms", _) => self.timeout_ms = cursor.optional_whole("a whole number")?,
            ("strict", _) => self.strict = !cursor.null() && cursor.boolean()?,
            _ => self.priority = cursor.optional_whole("a whole number")?,
        }
        Ok(())
    }

    /// Refuses categories that the model does not know where the client wants that.
    fn refuse_unknown(&self) -> Result<()> {
        match self.rows.as_ref().and_then(|rows| rows.unknown.as_ref()).filter(|_| self.strict) {
            Some(unknown) => {
                Err(Error::Malformed(format!("{unknown}; without \"strict\" it counts as missing, and so does null")))
            }
            None => Ok(()),
        }
    }

    /// Returns the number of rows, sequences or texts that were sent.
    pub(super) fn rows(&self) -> usize {
        let texts = self.texts.as_ref().map(|texts| texts.count);
        self.rows.as_ref().map(|rows| rows.count).or(texts).unwrap_or_default()
    }

    /// Returns whether more than one kind of input was sent.
    pub(super) fn is_ambiguous(&self) -> bool {
        let has_lists = self.instances.is_some() || self.rows.is_some() || self.texts.is_some();
        let has_instances = self.named.is_some() || has_lists;
        let has_text = self.text.is_some() || self.pair.is_some();
        [self.images.is_some(), has_instances, self.inputs.is_some(), has_text].into_iter().filter(|sent| *sent).count()
            > 1
    }

    /// Returns the input of the model if it was sent as elements.
    ///
    /// # Errors
    /// [`Error::InvalidInput`] naming the input, what it expects and what it got.
    pub(super) fn into_input(self, names: &NamedInputs<'_>) -> Result<Option<Input>> {
        if let Some(texts) = self.texts {
            return Ok(Some(Input::Texts(texts.kept)));
        }
        if let Some(text) = self.text {
            let (text, pair) = (text.into_owned(), self.pair.map(Cow::into_owned));
            return Ok(Some(Input::Texts(vec![Text { text, pair }])));
        }
        if self.pair.is_some() {
            return Err(Error::InvalidInput("\"pair\" stands beside \"text\", which is missing".into()));
        }
        if let Some(rows) = self.rows {
            let sample = names.specs().first().and_then(|spec| spec.sample_shape()).unwrap_or_default();
            return rows.into_tensor(&sample).map(|tensor| Some(Input::Tensors(vec![tensor])));
        }
        if let Some(nested) = self.instances {
            if nested.shape().first() == Some(&0) && !names.specs().is_empty() {
                return Err(Error::InvalidInput("\"instances\" is empty; expected at least one".into()));
            }
            let only = names.only().ok_or_else(|| not_plain(names))?;
            return from_instances(nested, only, names.batching()).map(|tensor| Some(Input::Tensors(vec![tensor])));
        }
        if let Some(input) = self.named {
            return input.map(Some);
        }
        let Some((inputs, unknown)) = self.inputs else { return Ok(None) };
        if let Some(name) = unknown.first() {
            return Err(names.unknown(name));
        }
        let tensor =
            |(place, nested): (usize, Option<Nested>)| nested.map(|nested| column(nested, names, place)).transpose();
        let tensors = inputs.into_iter().enumerate().map(tensor).collect::<Result<_>>()?;
        names.arranged(tensors).map(|tensors| Some(Input::Tensors(tensors)))
    }
}

/// Returns the places of the elements of a list in a body of so many bytes, which the cursor reads to its end. Of a list
/// with more than `most` elements, which is refused, at most one more is kept.
fn places(mut cursor: Cursor<'_>, length: usize, most: usize) -> Result<Vec<Range<usize>>> {
    let mut places = Vec::new();
    cursor.list(|cursor| {
        cursor.peek();
        let begin = length - cursor.rest();
        cursor.skip()?;
        if places.len() <= most {
            places.push(begin..length - cursor.rest());
        }
        Ok(())
    })?;
    Ok(places)
}

/// Returns the error for instances without names where the model does not have exactly one input.
fn not_plain(names: &NamedInputs<'_>) -> Error {
    Error::InvalidInput(match names.specs() {
        [] => "the model has no inputs; send {\"inputs\": {}}".into(),
        specs => format!(
            "the model takes {} inputs; send \"inputs\" with each of them by name, or \"instances\" of objects that name \
             them; it {}",
            specs.len(),
            names.listed()
        ),
    })
}

/// Returns the tensor of the only input, of which there is one value for each instance.
fn from_instances(nested: Nested, spec: &TensorSpec, batching: Batching) -> Result<Tensor> {
    let what = "\"instances\"";
    match batching {
        Batching::Whole => nested.into_only(what)?.into_whole(what, &spec.shape),
        Batching::Any | Batching::Fixed(_) => nested.into_samples(what, spec.sample_dims()),
    }
}

fn is_list_of_objects(cursor: &Cursor<'_>) -> bool {
    let mut ahead = cursor.clone();
    ahead.take(b'[') && ahead.peek() == Some(b'{')
}

fn read_images<'b>(cursor: &mut Cursor<'b>) -> Result<Option<Vec<Cow<'b, str>>>> {
    if cursor.null() {
        return Ok(None);
    }
    let mut images = Vec::new();
    cursor.list(|cursor| cursor.string().map(|image| images.push(image)))?;
    Ok(Some(images))
}

fn read_nested(cursor: &mut Cursor<'_>, dtype: DType) -> Result<Nested> {
    let mut stack = Stack::single(dtype, Accepts::default());
    stack.read(cursor)?;
    Ok(stack.finish())
}

/// Reads a polarity as a string; a derived enum would take `{"auto": null}`, too.
fn read_polarity(cursor: &mut Cursor<'_>) -> Result<Option<PolarityChoice>> {
    let Some(name) = cursor.optional_string()? else { return Ok(None) };
    let choice = PolarityChoice::deserialize(name.as_ref().into_deserializer());
    choice.map(Some).map_err(|error: serde::de::value::Error| cursor.fault(shortened(&error.to_string())))
}

/// Reads inputs by name: those of the model in their order, and the names that it does not have.
fn read_inputs(cursor: &mut Cursor<'_>, names: &NamedInputs<'_>) -> Result<(Vec<Option<Nested>>, Vec<String>)> {
    let mut inputs: Vec<Option<Nested>> = names.specs().iter().map(|_| None).collect();
    let mut unknown = Vec::new();
    cursor.begins_with(b'{', "an object with the inputs by name")?;
    cursor.object(|cursor, name| {
        let Some(index) = names.position(name) else {
            unknown.push(name.to_owned());
            return cursor.skip();
        };
        if inputs[index].is_some() {
            return Err(cursor.fault(format_args!("the input {} is given twice", quote(name))));
        }
        let spec = names.specs()[index];
        if !spec.shape.is_empty() {
            cursor.begins_with(b'[', "a list of instances")?;
        }
        read_nested(cursor, spec.dtype).map(|nested| inputs[index] = Some(nested))
    })?;
    Ok((inputs, unknown))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::signature::{Dim, Signature};

    #[test]
    fn only_standard_json_within_limits_is_read() {
        let spec = TensorSpec { name: "x".into(), dtype: DType::Float32, shape: vec![Dim::Symbol("N".into())] };
        let signature = Signature { inputs: vec![spec], outputs: vec![] };
        let names = NamedInputs::new(&signature, 1, &[]);
        let read = |json: &str| {
            let expected = Expected { names: &names, instances: Instances::Elements, most: 9, wants_places: false };
            JsonBody::read(json.as_bytes(), expected).and_then(|body| body.into_input(&names))
        };
        for good in [
            r#"{"instances":[1, 2e0, 1e-50, 3.4028235e38]}"#,
            r#"{"instances":[1],"top_k":null,"polarity":"auto","timeout_ms":5,"priority":9}"#,
            r#"{"inputs":{"x":[1]}}"#,
            r#"{"instances":[{"x":1},{"x":2}]}"#,
        ] {
            assert!(matches!(read(good), Ok(Some(_))), "{good}");
        }
        for bad in [
            r#"{"instances":[NaN]}"#,
            r#"{"instances":[-Infinity]}"#,
            r#"{"instances":[1e39]}"#,
            r#"{"instances":["1"]}"#,
            r#"{"instances":[true]}"#,
            r#"{"instances":[null]}"#,
            r#"{"instances":1}"#,
            r#"{"inputs":{"x":1}}"#,
            r#"{"inputs":[1]}"#,
            r#"{"instances":[1],"instances":[1]}"#,
            r#"{"instances":[1],"unknown":1}"#,
            r#"{"instances":[{"x":1},2]}"#,
            r#"{"instances":[{"x":1,"y":2}]}"#,
            r#"{"instances":[{}]}"#,
            r#"{"instances":[1],"top_k":65536}"#,
            r#"{"instances":[[[[[[[[[1]]]]]]]]]}"#,
        ] {
            assert!(matches!(read(bad), Err(Error::Malformed(_))), "{bad}");
        }
        assert!(matches!(read(r#"{"instances":[[[[[[[[1]]]]]]]]}"#), Err(Error::InvalidInput(_))));
        assert!(matches!(read(r#"{"inputs":{"y":[1]}}"#), Err(Error::InvalidInput(_))));
    }

    #[test]
    fn places_are_those_of_the_elements_and_bounded() {
        let body = r#"[ {"a": [1, 2]},  3 , "]"]"#;
        let found = |most| places(Cursor::new(body.as_bytes()), body.len(), most).unwrap();
        let text = |place: &Range<usize>| body[place.clone()].to_owned();
        assert_eq!(found(3).iter().map(text).collect::<Vec<_>>(), [r#"{"a": [1, 2]}"#, "3", r#""]""#]);
        assert_eq!(found(1).len(), 2, "one more tells that there are too many");
        let many = format!("[{}1]", "1,".repeat(10_000));
        assert_eq!(places(Cursor::new(many.as_bytes()), many.len(), 9).unwrap().len(), 10);
    }
}
