//! Requests are joined and cut only where that changes no answer: graphs whose first dimension is no batch get each
//! request whole, whatever the protocol, the rows and the company.

use std::sync::Arc;

use serde_json::{Value, json};
use tempfile::TempDir;
use tract_onnx::pb::{AttributeProto, NodeProto, TensorProto, attribute_proto};
use weir::config::{EngineChoice, ServeOptions};
use weir::engine::{EngineKind, Engines};
use weir::serving::State;
use weir::tensor::Tensor;

use crate::api::grpc::{ask, floats, inference, tfs};
use crate::engine::onnxruntime;
use crate::fixtures::{Edge, add_bare_model, constant, half_plus_two, model, nan_on_minus_one, node, onnx};
use crate::support::TestApp;

const FLOAT: i32 = 1;
const INT64: i32 = 7;
const ROWS: [usize; 12] = [1, 2, 3, 5, 31, 32, 33, 64, 65, 100, 257, 300];
const CLIENTS: usize = 16;

fn longs(name: &str, values: &[i64]) -> TensorProto {
    TensorProto {
        name: name.into(),
        dims: vec![values.len() as i64],
        data_type: INT64,
        raw_data: values.iter().flat_map(|value| value.to_le_bytes()).collect(),
        ..TensorProto::default()
    }
}

fn with(mut node: NodeProto, name: &str, value: i64) -> NodeProto {
    node.attribute.push(AttributeProto {
        name: name.into(),
        r#type: attribute_proto::AttributeType::Int as i32,
        i: value,
        ..AttributeProto::default()
    });
    node
}

fn with_all(mut node: NodeProto, name: &str, values: &[i64]) -> NodeProto {
    node.attribute.push(AttributeProto {
        name: name.into(),
        r#type: attribute_proto::AttributeType::Ints as i32,
        ints: values.into(),
        ..AttributeProto::default()
    });
    node
}

/// A graph from `x: [seq, 2]` to `y`.
fn sequence(nodes: Vec<NodeProto>, constants: Vec<TensorProto>) -> Vec<u8> {
    model(&[("x", FLOAT, Some(&["seq", "2"]))], &[("y", FLOAT, None)], nodes, constants, 13)
}

fn reduced(op: &str) -> NodeProto {
    with_all(with(node(op, &["x"], "r"), "keepdims", 1), "axes", &[0])
}

