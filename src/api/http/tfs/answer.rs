//! Writes outputs as JSON in TensorFlow Serving's layout.

use serde::Serialize;
use serde_json::Value;

use crate::api::json::{Layout, Writer};
use crate::api::tfs::Class;
use crate::error::{Error, Result};
use crate::serving::Prediction;
use crate::signature::{DType, Signature, TensorSpec};
use crate::tensor::Tensor;

const INDENT: usize = 4;

/// The end of the name of an output whose strings are bytes.
const BYTES_SUFFIX: &str = "_bytes";

/// Writes the answer of `:predict`, in the layout of the request.
///
/// # Errors
/// [`Error::InvalidInput`] when rows are asked for and the outputs do not have the same number of them.
pub(super) fn predictions(signature: &Signature, outputs: &[Tensor], layout: Layout) -> Result<Vec<u8>> {
    match layout {
        // The one answer of a model without inputs is not one for each row of an output.
        Layout::Rows if signature.inputs.is_empty() => Ok(rows_of(&signature.outputs, outputs, Cut::Whole)),
        Layout::Rows => rows(&signature.outputs, outputs),
        Layout::Columns => Ok(columns(&signature.outputs, outputs)),
    }
}

/// The answers of a vision or text model, in the place that `:predict` has for them.
#[derive(Serialize)]
struct Seen<'a> {
    predictions: &'a [Prediction],
    /// The places of texts that were cut.
    #[serde(skip_serializing_if = "<[usize]>::is_empty")]
    truncated: &'a [usize],
}

/// Writes the answers of a vision or text model to pictures or texts, which are the same in every protocol that carries JSON.
///
/// # Errors
/// [`Error::Internal`] when they cannot be written.
pub(super) fn seen(predictions: &[Prediction], truncated: &[usize]) -> Result<Vec<u8>> {
    let written = serde_json::to_vec(&Seen { predictions, truncated });
    written.map_err(|error| Error::internal("the answer could not be written", error))
}

/// The answers of `:explain`.
#[derive(Serialize)]
struct Explained<'a> {
    explanations: &'a [Value],
}

/// Writes explanations in the place that KServe has for them.
///
/// # Errors
/// [`Error::Internal`] when they cannot be written.
pub(super) fn explanations(explanations: &[Value]) -> Result<Vec<u8>> {
    let written = serde_json::to_vec(&Explained { explanations });
    written.map_err(|error| Error::internal("the answer could not be written", error))
}

fn rows(specs: &[TensorSpec], outputs: &[Tensor]) -> Result<Vec<u8>> {
    let batch = outputs.first().map_or(0, Tensor::rows);
    if let Some((output, spec)) = outputs.iter().zip(specs).find(|(output, _)| output.rows() != batch) {
        return Err(Error::InvalidInput(format!(
            "Tensor name: {} has inconsistent batch size: {} expecting: {batch}; ask with 'inputs'",
            spec.name,
            output.rows()
        )));
    }
    Ok(rows_of(specs, outputs, Cut::Rows(batch)))
}

/// The part of the outputs that is one prediction.
#[derive(Debug, Clone, Copy)]
enum Cut {
    /// One row of each output; there are this many rows.
    Rows(usize),
    /// All outputs, whole.
    Whole,
}

fn rows_of(specs: &[TensorSpec], outputs: &[Tensor], cut: Cut) -> Vec<u8> {
    let count = if let Cut::Rows(count) = cut { count } else { 1 };
    let mut json = Writer::indented(INDENT);
    json.begin_object();
    json.key("predictions");
    json.begin_list();
    for row in 0..count {
        // An object stands on lines of its own, the lists in it do not.
        if outputs.len() > 1 {
            json.begin_object();
        }
        json.single_line(true);
        for (output, spec) in outputs.iter().zip(specs) {
            if outputs.len() > 1 {
                json.key(&spec.name);
            }
            let (depth, elements) = match cut {
                Cut::Rows(_) => (1, row * output.row_elements()..(row + 1) * output.row_elements()),
                Cut::Whole => (0, 0..output.data().len()),
            };
            json.nested(output, is_bytes(spec), depth, elements);
        }
        json.single_line(false);
        if outputs.len() > 1 {
            json.end_object();
        }
    }
    json.end_list();
    json.end_object();
    json.finish()
}

fn columns(specs: &[TensorSpec], outputs: &[Tensor]) -> Vec<u8> {
    let mut json = Writer::indented(INDENT);
    json.begin_object();
    json.key("outputs");
    if outputs.len() > 1 {
        json.begin_object();
    }
    for (output, spec) in outputs.iter().zip(specs) {
        if outputs.len() > 1 {
            json.key(&spec.name);
        }
        json.nested(output, is_bytes(spec), 0, 0..output.data().len());
    }
    if outputs.len() > 1 {
        json.end_object();
    }
    json.end_object();
    json.finish()
}

