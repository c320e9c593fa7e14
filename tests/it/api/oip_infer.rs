//! Inference by the Open Inference Protocol over REST: bytes exact, errors in its own shape.

use std::io::Write;
use std::path::Path;

use axum::body::Body;
use axum::http::Request;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use flate2::Compression;
use flate2::write::{GzEncoder, ZlibEncoder};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::fixtures::{
    add_bare_model, bare_model, constant, half_plus_two, model, nan_on_minus_one, node, onnx, png_of_test_image,
    row_sums, scalar_plus_one, sum_and_difference,
};
use crate::support::{Answer, TestApp};

const STRING: i32 = 8;
const HEADER: &str = "inference-header-content-length";

/// y = x / 2 + 2 of two numbers.
fn pairs() -> Vec<u8> {
    let nodes = vec![node("Mul", &["x", "half"], "h"), node("Add", &["h", "two"], "y")];
    onnx(&[2], nodes, vec![constant("half", &[], &[0.5]), constant("two", &[], &[2.0])])
}

/// Every text as it is.
fn texts() -> Vec<u8> {
    let edge = |name| (name, STRING, Some(&["N", "1"][..]));
    model(&[edge("x")], &[edge("y")], vec![node("Identity", &["x"], "y")], vec![], 18)
}

async fn serving(onnx: &[u8]) -> TestApp {
    TestApp::with_temp(bare_model("m", onnx), |_| {}).await
}

/// Sends JSON and the bytes after it.
async fn send(app: &TestApp, path: &str, json: &str, bytes: &[u8], header: Option<usize>) -> Answer {
    let mut request = Request::post(path);
    if let Some(length) = header {
        request = request.header(HEADER, length);
    }
    app.send(request.body(Body::from([json.as_bytes(), bytes].concat())).unwrap()).await
}

async fn binary(app: &TestApp, json: &Value, bytes: &[u8]) -> Answer {
    let json = json.to_string();
    send(app, "/v2/models/m/infer", &json, bytes, Some(json.len())).await
}

fn floats(numbers: &[f32]) -> Vec<u8> {
    numbers.iter().flat_map(|number| number.to_le_bytes()).collect()
}

impl Answer {
    /// Asserts that this is an error as the protocol has them.
    pub(crate) fn assert_oip_error(&self, status: u16) -> String {
        assert_eq!(self.status.as_u16(), status, "{}", self.text());
        assert_eq!(self.headers["content-type"], "application/json");
        let body = self.json();
        assert_eq!(body.as_object().unwrap().len(), 1, "{body}");
        body["error"].as_str().unwrap().to_owned()
    }

    /// The JSON and the bytes after it.
    pub(crate) fn split(&self) -> (Value, &[u8]) {
        assert_eq!(self.status, 200, "{}", self.text());
        let length = self.headers[HEADER].to_str().unwrap().parse::<usize>().unwrap();
        assert_eq!(self.headers["content-type"], "application/octet-stream");
        (serde_json::from_slice(&self.body[..length]).unwrap(), &self.body[length..])
    }
}

#[tokio::test]
async fn the_bytes_of_request_and_answer_are_the_protocol_s() {
    let app = serving(&pairs()).await;
    let json = r#"{"inputs":[{"name":"x","shape":[1,2],"datatype":"FP32","parameters":{"binary_data_size":8}}],"parameters":{"binary_data_output":true}}"#;
    let bytes = [0x00, 0x00, 0x80, 0x3f, 0x00, 0x00, 0x00, 0xbf];
    assert_eq!(json.len(), 134);
    let answer = send(&app, "/v2/models/m/infer", json, &bytes, Some(134)).await;
    assert_eq!(answer.headers[HEADER], "131");
    assert_eq!(answer.headers["content-type"], "application/octet-stream");
    let expected = r#"{"model_name":"m","model_version":"1","outputs":[{"name":"y","datatype":"FP32","shape":[1,2],"parameters":{"binary_data_size":8}}]}"#;
    assert_eq!(&answer.body[..131], expected.as_bytes());
    assert_eq!(&answer.body[131..], floats(&[2.5, 1.75]));
    let path = "/v2/models/m/versions/1/infer";
    let plain = r#"{"id":"a \"7\"","inputs":[{"name":"x","shape":[1,2],"datatype":"FP32","data":[[1.0,-0.5]]}]}"#;
    let answer = send(&app, path, plain, b"", None).await;
    assert_eq!(answer.headers["content-type"], "application/json");
    let expected = r#"{"id":"a \"7\"","model_name":"m","model_version":"1","outputs":[{"name":"y","datatype":"FP32","shape":[1,2],"data":[2.5,1.75]}]}"#;
    assert_eq!(answer.text(), expected);
}

