//! One step of a recurrent cell, number by number, forward and backward.

use crate::simd::with_lanes;

/// Which step of a sequence, and how many units there are.
#[derive(Debug, Clone, Copy)]
pub(super) struct Step {
    pub(super) step: usize,
    pub(super) steps: usize,
    pub(super) units: usize,
}

/// What an LSTM keeps of all steps, `[…][steps]`: input, output and forget gate and candidate; cells; state.
#[derive(Debug)]
pub(super) struct Lstm<T> {
    pub(super) gates: T,
    pub(super) cells: T,
    pub(super) state: T,
}

/// What a GRU keeps of all steps: update and reset gate and candidate; the state's products with the
/// candidate's weights; state.
#[derive(Debug)]
pub(super) struct Gru<T> {
    pub(super) gates: T,
    pub(super) products: T,
    pub(super) state: T,
}

impl Step {
    /// Where the number of a row is at this step.
    fn of(&self, row: usize) -> usize {
        row * self.steps + self.step
    }
}

impl Lstm<&mut [f32]> {
    /// `products` are those of the weights with the state before.
    pub(super) fn forward(self, at: Step, products: &[f32]) {
        let Step { units, step, .. } = at;
        with_lanes!(LANES => {
            let gates = self.gates.as_chunks_mut::<LANES>().0;
            let cells = self.cells.as_chunks_mut::<LANES>().0;
            let state = self.state.as_chunks_mut::<LANES>().0;
            let products = products.as_chunks::<LANES>().0;
            for unit in 0..units {
                // Copies of their own, so that nothing in the loop over lanes can be out of bounds.
                let mut values = [[0.0; LANES]; 4];
                for (gate, values) in values.iter_mut().enumerate() {
                    let (sums, more) = (&gates[at.of(gate * units + unit)], &products[gate * units + unit]);
                    for lane in 0..LANES {
                        values[lane] = sums[lane] + more[lane];
                    }
                }
                let before = if step == 0 { [0.0; LANES] } else { cells[at.of(unit) - 1] };
                let [input, output, forget, candidate] = &mut values;
                let (mut cell, mut next) = ([0.0; LANES], [0.0; LANES]);
                for lane in 0..LANES {
                    input[lane] = sigmoid(input[lane]);
                    output[lane] = sigmoid(output[lane]);
                    forget[lane] = sigmoid(forget[lane]);
                    candidate[lane] = tanh(candidate[lane]);
                    cell[lane] = forget[lane] * before[lane] + input[lane] * candidate[lane];
                    next[lane] = output[lane] * tanh(cell[lane]);
                }
                for (gate, values) in values.into_iter().enumerate() {
                    gates[at.of(gate * units + unit)] = values;
                }
                cells[at.of(unit)] = cell;
                state[at.of(unit)] = next;
            }
        });
    }
}

impl Lstm<&[f32]> {
    /// Writes the gradients of the sums before the gates, and turns those of the cells into those of the
    /// cells before. `of_state` is the gradient of the state.
    pub(super) fn backward(self, at: Step, of_state: &[f32], of_cells: &mut [f32], sums: &mut [f32]) {
        let Step { units, step, .. } = at;
        with_lanes!(LANES => {
            let gates = self.gates.as_chunks::<LANES>().0;
            let cells = self.cells.as_chunks::<LANES>().0;
            let of_state = of_state.as_chunks::<LANES>().0;
            let of_cells = of_cells.as_chunks_mut::<LANES>().0;
            let sums = sums.as_chunks_mut::<LANES>().0;
            for unit in 0..units {
                let (input, output) = (gates[at.of(unit)], gates[at.of(units + unit)]);
                let (forget, candidate) = (gates[at.of(2 * units + unit)], gates[at.of(3 * units + unit)]);
                let before = if step == 0 { [0.0; LANES] } else { cells[at.of(unit) - 1] };
                let (cell, of_state, of_cells) = (cells[at.of(unit)], &of_state[unit], &mut of_cells[unit]);
                let mut of_gates = [[0.0; LANES]; 4];
                for lane in 0..LANES {
                    let level = tanh(cell[lane]);
                    let (i, o, f, g) = (input[lane], output[lane], forget[lane], candidate[lane]);
                    let of_cell = of_cells[lane] + of_state[lane] * o * (1.0 - level * level);
                    of_gates[0][lane] = of_cell * g * i * (1.0 - i);
                    of_gates[1][lane] = of_state[lane] * level * o * (1.0 - o);
                    of_gates[2][lane] = of_cell * before[lane] * f * (1.0 - f);
                    of_gates[3][lane] = of_cell * i * (1.0 - g * g);
                    of_cells[lane] = of_cell * f;
                }
                for (gate, values) in of_gates.into_iter().enumerate() {
                    sums[at.of(gate * units + unit)] = values;
                }
            }
        });
    }
}

