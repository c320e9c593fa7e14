//! The layers of a network that are on feature maps: our own forward and backward, block by block.
//!
//! A block goes through as many layers as it can before it needs to know of the others, which only a
//! batch normalisation does; so what one layer writes, the next reads from the cache.

use std::ops::Range;

use rayon::prelude::*;

use super::embedding::Embedding;
use super::layer::{Layer, Packed, WayBack};
use super::{Gradients, Parameter};
use crate::error::{Error, Result};
use crate::layers::{LayerSpec, PlannedLayer};
use crate::simd::lanes;
use crate::trainer::kernels::{Block, BlockMoments, Moments, mask, pack, sum, unpack};

/// The layers on feature maps.
#[derive(Debug, Clone)]
pub(super) struct Maps {
    /// What is before the layers, if the samples are of tokens; its table is the first parameter.
    embedding: Option<Embedding>,
    layers: Vec<Layer>,
    /// The layers of the description that they cover; those before and behind are dense.
    pub(super) covered: Range<usize>,
    /// Their parameters among the network's.
    pub(super) parameters: Range<usize>,
    /// Numbers of a sample going in.
    input: usize,
    /// Numbers of a sample coming out.
    output: usize,
    /// The last layer that the gradient passes; that of its input is wanted only if something before it learns.
    last_back: usize,
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
    /// The row of the table for each token.
    tokens: Vec<u32>,
    /// The input of each layer, and at last the output of the last one.
    values: Vec<Vec<f32>>,
    /// Of each dropout layer, in order.
    masks: Vec<Block>,
    way: WayBack,
}

impl Maps {
    /// The layers that are on feature maps; `None` if there are none.
    ///
    /// # Errors
    /// [`Error::Config`] when there is a dense one among them.
    pub(super) fn new(planned: &[PlannedLayer]) -> Result<Option<Self>> {
        let on_maps = |layer: &PlannedLayer| !is_dense(&layer.spec);
        let (Some(first), Some(last)) = (planned.iter().position(on_maps), planned.iter().rposition(on_maps)) else {
            return Ok(None);
        };
        let has_weights = |layer: &PlannedLayer| matches!(layer.spec, LayerSpec::Dense { .. });
        let start = planned[..first].iter().rposition(has_weights).map_or(0, |at| at + 1);
        if let Some(at) = planned[first..last].iter().position(has_weights) {
            let problem = "is between layers on feature maps; dense ones are before or behind them".into();
            return Err(Error::Config { setting: format!("layers[{}] (dense)", first + at), problem });
        }
        // Those directly behind work number by number, and better on blocks.
        let behind = planned[last + 1..].iter().take_while(|layer| is_elementwise(&layer.spec)).count();
        let covered = start..last + 1 + behind;
        let embedding = Embedding::of(planned);
        let looked_up = usize::from(embedding.is_some());
        let layers = Layer::chain(&planned[start + looked_up..covered.end], looked_up).map_err(|(at, problem)| {
            let setting = format!("layers[{}] (add)", start + looked_up + at);
            Error::Config { setting, problem }
        })?;
        let before = 2 * planned[..start].iter().filter(|layer| has_weights(layer)).count();
        let parameters = looked_up + layers.iter().map(Layer::parameters).sum::<usize>();
        let first_trained = layers.iter().position(|layer| layer.parameters() > 0).unwrap_or(layers.len());
        Ok(Some(Self {
            embedding,
            parameters: before..before + parameters,
            last_back: if start > 0 || embedding.is_some() { 0 } else { first_trained },
            layers,
            input: planned[start].input.iter().product(),
            output: planned[covered.end - 1].output.iter().product(),
            covered,
        }))
    }

    /// Whether there are layers before these, which learn by the gradient of what these take.
    pub(super) fn has_front(&self) -> bool {
        self.covered.start > 0
    }

    /// Returns true if the gradient of a layer's input is wanted.
    fn goes_further(&self, at: usize) -> bool {
        at > self.last_back || self.has_front() || self.embedding.is_some()
    }

