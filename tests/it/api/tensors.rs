//! Bodies of requests, and tensors written as JSON: types, syntax, shapes, numbers, batches.
//!
//! The numbers in comments are those of the test catalogue.

use std::sync::Arc;

use axum::http::{HeaderValue, Request};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::fixtures::{
    add_bare_model, bare_model, half_plus_two, mnist, nan_on_minus_one, node, onnx, png_of_test_image,
};
use crate::support::{TestApp, bundled_models};

const JSON: &str = "application/json";

/// 8: what a body is, its bytes decide, and a form its content type.
#[tokio::test]
async fn bodies_of_every_type_are_defined() {
    let app = TestApp::start().await;
    let png = png_of_test_image(0);
    let encoded = json!({"images": [STANDARD.encode(&png)]}).to_string().into_bytes();
    let part = |body: &[u8]| {
        [b"--b\r\ncontent-disposition: form-data; name=\"f\"; filename=\"f.png\"\r\n\r\n", body, b"\r\n"].concat()
    };
    let form = |parts: usize, body: &[u8]| [part(body).repeat(parts), b"--b--\r\n".to_vec()].concat();
    let multipart = "multipart/form-data; boundary=b";
    for (content_type, body, status) in [
        ("", png.clone(), 200),
        ("", encoded.clone(), 200),
        ("application/json; charset=utf-8", encoded.clone(), 200),
        ("application/octet-stream", png.clone(), 200),
        (multipart, form(1, &png), 200),
        ("Multipart/Form-Data; Boundary=\"b\"", form(1, &png), 200),
        ("", b"text".to_vec(), 415),
        ("text/plain", b"text".to_vec(), 415),
        ("image/png", b"text".to_vec(), 415),
        ("application/x-www-form-urlencoded", b"image=1".to_vec(), 415),
        ("multipart/mixed; boundary=b", form(1, &png), 415),
        ("application/json", b"text".to_vec(), 400),
        ("image/png", Vec::new(), 422),
        ("application/json", Vec::new(), 422),
        ("multipart/form-data", form(1, &png), 400),
        ("multipart/form-data; boundary=", form(1, &png), 400),
        ("multipart/form-data; boundary=other", form(1, &png), 400),
        (multipart, Vec::new(), 400),
        (multipart, b"--b\r\nnonsense".to_vec(), 400),
        (multipart, part(&png), 400),
        (multipart, form(0, &png), 422),
        (multipart, form(1, b""), 422),
        (multipart, b"--b\r\ncontent-disposition: form-data; name=\"top_k\"\r\n\r\n3\r\n--b--\r\n".to_vec(), 422),
        (multipart, form(1, b"text"), 415),
        (multipart, form(10_000, b"x"), 413),
    ] {
        let what = format!("{content_type:?} {}", String::from_utf8_lossy(&body[..body.len().min(80)]));
        let answer = app.post("/predict", content_type, body).await;
        assert_eq!(answer.status, status, "{what}: {}", answer.text());
        if status != 200 {
            answer.assert_problem(status);
        }
    }
    app.assert_unharmed().await;
}

/// 10: nothing is ever unpacked, so no bomb goes off.
#[tokio::test]
async fn bodies_are_unpacked_from_gzip_and_deflate_alone() {
    let app = TestApp::start().await;
    let send = async |encoding: &str, body: Vec<u8>| {
        let encoding = HeaderValue::from_bytes(encoding.as_bytes()).unwrap_or(HeaderValue::from_static("?"));
        let request = Request::post("/predict").header("content-encoding", encoding);
        app.send(request.body(body.into()).unwrap()).await
    };
    for encoding in ["br", "zstd", "x-deflate", "gzip, gzip", "identity, gzip", "\x7f", ""] {
        send(encoding, png_of_test_image(0)).await.assert_problem(415);
    }
    let (image, level) = (png_of_test_image(0), flate2::Compression::fast());
    let all = |reader: &mut dyn std::io::Read| {
        let mut bytes = Vec::new();
        reader.read_to_end(&mut bytes).unwrap();
        bytes
    };
    for (encoding, packed) in [
        ("gzip", all(&mut flate2::read::GzEncoder::new(&image[..], level))),
        ("GZIP", all(&mut flate2::read::GzEncoder::new(&image[..], level))),
        (" X-Gzip ", all(&mut flate2::read::GzEncoder::new(&image[..], level))),
        ("Deflate", all(&mut flate2::read::ZlibEncoder::new(&image[..], level))),
        ("deflate", all(&mut flate2::read::ZlibEncoder::new(&image[..], level))),
    ] {
        send(encoding, image.clone()).await.assert_problem(400);
        send(encoding, packed[..packed.len() - 5].to_vec()).await.assert_problem(400);
        assert_eq!(send(encoding, packed).await.labels(), ["7"], "{encoding}");
    }
    let twice = Request::post("/predict").header("content-encoding", "gzip").header("content-encoding", "gzip");
    app.send(twice.body(image.into()).unwrap()).await.assert_problem(415);
    app.post("/predict", "application/json", b"\x1f\x8b\x08\0".to_vec()).await.assert_problem(400);
    app.post("/predict", "", b"\x1f\x8b\x08\0".to_vec()).await.assert_problem(415);
    app.assert_unharmed().await;
}