impl Gru<&mut [f32]> {
    /// `products` are those of the weights with the state before; `bias` is added to the candidate's.
    pub(super) fn forward(self, at: Step, products: &[f32], bias: &[f32]) {
        let Step { units, step, .. } = at;
        with_lanes!(LANES => {
            let gates = self.gates.as_chunks_mut::<LANES>().0;
            let kept = self.products.as_chunks_mut::<LANES>().0;
            let state = self.state.as_chunks_mut::<LANES>().0;
            let products = products.as_chunks::<LANES>().0;
            for (unit, bias) in bias.iter().enumerate().take(units) {
                let (mut update, mut reset) = (gates[at.of(unit)], gates[at.of(units + unit)]);
                let mut candidate = gates[at.of(2 * units + unit)];
                let before = if step == 0 { [0.0; LANES] } else { state[at.of(unit) - 1] };
                let (with_update, with_reset) = (products[unit], products[units + unit]);
                let (mut product, mut next) = (products[2 * units + unit], [0.0; LANES]);
                for lane in 0..LANES {
                    product[lane] += bias;
                    update[lane] = sigmoid(update[lane] + with_update[lane]);
                    reset[lane] = sigmoid(reset[lane] + with_reset[lane]);
                    candidate[lane] = tanh(candidate[lane] + reset[lane] * product[lane]);
                    next[lane] = candidate[lane] + update[lane] * (before[lane] - candidate[lane]);
                }
                for (gate, values) in [update, reset, candidate].into_iter().enumerate() {
                    gates[at.of(gate * units + unit)] = values;
                }
                kept[at.of(unit)] = product;
                state[at.of(unit)] = next;
            }
        });
    }
}

impl Gru<&[f32]> {
    /// Writes the gradients of the sums with the inputs and of the products with the state; leaves in
    /// `of_state` what passes to the state before as it is.
    pub(super) fn backward(self, at: Step, of_state: &mut [f32], with_inputs: &mut [f32], with_state: &mut [f32]) {
        let Step { units, step, .. } = at;
        with_lanes!(LANES => {
            let gates = self.gates.as_chunks::<LANES>().0;
            let products = self.products.as_chunks::<LANES>().0;
            let state = self.state.as_chunks::<LANES>().0;
            let of_state = of_state.as_chunks_mut::<LANES>().0;
            let with_inputs = with_inputs.as_chunks_mut::<LANES>().0;
            let with_state = with_state.as_chunks_mut::<LANES>().0;
            for unit in 0..units {
                let (update, reset) = (gates[at.of(unit)], gates[at.of(units + unit)]);
                let candidate = gates[at.of(2 * units + unit)];
                let before = if step == 0 { [0.0; LANES] } else { state[at.of(unit) - 1] };
                let (product, of_state) = (products[at.of(unit)], &mut of_state[unit]);
                let (mut of_gates, mut of_product) = ([[0.0; LANES]; 3], [0.0; LANES]);
                for lane in 0..LANES {
                    let (z, r, n) = (update[lane], reset[lane], candidate[lane]);
                    let upper = of_state[lane];
                    let of_candidate = upper * (1.0 - z) * (1.0 - n * n);
                    of_gates[0][lane] = upper * (before[lane] - n) * z * (1.0 - z);
                    of_gates[1][lane] = of_candidate * product[lane] * r * (1.0 - r);
                    of_gates[2][lane] = of_candidate;
                    of_product[lane] = of_candidate * r;
                    of_state[lane] = upper * z;
                }
                for (gate, values) in of_gates.into_iter().enumerate() {
                    with_inputs[at.of(gate * units + unit)] = values;
                    with_state[at.of(gate * units + unit)] = if gate == 2 { of_product } else { values };
                }
            }
        });
    }
}

/// `e^x` to about 1e-7 of itself, without branches, so that it is computed in vectors.
#[inline(always)]
pub(super) fn exp(x: f32) -> f32 {
    // Beyond these it leaves the range of normal numbers; `clamp` keeps NaN.
    let x = x.clamp(-87.0, 88.0);
    // Beside a number this large, fractions of 1 round to the nearest even: the power is in the lowest bits.
    let shifted = x * std::f32::consts::LOG2_E + 12_582_912.0;
    let power = shifted - 12_582_912.0;
    // ln 2 in two parts, the first exact in a few bits.
    let rest = x - power * 0.693_359_4;
    let rest = rest + power * 2.121_944_4e-4;
    // Taylor's series, which on ±ln 2 / 2 is good for 1e-8.
    let mut sum = 1.0 / 5040.0;
    for factor in [1.0 / 720.0, 1.0 / 120.0, 1.0 / 24.0, 1.0 / 6.0, 0.5, 1.0, 1.0] {
        sum = sum * rest + factor;
    }
    sum * f32::from_bits(shifted.to_bits().wrapping_add(127) << 23)
}

#[inline(always)]
pub(super) fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + exp(-x))
}

#[inline(always)]
fn tanh(x: f32) -> f32 {
    1.0 - 2.0 / (exp(2.0 * x) + 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exponentials_are_what_they_are_in_64_bits() {
        for x in (-8_000..8_000).map(|i| i as f32 / 91.0) {
            let x = x.clamp(-80.0, 80.0);
            let exact = f64::from(x).exp();
            assert!((f64::from(exp(x)) - exact).abs() <= 3e-7 * exact, "{x}");
            assert!((f64::from(tanh(x)) - f64::from(x).tanh()).abs() < 3e-7, "{x}");
            assert!((f64::from(sigmoid(x)) - 1.0 / (1.0 + (-f64::from(x)).exp())).abs() < 3e-7, "{x}");
        }
        assert_eq!((tanh(1e9), tanh(-1e9), sigmoid(f32::NEG_INFINITY) < 1e-30), (1.0, -1.0, true));
        assert!(sigmoid(f32::NAN).is_nan() && tanh(f32::NAN).is_nan());
    }
}
