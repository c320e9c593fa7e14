//! Examples, the input of classify and regress: for each sample the features by name, each a flat list.

use std::collections::BTreeMap;

use bytes::Bytes;
use half::{bf16, f16};

use crate::api::json::{PAIR_KEY, TEXT_KEY};
use crate::error::{Error, Result};
use crate::ids::quote;
use crate::serving::{Input, NamedInputs};
use crate::signature::{Batching, Dim, TensorSpec, shape_text};
use crate::tensor::{Data, Tensor};
use crate::transform::text::Text;

/// The values of one feature.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Feature {
    /// Strings, or an encoded image.
    Bytes(Vec<Bytes>),
    /// Floating-point numbers.
    Floats(Vec<f32>),
    /// Whole numbers.
    Integers(Vec<i64>),
}

/// The features of one sample, by name.
pub(crate) type Example = BTreeMap<String, Feature>;

impl Feature {
    fn len(&self) -> usize {
        match self {
            Self::Bytes(values) => values.len(),
            Self::Floats(values) => values.len(),
            Self::Integers(values) => values.len(),
        }
    }

    fn kind(&self) -> &'static str {
        match self {
            Self::Bytes(_) => "bytes",
            Self::Floats(_) => "float",
            Self::Integers(_) => "int64",
        }
    }
}

/// The input of a model: each input is the feature of its name, of the example or else of the context
/// that all examples share. A model that takes images takes bytes as one.
///
/// # Errors
/// [`Error::InvalidInput`] naming the feature, what it should be and what it is.
pub(crate) fn examples_into_input(
    names: &NamedInputs<'_>,
    takes_images: bool,
    examples: &[Example],
    context: &Example,
) -> Result<Input> {
    if examples.is_empty() {
        return Err(Error::InvalidInput("Input is empty.".into()));
    }
    let is_whole = names.batching() == Batching::Whole;
    if is_whole && examples.len() != 1 {
        let count = examples.len();
        return Err(Error::InvalidInput(format!(
            "the model has no batch dimension: expected one example, got {count}"
        )));
    }
    let found = |index: usize, spec: &TensorSpec| examples[index].get(&spec.name).or_else(|| context.get(&spec.name));
    let feature = |index: usize, spec: &TensorSpec| {
        found(index, spec).ok_or_else(|| {
            Error::InvalidInput(format!(
                "Feature: {} (data type: {}) is required but could not be found in example {index}",
                spec.name, spec.dtype
            ))
        })
    };
    if let (Some(input), true) = (names.only(), takes_images)
        && let Feature::Bytes(_) = feature(0, input)?
    {
        let image = |index: usize| match feature(index, input)? {
            Feature::Bytes(values) if values.len() == 1 => Ok(values[0].clone()),
            _ => Err(Error::InvalidInput(format!(
                "Feature: {} of example {index} is not one image, as in the first example",
                input.name
            ))),
        };
        let images = (0..examples.len()).map(image).collect::<Result<_>>()?;
        return Ok(Input::Images(images));
    }
    let tensor = |(place, spec): (usize, &&TensorSpec)| {
        let is_brought = |index: usize| found(index, spec).is_some();
        if place >= names.required() && !(0..examples.len()).any(is_brought) {
            return Ok(None);
        }
        let is_shared = names.is_shared(place);
        let dims = if is_whole || is_shared { spec.shape.as_slice() } else { spec.sample_dims() };
        let first = feature(0, spec)?;
        let sample = sizes(spec, dims, first.len())?;
        let mut data = Data::with_capacity(spec.dtype, 0);
        for index in 0..examples.len() {
            let feature = feature(index, spec)?;
            if feature.len() != first.len() {
                return Err(misfit(spec, dims, feature.len()));
            }
            if is_shared && index > 0 {
                if feature != first {
                    let name = &spec.name;
                    let problem = "is one value for the whole request, but examples give different ones";
                    return Err(Error::InvalidInput(format!("Feature: {name} {problem}")));
                }
                continue;
            }
            append(&mut data, feature, spec)?;
        }
        let batch = (!is_whole && !is_shared).then_some(examples.len());
        Tensor::from_data(batch.into_iter().chain(sample).collect(), data).map(Some)
    };
    let tensors = names.specs().iter().enumerate().map(tensor).collect::<Result<_>>()?;
    names.arranged(tensors).map(Input::Tensors)
}

