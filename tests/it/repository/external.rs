//! Graphs that keep data in other files: read beside the graph, and nowhere else.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use prost::Message;
use serde_json::json;
use tempfile::TempDir;
use tract_onnx::pb::{ModelProto, StringStringEntryProto, TensorProto};
use weir::config::{EngineChoice, ServeOptions};
use weir::repository::sha256_hex;
use weir::serving::State;

use crate::engine::onnxruntime;
use crate::fixtures::{add_bare_model, bare_model, constant, half_plus_two, node, onnx, png_of_test_image};
use crate::support::{TestApp, bundled_models, copy_folder};

/// A tensor whose data are elsewhere.
fn outside(tensor: TensorProto, pairs: &[(&str, &str)]) -> TensorProto {
    let entry = |(key, value): &(&str, &str)| StringStringEntryProto { key: (*key).into(), value: (*value).into() };
    TensorProto {
        raw_data: Vec::new(),
        external_data: pairs.iter().map(entry).collect(),
        data_location: Some(1),
        ..tensor
    }
}

/// y = x w + c with the data of w and c at these places of files.
fn affine(w: &[(&str, &str)], c: &[(&str, &str)]) -> Vec<u8> {
    let nodes = vec![node("MatMul", &["x", "w"], "m"), node("Add", &["m", "c"], "y")];
    onnx(&[2], nodes, vec![outside(constant("w", &[2, 1], &[]), w), outside(constant("c", &[1], &[]), c)])
}

/// As PyTorch writes it: one file beside the graph, the data of each tensor at a multiple of 64.
fn as_exported() -> Vec<u8> {
    let place = |offset, length| [("location", "model.onnx.data"), ("offset", offset), ("length", length)];
    affine(&place("0", "8"), &place("64", "4"))
}

fn data_file(w: [f32; 2], c: f32) -> Vec<u8> {
    let mut file: Vec<u8> = w.iter().flat_map(|weight| weight.to_le_bytes()).collect();
    file.resize(64, 0xff);
    file.extend(c.to_le_bytes());
    file
}

/// A server that tries its models in a process of their own, in one engine.
fn in_engine(engine: EngineChoice) -> impl Fn(&mut ServeOptions) {
    move |options| {
        options.engine = Some(engine);
        options.onnxruntime = onnxruntime();
        options.check_executable = Some(env!("CARGO_BIN_EXE_weir").into());
    }
}

fn engines() -> Vec<EngineChoice> {
    let second = onnxruntime().map(|_| EngineChoice::Onnxruntime);
    std::iter::once(EngineChoice::Tract).chain(second).collect()
}

