//! `/predict` in all its forms, and what stands around it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use crate::fixtures::{mnist, png, png_of_test_image};
use crate::support::TestApp;

/// A form with one file part for each body.
fn form(files: &[Vec<u8>]) -> (String, Vec<u8>) {
    let mut body = Vec::new();
    for (index, file) in files.iter().enumerate() {
        body.extend(
            format!("--b\r\ncontent-disposition: form-data; name=\"image\"; filename=\"{index}.png\"\r\n\r\n").bytes(),
        );
        body.extend(file);
        body.extend(b"\r\n");
    }
    body.extend(b"--b--\r\n");
    ("multipart/form-data; boundary=b".into(), body)
}

#[tokio::test]
async fn an_image_is_classified_in_every_form_it_can_be_sent() {
    let app = TestApp::start().await;
    let image = png_of_test_image(0);
    for path in ["/predict", "/models/mnist-mlp/predict", "/models/mnist-mlp/versions/1/predict"] {
        assert_eq!(app.post(path, "image/png", image.clone()).await.labels(), ["7"], "{path}");
    }
    let (content_type, body) = form(&[image.clone(), png_of_test_image(1), png_of_test_image(2)]);
    assert_eq!(app.post("/predict", &content_type, body).await.labels(), ["7", "2", "1"]);
    let encoded = STANDARD.encode(&image);
    assert_eq!(app.post_json("/predict", &json!({"images": [encoded.clone(), encoded]})).await.labels(), ["7", "7"]);
    let pixels = crate::fixtures::pixels(&mnist().test, 0);
    let rows: Vec<&[u8]> = pixels.chunks(28).collect();
    for instance in [json!(pixels), json!(rows), json!([rows])] {
        assert_eq!(app.post_json("/predict", &json!({"instances": [instance]})).await.labels(), ["7"]);
    }
}

#[tokio::test]
async fn the_answer_has_the_documented_shape() {
    let app = TestApp::start().await;
    let answer = app.post("/predict?top_k=2", "image/png", png_of_test_image(0)).await;
    let json = answer.json();
    assert_eq!((&json["model"], &json["version"]), (&json!("mnist-mlp"), &json!(1)));
    assert_eq!(json["request_id"], answer.headers["x-request-id"].to_str().unwrap());
    let prediction = &json["predictions"][0];
    assert_eq!(
        (&prediction["class"], &prediction["label"], &prediction["inverted"]),
        (&json!(7), &json!("7"), &json!(false))
    );
    let top_k = prediction["top_k"].as_array().unwrap();
    assert_eq!(top_k.len(), 2);
    assert!(top_k[0]["confidence"].as_f64() >= top_k[1]["confidence"].as_f64());
    assert_eq!(top_k[0]["confidence"], prediction["confidence"]);
    for stage in ["decode", "queue", "infer", "total"] {
        assert!(json["timings_ms"][stage].as_f64().is_some_and(|time| time >= 0.0), "{stage}");
    }
}

#[tokio::test]
async fn settings_in_the_body_win_over_the_query() {
    let app = TestApp::start().await;
    let body = json!({"instances": [crate::fixtures::pixels(&mnist().test, 0)], "top_k": 4});
    let answer = app.post_json("/predict?top_k=2", &body).await.json();
    assert_eq!(answer["predictions"][0]["top_k"].as_array().unwrap().len(), 4);
    for bad in
        ["/predict?top_k=0", "/predict?top_k=1001", "/predict?top_k=x", "/predict?topk=1", "/predict?polarity=no"]
    {
        app.post(bad, "image/png", png_of_test_image(0)).await.assert_problem(400);
    }
}