/// The texts of examples, if they have the feature `text`, with `pair` beside it or without: the input of a model that takes
/// texts.
///
/// # Errors
/// [`Error::InvalidInput`] naming the example that has no text.
pub(crate) fn examples_into_texts(examples: &[Example], context: &Example) -> Result<Option<Input>> {
    let found = |index: usize, name: &str| examples[index].get(name).or_else(|| context.get(name));
    if examples.is_empty() || found(0, TEXT_KEY).is_none() {
        return Ok(None);
    }
    let text = |index: usize, name: &str| -> Result<Option<String>> {
        let fault = |problem: &str| Error::InvalidInput(format!("Feature: {name} of example {index} {problem}"));
        match found(index, name) {
            None => Ok(None),
            Some(Feature::Bytes(values)) if values.len() == 1 => {
                let text = std::str::from_utf8(&values[0]).map_err(|_| fault("is not text in UTF-8"))?;
                Ok(Some(text.to_owned()))
            }
            Some(_) => Err(fault("is not one text")),
        }
    };
    let sample = |index: usize| {
        let missing = || Error::InvalidInput(format!("Feature: text could not be found in example {index}"));
        Ok(Text { text: text(index, TEXT_KEY)?.ok_or_else(missing)?, pair: text(index, PAIR_KEY)? })
    };
    (0..examples.len()).map(sample).collect::<Result<_>>().map(|texts| Some(Input::Texts(texts)))
}

/// The shape of a sample of so many elements: at most one dimension may be open.
fn sizes(spec: &TensorSpec, dims: &[Dim], count: usize) -> Result<Vec<usize>> {
    let mut sizes: Vec<usize> = dims.iter().map(|dim| if let Dim::Fixed(size) = dim { *size } else { 1 }).collect();
    let fixed = sizes.iter().try_fold(1usize, |product, size| product.checked_mul(*size));
    let open: Vec<usize> = (0..dims.len()).filter(|index| matches!(dims[*index], Dim::Symbol(_))).collect();
    match (fixed, open.as_slice()) {
        (Some(fixed), []) if fixed == count => Ok(sizes),
        (Some(fixed), [open]) if fixed > 0 && count.is_multiple_of(fixed) => {
            sizes[*open] = count / fixed;
            Ok(sizes)
        }
        _ => Err(misfit(spec, dims, count)),
    }
}

fn misfit(spec: &TensorSpec, dims: &[Dim], count: usize) -> Error {
    Error::InvalidInput(format!(
        "Feature: {} is a flat list of the shape {}; got {count} values",
        spec.name,
        shape_text(dims)
    ))
}

fn append(data: &mut Data, feature: &Feature, spec: &TensorSpec) -> Result<()> {
    let no_match = || {
        Error::InvalidInput(format!(
            "Feature: {}. Data types don't match. Expected type: {} but got: {}",
            spec.name,
            spec.dtype,
            feature.kind()
        ))
    };
    match (data, feature) {
        (Data::Float32(elements), Feature::Floats(values)) => elements.extend_from_slice(values),
        (Data::Float64(elements), Feature::Floats(values)) => elements.extend(values.iter().copied().map(f64::from)),
        (Data::Float16(elements), Feature::Floats(values)) => {
            elements.extend(values.iter().copied().map(f16::from_f32));
        }
        (Data::Bfloat16(elements), Feature::Floats(values)) => {
            elements.extend(values.iter().copied().map(bf16::from_f32));
        }
        (Data::Float32(elements), Feature::Integers(values)) => {
            elements.extend(values.iter().map(|value| *value as f32))
        }
        (Data::Float64(elements), Feature::Integers(values)) => {
            elements.extend(values.iter().map(|value| *value as f64))
        }
        (Data::Float16(elements), Feature::Integers(values)) => {
            elements.extend(values.iter().map(|value| f16::from_f64(*value as f64)));
        }
        (Data::Bfloat16(elements), Feature::Integers(values)) => {
            elements.extend(values.iter().map(|value| bf16::from_f64(*value as f64)));
        }
        (Data::Bool(elements), Feature::Integers(values)) if values.iter().all(|value| matches!(value, 0 | 1)) => {
            elements.extend(values.iter().map(|value| *value == 1));
        }
        (Data::Int8(elements), Feature::Integers(values)) => append_whole(elements, values, spec)?,
        (Data::Int16(elements), Feature::Integers(values)) => append_whole(elements, values, spec)?,
        (Data::Int32(elements), Feature::Integers(values)) => append_whole(elements, values, spec)?,
        (Data::Int64(elements), Feature::Integers(values)) => elements.extend_from_slice(values),
        (Data::Uint8(elements), Feature::Integers(values)) => append_whole(elements, values, spec)?,
        (Data::Uint16(elements), Feature::Integers(values)) => append_whole(elements, values, spec)?,
        (Data::Uint32(elements), Feature::Integers(values)) => append_whole(elements, values, spec)?,
        (Data::Uint64(elements), Feature::Integers(values)) => append_whole(elements, values, spec)?,
        (Data::String(elements), Feature::Bytes(values)) => append_texts(elements, values, spec)?,
        _ => return Err(no_match()),
    }
    Ok(())
}

/// Appends whole numbers, each of which must fit the type.
fn append_whole<T: TryFrom<i64>>(elements: &mut Vec<T>, values: &[i64], spec: &TensorSpec) -> Result<()> {
    for value in values {
        let narrow = T::try_from(*value).map_err(|_| {
            Error::InvalidInput(format!("Feature: {}: {value} does not fit the type {}", spec.name, spec.dtype))
        })?;
        elements.push(narrow);
    }
    Ok(())
}