#[tokio::test]
async fn classes_are_named_by_value_index_and_label() {
    let models = TempDir::new().unwrap();
    let nodes = vec![node("Identity", &["x"], "y")];
    add_bare_model(models.path(), "m", 1, &onnx(&[3], nodes, vec![]));
    let settings = "labels = [\"five\", \"six\", \"seven\"]\n[transform.output]\nkind = \"raw\"";
    std::fs::write(models.path().join("m/model.toml"), settings).unwrap();
    let app = TestApp::with_temp(models, |_| {}).await;
    let ask = |k: usize, binary: bool| {
        json!({"inputs": [{"name": "x", "shape": [1, 3], "datatype": "FP32", "data": [0.1, 0.5, 0.9]}],
               "outputs": [{"name": "y", "parameters": {"classification": k, "binary_data": binary}}]})
    };
    let answer = binary_of(&app, &ask(1, true)).await;
    let (json, bytes) = answer.split();
    assert_eq!(json["outputs"][0]["shape"], json!([1, 1]));
    assert_eq!(json["outputs"][0]["datatype"], "BYTES");
    assert_eq!(json["outputs"][0]["parameters"]["binary_data_size"], 15);
    assert_eq!(bytes, b"\x0b\0\0\x000.9:2:seven".as_slice());
    let all = app.post_json("/v2/models/m/infer", &ask(9, false)).await.json();
    assert_eq!(all["outputs"][0]["data"], json!(["0.9:2:seven", "0.5:1:six", "0.1:0:five"]));
    assert_eq!(all["outputs"][0]["shape"], json!([1, 3]));
    let none = app.post_json("/v2/models/m/infer", &ask(0, false)).await.json();
    assert_eq!(none["outputs"][0]["datatype"], "FP32");
}

async fn binary_of(app: &TestApp, json: &Value) -> Answer {
    binary(app, json, b"").await
}

#[tokio::test]
async fn outputs_come_in_the_order_asked_for_and_each_as_asked_for() {
    let app = serving(&sum_and_difference()).await;
    let big = 9_007_199_254_740_993i64;
    let input = |name: &str, data: Value| json!({"name": name, "shape": [1, 2], "datatype": "INT64", "data": data});
    let bytes: Vec<u8> = [1i64, 2].iter().flat_map(|number| number.to_le_bytes()).collect();
    let json = json!({
        "inputs": [input("b", json!([1, 2])), {"name": "a", "shape": [1, 2], "datatype": "INT64", "parameters": {"binary_data_size": 16}}],
        "outputs": [{"name": "difference", "parameters": {"binary_data": false}}, {"name": "sum"}],
        "parameters": {"binary_data_output": true},
        "model_name": "ignored", "unknown": {"a": [1, {"b": null}]},
    });
    let answer = binary(&app, &json, &bytes).await;
    let (json, rest) = answer.split();
    assert_eq!(json["outputs"][0], json!({"name": "difference", "datatype": "INT64", "shape": [1, 2], "data": [0, 0]}));
    assert_eq!(json["outputs"][1]["name"], "sum");
    assert_eq!(rest, [2i64, 4].iter().flat_map(|number| number.to_le_bytes()).collect::<Vec<u8>>());
    let exact = json!({"inputs": [input("a", json!([big, -1])), input("b", json!([0, 0]))]});
    let answer = app.post_json("/v2/models/m/infer", &exact).await.json();
    assert_eq!(answer["outputs"][0]["data"], json!([big, -1]));
}