/// Graphs `[seq, 2]` → `[seq, 2]` in which rows depend on each other.
fn dependent() -> Vec<(&'static str, Vec<u8>)> {
    let zero = || longs("zero", &[0]);
    let with_zero = |op: &str| NodeProto { name: op.into(), ..node(op, &["x", "zero"], "y") };
    let centred = |last: Vec<NodeProto>| [vec![reduced("ReduceMean"), node("Sub", &["x", "r"], "c")], last].concat();
    let slice = |starts: &str, ends: &str, output: &str| node("Slice", &["x", starts, ends, "zero"], output);
    let far = i64::from(i32::MAX);
    vec![
        ("cumsum", sequence(vec![with_zero("CumSum")], vec![TensorProto { dims: vec![], ..zero() }])),
        ("softmax", sequence(vec![with(node("Softmax", &["x"], "y"), "axis", 0)], vec![])),
        ("centred", sequence(vec![reduced("ReduceMean"), node("Sub", &["x", "r"], "y")], vec![])),
        (
            "standardised",
            sequence(
                centred(vec![
                    node("Mul", &["c", "c"], "s"),
                    with_all(with(node("ReduceMean", &["s"], "v"), "keepdims", 1), "axes", &[0]),
                    node("Add", &["v", "one"], "w"),
                    node("Sqrt", &["w"], "d"),
                    node("Div", &["c", "d"], "y"),
                ]),
                vec![constant("one", &[], &[1.0])],
            ),
        ),
        ("norm", sequence(vec![reduced("ReduceL2"), node("Div", &["x", "r"], "y")], vec![])),
        ("below-the-largest", sequence(vec![reduced("ReduceMax"), node("Sub", &["x", "r"], "y")], vec![])),
        (
            "rolled",
            sequence(
                vec![
                    slice("one", "far", "a"),
                    slice("zero", "one", "b"),
                    with(node("Concat", &["a", "b"], "y"), "axis", 0),
                ],
                vec![zero(), longs("one", &[1]), longs("far", &[far])],
            ),
        ),
        (
            "attention",
            sequence(
                vec![
                    with_all(node("Transpose", &["x"], "t"), "perm", &[1, 0]),
                    node("MatMul", &["x", "t"], "s"),
                    with(node("Softmax", &["s"], "p"), "axis", 1),
                    node("MatMul", &["p", "x"], "y"),
                ],
                vec![],
            ),
        ),
        (
            "counted",
            sequence(
                vec![
                    node("Shape", &["x"], "n2"),
                    node("Gather", &["n2", "first"], "n"),
                    with(node("Cast", &["n"], "f"), "to", 1),
                    node("Mul", &["x", "f"], "y"),
                ],
                vec![TensorProto { dims: vec![], ..longs("first", &[0]) }],
            ),
        ),
        ("more-than-six", sequence([count(6), vec![node("Where", &["c", "m", "x"], "y")]].concat(), counting(6))),
        (
            "largest-of-fifty",
            sequence(
                [
                    count(49),
                    vec![
                        reduced("ReduceMax"),
                        node("Sub", &["x", "r"], "below"),
                        node("Where", &["c", "below", "x"], "y"),
                    ],
                ]
                .concat(),
                counting(49),
            ),
        ),
        (
            "in-company",
            sequence(
                vec![with(node("ReduceSum", &["x", "zero"], "r"), "keepdims", 1), node("Add", &["x", "r"], "y")],
                vec![zero()],
            ),
        ),
    ]
}

/// Nodes for `c`, true when `x` has more than `most` rows, and `m`, which is -x.
fn count(most: i64) -> Vec<NodeProto> {
    vec![
        node("Shape", &["x"], "n2"),
        node("Gather", &["n2", "first"], "n"),
        node("Greater", &["n", &format!("most{most}")], "c"),
        node("Neg", &["x"], "m"),
    ]
}

fn counting(most: i64) -> Vec<TensorProto> {
    let scalar = |name: &str, value: i64| TensorProto { dims: vec![], ..longs(name, &[value]) };
    vec![scalar("first", 0), scalar(&format!("most{most}"), most)]
}

/// y = -x where any element is more than 5000, which no measurement tries; else y = x.
fn far_from_any_guess() -> Vec<u8> {
    let nodes = vec![
        with(node("ReduceMax", &["x"], "r"), "keepdims", 0),
        node("Greater", &["r", "limit"], "c"),
        node("Neg", &["x"], "m"),
        node("Where", &["c", "m", "x"], "y"),
    ];
    model(&[("x", FLOAT, Some(&["N", "2"]))], &[("y", FLOAT, None)], nodes, vec![constant("limit", &[], &[5000.0])], 13)
}

/// Graphs whose samples are independent.
fn independent() -> Vec<(&'static str, Vec<u8>)> {
    let reshape = vec![node("Reshape", &["x", "shape"], "r"), node("Neg", &["r"], "y")];
    vec![
        ("half-plus-two", half_plus_two()),
        ("dense", onnx(&[2], vec![node("MatMul", &["x", "w"], "y")], vec![constant("w", &[2, 1], &[1.0, -2.0])])),
        ("softmax-1", onnx(&[3], vec![with(node("Softmax", &["x"], "y"), "axis", 1)], vec![])),
        (
            "conv",
            onnx(
                &[1, 5, 5],
                vec![node("Conv", &["x", "w"], "y")],
                vec![constant("w", &[1, 1, 3, 3], &[0.1, -0.2, 0.3, 0.4, -0.5, 0.6, 0.7, 0.8, -0.9])],
            ),
        ),
        ("sum-1", crate::fixtures::row_sums()),
        ("pair", crate::fixtures::sum_and_difference()),
        ("reshape", onnx(&[2, 2], reshape, vec![longs("shape", &[-1, 4])])),
        ("pool", onnx(&[1, 4, 4], vec![with_all(node("MaxPool", &["x"], "y"), "kernel_shape", &[2, 2])], vec![])),
        (
            "embedding",
            model(
                &[("x", INT64, Some(&["N", "L"]))],
                &[("y", FLOAT, None)],
                vec![node("Gather", &["table", "x"], "y")],
                vec![constant("table", &[5, 2], &[0.0, 0.1, 1.0, 1.1, 2.0, 2.1, 3.0, 3.1, 4.0, 4.1])],
                13,
            ),
        ),
        (
            "scaled",
            model(
                &[("x", FLOAT, Some(&["N", "3"]))],
                &[("y", FLOAT, None)],
                vec![
                    with(with_all(node("ReduceL2", &["x"], "r"), "axes", &[1]), "keepdims", 1),
                    node("Div", &["x", "r"], "y"),
                ],
                vec![],
                13,
            ),
        ),
    ]
}

