//! Wrong requests to TensorFlow Serving's paths: its shape of errors, its statuses, its words, no harm.

use axum::body::Body;
use axum::http::{Method, Request};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::fixtures::{bare_model, half_plus_two, nan_on_minus_one, png_of_test_image, sum_and_difference};
use crate::support::{Answer, TestApp};

/// The text of an error in TensorFlow Serving's shape.
fn error(answer: &Answer, status: u16, what: &str) -> String {
    assert_eq!(answer.status.as_u16(), status, "{what}: {}", answer.text());
    assert_eq!(answer.headers["content-type"], "application/json", "{what}");
    let body = answer.json();
    let text = body["error"].as_str().unwrap_or_else(|| panic!("{what}: {body}"));
    assert_eq!(body.as_object().unwrap().len(), 1, "{what}");
    assert!(answer.text().starts_with("{\n    \"error\": \"") && answer.text().ends_with("\"\n}"), "{}", answer.text());
    text.to_owned()
}

async fn refused(app: &TestApp, path: &str, body: &str, status: u16) -> String {
    let answer = app.post(path, "application/json", body.to_owned()).await;
    error(&answer, status, &format!("{path} {}", &body[..body.len().min(80)]))
}

#[tokio::test(flavor = "multi_thread")]
async fn what_there_is_not_is_said_in_its_words() {
    let app = TestApp::with_temp(bare_model("m", &half_plus_two()), |_| {}).await;
    for (path, status, text) in [
        ("/v1/models/none:predict", 404, "Servable not found for request: Latest(none)"),
        ("/v1/models/m/versions/7:predict", 404, "Servable not found for request: Specific(m, 7)"),
        ("/v1/models/m/versions/0:predict", 404, "Servable not found for request: Specific(m, 0)"),
        ("/v1/models/none/labels/x:classify", 404, "Servable not found for request: Specific(none, x)"),
        ("/v1/models/m/labels/x:predict", 400, "Unrecognized servable version label: x"),
        ("/v1/models/m/labels/-:predict", 400, "Unrecognized servable version label: -"),
        ("/v1/models/..%2f..%2fm:predict", 400, "Malformed request: POST /v1/models/../../m:predict"),
        ("/v1/models/%2e%2e:predict", 404, "Servable not found for request: Latest(..)"),
        ("/v1/models/a%0Ab:predict", 404, "Servable not found for request: Latest(a\\nb)"),
        (
            "/v1/models/m/versions/99999999999999999999:predict",
            400,
            "Failed to convert version: 99999999999999999999 to numeric.",
        ),
        ("/v1/models/m/versions/one:predict", 400, "Malformed request: POST /v1/models/m/versions/one:predict"),
        ("/v1/models/m:forecast", 400, "Malformed request: POST /v1/models/m:forecast"),
        ("/v1/models/m", 400, "Malformed request: POST /v1/models/m"),
        ("/v1/anything", 400, "Malformed request: POST /v1/anything"),
        ("/v1/", 400, "Malformed request: POST /v1/"),
    ] {
        assert_eq!(refused(&app, path, "{}", status).await, text, "{path}");
    }
    for (path, status, text) in [
        ("/v1/models/none", 404, "Could not find any versions of model none"),
        ("/v1/models/m/versions/7", 404, "Could not find version 7 of model m"),
        ("/v1/models/m/labels/x", 400, "Unrecognized servable version label: x"),
        ("/v1/models/none/metadata", 404, "Servable not found for request: Latest(none)"),
        ("/v1/models/m:predict", 400, "Malformed request: GET /v1/models/m:predict"),
        ("/v1/models/", 400, "Malformed request: GET /v1/models/"),
        ("/v1", 400, "Malformed request: GET /v1/"),
    ] {
        assert_eq!(error(&app.get(path).await, status, path), text, "{path}");
    }
    for method in [Method::PUT, Method::DELETE, Method::PATCH, Method::OPTIONS] {
        let request = Request::builder().method(&method).uri("/v1/models/m:predict").body(Body::empty()).unwrap();
        let text = error(&app.send(request).await, 400, method.as_str());
        assert_eq!(text, format!("Malformed request: {method} /v1/models/m:predict"));
    }
    // A path that is no text at all.
    error(&app.post("/v1/models/%ff:predict", "", "{}").await, 400, "%ff");
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_of_predict_are_refused_with_the_reason() {
    let one = TestApp::with_temp(bare_model("m", &half_plus_two()), |_| {}).await;
    let predict = "/v1/models/m:predict";
    for (body, words) in [
        ("", "JSON Parse error: The document is empty"),
        ("{", "JSON Parse error: "),
        ("{\"instances\":[[1]]}x", "JSON Parse error: "),
        ("{\"instances\":[[1],]}", "JSON Parse error: "),
        ("{\"instances\":[[Inf]]}", "JSON Parse error: "),
        ("[[1]]", "expected an object with 'instances' or 'inputs'"),
        ("7", "expected an object"),
        ("{}", "Missing 'inputs' or 'instances' key"),
        ("{\"instances\":[[1]],\"inputs\":[[1]]}", "only one of 'inputs' or 'instances' keys to exist"),
        ("{\"instances\":[[1]],\"instances\":[[1]]}", "the key 'instances' is given twice"),
        ("{\"instances\":[]}", "No values in 'instances' array"),
        ("{\"instances\":{\"x\":[1]}}", "'instances' to be an list/array"),
        ("{\"instances\":null}", "'instances' to be an list/array"),
        ("{\"instances\":[[1]],\"signature_name\":7}", "'signature_name' key must be a string value."),
        ("{\"instances\":[[1]],\"signature_name\":\"x\"}", "Serving signature name: \"x\" not found in signature def"),
        ("{\"instances\":[{\"x\":[1]},[2]]}", "Expecting object but got list at item 1 of input list"),
        ("{\"instances\":[[1],{\"x\":[2]}]}", "Expecting value/list but got object at item 1 of input list"),
        ("{\"instances\":[{\"y\":[1]}]}", "does not have named input: y"),
        ("{\"instances\":[{\"x\":[1],\"y\":1}]}", "does not have named input: y"),
        ("{\"instances\":[{\"x\":[1],\"x\":[1]}]}", "the input x is given twice"),
        ("{\"instances\":[{}]}", "keys must be equal to: x"),
        ("{\"instances\":[[1],[2,3]]}", "differ in length"),
        ("{\"instances\":[[1,2]]}", "must have the shape [1]"),
        ("{\"instances\":[[[1]],[2]]}", "side by side"),
        ("{\"instances\":[[\"1\"]]}", "expected a number"),
        ("{\"instances\":[[true]]}", "expected a number"),
        ("{\"instances\":[[null]]}", "expected a number"),
        ("{\"instances\":[[1e39]]}", "does not fit the type float32"),
        ("{\"instances\":[[NaN],[1e39]]}", "does not fit the type float32"),
        ("{\"instances\":[[{\"b64\":\"AAAA\"}]]}", "where a number is expected"),
        ("{\"inputs\":{}}", "Missing named input: x in 'inputs' object."),
        ("{\"inputs\":{\"y\":[[1]]}}", "'inputs' object: the model has no input named y; it has: x"),
        ("{\"inputs\":{\"x\":[[1]],\"x\":[[1]]}}", "the input x is given twice"),
        ("{\"inputs\":[]}", "is empty"),
        ("{\"inputs\":[[1,2]]}", "must have the shape [1]"),
    ] {
        let text = refused(&one, predict, body, 400).await;
        assert!(text.contains(words), "{body}: {text}");
    }
    let two = TestApp::with_temp(bare_model("m", &sum_and_difference()), |_| {}).await;
    for (body, words) in [
        ("{\"instances\":[[1,2]]}", "multiple input tensors required as per tensorinfo_map"),
        ("{\"inputs\":[[1,2]]}", "multiple input tensors required as per tensorinfo_map"),
        ("{\"instances\":[{\"a\":[1,2]}]}", "keys must be equal to: a,b"),
        ("{\"instances\":[{\"a\":[1,2],\"b\":[1,2]},{\"a\":[1,2]}]}", "process element: 1 of"),
        ("{\"inputs\":{\"a\":[[1,2]]}}", "Missing named input: b in 'inputs' object."),
        ("{\"inputs\":{\"a\":[[1,2]],\"b\":[[1,2],[3,4]]}}", "holds 2 samples"),
        ("{\"instances\":[{\"a\":[1.5,2],\"b\":[1,2]}]}", "does not fit the type int64"),
        ("{\"instances\":[{\"a\":[NaN,2],\"b\":[1,2]}]}", "does not fit the type int64"),
    ] {
        let text = refused(&two, predict, body, 400).await;
        assert!(text.contains(words), "{body}: {text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_of_classify_and_regress_are_refused_with_the_reason() {
    let app = TestApp::with_temp(bare_model("m", &half_plus_two()), |options| options.max_samples = Some(2)).await;
    let regress = "/v1/models/m:regress";
    for (body, words) in [
        ("", "JSON Parse error: The document is empty"),
        ("{}", "key 'examples' is expected and was not found"),
        ("{\"examples\":[]}", "'examples' value is an empty array"),
        ("{\"examples\":{}}", "'examples' value to be an list/array"),
        ("{\"examples\":[7]}", "Example must be JSON object"),
        ("{\"examples\":[{}]}", "Feature: x (data type: float32) is required but could not be found"),
        ("{\"examples\":[{\"x\":[[1]]}]}", "unexpected JSON type: Array"),
        ("{\"examples\":[{\"x\":{\"y\":1}}]}", "unexpected JSON type: Object"),
        ("{\"examples\":[{\"x\":null}]}", "expected a value of a feature"),
        ("{\"examples\":[{\"x\":[1,\"a\"]}]}", "several kinds"),
        ("{\"examples\":[{\"x\":\"a\"}]}", "Data types don't match"),
        ("{\"examples\":[{\"x\":[1,2]}]}", "got 2 values"),
        ("{\"examples\":[{\"x\":[]}]}", "got 0 values"),
        ("{\"examples\":[{\"x\":1e39}]}", "without loss of precision"),
        ("{\"examples\":[{\"x\":18446744073709551615}]}", "Only int64 is supported."),
        ("{\"examples\":[{\"x\":1,\"x\":1}]}", "given twice"),
        ("{\"examples\":[{\"x\":1}],\"examples\":[]}", "given twice"),
        ("{\"examples\":[{\"x\":1}],\"context\":[]}", "Example must be JSON object"),
        ("{\"examples\":[{\"x\":1}],\"signature_name\":\"y\"}", "not found in signature def"),
        ("{\"examples\":[{},{},{}]}", "more than 2 examples"),
    ] {
        let text = refused(&app, regress, body, 400).await;
        assert!(text.contains(words), "{body}: {text}");
    }
    let text = refused(&app, "/v1/models/m:classify", "{\"examples\":[{\"x\":1}]}", 400).await;
    assert!(
        text.starts_with("Expected classification signature method_name to be tensorflow/serving/classify."),
        "{text}"
    );
    let digits = TestApp::start().await;
    let text = refused(&digits, "/v1/models/mnist-mlp:regress", "{\"examples\":[{}]}", 400).await;
    assert!(text.starts_with("Expected regression signature method_name to be tensorflow/serving/regress."), "{text}");
    for bad in ["AAAA", "not base64", ""] {
        let body = format!("{{\"examples\":[{{\"image\":{{\"b64\":\"{bad}\"}}}}]}}");
        refused(&digits, "/v1/models/mnist-mlp:classify", &body, 400).await;
    }
    let cut = png_of_test_image(0);
    let body = format!("{{\"instances\":[{{\"b64\":\"{}\"}}]}}", STANDARD.encode(&cut[..cut.len() / 2]));
    let text = refused(&digits, "/v1/models/mnist-mlp:predict", &body, 400).await;
    assert!(text.contains("damaged"), "{text}");
    digits.assert_unharmed().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_bodies_do_no_harm() {
    let app = TestApp::start().await;
    let predict = "/v1/models/mnist-mlp:predict";
    for depth in [9, 127, 129, 250_000] {
        let (open, objects) = ("[".repeat(depth), "{\"a\":".repeat(depth));
        for body in [
            format!("{{\"instances\":{open}"),
            format!("{{\"instances\":[{objects}"),
            format!("{{\"inputs\":{open}"),
            format!("{{\"inputs\":{objects}"),
            format!("{{\"signature_name\":{open}"),
            format!("{{\"unknown\":{objects}"),
            format!("{{\"instances\":[NaN,{open}"),
            open.clone(),
        ] {
            refused(&app, predict, &body, 400).await;
            refused(&app, "/v1/models/mnist-mlp:classify", &body.replace("instances", "examples"), 400).await;
        }
    }
    let rows = format!("{{\"instances\":[{}[0]]}}", "[0],".repeat(2_000_000));
    refused(&app, predict, &rows, 400).await;
    let examples = format!("{{\"examples\":[{}{{}}]}}", "{},".repeat(2_000_000));
    refused(&app, "/v1/models/mnist-mlp:classify", &examples, 400).await;
    let large = format!("{{\"instances\":[[{}0]]}}", "0,".repeat(6_000_000));
    refused(&app, predict, &large, 413).await;
    let words = format!("{{\"instances\":[[{}0]]}}", "NaN,".repeat(1_000_000));
    refused(&app, predict, &words, 400).await;
    let request = Request::post(predict).header("content-encoding", "br").body(Body::from("{}")).unwrap();
    error(&app.send(request).await, 400, "br");
    let request = Request::post(predict).header("x-priority", "0").body(Body::from("{}")).unwrap();
    error(&app.send(request).await, 400, "x-priority");
    app.assert_unharmed().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn limits_and_failures_keep_the_shape() {
    let models = bare_model("m", &nan_on_minus_one());
    std::fs::write(models.path().join("m/model.toml"), "[batching]\nmax_batch_size = 8\n").unwrap();
    let app = TestApp::with_temp(models, |options| options.max_samples = Some(2)).await;
    let three = refused(&app, "/v1/models/m:predict", "{\"instances\":[[1],[2],[3]]}", 413).await;
    assert!(three.contains("the limit is 2"), "{three}");
    // What the model gives is passed on, also when it is no number.
    let answer = app.post("/v1/models/m:predict", "", "{\"instances\":[[-1],[1]]}").await;
    assert_eq!(
        (answer.status.as_u16(), answer.text().as_str()),
        (200, "{\n    \"predictions\": [[NaN], [1.0]\n    ]\n}")
    );
}
