//! `weir bench`: the load generator against servers good and bad.

use std::net::SocketAddr;
use std::process::{Command, Output, Stdio};

use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use crate::fixtures::{add_bare_model, bare_model, half_plus_two, png_of_test_image};
use crate::support::{TestApp, bundled_models, until};

const SUCCESSES: &str = "weir_inference_requests_total{model=\"mnist-mlp\",outcome=\"success\",version=\"1\"}";

fn weir(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_weir"));
    command.arg("bench").args(args).env_remove("WEIR_MODELS").stdin(Stdio::null());
    command
}

/// Runs `weir bench` while the test's own runtime serves.
async fn bench(args: &[&str]) -> Output {
    let mut command = weir(args);
    tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// The JSON report of a run that ended with this code; what people read is on standard error.
async fn report(code: i32, args: &[&str]) -> (Value, String) {
    let run = bench(&[args, &["--json", "-"]].concat()).await;
    let said = text(&run.stderr);
    assert_eq!(run.status.code(), Some(code), "{args:?}: {said}");
    assert!(!said.contains('\x1b'), "no colour and no bar when piped: {said}");
    (serde_json::from_slice(&run.stdout).unwrap_or_else(|error| panic!("{error}: {}", text(&run.stdout))), said)
}

/// Checks the invariants of every step against a server.
fn assert_consistent(step: &Value) {
    let number = |key: &str| step[key].as_u64().unwrap_or_else(|| panic!("{key}: {step}"));
    let sum = |key: &str| step[key].as_object().unwrap().values().map(|count| count.as_u64().unwrap()).sum::<u64>();
    assert_eq!(number("requests"), sum("statuses") + sum("errors"), "{step}");
    assert_eq!(sum("statuses"), number("good") + number("non_2xx"), "{step}");
    if number("good") > 0 {
        let rows = ["min", "p50", "p90", "p95", "p99", "p99.9", "max"];
        let rows = rows.map(|row| step["latency_ms"][row].as_f64().unwrap_or_else(|| panic!("{row}: {step}")));
        assert!(rows.is_sorted() && rows[0] >= 0.0, "{step}");
        let curve = step["latency_curve"].as_array().unwrap();
        assert!(curve.is_sorted_by_key(|point| point["quantile"].as_f64().unwrap()), "{step}");
    } else {
        assert!(step["latency_ms"].is_null(), "{step}");
    }
}

fn predict(app: &TestApp) -> String {
    format!("http://{}/predict", app.addr)
}

#[tokio::test]
async fn a_closed_loop_sends_exactly_the_requests_it_was_asked_for() {
    let app = TestApp::start().await;
    let (report, said) =
        report(0, &["http", &predict(&app), "--requests", "200", "--connections", "8", "--threads", "2"]).await;
    assert_eq!(
        (&report["schema"], &report["kind"], &report["interrupted"], &report["slo_met"]),
        (&1.into(), &"http".into(), &false.into(), &Value::Null)
    );
    assert_eq!(report["target"]["content_type"], "image/png");
    let step = &report["steps"][0];
    assert_consistent(step);
    assert_eq!((&step["mode"], &step["connections"], &step["good"]), (&"closed".into(), &8.into(), &200.into()));
    assert_eq!((&step["statuses"]["200"], &step["connections_opened"]), (&200.into(), &8.into()));
    assert_eq!(step["body_bytes_sent"], 200 * 220);
    for expected in ["POST http://", "p99.9", "requests/s", "← p50"] {
        assert!(said.contains(expected), "{expected} in {said}");
    }
    assert_eq!(app.metric(SUCCESSES), 200.0);
}

#[tokio::test]
async fn bodies_and_headers_of_ones_own_are_sent() {
    let app = TestApp::start().await;
    let folder = TempDir::new().unwrap();
    let file = |name: &str, bytes: &[u8]| {
        std::fs::write(folder.path().join(name), bytes).unwrap();
        folder.path().join(name).display().to_string()
    };
    let (good, bad) = (file("good", &png_of_test_image(0)), file("bad", b"{}"));
    let args =
        ["http", &predict(&app), "--body", &good, "--body", &bad, "-H", "x-request-id: mine", "-n", "10", "-c", "1"];
    let (report, said) = report(0, &args).await;
    let step = &report["steps"][0];
    assert_consistent(step);
    assert_eq!((&step["good"], &step["non_2xx"], &report["target"]["bodies"]), (&5.into(), &5.into(), &2.into()));
    assert!(step["first_problem"].as_str().unwrap().contains("status 4"), "{step}");
    assert!(said.contains("first error"), "{said}");
}

#[tokio::test]
async fn an_open_loop_starts_every_request_of_its_schedule() {
    let app = TestApp::start().await;
    for arrivals in ["constant", "poisson"] {
        let url = format!("http://{}/livez", app.addr);
        let args = ["http", &url, "--rate", "500", "--arrivals", arrivals, "--requests", "100", "--warmup", "20ms"];
        let (report, _) = report(0, &args).await;
        let step = &report["steps"][0];
        assert_consistent(step);
        assert_eq!(
            (&step["mode"], &step["rate"], &step["arrivals"]),
            (&"open".into(), &500.0.into(), &arrivals.into())
        );
        assert_eq!((&step["requests"], &step["unsent"]), (&100.into(), &0.into()));
        assert!(step["send_delay_ms"]["p50"].is_number());
        assert_eq!(report["target"]["method"], "GET");
    }
}

#[tokio::test]
async fn a_sweep_has_a_row_a_step_and_a_picture_for_each() {
    let app = TestApp::start().await;
    let folder = TempDir::new().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let (json, svg) = (path("sweep.json"), path("sweep.svg"));
    let url = predict(&app);
    let run = bench(&["http", &url, "--sweep", "1,2,4", "-n", "50", "--json", &json, "--svg", &svg]).await;
    let said = text(&run.stdout);
    assert!(run.status.success(), "{}", text(&run.stderr));
    assert!(said.contains("connections    answers/s") && said.lines().count() >= 6, "{said}");
    let report: Value = serde_json::from_str(&std::fs::read_to_string(&json).unwrap()).unwrap();
    let steps = report["steps"].as_array().unwrap();
    steps.iter().for_each(assert_consistent);
    let connections: Vec<_> = steps.iter().map(|step| step["connections"].as_u64().unwrap()).collect();
    assert_eq!(connections, [1, 2, 4]);
    let svg = std::fs::read_to_string(&svg).unwrap();
    for expected in ["<svg", "throughput and latency", "connections 4", "90 %"] {
        assert!(svg.contains(expected), "{expected} in {svg}");
    }
    let quiet = bench(&["http", &url, "--sweep-rates", "100,200", "-n", "10", "--quiet"]).await;
    assert!(quiet.status.success() && quiet.stdout.is_empty() && quiet.stderr.is_empty());
}

#[tokio::test]
async fn a_missed_service_level_is_exit_6_and_a_met_one_0() {
    let app = TestApp::start().await;
    let url = predict(&app);
    let (met, said) = report(0, &["http", &url, "-n", "50", "--slo", "p99<=1h,errors<=0%"]).await;
    assert_eq!((&met["slo_met"], &met["slo"]), (&true.into(), &"p99<=3600s,errors<=0%".into()));
    assert_eq!(met["steps"][0]["slo"]["terms"][0]["met"], true);
    assert!(said.contains("p99<=3600s met"), "{said}");
    let (missed, said) = report(6, &["http", &url, "-n", "50", "--slo", "p50<=0.001us,errors<=0%"]).await;
    assert_eq!((&missed["slo_met"], &missed["steps"][0]["slo"]["terms"][1]["met"]), (&false.into(), &true.into()));
    assert!(said.contains("missed"), "{said}");
    // A sweep: whether any step met it. No server meets this one at any rate.
    report(6, &["http", &url, "--sweep", "1,2", "-n", "20", "--slo", "max<=0.001us"]).await;
    let (none, said) =
        report(6, &["http", &url, "--find-rate", "--rate", "2", "-n", "1", "--slo", "p99<=0.001us"]).await;
    assert!(none["found_rate"].is_null() && said.contains("no rate meets it"), "{said}");
}

#[tokio::test]
async fn a_search_finds_a_rate_within_the_bounds() {
    let app = TestApp::start().await;
    let url = format!("http://{}/livez", app.addr);
    let args = ["http", &url, "--find-rate", "--rate", "500000", "-n", "50", "--slo", "p99<=1h"];
    let (found, said) = report(0, &args).await;
    assert_eq!(found["found_rate"], 1e6, "{said}");
    assert_eq!(found["steps"].as_array().unwrap().len(), 2);
}

/// The reaction of a server to each request.
#[derive(Clone, Copy)]
enum Manners {
    Refuse503,
    CloseWithoutAnswer,
    Babble,
    NeverAnswer,
    CloseAfterEachAnswer,
}

/// A server of these manners.
async fn server(manners: Manners) -> (SocketAddr, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let serve = async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            tokio::spawn(answer(stream, manners));
        }
    };
    (address, tokio::spawn(serve))
}

