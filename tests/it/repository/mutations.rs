//! Bundled models, their settings and their labels, mutated: the server serves on, and whatever ends has a reason in words.
//!
//! Each mutant follows from its number alone. The suite tries a few; `WEIR_MUTANTS=3000` tries as many.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use prost::Message;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::{Value, json};
use tempfile::TempDir;
use tract_onnx::pb::{ModelProto, tensor_shape_proto::dimension, type_proto};
use weir::serving::State;

use crate::engine::onnxruntime;
use crate::fixtures::png_of_test_image;
use crate::support::{TestApp, copy_folder, shipped_models};

/// The mutants of the suite, and those that are loaded into one server.
const FEW: usize = 60;
/// What is mutated, by the number of the mutant.
const KINDS: [&str; 6] = ["bytes", "graph", "manifest", "config", "settings", "labels"];
const LABELS: &str = "zero\none\ntwo\nthree\nfour\nfive\nsix\nseven\neight\nnine\n";
const AT_ONCE: usize = 150;

const CONFIG: &str = r#"
name: "MODEL"
backend: "onnxruntime"
max_batch_size: 16
input [ { name: "image" data_type: TYPE_FP32 dims: [ 1, 28, 28 ] } ]
output [ { name: "logits" data_type: TYPE_FP32 dims: [ 10 ] label_filename: "labels.txt" } ]
version_policy { latest { num_versions: 1 } }
dynamic_batching { preferred_batch_size: [ 4, 8 ] max_queue_delay_microseconds: 100 }
instance_group [ { count: 2 kind: KIND_CPU } ]
model_warmup [ { name: "w" batch_size: 1 inputs { key: "image" value { data_type: TYPE_FP32 dims: [ 1, 28, 28 ] zero_data: true } } } ]
response_cache { enable: true }
"#;

const SETTINGS: &str = r#"
default = false
labels = ["a", "b"]
[versions]
policy = "latest"
count = 2
[engine]
kind = "tract"
[batching]
max_batch_size = 16
preferred_batch_sizes = [4, 8]
max_queue_delay_microseconds = 100
[scheduling]
weight = 1.0
concurrency = 2
queue_capacity = 16
[cache]
max_bytes = 1000000
"#;

/// Numbers and texts that break what reads them, if anything does.
const EDGES: [&str; 14] = [
    "0",
    "-1",
    "1",
    "2147483648",
    "9223372036854775807",
    "-9223372036854775808",
    "18446744073709551616",
    "1e400",
    "nan",
    "\"\"",
    "{",
    "[]",
    "\"\u{202e}\0\"",
    "3.5",
];

fn pick<'a, T>(rng: &mut ChaCha8Rng, from: &'a [T]) -> &'a T {
    &from[rng.random_range(0..from.len())]
}

/// Flips, cuts, doubles and moves bytes.
fn mutate_bytes(bytes: &mut Vec<u8>, rng: &mut ChaCha8Rng) {
    // Where most of a graph is weights, its head and its tail are what says something.
    let near = |rng: &mut ChaCha8Rng, length: usize| match rng.random_range(0..3) {
        0 => rng.random_range(0..length.min(2000)),
        1 => length - 1 - rng.random_range(0..length.min(2000)),
        _ => rng.random_range(0..length),
    };
    for _ in 0..rng.random_range(1..6) {
        if bytes.is_empty() {
            return;
        }
        let (at, length) = (near(rng, bytes.len()), rng.random_range(1..40));
        let end = (at + length).min(bytes.len());
        match rng.random_range(0..5) {
            0 => bytes[at] ^= 1 << rng.random_range(0..8),
            1 => bytes[at] = rng.random(),
            2 if rng.random_range(0..4) == 0 => bytes.truncate(at),
            2 => drop(bytes.drain(at..end)),
            3 => {
                let piece = bytes[at..end].to_vec();
                let to = near(rng, bytes.len());
                drop(bytes.splice(to..to, piece));
            }
            _ => bytes[at..end].fill(*pick(rng, &[0, 0xff, 0x7f, 0x80])),
        }
    }
}

