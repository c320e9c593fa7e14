//! Names of models, folders and graphs: which are served, and what is said of the others.

use std::fs;

use serde_json::json;
use tempfile::TempDir;
use weir::serving::State;

use crate::fixtures::{add_bare_model, constant, half_plus_two, node, onnx};
use crate::support::TestApp;

/// y = x + c.
fn plus(c: f32) -> Vec<u8> {
    onnx(&[1], vec![node("Add", &["x", "c"], "y")], vec![constant("c", &[1], &[c])])
}

fn write(root: &TempDir, path: &str, bytes: &[u8]) {
    let path = root.path().join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, bytes).unwrap();
}

#[tokio::test]
async fn the_numbers_of_versions_may_have_leading_zeros_and_be_zero() {
    let models = TempDir::new().unwrap();
    for (folder, c) in [("zeros/001", 1.0), ("zero/0", 2.0), ("both/1", 3.0), ("both/001", 4.0), ("both/02", 5.0)] {
        write(&models, &format!("{folder}/model.onnx"), &plus(c));
    }
    let app = TestApp::with_temp(models, |_| {}).await;
    for (path, expected) in [
        ("zeros/versions/1", 2.0),
        ("zero/versions/0", 3.0),
        ("zero", 3.0),
        ("both/versions/1", 4.0),
        ("both/versions/2", 6.0),
        ("both", 6.0),
    ] {
        let answer = app.post_json(&format!("/models/{path}/predict"), &json!({"instances": [[1.0]]})).await;
        assert_eq!(answer.json()["predictions"][0]["outputs"]["y"], json!([expected]), "{path}");
    }
    let answer = app.post_json("/v1/models/zero/versions/0:predict", &json!({"instances": [[1.0]]})).await;
    assert_eq!(answer.json(), json!({"predictions": [[3.0]]}));
    let promoted = app.post_json("/models/zero/promote", &json!({"alias": "stable", "version": 0})).await;
    assert_eq!(promoted.status, 200, "{}", promoted.text());
}

#[tokio::test]
async fn the_only_graph_of_a_folder_may_have_any_name() {
    let models = TempDir::new().unwrap();
    write(&models, "one/1/classifier.onnx", &plus(1.0));
    write(&models, "one/2/model.onnx", &plus(2.0));
    write(&models, "one/2/other.onnx", b"no graph");
    write(&models, "two/1/a.onnx", &plus(1.0));
    write(&models, "two/1/b.onnx", &plus(2.0));
    write(&models, "named/1/a.onnx", &plus(1.0));
    write(&models, "named/config.pbtxt", b"default_model_filename: \"graph.onnx\"");
    write(&models, "none/1/notes.txt", b"hello");
    let app = TestApp::with_temp(models, |_| {}).await;
    for (version, expected) in [(1, 2.0), (2, 3.0)] {
        let path = format!("/models/one/versions/{version}/predict");
        let answer = app.post_json(&path, &json!({"instances": [[1.0]]})).await;
        assert_eq!(answer.json()["predictions"][0]["outputs"]["y"], json!([expected]));
    }
    for (model, expected) in [
        ("two", "model.onnx is missing; the folder has \"a.onnx\", \"b.onnx\": name one as default_model_filename"),
        ("named", "graph.onnx is missing; the folder has \"a.onnx\""),
        ("none", "model.onnx is missing"),
    ] {
        let (state, reason) = app.version_state(model, 1).unwrap();
        assert_eq!(state, State::Start, "{model}");
        assert!(reason.as_ref().is_some_and(|reason| reason.starts_with(expected)), "{model}: {reason:?}");
    }
}

#[tokio::test]
async fn a_model_without_a_usable_version_says_so() {
    let models = TempDir::new().unwrap();
    write(&models, "noversion/model.onnx", &plus(1.0));
    write(&models, "named/v1/model.onnx", &plus(1.0));
    write(&models, "broken/1/model.onnx", b"no graph");
    let empty = TestApp::with_temp(models, |_| {}).await;
    let detail = empty.get("/readyz?verbose").await.assert_problem(503);
    for model in ["broken: version 1: model.onnx: ", "named: it has no version", "noversion: it has no version"] {
        assert!(detail.contains(model), "{detail}");
    }
    assert!(!empty.get("/readyz").await.assert_problem(503).contains("noversion"));

    add_bare_model(&empty.models(), "good", 1, &half_plus_two());
    empty.refresh().await;
    empty.refresh().await;
    let listed = empty.get("/models/noversion").await.json();
    assert_eq!(listed["versions"], json!([]));
    assert!(listed["problem"].as_str().unwrap().contains("move it to noversion/1/model.onnx"), "{listed}");
    let ready = empty.get("/readyz?verbose=true").await.json();
    let idle: Vec<&str> = ready["idle_models"].as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!((&ready["ready"], idle), (&json!(true), vec!["broken", "named", "noversion"]));
    assert_eq!(empty.get("/readyz").await.json(), json!({"ready": true, "available_versions": 1}));
    let refused = empty.post_json("/models/noversion/predict", &json!({"instances": [[1.0]]})).await;
    assert!(refused.assert_problem(503).contains("it has no version"), "{}", refused.text());
    // Folders without versions do not take the default away from the only model.
    fs::remove_dir_all(empty.models().join("broken")).unwrap();
    empty.refresh().await;
    assert_eq!(empty.get("/models").await.json()["default_model"], "good");
}

#[tokio::test]
async fn names_of_models_are_as_long_as_folders_can_be_called() {
    let models = TempDir::new().unwrap();
    let name = "n".repeat(255);
    add_bare_model(models.path(), &name, 1, &half_plus_two());
    let app = TestApp::with_temp(models, |_| {}).await;
    let answer = app.post_json(&format!("/models/{name}/predict"), &json!({"instances": [[2.0]]})).await;
    assert_eq!(answer.json()["predictions"][0]["outputs"]["y"], json!([3.0]));
    let promoted = app.post_json(&format!("/models/{name}/promote"), &json!({"alias": "stable", "version": 1})).await;
    assert_eq!(promoted.status, 200, "{}", promoted.text());
}
