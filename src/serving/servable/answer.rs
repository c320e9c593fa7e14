//! From the outputs of a graph to answers in the terms of its task.

use super::Servable;
use super::decode::Facts;
use super::doubt::{Doubt, Doubter, Doubts};
use super::input::{Input, Options, Part};
use super::prediction::{Prediction, not_finite};
use super::text::Read;
use super::transforms::{Answering, ScoredOutput};
use super::vision::{Seen, input_size};
use crate::error::{Error, Result};
use crate::signature::Batching;
use crate::tensor::Tensor;
use crate::transform::{self, ImageFacts, PolarityChoice, ScoredClass, Squash};

/// The samples that a request brought, as the answers to them need them.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sent {
    /// The size of the first dimension, if all tensors have it.
    samples: usize,
    /// Width and height of the input, where it can be a picture.
    input: [u32; 2],
}

impl Servable {
    /// Returns what an input brings.
    pub(crate) fn sent(&self, input: &Input) -> Sent {
        Sent { samples: input.rows(&self.model), input: input_size(input, self.image_transform()) }
    }

    /// Returns true if answers are made of these outputs in no time.
    pub(crate) fn answers_quickly(&self, outputs: &[Tensor]) -> bool {
        let elements = outputs.iter().map(|output| output.data().len()).sum();
        match self.transforms.answering() {
            Answering::Text(answer) => answer.is_quick(elements),
            _ => self.vision().is_none_or(|answer| answer.is_quick(elements)),
        }
    }

    /// Returns why no answer can be made of what the graph computes for an input; `None` if one can, or if the graph does
    /// not compute it.
    pub(crate) fn misfit(&self, input: Input) -> Option<String> {
        let sent = self.sent(&input);
        let (tensors, facts) = self.decode(Part::Model, input, PolarityChoice::Auto).ok()?;
        let outputs = self.model.infer_uncounted(&tensors).ok()?;
        match self.predictions(&outputs, sent, &facts, &Options::default()) {
            Err(Error::ModelFailed { reason, .. }) => Some(reason),
            Ok(_) | Err(_) => None,
        }
    }

    /// Returns the answers for the samples of a request, of which those that came as images or texts have facts.
    ///
    /// # Errors
    /// [`Error::InvalidInput`] when NaN or infinity stands where the answer needs a number, [`Error::ModelFailed`] when
    /// an output is not what the transform promises.
    pub(crate) fn predictions(
        &self,
        outputs: &[Tensor],
        Sent { samples, input }: Sent,
        facts: &Facts,
        options: &Options,
    ) -> Result<Vec<Prediction>> {
        let images = facts.images.as_slice();
        if options.doubts != Doubts::default() && !matches!(self.transforms.answering(), Answering::Classes(_)) {
            return Err(Error::InvalidInput(format!(
                "model \"{}\" is no classifier, so it has no anomaly, set_level or error_rate of answers",
                self.name
            )));
        }
        let answers = match self.transforms.answering() {
            Answering::Value(output) => numbers(&outputs[*output]),
            Answering::Classes(scored) => self.classifications(outputs, *scored, images, options),
            Answering::Labels(scored, thresholds) => {
                labelled(outputs, *scored, (self.labels(), thresholds), options.top_k)
            }
            Answering::Reconstruction(reconstruction) => reconstruction.answers(outputs, images),
            Answering::Vision(answer) => {
                let (is_whole, labels) = (self.is_whole(outputs, samples), self.labels());
                answer.answers(Seen { outputs, is_whole, samples, images, input, labels }, options.vision)
            }
            Answering::Text(answer) => {
                let (is_whole, labels) = (self.is_whole(outputs, samples), self.labels());
                answer.answers(Read { outputs, is_whole, samples, texts: &facts.texts, labels })
            }
            Answering::Outputs => Ok(self.raw(outputs, samples)),
        };
        answers.map_err(|error| match error {
            Error::InvalidInput(_) => error,
            other => self.model.failed(other),
        })
    }

    fn classifications(
        &self,
        outputs: &[Tensor],
        ScoredOutput { output, squash }: ScoredOutput,
        images: &[ImageFacts],
        options: &Options,
    ) -> Result<Vec<Prediction>> {
        let doubter = Doubter::new(self, options.doubts)?;
        let scores = outputs[output].to_floats()?;
        let logits = match squash {
            Squash::Softmax => doubter.map(|_| &*scores),
            Squash::Nothing | Squash::Sigmoid => {
                doubter.and_then(|_| self.signature().logits_of(output)).map(|place| &outputs[place])
            }
        };
        let mut logits = logits.map(Tensor::float_rows).transpose()?;
        let classified = |(index, row): (usize, &[f32])| {
            if row.iter().any(|share| !share.is_finite()) {
                return Err(not_finite(Some(index)));
            }
            let logits = logits.as_mut().and_then(Iterator::next);
            let shares = squash.confidences(row);
            let doubt = doubter.map(|doubter| doubter.judge(&shares, logits)).unwrap_or_default();
            let Doubt { anomaly, set, set_level, abstained } = doubt;
            let classification = transform::classify(&shares, self.labels(), options.top_k)?;
            let inverted = images.get(index).and_then(|facts| facts.inverted);
            Ok(Prediction::Classified { classification, inverted, anomaly, set, set_level, abstained })
        };
        scores.float_rows()?.enumerate().map(classified).collect()
    }

    /// Returns true if outputs are those of one sample, without a batch.
    fn is_whole(&self, outputs: &[Tensor], samples: usize) -> bool {
        self.batching() == Batching::Whole || outputs.iter().any(|output| output.shape().first() != Some(&samples))
    }

    fn raw(&self, outputs: &[Tensor], samples: usize) -> Vec<Prediction> {
        let is_whole = self.is_whole(outputs, samples);
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
    let none = || Error::internal("the model gives no single number", format!("{} numbers", output.row_elements()));
    let number = |sample| output.real(sample).map(|value| Prediction::Number { value }).ok_or_else(none);
    (0..output.rows()).map(number).collect()
}

fn labelled(
    outputs: &[Tensor],
    ScoredOutput { output, squash }: ScoredOutput,
    (labels, thresholds): (&[String], &[f32]),
    top_k: usize,
) -> Result<Vec<Prediction>> {
    let answer = |(index, row): (usize, &[f32])| {
        if row.iter().any(|score| !score.is_finite()) {
            return Err(not_finite(Some(index)));
        }
        let confidences = squash.confidences(row);
        let all = transform::classify(&confidences, labels, confidences.len())?.top_k;
        let reaches = |scored: &&ScoredClass| scored.confidence >= thresholds[scored.class];
        let reached = all.iter().filter(reaches).cloned().collect();
        Ok(Prediction::Labelled { labels: reached, top_k: all.into_iter().take(top_k.max(1)).collect() })
    };
    outputs[output].to_floats()?.float_rows()?.enumerate().map(answer).collect()
}
