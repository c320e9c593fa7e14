//! The arrays that a layer begins with: Glorot or He uniform weights, zero biases, norms that change nothing.

use rand::RngExt;

use super::Parameter;
use crate::layers::{LayerSpec, PlannedLayer};
use crate::trainer::random::keyed_rng;

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
                let inputs = layer.input[0] / groups;
                let reach = inputs * kernel * kernel;
                let weights = self.uniform(channels * reach, (6.0 / reach as f64).sqrt());
                let weight = self.array("weight", vec![channels, inputs, kernel, kernel], weights);
                let bias = bias.then(|| self.array("bias", vec![channels], vec![0.0; channels]));
                std::iter::once(weight).chain(bias).collect()
            }
            LayerSpec::Lstm { units } => {
                let mut bias = vec![0.0; 4 * units];
                bias[2 * units..3 * units].fill(1.0);
                self.recurrent(layer.input[1], units, 4 * units, bias)
            }
            LayerSpec::Gru { units } => self.recurrent(layer.input[1], units, 3 * units, vec![0.0; 6 * units]),
            LayerSpec::Embedding { tokens, units } | LayerSpec::EmbeddingBag { tokens, units } => {
                vec![self.array("weight", vec![tokens, units], self.uniform(tokens * units, 0.05))]
            }
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
            | LayerSpec::Encode { .. }
            | LayerSpec::Standardize { .. }
            | LayerSpec::Recall
            | LayerSpec::Destandardize { .. } => Vec::new(),
        }
    }

    /// Returns the statistics that the layer keeps of the data: the running mean and variance of a batch norm.
    pub(super) fn statistics(&self, layer: &PlannedLayer) -> Vec<Parameter> {
        if layer.spec != LayerSpec::BatchNorm {
            return Vec::new();
        }
        self.per_channel(layer, [("mean", 0.0), ("variance", 1.0)])
    }

    fn recurrent(&self, inputs: usize, units: usize, rows: usize, bias: Vec<f32>) -> Vec<Parameter> {
        let mut weights = self.uniform(rows * (inputs + units), (units as f64).powf(-0.5));
        let of_state = weights.split_off(rows * inputs);
        vec![
            self.array("weight", vec![rows, inputs], weights),
            self.array("recurrence", vec![rows, units], of_state),
            self.array("bias", vec![bias.len()], bias),
        ]
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
