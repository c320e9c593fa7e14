//! Messages of the Open Inference Protocol → a request for the core.

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::api::grpc::pb::inference::infer_parameter::ParameterChoice;
use crate::api::grpc::pb::inference::model_infer_request::{InferInputTensor, InferRequestedOutputTensor};
use crate::api::grpc::pb::inference::{InferParameter, InferTensorContents, ModelInferRequest};
use crate::api::grpc::timeout::Deadline;
use crate::api::oip::{
    Content, InferInput, InferRequest, MAX_RANK, MAX_TENSORS, Parameter, RegionSlice, RequestParameters,
    RequestedOutput, element_count, parse_datatype, read_elements, read_strings,
};
use crate::error::{Error, Result};
use crate::ids::quote;
use crate::signature::DType;
use crate::tensor::Data;

type Parameters = BTreeMap<String, InferParameter>;

/// The request that a message states.
///
/// # Errors
/// [`Error::Malformed`] or [`Error::InvalidInput`], naming the input, output or parameter.
pub(super) fn parse(message: ModelInferRequest, deadline: Option<Deadline>) -> Result<InferRequest> {
    for (what, count) in [("inputs", message.inputs.len()), ("outputs", message.outputs.len())] {
        if count > MAX_TENSORS {
            return Err(Error::Malformed(format!("the request has {count} {what}, the limit is {MAX_TENSORS}")));
        }
    }
    let mut parameters = RequestParameters::default();
    for (key, value) in &message.parameters {
        parameters.set(key, &parameter(key, value)?)?;
    }
    if let Some(deadline) = deadline {
        parameters.limit(deadline.left());
    }
    let outputs = message.outputs.into_iter().map(output).collect::<Result<_>>()?;
    let inputs = inputs(message.inputs, message.raw_input_contents)?;
    let id = (!message.id.is_empty()).then_some(message.id);
    Ok(InferRequest { id, inputs, outputs, parameters })
}

/// All inputs in `raw`, in their order but for those in shared memory, or all in messages of their own.
fn inputs(messages: Vec<InferInputTensor>, raw: Vec<Bytes>) -> Result<Vec<InferInput>> {
    let (is_raw, count) = (!raw.is_empty(), raw.len());
    let mut raw = raw.into_iter();
    let mut inputs = Vec::with_capacity(messages.len());
    for message in messages {
        let name = quote(&message.name);
        let at_input = |error: Error| match error {
            Error::InvalidInput(problem) => Error::InvalidInput(format!("input {name}: {problem}")),
            Error::Malformed(problem) => Error::Malformed(format!("input {name}: {problem}")),
            other => other,
        };
        let datatype = parse_datatype(&message.datatype).map_err(at_input)?;
        let shape = shape(&message.shape).map_err(at_input)?;
        let content = match region(&message.parameters).map_err(at_input)? {
            Some(_) if message.contents.is_some() => {
                return Err(Error::Malformed(format!("input {name} is in shared memory and in \"contents\"")));
            }
            Some(slice) => Content::Region(slice),
            None if is_raw && message.contents.is_some() => {
                return Err(Error::Malformed(format!(
                    "input {name} has \"contents\" although the request has \"raw_input_contents\": they cannot be mixed"
                )));
            }
            None if is_raw => match raw.next() {
                Some(bytes) => raw_content(datatype, &shape, &bytes).map_err(at_input)?,
                None => return Err(Error::Malformed(format!("input {name} is missing in \"raw_input_contents\""))),
            },
            None => typed_content(datatype, message.contents.unwrap_or_default()).map_err(at_input)?,
        };
        inputs.push(InferInput { name: message.name, datatype, shape, content });
    }
    if raw.len() > 0 {
        let expected = count - raw.len();
        return Err(Error::Malformed(format!("\"raw_input_contents\" has {count} entries, expected {expected}")));
    }
    Ok(inputs)
}

fn shape(dims: &[i64]) -> Result<Vec<usize>> {
    if dims.len() > MAX_RANK {
        return Err(Error::Malformed(format!("a shape has at most {MAX_RANK} dimensions, got {}", dims.len())));
    }
    let dim = |dim: &i64| {
        usize::try_from(*dim).map_err(|_| Error::InvalidInput(format!("a dimension cannot be negative, got {dim}")))
    };
    dims.iter().map(dim).collect()
}

fn raw_content(datatype: DType, shape: &[usize], bytes: &Bytes) -> Result<Content> {
    let count = element_count(shape)?;
    match datatype {
        DType::String => Ok(Content::Strings(read_strings(count, bytes)?)),
        dtype => Ok(Content::Elements(read_elements(dtype, count, bytes)?)),
    }
}

