//! Measures whether the samples of a batch are independent of each other, by running them together and alone.

use std::ops::Range;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::attempts::Attempts;
use super::example::{Draw, Example, Hints};
use crate::error::Result;
use crate::signature::{Batching, DType, TensorSpec};
use crate::tensor::{Data, Tensor};

/// The draws that every graph is checked on, and those that follow while an output has not varied.
const DRAWS: usize = 2;
const MAX_DRAWS: usize = 8;

/// The samples of the three requests of a draw, by turns.
const PARTS: [[usize; 3]; 2] = [[1, 2, 1], [3, 1, 2]];

/// After this time no further draw is begun.
const PATIENCE: Duration = Duration::from_secs(2);

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

/// Checks the samples of a graph that has run on an example of one.
pub(super) fn check(
    attempts: &mut Attempts<'_>,
    hints: &Hints,
    specs: &[TensorSpec],
    example: &Example,
) -> Independence {
    let is_batched = hints.batched || attempts.plan().signature().batching() == Batching::Any;
    if !is_batched {
        return Independence::NoBatch;
    }
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

/// Returns true if two answers for a sample differ by no more than rounding: by a thousandth of an element, or by what
/// rounding loses of the largest element.
fn is_same(a: &Tensor, b: &Tensor) -> bool {
    let Some((a_values, b_values)) = floats(a.data()).zip(floats(b.data())) else { return a == b };
    let (own, lost) = match a.dtype() {
        DType::Float16 => (1e-2, 2e-3),
        DType::Bfloat16 => (4e-2, 1e-2),
        _ => (1e-3, 1e-5),
    };
    let largest = a_values.iter().filter(|value| value.is_finite()).fold(0f64, |most, value| most.max(value.abs()));
    let is_near = |(a, b): (&f64, &f64)| {
        a == b || (a.is_nan() && b.is_nan()) || (a - b).abs() <= own * a.abs().min(b.abs()) + lost * largest
    };
    a_values.iter().zip(&b_values).all(is_near)
}

/// Returns true if samples have different answers.
fn varies(answers: &[&Tensor]) -> bool {
    let rows = answers.iter().flat_map(|answer| (0..answer.rows()).map(move |row| answer.slice_rows(row..row + 1)));
    let mut rows =
        rows.filter(|row| !floats(row.data()).is_some_and(|values| values.iter().any(|value| value.is_nan())));
    let Some(first) = rows.next() else { return false };
    rows.any(|row| !is_same(&first, &row))
}

/// Returns the elements of a tensor of floats.
fn floats(data: &Data) -> Option<Vec<f64>> {
    match data {
        Data::Float16(values) => Some(values.iter().map(|value| value.to_f64()).collect()),
        Data::Bfloat16(values) => Some(values.iter().map(|value| value.to_f64()).collect()),
        Data::Float32(values) => Some(values.iter().map(|value| f64::from(*value)).collect()),
        Data::Float64(values) => Some(values.clone()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(values: &[f32]) -> Tensor {
        Tensor::new(vec![1, values.len()], values.to_vec()).unwrap()
    }

    #[test]
    fn rounding_is_the_same_and_a_neighbour_s_share_is_not() {
        assert!(is_same(&row(&[1.0, 1e-7]), &row(&[1.000_01, 2e-7])));
        assert!(is_same(&row(&[f32::NAN, f32::INFINITY]), &row(&[f32::NAN, f32::INFINITY])));
        assert!(!is_same(&row(&[0.1, 0.2]), &row(&[0.1, 0.201])));
        assert!(!is_same(&row(&[0.1, f32::NAN]), &row(&[0.1, 0.2])));
        assert!(!is_same(&row(&[100.0, 0.1]), &row(&[100.0, 0.11])));
        let whole = |value: i64| Tensor::new(vec![1], vec![value]).unwrap();
        assert!(is_same(&whole(3), &whole(3)) && !is_same(&whole(3), &whole(4)));
    }

    #[test]
    fn answers_that_are_all_alike_or_no_numbers_do_not_vary() {
        let all = |values: &[f32]| Tensor::new(vec![values.len(), 1], values.to_vec()).unwrap();
        assert!(varies(&[&all(&[1.0, 2.0])]) && varies(&[&all(&[1.0]), &all(&[2.0])]));
        assert!(!varies(&[&all(&[1.0, 1.0]), &all(&[1.000_000_1])]));
        assert!(!varies(&[&all(&[f32::NAN, 1.0])]) && !varies(&[]));
    }
}