/// 13: nesting costs the client its request and the server nothing.
#[tokio::test]
async fn deep_json_is_refused() {
    let app = TestApp::start().await;
    for depth in [9, 127, 129, 250_000] {
        let (open, close) = ("[".repeat(depth), "]".repeat(depth));
        let objects = "{\"a\":".repeat(depth);
        for body in [
            format!("{{\"instances\":{open}1{close}}}"),
            format!("{{\"instances\":{open}"),
            format!("{{\"instances\":[{objects}"),
            format!("{{\"images\":{open}{close}}}"),
            format!("{{\"top_k\":{open}"),
            format!("{{\"unknown\":{open}{close}}}"),
            format!("{{\"instances\":[[1]],\"unknown\":{objects}"),
            open.clone(),
            objects.clone(),
        ] {
            app.post("/predict", JSON, body).await.assert_problem(400);
        }
    }
    app.assert_unharmed().await;
}

/// 14: what is not exactly the documented JSON is refused, and nothing is guessed.
#[tokio::test]
async fn sloppy_json_is_refused() {
    let app = TestApp::start().await;
    let image = STANDARD.encode(png_of_test_image(0));
    let good = format!("{{\"images\":[\"{image}\"],\"top_k\":2}}");
    assert_eq!(app.post("/predict", JSON, format!(" \r\n\t{good}\n ")).await.labels(), ["7"]);
    let utf_16: Vec<u8> = good.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let mut bodies: Vec<(&str, Vec<u8>)> = vec![
        ("two byte order marks", [b"\xef\xbb\xbf\xef\xbb\xbf", good.as_bytes()].concat()),
        ("a byte order mark behind a space", [b" \xef\xbb\xbf", good.as_bytes()].concat()),
        ("UTF-16 with a mark", [&b"\xff\xfe"[..], &utf_16].concat()),
        ("UTF-16 without one", utf_16),
        ("bytes that are no UTF-8", [&good.as_bytes()[..good.len() - 1], &b",\"\xff\":1}"[..]].concat()),
        ("a NUL at the end", [good.as_bytes(), b"\0"].concat()),
        ("cut off", good.as_bytes()[..good.len() - 1].to_vec()),
        ("two documents", good.repeat(2).into_bytes()),
        ("text behind", format!("{good}x").into_bytes()),
    ];
    for (what, body) in [
        ("a key twice", format!("{{\"images\":[\"{image}\"],\"images\":[\"{image}\"]}}")),
        ("an unknown key", format!("{{\"images\":[\"{image}\"],\"topk\":2}}")),
        ("a key in other case", format!("{{\"Images\":[\"{image}\"]}}")),
        ("a lone surrogate", "{\"images\":[\"\\ud800\"]}".into()),
        ("an escaped NUL", format!("{{\"images\":[\"\\u0000{image}\"]}}")),
        ("a raw NUL", format!("{{\"images\":[\"\0{image}\"]}}")),
        ("a comment", format!("{{/**/\"images\":[\"{image}\"]}}")),
        ("a trailing comma", format!("{{\"images\":[\"{image}\"],}}")),
        ("single quotes", format!("{{'images':['{image}']}}")),
        ("a list in place of the object", format!("[[\"{image}\"]]")),
        ("the values without keys", format!("[[\"{image}\"],null,2,null]")),
        ("one image outside a list", format!("{{\"images\":\"{image}\"}}")),
        ("both kinds of input", format!("{{\"images\":[\"{image}\"],\"instances\":[[1]]}}")),
        ("no input", "{}".into()),
        ("null for input", "{\"images\":null}".into()),
        ("a number for an image", "{\"images\":[7]}".into()),
        ("null for an image", "{\"images\":[null]}".into()),
        ("null", "null".into()),
        ("a number", "7".into()),
        ("a polarity there is not", format!("{{\"images\":[\"{image}\"],\"polarity\":\"AUTO\"}}")),
        ("a polarity as an object", format!("{{\"images\":[\"{image}\"],\"polarity\":{{\"auto\":null}}}}")),
    ] {
        bodies.push((what, body.into_bytes()));
    }
    for top_k in ["0", "-1", "1001", "65536", "1.5", "2.0", "1e2", "\"2\"", "true", "[2]", "99999999999999999999"] {
        bodies.push((top_k, format!("{{\"images\":[\"{image}\"],\"top_k\":{top_k}}}").into_bytes()));
    }
    let mut accepted = Vec::new();
    for (what, body) in bodies {
        let answer = app.post("/predict", JSON, body).await;
        if answer.status == 400 {
            answer.assert_problem(400);
        } else {
            accepted.push((what, answer.status));
        }
    }
    assert_eq!(accepted, []);
    app.assert_unharmed().await;
}

