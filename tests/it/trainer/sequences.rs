//! Sequences of the user's own: numbers, tokens and text train, and are served as they were trained.

use std::fmt::Write;
use std::fs;
use std::path::Path;

use serde_json::json;
use weir::engine::{EngineKind, Engines};
use weir::error::Result;
use weir::layers::{Architecture, LayerSpec};
use weir::repository::{Manifest, ReadSettings, VersionFiles};
use weir::signature::{SequenceElements, TokenSplit};
use weir::stats::Evaluation;
use weir::tensor::Tensor;
use weir::trainer::{
    DataOptions, EpochReport, Network, RunDir, StepReport, TaskOptions, TaskReport, TrainRequest, Watch, calibrate,
    evaluate_numbers, evaluate_version, read_for, to_onnx, train,
};

use super::data::{Quiet, Workshop};
use crate::engine::onnxruntime;
use crate::support::TestApp;

const JSON: &str = "application/json";

pub(crate) fn reading(reading: ReadSettings) -> TaskOptions {
    TaskOptions { data: DataOptions { reading, ..DataOptions::default() }, ..TaskOptions::default() }
}

pub(crate) fn manifest(folder: &Path) -> Manifest {
    VersionFiles::read(folder, 1 << 30).unwrap().manifest.unwrap()
}

/// Tells whether two evaluations are the same but for the last digits, which JSON may lose.
fn assert_same(a: &Evaluation, b: &Evaluation) {
    assert_eq!(a.confusion, b.confusion);
    assert!((a.summary.loss - b.summary.loss).abs() < 1e-12, "{a:?} {b:?}");
}

/// A number from 0 to below `below` that looks drawn.
fn drawn(index: usize, below: usize) -> usize {
    (index.wrapping_mul(2_654_435_761) >> 7) % below
}

/// Waves of 8 to 23 steps, sine or square, at any phase, the second channel telling nothing; here and there a number
/// is missing.
fn wave(index: usize) -> (Vec<Vec<Option<f64>>>, &'static str) {
    let is_sine = index.is_multiple_of(2);
    let step = |step: usize| {
        let angle = (step + drawn(index, 12)) as f64 / 12.0 * std::f64::consts::TAU;
        let height = if is_sine { angle.sin() } else { angle.sin().signum() };
        let noise = drawn(index * 31 + step, 100) as f64 / 1000.0;
        vec![Some(20.0 + 5.0 * height + noise).filter(|_| drawn(index + step * 7, 19) > 0), Some(noise)]
    };
    ((0..8 + drawn(index, 16)).map(step).collect(), if is_sine { "sine" } else { "square" })
}

pub(crate) fn waves(count: usize) -> String {
    let line = |index| {
        let (sequence, label) = wave(index);
        json!({"sequence": sequence, "label": label, "id": index}).to_string() + "\n"
    };
    (0..count).map(line).collect()
}

/// Texts that say yes and no in either order among other words; the one that comes first decides.
fn answer(index: usize) -> (String, &'static str) {
    let filler = |at: usize| ["well", "I", "Think,", "so", "it's", "rather"][drawn(index * 17 + at, 6)];
    let mut words: Vec<&str> = (0..3 + drawn(index, 5)).map(filler).collect();
    let place = drawn(index * 5, words.len());
    let (first, second) = if index.is_multiple_of(2) { ("Yes", "no") } else { ("no", "Yes") };
    words.insert(place, first);
    words.push(second);
    (words.join(" ") + "!", if index.is_multiple_of(2) { "agrees" } else { "declines" })
}

fn answers(count: usize) -> String {
    let mut csv = "when,text,label\n".to_owned();
    for index in 0..count {
        let (text, label) = answer(index);
        writeln!(csv, "{index},\"{text}\",{label}").unwrap();
    }
    csv
}

fn texts() -> TaskOptions {
    reading(ReadSettings { sequence: Some("text".into()), ..ReadSettings::default() })
}

