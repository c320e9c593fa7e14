//! The demands of operators on their inputs: the built-in engine gives the reference's answer or a reason in words, and never
//! an answer where the reference has none. Without the library of ONNX Runtime only the reasons are looked at.

use tract_onnx::pb::{AttributeProto, NodeProto, attribute_proto};
use weir::engine::{Bounds, EngineKind, Engines, Plan};
use weir::error::{Error, Kind};
use weir::tensor::Tensor;

use super::onnxruntime;
use super::shapes::{FLOAT, INT64, int, ints, with};
use crate::fixtures::{Edge, constant, model, node};

const BIG: [i64; 6] = [1 << 31, 1 << 32, (1 << 32) + 1, (1 << 32) + 2, i64::MAX, i64::MIN];

fn whole(values: &[i64]) -> Tensor {
    Tensor::new(vec![values.len()], values.to_vec()).unwrap()
}

fn lone(value: i64) -> Tensor {
    Tensor::new(vec![], vec![value]).unwrap()
}

/// Numbers from 1 on.
fn counted(shape: &[usize]) -> Tensor {
    Tensor::new(shape.to_vec(), (1..=shape.iter().product()).map(|number: usize| number as f32).collect()).unwrap()
}

fn text(name: &str, text: &str) -> AttributeProto {
    AttributeProto {
        name: name.into(),
        r#type: attribute_proto::AttributeType::String as i32,
        s: text.into(),
        ..AttributeProto::default()
    }
}

/// A graph of one node. Its inputs have open dimensions.
fn lone_node(node: NodeProto, inputs: &[(&str, i32, usize)]) -> Vec<u8> {
    let names: Vec<Vec<String>> =
        inputs.iter().map(|(name, _, rank)| (0..*rank).map(|axis| format!("{name}{axis}")).collect()).collect();
    let dims: Vec<Vec<&str>> = names.iter().map(|names| names.iter().map(String::as_str).collect()).collect();
    let edges: Vec<Edge<'_>> =
        inputs.iter().zip(&dims).map(|((name, of, _), dims)| (*name, *of, Some(dims.as_slice()))).collect();
    let outputs: Vec<(String, i32)> = node
        .output
        .iter()
        .enumerate()
        .map(|(at, name)| (name.clone(), if node.op_type == "TopK" && at == 1 { INT64 } else { FLOAT }))
        .collect();
    let outputs: Vec<Edge<'_>> = outputs.iter().map(|(name, of)| (name.as_str(), *of, None)).collect();
    model(&edges, &outputs, vec![node], vec![constant("values", &[2], &[0.0, 1.0])], 13)
}

fn built_in(onnx: &[u8]) -> Plan {
    Engines::default().load(EngineKind::Tract, onnx).unwrap()
}

/// Returns true for words that are about the code of an engine.
fn is_private(said: &str) -> bool {
    ["Undetermined", "Failed analyse", "node #", ".rs", "TDim", "Fact", "unify", "::", "Some(", "None", "unwrap"]
        .iter()
        .any(|mark| said.contains(mark))
}

/// Asserts that the built-in engine refuses these inputs in words with these in them, and that the reference has no answer
/// to them either.
#[track_caller]
fn assert_refused(onnx: &[u8], inputs: &[Tensor], words: &[&str]) {
    let error = built_in(onnx).session().unwrap().run(inputs).unwrap_err();
    assert_eq!(error.kind(), Kind::InvalidInput, "{error:?}");
    let said = error.to_string();
    assert!(!is_private(&said), "{said}");
    for word in words {
        assert!(said.contains(word), "{word}: {said}");
    }
    if let Some(library) = onnxruntime() {
        let plan = Engines::new(Some(library)).load(EngineKind::OnnxRuntime, onnx).unwrap();
        let error = plan.session().unwrap().run(inputs).unwrap_err();
        assert_eq!(error.kind(), Kind::InvalidInput, "{error:?}");
    }
}