/// 29: base64 is base64 (RFC 4648), and never something to fetch.
#[tokio::test]
async fn only_base64_is_an_image() {
    let app = TestApp::start().await;
    let image = png_of_test_image(0);
    let good = STANDARD.encode(&image);
    let padded = STANDARD.encode([&image[..], &[0; 3][..(4 - image.len() % 3) % 3]].concat());
    assert!(padded.ends_with('='));
    let (head, tail) = good.split_at(8);
    for bad in [
        format!("{padded}="),
        format!("{good}===="),
        format!("={good}"),
        format!("{head}={tail}"),
        format!("{head}*{tail}"),
        format!("{head}-_{tail}+/"),
        good[..good.trim_end_matches('=').len() / 4 * 4 - 3].to_owned(),
        format!("data:image/png,{good}"),
        format!("data:image/png;base64;{good}"),
        "http://127.0.0.1:9/7.png".into(),
        "https://example.org/7.png".into(),
        "file:///etc/passwd".into(),
        "/etc/passwd.".into(),
        "\u{0}".into(),
        "ｉＶＢＯ".into(),
    ] {
        let detail = app.post_json("/predict", &json!({"images": [good, bad]})).await.assert_problem(400);
        assert!(detail.contains("images[1]") && !detail.contains("root:"), "{detail}");
    }
    app.assert_unharmed().await;
}

/// 30, 31: the refusal names what was expected and what was met.
#[tokio::test]
async fn tensors_of_another_shape_are_refused_by_name() {
    let app = TestApp::start().await;
    let row = vec![0; 28];
    let picture = vec![row.clone(); 28];
    for (instances, given) in [
        (json!([1]), "[]"),
        (json!(vec![0; 784]), "[]"),
        (json!([[1]]), "[1]"),
        (json!([vec![0; 783]]), "[783]"),
        (json!([vec![0; 785]]), "[785]"),
        (json!([vec![row.clone(); 27]]), "[27, 28]"),
        (json!([vec![vec![0; 29]; 28]]), "[28, 29]"),
        (json!([vec![picture.clone(); 3]]), "[3, 28, 28]"),
        (json!([[[picture.clone()]]]), "[1, 1, 28, 28]"),
        (json!([picture[0].iter().map(|pixel| vec![vec![*pixel; 28]]).collect::<Vec<_>>()]), "[28, 1, 28]"),
        (json!([[]]), "[0]"),
        (json!([[[[]]]]), "[1, 1, 0]"),
    ] {
        let detail = app.post_json("/predict", &json!({"instances": instances})).await.assert_problem(422);
        assert!(detail.contains("[1, 28, 28]") && detail.ends_with(&format!("got the shape {given}")), "{detail}");
    }
    for (what, instances) in [
        ("ragged", json!([vec![0; 784], vec![0; 783]])),
        ("of mixed depth", json!([vec![0; 784], picture.clone()])),
        ("a number beside a list", json!([1, [2]])),
        ("text", json!([["1"]])),
        ("truth", json!([[true]])),
        ("nothing", json!([[null]])),
        ("an object", json!([{"x": [1]}])),
        ("a number alone", json!(7)),
        ("an object alone", json!({"x": [[1]]})),
        ("text alone", json!("AAAA")),
    ] {
        let detail = app.post_json("/predict", &json!({"instances": instances})).await.assert_problem(400);
        assert!(detail.contains("expected"), "{what}: {detail}");
    }
    app.assert_unharmed().await;
}