/// The probabilities that the server gives of each instance.
async fn served(app: &TestApp, instances: &serde_json::Value, classes: usize) -> Vec<Vec<f64>> {
    let body = json!({"instances": instances, "top_k": classes}).to_string();
    let answer = app.post("/models/mine/predict", JSON, body).await;
    assert_eq!(answer.status.as_u16(), 200, "{}", answer.text());
    let probabilities = |prediction: &serde_json::Value| {
        let mut probabilities = vec![0.0; classes];
        for scored in prediction["top_k"].as_array().unwrap() {
            probabilities[scored["class"].as_u64().unwrap() as usize] = scored["confidence"].as_f64().unwrap();
        }
        probabilities
    };
    answer.json()["predictions"].as_array().unwrap().iter().map(probabilities).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn sequences_of_numbers_are_trained_served_and_evaluated_alike() {
    let shop = Workshop::of("lstm");
    shop.write("waves/train.jsonl", waves(320));
    shop.write("waves/test.jsonl", waves(400).lines().skip(320).collect::<Vec<_>>().join("\n"));
    let outcome = shop.train("waves", 12, TaskOptions::default()).unwrap();
    let (_, folder) = outcome.published.unwrap();
    let TaskReport::Classification(report) = outcome.report else { panic!("classes are learned") };
    assert!(report.full.evaluation.summary.accuracy > 0.9, "{:?}", report.full.evaluation.summary);
    let manifest = manifest(&folder);
    let transform = manifest.transform.sequence.clone().unwrap();
    assert_eq!((transform.steps, &transform.elements), (23, &SequenceElements::Numbers { channels: 2 }));
    assert_eq!(manifest.signature.inputs[0].sample_shape().unwrap(), [23, 2]);
    assert_eq!(manifest.parity.as_ref().unwrap().argmax_mismatches, 0);
    assert!(fs::read_to_string(folder.join("card.md")).unwrap().contains("each a list of 2 numbers"));

    let data = read_for(&folder, &shop.path("waves"), DataOptions::default()).unwrap();
    let evaluated = evaluate_version(&folder, 1 << 30, &data.test).unwrap();
    assert_same(&evaluated.predictions.evaluate(), &manifest.classification().unwrap().test.clone().unwrap());

    let app = TestApp::with(&shop.path("models"), |_| {}).await;
    let raw: Vec<_> = (320..340).map(|index| wave(index).0).collect();
    let answers = served(&app, &json!(raw), 2).await;
    for ((_, expected), got) in evaluated.predictions.iter().zip(&answers) {
        assert!(expected.iter().zip(got).all(|(a, b)| (f64::from(*a) - b).abs() < 1e-5), "{expected:?} {got:?}");
    }
    // A longer one is its last steps, wherever it is cut.
    let long: Vec<_> = std::iter::repeat_n(vec![Some(1.0), Some(9.0)], 40).chain(raw[0].clone()).collect();
    let whole = std::iter::repeat_n(vec![Some(1.0), Some(9.0)], 23 - raw[0].len()).chain(raw[0].clone());
    let cut = served(&app, &json!([long, whole.collect::<Vec<_>>()]), 2).await;
    assert_eq!(cut[0], cut[1]);
    let ask = async |body: &str| app.post("/models/mine/predict", JSON, body.to_owned()).await;
    for (body, expected) in [
        (r#"{"instances": [[[1, 2]], [[1, 2], [3]]]}"#, "instance 1: step 1: has 1 numbers, expected 2"),
        (r#"{"instances": [[1, 2, 3]]}"#, "instance 0: expected a list of lists of 2 numbers"),
        (r#"{"instances": ["text"]}"#, "instance 0: expected a list of lists of 2 numbers, got a text"),
        (r#"{"instances": [[]]}"#, "instance 0: it has no steps"),
    ] {
        assert!(ask(body).await.assert_problem(400).contains(expected), "{body}");
    }
    ask(r#"{"instances": []}"#).await.assert_problem(422);
    let many = json!({"instances": vec![[[1, 2]]; 2000]}).to_string();
    assert_eq!(ask(&many).await.status.as_u16(), 413);
}

#[tokio::test(flavor = "multi_thread")]
async fn convolutions_along_sequences_are_trained_and_served_alike() {
    let shop = Workshop::of("conv1d");
    shop.write("waves.jsonl", waves(320));
    let outcome = shop.train("waves.jsonl", 6, TaskOptions::default()).unwrap();
    let (_, folder) = outcome.published.unwrap();
    let TaskReport::Classification(report) = outcome.report else { panic!("classes are learned") };
    assert!(report.full.evaluation.summary.accuracy > 0.9, "{:?}", report.full.evaluation.summary);
    let data = read_for(&folder, &shop.path("waves.jsonl"), DataOptions::default()).unwrap();
    let evaluated = evaluate_version(&folder, 1 << 30, &data.test).unwrap();
    let rows = (0..data.test.len()).map(|index| data.test.origin(index).1.unwrap() as usize - 1);
    let app = TestApp::with(&shop.path("models"), |_| {}).await;
    let answers = served(&app, &json!(rows.map(|row| wave(row).0).collect::<Vec<_>>()), 2).await;
    for ((_, expected), got) in evaluated.predictions.iter().zip(&answers) {
        assert!(expected.iter().zip(got).all(|(a, b)| (f64::from(*a) - b).abs() < 1e-5), "{expected:?} {got:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn text_is_trained_from_a_table_and_served_as_it_was_split() {
    let shop = Workshop::of("gru");
    shop.write("answers.csv", answers(400));
    let outcome = shop.train("answers.csv", 12, texts()).unwrap();
    let (_, folder) = outcome.published.unwrap();
    let TaskReport::Classification(report) = outcome.report else { panic!("classes are learned") };
    assert!(report.full.evaluation.summary.accuracy > 0.9, "{:?}", report.full.evaluation.summary);
    let manifest = manifest(&folder);
    let transform = manifest.transform.sequence.clone().unwrap();
    let SequenceElements::Tokens { split: Some(TokenSplit::Words), vocabulary } = &transform.elements else { panic!() };
    let mut sorted = vocabulary.clone();
    sorted.sort_unstable();
    assert_eq!(sorted, ["!", ",", "i", "it's", "no", "rather", "so", "think", "well", "yes"]);
    let is_sorted = vocabulary.windows(3).any(|tokens| tokens == ["!", "no", "yes"]);
    assert!(is_sorted, "what is as frequent is sorted by text: {vocabulary:?}");

    let data = read_for(&folder, &shop.path("answers.csv"), DataOptions::default()).unwrap();
    let evaluated = evaluate_version(&folder, 1 << 30, &data.test).unwrap();
    assert_same(&evaluated.predictions.evaluate(), &manifest.classification().unwrap().test.clone().unwrap());
    let rows: Vec<usize> = (0..data.test.len()).map(|index| data.test.origin(index).1.unwrap() as usize - 1).collect();

    let app = TestApp::with(&shop.path("models"), |_| {}).await;
    let answers = served(&app, &json!(rows.iter().map(|row| answer(*row).0).collect::<Vec<_>>()), 2).await;
    for ((_, expected), got) in evaluated.predictions.iter().zip(&answers) {
        assert!(expected.iter().zip(got).all(|(a, b)| (f64::from(*a) - b).abs() < 1e-5), "{expected:?} {got:?}");
    }
    let id = |token: &str| 2 + vocabulary.iter().position(|other| other == token).unwrap();
    let forms = json!(["YES no zebra", ["yes", "no", "zebra"], [id("yes"), id("no"), 1], [0, id("yes"), id("no"), 1]]);
    let forms = served(&app, &forms, 2).await;
    assert!(forms.iter().all(|form| *form == forms[0]), "{forms:?}");
    // Elements that are no tokens are unknown ones, in whatever protocol they come.
    let steps = transform.steps;
    let elements = |last: serde_json::Value| {
        let mut elements = vec![json!(0); steps - 2];
        elements.extend([json!(id("yes")), last]);
        json!({"inputs": {"features": [elements]}}).to_string()
    };
    let ask = async |body: String| app.post("/models/mine/predict", JSON, body).await;
    let unknown = ask(elements(json!(1))).await.json();
    for odd in [json!(-3), json!(1e30), json!(12)] {
        assert_eq!(ask(elements(odd)).await.json()["predictions"], unknown["predictions"]);
    }
    for (body, expected) in [
        (r#"{"instances": ["yes", ""]}"#, "instance 1: it has no tokens"),
        (r#"{"instances": [[5, 12]]}"#, "step 1: expected a token's number, 0 to 11, got 12"),
        (r#"{"instances": [["yes", 5]]}"#, "step 1 is a number, those before it are texts"),
    ] {
        assert!(ask(body.to_owned()).await.assert_problem(400).contains(expected), "{body}");
    }
    let shown = app.get("/models/mine").await.json();
    assert_eq!(
        shown["versions"][0]["transform"]["sequence"],
        json!({"steps": steps, "kind": "tokens", "split": "words"})
    );
    let outcome = calibrate(&folder, &data, "answers.csv", None, &mut |_| Ok(())).unwrap();
    assert!(outcome.temperature > 0.0 && outcome.published.is_none());
}

#[test]
fn lists_of_tokens_give_numbers_and_what_is_rare_is_unknown() {
    let shop = Workshop::of("lstm");
    let line = |index: usize| {
        let price = drawn(index, 90) as f64 + 0.5;
        // The price by ten is told by one of the tokens, and their order says nothing.
        let tokens = ["a".to_owned(), format!("about {}", price as usize / 10), format!("only here {index}")];
        json!({"bag": tokens, "price": price, "split": if index.is_multiple_of(5) { "test" } else { "train" }})
            .to_string()
    };
    shop.write("bags.ndjson", (0..300).map(line).collect::<Vec<_>>().join("\r\n"));
    let settings = ReadSettings {
        sequence: Some("bag".into()),
        target: Some("price".into()),
        vocabulary: Some(10),
        ..ReadSettings::default()
    };
    let outcome = shop.train("bags.ndjson", 25, reading(settings)).unwrap();
    let (_, folder) = outcome.published.unwrap();
    let TaskReport::Regression(report) = outcome.report else { panic!("numbers are learned") };
    assert!(report.evaluation.r_squared.unwrap() > 0.8, "{:?}", report.evaluation);
    let manifest = manifest(&folder);
    let transform = manifest.transform.sequence.clone().unwrap();
    assert_eq!((transform.vocabulary().len(), transform.vocabulary()[0].as_str()), (10, "a"));
    assert!(transform.vocabulary()[1..].iter().all(|token| token.starts_with("about ")));
    let data = read_for(&folder, &shop.path("bags.ndjson"), DataOptions::default()).unwrap();
    assert_eq!((data.train.len(), data.test.len()), (240, 60));
    assert_eq!(evaluate_numbers(&folder, 1 << 30, &data.test).unwrap().predictions.len(), 60);
    let other = Workshop::of("lstm");
    other.write("waves.jsonl", waves(40));
    let refused = read_for(&folder, &other.path("waves.jsonl"), DataOptions::default()).unwrap_err();
    assert!(refused.to_string().contains("bag"), "{refused}");
}

#[test]
fn a_run_on_sequences_goes_on_where_it_was_stopped_also_from_a_file() {
    struct Stop(usize);
    impl Watch for Stop {
        fn step(&mut self, _: &StepReport) -> bool {
            self.0 -= 1;
            self.0 > 0
        }
        fn epoch(&mut self, _: &EpochReport) -> Result<()> {
            Ok(())
        }
    }
    let shop = Workshop::of("lstm");
    shop.write("answers.csv", answers(200));
    let (_, whole) = shop.train("answers.csv", 3, texts()).unwrap().published.unwrap();
    let mut spilled = texts();
    spilled.data.memory = 100;
    let run = RunDir::create(&shop.path("runs"), "lstm", None).unwrap();
    let request = shop.request("answers.csv", 3, spilled);
    assert!(train(&request, &run, false, &mut |_, _| {}, &mut Stop(14)).is_err());
    let request = TrainRequest::of_run(&run).unwrap();
    assert_eq!(request.task.data.reading.sequence.as_deref(), Some("text"));
    let (_, folder) = train(&request, &run, true, &mut |_, _| {}, &mut Quiet).unwrap().published.unwrap();
    assert!(fs::read(folder.join("model.onnx")).unwrap() == fs::read(whole.join("model.onnx")).unwrap());
}

#[test]
fn networks_of_sequences_are_exported_as_they_are_in_both_engines() {
    let engines = Engines::new(onnxruntime());
    let tokens = LayerSpec::Embedding { tokens: 11, units: 6 };
    let numbers = LayerSpec::Standardize { mean: vec![3.0, -1.0], deviation: vec![2.0, 5.0] };
    let lstm = |units, bidirectional, all_steps| LayerSpec::Lstm { units, bidirectional, all_steps };
    let gru = |units, bidirectional, all_steps| LayerSpec::Gru { units, bidirectional, all_steps };
    let cells = [
        vec![LayerSpec::lstm(9)],
        vec![LayerSpec::gru(8)],
        vec![lstm(5, true, false)],
        vec![gru(5, true, false)],
        vec![lstm(4, true, true), gru(5, true, false)],
        vec![gru(4, false, true), lstm(5, false, true), LayerSpec::gru(3)],
    ];
    let number = LayerSpec::Standardize { mean: vec![3.0], deviation: vec![2.0] };
    let token = LayerSpec::Embedding { tokens: 11, units: 1 };
    for (front, input) in [(tokens, vec![13]), (numbers, vec![13, 2]), (number, vec![13, 1]), (token, vec![13])] {
        for cell in &cells {
            let behind = [LayerSpec::Relu, LayerSpec::Dense { units: 3 }];
            let layers = std::iter::once(&front).chain(cell).chain(&behind).cloned().collect();
            let network = Network::new(&Architecture { input: input.clone(), layers }, 5).unwrap();
            let onnx = to_onnx(&network, "sequences").unwrap();
            let mut kinds = vec![EngineKind::Tract];
            kinds.extend(onnxruntime().map(|_| EngineKind::OnnxRuntime));
            for kind in kinds {
                let plan = engines.load(kind, &onnx).unwrap();
                let logits = plan.signature().outputs.iter().position(|output| output.name == "logits").unwrap();
                let mut session = plan.session().unwrap();
                for size in [1, 7, 64] {
                    // Among the numbers some that are missing, and some that are no tokens.
                    let each = input.iter().product::<usize>();
                    let padding = if input.len() == 1 { 0.0 } else { f32::NAN };
                    let element = |at: usize| match drawn(at, 9) {
                        // Some are padded in front, the seventh all over.
                        _ if at % each < at / each % 7 * (each / 6) => padding,
                        0 => f32::NAN,
                        _ => drawn(at, 14) as f32 - 1.0,
                    };
                    let elements: Vec<f32> = (0..size * each).map(element).collect();
                    let shape = std::iter::once(size).chain(input.iter().copied()).collect();
                    let served = session.run(&[Tensor::new(shape, elements.clone()).unwrap()]).unwrap();
                    let trained = network.logits(&elements).unwrap();
                    let served = served[logits].floats().unwrap();
                    assert_eq!(served.len(), trained.len());
                    let differs = served.iter().zip(&trained).any(|(a, b)| a.is_nan() || (a - b).abs() > 1e-5);
                    assert!(!differs, "{cell:?} of {size} in {}", kind.name());
                }
            }
        }
    }
}

/// Sequences of 30 to 60 letters, of which the first alone tells the class.
fn recalls(count: usize) -> String {
    let letters = ["a", "b", "c", "d", "e", "f"];
    let line = |index: usize| {
        let sequence: Vec<&str> =
            (0..30 + drawn(index, 31)).map(|step| letters[drawn(index * 101 + step * 7, 6)]).collect();
        let label = if ["a", "b", "c"].contains(&sequence[0]) { "early" } else { "late" };
        json!({"sequence": sequence, "label": label}).to_string() + "\n"
    };
    (0..count).map(line).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_stands_first_is_recalled_by_a_layer_that_reads_from_the_end() {
    let shop = Workshop::of("gru");
    shop.write("recalls.jsonl", recalls(400));
    let both = LayerSpec::Gru { units: 12, bidirectional: true, all_steps: true };
    let layers = vec![LayerSpec::Rows, both, LayerSpec::Lstm { units: 8, bidirectional: true, all_steps: false }];
    let mut request = shop.request("recalls.jsonl", 4, TaskOptions { layers, ..TaskOptions::default() });
    request.fit.optimizer = weir::trainer::Optimizer::adam(1e-2);
    let run = RunDir::create(&shop.path("runs"), "gru", None).unwrap();
    let outcome = train(&request, &run, false, &mut |_, _| {}, &mut Quiet).unwrap();
    let TaskReport::Classification(report) = &outcome.report else { panic!("classes are learned") };
    assert!(report.full.evaluation.summary.accuracy > 0.95, "{:?}", report.full.evaluation.summary);
    let (_, folder) = outcome.published.unwrap();
    let data = read_for(&folder, &shop.path("recalls.jsonl"), DataOptions::default()).unwrap();
    let evaluated = evaluate_version(&folder, 1 << 30, &data.test).unwrap();
    let lines = recalls(400);
    let lines: Vec<serde_json::Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let rows = (0..data.test.len()).map(|index| data.test.origin(index).1.unwrap() as usize - 1);
    let sequences: Vec<_> = rows.map(|row| lines[row]["sequence"].clone()).collect();
    let app = TestApp::with(&shop.path("models"), |_| {}).await;
    let answers = served(&app, &json!(sequences), 2).await;
    for ((_, expected), got) in evaluated.predictions.iter().zip(&answers) {
        assert!(expected.iter().zip(got).all(|(a, b)| (f64::from(*a) - b).abs() < 1e-5), "{expected:?} {got:?}");
    }
}

/// Series of 150 numbers around zero, of which the first three alone tell the class.
fn long_series(count: usize) -> String {
    let line = |index: usize| {
        let label = ["down", "up"][index % 2];
        let shift = |step| if step < 3 { [-1.0, 1.0][index % 2] } else { 0.0 };
        let noise = |step: usize| drawn(index * 1009 + step * 31, 1000) as f64 / 2000.0 - 0.25;
        let sequence: Vec<f64> = (0..150).map(|step| shift(step) + noise(step)).collect();
        json!({"sequence": sequence, "label": label}).to_string() + "\n"
    };
    (0..count).map(line).collect()
}

/// A GRU that begins by forgetting half of its state at each step is at chance here.
#[test]
fn a_gru_learns_what_stood_at_the_beginning_of_a_long_series() {
    let shop = Workshop::of("gru");
    shop.write("long.jsonl", long_series(80));
    let mut request = shop.request("long.jsonl", 20, TaskOptions::default());
    request.fit.seed = 0;
    request.fit.batch_size = 32;
    request.fit.optimizer = request.preset.optimizer();
    request.fit.regime = request.preset.regime;
    request.validation = 7;
    let run = RunDir::create(&shop.path("runs"), "gru", None).unwrap();
    let outcome = train(&request, &run, false, &mut |_, _| {}, &mut Quiet).unwrap();
    let TaskReport::Classification(report) = &outcome.report else { panic!("classes are learned") };
    assert!(report.full.evaluation.summary.accuracy > 0.9, "{:?}", report.full.evaluation.summary);
}
