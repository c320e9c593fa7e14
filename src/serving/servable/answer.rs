//! From the outputs of a graph to answers in the terms of its task.

use super::Servable;
use super::prediction::{Prediction, not_finite};
use super::transforms::Answering;
use crate::error::{Error, Result};
use crate::signature::Batching;
use crate::tensor::Tensor;
use crate::transform;

impl Servable {
    /// Returns the answers for `samples` samples.
    ///
    /// # Errors
    /// [`Error::InvalidInput`] when NaN or infinity stands where the answer needs a number, [`Error::ModelFailed`] when
    /// an output is not what the transform promises.
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
            Answering::Outputs => Ok(self.raw(outputs, samples)),
        };
        answers.map_err(|error| match error {
            Error::InvalidInput(_) => error,
            other => self.model.failed(other),
        })
    }

    fn raw(&self, outputs: &[Tensor], samples: usize) -> Vec<Prediction> {
        let is_whole =
            self.batching() == Batching::Whole || outputs.iter().any(|output| output.shape().first() != Some(&samples));
        let names = self.signature().outputs.iter().map(|spec| spec.name.clone());
        let raw = |sample: usize| {
            let elements = |output: &Tensor| match is_whole {
                true => output.data().clone(),
                false => output.slice_rows(sample..sample + 1).into_data(),
            };
            Prediction::Raw { outputs: names.clone().zip(outputs.iter().map(elements)).collect() }
        };
        (0..if is_whole { 1 } else { samples }).map(raw).collect()
    }
}

fn numbers(output: &Tensor) -> Result<Vec<Prediction>> {
    let number = |row: &[f32]| match row {
        [value] => Ok(Prediction::Number { value: *value }),
        row => Err(Error::internal("the model gives no single number", format!("{} numbers", row.len()))),
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
        if row.iter().any(|share| !share.is_finite()) {
            return Err(not_finite(Some(index)));
        }
        let classification = transform::classify(row, labels, top_k)?;
        Ok(Prediction::Classified { classification, inverted: inverted.map(|inverted| inverted[index]) })
    };
    output.float_rows()?.enumerate().map(classified).collect()
}