/// 32: no infinity reaches a model; what rounds to a finite number does.
#[tokio::test]
async fn numbers_that_are_not_finite_are_refused() {
    let app = TestApp::with_temp(bare_model("half", &half_plus_two()), |_| {}).await;
    for number in [
        "NaN",
        "nan",
        "Infinity",
        "-Infinity",
        "inf",
        "1e39",
        "-1e39",
        "3.4028236e38",
        "1e400",
        "-1e400",
        "1e999999999",
        &format!("1{}", "0".repeat(400)),
        "0x1",
        "01",
        "+1",
        ".5",
        "5.",
        "1e",
        "--1",
        "1_000",
        "½",
    ] {
        app.post("/predict", JSON, format!("{{\"instances\":[[{number}]]}}")).await.assert_problem(400);
    }
    for (number, expected) in [
        ("3.4028234e38", 1.7014117e38),
        ("1e-400", 2.0),
        ("-0.0", 2.0),
        ("18446744073709551616", 9.223372e18),
        ("-9223372036854775809", -4.611686e18),
        (&format!("1.{}", "0".repeat(10_000)), 2.5f32),
    ] {
        let answer = app.post("/predict", JSON, format!("{{\"instances\":[[{number}]]}}")).await.json();
        assert_eq!(answer["predictions"][0]["outputs"]["y"][0].as_f64().map(|y| y as f32), Some(expected), "{number}");
    }
}

/// 33: JSON has no word for what is not finite but null.
#[tokio::test]
async fn an_output_that_is_not_finite_is_null() {
    let app = TestApp::with_temp(bare_model("nan", &nan_on_minus_one()), |_| {}).await;
    let answer = app.post_json("/predict", &json!({"instances": [[1], [-1], [2]]})).await;
    let outputs = |y: Value| json!({"outputs": {"y": [y]}});
    assert_eq!(answer.json()["predictions"], json!([outputs(json!(1.0)), outputs(json!(null)), outputs(json!(1.0))]));
    let log = bare_model("log", &onnx(&[3], vec![node("Log", &["x"], "y")], Vec::new()));
    let app = TestApp::with_temp(log, |_| {}).await;
    let answer = app.post_json("/predict", &json!({"instances": [[0, -1, 1]]})).await;
    assert_eq!(answer.json()["predictions"][0]["outputs"]["y"], json!([null, null, 0.0]));
}

/// A class cannot be named by probabilities that are none, and a number can be missing.
#[tokio::test]
async fn what_cannot_be_answered_without_a_finite_number_is_refused_with_the_reason() {
    let models = bare_model("classes", &onnx(&[2], vec![node("Log", &["x"], "y")], Vec::new()));
    add_bare_model(models.path(), "number", 1, &nan_on_minus_one());
    for (name, output) in
        [("classes", "kind = \"classification\"\nprobabilities"), ("number", "kind = \"regression\"\nvalue")]
    {
        let settings = format!("[transform.output]\n{output} = \"y\"\n");
        std::fs::write(models.path().join(name).join("model.toml"), settings).unwrap();
    }
    let app = TestApp::with_temp(models, |_| {}).await;
    let body = json!({"instances": [[1, 2], [1, -1]]});
    let detail = app.post_json("/models/classes/predict", &body).await.assert_problem(422);
    assert!(detail.contains("NaN or infinity for sample 1") && detail.contains("/v2"), "{detail}");
    assert_eq!(app.post_json("/models/classes/predict", &json!({"instances": [[1, 2]]})).await.status, 200);
    let answer = app.post_json("/models/number/predict", &json!({"instances": [[1], [-1]]})).await;
    assert_eq!(answer.json()["predictions"], json!([{"value": 1.0}, {"value": null}]));
}

/// A model without a manifest answers with its outputs as they are, and takes no images.
#[tokio::test]
async fn a_bare_model_answers_in_raw_numbers() {
    let app = TestApp::with_temp(bare_model("half", &half_plus_two()), |_| {}).await;
    let answer = app.post_json("/predict", &json!({"instances": [[1.0], [2], [-4]]})).await.json();
    assert_eq!((&answer["model"], &answer["version"]), (&json!("half"), &json!(1)));
    assert_eq!(
        answer["predictions"],
        json!([{"outputs": {"y": [2.5]}}, {"outputs": {"y": [3.0]}}, {"outputs": {"y": [0.0]}}])
    );
    let detail = app.post("/predict", "image/png", png_of_test_image(0)).await.assert_problem(415);
    assert!(detail.contains("instances"), "{detail}");
}

