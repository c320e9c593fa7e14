//! The dense layers of a network, forward and backward, on samples that lie row by row.
//!
//! The products are `ndarray`'s (matrixmultiply's kernels). Each number of a product is summed in the same
//! order however the product is shared out, so results do not depend on the number of threads.

use ndarray::linalg::general_mat_mul;
use ndarray::{ArrayView2, ArrayViewMut2, Axis, ShapeError};
use rayon::prelude::*;

use super::Parameter;
use super::embedding::{Bag, Embedding};
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
        bag: Bag<'a>,
    },
    /// The tokens of a table's columns of texts, which are the last elements of a row, become their means.
    Texts {
        shapes: Vec<Embedding>,
        tables: &'a [Parameter],
    },
    Dense {
        weight: &'a Parameter,
        bias: &'a Parameter,
    },
    Relu,
    Silu,
    Dropout(&'a [f32]),
    /// The encoded columns are appended.
    Recall,
}

/// The arrays of layers: those that are trained, and those that are kept from the data.
#[derive(Debug, Clone, Copy)]
pub(super) struct Arrays<'a> {
    pub(super) parameters: &'a [Parameter],
    pub(super) statistics: &'a [Parameter],
}

impl<'a> Arrays<'a> {
    /// Those of layers that keep nothing from the data.
    pub(super) fn trained(parameters: &'a [Parameter]) -> Self {
        Self { parameters, statistics: &[] }
    }
}