/// Changes what a graph says rather than how it is written.
fn mutate_graph(model: &mut ModelProto, rng: &mut ChaCha8Rng) {
    let graph = model.graph.as_mut().unwrap();
    let edge = *pick(rng, &[0, 1, -1, 2, 7, 1 << 20, 1 << 31, i64::MAX, i64::MIN]);
    for _ in 0..rng.random_range(1..4) {
        let node = rng.random_range(0..graph.node.len());
        let tensor = rng.random_range(0..graph.initializer.len());
        match rng.random_range(0..10) {
            0 => {
                graph.node[node].op_type =
                    (*pick(rng, &["Conv", "Reshape", "Gather", "Loop", "If", "LSTM", "Nope", "Softmax"])).into()
            }
            1 => drop(graph.node[node].input.pop()),
            2 => {
                let other = graph.node[rng.random_range(0..graph.node.len())].output[0].clone();
                graph.node[node].input.push(other);
            }
            3 => {
                let at = rng.random_range(0..graph.node.len());
                graph.node.swap(node, at);
            }
            4 => {
                if let Some(attribute) = graph.node[node].attribute.first_mut() {
                    (attribute.i, attribute.f) = (edge, edge as f32);
                    attribute.ints.iter_mut().for_each(|number| *number = edge);
                }
            }
            5 => graph.node[node].attribute.clear(),
            6 => graph.initializer[tensor].dims.iter_mut().for_each(|dim| *dim = edge),
            7 => graph.initializer[tensor].data_type = edge as i32 & 31,
            8 => {
                let input = graph.input[0].r#type.as_mut().and_then(|kind| kind.value.as_mut());
                if let Some(type_proto::Value::TensorType(kind)) = input {
                    kind.elem_type = rng.random_range(0..20);
                    for dim in kind.shape.iter_mut().flat_map(|shape| &mut shape.dim) {
                        dim.value = Some(dimension::Value::DimValue(edge));
                    }
                }
            }
            _ => drop(graph.node.remove(node)),
        }
        if graph.node.is_empty() {
            return;
        }
    }
}

/// Replaces or removes values somewhere in a document.
fn mutate_json(document: &mut Value, rng: &mut ChaCha8Rng) {
    match document {
        Value::Object(fields) if !fields.is_empty() && rng.random_range(0..8) > 0 => {
            let key = fields.keys().nth(rng.random_range(0..fields.len())).unwrap().clone();
            if rng.random_range(0..10) == 0 {
                drop(fields.remove(&key));
            } else {
                mutate_json(&mut fields[&key], rng);
            }
        }
        Value::Array(items) if !items.is_empty() && rng.random_range(0..6) > 0 => {
            let at = rng.random_range(0..items.len());
            match rng.random_range(0..8) {
                0 => drop(items.remove(at)),
                1 => items.push(items[at].clone()),
                _ => mutate_json(&mut items[at], rng),
            }
        }
        value => {
            let long = Value::from("x".repeat(5000));
            let edges = [
                json!(null),
                json!(-1),
                json!(0),
                json!(1e308),
                json!(u64::MAX),
                json!(""),
                json!([]),
                json!({}),
                json!(true),
                json!("é\u{0}"),
                long,
            ];
            *value = pick(rng, &edges).clone();
        }
    }
}

/// Replaces a word or a number of a text, or doubles or moves a line.
fn mutate_text(text: &str, rng: &mut ChaCha8Rng) -> Vec<u8> {
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    for _ in 0..rng.random_range(1..4) {
        let at = rng.random_range(0..lines.len());
        let mut words: Vec<&str> = lines[at].split(' ').collect();
        // Values stand at the ends of lines.
        let word = if rng.random() { words.len() - 1 } else { rng.random_range(0..words.len()) };
        match rng.random_range(0..6) {
            0 => drop(words.remove(word)),
            1 | 2 => words[word] = *pick(rng, EDGES.as_slice()),
            3 => words.push(words[word]),
            4 => {
                let copy = lines[at].clone();
                lines.push(copy);
                continue;
            }
            _ => {
                let other = rng.random_range(0..lines.len());
                lines.swap(at, other);
                continue;
            }
        }
        lines[at] = words.join(" ");
    }
    let mut bytes = lines.join("\n").into_bytes();
    if rng.random_range(0..3) == 0 {
        mutate_bytes(&mut bytes, rng);
    }
    bytes
}

