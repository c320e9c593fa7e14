//! A request, parsed; and what it means for a model.

use bytes::Bytes;

use super::binary::{byte_size, element_count, read_elements, read_strings};
use super::datatype::datatype;
use super::input::{Content, InferInput};
use super::parameters::RequestParameters;
use super::texts::{SentTexts, is_texts};
use crate::api::shared_memory::{RegionSlice, Regions};
use crate::error::{Error, Result};
use crate::ids::quote;
use crate::serving::{Input, Servable};
use crate::signature::{DType, TensorSpec};
use crate::tensor::{Data, Tensor};

/// Inputs or outputs that a request may name; a model of more than that is not known to exist.
pub(crate) const MAX_TENSORS: usize = 1024;

/// The most dimensions of a tensor.
pub(crate) const MAX_RANK: usize = 32;

/// The place of the input that images can stand for.
const IMAGE: usize = 0;

/// A request for an inference.
#[derive(Debug, Default)]
pub(crate) struct InferRequest {
    /// The caller's name for it; the answer repeats it.
    pub(crate) id: Option<String>,
    /// In any order.
    pub(crate) inputs: Vec<InferInput>,
    /// Which outputs to answer with; none for all of them.
    pub(crate) outputs: Vec<RequestedOutput>,
    /// Priority and time.
    pub(crate) parameters: RequestParameters,
}

/// One output that is asked for.
#[derive(Debug, Default)]
pub(crate) struct RequestedOutput {
    /// Its name in the graph.
    pub(crate) name: String,
    /// Answer with this many classes of each sample in place of the elements.
    pub(crate) classification: Option<usize>,
    /// Leave the bytes in shared memory.
    pub(crate) region: Option<RegionSlice>,
}

impl InferRequest {
    /// Returns true if it reads or writes shared memory.
    pub(crate) fn uses_shared_memory(&self) -> bool {
        self.inputs.iter().any(|input| matches!(input.content, Content::Region(_)))
            || self.outputs.iter().any(|output| output.region.is_some())
    }
}

/// The inputs in the order of the signature, followed by the optional ones if the request brings any.
///
/// # Errors
/// [`Error::InvalidInput`] naming the input and what is wrong with it.
pub(super) fn into_input(servable: &Servable, inputs: Vec<InferInput>, regions: &Regions) -> Result<Input> {
    let named = servable.named_inputs();
    let mut ordered: Vec<Option<Tensor>> = named.specs().iter().map(|_| None).collect();
    let (mut images, mut texts) = (None, SentTexts::default());
    for input in inputs {
        let name = quote(&input.name);
        let at_input = |error: Error| match error {
            Error::InvalidInput(problem) => Error::InvalidInput(format!("input {name}: {problem}")),
            other => other,
        };
        if is_texts(servable, &input.name, input.datatype) {
            let input = input.read(regions).map_err(at_input)?;
            texts.take(&input).map_err(at_input)?;
            continue;
        }
        let Some(index) = named.position(&input.name) else {
            let (model, listed) = (&servable.name, named.listed());
            return Err(Error::InvalidInput(format!("model \"{model}\" has no input {name}; it {listed}")));
        };
        let is_given = ordered[index].is_some() || (index == IMAGE && images.is_some());
        if is_given {
            return Err(Error::InvalidInput(format!("the input {name} is given twice")));
        }
        let input = input.read(regions).map_err(at_input)?;
        if index == IMAGE
            && let Some(files) = images_of(servable, &input).map_err(at_input)?
        {
            images = Some(files);
            continue;
        }
        ordered[index] = Some(input.into_tensor(named.specs()[index]).map_err(at_input)?);
    }
    if let Some(input) = texts.into_input()? {
        return named.texts_alone(input, &ordered);
    }
    match images {
        Some(images) => named.images_alone(images, &ordered),
        None => named.arranged(ordered).map(Input::Tensors),
    }
}

/// Encoded images, if that is what the input holds: a model with an image transform has one input, of
/// numbers, so that BYTES can mean nothing else.
fn images_of(servable: &Servable, input: &InferInput) -> Result<Option<Vec<Bytes>>> {
    let Content::Strings(images) = &input.content else { return Ok(None) };
    if servable.image_transform().is_none() {
        return Ok(None);
    }
    match input.shape.as_slice() {
        [_] | [_, 1] => Ok(Some(images.clone())),
        shape => Err(Error::InvalidInput(format!(
            "encoded images must be of shape [number of images], or that and 1; got {shape:?}"
        ))),
    }
}

impl InferInput {
    /// Takes the elements out of shared memory, if they are there.
    fn read(mut self, regions: &Regions) -> Result<Self> {
        if let Content::Region(slice) = &self.content {
            let count = element_count(&self.shape)?;
            let bytes = regions.read(slice)?;
            self.content = match self.datatype {
                DType::String => Content::Strings(read_strings(count, &Bytes::from(bytes))?),
                dtype => Content::Elements(read_elements(dtype, count, &bytes)?),
            };
        }
        Ok(self)
    }

    fn into_tensor(self, spec: &TensorSpec) -> Result<Tensor> {
        if self.datatype != spec.dtype {
            let (expected, got) = (datatype(spec.dtype), datatype(self.datatype));
            return Err(Error::InvalidInput(format!("the model expects {expected}, got {got}")));
        }
        let data = match self.content {
            Content::Elements(data) => data,
            Content::Strings(elements) => {
                let text = |(index, bytes): (usize, &Bytes)| {
                    std::str::from_utf8(bytes)
                        .map(str::to_owned)
                        .map_err(|_| Error::InvalidInput(format!("element {index} must be text in UTF-8")))
                };
                Data::String(elements.iter().enumerate().map(text).collect::<Result<_>>()?)
            }
            Content::Region(_) => return Err(Error::InvalidInput("its shared memory was not read".into())),
        };
        Tensor::from_data(self.shape, data)
    }
}

/// The bytes that an output takes in shared memory must have room there.
pub(super) fn check_room(name: &str, data: &Data, slice: &RegionSlice) -> Result<()> {
    let needed = byte_size(data);
    if needed > slice.byte_size {
        return Err(Error::InvalidInput(format!(
            "output \"{name}\" takes {needed} bytes, its part of the shared memory has {}",
            slice.byte_size
        )));
    }
    Ok(())
}
