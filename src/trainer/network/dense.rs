//! The dense layers of a network: forward and backward by burn's autodiff.
//!
//! Parameters are plain vectors between steps. A step lends them to burn as leaf tensors and takes
//! them back, so that the optimiser, checkpoints and the exporter see ordinary memory.

use burn::tensor::activation::{relu, silu};
use burn::tensor::module::linear;
use burn::tensor::{Device, Tensor, TensorData};

use super::Parameter;
use crate::error::{Error, Result};
use crate::layers::{LayerSpec, PlannedLayer};

/// What a forward and backward pass gives.
#[derive(Debug)]
pub(super) struct DensePass {
    /// The gradient of each parameter.
    pub(super) gradients: Vec<Vec<f32>>,
    /// The gradient of the input, if it was wanted.
    pub(super) input_gradient: Option<Vec<f32>>,
}

/// What goes in.
#[derive(Debug)]
pub(super) struct DenseInput {
    /// Samples row by row.
    pub(super) values: Vec<f32>,
    /// How many.
    pub(super) rows: usize,
    /// For each dropout layer a factor for each element of each sample.
    pub(super) masks: Vec<Vec<f32>>,
}

/// The leaves of one pass, in parameter order.
struct Leaves {
    dense: Vec<(Tensor<2>, Tensor<1>)>,
}

/// The outputs, row by row, with dropout off.
///
/// # Errors
/// [`Error::Internal`] when burn gives something that is no 32-bit float tensor.
pub(super) fn evaluate(layers: &[PlannedLayer], parameters: &[Parameter], input: DenseInput) -> Result<Vec<f32>> {
    let device = Device::flex();
    let leaves = lend(&mut parameters.to_vec(), &device);
    values(forward(layers, matrix(input.values, input.rows, &device), &leaves, Vec::new()).into_data())
}

/// Forward and backward. `loss` turns the outputs into the gradient of the loss, c, in place; burn
/// differentiates outputs·c with that constant instead of the loss itself.
///
/// # Errors
/// Those of `loss`; [`Error::Internal`] when burn gives no gradient or something that is no 32-bit float tensor.
pub(super) fn pass(
    layers: &[PlannedLayer],
    parameters: &mut [Parameter],
    input: DenseInput,
    wants_input_gradient: bool,
    loss: impl FnOnce(&mut [f32]) -> Result<()>,
) -> Result<DensePass> {
    let device = Device::flex().autodiff();
    let rows = input.rows;
    let mut values_in = matrix(input.values, rows, &device);
    if wants_input_gradient {
        values_in = values_in.require_grad();
    }
    let masks = input.masks.into_iter().map(|mask| matrix(mask, rows, &device)).collect();
    let leaves = lend(parameters, &device).require_grad();
    let outputs = forward(layers, values_in.clone(), &leaves, masks);
    let mut gradient = values(outputs.clone().inner().into_data())?;
    loss(&mut gradient)?;
    let mut grads = (outputs * matrix(gradient, rows, &device)).sum().backward();
    let missing = || Error::internal("training failed", "a parameter has no gradient");
    let mut gradients = Vec::with_capacity(parameters.len());
    for (weight, bias) in &leaves.dense {
        gradients.push(values(weight.grad_remove(&mut grads).ok_or_else(missing)?.into_data())?);
        gradients.push(values(bias.grad_remove(&mut grads).ok_or_else(missing)?.into_data())?);
    }
    let input_gradient = if wants_input_gradient {
        Some(values(values_in.grad_remove(&mut grads).ok_or_else(missing)?.into_data())?)
    } else {
        None
    };
    drop(grads);
    take_back(parameters, leaves)?;
    Ok(DensePass { gradients, input_gradient })
}

fn matrix(values: Vec<f32>, rows: usize, device: &Device) -> Tensor<2> {
    let width = values.len() / rows.max(1);
    Tensor::<2>::from_data(TensorData::new(values, [rows, width]), device)
}

fn forward(layers: &[PlannedLayer], input: Tensor<2>, leaves: &Leaves, masks: Vec<Tensor<2>>) -> Tensor<2> {
    let mut dense = leaves.dense.iter();
    let mut masks = masks.into_iter();
    layers.iter().fold(input, |x, layer| match layer.spec {
        LayerSpec::Rescale { scale } => x.mul_scalar(scale),
        LayerSpec::Dense { .. } => match dense.next() {
            Some((weight, bias)) => linear(x, weight.clone(), Some(bias.clone())),
            None => x,
        },
        LayerSpec::Relu => relu(x),
        LayerSpec::Silu => silu(x),
        LayerSpec::Dropout { .. } => match masks.next() {
            Some(mask) => x * mask,
            None => x,
        },
        // Samples are flat already, and encoded before the first layer; the loss is computed before the last one.
        LayerSpec::Flatten
        | LayerSpec::Unflatten { .. }
        | LayerSpec::Encode { .. }
        | LayerSpec::Standardize { .. }
        | LayerSpec::Destandardize { .. } => x,
        // Layers on maps and sequences, which run before all of these.
        LayerSpec::Conv2d { .. }
        | LayerSpec::BatchNorm
        | LayerSpec::GroupNorm { .. }
        | LayerSpec::MaxPool { .. }
        | LayerSpec::AveragePool { .. }
        | LayerSpec::GlobalAveragePool
        | LayerSpec::PixelShuffle { .. }
        | LayerSpec::Rows
        | LayerSpec::Lstm { .. }
        | LayerSpec::Gru { .. }
        | LayerSpec::Embedding { .. } => x,
    })
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
