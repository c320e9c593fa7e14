//! From the outputs of a graph to answers in the terms of its task.

use super::Servable;
use super::prediction::{Prediction, not_finite};
use super::transforms::Answering;
use crate::error::Result;
use crate::signature::Batching;
use crate::tensor::Tensor;
use crate::transform;

impl Servable {
    /// Returns the answers for `samples` samples.
    ///
    /// # Errors
    /// [`Error::ModelFailed`] when an output is not a finite number.
    pub(crate) fn predictions(
        &self,
        outputs: &[Tensor],
        samples: usize,
        inverted: Option<&[bool]>,
        top_k: usize,
    ) -> Result<Vec<Prediction>> {
        let answers = match self.transforms.answering() {
            Answering::Value(output) => numbers(&outputs[*output]),
            Answering::Probabilities(output) => classifications(&outputs[*output], self.labels(), inverted, top_k),
            Answering::Reconstruction(reconstruction) => reconstruction.answers(outputs, inverted),
            Answering::Outputs => self.raw(outputs, samples),
        };
        answers.map_err(|error| self.model.failed(error))
    }

    fn raw(&self, outputs: &[Tensor], samples: usize) -> Result<Vec<Prediction>> {
        if outputs.iter().any(|output| output.data().has_non_finite()) {
            return Err(not_finite());
        }
        let names = self.signature().outputs.iter().map(|spec| spec.name.clone());
        let raw = |sample: usize| {
            let elements = |output: &Tensor| match self.batching() {
                Batching::Whole => output.data().clone(),
                Batching::Any | Batching::Fixed(_) => output.slice_rows(sample..sample + 1).into_data(),
            };
            Prediction::Raw { outputs: names.clone().zip(outputs.iter().map(elements)).collect() }
        };
        Ok((0..samples).map(raw).collect())
    }
}

fn numbers(output: &Tensor) -> Result<Vec<Prediction>> {
    let number = |row: &[f32]| match row {
        [value] if value.is_finite() => Ok(Prediction::Number { value: *value }),
        _ => Err(not_finite()),
    };
    output.float_rows()?.map(number).collect()
}

fn classifications(
    output: &Tensor,
    labels: &[String],
    inverted: Option<&[bool]>,
    top_k: usize,
) -> Result<Vec<Prediction>> {
    let classified = |(index, row): (usize, &[f32])| {
        let classification = transform::classify(row, labels, top_k)?;
        Ok(Prediction::Classified { classification, inverted: inverted.map(|inverted| inverted[index]) })
    };
    output.float_rows()?.enumerate().map(classified).collect()
}
