//! Reads shapes and numbers of ONNX Runtime's values, and turns its errors into ours.

use ort::ErrorCode;
use ort::value::{DynValue, Shape};

use crate::engine::{faults, guards};
use crate::error::{Error, Result};

/// A library that does not get this many bytes at once was asked for too much; one that does not get fewer is out of
/// memory.
const HUGE: u64 = 256 << 20;

/// Returns the bytes that the library did not get, if that is the reason of a failure.
fn asked_for(said: &str) -> Option<u64> {
    let (_, rest) = said.split_once("Failed to allocate memory for requested buffer of size ")?;
    rest.split(|character: char| !character.is_ascii_digit()).next()?.parse().ok()
}

/// The failure of a run, in words.
#[expect(clippy::needless_pass_by_value, reason = "the shape that map_err wants")]
pub(super) fn failed<R>(error: ort::Error<R>) -> Error {
    if let Some(words) = guards::words(error.message()) {
        return Error::InvalidInput(words.to_owned());
    }
    if let Some(bytes) = asked_for(error.message()).filter(|bytes| *bytes >= HUGE) {
        return Error::InvalidInput(format!(
            "the request asks the model for {bytes} bytes at once, and there is no such memory"
        ));
    }
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
