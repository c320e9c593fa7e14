//! Operators of which tract knows a form that loses numbers, or none.

use tract_onnx::pb::{AttributeProto, NodeProto, TensorProto, attribute_proto::AttributeType};

use super::build::{Builder, FLOAT, attribute, input, integer, integer_of, output};
use super::known::Known;

/// Returns the only input and the only output of a node.
fn ends(node: &NodeProto) -> Option<(&str, &str)> {
    Some((input(node, 0)?, output(node, 0)?))
}

fn number_of(node: &NodeProto, name: &str, default: f32) -> f32 {
    attribute(node, name).map_or(default, |attribute| attribute.f)
}

/// `Celu`: max(0, x) + min(0, α(exp(x / α) - 1)). tract leaves out one of the two α.
pub(super) fn celu(node: &NodeProto, to: &mut Builder) -> bool {
    let Some((value, result)) = ends(node) else { return false };
    let alpha = to.number_like(number_of(node, "alpha", 1.0), value);
    let zero = to.number_like(0.0, value);
    let one = to.number_like(1.0, value);
    let scaled = to.op("Div", &[value, &alpha], Vec::new());
    let below = to.op("Min", &[&scaled, &zero], Vec::new());
    let powers = to.op("Exp", &[&below], Vec::new());
    let powers = to.op("Sub", &[&powers, &one], Vec::new());
    let below = to.op("Mul", &[&powers, &alpha], Vec::new());
    let above = to.op("Max", &[value, &zero], Vec::new());
    to.op_to("Add", &[&above, &below], Vec::new(), result);
    true
}

/// `Softplus`: max(0, x) + log(1 + exp(-|x|)), which no x overflows.
pub(super) fn softplus(node: &NodeProto, to: &mut Builder) -> bool {
    let Some((value, result)) = ends(node) else { return false };
    let one = to.number_like(1.0, value);
    let magnitude = to.op("Abs", &[value], Vec::new());
    let negated = to.op("Neg", &[&magnitude], Vec::new());
    let powers = to.op("Exp", &[&negated], Vec::new());
    let sums = to.op("Add", &[&powers, &one], Vec::new());
    let logs = to.op("Log", &[&sums], Vec::new());
    let above = to.op("Relu", &[value], Vec::new());
    to.op_to("Add", &[&above, &logs], Vec::new(), result);
    true
}

/// `Swish` with a factor: x · sigmoid(αx).
pub(super) fn swish(node: &NodeProto, to: &mut Builder) -> bool {
    let Some((value, result)) = ends(node) else { return false };
    let alpha = number_of(node, "alpha", 1.0);
    if alpha == 1.0 {
        return false;
    }
    let alpha = to.number_like(alpha, value);
    let scaled = to.op("Mul", &[value, &alpha], Vec::new());
    let gate = to.op("Sigmoid", &[&scaled], Vec::new());
    to.op_to("Mul", &[value, &gate], Vec::new(), result);
    true
}

/// `Binarizer`: 1 above the threshold, else 0.
pub(super) fn binarizer(node: &NodeProto, to: &mut Builder) -> bool {
    let Some((value, result)) = ends(node) else { return false };
    let threshold = to.number_like(number_of(node, "threshold", 0.0), value);
    let above = to.op("Greater", &[value, &threshold], Vec::new());
    to.op_to("CastLike", &[&above, value], Vec::new(), result);
    true
}