#[tokio::test]
async fn text_goes_both_ways_as_json_and_as_bytes() {
    let app = serving(&texts()).await;
    let json = json!({"inputs": [{"name": "x", "shape": [2, 1], "datatype": "BYTES", "data": ["é", "a\nb"]}]});
    let answer = app.post_json("/v2/models/m/infer", &json).await.json();
    assert_eq!(answer["outputs"][0]["data"], json!(["é", "a\nb"]), "{answer}");
    let bytes = b"\x02\0\0\0\xc3\xa9\0\0\0\0";
    let binary_input = |size: usize| {
        json!({"inputs": [{"name": "x", "shape": [2, 1], "datatype": "BYTES", "parameters": {"binary_data_size": size}}],
               "parameters": {"binary_data_output": true}})
    };
    let answer = binary(&app, &binary_input(10), bytes).await;
    assert_eq!(answer.split().1, bytes);
    let wrong = binary(&app, &binary_input(10), b"\x02\0\0\0\xff\xff\0\0\0\0").await.assert_oip_error(400);
    assert!(wrong.contains("element 0 must be text in UTF-8"), "{wrong}");
    for bytes in [&b"\xff\xff\xff\xff\0\0\0\0\0\0"[..], b"\x01\0\0\0a\x01\0\0\0", b"\0\0\0\0\0\0\0\0\0\0"] {
        let wrong = binary(&app, &binary_input(bytes.len()), bytes).await.assert_oip_error(400);
        assert!(wrong.contains("input \"x\""), "{wrong}");
    }
    let raw = send(&app, "/v2/models/m/infer", "", b"hello", Some(0)).await;
    assert_eq!(raw.split().1, b"\x05\0\0\0hello");
}

#[tokio::test]
async fn a_body_without_json_is_the_only_input() {
    let app = serving(&pairs()).await;
    let raw = async |bytes: &[u8]| send(&app, "/v2/models/m/infer", "", bytes, Some(0)).await;
    let answer = raw(&floats(&[1.0, -0.5])).await;
    assert_eq!(answer.split().1, floats(&[2.5, 1.75]));
    let answer = raw(&floats(&[0.0; 6])).await;
    assert_eq!(answer.split().0["outputs"][0]["shape"], json!([3, 2]));
    assert!(raw(&[0; 9]).await.assert_oip_error(400).contains("does not fit"));
    raw(b"").await.assert_oip_error(400);
    let app = serving(&row_sums()).await;
    let answer = send(&app, "/v2/models/m/infer", "", &floats(&[1.0, 2.0, 3.0]), Some(0)).await;
    assert_eq!(answer.split().1, floats(&[6.0]));
    let app = serving(&scalar_plus_one()).await;
    let answer = send(&app, "/v2/models/m/infer", "", &floats(&[1.5]), Some(0)).await;
    assert_eq!(answer.split().1, floats(&[2.5]));
    let app = serving(&sum_and_difference()).await;
    send(&app, "/v2/models/m/infer", "", &[0; 8], Some(0)).await.assert_oip_error(400);
}