#[tokio::test]
async fn polarity_is_found_out_and_can_be_overridden() {
    let app = TestApp::start().await;
    let negative: Vec<u8> = crate::fixtures::pixels(&mnist().test, 0).iter().map(|pixel| 255 - pixel).collect();
    let file = png(28, 28, &negative);
    let found = app.post("/predict", "image/png", file.clone()).await;
    assert_eq!((found.labels(), &found.json()["predictions"][0]["inverted"]), (vec!["7".into()], &json!(true)));
    let told = app.post("/predict?polarity=dark_on_light", "image/png", file.clone()).await;
    assert_eq!(told.json()["predictions"], found.json()["predictions"]);
    let wrong = app.post("/predict?polarity=light_on_dark", "image/png", file).await;
    assert_eq!(wrong.json()["predictions"][0]["inverted"], json!(false));
    assert_ne!(wrong.json()["predictions"], found.json()["predictions"]);
}

#[tokio::test]
async fn a_target_that_does_not_exist_is_a_404_that_says_what_to_do() {
    let app = TestApp::start().await;
    for (path, hint) in [
        ("/models/nothing/predict", "GET /models lists"),
        ("/models/mnist-mlp/versions/99/predict", "GET /models/mnist-mlp lists"),
    ] {
        let detail = app.post(path, "image/png", png_of_test_image(0)).await.assert_problem(404);
        assert!(detail.contains(hint), "{detail}");
    }
    app.get("/models/nothing").await.assert_problem(404);
}

#[tokio::test]
async fn what_is_loaded_is_described() {
    let app = TestApp::start().await;
    let list = app.get("/models").await.json();
    assert_eq!(list["default_model"], "mnist-mlp");
    assert_eq!(list["models"][0], app.get("/models/mnist-mlp").await.json());
    let version = &list["models"][0]["versions"][0];
    assert_eq!((&version["state"], &version["tuning"]["engine"]), (&json!("AVAILABLE"), &json!("tract")));
    assert_eq!(version["signature"]["inputs"][0]["shape"], json!(["N", 1, 28, 28]));
    assert!(version["metrics"]["test"]["accuracy"].as_f64().unwrap() > 0.95);
}

#[tokio::test]
async fn every_request_is_counted_once_by_its_outcome() {
    let app = TestApp::start().await;
    let image = png_of_test_image(0);
    app.post("/predict", "image/png", image.clone()).await;
    app.post("/predict", "image/png", image[..100].to_vec()).await.assert_problem(422);
    let count = |outcome: &str| {
        app.metric(&format!("weir_inference_requests_total{{model=\"mnist-mlp\",outcome=\"{outcome}\",version=\"1\"}}"))
    };
    assert_eq!((count("success"), count("invalid_input"), count("error")), (1.0, 1.0, 0.0));
    assert_eq!(app.metric("weir_http_requests_total{outcome=\"422\",protocol=\"weir\"}"), 1.0);
    assert_eq!(
        app.metric("weir_inference_stage_duration_seconds_count{model=\"mnist-mlp\",stage=\"encode\",version=\"1\"}"),
        1.0
    );
}

/// The only thread for long work is taken, so a long body waits for it, and whoever asks meanwhile is answered.
#[test]
fn long_bodies_are_not_read_on_the_threads_that_answer() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().max_blocking_threads(1).build().unwrap();
    runtime.block_on(async {
        let app = TestApp::start().await;
        let (taken, until) = std::sync::mpsc::channel::<()>();
        let long_work = tokio::task::spawn_blocking(move || until.recv());
        // It breaks off at its end, so that whoever reads it refuses it at once.
        let body = format!("{{\"instances\":[[{}", "0,".repeat(200_000));
        let mut refused = std::pin::pin!(app.post("/predict", "application/json", body));
        for _ in 0..10 {
            tokio::select! {
                biased;
                answer = &mut refused => panic!("read on the thread that answers: {}", answer.text()),
                answer = app.get("/livez") => assert_eq!(answer.status, 200),
            }
        }
        drop(taken);
        refused.await.assert_problem(400);
        assert!(long_work.await.unwrap().is_err());
    });
}
