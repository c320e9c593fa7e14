//! Compares growing runs with the same samples alone: what depends on the number of samples, or on one of many, does not
//! show in a run of few.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::time::{Duration, Instant};

use super::attempts::Attempts;
use super::closeness::is_same;
use super::example::{Draw, Example};
use crate::error::Result;
use crate::signature::TensorSpec;
use crate::tensor::Tensor;

/// The samples in the smallest run; each of the next ones has twice as many.
const SMALLEST: usize = 8;

/// The most elements of inputs and outputs in a run: more would tell of the machine's memory.
const MAX_ELEMENTS: usize = 1 << 24;

/// The limits of the comparison.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// The samples in the largest run.
    pub(super) samples: usize,
    /// A run is not begun if it is expected to end after this time.
    pub(super) patience: Duration,
}

/// The findings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Growth {
    /// Every run agreed; the largest had this many samples, none if there was no run.
    Agreed(usize),
    /// This output of a sample was another one in company.
    Differs(usize),
}

/// Compares runs of 8, 16, … samples of a draw with single samples of them.
///
/// # Errors
/// The failure of the model on one sample, or on the smallest run.
pub(super) fn compare(
    attempts: &mut Attempts<'_>,
    specs: &[TensorSpec],
    example: &Example,
    draw: Draw,
    limits: Limits,
) -> Result<Growth> {
    let begun = Instant::now();
    let one = example.drawn(specs, Some(1), draw)?;
    let first = attempts.run(&one)?;
    let elements = |tensors: &[Tensor]| tensors.iter().map(|tensor| tensor.data().len()).sum::<usize>();
    let of_sample = (elements(&one) + elements(&first)).max(1);
    let largest = limits.samples.min(MAX_ELEMENTS / of_sample);
    let mut expected = begun.elapsed() * SMALLEST as u32;
    let mut alone = BTreeMap::from([(0, first)]);
    let mut agreed = 0;
    let sizes = std::iter::successors(Some(SMALLEST), |size| Some(size * 2)).take_while(|size| *size < largest);
    for size in sizes.chain((largest >= SMALLEST).then_some(largest)) {
        if begun.elapsed() + expected > limits.patience {
            break;
        }
        let running = Instant::now();
        // A draw of more samples begins with the same ones.
        let inputs = example.drawn(specs, Some(size), draw)?;
        let together = match attempts.run(&inputs) {
            Ok(together) => together,
            Err(error) if agreed == 0 => return Err(error),
            // More samples than it takes: runs are no larger than those that agreed.
            Err(_) => break,
        };
        expected = running.elapsed() * 2;
        for row in [0, 1, 2, size / 2, size - 1] {
            let own = match alone.entry(row) {
                Entry::Occupied(known) => known.into_mut(),
                Entry::Vacant(place) => {
                    let sample: Vec<Tensor> = inputs.iter().map(|tensor| tensor.slice_rows(row..row + 1)).collect();
                    place.insert(attempts.run(&sample)?)
                }
            };
            if let Some(output) = differs(&together, own, size, row) {
                return Ok(Growth::Differs(output));
            }
        }
        agreed = size;
    }
    Ok(Growth::Agreed(agreed))
}

/// Returns the first output in which a sample of a run is not what it is alone.
fn differs(together: &[Tensor], alone: &[Tensor], size: usize, row: usize) -> Option<usize> {
    together.iter().zip(alone).position(|(together, alone)| {
        together.shape().first() != Some(&size) || {
            let own = together.slice_rows(row..row + 1);
            own.shape() != alone.shape() || !is_same(alone, &own)
        }
    })
}
