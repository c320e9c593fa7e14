//! Hostile models: whatever a file does to an engine, it does to a process of its own; it ends with a
//! reason, and the good model beside it serves.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use prost::Message;
use serde_json::json;
use tempfile::TempDir;
use tract_onnx::pb::{AttributeProto, ModelProto, TensorProto, attribute_proto};
use weir::config::ServeOptions;

use crate::engine::{only_in_onnxruntime, onnxruntime};
use crate::fixtures::{add_bare_model, bare_model, constant, graph, half_plus_two, model, node, onnx};
use crate::support::TestApp;

const FLOAT: i32 = 1;
const INT64: i32 = 7;
const BOOL: i32 = 9;

/// A server that tries its models first, with a state folder of its own.
fn checked(state: &Path) -> impl FnOnce(&mut ServeOptions) + '_ {
    move |options| {
        options.check_executable = Some(env!("CARGO_BIN_EXE_weir").into());
        options.state_dir = Some(state.to_owned());
        options.default_model = Some("good".parse().unwrap());
        options.onnxruntime = onnxruntime();
    }
}

/// Loads these files beside a good one, which must serve; returns each one's state and reason.
async fn fates(files: &[(&str, Vec<u8>)], change: impl FnOnce(&mut ServeOptions)) -> Vec<(String, String)> {
    let models = bare_model("good", &half_plus_two());
    for (name, file) in files {
        add_bare_model(models.path(), name, 1, file);
    }
    let state = TempDir::new().unwrap();
    let app = TestApp::with_temp(models, |options| {
        checked(state.path())(options);
        change(options);
    })
    .await;
    let answer = app.post_json("/predict", &json!({"instances": [[2.0]]})).await.json();
    assert_eq!(answer["predictions"][0]["outputs"]["y"], json!([3.0]), "{answer}");
    let mut fates = Vec::new();
    for (name, _) in files {
        let version = app.get(&format!("/models/{name}")).await.json()["versions"][0].clone();
        let text = |key: &str| version[key].as_str().unwrap_or_default().to_owned();
        eprintln!("{name}: {} {}", text("state"), text("reason"));
        fates.push((text("state"), text("reason")));
    }
    fates
}

async fn all_end(files: &[(&str, Vec<u8>)]) -> Vec<String> {
    let fates = fates(files, |_| {}).await;
    for ((name, _), (state, reason)) in files.iter().zip(&fates) {
        assert_eq!(state, "END", "{name}");
        assert!(!reason.is_empty(), "{name}");
    }
    fates.into_iter().map(|(_, reason)| reason).collect()
}

