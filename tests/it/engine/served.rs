//! What the engines say reaches clients in words, and graphs of unusual edges are served.

use axum::body::Body;
use axum::http::Request;
use serde_json::{Value, json};
use weir::config::EngineChoice;

use super::onnxruntime;
use super::shapes::{FLOAT, INT64, ints, with};
use crate::fixtures::{Edge, add_bare_model, bare_model, constant, model, node};
use crate::support::TestApp;

/// The server in each engine that is here, with the same models.
async fn servers(models: &[(&str, Vec<u8>)]) -> Vec<TestApp> {
    servers_with(models, "").await
}

/// The server in each engine that is here; all models have the same settings in `model.toml`.
async fn servers_with(models: &[(&str, Vec<u8>)], settings: &str) -> Vec<TestApp> {
    let mut servers = Vec::new();
    let library = onnxruntime();
    let second = library.as_ref().map(|_| EngineChoice::Onnxruntime);
    for engine in std::iter::once(EngineChoice::Tract).chain(second) {
        let repository = bare_model(models[0].0, &models[0].1);
        for (name, onnx) in models {
            add_bare_model(repository.path(), name, 1, onnx);
            if !settings.is_empty() {
                std::fs::write(repository.path().join(name).join("model.toml"), settings).unwrap();
            }
        }
        let library = library.clone();
        let app = TestApp::with_temp(repository, |options| {
            options.engine = Some(engine);
            options.onnxruntime = library;
        });
        servers.push(app.await);
    }
    servers
}

fn tensor(name: &str, datatype: &str, shape: &[usize], data: &Value) -> Value {
    json!({"name": name, "datatype": datatype, "shape": shape, "data": data})
}

