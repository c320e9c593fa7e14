//! What clients send that is not what the letter of a protocol asks for, and what they are told when it cannot be.

use axum::http::Request;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::fixtures::{
    add_bare_model, bare_model, half_plus_two, model, node, onnx, png_of_test_image, sum_and_difference,
};
use crate::support::{Answer, TestApp};

const JSON: &str = "application/json";
const BOOL: i32 = 9;

async fn serving(onnx: &[u8]) -> TestApp {
    TestApp::with_temp(bare_model("m", onnx), |_| {}).await
}

/// The digit that a classifier of the test images found, in the answer of any protocol.
fn digit(answer: &Answer) -> usize {
    assert_eq!(answer.status, 200, "{}", answer.text());
    let json = answer.json();
    let probabilities = |values: &Value| {
        let values: Vec<f64> = values.as_array().unwrap().iter().map(|value| value.as_f64().unwrap()).collect();
        (0..values.len()).max_by(|a, b| values[*a].total_cmp(&values[*b])).unwrap()
    };
    match &json {
        _ if json["request_id"].is_string() => json["predictions"][0]["class"].as_u64().unwrap() as usize,
        _ if json["predictions"].is_array() => probabilities(&json["predictions"][0]["probabilities"]),
        _ if json["outputs"].is_array() => {
            let outputs = json["outputs"].as_array().unwrap();
            probabilities(&outputs.iter().find(|output| output["name"] == "probabilities").unwrap()["data"])
        }
        labels => {
            let best =
                labels.as_object().unwrap().iter().max_by(|a, b| a.1.as_f64().partial_cmp(&b.1.as_f64()).unwrap());
            best.unwrap().0.parse().unwrap()
        }
    }
}

