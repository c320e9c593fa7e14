//! Pictures in colour: one transform for every protocol, and the answers of classifiers.

use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use weir::signature::{DType, ImageSpec, ImageTransform};
use weir::tensor::Data;
use weir::transform::{ImageLimits, PolarityChoice, append_image};

use crate::fixtures::{add_bare_model, constant, model, node};
use crate::support::TestApp;
use tempfile::TempDir;

const LIMITS: ImageLimits = ImageLimits { max_pixels: 25_000_000 };
const FLOAT: i32 = 1;
const UINT8: i32 = 2;
const FLOAT16: i32 = 10;

fn file(name: &str) -> Vec<u8> {
    std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/pillow").join(name)).unwrap()
}

/// y = x of a picture.
fn same(dtype: i32, dims: &[&str]) -> Vec<u8> {
    model(&[("x", dtype, Some(dims))], &[("y", dtype, Some(dims))], vec![node("Identity", &["x"], "y")], vec![], 18)
}

/// y = the sum of each channel of `x: [N, 3, 8, 8]`, each times a factor, as `[N, 3]`.
fn channel_sums(factors: [f32; 3], last: &str) -> Vec<u8> {
    let axes = tract_onnx::pb::TensorProto {
        name: "axes".into(),
        dims: vec![2],
        data_type: 7,
        raw_data: [2i64, 3].iter().flat_map(|axis| axis.to_le_bytes()).collect(),
        ..Default::default()
    };
    let mut sum = node("ReduceSum", &["x", "axes"], "sum");
    sum.attribute.push(tract_onnx::pb::AttributeProto {
        name: "keepdims".into(),
        r#type: tract_onnx::pb::attribute_proto::AttributeType::Int as i32,
        i: 0,
        ..Default::default()
    });
    let nodes = vec![sum, node("Mul", &["sum", "factors"], "scores"), node(last, &["scores"], "y")];
    let edges = (&["N", "3", "8", "8"][..], &["N", "3"][..]);
    model(
        &[("x", FLOAT, Some(edges.0))],
        &[("y", FLOAT, Some(edges.1))],
        nodes,
        vec![constant("factors", &[3], &factors), axes],
        18,
    )
}

fn with_settings(models: &[(&str, Vec<u8>, &str)]) -> TempDir {
    let root = TempDir::new().unwrap();
    for (name, onnx, settings) in models {
        add_bare_model(root.path(), name, 1, onnx);
        std::fs::write(root.path().join(name).join("model.toml"), settings).unwrap();
    }
    root
}

/// The elements that the transform makes of a file, as the trainer gets them.
fn expected(file: &[u8], settings: &str, [width, height]: [u32; 2], dtype: DType) -> Data {
    let table = settings.replace("[image]", "");
    let mut spec: ImageSpec = toml::from_str(&table).unwrap();
    (spec.width, spec.height, spec.dtype) = (Some(width), Some(height), Some(dtype));
    let transform: ImageTransform = spec.resolve(None).unwrap();
    let mut elements = Data::with_capacity(dtype, 0);
    append_image(file, &transform, LIMITS, PolarityChoice::Auto, &mut elements).unwrap();
    elements
}

#[tokio::test(flavor = "multi_thread")]
async fn every_protocol_makes_the_tensor_of_training_of_a_picture() {
    let picture = file("wide.png");
    let settings = "[image]\npreset = \"imagenet\"";
    let models = with_settings(&[("net", same(FLOAT, &["N", "3", "12", "16"]), settings)]);
    let app = TestApp::with(models.path(), |_| {}).await;
    let Data::Float32(expected) = expected(&picture, settings, [16, 12], DType::Float32) else { panic!() };
    let text = STANDARD.encode(&picture);
    let url = format!("data:image/png;base64,{text}");
    let form = [
        &b"--b\r\ncontent-disposition: form-data; name=\"file\"; filename=\"f\"\r\n\r\n"[..],
        &picture,
        b"\r\n--b--\r\n",
    ]
    .concat();
    let predict = "/models/net/predict";
    let bytes = json!({"inputs": [{"name": "x", "shape": [1], "datatype": "BYTES", "data": [text]}]});
    for (name, answer, place) in [
        ("bytes", app.post(predict, "image/png", picture.clone()).await, "/predictions/0/outputs/y"),
        ("form", app.post(predict, "multipart/form-data; boundary=b", form).await, "/predictions/0/outputs/y"),
        ("base64", app.post_json(predict, &json!({"images": [text]})).await, "/predictions/0/outputs/y"),
        ("data URL", app.post_json(predict, &json!({"images": [url]})).await, "/predictions/0/outputs/y"),
        ("OIP", app.post_json("/v2/models/net/infer", &bytes).await, "/outputs/0/data"),
        (
            "KServe V1",
            app.post_json("/v1/models/net:predict", &json!({"instances": [{"b64": text}]})).await,
            "/predictions/0",
        ),
        ("TorchServe", app.post("/predictions/net", "image/png", picture.clone()).await, ""),
    ] {
        assert_eq!(answer.status, 200, "{name}: {}", answer.text());
        let json = answer.json();
        let found = floats_of(json.pointer(place).unwrap_or_else(|| panic!("{name}: {json}")));
        assert_eq!(found, expected, "{name}");
    }
}

