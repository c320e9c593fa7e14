//! The front of a network, on feature maps: our own forward and backward, block by block.
//!
//! A block goes through as many layers as it can before it needs to know of the others, which only a
//! batch normalisation does; so what one layer writes, the next reads from the cache.

use std::ops::Range;

use rayon::prelude::*;

use super::Parameter;
use super::layer::{Layer, Packed, WayBack};
use crate::layers::{LayerSpec, PlannedLayer};
use crate::simd::lanes;
use crate::trainer::kernels::{Block, BlockMoments, Moments, mask, pack, unpack};

/// The layers on feature maps.
#[derive(Debug, Clone)]
pub(super) struct Maps {
    layers: Vec<Layer>,
    /// Layers of the description that they cover.
    pub(super) covered: usize,
    /// Parameters that they have, the first ones of the network.
    pub(super) parameters: usize,
    /// Numbers of a sample going in.
    input: usize,
    /// Numbers of a sample coming out.
    output: usize,
    /// The first layer that has parameters: no gradient is wanted further back.
    first_trained: usize,
}

/// What the way forward leaves for the way back, and memory for the next pass.
#[derive(Debug, Clone, Default)]
pub(super) struct Tape {
    blocks: Vec<BlockTape>,
    /// Of each batch normalisation, in order.
    moments: Vec<Moments>,
}

#[derive(Debug, Clone, Default)]
struct BlockTape {
    samples: usize,
    /// What each layer takes, and at last what the last one gives.
    values: Vec<Vec<f32>>,
    /// Of each dropout layer, in order.
    masks: Vec<Block>,
    way: WayBack,
}

impl Maps {
    /// The layers that are on feature maps; `None` if there are none.
    pub(super) fn new(planned: &[PlannedLayer]) -> Option<Self> {
        let last = planned.iter().rposition(|layer| !is_dense(&layer.spec))?;
        // Those directly behind work number by number, and better on blocks.
        let behind = planned[last + 1..].iter().take_while(|layer| is_elementwise(&layer.spec)).count();
        let covered = last + 1 + behind;
        let layers = Layer::chain(&planned[..covered]);
        Some(Self {
            parameters: layers.iter().map(Layer::parameters).sum(),
            first_trained: layers.iter().position(|layer| layer.parameters() > 0).unwrap_or(layers.len()),
            layers,
            covered,
            input: planned[0].input.iter().product(),
            output: planned[covered - 1].output.iter().product(),
        })
    }

    /// The outputs of samples, row by row, by the running statistics.
    pub(super) fn evaluate(&self, parameters: &[Parameter], statistics: &[Parameter], rows: &[f32]) -> Vec<f32> {
        let moments: Vec<Moments> =
            statistics.chunks_exact(2).map(|pair| Moments::running(&pair[0].values, &pair[1].values)).collect();
        let packed = self.packed(parameters, false);
        let mut blocks = pack(rows, self.input);
        blocks.par_iter_mut().for_each(|block| {
            let (mut output, mut scratch) = (Vec::new(), Vec::new());
            for (layer, packed) in self.layers.iter().zip(&packed) {
                match layer {
                    Layer::Dropout { .. } => continue,
                    Layer::Norm { index, .. } => {
                        layer.normalise(parameters, &moments[*index], &block.values, &mut output);
                    }
                    _ => layer.forward(parameters, packed, &block.values, &mut scratch, &mut output),
                }
                std::mem::swap(&mut block.values, &mut output);
            }
        });
        unpack(blocks.iter().map(|block| (block.values.as_slice(), block.samples)))
    }

    /// The parameters as the kernels take them, for one pass.
    pub(super) fn packed(&self, parameters: &[Parameter], backward: bool) -> Vec<Packed> {
        let pack = |(at, layer): (usize, &Layer)| layer.pack(parameters, backward && at > self.first_trained);
        self.layers.iter().enumerate().map(pack).collect()
    }