#[test]
fn an_index_outside_its_table_is_named_with_place_table_axis_and_range() {
    let onnx = {
        let inputs: [Edge<'_>; 1] = [("ids", INT64, Some(&["N", "S"]))];
        let named = NodeProto { name: "embed".into(), ..node("Gather", &["wte", "ids"], "y") };
        model(&inputs, &[("y", FLOAT, None)], vec![named], vec![constant("wte", &[5, 2], &[0.5; 10])], 13)
    };
    let ids = Tensor::new(vec![2, 2], vec![0i64, 4, -5, 5]).unwrap();
    let expected = "indices \"ids\": value 5 at [1, 1] is outside axis 0 of the table \"wte\" (-5 to 4)";
    assert_refused(&onnx, std::slice::from_ref(&ids), &[expected]);
    if let Some(library) = onnxruntime() {
        let plan = Engines::new(Some(library)).load(EngineKind::OnnxRuntime, &onnx).unwrap();
        let error = plan.session().unwrap().run(&[ids]).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
    let columns = lone_node(
        with(node("GatherElements", &["x", "i"], "y"), &[int("axis", 1)]),
        &[("x", FLOAT, 2), ("i", INT64, 2)],
    );
    let index = Tensor::new(vec![1, 2], vec![0i64, -4]).unwrap();
    assert_refused(
        &columns,
        &[counted(&[2, 3]), index],
        &["value -4 at [0, 1]", "axis 1 of the table \"x\" (-3 to 2)"],
    );
    let places = lone_node(node("GatherND", &["x", "i"], "y"), &[("x", FLOAT, 2), ("i", INT64, 2)]);
    let places_of = |row: i64| Tensor::new(vec![1, 2], vec![row, 0i64]).unwrap();
    for row in [2, -3, 1 << 32] {
        assert_refused(
            &places,
            &[counted(&[2, 3]), places_of(row)],
            &["at [0, 0]", "axis 0 of the table \"x\" (-2 to 1)"],
        );
    }
}

#[test]
fn rows_of_other_sizes_are_not_multiplied_joined_or_added() {
    let two = [("a", FLOAT, 2), ("b", FLOAT, 2)];
    for (node, a, b) in [
        (node("MatMul", &["a", "b"], "y"), [2, 3], [4, 5]),
        (node("MatMul", &["a", "b"], "y"), [2, 3], [1, 5]),
        (node("Gemm", &["a", "b"], "y"), [2, 3], [2, 3]),
        (with(node("Concat", &["a", "b"], "y"), &[int("axis", 1)]), [2, 3], [3, 3]),
        (node("Add", &["a", "b"], "y"), [2, 3], [2, 2]),
        (node("Mul", &["a", "b"], "y"), [2, 3], [0, 3]),
        (with(node("Einsum", &["a", "b"], "y"), &[text("equation", "ij,jk->ik")]), [2, 3], [4, 5]),
    ] {
        let onnx = lone_node(node.clone(), &two);
        assert_refused(&onnx, &[counted(&a), counted(&b)], &["node \"y\"", &node.op_type]);
    }
    let fits = lone_node(node("MatMul", &["a", "b"], "y"), &two);
    let answer = built_in(&fits).session().unwrap().run(&[counted(&[1, 2]), counted(&[2, 1])]).unwrap();
    assert_eq!(answer[0].floats().unwrap(), [5.0]);
}

#[test]
fn more_than_there_is_is_not_taken() {
    let x = ("x", FLOAT, 1);
    let top = NodeProto { output: vec!["y".into(), "i".into()], ..node("TopK", &["x", "k"], "y") };
    let top = lone_node(top, &[x, ("k", INT64, 1)]);
    for k in [3, -1, (1 << 32) + 1] {
        assert_refused(&top, &[counted(&[2]), whole(&[k])], &["(TopK)"]);
    }
    let halves = NodeProto { output: vec!["y".into(), "z".into()], ..node("Split", &["x", "s"], "y") };
    let halves = lone_node(halves, &[x, ("s", INT64, 1)]);
    for parts in [[1, 2], [1, 0], [-1, 3], [(1 << 32) + 1, 1]] {
        assert_refused(&halves, &[counted(&[2]), whole(&parts)], &["(Split)"]);
    }
    let answer = built_in(&halves).session().unwrap().run(&[counted(&[3]), whole(&[1, 2])]).unwrap();
    assert_eq!((answer[0].shape(), answer[1].floats().unwrap()), (&[1][..], &[2.0, 3.0][..]));
}

#[test]
fn a_split_of_the_file_takes_the_sizes_that_add_up() {
    let parts = NodeProto { output: vec!["y".into(), "z".into()], ..node("Split", &["x"], "y") };
    let parts = with(parts, &[ints("split", &[1, 2])]);
    let edges: [Edge<'_>; 1] = [("x", FLOAT, Some(&["N"]))];
    let onnx = model(&edges, &[("y", FLOAT, None), ("z", FLOAT, None)], vec![parts], Vec::new(), 11);
    let mut session = built_in(&onnx).session().unwrap();
    assert_eq!(session.run(&[counted(&[3])]).unwrap()[1].floats().unwrap(), [2.0, 3.0]);
    for size in [2, 4] {
        let error = session.run(&[counted(&[size])]).unwrap_err().to_string();
        assert!(error.contains("the 2 parts are to have [1, 2]"), "{error}");
    }
}

#[test]
fn sizes_beyond_32_bits_are_not_cut() {
    for big in BIG {
        let n = [("x", FLOAT, 2), ("n", INT64, 1)];
        assert_refused(&lone_node(node("Tile", &["x", "n"], "y"), &n), &[counted(&[2, 3]), whole(&[1, big])], &[]);
        assert_refused(&lone_node(node("Reshape", &["x", "n"], "y"), &n), &[counted(&[2, 3]), whole(&[-1, big])], &[]);
        assert_refused(&lone_node(node("Expand", &["x", "n"], "y"), &n), &[counted(&[1, 3]), whole(&[big, 3])], &[]);
    }
}

#[test]
fn a_time_in_milliseconds_is_cast_as_it_is() {
    for (of, input) in [
        (11, Tensor::new(vec![3], vec![1_700_000_000_123f64, -4_294_967_297.0, 7.9]).unwrap()),
        (INT64, whole(&[1_700_000_000_123, -4_294_967_297, 7])),
    ] {
        let edges: [Edge<'_>; 1] = [("x", of, Some(&["N"]))];
        let cast = with(node("Cast", &["x"], "y"), &[int("to", INT64.into())]);
        let onnx = model(&edges, &[("y", INT64, None)], vec![cast], Vec::new(), 13);
        let answer = built_in(&onnx).session().unwrap().run(&[input]).unwrap();
        assert_eq!(answer, [whole(&[1_700_000_000_123, -4_294_967_297, 7])]);
    }
}

#[test]
fn a_size_of_the_request_is_not_cut_where_it_joins_one_of_the_shape() {
    // y = x in as many rows as it has, and columns that the request names.
    let nodes = vec![
        node("Shape", &["x"], "shape"),
        node("Gather", &["shape", "first"], "rows"),
        with(node("Concat", &["rows", "columns"], "sizes"), &[int("axis", 0)]),
        node("Reshape", &["x", "sizes"], "y"),
    ];
    let inputs: [Edge<'_>; 2] = [("x", FLOAT, Some(&["N", "M"])), ("columns", INT64, Some(&["1"]))];
    let first = tract_onnx::pb::TensorProto {
        name: "first".into(),
        dims: vec![1],
        data_type: INT64,
        int64_data: vec![0],
        ..tract_onnx::pb::TensorProto::default()
    };
    let onnx = model(&inputs, &[("y", FLOAT, None)], nodes, vec![first], 13);
    let answer = built_in(&onnx).session().unwrap().run(&[counted(&[2, 3]), whole(&[-1])]).unwrap();
    assert_eq!(answer, [counted(&[2, 3])]);
    assert_refused(&onnx, &[counted(&[2, 3]), whole(&[(1 << 32) + 3])], &["(Concat)", "4294967299"]);
}

#[test]
fn an_index_without_a_place_is_off_everywhere() {
    let hot = lone_node(node("OneHot", &["i", "d", "values"], "y"), &[("i", INT64, 1), ("d", INT64, 0)]);
    let mut session = built_in(&hot).session().unwrap();
    let answer = session.run(&[whole(&[0, -1, 3, -4, 1 << 32]), lone(3)]).unwrap();
    let mut expected = [0.0; 15];
    (expected[0], expected[5]) = (1.0, 1.0);
    assert_eq!(answer[0].floats().unwrap(), expected);
    assert_refused(&hot, &[whole(&[0]), lone(-1)], &["(OneHot)"]);
}

#[test]
fn a_reduction_over_nothing_is_what_the_reference_says() {
    for (op, expected) in [
        ("ReduceMin", f32::INFINITY),
        ("ReduceMax", f32::NEG_INFINITY),
        ("ReduceSum", 0.0),
        ("ReduceProd", 1.0),
        ("ReduceSumSquare", 0.0),
        ("ReduceL1", 0.0),
        ("ReduceL2", 0.0),
    ] {
        let reduce = with(node(op, &["x"], "y"), &[int("keepdims", 1)]);
        let onnx = lone_node(reduce, &[("x", FLOAT, 2)]);
        let answer = built_in(&onnx).session().unwrap().run(&[counted(&[2, 0])]).unwrap();
        assert_eq!((answer[0].shape(), answer[0].floats().unwrap()), (&[1, 1][..], &[expected][..]), "{op}");
    }
    // Where the sizes are known before the run, tract would give the largest number.
    let edges: [Edge<'_>; 2] = [("x", FLOAT, Some(&["N", "M"])), ("axes", INT64, Some(&["1"]))];
    let onnx = model(&edges, &[("y", FLOAT, None)], vec![node("ReduceMax", &["x", "axes"], "y")], Vec::new(), 18);
    let error = built_in(&onnx).session().unwrap().run(&[counted(&[2, 0]), whole(&[1])]).unwrap_err();
    assert!(error.kind() == Kind::InvalidInput && error.to_string().contains("holds no element"), "{error}");
}

/// A source of the same numbers in every run.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % sides
    }

    fn of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.roll(choices.len())]
    }

    /// Sizes that are near each other.
    fn shape(&mut self, rank: usize) -> Vec<usize> {
        (0..rank).map(|_| self.of(&[1, 2, 2, 3, 0])).collect()
    }

    fn edges(&mut self, count: usize) -> Tensor {
        const EDGES: [i64; 14] = [0, 1, 1, 2, 2, 3, 4, -1, -2, -3, 1 << 32, (1 << 32) + 1, -(1 << 32) + 1, i64::MAX];
        whole(&(0..count).map(|_| self.of(&EDGES)).collect::<Vec<_>>())
    }
}

/// The operators of the sample, and how many elements of a decisive value they take; none for a second tensor.
const SAMPLED: [(&str, usize); 12] = [
    ("Tile", 2),
    ("Reshape", 2),
    ("Expand", 2),
    ("Slice", 1),
    ("Pad", 4),
    ("Squeeze", 1),
    ("Unsqueeze", 1),
    ("Gather", 3),
    ("MatMul", 0),
    ("Gemm", 0),
    ("Add", 0),
    ("Concat", 0),
];

/// scripts in `tests/conformance` ask thousands; this is a sample of them.
#[test]
fn random_sizes_and_values_are_answered_as_by_the_reference_or_refused() {
    let Some(library) = onnxruntime() else { return };
    let reference = Engines::new(Some(library)).with_bounds(Bounds { tensor_bytes: 1 << 20 });
    let mut dice = Dice(20_261_129);
    for (op, count) in SAMPLED {
        let inputs: &[(&str, i32, usize)] = match (op, count) {
            ("Slice", _) => &[("x", FLOAT, 2), ("a", INT64, 1), ("b", INT64, 1), ("c", INT64, 1), ("d", INT64, 1)],
            (_, 0) => &[("x", FLOAT, 2), ("b", FLOAT, 2)],
            _ => &[("x", FLOAT, 2), ("b", INT64, 1)],
        };
        let names: Vec<&str> = inputs.iter().map(|(name, ..)| *name).collect();
        let attributes = if op == "Concat" { vec![int("axis", 1)] } else { Vec::new() };
        let onnx = lone_node(with(node(op, &names, "y"), &attributes), inputs);
        let plans = [built_in(&onnx), reference.load(EngineKind::OnnxRuntime, &onnx).unwrap()];
        let [mut ours, mut theirs] = plans.each_ref().map(|plan| plan.session().unwrap());
        for _ in 0..60 {
            let mut given = vec![counted(&dice.shape(2))];
            for (_, of, _) in &inputs[1..] {
                given.push(if *of == FLOAT { counted(&dice.shape(2)) } else { dice.edges(count) });
            }
            // Of nothing, the reference derives no size.
            if op == "Reshape" && given[0].data().is_empty() {
                continue;
            }
            match ours.run(&given) {
                Ok(answer) => match theirs.run(&given) {
                    Ok(expected) => assert_eq!(answer, expected, "{op} {given:?}"),
                    Err(error) => panic!("{op} {given:?} gives {answer:?}; the reference: {error}"),
                },
                Err(Error::InvalidInput(said)) => assert!(!is_private(&said), "{op} {given:?}: {said}"),
                Err(other) => panic!("{op} {given:?}: {other:?}"),
            }
        }
    }
}
