//! Recurrent layers as nodes of a graph.

use super::Writer;
use super::graph::{FLOAT, integer, integers, text};
use crate::layers::{LayerSpec, PlannedLayer};

/// The number added to the sum before a gate that is to be open or closed whatever else is in it.
const DECISIVE: f32 = 1e4;

/// The shape of a recurrent layer that passes over padding.
struct Directions {
    steps: usize,
    units: usize,
    is_lstm: bool,
    /// True if it reads from the end, too.
    is_both: bool,
    /// True if it gives the states after all steps.
    all_steps: bool,
}

impl Directions {
    fn count(&self) -> usize {
        1 + usize::from(self.is_both)
    }

    /// The addition of the number that tells padding to the gates: in the forward direction a closed input gate, or an update gate
    /// that keeps the state, so that a state of zeros stays one. The direction from the end meets padding when all is read.
    fn tells(&self, direction: usize, row: usize) -> f32 {
        match (direction, row < self.units, self.is_lstm) {
            (0, true, true) => -DECISIVE,
            (0, true, false) => DECISIVE,
            _ => 0.0,
        }
    }
}

impl Writer<'_> {
    /// `[N, steps, inputs]` → what an LSTM or a GRU gives of it.
    pub(super) fn recurrent(&mut self, layer: &PlannedLayer, value: &str, output: &str) {
        let (LayerSpec::Lstm { units, bidirectional: is_both, all_steps }
        | LayerSpec::Gru { units, bidirectional: is_both, all_steps }) = layer.spec
        else {
            return;
        };
        let is_lstm = matches!(layer.spec, LayerSpec::Lstm { .. });
        match layer.spec.passes_over_padding() {
            true => self.directions(
                &Directions { steps: layer.input[0], units, is_lstm, is_both, all_steps },
                value,
                output,
            ),
            false => self.forward(value, units, is_lstm, output),
        }
    }

    /// `[N, steps, inputs]` → the last state. The first axis of the parameters is the one direction.
    fn forward(&mut self, value: &str, units: usize, is_lstm: bool, output: &str) {
        let [mut weight, recurrence, bias] = [self.scaled_weight(), self.parameter().clone(), self.parameter().clone()];
        let mut bias_values = bias.values.clone();
        // Of the products with the inputs, then of those with the state, which an LSTM does without.
        bias_values.resize(2 * weight.shape[0], 0.0);
        let is_widened = !is_lstm && weight.shape[1] == 1;
        if is_widened {
            // tract 0.23.9 cannot run a GRU of one input, so it has a second one, the same without weight.
            weight.values = weight.values.iter().flat_map(|value| [*value, 0.0]).collect();
            weight.shape[1] = 2;
        }
        self.graph.constant(&weight.name, &[&[1], weight.shape.as_slice()].concat(), &weight.values);
        self.graph.constant(&recurrence.name, &[&[1], recurrence.shape.as_slice()].concat(), &recurrence.values);
        self.graph.constant(&bias.name, &[1, bias_values.len()], &bias_values);
        let [mut by_step, last, axes] = ["steps", "last", "axes"].map(|part| format!("{output}.{part}"));
        self.graph.node("Transpose", &[value], &by_step, vec![integers("perm", &[1, 0, 2])]);
        if is_widened {
            let narrow = std::mem::replace(&mut by_step, format!("{output}.twice"));
            self.graph.node("Concat", &[&narrow, &narrow], &by_step, vec![integer("axis", 2)]);
        }
        let start = self.zero_state(&by_step, weight.shape[1], units);
        // Between the bias and the first state are the lengths of sequences, which are all alike.
        let mut inputs = vec![by_step.as_str(), &weight.name, &recurrence.name, &bias.name, "", &start];
        if is_lstm {
            inputs.push(&start);
        }
        let mut attributes = vec![integer("hidden_size", units as i64)];
        if !is_lstm {
            attributes.push(integer("linear_before_reset", 1));
        }
        // The outputs of all steps, which are the first output, are not asked for.
        self.graph.node_of(if is_lstm { "LSTM" } else { "GRU" }, &inputs, &["", &last], attributes);
        self.graph.integers_constant(&axes, &[0]);
        self.graph.node("Squeeze", &[&last, &axes], output, Vec::new());
    }

    /// The state before the first step, `[1, N, units]` of zeros. tract has none of its own for a batch of any
    /// size, so the zeros take their size from the first step.
    fn zero_state(&mut self, by_step: &str, inputs: usize, units: usize) -> String {
        let [first, zeros, from, to, state] =
            ["first", "zeros", "from", "to", "state"].map(|part| format!("{by_step}.{part}"));
        self.graph.integers_constant(&from, &[0]);
        self.graph.integers_constant(&to, &[1]);
        self.graph.node("Slice", &[by_step, &from, &to, &from], &first, Vec::new());
        self.graph.constant(&zeros, &[inputs, units], &vec![0.0; inputs * units]);
        self.graph.node("MatMul", &[&first, &zeros], &state, Vec::new());
        state
    }

    /// `[N, steps, inputs]` → the states of a layer that passes over the zeros in front of a sequence: those after the last
    /// step of each direction, or after all.
    fn directions(&mut self, shape: &Directions, value: &str, output: &str) {
        let (lead, keep, is_first) = self.padding(shape.steps, value, output);
        let parameters = self.of_directions(shape);
        let [told, by_step, all, turned, kept] =
            ["told", "steps", "all", "turned", "kept"].map(|part| format!("{output}.{part}"));
        self.graph.node("Concat", &[value, &lead], &told, vec![integer("axis", 2)]);
        self.graph.node("Transpose", &[&told], &by_step, vec![integers("perm", &[1, 0, 2])]);
        let inputs = parameters.inputs;
        let mut start = self.zero_state(&by_step, inputs, shape.units);
        if shape.is_both {
            let one = std::mem::replace(&mut start, format!("{output}.starts"));
            self.graph.node("Concat", &[&one, &one], &start, vec![integer("axis", 0)]);
        }
        let [weight, recurrence, bias] = &parameters.names;
        let mut inputs = vec![by_step.as_str(), weight, recurrence, bias, "", &start];
        let mut attributes = vec![integer("hidden_size", shape.units as i64)];
        match shape.is_lstm {
            true => inputs.push(&start),
            false => attributes.push(integer("linear_before_reset", 1)),
        }
        if shape.is_both {
            attributes.push(text("direction", "bidirectional"));
        }
        self.graph.node_of(if shape.is_lstm { "LSTM" } else { "GRU" }, &inputs, &[&all], attributes);
        // [steps, directions, N, units] → [N, steps, directions, units]
        self.graph.node("Transpose", &[&all], &turned, vec![integers("perm", &[2, 0, 1, 3])]);
        if shape.all_steps {
            let joined = format!("{output}.joined");
            self.graph.node("Mul", &[&turned, &keep], &kept, Vec::new());
            self.graph.integers_constant(&joined, &[0, 0, (shape.count() * shape.units) as i64]);
            self.graph.node("Reshape", &[&kept, &joined], output, Vec::new());
        } else {
            self.last_states(shape.steps, (&turned, &is_first), output);
        }
    }

    /// The state after the last step, and that of the direction from the end after the first.
    fn last_states(&mut self, steps: usize, (states, is_first): (&str, &str), output: &str) {
        let [at_end, of_first, ends, forward, firsts, axes, at_first, of_second, backward, both] =
            ["at_end", "of_first", "ends", "forward", "firsts", "axes", "at_first", "of_second", "backward", "both"]
                .map(|part| format!("{output}.{part}"));
        self.graph.integers_constant(&at_end, &[steps as i64 - 1]);
        self.graph.integers_constant(&of_first, &[0]);
        self.graph.integers_constant(&of_second, &[1]);
        self.graph.integers_constant(&axes, &[1]);
        self.graph.node("Gather", &[states, &at_end], &ends, vec![integer("axis", 1)]);
        self.graph.node("Gather", &[&ends, &of_first], &forward, vec![integer("axis", 2)]);
        self.graph.node("Mul", &[states, is_first], &firsts, Vec::new());
        self.graph.node("ReduceSum", &[&firsts, &axes], &at_first, vec![integer("keepdims", 1)]);
        self.graph.node("Gather", &[&at_first, &of_second], &backward, vec![integer("axis", 2)]);
        self.graph.node("Concat", &[&forward, &backward], &both, vec![integer("axis", 3)]);
        self.graph.node("Flatten", &[&both], output, vec![integer("axis", 1)]);
    }

    /// Which steps of `[N, steps, inputs]` stand in front of the first that is not all zeros: 1 for those, `[N, steps, 1]`;
    /// 1 for all others, and 1 for the first of these, `[N, steps, 1, 1]` each.
    fn padding(&mut self, steps: usize, value: &str, output: &str) -> (String, String, String) {
        let [size, channels, sums, none, is_real, real, first, number, places, is_lead, leads, lead, one, rest, keep] =
            [
                "size", "channels", "sums", "none", "is_real", "real", "first", "number", "places", "is_lead", "leads",
                "lead", "one", "rest", "keep",
            ]
            .map(|part| format!("{output}.{part}"));
        let [is_equal, equal, is_first, by_step, by_place] =
            ["is_equal", "equal", "is_first", "by_step", "by_place"].map(|part| format!("{output}.{part}"));
        self.graph.integers_constant(&channels, &[2]);
        self.graph.integers_constant(&by_step, &[0, steps as i64, 1]);
        self.graph.integers_constant(&by_place, &[0, steps as i64, 1, 1]);
        self.graph.constant(&none, &[1, 1], &[0.0]);
        self.graph.constant(&one, &[1, 1], &[1.0]);
        self.graph.constant(&places, &[1, steps], &(0..steps).map(|step| step as f32).collect::<Vec<f32>>());
        self.graph.node("Abs", &[value], &size, Vec::new());
        self.graph.node("ReduceSum", &[&size, &channels], &sums, vec![integer("keepdims", 0)]);
        self.graph.node("Greater", &[&sums, &none], &is_real, Vec::new());
        self.graph.node("Cast", &[&is_real], &real, vec![integer("to", FLOAT)]);
        // The first of several greatest; of zeros alone the first of all.
        self.graph.node("ArgMax", &[&real], &first, vec![integer("axis", 1), integer("keepdims", 1)]);
        self.graph.node("Cast", &[&first], &number, vec![integer("to", FLOAT)]);
        self.graph.node("Less", &[&places, &number], &is_lead, Vec::new());
        self.graph.node("Cast", &[&is_lead], &leads, vec![integer("to", FLOAT)]);
        self.graph.node("Reshape", &[&leads, &by_step], &lead, Vec::new());
        self.graph.node("Sub", &[&one, &leads], &rest, Vec::new());
        self.graph.node("Reshape", &[&rest, &by_place], &keep, Vec::new());
        self.graph.node("Equal", &[&places, &number], &is_equal, Vec::new());
        self.graph.node("Cast", &[&is_equal], &equal, vec![integer("to", FLOAT)]);
        self.graph.node("Reshape", &[&equal, &by_place], &is_first, Vec::new());
        (lead, keep, is_first)
    }

    /// The parameters of all directions as constants, those of the inputs with one more for the number that tells padding.
    fn of_directions(&mut self, shape: &Directions) -> OfDirections {
        let scale = std::mem::replace(&mut self.scale, 1.0);
        let (mut weights, mut recurrences, mut biases) = (Vec::new(), Vec::new(), Vec::new());
        let (mut rows, mut inputs, mut names) = (0, 0, None);
        for direction in 0..shape.count() {
            let [weight, recurrence, bias] = [self.parameter(), self.parameter(), self.parameter()];
            [rows, inputs] = [weight.shape[0], weight.shape[1]];
            names.get_or_insert_with(|| [weight, recurrence, bias].map(|array| array.name.clone()));
            for (row, numbers) in weight.values.chunks_exact(inputs).enumerate() {
                weights.extend(numbers.iter().map(|number| number * scale));
                weights.push(shape.tells(direction, row));
            }
            recurrences.extend_from_slice(&recurrence.values);
            biases.extend_from_slice(&bias.values);
            // Of the products with the state, which an LSTM does without.
            biases.resize((direction + 1) * 2 * rows, 0.0);
        }
        let (names, count) = (names.unwrap_or_default(), shape.count());
        self.graph.constant(&names[0], &[count, rows, inputs + 1], &weights);
        self.graph.constant(&names[1], &[count, rows, shape.units], &recurrences);
        self.graph.constant(&names[2], &[count, 2 * rows], &biases);
        OfDirections { names, inputs: inputs + 1 }
    }
}

/// The names of the parameters of all directions, and the inputs of a step.
struct OfDirections {
    names: [String; 3],
    inputs: usize,
}
