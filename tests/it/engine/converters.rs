//! Models that the converter of scikit-learn wrote, in the built-in engine, through the protocols.

use std::path::Path;

use serde_json::{Value, json};

use crate::fixtures::add_bare_model;
use crate::support::TestApp;

/// A server of the models in `tests/fixtures/converters`.
async fn serving() -> TestApp {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/converters");
    let models = tempfile::TempDir::new().unwrap();
    for name in ["forest-zipmap", "words-zipmap", "table"] {
        let onnx = std::fs::read(folder.join(format!("{name}.onnx"))).unwrap();
        add_bare_model(models.path(), name, 1, &onnx);
    }
    TestApp::with_temp(models, |_| {}).await
}

#[tokio::test]
async fn a_zip_map_is_a_table_whose_labels_are_its_classes() {
    let app = serving().await;
    let flowers = json!([[5.1, 3.5, 1.4, 0.2], [6.0, 2.9, 4.5, 1.5]]);
    for (model, labels) in [("forest-zipmap", ["0", "1"]), ("words-zipmap", ["setosa", "versicolor"])] {
        let version = app.get(&format!("/models/{model}")).await.json()["versions"][0].clone();
        assert_eq!(
            (&version["state"], &version["tuning"]["engine"]),
            (&json!("AVAILABLE"), &json!("tract")),
            "{version}"
        );
        assert_eq!(version["output_labels"]["output_probability"].as_array().map(Vec::len), Some(3), "{version}");
        let answer = app.post_json(&format!("/models/{model}/predict"), &json!({"instances": flowers})).await;
        assert_eq!(answer.labels(), labels);

        let input =
            || json!({"name": version_input(&version), "datatype": "FP32", "shape": [1, 4], "data": flowers[0]});
        let output = json!({"name": "output_probability", "parameters": {"classification": 1}});
        let body = json!({"inputs": [input()], "outputs": [output]});
        let answer = app.post_json(&format!("/v2/models/{model}/infer"), &body).await.json();
        let best = answer["outputs"][0]["data"][0].as_str().unwrap();
        assert!(best.ends_with(&format!(":0:{}", labels[0])), "{answer}");

        let answer = app.post_json(&format!("/v2/models/{model}/infer"), &json!({"inputs": [input()]})).await.json();
        assert_eq!(answer["outputs"][1]["shape"], json!([1, 3]), "{answer}");
        assert_eq!(answer["outputs"][1]["datatype"], "FP32", "{answer}");
    }
}

/// Returns the name of the only input.
fn version_input(version: &Value) -> String {
    version["signature"]["inputs"][0]["name"].as_str().unwrap_or("x").to_owned()
}

#[tokio::test]
async fn columns_of_texts_and_numbers_are_inputs_of_their_own() {
    let app = serving().await;
    let columns =
        json!({"age": [[30.0], [70.0]], "income": [[20.0], [80.0]], "city": [["Bonn"], ["Ulm"]], "rooms": [[1], [5]]});
    let body = json!({"inputs": columns});
    let answer = app.post_json("/v1/models/table:predict", &body).await.json();
    assert_eq!(answer["outputs"]["label"], json!([0, 1]), "{answer}");
    let answer = app.post_json("/models/table/predict", &body).await.json();
    let labels: Vec<&Value> =
        answer["predictions"].as_array().unwrap().iter().map(|row| &row["outputs"]["label"][0]).collect();
    assert_eq!(labels, [&json!(0), &json!(1)], "{answer}");
    let rows = json!([
        {"age": [30.0], "income": [20.0], "city": ["nowhere"], "rooms": [1]},
        {"age": [70.0], "income": [80.0], "city": ["Ulm"], "rooms": [5]},
    ]);
    let answer = app.post_json("/v1/models/table:predict", &json!({"instances": rows})).await.json();
    assert_eq!(answer["predictions"][1]["label"], 1, "{answer}");
}
