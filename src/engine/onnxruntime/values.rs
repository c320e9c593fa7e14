//! Reads shapes and numbers of ONNX Runtime's values, and turns its errors into ours.

use ort::value::{DynValue, Shape};

use crate::error::{Error, Result};

/// The failure of a run, with the library's message for the log.
#[expect(clippy::needless_pass_by_value, reason = "the shape that map_err wants")]
pub(super) fn failed<R>(error: ort::Error<R>) -> Error {
    Error::internal("the model failed", error.message().to_owned())
}

/// Puts a message on one line and cuts out its middle if it is long: ONNX Runtime includes function
/// signatures and stack traces in some.
pub(super) fn brief(message: &str) -> String {
    const HALF: usize = 300;
    let line = message.split_whitespace().collect::<Vec<_>>().join(" ");
    let length = line.chars().count();
    if length <= 2 * HALF {
        return line;
    }
    let (head, tail) = (line.chars().take(HALF), line.chars().skip(length - HALF));
    head.chain(" … ".chars()).chain(tail).collect()
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

#[cfg(test)]
mod tests {
    use super::brief;

    #[test]
    fn a_long_message_keeps_its_ends() {
        assert_eq!(brief("a\n  b"), "a b");
        let long = brief(&format!("head {} tail", "ä".repeat(2000)));
        assert!(long.starts_with("head") && long.ends_with("tail") && long.chars().count() == 603, "{long}");
    }
}