/// Writes the answer of `:classify`.
pub(super) fn classifications(samples: &[Vec<Class<'_>>]) -> Vec<u8> {
    let mut json = Writer::indented(INDENT);
    json.begin_object();
    json.key("results");
    json.begin_list();
    for classes in samples {
        json.single_line(true);
        json.begin_list();
        for class in classes {
            json.begin_list();
            json.value(&class.label);
            json.float(class.score);
            json.end_list();
        }
        json.end_list();
        json.single_line(false);
    }
    json.end_list();
    json.end_object();
    json.finish()
}

/// Writes the answer of `:regress`.
pub(super) fn regressions(values: &[f32]) -> Vec<u8> {
    let mut json = Writer::indented(INDENT);
    json.begin_object();
    json.key("results");
    json.single_line(true);
    json.begin_list();
    values.iter().for_each(|value| json.float(*value));
    json.end_list();
    json.end_object();
    json.finish()
}

fn is_bytes(spec: &TensorSpec) -> bool {
    spec.dtype == DType::String && spec.name.ends_with(BYTES_SUFFIX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::signature::Dim;

    fn signature(outputs: &[(&str, DType)]) -> Signature {
        let spec = |(name, dtype): &(&str, DType)| TensorSpec {
            name: (*name).into(),
            dtype: *dtype,
            shape: vec![Dim::Symbol("N".into())],
        };
        Signature { inputs: vec![spec(&("x", DType::Float32))], outputs: outputs.iter().map(spec).collect() }
    }

    fn text(signature: &Signature, outputs: &[Tensor], layout: Layout) -> String {
        String::from_utf8(predictions(signature, outputs, layout).unwrap()).unwrap()
    }

    #[test]
    fn answers_are_laid_out_as_tensorflow_serving_does() {
        let one = signature(&[("y", DType::Float32)]);
        let matrix = Tensor::new(vec![2, 1], vec![3.5f32, f32::NAN]).unwrap();
        let list = Tensor::new(vec![2], vec![2.5f32, 3.0]).unwrap();
        assert_eq!(
            text(&one, std::slice::from_ref(&matrix), Layout::Rows),
            "{\n    \"predictions\": [[3.5], [NaN]\n    ]\n}"
        );
        assert_eq!(
            text(&one, std::slice::from_ref(&list), Layout::Rows),
            "{\n    \"predictions\": [2.5, 3.0\n    ]\n}"
        );
        assert_eq!(
            text(&one, &[matrix.slice_rows(0..1)], Layout::Columns),
            "{\n    \"outputs\": [\n        [\n            3.5\n        ]\n    ]\n}"
        );
        let two = signature(&[("y", DType::Int64), ("s_bytes", DType::String)]);
        let outputs =
            [Tensor::new(vec![1, 2], vec![1i64, -2]).unwrap(), Tensor::new(vec![1], vec!["hi".to_owned()]).unwrap()];
        assert_eq!(
            text(&two, &outputs, Layout::Rows),
            "{\n    \"predictions\": [\n        {\n            \"y\": [1, -2],\n            \"s_bytes\": {\n                \"b64\": \"aGk=\"\n            }\n        }\n    ]\n}"
        );
        assert!(
            text(&two, &outputs, Layout::Columns)
                .starts_with("{\n    \"outputs\": {\n        \"y\": [\n            [\n")
        );
        let class = |label: &'static str, score| Class { label: label.into(), score };
        let classes =
            classifications(&[vec![class("a", 0.25), class("b", 0.75)], vec![class("a", 1.0), class("b", 0.0)]]);
        assert_eq!(
            String::from_utf8(classes).unwrap(),
            "{\n    \"results\": [[[\"a\", 0.25], [\"b\", 0.75]], [[\"a\", 1.0], [\"b\", 0.0]]\n    ]\n}"
        );
        assert_eq!(String::from_utf8(regressions(&[2.5, 3.0])).unwrap(), "{\n    \"results\": [2.5, 3.0]\n}");
    }

    #[test]
    fn rows_need_outputs_of_as_many() {
        let two = signature(&[("y", DType::Float32), ("z", DType::Float32)]);
        let outputs = [2, 3].map(|rows| Tensor::new(vec![rows], vec![0.0f32; rows]).unwrap());
        let refused = predictions(&two, &outputs, Layout::Rows).unwrap_err().to_string();
        assert!(refused.contains("z has inconsistent batch size: 3 expecting: 2"), "{refused}");
        assert!(predictions(&two, &outputs, Layout::Columns).is_ok());
        let lone = Tensor::new(vec![], vec![7.0f32]).unwrap();
        let one = signature(&[("y", DType::Float32)]);
        assert_eq!(text(&one, std::slice::from_ref(&lone), Layout::Rows), "{\n    \"predictions\": [7.0\n    ]\n}");
        let fixed = Signature { inputs: vec![], ..one };
        let list = Tensor::new(vec![2], vec![1.0f32, 2.0]).unwrap();
        assert_eq!(text(&fixed, &[list], Layout::Rows), "{\n    \"predictions\": [[1.0, 2.0]\n    ]\n}");
    }
}
