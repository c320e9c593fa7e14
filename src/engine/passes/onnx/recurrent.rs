//! Recurrent layers in every direction and layout, with or without a first state.
//!
//! tract runs a layer forward, or in both directions, with time as the first dimension. It passes over
//! `direction = "reverse"` and over other activations than the default, and needs a fixed batch where the first state
//! is left out.

use tract_onnx::pb::NodeProto;

use super::build::{Builder, attribute, input, integer, integer_of, integers_attribute, output, text, text_of};
use super::known::Known;
use super::refuse::{Refusal, refused};

/// The inputs of a layer by their place.
const X: usize = 0;
const W: usize = 1;
const R: usize = 2;
const LENGTHS: usize = 4;
const STATE: usize = 5;
const CELL: usize = 6;

pub(super) fn rewrite(node: &mut NodeProto, known: &Known, to: &mut Builder) -> Result<bool, Refusal> {
    check(node)?;
    let backward = text_of(node, "direction", "forward") == "reverse";
    let directions = if text_of(node, "direction", "forward") == "bidirectional" { 2 } else { 1 };
    let batch_first = integer_of(node, "layout", 0) == 1;
    let hidden = attribute(node, "hidden_size").map(|attribute| attribute.i);
    let hidden = hidden.or_else(|| input(node, R).and_then(|r| known.dims(r)?.get(2).copied().flatten()));
    let (Some(hidden), Some(x)) = (hidden, input(node, X).map(str::to_owned)) else { return Ok(false) };
    let states: &[usize] = if node.op_type == "LSTM" { &[STATE, CELL] } else { &[STATE] };
    let lacks_state = states.iter().any(|state| input(node, *state).is_none());
    if !backward && !batch_first && !lacks_state {
        return Ok(false);
    }
    let mut layer = node.clone();
    layer.input.resize(layer.input.len().max(STATE + states.len()), String::new());
    if batch_first {
        layer.attribute.retain(|attribute| attribute.name != "layout");
        layer.input[X] = to.op("Transpose", &[&x], vec![integers_attribute("perm", &[1, 0, 2])]);
        for state in states.iter().filter(|state| input(node, **state).is_some()) {
            layer.input[*state] =
                to.op("Transpose", &[&node.input[*state]], vec![integers_attribute("perm", &[1, 0, 2])]);
        }
    }
    for state in states.iter().filter(|state| input(node, **state).is_none()) {
        layer.input[*state] = zeros(&layer.input[X], directions, hidden, *state == CELL, to);
    }
    if backward {
        turn(&mut layer, to);
    }
    finish(node, layer, backward, batch_first, to);
    Ok(true)
}

/// Refuses what tract would pass over.
fn check(node: &NodeProto) -> Result<(), Refusal> {
    let usual: &[&str] = match node.op_type.as_str() {
        "RNN" => &["tanh"],
        "GRU" => &["sigmoid", "tanh"],
        _ => &["sigmoid", "tanh", "tanh"],
    };
    if let Some(activations) = attribute(node, "activations") {
        let given: Vec<String> =
            activations.strings.iter().map(|name| String::from_utf8_lossy(name).to_lowercase()).collect();
        if given.chunks(usual.len()).any(|given| given != usual) {
            return Err(refused(node, &format!("activations other than {}", usual.join(", "))));
        }
    }
    if attribute(node, "clip").is_some_and(|clip| clip.f > 0.0) {
        return Err(refused(node, "clip"));
    }
    if integer_of(node, "input_forget", 0) != 0 {
        return Err(refused(node, "input_forget"));
    }
    if text_of(node, "direction", "forward") == "reverse" && input(node, LENGTHS).is_some() {
        return Err(refused(node, "sequence_lens in reverse"));
    }
    Ok(())
}