async fn infer(app: &TestApp, model: &str, inputs: &[Value]) -> (u16, Value) {
    let answer = app.post_json(&format!("/v2/models/{model}/infer"), &json!({"inputs": inputs})).await;
    (answer.status.as_u16(), answer.json())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_input_at_fault_is_400_with_the_reason_and_nothing_of_the_engines_code() {
    let table: [Edge<'_>; 1] = [("ids", INT64, Some(&["N", "L"]))];
    let embed = model(
        &table,
        &[("y", FLOAT, Some(&["N", "L", "2"]))],
        vec![node("Gather", &["e", "ids"], "y")],
        vec![constant("e", &[5, 2], &[0.5; 10])],
        13,
    );
    let pairs: [Edge<'_>; 2] = [("a", FLOAT, Some(&["N", "S"])), ("b", FLOAT, Some(&["N", "S"]))];
    let product =
        model(&pairs, &[("y", FLOAT, Some(&["N", "S"]))], vec![node("Mul", &["a", "b"], "y")], Vec::new(), 13);
    for app in servers(&[("embed", embed), ("product", product)]).await {
        let (status, answer) = infer(&app, "embed", &[tensor("ids", "INT64", &[1, 2], &json!([0, 4]))]).await;
        assert_eq!(status, 200, "{answer}");
        let (status, answer) = infer(&app, "embed", &[tensor("ids", "INT64", &[1, 0], &json!([]))]).await;
        assert_eq!(status, 400, "{answer}");
        assert!(answer["error"].as_str().unwrap().contains("at least 1"), "{answer}");
        let (status, answer) = infer(&app, "embed", &[tensor("ids", "INT64", &[1, 2], &json!([0, 5]))]).await;
        let reason = answer["error"].as_str().unwrap_or_default();
        assert_eq!(status, 400, "{answer}");
        let words = "indices \"ids\": value 5 at [0, 1] is outside axis 0 of the table \"e\" (-5 to 4)";
        assert!(reason.contains(words), "{reason}");
        assert!(!reason.contains(".rs") && !reason.contains(".cc") && reason.len() < 600, "{reason}");
        let inputs = [tensor("a", "FP32", &[1, 3], &json!([1, 1, 1])), tensor("b", "FP32", &[1, 2], &json!([1, 1]))];
        let (status, answer) = infer(&app, "product", &inputs).await;
        let reason = answer["error"].as_str().unwrap_or_default();
        assert_eq!(status, 400, "{answer}");
        for part in ["\"b\"", "S", "3", "2"] {
            assert!(reason.contains(part), "{part}: {reason}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn inputs_with_a_default_may_be_left_out_and_a_model_may_have_none() {
    let inputs: [Edge<'_>; 2] = [("x", FLOAT, Some(&["N", "3"])), ("hidden", FLOAT, Some(&["3"]))];
    let default = vec![constant("hidden", &[3], &[1.0, 2.0, 3.0])];
    let shifted =
        model(&inputs, &[("y", FLOAT, Some(&["N", "3"]))], vec![node("Add", &["x", "hidden"], "y")], default, 13);
    let nodes = vec![node("Identity", &["c"], "y")];
    let fixed = model(&[], &[("y", FLOAT, Some(&["3"]))], nodes, vec![constant("c", &[3], &[1.0, 2.0, 3.0])], 13);
    for app in servers(&[("shifted", shifted), ("fixed", fixed)]).await {
        let x = tensor("x", "FP32", &[1, 3], &json!([0, 0, 0]));
        let (status, answer) = infer(&app, "shifted", std::slice::from_ref(&x)).await;
        assert_eq!((status, &answer["outputs"][0]["data"]), (200, &json!([1.0, 2.0, 3.0])), "{answer}");
        let hidden = tensor("hidden", "FP32", &[3], &json!([7, 8, 9]));
        let (status, answer) = infer(&app, "shifted", &[hidden, x]).await;
        assert_eq!((status, &answer["outputs"][0]["data"]), (200, &json!([7.0, 8.0, 9.0])), "{answer}");
        let wrong = tensor("hidden", "FP32", &[2], &json!([7, 8]));
        assert_eq!(infer(&app, "shifted", &[wrong]).await.0, 400);
        let version = app.get("/models/shifted").await.json()["versions"][0].clone();
        assert_eq!(version["optional_inputs"], json!(["hidden"]), "{version}");
        let (status, answer) = infer(&app, "fixed", &[]).await;
        assert_eq!((status, &answer["outputs"][0]["data"]), (200, &json!([1.0, 2.0, 3.0])), "{answer}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn images_of_any_size_are_served_and_those_that_are_too_small_refused() {
    let convolution = with(node("Conv", &["x", "w"], "y"), &[ints("kernel_shape", &[5, 5])]);
    let input: [Edge<'_>; 1] = [("x", FLOAT, Some(&["N", "1", "H", "W"]))];
    let output: [Edge<'_>; 1] = [("y", FLOAT, Some(&["N", "1", "H2", "W2"]))];
    let onnx = model(&input, &output, vec![convolution], vec![constant("w", &[1, 1, 5, 5], &[1.0; 25])], 13);
    for app in servers(&[("c", onnx)]).await {
        for (height, width) in [(5, 5), (6, 9), (40, 7)] {
            let x = tensor("x", "FP32", &[1, 1, height, width], &json!(vec![1.0; height * width]));
            let (status, answer) = infer(&app, "c", &[x]).await;
            assert_eq!(status, 200, "{answer}");
            assert_eq!(answer["outputs"][0]["shape"], json!([1, 1, height - 4, width - 4]));
            assert_eq!(answer["outputs"][0]["data"], json!(vec![25.0; (height - 4) * (width - 4)]));
        }
        let small = tensor("x", "FP32", &[1, 1, 3, 3], &json!(vec![1.0; 9]));
        let (status, answer) = infer(&app, "c", &[small]).await;
        assert_eq!(status, 400, "{answer}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shape_that_comes_again_gets_a_plan_of_its_own_in_the_background() {
    const SIDE: usize = 320;
    let convolution = with(node("Conv", &["x", "w"], "y"), &[ints("kernel_shape", &[7, 7])]);
    let input: [Edge<'_>; 1] = [("x", FLOAT, Some(&["N", "1", "H", "W"]))];
    let output: [Edge<'_>; 1] = [("y", FLOAT, Some(&["N", "1", "H2", "W2"]))];
    let onnx = model(&input, &output, vec![convolution], vec![constant("w", &[1, 1, 7, 7], &[1.0; 49])], 13);
    let app = TestApp::with_temp(bare_model("c", &onnx), |options| options.engine = Some(EngineChoice::Tract)).await;
    let x = tensor("x", "FP32", &[1, 1, SIDE, SIDE], &json!(vec![1.0; SIDE * SIDE]));
    let plans = async || app.get("/models/c").await.json()["versions"][0]["plans_by_shape"].clone();
    // On a busy machine the measurement at the load may be slow enough to have made a plan for its own size.
    let before = plans().await;
    assert_eq!((&before["any_size"], &before["waited"]), (&json!(true), &json!(0)), "{before}");
    let has_grown = |now: &Value, count: &str| now[count].as_u64() > before[count].as_u64();
    let patience = std::time::Instant::now() + std::time::Duration::from_secs(60);
    let mut now = before.clone();
    // Each of the first runs takes long enough to be worth a plan; the plan is made while others run.
    while !(has_grown(&now, "made") && has_grown(&now, "hits")) {
        assert!(std::time::Instant::now() < patience, "never: {now}");
        let (status, answer) = infer(&app, "c", std::slice::from_ref(&x)).await;
        assert_eq!((status, &answer["outputs"][0]["data"][7]), (200, &json!(49.0)));
        now = plans().await;
    }
    assert_eq!((&now["kept"], &now["waited"]), (&now["made"], &json!(0)), "{now}");
}

/// Convolutions on 24 channels over `x: [N, 1, H, W]`, and the mean of each channel: 10 million multiplications for an image
/// of 32 × 32, 400 times as many for one of 640 × 640.
fn convolutions() -> Vec<u8> {
    const CHANNELS: i64 = 24;
    let same = [ints("kernel_shape", &[3, 3]), ints("pads", &[1, 1, 1, 1])];
    let weights = |name: &str, dims: &[i64]| constant(name, dims, &vec![0.01; dims.iter().product::<i64>() as usize]);
    let mut nodes = vec![with(node("Conv", &["x", "first"], "c0"), &same)];
    for layer in 0..8 {
        nodes.push(with(node("Conv", &[&format!("c{layer}"), "next"], &format!("c{}", layer + 1)), &same));
    }
    nodes.push(node("GlobalAveragePool", &["c8"], "y"));
    let input: [Edge<'_>; 1] = [("x", FLOAT, Some(&["N", "1", "H", "W"]))];
    let constants = vec![weights("first", &[CHANNELS, 1, 3, 3]), weights("next", &[CHANNELS, CHANNELS, 3, 3])];
    model(&input, &[("y", FLOAT, None)], nodes, constants, 13)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_larger_than_what_was_measured_keeps_its_deadline() {
    // On the thread that received it a run would end before anybody looked at its deadline.
    let settings = "[engine.example]\nx = [1, 32, 32]\n\n[scheduling]\ninline = true\n";
    for app in servers_with(&[("c", convolutions())], settings).await {
        let tuning = app.get("/models/c").await.json()["versions"][0]["tuning"].clone();
        assert_eq!((&tuning["inline"], &tuning["costs"][0]["elements"]), (&json!(true), &json!(32 * 32)), "{tuning}");
        let ask = async |side: usize, milliseconds: &str| {
            let head = json!({"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 1, side, side],
                "parameters": {"binary_data_size": side * side * 4}}]});
            let head = head.to_string();
            let request = Request::post("/v2/models/c/infer").header("inference-header-content-length", head.len());
            let body = [head.as_bytes(), &vec![0; side * side * 4]].concat();
            app.send(request.header("x-timeout-ms", milliseconds).body(Body::from(body)).unwrap()).await
        };
        assert_eq!(ask(32, "60000").await.status, 200);
        let late = ask(640, "20").await;
        assert_eq!(late.status, 504, "{}", late.text());
        assert_eq!(app.get("/livez").await.status, 200);
    }
}
