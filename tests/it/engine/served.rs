//! What the engines say reaches clients in words, and graphs of unusual edges are served.

use serde_json::{Value, json};
use weir::config::EngineChoice;

use super::onnxruntime;
use super::shapes::{FLOAT, INT64, ints, with};
use crate::fixtures::{Edge, add_bare_model, bare_model, constant, model, node};
use crate::support::TestApp;

/// The server in each engine that is here, with the same models.
async fn servers(models: &[(&str, Vec<u8>)]) -> Vec<TestApp> {
    let mut servers = Vec::new();
    let library = onnxruntime();
    let second = library.as_ref().map(|_| EngineChoice::Onnxruntime);
    for engine in std::iter::once(EngineChoice::Tract).chain(second) {
        let repository = bare_model(models[0].0, &models[0].1);
        for (name, onnx) in models {
            add_bare_model(repository.path(), name, 1, onnx);
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
    let before = plans().await;
    assert_eq!((&before["any_size"], &before["made"]), (&json!(true), &json!(0)), "{before}");
    let patience = std::time::Instant::now() + std::time::Duration::from_secs(60);
    let mut now = before;
    // Each of the first runs takes long enough to be worth a plan; the plan is made while others run.
    while now["hits"] == json!(0) {
        assert!(std::time::Instant::now() < patience, "never: {now}");
        let (status, answer) = infer(&app, "c", std::slice::from_ref(&x)).await;
        assert_eq!((status, &answer["outputs"][0]["data"][7]), (200, &json!(49.0)));
        now = plans().await;
    }
    assert_eq!((&now["made"], &now["kept"], &now["waited"]), (&json!(1), &json!(1), &json!(0)), "{now}");
}