fn longs(name: &str, values: &[i64]) -> TensorProto {
    TensorProto {
        name: name.into(),
        dims: vec![values.len() as i64],
        data_type: INT64,
        raw_data: values.iter().flat_map(|value| value.to_le_bytes()).collect(),
        ..TensorProto::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn files_that_are_no_graphs_end() {
    let good = half_plus_two();
    let noise: Vec<u8> = (0..5000u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    let empty = ModelProto { ir_version: 8, ..ModelProto::default() }.encode_to_vec();
    let mut files = vec![
        ("empty", Vec::new()),
        ("noise", noise),
        ("no-graph", empty),
        ("unknown-op", onnx(&[1], vec![node("NoSuchOp", &["x"], "y")], Vec::new())),
        ("cycle", onnx(&[1], vec![node("Add", &["x", "z"], "y"), node("Add", &["x", "y"], "z")], Vec::new())),
        (
            "opset-999",
            model(
                &[("x", FLOAT, Some(&["N", "1"]))],
                &[("y", FLOAT, None)],
                vec![node("NoSuchOp", &["x"], "y")],
                Vec::new(),
                999,
            ),
        ),
    ];
    let names: Vec<String> = (1..good.len()).step_by(5).map(|length| format!("cut-{length}")).collect();
    let cuts = (1..good.len()).step_by(5).map(|length| good[..length].to_vec());
    files.extend(names.iter().map(String::as_str).zip(cuts));
    let reasons = all_end(&files).await;
    assert!(reasons[0].contains("no graph") && reasons[2].contains("no graph"), "{reasons:?}");
    assert!(reasons[3].contains("NoSuchOp"), "{reasons:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_would_take_all_memory_ends() {
    let mut wrapping = constant("c", &[1 << 33, 1 << 31], &[]);
    wrapping.raw_data = vec![0; 8];
    let fill = [constant("x1", &[1], &[1.0]), longs("shape", &[1_000_000_000_000])].to_vec();
    let files = [
        (
            "constant-of-shape",
            onnx(&[1], vec![node("ConstantOfShape", &["shape"], "c"), node("Add", &["x", "c"], "y")], fill.clone()),
        ),
        ("expand", onnx(&[1], vec![node("Expand", &["x", "shape"], "y")], fill)),
        ("wrapping", onnx(&[1], vec![node("Add", &["x", "c"], "y")], vec![wrapping])),
    ];
    for reason in all_end(&files).await {
        assert!(reason.contains("tract cannot run it"), "{reason}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_that_outgrows_its_memory_says_so() {
    let shape = longs("shape", &[1 << 28]);
    let file = onnx(&[1], vec![node("Expand", &["x", "shape"], "e"), node("ReduceMax", &["e"], "y")], vec![shape]);
    let fates = fates(&[("large", file)], |options| {
        options.engine = Some(weir::config::EngineChoice::Tract);
        options.check_memory_bytes = Some(256 << 20);
    })
    .await;
    assert_eq!(fates[0].0, "END", "{fates:?}");
    assert!(fates[0].1.contains("memory"), "{fates:?}");
}

/// y = x through a chain of this many nodes.
fn chain(length: usize) -> Vec<u8> {
    let name = |index: usize| if index == 0 { "x".to_owned() } else { format!("t{index}") };
    let mut nodes: Vec<_> = (0..length).map(|index| node("Neg", &[&name(index)], &name(index + 1))).collect();
    nodes.push(node("Identity", &[&name(length)], "y"));
    onnx(&[1], nodes, Vec::new())
}

/// `If` within `If`, this deep.
fn nested(depth: usize) -> Vec<u8> {
    let mut inner = graph(&[], &[("r0", FLOAT, None)], vec![node("Neg", &["x"], "r0")], Vec::new());
    for level in 1..=depth {
        let branch = |name: &str| AttributeProto {
            name: name.into(),
            r#type: attribute_proto::AttributeType::Graph as i32,
            g: Some(inner.clone()),
            ..AttributeProto::default()
        };
        let output = if level == depth { "y".to_owned() } else { format!("r{level}") };
        let mut choice = node("If", &["condition"], &output);
        choice.attribute = vec![branch("then_branch")];
        if level == 1 {
            choice.attribute.push(branch("else_branch"));
        } else {
            // The other branch is shallow, or the file would double with each level.
            let other = graph(&[], &[("o", FLOAT, None)], vec![node("Neg", &["x"], "o")], Vec::new());
            choice.attribute.push(AttributeProto { g: Some(other), ..branch("else_branch") });
        }
        inner = graph(&[], &[(&output, FLOAT, None)], vec![choice], Vec::new());
    }
    model(
        &[("x", FLOAT, Some(&["N", "1"])), ("condition", BOOL, Some(&[]))],
        &[("y", FLOAT, None)],
        inner.node,
        Vec::new(),
        18,
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn graphs_beyond_all_measure_end() {
    let files = [("chain", chain(100_000)), ("nested", nested(60)), ("nested-less", nested(20))];
    // An engine may also get through them; nobody is harmed either way.
    let fates = fates(&files, |options| options.check_timeout_seconds = Some(5.0)).await;
    assert_eq!(fates[1].0, "END", "{fates:?}");
    assert!(fates[1].1.contains("nested"), "{fates:?}");
    for (state, reason) in &fates {
        assert_eq!(state == "END", !reason.is_empty(), "{fates:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_that_takes_too_long_ends_and_is_not_waited_for() {
    let state = TempDir::new().unwrap();
    let app = TestApp::with_temp(bare_model("slow", &crate::fixtures::slow()), |options| {
        checked(state.path())(options);
        options.check_timeout_seconds = Some(0.001);
    })
    .await;
    let version = app.get("/models/slow").await.json()["versions"][0].clone();
    assert!(version["reason"].as_str().unwrap().contains("check-timeout-seconds"), "{version}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_that_has_passed_is_not_tried_again() {
    let state = TempDir::new().unwrap();
    let models = bare_model("good", &half_plus_two());
    let serves = async |program: &str| {
        let app = TestApp::with(models.path(), |options| {
            checked(state.path())(options);
            options.check_executable = Some(program.into());
        })
        .await;
        app.post_json("/predict", &json!({"instances": [[2.0]]})).await.status == 200
    };
    assert!(!serves("/nowhere/weir").await, "without a program nothing is trusted");
    assert!(serves(env!("CARGO_BIN_EXE_weir")).await);
    assert!(fs::read_dir(state.path().join("checked")).unwrap().count() > 0);
    assert!(serves("/nowhere/weir").await, "it is remembered");
    add_bare_model(models.path(), "good", 2, &onnx(&[1], vec![node("Neg", &["x"], "y")], Vec::new()));
    let app = TestApp::with(models.path(), |options| {
        checked(state.path())(options);
        options.check_executable = Some("/nowhere/weir".into());
    })
    .await;
    let versions = app.get("/models/good").await.json()["versions"].clone();
    assert_eq!((&versions[0]["state"], &versions[1]["state"]), (&json!("AVAILABLE"), &json!("END")), "{versions}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_state_folder_that_cannot_be_written_costs_only_the_memory_of_it() {
    let models = bare_model("good", &half_plus_two());
    let file = models.path().join("file");
    fs::write(&file, "").unwrap();
    let app = TestApp::with(models.path(), checked(&file)).await;
    assert_eq!(app.post_json("/predict", &json!({"instances": [[2.0]]})).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_other_engine_is_tried_in_a_process_too() {
    if onnxruntime().is_none() {
        return;
    }
    let fates = fates(&[("det", only_in_onnxruntime())], |_| {}).await;
    assert_eq!(fates[0].0, "AVAILABLE", "{fates:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_the_program_does_there_is_an_end() {
    for (program, expected) in [("true", "no answer"), ("false", "exit code 1")] {
        let state = TempDir::new().unwrap();
        let app = TestApp::with_temp(bare_model("good", &half_plus_two()), |options| {
            checked(state.path())(options);
            options.engine = Some(weir::config::EngineChoice::Tract);
            options.check_executable = Some(program.into());
            options.check_timeout_seconds = Some(0.5);
        })
        .await;
        let version = app.get("/models/good").await.json()["versions"][0].clone();
        assert_eq!(version["state"], "END", "{program}");
        assert!(version["reason"].as_str().unwrap().contains(expected), "{program}: {version}");
    }
}

#[test]
fn a_server_that_stops_does_not_wait_for_a_check() {
    let models = bare_model("chain", &chain(100_000));
    let mut server = Command::new(env!("CARGO_BIN_EXE_weir"))
        .args(["serve", "--http", "127.0.0.1:0", "--grpc", "off", "--grace-seconds", "0"])
        .args(["--log", "weir=debug", "--engine", "tract"])
        .args(["--check-timeout-seconds", "3600", "--models"])
        .arg(models.path())
        .arg("--state-dir")
        .arg(models.path().join("state"))
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(server.stderr.take().unwrap()).lines().map(Result::unwrap);
    lines.by_ref().find(|line| line.contains("a model is being checked")).unwrap();
    assert!(Command::new("kill").args(["-TERM", &server.id().to_string()]).status().unwrap().success());
    // Without the child's end this would be an hour away.
    assert_eq!(server.wait().unwrap().code(), Some(0), "{:?}", lines.collect::<Vec<_>>());
}