#[tokio::test]
async fn images_are_bytes_for_a_model_that_takes_images() {
    let app = TestApp::start().await;
    let path = "/v2/models/mnist-mlp/infer";
    let (seven, two) = (png_of_test_image(0), png_of_test_image(1));
    let outputs = json!([{"name": "probabilities", "parameters": {"classification": 1}}]);
    let classes = |answer: &Value| -> Vec<char> {
        let data = answer["outputs"][0]["data"].as_array().unwrap_or_else(|| panic!("{answer}"));
        data.iter().map(|class| class.as_str().unwrap().chars().last().unwrap()).collect()
    };
    for shape in [json!([2]), json!([2, 1])] {
        let data = json!([STANDARD.encode(&seven), STANDARD.encode(&two)]);
        let json = json!({"inputs": [{"name": "image", "shape": shape, "datatype": "BYTES", "data": data}], "outputs": outputs});
        assert_eq!(classes(&app.post_json(path, &json).await.json()), ['7', '2']);
    }
    let bytes = [&(seven.len() as u32).to_le_bytes()[..], &seven].concat();
    let json =
        json!({"inputs": [{"name": "image", "shape": [1], "datatype": "BYTES"}], "outputs": outputs}).to_string();
    assert_eq!(classes(&send(&app, path, &json, &bytes, Some(json.len())).await.json()), ['7']);
    let answer = send(&app, path, "", &seven, Some(0)).await;
    assert_eq!(answer.split().0["outputs"].as_array().unwrap().len(), 2);
    for (shape, data, words) in [
        (json!([1]), json!(["not base64!"]), "base64"),
        (json!([1]), json!([STANDARD.encode(b"no image")]), "PNG"),
        (json!([2]), json!([STANDARD.encode(&seven)]), "2 elements"),
        (json!([1, 2]), json!(["", ""]), "shape"),
    ] {
        let json = json!({"inputs": [{"name": "image", "shape": shape, "datatype": "BYTES", "data": data}]});
        let answer = app.post_json(path, &json).await;
        assert!((400..500).contains(&answer.status.as_u16()), "{}", answer.text());
        assert!(answer.text().contains(words), "{}", answer.text());
    }
    app.assert_unharmed().await;
}