async fn answer(mut stream: TcpStream, manners: Manners) {
    let mut seen = Vec::new();
    let mut buffer = [0; 4096];
    while let Ok(count @ 1..) = stream.read(&mut buffer).await {
        seen.extend_from_slice(&buffer[..count]);
        if !seen.ends_with(b"\r\n\r\n") {
            continue;
        }
        seen.clear();
        let reply: &[u8] = match manners {
            Manners::Refuse503 => b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 4\r\n\r\nfull",
            Manners::CloseWithoutAnswer => return,
            Manners::Babble => b"hello, this is no HTTP\r\n\r\n",
            Manners::NeverAnswer => continue,
            Manners::CloseAfterEachAnswer => b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok",
        };
        stream.write_all(reply).await.unwrap();
        if matches!(manners, Manners::CloseAfterEachAnswer) {
            return;
        }
    }
}

#[tokio::test]
async fn every_kind_of_failure_is_counted_as_what_it_is() {
    for (manners, key, slo_code) in [
        (Manners::Refuse503, "503", 6),
        (Manners::CloseWithoutAnswer, "reset", 6),
        (Manners::Babble, "protocol", 6),
        (Manners::NeverAnswer, "timeout", 6),
        (Manners::CloseAfterEachAnswer, "200", 0),
    ] {
        let (address, serving) = server(manners).await;
        let url = format!("http://{address}/");
        let args = ["http", &url, "-n", "6", "-c", "2", "--timeout", "50ms", "--slo", "errors<=1%"];
        let (report, said) = report(slo_code, &args).await;
        let step = &report["steps"][0];
        assert_consistent(step);
        let counted = if step["statuses"][key].is_null() { &step["errors"][key] } else { &step["statuses"][key] };
        assert_eq!((counted, &step["requests"]), (&6.into(), &6.into()), "{step}");
        if slo_code == 6 {
            assert_eq!((&step["good"], &step["good_per_second"]), (&0.into(), &0.0.into()), "{step}");
            assert!(step["first_problem"].is_string() && said.contains("no good answers"), "{said}");
        } else {
            assert_eq!(step["connections_opened"], 6, "a closed connection is opened again and is no failure");
        }
        serving.abort();
    }
}

