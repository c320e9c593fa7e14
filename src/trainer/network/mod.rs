//! The trainable network: parameters on our side, layers on feature maps by our own kernels, dense
//! layers by matrix products.

#[cfg(test)]
mod check;
mod dense;
mod embedding;
mod encode;
mod initial;
mod layer;
mod maps;

use std::borrow::Cow;

use self::dense::{Arrays, DenseInput};
use self::initial::Initial;
use self::maps::{Maps, Tape};
use crate::error::Result;
use crate::layers::{Architecture, Encoding, LayerSpec, PlannedLayer};

/// One trainable array.
#[derive(Debug, Clone, PartialEq)]
pub struct Parameter {
    /// Its name, as `dense_1.weight`; the same in checkpoints and in the ONNX graph.
    pub name: String,
    /// Its shape.
    pub shape: Vec<usize>,
    /// Its values, row-major.
    pub values: Vec<f32>,
}

/// A network with its parameters.
#[derive(Debug, Clone)]
pub struct Network {
    architecture: Architecture,
    layers: Vec<PlannedLayer>,
    maps: Option<Maps>,
    parameters: Vec<Parameter>,
    statistics: Vec<Parameter>,
    tape: Tape,
}

/// The input of a forward and backward pass.
#[derive(Debug)]
pub(super) struct PassInput {
    /// Samples row by row.
    pub(super) values: Vec<f32>,
    /// The number of samples.
    pub(super) rows: usize,
    /// For each dropout layer a factor for each element of each sample.
    pub(super) masks: Vec<Vec<f32>>,
}

/// The result of a forward and backward pass.
#[derive(Debug)]
pub(super) struct Gradients {
    /// The gradient of each parameter.
    pub(super) parameters: Vec<Vec<f32>>,
    /// The gradient of the input, if it was wanted; a network that begins on feature maps has none.
    pub(super) input: Option<Vec<f32>>,
}

impl Network {
    /// A network with fresh parameters from the seed: Glorot or He uniform weights, zero biases, norms
    /// that change nothing further.
    ///
    /// # Errors
    /// As [`Architecture::plan`].
    pub fn new(architecture: &Architecture, seed: u64) -> Result<Self> {
        Self::part(architecture, seed, 0, "")
    }

    /// One of several networks of the same seed: each part draws numbers of its own, and its parameters'
    /// names begin with `prefix`.
    ///
    /// # Errors
    /// As [`Architecture::plan`].
    pub(super) fn part(architecture: &Architecture, seed: u64, part: u64, prefix: &str) -> Result<Self> {
        let layers = architecture.plan()?;
        let (mut parameters, mut statistics) = (Vec::new(), Vec::new());
        let mut numbers = std::collections::BTreeMap::new();
        for (index, layer) in layers.iter().enumerate() {
            let number: &mut usize = numbers.entry(layer.spec.name()).or_default();
            *number += 1;
            let initial = Initial { seed, part, index, name: format!("{prefix}{}_{number}", layer.spec.name()) };
            parameters.extend(initial.parameters(layer));
            statistics.extend(initial.statistics(layer));
        }
        Ok(Self {
            architecture: architecture.clone(),
            maps: Maps::new(&layers)?,
            layers,
            parameters,
            statistics,
            tape: Tape::default(),
        })
    }

    /// The description it was made from.
    pub fn architecture(&self) -> &Architecture {
        &self.architecture
    }

    /// Its layers with shapes and costs.
    pub fn layers(&self) -> &[PlannedLayer] {
        &self.layers
    }

    /// Its parameters, layer by layer.
    pub fn parameters(&self) -> &[Parameter] {
        &self.parameters
    }

    /// Returns the running means and variances, layer by layer: kept from the data and not trained.
    pub fn statistics(&self) -> &[Parameter] {
        &self.statistics
    }

    pub(super) fn parameters_mut(&mut self) -> &mut [Parameter] {
        &mut self.parameters
    }

