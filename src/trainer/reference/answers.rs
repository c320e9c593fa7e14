//! The answers of a classifier on data held out: margins, energies, sets and thresholds.

use super::{BINS, ReferenceData, unfit};
use crate::engine::Plan;
use crate::error::Result;
use crate::repository::{Abstention, ConformalSet, DriftReference, MarginReference};
use crate::stats::{Certainty, Histogram, Ranks, conformal_threshold, selective_threshold};
use crate::trainer::dataset::Targets;
use crate::trainer::evaluate::each_run;

/// The levels of sets of classes, and the rates of errors of answers given.
const LEVELS: [f64; 3] = [0.9, 0.95, 0.99];
const ERROR_RATES: [f64; 3] = [0.01, 0.005, 0.001];

/// The confidence with which thresholds keep what they promise.
const CONFIDENCE: f64 = 0.95;

/// The answer of a classifier for one sample.
#[derive(Debug, Clone, Copy)]
pub(super) struct Answer {
    certainty: Certainty,
    confidence: f64,
    /// The label, and the probability given to it.
    truth: Option<(usize, f64)>,
}

impl Answer {
    /// Returns the energy of the logits, if the graph gives them.
    pub(super) fn energy(&self) -> Option<f64> {
        self.certainty.energy
    }
}

/// Returns the answers of a graph, whose distribution and logits are at these places among its outputs.
///
/// # Errors
/// [`Error::Data`](crate::error::Error::Data) when the samples do not fit the graph or its output is not finite.
pub(super) fn of(
    plan: &Plan,
    [probabilities, logits]: [Option<usize>; 2],
    data: &ReferenceData,
) -> Result<Vec<Answer>> {
    let mut answers = Vec::with_capacity(data.len());
    for part in &data.parts {
        let labels = match part.targets() {
            Targets::Classes(labels) => labels.as_slice(),
            Targets::Values(_) => &[],
        };
        each_run(plan, part, |range, outputs| {
            let of = |place: Option<usize>| place.map(|place| outputs[place].float_rows()).transpose();
            let (Some(shares), mut logits) = (of(probabilities)?, of(logits)?) else { return Ok(()) };
            for (row, index) in shares.zip(range) {
                if row.iter().any(|share| !share.is_finite()) {
                    return Err(unfit(format!("the model's output for sample {index} is not a finite number")));
                }
                let certainty = match logits.as_mut().and_then(Iterator::next) {
                    Some(logits) => Certainty::of_logits(logits),
                    None => Certainty::of_probabilities(row),
                };
                let truth = labels.get(index).map(|label| *label as usize);
                let truth = truth.and_then(|label| Some((label, f64::from(*row.get(label)?))));
                let confidence = row.get(certainty.class).copied().map_or(0.0, f64::from);
                answers.push(Answer { certainty, confidence, truth });
            }
            Ok(())
        })?;
    }
    Ok(answers)
}

/// Adds what answers say to the reference of their inputs.
pub(super) fn add(reference: &mut DriftReference, answers: &[Answer], classes: usize) {
    let seen = answers.iter().map(|answer| answer.certainty.class + 1).max().unwrap_or(0);
    reference.predictions = vec![0; classes.max(seen)];
    answers.iter().for_each(|answer| reference.predictions[answer.certainty.class] += 1);
    reference.confidence = Some(Histogram::by_quantiles(answers.iter().map(|answer| answer.confidence), BINS));
    let margins = answers.iter().map(|answer| answer.certainty.margin);
    let histogram = Histogram::by_quantiles(margins, BINS);
    let is_right = |answer: &Answer| answer.truth.map(|(label, _)| label == answer.certainty.class);
    let mut correct = vec![0; histogram.counts.len()];
    let mut judged = Vec::with_capacity(answers.len());
    for answer in answers {
        if let Some(right) = is_right(answer) {
            correct[histogram.bin(answer.certainty.margin)] += u64::from(right);
            judged.push((answer.certainty.margin, right));
        }
    }
    let is_labelled = judged.len() == answers.len();
    let energies: Vec<f64> = answers.iter().filter_map(|answer| answer.certainty.energy).collect();
    if !energies.is_empty() {
        reference.energy = Some(Histogram::by_quantiles(energies.iter().copied(), BINS));
        reference.unusual = Some(Ranks::new(energies));
    }
    reference.margin = Some(MarginReference { histogram, correct: if is_labelled { correct } else { Vec::new() } });
    if is_labelled {
        reference.sets = sets(answers.iter().filter_map(|answer| Some(1.0 - answer.truth?.1)).collect());
        reference.abstentions = abstentions(&mut judged);
    }
}

fn sets(mut scores: Vec<f64>) -> Vec<ConformalSet> {
    let samples = scores.len() as u64;
    let mut set = |level: f64| {
        let threshold = conformal_threshold(&mut scores, 1.0 - level, 1.0 - CONFIDENCE)?;
        Some(ConformalSet { level, confidence: CONFIDENCE, samples, threshold })
    };
    LEVELS.into_iter().filter_map(&mut set).collect()
}

fn abstentions(judged: &mut [(f64, bool)]) -> Vec<Abstention> {
    let mut abstention = |error_rate: f64| {
        let found = selective_threshold(judged, error_rate, CONFIDENCE)?;
        let (margin, answered, errors) = (found.margin, found.answered, found.errors);
        Some(Abstention { error_rate, confidence: CONFIDENCE, margin, answered, errors })
    };
    ERROR_RATES.into_iter().filter_map(&mut abstention).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::signature::{OutputTransform, Transform};
    use crate::trainer::dataset::Dataset;
    use crate::trainer::reference::of_inputs;

    #[test]
    fn answers_give_margins_with_hits_sets_and_thresholds() {
        let data = |pixels, labels| Dataset::images(2, 1, pixels, labels, 2);
        let validation = data(vec![0, 0, 10, 30, 255, 255], vec![0, 1, 1]);
        let nothing = data(vec![], vec![]);
        let plain =
            Transform { image: None, columns: Vec::new(), sequence: None, text: None, output: OutputTransform::Raw };
        let mut reference = of_inputs(&ReferenceData::held_out(&validation, &nothing), &plain).unwrap();
        let answer = |index: usize| {
            let lead = index as f32 / 100.0;
            // The least sure tenth is wrong.
            let label = usize::from(index < 100);
            let certainty = Certainty::of_logits(&[lead, 0.0]);
            let shares = [1.0 / (1.0 + f64::from(-lead).exp()), 1.0 / (1.0 + f64::from(lead).exp())];
            Answer { certainty, confidence: shares[0], truth: Some((label, shares[label])) }
        };
        add(&mut reference, &(0..1000).map(answer).collect::<Vec<_>>(), 2);
        assert_eq!((reference.predictions.clone(), reference.accuracy()), (vec![1000, 0], Some(0.9)));
        let margin = reference.margin.as_ref().unwrap();
        assert_eq!((margin.correct[0], margin.correct[1], margin.correct[2]), (0, 0, 50));
        assert_eq!(reference.sets.iter().map(|set| set.level).collect::<Vec<_>>(), LEVELS);
        assert!(reference.sets.is_sorted_by_key(|set| set.threshold));
        let abstention = reference.abstentions[0];
        assert!(abstention.error_rate == 0.01 && abstention.answered > 895 && abstention.errors < 9, "{abstention:?}");
        assert_eq!(reference.unusual.as_ref().unwrap().samples, 1000);
        reference.check("reference.json").unwrap();
        reference.margin.as_mut().unwrap().correct[0] = 51;
        assert!(reference.check("reference.json").is_err());
    }
}