/// Returns a first state of zeros for the batch of `x`, which has time first. Those of a cell are the number next to
/// zero: tract takes two states that are the same for one, and then cannot run an LSTM.
fn zeros(x: &str, directions: i64, hidden: i64, is_cell: bool, to: &mut Builder) -> String {
    let shape = to.op("Shape", &[x], Vec::new());
    let batch = to.slice(&shape, 0, 1, 2);
    let (directions, width) = (to.integers(&[directions]), to.integers(&[hidden]));
    let shape = to.concat(&[&directions, &batch, &width], 0);
    let zero = to.number_like(f32::from_bits(is_cell.into()), x);
    to.op("Expand", &[&zero, &shape], Vec::new())
}

/// Makes a backward layer the second direction of a layer that has both. tract drops the first, which nobody reads.
fn turn(layer: &mut NodeProto, to: &mut Builder) {
    for at in (W..layer.input.len()).filter(|at| *at != LENGTHS) {
        let value = layer.input[at].clone();
        if !value.is_empty() {
            layer.input[at] = to.concat(&[&value, &value], 0);
        }
    }
    layer.attribute.retain(|attribute| attribute.name != "direction");
    layer.attribute.push(text("direction", "bidirectional"));
    if let Some(activations) = layer.attribute.iter_mut().find(|attribute| attribute.name == "activations") {
        activations.strings.extend_from_within(..);
    }
}

/// Appends the layer, and what brings its outputs into the form that `node` promised.
fn finish(node: &NodeProto, mut layer: NodeProto, backward: bool, batch_first: bool, to: &mut Builder) {
    let mut after = Vec::new();
    for (at, name) in layer.output.iter_mut().enumerate().filter(|(_, name)| !name.is_empty()) {
        if backward || batch_first {
            *name = format!("{name}.layer");
        }
        after.push((at, name.clone()));
    }
    layer.attribute.retain(|attribute| attribute.name != "layout");
    layer.attribute.push(integer("layout", 0));
    to.push(layer);
    for (at, mut value) in after.into_iter().filter(|_| backward || batch_first) {
        let Some(result) = output(node, at) else { continue };
        if backward {
            let (directions, target) =
                (i64::from(at == 0), if batch_first { to.fresh("Slice") } else { result.to_owned() });
            to.slice_to(&value, directions, 1, 2, &target);
            value = target;
        }
        if batch_first {
            let order: &[i64] = if at == 0 { &[2, 0, 1, 3] } else { &[1, 0, 2] };
            to.op_to("Transpose", &[&value], vec![integers_attribute("perm", order)], result);
        }
    }
}

#[cfg(test)]
mod tests {
    use tract_onnx::pb::{AttributeProto, ModelProto, attribute_proto::AttributeType};
    use tract_onnx::prelude::Tensor;

    use super::super::check::{assert_close, float, floats, model, node, noise, refusal, run, value, weights};
    use super::*;

    const STEPS: usize = 4;
    const BATCH: usize = 3;
    const INPUTS: usize = 2;
    const HIDDEN: usize = 5;

    fn layer(op: &str, attributes: Vec<AttributeProto>, dims: &[i64; 3]) -> ModelProto {
        let gates = match op {
            "RNN" => 1,
            "GRU" => 3,
            _ => 4,
        };
        let (hidden, width) = (HIDDEN as i64, INPUTS as i64);
        let sizes = [
            ("w", vec![1, gates * hidden, width]),
            ("r", vec![1, gates * hidden, hidden]),
            ("b", vec![1, 2 * gates * hidden]),
        ];
        let constants = sizes.map(|(name, dims)| weights(name, &dims, noise(dims.iter().product::<i64>() as usize)));
        let attributes = attributes.into_iter().chain([integer("hidden_size", hidden)]).collect();
        let outputs = if op == "LSTM" { &["y", "h", "c"][..] } else { &["y", "h"] };
        model(14, node(op, &["x", "w", "r", "b"], outputs, attributes), vec![value("x", dims)], constants.into())
    }

    /// Returns a tensor of three dimensions with the order of one of them, or of the first two, changed.
    fn reordered(values: &[f32], [a, b, c]: [usize; 3], from: impl Fn(usize, usize) -> (usize, usize)) -> Vec<f32> {
        let row = |(x, y): (usize, usize)| values[(x * b + y) * c..][..c].to_vec();
        (0..a).flat_map(|x| (0..b).map(move |y| (x, y))).flat_map(|(x, y)| row(from(x, y))).collect()
    }