    /// The outputs of samples, row by row, with dropout and by the statistics of the batch.
    pub(super) fn forward(
        &self,
        (parameters, packed): (&[Parameter], &[Packed]),
        rows: &[f32],
        masks: &[Vec<f32>],
        tape: &mut Tape,
    ) -> Vec<f32> {
        let count = rows.len() / self.input;
        tape.blocks.resize_with(count.div_ceil(lanes()), BlockTape::default);
        tape.moments.clear();
        tape.blocks.par_iter_mut().enumerate().for_each(|(index, block)| self.fill(index, block, rows, masks));
        for run in self.runs() {
            let moments = &tape.moments;
            tape.blocks.par_iter_mut().for_each(|block| {
                let BlockTape { values, masks, way, .. } = block;
                for at in run.clone() {
                    let (before, after) = values.split_at_mut(at + 1);
                    let (input, output) = (&before[at], &mut after[0]);
                    match &self.layers[at] {
                        Layer::Dropout { index } => mask(input, &masks[*index].values, output),
                        layer @ Layer::Norm { index, .. } => {
                            layer.normalise(parameters, &moments[*index], input, output);
                        }
                        layer => layer.forward(parameters, &packed[at], input, &mut way.scratch, output),
                    }
                }
            });
            if let Some(layer) = self.layers.get(run.end) {
                let of_block = |block: &BlockTape| layer.moments(&block.values[run.end], block.samples);
                let of_blocks: Vec<BlockMoments> = tape.blocks.par_iter().filter_map(of_block).collect();
                tape.moments.push(Moments::of_batch(of_blocks.iter()));
            }
        }
        unpack(tape.blocks.iter().map(|block| (block.values[self.layers.len()].as_slice(), block.samples)))
    }

    /// Brings a block's samples, and the masks for them, into its lanes.
    fn fill(&self, index: usize, block: &mut BlockTape, rows: &[f32], masks: &[Vec<f32>]) {
        block.values.resize_with(self.layers.len() + 1, Vec::new);
        block.masks.resize_with(masks.len(), Block::default);
        let count = rows.len() / self.input;
        let samples = index * lanes()..count.min((index + 1) * lanes());
        let mut first = Block { values: std::mem::take(&mut block.values[0]), samples: 0 };
        first.fill(&rows[samples.start * self.input..samples.end * self.input], self.input);
        block.samples = first.samples;
        block.values[0] = first.values;
        for (block, mask) in block.masks.iter_mut().zip(masks) {
            let elements = mask.len() / count;
            block.fill(&mask[samples.start * elements..samples.end * elements], elements);
        }
    }

    /// The gradients of the parameters, from those of the outputs.
    pub(super) fn backward(
        &self,
        (parameters, packed): (&[Parameter], &[Packed]),
        upper: &[f32],
        tape: &mut Tape,
    ) -> Vec<Vec<f32>> {
        let Tape { blocks, moments } = tape;
        let starts = blocks.par_iter_mut().zip(upper.par_chunks(self.output * lanes()));
        starts.for_each(|(block, upper)| block.begin(&parameters[..self.parameters], upper, self.output));
        let mut gradients: Vec<Vec<f32>> =
            parameters[..self.parameters].iter().map(|p| vec![0.0; p.values.len()]).collect();
        let runs: Vec<Range<usize>> = self.runs().collect();
        for run in runs.into_iter().rev() {
            let norm = match self.layers.get(run.start) {
                Some(layer @ Layer::Norm { index, scale, offset, .. }) => {
                    Some((layer, &moments[*index], *scale, *offset))
                }
                _ => None,
            };
            let first = run.start + usize::from(norm.is_some());
            blocks.par_iter_mut().for_each(|block| {
                for at in (first.max(self.first_trained)..run.end).rev() {
                    block.pass_back(&self.layers[at], &packed[at], at, at > self.first_trained);
                }
            });
            let Some((layer, moments, scale, offset)) = norm else { continue };
            let of_blocks: Vec<Vec<(f64, f64)>> =
                blocks.par_iter_mut().map(|block| block.norm_sums(layer, moments, run.start)).collect();
            let mut sums = of_blocks.first().cloned().unwrap_or_default();
            for block in of_blocks.iter().skip(1) {
                sums.iter_mut().zip(block).for_each(|(sum, more)| *sum = (sum.0 + more.0, sum.1 + more.1));
            }
            gradients[scale] = sums.iter().map(|sum| sum.1 as f32).collect();
            gradients[offset] = sums.iter().map(|sum| sum.0 as f32).collect();
            if run.start > self.first_trained {
                blocks.par_iter_mut().for_each(|block| {
                    let BlockTape { samples, values, way, .. } = block;
                    layer.norm_back(parameters, moments, &sums, (&values[run.start], *samples), &mut way.upper);
                });
            }
        }
        // In the order of the blocks, whichever thread was the first.
        gradients.par_iter_mut().enumerate().for_each(|(index, total)| {
            for block in blocks.iter() {
                total.iter_mut().zip(&block.way.gradients[index]).for_each(|(total, more)| *total += more);
            }
        });
        gradients
    }

