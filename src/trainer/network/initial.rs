//! The arrays that a layer begins with: Glorot or He uniform weights, zero biases but of gates that keep a state, norms that
//! change nothing.

use rand::RngExt;

use super::Parameter;
use crate::layers::{Encoding, LayerSpec, PlannedLayer};
use crate::trainer::random::keyed_rng;

/// The names of a recurrent layer's arrays, by direction.
const RECURRENT: [[&str; 3]; 2] = [["weight", "recurrence", "bias"], ["weight_back", "recurrence_back", "bias_back"]];

/// The bias that the update gate of a GRU begins with: it keeps 88 % of a state from step to step, so that what stood at the
/// beginning of a long series is still seen at its end. As the bias of an LSTM's forget gate (Jozefowicz et al. 2015).
const GRU_UPDATE_BIAS: f32 = 2.0;

/// The key of one layer's random numbers, and the name that its arrays begin with.
#[derive(Debug)]
pub(super) struct Initial {
    pub(super) seed: u64,
    pub(super) part: u64,
    pub(super) index: usize,
    pub(super) name: String,
}

impl Initial {
    /// Returns the parameters of the layer.
    pub(super) fn parameters(&self, layer: &PlannedLayer) -> Vec<Parameter> {
        match layer.spec {
            LayerSpec::Dense { units } => {
                let inputs = layer.input[0];
                let weights = self.uniform(inputs * units, (6.0 / (inputs + units) as f64).sqrt());
                vec![
                    self.array("weight", vec![inputs, units], weights),
                    self.array("bias", vec![units], vec![0.0; units]),
                ]
            }
            LayerSpec::Conv2d { channels, kernel, groups, bias, .. } => {
                self.convolution([channels, layer.input[0] / groups, kernel, kernel], bias)
            }
            LayerSpec::Conv1d { channels, kernel, bias, .. } => {
                self.convolution([channels, layer.input[0], 1, kernel], bias)
            }
            LayerSpec::Lstm { units, bidirectional, .. } => {
                let mut bias = vec![0.0; 4 * units];
                bias[2 * units..3 * units].fill(1.0);
                self.recurrent([layer.input[1], units, 4 * units], &bias, bidirectional)
            }
            LayerSpec::Gru { units, bidirectional, .. } => {
                let mut bias = vec![0.0; 6 * units];
                bias[..units].fill(GRU_UPDATE_BIAS);
                self.recurrent([layer.input[1], units, 3 * units], &bias, bidirectional)
            }
            LayerSpec::Embedding { tokens, units } | LayerSpec::EmbeddingBag { tokens, units, .. } => {
                vec![self.array("weight", vec![tokens, units], self.uniform(tokens * units, 0.05))]
            }
            LayerSpec::Encode { ref columns } => self.tables(columns),
            LayerSpec::BatchNorm | LayerSpec::GroupNorm { .. } => {
                self.per_channel(layer, [("scale", 1.0), ("offset", 0.0)])
            }
            LayerSpec::Rescale { .. }
            | LayerSpec::Add { .. }
            | LayerSpec::Flatten
            | LayerSpec::Relu
            | LayerSpec::Silu
            | LayerSpec::Dropout { .. }
            | LayerSpec::MaxPool { .. }
            | LayerSpec::AveragePool { .. }
            | LayerSpec::GlobalAveragePool
            | LayerSpec::Unflatten { .. }
            | LayerSpec::PixelShuffle { .. }
            | LayerSpec::Rows
            | LayerSpec::Series
            | LayerSpec::Standardize { .. }
            | LayerSpec::Recall
            | LayerSpec::Destandardize { .. } => Vec::new(),
        }
    }

    /// Returns the statistics that the layer keeps of the data: the running mean and variance of a batch norm, and how rare
    /// each token of a weighted bag is.
    pub(super) fn statistics(&self, layer: &PlannedLayer) -> Vec<Parameter> {
        if let LayerSpec::EmbeddingBag { tokens, weighted: true, .. } = layer.spec {
            return vec![self.array("rarity", vec![tokens], vec![1.0; tokens])];
        }
        if layer.spec != LayerSpec::BatchNorm {
            return Vec::new();
        }
        self.per_channel(layer, [("mean", 0.0), ("variance", 1.0)])
    }

    fn convolution(&self, shape: [usize; 4], bias: bool) -> Vec<Parameter> {
        let [channels, inputs, height, width] = shape;
        let reach = inputs * height * width;
        let weights = self.uniform(channels * reach, (6.0 / reach as f64).sqrt());
        let bias = bias.then(|| self.array("bias", vec![channels], vec![0.0; channels]));
        std::iter::once(self.array("weight", shape.to_vec(), weights)).chain(bias).collect()
    }

    /// Returns the tables of columns of texts, drawn one after the other.
    fn tables(&self, columns: &[Encoding]) -> Vec<Parameter> {
        let shapes: Vec<[usize; 2]> = columns.iter().filter_map(Encoding::table).collect();
        let mut values = self.uniform(shapes.iter().map(|[tokens, units]| tokens * units).sum(), 0.05).into_iter();
        let table = |(place, [tokens, units]): (usize, [usize; 2])| {
            self.array(
                &format!("table_{}", place + 1),
                vec![tokens, units],
                values.by_ref().take(tokens * units).collect(),
            )
        };
        shapes.into_iter().enumerate().map(table).collect()
    }

    /// Returns the arrays of a recurrent layer, and after them those of a second one that reads from the end.
    fn recurrent(&self, [inputs, units, rows]: [usize; 3], bias: &[f32], bidirectional: bool) -> Vec<Parameter> {
        let names: &[[&str; 3]] = if bidirectional { &RECURRENT } else { &RECURRENT[..1] };
        let each = rows * (inputs + units);
        let weights = self.uniform(each * names.len(), (units as f64).powf(-0.5));
        let arrays = |(weights, [weight, recurrence, of_bias]): (&[f32], &[&str; 3])| {
            let (of_inputs, of_state) = weights.split_at(rows * inputs);
            [
                self.array(weight, vec![rows, inputs], of_inputs.to_vec()),
                self.array(recurrence, vec![rows, units], of_state.to_vec()),
                self.array(of_bias, vec![bias.len()], bias.to_vec()),
            ]
        };
        weights.chunks_exact(each.max(1)).zip(names).flat_map(arrays).collect()
    }

    fn per_channel(&self, layer: &PlannedLayer, arrays: [(&str, f32); 2]) -> Vec<Parameter> {
        let channels = layer.input[0];
        arrays.map(|(what, value)| self.array(what, vec![channels], vec![value; channels])).into()
    }

    fn array(&self, what: &str, shape: Vec<usize>, values: Vec<f32>) -> Parameter {
        Parameter { name: format!("{}.{what}", self.name), shape, values }
    }

    /// Returns numbers between `-limit` and `limit`.
    fn uniform(&self, count: usize, limit: f64) -> Vec<f32> {
        let mut rng = keyed_rng(self.seed, "weights", self.index as u64, self.part);
        (0..count).map(|_| rng.random_range(-limit as f32..limit as f32)).collect()
    }
}