    /// The outputs of samples, row by row, by the running statistics.
    pub(super) fn evaluate(&self, parameters: &[Parameter], statistics: &[Parameter], rows: &[f32]) -> Vec<f32> {
        let moments: Vec<Moments> =
            statistics.chunks_exact(2).map(|pair| Moments::running(&pair[0].values, &pair[1].values)).collect();
        let packed = self.packed(parameters, false);
        let mut blocks = match self.embedding {
            None => pack(rows, self.input),
            Some(embedding) => {
                let block = |samples: &[f32]| {
                    let mut block = Block { values: Vec::new(), samples: samples.len() / self.input };
                    embedding.fill(&parameters[0].values, samples, &mut Vec::new(), &mut block.values);
                    block
                };
                rows.par_chunks(self.input * lanes()).map(block).collect()
            }
        };
        let added =
            |at: usize| self.layers.iter().any(|layer| matches!(layer, Layer::Add { source, .. } if *source == at));
        blocks.par_iter_mut().for_each(|block| {
            let (mut output, mut scratch, mut kept) = (Vec::new(), Vec::new(), Vec::<(usize, Vec<f32>)>::new());
            for (at, (layer, packed)) in self.layers.iter().zip(&packed).enumerate() {
                if added(at) {
                    kept.push((at, block.values.clone()));
                }
                match layer {
                    Layer::Add { source, relu } => {
                        let Some((_, other)) = kept.iter().find(|(at, _)| at == source) else { continue };
                        sum(&block.values, other, *relu, &mut output);
                    }
                    Layer::Dropout { .. } => continue,
                    Layer::Norm { index, .. } => {
                        layer.normalise(parameters, &moments[*index], &block.values, &mut output);
                    }
                    Layer::Rescale(_)
                    | Layer::Relu
                    | Layer::Silu
                    | Layer::Convolution { .. }
                    | Layer::GroupNorm { .. }
                    | Layer::MaxPool(_)
                    | Layer::AveragePool(_)
                    | Layer::GlobalAverage { .. }
                    | Layer::Shuffle(_)
                    | Layer::Recurrent { .. }
                    | Layer::LastState(_)
                    | Layer::Directions { .. }
                    | Layer::States(_)
                    | Layer::Series(_)
                    | Layer::Flatten => {
                        layer.forward(parameters, packed, &block.values, &mut scratch, &mut output);
                    }
                }
                std::mem::swap(&mut block.values, &mut output);
            }
        });
        unpack(blocks.iter().map(|block| (block.values.as_slice(), block.samples)))
    }

