//! Texts as n-grams, of scripts with spaces and without: what is trained is what is served.

use serde_json::{Value, json};
use weir::layers::LayerSpec;
use weir::signature::{SequenceElements, TokenSplit};
use weir::trainer::{DataOptions, TaskOptions, TaskReport, evaluate_version, read_for};

use super::data::Workshop;
use super::sequences::manifest;
use crate::support::TestApp;

const JSON: &str = "application/json";

/// An opinion, in English or Chinese, which one word among others decides.
fn opinion(index: usize) -> (String, &'static str) {
    let is_good = index.is_multiple_of(2);
    let pick = |words: &[&'static str]| words[index / 2 % words.len()];
    let text = if index.is_multiple_of(5) {
        let word = if is_good { pick(&["很好", "喜欢"]) } else { pick(&["太差", "讨厌"]) };
        format!("这个东西{word}")
    } else {
        let word = if is_good { pick(&["lovely", "great", "fine"]) } else { pick(&["awful", "poor", "bad"]) };
        format!("The {} was {word}, I think", ["food", "room", "view", "staff"][index * 7 % 4])
    };
    (text, if is_good { "likes" } else { "hates" })
}

fn opinions(count: usize) -> String {
    let row = |index| {
        let (text, label) = opinion(index);
        format!("{index},\"{text}\",{label}\n")
    };
    format!("number,text,label\n{}", (0..count).map(row).collect::<String>())
}

#[tokio::test(flavor = "multi_thread")]
async fn texts_are_trained_as_n_grams_and_served_alike() {
    let shop = Workshop::of("text");
    shop.write("opinions.csv", opinions(300));
    let outcome = shop.train("opinions.csv", 15, TaskOptions::default()).unwrap();
    let (_, folder) = outcome.published.unwrap();
    let TaskReport::Classification(report) = outcome.report else { panic!("classes are learned") };
    assert!(report.full.evaluation.summary.accuracy > 0.95, "{:?}", report.full.evaluation.summary);
    let manifest = manifest(&folder);
    let elements = &manifest.transform.sequence.as_ref().unwrap().elements;
    let expected = SequenceElements::Tokens { split: Some(TokenSplit::Terms), vocabulary: Vec::new() };
    assert_eq!(*elements, expected, "nothing of the texts is in the manifest");
    let layers = manifest.architecture.unwrap().layers;
    assert!(
        matches!(layers[0], LayerSpec::EmbeddingBag { tokens: 65_538, units: 16, weighted: true }),
        "{:?}",
        layers[0]
    );

    let data = read_for(&folder, &shop.path("opinions.csv"), DataOptions::default()).unwrap();
    let evaluated = evaluate_version(&folder, 1 << 30, &data.test).unwrap();
    let rows = (0..data.test.len()).map(|index| data.test.origin(index).1.unwrap() as usize - 1);
    let texts: Vec<String> = rows.map(|row| opinion(row).0).collect();
    let app = TestApp::with(&shop.path("models"), |_| {}).await;
    let ask = async |instances: Value| {
        app.post("/models/mine/predict", JSON, json!({"instances": instances}).to_string()).await
    };
    let answers = ask(json!(texts)).await.json();
    let answers = answers["predictions"].as_array().unwrap();
    for ((_, expected), got) in evaluated.predictions.iter().zip(answers) {
        let best = expected.iter().copied().fold(0.0, f32::max);
        assert!((got["confidence"].as_f64().unwrap() - f64::from(best)).abs() < 1e-5, "{expected:?} {got}");
    }
    let forms = ask(json!(["the room was GREAT", ["the", "room", "was", "great"]])).await.json();
    assert_eq!(forms["predictions"][0]["confidence"], forms["predictions"][1]["confidence"]);
    assert!(ask(json!(["fine", "\n"])).await.assert_problem(400).contains("instance 1: it has no tokens"));
    assert!(ask(json!([[3.0, 1.5]])).await.assert_problem(400).contains("expected a token's number"));
}

/// Texts as versions before read them: every word, pair and run of characters as often as it is there, and their mean.
#[tokio::test(flavor = "multi_thread")]
async fn texts_of_grams_are_trained_and_served_as_before() {
    let shop = Workshop::of("text");
    shop.write("opinions.csv", opinions(120));
    let mut task = TaskOptions::default();
    task.data.reading.tokens = Some(TokenSplit::Grams);
    let (_, folder) = shop.train("opinions.csv", 2, task).unwrap().published.unwrap();
    let written = std::fs::read_to_string(folder.join("manifest.json")).unwrap();
    let json: Value = serde_json::from_str(&written).unwrap();
    assert_eq!(json["transform"]["sequence"]["split"], "grams");
    assert!(json["architecture"]["layers"][0].get("weighted").is_none(), "as it was written before");
    let layers = manifest(&folder).architecture.unwrap().layers;
    assert!(matches!(layers[0], LayerSpec::EmbeddingBag { weighted: false, .. }), "{:?}", layers[0]);

    let data = read_for(&folder, &shop.path("opinions.csv"), DataOptions::default()).unwrap();
    let evaluated = evaluate_version(&folder, 1 << 30, &data.test).unwrap();
    let rows = (0..data.test.len()).map(|index| data.test.origin(index).1.unwrap() as usize - 1);
    let texts: Vec<String> = rows.map(|row| opinion(row).0).collect();
    let app = TestApp::with(&shop.path("models"), |_| {}).await;
    let body = json!({"instances": texts}).to_string();
    let answers = app.post("/models/mine/predict", JSON, body).await.json();
    let answers = answers["predictions"].as_array().unwrap();
    assert_eq!(answers.len(), evaluated.predictions.iter().count());
    for ((_, expected), got) in evaluated.predictions.iter().zip(answers) {
        let best = expected.iter().copied().fold(0.0, f32::max);
        assert!((got["confidence"].as_f64().unwrap() - f64::from(best)).abs() < 1e-5, "{expected:?} {got}");
    }
}

#[test]
fn what_holds_no_texts_is_refused_with_what_to_do() {
    let shop = Workshop::of("text");
    shop.write("numbers.csv", format!("a,b,label\n{}", "1,2,x\n3,4,y\n".repeat(20)));
    let refused = shop.train("numbers.csv", 1, TaskOptions::default()).unwrap_err().to_string();
    assert!(refused.contains("--sequence NAME") && refused.contains("a, b, label"), "{refused}");
    let lines = (0..60).map(|index| format!("{{\"sequence\": [1, {}, 3], \"label\": \"{}\"}}\n", index % 7, index % 2));
    shop.write("waves.jsonl", lines.collect::<String>());
    let refused = shop.train("waves.jsonl", 1, TaskOptions::default()).unwrap_err().to_string();
    assert!(refused.contains("weir train lstm"), "{refused}");
    // The first text is the one that is not there.
    shop.write("empty.csv", format!("text,label\n,likes\n{}", "a fine day,likes\na bad day,hates\n".repeat(20)));
    let refused = shop.train("empty.csv", 1, TaskOptions::default()).unwrap_err().to_string();
    assert!(refused.contains("row 1: column text must be a text, got no value: the cell is empty"), "{refused}");
    assert!(!refused.contains("as the first one is"), "{refused}");
}
