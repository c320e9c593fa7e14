//! Answers of vision models: boxes, class maps, vectors and pictures in the pixels of what was sent.

#![expect(clippy::disallowed_methods, reason = "the files are those that Weir made of small pictures")]

use axum::body::Body;
use axum::http::Request;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use image::metadata::Orientation;
use image::{ImageEncoder, RgbImage};
use serde_json::{Value, json};
use tempfile::TempDir;
use tract_onnx::pb::{AttributeProto, NodeProto, TensorProto, attribute_proto::AttributeType};

use crate::fixtures::{add_bare_model, constant, model, node};
use crate::support::{Answer, TestApp};

const FLOAT: i32 = 1;
const INT64: i32 = 7;
/// Width and height of the input of every model here.
const SIDE: usize = 64;

fn with_axes(mut made: NodeProto, axes: &[i64]) -> NodeProto {
    made.attribute.push(AttributeProto {
        name: "axes".into(),
        r#type: AttributeType::Ints as i32,
        ints: axes.into(),
        ..AttributeProto::default()
    });
    made
}

fn with_int(mut made: NodeProto, name: &str, value: i64) -> NodeProto {
    let r#type = AttributeType::Int as i32;
    made.attribute.push(AttributeProto { name: name.into(), r#type, i: value, ..AttributeProto::default() });
    made
}

fn whole_numbers(name: &str, values: &[i64]) -> TensorProto {
    TensorProto {
        name: name.into(),
        dims: vec![values.len() as i64],
        data_type: INT64,
        raw_data: values.iter().flat_map(|value| value.to_le_bytes()).collect(),
        ..TensorProto::default()
    }
}

/// A detector of what is bright: `x: [N, 3, 64, 64]`, 0 to 1, becomes `y: [N, 1, 6]`: the edges of all pixels above 0.7,
/// score 0.9 and class 1.
fn finds_what_is_bright() -> Vec<u8> {
    let side = SIDE.to_string();
    let mut nodes = vec![
        with_axes(node("ReduceMax", &["x"], "level"), &[1]),
        node("Greater", &["level", "threshold"], "is_bright"),
        with_int(node("Cast", &["is_bright"], "bright"), "to", FLOAT.into()),
    ];
    // The last bright place on an axis is the greatest of places counted from 1, the first the least from the end.
    for (across, first, last, line) in [(2, "left", "right", "columns"), (3, "top", "bottom", "rows")] {
        let axis = 5 - across;
        let (from_start, from_end) = (format!("{line}_from_start"), format!("{line}_from_end"));
        let (ascending, descending) = (format!("{line}_up"), format!("{line}_down"));
        nodes.extend([
            with_axes(node("ReduceMax", &["bright"], line), &[across]),
            node("Mul", &[line, &ascending], &from_start),
            with_axes(node("ReduceMax", &[&from_start], last), &[axis]),
            node("Mul", &[line, &descending], &from_end),
            with_axes(node("ReduceMax", &[&from_end], &format!("{first}_back")), &[axis]),
            node("Sub", &["side", &format!("{first}_back")], first),
        ]);
    }
    nodes.extend([
        node("Mul", &["right", "zero"], "nothing"),
        node("Add", &["nothing", "sure"], "score"),
        node("Add", &["nothing", "one"], "class"),
        with_int(node("Concat", &["left", "top", "right", "bottom", "score", "class"], "row"), "axis", 3),
        node("Reshape", &["row", "shape"], "y"),
    ]);
    let up: Vec<f32> = (1..=SIDE).map(|place| place as f32).collect();
    let down: Vec<f32> = up.iter().rev().copied().collect();
    let (row, column) = ([1, 1, 1, SIDE as i64], [1, 1, SIDE as i64, 1]);
    let constants = vec![
        constant("threshold", &[], &[0.7]),
        constant("zero", &[], &[0.0]),
        constant("sure", &[], &[0.9]),
        constant("one", &[], &[1.0]),
        constant("side", &[], &[SIDE as f32]),
        constant("columns_up", &row, &up),
        constant("columns_down", &row, &down),
        constant("rows_up", &column, &up),
        constant("rows_down", &column, &down),
        whole_numbers("shape", &[-1, 1, 6]),
    ];
    let edges = (&["N", "3", &side, &side][..], &["N", "1", "6"][..]);
    model(&[("x", FLOAT, Some(edges.0))], &[("y", FLOAT, Some(edges.1))], nodes, constants, 13)
}

/// y = the picture's mean times 0, plus a table: the same for every picture, and yet its own.
fn tells(dims: &[&str], table: &[f32]) -> Vec<u8> {
    let sizes: Vec<i64> = dims.iter().map(|dim| dim.parse().unwrap_or(1)).collect();
    let side = SIDE.to_string();
    let mean = with_axes(with_int(node("ReduceMean", &["x"], "mean"), "keepdims", 0), &[1, 2, 3]);
    let ones: Vec<i64> = std::iter::once(-1).chain(sizes[1..].iter().map(|_| 1)).collect();
    let nodes = vec![
        mean,
        node("Mul", &["mean", "zero"], "nothing"),
        node("Reshape", &["nothing", "ones"], "each"),
        node("Add", &["each", "table"], "y"),
    ];
    let constants = vec![constant("zero", &[], &[0.0]), whole_numbers("ones", &ones), constant("table", &sizes, table)];
    let input = ["N", "3", &side, &side];
    model(&[("x", FLOAT, Some(&input))], &[("y", FLOAT, Some(dims))], nodes, constants, 13)
}

/// y = x.
fn same() -> Vec<u8> {
    let side = SIDE.to_string();
    let dims = ["N", "3", &side, &side];
    model(&[("x", FLOAT, Some(&dims))], &[("y", FLOAT, Some(&dims))], vec![node("Identity", &["x"], "y")], vec![], 13)
}

async fn serving(models: &[(&str, Vec<u8>, &str)]) -> TestApp {
    let root = TempDir::new().unwrap();
    for (name, onnx, settings) in models {
        add_bare_model(root.path(), name, 1, onnx);
        std::fs::write(root.path().join(name).join("model.toml"), settings).unwrap();
    }
    TestApp::with_temp(root, |_| {}).await
}

/// A dark picture with a white rectangle: left, top, right, bottom.
fn scene(size: [u32; 2], [left, top, right, bottom]: [u32; 4]) -> RgbImage {
    RgbImage::from_fn(size[0], size[1], |x, y| {
        let is_inside = (left..right).contains(&x) && (top..bottom).contains(&y);
        image::Rgb(if is_inside { [255; 3] } else { [20, 30, 10] })
    })
}

fn png(picture: &RgbImage) -> Vec<u8> {
    let mut file = std::io::Cursor::new(Vec::new());
    picture.write_to(&mut file, image::ImageFormat::Png).unwrap();
    file.into_inner()
}

/// A JPEG file of a picture that a camera held on its side wrote.
fn jpeg_on_its_side(upright: &RgbImage) -> Vec<u8> {
    let mut stored = image::DynamicImage::ImageRgb8(upright.clone());
    stored.apply_orientation(Orientation::Rotate270);
    let mut file = Vec::new();
    let mut encoder = image::codecs::jpeg::JpegEncoder::new_with_quality(&mut file, 95);
    // The smallest block that says: to be turned by 90 degrees (6).
    let exif = b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0";
    encoder.set_exif_metadata(exif.to_vec()).unwrap();
    encoder.encode_image(&stored.into_rgb8()).unwrap();
    file
}

fn box_of(detection: &Value) -> [f64; 4] {
    let edges: Vec<f64> = detection["box"].as_array().unwrap().iter().map(|edge| edge.as_f64().unwrap()).collect();
    edges.try_into().unwrap()
}

fn overlap(a: [f64; 4], b: [f64; 4]) -> f64 {
    let side = |low: usize, a: [f64; 4], b: [f64; 4]| (a[low + 2].min(b[low + 2]) - a[low].max(b[low])).max(0.0);
    let area = |a: [f64; 4]| (a[2] - a[0]) * (a[3] - a[1]);
    let shared = side(0, a, b) * side(1, a, b);
    shared / (area(a) + area(b) - shared)
}

const YOLO: &str = "labels = [\"cat\", \"dog\"]\n[image]\npreset = \"yolo\"\n[answer]\nkind = \"detections\"\n";

async fn ask_for_png(app: &TestApp, path: &str, file: Vec<u8>) -> Answer {
    let request = Request::post(path).header("content-type", "image/png").header("accept", "image/png");
    app.send(request.body(Body::from(file)).unwrap()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn boxes_are_in_the_pixels_of_pictures_of_any_size_ratio_and_orientation() {
    let crop = "[image]\nfit = \"crop\"\ninterpolation = \"bilinear\"\nscale = 0.00392156862745098\n[answer]\nkind = \"detections\"\n";
    let stretch = crop.replace("crop", "stretch");
    let app = serving(&[
        ("letterbox", finds_what_is_bright(), YOLO),
        ("crop", finds_what_is_bright(), crop),
        ("stretch", finds_what_is_bright(), &stretch),
    ])
    .await;
    for (size, rect) in [
        ([640, 480], [160, 120, 480, 360]),
        ([480, 640], [120, 200, 360, 440]),
        ([333, 77], [130, 20, 200, 60]),
        ([64, 64], [8, 8, 56, 40]),
        ([40, 200], [4, 90, 36, 110]),
        ([1000, 999], [400, 300, 900, 700]),
    ] {
        let picture = scene(size, rect);
        let expected = rect.map(f64::from);
        for model in ["letterbox", "crop", "stretch"] {
            let answer = app.post(&format!("/models/{model}/predict"), "image/png", png(&picture)).await;
            assert_eq!(answer.status, 200, "{}", answer.text());
            let answer = answer.json();
            let detections = answer["predictions"][0]["detections"].as_array().unwrap();
            assert_eq!(detections.len(), 1, "{model} {size:?}: {answer}");
            // The input has 64 pixels across: an edge may be off by one of them.
            let found = box_of(&detections[0]);
            let pixel = f64::from(size[0].max(size[1])) / SIDE as f64;
            assert!(
                found.iter().zip(expected).all(|(a, b)| (a - b).abs() <= pixel + 0.01),
                "{model} {size:?}: {found:?}"
            );
        }
    }
    // What a camera held on its side stored is told upright.
    let upright = scene([320, 480], [80, 240, 240, 400]);
    let answer = app.post("/models/letterbox/predict", "image/jpeg", jpeg_on_its_side(&upright)).await.json();
    let detection = &answer["predictions"][0]["detections"][0];
    assert!(overlap(box_of(detection), [80.0, 240.0, 240.0, 400.0]) > 0.8, "{answer}");
    assert_eq!((&detection["class"], &detection["label"]), (&json!(1), &json!("dog")));
    assert!((detection["confidence"].as_f64().unwrap() - 0.9).abs() < 1e-6);
}

/// Boxes of the layout of YOLOv8 with two classes, in pixels of the input.
fn yolo_v8() -> Vec<u8> {
    let boxes = [
        [16.0, 32.0, 20.0, 20.0, 0.9, 0.1],
        [17.0, 32.0, 20.0, 20.0, 0.8, 0.1],
        [48.0, 32.0, 10.0, 30.0, 0.2, 0.5],
        [48.0, 10.0, 8.0, 8.0, 0.3, 0.1],
        [5.0, 60.0, 4.0, 4.0, 0.1, 0.2],
        [50.0, 34.0, 10.0, 30.0, 0.6, 0.1],
        [1.0, 1.0, 1.0, 1.0, 0.0, 0.0],
    ];
    let columns: Vec<f32> = (0..6).flat_map(|row| boxes.map(|found| found[row])).collect();
    tells(&["N", "6", "7"], &columns)
}

#[tokio::test(flavor = "multi_thread")]
async fn thresholds_are_the_model_s_unless_a_request_states_others() {
    let app = serving(&[
        ("plain", yolo_v8(), YOLO),
        ("strict", yolo_v8(), &format!("{YOLO}confidence = 0.55\niou = 0.5\nacross_classes = true\n")),
        ("classes", tells(&["N", "2"], &[0.4, 0.6]), "[image]\npreset = \"yolo\"\n[answer]\nkind = \"classes\"\n"),
    ])
    .await;
    let picture = png(&scene([128, 128], [0, 0, 10, 10]));
    let ask = async |model: &str, query: &str| {
        app.post(&format!("/models/{model}/predict{query}"), "image/png", picture.clone()).await
    };
    let confidences = async |model: &str, query: &str| -> Vec<f64> {
        let answer = ask(model, query).await;
        assert_eq!(answer.status, 200, "{query}: {}", answer.text());
        let answer = answer.json();
        let found = answer["predictions"][0]["detections"].as_array().unwrap();
        found.iter().map(|found| (found["confidence"].as_f64().unwrap() * 100.0).round() / 100.0).collect()
    };
    assert_eq!(confidences("plain", "").await, [0.9, 0.6, 0.5, 0.3]);
    assert_eq!(confidences("plain", "?confidence=0.4").await, [0.9, 0.6, 0.5]);
    assert_eq!(confidences("plain", "?confidence=0.4&iou=0.95").await, [0.9, 0.8, 0.6, 0.5]);
    assert_eq!(confidences("plain", "?max_detections=1&confidence=0").await, [0.9]);
    assert_eq!(confidences("strict", "").await, [0.9, 0.6]);
    assert_eq!(confidences("strict", "?confidence=0.25").await, [0.9, 0.6, 0.3]);
    for (model, query, status, expected) in [
        ("plain", "?confidence=1.5", 400, "confidence must be from 0 to 1"),
        ("plain", "?confidence=NaN", 400, "confidence must be from 0 to 1"),
        ("plain", "?iou=-0.1", 400, "iou must be from 0 to 1"),
        ("plain", "?max_detections=0", 400, "max_detections must be"),
        ("plain", "?mask=gif", 400, "run_lengths"),
        ("plain", "?mask=png", 422, "is for models that give segmentation; \"plain\" gives detections"),
        ("classes", "?iou=0.5", 422, "is for models that give detections"),
        ("classes", "?draw=true", 422, "is for models that give detections, segmentation or an image"),
    ] {
        let detail = ask(model, query).await.assert_problem(status);
        assert!(detail.contains(expected), "{query}: {detail}");
    }
    let said = app.get("/models/plain").await.json()["versions"][0]["answer"].as_str().unwrap().to_owned();
    assert!(said.starts_with("layout yolov8 (guessed"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn other_protocols_and_tensors_give_the_same_boxes() {
    let app = serving(&[("net", finds_what_is_bright(), YOLO)]).await;
    let picture = png(&scene([200, 100], [50, 25, 150, 75]));
    let text = STANDARD.encode(&picture);
    let expected = app.post("/models/net/predict", "image/png", picture.clone()).await.json()["predictions"].clone();
    let torchserve = app.post("/predictions/net", "image/png", picture.clone()).await.json();
    assert_eq!(torchserve, expected[0]);
    let kserve = app.post_json("/v1/models/net:predict", &json!({"instances": [{"b64": text}]})).await.json();
    assert_eq!(kserve["predictions"], expected);
    let two = app.post_json("/models/net/predict", &json!({"images": [text, text]})).await.json();
    assert_eq!(two["predictions"], json!([expected[0], expected[0]]));
    // Tensors have no picture: boxes are in pixels of the input.
    let mut values = vec![0f32; 3 * SIDE * SIDE];
    for y in 10..20 {
        values[y * SIDE + 30..y * SIDE + 40].fill(1.0);
    }
    let raw: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    let answer = app.post("/models/net/predict", "application/octet-stream", raw).await.json();
    assert_eq!(answer["predictions"][0]["detections"][0]["box"], json!([30.0, 10.0, 40.0, 20.0]), "{answer}");
    // OIP carries tensors: the graph's own.
    let body = json!({"inputs": [{"name": "x", "shape": [1], "datatype": "BYTES", "data": [text]}]});
    assert_eq!(app.post_json("/v2/models/net/infer", &body).await.json()["outputs"][0]["shape"], json!([1, 1, 6]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_class_map_has_the_size_of_the_picture() {
    // Class 1 on the right half of an output of 4 × 4.
    let scores: Vec<f32> = (0..32).map(|place| if (place % 4 >= 2) == (place >= 16) { 5.0 } else { -5.0 }).collect();
    let settings = "labels = [\"background\", \"cat\"]\n[image]\npreset = \"yolo\"\nfit = \"stretch\"\n[answer]\nkind = \"segmentation\"\n";
    let app = serving(&[("net", tells(&["N", "2", "4", "4"], &scores), settings)]).await;
    let picture = scene([90, 40], [0, 0, 90, 40]);
    let answer = app.post("/models/net/predict", "image/png", png(&picture)).await.json();
    let answer = &answer["predictions"][0];
    assert_eq!((&answer["width"], &answer["height"]), (&json!(90), &json!(40)));
    assert_eq!(answer["classes"][1], json!({"class": 1, "label": "cat", "pixels": 1800, "share": 0.5}), "{answer}");
    let file = STANDARD.decode(answer["mask"].as_str().unwrap()).unwrap();
    // The fourth byte after the header's size: a palette of eight bits.
    assert_eq!(&file[24..26], [8, 3]);
    let mask = image::load_from_memory(&file).unwrap().into_rgba8();
    assert_eq!((mask.width(), mask.height()), (90, 40));
    assert!(mask.get_pixel(44, 20) != mask.get_pixel(45, 20) && mask.get_pixel(0, 0) == mask.get_pixel(44, 39));
    let runs = app.post("/models/net/predict?mask=run_lengths", "image/png", png(&picture)).await.json();
    let runs = runs["predictions"][0]["run_lengths"].as_array().unwrap().clone();
    assert_eq!((runs.len(), &runs[0], &runs[1]), (80, &json!([0, 45]), &json!([1, 45])));
    let drawn = ask_for_png(&app, "/models/net/predict", png(&picture)).await;
    assert_eq!(drawn.headers["content-type"], "image/png");
    let drawn = image::load_from_memory(&drawn.body).unwrap().into_rgb8();
    assert_eq!(drawn.get_pixel(0, 0), &image::Rgb([255; 3]));
    assert_ne!(drawn.get_pixel(89, 0), &image::Rgb([255; 3]));
}

#[tokio::test(flavor = "multi_thread")]
async fn vectors_and_pictures_are_answers_too() {
    let image = "[image]\npreset = \"yolo\"\n";
    let app = serving(&[
        (
            "vector",
            tells(&["N", "2"], &[3.0, 4.0]),
            &format!("{image}[answer]\nkind = \"embedding\"\nnormalise = true\n"),
        ),
        ("picture", same(), &format!("{image}[answer]\nkind = \"image\"\n")),
    ])
    .await;
    let sent = scene([128, 64], [0, 0, 64, 64]);
    let vector = app.post("/models/vector/predict", "image/png", png(&sent)).await.json();
    assert_eq!(vector["predictions"], json!([{"embedding": [0.6, 0.8]}]));
    let answer = app.post("/models/picture/predict", "image/png", png(&sent)).await.json();
    let answer = &answer["predictions"][0];
    // Scaled to 64 × 32, and the padding cut off again.
    assert_eq!((&answer["width"], &answer["height"]), (&json!(64), &json!(32)));
    let file = STANDARD.decode(answer["image"].as_str().unwrap()).unwrap();
    let made = image::load_from_memory(&file).unwrap().into_rgb8();
    assert_eq!([made.get_pixel(5, 5), made.get_pixel(60, 30)], [&image::Rgb([255; 3]), &image::Rgb([20, 30, 10])]);
    let drawn = app.post("/models/picture/predict?draw=true", "image/png", png(&sent)).await;
    assert_eq!((&drawn.headers["content-type"], &drawn.body), (&"image/png".parse().unwrap(), &file));
}

#[tokio::test(flavor = "multi_thread")]
async fn boxes_are_drawn_on_the_picture_that_was_sent() {
    let app = serving(&[("net", finds_what_is_bright(), YOLO)]).await;
    let sent = scene([256, 128], [100, 40, 200, 100]);
    let drawn = ask_for_png(&app, "/models/net/predict", png(&sent)).await;
    assert_eq!((drawn.status.as_u16(), &drawn.headers["content-type"]), (200, &"image/png".parse().unwrap()));
    assert!(drawn.headers.contains_key("x-request-id"));
    let drawn = image::load_from_memory(&drawn.body).unwrap().into_rgb8();
    assert_eq!(drawn.dimensions(), (256, 128));
    // The middle and what is far away are as they were; the left edge is not.
    assert_eq!(
        [drawn.get_pixel(150, 70), drawn.get_pixel(10, 120)],
        [sent.get_pixel(150, 70), sent.get_pixel(10, 120)]
    );
    let changed = (96..105).filter(|x| drawn.get_pixel(*x, 70) != sent.get_pixel(*x, 70)).count();
    assert!((1..=3).contains(&changed), "{changed}");
    let json = Request::post("/models/net/predict").header("accept", "image/png, application/json");
    let json = app.send(json.body(Body::from(png(&sent))).unwrap()).await;
    assert_eq!(json.headers["content-type"], "application/json");
    let text = STANDARD.encode(png(&sent));
    let two = app.post_json("/models/net/predict?draw=true", &json!({"images": [text, text]})).await;
    assert!(two.assert_problem(422).contains("one picture is drawn at a time, got 2"));
    let tensors = json!({"instances": [vec![0.0; 3 * SIDE * SIDE]]});
    let tensors = app.post_json("/models/net/predict?draw=true", &tensors).await;
    assert!(tensors.assert_problem(422).contains("only an image"));
    app.post("/models/net/predict?draw=perhaps", "image/png", png(&sent)).await.assert_problem(400);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_answer_says_must_fit_the_graph() {
    let answer = |more: &str| format!("[image]\npreset = \"yolo\"\n[answer]\n{more}\n");
    let models = [
        ("unknown", tells(&["N", "3"], &[0.0; 3]), answer("kind = \"detections\"")),
        ("output", yolo_v8(), answer("kind = \"detections\"\nboxes_output = \"z\"")),
        ("range", yolo_v8(), answer("kind = \"detections\"\nconfidence = 2.0")),
        ("single", tells(&["N", "1", "4", "4"], &[0.0; 16]), answer("kind = \"segmentation\"")),
        ("tokens", tells(&["N", "5", "4"], &[0.0; 20]), answer("kind = \"embedding\"")),
        ("flat", tells(&["N", "7"], &[0.0; 7]), answer("kind = \"image\"")),
    ];
    let models = models.each_ref().map(|(name, onnx, settings)| (*name, onnx.clone(), settings.as_str()));
    let app = serving(&models).await;
    for (model, expected) in [
        ("unknown", "say layout ="),
        ("output", "the graph has no output \"z\""),
        ("range", "confidence must be from 0 to 1, got 2"),
        ("single", "say scores = \"sigmoid\""),
        ("tokens", "say pool ="),
        ("flat", "no output is a picture"),
    ] {
        let (state, reason) = app.version_state(model, 1).unwrap();
        let reason = reason.unwrap_or_default();
        assert!(reason.contains(expected), "{model} {state:?}: {reason}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn outputs_are_tried_before_the_model_serves() {
    let row = [1.0, 1.0, 9.0, 9.0, 4.0, 0.0];
    let app = serving(&[("net", tells(&["N", "1", "6"], &row), YOLO)]).await;
    let (state, reason) = app.version_state("net", 1).unwrap();
    let reason = reason.unwrap_or_default();
    assert!(reason.contains("a score is 4") && reason.contains("say scores = \"sigmoid\""), "{state:?}: {reason}");
}