/// `ReduceLogSumExp`: log(sum(exp(x - m))) + m with the maximum m, so that no power overflows. An infinite maximum is
/// not subtracted.
pub(super) fn log_sum_exp(node: &NodeProto, to: &mut Builder) -> bool {
    let Some((value, result)) = ends(node) else { return false };
    if integer_of(node, "noop_with_empty_axes", 0) != 0 {
        return false;
    }
    let inputs: Vec<&str> = node.input.iter().map(String::as_str).collect();
    let with = |first: &str, op: &str, keep: i64, to: &mut Builder| {
        let mut attributes: Vec<AttributeProto> =
            node.attribute.iter().filter(|attribute| attribute.name != "keepdims").cloned().collect();
        attributes.push(integer("keepdims", keep));
        let mut inputs = inputs.clone();
        inputs[0] = first;
        to.op(op, &inputs, attributes)
    };
    let maximum = with(value, "ReduceMax", 1, to);
    let magnitude = to.op("Abs", &[&maximum], Vec::new());
    let infinity = to.number_like(f32::INFINITY, value);
    let infinite = to.op("Equal", &[&magnitude, &infinity], Vec::new());
    let zero = to.number_like(0.0, value);
    let maximum = to.op("Where", &[&infinite, &zero, &maximum], Vec::new());
    let shifted = to.op("Sub", &[value, &maximum], Vec::new());
    let powers = to.op("Exp", &[&shifted], Vec::new());
    let keep = integer_of(node, "keepdims", 1);
    // From version 13 on, the axes of a sum are an input; those of the other reductions are one from 18 on.
    let sums = match attribute(node, "axes") {
        Some(axes) => to.reduce("ReduceSum", &powers, &axes.ints, keep == 1),
        None => with(&powers, "ReduceSum", keep, to),
    };
    let logs = to.op("Log", &[&sums], Vec::new());
    let maximum = if keep == 1 { maximum } else { with(&maximum, "ReduceMax", 0, to) };
    to.op_to("Add", &[&logs, &maximum], Vec::new(), result);
    true
}

/// `ReduceMax` and `ReduceMin` of a value that the file says is empty: the identity of the operator, which the sum of
/// nothing is added to for the sake of its shape. tract gives the largest or the least number instead of an infinite one.
pub(super) fn extreme_of_nothing(node: &NodeProto, known: &Known, to: &mut Builder) -> bool {
    let identity = match node.op_type.as_str() {
        "ReduceMax" => f32::NEG_INFINITY,
        "ReduceMin" => f32::INFINITY,
        _ => return false,
    };
    let Some((value, result)) = ends(node) else { return false };
    if !known.dims(value).is_some_and(|dims| dims.contains(&Some(0))) {
        return false;
    }
    let keep = integer("keepdims", integer_of(node, "keepdims", 1));
    let sum = match (input(node, 1), attribute(node, "axes")) {
        (Some(axes), _) => {
            let as_is = integer("noop_with_empty_axes", integer_of(node, "noop_with_empty_axes", 0));
            to.op("ReduceSum", &[value, axes], vec![keep, as_is])
        }
        (None, axes) => to.reduce("ReduceSum", value, axes.map_or(&[][..], |axes| &axes.ints), keep.i == 1),
    };
    let identity = to.number_like(identity, value);
    to.op_to("Add", &[&sum, &identity], Vec::new(), result);
    true
}

/// `OneHot`: where the place along the new axis is the index. An index outside has no place; tract knows no such index and
/// cuts others to 32 bits. Returns false if the file does not say how many dimensions follow the new axis.
pub(super) fn one_hot(node: &NodeProto, known: &Known, to: &mut Builder) -> bool {
    let (Some((indices, result)), Some(depth), Some(values)) = (ends(node), input(node, 1), input(node, 2)) else {
        return false;
    };
    let rank = known.dims(indices).map(|dims| dims.len() as i64);
    let axis = integer_of(node, "axis", -1);
    let following = match (rank, axis) {
        (_, -1) => 0,
        (Some(rank), 0..) => rank - axis,
        (Some(_), _) => -1 - axis,
        (None, _) => return false,
    };
    let depth = to.op("CastLike", &[depth, indices], Vec::new());
    let scalar = to.integers(&[]);
    let depth = to.op("Reshape", &[&depth, &scalar], Vec::new());
    let [zero, one] = [0, 1].map(|number| to.integer_like(number, &depth));
    let negative = to.op("Less", &[indices, &zero], Vec::new());
    let wrapped = to.op("Add", &[indices, &depth], Vec::new());
    let wrapped = to.op("Where", &[&negative, &wrapped, indices], Vec::new());
    let wrapped = to.reshape("Unsqueeze", &wrapped, axis);
    let mut places = to.op("Range", &[&zero, &depth, &one], Vec::new());
    for _ in 0..following {
        places = to.reshape("Unsqueeze", &places, -1);
    }
    let is_hot = to.op("Equal", &[&wrapped, &places], Vec::new());
    let (off, on) = (to.slice(values, 0, 0, 1), to.slice(values, 0, 1, 2));
    to.op_to("Where", &[&is_hot, &on, &off], Vec::new(), result);
    true
}

