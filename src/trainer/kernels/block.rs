//! Samples row by row, as data come and as dense layers take them, and samples abreast.

use rayon::prelude::*;

use crate::simd::lanes;

/// Samples abreast: number `i` of sample `s` is at `i · lanes + s`.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Block {
    /// The numbers.
    pub(crate) values: Vec<f32>,
    /// Lanes that hold samples; the others hold numbers that mean nothing.
    pub(crate) samples: usize,
}

/// A buffer of this length, whose old contents may remain: memory that is used again costs no page faults.
pub(super) fn sized(buffer: &mut Vec<f32>, len: usize) -> &mut [f32] {
    buffer.resize(len, 0.0);
    buffer
}

/// As [`sized`], of zeros.
pub(super) fn zeroed(buffer: &mut Vec<f32>, len: usize) -> &mut [f32] {
    buffer.clear();
    buffer.resize(len, 0.0);
    buffer
}

/// Rows of `elements` numbers → blocks; lanes without a sample are zero.
pub(crate) fn pack(rows: &[f32], elements: usize) -> Vec<Block> {
    let block = |rows: &[f32]| {
        let mut block = Block::default();
        block.fill(rows, elements);
        block
    };
    rows.par_chunks(elements * lanes()).map(block).collect()
}

impl Block {
    /// Takes rows of `elements` numbers, at most as many as there are lanes.
    pub(crate) fn fill(&mut self, rows: &[f32], elements: usize) {
        let lanes = lanes();
        self.samples = rows.len() / elements;
        let values = zeroed(&mut self.values, elements * lanes);
        for (lane, row) in rows.chunks_exact(elements).enumerate() {
            for (to, from) in values.chunks_exact_mut(lanes).zip(row) {
                to[lane] = *from;
            }
        }
    }
}

/// Blocks → rows.
pub(crate) fn unpack<'a>(blocks: impl Iterator<Item = (&'a [f32], usize)>) -> Vec<f32> {
    let lanes = lanes();
    let mut rows = Vec::new();
    for (values, samples) in blocks {
        for lane in 0..samples {
            rows.extend(values.iter().skip(lane).step_by(lanes));
        }
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_come_back_as_they_went_in() {
        for samples in [1, lanes(), lanes() + 1, 3 * lanes()] {
            let rows: Vec<f32> = (0..samples * 5).map(|i| i as f32).collect();
            let blocks = pack(&rows, 5);
            assert_eq!(blocks.iter().map(|block| block.samples).sum::<usize>(), samples);
            assert_eq!(unpack(blocks.iter().map(|block| (block.values.as_slice(), block.samples))), rows);
        }
    }
}