fn floats_of(value: &Value) -> Vec<f32> {
    match value {
        Value::Array(list) => list.iter().flat_map(floats_of).collect(),
        other => vec![other.as_f64().unwrap() as f32],
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn layouts_types_and_open_sizes_follow_the_graph() {
    let picture = file("tall.png");
    let plain = "[image]\nfit = \"letterbox\"\npadding = [1, 2, 3]";
    let sized = "[image]\nwidth = 20\nheight = 10\npreset = \"yolo\"";
    let models = with_settings(&[
        ("nhwc", same(FLOAT, &["N", "12", "16", "3"]), plain),
        ("bytes", same(UINT8, &["N", "12", "16", "3"]), plain),
        ("half", same(FLOAT16, &["N", "3", "12", "16"]), plain),
        ("one", same(FLOAT, &["1", "3", "12", "16"]), plain),
        ("open", same(FLOAT, &["N", "3", "H", "W"]), sized),
        ("grey", same(FLOAT, &["N", "1", "12", "16"]), "[image]"),
    ]);
    let app = TestApp::with(models.path(), |_| {}).await;
    let nhwc = format!("{plain}\nlayout = \"nhwc\"");
    for (name, settings, size, dtype) in [
        ("nhwc", nhwc.as_str(), [16, 12], DType::Float32),
        ("bytes", nhwc.as_str(), [16, 12], DType::Uint8),
        ("half", plain, [16, 12], DType::Float16),
        ("one", plain, [16, 12], DType::Float32),
        ("open", sized, [20, 10], DType::Float32),
        ("grey", "[image]\ncolour = \"grey\"", [16, 12], DType::Float32),
    ] {
        let answer = app.post(&format!("/models/{name}/predict"), "image/png", picture.clone()).await;
        assert_eq!(answer.status, 200, "{name}: {}", answer.text());
        let found = floats_of(&answer.json()["predictions"][0]["outputs"]["y"]);
        let expected = match expected(&picture, settings, size, dtype) {
            Data::Float32(elements) => elements,
            Data::Uint8(elements) => elements.into_iter().map(f32::from).collect(),
            Data::Float16(elements) => elements.into_iter().map(f32::from).collect(),
            other => panic!("{other:?}"),
        };
        assert_eq!(found, expected, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn scores_become_confidences_by_what_they_are() {
    let classes = "labels = [\"red\", \"green\", \"blue\"]\n[image]\nscale = 0.01\n[answer]\nkind = \"classes\"";
    let labels = classes.replace("\"classes\"", "\"labels\"\nthresholds = [0.5, 0.5, 0.9]");
    let models = with_settings(&[
        ("logits", channel_sums([1.0; 3], "Identity"), classes),
        ("softmax", channel_sums([1.0; 3], "Softmax"), classes),
        ("told", channel_sums([1.0; 3], "Softmax"), &format!("{classes}\nscores = \"logits\"")),
        ("labels", channel_sums([1.0, -1.0, 0.01], "Identity"), &labels),
        ("sigmoid", channel_sums([1.0, -1.0, 0.01], "Sigmoid"), &labels),
    ]);
    let app = TestApp::with(models.path(), |_| {}).await;
    let red = {
        let picture = image::RgbImage::from_pixel(5, 7, image::Rgb([10, 8, 6]));
        let mut file = std::io::Cursor::new(Vec::new());
        picture.write_to(&mut file, image::ImageFormat::Png).unwrap();
        file.into_inner()
    };
    // 64 pixels of a hundredth of the level.
    let scores = [6.4f64, 5.12, 3.84];
    let powers = scores.map(f64::exp);
    let shares = powers.map(|power| power / powers.iter().sum::<f64>());
    let again = shares.map(f64::exp);
    for (name, expected) in
        [("logits", shares), ("softmax", shares), ("told", again.map(|power| power / again.iter().sum::<f64>()))]
    {
        let answer = app.post(&format!("/models/{name}/predict?top_k=3"), "image/png", red.clone()).await;
        let prediction = answer.json()["predictions"][0].clone();
        assert_eq!(prediction["label"], "red", "{name}: {prediction}");
        assert!(prediction.get("inverted").is_none(), "{prediction}");
        for (place, share) in expected.iter().enumerate() {
            let found = prediction["top_k"][place]["confidence"].as_f64().unwrap();
            assert!((found - share).abs() < 1e-5, "{name}: {prediction}, {expected:?}");
        }
    }
    for name in ["labels", "sigmoid"] {
        let answer = app.post(&format!("/models/{name}/predict?top_k=2"), "image/png", red.clone()).await;
        let prediction = answer.json()["predictions"][0].clone();
        let names = |list: &Value| -> Vec<String> {
            list.as_array().unwrap().iter().map(|scored| scored["label"].as_str().unwrap().to_owned()).collect()
        };
        assert_eq!(names(&prediction["labels"]), ["red"], "{name}: {prediction}");
        assert_eq!(names(&prediction["top_k"]), ["red", "blue"], "{name}: {prediction}");
    }
    let classified = app.post("/predictions/logits", "image/png", red.clone()).await;
    let found = classified.json()["red"].as_f64().unwrap();
    assert!((found - shares[0]).abs() < 1e-5, "{}", classified.text());
    let text = STANDARD.encode(&red);
    let classified = app.post_json("/v1/models/logits:classify", &json!({"examples": [{"x": {"b64": text}}]})).await;
    let found = classified.json()["results"][0][0][1].as_f64().unwrap();
    assert!((found - shares[0]).abs() < 1e-5, "{}", classified.text());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_does_not_fit_says_why_the_version_does_not_serve() {
    let models = with_settings(&[
        ("size", same(FLOAT, &["N", "3", "12", "16"]), "[image]\nwidth = 17"),
        ("channels", same(FLOAT, &["N", "3", "12", "16"]), "[image]\ncolour = \"grey\""),
        ("both", same(FLOAT, &["N", "3", "12", "16"]), "[image]\n[transform.output]\nkind = \"raw\""),
        ("output", same(FLOAT, &["N", "3", "12", "16"]), "[image]\n[answer]\nkind = \"classes\""),
    ]);
    let app = TestApp::with(models.path(), |_| {}).await;
    for (name, expected) in [
        ("size", "[image]: width is 17, and the graph's input has 16"),
        ("channels", "colour is of 1 channels, and the graph's input [N, 3, 12, 16] has no such dimension"),
        ("both", "excludes [image]"),
        ("output", "no output holds scores of classes"),
    ] {
        let shown = app.get(&format!("/models/{name}")).await.text();
        assert!(shown.contains(expected), "{name}: {shown}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bare_vision_graph_says_which_lines_it_lacks() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/vision");
    let onnx = std::fs::read(root.join("colours.onnx")).unwrap();
    let red = std::fs::read(root.join("red.jpg")).unwrap();
    let models = TempDir::new().unwrap();
    add_bare_model(models.path(), "colours", 1, &onnx);
    let bare = TestApp::with(models.path(), |_| {}).await;
    let lines = json!(["image.preset = \"imagenet\"", "answer.kind = \"classes\""]);
    let shown = bare.get("/models/colours").await.json();
    assert_eq!(shown["versions"][0]["missing_settings"], lines, "{shown}");
    let refused = bare.post("/models/colours/predict", "image/jpeg", red.clone()).await.assert_problem(415);
    assert!(refused.contains("image.preset = \"imagenet\"; answer.kind = \"classes\""), "{refused}");
    drop(bare);
    // What is told is enough; the names of the classes are in the graph.
    let settings: Vec<&str> = lines.as_array().unwrap().iter().map(|line| line.as_str().unwrap()).collect();
    std::fs::write(models.path().join("colours/model.toml"), settings.join("\n")).unwrap();
    let told = TestApp::with(models.path(), |_| {}).await;
    let answer = told.post("/models/colours/predict", "image/jpeg", red.clone()).await;
    assert_eq!(answer.labels(), ["red"], "{}", answer.text());
    let shown = told.get("/models/colours").await.json();
    let declared = &shown["versions"][0]["declared"];
    assert_eq!(declared["labels"], json!(["red", "green", "blue"]), "{shown}");
    assert_eq!(declared["transform"]["output"]["scores"], "logits", "{shown}");
    assert_eq!(declared["transform"]["image"]["width"], 32, "{shown}");
    assert!(shown["versions"][0].get("missing_settings").is_none(), "{shown}");
    drop(told);
    // A file beside the versions names them otherwise.
    std::fs::write(models.path().join("colours/names.txt"), "rot\ngrün\nblau\n").unwrap();
    let settings = format!("labels_file = \"names.txt\"\n{}", settings.join("\n"));
    std::fs::write(models.path().join("colours/model.toml"), settings).unwrap();
    let named = TestApp::with(models.path(), |_| {}).await;
    assert_eq!(named.post("/models/colours/predict", "image/jpeg", red).await.labels(), ["rot"]);
}