fn repository(graphs: &[(&'static str, Vec<u8>)]) -> TempDir {
    let root = TempDir::new().unwrap();
    for (name, file) in graphs {
        add_bare_model(root.path(), name, 1, file);
    }
    root
}

/// Makes a server use an engine.
type Choose = Box<dyn Fn(&mut ServeOptions)>;

/// The engines that are here, each with what a server needs to use it.
fn engines() -> Vec<(EngineKind, Choose)> {
    let mut engines: Vec<(EngineKind, Choose)> =
        vec![(EngineKind::Tract, Box::new(|options| options.engine = Some(EngineChoice::Tract)))];
    if let Some(library) = onnxruntime() {
        let change = move |options: &mut ServeOptions| {
            options.engine = Some(EngineChoice::Onnxruntime);
            options.onnxruntime = Some(library.clone());
        };
        engines.push((EngineKind::OnnxRuntime, Box::new(change)));
    }
    engines
}

async fn batching(app: &TestApp, name: &str) -> String {
    let version = app.get(&format!("/models/{name}")).await.json()["versions"][0].clone();
    assert_eq!(version["state"], "AVAILABLE", "{name}: {version}");
    version["batching"].as_str().unwrap().to_owned()
}

/// Different numbers for each request.
fn numbers(tag: usize, rows: usize) -> Vec<f32> {
    (0..rows * 2).map(|index| ((tag * 31 + index * 17) % 101) as f32 / 16.0 - 2.03).collect()
}

/// Asks in one of seven ways, by turns; returns the numbers of the only output.
async fn answer(app: &TestApp, way: usize, name: &str, numbers: &[f32]) -> Vec<f32> {
    let rows: Vec<&[f32]> = numbers.chunks(2).collect();
    let count = rows.len();
    let posted = async |path: String, body: Value| {
        let answer = app.post_json(&path, &body).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
        answer.json()
    };
    let found = match way % 7 {
        0 => {
            let input = json!({"name": "x", "datatype": "FP32", "shape": [count, 2], "data": numbers});
            posted(format!("/v2/models/{name}/infer"), json!({"inputs": [input]})).await["outputs"][0]["data"].clone()
        }
        1 => posted(format!("/v1/models/{name}:predict"), json!({"instances": rows})).await["predictions"].clone(),
        2 => posted(format!("/v1/models/{name}:predict"), json!({"inputs": {"x": rows}})).await["outputs"].clone(),
        3 => posted(format!("/models/{name}/predict"), json!({"instances": rows})).await["predictions"].clone(),
        4 => posted(format!("/models/{name}/predict"), json!({"inputs": {"x": rows}})).await["predictions"].clone(),
        5 => {
            let mut tensor = tfs::tensor(tfs::FLOAT, &[count as i64, 2]);
            tensor.float_val = numbers.to_vec();
            let answer = tfs::predictions(app).predict(tfs::predict(name, "x", tensor)).await.unwrap().into_inner();
            return answer.outputs["y"].float_val.clone();
        }
        _ => {
            let request = ask(name, "x", &[count as i64, 2], numbers);
            let answer = inference(app).model_infer(request).await.unwrap().into_inner();
            return floats(&answer.raw_output_contents[0]);
        }
    };
    let mut flat = Vec::new();
    flatten(&found, &mut flat);
    flat
}

fn flatten(value: &Value, into: &mut Vec<f32>) {
    match value {
        Value::Array(values) => values.iter().for_each(|value| flatten(value, into)),
        Value::Object(fields) => fields.values().for_each(|value| flatten(value, into)),
        other => into.push(other.as_f64().unwrap() as f32),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_depend_on_each_other_are_neither_joined_nor_cut() {
    let graphs = dependent();
    let models = repository(&graphs);
    for (engine, choose) in engines() {
        for inline in [false, true] {
            let change = |options: &mut ServeOptions| {
                choose(options);
                options.inline_below_microseconds = Some(if inline { 1_000_000 } else { 0 });
                options.max_queue_delay_microseconds = Some(2000);
                options.queue_capacity = Some(4096);
                options.max_samples = Some(64);
            };
            let app = Arc::new(TestApp::with(models.path(), change).await);
            for (name, file) in &graphs {
                let said = batching(&app, name).await;
                assert!(said.contains("depends on the samples beside it"), "{name}: {said}");
                all_alone(&app, engine, name, file).await;
            }
        }
    }
}

/// Sixteen clients ask at once for all numbers of rows; each gets what the engine says of its own rows.
async fn all_alone(app: &Arc<TestApp>, engine: EngineKind, name: &'static str, file: &[u8]) {
    let plan = Arc::new(Engines::new(onnxruntime()).load(engine, file).unwrap());
    let clients: Vec<_> = (0..CLIENTS)
        .map(|client| {
            let (app, plan) = (app.clone(), plan.clone());
            tokio::spawn(async move {
                let mut session = plan.session().unwrap();
                for step in 0..ROWS.len() / 2 {
                    let (tag, count) = (client * 100 + step, ROWS[(client * 5 + step * 7) % ROWS.len()]);
                    let numbers = numbers(tag, count);
                    let input = Tensor::new(vec![count, 2], numbers.clone()).unwrap();
                    let expected = session.run(&[input]).unwrap();
                    let found = answer(&app, client + step, name, &numbers).await;
                    let expected = expected[0].floats().unwrap();
                    assert_eq!(found.len(), expected.len(), "{name}, {count} rows, way {}", (client + step) % 7);
                    let is_near = |(a, b): (&f32, &f32)| (a - b).abs() <= 1e-4 * b.abs().max(1.0);
                    assert!(
                        found.iter().zip(expected).all(is_near),
                        "{name}, {count} rows, way {}",
                        (client + step) % 7
                    );
                }
            })
        })
        .collect();
    for client in clients {
        client.await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn independent_samples_still_share_runs() {
    let graphs = independent();
    let models = repository(&graphs);
    for (engine, choose) in engines() {
        let app = TestApp::with(models.path(), choose).await;
        for (name, _) in &graphs {
            assert_eq!(batching(&app, name).await, "samples are independent, checked", "{name}, {engine:?}");
        }
        let config = app.get("/v2/models/dense/config").await.json();
        assert_eq!((&config["max_batch_size"], &config["input"][0]["dims"]), (&json!(256), &json!([2])));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_shown_by_an_output_that_never_varies_unless_it_is_declared() {
    let models = repository(&[("constant", nan_on_minus_one()), ("declared", nan_on_minus_one())]);
    std::fs::write(models.path().join("declared/model.toml"), "[batching]\nmax_batch_size = 8\n").unwrap();
    std::fs::create_dir_all(models.path().join("cumsum")).unwrap();
    add_bare_model(models.path(), "cumsum", 1, &dependent()[0].1);
    std::fs::write(models.path().join("cumsum/config.pbtxt"), "max_batch_size: 8\ndynamic_batching {}\n").unwrap();
    let app = TestApp::with_temp(models, |_| {}).await;
    let said = batching(&app, "constant").await;
    assert!(said.contains("output \"y\" was the same for all") && said.contains("max_batch_size"), "{said}");
    assert!(batching(&app, "declared").await.contains("declared independent"));
    assert!(batching(&app, "cumsum").await.contains("depends on"), "a declaration does not overrule a measurement");
    let sums = answer(&app, 0, "cumsum", &numbers(1, 33)).await;
    let last: f32 = numbers(1, 33).iter().step_by(2).sum();
    assert!((sums[64] - last).abs() < 1e-3, "{} {last}", sums[64]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_configuration_without_a_batch_and_a_model_that_shares_no_runs_get_requests_whole() {
    let dense = || onnx(&[2], vec![node("MatMul", &["x", "w"], "y")], vec![constant("w", &[2, 1], &[1.0, -2.0])]);
    let models = repository(&[("whole", dense()), ("unshared", dense())]);
    let config = "max_batch_size: 0\ninput [{name: \"x\" data_type: TYPE_FP32 dims: [-1, 2]}]\n\
                  output [{name: \"y\" data_type: TYPE_FP32 dims: [-1, 1]}]\n";
    std::fs::write(models.path().join("whole/config.pbtxt"), config).unwrap();
    let settings = "[batching]\nacross_requests = false\n";
    std::fs::write(models.path().join("unshared/model.toml"), settings).unwrap();
    let app = TestApp::with_temp(models, |options| options.inline_below_microseconds = Some(0)).await;
    for name in ["whole", "unshared"] {
        let series = |what: &str| format!("weir_inference_batch_size_{what}{{model=\"{name}\",version=\"1\"}}");
        let before = app.metric(&series("count"));
        assert_eq!(answer(&app, 0, name, &numbers(1, 100)).await.len(), 100);
        assert_eq!(app.metric(&series("count")) - before, 1.0, "{name}");
    }
    assert!(batching(&app, "whole").await.contains("max_batch_size: 0"));
    let config = app.get("/v2/models/whole/config").await.json();
    assert_eq!((&config["max_batch_size"], &config["input"][0]["dims"]), (&json!(0), &json!([-1, 2])));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_beyond_a_stated_batch_that_is_not_cut_is_refused_as_triton_refuses_it() {
    let dense = || onnx(&[2], vec![node("MatMul", &["x", "w"], "y")], vec![constant("w", &[2, 1], &[1.0, -2.0])]);
    let models = repository(&[("settings", dense()), ("config", dense()), ("cut", dense())]);
    let settings = "[batching]\nmax_batch_size = 4\nacross_requests = false\n";
    std::fs::write(models.path().join("settings/model.toml"), settings).unwrap();
    std::fs::write(models.path().join("config/config.pbtxt"), "max_batch_size: 4\n").unwrap();
    std::fs::write(models.path().join("cut/config.pbtxt"), "max_batch_size: 4\ndynamic_batching {}\n").unwrap();
    let app = TestApp::with_temp(models, |options| options.inline_below_microseconds = Some(0)).await;
    for name in ["settings", "config"] {
        let series = format!("weir_inference_batch_size_count{{model=\"{name}\",version=\"1\"}}");
        let before = app.metric(&series);
        assert_eq!(answer(&app, 0, name, &numbers(1, 4)).await.len(), 4);
        assert_eq!(app.metric(&series) - before, 1.0, "{name}");
        let five = json!({"instances": numbers(1, 5).chunks(2).collect::<Vec<_>>()});
        for (path, status) in [(format!("/v1/models/{name}:predict"), 400), (format!("/models/{name}/predict"), 422)] {
            let refused = app.post_json(&path, &five).await;
            assert_eq!(refused.status, status, "{}", refused.text());
            assert!(refused.text().contains("at most 4 samples"), "{}", refused.text());
        }
    }
    assert_eq!(answer(&app, 0, "cut", &numbers(1, 5)).await.len(), 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_no_measurement_shows_is_seen_in_the_first_runs_and_answered_whole() {
    let models = repository(&[("together", far_from_any_guess()), ("cut", far_from_any_guess())]);
    std::fs::write(models.path().join("cut/model.toml"), "[batching]\nmax_batch_size = 4\n").unwrap();
    let app = TestApp::with_temp(models, |options| options.inline_below_microseconds = Some(0)).await;
    let mut numbers = numbers(1, 10);
    numbers[0] = 6000.0;
    let negative: Vec<f32> = numbers.iter().map(|number| -number).collect();
    for name in ["together", "cut"] {
        assert_eq!(batching(&app, name).await, "samples are independent, checked", "{name}");
        for _ in 0..2 {
            assert_eq!(answer(&app, 0, name, &numbers).await, negative, "{name}: the request runs whole");
            let said = batching(&app, name).await;
            assert!(said.contains("has another answer alone"), "{name}: {said}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fixed_first_dimension_is_taken_at_its_word() {
    let fixed = |dims: &[&str]| {
        let edges: [Edge<'_>; 1] = [("x", FLOAT, Some(dims))];
        model(&edges, &[("y", FLOAT, None)], vec![node("Neg", &["x"], "y")], vec![], 13)
    };
    let graphs = [
        ("three", fixed(&["3"])),
        ("pairs", fixed(&["2", "2"])),
        ("one", fixed(&["1"])),
        ("sample", fixed(&["1", "2"])),
    ];
    let models = repository(&graphs);
    for (_, choose) in engines() {
        let app = TestApp::with(models.path(), choose).await;
        let ask = async |name: &str, shape: &[usize]| {
            let data = vec![1.0; shape.iter().product()];
            let input = json!({"name": "x", "datatype": "FP32", "shape": shape, "data": data});
            let answer = app.post_json(&format!("/v2/models/{name}/infer"), &json!({"inputs": [input]})).await;
            (answer.status.as_u16(), answer.text())
        };
        for (name, right, wrong) in [("three", &[3][..], &[6][..]), ("pairs", &[2, 2], &[4, 2]), ("one", &[1], &[2])] {
            assert_eq!(ask(name, right).await.0, 200, "{name}");
            let (status, text) = ask(name, wrong).await;
            assert_eq!(status, 400, "{name}: {text}");
            assert!(text.contains("input \\\"x\\\"") && text.contains(&format!("got [{}", wrong[0])), "{text}");
        }
        // The batch of this graph is 1: samples run one after the other.
        let (status, text) = ask("sample", &[3, 2]).await;
        assert_eq!(status, 200, "{text}");
        assert!(text.contains("\"shape\":[3,2]"), "{text}");
        assert!(batching(&app, "sample").await.contains("one after the other"));
    }
}

/// A name, a graph, and three shapes that it takes.
type Choosy = (&'static str, Vec<u8>, [Vec<usize>; 3]);

/// Graphs that cannot run on zeros in dimensions of 1, with three requests that they take.
fn choosy() -> Vec<Choosy> {
    let image = |nodes: Vec<NodeProto>, constants: Vec<TensorProto>| {
        model(&[("x", FLOAT, Some(&["N", "1", "H", "W"]))], &[("y", FLOAT, None)], nodes, constants, 13)
    };
    let pool = |input: &str, output: &str, stride: i64| {
        let pool = with_all(node("MaxPool", &[input], output), "kernel_shape", &[stride, stride]);
        with_all(pool, "strides", &[stride, stride])
    };
    let up = |input: &str, output: &str| {
        let up = with_all(node("ConvTranspose", &[input, "up"], output), "strides", &[2, 2]);
        with_all(up, "kernel_shape", &[2, 2])
    };
    let five = vec![constant("w", &[1, 1, 5, 5], &[0.04; 25])];
    let halves = |count: usize| {
        let name = |index: usize| if index == 0 { "x".to_owned() } else { format!("p{index}") };
        let down = (0..count).map(|index| pool(&name(index), &name(index + 1), 2));
        let mut nodes: Vec<NodeProto> = down.collect();
        for index in (0..count).rev() {
            let below = if index + 1 == count { name(count) } else { format!("u{}", index + 1) };
            let sum = if index == 0 { "y".to_owned() } else { format!("u{index}") };
            nodes.push(up(&below, &format!("t{index}")));
            nodes.push(node("Add", &[&name(index), &format!("t{index}")], &sum));
        }
        image(nodes, vec![constant("up", &[1, 1, 2, 2], &[1.0, 0.5, 0.25, 2.0])])
    };
    let long = vec![constant("w", &[1, 1, 400], &[0.01; 400])];
    vec![
        ("pool2", image(vec![pool("x", "y", 2)], vec![]), [vec![1, 1, 2, 2], vec![2, 1, 8, 6], vec![1, 1, 33, 48]]),
        (
            "conv5",
            image(vec![node("Conv", &["x", "w"], "y")], five),
            [vec![1, 1, 5, 5], vec![3, 1, 6, 9], vec![1, 1, 64, 48]],
        ),
        ("u-net", halves(5), [vec![1, 1, 32, 32], vec![1, 1, 64, 96], vec![2, 1, 160, 32]]),
        (
            "kernel-400",
            model(
                &[("x", FLOAT, Some(&["N", "1", "T"]))],
                &[("y", FLOAT, None)],
                vec![node("Conv", &["x", "w"], "y")],
                long,
                13,
            ),
            [vec![1, 1, 400], vec![2, 1, 512], vec![1, 1, 1000]],
        ),
        (
            "fours",
            model(
                &[("x", FLOAT, Some(&["N", "L"]))],
                &[("y", FLOAT, None)],
                vec![node("Reshape", &["x", "shape"], "y")],
                vec![longs("shape", &[0, -1, 4])],
                13,
            ),
            [vec![1, 4], vec![2, 8], vec![5, 40]],
        ),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn graphs_that_take_few_sizes_are_served_with_those() {
    let graphs = choosy();
    let files: Vec<_> = graphs.iter().map(|(name, file, _)| (*name, file.clone())).collect();
    let models = repository(&files);
    for (engine, choose) in engines() {
        let app = TestApp::with(models.path(), choose).await;
        for (name, file, shapes) in &graphs {
            // The built-in engine does not know the shape of this one before a request does.
            if engine == EngineKind::Tract && *name == "fours" {
                continue;
            }
            assert_eq!(batching(&app, name).await, "samples are independent, checked", "{name}, {engine:?}");
            let plan = Engines::new(onnxruntime()).load(engine, file).unwrap();
            let mut session = plan.session().unwrap();
            for shape in shapes {
                let numbers: Vec<f32> =
                    (0..shape.iter().product()).map(|index: usize| (index % 19) as f32 - 9.0).collect();
                let input = json!({"name": "x", "datatype": "FP32", "shape": shape, "data": numbers});
                let answer = app.post_json(&format!("/v2/models/{name}/infer"), &json!({"inputs": [input]})).await;
                assert_eq!(answer.status, 200, "{name} {shape:?} {engine:?}: {}", answer.text());
                let mut found = Vec::new();
                flatten(&answer.json()["outputs"][0]["data"], &mut found);
                let expected = session.run(&[Tensor::new(shape.clone(), numbers).unwrap()]).unwrap();
                let expected = expected[0].floats().unwrap();
                assert_eq!(found.len(), expected.len());
                assert!(found.iter().zip(expected).all(|(a, b)| (a - b).abs() <= 1e-3 * b.abs().max(1.0)), "{name}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whole_numbers_that_must_not_be_zero_are_not() {
    let pair = |op: &str| {
        let edge = |name| (name, INT64, Some(&["N", "2"][..]));
        model(&[edge("a"), edge("b")], &[("y", INT64, None)], vec![node(op, &["a", "b"], "y")], vec![], 13)
    };
    let one = TensorProto { dims: vec![], ..longs("one", &[1]) };
    let ids = model(
        &[("a", INT64, Some(&["N", "L"]))],
        &[("y", FLOAT, None)],
        vec![node("Sub", &["a", "one"], "i"), node("Gather", &["table", "i"], "y")],
        vec![one, constant("table", &[3], &[0.5, 1.5, 2.5])],
        13,
    );
    let models = repository(&[("div", pair("Div")), ("mod", pair("Mod")), ("ids", ids)]);
    for (_, choose) in engines() {
        let app = TestApp::with(models.path(), choose).await;
        for (name, inputs, expected) in [
            ("div", json!({"a": [[7, 9]], "b": [[2, 3]]}), json!([3, 3])),
            ("mod", json!({"a": [[7, 9]], "b": [[2, 5]]}), json!([1, 4])),
            ("ids", json!({"a": [[1, 2, 3, 1]]}), json!([0.5, 1.5, 2.5, 0.5])),
        ] {
            assert_eq!(batching(&app, name).await, "samples are independent, checked", "{name}");
            let answer = app.post_json(&format!("/models/{name}/predict"), &json!({"inputs": inputs})).await.json();
            assert_eq!(answer["predictions"][0]["outputs"]["y"], expected, "{name}: {answer}");
        }
    }
}

/// y = the element at `index` of each row, which no guess is likely to have.
fn element(index: i64) -> Vec<u8> {
    let nodes = vec![with(node("Gather", &["x", "index"], "y"), "axis", 1)];
    let edges: [Edge<'_>; 1] = [("x", FLOAT, Some(&["N", "L"]))];
    model(&edges, &[("y", FLOAT, None)], nodes, vec![longs("index", &[index])], 13)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_that_takes_no_guess_serves_and_learns_from_its_first_request() {
    let (last, length) = (16_500, 16_501);
    let models = repository(&[("far", element(last + 1)), ("told", element(last)), ("config", element(last))]);
    std::fs::write(models.path().join("told/model.toml"), format!("[engine.example]\nx = [{length}]\n")).unwrap();
    let config = format!(
        "max_batch_size: 4\ninput [{{name: \"x\" data_type: TYPE_FP32 dims: [{length}]}}]\n\
         output [{{name: \"y\" data_type: TYPE_FP32 dims: [1]}}]\n"
    );
    std::fs::write(models.path().join("config/config.pbtxt"), config).unwrap();
    let app = TestApp::with_temp(models, |options| options.tune = Some(true)).await;
    for name in ["told", "config"] {
        assert_eq!(batching(&app, name).await, "samples are independent, checked", "{name}");
    }
    let said = batching(&app, "far").await;
    assert!(said.contains("failed on all example inputs") && said.contains("[engine.example]"), "{said}");
    assert_eq!(app.get("/models/far").await.json()["versions"][0]["tuning"]["stage"], "unmeasured");
    let row: Vec<usize> = (0..=length).collect();
    let answer = app.post_json("/models/far/predict", &json!({"instances": [row.clone(), row]})).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.json()["predictions"][1]["outputs"]["y"], json!([16_501.0]));
    let measured = || {
        let catalog = app.state.predictor().catalog();
        let servable = catalog.models()[&"far".parse().unwrap()].latest().unwrap();
        servable.tuning().sharing.is_shared && !servable.tuning().costs.is_empty()
    };
    crate::support::until("the model is measured", measured).await;
    assert_eq!(batching(&app, "far").await, "samples are independent, checked");
    assert_eq!(app.version_state("far", 1).unwrap().0, State::Available);
}

#[tokio::test(flavor = "multi_thread")]
async fn dimensions_of_one_symbol_are_compared_before_the_run() {
    let edge = |name| (name, FLOAT, Some(&["N", "S"][..]));
    let file = model(&[edge("a"), edge("b")], &[("y", FLOAT, None)], vec![node("Mul", &["a", "b"], "y")], vec![], 13);
    let app = TestApp::with_temp(repository(&[("two", file)]), |_| {}).await;
    let input = |name: &str, size: usize| json!({"name": name, "datatype": "FP32", "shape": [1, size], "data": vec![1.0; size]});
    let body = json!({"inputs": [input("a", 3), input("b", 2)]});
    let answer = app.post_json("/v2/models/two/infer", &body).await;
    assert_eq!(answer.status, 400);
    let text = answer.text();
    assert!(
        text.contains("input \\\"b\\\"") && text.contains("(S) must be 3") && text.contains("got [1, 2]"),
        "{text}"
    );
}
