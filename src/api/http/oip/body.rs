//! The body of an inference request: JSON, and after it the bytes of binary tensors in their order.

use bytes::Bytes;

use super::elements;
use crate::api::json::{Cursor, Number};
use crate::api::oip::{
    Content, InferInput, InferRequest, MAX_RANK, MAX_TENSORS, Parameter, RegionSlice, RequestedOutput, element_count,
    parse_datatype, read_elements, read_strings,
};
use crate::error::{Error, Result};
use crate::ids::quote;
use crate::serving::Servable;
use crate::signature::{Batching, DType, Dim, TensorSpec};
use crate::tensor::Data;
use crate::transform::{ACCEPTED, foreign_kind, media_type};

/// A request, and the encoding of its answer.
#[derive(Debug)]
pub(super) struct InferBody {
    pub(super) request: InferRequest,
    /// The encoding of each output that is asked for: true for bytes.
    binary: Vec<Option<bool>>,
    /// The encoding of outputs that state none.
    binary_default: bool,
}

impl InferBody {
    /// Returns whether the output at a place in the answer is written in bytes.
    pub(super) fn is_binary(&self, place: usize) -> bool {
        self.binary.get(place).copied().flatten().unwrap_or(self.binary_default)
    }

    /// Reads a body whose first `json_bytes` bytes are JSON.
    ///
    /// # Errors
    /// [`Error::Malformed`] with the place and the fault, [`Error::InvalidInput`] for tensors that are not
    /// what they say.
    pub(super) fn read(body: &Bytes, json_bytes: Option<usize>, servable: &Servable) -> Result<Self> {
        let json_bytes = json_bytes.unwrap_or(body.len());
        if json_bytes > body.len() {
            return Err(Error::Malformed(format!(
                "the header inference-header-content-length says {json_bytes} bytes, the body has {}",
                body.len()
            )));
        }
        if json_bytes == 0 && !body.is_empty() {
            return raw(body, servable);
        }
        let outline = Outline::read(&body[..json_bytes])?;
        let takes_images = servable.image_transform().is_some();
        let mut rest = body.slice(json_bytes..);
        let lone = outline.inputs.len() == 1;
        let mut inputs = Vec::with_capacity(outline.inputs.len());
        for input in outline.inputs {
            let name = quote(&input.name);
            let at_input = |error: Error| match error {
                Error::InvalidInput(problem) => Error::InvalidInput(format!("input {name}: {problem}")),
                Error::Malformed(problem) => Error::Malformed(format!("input {name}: {problem}")),
                other => other,
            };
            inputs.push(input.complete(&mut rest, lone, takes_images).map_err(at_input)?);
        }
        if !rest.is_empty() {
            return Err(Error::Malformed(format!(
                "{} bytes are left over after the tensors of the inputs",
                rest.len()
            )));
        }
        let (outputs, binary) = outline.outputs.into_iter().unzip();
        let request = InferRequest { id: outline.id, inputs, outputs, parameters: outline.parameters };
        Ok(Self { request, binary, binary_default: outline.binary_default })
    }
}

/// The JSON part, with the elements still as text.
#[derive(Default)]
struct Outline<'a> {
    id: Option<String>,
    parameters: crate::api::oip::RequestParameters,
    binary_default: bool,
    inputs: Vec<InputOutline<'a>>,
    outputs: Vec<(RequestedOutput, Option<bool>)>,
}

struct InputOutline<'a> {
    name: String,
    datatype: DType,
    shape: Vec<usize>,
    data: Option<Cursor<'a>>,
    binary_bytes: Option<usize>,
    region: Option<RegionSlice>,
}

impl<'a> Outline<'a> {
    fn read(json: &'a [u8]) -> Result<Self> {
        let mut cursor = Cursor::with_words(json);
        let mut outline = Self::default();
        let mut has_inputs = false;
        let mut has_outputs = false;
        cursor.object(|cursor, key| {
            match key {
                "id" => once(outline.id.is_some(), key).and_then(|()| text(cursor).map(|id| outline.id = id)),
                "parameters" => parameters(cursor, |key, value| match key {
                    "binary_data_output" => value.boolean(key).map(|binary| outline.binary_default = binary),
                    _ => outline.parameters.set(key, &value),
                }),
                "inputs" => {
                    once(std::mem::replace(&mut has_inputs, true), key)?;
                    cursor.list(|cursor| {
                        bound(outline.inputs.len(), "inputs")?;
                        InputOutline::read(cursor).map(|input| outline.inputs.push(input))
                    })
                }
                "outputs" if cursor.null() => Ok(()),
                "outputs" => {
                    once(std::mem::replace(&mut has_outputs, true), key)?;
                    cursor.list(|cursor| {
                        bound(outline.outputs.len(), "outputs")?;
                        output(cursor).map(|output| outline.outputs.push(output))
                    })
                }
                // The protocol wants unknown keys to be ignored.
                _ => cursor.skip(),
            }
        })?;
        cursor.end()?;
        if has_inputs { Ok(outline) } else { Err(Error::Malformed("the request has no \"inputs\"".into())) }
    }
}