    pub(super) fn statistics_mut(&mut self) -> &mut [Parameter] {
        &mut self.statistics
    }

    /// Parameters and statistics: all that makes the network what it is.
    pub(super) fn arrays(&self) -> impl Iterator<Item = &Parameter> {
        self.parameters.iter().chain(&self.statistics)
    }

    pub(super) fn arrays_mut(&mut self) -> impl Iterator<Item = &mut Parameter> {
        self.parameters.iter_mut().chain(&mut self.statistics)
    }

    /// Returns the tokens whose rarities the network weights them by, if its first layer is a weighted bag.
    pub(super) fn weighted_tokens(&self) -> Option<usize> {
        let LayerSpec::EmbeddingBag { tokens, weighted: true, .. } = self.layers.first()?.spec else { return None };
        Some(tokens)
    }

    /// Sets how rare each token is in the data, of a network that begins with a weighted bag.
    pub(super) fn set_rarities(&mut self, rarities: &[f32]) {
        if self.weighted_tokens() == Some(rarities.len())
            && let Some(array) = self.statistics.first_mut()
        {
            array.values.copy_from_slice(rarities);
        }
    }

    /// Returns the number of columns of the linear path from a table without texts to its only number, if it has one.
    pub(super) fn linear_columns(&self) -> Option<usize> {
        let LayerSpec::Encode { columns } = &self.layers.first()?.spec else { return None };
        let mut rest =
            self.layers.iter().rev().skip_while(|layer| matches!(layer.spec, LayerSpec::Destandardize { .. }));
        let is_linear =
            matches!(rest.next()?.spec, LayerSpec::Dense { units: 1 }) && rest.next()?.spec == LayerSpec::Recall;
        let has_texts = columns.iter().any(|column| column.table().is_some());
        (is_linear && !has_texts).then(|| columns.iter().map(Encoding::width).sum())
    }

