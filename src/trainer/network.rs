//! The trainable network: parameters on our side, forward and backward by burn's autodiff.
//!
//! Parameters are plain vectors between steps. A step lends them to burn as leaf tensors and takes
//! them back, so that the optimiser, checkpoints and the exporter see ordinary memory.

use burn::tensor::activation::relu;
use burn::tensor::module::linear;
use burn::tensor::{Device, Tensor, TensorData};
use rand::RngExt;

use super::batches::{Batch, keyed_rng};
use crate::error::{Error, Result};
use crate::layers::{Architecture, LayerSpec, PlannedLayer};

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
    parameters: Vec<Parameter>,
}

/// What a forward and backward pass over a batch gives.
#[derive(Debug)]
pub(super) struct Pass {
    /// Sum of the losses of the samples.
    pub(super) loss_sum: f64,
    /// Samples whose most probable class was right.
    pub(super) correct: usize,
    /// The gradient of the mean loss for each parameter.
    pub(super) gradients: Vec<Vec<f32>>,
}

/// The leaves of one pass, in parameter order.
struct Leaves {
    dense: Vec<(Tensor<2>, Tensor<1>)>,
}

impl Network {
    /// A network with fresh parameters: Glorot uniform weights, zero biases, from the seed.
    ///
    /// # Errors
    /// As [`Architecture::plan`].
    pub fn new(architecture: &Architecture, seed: u64) -> Result<Self> {
        let layers = architecture.plan()?;
        let mut parameters = Vec::new();
        for (index, layer) in layers.iter().enumerate() {
            let LayerSpec::Dense { units } = layer.spec else { continue };
            let inputs = layer.input[0];
            let name = format!("dense_{}", parameters.len() / 2 + 1);
            let limit = (6.0 / (inputs + units) as f64).sqrt() as f32;
            let mut rng = keyed_rng(seed, "weights", index as u64, 0);
            let values = (0..inputs * units).map(|_| rng.random_range(-limit..limit)).collect();
            parameters.push(Parameter { name: format!("{name}.weight"), shape: vec![inputs, units], values });
            parameters.push(Parameter { name: format!("{name}.bias"), shape: vec![units], values: vec![0.0; units] });
        }
        Ok(Self { architecture: architecture.clone(), layers, parameters })
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

    pub(super) fn parameters_mut(&mut self) -> &mut [Parameter] {
        &mut self.parameters
    }

    /// Elements per sample and rate of each dropout layer.
    pub(super) fn dropout(&self) -> Vec<(usize, f32)> {
        let rate = |layer: &PlannedLayer| match layer.spec {
            LayerSpec::Dropout { rate } => Some((layer.input.iter().product(), rate)),
            _ => None,
        };
        self.layers.iter().filter_map(rate).collect()
    }

    /// The logits of samples of raw input, `[rows, classes]` row by row, with dropout off.
    ///
    /// # Errors
    /// [`Error::Internal`] when burn gives something that is no 32-bit float tensor.
    pub fn logits(&self, samples: &[f32]) -> Result<Vec<f32>> {
        let device = Device::flex();
        let elements: usize = self.architecture.input.iter().product();
        let input =
            Tensor::<2>::from_data(TensorData::new(samples.to_vec(), [samples.len() / elements, elements]), &device);
        let leaves = lend(&mut self.parameters.clone(), &device);
        values(self.forward(input, &leaves, Vec::new()).into_data())
    }

    /// Forward and backward over one batch.
    ///
    /// The loss is sparse categorical cross-entropy on the softmax of the logits z. Its gradient is
    /// known in closed form, dL/dz = (softmax(z) - onehot) / N, so burn differentiates z·c with that
    /// constant c instead of a chain of logarithms and look-ups; everything before z is autodiff.
    pub(super) fn pass(&mut self, batch: Batch) -> Result<Pass> {
        let device = Device::flex().autodiff();
        let rows = batch.labels.len();
        let elements: usize = self.architecture.input.iter().product();
        let input = Tensor::<2>::from_data(TensorData::new(batch.pixels, [rows, elements]), &device);
        let masks = batch.dropout.into_iter().map(|mask| {
            let width = mask.len() / rows;
            Tensor::<2>::from_data(TensorData::new(mask, [rows, width]), &device)
        });
        let leaves = lend(&mut self.parameters, &device).require_grad();
        let logits = self.forward(input, &leaves, masks.collect());
        let mut gradient = values(logits.clone().inner().into_data())?;
        let (loss_sum, correct) = cross_entropy(&mut gradient, &batch.labels);
        let [_, classes] = logits.dims();
        let constant = Tensor::<2>::from_data(TensorData::new(gradient, [rows, classes]), &device);
        let mut grads = (logits * constant).sum().backward();
        let missing = || Error::internal("training failed", "a parameter has no gradient");
        let mut gradients = Vec::with_capacity(self.parameters.len());
        for (weight, bias) in &leaves.dense {
            gradients.push(values(weight.grad_remove(&mut grads).ok_or_else(missing)?.into_data())?);
            gradients.push(values(bias.grad_remove(&mut grads).ok_or_else(missing)?.into_data())?);
        }
        drop(grads);
        take_back(&mut self.parameters, leaves)?;
        Ok(Pass { loss_sum, correct, gradients })
    }

    fn forward(&self, input: Tensor<2>, leaves: &Leaves, masks: Vec<Tensor<2>>) -> Tensor<2> {
        let mut dense = leaves.dense.iter();
        let mut masks = masks.into_iter();
        self.layers.iter().fold(input, |x, layer| match layer.spec {
            LayerSpec::Rescale { scale } => x.mul_scalar(scale),
            // Samples are flat already; the shape is the graph's and the summary's matter.
            LayerSpec::Flatten => x,
            LayerSpec::Dense { .. } => match dense.next() {
                Some((weight, bias)) => linear(x, weight.clone(), Some(bias.clone())),
                None => x,
            },
            LayerSpec::Relu => relu(x),
            LayerSpec::Dropout { .. } => match masks.next() {
                Some(mask) => x * mask,
                None => x,
            },
        })
    }
}

impl Leaves {
    fn require_grad(self) -> Self {
        let track = |(weight, bias): (Tensor<2>, Tensor<1>)| (weight.require_grad(), bias.require_grad());
        Self { dense: self.dense.into_iter().map(track).collect() }
    }
}

/// Moves the values of the parameters into tensors.
fn lend(parameters: &mut [Parameter], device: &Device) -> Leaves {
    let mut data = parameters
        .iter_mut()
        .map(|parameter| TensorData::new(std::mem::take(&mut parameter.values), parameter.shape.clone()));
    let mut dense = Vec::new();
    while let (Some(weight), Some(bias)) = (data.next(), data.next()) {
        dense.push((Tensor::<2>::from_data(weight, device), Tensor::<1>::from_data(bias, device)));
    }
    Leaves { dense }
}

/// Moves the values back; no copy is made when nothing else holds the tensors any more.
fn take_back(parameters: &mut [Parameter], leaves: Leaves) -> Result<()> {
    for (pair, (weight, bias)) in parameters.chunks_exact_mut(2).zip(leaves.dense) {
        pair[0].values = values(weight.inner().into_data())?;
        pair[1].values = values(bias.inner().into_data())?;
    }
    Ok(())
}

fn values(data: TensorData) -> Result<Vec<f32>> {
    data.try_into_vec::<f32>().map_err(|error| Error::internal("training failed", format!("{error:?}")))
}

/// Turns logits into the gradient of the mean loss, in place; returns the sum of the losses and how
/// many samples are right.
fn cross_entropy(logits: &mut [f32], labels: &[u8]) -> (f64, usize) {
    let classes = logits.len() / labels.len().max(1);
    let scale = 1.0 / labels.len() as f32;
    let (mut loss_sum, mut correct) = (0.0, 0);
    for (row, label) in logits.chunks_exact_mut(classes.max(1)).zip(labels) {
        let label = usize::from(*label);
        correct += usize::from(crate::stats::argmax(row) == label);
        let greatest = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let truth = row[label] - greatest;
        let mut sum = 0.0;
        for value in row.iter_mut() {
            *value = (*value - greatest).exp();
            sum += *value;
        }
        loss_sum += f64::from(sum.ln() - truth);
        row.iter_mut().for_each(|value| *value *= scale / sum);
        row[label] -= scale;
    }
    (loss_sum, correct)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn small() -> Architecture {
        Architecture {
            input: vec![1, 2, 3],
            layers: vec![
                LayerSpec::Rescale { scale: 0.5 },
                LayerSpec::Flatten,
                LayerSpec::Dense { units: 5 },
                LayerSpec::Relu,
                LayerSpec::Dropout { rate: 0.5 },
                LayerSpec::Dense { units: 4 },
            ],
        }
    }

    fn batch() -> Batch {
        let pixels = (0..18).map(|i| ((i * 7) % 11) as f32 / 3.0 - 1.0).collect();
        Batch {
            pixels,
            labels: vec![0, 3, 2],
            dropout: vec![(0..15).map(|i| if i % 3 == 0 { 0.0 } else { 2.0 }).collect()],
        }
    }

    fn mean_loss(network: &Network, batch: Batch) -> f64 {
        let rows = batch.labels.len() as f64;
        network.clone().pass(batch).unwrap().loss_sum / rows
    }

    /// Central differences, step 1e-2: their own error is some 1e-4 in 32-bit floats.
    #[test]
    fn gradients_agree_with_finite_differences() {
        let network = Network::new(&small(), 3).unwrap();
        let pass = network.clone().pass(batch()).unwrap();
        for (index, gradient) in pass.gradients.iter().enumerate() {
            for (element, analytic) in gradient.iter().enumerate() {
                let moved = |by: f32| {
                    let mut moved = network.clone();
                    moved.parameters[index].values[element] += by;
                    mean_loss(&moved, batch())
                };
                let numeric = (moved(1e-2) - moved(-1e-2)) / 2e-2;
                let name = &network.parameters[index].name;
                assert!((numeric - f64::from(*analytic)).abs() < 2e-3, "{name}[{element}]: {numeric} {analytic}");
            }
        }
    }

    #[test]
    fn a_pass_leaves_the_parameters_as_they_were() {
        let network = Network::new(&small(), 3).unwrap();
        let mut used = network.clone();
        used.pass(batch()).unwrap();
        assert_eq!(used.parameters, network.parameters);
        assert_eq!(network.parameters.iter().map(|p| p.values.len()).sum::<usize>(), small().parameters().unwrap());
    }

    #[test]
    fn the_same_seed_gives_the_same_weights_within_glorot_s_limit() {
        let (a, b, c) = (
            Network::new(&small(), 1).unwrap(),
            Network::new(&small(), 1).unwrap(),
            Network::new(&small(), 2).unwrap(),
        );
        assert_eq!(a.parameters, b.parameters);
        assert_ne!(a.parameters, c.parameters);
        assert!(a.parameters[0].values.iter().all(|value| value.abs() <= (6.0f32 / 11.0).sqrt()));
    }
}