    #[test]
    fn a_backward_layer_is_a_forward_layer_on_a_reversed_sequence() {
        let x = noise(STEPS * BATCH * INPUTS);
        let turned = reordered(&x, [STEPS, BATCH, INPUTS], |step, sample| (STEPS - 1 - step, sample));
        let tensor = |values: &[f32]| vec![Tensor::from_shape(&[STEPS, BATCH, INPUTS], values).unwrap()];
        for op in ["RNN", "GRU", "LSTM"] {
            for dims in [[-1, -1, INPUTS as i64], [STEPS as i64, BATCH as i64, INPUTS as i64]] {
                let forward = run(layer(op, Vec::new(), &dims), tensor(&turned));
                let backward = run(layer(op, vec![text("direction", "reverse")], &dims), tensor(&x));
                let y =
                    reordered(&floats(&forward[0]), [STEPS, BATCH, HIDDEN], |step, sample| (STEPS - 1 - step, sample));
                assert_close(&floats(&backward[0]), &y);
                for (backward, forward) in backward.iter().zip(&forward) {
                    assert_eq!(backward.shape(), forward.shape());
                }
                for (backward, forward) in backward.iter().zip(&forward).skip(1) {
                    assert_close(&floats(backward), &floats(forward));
                }
            }
        }
    }

    #[test]
    fn a_layer_may_have_the_batch_first() {
        let x = noise(STEPS * BATCH * INPUTS);
        let moved: Vec<f32> = (0..BATCH)
            .flat_map(|b| (0..STEPS).map(move |s| (s, b)))
            .flat_map(|(s, b)| x[(s * BATCH + b) * INPUTS..][..INPUTS].to_vec())
            .collect();
        for direction in ["forward", "reverse"] {
            let attributes = |layout| vec![text("direction", direction), integer("layout", layout)];
            let time_first = Tensor::from_shape(&[STEPS, BATCH, INPUTS], &x).unwrap();
            let batch_first = Tensor::from_shape(&[BATCH, STEPS, INPUTS], &moved).unwrap();
            let expected = run(layer("LSTM", attributes(0), &[-1, -1, INPUTS as i64]), vec![time_first]);
            let got = run(layer("LSTM", attributes(1), &[-1, -1, INPUTS as i64]), vec![batch_first]);
            assert_eq!(got[0].shape(), [BATCH, STEPS, 1, HIDDEN]);
            assert_eq!(got[1].shape(), [BATCH, 1, HIDDEN]);
            assert_close(&floats(&got[2]), &floats(&expected[2]));
            let y = floats(&expected[0]);
            let y: Vec<f32> = (0..BATCH)
                .flat_map(|b| (0..STEPS).map(move |s| (s, b)))
                .flat_map(|(s, b)| y[(s * BATCH + b) * HIDDEN..][..HIDDEN].to_vec())
                .collect();
            assert_close(&floats(&got[0]), &y);
        }
    }

    #[test]
    fn what_tract_would_pass_over_is_refused() {
        let named = |names: &[&str]| AttributeProto {
            name: "activations".into(),
            r#type: AttributeType::Strings.into(),
            strings: names.iter().map(|name| name.as_bytes().to_vec()).collect(),
            ..AttributeProto::default()
        };
        let dims = [-1, -1, INPUTS as i64];
        for (op, attribute, words) in [
            ("RNN", named(&["Relu"]), "activations other than tanh"),
            ("GRU", float("clip", 0.5), "clip"),
            ("LSTM", integer("input_forget", 1), "input_forget"),
        ] {
            let said = refusal(layer(op, vec![attribute], &dims));
            assert!(said.contains(&format!("node \"y\" ({op})")) && said.contains(words), "{said}");
        }
        assert_eq!(refusal(layer("LSTM", vec![named(&["Sigmoid", "Tanh", "Tanh"])], &dims)), "");
    }
}
