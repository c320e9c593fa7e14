//! Recurrent layers that read a sequence from both ends, or give the state after each step.
//!
//! Steps in front of which every number is 0 pad a short sequence: they are passed over, and their states are 0.

use super::block::zeroed;
use super::recurrent::{PackedRecurrent, Recurrent, RecurrentGradients, Upper};
use crate::simd::lanes;

/// The shapes of such a layer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Directions {
    /// Each direction.
    pub(crate) shape: Recurrent,
    /// True if a second layer of the shape reads from the end.
    pub(crate) is_both: bool,
    /// True if the states after all steps are given, not those after the last step of each direction.
    pub(crate) all_steps: bool,
}

impl Directions {
    /// Returns the number of directions.
    pub(crate) fn count(&self) -> usize {
        1 + usize::from(self.is_both)
    }

    /// Numbers that one direction keeps of a sample.
    fn kept(&self) -> usize {
        self.shape.kept() * self.shape.steps
    }

    /// Runs a block's sequences, `[steps][inputs]`; `output` holds what each direction keeps in its own order of steps, and
    /// which steps are not passed over.
    pub(crate) fn forward(
        &self,
        packed: &[PackedRecurrent],
        input: &[f32],
        scratch: &mut Vec<f32>,
        output: &mut Vec<f32>,
    ) {
        let lanes = lanes();
        let each = self.kept() * lanes;
        output.resize(self.count() * each + self.shape.steps * lanes, 0.0);
        let (kept, real) = output.split_at_mut(self.count() * each);
        self.tell(input, real);
        for (at, (kept, packed)) in kept.chunks_exact_mut(each).zip(packed).enumerate() {
            match at {
                0 => self.shape.run(packed, input, Some(&*real), scratch, kept),
                _ => self.shape.run(packed, &reversed(input, self.shape.steps), None, scratch, kept),
            }
        }
    }

    /// Writes 0 for the steps of each lane that are passed over, and else 1. Of a sequence of zeros none is.
    fn tell(&self, input: &[f32], real: &mut [f32]) {
        let (lanes, steps) = (lanes(), self.shape.steps);
        real.fill(1.0);
        for lane in 0..lanes {
            let is_zero = |step: &[f32]| step.iter().skip(lane).step_by(lanes).all(|number| *number == 0.0);
            let first = input.chunks_exact(self.shape.inputs * lanes).position(|step| !is_zero(step));
            (0..first.unwrap_or(0).min(steps)).for_each(|step| real[step * lanes + lane] = 0.0);
        }
    }

    /// Returns the first step of each lane that is not passed over.
    fn first(&self, real: &[f32]) -> Vec<usize> {
        let lanes = lanes();
        let first = |lane| (0..self.shape.steps).find(|step| real[step * lanes + lane] != 0.0).unwrap_or(0);
        (0..lanes).map(first).collect()
    }

    /// Calls `visit` with the place of each number of the output and that of the state that it is: none for a step that was
    /// passed over.
    fn each_state(&self, real: &[f32], mut visit: impl FnMut(usize, Option<usize>)) {
        let (lanes, steps, units) = (lanes(), self.shape.steps, self.shape.units);
        let (each, states) = (self.kept() * lanes, (self.shape.kept() - units) * steps * lanes);
        let first = self.first(real);
        // The state of a unit after a step, in the order of the direction.
        let state = |direction: usize, unit: usize, step: usize, lane: usize| {
            let own = if direction == 0 { step } else { steps - 1 - step };
            direction * each + states + (unit * steps + own) * lanes + lane
        };
        let width = self.count() * units;
        for direction in 0..self.count() {
            for unit in 0..units {
                for (lane, begin) in first.iter().copied().enumerate() {
                    let at = |step: usize| (step * width + direction * units + unit) * lanes + lane;
                    if self.all_steps {
                        (0..steps).for_each(|step| {
                            visit(at(step), (step >= begin).then(|| state(direction, unit, step, lane)));
                        });
                    } else {
                        let last = if direction == 0 { steps - 1 } else { begin };
                        visit(at(0), Some(state(direction, unit, last, lane)));
                    }
                }
            }
        }
    }

    /// The states that the layer gives, from what its directions keep.
    pub(crate) fn states(&self, kept: &[f32], output: &mut Vec<f32>) {
        let lanes = lanes();
        let given = if self.all_steps { self.shape.steps } else { 1 };
        let output = zeroed(output, given * self.count() * self.shape.units * lanes);
        let real = &kept[self.count() * self.kept() * lanes..];
        self.each_state(real, |to, from| output[to] = from.map_or(0.0, |from| kept[from]));
    }

    /// The gradient of what the directions keep, of which that of the states alone is not 0, from that of the states that the
    /// layer gives.
    pub(crate) fn states_back(&self, kept: &[f32], upper: &[f32], back: &mut Vec<f32>) {
        let back = zeroed(back, kept.len());
        let real = &kept[self.count() * self.kept() * lanes()..];
        self.each_state(real, |from, to| to.into_iter().for_each(|to| back[to] += upper[from]));
    }

    /// Adds the gradients of the parameters, and gives that of the input if it was packed for, from that of what the
    /// directions keep.
    pub(crate) fn backward(
        &self,
        packed: &[PackedRecurrent],
        (input, kept): (&[f32], &[f32]),
        upper: &[f32],
        scratch: &mut Vec<f32>,
        back: &mut Vec<f32>,
        gradients: &mut [Vec<f32>],
    ) {
        let lanes = lanes();
        let (each, steps) = (self.kept() * lanes, self.shape.steps);
        let states = (self.shape.kept() - self.shape.units) * steps * lanes;
        let real = &kept[self.count() * each..];
        let mut of_second = Vec::new();
        for (direction, gradients) in gradients.chunks_exact_mut(3).enumerate() {
            let [inputs, state, bias] = gradients else { continue };
            let sums = RecurrentGradients { inputs, state, bias };
            let (packed, own) = (&packed[direction], &kept[direction * each..][..each]);
            let states = &upper[direction * each + states..(direction + 1) * each];
            match direction {
                0 => {
                    let upper = Upper::All { states, real: Some(real) };
                    self.shape.run_back(packed, (input, own), upper, scratch, back, sums);
                }
                _ => {
                    let upper = Upper::All { states, real: None };
                    let input = reversed(input, steps);
                    self.shape.run_back(packed, (&input, own), upper, scratch, &mut of_second, sums);
                    let of_second = reversed(&of_second, steps);
                    back.iter_mut().zip(&of_second).for_each(|(back, more)| *back += more);
                }
            }
        }
    }
}

/// Returns the steps of a block from the last to the first.
fn reversed(block: &[f32], steps: usize) -> Vec<f32> {
    block.chunks_exact((block.len() / steps.max(1)).max(1)).rev().flatten().copied().collect()
}