#[tokio::test]
async fn a_rate_that_cannot_be_kept_is_said_so() {
    let (address, serving) = server(Manners::NeverAnswer).await;
    let url = format!("http://{address}/");
    let args = [
        "http",
        &url,
        "--rate",
        "1000",
        "-d",
        "200ms",
        "--warmup",
        "0s",
        "-c",
        "1",
        "--timeout",
        "100ms",
        "--slo",
        "p50<=1h",
    ];
    let (report, said) = report(6, &args).await;
    let step = &report["steps"][0];
    assert_consistent(step);
    assert_eq!(step["rate_kept"], false);
    let number = |key: &str| step[key].as_u64().unwrap();
    assert_eq!(number("requests") + number("unsent"), 200, "{step}");
    assert!(number("unsent") > 0 && number("backlog_max") > 0, "{step}");
    assert!(said.contains("could NOT be kept"), "{said}");
    serving.abort();
}

#[tokio::test]
async fn nobody_at_the_url_is_one_clear_line_and_exit_1() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let refused = bench(&["http", &format!("http://{address}/predict")]).await;
    let said = text(&refused.stderr);
    assert_eq!(refused.status.code(), Some(1), "{said}");
    assert!(said.contains(&address.to_string()) && said.contains("refused") && said.contains("weir serve"), "{said}");
    assert_eq!(said.lines().count(), 1, "{said}");
}

