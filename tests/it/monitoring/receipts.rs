//! Receipts: labels for answers of which a server keeps no record.

use axum::body::Body;
use axum::http::Request;
use serde_json::{Value, json};

use crate::fixtures::{mnist, pixels, png};
use crate::monitoring::{Database, databases};
use crate::support::{Answer, TestApp, bundled_models};

async fn post(app: &TestApp, path: &str, asks: bool, media: &str, body: impl Into<Body>) -> Answer {
    let request = Request::post(path).header("content-type", media);
    let request = if asks { request.header("x-weir-receipt", "1") } else { request };
    app.send(request.body(body.into()).unwrap()).await
}

async fn say(app: &TestApp, feedback: &Value) -> Answer {
    post(app, "/feedback", false, "application/json", feedback.to_string()).await
}

fn receipt(answer: &Answer) -> String {
    answer.headers["x-weir-receipt"].to_str().unwrap().to_owned()
}

async fn live(app: &TestApp) -> Value {
    app.get("/models/mnist-mlp/quality").await.json()["versions"][0].clone()
}

/// A key file that servers share.
fn key_file(folder: &tempfile::TempDir, key: &str) -> std::path::PathBuf {
    let path = folder.path().join("keys");
    std::fs::write(&path, format!("{key}\n")).unwrap();
    path
}

const KEY: &str = "0123456789abcdef0123456789abcdef";

#[tokio::test(flavor = "multi_thread")]
async fn another_server_takes_labels_by_receipt_and_its_figures_are_the_same() {
    for database in databases() {
        another_server_takes_labels_by_receipt_and_its_figures_are_the_same_on(&database).await;
    }
}

