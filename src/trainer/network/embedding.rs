//! The table that tokens are looked up in: the first layer of a network, whose steps are made as samples are
//! brought into blocks, and whose gradient is scattered once for all of them.

use crate::layers::{LayerSpec, PlannedLayer};
use crate::signature::UNKNOWN;
use crate::simd::lanes;

/// Shapes of the look-up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Embedding {
    steps: usize,
    tokens: usize,
    units: usize,
}

impl Embedding {
    /// That of a network, if its first layer is one.
    pub(super) fn of(planned: &[PlannedLayer]) -> Option<Self> {
        let layer = planned.first()?;
        let LayerSpec::Embedding { tokens, units } = layer.spec else { return None };
        Some(Self { steps: layer.input[0], tokens, units })
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
