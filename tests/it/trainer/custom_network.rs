//! Networks of layers that the user gives.

use std::fs;

use tempfile::TempDir;

use crate::cli::{output, text};
use crate::fixtures::small_data;

const LAYERS: &str = r#"
preset = "mnist-cnn"
epochs = 2
validation = 30
layers = [
    { layer = "conv2d", channels = 4, kernel = 3, stride = 2, bias = false },
    { layer = "batch_norm" },
    { layer = "relu" },
    { layer = "global_average_pool" },
    { layer = "dropout", rate = 0.1 },
]
"#;

#[test]
fn layers_of_ones_own_are_trained_published_and_repeated_to_the_same_bytes() {
    let (data, work) = (small_data(200, 40), TempDir::new().unwrap());
    let path = |name: &str| work.path().join(name).display().to_string();
    let data = data.path().display().to_string();
    fs::write(path("run.toml"), LAYERS).unwrap();
    let (config, models, runs) = (path("run.toml"), path("models"), path("runs"));
    let args = ["train", "--config", &config, "--data", &data, "--models", &models, "--runs", &runs];

    let nameless = output(&args);
    assert_eq!(nameless.status.code(), Some(2));
    assert!(text(&nameless.stderr).contains("--model NAME"), "{}", text(&nameless.stderr));

    let trained = output(&[&args[..], &["--model", "small"]].concat());
    assert!(trained.status.success(), "{}", text(&trained.stderr));
    let said = text(&trained.stderr);
    assert!(said.contains("A network of 5 layers") && said.contains("conv2d"), "{said}");
    let manifest = fs::read_to_string(work.path().join("models/small/1/manifest.json")).unwrap();
    let manifest: serde_json::Value = serde_json::from_str(&manifest).unwrap();
    let layers: Vec<&str> = manifest["architecture"]["layers"]
        .as_array()
        .unwrap()
        .iter()
        .map(|layer| layer["layer"].as_str().unwrap())
        .collect();
    let expected = ["rescale", "conv2d", "batch_norm", "relu", "global_average_pool", "dropout", "dense"];
    assert_eq!(layers, expected);
    assert_eq!(manifest["parameters"], 4 * 9 + 8 + 5 * 10);

    let kept = work.path().join("runs/mnist-cnn/1/args.toml").display().to_string();
    let again = output(&["train", "--config", &kept, "--runs", &runs]);
    assert!(again.status.success(), "{}", text(&again.stderr));
    let onnx = |version: u32| fs::read(work.path().join(format!("models/small/{version}/model.onnx"))).unwrap();
    assert!(onnx(1) == onnx(2));
}

#[test]
fn layers_that_cannot_be_are_refused_before_anything_is_made() {
    let (data, work) = (small_data(100, 20), TempDir::new().unwrap());
    let data = data.path().display().to_string();
    let runs = work.path().join("runs").display().to_string();
    for (preset, layers, hint) in [
        ("mnist-cnn", "[{layer='dense', units=3}]", "layers[0] (dense)"),
        ("mnist-cnn", "[{layer='conv3d', channels=3}]", "conv2d"),
        ("mnist-cnn", "[{layer='conv2d', channels=3, kernal=3}]", "kernal"),
        ("mnist-cnn", "relu", "must be a list"),
        ("mnist-vae", "[{layer='relu'}]", "an autoencoder is two"),
    ] {
        let set = format!("layers={layers}");
        let refused = output(&["train", preset, "--model", "m", "--set", &set, "--data", &data, "--runs", &runs]);
        assert_eq!(refused.status.code(), Some(2), "{layers}: {}", text(&refused.stderr));
        assert!(text(&refused.stderr).contains(hint), "{layers}: {}", text(&refused.stderr));
    }
}
