//! Recurrent layers over a whole sequence, forward and backward: LSTM (Hochreiter and Schmidhuber 1997, with
//! forget gates by Gers et al. 2000) and GRU (Cho et al. 2014, its reset gate after the product).
//!
//! The inputs of all steps are multiplied at once; a step is one product with the state before it.
//! Gates are in ONNX's order.

use super::block::sized;
use super::gates::{Gru, Lstm, Step};
use super::gradient::WeightGradient;
use super::product::{End, Frame, Product, Start, Weights};
use crate::simd::lanes;

/// Which cell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cell {
    Lstm,
    Gru,
}

/// The shapes of a recurrent layer. The weights of the inputs are `[gates · units, inputs]`, those of the
/// state `[gates · units, units]`. The bias of an LSTM is `[4 · units]`, that of a GRU `[6 · units]`: of the
/// products with the inputs, then of those with the state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Recurrent {
    pub(crate) cell: Cell,
    pub(crate) steps: usize,
    pub(crate) inputs: usize,
    pub(crate) units: usize,
}

/// The weights of one pass, packed for all its blocks.
#[derive(Debug)]
pub(crate) struct PackedRecurrent {
    inputs: Weights,
    state: Weights,
    bias: Vec<f32>,
    /// The bias of the products with the state that are not simply added to those with the inputs.
    state_bias: Vec<f32>,
    back_state: Weights,
    back_inputs: Option<Weights>,
}

/// Where the gradients of the parameters go.
#[derive(Debug)]
pub(crate) struct RecurrentGradients<'a> {
    pub(crate) inputs: &'a mut [f32],
    pub(crate) state: &'a mut [f32],
    pub(crate) bias: &'a mut [f32],
}

/// The gradient that a layer gets from what is behind it.
#[derive(Debug, Clone, Copy)]
pub(super) enum Upper<'a> {
    /// That of the state after the last step.
    Last(&'a [f32]),
    /// That of the states after all steps, `[units][steps]`, and which steps were not passed over.
    All { states: &'a [f32], real: Option<&'a [f32]> },
}

impl Upper<'_> {
    /// Adds the gradient of the state after a step, and drops what a step that was passed over does not give on.
    fn join(self, Step { step, steps, .. }: Step, of_state: &mut [f32], of_cells: &mut [f32]) {
        let Self::All { states, real } = self else { return };
        let lanes = lanes();
        for (to, from) in of_state.chunks_exact_mut(lanes).zip(states.chunks_exact(steps * lanes)) {
            to.iter_mut().zip(&from[step * lanes..]).for_each(|(to, from)| *to += from);
        }
        if let Some(real) = real {
            let real = &real[step * lanes..][..lanes];
            of_state.chunks_exact_mut(lanes).chain(of_cells.chunks_exact_mut(lanes)).for_each(|to| scale(to, real));
        }
    }
}

/// Multiplies the first numbers of each lane.
fn scale(numbers: &mut [f32], factors: &[f32]) {
    numbers.iter_mut().zip(factors).for_each(|(number, factor)| *number *= factor);
}

impl Recurrent {
    fn gates(&self) -> usize {
        match self.cell {
            Cell::Lstm => 4,
            Cell::Gru => 3,
        }
    }

    /// Rows of the products.
    fn rows(&self) -> usize {
        self.gates() * self.units
    }

    /// Numbers that a step leaves for the way back: the gates, and two more for each unit, of which the last
    /// is the state.
    pub(super) fn kept(&self) -> usize {
        (self.gates() + 2) * self.units
    }

    /// Packs the parameters; with `further`, for the gradient of the input too.
    pub(crate) fn pack(&self, inputs: &[f32], state: &[f32], bias: &[f32], further: bool) -> PackedRecurrent {
        let (rows, units) = (self.rows(), self.units);
        let (of_inputs, of_state) = bias.split_at(rows);
        let of_state = if of_state.is_empty() { vec![0.0; rows] } else { of_state.to_vec() };
        // In a GRU the reset gate stands between the state's product with its last gate and the sum.
        let apart = if self.cell == Cell::Gru { units } else { 0 };
        let added = |row: usize| if row < rows - apart { of_state[row] } else { 0.0 };
        PackedRecurrent {
            inputs: Weights::pack(rows, self.inputs, self.steps, |row, tap| inputs[row * self.inputs + tap]),
            state: Weights::pack(rows, units, 1, |row, tap| state[row * units + tap]),
            bias: of_inputs.iter().enumerate().map(|(row, bias)| bias + added(row)).collect(),
            state_bias: of_state[rows - apart..].to_vec(),
            back_state: Weights::pack(units, rows, 1, |unit, tap| state[tap * units + unit]),
            back_inputs: further
                .then(|| Weights::pack(self.inputs, rows, self.steps, |input, tap| inputs[tap * self.inputs + input])),
        }
    }

