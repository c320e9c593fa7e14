//! The examples of manifests and probe sets as requests.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;

use crate::error::Result;
use crate::repository::Example;
use crate::serving::servable::{Input, unusable};
use crate::signature::{Signature, TensorSpec};
use crate::tensor::Tensor;

/// Returns an example as the input of a request.
///
/// # Errors
/// [`crate::error::Error::Repository`] when it is damaged, or no sample of this graph.
pub(super) fn input(example: &Example, signature: &Signature) -> Result<Input> {
    let features = match example {
        Example::Image { png } => return Ok(Input::Images(vec![png_file(png)?])),
        Example::Text { text } => return Ok(Input::Texts(vec![text.clone().into()])),
        Example::Elements { values } => values,
    };
    let mut shape = signature.inputs.first().and_then(TensorSpec::sample_shape).unwrap_or_default();
    if shape.iter().product::<usize>() != features.len() {
        return Err(unusable(format!("an example has {} elements, a sample is {shape:?}", features.len())));
    }
    shape.insert(0, 1);
    let elements = features.iter().map(|element| element.unwrap_or(f32::NAN)).collect();
    Ok(Input::Tensors(vec![Tensor::new(shape, elements)?]))
}

/// Returns the bytes of a PNG file in base64.
///
/// # Errors
/// [`crate::error::Error::Repository`] when it is not base64.
pub(super) fn png_file(text: &str) -> Result<Bytes> {
    STANDARD.decode(text).map(Bytes::from).map_err(|error| unusable(format!("an image is not base64: {error}")))
}
