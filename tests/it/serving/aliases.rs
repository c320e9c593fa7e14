//! Aliases: what their callers count on, and what becomes of them when their version is gone.

use std::fs;

use serde_json::{Value, json};
use tempfile::TempDir;
use weir::config::AliasFallback;
use weir::serving::State;

use crate::fixtures::{add_bare_model, bare_model, constant, half_plus_two, node, onnx};
use crate::support::TestApp;

/// y = x + c for rows of so many numbers.
fn plus(width: i64, c: f32) -> Vec<u8> {
    onnx(&[width], vec![node("Add", &["x", "c"], "y")], vec![constant("c", &[1], &[c])])
}

async fn promote(app: &TestApp, body: Value) -> (u16, Value) {
    let answer = app.post_json("/models/m/promote", &body).await;
    (answer.status.as_u16(), answer.json())
}

/// Returns the first number of the answer to 1.
async fn ask(app: &TestApp, path: &str) -> Result<f64, u16> {
    let answer = app.post_json(path, &json!({"instances": [[1.0]]})).await;
    match answer.status.as_u16() {
        200 => Ok(answer.json()["predictions"][0]["outputs"]["y"][0].as_f64().unwrap()),
        other => Err(other),
    }
}

#[tokio::test]
async fn an_alias_moves_to_a_changed_version_only_if_that_is_said() {
    let models = bare_model("m", &plus(1, 1.0));
    add_bare_model(models.path(), "m", 2, &plus(2, 1.0));
    add_bare_model(models.path(), "m", 3, &plus(1, 3.0));
    let app = TestApp::with_temp(models, |_| {}).await;
    let (status, first) = promote(&app, json!({"alias": "stable", "version": 1})).await;
    assert_eq!((status, &first["changes"]), (200, &Value::Null), "the first version of an alias changes nothing");
    let (status, problem) = promote(&app, json!({"alias": "stable", "version": 2})).await;
    assert_eq!(status, 409);
    let detail = problem["detail"].as_str().unwrap();
    for part in ["input \"x\" is float32 [2] instead of float32 [1]", "output \"y\"", "allow_changes"] {
        assert!(detail.contains(part), "{detail}");
    }
    assert_eq!(ask(&app, "/models/m/predict").await, Ok(2.0), "it points where it pointed");
    assert_eq!(promote(&app, json!({"alias": "stable", "version": 3})).await.0, 200, "trained anew");
    let (status, moved) = promote(&app, json!({"alias": "stable", "version": 2, "allow_changes": true})).await;
    assert_eq!((status, moved["changes"].as_array().unwrap().len()), (200, 2), "{moved}");
    let back = app.post_json("/models/m/rollback", &json!({"alias": "stable"})).await;
    assert_eq!((back.status.as_u16(), back.json()["version"].as_u64()), (200, Some(3)), "the way back needs no word");
    assert_eq!(back.json()["changes"].as_array().unwrap().len(), 2);
}

/// A server whose `stable` was moved from 1 over 2 to 3, whose folder is gone.
async fn broken(fallback: AliasFallback) -> (TestApp, TempDir) {
    let models = bare_model("m", &half_plus_two());
    for version in [2, 4] {
        add_bare_model(models.path(), "m", version, &plus(1, version as f32));
    }
    let aliases = json!({"generation": 3, "aliases": {"stable": {"version": 3, "history": [1, 2]}}});
    fs::write(models.path().join("m/aliases.json"), aliases.to_string()).unwrap();
    let kept = TempDir::new().unwrap();
    let app = TestApp::with_temp(models, |options| options.alias_fallback = Some(fallback)).await;
    (app, kept)
}

#[tokio::test]
async fn an_alias_to_a_version_that_is_gone_is_told_and_answered_as_the_policy_says() {
    for (fallback, answer, said) in [
        (AliasFallback::None, Err(404), "requests for it are refused"),
        (AliasFallback::Previous, Ok(3.0), "version 2 answers for it"),
        (AliasFallback::Latest, Ok(5.0), "version 4 answers for it"),
    ] {
        let (app, _kept) = broken(fallback).await;
        for path in ["/models/m/predict", "/models/m/versions/stable/predict", "/predict"] {
            let got = ask(&app, path).await;
            assert_eq!(got, answer, "{fallback:?} {path}");
        }
        assert_eq!(app.metric("weir_broken_aliases"), 1.0);
        let ready = app.get("/readyz?verbose").await.json();
        let told = ready["broken_aliases"]["m/stable"].as_str().unwrap();
        assert!(told.contains("version 3") && told.contains("not in the repository") && told.contains(said), "{told}");
        add_bare_model(&app.models(), "m", 3, &plus(1, 30.0));
        for _ in 0..2 {
            app.refresh().await;
        }
        app.wait_for("m", 3, State::Available).await;
        assert_eq!(ask(&app, "/models/m/predict").await, Ok(31.0));
        assert_eq!(app.metric("weir_broken_aliases"), 0.0);
    }
}
