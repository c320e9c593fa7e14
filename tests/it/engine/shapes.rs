//! Graphs with open dimensions, optional inputs and none at all, in both engines.

use tract_onnx::pb::{AttributeProto, NodeProto, TensorProto, ValueInfoProto, attribute_proto};
use weir::engine::{EngineKind, Engines, Plan};
use weir::error::{Error, Kind};
use weir::signature::Batching;
use weir::tensor::{Data, Tensor};

use super::onnxruntime;
use crate::fixtures::{Edge, constant, model, node};

pub(super) const FLOAT: i32 = 1;
pub(super) const INT64: i32 = 7;

pub(super) fn ints(name: &str, ints: &[i64]) -> AttributeProto {
    AttributeProto {
        name: name.into(),
        r#type: attribute_proto::AttributeType::Ints as i32,
        ints: ints.into(),
        ..AttributeProto::default()
    }
}

pub(super) fn int(name: &str, i: i64) -> AttributeProto {
    AttributeProto {
        name: name.into(),
        r#type: attribute_proto::AttributeType::Int as i32,
        i,
        ..AttributeProto::default()
    }
}

pub(super) fn with(node: NodeProto, attribute: &[AttributeProto]) -> NodeProto {
    NodeProto { attribute: attribute.into(), ..node }
}

fn integers(name: &str, dims: &[i64], values: &[i64]) -> TensorProto {
    TensorProto {
        name: name.into(),
        dims: dims.into(),
        data_type: INT64,
        raw_data: values.iter().flat_map(|value| value.to_le_bytes()).collect(),
        ..TensorProto::default()
    }
}

/// Numbers between -1 and 1 that do not repeat.
fn numbers(count: usize) -> Vec<f32> {
    (0..count).map(|index| (index as f32 * 0.73).sin()).collect()
}

fn tensor(shape: &[usize]) -> Tensor {
    Tensor::new(shape.to_vec(), numbers(shape.iter().product())).unwrap()
}

/// The engines that are here.
pub(super) fn plans(onnx: &[u8]) -> Vec<Plan> {
    let mut plans = vec![Engines::default().load(EngineKind::Tract, onnx).unwrap()];
    if let Some(library) = onnxruntime() {
        plans.push(Engines::new(Some(library)).load(EngineKind::OnnxRuntime, onnx).unwrap());
    }
    plans
}

fn run(plan: &Plan, inputs: &[Tensor]) -> Vec<Tensor> {
    plan.session().unwrap().run(inputs).unwrap_or_else(|error| panic!("{}: {error:?}", plan.engine().name()))
}

fn refused(plan: &Plan, inputs: &[Tensor]) -> Error {
    plan.session().unwrap().run(inputs).unwrap_err()
}

#[track_caller]
fn assert_close(got: &Tensor, expected: &Tensor) {
    assert_eq!(got.shape(), expected.shape());
    let (got, expected) = (got.floats().unwrap(), expected.floats().unwrap());
    assert!(got.iter().zip(expected).all(|(a, b)| (a - b).abs() <= 1e-4 * b.abs().max(1.0)), "{got:?} {expected:?}");
}

/// Two convolutions and poolings, and a class for each image, whatever its size.
fn convolutional(height: &str, width: &str) -> Vec<u8> {
    let convolution = [ints("kernel_shape", &[3, 3]), ints("pads", &[1, 1, 1, 1])];
    let pooling = [ints("kernel_shape", &[2, 2]), ints("strides", &[2, 2])];
    let nodes = vec![
        with(node("Conv", &["x", "w1"], "c1"), &convolution),
        node("Relu", &["c1"], "r"),
        with(node("MaxPool", &["r"], "p1"), &pooling),
        with(node("Conv", &["p1", "w2"], "c2"), &convolution),
        with(node("MaxPool", &["c2"], "p2"), &pooling),
        node("GlobalAveragePool", &["p2"], "g"),
        node("Flatten", &["g"], "f"),
        node("Gemm", &["f", "w3"], "y"),
    ];
    let weights = |name, dims: &[i64]| constant(name, dims, &numbers(dims.iter().product::<i64>() as usize));
    let constants = vec![weights("w1", &[4, 1, 3, 3]), weights("w2", &[4, 4, 3, 3]), weights("w3", &[4, 3])];
    let input = [("x", FLOAT, Some(&["N", "1", height, width][..]))];
    model(&input, &[("y", FLOAT, Some(&["N", "3"]))], nodes, constants, 13)
}

#[test]
fn images_of_any_size_get_the_answers_of_the_graph_for_their_size() {
    let open = plans(&convolutional("H", "W"));
    for (height, width) in [(4, 4), (8, 8), (9, 13), (32, 5), (64, 48)] {
        let fixed = Plan::load(&convolutional(&height.to_string(), &width.to_string())).unwrap();
        for batch in [1, 3] {
            let input = [tensor(&[batch, 1, height, width])];
            let expected = run(&fixed, &input);
            for plan in &open {
                assert_eq!(plan.signature().batching(), Batching::Any);
                assert_close(&run(plan, &input)[0], &expected[0]);
            }
        }
    }
}

