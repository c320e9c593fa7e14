//! Measures whether the samples of a batch are independent of each other, by running them together and alone: first few
//! of them in many ways, then growing runs.

use std::ops::Range;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::attempts::Attempts;
use super::closeness::{floats, is_same};
use super::example::{Draw, Example, Hints};
use super::growth::{self, Growth, Limits};
use crate::error::Result;
use crate::signature::{Batching, TensorSpec};
use crate::tensor::Tensor;

/// The draws that every graph is checked on, and those that follow while an output has not varied.
const DRAWS: usize = 2;
const MAX_DRAWS: usize = 8;

/// The samples of the three requests of a draw, by turns.
const PARTS: [[usize; 3]; 2] = [[1, 2, 1], [3, 1, 2]];

/// After this time no further draw is begun.
const PATIENCE: Duration = Duration::from_secs(2);

/// The samples in the largest run of a measurement, unless the settings want larger ones.
const SAMPLES: usize = 64;

/// The time that growing runs may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Care {
    /// For a graph that gives no cause for doubt.
    Usual,
    /// For a graph that looks as if samples might depend on each other, and for what is measured while others serve.
    Great,
}

impl Care {
    fn patience(self) -> Duration {
        match self {
            Self::Usual => Duration::from_millis(400),
            Self::Great => Duration::from_millis(1500),
        }
    }
}

/// The findings about the samples of a graph.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Independence {
    /// The answers for samples together were those for each alone.
    Shown,
    /// The same, but an output was constant, which shows nothing.
    Constant {
        /// Its name.
        output: String,
    },
    /// An answer changed with the samples beside it.
    Dependent {
        /// The output.
        output: String,
    },
    /// The graph has no batch dimension.
    NoBatch,
    /// It could not be found out.
    Unknown {
        /// The cause, as the rest of a sentence.
        reason: String,
    },
}

/// Checks the samples of a graph that has run on an example of one. Returns the samples in the largest run, too.
pub(super) fn check(
    attempts: &mut Attempts<'_>,
    hints: &Hints,
    specs: &[TensorSpec],
    example: &Example,
    care: Care,
) -> (Independence, usize) {
    let is_batched = hints.batched || attempts.plan().signature().batching() == Batching::Any;
    if !is_batched {
        return (Independence::NoBatch, 1);
    }
    let few = check_few(attempts, specs, example);
    let largest = PARTS.iter().map(|parts| parts.iter().sum()).max().unwrap_or(1);
    match few {
        Independence::Shown | Independence::Constant { .. } => {}
        other => return (other, 1),
    }
    let limits = Limits { samples: hints.largest.unwrap_or(SAMPLES).max(SAMPLES), patience: care.patience() };
    // Both signs and large numbers, or else what the graph is known to take.
    let mut draws = [3, 2, 1, 0].into_iter().flat_map(|number| draws(example, number));
    let grown = draws.find_map(|draw| growth::compare(attempts, specs, example, draw, limits).ok());
    match grown {
        Some(Growth::Differs(output)) => {
            let output = attempts.plan().signature().outputs[output].name.clone();
            (Independence::Dependent { output }, 1)
        }
        Some(Growth::Agreed(samples)) => (few, samples.max(largest)),
        None => (few, largest),
    }
}

/// Compares a handful of samples together with each alone, on several draws.
fn check_few(attempts: &mut Attempts<'_>, specs: &[TensorSpec], example: &Example) -> Independence {
    let begun = Instant::now();
    let names: Vec<String> = attempts.plan().signature().outputs.iter().map(|output| output.name.clone()).collect();
    let mut has_varied = vec![false; names.len()];
    for number in 0..MAX_DRAWS {
        let is_shown = number >= DRAWS && has_varied.iter().all(|varied| *varied);
        if is_shown || (number > 0 && begun.elapsed() > PATIENCE) {
            break;
        }
        let compared = draws(example, number).find_map(|draw| {
            compare(attempts, specs, example, draw, PARTS[number % PARTS.len()], &mut has_varied).ok()
        });
        match compared {
            Some(None) => {}
            Some(Some(output)) => return Independence::Dependent { output: names[output].clone() },
            // Later draws are stranger ones, which a graph need not take.
            None if number >= DRAWS => {}
            None => return Independence::Unknown { reason: "it fails on several samples together".into() },
        }
    }
    match has_varied.iter().position(|varied| !varied) {
        Some(output) => Independence::Constant { output: names[output].clone() },
        None => Independence::Shown,
    }
}