    /// The parameters as the kernels take them, for one pass.
    pub(super) fn packed(&self, parameters: &[Parameter], backward: bool) -> Vec<Packed> {
        let pack = |(at, layer): (usize, &Layer)| layer.pack(parameters, backward && self.goes_further(at));
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
        let table = parameters.first().map_or(&[][..], |table| &table.values);
        let blocks = tape.blocks.par_iter_mut().enumerate();
        blocks.for_each(|(index, block)| self.fill(index, block, (rows, table), masks));
        for run in self.runs() {
            let moments = &tape.moments;
            tape.blocks.par_iter_mut().for_each(|block| {
                let BlockTape { values, masks, way, .. } = block;
                for at in run.clone() {
                    let (before, after) = values.split_at_mut(at + 1);
                    let (input, output) = (&before[at], &mut after[0]);
                    match &self.layers[at] {
                        Layer::Dropout { index } => mask(input, &masks[*index].values, output),
                        Layer::Add { source, relu } => sum(input, &before[*source], *relu, output),
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
    fn fill(&self, index: usize, block: &mut BlockTape, (rows, table): (&[f32], &[f32]), masks: &[Vec<f32>]) {
        block.values.resize_with(self.layers.len() + 1, Vec::new);
        block.masks.resize_with(masks.len(), Block::default);
        let count = rows.len() / self.input;
        let samples = index * lanes()..count.min((index + 1) * lanes());
        let rows = &rows[samples.start * self.input..samples.end * self.input];
        block.samples = samples.len();
        match self.embedding {
            Some(embedding) => embedding.fill(table, rows, &mut block.tokens, &mut block.values[0]),
            None => {
                let mut first = Block { values: std::mem::take(&mut block.values[0]), samples: 0 };
                first.fill(rows, self.input);
                block.values[0] = first.values;
            }
        }
        for (block, mask) in block.masks.iter_mut().zip(masks) {
            let elements = mask.len() / count;
            block.fill(&mask[samples.start * elements..samples.end * elements], elements);
        }
    }

    /// The gradients of the parameters and, if something before learns by it, of the input, from those of the
    /// outputs.
    pub(super) fn backward(
        &self,
        (parameters, packed): (&[Parameter], &[Packed]),
        upper: &[f32],
        tape: &mut Tape,
    ) -> Gradients {
        let Tape { blocks, moments } = tape;
        let starts = blocks.par_iter_mut().zip(upper.par_chunks(self.output * lanes()));
        let looked_up = usize::from(self.embedding.is_some());
        starts.for_each(|(block, upper)| block.begin(looked_up, &parameters[looked_up..], upper, self.output));
        let mut gradients: Vec<Vec<f32>> = parameters.iter().map(|p| vec![0.0; p.values.len()]).collect();
        let runs: Vec<Range<usize>> = self.runs().filter(|run| !run.is_empty()).collect();
        for run in runs.into_iter().rev() {
            let norm = self.layers.get(run.start).and_then(|layer| {
                let Layer::Norm { index, scale, offset, .. } = layer else { return None };
                Some((layer, &moments[*index], *scale, *offset))
            });
            let first = run.start + usize::from(norm.is_some());
            blocks.par_iter_mut().for_each(|block| {
                for at in (first.max(self.last_back)..run.end).rev() {
                    self.pass_back(block, (parameters, &packed[at]), at);
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
            if self.goes_further(run.start) {
                blocks.par_iter_mut().for_each(|block| {
                    let BlockTape { samples, values, way, .. } = block;
                    layer.norm_back(parameters, moments, &sums, (&values[run.start], *samples), &mut way.upper);
                    way.join(run.start);
                });
            }
        }
        // In the order of the blocks, whichever thread was the first.
        if let (Some(embedding), Some(table)) = (self.embedding, gradients.first_mut()) {
            for block in blocks.iter() {
                embedding.scatter(&block.tokens, &block.way.upper, table);
            }
        }
        gradients.par_iter_mut().enumerate().for_each(|(index, total)| {
            for block in blocks.iter() {
                total.iter_mut().zip(&block.way.gradients[index]).for_each(|(total, more)| *total += more);
            }
        });
        let input = self.has_front().then(|| unpack(blocks.iter().map(|block| (&block.way.upper[..], block.samples))));
        Gradients { parameters: gradients, input }
    }

    /// Replaces the gradient of a layer's output by that of its input.
    fn pass_back(&self, block: &mut BlockTape, of_layer: (&[Parameter], &Packed), at: usize) {
        let further = self.goes_further(at);
        block.pass_back(&self.layers[at], of_layer, at, further);
        if let Layer::Add { source, .. } = &self.layers[at]
            && self.goes_further(*source)
        {
            block.way.skip(*source);
        }
        if further {
            block.way.join(at);
        }
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
    /// Takes the gradients of the outputs, row by row. Of the first parameters, so many as are `looked_up` in, no sums
    /// over the block are kept: few of their rows are touched.
    fn begin(&mut self, looked_up: usize, parameters: &[Parameter], upper: &[f32], elements: usize) {
        let mut first = Block { values: std::mem::take(&mut self.way.upper), samples: 0 };
        first.fill(upper, elements);
        self.way.upper = first.values;
        self.way.skipped.resize_with(self.values.len(), Vec::new);
        self.way.skipped.iter_mut().for_each(Vec::clear);
        self.way.gradients.resize_with(looked_up + parameters.len(), Vec::new);
        for (gradient, parameter) in self.way.gradients[looked_up..].iter_mut().zip(parameters) {
            gradient.clear();
            gradient.resize(parameter.values.len(), 0.0);
        }
    }

    fn pass_back(&mut self, layer: &Layer, of_layer: (&[Parameter], &Packed), at: usize, further: bool) {
        if let Layer::Dropout { index } = layer {
            mask(&self.way.upper, &self.masks[*index].values, &mut self.way.back);
            std::mem::swap(&mut self.way.upper, &mut self.way.back);
            return;
        }
        layer.backward(of_layer, (&self.values[at], &self.values[at + 1]), &mut self.way, further);
    }

    fn norm_sums(&mut self, layer: &Layer, moments: &Moments, at: usize) -> Vec<(f64, f64)> {
        layer.norm_sums(moments, (&self.values[at], self.samples), &self.values[at + 1], &mut self.way.upper)
    }
}

/// Returns whether a layer works on rows of samples, not on blocks of them.
fn is_dense(layer: &LayerSpec) -> bool {
    use LayerSpec::{Dense, Destandardize, EmbeddingBag, Encode, Flatten, Recall, Rescale, Standardize};
    matches!(layer, Dense { .. } | Flatten | Rescale { .. } | Encode { .. } | Standardize { .. })
        || matches!(layer, Recall | EmbeddingBag { .. } | Destandardize { .. })
        || is_elementwise(layer)
}

fn is_elementwise(layer: &LayerSpec) -> bool {
    matches!(layer, LayerSpec::Relu | LayerSpec::Silu | LayerSpec::Dropout { .. })
}