/// Writes the mutant of this number as a model of its own.
fn write_mutant(root: &Path, number: usize) -> String {
    let rng = &mut ChaCha8Rng::seed_from_u64(number as u64);
    // The settings are those of a classifier.
    let kind = KINDS[number % KINDS.len()];
    let sources = if ["bytes", "graph", "manifest"].contains(&kind) { 4 } else { 3 };
    let source = *pick(rng, &["mnist-mlp", "mnist-cnn", "mnist-lstm", "mnist-vae"][..sources]);
    let (bundled, model) = (shipped_models().join(source).join("1"), format!("mutant-{number}"));
    let (folder, version) = (root.join(&model), root.join(&model).join("1"));
    let read = |file: &str| fs::read(bundled.join(file)).unwrap();
    match kind {
        "bytes" | "graph" => {
            let mut onnx = read("model.onnx");
            if kind == "bytes" {
                mutate_bytes(&mut onnx, rng);
            } else {
                let mut graph = ModelProto::decode(onnx.as_slice()).unwrap();
                mutate_graph(&mut graph, rng);
                onnx = graph.encode_to_vec();
            }
            fs::create_dir_all(&version).unwrap();
            fs::write(version.join("model.onnx"), onnx).unwrap();
        }
        "manifest" => {
            copy_folder(&bundled, &version);
            let mut bytes = read("manifest.json");
            if rng.random_range(0..3) == 0 {
                mutate_bytes(&mut bytes, rng);
            } else {
                let mut manifest = serde_json::from_slice(&bytes).unwrap();
                mutate_json(&mut manifest, rng);
                bytes = manifest.to_string().into_bytes();
            }
            fs::write(version.join("manifest.json"), bytes).unwrap();
        }
        _ => {
            fs::create_dir_all(&version).unwrap();
            fs::write(version.join("model.onnx"), read("model.onnx")).unwrap();
            let labels = if kind == "labels" { mutate_text(LABELS, rng) } else { LABELS.into() };
            fs::write(folder.join("labels.txt"), labels).unwrap();
            let (file, text) = if kind == "settings" { ("model.toml", SETTINGS) } else { ("config.pbtxt", CONFIG) };
            let text = text.replace("MODEL", &model);
            fs::write(folder.join(file), if kind == "labels" { text.into() } else { mutate_text(&text, rng) }).unwrap();
        }
    }
    model
}

/// Returns what gives a reason away as the text of a panic, a place in a program or a path. Of a graph, engines say
/// more in their own words.
fn tells_of_the_inside(reason: &str, is_graph: bool) -> Option<&'static str> {
    const OF_ALL: [&str; 7] = ["panicked", "RUST_BACKTRACE", "thread '", ".rs:", "/tmp", "/root/", "/home/"];
    const OF_OURS: [&str; 14] = [
        "unwrap",
        "src/",
        "index out of bounds",
        "called `",
        "assertion",
        "with overflow",
        "capacity overflow",
        "slice index",
        "range end index",
        "byte index",
        "not implemented",
        "unreachable code",
        ".cc:",
        "onnxruntime/core",
    ];
    let ours = if is_graph { &[][..] } else { &OF_OURS[..] };
    OF_ALL.iter().chain(ours).copied().find(|sign| reason.contains(sign))
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_ends_has_a_reason_in_words() {
    let count = std::env::var("WEIR_MUTANTS").map_or(FEW, |count| count.parse().unwrap());
    let mut fates: BTreeMap<String, usize> = BTreeMap::new();
    let mut faults = Vec::new();
    for first in (0..count).step_by(AT_ONCE) {
        let models = TempDir::new().unwrap();
        copy_folder(&shipped_models().join("mnist-mlp"), &models.path().join("mnist-mlp"));
        let mutants: Vec<String> =
            (first..count.min(first + AT_ONCE)).map(|number| write_mutant(models.path(), number)).collect();
        let app = TestApp::with_temp(models, |options| {
            options.check_executable = Some(env!("CARGO_BIN_EXE_weir").into());
            options.default_model = Some("mnist-mlp".parse().unwrap());
            options.onnxruntime = onnxruntime();
        })
        .await;
        for model in mutants {
            let (state, reason) = app.version_state(&model, 1).unwrap();
            let reason = reason.unwrap_or_default();
            let number: usize = model["mutant-".len()..].parse().unwrap();
            let kind = KINDS[number % KINDS.len()];
            *fates.entry(format!("{kind} {state:?}")).or_default() += 1;
            if count > FEW {
                eprintln!("{model} {kind} {state:?} {reason}");
            }
            let is_reasoned = state == State::Available || reason.split(' ').count() > 2;
            let sign = tells_of_the_inside(&reason, ["bytes", "graph"].contains(&kind));
            if !is_reasoned || sign.is_some() || reason.len() > 2000 {
                faults.push(format!("{model} {kind} {state:?} {sign:?} {} bytes: {reason:.600}", reason.len()));
            }
        }
        assert_eq!(app.get("/livez").await.status, 200);
        assert_eq!(app.post("/predict", "image/png", png_of_test_image(0)).await.labels(), ["7"]);
    }
    eprintln!("{fates:#?}");
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}