/// Returns the draws of a number in the order of preference. Positive numbers come first, as roots and logarithms take
/// them; then both signs, then larger ones. Whole numbers keep to what the graph is known to take if it takes nothing
/// more varied.
fn draws(example: &Example, number: usize) -> impl Iterator<Item = Draw> {
    const SCALES: [f32; MAX_DRAWS] = [1.0, 1.0, 8.0, 8.0, 64.0, 64.0, 1024.0, 1024.0];
    const HIGHEST: [u8; MAX_DRAWS] = [3, 3, 9, 9, 100, 100, 255, 255];
    let known = example.range();
    let wide = (known.0, known.1.max(HIGHEST[number]));
    let ranges = [if number < DRAWS { known } else { wide }, (0, 1), known];
    // A constant range is the last resort: equal rows show nothing.
    let first = if number < DRAWS && known.0 == known.1 { 1 } else { 0 };
    ranges.into_iter().skip(first).map(move |range| Draw {
        seed: 2 + number as u64,
        range,
        scale: SCALES[number],
        is_signed: number % 2 == 1,
    })
}

/// Compares three requests together, in both orders, with each alone; notes which outputs have varied. Returns the first
/// output that differs.
///
/// # Errors
/// The failure of the model.
fn compare(
    attempts: &mut Attempts<'_>,
    specs: &[TensorSpec],
    example: &Example,
    draw: Draw,
    parts: [usize; 3],
    has_varied: &mut [bool],
) -> Result<Option<usize>> {
    let all = example.drawn(specs, Some(parts.iter().sum()), draw)?;
    let mut start = 0;
    let ranges = parts.map(|rows| {
        start += rows;
        start - rows..start
    });
    let part =
        |range: &Range<usize>| -> Vec<Tensor> { all.iter().map(|tensor| tensor.slice_rows(range.clone())).collect() };
    let requests = ranges.clone().map(|range| part(&range));
    let mut alone = Vec::with_capacity(parts.len());
    for request in &requests {
        alone.push(attempts.run(request)?);
    }
    for order in [[0, 1, 2], [2, 1, 0]] {
        let join = |input: usize| Tensor::concat_rows(order.iter().map(|&request| &requests[request][input]));
        let joined = (0..specs.len()).map(join).collect::<Result<Vec<_>>>()?;
        let together = attempts.run(&joined)?;
        if let Some(output) = first_difference(&together, &alone, order, parts) {
            return Ok(Some(output));
        }
    }
    for (output, varied) in has_varied.iter_mut().enumerate() {
        *varied |= varies(&alone.iter().map(|outputs| &outputs[output]).collect::<Vec<_>>());
    }
    Ok(None)
}

/// Returns the first output in which requests together differ from each alone.
fn first_difference(together: &[Tensor], alone: &[Vec<Tensor>], order: [usize; 3], parts: [usize; 3]) -> Option<usize> {
    let samples: usize = parts.iter().sum();
    (0..together.len()).find(|&output| {
        if together[output].shape().first() != Some(&samples) {
            return true;
        }
        let mut start = 0;
        order.iter().any(|&request| {
            let rows = start..start + parts[request];
            start = rows.end;
            let (part, whole) = (&alone[request][output], together[output].slice_rows(rows.clone()));
            part.shape() != whole.shape()
                || (0..part.rows()).any(|row| !is_same(&part.slice_rows(row..row + 1), &whole.slice_rows(row..row + 1)))
        })
    })
}

/// Returns true if samples have different answers.
fn varies(answers: &[&Tensor]) -> bool {
    let rows = answers.iter().flat_map(|answer| (0..answer.rows()).map(move |row| answer.slice_rows(row..row + 1)));
    let mut rows =
        rows.filter(|row| !floats(row.data()).is_some_and(|values| values.iter().any(|value| value.is_nan())));
    let Some(first) = rows.next() else { return false };
    rows.any(|row| !is_same(&first, &row))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_that_are_all_alike_or_no_numbers_do_not_vary() {
        let all = |values: &[f32]| Tensor::new(vec![values.len(), 1], values.to_vec()).unwrap();
        assert!(varies(&[&all(&[1.0, 2.0])]) && varies(&[&all(&[1.0]), &all(&[2.0])]));
        assert!(!varies(&[&all(&[1.0, 1.0]), &all(&[1.000_000_1])]));
        assert!(!varies(&[&all(&[f32::NAN, 1.0])]) && !varies(&[]));
    }
}
