//! The dense layers of a network, forward and backward, on samples that lie row by row.
//!
//! The products are `ndarray`'s (matrixmultiply's kernels). Each number of a product is summed in the same
//! order however the product is shared out, so results do not depend on the number of threads.

use ndarray::linalg::general_mat_mul;
use ndarray::{ArrayView2, ArrayViewMut2, Axis, ShapeError};
use rayon::prelude::*;

use super::Parameter;
use super::embedding::Embedding;
use crate::error::{Error, Result};
use crate::layers::{LayerSpec, PlannedLayer};
use crate::trainer::kernels::{mask, relu, relu_back, rescale, silu, silu_back};

/// Multiply-adds from which a product is worth sharing among threads.
const SHARED: usize = 1 << 22;

/// The result of a forward and backward pass.
#[derive(Debug)]
pub(super) struct DensePass {
    /// The gradient of each parameter.
    pub(super) gradients: Vec<Vec<f32>>,
    /// The gradient of the input, if it was wanted.
    pub(super) input_gradient: Option<Vec<f32>>,
}

/// The input of a pass.
#[derive(Debug)]
pub(super) struct DenseInput {
    /// Samples row by row.
    pub(super) values: Vec<f32>,
    /// The number of samples.
    pub(super) rows: usize,
    /// For each dropout layer a factor for each element of each sample.
    pub(super) masks: Vec<Vec<f32>>,
}

/// A layer with what it needs to run; layers that leave samples as they are have none.
enum Step<'a> {
    Rescale(f32),
    Bag {
        shape: Embedding,
        table: &'a Parameter,
    },
    Dense {
        weight: &'a Parameter,
        bias: &'a Parameter,
    },
    Relu,
    Silu,
    Dropout(&'a [f32]),
    /// The input of the first layer is appended.
    Recall,
}

/// Returns the outputs, row by row, with dropout off.
///
/// # Errors
/// [`Error::Internal`] when the parameters do not fit the input.
pub(super) fn evaluate(layers: &[PlannedLayer], parameters: &[Parameter], input: DenseInput) -> Result<Vec<f32>> {
    let steps = steps(layers, parameters, &[]);
    let first = if steps.iter().any(|step| matches!(step, Step::Recall)) { input.values.clone() } else { Vec::new() };
    let mut values = input.values;
    for step in steps {
        values = step.forward(&values, &first, input.rows)?;
    }
    Ok(values)
}

/// Runs forward and backward. `loss` turns the outputs into the gradient of the loss, in place.
///
/// # Errors
/// Those of `loss`; [`Error::Internal`] when the parameters do not fit the input.
pub(super) fn pass(
    layers: &[PlannedLayer],
    parameters: &[Parameter],
    input: DenseInput,
    wants_input_gradient: bool,
    loss: impl FnOnce(&mut [f32]) -> Result<()>,
) -> Result<DensePass> {
    let DenseInput { values, rows, masks } = input;
    let steps = steps(layers, parameters, &masks);
    // The input of each step, and the output of the last one.
    let mut tape = vec![values];
    for (at, step) in steps.iter().enumerate() {
        tape.push(step.forward(&tape[at], &tape[0], rows)?);
    }
    let mut upper = tape[steps.len()].clone();
    loss(&mut upper)?;
    let first_trained =
        steps.iter().position(|step| matches!(step, Step::Dense { .. } | Step::Bag { .. })).unwrap_or(steps.len());
    let mut gradients = Vec::with_capacity(parameters.len());
    let mut recalled = Vec::new();
    for (at, step) in steps.iter().enumerate().rev() {
        if let Step::Dense { bias, .. } = step {
            gradients.push(column_sums(&upper, bias.values.len()));
            gradients.push(weight_gradient(&tape[at], &upper, rows)?);
        }
        if let Step::Bag { shape, .. } = step {
            gradients.push(shape.means_back(&tape[at], &upper));
        }
        if at == first_trained && !wants_input_gradient {
            break;
        }
        if matches!(step, Step::Recall) {
            (upper, recalled) = parted(&upper, [&tape[at], &tape[0]].map(|values| values.len() / rows.max(1)));
            continue;
        }
        upper = step.backward(&tape[at], &tape[at + 1], upper, rows)?;
    }
    upper.iter_mut().zip(recalled).for_each(|(upper, recalled)| *upper += recalled);
    gradients.reverse();
    Ok(DensePass { gradients, input_gradient: wants_input_gradient.then_some(upper) })
}

fn steps<'a>(layers: &[PlannedLayer], parameters: &'a [Parameter], masks: &'a [Vec<f32>]) -> Vec<Step<'a>> {
    let (mut parameters, mut masks) = (parameters.iter(), masks.iter());
    let step = |layer: &PlannedLayer| match layer.spec {
        LayerSpec::Rescale { scale } => Some(Step::Rescale(scale)),
        LayerSpec::Dense { .. } => {
            let (weight, bias) = parameters.next().zip(parameters.next())?;
            Some(Step::Dense { weight, bias })
        }
        LayerSpec::EmbeddingBag { tokens, units } => {
            Some(Step::Bag { shape: Embedding::of_bag(layer, tokens, units), table: parameters.next()? })
        }
        LayerSpec::Relu => Some(Step::Relu),
        LayerSpec::Silu => Some(Step::Silu),
        LayerSpec::Dropout { .. } => masks.next().map(|mask| Step::Dropout(mask)),
        LayerSpec::Recall => Some(Step::Recall),
        // Samples are flat already, and encoded before the first layer; the loss is computed before the last one.
        LayerSpec::Flatten
        | LayerSpec::Unflatten { .. }
        | LayerSpec::Encode { .. }
        | LayerSpec::Standardize { .. }
        | LayerSpec::Destandardize { .. } => None,
        // Layers on maps and sequences, which are not among these.
        LayerSpec::Conv2d { .. }
        | LayerSpec::BatchNorm
        | LayerSpec::GroupNorm { .. }
        | LayerSpec::MaxPool { .. }
        | LayerSpec::AveragePool { .. }
        | LayerSpec::GlobalAveragePool
        | LayerSpec::Add { .. }
        | LayerSpec::PixelShuffle { .. }
        | LayerSpec::Rows
        | LayerSpec::Lstm { .. }
        | LayerSpec::Gru { .. }
        | LayerSpec::Embedding { .. } => None,
    };
    layers.iter().filter_map(step).collect()
}