/// The elements in the one field that is meant for their type.
fn typed_content(datatype: DType, contents: InferTensorContents) -> Result<Content> {
    let field = |field: &str| {
        let name = crate::api::oip::datatype(datatype);
        Error::Malformed(format!("elements of {name} belong into \"{field}\" and nowhere else in \"contents\""))
    };
    let InferTensorContents {
        bool_contents,
        int_contents,
        int64_contents,
        uint_contents,
        uint64_contents,
        fp32_contents,
        fp64_contents,
        bytes_contents,
    } = contents;
    let filled = [
        ("bool_contents", bool_contents.is_empty()),
        ("int_contents", int_contents.is_empty()),
        ("int64_contents", int64_contents.is_empty()),
        ("uint_contents", uint_contents.is_empty()),
        ("uint64_contents", uint64_contents.is_empty()),
        ("fp32_contents", fp32_contents.is_empty()),
        ("fp64_contents", fp64_contents.is_empty()),
        ("bytes_contents", bytes_contents.is_empty()),
    ];
    let meant = match datatype {
        DType::Bool => "bool_contents",
        DType::Int8 | DType::Int16 | DType::Int32 => "int_contents",
        DType::Int64 => "int64_contents",
        DType::Uint8 | DType::Uint16 | DType::Uint32 => "uint_contents",
        DType::Uint64 => "uint64_contents",
        DType::Float32 => "fp32_contents",
        DType::Float64 => "fp64_contents",
        DType::String => "bytes_contents",
        DType::Float16 | DType::Bfloat16 => {
            let name = crate::api::oip::datatype(datatype);
            return Err(Error::Malformed(format!(
                "elements of {name} have no field in \"contents\": send them as \"raw_input_contents\""
            )));
        }
    };
    if filled.iter().any(|(name, is_empty)| !is_empty && *name != meant) {
        return Err(field(meant));
    }
    Ok(Content::Elements(match datatype {
        DType::Bool => Data::Bool(bool_contents),
        DType::Int8 => Data::Int8(narrowed(int_contents)?),
        DType::Int16 => Data::Int16(narrowed(int_contents)?),
        DType::Int32 => Data::Int32(int_contents),
        DType::Int64 => Data::Int64(int64_contents),
        DType::Uint8 => Data::Uint8(narrowed(uint_contents)?),
        DType::Uint16 => Data::Uint16(narrowed(uint_contents)?),
        DType::Uint32 => Data::Uint32(uint_contents),
        DType::Uint64 => Data::Uint64(uint64_contents),
        DType::Float32 => Data::Float32(fp32_contents),
        DType::Float64 => Data::Float64(fp64_contents),
        DType::Float16 | DType::Bfloat16 | DType::String => return Ok(Content::Strings(bytes_contents)),
    }))
}

fn narrowed<T: Copy + std::fmt::Display, N: TryFrom<T>>(wide: Vec<T>) -> Result<Vec<N>> {
    let narrow = |(index, element): (usize, T)| {
        N::try_from(element)
            .map_err(|_| Error::InvalidInput(format!("element {index} is out of the range of its type: {element}")))
    };
    wide.into_iter().enumerate().map(narrow).collect()
}

fn output(message: InferRequestedOutputTensor) -> Result<RequestedOutput> {
    let name = quote(&message.name);
    let at_output = |error: Error| match error {
        Error::Malformed(problem) => Error::Malformed(format!("output {name}: {problem}")),
        other => other,
    };
    let classification = match message.parameters.get("classification") {
        Some(value) => Some(parameter("classification", value)?.size("classification").map_err(at_output)?),
        None => None,
    };
    let region = region(&message.parameters).map_err(at_output)?;
    // None at all is how clients say that they want the tensor itself.
    let classification = classification.filter(|count| *count > 0);
    Ok(RequestedOutput { name: message.name, classification, region })
}

/// The shared memory that the parameters of a tensor name.
fn region(parameters: &Parameters) -> Result<Option<RegionSlice>> {
    let size = |key: &str| -> Result<Option<usize>> {
        parameters.get(key).map(|value| parameter(key, value)?.size(key)).transpose()
    };
    let Some(value) = parameters.get("shared_memory_region") else { return Ok(None) };
    let region = parameter("shared_memory_region", value)?.text("shared_memory_region")?;
    let byte_size = size("shared_memory_byte_size")?.ok_or_else(|| {
        Error::Malformed("\"shared_memory_region\" needs \"shared_memory_byte_size\" beside it".into())
    })?;
    let offset = size("shared_memory_offset")?.unwrap_or(0);
    Ok(Some(RegionSlice { region, offset, byte_size }))
}

