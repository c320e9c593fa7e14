//! Loading good, bad and hostile version folders.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::json;
use tempfile::TempDir;
use weir::config::VersionPolicy;

use crate::fixtures::{add_bare_model, bare_model, constant, half_plus_two, node, onnx, png_of_test_image};
use crate::support::{TestApp, bundled_models, copy_folder};

/// A copy of the bundled model whose version 2 a test may damage.
fn two_versions() -> (TempDir, PathBuf) {
    let models = TempDir::new().unwrap();
    let first = bundled_models().join("mnist-mlp/1");
    copy_folder(&first, &models.path().join("mnist-mlp/1"));
    let second = models.path().join("mnist-mlp/2");
    copy_folder(&first, &second);
    edit_manifest(&second, |manifest| manifest["version"] = json!(2));
    (models, second)
}

/// A change that damages a version folder.
type Damage = fn(&Path);

fn edit_manifest(folder: &Path, edit: impl FnOnce(&mut serde_json::Value)) {
    let path = folder.join("manifest.json");
    let mut manifest = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
    edit(&mut manifest);
    fs::write(path, manifest.to_string()).unwrap();
}

/// Loads both versions and returns why the second one ended; the first must serve.
async fn reason_of_second(damage: impl FnOnce(&Path)) -> String {
    let (models, second) = two_versions();
    damage(&second);
    let app = TestApp::with_temp(models, |_| {}).await;
    assert_eq!(app.post("/predict", "image/png", png_of_test_image(0)).await.labels(), ["7"]);
    let versions = app.get("/models/mnist-mlp").await.json()["versions"].clone();
    assert_eq!(versions[0]["state"], "AVAILABLE", "{versions}");
    // START for what may be a copy under way, END for what will not change by itself.
    assert!(["START", "END"].contains(&versions[1]["state"].as_str().unwrap()), "{versions}");
    let refused = app.post("/models/mnist-mlp/versions/2/predict", "image/png", png_of_test_image(0)).await;
    refused.assert_problem(503);
    versions[1]["reason"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn an_undamaged_second_version_answers_from_then_on() {
    let (models, _) = two_versions();
    let app = TestApp::with_temp(models, |_| {}).await;
    assert_eq!(app.post("/predict", "image/png", png_of_test_image(0)).await.json()["version"], 2);
    assert_eq!(
        app.post("/models/mnist-mlp/versions/1/predict", "image/png", png_of_test_image(0)).await.json()["version"],
        1
    );
}

#[tokio::test]
async fn a_damaged_version_ends_with_a_reason_and_the_other_serves() {
    let cases: [(&str, Damage); 8] = [
        ("SHA-256", |folder| {
            let path = folder.join("model.onnx");
            let bytes = fs::read(&path).unwrap();
            fs::write(path, &bytes[..bytes.len() / 2]).unwrap();
        }),
        ("is missing", |folder| fs::remove_file(folder.join("model.onnx")).unwrap()),
        ("manifest.json", |folder| fs::write(folder.join("manifest.json"), "{").unwrap()),
        ("use a newer Weir", |folder| edit_manifest(folder, |manifest| manifest["manifest_schema"] = json!(99))),
        ("11 labels", |folder| {
            edit_manifest(folder, |manifest| manifest["labels"].as_array_mut().unwrap().push(json!("x")))
        }),
        ("signature", |folder| {
            edit_manifest(folder, |manifest| manifest["signature"]["inputs"][0]["shape"] = json!(["N", 784]))
        }),
        ("golden example 0", |folder| {
            edit_manifest(folder, |manifest| manifest["golden"][0]["answer"]["probabilities"][7] = json!(0.5))
        }),
        ("does not list probe.jsonl", |folder| {
            edit_manifest(folder, |manifest| drop(manifest["files"].as_object_mut().unwrap().remove("probe.jsonl")));
        }),
    ];
    for (expected, damage) in cases {
        let reason = reason_of_second(damage).await;
        assert!(reason.contains(expected), "expected {expected:?} in {reason:?}");
    }
}

/// Versions are what their folders are called, as in TensorFlow Serving and Triton.
#[tokio::test]
async fn a_version_copied_to_another_number_or_name_serves_as_that_and_tells_its_origin() {
    let (models, _) = two_versions();
    let first = bundled_models().join("mnist-mlp/1");
    copy_folder(&first, &models.path().join("mnist-mlp/7"));
    copy_folder(&first, &models.path().join("digits/3"));
    copy_folder(&first, &models.path().join("digits/4"));
    let onnx = models.path().join("digits/4/model.onnx");
    let bytes = fs::read(&onnx).unwrap();
    fs::write(onnx, &bytes[1..]).unwrap();
    let app = TestApp::with_temp(models, |options| options.version_policy = Some(VersionPolicy::All)).await;
    for (model, version) in [("mnist-mlp", 7), ("digits", 3)] {
        let path = format!("/models/{model}/versions/{version}/predict");
        let answer = app.post(&path, "image/png", png_of_test_image(0)).await;
        assert_eq!((answer.json()["model"].as_str(), answer.json()["version"].as_u64()), (Some(model), Some(version)));
        assert_eq!(answer.labels(), ["7"]);
        let info = app.get(&format!("/models/{model}")).await.json();
        let found = info["versions"].as_array().unwrap().iter().find(|info| info["version"] == version).unwrap();
        assert_eq!(found["origin"], json!({"model": "mnist-mlp", "version": 1}));
    }
    let damaged = &app.get("/models/digits").await.json()["versions"][1];
    assert!(damaged["reason"].as_str().unwrap().contains("SHA-256"), "hashes count all the same: {damaged}");
    let point = |version: u64| json!({"alias": "stable", "version": version});
    assert_eq!(app.post_json("/models/digits/promote", &point(3)).await.status, 200);
    assert_eq!(app.post_json("/models/mnist-mlp/promote", &point(1)).await.status, 200);
    assert_eq!(app.post_json("/models/mnist-mlp/promote", &point(7)).await.status, 200);
    assert_eq!(app.post_json("/models/mnist-mlp/rollback", &json!({"alias": "stable"})).await.status, 200);
    let answer = app.post("/models/mnist-mlp/predict", "image/png", png_of_test_image(0)).await;
    assert_eq!(answer.json()["version"], 1);
}

#[tokio::test]
async fn folders_that_are_no_versions_are_passed_over() {
    let models = bare_model("m", &half_plus_two());
    for stray in ["m/latest", "m/v1", "m/.staging-x", ".git", "m/-1", "bad name/1"] {
        fs::create_dir_all(models.path().join(stray)).unwrap();
    }
    fs::write(models.path().join("README.md"), "hello").unwrap();
    let app = TestApp::with_temp(models, |_| {}).await;
    let list = app.get("/models").await.json();
    assert_eq!(list["models"].as_array().unwrap().len(), 1);
    assert_eq!(list["models"][0]["versions"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn files_that_are_no_models_end_with_a_reason() {
    let good = half_plus_two();
    let mut files: Vec<(String, Vec<u8>)> = vec![
        ("empty".into(), Vec::new()),
        ("text".into(), b"hello".to_vec()),
        ("noise".into(), (0..5000u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect()),
        ("unknown-op".into(), onnx(&[1], vec![node("NoSuchOp", &["x"], "y")], Vec::new())),
        ("missing-operand".into(), onnx(&[1], vec![node("Add", &["x", "nowhere"], "y")], Vec::new())),
        ("cycle".into(), onnx(&[1], vec![node("Add", &["x", "y"], "y")], Vec::new())),
        ("no-nodes".into(), onnx(&[1], Vec::new(), Vec::new())),
        (
            "short-constant".into(),
            onnx(&[1], vec![node("Add", &["x", "c"], "y")], vec![constant("c", &[1000], &[1.0])]),
        ),
    ];
    // What stands last are the versions of two domains that the graph does not use: without them it is whole.
    const UNUSED_DOMAINS: usize = 35;
    files.extend(
        (1..good.len() - UNUSED_DOMAINS).step_by(7).map(|length| (format!("cut-{length}"), good[..length].to_vec())),
    );
    let models = bare_model("good", &good);
    for (name, file) in &files {
        add_bare_model(models.path(), name, 1, file);
    }
    let app = TestApp::with_temp(models, |options| options.default_model = Some("good".parse().unwrap())).await;
    assert_eq!(
        app.post_json("/predict", &json!({"instances": [[2.0]]})).await.json()["predictions"][0]["outputs"]["y"],
        json!([3.0])
    );
    for model in app.get("/models").await.json()["models"].as_array().unwrap() {
        let version = &model["versions"][0];
        if model["name"] != "good" {
            assert_eq!(version["state"], "END", "{model}");
            assert!(!version["reason"].as_str().unwrap().is_empty());
        }
    }
}

#[tokio::test]
async fn a_bare_model_serves_numbers_and_says_why_it_takes_no_images() {
    let app = TestApp::with_temp(bare_model("half", &half_plus_two()), |_| {}).await;
    let answer = app.post_json("/predict", &json!({"instances": [[1.0], [2.0]]})).await.json();
    assert_eq!(answer["predictions"], json!([{"outputs": {"y": [2.5]}}, {"outputs": {"y": [3.0]}}]));
    let detail = app.post("/predict", "image/png", png_of_test_image(0)).await.assert_problem(415);
    assert!(detail.contains("instances"), "{detail}");
}

#[tokio::test]
async fn without_a_default_among_several_models_the_request_must_name_one() {
    let models = bare_model("a", &half_plus_two());
    add_bare_model(models.path(), "b", 1, &half_plus_two());
    let app = TestApp::with_temp(models, |_| {}).await;
    let detail = app.post_json("/predict", &json!({"instances": [[1.0]]})).await.assert_problem(400);
    assert!(detail.contains("a, b"), "{detail}");
    assert_eq!(app.post_json("/models/b/predict", &json!({"instances": [[1.0]]})).await.status, 200);
}

#[tokio::test]
async fn a_model_may_say_that_it_is_the_default_and_the_server_s_settings_may_say_otherwise() {
    let models = || {
        let models = bare_model("a", &half_plus_two());
        add_bare_model(models.path(), "b", 1, &half_plus_two());
        std::fs::write(models.path().join("b/model.toml"), "default = true").unwrap();
        models
    };
    let app = TestApp::with_temp(models(), |_| {}).await;
    assert_eq!(app.post_json("/predict", &json!({"instances": [[1.0]]})).await.json()["model"], "b");
    assert_eq!(app.get("/models").await.json()["default_model"], "b");
    let app = TestApp::with_temp(models(), |options| options.default_model = Some("a".parse().unwrap())).await;
    assert_eq!(app.post_json("/predict", &json!({"instances": [[1.0]]})).await.json()["model"], "a");
}

#[tokio::test]
async fn an_empty_repository_is_alive_but_not_ready() {
    let app = TestApp::with_temp(TempDir::new().unwrap(), |_| {}).await;
    assert_eq!(app.get("/livez").await.status, 200);
    app.get("/readyz").await.assert_problem(503);
    assert!(app.get("/").await.text().contains("weir train"));
}