fn append_texts(elements: &mut Vec<String>, values: &[Bytes], spec: &TensorSpec) -> Result<()> {
    for value in values {
        let text = std::str::from_utf8(value).map_err(|_| {
            Error::InvalidInput(format!("Feature: {} holds bytes that are not text in UTF-8", quote(&spec.name)))
        })?;
        elements.push(text.to_owned());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::signature::{DType, Signature};

    fn signature(inputs: &[(&str, DType, &[&str])]) -> Signature {
        let spec = |(name, dtype, dims): &(&str, DType, &[&str])| TensorSpec {
            name: (*name).into(),
            dtype: *dtype,
            shape: dims.iter().map(|dim| dim.parse().map_or_else(|_| Dim::Symbol((*dim).into()), Dim::Fixed)).collect(),
        };
        let inputs: Vec<TensorSpec> = inputs.iter().map(spec).collect();
        Signature { outputs: vec![spec(&("y", DType::Float32, &["N"]))], inputs }
    }

    fn into_input(signature: &Signature, images: bool, examples: &[Example], context: &Example) -> Result<Input> {
        let names = NamedInputs::new(signature, signature.inputs.len(), &[]);
        examples_into_input(&names, images, examples, context)
    }

    fn example(features: &[(&str, Feature)]) -> Example {
        features.iter().map(|(name, feature)| ((*name).to_owned(), feature.clone())).collect()
    }

    fn tensors(input: Result<Input>) -> Vec<Tensor> {
        match input.unwrap() {
            Input::Tensors(tensors) => tensors,
            Input::Images(_) | Input::Texts(_) => panic!("no tensors"),
        }
    }

    #[test]
    fn features_become_rows_and_the_context_fills_the_gaps() {
        let signature = signature(&[("a", DType::Float32, &["N", "2", "1"]), ("b", DType::Uint8, &["N", "L"])]);
        let examples = [
            example(&[("a", Feature::Floats(vec![1.0, 2.0])), ("b", Feature::Integers(vec![3, 4, 5]))]),
            example(&[("a", Feature::Integers(vec![6, 7])), ("other", Feature::Bytes(vec![]))]),
        ];
        let context = example(&[("b", Feature::Integers(vec![8, 9, 10]))]);
        let input = tensors(into_input(&signature, false, &examples, &context));
        assert_eq!((input[0].shape(), input[0].floats().unwrap()), (&[2, 2, 1][..], &[1.0, 2.0, 6.0, 7.0][..]));
        assert_eq!((input[1].shape(), input[1].data()), (&[2, 3][..], &Data::Uint8(vec![3, 4, 5, 8, 9, 10])));
    }

    #[test]
    fn bytes_are_an_image_where_images_are_taken_and_text_where_text_is() {
        let image = signature(&[("x", DType::Float32, &["N", "4"])]);
        let bytes = |bytes: &'static [u8]| example(&[("x", Feature::Bytes(vec![Bytes::from_static(bytes)]))]);
        let none = Example::new();
        let input = into_input(&image, true, &[bytes(b"\xff"), bytes(b"p")], &none).unwrap();
        assert!(matches!(input, Input::Images(images) if images == [&b"\xff"[..], b"p"]));
        assert!(into_input(&image, false, &[bytes(b"p")], &none).is_err());
        let mixed = [bytes(b"p"), example(&[("x", Feature::Floats(vec![0.0; 4]))])];
        assert!(into_input(&image, true, &mixed, &none).is_err());
        let text = signature(&[("x", DType::String, &["N", "1"])]);
        let input = tensors(into_input(&text, false, &[bytes(b"p")], &none));
        assert_eq!(input[0].data(), &Data::String(vec!["p".into()]));
        assert!(into_input(&text, false, &[bytes(b"\xff")], &none).is_err());
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let float = signature(&[("x", DType::Float32, &["N", "2"])]);
        let byte = signature(&[("x", DType::Int8, &["N", "1"])]);
        let open = signature(&[("x", DType::Float32, &["N", "A", "B"])]);
        let lone = signature(&[("x", DType::Float32, &[])]);
        let floats = |count: usize| example(&[("x", Feature::Floats(vec![0.0; count]))]);
        let integer = |value| example(&[("x", Feature::Integers(vec![value]))]);
        let refused = |signature: &Signature, examples: &[Example]| {
            into_input(signature, false, examples, &Example::new()).is_err()
        };
        assert!(refused(&float, &[]) && refused(&float, &[Example::new()]));
        assert!(refused(&float, &[floats(3)]) && refused(&float, &[floats(2), floats(3)]));
        assert!(refused(&byte, &[integer(128)]) && refused(&byte, &[floats(1)]));
        assert!(refused(&open, &[floats(4)]));
        assert!(refused(&lone, &[floats(1), floats(1)]) && !refused(&lone, &[floats(1)]));
    }
}