    /// Runs a block's sequences, `[steps][inputs]`; `output` holds what each step keeps, `[kept][steps]`.
    pub(crate) fn forward(
        &self,
        packed: &PackedRecurrent,
        input: &[f32],
        scratch: &mut Vec<f32>,
        output: &mut Vec<f32>,
    ) {
        self.run(packed, input, None, scratch, sized(output, self.kept() * self.steps * lanes()));
    }

    /// As [`Recurrent::forward`]; `real`, `[steps]`, is 0 where a step is passed over, which leaves a state of zeros, and
    /// else 1.
    pub(super) fn run(
        &self,
        packed: &PackedRecurrent,
        input: &[f32],
        real: Option<&[f32]>,
        scratch: &mut Vec<f32>,
        output: &mut [f32],
    ) {
        let (lanes, steps, rows) = (lanes(), self.steps, self.rows());
        let (gates, memory) = output.split_at_mut(rows * steps * lanes);
        let (memory, state) = memory.split_at_mut(self.units * steps * lanes);
        let taps: Vec<usize> = (0..self.inputs).collect();
        let whole = Frame {
            lines: 1,
            positions: steps,
            step: self.inputs,
            line: 0,
            output_start: 0,
            output_step: 1,
            output_line: 0,
            output_row: steps,
        };
        let start = Start::Bias(&packed.bias);
        Product { weights: &packed.inputs, taps: &taps, frame: whole, start, end: End::Sum }.run(input, gates);
        let products = sized(scratch, rows * lanes);
        let taps: Vec<usize> = (0..self.units).map(|unit| unit * steps).collect();
        for step in 0..steps {
            if step == 0 {
                products.fill(0.0);
            } else {
                let state = &state[(step - 1) * lanes..];
                let (start, end) = (Start::Zero, End::Sum);
                Product { weights: &packed.state, taps: &taps, frame: single(1), start, end }.run(state, products);
            }
            let at = Step { step, steps, units: self.units };
            {
                let (gates, memory, state) = (&mut *gates, &mut *memory, &mut *state);
                match self.cell {
                    Cell::Lstm => Lstm { gates, cells: memory, state }.forward(at, products),
                    Cell::Gru => Gru { gates, products: memory, state }.forward(at, products, &packed.state_bias),
                }
            }
            if let Some(real) = real {
                let real = &real[step * lanes..][..lanes];
                for planes in [&mut *memory, &mut *state] {
                    planes.chunks_exact_mut(steps * lanes).for_each(|plane| scale(&mut plane[step * lanes..], real));
                }
            }
        }
    }

    /// The state after the last step, from what the steps keep.
    pub(crate) fn last_state(&self, kept: &[f32], output: &mut Vec<f32>) {
        let lanes = lanes();
        output.clear();
        let states = &kept[(self.kept() - self.units) * self.steps * lanes..];
        for states in states.chunks_exact(self.steps * lanes) {
            output.extend_from_slice(&states[(self.steps - 1) * lanes..]);
        }
    }

    /// Adds the gradients of the parameters, and gives that of the input if it was packed for, from that of the
    /// last state.
    pub(crate) fn backward(
        &self,
        packed: &PackedRecurrent,
        passed: (&[f32], &[f32]),
        upper: &[f32],
        scratch: &mut Vec<f32>,
        back: &mut Vec<f32>,
        gradients: RecurrentGradients<'_>,
    ) {
        self.run_back(packed, passed, Upper::Last(upper), scratch, back, gradients);
    }