    /// Returns samples of raw input as the first layer behind an encoding takes them.
    pub(super) fn encoded<'s>(&self, samples: &'s [f32]) -> Cow<'s, [f32]> {
        encode::encoded(&self.layers, samples)
    }

    /// Makes the output a mean of itself, which has this share, and of a linear function of the columns; of a network that
    /// [has such a path](Self::linear_columns).
    pub(super) fn blend_linear(&mut self, weights: &[f64], bias: f64, share: f64) {
        if self.linear_columns() != Some(weights.len()) {
            return;
        }
        if let [.., last, of_bias] = self.parameters.as_mut_slice() {
            last.values
                .iter_mut()
                .chain(&mut of_bias.values)
                .for_each(|value| *value = (f64::from(*value) * share) as f32);
            let start = last.values.len() - weights.len();
            let path = last.values[start..].iter_mut().chain(&mut of_bias.values);
            let line = weights.iter().chain([&bias]);
            path.zip(line).for_each(|(value, weight)| *value += (weight * (1.0 - share)) as f32);
        }
    }

    /// Elements per sample and rate of each dropout layer.
    pub(super) fn dropout(&self) -> Vec<(usize, f32)> {
        let rate = |layer: &PlannedLayer| {
            let LayerSpec::Dropout { rate } = layer.spec else { return None };
            Some((layer.input.iter().product(), rate))
        };
        self.layers.iter().filter_map(rate).collect()
    }

    /// Returns true if it begins with dense layers, so that the gradient of its input is known.
    pub(super) fn begins_dense(&self) -> bool {
        self.maps.as_ref().is_none_or(Maps::has_front)
    }

    /// The logits of samples of raw input, `[rows, classes]` row by row, with dropout off and batch norms
    /// by their running statistics.
    ///
    /// # Errors
    /// [`Error::Internal`](crate::error::Error::Internal) when the samples do not fit the network.
    pub fn logits(&self, samples: &[f32]) -> Result<Vec<f32>> {
        let elements: usize = self.architecture.input.iter().product();
        let rows = samples.len() / elements;
        let samples = encode::encoded(&self.layers, samples);
        let Some(maps) = &self.maps else {
            let values = samples.into_owned();
            let input = DenseInput { values, rows, masks: Vec::new() };
            let arrays = Arrays { parameters: &self.parameters, statistics: &self.statistics };
            return dense::evaluate(&self.layers, arrays, input);
        };
        let dense = |layers: &[PlannedLayer], parameters: &[Parameter], values: Vec<f32>| {
            dense::evaluate(layers, Arrays::trained(parameters), DenseInput { values, rows, masks: Vec::new() })
        };
        let (covered, of_maps) = (maps.covered.clone(), maps.parameters.clone());
        let taken = match maps.has_front() {
            true => {
                let (layers, parameters) = (&self.layers[..covered.start], &self.parameters[..of_maps.start]);
                dense(layers, parameters, samples.into_owned())?.into()
            }
            false => samples,
        };
        let values = maps.evaluate(&self.parameters[of_maps.clone()], &self.statistics, &taken);
        dense(&self.layers[covered.end..], &self.parameters[of_maps.end..], values)
    }

    /// Forward and backward. `loss` turns the outputs into the gradient of the loss, in place; everything
    /// before the outputs is differentiated.
    ///
    /// # Errors
    /// Those of `loss`; [`Error::Internal`](crate::error::Error::Internal) when the samples do not fit the network.
    pub(super) fn pass_through(
        &mut self,
        input: PassInput,
        wants_input_gradient: bool,
        loss: impl FnOnce(&mut [f32]) -> Result<()>,
    ) -> Result<Gradients> {
        let PassInput { values, rows, mut masks } = input;
        let values = encode::encoded(&self.layers, values).into_owned();
        let Some(maps) = &self.maps else {
            let input = DenseInput { values, rows, masks };
            let arrays = Arrays { parameters: &self.parameters, statistics: &self.statistics };
            let pass = dense::pass(&self.layers, arrays, input, wants_input_gradient, loss)?;
            return Ok(Gradients { parameters: pass.gradients, input: pass.input_gradient });
        };
        let dropouts = |layers: &[PlannedLayer]| {
            layers.iter().filter(|layer| matches!(layer.spec, LayerSpec::Dropout { .. })).count()
        };
        let behind_masks = masks.split_off(dropouts(&self.layers[..maps.covered.end]));
        let maps_masks = masks.split_off(dropouts(&self.layers[..maps.covered.start]));
        let (of_front, rest) = self.parameters.split_at(maps.parameters.start);
        let (of_maps, behind) = rest.split_at(maps.parameters.len());
        let (layers, tape) = (&self.layers, &mut self.tape);
        let packed = maps.packed(of_maps, true);
        let mut gradients = Vec::new();
        // The maps and what is behind them; the gradient of what they take, if it is wanted.
        let on_maps = |values: &[f32]| -> Result<Option<Vec<f32>>> {
            let values = maps.forward((of_maps, &packed), values, &maps_masks, tape);
            let input = DenseInput { values, rows, masks: behind_masks };
            let dense = dense::pass(&layers[maps.covered.end..], Arrays::trained(behind), input, true, loss)?;
            let upper = dense.input_gradient.unwrap_or_default();
            let backward = maps.backward((of_maps, &packed), &upper, tape);
            gradients.extend(backward.parameters.into_iter().chain(dense.gradients));
            Ok(backward.input)
        };
        let (mut all, input) = if maps.has_front() {
            let input = DenseInput { values, rows, masks };
            let front = &layers[..maps.covered.start];
            let pass = dense::pass(front, Arrays::trained(of_front), input, wants_input_gradient, |outputs| {
                on_maps(outputs)?.into_iter().for_each(|gradient| outputs.copy_from_slice(&gradient));
                Ok(())
            })?;
            (pass.gradients, pass.input_gradient)
        } else {
            on_maps(&values)?;
            (Vec::new(), None)
        };
        all.append(&mut gradients);
        Maps::update(&self.tape, &mut self.statistics);
        Ok(Gradients { parameters: all, input })
    }
}