#[tokio::test]
async fn what_is_no_number_is_read_and_written_as_triton_does() {
    let app = serving(&nan_on_minus_one()).await;
    let json = r#"{"inputs":[{"name":"x","shape":[2,1],"datatype":"FP32","data":[-1,Infinity]}]}"#;
    let answer = send(&app, "/v2/models/m/infer", json, b"", None).await;
    assert!(answer.text().ends_with(r#""data":[NaN,NaN]}]}"#), "{}", answer.text());
    let app = serving(&half_plus_two()).await;
    let json = r#"{"inputs":[{"name":"x","shape":[3,1],"datatype":"FP32","data":[[NaN],[-Infinity],[Infinity]]}]}"#;
    let answer = send(&app, "/v2/models/m/infer", json, b"", None).await;
    assert!(answer.text().ends_with(r#""data":[NaN,-Infinity,Infinity]}]}"#), "{}", answer.text());
}

#[tokio::test]
async fn packed_bodies_are_read_and_written_within_bounds() {
    let app = TestApp::with_temp(bare_model("m", &pairs()), |options| options.max_body_bytes = Some(100_000)).await;
    let rows = 200;
    let json = json!({"inputs": [{"name": "x", "shape": [rows, 2], "datatype": "FP32", "parameters": {"binary_data_size": rows * 8}}]}).to_string();
    let plain = [json.as_bytes(), &floats(&vec![1.0; rows * 2])].concat();
    let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
    gzip.write_all(&plain).unwrap();
    let mut zlib = ZlibEncoder::new(Vec::new(), Compression::fast());
    zlib.write_all(&plain).unwrap();
    for (encoding, body) in [("gzip", gzip.finish().unwrap()), ("deflate", zlib.finish().unwrap())] {
        let request =
            Request::post("/v2/models/m/infer").header("content-encoding", encoding).header(HEADER, json.len());
        let answer = app.send(request.header("accept-encoding", encoding).body(body.into()).unwrap()).await;
        assert_eq!((answer.status.as_u16(), &answer.headers["content-encoding"]), (200, &encoding.parse().unwrap()));
        let mut text = String::new();
        match encoding {
            "gzip" => std::io::Read::read_to_string(&mut flate2::read::GzDecoder::new(&answer.body[..]), &mut text),
            _ => std::io::Read::read_to_string(&mut flate2::read::ZlibDecoder::new(&answer.body[..]), &mut text),
        }
        .unwrap();
        let answer: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(answer["outputs"][0]["data"].as_array().unwrap().len(), rows * 2);
    }
    let mut bomb = GzEncoder::new(Vec::new(), Compression::best());
    bomb.write_all(&vec![b' '; 1 << 20]).unwrap();
    let packed = |encoding: &str, body: Vec<u8>| {
        Request::post("/v2/models/m/infer").header("content-encoding", encoding).body(body.into()).unwrap()
    };
    assert!(app.send(packed("gzip", bomb.finish().unwrap())).await.assert_oip_error(413).contains("unpacked"));
    app.send(packed("gzip", b"\x1f\x8b\x08damaged".to_vec())).await.assert_oip_error(400);
    app.send(packed("br", plain)).await.assert_oip_error(415);
}

/// Each fault of a request in JSON, and words of what is said about it.
#[tokio::test]
async fn what_is_wrong_with_a_request_is_said() {
    let app = serving(&pairs()).await;
    let x = r#""name":"x","shape":[1,2],"datatype":"FP32""#;
    let good = format!("{{{x},\"data\":[1,2]}}");
    let lists = "[".repeat(250_000);
    let objects = "{\"a\":".repeat(250_000);
    let many = vec![good.as_str(); 2000].join(",");
    for (json, words) in [
        (String::new(), "expected an object"),
        ("{}".into(), "no \"inputs\""),
        ("[]".into(), "expected an object"),
        (r#"{"inputs":[]}"#.into(), "input \"x\" is missing"),
        (r#"{"inputs":{}}"#.into(), "expected a list"),
        (r#"{"inputs":[{"shape":[1],"datatype":"FP32","data":[1]}]}"#.into(), "no \"name\""),
        (r#"{"inputs":[{"name":"x","datatype":"FP32","data":[1]}]}"#.into(), "no \"shape\""),
        (r#"{"inputs":[{"name":"x","shape":[1,2],"data":[1,2]}]}"#.into(), "no \"datatype\""),
        (r#"{"inputs":[{"name":"x","shape":[1,2],"datatype":"FP33","data":[1,2]}]}"#.into(), "FP33"),
        (r#"{"inputs":[{"name":"x","shape":[1,2],"datatype":"INT32","data":[1,2]}]}"#.into(), "expects FP32, got INT32"),
        (r#"{"inputs":[{"name":"x","shape":[1,3],"datatype":"FP32","data":[1,2,3]}]}"#.into(), "shape [N, 2], got [1, 3]"),
        (r#"{"inputs":[{"name":"x","shape":[2],"datatype":"FP32","data":[1,2]}]}"#.into(), "shape [N, 2], got [2]"),
        (r#"{"inputs":[{"name":"x","shape":[-1,2],"datatype":"FP32","data":[1,2]}]}"#.into(), "dimension"),
        (r#"{"inputs":[{"name":"x","shape":[1.0,2],"datatype":"FP32","data":[1,2]}]}"#.into(), "dimension"),
        (r#"{"inputs":[{"name":"x","shape":"1","datatype":"FP32","data":[1,2]}]}"#.into(), "expected a list"),
        (r#"{"inputs":[{"name":"y","shape":[1,2],"datatype":"FP32","data":[1,2]}]}"#.into(), "no input \"y\"; it has: x"),
        (format!("{{\"inputs\":[{good},{good}]}}"), "given twice"),
        (format!("{{\"inputs\":[{{{x}}}]}}"), "none of \"data\""),
        (format!("{{\"inputs\":[{{{x},\"data\":[1]}}]}}"), "2 elements, the data 1"),
        (format!("{{\"inputs\":[{{{x},\"data\":[1,2,3]}}]}}"), "2 elements, the data more"),
        (format!("{{\"inputs\":[{{{x},\"data\":[1,1e39]}}]}}"), "1e39"),
        (format!("{{\"inputs\":[{{{x},\"data\":[1,null]}}]}}"), "expected a number"),
        (format!("{{\"inputs\":[{{{x},\"data\":[1,\"2\"]}}]}}"), "expected a number"),
        (format!("{{\"inputs\":[{{{x},\"data\":{{}}}}]}}"), "expected elements"),
        (format!("{{\"inputs\":[{{{x},\"data\":[1,2"), "it ends"),
        (format!("{{\"inputs\":[{good}]}}x"), "expected the end"),
        (format!("{{\"inputs\":[{good}],\"id\":7}}"), "expected a string"),
        (format!("{{\"inputs\":[{good}],\"inputs\":[]}}"), "given twice"),
        (format!("{{\"inputs\":[{good}],\"outputs\":[{{\"name\":\"z\"}}]}}"), "no output \"z\"; it has: y"),
        (format!("{{\"inputs\":[{good}],\"outputs\":[{{\"name\":\"y\"}},{{\"name\":\"y\"}}]}}"), "asked for twice"),
        (format!("{{\"inputs\":[{good}],\"outputs\":[{{}}]}}"), "no \"name\""),
        (format!("{{\"inputs\":[{good}],\"parameters\":{{\"sequence_id\":7}}}}"), "sequence"),
        (format!("{{\"inputs\":[{good}],\"parameters\":{{\"triton_x\":7}}}}"), "reserved"),
        (format!("{{\"inputs\":[{good}],\"parameters\":{{\"priority\":10}}}}"), "from 1"),
        (format!("{{\"inputs\":[{good}],\"parameters\":{{\"timeout\":\"1\"}}}}"), "\"timeout\""),
        (format!("{{\"inputs\":[{good}],\"parameters\":{{\"x\":[1]}}}}"), "as a parameter"),
        (format!("{{\"inputs\":[{good}],\"parameters\":{{\"binary_data_output\":1}}}}"), "true or false"),
        (format!("{{\"inputs\":[{{{x},\"parameters\":{{\"shared_memory_region\":\"r\"}}}}]}}"), "together"),
        (format!("{{\"inputs\":[{{{x},\"data\":{lists}"), "nested"),
        (format!("{{\"x\":{lists}"), "nested"),
        (format!("{{\"x\":{objects}"), "nested"),
        (lists.clone(), "expected an object"),
        (format!("{{\"inputs\":[{many}]}}"), "more than 1024"),
        (format!("{{\"inputs\":[{{\"name\":\"x\",\"shape\":[{}1],\"datatype\":\"FP32\",\"data\":[1]}}]}}", "1,".repeat(1000)), "dimensions"),
        (r#"{"inputs":[{"name":"x","shape":[1152921504606846976,2],"datatype":"FP32","data":[1,2]}]}"#.into(), "the shape has"),
        (r#"{"inputs":[{"name":"x","shape":[1152921504606846976,1152921504606846976],"datatype":"FP32","data":[1,2]}]}"#.into(), "too large"),
    ] {
        let shown = &json[..json.len().min(200)];
        let error = send(&app, "/v2/models/m/infer", &json, b"", None).await.assert_oip_error(400);
        assert!(error.contains(words), "{shown}: {error}");
    }
    for (path, status) in [
        ("/v2/models/absent/infer", 404),
        ("/v2/models/m/versions/2/infer", 404),
        ("/v2/models/m/versions/canary/infer", 404),
        ("/v2/models/m/versions/01/infer", 400),
        ("/v2/nothing", 404),
    ] {
        send(&app, path, "{}", b"", None).await.assert_oip_error(status);
    }
    assert_eq!(app.get("/v2/models/m/infer").await.status, 405);
    let fine = send(&app, "/v2/models/m/infer", &format!("{{\"inputs\":[{good}]}}"), b"", None).await;
    assert_eq!(fine.status, 200, "unharmed: {}", fine.text());
}

#[tokio::test]
async fn lengths_of_binary_tensors_are_exact() {
    let app = serving(&pairs()).await;
    let ask = |shape: Value, size: u64| json!({"inputs": [{"name": "x", "shape": shape, "datatype": "FP32", "parameters": {"binary_data_size": size}}]});
    for (shape, size, bytes) in [
        (json!([1, 2]), 8, 7),
        (json!([1, 2]), 8, 9),
        (json!([1, 2]), 4, 4),
        (json!([1, 2]), 12, 12),
        (json!([1, 2]), u64::MAX, 8),
        (json!([1u64 << 60, 2]), 8, 8),
        (json!([1u64 << 60, 1u64 << 60]), 8, 8),
        (json!([0, 2]), 8, 8),
    ] {
        binary(&app, &ask(shape.clone(), size), &vec![0; bytes]).await.assert_oip_error(400);
    }
    let json = ask(json!([1, 2]), 8).to_string();
    for header in [1, json.len() - 1, json.len() + 1, json.len() + 9, usize::MAX] {
        send(&app, "/v2/models/m/infer", &json, &[0; 8], Some(header)).await.assert_oip_error(400);
    }
    for header in ["-1", "x", "1.0", ""] {
        let request =
            Request::post("/v2/models/m/infer").header(HEADER, header).body(Body::from(json.clone())).unwrap();
        assert!(app.send(request).await.assert_oip_error(400).contains(HEADER));
    }
    let many = binary(&app, &ask(json!([300, 2]), 2400), &[0; 2400]).await.assert_oip_error(413);
    assert!(many.contains("the limit is 256"), "{many}");
    let none = json!({"inputs": [{"name": "x", "shape": [0, 2], "datatype": "FP32", "data": []}]});
    assert!(app.post_json("/v2/models/m/infer", &none).await.assert_oip_error(400).contains("no sample"));
}

/// The other types of the protocol, in JSON and in bytes.
#[tokio::test]
async fn half_precision_is_read_from_json_numbers() {
    const FLOAT16: i32 = 10;
    let edge = |name| (name, FLOAT16, Some(&["N", "2"][..]));
    let onnx = model(&[edge("x")], &[edge("y")], vec![node("Identity", &["x"], "y")], vec![], 18);
    let app = serving(&onnx).await;
    let json = json!({"inputs": [{"name": "x", "shape": [1, 2], "datatype": "FP16", "data": [0.1, -65504]}]});
    let answer = app.post_json("/v2/models/m/infer", &json).await;
    assert_eq!(answer.json()["outputs"][0]["data"], json!([0.099_975_586, -65504.0]), "{}", answer.text());
    let error = json!({"inputs": [{"name": "x", "shape": [1, 2], "datatype": "FP16", "data": [0.1, 70000]}]});
    assert!(app.post_json("/v2/models/m/infer", &error).await.assert_oip_error(400).contains("70000"));
}

/// A body of tiny pieces costs its sender, and a long one is read.
#[tokio::test]
async fn bodies_of_any_form_are_bounded() {
    let app = serving(&pairs()).await;
    let pieces = futures_of_pieces(1_000_000);
    let request = Request::post("/v2/models/m/infer").body(pieces).unwrap();
    app.send(request).await.assert_oip_error(413);
    let rows = 200;
    let numbers = "0.123456789012345678901234567890,".repeat(rows * 2);
    let padding = " ".repeat(1 << 20);
    let json = format!(
        "{{{padding}\"inputs\":[{{\"name\":\"x\",\"shape\":[{rows},2],\"datatype\":\"FP32\",\"data\":[{}]}}]}}",
        numbers.trim_end_matches(',')
    );
    let answer = send(&app, "/v2/models/m/infer", &json, b"", None).await;
    assert_eq!(answer.json()["outputs"][0]["shape"], json!([rows, 2]));
}

/// A body in pieces of one byte.
fn futures_of_pieces(count: usize) -> Body {
    struct Pieces(usize);
    impl http_body::Body for Pieces {
        type Data = bytes::Bytes;
        type Error = std::convert::Infallible;

        fn poll_frame(
            mut self: std::pin::Pin<&mut Self>,
            _: &mut std::task::Context<'_>,
        ) -> std::task::Poll<Option<Result<http_body::Frame<bytes::Bytes>, Self::Error>>> {
            let piece = self.0.checked_sub(1).map(|left| {
                self.0 = left;
                Ok(http_body::Frame::data(bytes::Bytes::from_static(b" ")))
            });
            std::task::Poll::Ready(piece)
        }
    }
    Body::new(Pieces(count))
}

#[tokio::test]
async fn shared_memory_is_used_when_it_is_switched_on() {
    let name = format!("weir-test-{}", std::process::id());
    let file = Path::new("/dev/shm").join(&name);
    let _removed = Removed(file.clone());
    std::fs::write(&file, [&floats(&[1.0, -0.5])[..], &[0; 16]].concat()).unwrap();
    let body = json!({"key": format!("/{name}"), "offset": 0, "byte_size": 24});
    let off = serving(&pairs()).await;
    let refused = off.post_json("/v2/systemsharedmemory/region/r/register", &body).await.assert_oip_error(403);
    assert!(refused.contains("--shared-memory"), "{refused}");
    let app = TestApp::with_temp(bare_model("m", &pairs()), |options| options.shared_memory = Some(true)).await;
    let registered = app.post_json("/v2/systemsharedmemory/region/r/register", &body).await;
    assert_eq!((registered.status.as_u16(), registered.body.len()), (200, 0));
    app.post_json("/v2/systemsharedmemory/region/r/register", &body).await.assert_oip_error(400);
    let status = json!([{"name": "r", "key": format!("/{name}"), "offset": 0, "byte_size": 24}]);
    assert_eq!(app.get("/v2/systemsharedmemory/status").await.json(), status);
    assert_eq!(app.get("/v2/systemsharedmemory/region/r/status").await.json(), status);
    app.get("/v2/systemsharedmemory/region/s/status").await.assert_oip_error(404);
    let place = |offset: u64, size: u64| json!({"shared_memory_region": "r", "shared_memory_offset": offset, "shared_memory_byte_size": size});
    let ask = |input: Value, output: Value| {
        json!({"inputs": [{"name": "x", "shape": [1, 2], "datatype": "FP32", "parameters": input}],
               "outputs": [{"name": "y", "parameters": output}]})
    };
    let answer = app.post_json("/v2/models/m/infer", &ask(place(0, 8), place(8, 16))).await.json();
    assert_eq!(answer["outputs"][0]["parameters"], place(8, 8), "{answer}");
    assert_eq!(std::fs::read(&file).unwrap()[8..16], floats(&[2.5, 1.75]));
    for (input, output) in [
        (place(0, 7), place(8, 8)),
        (place(0, 12), place(8, 8)),
        (place(20, 8), place(8, 8)),
        (place(u64::MAX, 8), place(8, 8)),
        (place(0, 8), place(20, 8)),
        (place(0, 8), place(8, 4)),
        (place(0, 8), place(0, u64::MAX)),
    ] {
        app.post_json("/v2/models/m/infer", &ask(input, output)).await.assert_oip_error(400);
    }
    for (key, value) in
        [("key", json!("../secret")), ("byte_size", json!(25)), ("byte_size", json!(-1)), ("key", json!(7))]
    {
        let mut body = body.clone();
        body[key] = value;
        app.post_json("/v2/systemsharedmemory/region/s/register", &body).await.assert_oip_error(400);
    }
    assert_eq!(app.post_json("/v2/systemsharedmemory/region/r/unregister", &json!({})).await.status, 200);
    app.post_json("/v2/models/m/infer", &ask(place(0, 8), json!({}))).await.assert_oip_error(404);
    for path in ["/v2/cudasharedmemory/status", "/v2/cudasharedmemory/region/r/status"] {
        assert!(app.get(path).await.assert_oip_error(400).contains("CUDA"));
    }
}

struct Removed(std::path::PathBuf);

impl Drop for Removed {
    fn drop(&mut self) {
        drop(std::fs::remove_file(&self.0));
    }
}