/// The requests that ask for the class of an image in base64, by path.
fn asking(image: &str) -> [(&'static str, Value); 4] {
    [
        ("/predict", json!({"images": [image]})),
        ("/v1/models/mnist-mlp:predict", json!({"instances": [{"b64": image}]})),
        ("/predictions/mnist-mlp", json!({"data": image})),
        (
            "/v2/models/mnist-mlp/infer",
            json!({"inputs": [{"name": "image", "shape": [1], "datatype": "BYTES", "data": [image]}]}),
        ),
    ]
}

#[tokio::test]
async fn images_in_base64_come_in_lines_unpadded_url_safe_and_as_urls() {
    let app = TestApp::start().await;
    let image = png_of_test_image(0);
    let standard = STANDARD.encode([&image[..], &[0; 3][..(4 - image.len() % 3) % 3]].concat());
    assert!(standard.ends_with('=') && standard.contains(['+', '/']));
    let lines: Vec<&str> = standard.as_bytes().chunks(76).map(|line| std::str::from_utf8(line).unwrap()).collect();
    for encoded in [
        standard.clone(),
        lines.join("\n"),
        lines.join("\r\n") + "\r\n",
        standard.trim_end_matches('=').to_owned(),
        standard.replace('+', "-").replace('/', "_"),
        standard.trim_end_matches('=').replace('+', "-").replace('/', "_"),
        format!("data:image/png;base64,{standard}"),
    ] {
        for (path, body) in asking(&encoded) {
            assert_eq!(digit(&app.post_json(path, &body).await), 7, "{path} {encoded}");
        }
    }
}

#[tokio::test]
async fn a_byte_order_mark_before_json_is_passed_over() {
    let app = TestApp::start().await;
    for (path, body) in asking(&STANDARD.encode(png_of_test_image(0))) {
        for content_type in [JSON, ""] {
            let answer = app.post(path, content_type, format!("\u{feff}{body}")).await;
            assert_eq!(digit(&answer), 7, "{path} {content_type}");
        }
    }
    let index = app.post("/v2/repository/index", JSON, "\u{feff}{\"ready\": true}").await;
    assert_eq!(index.json()[0]["name"], "mnist-mlp", "{}", index.text());
}

#[tokio::test]
async fn parts_of_a_form_that_are_no_file_are_passed_over() {
    let app = TestApp::start().await;
    let part = |head: &str, body: &[u8]| {
        [b"--b\r\ncontent-disposition: form-data; ", head.as_bytes(), b"\r\n\r\n", body, b"\r\n"].concat()
    };
    let file = part("name=\"image\"; filename=\"7.png\"\r\ncontent-type: image/png", &png_of_test_image(0));
    let nameless = part("name=\"image\"", &png_of_test_image(0));
    let octets = "content-type: application/octet-stream";
    let empty = part(&format!("name=\"second\"; filename=\"\"\r\n{octets}"), b"");
    let text = part("name=\"top_k\"", b"3");
    let field = part("name=\"meta\"\r\ncontent-type: application/json", b"{\"a\":1}");
    let blob = part("name=\"meta\"; filename=\"blob\"\r\ncontent-type: application/json", b"{\"a\":1}");
    let send = async |parts: &[&Vec<u8>]| {
        let body: Vec<u8> = parts.iter().flat_map(|part| part.iter().copied()).chain(*b"--b--\r\n").collect();
        app.post("/predict", "multipart/form-data; boundary=b", body).await
    };
    for parts in [
        &[&file, &empty][..],
        &[&empty, &file],
        &[&text, &file],
        &[&file, &field],
        &[&blob, &file],
        &[&text, &field, &blob, &empty, &nameless],
    ] {
        assert_eq!(send(parts).await.labels(), ["7"]);
    }
    assert_eq!(send(&[&file, &text, &file]).await.labels(), ["7", "7"]);
    let detail = send(&[&text, &empty]).await.assert_problem(422);
    assert!(detail.contains("\"top_k\", \"second\"") && detail.contains("file part"), "{detail}");
    let notes = part("name=\"image\"; filename=\"notes.txt\"\r\ncontent-type: text/plain", b"no image");
    send(&[&notes]).await.assert_problem(415);
}

#[tokio::test]
async fn truth_values_may_be_ones_and_zeros() {
    let edge = |name| (name, BOOL, Some(&["N", "3"][..]));
    let app = serving(&model(&[edge("x")], &[edge("y")], vec![node("Not", &["x"], "y")], vec![], 18)).await;
    for row in [json!([1, 0, 1]), json!([true, false, 1])] {
        let answer = app.post_json("/models/m/predict", &json!({"instances": [row]})).await;
        assert_eq!(answer.json()["predictions"][0]["outputs"]["y"], json!([false, true, false]), "{}", answer.text());
        let answer = app.post_json("/v1/models/m:predict", &json!({"instances": [row]})).await;
        assert_eq!(answer.json()["predictions"], json!([[false, true, false]]), "{}", answer.text());
        let answer = app.post_json("/predictions/m", &row).await;
        assert_eq!(answer.json(), json!([false, true, false]), "{}", answer.text());
        let input = json!({"name": "x", "shape": [1, 3], "datatype": "BOOL", "data": row});
        let answer = app.post_json("/v2/models/m/infer", &json!({"inputs": [input]})).await;
        assert_eq!(answer.json()["outputs"][0]["data"], json!([false, true, false]), "{}", answer.text());
    }
    let detail = app.post_json("/predict", &json!({"instances": [[1, 0, 2]]})).await.assert_problem(400);
    assert!(detail.contains("1 or 0, got 2"), "{detail}");
}

/// A repository of one model for each text of labels, which name the three elements of its output.
fn labelled(texts: &[(&str, &str)]) -> TempDir {
    let models = TempDir::new().unwrap();
    for (name, labels) in texts {
        add_bare_model(models.path(), name, 1, &onnx(&[3], vec![node("Identity", &["x"], "y")], Vec::new()));
        let config =
            "max_batch_size: 8 output { name: \"y\" data_type: TYPE_FP32 dims: 3 label_filename: \"labels.txt\" }";
        std::fs::write(models.path().join(name).join("config.pbtxt"), config).unwrap();
        std::fs::write(models.path().join(name).join("labels.txt"), labels).unwrap();
    }
    models
}

#[tokio::test]
async fn labels_of_another_number_than_the_classes_still_name_theirs() {
    let texts = [
        ("exact", "cat\ndog\nfox\n"),
        ("blank", "cat\ndog\nfox\n\n"),
        ("short", "cat\ndog\n"),
        ("long", "cat\ndog\nfox\nyak\n"),
        ("marked", "\u{feff}cat\r\ndog\r\nfox"),
    ];
    let app = TestApp::with_temp(labelled(&texts), |_| {}).await;
    for (name, _) in texts {
        let body = json!({
            "inputs": [{"name": "x", "shape": [1, 3], "datatype": "FP32", "data": [1, 5, 3]}],
            "outputs": [{"name": "y", "parameters": {"classification": 3}}],
        });
        let answer = app.post_json(&format!("/v2/models/{name}/infer"), &body).await;
        let third = if name == "short" { "3:2" } else { "3:2:fox" };
        assert_eq!(answer.json()["outputs"][0]["data"], json!(["5:1:dog", third, "1:0:cat"]), "{name}");
    }
}

#[tokio::test]
async fn rows_of_several_inputs_name_them() {
    let app = serving(&sum_and_difference()).await;
    let rows = json!({"instances": [{"b": [1, 2], "a": [10, 20]}, {"a": [30, 40], "b": [3, 4]}]});
    let columns = json!({"inputs": {"a": [[10, 20], [30, 40]], "b": [[1, 2], [3, 4]]}});
    let by_row = app.post_json("/predict", &rows).await.json();
    assert_eq!(by_row["predictions"][1]["outputs"], json!({"sum": [33, 44], "difference": [27, 36]}), "{by_row}");
    assert_eq!(by_row["predictions"], app.post_json("/predict", &columns).await.json()["predictions"]);
    for (instances, words) in [
        (json!([{"a": [1, 2]}]), "must be equal to: a,b"),
        (json!([{"a": [1, 2], "b": [1, 2], "c": 1}]), "does not have named input: c; the model has: a, b"),
        (json!([{"a": [1, 2], "b": [1, 2]}, [1, 2]]), "expecting list of objects"),
        (json!([{"a": [1, 2], "b": [1.5, 2]}]), "does not fit the type int64"),
    ] {
        let detail = app.post_json("/predict", &json!({"instances": instances})).await.assert_problem(400);
        assert!(detail.contains(words), "{detail}");
    }
    let detail = app.post_json("/predict", &json!({"instances": [{"a": [1], "b": [1]}]})).await.assert_problem(422);
    assert!(detail.contains("each of \"a\" in \"instances\" must have the shape [2]"), "{detail}");
    let app = serving(&half_plus_two()).await;
    let answer = app.post_json("/predict", &json!({"instances": [{"x": 1}, {"x": 4}]})).await.json();
    assert_eq!(answer["predictions"], json!([{"outputs": {"y": [2.5]}}, {"outputs": {"y": [4.0]}}]));
}

#[tokio::test]
async fn the_latest_version_may_be_called_minus_one() {
    let models = bare_model("m", &half_plus_two());
    add_bare_model(models.path(), "m", 2, &half_plus_two());
    let app = TestApp::with_temp(models, |_| {}).await;
    let answer = app.post_json("/models/m/versions/-1/predict", &json!({"instances": [[1]]})).await;
    assert_eq!(answer.json()["version"], 2, "{}", answer.text());
    let body = json!({"inputs": [{"name": "x", "shape": [1, 1], "datatype": "FP32", "data": [1]}]});
    let answer = app.post_json("/v2/models/m/versions/-1/infer", &body).await;
    assert_eq!(answer.json()["model_version"], "2", "{}", answer.text());
    assert_eq!(app.get("/v2/models/m/versions/-1/ready").await.status, 200);
    assert_eq!(app.post_json("/predictions/m/-1", &json!([1])).await.json(), json!([2.5]));
}

/// Bodies in which a value stands where it does not belong, or is too long for it.
fn misplaced(value: &str) -> Vec<(&'static str, String)> {
    let key = format!("\"{}\"", "K".repeat(300_000));
    let paths = ["/predict", "/v1/models/mnist-mlp:predict", "/v1/models/mnist-mlp:classify", "/predictions/mnist-mlp"];
    let bodies = [
        value.to_owned(),
        format!("{{\"images\": {value}}}"),
        format!("{{\"images\": [{value}]}}"),
        format!("{{\"instances\": {value}}}"),
        format!("{{\"instances\": [[0, {value}]]}}"),
        format!("{{\"instances\": [{{{key}: {value}}}]}}"),
        format!("{{\"instances\": [{{\"b64\": {value}}}]}}"),
        format!("{{\"inputs\": {{\"image\": {value}}}}}"),
        format!("{{\"inputs\": {{{key}: {value}}}}}"),
        format!("{{\"examples\": [{{\"image\": {value}}}]}}"),
        format!("{{{key}: {value}"),
        format!("{{\"polarity\": {value}}}"),
        format!("{{\"top_k\": {value}}}"),
        format!("{{\"signature_name\": {value}, \"instances\": [[0]]}}"),
        format!("{{\"data\": [0, {value}]}}"),
    ];
    paths.iter().flat_map(|path| bodies.iter().map(move |body| (*path, body.clone()))).collect()
}

/// The same for the paths of the Open Inference Protocol.
fn misplaced_in_tensors(value: &str) -> Vec<(&'static str, String)> {
    let key = "K".repeat(300_000);
    let tensor = |name: &str, shape: &str, datatype: &str, data: &str| {
        let tensor = format!("\"name\": {name}, \"shape\": {shape}, \"datatype\": {datatype}, \"data\": {data}");
        ("/v2/models/mnist-mlp/infer", format!("{{\"inputs\": [{{{tensor}}}]}}"))
    };
    let infer = |body: String| ("/v2/models/mnist-mlp/infer", body);
    let mut requests = vec![
        tensor(value, "[1]", "\"FP32\"", "[0]"),
        tensor("\"image\"", value, "\"FP32\"", "[0]"),
        tensor("\"image\"", "[1]", value, "[0]"),
        tensor("\"image\"", "[1]", "\"FP32\"", &format!("[{value}]")),
        tensor("\"image\"", "[1]", "\"BYTES\"", &format!("[{value}, 7]")),
        infer(format!("{{\"inputs\": [], \"outputs\": [{{\"name\": {value}}}]}}")),
        infer(format!("{{\"inputs\": [], \"parameters\": {{\"priority\": {value}}}}}")),
        infer(format!("{{\"inputs\": [], \"parameters\": {{\"triton_{key}\": 1}}}}")),
        infer(format!("{{\"inputs\": {value}}}")),
    ];
    for path in ["/v2/repository/models/mnist-mlp/load", "/v2/trace/setting", "/v2/logging", "/v2/repository/index"] {
        requests.push((path, value.to_owned()));
        requests.push((path, format!("{{\"{key}\": {value}, \"ready\": {value}, \"parameters\": {value}}}")));
        requests.push((path, format!("{{\"parameters\": {{\"config\": {value}, \"{key}\": {value}}}}}")));
    }
    requests
}

/// Asserts that this does not repeat what it refuses; what a path has no use for is not refused.
fn assert_short(answer: &Answer, what: &str) {
    let (status, length) = (answer.status.as_u16(), answer.body.len());
    assert!(status == 200 || (400..500).contains(&status), "{what}: {status}");
    assert!(length < 1500, "{what}: {length} bytes: {}", answer.text().chars().take(300).collect::<String>());
}

/// Whatever is wrong is quoted as far as it takes to know it again.
#[tokio::test]
async fn refusals_are_short_however_long_the_fault_is() {
    let app = TestApp::start().await;
    let text = format!("\"{}\"", "A".repeat(300_000));
    let number = format!("1{}", "0".repeat(300_000));
    for value in [text.as_str(), &text[..100_000], &number, &format!("[{text}]")] {
        for (path, body) in misplaced(value).into_iter().chain(misplaced_in_tensors(value)) {
            let what = format!("{path} {}…", body.chars().take(60).collect::<String>());
            assert_short(&app.post(path, JSON, body).await, &what);
        }
    }
    let long = "A".repeat(20_000);
    for path in [
        format!("/predict?polarity={long}"),
        format!("/predict?{long}=1"),
        format!("/predict?top_k={long}"),
        format!("/models/{long}/predict"),
        format!("/models/mnist-mlp/versions/{long}/predict"),
        format!("/v2/models/{long}/infer"),
        format!("/v1/models/{long}:predict"),
        format!("/v1/{long}"),
        format!("/predictions/mnist-mlp/{long}"),
        format!("/{long}"),
    ] {
        assert_short(&app.post(&path, JSON, "{}").await, &path[..30]);
    }
    let paths = ["/predict", "/v1/models/mnist-mlp:predict", "/v2/models/mnist-mlp/infer", "/predictions/mnist-mlp"];
    for header in ["x-timeout-ms", "x-priority", "content-encoding", "content-type", "inference-header-content-length"]
    {
        for path in paths {
            let media = if header == "content-type" { "multipart/form-data; boundary=" } else { "" };
            let request = Request::post(path).header(header, format!("{media}{long}"));
            assert_short(&app.send(request.body("x".into()).unwrap()).await, &format!("{path} {header}"));
        }
    }
}