fn once(seen: bool, key: &str) -> Result<()> {
    if seen { Err(Error::Malformed(format!("\"{key}\" is given twice"))) } else { Ok(()) }
}

fn bound(count: usize, what: &str) -> Result<()> {
    if count < MAX_TENSORS {
        Ok(())
    } else {
        Err(Error::Malformed(format!("there are more than {MAX_TENSORS} {what}")))
    }
}

fn text(cursor: &mut Cursor<'_>) -> Result<Option<String>> {
    cursor.optional_string().map(|text| text.map(|text| text.into_owned()))
}

/// Hands over the parameters of an object; `null` stands for none.
fn parameters(cursor: &mut Cursor<'_>, mut take: impl FnMut(&str, Parameter) -> Result<()>) -> Result<()> {
    if cursor.null() {
        return Ok(());
    }
    cursor.object(|cursor, key| {
        let value = match cursor.peek() {
            Some(b'"') => Parameter::Text(cursor.string()?.into_owned()),
            Some(b't' | b'f') => Parameter::Bool(cursor.boolean()?),
            Some(b'n') if cursor.null() => return Ok(()),
            Some(b'{' | b'[') => return Err(cursor.mismatch("a string, a number, true or false as a parameter")),
            _ => number(&cursor.number()?),
        };
        take(key, value)
    })
}

fn number(number: &Number<'_>) -> Parameter {
    let whole = number.get().map(Parameter::Uint).or_else(|| number.get().map(Parameter::Int));
    whole.unwrap_or_else(|| Parameter::Double(number.nearest()))
}

/// The parameters of a tensor that are about shared memory.
#[derive(Default)]
struct RegionOutline {
    region: Option<String>,
    offset: usize,
    byte_size: Option<usize>,
}

