//! The answers to texts as one tensor, for the protocols that answer in tensors.

use crate::error::{Error, Result};
use crate::serving::Prediction;
use crate::tensor::{Data, Tensor};

/// Returns answers as a tensor: vectors `[texts, numbers]`, numbers `[texts, 1]`, or the spans of each text as JSON
/// `[texts]`.
///
/// # Errors
/// [`Error::Internal`] for answers of another kind.
pub(in crate::api) fn tensor_of(predictions: &[Prediction]) -> Result<Tensor> {
    let (mut numbers, mut texts) = (Vec::new(), Vec::new());
    for prediction in predictions {
        match prediction {
            Prediction::Embedded { embedding } => numbers.extend_from_slice(embedding),
            Prediction::Number { value } => numbers.push(value.to_f64() as f32),
            Prediction::Spans { spans } => texts.push(
                serde_json::to_string(spans)
                    .map_err(|error| Error::internal("the answer could not be written", error))?,
            ),
            _ => return Err(Error::internal("the answer could not be written", "an answer of another kind")),
        }
    }
    let count = predictions.len();
    if texts.len() == count {
        return Tensor::from_data(vec![count], Data::String(texts));
    }
    Tensor::new(vec![count, numbers.len() / count.max(1)], numbers)
}
