//! Repositories of links, as Kubernetes, Hugging Face and release scripts lay them out.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use prost::Message;
use serde_json::json;
use tempfile::TempDir;
use tract_onnx::pb::{ModelProto, StringStringEntryProto};
use weir::serving::State;

use crate::fixtures::{add_bare_model, constant, half_plus_two, node, onnx};
use crate::support::TestApp;

/// y = x + c.
fn plus(c: f32) -> Vec<u8> {
    onnx(&[1], vec![node("Add", &["x", "c"], "y")], vec![constant("c", &[1], &[c])])
}

/// The same with c in another file.
fn plus_outside(file: &str) -> Vec<u8> {
    let mut model = ModelProto::decode(plus(0.0).as_slice()).unwrap();
    let tensor = &mut model.graph.as_mut().unwrap().initializer[0];
    tensor.raw_data.clear();
    tensor.data_location = Some(1);
    tensor.external_data = vec![StringStringEntryProto { key: "location".into(), value: file.into() }];
    model.encode_to_vec()
}

fn write(path: &Path, bytes: impl AsRef<[u8]>) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, bytes).unwrap();
}

fn link(target: impl AsRef<Path>, path: &Path) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    symlink(target, path).unwrap();
}

/// The answer to 1.
async fn answer(app: &TestApp, model: &str) -> serde_json::Value {
    let answer = app.post_json(&format!("/models/{model}/predict"), &json!({"instances": [[1.0]]})).await;
    assert_eq!(answer.status, 200, "{model}: {}", answer.text());
    answer.json()["predictions"][0]["outputs"]["y"][0].clone()
}

#[tokio::test]
async fn links_of_folders_and_graphs_lead_anywhere() {
    let place = TempDir::new().unwrap();
    let (root, store) = (place.path().join("models"), place.path().join("store"));
    write(&store.join("blob"), plus(1.0));
    write(&store.join("7/model.onnx"), plus(2.0));
    link(store.join("blob"), &root.join("hub-cache/1/model.onnx"));
    link(store.join("7"), &root.join("link-version/7"));
    link(&store, &root.join("link-model"));
    link("link-model", &root.join("link-link"));
    link("README", &root.join("a-file"));
    write(&root.join("README"), "hello");
    link("nowhere", &root.join("lost"));
    let app = TestApp::with(&root, |_| {}).await;
    for (model, expected) in [("hub-cache", 2.0), ("link-version", 3.0), ("link-model", 3.0), ("link-link", 3.0)] {
        assert_eq!(answer(&app, model).await, expected, "{model}");
    }
    assert_eq!(app.get("/models").await.json()["models"].as_array().unwrap().len(), 4);
    // What a link leads to is seen to change.
    write(&store.join("blob"), plus(10.0));
    app.refresh().await;
    app.refresh().await;
    assert_eq!(answer(&app, "hub-cache").await, 11.0);
    // A share that is gone for the moment takes nothing away.
    fs::rename(&store, place.path().join("gone")).unwrap();
    app.refresh().await;
    for (model, expected) in [("hub-cache", 11.0), ("link-version", 3.0), ("link-model", 3.0)] {
        assert_eq!(answer(&app, model).await, expected, "{model}");
    }
}

