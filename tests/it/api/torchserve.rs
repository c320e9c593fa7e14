//! TorchServe's inference and management APIs.

use std::net::SocketAddr;

use axum::body::Body;
use axum::http::{Method, Request};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use weir::api::Shutdown;
use weir::app::{App, Listeners, StopReason};
use weir::config::ServeOptions;

use crate::fixtures::{
    bare_model, half_plus_two, mnist, png_of_test_image, scalar_plus_one, sum_and_difference, weighted_sums,
};
use crate::support::{Answer, TestApp, alike, bundled_models};

const JSON: &str = "application/json";

fn error(answer: &Answer, status: u16, kind: &str) -> String {
    assert_eq!(answer.status.as_u16(), status, "{}", answer.text());
    assert_eq!(answer.headers["content-type"], JSON);
    let body = answer.json();
    assert_eq!((&body["code"], &body["type"]), (&json!(status), &json!(kind)), "{body}");
    body["message"].as_str().unwrap().to_owned()
}

/// The status and body of what a listener answers.
async fn get_at(address: SocketAddr, path: &str) -> (u16, Value) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head[9..12].parse().unwrap(), serde_json::from_str(body).unwrap())
}

fn form(name: &str, content: &[u8]) -> Vec<u8> {
    let head = format!("--b\r\ncontent-disposition: form-data; name=\"{name}\"; filename=\"f\"\r\n\r\n");
    [head.as_bytes(), content, b"\r\n--b--\r\n"].concat()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_is_answered_with_its_five_most_probable_labels() {
    let app = TestApp::start().await;
    let image = png_of_test_image(0);
    let text = STANDARD.encode(&image);
    let pixels = crate::fixtures::pixels(&mnist().test, 0);
    let raw: Vec<u8> = pixels.iter().flat_map(|&pixel| f32::from(pixel).to_le_bytes()).collect();
    let path = "/predictions/mnist-mlp";
    let expected = app.post(path, "", image.clone()).await;
    let text_of = expected.text();
    let labels: Vec<&str> = text_of.split('"').skip(1).step_by(2).collect();
    assert_eq!((labels[0], labels.len()), ("7", 5), "{text_of}");
    assert!(text_of.starts_with("{\n  \"7\": 0.99"), "{text_of}");
    assert_eq!(expected.headers["content-type"], JSON);
    let put = Request::put("/predictions/mnist-mlp/1").body(Body::from(image.clone())).unwrap();
    let multipart = "multipart/form-data; boundary=b";
    for answer in [
        app.send(put).await,
        app.post("/predictions/mnist-mlp/1.0", "image/png", image.clone()).await,
        app.post(path, multipart, form("data", &image)).await,
        app.post(path, multipart, form("body", &image)).await,
        app.post(path, JSON, json!(text).to_string()).await,
        app.post(path, JSON, json!({"data": text, "more": [1]}).to_string()).await,
        app.post(path, JSON, json!({"body": {"b64": text}}).to_string()).await,
        app.post(path, "", json!({"image": {"b64": text}}).to_string()).await,
        app.post(path, "", json!(pixels).to_string()).await,
        app.post(path, JSON, json!({"data": pixels}).to_string()).await,
        app.post(path, "application/octet-stream", raw).await,
    ] {
        assert_eq!((answer.status.as_u16(), answer.text()), (200, text_of.clone()));
    }
    let several = app.post(path, JSON, json!([{"b64": text}, {"b64": text}]).to_string()).await;
    assert!(alike(&several.json(), &json!([expected.json(), expected.json()])), "{}", several.text());
    let several = app.post(path, JSON, json!([pixels, pixels]).to_string()).await;
    assert!(alike(&several.json(), &json!([expected.json(), expected.json()])), "{}", several.text());
    assert_eq!(app.metric("weir_http_requests_total{outcome=\"200\",protocol=\"torchserve\"}"), 14.0);
    app.assert_unharmed().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_that_does_not_classify_answers_in_plain_lists() {
    let app = TestApp::with_temp(bare_model("m", &weighted_sums(false)), |_| {}).await;
    let ask = async |app: &TestApp, body: &str| {
        let answer = app.post("/predictions/m", JSON, body.to_owned()).await;
        assert_eq!(answer.status, 200, "{body}: {}", answer.text());
        answer.text()
    };
    assert_eq!(ask(&app, "[1.0, 2.0]").await, "[\n  3.5\n]");
    assert_eq!(ask(&app, "[[1.0, 2.0], [NaN, 0]]").await, "[\n  [\n    3.5\n  ],\n  [\n    NaN\n  ]\n]");
    assert_eq!(ask(&app, "{\"data\": [1, 2]}").await, "[\n  3.5\n]");
    assert_eq!(ask(&app, "{\"x\": [1, 2]}").await, "[\n  3.5\n]");
    let flat = TestApp::with_temp(bare_model("m", &weighted_sums(true)), |_| {}).await;
    assert_eq!(ask(&flat, "[1.0, 2.0]").await, "3.5");
    let lone = TestApp::with_temp(bare_model("m", &scalar_plus_one()), |_| {}).await;
    assert_eq!(ask(&lone, "2.5").await, "3.5");
    let two = TestApp::with_temp(bare_model("m", &sum_and_difference()), |_| {}).await;
    let answer: Value = serde_json::from_str(&ask(&two, "{\"b\": [3, 4], \"a\": [1, 2]}").await).unwrap();
    assert_eq!(answer, json!({"sum": [4, 6], "difference": [-2, -2]}));
    let half = TestApp::with_temp(bare_model("m", &half_plus_two()), |_| {}).await;
    let raw: Vec<u8> = [1.0f32, 3.0].iter().flat_map(|number| number.to_le_bytes()).collect();
    let answer = half.post("/predictions/m", "application/octet-stream", raw).await;
    assert_eq!(answer.json(), json!([[2.5], [3.5]]));
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_requests_are_answered_in_torchserves_shape() {
    let app = TestApp::start().await;
    let post = async |path: &str, content_type: &str, body: &[u8]| app.post(path, content_type, body.to_vec()).await;
    let missing = "ModelNotFoundException";
    let answer = post("/predictions/none", "", b"x").await;
    assert_eq!(error(&answer, 404, missing), "Model not found: none");
    for version in ["2", "2.0", "canary", "../x", "0"] {
        let path = format!("/predictions/mnist-mlp/{}", version.replace('/', "%2F"));
        let text = error(&post(&path, "", b"x").await, 404, missing);
        assert_eq!(text, format!("Model version: {version} does not exist for model: mnist-mlp"));
    }
    assert_eq!(error(&post("/predictions/..", "", b"x").await, 404, missing), "Model not found: ..");
    let path = "/predictions/mnist-mlp";
    let bad = "BadRequestException";
    error(&post(path, "", b"").await, 400, bad);
    error(&post(path, "", b"text").await, 415, bad);
    error(&post(path, "image/png", b"\x89PNGx").await, 415, bad);
    error(&post(path, JSON, b"{").await, 400, bad);
    error(&post(path, JSON, b"[1,2]").await, 400, bad);
    error(&post(path, JSON, b"{}").await, 400, bad);
    error(&post(path, JSON, b"{\"data\":\"!\"}").await, 400, bad);
    error(&post(path, "application/octet-stream", b"123").await, 400, bad);
    error(&post(path, "multipart/form-data", b"x").await, 400, bad);
    let multipart = "multipart/form-data; boundary=b";
    assert!(error(&post(path, multipart, &form("file", b"x")).await, 400, bad).contains("\"data\""));
    let deep = "[".repeat(250_000);
    error(&post(path, JSON, deep.as_bytes()).await, 400, bad);
    error(&post(path, "", &vec![0; 11 << 20]).await, 413, bad);
    error(&app.get("/predictions/mnist-mlp/1.0").await, 405, "MethodNotAllowedException");
    app.get(path).await.assert_problem(404);
    error(&post("/explanations/none", "", b"x").await, 404, "ModelNotFoundException");
    error(&app.get("/explanations/mnist-mlp").await, 405, "MethodNotAllowedException");
    error(&app.get("/predictions").await, 404, missing);
    app.assert_unharmed().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn health_and_the_description_are_where_torchserve_has_them() {
    let mut app = TestApp::start().await;
    let ping = app.get("/ping").await;
    assert_eq!((ping.status.as_u16(), ping.json()), (200, json!({"status": "Healthy"})));
    let options = Request::builder().method(Method::OPTIONS).uri("/").body(Body::empty()).unwrap();
    let description = app.send(options).await;
    assert_eq!((description.status.as_u16(), description.json()), (200, app.get("/openapi.json").await.json()));
    app.state.health().drain();
    error(&app.get("/ping").await, 503, "ServiceUnavailableException");
    app.ask_to_stop(StopReason::Interrupt);
}

#[tokio::test(flavor = "multi_thread")]
async fn management_tells_of_models_on_its_own_listener() {
    let state = tempfile::TempDir::new().unwrap();
    let options = ServeOptions {
        models: Some(bundled_models()),
        state_dir: Some(state.path().to_owned()),
        probe_interval_seconds: Some(0.0),
        grace_seconds: Some(0.0),
        tune: Some(false),
        ..ServeOptions::default()
    };
    let (listener, management) =
        (TcpListener::bind("127.0.0.1:0").await.unwrap(), TcpListener::bind("127.0.0.1:0").await.unwrap());
    let address = management.local_addr().unwrap();
    let app = App::new(options.resolve().unwrap()).unwrap();
    let listeners = Listeners { http: listener, grpc: None, torchserve_management: Some(management), ops: None };
    app.load().unwrap();
    App::settled(app.state().predictor()).await;
    let (stop, stopped) = oneshot::channel();
    let served = tokio::spawn(app.run(listeners, async move { stopped.await.unwrap_or(StopReason::Interrupt) }));
    let get = async |path: &str| get_at(address, path).await;
    let (status, body) = get("/models").await;
    assert_eq!(
        (status, body),
        (200, json!({"models": [{"modelName": "mnist-mlp", "modelUrl": "mnist-mlp/1/model.onnx"}]}))
    );
    let (_, page) = get("/models?limit=1&next_page_token=1").await;
    assert_eq!(page, json!({"models": []}));
    for path in ["/models/mnist-mlp", "/models/mnist-mlp/1.0", "/models/mnist-mlp/all"] {
        let (status, body) = get(path).await;
        assert_eq!(
            (status, &body[0]["modelName"], &body[0]["modelVersion"]),
            (200, &json!("mnist-mlp"), &json!("1")),
            "{path}"
        );
        assert_eq!(body[0]["workers"], json!([{"id": "1", "status": "READY", "gpu": false}]));
    }
    for (path, status, kind) in [
        ("/models/none", 404, "ModelNotFoundException"),
        ("/models/mnist-mlp/9", 404, "ModelNotFoundException"),
        ("/models?limit=0", 400, "BadRequestException"),
        ("/predict", 404, "ModelNotFoundException"),
    ] {
        let (got, body) = get(path).await;
        assert_eq!((got, &body["code"], &body["type"]), (status, &json!(status), &json!(kind)), "{path}");
    }
    stop.send(StopReason::Interrupt).unwrap();
    assert_eq!(served.await.unwrap().unwrap(), Shutdown::Clean);
}
