//! Which output classify and regress answer with, and what they make of it.

use std::borrow::Cow;

use crate::api::tfs::PREDICT_METHOD;
use crate::error::{Error, Result};
use crate::serving::Servable;
use crate::signature::{Batching, Dim, Signature, TensorSpec};
use crate::tensor::{Data, Tensor};
use crate::transform::Squash;

/// A class and its score.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Class<'a> {
    /// Its label, or its index where classes have no names.
    pub(crate) label: Cow<'a, str>,
    /// Its probability.
    pub(crate) score: f32,
}

/// The output that holds the scores of classes, and what makes confidences of them.
///
/// # Errors
/// [`Error::InvalidInput`] for a model that does not classify.
pub(crate) fn classification_output(servable: &Servable) -> Result<(usize, Squash)> {
    servable.scored_output().ok_or_else(|| {
        Error::InvalidInput(format!(
            "Expected classification signature method_name to be tensorflow/serving/classify. Was: {PREDICT_METHOD} (the model has no output transform that classifies)"
        ))
    })
}

/// The classes of each sample, in the order of their index.
///
/// # Errors
/// [`Error::InvalidInput`] when the output is not of 32-bit floats.
pub(crate) fn classes<'a>(labels: &'a [String], output: &Tensor, squash: Squash) -> Result<Vec<Vec<Class<'a>>>> {
    let class = |(index, score): (usize, &f32)| Class {
        label: labels.get(index).map_or_else(|| Cow::Owned(index.to_string()), |label| Cow::Borrowed(label.as_str())),
        score: *score,
    };
    let output = output.to_floats()?;
    Ok(output.float_rows()?.map(|row| squash.confidences(row).iter().enumerate().map(class).collect()).collect())
}

/// The only output that is one float for each sample.
///
/// # Errors
/// [`Error::InvalidInput`] for a model that has none or several.
pub(crate) fn regression_output(signature: &Signature) -> Result<usize> {
    let is_whole = signature.batching() == Batching::Whole;
    let is_value = |spec: &TensorSpec| {
        let dims = if is_whole { spec.shape.as_slice() } else { spec.sample_dims() };
        spec.dtype.is_float() && dims.iter().all(|dim| *dim == Dim::Fixed(1))
    };
    let mut values = (0..signature.outputs.len()).filter(|index| is_value(&signature.outputs[*index]));
    match (values.next(), values.next()) {
        (Some(output), None) => Ok(output),
        (first, _) => Err(Error::InvalidInput(format!(
            "Expected regression signature method_name to be tensorflow/serving/regress. Was: {PREDICT_METHOD} ({} of the model's outputs is one float for each sample)",
            if first.is_some() { "more than one" } else { "none" }
        ))),
    }
}

/// The value of each sample.
///
/// # Errors
/// [`Error::InvalidInput`] when the output is not of floats.
pub(crate) fn regressions(output: &Tensor) -> Result<Vec<f32>> {
    match output.data() {
        Data::Float32(values) => Ok(values.clone()),
        Data::Float64(values) => Ok(values.iter().map(|value| *value as f32).collect()),
        Data::Float16(values) => Ok(values.iter().map(|value| value.to_f32()).collect()),
        Data::Bfloat16(values) => Ok(values.iter().map(|value| value.to_f32()).collect()),
        other => Err(Error::InvalidInput(format!("expected an output of floats, got {}", other.dtype()))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::signature::DType;

    #[test]
    fn one_float_for_each_sample_is_a_regression() {
        let spec = |dtype, dims: &[&str]| TensorSpec {
            name: "t".into(),
            dtype,
            shape: dims.iter().map(|dim| dim.parse().map_or_else(|_| Dim::Symbol((*dim).into()), Dim::Fixed)).collect(),
        };
        let input = || vec![spec(DType::Float32, &["N", "2"])];
        let output = |outputs: Vec<TensorSpec>| regression_output(&Signature { inputs: input(), outputs }).ok();
        let (float, classes) = (|| spec(DType::Float64, &["N", "1"]), || spec(DType::Float32, &["N", "10"]));
        assert_eq!(output(vec![spec(DType::Float16, &["N"])]), Some(0));
        assert_eq!(output(vec![classes(), float()]), Some(1));
        assert_eq!(output(vec![float(), float()]), None);
        assert_eq!(output(vec![classes()]), None);
        assert_eq!(output(vec![spec(DType::Int64, &["N"])]), None);
        assert_eq!(output(vec![spec(DType::Float32, &["2*N"])]), None);
        assert_eq!(output(vec![spec(DType::Float32, &[])]), Some(0));
    }

    #[test]
    fn classes_keep_their_order_and_are_numbered_where_they_have_no_name() {
        let output = Tensor::new(vec![2, 2], vec![0.25f32, 0.75, 1.0, 0.0]).unwrap();
        let labels = ["cat".to_owned()];
        let classes = classes(&labels, &output, Squash::Nothing).unwrap();
        let shown: Vec<(&str, f32)> =
            classes.iter().flatten().map(|class| (class.label.as_ref(), class.score)).collect();
        assert_eq!(shown, [("cat", 0.25), ("1", 0.75), ("cat", 1.0), ("1", 0.0)]);
    }
}
