//! The table that tokens are looked up in: the first layer of a network, whose steps are made as samples are
//! brought into blocks, and whose gradient is scattered once for all of them.

use rayon::prelude::*;

use crate::layers::{Encoding, LayerSpec, PlannedLayer};
use crate::signature::{PADDING, UNKNOWN};
use crate::simd::lanes;

/// Shapes of the look-up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Embedding {
    steps: usize,
    tokens: usize,
    units: usize,
    /// True if padding is looked up as zeros, which the layers behind it pass over.
    is_blank: bool,
}

/// The table of a bag, and how rare each of its tokens is if the bag is weighted.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bag<'a> {
    pub(super) table: &'a [f32],
    pub(super) rarities: Option<&'a [f32]>,
}

impl<'a> Bag<'a> {
    /// That of a mean.
    pub(super) fn plain(table: &'a [f32]) -> Self {
        Self { table, rarities: None }
    }

    /// Returns the weight of a row's token.
    fn weight(&self, row: usize) -> f32 {
        self.rarities.map_or(1.0, |rarities| rarities[row])
    }

    /// Returns what the sum of the rows of tokens is divided by: their number, or the length of the vector of their weights
    /// (its square is summed up token by token). Both are 1 or more where there is a token.
    fn divisor(&self, rows: impl Iterator<Item = usize>) -> f32 {
        match self.rarities {
            None => (rows.count() as f32).max(1.0),
            Some(rarities) => rows.map(|row| rarities[row] * rarities[row]).sum::<f32>().sqrt().max(1.0),
        }
    }
}

impl Embedding {
    /// That of a bag of tokens.
    pub(super) fn of_bag(layer: &PlannedLayer, tokens: usize, units: usize) -> Self {
        Self { steps: layer.input[0], tokens, units, is_blank: false }
    }

    /// Those of the columns of texts in a table, each with the size of a row of its table.
    pub(super) fn of_columns(columns: &[Encoding]) -> Vec<Self> {
        let of = |column: &Encoding| {
            let steps = column.elements();
            column.table().map(|[tokens, units]| Self { steps, tokens, units, is_blank: false })
        };
        columns.iter().filter_map(of).collect()
    }

    /// Returns the number of tokens in a sample.
    pub(super) fn steps(&self) -> usize {
        self.steps
    }

    /// Returns the size of a row.
    pub(super) fn units(&self) -> usize {
        self.units
    }

    /// That of a network, if its first layer is one.
    pub(super) fn of(planned: &[PlannedLayer]) -> Option<Self> {
        let layer = planned.first()?;
        let LayerSpec::Embedding { tokens, units } = layer.spec else { return None };
        let is_blank = planned.iter().any(|layer| layer.spec.passes_over_padding());
        Some(Self { steps: layer.input[0], tokens, units, is_blank })
    }

    /// Returns the means, or weighted sums, of the rows of samples' tokens without padding, sample by sample; 0 for one of
    /// padding alone.
    pub(super) fn means(&self, bag: Bag<'_>, samples: &[f32]) -> Vec<f32> {
        let mut means = vec![0.0; samples.len() / self.steps.max(1) * self.units];
        let of_samples = samples.par_chunks_exact(self.steps.max(1));
        means
            .par_chunks_exact_mut(self.units.max(1))
            .zip(of_samples)
            .for_each(|(mean, sample)| self.mean(bag, sample, mean));
        means
    }

    /// Makes zeros the mean, or weighted sum, of the rows of a sample's tokens without padding.
    pub(super) fn mean(&self, bag: Bag<'_>, sample: &[f32], mean: &mut [f32]) {
        for row in self.rows(sample) {
            let weight = bag.weight(row);
            let numbers = &bag.table[row * self.units..][..self.units];
            mean.iter_mut().zip(numbers).for_each(|(mean, number)| *mean += number * weight);
        }
        let divisor = bag.divisor(self.rows(sample));
        mean.iter_mut().for_each(|mean| *mean /= divisor);
    }

    /// Returns zeros of the size of the table.
    pub(super) fn zeros(&self) -> Vec<f32> {
        vec![0.0; self.tokens * self.units]
    }

    /// Returns the gradient of the table from that of the means.
    pub(super) fn means_back(&self, bag: Bag<'_>, samples: &[f32], upper: &[f32]) -> Vec<f32> {
        let mut gradient = self.zeros();
        let of_samples = samples.chunks_exact(self.steps.max(1));
        for (sample, upper) in of_samples.zip(upper.chunks_exact(self.units.max(1))) {
            self.mean_back(bag, sample, upper, &mut gradient);
        }
        gradient
    }

    /// Adds the gradient of the table from that of a sample's mean.
    pub(super) fn mean_back(&self, bag: Bag<'_>, sample: &[f32], upper: &[f32], gradient: &mut [f32]) {
        let divisor = bag.divisor(self.rows(sample));
        for row in self.rows(sample) {
            let share = bag.weight(row) / divisor;
            let numbers = &mut gradient[row * self.units..][..self.units];
            numbers.iter_mut().zip(upper).for_each(|(number, upper)| *number += upper * share);
        }
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

    /// Returns true if a row of the table is what stands for its token.
    fn is_looked_up(&self, row: u32) -> bool {
        !self.is_blank || row as usize != PADDING
    }

    /// Brings the rows of samples' tokens into the lanes of a block: `[steps][units]`. Takes note of which they are.
    pub(super) fn fill(&self, table: &[f32], samples: &[f32], rows: &mut Vec<u32>, values: &mut Vec<f32>) {
        let lanes = lanes();
        rows.clear();
        rows.extend(samples.iter().map(|element| self.row(*element) as u32));
        values.clear();
        values.resize(self.steps * self.units * lanes, 0.0);
        for (lane, rows) in rows.chunks_exact(self.steps).enumerate() {
            let steps = rows.iter().zip(values.chunks_exact_mut(self.units * lanes));
            for (row, step) in steps.filter(|(row, _)| self.is_looked_up(**row)) {
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
            let steps = rows.iter().zip(upper.chunks_exact(self.units * lanes));
            for (row, step) in steps.filter(|(row, _)| self.is_looked_up(**row)) {
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
        let embedding = Embedding { steps: 1, tokens: 5, units: 1, is_blank: false };
        for (element, row) in
            [(0.0, 0), (4.0, 4), (5.0, 1), (-1.0, 1), (f32::NAN, 1), (f32::INFINITY, 1), (1e30, 1), (3.7, 3), (-0.5, 0)]
        {
            assert_eq!(embedding.row(element), row, "{element}");
        }
    }
}