#[tokio::test]
async fn the_folders_of_kubernetes_are_read_and_their_switch_is_seen() {
    let models = TempDir::new().unwrap();
    let folder = models.path().join("configmap/1");
    write(&folder.join("..2026_1/model.onnx"), plus(1.0));
    write(&folder.join("..2026_2/model.onnx"), plus(5.0));
    link("..2026_1", &folder.join("..data"));
    link("..data/model.onnx", &folder.join("model.onnx"));
    let model = models.path().join("configmap-pbtxt");
    add_bare_model(models.path(), "configmap-pbtxt", 1, &plus(1.0));
    write(
        &model.join("..2026/config.pbtxt"),
        "output { name: \"y\" data_type: TYPE_FP32 dims: [ -1, 1 ] label_filename: \"labels.txt\" }\ninput { name: \"x\" data_type: TYPE_FP32 dims: [ -1, 1 ] }",
    );
    write(&model.join("..2026/labels.txt"), "one\n");
    link("..2026", &model.join("..data"));
    link("..data/config.pbtxt", &model.join("config.pbtxt"));
    link("..data/labels.txt", &model.join("labels.txt"));
    let app = TestApp::with_temp(models, |_| {}).await;
    assert_eq!(answer(&app, "configmap").await, 2.0);
    let body = json!({"inputs": [{"name": "x", "shape": [1, 1], "datatype": "FP32", "data": [1.0]}],
                      "outputs": [{"name": "y", "parameters": {"classification": 1}}]});
    let answered = app.post_json("/v2/models/configmap-pbtxt/infer", &body).await.json();
    assert!(answered["outputs"][0]["data"][0].as_str().is_some_and(|text| text.ends_with(":one")), "{answered}");
    symlink("..2026_2", folder.join("..data_tmp")).unwrap();
    fs::rename(folder.join("..data_tmp"), folder.join("..data")).unwrap();
    app.refresh().await;
    app.refresh().await;
    assert_eq!(answer(&app, "configmap").await, 6.0);
}

#[tokio::test]
async fn a_snapshot_of_a_hugging_face_cache_is_served_with_its_data() {
    let place = TempDir::new().unwrap();
    let (root, cached) = (place.path().join("models"), place.path().join("hub/models--me--plus"));
    write(&cached.join("blobs/aaaa"), plus_outside("model.onnx_data"));
    write(&cached.join("blobs/bbbb"), 4f32.to_le_bytes());
    let snapshot = cached.join("snapshots/0123");
    link("../../../blobs/aaaa", &snapshot.join("onnx/model.onnx"));
    link("../../../blobs/bbbb", &snapshot.join("onnx/model.onnx_data"));
    link(snapshot.join("onnx"), &root.join("folder/1"));
    for file in ["model.onnx", "model.onnx_data"] {
        link(snapshot.join("onnx").join(file), &root.join("files/1").join(file));
    }
    let app = TestApp::with(&root, |_| {}).await;
    assert_eq!((answer(&app, "folder").await, answer(&app, "files").await), (json!(5.0), json!(5.0)));
}

#[tokio::test]
async fn links_of_other_files_do_not_lead_out_of_the_repository() {
    let place = TempDir::new().unwrap();
    let (root, secret) = (place.path().join("models"), place.path().join("secret"));
    fs::write(&secret, "hunter2 is the password\n").unwrap();
    add_bare_model(&root, "good", 1, &half_plus_two());
    for (model, file) in [
        ("settings", "model.toml"),
        ("config", "config.pbtxt"),
        ("labels", "labels.txt"),
        ("manifest", "1/manifest.json"),
        ("weights", "1/weights.bin"),
    ] {
        let graph = if model == "weights" { plus_outside("weights.bin") } else { half_plus_two() };
        add_bare_model(&root, model, 1, &graph);
        link(&secret, &root.join(model).join(file));
    }
    write(
        &root.join("labels/config.pbtxt"),
        "output { name: \"y\" data_type: TYPE_FP32 dims: [ -1, 1 ] label_filename: \"labels.txt\" }\ninput { name: \"x\" data_type: TYPE_FP32 dims: [ -1, 1 ] }",
    );
    // One that stays in the repository is followed.
    add_bare_model(&root, "inside", 1, &plus_outside("weights.bin"));
    write(&root.join(".shared/weights.bin"), 2f32.to_le_bytes());
    link("../../.shared/weights.bin", &root.join("inside/1/weights.bin"));
    let app = TestApp::with(&root, |_| {}).await;
    let listed = app.get("/models").await.text();
    assert!(!listed.contains("hunter2") && !listed.contains(&place.path().display().to_string()), "{listed}");
    for model in ["settings", "config", "labels", "manifest", "weights"] {
        let (state, reason) = app.version_state(model, 1).unwrap();
        assert_eq!(state, State::End, "{model}");
        assert!(reason.as_ref().is_some_and(|reason| reason.contains("leads out")), "{model}: {reason:?}");
    }
    assert_eq!((answer(&app, "good").await, answer(&app, "inside").await), (json!(2.5), json!(3.0)));
}
