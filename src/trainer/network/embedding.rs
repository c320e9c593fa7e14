//! The table that tokens are looked up in: the first layer of a network, whose steps are made as samples are
//! brought into blocks, and whose gradient is scattered once for all of them.

use rayon::prelude::*;

use crate::layers::{LayerSpec, PlannedLayer};
use crate::signature::{PADDING, UNKNOWN};
use crate::simd::lanes;

/// Shapes of the look-up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Embedding {
    steps: usize,
    tokens: usize,
    units: usize,
}

impl Embedding {
    /// That of a bag of tokens.
    pub(super) fn of_bag(layer: &PlannedLayer, tokens: usize, units: usize) -> Self {
        Self { steps: layer.input[0], tokens, units }
    }

    /// That of a network, if its first layer is one.
    pub(super) fn of(planned: &[PlannedLayer]) -> Option<Self> {
        let layer = planned.first()?;
        let LayerSpec::Embedding { tokens, units } = layer.spec else { return None };
        Some(Self { steps: layer.input[0], tokens, units })
    }

    /// Returns the means of the rows of samples' tokens without padding, sample by sample; 0 for one of padding alone.
    pub(super) fn means(&self, table: &[f32], samples: &[f32]) -> Vec<f32> {
        let mut means = vec![0.0; samples.len() / self.steps.max(1) * self.units];
        let of_samples = samples.par_chunks_exact(self.steps.max(1));
        means.par_chunks_exact_mut(self.units.max(1)).zip(of_samples).for_each(|(mean, sample)| {
            let mut count = 0.0;
            for row in self.rows(sample) {
                count += 1.0;
                let numbers = &table[row * self.units..][..self.units];
                mean.iter_mut().zip(numbers).for_each(|(mean, number)| *mean += number);
            }
            mean.iter_mut().for_each(|mean| *mean /= f32::max(count, 1.0));
        });
        means
    }

    /// Returns the gradient of the table from that of the means.
    pub(super) fn means_back(&self, samples: &[f32], upper: &[f32]) -> Vec<f32> {
        let mut gradient = vec![0.0; self.tokens * self.units];
        let of_samples = samples.chunks_exact(self.steps.max(1));
        for (sample, upper) in of_samples.zip(upper.chunks_exact(self.units.max(1))) {
            let share = 1.0 / (self.rows(sample).count() as f32).max(1.0);
            for row in self.rows(sample) {
                let numbers = &mut gradient[row * self.units..][..self.units];
                numbers.iter_mut().zip(upper).for_each(|(number, upper)| *number += upper * share);
            }
        }
        gradient
    }

    /// The rows of a sample's tokens that do not pad.
    fn rows<'s>(&'s self, sample: &'s [f32]) -> impl Iterator<Item = usize> + 's {
        sample.iter().map(|element| self.row(*element)).filter(|row| *row != PADDING)
    }

    /// The row of the table that an element of a sample stands for.
    fn row(&self, element: f32) -> usize {
        // Also of NaN, which is in no range.
        if element > -1.0 && element < self.tokens as f32 { element as usize } else { UNKNOWN }
    }

    /// Brings the rows of samples' tokens into the lanes of a block: `[steps][units]`. Takes note of which they are.
    pub(super) fn fill(&self, table: &[f32], samples: &[f32], rows: &mut Vec<u32>, values: &mut Vec<f32>) {
        let lanes = lanes();
        rows.clear();
        rows.extend(samples.iter().map(|element| self.row(*element) as u32));
        values.clear();
        values.resize(self.steps * self.units * lanes, 0.0);
        for (lane, rows) in rows.chunks_exact(self.steps).enumerate() {
            for (row, step) in rows.iter().zip(values.chunks_exact_mut(self.units * lanes)) {
                let numbers = &table[*row as usize * self.units..][..self.units];
                for (to, from) in step.chunks_exact_mut(lanes).zip(numbers) {
                    to[lane] = *from;
                }
            }
        }
    }

    /// Adds the gradient of a block's steps to that of the table's rows.
    pub(super) fn scatter(&self, rows: &[u32], upper: &[f32], gradient: &mut [f32]) {
        let lanes = lanes();
        for (lane, rows) in rows.chunks_exact(self.steps).enumerate() {
            for (row, step) in rows.iter().zip(upper.chunks_exact(self.units * lanes)) {
                let numbers = &mut gradient[*row as usize * self.units..][..self.units];
                for (to, from) in numbers.iter_mut().zip(step.chunks_exact(lanes)) {
                    *to += from[lane];
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_token_is_the_unknown_one() {
        let embedding = Embedding { steps: 1, tokens: 5, units: 1 };
        for (element, row) in
            [(0.0, 0), (4.0, 4), (5.0, 1), (-1.0, 1), (f32::NAN, 1), (f32::INFINITY, 1), (1e30, 1), (3.7, 3), (-0.5, 0)]
        {
            assert_eq!(embedding.row(element), row, "{element}");
        }
    }
}
