//! Runs that do not end by themselves: they cost no compute thread, and the process ends all the same.

use std::io::{BufRead, BufReader, Write as _};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use serde_json::json;
use tract_onnx::pb::{AttributeProto, attribute_proto};
use weir::config::EngineChoice;
use weir::engine::{Brake, EngineKind, Engines};
use weir::error::Kind;
use weir::tensor::Tensor;

use super::onnxruntime;
use super::shapes::{FLOAT, INT64, int, with};
use crate::fixtures::{Edge, bare_model, constant, graph, model, node};
use crate::support::TestApp;

/// Rounds that take hours.
const ENDLESS: i64 = 1_000_000_000_000;

/// y = the number of rounds, counted one by one.
fn rounds() -> Vec<u8> {
    const BOOL: i32 = 9;
    let edges: [Edge<'_>; 3] = [("i", INT64, Some(&[])), ("c", BOOL, Some(&[])), ("v", FLOAT, Some(&["1"]))];
    let nodes = vec![node("Identity", &["c"], "c2"), node("Add", &["v", "one"], "v2")];
    let round = graph(&edges, &[("c2", BOOL, Some(&[])), ("v2", FLOAT, Some(&["1"]))], nodes, Vec::new());
    let body = AttributeProto {
        name: "body".into(),
        r#type: attribute_proto::AttributeType::Graph as i32,
        g: Some(round),
        ..AttributeProto::default()
    };
    let nodes = vec![node("Squeeze", &["n"], "count"), with(node("Loop", &["count", "", "zero"], "y"), &[body])];
    let constants = vec![constant("zero", &[1], &[0.0]), constant("one", &[1], &[1.0])];
    model(&[("n", INT64, Some(&["1"]))], &[("y", FLOAT, Some(&["1"]))], nodes, constants, 13)
}

/// A layer of 1024 units over as many steps as a request brings: minutes for a hundred thousand.
fn steps() -> Vec<u8> {
    const UNITS: i64 = 1024;
    let weights =
        |name: &str, width: i64| constant(name, &[1, 3 * UNITS, width], &vec![1e-3; (3 * UNITS * width) as usize]);
    let layer = with(node("GRU", &["x", "w", "r"], "all"), &[int("hidden_size", UNITS)]);
    let nodes = vec![layer, node("ReduceMax", &["all"], "y")];
    let constants = vec![weights("w", 1), weights("r", UNITS)];
    model(&[("x", FLOAT, Some(&["T", "1", "1"]))], &[("y", FLOAT, None)], nodes, constants, 13)
}

fn asks(count: i64) -> serde_json::Value {
    json!({"inputs": [{"name": "n", "datatype": "INT64", "shape": [1], "data": [count]}]})
}

#[test]
fn a_pulled_brake_ends_a_run_and_the_session_runs_again() {
    let Some(library) = onnxruntime() else { return };
    let plan = Engines::new(Some(library)).load(EngineKind::OnnxRuntime, &rounds()).unwrap();
    let mut session = plan.session().unwrap();
    let input = |count: i64| [Tensor::new(vec![1], vec![count]).unwrap()];
    for _ in 0..3 {
        let brake = Arc::new(Brake::default());
        std::thread::scope(|scope| {
            scope.spawn(|| {
                std::thread::yield_now();
                brake.pull();
            });
            assert_eq!(session.run_under(&brake, &input(ENDLESS)).unwrap_err().kind(), Kind::Cancelled);
        });
        assert_eq!(session.run_under(&brake, &input(3)).unwrap_err().kind(), Kind::Cancelled, "it stays pulled");
        assert_eq!(session.run(&input(3)).unwrap()[0].floats().unwrap(), [3.0]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_whose_caller_was_answered_504_gives_its_thread_back() {
    let Some(library) = onnxruntime() else { return };
    let app = TestApp::with_temp(bare_model("rounds", &rounds()), |options| {
        options.engine = Some(EngineChoice::Onnxruntime);
        options.onnxruntime = Some(library);
        options.threads = Some(1);
        options.request_timeout_seconds = Some(0.5);
    })
    .await;
    for _ in 0..3 {
        let late = app.post_json("/v2/models/rounds/infer", &asks(ENDLESS)).await;
        assert_eq!(late.status.as_u16(), 504, "{}", late.text());
        let answer = app.post_json("/v2/models/rounds/infer", &asks(5)).await.json();
        assert_eq!(answer["outputs"][0]["data"], json!([5.0]), "{answer}");
    }
    assert_eq!(app.metric("weir_hung_runs_total"), 0.0, "no thread had to be replaced");
}

/// A process that does not outlive its test.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        // It may be gone already, and then there is nothing to end.
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// Serves a model in a process of its own, asks it something that it does not answer in time, and sends SIGTERM once it
/// said so. Returns the exit code and the log.
fn leaves(engine: &str, onnx: &[u8], path: &str, body: &str) -> (Option<i32>, Vec<String>) {
    let (models, state) = (bare_model("m", onnx), tempfile::TempDir::new().unwrap());
    let mut command = Command::new(env!("CARGO_BIN_EXE_weir"));
    command.args(["serve", "--http", "127.0.0.1:0", "--grpc", "off", "--grace-seconds", "0", "--engine", engine]);
    command.args(["--request-timeout-seconds", "0.5", "--models"]).arg(models.path());
    command.env("WEIR_STATE_DIR", state.path()).stdin(Stdio::null()).stderr(Stdio::piped());
    if let Some(library) = std::env::var_os("WEIR_ONNXRUNTIME") {
        command.env("ORT_DYLIB_PATH", library);
    }
    let mut server = Server(command.spawn().unwrap());
    let mut lines = BufReader::new(server.0.stderr.take().unwrap()).lines().map(Result::unwrap);
    let mut address = String::new();
    for line in lines.by_ref() {
        let line: serde_json::Value = serde_json::from_str(&line).expect("logs are JSON when piped");
        if line["message"] == "listening" {
            address = line["address"].as_str().unwrap().to_owned();
        }
        if line["message"].as_str().is_some_and(|message| message.starts_with("ready")) {
            break;
        }
    }
    let mut stream = TcpStream::connect(&address).unwrap();
    let head = format!(
        "POST {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(format!("{head}{body}").as_bytes()).unwrap();
    let mut answer = String::new();
    BufReader::new(stream).read_line(&mut answer).unwrap();
    assert!(answer.contains("504"), "{answer}");
    assert!(Command::new("kill").args(["-TERM", &server.0.id().to_string()]).status().unwrap().success());
    let log: Vec<String> = lines.collect();
    (server.0.wait().unwrap().code(), log)
}

#[test]
fn a_process_ends_though_a_loop_does_not() {
    if onnxruntime().is_none() {
        return;
    }
    let (code, log) = leaves("onnxruntime", &rounds(), "/v2/models/m/infer", &asks(ENDLESS).to_string());
    assert_eq!(code, Some(0), "{log:?}");
    assert!(!log.iter().any(|line| line.contains("ends with the process")), "the brake ended it: {log:?}");
}

#[test]
fn a_process_ends_though_a_run_of_the_built_in_engine_goes_on() {
    let numbers = vec!["0"; 100_000].join(",");
    let body = format!(
        "{{\"inputs\":[{{\"name\":\"x\",\"datatype\":\"FP32\",\"shape\":[100000,1,1],\"data\":[{numbers}]}}]}}"
    );
    let (code, log) = leaves("tract", &steps(), "/v2/models/m/infer", &body);
    assert_eq!(code, Some(0), "{log:?}");
    assert!(log.iter().any(|line| line.contains("ends with the process")), "{log:?}");
}