#[test]
fn an_image_that_is_too_small_is_refused_and_the_next_is_answered() {
    let nodes = vec![with(node("Conv", &["x", "w"], "y"), &[ints("kernel_shape", &[5, 5]), ints("strides", &[4, 4])])];
    let input = [("x", FLOAT, Some(&["N", "1", "H", "W"][..]))];
    let output = [("y", FLOAT, Some(&["N", "1", "H2", "W2"][..]))];
    let onnx = model(&input, &output, nodes, vec![constant("w", &[1, 1, 5, 5], &[1.0; 25])], 13);
    for plan in plans(&onnx) {
        let mut session = plan.session().unwrap();
        for (height, width) in [(1, 1), (3, 3), (4, 4), (4, 9), (9, 4)] {
            let error = refused(&plan, &[tensor(&[1, 1, height, width])]);
            assert_eq!(error.kind(), Kind::InvalidInput, "{error}");
            let ones = Tensor::new(vec![2, 1, 5, 9], vec![1.0f32; 90]).unwrap();
            assert_eq!(session.run(&[ones]).unwrap()[0].floats().unwrap(), [25.0; 4]);
        }
    }
}

#[test]
fn the_shape_of_a_request_has_a_plan_of_its_own_where_none_takes_all() {
    // The divisor is the size of a dimension, which the engine needs to know to plan.
    let nodes = [with(node("Split", &["x"], "a"), &[int("axis", 1)]), node("Neg", &["a"], "y")];
    let nodes = vec![NodeProto { output: vec!["a".into(), "b".into()], ..nodes[0].clone() }, nodes[1].clone()];
    let input = [("x", FLOAT, Some(&["N", "L"][..]))];
    let onnx = model(&input, &[("y", FLOAT, None), ("b", FLOAT, None)], nodes, Vec::new(), 13);
    for plan in plans(&onnx) {
        for length in [2, 4, 10, 4] {
            let outputs = run(&plan, &[tensor(&[2, length])]);
            assert_eq!(outputs[0].shape(), [2, length / 2]);
            assert_eq!(outputs[0].floats().unwrap()[0], 0.0);
        }
    }
}

