//! Models on TensorFlow Serving's and KServe's paths: status, versions, labels, other origins.

use axum::body::Body;
use axum::http::{Method, Request};
use serde_json::json;
use weir::serving::State;

use crate::fixtures::{add_bare_model, bare_model, half_plus_two, weighted_sums};
use crate::support::{Answer, TestApp};

const QUESTION: &str = r#"{"instances":[[1.0]]}"#;

async fn predict(app: &TestApp, target: &str) -> Answer {
    app.post(&format!("/v1/models/{target}:predict"), "", QUESTION).await
}

#[tokio::test(flavor = "multi_thread")]
async fn states_are_told_newest_first() {
    let models = bare_model("m", &half_plus_two());
    add_bare_model(models.path(), "m", 2, b"no model");
    add_bare_model(models.path(), "other", 7, &half_plus_two());
    let app = TestApp::with_temp(models, |_| {}).await;
    let answer = app.get("/v1/models/m").await;
    assert_eq!((answer.status.as_u16(), &answer.headers["content-type"]), (200, &"application/json".parse().unwrap()));
    let status = answer.json();
    let first = &status["model_version_status"][0];
    assert_eq!((&first["version"], &first["state"]), (&json!("2"), &json!("END")));
    assert_eq!(first["status"]["error_code"], "INTERNAL");
    assert!(first["status"]["error_message"].as_str().is_some_and(|message| !message.is_empty()), "{status}");
    let serving = json!({"version": "1", "state": "AVAILABLE", "status": {"error_code": "OK", "error_message": ""}});
    assert_eq!(status["model_version_status"][1], serving);
    assert_eq!((&status["name"], &status["ready"]), (&json!("m"), &json!(true)));
    let exact = app.get("/v1/models/m/versions/1").await.text();
    let expected = "{\n \"model_version_status\": [\n  {\n   \"version\": \"1\",\n   \"state\": \"AVAILABLE\",\n   \"status\": {\n    \"error_code\": \"OK\",\n    \"error_message\": \"\"\n   }\n  }\n ],\n \"name\": \"m\",\n \"ready\": true\n}";
    assert_eq!(exact, expected);
    assert_eq!(app.get("/v1/models/m/versions/2").await.json()["ready"], false);
    assert_eq!(app.get("/v1/models").await.json(), json!({"models": ["m", "other"]}));
}