/// `ReverseSequence`: each sequence of a batch up to its own length.
pub(super) fn reverse_sequence(node: &NodeProto, to: &mut Builder) -> bool {
    let (Some((value, result)), Some(lengths)) = (ends(node), input(node, 1)) else { return false };
    let (time, batch) = (integer_of(node, "time_axis", 0), integer_of(node, "batch_axis", 1));
    if !matches!((time, batch), (0, 1) | (1, 0)) {
        return false;
    }
    let shape = to.op("Shape", &[value], Vec::new());
    let steps = to.slice(&shape, 0, time, time + 1);
    let steps = to.reshape("Squeeze", &steps, 0);
    let zero = to.integer_like(0, lengths);
    let one = to.integer_like(1, lengths);
    let steps = to.op("CastLike", &[&steps, lengths], Vec::new());
    let places = to.op("Range", &[&zero, &steps, &one], Vec::new());
    let places = to.reshape("Unsqueeze", &places, batch);
    let lengths = to.reshape("Unsqueeze", lengths, time);
    let last = to.op("Sub", &[&lengths, &one], Vec::new());
    let turned = to.op("Sub", &[&last, &places], Vec::new());
    let inside = to.op("Less", &[&places, &lengths], Vec::new());
    let from = to.op("Where", &[&inside, &turned, &places], Vec::new());
    // One index for each element, whatever dimensions follow batch and time.
    let flat = to.integers(&[0, 0, -1]);
    let flat = to.op("Reshape", &[value, &flat], Vec::new());
    let flat_shape = to.op("Shape", &[&flat], Vec::new());
    let from = to.reshape("Unsqueeze", &from, 2);
    let from = to.op("Expand", &[&from, &flat_shape], Vec::new());
    let turned = to.op("GatherElements", &[&flat, &from], vec![integer("axis", time)]);
    to.op_to("Reshape", &[&turned, &shape], Vec::new(), result);
    true
}

/// `GatherND` and `ScatterND` with indices that count from the end, which tract takes for indices beyond it. Returns
/// false if the file holds the indices, or does not say how many make up a place.
pub(super) fn wrap_indices(node: &mut NodeProto, known: &Known, to: &mut Builder) -> bool {
    let (Some(data), Some(indices)) = (input(node, 0), input(node, 1)) else { return false };
    let Some(width) = known.dims(indices).and_then(|dims| dims.last().copied().flatten()) else { return false };
    if known.is_constant(indices) {
        return false;
    }
    let skipped = integer_of(node, "batch_dims", 0);
    let shape = to.op("Shape", &[data], Vec::new());
    let sizes = to.slice(&shape, 0, skipped, skipped + width);
    let sizes = to.op("CastLike", &[&sizes, indices], Vec::new());
    let zero = to.integer_like(0, indices);
    let negative = to.op("Less", &[indices, &zero], Vec::new());
    let wrapped = to.op("Add", &[indices, &sizes], Vec::new());
    let wrapped = to.op("Where", &[&negative, &wrapped, indices], Vec::new());
    node.input[1] = wrapped;
    to.push(node.clone());
    true
}