    /// Moves the running statistics towards those of the batch.
    pub(super) fn update(tape: &Tape, statistics: &mut [Parameter]) {
        for (pair, moments) in statistics.chunks_exact_mut(2).zip(&tape.moments) {
            let [mean, variance] = pair else { continue };
            moments.update(&mut mean.values, &mut variance.values);
        }
    }

    /// Layers that a block can take in one go; each run but the first begins with a batch normalisation.
    fn runs(&self) -> impl Iterator<Item = Range<usize>> {
        let norms = self.layers.iter().enumerate().filter(|(_, layer)| matches!(layer, Layer::Norm { .. }));
        let mut borders: Vec<usize> = std::iter::once(0).chain(norms.map(|(at, _)| at)).collect();
        borders.push(self.layers.len());
        (1..borders.len()).map(move |end| borders[end - 1]..borders[end])
    }
}

impl BlockTape {
    /// Takes the gradients of the outputs, row by row.
    fn begin(&mut self, parameters: &[Parameter], upper: &[f32], elements: usize) {
        let mut first = Block { values: std::mem::take(&mut self.way.upper), samples: 0 };
        first.fill(upper, elements);
        self.way.upper = first.values;
        self.way.gradients.resize_with(parameters.len(), Vec::new);
        for (gradient, parameter) in self.way.gradients.iter_mut().zip(parameters) {
            gradient.clear();
            gradient.resize(parameter.values.len(), 0.0);
        }
    }

    fn pass_back(&mut self, layer: &Layer, packed: &Packed, at: usize, further: bool) {
        if let Layer::Dropout { index } = layer {
            mask(&self.way.upper, &self.masks[*index].values, &mut self.way.back);
            std::mem::swap(&mut self.way.upper, &mut self.way.back);
            return;
        }
        layer.backward(packed, (&self.values[at], &self.values[at + 1]), &mut self.way, further);
    }

    fn norm_sums(&mut self, layer: &Layer, moments: &Moments, at: usize) -> Vec<(f64, f64)> {
        layer.norm_sums(moments, (&self.values[at], self.samples), &self.values[at + 1], &mut self.way.upper)
    }
}

/// What burn's autodiff does as fast as we could.
fn is_dense(layer: &LayerSpec) -> bool {
    use LayerSpec::{Dense, Destandardize, Encode, Flatten, Rescale};
    matches!(layer, Dense { .. } | Flatten | Rescale { .. } | Encode { .. } | Destandardize { .. })
        || is_elementwise(layer)
}

fn is_elementwise(layer: &LayerSpec) -> bool {
    matches!(layer, LayerSpec::Relu | LayerSpec::Dropout { .. })
}