#[tokio::test(flavor = "multi_thread")]
async fn metadata_is_the_signature() {
    let app = TestApp::with_temp(bare_model("m", &weighted_sums(true)), |_| {}).await;
    let tensor = |name: &str, sizes: &[&str]| {
        let dim: Vec<_> = sizes.iter().map(|size| json!({"size": size, "name": ""})).collect();
        json!({"dtype": "DT_FLOAT", "tensor_shape": {"dim": dim, "unknown_rank": false}, "name": name})
    };
    let expected = json!({
        "model_spec": {"name": "m", "signature_name": "", "version": "1"},
        "metadata": {"signature_def": {"signature_def": {"serving_default": {
            "inputs": {"x": tensor("x:0", &["-1", "2"])},
            "outputs": {"y": tensor("y:0", &["-1"])},
            "method_name": "tensorflow/serving/predict"
        }}}}
    });
    for path in ["/v1/models/m/metadata", "/v1/models/m/versions/1/metadata"] {
        assert_eq!(app.get(path).await.json(), expected, "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_label_is_an_alias_and_silence_means_stable_or_newest() {
    let models = bare_model("m", &half_plus_two());
    add_bare_model(models.path(), "m", 2, &half_plus_two());
    let app = TestApp::with_temp(models, |_| {}).await;
    let version = |answer: Answer| answer.json()["model_spec"]["version"].clone();
    assert_eq!(version(app.get("/v1/models/m/metadata").await), "2");
    let refused = predict(&app, "m/labels/canary").await;
    assert_eq!(refused.status, 400);
    assert_eq!(refused.json(), json!({"error": "Unrecognized servable version label: canary"}));
    for alias in ["canary", "stable"] {
        let moved = app.post_json("/models/m/promote", &json!({"alias": alias, "version": 1})).await;
        assert_eq!(moved.status, 200, "{}", moved.text());
    }
    assert_eq!(predict(&app, "m/labels/canary").await.json(), json!({"predictions": [[2.5]]}));
    assert_eq!(version(app.get("/v1/models/m/labels/canary/metadata").await), "1");
    assert_eq!(version(app.get("/v1/models/m/metadata").await), "1");
    assert_eq!(app.get("/v1/models/m/labels/canary").await.json()["model_version_status"][0]["version"], "1");
    assert_eq!(predict(&app, "m/versions/2").await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_unloaded_is_not_found_and_says_why() {
    let app = TestApp::with_temp(bare_model("m", &half_plus_two()), |_| {}).await;
    assert_eq!(app.post_json("/models/m/unload", &json!({})).await.status, 200);
    app.wait_for("m", 1, State::End).await;
    let gone = predict(&app, "m").await;
    assert_eq!(gone.status, 404);
    let text = gone.json()["error"].as_str().unwrap().to_owned();
    assert!(text.starts_with("Servable not found for request: Latest(m) ("), "{text}");
    let status = app.get("/v1/models/m").await.json();
    assert_eq!(status["ready"], false);
    assert_eq!(status["model_version_status"][0]["state"], "END");
    assert_eq!(status["model_version_status"][0]["status"]["error_code"], "OK");
}

#[tokio::test(flavor = "multi_thread")]
async fn other_origins_are_let_in_only_when_asked() {
    let preflight = |path: &str| {
        let request = Request::builder().method(Method::OPTIONS).uri(path).header("origin", "http://x");
        request.body(Body::empty()).unwrap()
    };
    let app = TestApp::with_temp(bare_model("m", &half_plus_two()), |_| {}).await;
    assert_eq!(app.send(preflight("/v1/models/m:predict")).await.status, 400);
    assert!(!predict(&app, "m").await.headers.contains_key("access-control-allow-origin"));
    let app = TestApp::with_temp(bare_model("m", &half_plus_two()), |options| options.cors = Some(true)).await;
    for answer in
        [app.send(preflight("/v1/models/m:predict")).await, predict(&app, "m").await, predict(&app, "none").await]
    {
        assert_eq!(answer.headers["access-control-allow-origin"], "*");
        assert_eq!(answer.headers["access-control-allow-methods"], "POST, GET");
        assert_eq!(answer.headers["access-control-allow-headers"], "Content-Type, Authorization, X-API-Key");
    }
    assert_eq!(app.send(preflight("/v1/models/m:predict")).await.status, 200);
    // Nothing that changes the server is opened.
    for path in ["/models/m/promote", "/predict", "/metrics"] {
        assert!(!app.send(preflight(path)).await.headers.contains_key("access-control-allow-origin"), "{path}");
    }
    let bare = Request::builder().method(Method::OPTIONS).uri("/v1/models/m:predict").body(Body::empty()).unwrap();
    assert_eq!(app.send(bare).await.status, 400);
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_are_counted_as_tensorflow_servings_and_metrics_are_where_it_has_them() {
    let app = TestApp::with_temp(bare_model("m", &half_plus_two()), |_| {}).await;
    assert_eq!(predict(&app, "m").await.status, 200);
    assert_eq!(predict(&app, "none").await.status, 404);
    assert_eq!(app.metric("weir_http_requests_total{outcome=\"200\",protocol=\"tfserving\"}"), 1.0);
    assert_eq!(app.metric("weir_http_requests_total{outcome=\"404\",protocol=\"tfserving\"}"), 1.0);
    assert_eq!(app.metric("weir_inference_requests_total{model=\"m\",outcome=\"success\",version=\"1\"}"), 1.0);
    let metrics = app.get("/monitoring/prometheus/metrics").await;
    assert!(metrics.status == 200 && metrics.text().contains("weir_http_requests_total"));
    assert_eq!(metrics.headers["content-type"], app.get("/metrics").await.headers["content-type"]);
}