/// `DequantizeLinear` by one scale that the graph computes. tract needs a scale of the file.
pub(super) fn dequantize(node: &NodeProto, known: &Known, to: &mut Builder) -> bool {
    let (Some((value, result)), Some(scale)) = (ends(node), input(node, 1)) else { return false };
    if known.is_constant(scale) || known.dims(scale).is_none_or(|dims| !dims.is_empty()) {
        return false;
    }
    let wide = to.op("CastLike", &[value, scale], Vec::new());
    let shifted = match input(node, 2) {
        Some(zero_point) => {
            let zero_point = to.op("CastLike", &[zero_point, scale], Vec::new());
            to.op("Sub", &[&wide, &zero_point], Vec::new())
        }
        None => wide,
    };
    to.op_to("Mul", &[&shifted, scale], Vec::new(), result);
    true
}

/// Gives a `ConstantOfShape` the value that it has by default: one 32-bit zero. tract takes a 64-bit one.
pub(super) fn give_value(node: &mut NodeProto) {
    if attribute(node, "value").is_none() {
        let zero = TensorProto { dims: vec![1], data_type: FLOAT, float_data: vec![0.0], ..TensorProto::default() };
        node.attribute.push(AttributeProto {
            name: "value".into(),
            r#type: AttributeType::Tensor.into(),
            t: Some(zero),
            ..AttributeProto::default()
        });
    }
}

#[cfg(test)]
mod tests {
    use super::super::check::{assert_close, float, floats, model, node, run, typed_value, value};
    use super::*;

    fn of_each(op: &str, attributes: Vec<AttributeProto>, values: &[f32]) -> Vec<f32> {
        let model = model(17, node(op, &["x"], &["y"], attributes), vec![value("x", &[-1])], Vec::new());
        floats(&run(model, vec![tract_onnx::prelude::tensor1(values)])[0])
    }

    #[test]
    fn activations_are_what_onnx_says() {
        let values = [-200.0f32, -3.0, -0.5, 0.0, 0.5, 3.0, 200.0];
        let each = |of: fn(f64) -> f64| values.map(|x| of(f64::from(x)) as f32);
        let alpha = || vec![float("alpha", 2.0)];
        assert_close(&of_each("Celu", alpha(), &values), &each(|x| x.max(0.0) + (2.0 * (x / 2.0).exp_m1()).min(0.0)));
        assert_close(&of_each("Softplus", Vec::new(), &values), &each(|x| x.max(0.0) + (-x.abs()).exp().ln_1p()));
        // The sigmoid of tract is exact to 5e-7, which x multiplies.
        assert_close(&of_each("Swish", alpha(), &values[1..6]), &each(|x| x / (1.0 + (-2.0 * x).exp()))[1..6]);
        let threshold = vec![float("threshold", 0.4)];
        assert_close(&of_each("Binarizer", threshold, &values), &each(|x| if x > 0.4 { 1.0 } else { 0.0 }));
    }

    #[test]
    fn no_power_overflows_in_a_log_sum_exp() {
        let infinity = f32::INFINITY;
        for (values, expected) in [
            ([1000.0f32, 1001.0], 1001.3133),
            ([-1e30, -2e30], -1e30),
            ([-infinity, -infinity], -infinity),
            ([infinity, 0.0], infinity),
            ([-infinity, 2.0], 2.0),
        ] {
            for keep in [0, 1] {
                let node = node("ReduceLogSumExp", &["x"], &["y"], vec![integer("keepdims", keep)]);
                let model = model(18, node, vec![value("x", &[2])], Vec::new());
                let outputs = run(model, vec![tract_onnx::prelude::tensor1(&values)]);
                assert_eq!(outputs[0].rank(), usize::try_from(keep).unwrap());
                assert_close(&floats(&outputs[0]), &[expected]);
            }
        }
    }

