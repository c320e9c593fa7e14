//! Inputs of every kind: several, of other types, without a batch, of open shapes, as raw bytes.

use serde_json::json;

use crate::fixtures::{bare_model, half_plus_two, row_sums, scalar_plus_one, sum_and_difference};
use crate::support::TestApp;

async fn serving(model: &[u8]) -> TestApp {
    TestApp::with_temp(bare_model("m", model), |_| {}).await
}

#[tokio::test(flavor = "multi_thread")]
async fn several_inputs_of_whole_numbers_are_sent_by_name() {
    let app = serving(&sum_and_difference()).await;
    let big = 9_007_199_254_740_993i64;
    let body = json!({"inputs": {"b": [[1, 2], [3, 4]], "a": [[big, 20], [30, 40]]}});
    let answer = app.post_json("/predict", &body).await.json();
    assert_eq!(answer["predictions"][0]["outputs"], json!({"sum": [big + 1, 22], "difference": [big - 1, 18]}));
    assert_eq!(answer["predictions"][1]["outputs"], json!({"sum": [33, 44], "difference": [27, 36]}));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_fit_an_input_is_refused_by_its_name() {
    let app = serving(&sum_and_difference()).await;
    for (body, status, words) in [
        (json!({"inputs": {"a": [[1, 2]]}}), 422, "input \"b\" is missing"),
        (json!({"inputs": {"a": [[1, 2]], "b": [[1, 2]], "c": 1}}), 422, "no input \"c\""),
        (json!({"inputs": {"a": [[1, 2]], "b": [[1, 2], [3, 4]]}}), 422, "input \"b\" holds 2 samples"),
        (json!({"inputs": {"a": [[1, 2]], "b": [[1, 2, 3]]}}), 422, "input \"b\""),
        (json!({"inputs": {"a": [[1.5, 2]], "b": [[1, 2]]}}), 400, "does not fit the type int64"),
        (json!({"instances": [[1, 2]]}), 422, "send \"inputs\""),
        (json!({"instances": [[1, 2]], "inputs": {}}), 400, "exclude each other"),
    ] {
        let detail = app.post_json("/predict", &body).await.assert_problem(status);
        assert!(detail.contains(words), "{detail}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_without_a_batch_takes_one_instance_and_gives_all_it_has() {
    let app = serving(&scalar_plus_one()).await;
    for body in [json!({"instances": [2.5]}), json!({"inputs": {"x": 2.5}})] {
        let answer = app.post_json("/predict", &body).await.json();
        assert_eq!(answer["predictions"], json!([{"outputs": {"y": [3.5]}}]), "{answer}");
    }
    let detail = app.post_json("/predict", &json!({"instances": [1, 2]})).await.assert_problem(422);
    assert!(detail.contains("exactly one"), "{detail}");
}

#[tokio::test(flavor = "multi_thread")]
async fn open_shapes_may_differ_between_requests_but_not_within_one() {
    let app = serving(&row_sums()).await;
    for length in [1, 3, 50] {
        let answer = app.post_json("/predict", &json!({"instances": [vec![2; length], vec![1; length]]})).await.json();
        let length = length as f64;
        assert_eq!(answer["predictions"], json!([{"outputs": {"y": [2.0 * length]}}, {"outputs": {"y": [length]}}]));
    }
    app.post_json("/predict", &json!({"instances": [[1, 2], [3]]})).await.assert_problem(400);
    app.post_json("/predict", &json!({"instances": [1, 2]})).await.assert_problem(422);
}

#[tokio::test(flavor = "multi_thread")]
async fn raw_bytes_are_little_endian_samples() {
    let app = serving(&half_plus_two()).await;
    let bytes: Vec<u8> = [1.0f32, -4.0, 10.0].iter().flat_map(|number| number.to_le_bytes()).collect();
    let answer = app.post("/predict", "application/octet-stream", bytes.clone()).await.json();
    let outputs: Vec<_> = (0..3).map(|sample| answer["predictions"][sample]["outputs"]["y"][0].clone()).collect();
    assert_eq!(outputs, [2.5, 0.0, 7.0]);
    let detail = app.post("/predict", "application/octet-stream", bytes[..5].to_vec()).await.assert_problem(422);
    assert!(detail.contains("4 bytes") && detail.contains("got 5"), "{detail}");
    let bundled = TestApp::start().await;
    let pixels: Vec<u8> = crate::fixtures::pixels(&crate::fixtures::mnist().test, 0)
        .iter()
        .flat_map(|&p| f32::from(p).to_le_bytes())
        .collect();
    assert_eq!(bundled.post("/predict", "application/octet-stream", pixels).await.labels(), ["7"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn model_toml_makes_a_bare_model_take_images_and_name_classes() {
    let bundled = crate::support::bundled_models().join("mnist-mlp/1/model.onnx");
    let models = bare_model("digits", &std::fs::read(bundled).unwrap());
    let settings = r#"
        labels = ["null", "eins", "zwei", "drei", "vier", "fünf", "sechs", "sieben", "acht", "neun"]
        [transform.image]
        width = 28
        height = 28
        polarity = "light_on_dark"
        fit = "centre_of_mass"
        [transform.output]
        kind = "classification"
        probabilities = "probabilities"
        [batching]
        max_batch_size = 5
    "#;
    std::fs::write(models.path().join("digits/model.toml"), settings).unwrap();
    let app = TestApp::with_temp(models, |_| {}).await;
    let answer = app.post("/predict", "image/png", crate::fixtures::png_of_test_image(0)).await;
    assert_eq!(answer.labels(), ["sieben"]);
    let version = app.get("/models/digits").await.json()["versions"][0].clone();
    assert_eq!(version["tuning"]["max_batch"], 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn sequences_are_nested_lists_of_steps() {
    let sequences = crate::fixtures::onnx(&[3, 2], vec![crate::fixtures::node("Neg", &["x"], "y")], Vec::new());
    let app = serving(&sequences).await;
    let instances = json!({"instances": [[[1, 2], [3, 4], [5, 6]], [[0, 0], [0, 0], [0, 7]]]});
    let answer = app.post_json("/predict", &instances).await.json();
    let expected = json!([-1.0, -2.0, -3.0, -4.0, -5.0, -6.0]);
    assert_eq!(answer["predictions"][0]["outputs"]["y"], expected);
    for ragged in [json!([[[1, 2], [3, 4]]]), json!([[[1, 2], [3, 4], [5]]])] {
        let refused = app.post_json("/predict", &json!({"instances": ragged})).await;
        assert!(refused.status.is_client_error(), "{}", refused.text());
    }
}