impl Step<'_> {
    /// Returns the output; `first` is the input of the first step.
    fn forward(&self, input: &[f32], first: &[f32], rows: usize) -> Result<Vec<f32>> {
        let mut output = Vec::new();
        match self {
            Self::Rescale(scale) => rescale(input, *scale, &mut output),
            Self::Bag { shape, table } => output = shape.means(&table.values, input),
            Self::Dense { weight, bias } => {
                output = bias.values.repeat(rows);
                add_product(&matrix(input, rows)?, &weights(weight)?, &mut output)?;
            }
            Self::Relu => relu(input, &mut output),
            Self::Silu => silu(input, &mut output),
            Self::Dropout(factors) => mask(input, factors, &mut output),
            Self::Recall => {
                let [own, further] = [input, first].map(|values| (values.len() / rows.max(1)).max(1));
                for (own, further) in input.chunks_exact(own).zip(first.chunks_exact(further)) {
                    output.extend_from_slice(own);
                    output.extend_from_slice(further);
                }
            }
        }
        Ok(output)
    }

    /// Returns the gradient of the input, from that of the output.
    fn backward(&self, input: &[f32], output: &[f32], mut upper: Vec<f32>, rows: usize) -> Result<Vec<f32>> {
        match self {
            Self::Rescale(scale) => upper.iter_mut().for_each(|upper| *upper *= scale),
            Self::Dense { weight, .. } => {
                let mut lower = vec![0.0; input.len()];
                add_product(&matrix(&upper, rows)?, &weights(weight)?.reversed_axes(), &mut lower)?;
                return Ok(lower);
            }
            Self::Relu => relu_back(output, &mut upper),
            Self::Silu => silu_back(input, &mut upper),
            // Recall is parted by the caller; tokens have no gradient.
            Self::Recall | Self::Bag { .. } => {}
            Self::Dropout(factors) => upper.iter_mut().zip(*factors).for_each(|(upper, factor)| *upper *= factor),
        }
        Ok(upper)
    }
}

/// Returns the first columns of rows, and the further ones.
fn parted(rows: &[f32], [own, further]: [usize; 2]) -> (Vec<f32>, Vec<f32>) {
    let (mut left, mut right) = (Vec::new(), Vec::new());
    for row in rows.chunks_exact((own + further).max(1)) {
        left.extend_from_slice(&row[..own]);
        right.extend_from_slice(&row[own..]);
    }
    (left, right)
}

fn weight_gradient(input: &[f32], upper: &[f32], rows: usize) -> Result<Vec<f32>> {
    let (input, upper) = (matrix(input, rows)?, matrix(upper, rows)?);
    let mut gradient = vec![0.0; input.ncols() * upper.ncols()];
    add_product(&input.reversed_axes(), &upper, &mut gradient)?;
    Ok(gradient)
}

fn column_sums(values: &[f32], columns: usize) -> Vec<f32> {
    let mut sums = vec![0.0; columns];
    for row in values.chunks_exact(columns) {
        sums.iter_mut().zip(row).for_each(|(sum, value)| *sum += value);
    }
    sums
}

/// Adds `left · right` to `out`, which lies row by row.
fn add_product(left: &ArrayView2<'_, f32>, right: &ArrayView2<'_, f32>, out: &mut [f32]) -> Result<()> {
    let (rows, depth, columns) = (left.nrows(), left.ncols(), right.ncols());
    let mut out = ArrayViewMut2::from_shape((rows, columns), out).map_err(misfit)?;
    let threads = if rows * depth * columns < SHARED { 1 } else { rayon::current_num_threads() };
    if threads == 1 {
        general_mat_mul(1.0, left, right, 1.0, &mut out);
    } else if rows >= columns {
        let share = rows.div_ceil(threads);
        let shares: Vec<_> =
            out.axis_chunks_iter_mut(Axis(0), share).zip(left.axis_chunks_iter(Axis(0), share)).collect();
        shares.into_par_iter().for_each(|(mut out, left)| general_mat_mul(1.0, &left, right, 1.0, &mut out));
    } else {
        let share = columns.div_ceil(threads);
        let shares: Vec<_> =
            out.axis_chunks_iter_mut(Axis(1), share).zip(right.axis_chunks_iter(Axis(1), share)).collect();
        shares.into_par_iter().for_each(|(mut out, right)| general_mat_mul(1.0, left, &right, 1.0, &mut out));
    }
    Ok(())
}

fn matrix(values: &[f32], rows: usize) -> Result<ArrayView2<'_, f32>> {
    ArrayView2::from_shape((rows, values.len() / rows.max(1)), values).map_err(misfit)
}

fn weights(parameter: &Parameter) -> Result<ArrayView2<'_, f32>> {
    let columns = parameter.shape.last().copied().unwrap_or(1);
    ArrayView2::from_shape((parameter.values.len() / columns.max(1), columns), &parameter.values).map_err(misfit)
}

#[expect(clippy::needless_pass_by_value, reason = "map_err gives the value")]
fn misfit(error: ShapeError) -> Error {
    Error::internal("training failed", error.to_string())
}
