//! TensorFlow Serving's `:predict`, `:classify` and `:regress`, byte by byte.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use serde_json::json;

use crate::fixtures::{
    bare_model, half_plus_two, png_of_test_image, row_sums, same_strings, scalar_plus_one, sum_and_difference,
    weighted_sums,
};
use crate::support::{Answer, TestApp, alike};

const PREDICT: &str = "/v1/models/m:predict";

async fn serving(model: &[u8]) -> TestApp {
    TestApp::with_temp(bare_model("m", model), |_| {}).await
}

async fn ask(app: &TestApp, verb: &str, body: &str) -> Answer {
    // TensorFlow Serving's own examples send no content type, and curl sends a wrong one.
    let answer = app.post(&format!("/v1/models/m:{verb}"), "application/x-www-form-urlencoded", body.to_owned()).await;
    assert_eq!(answer.headers["content-type"], "application/json");
    answer
}

async fn text(app: &TestApp, verb: &str, body: &str) -> String {
    let answer = ask(app, verb, body).await;
    assert_eq!(answer.status, 200, "{body}: {}", answer.text());
    answer.text()
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_are_answered_in_rows_and_columns_in_columns() {
    let app = serving(&weighted_sums(false)).await;
    let rows = "{\n    \"predictions\": [[3.5]\n    ]\n}";
    let columns = "{\n    \"outputs\": [\n        [\n            3.5\n        ]\n    ]\n}";
    for (body, expected) in [
        (r#"{"instances":[[1.0,2.0]]}"#, rows),
        (r#"{"instances":[{"x":[1,2]}]}"#, rows),
        (r#"{"signature_name":"serving_default","instances":[[1.0,2.0]]}"#, rows),
        (r#"{"instances":[[1.0,2.0]],"signature_name":"","parameters":{"any":[1]}}"#, rows),
        (r#"{"inputs":[[1.0,2.0]]}"#, columns),
        (r#"{"inputs":{"x":[[1.0,2.0]]},"unknown":[["x"]]}"#, columns),
    ] {
        assert_eq!(text(&app, "predict", body).await, expected, "{body}");
    }
    let flat = serving(&weighted_sums(true)).await;
    assert_eq!(
        text(&flat, "predict", r#"{"instances":[[1.0,2.0],[0,2]]}"#).await,
        "{\n    \"predictions\": [3.5, 2.5\n    ]\n}"
    );
    assert_eq!(
        text(&flat, "predict", r#"{"inputs":[[1.0,2.0]]}"#).await,
        "{\n    \"outputs\": [\n        3.5\n    ]\n}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn several_inputs_are_objects_and_several_outputs_too() {
    let app = serving(&sum_and_difference()).await;
    let expected = "{\n    \"predictions\": [\n        {\n            \"sum\": [4, 6],\n            \"difference\": [-2, -2]\n        },\n        {\n            \"sum\": [0, 9007199254740993],\n            \"difference\": [0, 9007199254740993]\n        }\n    ]\n}";
    let rows = r#"{"instances":[{"a":[1,2],"b":[3,4]},{"b":[0,0],"a":[0,9007199254740993]}]}"#;
    assert_eq!(text(&app, "predict", rows).await, expected);
    let columns = r#"{"inputs":{"b":[[3,4]],"a":[[1,2]]}}"#;
    let answer: serde_json::Value = serde_json::from_str(&text(&app, "predict", columns).await).unwrap();
    assert_eq!(answer, json!({"outputs": {"sum": [[4, 6]], "difference": [[-2, -2]]}}));
}

#[tokio::test(flavor = "multi_thread")]
async fn words_stand_for_what_is_not_finite_both_ways() {
    let app = serving(&half_plus_two()).await;
    assert_eq!(
        text(&app, "predict", r#"{"instances":[[NaN],[Infinity],[-Infinity],[1e-7],[1e7]]}"#).await,
        "{\n    \"predictions\": [[NaN], [Infinity], [-Infinity], [2.0], [5000002.0]\n    ]\n}"
    );
    assert_eq!(
        text(&app, "regress", r#"{"examples":[{"x":NaN},{"x":[-Infinity]},{"x":1},{"x":[0.2]}]}"#).await,
        "{\n    \"results\": [NaN, -Infinity, 2.5, 2.1]\n}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn models_without_a_batch_take_their_inputs_as_they_are() {
    let app = serving(&scalar_plus_one()).await;
    assert_eq!(text(&app, "predict", r#"{"instances":[2.5]}"#).await, "{\n    \"predictions\": [3.5\n    ]\n}");
    assert_eq!(text(&app, "predict", r#"{"inputs":2.5}"#).await, "{\n    \"outputs\": 3.5\n}");
    let open = serving(&row_sums()).await;
    let answer = text(&open, "predict", r#"{"instances":[[1,2,3],[4,5,6]]}"#).await;
    assert_eq!(answer, "{\n    \"predictions\": [[6.0], [15.0]\n    ]\n}");
}

#[tokio::test(flavor = "multi_thread")]
async fn strings_are_sent_as_text_or_bytes_and_bytes_come_back() {
    let app = serving(&same_strings()).await;
    assert_eq!(
        text(&app, "predict", r#"{"instances":["hi",{"b64":"eW91"}]}"#).await,
        "{\n    \"predictions\": [{\n            \"b64\": \"aGk=\"\n        }, {\n            \"b64\": \"eW91\"\n        }\n    ]\n}"
    );
    let answer = ask(&app, "predict", r#"{"inputs":["é"]}"#).await.json();
    assert_eq!(answer, json!({"outputs": [{"b64": "w6k="}]}));
    assert_eq!(ask(&app, "predict", r#"{"instances":[{"b64":"/w=="}]}"#).await.status, 400);
}

#[tokio::test(flavor = "multi_thread")]
async fn images_are_classified_from_base64() {
    let app = TestApp::start().await;
    let image = STANDARD.encode(png_of_test_image(0));
    let by_path = |verb: &str, body: serde_json::Value| {
        let path = format!("/v1/models/mnist-mlp/versions/1:{verb}");
        let app = &app;
        async move { app.post_json(&path, &body).await }
    };
    let predicted = by_path("predict", json!({"instances": [{"b64": image}, {"b64": image}]})).await.json();
    let named = by_path("predict", json!({"instances": [{"image": {"b64": image}}]})).await.json();
    let column = by_path("predict", json!({"inputs": {"image": [{"b64": image}]}})).await.json();
    let probabilities = &predicted["predictions"][1]["probabilities"];
    assert_eq!(probabilities.as_array().unwrap().len(), 10);
    assert!(probabilities[7].as_f64().unwrap() > 0.9);
    assert!(alike(&predicted["predictions"][0], &predicted["predictions"][1]), "{predicted}");
    assert!(alike(&named["predictions"][0], &predicted["predictions"][0]), "{named}");
    assert_eq!(column["outputs"]["probabilities"][0], named["predictions"][0]["probabilities"]);
    let classified = by_path("classify", json!({"examples": [{"image": {"b64": image}}]})).await.json();
    let classes = classified["results"][0].as_array().unwrap();
    let labels: Vec<&str> = classes.iter().map(|class| class[0].as_str().unwrap()).collect();
    assert_eq!(labels, ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"]);
    assert_eq!(&classes[7][1], &named["predictions"][0]["probabilities"][7]);
    let pixels: Vec<u8> = crate::fixtures::pixels(&crate::fixtures::mnist().test, 0).to_vec();
    let shared = json!({"context": {"image": pixels}, "examples": [{}, {"image": pixels}]});
    let numbers = by_path("classify", shared).await.json();
    assert!(alike(&numbers["results"], &json!([classes, classes])), "{numbers}");
    app.assert_unharmed().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_regression_is_the_only_float_of_a_sample() {
    let app = serving(&weighted_sums(false)).await;
    let body = r#"{"signature_name":"","examples":[{"x":[1,2]},{"x":[0.5,0],"other":"thing"}]}"#;
    assert_eq!(text(&app, "regress", body).await, "{\n    \"results\": [3.5, 0.5]\n}");
}

/// Large bodies are parsed elsewhere, to the same answer.
#[tokio::test(flavor = "multi_thread")]
async fn large_bodies_and_answers_are_read_and_written_whole() {
    let app =
        TestApp::with_temp(bare_model("m", &half_plus_two()), |options| options.max_samples = Some(100_000)).await;
    let rows: Vec<[f32; 1]> = (0..50_000u16).map(|row| [f32::from(row)]).collect();
    let answer = app.post_json(PREDICT, &json!({"instances": rows})).await.json();
    let predictions = answer["predictions"].as_array().unwrap();
    assert_eq!(predictions.len(), 50_000);
    assert_eq!(predictions[49_999], json!([25_001.5]));
    let broken = format!("{{\"instances\":[{}[1]", "[1],".repeat(50_000));
    assert_eq!(app.post(PREDICT, "", broken).await.status, 400);
}

/// Whatever rows and columns hold, they mean the same.
#[test]
fn rows_and_columns_give_the_same_numbers() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let app = runtime.block_on(serving(&sum_and_difference()));
    let small = -1_000_000_000i64..1_000_000_000;
    let pairs = prop::collection::vec(([small.clone(), small.clone()], [small.clone(), small]), 1..9);
    let mut runner = TestRunner::new(ProptestConfig::with_cases(40));
    let checked = runner.run(&pairs, |pairs| {
        let (a, b): (Vec<_>, Vec<_>) = pairs.iter().copied().unzip();
        let rows: Vec<_> = pairs.iter().map(|(a, b)| json!({"a": a, "b": b})).collect();
        let rows = runtime.block_on(app.post_json(PREDICT, &json!({"instances": rows}))).json();
        let columns = runtime.block_on(app.post_json(PREDICT, &json!({"inputs": {"a": a, "b": b}}))).json();
        for (index, (a, b)) in pairs.iter().enumerate() {
            let sum = json!([a[0] + b[0], a[1] + b[1]]);
            let difference = json!([a[0] - b[0], a[1] - b[1]]);
            prop_assert_eq!(&rows["predictions"][index]["sum"], &sum);
            prop_assert_eq!(&columns["outputs"]["sum"][index], &sum);
            prop_assert_eq!(&rows["predictions"][index]["difference"], &difference);
            prop_assert_eq!(&columns["outputs"]["difference"][index], &difference);
        }
        Ok(())
    });
    checked.unwrap();
}