fn parameter(key: &str, value: &InferParameter) -> Result<Parameter> {
    match &value.parameter_choice {
        Some(ParameterChoice::BoolParam(value)) => Ok(Parameter::Bool(*value)),
        Some(ParameterChoice::Int64Param(value)) => Ok(Parameter::Int(*value)),
        Some(ParameterChoice::Uint64Param(value)) => Ok(Parameter::Uint(*value)),
        Some(ParameterChoice::DoubleParam(value)) => Ok(Parameter::Double(*value)),
        Some(ParameterChoice::StringParam(value)) => Ok(Parameter::Text(value.clone())),
        None => Err(Error::Malformed(format!("the parameter {} has no value", quote(key)))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn input(datatype: &str, shape: &[i64], contents: Option<InferTensorContents>) -> InferInputTensor {
        InferInputTensor {
            name: "x".into(),
            datatype: datatype.into(),
            shape: shape.into(),
            contents,
            ..Default::default()
        }
    }

    fn parsed(inputs: Vec<InferInputTensor>, raw: Vec<&'static [u8]>) -> Result<InferRequest> {
        let raw_input_contents = raw.into_iter().map(Bytes::from_static).collect();
        parse(ModelInferRequest { inputs, raw_input_contents, ..Default::default() }, None)
    }

    #[test]
    fn elements_come_raw_or_typed_and_never_both() {
        let fp32 = InferTensorContents { fp32_contents: vec![1.0], ..Default::default() };
        assert!(parsed(vec![input("FP32", &[1], None)], vec![&[0, 0, 0x80, 0x3f]]).is_ok());
        assert!(parsed(vec![input("FP32", &[1], Some(fp32.clone()))], vec![]).is_ok());
        for (inputs, raw) in [
            (vec![input("FP32", &[1], Some(fp32.clone()))], vec![&[0u8, 0, 0x80, 0x3f][..]]),
            (vec![input("FP32", &[1], None)], vec![&[0; 4], &[0; 4]]),
            (vec![input("FP32", &[1], None), input("FP32", &[1], None)], vec![&[0; 4]]),
            (vec![input("FP32", &[2], None)], vec![&[0; 4]]),
            (vec![input("FP32", &[-1], None)], vec![&[0; 4]]),
            (vec![input("FP32", &[1 << 60, 1 << 60], None)], vec![&[0; 4]]),
            (vec![input("INT32", &[1], Some(fp32.clone()))], vec![]),
            (vec![input("FP16", &[1], Some(fp32.clone()))], vec![]),
            (vec![input("BYTES", &[1], None)], vec![b"\x05\0\0\0abc"]),
        ] {
            assert!(parsed(inputs.clone(), raw.clone()).is_err(), "{inputs:?} {raw:?}");
        }
    }

    #[test]
    fn narrow_integers_are_checked() {
        let ints = |numbers: &[i32]| InferTensorContents { int_contents: numbers.into(), ..Default::default() };
        let read = |contents| parsed(vec![input("INT8", &[2], Some(contents))], vec![]);
        let request = read(ints(&[-128, 127])).unwrap();
        assert!(
            matches!(&request.inputs[0].content, Content::Elements(Data::Int8(elements)) if elements == &[-128, 127])
        );
        assert!(read(ints(&[0, 128])).unwrap_err().to_string().contains("128"));
    }

    #[test]
    fn parameters_of_outputs_are_understood() {
        let value = |choice| InferParameter { parameter_choice: Some(choice) };
        let parameters = [
            ("classification".to_owned(), value(ParameterChoice::Int64Param(3))),
            ("shared_memory_region".to_owned(), value(ParameterChoice::StringParam("r".into()))),
            ("shared_memory_byte_size".to_owned(), value(ParameterChoice::Int64Param(64))),
        ];
        let parse = |parameters: Parameters| output(InferRequestedOutputTensor { name: "y".into(), parameters });
        let asked = parse(parameters.clone().into()).unwrap();
        assert_eq!(asked.classification, Some(3));
        assert_eq!(asked.region, Some(RegionSlice { region: "r".into(), offset: 0, byte_size: 64 }));
        let [_, region, _] = parameters.clone();
        assert!(parse([region].into()).is_err(), "no size");
        assert!(parse([("classification".to_owned(), value(ParameterChoice::Int64Param(-1)))].into()).is_err());
        assert!(parse([("classification".to_owned(), InferParameter::default())].into()).is_err());
    }
}