async fn answer(app: &TestApp, model: &str) -> serde_json::Value {
    let answer = app.post_json(&format!("/models/{model}/predict"), &json!({"instances": [[1.0, 2.0]]})).await;
    assert_eq!(answer.status, 200, "{} {:?}", answer.text(), app.version_state(model, 1));
    answer.json()["predictions"][0]["outputs"]["y"].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn data_beside_the_graph_are_served_in_both_engines_and_seen_to_change() {
    for engine in engines() {
        let models = bare_model("affine", &as_exported());
        let data = models.path().join("affine/1/model.onnx.data");
        fs::write(&data, data_file([3.0, 5.0], 0.5)).unwrap();
        let two = affine(&[("location", "weights.bin")], &[("location", "onnx__Add_7"), ("offset", "0")]);
        add_bare_model(models.path(), "each-its-own", 1, &two);
        fs::write(models.path().join("each-its-own/1/weights.bin"), [2f32, 4.0].map(f32::to_le_bytes).concat())
            .unwrap();
        fs::write(models.path().join("each-its-own/1/onnx__Add_7"), 1f32.to_le_bytes()).unwrap();
        let app = TestApp::with_temp(models, in_engine(engine)).await;
        assert_eq!(answer(&app, "affine").await, json!([13.5]));
        assert_eq!(answer(&app, "each-its-own").await, json!([11.0]));
        let said = app.get("/models/affine").await.json()["versions"][0]["tuning"]["engine"].clone();
        assert_eq!(said, if engine == EngineChoice::Tract { "tract" } else { "onnxruntime" });
        fs::write(&data, data_file([1.0, 1.0], 0.25)).unwrap();
        app.refresh().await;
        app.refresh().await;
        assert_eq!(answer(&app, "affine").await, json!([3.25]));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_graph_whose_data_are_still_missing_waits_for_them() {
    let app = TestApp::with_temp(bare_model("affine", &as_exported()), |_| {}).await;
    let (state, reason) = app.version_state("affine", 1).unwrap();
    assert_eq!(state, State::Start);
    assert!(reason.unwrap().contains("model.onnx.data: is missing"));
    let folder = app.models().join("affine/1");
    fs::write(folder.join("model.onnx.data"), &data_file([3.0, 5.0], 0.5)[..40]).unwrap();
    app.refresh().await;
    app.refresh().await;
    let (state, reason) = app.version_state("affine", 1).unwrap();
    assert!(reason.as_ref().is_some_and(|reason| reason.contains("too short")), "{reason:?}");
    assert_eq!(state, State::End);
    fs::write(folder.join("model.onnx.data"), data_file([3.0, 5.0], 0.5)).unwrap();
    app.refresh().await;
    app.refresh().await;
    assert_eq!(answer(&app, "affine").await, json!([13.5]));
}

/// The bundled model with its weights in another file, and a manifest that says so.
fn bundled_with_data() -> TempDir {
    let models = TempDir::new().unwrap();
    let folder = models.path().join("mnist-mlp/1");
    copy_folder(&bundled_models().join("mnist-mlp/1"), &folder);
    let mut model = ModelProto::decode(fs::read(folder.join("model.onnx")).unwrap().as_slice()).unwrap();
    let mut data = Vec::new();
    for tensor in &mut model.graph.as_mut().unwrap().initializer {
        if tensor.raw_data.len() > 1000 {
            let (offset, length) = (data.len().to_string(), tensor.raw_data.len().to_string());
            data.extend_from_slice(&tensor.raw_data);
            let pairs = [("location", "model.onnx.data"), ("offset", &offset), ("length", &length)];
            *tensor = outside(std::mem::take(tensor), &pairs);
        }
    }
    assert!(!data.is_empty());
    let onnx = model.encode_to_vec();
    let path = folder.join("manifest.json");
    let mut manifest: serde_json::Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    let entry = |bytes: &[u8]| json!({"sha256": sha256_hex(bytes), "bytes": bytes.len()});
    manifest["files"]["model.onnx"] = entry(&onnx);
    manifest["files"]["model.onnx.data"] = entry(&data);
    fs::write(path, manifest.to_string()).unwrap();
    fs::write(folder.join("model.onnx"), onnx).unwrap();
    fs::write(folder.join("model.onnx.data"), data).unwrap();
    models
}

#[tokio::test(flavor = "multi_thread")]
async fn a_manifest_vouches_for_the_data_as_for_the_graph() {
    let models = bundled_with_data();
    let first = models.path().join("mnist-mlp/1");
    copy_folder(&first, &models.path().join("copied/7"));
    copy_folder(&first, &models.path().join("damaged/1"));
    copy_folder(&first, &models.path().join("unlisted/1"));
    let damaged = models.path().join("damaged/1/model.onnx.data");
    let mut bytes = fs::read(&damaged).unwrap();
    bytes[5] ^= 1;
    fs::write(damaged, bytes).unwrap();
    let path = models.path().join("unlisted/1/manifest.json");
    let mut manifest: serde_json::Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    drop(manifest["files"].as_object_mut().unwrap().remove("model.onnx.data"));
    fs::write(path, manifest.to_string()).unwrap();
    let app = TestApp::with_temp(models, |_| {}).await;
    for path in ["/models/mnist-mlp/predict", "/models/copied/versions/7/predict"] {
        assert_eq!(app.post(path, "image/png", png_of_test_image(0)).await.labels(), ["7"]);
    }
    for (model, expected) in
        [("damaged", "model.onnx.data: has SHA-256"), ("unlisted", "manifest.json: does not list model.onnx.data")]
    {
        let (_, reason) = app.version_state(model, 1).unwrap();
        assert!(reason.as_ref().is_some_and(|reason| reason.contains(expected)), "{model}: {reason:?}");
    }
}

/// Lays out a version whose graph names data that it must not get; returns its location, offset and length.
fn ways_out(name: &str, folder: &Path, secret: &Path) -> [String; 3] {
    let file = |location: &str| [location.to_owned(), "0".into(), "8".into()];
    match name {
        "absolute" => file(&secret.display().to_string()),
        "up" => file("../../../secret.bin"),
        "through" => {
            fs::create_dir(folder.join("sub")).unwrap();
            file("sub/../../../../secret.bin")
        }
        "below" => {
            fs::create_dir(folder.join("sub")).unwrap();
            fs::write(folder.join("sub/weights.bin"), [0; 64]).unwrap();
            file("sub/weights.bin")
        }
        "link" => {
            symlink(secret, folder.join("link.bin")).unwrap();
            file("link.bin")
        }
        "link-chain" => {
            symlink(secret.parent().unwrap(), folder.join(".elsewhere")).unwrap();
            symlink(".elsewhere/secret.bin", folder.join("link.bin")).unwrap();
            file("link.bin")
        }
        "device" => {
            symlink("/dev/zero", folder.join("zero.bin")).unwrap();
            file("zero.bin")
        }
        "folder" => {
            fs::create_dir(folder.join("weights.bin")).unwrap();
            file("weights.bin")
        }
        "nul" => file("weights.bin\0.txt"),
        "empty" => file(""),
        "url" => file("https://example.org/weights.bin"),
        "memory" => file("*/_ORT_MEM_ADDR_/*"),
        "far" => ["weights.bin".into(), "57".into(), "8".into()],
        "long" => ["weights.bin".into(), "0".into(), "65".into()],
        "overflow" => ["weights.bin".into(), "8".into(), u64::MAX.to_string()],
        "negative" => ["weights.bin".into(), "-8".into(), "8".into()],
        _ => unreachable!("{name}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn data_that_are_no_plain_file_beside_the_graph_are_refused() {
    const WAYS: [&str; 16] = [
        "absolute",
        "up",
        "through",
        "below",
        "link",
        "link-chain",
        "device",
        "folder",
        "nul",
        "empty",
        "url",
        "memory",
        "far",
        "long",
        "overflow",
        "negative",
    ];
    for engine in engines() {
        let place = TempDir::new().unwrap();
        let (root, secret) = (place.path().join("models"), place.path().join("secret.bin"));
        fs::write(&secret, data_file([3.0, 5.0], 0.5)).unwrap();
        add_bare_model(&root, "good", 1, &half_plus_two());
        for name in WAYS {
            let folder = root.join(name).join("1");
            fs::create_dir_all(&folder).unwrap();
            let [location, offset, length] = ways_out(name, &folder, &secret);
            let pairs = [("location", location.as_str()), ("offset", &offset), ("length", &length)];
            if !folder.join("weights.bin").exists() {
                fs::write(folder.join("weights.bin"), [0; 64]).unwrap();
            }
            fs::write(folder.join("model.onnx"), affine(&pairs, &[("location", "weights.bin"), ("length", "4")]))
                .unwrap();
        }
        let app = TestApp::with(&root, in_engine(engine)).await;
        for name in WAYS {
            let (state, reason) = app.version_state(name, 1).unwrap();
            let reason = reason.unwrap_or_default();
            assert_eq!(state, State::End, "{name}: {reason}");
            let is_said = ["external data", "not a plain file", "leads out", "too short"];
            assert!(is_said.iter().any(|words| reason.contains(words)), "{name}: {reason}");
            // The graph's own words may be repeated.
            let shows = name != "absolute" && reason.contains(&place.path().display().to_string());
            assert!(reason.len() < 400 && !shows, "{name}: {reason}");
        }
        assert_eq!(app.post_json("/models/good/predict", &json!({"instances": [[2.0]]})).await.status, 200);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_small_file_that_many_tensors_share_is_counted_for_each() {
    let shared = |index: usize| {
        outside(constant(&format!("c{index}"), &[2500], &[]), &[("location", "weights.bin"), ("length", "10000")])
    };
    let constants: Vec<_> = (0..100).map(shared).collect();
    let models = bare_model("large", &onnx(&[1], vec![node("Add", &["x", "c0"], "y")], constants));
    fs::write(models.path().join("large/1/weights.bin"), [0; 10_000]).unwrap();
    let app = TestApp::with_temp(models, |options| options.max_model_bytes = Some(500_000)).await;
    let (state, reason) = app.version_state("large", 1).unwrap();
    assert_eq!(state, State::End);
    assert!(reason.as_ref().unwrap().contains("max-model-bytes"), "{reason:?}");
}
