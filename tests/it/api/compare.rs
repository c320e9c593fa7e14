//! Two versions of a model, asked the same.

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::fixtures::add_bare_model;
use crate::support::{TestApp, bundled_models, copy_folder};

/// The bundled model twice; of the second version, these two labels are exchanged.
fn twice(exchanged: [usize; 2]) -> TempDir {
    let models = TempDir::new().unwrap();
    let first = bundled_models().join("mnist-mlp/1");
    copy_folder(&first, &models.path().join("mnist-mlp/1"));
    let second = models.path().join("mnist-mlp/2");
    copy_folder(&first, &second);
    let manifest = second.join("manifest.json");
    let mut told: Value = serde_json::from_slice(&std::fs::read(&manifest).unwrap()).unwrap();
    told["version"] = json!(2);
    told["labels"].as_array_mut().unwrap().swap(exchanged[0], exchanged[1]);
    std::fs::write(manifest, told.to_string()).unwrap();
    models
}

async fn compare(app: &TestApp, path: &str) -> Value {
    let answer = app.post(&format!("/models/mnist-mlp/versions/{path}"), "", "").await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()
}

#[tokio::test(flavor = "multi_thread")]
async fn versions_disagree_where_their_labels_do() {
    let app = TestApp::with_temp(twice([3, 8]), |_| {}).await;
    let same = compare(&app, "1/compare?with=1").await;
    assert_eq!((&same["disagreements"], &same["share"]), (&json!(0), &json!(0.0)), "{same}");
    assert!(same.get("differences").is_none() && same["right"]["p_value"] == 1.0, "{same}");
    let samples = same["samples"].as_u64().unwrap();
    assert!(samples >= 100, "{samples}");
    let found = compare(&app, "1/compare?with=2").await;
    let count = |name: &str| found["right"][name].as_u64().unwrap();
    assert_eq!(count("both") + count("only_this") + count("only_other") + count("neither"), samples);
    let differ = found["disagreements"].as_u64().unwrap();
    assert!(differ > samples / 20 && differ < samples / 2, "threes and eights: {found}");
    assert!(count("only_this") > 0 && found["probe_of"] == 1, "{found}");
    for one in found["differences"].as_array().unwrap() {
        let mut pair = [one["this"].as_str().unwrap(), one["other"].as_str().unwrap()];
        pair.sort_unstable();
        assert_eq!(pair, ["3", "8"], "{one}");
    }
    assert!(found["interval"][0].as_f64().unwrap() < found["share"].as_f64().unwrap());
    let successes = app.metric("weir_inference_requests_total{model=\"mnist-mlp\",outcome=\"success\",version=\"2\"}");
    assert_eq!(successes, 0.0, "clients asked nothing");
    // Twice for the first comparison, and once for each version for the second.
    let asked = app.metric("weir_inference_requests_total{model=\"mnist-mlp\",outcome=\"probe\",version=\"1\"}");
    assert!(asked >= 3.0 && asked * 8.0 < samples as f64 * 3.0, "many samples in a request: {asked} for {samples}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_compared_is_said() {
    let models = twice([0, 1]);
    let doubled = crate::fixtures::half_plus_two();
    add_bare_model(models.path(), "bare", 1, &doubled);
    let app = TestApp::with_temp(models, |_| {}).await;
    for (path, status) in [
        ("/models/mnist-mlp/versions/1/compare", 400),
        ("/models/mnist-mlp/versions/1/compare?with=x y", 400),
        ("/models/mnist-mlp/versions/1/compare?with=9", 404),
        ("/models/none/versions/1/compare?with=1", 404),
        ("/models/bare/versions/1/compare?with=1", 422),
    ] {
        app.post(&path.replace(' ', "%20"), "", "").await.assert_problem(status);
    }
}