/// 35, 36: from too many numbers to none at all.
#[tokio::test]
async fn batches_have_a_smallest_and_a_largest_size() {
    let app = TestApp::with_temp(bare_model("half", &half_plus_two()), |options| options.max_samples = Some(8)).await;
    let rows = |count: usize| format!("{{\"instances\":[{}[0]]}}", "[0],".repeat(count - 1));
    for (what, body, status) in [
        ("none", "{\"instances\":[]}".to_owned(), 422),
        ("no image", "{\"images\":[]}".into(), 422),
        ("one", rows(1), 200),
        ("as many as allowed", rows(8), 200),
        ("one more", rows(9), 413),
        ("two million", rows(2_000_000), 413),
        ("ten million numbers in 20 MB", format!("{{\"instances\":[[{}0]]}}", "0,".repeat(9_999_999)), 413),
        ("five million numbers in one row", format!("{{\"instances\":[[{}0]]}}", "0,".repeat(4_999_999)), 422),
    ] {
        let answer = app.post("/predict", JSON, body).await;
        assert_eq!(answer.status, status, "{what}: {}", answer.text());
    }
}

/// 38: the company a sample keeps does not change its answer.
#[tokio::test]
async fn a_sample_gets_the_same_answer_alone_and_in_every_batch() {
    let app = TestApp::with(&bundled_models(), |options| options.inline_below_microseconds = Some(0)).await;
    let confidences = |answer: &Value, index: usize| -> Vec<f64> {
        let mut scores = [0.0; 10];
        for scored in answer["predictions"][index]["top_k"].as_array().unwrap() {
            scores[scored["class"].as_u64().unwrap() as usize] = scored["confidence"].as_f64().unwrap();
        }
        scores.to_vec()
    };
    let ask = async |range: std::ops::Range<usize>| {
        let instances: Vec<_> = range.map(|index| crate::fixtures::pixels(&mnist().test, index)).collect();
        app.post_json("/predict", &json!({"instances": instances, "top_k": 10})).await.json()
    };
    let mut alone = Vec::new();
    for index in 0..64 {
        alone.push(confidences(&ask(index..index + 1).await, 0));
    }
    for size in 1..=64 {
        let together = ask(0..size).await;
        assert_eq!(together["predictions"].as_array().unwrap().len(), size);
        for (index, alone) in alone.iter().enumerate().take(size) {
            let close = confidences(&together, index).iter().zip(alone).all(|(a, b)| (a - b).abs() < 1e-5);
            assert!(close, "sample {index} in a batch of {size}");
        }
    }
    app.assert_unharmed().await;
}

/// 38: under concurrency every caller gets the answers to its own questions, in its own order.
#[tokio::test(flavor = "multi_thread")]
async fn every_caller_gets_its_own_answers() {
    for inline_below in [0, 1_000_000] {
        let app = TestApp::with_temp(bare_model("half", &half_plus_two()), |options| {
            options.inline_below_microseconds = Some(inline_below)
        })
        .await;
        let app = Arc::new(app);
        let callers: Vec<_> = (0..64u32).map(|caller| tokio::spawn(ask_tagged(app.clone(), caller))).collect();
        for caller in callers {
            caller.await.unwrap();
        }
        assert_eq!(
            app.metric("weir_inference_requests_total{model=\"half\",outcome=\"success\",version=\"1\"}"),
            64.0 * 100.0
        );
    }
}

/// Asks a hundred times with numbers that no other caller uses.
async fn ask_tagged(app: Arc<TestApp>, caller: u32) {
    for turn in 0..100 {
        let tags: Vec<u32> = (0..=(turn + caller) % 7).map(|row| (caller * 1000 + turn * 10 + row) * 2).collect();
        let instances: Vec<_> = tags.iter().map(|tag| [tag]).collect();
        let expected: Vec<_> = tags.iter().map(|tag| json!({"outputs": {"y": [f64::from(tag / 2 + 2)]}})).collect();
        let answer = app.post_json("/predict", &json!({"instances": instances})).await;
        assert_eq!(answer.json()["predictions"], json!(expected), "caller {caller}, turn {turn}");
    }
}