async fn another_server_takes_labels_by_receipt_and_its_figures_are_the_same_on(database: &Database) {
    let folder = tempfile::TempDir::new().unwrap();
    let key = key_file(&folder, KEY);
    let first = TestApp::with(&bundled_models(), |options| options.receipt_key_file = Some(key.clone())).await;
    let other = TestApp::with(&bundled_models(), |options| {
        options.receipt_key_file = Some(key.clone());
        options.database = database.url();
    })
    .await;
    let test = &mnist().test;
    for index in 0..20 {
        let answer = post(&first, "/predict", true, "image/png", png(28, 28, pixels(test, index))).await;
        assert_eq!(answer.status, 200);
        let (id, receipt) = (answer.json()["request_id"].clone(), receipt(&answer));
        let label = test.labels()[index];
        assert_eq!(say(&first, &json!({"request_id": id, "label": label})).await.json()["state"], "joined");
        // Without it the other server has seen nothing.
        let early = say(&other, &json!({"request_id": id, "label": label, "annotator": "early"})).await;
        assert_eq!(early.status, 202, "{}", early.text());
        let body = json!({"receipt": receipt, "label": label});
        let said = say(&other, &body).await;
        assert_eq!((said.status.as_u16(), &said.json()["state"]), (200, &json!("joined")), "{}", said.text());
        assert_eq!(say(&other, &body).await.json()["state"], "duplicate");
    }
    let (here, there) = (live(&first).await, live(&other).await);
    for figure in ["samples", "loss", "confusion", "classes"] {
        assert_eq!(here[figure], there[figure], "{figure}");
    }
    assert_eq!(here["accuracy"], there["accuracy"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_protocol_gives_receipts_to_those_who_ask() {
    let app = TestApp::start().await;
    let instances = json!({"instances": vec![vec![vec![vec![0.0; 28]; 28]; 1]; 2]}).to_string();
    let v2 =
        json!({"inputs": [{"name": "image", "datatype": "FP32", "shape": [2, 1, 28, 28], "data": vec![0.0; 1568]}]});
    for (path, media, body) in [
        ("/predict", "application/json", instances.clone().into_bytes()),
        ("/v1/models/mnist-mlp:predict", "application/json", instances.into_bytes()),
        ("/v2/models/mnist-mlp/infer", "application/json", v2.to_string().into_bytes()),
        ("/predictions/mnist-mlp", "image/png", png(28, 28, &[0; 784])),
    ] {
        assert!(!post(&app, path, false, media, body.clone()).await.headers.contains_key("x-weir-receipt"), "{path}");
        let answer = post(&app, path, true, media, body).await;
        let receipt = receipt(&answer);
        assert!(receipt.len() < 1024, "{path}: {}", receipt.len());
        let said = say(&app, &json!({"receipt": receipt, "label": 0})).await;
        assert_eq!(said.json()["state"], "joined", "{path}: {}", said.text());
        let id = answer.headers["x-request-id"].to_str().unwrap();
        assert_eq!(say(&app, &json!({"request_id": id, "label": 0})).await.json()["state"], "duplicate", "{path}");
    }
    let failed = post(&app, "/predict", true, "image/png", "no picture").await;
    assert!(!failed.headers.contains_key("x-weir-receipt"));
    let blind = TestApp::with(&bundled_models(), |options| options.monitoring = Some(false)).await;
    let answer = post(&blind, "/predict", true, "image/png", png(28, 28, &[0; 784])).await;
    assert!(answer.status == 200 && !answer.headers.contains_key("x-weir-receipt"));
}

#[tokio::test(flavor = "multi_thread")]
async fn forged_expired_and_foreign_receipts_are_refused_in_words() {
    let folder = tempfile::TempDir::new().unwrap();
    let key = key_file(&folder, KEY);
    let app = TestApp::with(&bundled_models(), |options| options.receipt_key_file = Some(key.clone())).await;
    let answer = post(&app, "/predict", true, "image/png", png(28, 28, &[0; 784])).await;
    let (good, id) = (receipt(&answer), answer.json()["request_id"].clone());
    let middle = good.len() / 2;
    let changed = if good.as_bytes()[middle] == b'A' { "B" } else { "A" };
    let forged = format!("{}{changed}{}", &good[..middle], &good[middle + 1..]);
    for (body, status, hint) in [
        (json!({"receipt": forged, "label": 0}), 422, "changed"),
        (json!({"receipt": "no receipt", "label": 0}), 422, "x-weir-receipt"),
        (json!({"receipt": "A".repeat(5000), "label": 0}), 413, "4096"),
        (json!({"receipt": good, "label": 0, "item": 1}), 422, "out of range"),
        (json!({"receipt": good, "request_id": "other", "label": 0}), 422, "another request"),
        (json!({"receipt": good, "label": 10}), 422, "0 to 9"),
        (json!({"label": 0}), 400, "request_id, or a receipt"),
    ] {
        let detail = say(&app, &body).await.assert_problem(status);
        assert!(detail.contains(hint), "{body}: {detail}");
    }
    assert_eq!(say(&app, &json!({"receipt": good, "request_id": id, "label": 0})).await.json()["state"], "joined");
    let foreign = TestApp::start().await;
    say(&foreign, &json!({"receipt": good, "label": 0})).await.assert_problem(422);
    // A server that does not know the files that answered.
    let models = crate::fixtures::bare_model("half", &crate::fixtures::half_plus_two());
    let ignorant = TestApp::with_temp(models, |options| options.receipt_key_file = Some(key.clone())).await;
    let detail = say(&ignorant, &json!({"receipt": good, "label": 0})).await.assert_problem(409);
    assert!(detail.contains("mnist-mlp"), "{detail}");
    // What was erased is not brought back.
    let path = format!("/predictions/{}", id.as_str().unwrap());
    let gone = app.send(Request::delete(path).body(Body::empty()).unwrap()).await;
    assert_eq!(gone.status, 200, "{}", gone.text());
    let detail = say(&app, &json!({"receipt": good, "label": 0})).await.assert_problem(410);
    assert!(detail.contains("erased"), "{detail}");
    // Good for a ten-thousandth of a second.
    let hasty = TestApp::with(&bundled_models(), |options| options.receipt_days = Some(1e-9)).await;
    let answer = post(&hasty, "/predict", true, "image/png", png(28, 28, &[0; 784])).await;
    let detail = say(&hasty, &json!({"receipt": receipt(&answer), "label": 0})).await.assert_problem(410);
    assert!(detail.contains("expired"), "{detail}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_has_one_receipt_for_all_its_samples_and_a_large_one_has_none() {
    let folder = tempfile::TempDir::new().unwrap();
    let key = key_file(&folder, KEY);
    let first = TestApp::with(&bundled_models(), |options| options.receipt_key_file = Some(key.clone())).await;
    let other = TestApp::with(&bundled_models(), |options| options.receipt_key_file = Some(key.clone())).await;
    let batch = |count: usize| json!({"instances": vec![vec![vec![vec![0.0; 28]; 28]; 1]; count]}).to_string();
    let answer = post(&first, "/predict", true, "application/json", batch(5)).await;
    let pieces: Vec<Value> =
        (0..5).map(|item| json!({"receipt": receipt(&answer), "item": item, "correct": true})).collect();
    assert_eq!(say(&other, &json!(pieces)).await.json()["joined"], 5);
    assert_eq!(live(&other).await["accuracy"]["judged"], 5);
    let large = post(&first, "/predict", true, "application/json", batch(60)).await;
    assert!(large.status == 200 && !large.headers.contains_key("x-weir-receipt"));
}
