//! Transfer from a transformer of texts: a head learns from few texts, and one graph of both is served with its tokenizer.

use std::path::Path;

use serde_json::{Value, json};
use weir::error::Error;
use weir::repository::VersionFiles;
use weir::trainer::{
    BackboneChoice, DataOptions, Optimizer, RunDir, Solver, TaskOptions, TaskReport, TrainOutcome, evaluate_numbers,
    evaluate_version, read_for, read_unlabelled,
};

use super::data::{Quiet, Workshop};
use super::sequences::manifest;
use crate::support::TestApp;

const JSON: &str = "application/json";

/// Writes a random encoder of the fixtures with its tokenizer, as a version or a bare file, and returns the path.
fn encoder(shop: &Workshop, graph: &str, toml: &str) -> std::path::PathBuf {
    let fixture = |name: &str| {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/texts").join(name);
        std::fs::read(path).unwrap()
    };
    let folder = format!("encoders/{graph}/1");
    shop.write(&format!("{folder}/model.onnx"), fixture(&format!("{graph}.onnx")));
    shop.write(&format!("{folder}/tokenizer.json"), fixture("wordpiece.json"));
    shop.write(&format!("{folder}/config.json"), r#"{"max_position_embeddings": 24, "pad_token_id": 0}"#);
    shop.write(&format!("encoders/{graph}/model.toml"), toml);
    shop.path(&folder)
}

fn on(shop: &Workshop, path: std::path::PathBuf, at: Option<&str>) -> TaskOptions {
    let backbone = BackboneChoice {
        path,
        at: at.map(str::to_owned),
        cache: shop.path("features"),
        solver: Solver::Steps,
        ..BackboneChoice::default()
    };
    TaskOptions { backbone: Some(backbone), ..TaskOptions::default() }
}

/// A text of a topic that its words tell, of two to seven words.
fn text(index: usize) -> (String, &'static str) {
    let (words, topic) = match index % 2 {
        0 => (["water", "river", "flow", "dam"], "rivers"),
        _ => (["Anna", "Bob", "works", "lives"], "people"),
    };
    let words: Vec<&str> = (0..2 + index * 5 % 6).map(|word| words[(index / 2 + word * (1 + index % 3)) % 4]).collect();
    (words.join(" "), topic)
}

fn topics(count: usize) -> String {
    let row = |index| {
        let (text, topic) = text(index);
        format!("{index},{text},{topic}\n")
    };
    format!("number,text,label\n{}", (0..count).map(row).collect::<String>())
}

fn train(shop: &Workshop, data: &str, task: TaskOptions, notes: &mut Vec<String>) -> TrainOutcome {
    let mut request = shop.request(data, 60, task);
    request.fit.optimizer = Optimizer::adam(2e-2);
    let run = RunDir::create(&shop.path("runs"), "head", None).unwrap();
    let told = &mut |_: &[&weir::trainer::Network], data: &weir::trainer::PreparedData| {
        notes.clone_from(&data.source.notes);
    };
    weir::trainer::train(&request, &run, false, told, &mut Quiet).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn few_texts_teach_a_head_and_one_graph_serves_them() {
    let shop = Workshop::of("head");
    shop.write("topics.csv", topics(120));
    let backbone = encoder(&shop, "hidden", "[answer]\nkind = \"embedding\"\npool = \"mean\"\nnormalise = true\n");
    let mut notes = Vec::new();
    let outcome = train(&shop, "topics.csv", on(&shop, backbone.clone(), None), &mut notes);
    let TaskReport::Classification(report) = &outcome.report else { panic!("classes are learned") };
    assert!(report.full.evaluation.summary.accuracy > 0.9, "{:?}", report.full.evaluation.summary);
    for note in [
        "backbone hidden version 1, frozen",
        "texts are read by its tokenizer.json: WordPiece",
        "at most 24 tokens, by max_position_embeddings of config.json",
        "features are tensor last_hidden_state",
        "the mean is taken, of length 1",
        "16 features of each text were computed",
        "learning label from texts: one of 2 classes",
    ] {
        assert!(notes.iter().any(|said| said.contains(note)), "{note}: {notes:?}");
    }
    let (_, folder) = outcome.published.unwrap();
    let manifest = manifest(&folder);
    for part in ["features of hidden version 1", "16 of tensor last_hidden_state"] {
        assert!(manifest.description.contains(part), "{}", manifest.description);
    }
    assert_eq!(manifest.parity.as_ref().unwrap().argmax_mismatches, 0);
    assert_eq!(manifest.transform.text.as_ref().unwrap().max_length, 24);
    assert_eq!(manifest.labels, ["people", "rivers"]);
    let files = VersionFiles::read(folder.as_path(), 1 << 30).unwrap();
    let inherited = std::fs::read(backbone.join("tokenizer.json")).unwrap();
    assert_eq!(files.tokenizer.unwrap().json, inherited, "the tokenizer is inherited");
    let card =
        std::fs::read_to_string(folder.join("README.md")).or_else(|_| std::fs::read_to_string(folder.join("card.md")));
    let card = card.unwrap();
    assert!(card.contains("One text of one of the classes (people, rivers)"), "{card}");

    let data = read_for(&folder, &shop.path("topics.csv"), DataOptions::default()).unwrap();
    let evaluated = evaluate_version(&folder, 1 << 30, &data.test).unwrap();
    // The evaluation runs texts of one length together, and sums are rounded by company.
    let (again, told) = (evaluated.predictions.evaluate(), &report.full.evaluation);
    assert_eq!((&again.confusion, again.summary.samples), (&told.confusion, told.summary.samples));
    assert!((again.summary.loss - told.summary.loss).abs() < 1e-5, "{} {}", again.summary.loss, told.summary.loss);
    let rows = (0..data.test.len()).map(|index| data.test.origin(index).1.unwrap() as usize - 1);
    let texts: Vec<String> = rows.map(|row| text(row).0).collect();
    let app = TestApp::with(&shop.path("models"), |_| {}).await;
    let answers = app.post("/models/mine/predict", JSON, json!({"instances": texts}).to_string()).await.json();
    let answers: &Vec<Value> = answers["predictions"].as_array().unwrap();
    assert_eq!(answers.len(), texts.len());
    for ((_, expected), got) in evaluated.predictions.iter().zip(answers) {
        let best = expected.iter().copied().fold(0.0, f32::max);
        // The server pads texts of different lengths, the evaluation none.
        assert!((got["confidence"].as_f64().unwrap() - f64::from(best)).abs() < 1e-4, "{expected:?} {got}");
    }
    let one = app.post("/models/mine/predict", "text/plain", "water flow river").await;
    assert_eq!(one.labels(), ["rivers"]);

    train(&shop, "topics.csv", on(&shop, backbone, None), &mut notes);
    assert!(notes.iter().any(|said| said.contains("features of each text were read from")), "{notes:?}");
}

#[test]
fn a_classifier_of_texts_and_a_bare_file_are_backbones_too() {
    let shop = Workshop::of("head");
    shop.write("topics.csv", topics(80));
    let classifier = encoder(&shop, "sequence", "");
    let mut notes = Vec::new();
    train(&shop, "topics.csv", on(&shop, classifier.join("model.onnx"), None), &mut notes);
    assert!(notes.iter().any(|said| said.contains("the input of the last")), "{notes:?}");
    assert!(notes.iter().any(|said| said.contains("backbone model.onnx (SHA-256")), "{notes:?}");
    let hidden = encoder(&shop, "hidden", "[answer]\nkind = \"embedding\"\npool = \"first\"\n");
    train(&shop, "topics.csv", on(&shop, hidden, None), &mut notes);
    assert!(notes.iter().any(|said| said.contains("the first is taken; --at")), "{notes:?}");
    // A head is a backbone again.
    let (_, folder) =
        train(&shop, "topics.csv", on(&shop, shop.path("models/mine/1"), None), &mut notes).published.unwrap();
    let (_, folder) = train(&shop, "topics.csv", on(&shop, folder, None), &mut notes).published.unwrap();
    assert!(folder.ends_with("4"), "{folder:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn numbers_are_learned_from_texts_and_answered_in_their_own_unit() {
    let shop = Workshop::of("head");
    let row = |index: usize| {
        let (text, topic) = text(index);
        let words = text.split(' ').count();
        format!(
            "{{\"text\": \"{text}\", \"worth\": {:.1}}}\n",
            if topic == "rivers" { 100.5 } else { 20.0 } + words as f64
        )
    };
    shop.write("worth.jsonl", (0..120).map(row).collect::<String>());
    let backbone = encoder(&shop, "hidden", "");
    let mut task = on(&shop, backbone, None);
    task.data.reading.target = Some("worth".into());
    let outcome = train(&shop, "worth.jsonl", task, &mut Vec::new());
    let TaskReport::Regression(report) = &outcome.report else { panic!("numbers are learned") };
    assert!(report.evaluation.r_squared.unwrap() > 0.7, "{:?}", report.evaluation);
    let (_, folder) = outcome.published.unwrap();
    let data = read_for(&folder, &shop.path("worth.jsonl"), DataOptions::default()).unwrap();
    let evaluated = evaluate_numbers(&folder, 1 << 30, &data.test).unwrap();
    let app = TestApp::with(&shop.path("models"), |_| {}).await;
    let row = data.test.origin(0).1.unwrap() as usize - 1;
    let answer = app.post("/models/mine/predict", JSON, json!({"text": text(row).0}).to_string()).await.json();
    let value = answer["predictions"][0]["value"].as_f64().unwrap();
    assert!((value - evaluated.predictions[0]).abs() < 1e-2, "{value} {}", evaluated.predictions[0]);
    shop.write("new.csv", "text\nwater\nAnna works\n");
    let unlabelled = read_unlabelled(&folder, &shop.path("new.csv"), DataOptions::default()).unwrap();
    assert_eq!(unlabelled.train.len() + unlabelled.test.len(), 2);
}

#[test]
fn what_a_head_on_texts_cannot_do_is_refused_with_what_to_do() {
    let shop = Workshop::of("head");
    shop.write("topics.csv", topics(40));
    let hidden = || encoder(&shop, "hidden", "");
    let refused = |data: &str, task: TaskOptions| shop.train(data, 1, task).unwrap_err();
    shop.write("numbers.csv", format!("a,b,label\n{}", "1,2,x\n3,4,y\n".repeat(20)));
    let no_texts = refused("numbers.csv", on(&shop, hidden(), None)).to_string();
    assert!(no_texts.contains("--sequence NAME"), "{no_texts}");
    shop.write("empty.csv", format!("text,label\n{},x\nnull,y\n", "water,x\nAnna,y\n".repeat(20)));
    let empty = refused("empty.csv", on(&shop, hidden(), None)).to_string();
    assert!(empty.contains("row 41") && empty.contains("column text must be a text, got no value"), "{empty}");
    let mut asking = on(&shop, hidden(), None);
    asking.data.reading.steps = Some(9);
    assert!(refused("topics.csv", asking).to_string().contains("the tokenizer's"));
    let nowhere = refused("topics.csv", on(&shop, hidden(), Some("nothing")));
    assert!(matches!(nowhere, Error::Config { .. }), "{nowhere}");
    std::fs::remove_file(hidden().join("tokenizer.json")).unwrap();
    let bare = refused("topics.csv", on(&shop, shop.path("encoders/hidden/1"), None)).to_string();
    assert!(bare.contains("tokenizer.json beside it"), "{bare}");
}
