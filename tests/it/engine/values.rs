//! Values of requests that end the process inside ONNX Runtime, or ask it for more memory than one tensor may take: each is
//! refused in words before anything is computed, and the session goes on.

use prost::Message as _;
use tract_onnx::pb::{AttributeProto, NodeProto, TensorProto, attribute_proto};
use weir::engine::{Bounds, EngineKind, Engines, Plan};
use weir::error::Kind;
use weir::tensor::Tensor;

use super::onnxruntime;
use super::shapes::{FLOAT, INT64, int, with};
use crate::fixtures::{Edge, constant, graph, model, node};

const INT32: i32 = 6;
const STRING: i32 = 8;
const BOOL: i32 = 9;

/// The most bytes of a tensor in these tests.
const LIMIT: u64 = 1 << 20;

fn text(name: &str, text: &str) -> AttributeProto {
    AttributeProto {
        name: name.into(),
        r#type: attribute_proto::AttributeType::String as i32,
        s: text.into(),
        ..AttributeProto::default()
    }
}

fn body(graph: tract_onnx::pb::GraphProto) -> AttributeProto {
    AttributeProto {
        name: "body".into(),
        r#type: attribute_proto::AttributeType::Graph as i32,
        g: Some(graph),
        ..AttributeProto::default()
    }
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

fn whole(values: &[i64]) -> Tensor {
    Tensor::new(vec![values.len()], values.to_vec()).unwrap()
}

fn lone(value: i64) -> Tensor {
    Tensor::new(vec![], vec![value]).unwrap()
}

fn filled(shape: &[usize]) -> Tensor {
    Tensor::new(shape.to_vec(), vec![0.5f32; shape.iter().product()]).unwrap()
}

fn load(onnx: &[u8]) -> Option<Plan> {
    let engines = Engines::new(Some(onnxruntime()?)).with_bounds(Bounds { tensor_bytes: LIMIT });
    Some(engines.load(EngineKind::OnnxRuntime, onnx).unwrap())
}

/// Asserts that the good inputs are answered and the bad ones refused with these words, by one session and in turn.
#[track_caller]
fn assert_refused(onnx: &[u8], good: &[Tensor], bad: &[Tensor], words: &[&str]) {
    let Some(plan) = load(onnx) else { return };
    let mut session = plan.session().unwrap();
    for _ in 0..2 {
        session.run(good).unwrap_or_else(|error| panic!("{error:?}"));
        let error = session.run(bad).unwrap_err();
        assert_eq!(error.kind(), Kind::InvalidInput, "{error:?}");
        for word in words {
            assert!(error.to_string().contains(word), "{word}: {error}");
        }
    }
}

/// A recurrent layer of two features and two units over `x: [T, N, 2]`, with lengths from a request.
fn recurrent(op: &str, gates: i64, direction: &str) -> Vec<u8> {
    let directions = if direction == "bidirectional" { 2 } else { 1 };
    let weights = |name: &str| {
        let dims = [directions, gates * 2, 2];
        constant(name, &dims, &vec![0.1; dims.iter().product::<i64>() as usize])
    };
    let layer =
        with(node(op, &["x", "w", "r", "", "lengths"], "y"), &[int("hidden_size", 2), text("direction", direction)]);
    let inputs: [Edge<'_>; 2] = [("x", FLOAT, Some(&["T", "N", "2"])), ("lengths", INT32, Some(&["N"]))];
    model(&inputs, &[("y", FLOAT, None)], vec![layer], vec![weights("w"), weights("r")], 14)
}

#[test]
fn the_lengths_of_a_recurrent_layer_are_from_one_to_its_steps() {
    let lengths = |lengths: &[i32]| Tensor::new(vec![lengths.len()], lengths.to_vec()).unwrap();
    for (op, gates) in [("LSTM", 4), ("GRU", 3), ("RNN", 1)] {
        for direction in ["forward", "reverse", "bidirectional"] {
            let onnx = recurrent(op, gates, direction);
            for bad in [[0, 3], [3, 0], [0, 0], [-1, 2], [4, 3], [i32::MAX, 1], [i32::MIN, 1]] {
                let good = [filled(&[3, 2, 2]), lengths(&[3, 1])];
                let bad = [filled(&[3, 2, 2]), lengths(&bad)];
                assert_refused(&onnx, &good, &bad, &["sequence_lens", op, "from 1 to the number of steps"]);
            }
            let good = [filled(&[3, 1, 2]), lengths(&[3])];
            assert_refused(&onnx, &good, &[filled(&[0, 1, 2]), lengths(&[1])], &["holds no element"]);
        }
    }
}

#[test]
fn lengths_are_checked_wherever_the_graph_takes_them_from() {
    // lengths = Cast(Floor(mask summed)): computed, not given.
    let cast = with(node("Cast", &["sum"], "lengths"), &[int("to", INT32.into())]);
    let sum = with(node("ReduceSum", &["mask", "axes"], "sum"), &[int("keepdims", 0)]);
    let weights = |name: &str| constant(name, &[2, 6, 2], &[0.1; 24]);
    let layer = with(
        node("GRU", &["x", "w", "r", "", "lengths"], "y"),
        &[int("hidden_size", 2), text("direction", "bidirectional")],
    );
    let inputs: [Edge<'_>; 2] = [("x", FLOAT, Some(&["T", "N", "2"])), ("mask", FLOAT, Some(&["N", "T"]))];
    let constants = vec![weights("w"), weights("r"), integers("axes", &[1], &[1])];
    let onnx = model(&inputs, &[("y", FLOAT, None)], vec![sum, cast, layer], constants, 14);
    let mask = |mask: [f32; 3]| Tensor::new(vec![1, 3], mask.to_vec()).unwrap();
    let good = [filled(&[3, 1, 2]), mask([1.0, 1.0, 0.0])];
    assert_refused(&onnx, &good, &[filled(&[3, 1, 2]), mask([0.0; 3])], &["sequence_lens", "GRU_y"]);
}

#[test]
fn a_quotient_that_does_not_fit_is_refused_and_others_are_not() {
    let inputs: [Edge<'_>; 2] = [("a", INT64, Some(&["N"])), ("b", INT64, Some(&["N"]))];
    let onnx = model(&inputs, &[("y", INT64, None)], vec![node("Div", &["a", "b"], "y")], Vec::new(), 13);
    let good = [whole(&[i64::MIN, -7]), whole(&[2, -1])];
    assert_refused(&onnx, &good, &[whole(&[1, i64::MIN]), whole(&[1, -1])], &["Div_y", "least integer"]);
    if let Some(plan) = load(&onnx) {
        let answer = plan.session().unwrap().run(&good).unwrap();
        assert_eq!(answer, [whole(&[i64::MIN / 2, 7])]);
    }
    // The type is derived, and the divisor stands in the file.
    let cast = with(node("Cast", &["x"], "a"), &[int("to", INT32.into())]);
    let divisor = TensorProto {
        name: "b".into(),
        data_type: INT32,
        raw_data: (-1i32).to_le_bytes().into(),
        ..TensorProto::default()
    };
    let nodes = vec![cast, node("Div", &["a", "b"], "y")];
    let onnx = model(&[("x", INT64, Some(&["N"]))], &[("y", INT32, None)], nodes, vec![divisor], 13);
    assert_refused(&onnx, &[whole(&[5])], &[whole(&[i32::MIN.into()])], &["least integer"]);
}

#[test]
fn a_region_of_any_extent_is_refused() {
    let roi = with(node("RoiAlign", &["x", "rois", "image"], "y"), &[int("output_height", 2), int("output_width", 2)]);
    let inputs: [Edge<'_>; 3] =
        [("x", FLOAT, Some(&["1", "1", "4", "4"])), ("rois", FLOAT, Some(&["R", "4"])), ("image", INT64, Some(&["R"]))];
    let onnx = model(&inputs, &[("y", FLOAT, None)], vec![roi], Vec::new(), 16);
    let asked =
        |edges: [f32; 4]| [filled(&[1, 1, 4, 4]), Tensor::new(vec![1, 4], edges.to_vec()).unwrap(), whole(&[0])];
    for edges in
        [[0.0, 0.0, 1e19, 1e19], [1e19, 0.0, 1.0, 1e19], [0.0, 0.0, 1.0, f32::INFINITY], [0.0, 0.0, 1.0, f32::NAN]]
    {
        assert_refused(&onnx, &asked([0.0, 0.0, 3.0, 3.0]), &asked(edges), &["region", "RoiAlign_y"]);
    }
}

#[test]
fn a_step_of_zero_between_frames_is_refused() {
    let frames = node("STFT", &["x", "step", "", "length"], "y");
    let inputs: [Edge<'_>; 2] = [("x", FLOAT, Some(&["1", "32", "1"])), ("step", INT64, Some(&[]))];
    let onnx = model(&inputs, &[("y", FLOAT, None)], vec![frames], vec![integers("length", &[], &[8])], 17);
    assert_refused(&onnx, &[filled(&[1, 32, 1]), lone(4)], &[filled(&[1, 32, 1]), lone(0)], &["frame_step"]);
}

#[test]
fn values_that_ask_for_a_tensor_beyond_the_limit_are_refused() {
    let huge = 1i64 << 40;
    let graph = |inputs: &[Edge<'_>], node: NodeProto, constants: Vec<TensorProto>| {
        model(inputs, &[("y", if node.op_type == "Range" { INT64 } else { FLOAT }, None)], vec![node], constants, 13)
    };
    let sizes = ("s", INT64, Some(&["K"][..]));
    let four = ("s", INT64, Some(&["4"][..]));
    let x = ("x", FLOAT, Some(&["2", "3"][..]));
    let image = ("x", FLOAT, Some(&["1", "1", "2", "2"][..]));
    let scalar = ("s", INT64, Some(&[][..]));
    let range = vec![integers("zero", &[], &[0]), integers("one", &[], &[1])];
    let onehot = vec![constant("v", &[2], &[0.0, 1.0]), integers("i", &[2], &[0, 1])];
    let resize = with(node("Resize", &["x", "", "", "s"], "y"), &[text("mode", "linear")]);
    for (onnx, first, good, bad) in [
        (graph(&[scalar], node("Range", &["zero", "s", "one"], "y"), range), None, lone(9), lone(huge)),
        (
            graph(&[x, sizes], node("Tile", &["x", "s"], "y"), vec![]),
            Some(filled(&[2, 3])),
            whole(&[2, 2]),
            whole(&[huge, 1]),
        ),
        (
            graph(&[x, sizes], node("Expand", &["x", "s"], "y"), vec![]),
            Some(filled(&[2, 3])),
            whole(&[100, 1, 2, 3]),
            whole(&[huge, 1, 1]),
        ),
        (
            graph(&[sizes], node("ConstantOfShape", &["s"], "y"), vec![]),
            None,
            whole(&[3, 4]),
            whole(&[1 << 20, 1 << 20]),
        ),
        (graph(&[scalar], node("OneHot", &["i", "s", "v"], "y"), onehot), None, lone(7), lone(huge)),
        (
            graph(&[x, sizes], node("Pad", &["x", "s"], "y"), vec![]),
            Some(filled(&[2, 3])),
            whole(&[1, 100, 0, 50]),
            whole(&[0, huge, 0, 0]),
        ),
        (
            graph(&[image, four], resize, vec![]),
            Some(filled(&[1, 1, 2, 2])),
            whole(&[1, 1, 9, 7]),
            whole(&[1, 1, 1 << 20, 9]),
        ),
    ] {
        let inputs = |size: &Tensor| first.iter().cloned().chain([size.clone()]).collect::<Vec<_>>();
        assert_refused(&onnx, &inputs(&good), &inputs(&bad), &["(max-tensor-bytes)", "1048576"]);
        assert!(load(&onnx).is_none_or(|plan| plan.depends_on_values()));
    }
}

#[test]
fn sizes_that_follow_from_sizes_get_no_check() {
    let nodes =
        vec![node("Shape", &["x"], "s"), node("ConstantOfShape", &["s"], "zeros"), node("Add", &["x", "zeros"], "y")];
    let onnx = model(&[("x", FLOAT, Some(&["N", "L"]))], &[("y", FLOAT, None)], nodes, Vec::new(), 13);
    if let Some(plan) = load(&onnx) {
        assert!(!plan.depends_on_values());
    }
}

/// y = x, joined with itself in each of `n` rounds.
fn doubling() -> Vec<u8> {
    let edges: [Edge<'_>; 3] = [("i", INT64, Some(&[])), ("c", BOOL, Some(&[])), ("v", FLOAT, Some(&["?"]))];
    let nodes = vec![node("Identity", &["c"], "c2"), with(node("Concat", &["v", "v"], "v2"), &[int("axis", 0)])];
    let round = graph(&edges, &[("c2", BOOL, Some(&[])), ("v2", FLOAT, Some(&["?"]))], nodes, Vec::new());
    let rounds = with(node("Loop", &["n", "", "x"], "y"), &[body(round)]);
    let inputs: [Edge<'_>; 2] = [("n", INT64, Some(&[])), ("x", FLOAT, Some(&["2"]))];
    model(&inputs, &[("y", FLOAT, Some(&["K"]))], vec![rounds], Vec::new(), 13)
}

/// The numbers from 0 to n, collected round by round.
fn collecting() -> Vec<u8> {
    let edges: [Edge<'_>; 2] = [("i", INT64, Some(&[])), ("c", BOOL, Some(&[]))];
    let nodes = vec![node("Identity", &["c"], "c2"), node("Identity", &["i"], "kept")];
    let round = graph(&edges, &[("c2", BOOL, Some(&[])), ("kept", INT64, Some(&[]))], nodes, Vec::new());
    let rounds = with(node("Loop", &["n", ""], "y"), &[body(round)]);
    model(&[("n", INT64, Some(&[]))], &[("y", INT64, Some(&["K"]))], vec![rounds], Vec::new(), 13)
}

#[test]
fn a_loop_that_grows_ends_at_the_limit() {
    assert_refused(&doubling(), &[lone(4), filled(&[2])], &[lone(40), filled(&[2])], &["grow beyond", "Loop_y"]);
    assert_refused(&collecting(), &[lone(100)], &[lone(1 << 40)], &["grow beyond"]);
    if let Some(plan) = load(&doubling()) {
        let answer = plan.session().unwrap().run(&[lone(3), filled(&[2])]).unwrap();
        assert_eq!(answer, [filled(&[16])]);
    }
}

#[test]
fn a_sequence_that_grows_in_a_loop_ends_at_the_limit() {
    // y = x, n times, put into a sequence one by one.
    let onnx = include_bytes!("../../fixtures/loops/sequence.onnx");
    assert_refused(onnx, &[lone(4), filled(&[2])], &[lone(1 << 40), filled(&[2])], &["grows beyond", "insert"]);
    if let Some(plan) = load(onnx) {
        let answer = plan.session().unwrap().run(&[lone(3), filled(&[2])]).unwrap();
        assert_eq!(answer, [filled(&[6])]);
    }
}

#[test]
fn a_loop_that_joins_texts_is_refused() {
    // y = x, joined with itself in each of n rounds.
    let onnx = include_bytes!("../../fixtures/loops/texts.onnx");
    let Some(library) = onnxruntime() else { return };
    let error = Engines::new(Some(library)).load(EngineKind::OnnxRuntime, onnx).unwrap_err().to_string();
    assert!(error.contains("loop") && error.contains("StringConcat"), "{error}");
}

/// A function of a model, of which tract's reader knows nothing.
#[derive(prost::Message)]
struct Function {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, repeated, tag = "4")]
    input: Vec<String>,
    #[prost(string, repeated, tag = "5")]
    output: Vec<String>,
    #[prost(message, repeated, tag = "7")]
    node: Vec<NodeProto>,
    #[prost(string, tag = "10")]
    domain: String,
}

/// A model of nothing but functions; a file of two models is both.
#[derive(prost::Message)]
struct Functions {
    #[prost(message, repeated, tag = "25")]
    functions: Vec<Function>,
}

/// The body of a loop that joins a text with itself, by a node of this operator and domain.
fn joining_round(op: &str, domain: &str) -> AttributeProto {
    let edges: [Edge<'_>; 3] = [("i", INT64, Some(&[])), ("c", BOOL, Some(&[])), ("v", STRING, Some(&["1"]))];
    let join = NodeProto { domain: domain.into(), ..node(op, &["v", "v"], "v2") };
    let nodes = vec![node("Identity", &["c"], "c2"), join];
    body(graph(&edges, &[("c2", BOOL, Some(&[])), ("v2", STRING, Some(&["1"]))], nodes, Vec::new()))
}

#[test]
fn a_loop_that_joins_texts_is_refused_however_deep_it_is() {
    let Some(library) = onnxruntime() else { return };
    let inputs: [Edge<'_>; 3] = [("n", INT64, Some(&[])), ("c", BOOL, Some(&[])), ("x", STRING, Some(&["1"]))];
    let inner = |op: &str, domain: &str| with(node("Loop", &["n", "", "x"], "z"), &[joining_round(op, domain)]);
    let named = |name: &str, of: AttributeProto| AttributeProto { name: name.into(), ..of };
    let branch = |nodes: Vec<NodeProto>| body(graph(&[], &[("z", STRING, Some(&["1"]))], nodes, Vec::new()));
    let edges: [Edge<'_>; 3] = [("i", INT64, Some(&[])), ("c1", BOOL, Some(&[])), ("v1", STRING, Some(&["1"]))];
    let outputs: [Edge<'_>; 2] = [("c3", BOOL, Some(&[])), ("z", STRING, Some(&["1"]))];
    let nodes = vec![node("Identity", &["c1"], "c3"), inner("StringConcat", "")];
    let in_a_loop = with(node("Loop", &["n", "", "x"], "y"), &[body(graph(&edges, &outputs, nodes, Vec::new()))]);
    let in_a_branch = with(
        node("If", &["c"], "y"),
        &[
            named("then_branch", branch(vec![inner("StringConcat", "")])),
            named("else_branch", branch(vec![node("Identity", &["x"], "z")])),
        ],
    );
    let model = |nodes| model(&inputs, &[("y", STRING, Some(&["1"]))], nodes, Vec::new(), 20);
    let function = |name: &str, op: &str, domain: &str| Function {
        name: name.into(),
        input: vec!["a".into(), "b".into()],
        output: vec!["j".into()],
        node: vec![NodeProto { domain: domain.into(), ..node(op, &["a", "b"], "j") }],
        domain: "ours".into(),
    };
    let call = NodeProto { output: vec!["y".into()], ..inner("Twice", "ours") };
    let functions =
        Functions { functions: vec![function("Twice", "Once", "ours"), function("Once", "StringConcat", "")] };
    let calling = [model(vec![call]), functions.encode_to_vec()].concat();
    for onnx in [model(vec![in_a_loop]), model(vec![in_a_branch]), calling] {
        let engines = Engines::new(Some(library.clone()));
        let error = engines.load(EngineKind::OnnxRuntime, &onnx).unwrap_err().to_string();
        assert!(error.contains("Loop") && error.contains("StringConcat"), "{error}");
    }
}

#[test]
fn the_type_of_a_value_in_a_check_is_that_of_the_value() {
    // y = the numbers up to a sum of whole numbers, made of floats, that no declaration names, times another one.
    let nodes = vec![
        node("NonMaxSuppression", &["boxes", "scores", "most"], "kept"),
        with(node("ReduceSum", &["kept"], "sum"), &[int("keepdims", 0)]),
        node("Mul", &["sum", "times"], "limit"),
        node("Range", &["zero", "limit", "one"], "y"),
    ];
    let inputs: [Edge<'_>; 3] = [
        ("boxes", FLOAT, Some(&["1", "2", "4"])),
        ("scores", FLOAT, Some(&["1", "1", "2"])),
        ("times", INT64, Some(&[])),
    ];
    let constants = vec![integers("most", &[1], &[2]), integers("zero", &[], &[0]), integers("one", &[], &[1])];
    let onnx = model(&inputs, &[("y", INT64, None)], nodes, constants, 13);
    let asked = |times: i64| {
        let boxes = Tensor::new(vec![1, 2, 4], vec![0.0, 0.0, 1.0, 1.0, 2.0, 2.0, 3.0, 3.0f32]).unwrap();
        [boxes, Tensor::new(vec![1, 1, 2], vec![0.5, 0.9f32]).unwrap(), lone(times)]
    };
    assert_refused(&onnx, &asked(3), &asked(1 << 40), &["(max-tensor-bytes)"]);
}

#[test]
fn a_count_of_more_than_32_bits_is_not_cut() {
    let top = NodeProto { output: vec!["y".into(), "i".into()], ..node("TopK", &["x", "k"], "y") };
    let inputs: [Edge<'_>; 2] = [("x", FLOAT, Some(&["N"])), ("k", INT64, Some(&["1"]))];
    let onnx = model(&inputs, &[("y", FLOAT, None), ("i", INT64, None)], vec![top], Vec::new(), 13);
    let (good, bad) = ([filled(&[3]), whole(&[2])], [filled(&[3]), whole(&[(1 << 32) + 1])]);
    assert_refused(&onnx, &good, &bad, &["the k of", "TopK_y"]);
}

#[test]
fn an_old_graph_whose_checks_cannot_be_written_is_refused() {
    let Some(library) = onnxruntime() else { return };
    let inputs: [Edge<'_>; 2] = [("a", INT64, Some(&["2"])), ("b", INT64, Some(&["2"]))];
    let onnx = model(&inputs, &[("y", INT64, None)], vec![node("Div", &["a", "b"], "y")], Vec::new(), 6);
    let error = Engines::new(Some(library)).load(EngineKind::OnnxRuntime, &onnx).unwrap_err().to_string();
    assert!(error.contains("convert it to version 7"), "{error}");
}

#[test]
fn more_samples_of_a_known_shape_are_held_to_the_limit_and_spoil_it_for_nobody() {
    // y = x, 1,000 times; L is open, so the plans are found by shape.
    let tile = node("Tile", &["x", "times"], "y");
    let inputs: [Edge<'_>; 1] = [("x", FLOAT, Some(&["N", "L"]))];
    let onnx = model(&inputs, &[("y", FLOAT, None)], vec![tile], vec![integers("times", &[2], &[1, 1000])], 13);
    let plan = Engines::default().with_bounds(Bounds { tensor_bytes: LIMIT }).load(EngineKind::Tract, &onnx).unwrap();
    for order in [[1, 100, 1], [100, 1, 100]] {
        let mut session = plan.session().unwrap();
        for samples in order {
            match session.run(&[filled(&[samples, 8])]) {
                Ok(outputs) => assert_eq!((samples, outputs[0].shape()), (1, &[1, 8000][..])),
                Err(error) => {
                    assert_eq!((samples, error.kind()), (100, Kind::InvalidInput), "{error:?}");
                    assert!(error.to_string().contains("max-tensor-bytes"), "{error}");
                }
            }
        }
    }
}