impl RegionOutline {
    /// Sets a parameter. Returns false if it is about something else.
    fn set(&mut self, key: &str, value: &Parameter) -> Result<bool> {
        match key {
            "shared_memory_region" => self.region = Some(value.clone().text(key)?),
            "shared_memory_offset" => self.offset = value.size(key)?,
            "shared_memory_byte_size" => self.byte_size = Some(value.size(key)?),
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn slice(self) -> Result<Option<RegionSlice>> {
        match (self.region, self.byte_size) {
            (None, None) => Ok(None),
            (Some(region), Some(byte_size)) => Ok(Some(RegionSlice { region, offset: self.offset, byte_size })),
            _ => Err(Error::Malformed(
                "\"shared_memory_region\" and \"shared_memory_byte_size\" must be given together".into(),
            )),
        }
    }
}

fn output(cursor: &mut Cursor<'_>) -> Result<(RequestedOutput, Option<bool>)> {
    let (mut name, mut classification, mut binary) = (None, None, None);
    let mut region = RegionOutline::default();
    cursor.object(|cursor, key| match key {
        "name" => text(cursor).map(|text| name = text),
        "parameters" => parameters(cursor, |key, value| {
            match key {
                "binary_data" => binary = Some(value.boolean(key)?),
                "classification" => classification = Some(value.size(key)?).filter(|count| *count > 0),
                _ => drop(region.set(key, &value)?),
            }
            Ok(())
        }),
        _ => cursor.skip(),
    })?;
    let name = name.ok_or_else(|| Error::Malformed("an output has no \"name\"".into()))?;
    Ok((RequestedOutput { name, classification, region: region.slice()? }, binary))
}

impl<'a> InputOutline<'a> {
    fn read(cursor: &mut Cursor<'a>) -> Result<Self> {
        let (mut name, mut datatype, mut shape, mut data, mut binary_bytes) = (None, None, None, None, None);
        let mut region = RegionOutline::default();
        cursor.object(|cursor, key| match key {
            "name" => text(cursor).map(|text| name = text),
            "datatype" => text(cursor).map(|text| datatype = text),
            "shape" => dims(cursor).map(|dims| shape = Some(dims)),
            "data" => {
                once(data.is_some(), key)?;
                cursor.span().map(|span| data = Some(span))
            }
            "parameters" => parameters(cursor, |key, value| {
                match key {
                    "binary_data_size" => binary_bytes = Some(value.size(key)?),
                    _ => drop(region.set(key, &value)?),
                }
                Ok(())
            }),
            _ => cursor.skip(),
        })?;
        let missing = |what: &str| Error::Malformed(format!("an input has no \"{what}\""));
        Ok(Self {
            name: name.ok_or_else(|| missing("name"))?,
            datatype: parse_datatype(&datatype.ok_or_else(|| missing("datatype"))?)?,
            shape: shape.ok_or_else(|| missing("shape"))?,
            data,
            binary_bytes,
            region: region.slice()?,
        })
    }

    /// Returns the input with its elements, which may be the next of the bytes after the JSON.
    fn complete(self, rest: &mut Bytes, lone: bool, takes_images: bool) -> Result<InferInput> {
        let Self { name, datatype, shape, data, binary_bytes, region } = self;
        let count = element_count(&shape)?;
        let binary_bytes = match (&data, &region) {
            // The length of a lone input may follow from that of the body.
            (None, None) if lone && binary_bytes.is_none() && !rest.is_empty() => Some(rest.len()),
            _ => binary_bytes,
        };
        let content = match (data, binary_bytes, region) {
            (Some(text), None, None) => elements::read(text, datatype, count, takes_images)?,
            (None, Some(size), None) => {
                if size > rest.len() {
                    return Err(Error::Malformed(format!(
                        "\"binary_data_size\" is {size}, the body has {} bytes left",
                        rest.len()
                    )));
                }
                let bytes = rest.split_to(size);
                match datatype {
                    DType::String => Content::Strings(read_strings(count, &bytes)?),
                    dtype => Content::Elements(read_elements(dtype, count, &bytes)?),
                }
            }
            (None, None, Some(slice)) => Content::Region(slice),
            (None, None, None) => {
                return Err(Error::Malformed(
                    "it has none of \"data\", \"binary_data_size\" and \"shared_memory_region\"".into(),
                ));
            }
            _ => {
                return Err(Error::Malformed(
                    "\"data\", \"binary_data_size\" and \"shared_memory_region\" exclude each other".into(),
                ));
            }
        };
        Ok(InferInput { name, datatype, shape, content })
    }
}

fn dims(cursor: &mut Cursor<'_>) -> Result<Vec<usize>> {
    let mut dims = Vec::new();
    cursor.list(|cursor| {
        let number = cursor.number()?;
        let dim = number.get::<u64>().and_then(|dim| usize::try_from(dim).ok()).ok_or_else(|| {
            let got = quote(number.text());
            Error::Malformed(format!("a dimension must be a whole number of at least 0, got {got}"))
        })?;
        if dims.len() == MAX_RANK {
            return Err(Error::Malformed(format!("a shape has more than {MAX_RANK} dimensions")));
        }
        dims.push(dim);
        Ok(())
    })?;
    Ok(dims)
}

/// Reads a body without any JSON: the elements of a model's only input, or an image for a model that takes images.
/// All outputs are answered in bytes.
fn raw(body: &Bytes, servable: &Servable) -> Result<InferBody> {
    let Some(spec) = servable.named_inputs().only() else {
        let count = servable.signature().inputs.len();
        return Err(Error::InvalidInput(format!("a body without JSON needs a model of one input, this has {count}")));
    };
    let takes_images = servable.image_transform().is_some();
    let (shape, content) = if takes_images && media_type(body).is_some() {
        (vec![1], Content::Strings(vec![body.clone()]))
    } else if spec.dtype == DType::String {
        let shape: Vec<usize> = spec.shape.iter().map(|_| 1).collect();
        (shape, Content::Strings(vec![body.clone()]))
    } else {
        let shape = raw_shape(spec, servable.batching(), body.len()).map_err(|error| match foreign_kind(body) {
            Some(kind) if takes_images => Error::UnsupportedMedia(format!("this is {kind}; send {ACCEPTED}")),
            _ => error,
        })?;
        (shape, Content::Elements(Data::from_le_bytes(spec.dtype, body)))
    };
    let datatype = if matches!(content, Content::Strings(_)) { DType::String } else { spec.dtype };
    let inputs = vec![InferInput { name: spec.name.clone(), datatype, shape, content }];
    let request = InferRequest { inputs, ..InferRequest::default() };
    Ok(InferBody { request, binary: Vec::new(), binary_default: true })
}

/// Returns the shape of a tensor of so many bytes. One open dimension follows from their number; of two, the batch is
/// 1.
fn raw_shape(spec: &TensorSpec, batching: Batching, bytes: usize) -> Result<Vec<usize>> {
    let refuse = |why: &str| {
        let (name, shape, dtype) = (&spec.name, spec.shape_text(), spec.dtype);
        Err(Error::InvalidInput(format!(
            "{bytes} bytes are no tensor for input \"{name}\" ({shape} of {dtype}): {why}"
        )))
    };
    let open: Vec<usize> = (0..spec.shape.len()).filter(|axis| matches!(spec.shape[*axis], Dim::Symbol(_))).collect();
    let deduced = match open.as_slice() {
        [] => None,
        [axis] => Some(*axis),
        [0, axis] if batching == Batching::Any => Some(*axis),
        _ => return refuse("more than one dimension is open"),
    };
    let size = |dim: &Dim| if let Dim::Fixed(size) = dim { *size } else { 1 };
    let mut shape: Vec<usize> = spec.shape.iter().map(size).collect();
    let unit = element_count(&shape)?.checked_mul(spec.dtype.bytes().unwrap_or(1));
    let Some(unit) = unit.filter(|unit| *unit > 0 && bytes.is_multiple_of(*unit)) else {
        return refuse("their number does not fit");
    };
    match deduced {
        Some(axis) => shape[axis] = bytes / unit,
        None if bytes != unit => return refuse("their number does not fit"),
        None => {}
    }
    Ok(shape)
}
