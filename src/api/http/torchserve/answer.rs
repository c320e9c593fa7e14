//! Answers as TorchServe's handlers give them: a map of labels to probabilities, or plain lists.

use std::sync::Arc;
use std::time::Instant;

use serde_json::Value;

use crate::api::json::Writer;
use crate::api::offload::off_reactor;
use crate::error::{Error, Result};
use crate::metrics::Stage;
use crate::serving::{Prediction, Servable};
use crate::signature::Batching;
use crate::tensor::Tensor;
use crate::transform::Classification;

const INDENT: usize = 2;

/// Writes the most probable classes of each sample, best first; those of one sample without a list around them.
pub(super) fn classes(predictions: &[Prediction], is_one: bool) -> Vec<u8> {
    let mut json = Writer::indented(INDENT);
    if !is_one {
        json.begin_list();
    }
    for prediction in predictions {
        if let Prediction::Classified { classification: Classification { top_k, .. }, .. }
        | Prediction::Labelled { top_k, .. } = prediction
        {
            json.begin_object();
            for class in top_k {
                json.key(&class.label);
                json.value(&class.confidence);
            }
            json.end_object();
        }
    }
    if !is_one {
        json.end_list();
    }
    json.finish()
}

/// Writes the answers of a vision model as `/predict` has them; that of one sample without a list around it.
pub(super) async fn vision(servable: &Servable, predictions: Vec<Prediction>, is_one: bool) -> Result<Vec<u8>> {
    let start = Instant::now();
    let write = move || match predictions.as_slice() {
        [prediction] if is_one => serde_json::to_vec_pretty(prediction),
        all => serde_json::to_vec_pretty(all),
    };
    let body = off_reactor(usize::MAX, move || {
        write().map_err(|error| Error::internal("the answer could not be written", error))
    });
    let body = body.await?;
    servable.metrics().observe(Stage::Encode, start.elapsed());
    Ok(body)
}

/// Writes explanations; that of one sample without a list around it.
///
/// # Errors
/// [`Error::Internal`] when they cannot be written.
pub(super) fn explanations(explanations: &[Value], is_one: bool) -> Result<Vec<u8>> {
    let written = match explanations {
        [explanation] if is_one => serde_json::to_vec_pretty(explanation),
        all => serde_json::to_vec_pretty(all),
    };
    written.map_err(|error| Error::internal("the answer could not be written", error))
}

/// Writes the outputs of each sample: the value of a model's only output, or an object of them by name.
pub(super) async fn tensors(servable: &Arc<Servable>, outputs: Arc<Vec<Tensor>>, is_one: bool) -> Result<Vec<u8>> {
    let start = Instant::now();
    let length = outputs.iter().map(|output| output.data().len().max(1) * 10).sum();
    let model = servable.clone();
    let body = off_reactor(length, move || Ok(write(&model, &outputs, is_one))).await?;
    servable.metrics().observe(Stage::Encode, start.elapsed());
    Ok(body)
}

fn write(servable: &Servable, outputs: &[Tensor], is_one: bool) -> Vec<u8> {
    let specs = &servable.signature().outputs;
    let is_whole = servable.signature().batching() == Batching::Whole;
    let samples = if is_whole { 1 } else { outputs.first().map_or(0, Tensor::rows) };
    let mut json = Writer::indented(INDENT);
    if !is_one {
        json.begin_list();
    }
    for sample in 0..samples {
        if outputs.len() > 1 {
            json.begin_object();
        }
        for (output, spec) in outputs.iter().zip(specs) {
            if outputs.len() > 1 {
                json.key(&spec.name);
            }
            if is_whole {
                json.nested(output, false, 0, 0..output.data().len());
            } else {
                let width = output.row_elements();
                json.nested(output, false, 1, sample * width..(sample + 1) * width);
            }
        }
        if outputs.len() > 1 {
            json.end_object();
        }
    }
    if !is_one {
        json.end_list();
    }
    json.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transform::classify;

    #[test]
    fn classes_are_a_map_from_label_to_probability() {
        let labels = ["cat", "dog", "b\"ee"].map(String::from);
        let classification = classify(&[0.25, 0.5, 0.125], &labels, 2).unwrap();
        let one = [Prediction::Classified {
            classification,
            inverted: None,
            anomaly: None,
            set: None,
            set_level: None,
            abstained: None,
        }];
        let text = |is_one| String::from_utf8(classes(&one, is_one)).unwrap();
        assert_eq!(text(true), "{\n  \"dog\": 0.5,\n  \"cat\": 0.25\n}");
        assert_eq!(text(false), "[\n  {\n    \"dog\": 0.5,\n    \"cat\": 0.25\n  }\n]");
    }
}