#[test]
fn dimensions_without_a_name_are_independent_unless_they_are_the_batch() {
    let nodes =
        vec![node("Gather", &["nodes", "edges"], "g"), with(node("ReduceSum", &["g"], "y"), &[int("keepdims", 0)])];
    let inputs: [Edge<'_>; 2] = [("nodes", FLOAT, Some(&["?", "3"])), ("edges", INT64, Some(&["?", "2"]))];
    for plan in plans(&model(&inputs, &[("y", FLOAT, Some(&[]))], nodes, Vec::new(), 13)) {
        let nodes = Tensor::new(vec![4, 3], vec![1.0f32; 12]).unwrap();
        let edges = Tensor::new(vec![5, 2], vec![0i64; 10]).unwrap();
        assert_eq!(run(&plan, &[nodes.clone(), edges])[0].floats().unwrap(), [30.0], "{:?}", plan.signature());
        let beyond = Tensor::new(vec![5, 2], vec![9i64; 10]).unwrap();
        let error = refused(&plan, &[nodes, beyond]);
        assert_eq!(error.kind(), Kind::InvalidInput, "{error}");
        assert!(!error.to_string().contains("src/"), "{error}");
    }
    let inputs: [Edge<'_>; 2] = [("a", FLOAT, Some(&["?", "3"])), ("b", FLOAT, Some(&["?", "1"]))];
    for plan in plans(&model(&inputs, &[("y", FLOAT, None)], vec![node("Add", &["a", "b"], "y")], Vec::new(), 13)) {
        assert_eq!(plan.signature().batching(), Batching::Any, "{:?}", plan.signature());
    }
}

/// Exporters name the batch otherwise inside the graph than at its edge, and sums of sizes by the names in them.
#[test]
fn names_are_in_step_with_the_inputs_and_wrong_ones_inside_are_passed_over() {
    use prost::Message;
    use tract_onnx::pb::ModelProto;
    let inputs: [Edge<'_>; 3] = [
        ("past", FLOAT, Some(&["rows", "old", "2"])),
        ("x", FLOAT, Some(&["rows", "new", "2"])),
        ("mask", FLOAT, Some(&["rows", "old + new", "1"])),
    ];
    let nodes =
        vec![with(node("Concat", &["past", "x"], "all"), &[int("axis", 1)]), node("Mul", &["all", "mask"], "y")];
    let onnx = model(&inputs, &[("y", FLOAT, Some(&["rows", "total", "2"]))], nodes, Vec::new(), 13);
    let mut file = ModelProto::decode(onnx.as_slice()).unwrap();
    let graph = file.graph.as_mut().unwrap();
    let inner = ValueInfoProto { name: "all".into(), ..graph.input[0].clone() };
    graph.value_info.push(inner);
    for plan in plans(&file.encode_to_vec()) {
        assert_eq!(plan.signature().batching(), Batching::Any, "{:?}", plan.signature());
        assert_eq!(plan.signature().inputs[2].shape_text(), "[N, old + new, 1]");
        let outputs = run(&plan, &[tensor(&[2, 3, 2]), tensor(&[2, 1, 2]), tensor(&[2, 4, 1])]);
        assert_eq!(outputs[0].shape(), [2, 4, 2]);
    }
}

#[test]
fn an_initializer_that_is_also_an_input_may_be_given_or_left_out() {
    let inputs: [Edge<'_>; 2] = [("hidden", FLOAT, Some(&["3"])), ("x", FLOAT, Some(&["N", "3"]))];
    let default = vec![constant("hidden", &[3], &[1.0, 2.0, 3.0])];
    let onnx =
        model(&inputs, &[("y", FLOAT, Some(&["N", "3"]))], vec![node("Add", &["x", "hidden"], "y")], default, 13);
    for plan in plans(&onnx) {
        assert_eq!(plan.signature().inputs.len(), 1);
        assert_eq!(plan.signature().batching(), Batching::Any);
        let [optional] = plan.optional_inputs() else { panic!("{:?}", plan.optional_inputs()) };
        assert_eq!(
            (optional.spec.name.as_str(), optional.default.floats().unwrap()),
            ("hidden", &[1.0f32, 2.0, 3.0][..])
        );
        let x = Tensor::new(vec![2, 3], vec![0.0f32; 6]).unwrap();
        let mut session = plan.session().unwrap();
        for _ in 0..2 {
            let left_out = session.run(std::slice::from_ref(&x)).unwrap();
            assert_eq!(left_out[0].floats().unwrap(), [1.0, 2.0, 3.0, 1.0, 2.0, 3.0]);
            let hidden = Tensor::new(vec![3], vec![9.0f32, 8.0, 7.0]).unwrap();
            let given = session.run(&[x.clone(), hidden]).unwrap();
            assert_eq!(given[0].floats().unwrap(), [9.0, 8.0, 7.0, 9.0, 8.0, 7.0]);
        }
    }
}

#[test]
fn a_graph_may_have_no_input_and_an_output_may_be_an_input() {
    let nodes = vec![node("Identity", &["c"], "y")];
    for plan in
        plans(&model(&[], &[("y", FLOAT, Some(&["3"]))], nodes, vec![constant("c", &[3], &[1.0, 2.0, 3.0])], 13))
    {
        assert_eq!(plan.signature().batching(), Batching::Whole);
        assert_eq!(run(&plan, &[])[0].floats().unwrap(), [1.0, 2.0, 3.0]);
    }
    let edge: [Edge<'_>; 1] = [("x", FLOAT, Some(&["N", "3"]))];
    let outputs = [("y", FLOAT, Some(&["N", "3"][..])), edge[0]];
    for plan in plans(&model(&edge, &outputs, vec![node("Relu", &["x"], "y")], Vec::new(), 13)) {
        let x = tensor(&[2, 3]);
        let names: Vec<&str> = plan.signature().outputs.iter().map(|output| output.name.as_str()).collect();
        assert_eq!(names, ["y", "x"]);
        assert_eq!(run(&plan, std::slice::from_ref(&x))[1], x);
    }
}

#[test]
fn whole_numbers_are_divided_and_a_division_by_zero_is_the_inputs_fault() {
    let inputs: [Edge<'_>; 2] = [("a", INT64, Some(&["N", "2"])), ("b", INT64, Some(&["N", "2"]))];
    for op in ["Div", "Mod"] {
        for plan in
            plans(&model(&inputs, &[("y", INT64, Some(&["N", "2"]))], vec![node(op, &["a", "b"], "y")], vec![], 13))
        {
            let pair = |values: [i64; 2]| Tensor::new(vec![1, 2], values.to_vec()).unwrap();
            let expected = if op == "Div" { [3, 2] } else { [1, 0] };
            let outputs = run(&plan, &[pair([7, 4]), pair([2, 2])]);
            assert_eq!(outputs[0].data(), &Data::Int64(expected.to_vec()));
            let error = refused(&plan, &[pair([7, 4]), pair([0, 2])]);
            assert_eq!(error.kind(), Kind::InvalidInput, "{error}");
            assert!(error.to_string().contains("by zero"), "{error}");
        }
    }
}

#[test]
fn a_shape_that_the_graph_cannot_take_is_the_inputs_fault() {
    let nodes = vec![node("Reshape", &["x", "s"], "y")];
    let input = [("x", FLOAT, Some(&["N", "L"][..]))];
    let shape = integers("s", &[3], &[0, -1, 4]);
    for plan in plans(&model(&input, &[("y", FLOAT, Some(&["N", "M", "4"]))], nodes, vec![shape], 13)) {
        for length in [4, 8, 20] {
            assert_eq!(run(&plan, &[tensor(&[2, length])])[0].shape(), [2, length / 4, 4]);
        }
        let error = refused(&plan, &[tensor(&[2, 5])]);
        assert_eq!(error.kind(), Kind::InvalidInput, "{error}");
        assert_eq!(run(&plan, &[tensor(&[3, 4])])[0].shape(), [3, 1, 4]);
    }
}