    #[test]
    fn the_extreme_of_nothing_is_the_identity() {
        let axes = |opset: i64| AttributeProto {
            name: if opset < 18 { "axes" } else { "other" }.into(),
            r#type: AttributeType::Ints.into(),
            ints: vec![1],
            ..AttributeProto::default()
        };
        for (opset, given) in [(11, &["x"][..]), (13, &["x"]), (18, &["x", "axes"])] {
            for (op, identity) in [("ReduceMax", f32::NEG_INFINITY), ("ReduceMin", f32::INFINITY)] {
                let node = node(op, given, &["y"], vec![axes(opset), integer("keepdims", 0)]);
                let one = TensorProto {
                    name: "axes".into(),
                    dims: vec![1],
                    data_type: 7,
                    int64_data: vec![1],
                    ..TensorProto::default()
                };
                let model = model(opset, node, vec![value("x", &[2, 0, 3])], vec![one]);
                let nothing = tract_onnx::prelude::Tensor::from_shape::<f32>(&[2, 0, 3], &[]).unwrap();
                let outputs = run(model, vec![nothing]);
                assert_eq!((outputs[0].shape(), floats(&outputs[0])), (&[2, 3][..], vec![identity; 6]), "{op} {opset}");
            }
        }
    }

    #[test]
    fn a_log_sum_exp_keeps_to_its_axes_in_every_version() {
        for opset in [11, 13, 15, 17] {
            let axes = AttributeProto {
                name: "axes".into(),
                r#type: AttributeType::Ints.into(),
                ints: vec![1],
                ..AttributeProto::default()
            };
            let node = node("ReduceLogSumExp", &["x"], &["y"], vec![axes, integer("keepdims", 0)]);
            let model = model(opset, node, vec![value("x", &[-1, 2])], Vec::new());
            let outputs = run(model, vec![tract_onnx::prelude::tensor2(&[[0.0f32, 0.0], [1.0, 1.0], [5.0, 5.0]])]);
            let two = std::f32::consts::LN_2;
            assert_close(&floats(&outputs[0]), &[two, 1.0 + two, 5.0 + two]);
        }
    }

    #[test]
    fn each_sequence_is_reversed_up_to_its_length() {
        let node =
            node("ReverseSequence", &["x", "n"], &["y"], vec![integer("time_axis", 0), integer("batch_axis", 1)]);
        let inputs = vec![value("x", &[3, 2, 2]), typed_value("n", 7, &[2])];
        let x: Vec<f32> = (0u8..12).map(f32::from).collect();
        let x = tract_onnx::prelude::Tensor::from_shape(&[3, 2, 2], &x).unwrap();
        let outputs = run(model(17, node, inputs, Vec::new()), vec![x, tract_onnx::prelude::tensor1(&[2i64, 3])]);
        assert_close(&floats(&outputs[0]), &[4.0, 5.0, 10.0, 11.0, 0.0, 1.0, 6.0, 7.0, 8.0, 9.0, 2.0, 3.0]);
    }

    #[test]
    fn an_index_may_count_from_the_end() {
        let node = node("GatherND", &["x", "i"], &["y"], Vec::new());
        let model = model(17, node, vec![value("x", &[-1, 2]), typed_value("i", 7, &[-1, 2])], Vec::new());
        let x = tract_onnx::prelude::tensor2(&[[1.0f32, 2.0], [3.0, 4.0], [5.0, 6.0]]);
        let indices = tract_onnx::prelude::tensor2(&[[-1i64, 0], [0, -1], [1, 1]]);
        assert_close(&floats(&run(model, vec![x, indices])[0]), &[5.0, 2.0, 4.0]);
    }

    #[test]
    fn a_constant_is_a_32_bit_zero_by_default() {
        let node = node("ConstantOfShape", &["n"], &["y"], Vec::new());
        let shape = TensorProto {
            name: "n".into(),
            dims: vec![1],
            data_type: 7,
            int64_data: vec![3],
            ..TensorProto::default()
        };
        assert_eq!(floats(&run(model(17, node, Vec::new(), vec![shape]), Vec::new())[0]), [0.0; 3]);
    }
}
