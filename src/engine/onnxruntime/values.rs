//! Reads shapes and numbers of ONNX Runtime's values, and turns its errors into ours.

use ort::ErrorCode;
use ort::value::{DynValue, Shape};

use crate::engine::faults;
use crate::error::{Error, Result};

/// The failure of a run, in words.
#[expect(clippy::needless_pass_by_value, reason = "the shape that map_err wants")]
pub(super) fn failed<R>(error: ort::Error<R>) -> Error {
    // Of everything else the library says that it is something else.
    let is_of_input = matches!(error.code(), ErrorCode::InvalidArgument | ErrorCode::GenericFailure);
    faults::running_with(error.message(), is_of_input)
}

/// The dimensions of a shape that a run has filled in.
pub(super) fn dims(shape: &Shape) -> Vec<usize> {
    shape.iter().map(|dim| usize::try_from(*dim).unwrap_or(0)).collect()
}

/// The shape and elements of a value of 32-bit floats.
pub(super) fn floats(value: &DynValue) -> Result<(Vec<usize>, &[f32])> {
    let (shape, elements) = value.try_extract_tensor::<f32>().map_err(failed)?;
    Ok((dims(shape), elements))
}