#[tokio::test]
async fn what_cannot_be_meant_is_exit_2() {
    for (args, hint) in [
        (&["http", "https://127.0.0.1/"][..], "not http://"),
        (&["http", "--slo", "p99<=20"], "p99<=20ms"),
        (&["http", "--find-rate"], "--slo"),
        (&["http", "--sweep", "1,0"], "--connections"),
        (&["http", "--rate", "0"], "--rate"),
        (&["http", "--duration", "soon"], "a duration"),
        (&["http", "--arrivals", "poisson"], "--rate"),
        (&["http", "-H", "nonsense"], "name: value"),
        (&["engine", "no-such-model"], "not a model"),
        (&["engine", "no-such-model", "--profile", "--engine", "onnxruntime"], "only the built-in engine"),
    ] {
        let refused = bench(args).await;
        let said = text(&refused.stderr);
        assert_eq!(refused.status.code(), Some(2), "{args:?}: {said}");
        assert!(said.contains(hint), "{args:?}: {said}");
    }
}

#[tokio::test]
async fn ctrl_c_ends_the_run_and_prints_what_was_measured() {
    for load in [["--connections", "2"], ["--rate", "300"]] {
        let app = TestApp::start().await;
        let url = predict(&app);
        let args = [&["http", &url, "--duration", "1h", "--warmup", "0s", "--json", "-"], &load[..]].concat();
        let child = weir(&args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        until("requests arrive", || app.metric(SUCCESSES) > 10.0).await;
        assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
        let run = tokio::task::spawn_blocking(move || child.wait_with_output().unwrap()).await.unwrap();
        assert_eq!(run.status.code(), Some(130), "{}", text(&run.stderr));
        let report: Value = serde_json::from_slice(&run.stdout).unwrap();
        let step = &report["steps"][0];
        assert_consistent(step);
        assert_eq!(report["interrupted"], true);
        assert!(step["good"].as_u64().unwrap() > 0 && step["unsent"].as_u64().unwrap() < 300_000, "{step}");
        assert!(text(&run.stderr).contains("p99"), "{}", text(&run.stderr));
    }
}

#[tokio::test]
async fn the_engine_alone_is_measured_batch_by_batch() {
    let bundled = bundled_models();
    let folder = TempDir::new().unwrap();
    let svg = folder.path().join("engine.svg").display().to_string();
    let short = ["--duration", "20ms", "--warmup", "1ms"];
    for (model, batches) in [("mnist-mlp", "1,8"), ("mnist-mlp/1", "3"), ("mnist-mlp/1/model.onnx", "2")] {
        let path = bundled.join(model).display().to_string();
        let args = [&["engine", &path, "--batch", batches, "--threads", "2", "--svg", &svg][..], &short].concat();
        let (report, said) = report(0, &args).await;
        assert_eq!(
            (&report["kind"], &report["target"]["inputs"][0]["shape"]),
            (&"engine".into(), &serde_json::json!(["N", 1, 28, 28]))
        );
        let steps = report["steps"].as_array().unwrap();
        assert_eq!(steps.len(), batches.split(',').count());
        for step in steps {
            let number = |key: &str| step[key].as_u64().unwrap();
            assert!(number("runs") > 0 && number("samples") == number("runs") * number("batch"), "{step}");
            assert!(step["latency_ms"]["p50"].as_f64().unwrap() > 0.0 && step["threads"] == 2, "{step}");
        }
        assert!(said.contains("samples/s"), "{said}");
        assert!(std::fs::read_to_string(&svg).unwrap().contains("percentiles"));
    }
    let models = bundled.display().to_string();
    let by_name = ["engine", "mnist-mlp", "--models", &models, "--batch", "1", "--slo", "p99<=0.001us"];
    report(6, &[&by_name[..], &short].concat()).await;
}

#[tokio::test]
async fn a_profile_tells_the_time_by_node_and_by_operation() {
    let path = bundled_models().join("mnist-mlp").display().to_string();
    let args = ["engine", &path, "--profile", "--duration", "50ms", "--warmup", "1ms"];
    let (report, said) = report(0, &args).await;
    assert_eq!((report["steps"].as_array().unwrap().len(), &report["steps"][0]["batch"]), (1, &1.into()));
    let profile = &report["steps"][0]["profile"];
    let number = |value: &Value, key: &str| value[key].as_f64().unwrap_or_else(|| panic!("{key}: {value}"));
    let rows = |key: &str| profile[key].as_array().unwrap().clone();
    for key in ["kinds", "nodes"] {
        let inside: f64 = rows(key).iter().map(|row| number(row, "ms")).sum();
        let whole = number(profile, "run_ms");
        assert!((inside + number(profile, "outside_ms") - whole).abs() < 1e-3 * whole, "{key}: {profile}");
    }
    let product = rows("nodes").into_iter().find(|row| !row["gflops"].is_null()).unwrap();
    assert!(number(&product, "gflops") > 0.0 && number(&product, "peak_share") > 0.0, "{product}");
    assert!(product["kernel"] == "packed" && !product["shape"].as_array().unwrap().is_empty(), "{product}");
    for expected in ["of peak", "no fast kernel (generic)", product["node"].as_str().unwrap()] {
        assert!(said.contains(expected), "{expected} in {said}");
    }
    let refused = bench(&[&args[..], &["--threads", "2"]].concat()).await;
    assert_eq!((refused.status.code(), text(&refused.stderr).contains("--threads")), (Some(2), true));
}

#[tokio::test]
async fn a_folder_stands_for_its_newest_version() {
    let root = bare_model("half", &half_plus_two());
    add_bare_model(root.path(), "half", 9, &half_plus_two());
    add_bare_model(root.path(), "half", 10, &half_plus_two());
    let folder = root.path().join("half").display().to_string();
    let args = ["engine", &folder, "--batch", "1,2", "--duration", "5ms", "--warmup", "0s"];
    let (report, _) = report(0, &args).await;
    assert!(report["target"]["model"].as_str().unwrap().ends_with("half/10"), "{report}");
}

/// Triton's repositories may call the graph something else.
#[tokio::test]
async fn the_file_that_a_config_names_is_the_graph() {
    let root = bare_model("half", &half_plus_two());
    let folder = root.path().join("half");
    std::fs::rename(folder.join("1/model.onnx"), folder.join("1/graph.onnx")).unwrap();
    std::fs::write(folder.join("config.pbtxt"), "default_model_filename: \"graph.onnx\"\n").unwrap();
    for model in [folder.clone(), folder.join("1")] {
        let model = model.display().to_string();
        let args = ["engine", &model, "--batch", "1", "--duration", "5ms", "--warmup", "0s"];
        let (report, _) = report(0, &args).await;
        assert!(report["target"]["model"].as_str().unwrap().ends_with("half/1"), "{report}");
    }
}

/// The library would report to its maker; a file that is no library at all shows that it was allowed to be loaded.
#[tokio::test]
async fn onnx_runtime_is_kept_from_reporting_without_being_asked() {
    let root = bare_model("half", &half_plus_two());
    let model = root.path().join("half").display().to_string();
    let library = root.path().join("libonnxruntime.so");
    std::fs::write(&library, "no library").unwrap();
    let args = ["engine", &model, "--engine", "onnxruntime", "--onnxruntime", library.to_str().unwrap()];
    for (set, expected) in [(None, "not a library"), (Some("0"), "not a library")] {
        let mut command = weir(&args);
        command.env_remove("ORT_DISABLE_TELEMETRY").envs(set.map(|value| ("ORT_DISABLE_TELEMETRY", value)));
        let run = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
        let said = text(&run.stderr);
        assert_eq!(run.status.code(), Some(2), "{said}");
        // A static program says that it cannot load one, whatever the file is.
        assert!(said.contains(expected) || said.contains("linked statically"), "{said}");
    }
}

/// Every key of a report is in the help: that is where they are documented.
#[tokio::test]
async fn every_key_of_the_reports_is_documented() {
    fn keys(value: &Value, found: &mut Vec<String>) {
        match value {
            Value::Object(fields) => {
                for (key, value) in fields {
                    if !key.bytes().all(|byte| byte.is_ascii_digit()) {
                        found.push(key.clone());
                    }
                    keys(value, found);
                }
            }
            Value::Array(items) => items.iter().for_each(|item| keys(item, found)),
            _ => {}
        }
    }
    let app = TestApp::start().await;
    let url = predict(&app);
    let model = bundled_models().join("mnist-mlp").display().to_string();
    for (what, args) in [
        ("http", &["http", &url, "-n", "20", "--rate", "1000", "--slo", "p99<=1h"][..]),
        ("engine", &["engine", &model, "--batch", "1", "-d", "5ms", "--warmup", "0s", "--slo", "p99<=1h"]),
    ] {
        let help = text(&bench(&[what, "--help"]).await.stdout);
        assert!(help.contains("exit code"), "{help}");
        let (report, _) = report(0, args).await;
        let mut found = Vec::new();
        keys(&report, &mut found);
        assert!(found.len() > 30, "{found:?}");
        for key in found {
            assert!(help.contains(&key), "{key} in the help of {what}");
        }
    }
}