    /// As [`Recurrent::backward`], from the gradient of the last state or of all.
    pub(super) fn run_back(
        &self,
        packed: &PackedRecurrent,
        (input, kept): (&[f32], &[f32]),
        upper: Upper<'_>,
        scratch: &mut Vec<f32>,
        back: &mut Vec<f32>,
        gradients: RecurrentGradients<'_>,
    ) {
        let (lanes, steps, units, rows) = (lanes(), self.steps, self.units, self.rows());
        let (gates, memory) = kept.split_at(rows * steps * lanes);
        let (memory, state) = memory.split_at(units * steps * lanes);
        // Gradients of the sums with the inputs, and of the products with the state, of all steps; of the
        // state, of the cells, and of those products at the present step.
        let work = sized(scratch, (2 * rows * steps + 2 * units + rows) * lanes);
        let (with_inputs, work) = work.split_at_mut(rows * steps * lanes);
        let (with_state, work) = work.split_at_mut(rows * steps * lanes);
        let (of_state, work) = work.split_at_mut(units * lanes);
        let (of_cells, present) = work.split_at_mut(units * lanes);
        match upper {
            Upper::Last(upper) => of_state.copy_from_slice(upper),
            Upper::All { .. } => of_state.fill(0.0),
        }
        of_cells.fill(0.0);
        let taps: Vec<usize> = (0..rows).collect();
        for step in (0..steps).rev() {
            let at = Step { step, steps, units };
            upper.join(at, of_state, of_cells);
            match self.cell {
                Cell::Lstm => Lstm { gates, cells: memory, state }.backward(at, of_state, of_cells, with_inputs),
                Cell::Gru => Gru { gates, products: memory, state }.backward(at, of_state, with_inputs, with_state),
            }
            if step == 0 {
                break;
            }
            let (sums, start) = match self.cell {
                Cell::Lstm => (&*with_inputs, Start::Zero),
                // Part of the state passes a GRU's step as it is.
                Cell::Gru => (&*with_state, Start::Output),
            };
            for (to, from) in present.chunks_exact_mut(lanes).zip(sums.chunks_exact(steps * lanes)) {
                to.copy_from_slice(&from[step * lanes..][..lanes]);
            }
            let product = Product { weights: &packed.back_state, taps: &taps, frame: single(1), start, end: End::Sum };
            product.run(present, of_state);
        }
        let with_state = if self.cell == Cell::Lstm { &*with_inputs } else { &*with_state };
        self.add_gradients((with_inputs, with_state), input, state, gradients);
        if let Some(weights) = &packed.back_inputs {
            let taps: Vec<usize> = (0..rows).map(|row| row * steps).collect();
            let frame = Frame { positions: steps, output_step: self.inputs, ..single(1) };
            let back = sized(back, steps * self.inputs * lanes);
            Product { weights, taps: &taps, frame, start: Start::Zero, end: End::Sum }.run(with_inputs, back);
        }
    }

    fn add_gradients(
        &self,
        (with_inputs, with_state): (&[f32], &[f32]),
        input: &[f32],
        state: &[f32],
        gradients: RecurrentGradients<'_>,
    ) {
        let RecurrentGradients { inputs: of_inputs, state: of_states, bias } = gradients;
        let (steps, rows) = (self.steps, self.rows());
        let taps: Vec<usize> = (0..self.inputs).collect();
        let work =
            WeightGradient { rows, row: steps, taps: &taps, lines: 1, positions: steps, step: self.inputs, line: 0 };
        work.add(with_inputs, input, of_inputs);
        if steps > 1 {
            let taps: Vec<usize> = (0..self.units).map(|unit| unit * steps).collect();
            let work =
                WeightGradient { rows, row: steps, taps: &taps, lines: 1, positions: steps - 1, step: 1, line: 0 };
            // Each step but the first has seen the state before it.
            work.add(&with_state[lanes()..], state, of_states);
        }
        let (of_inputs, of_state) = bias.split_at_mut(rows);
        super::add_plane_sums(with_inputs, steps, of_inputs);
        // Of no length in an LSTM.
        super::add_plane_sums(with_state, steps, of_state);
    }
}

/// One position; rows this far apart.
fn single(output_row: usize) -> Frame {
    Frame { lines: 1, positions: 1, step: 1, line: 0, output_start: 0, output_step: 1, output_line: 0, output_row }
}