/// Returns the outputs, row by row, with dropout off.
///
/// # Errors
/// [`Error::Internal`] when the parameters do not fit the input.
pub(super) fn evaluate(layers: &[PlannedLayer], arrays: Arrays<'_>, input: DenseInput) -> Result<Vec<f32>> {
    let steps = steps(layers, arrays, &[]);
    let is_recalled = steps.iter().any(|step| matches!(step, Step::Recall));
    let (mut values, mut first) = (input.values, Vec::new());
    for (at, step) in steps.iter().enumerate() {
        if is_recalled && at == encoded(&steps) {
            first.clone_from(&values);
        }
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
    arrays: Arrays<'_>,
    input: DenseInput,
    wants_input_gradient: bool,
    loss: impl FnOnce(&mut [f32]) -> Result<()>,
) -> Result<DensePass> {
    let DenseInput { values, rows, masks } = input;
    let steps = steps(layers, arrays, &masks);
    // The input of each step, and the output of the last one.
    let mut tape = vec![values];
    let encoded = encoded(&steps);
    for (at, step) in steps.iter().enumerate() {
        tape.push(step.forward(&tape[at], &tape[encoded.min(at)], rows)?);
    }
    let mut upper = tape[steps.len()].clone();
    loss(&mut upper)?;
    let is_trained = |step: &Step<'_>| matches!(step, Step::Dense { .. } | Step::Bag { .. } | Step::Texts { .. });
    let first_trained = steps.iter().position(is_trained).unwrap_or(steps.len());
    let mut gradients = Vec::with_capacity(arrays.parameters.len());
    let mut recalled = Vec::new();
    for (at, step) in steps.iter().enumerate().rev() {
        if let Step::Dense { bias, .. } = step {
            gradients.push(column_sums(&upper, bias.values.len()));
            gradients.push(weight_gradient(&tape[at], &upper, rows)?);
        }
        if let Step::Bag { shape, bag } = step {
            gradients.push(shape.means_back(*bag, &tape[at], &upper));
        }
        if let Step::Texts { shapes, .. } = step {
            upper.iter_mut().zip(std::mem::take(&mut recalled)).for_each(|(upper, recalled)| *upper += recalled);
            gradients.extend(texts_back(shapes, &tape[at], &upper, rows).into_iter().rev());
        }
        if at == first_trained && !wants_input_gradient {
            break;
        }
        if matches!(step, Step::Recall) {
            (upper, recalled) = parted(&upper, [&tape[at], &tape[encoded]].map(|values| values.len() / rows.max(1)));
            continue;
        }
        upper = step.backward(&tape[at], &tape[at + 1], upper, rows)?;
    }
    upper.iter_mut().zip(recalled).for_each(|(upper, recalled)| *upper += recalled);
    gradients.reverse();
    Ok(DensePass { gradients, input_gradient: wants_input_gradient.then_some(upper) })
}

/// Returns the place of the step that takes the encoded columns of a table.
fn encoded(steps: &[Step<'_>]) -> usize {
    usize::from(matches!(steps.first(), Some(Step::Texts { .. })))
}

fn steps<'a>(layers: &[PlannedLayer], arrays: Arrays<'a>, masks: &'a [Vec<f32>]) -> Vec<Step<'a>> {
    let mut masks = masks.iter();
    let mut statistics = arrays.statistics.iter();
    let mut rest = arrays.parameters;
    let mut take = |count: usize| {
        let (taken, after) = rest.split_at_checked(count)?;
        rest = after;
        Some(taken)
    };
    let step = |layer: &PlannedLayer| match layer.spec {
        LayerSpec::Rescale { scale } => Some(Step::Rescale(scale)),
        LayerSpec::Dense { .. } => {
            let [weight, bias] = take(2)? else { return None };
            Some(Step::Dense { weight, bias })
        }
        LayerSpec::EmbeddingBag { tokens, units, weighted } => {
            let rarities = if weighted { Some(statistics.next()?.values.as_slice()) } else { None };
            let bag = Bag { table: &take(1)?.first()?.values, rarities };
            Some(Step::Bag { shape: Embedding::of_bag(layer, tokens, units), bag })
        }
        LayerSpec::Encode { ref columns } => {
            let shapes = Embedding::of_columns(columns);
            let tables = take(shapes.len())?;
            (!shapes.is_empty()).then_some(Step::Texts { shapes, tables })
        }
        LayerSpec::Relu => Some(Step::Relu),
        LayerSpec::Silu => Some(Step::Silu),
        LayerSpec::Dropout { .. } => masks.next().map(|mask| Step::Dropout(mask)),
        LayerSpec::Recall => Some(Step::Recall),
        // Samples are flat already, and encoded before the first layer; the loss is computed before the last one.
        LayerSpec::Flatten
        | LayerSpec::Unflatten { .. }
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
        | LayerSpec::Series
        | LayerSpec::Conv1d { .. }
        | LayerSpec::Lstm { .. }
        | LayerSpec::Gru { .. }
        | LayerSpec::Embedding { .. } => None,
    };
    layers.iter().filter_map(step).collect()
}

impl Step<'_> {
    /// Returns the output; `first` is what [`Step::Recall`] appends.
    fn forward(&self, input: &[f32], first: &[f32], rows: usize) -> Result<Vec<f32>> {
        let mut output = Vec::new();
        match self {
            Self::Rescale(scale) => rescale(input, *scale, &mut output),
            Self::Bag { shape, bag } => output = shape.means(*bag, input),
            Self::Dense { weight, bias } => {
                output = bias.values.repeat(rows);
                add_product(&matrix(input, rows)?, &weights(weight)?, &mut output)?;
            }
            Self::Texts { shapes, tables } => output = texts(shapes, tables, input, rows),
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
            Self::Recall | Self::Bag { .. } | Self::Texts { .. } => {}
            Self::Dropout(factors) => upper.iter_mut().zip(*factors).for_each(|(upper, factor)| *upper *= factor),
        }
        Ok(upper)
    }
}

/// Returns rows whose last elements, the tokens of texts, are replaced by the means of their rows of the tables.
fn texts(shapes: &[Embedding], tables: &[Parameter], input: &[f32], rows: usize) -> Vec<f32> {
    let tokens: usize = shapes.iter().map(Embedding::steps).sum();
    let units: usize = shapes.iter().map(Embedding::units).sum();
    let taken = input.len() / rows.max(1);
    let numbers = taken - tokens;
    let mut output = vec![0.0; rows * (numbers + units)];
    let of_rows = output.par_chunks_exact_mut((numbers + units).max(1)).zip(input.par_chunks_exact(taken.max(1)));
    of_rows.for_each(|(to, row)| {
        let (kept, mut tokens) = row.split_at(numbers);
        let (own, mut means) = to.split_at_mut(numbers);
        own.copy_from_slice(kept);
        for (shape, table) in shapes.iter().zip(tables) {
            let (sample, further) = tokens.split_at(shape.steps());
            let (mean, others) = means.split_at_mut(shape.units());
            shape.mean(Bag::plain(&table.values), sample, mean);
            (tokens, means) = (further, others);
        }
    });
    output
}

/// Returns the gradient of each table from that of the rows that [`texts`] makes.
fn texts_back(shapes: &[Embedding], input: &[f32], upper: &[f32], rows: usize) -> Vec<Vec<f32>> {
    let tokens: usize = shapes.iter().map(Embedding::steps).sum();
    let (taken, made) = (input.len() / rows.max(1), upper.len() / rows.max(1));
    let (mut start, mut mean) = (taken - tokens, made - shapes.iter().map(Embedding::units).sum::<usize>());
    let mut gradients = Vec::with_capacity(shapes.len());
    for shape in shapes {
        let mut gradient = shape.zeros();
        for (row, upper) in input.chunks_exact(taken.max(1)).zip(upper.chunks_exact(made.max(1))) {
            let tokens = &row[start..][..shape.steps()];
            shape.mean_back(Bag::plain(&[]), tokens, &upper[mean..][..shape.units()], &mut gradient);
        }
        gradients.push(gradient);
        (start, mean) = (start + shape.steps(), mean + shape.units());
    }
    gradients
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
