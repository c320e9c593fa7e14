//! Columns of texts in a table: learned from by their words, served as they were trained.

use serde_json::{Value, json};
use weir::layers::{Encoding, LayerSpec};
use weir::signature::ColumnKind;
use weir::trainer::{DataOptions, TaskOptions, TaskReport, evaluate_version, inspect, read_for};

use super::data::Workshop;
use super::sequences::manifest;
use crate::support::TestApp;

const JSON: &str = "application/json";

/// A thing that is sold: a word of its name says whether it is dear, beside a number that tells nothing.
fn thing(index: usize) -> (String, usize, &'static str) {
    let is_dear = index * 7 % 10 < 5;
    let kind = if is_dear { ["gold ring", "silver watch"] } else { ["paper cup", "plastic bag"] }[index % 2];
    (format!("{kind} no. {index}"), index * 13 % 50, if is_dear { "dear" } else { "cheap" })
}

fn things(count: usize) -> String {
    let row = |index| {
        let (name, size, price) = thing(index);
        format!("{name},{size},K-{:05}x,{price}\n", index * 7919 % 100_000)
    };
    format!("name,size,code,price\n{}", (0..count).map(row).collect::<String>())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_column_of_texts_is_learned_from_by_its_words_and_served_alike() {
    let shop = Workshop::of("dense");
    shop.write("things.csv", things(600));
    let outcome = shop.train("things.csv", 4, TaskOptions::default()).unwrap();
    let (_, folder) = outcome.published.unwrap();
    let TaskReport::Classification(report) = outcome.report else { panic!("classes are learned") };
    assert!(report.full.evaluation.summary.accuracy > 0.97, "{:?}", report.full.evaluation.summary);
    let manifest = manifest(&folder);
    let columns = &manifest.transform.columns;
    let names: Vec<&str> = columns.iter().map(|column| column.name.as_str()).collect();
    assert_eq!(names, ["name", "size"], "the code has no words in common and is left out");
    let ColumnKind::Text { grams } = columns[0].kind else { panic!("{:?}", columns[0]) };
    let architecture = manifest.architecture.unwrap();
    assert_eq!(architecture.input, [grams + 1]);
    let LayerSpec::Encode { columns } = &architecture.layers[0] else { panic!("columns are encoded") };
    assert!(matches!(columns[0], Encoding::Bag { tokens: 8194, units: 16, .. }), "{:?}", columns[0]);

    let data = read_for(&folder, &shop.path("things.csv"), DataOptions::default()).unwrap();
    let evaluated = evaluate_version(&folder, 1 << 30, &data.test).unwrap();
    let rows: Vec<usize> = (0..data.test.len()).map(|index| data.test.origin(index).1.unwrap() as usize - 1).collect();
    let app = TestApp::with(&shop.path("models"), |_| {}).await;
    let ask = async |instances: Value| {
        app.post("/models/mine/predict", JSON, json!({"instances": instances}).to_string()).await
    };
    let named: Vec<Value> =
        rows.iter().map(|row| thing(*row)).map(|(name, size, _)| json!({"size": size, "name": name})).collect();
    let ordered: Vec<Value> = rows.iter().map(|row| thing(*row)).map(|(name, size, _)| json!([name, size])).collect();
    for instances in [named, ordered] {
        let answers = ask(json!(instances)).await.json();
        for ((_, expected), got) in evaluated.predictions.iter().zip(answers["predictions"].as_array().unwrap()) {
            let best = expected.iter().copied().fold(0.0, f32::max);
            assert!((got["confidence"].as_f64().unwrap() - f64::from(best)).abs() < 1e-5, "{expected:?} {got}");
        }
    }
    // The elements themselves, as tensors, over the other protocols.
    let elements: Vec<Option<f32>> = data.test.inputs(0..1).unwrap().into_iter().map(Some).collect();
    let tfs = app.post("/v1/models/mine:predict", JSON, json!({"instances": [elements]}).to_string()).await.json();
    let shape = [1, elements.len()];
    let input = json!({"inputs": [{"name": "features", "datatype": "FP32", "shape": shape, "data": elements}]});
    let oip = app.post("/v2/models/mine/infer", JSON, input.to_string()).await.json();
    let output = |name: &str| {
        let outputs = oip["outputs"].as_array().unwrap();
        outputs.iter().find(|output| output["name"] == name).unwrap()["data"].clone()
    };
    let (_, first) = evaluated.predictions.iter().next().unwrap();
    for (place, expected) in first.iter().enumerate() {
        let near = |got: &Value| (got.as_f64().unwrap() - f64::from(*expected)).abs() < 1e-5;
        assert!(
            near(&tfs["predictions"][0]["probabilities"][place]) && near(&output("probabilities")[place]),
            "{tfs} {oip}"
        );
    }
    // Missing ones, in any form; a text without a word is one.
    let missing = ask(json!([{"size": 3}, {"name": null, "size": 3}, ["", 3]])).await.json();
    assert_eq!(missing["predictions"][0], missing["predictions"][1]);
    assert_eq!(missing["predictions"][0], missing["predictions"][2]);
    assert!(ask(json!([[5, 3]])).await.assert_problem(400).contains("column \"name\": expected a text, got 5"));
    assert!(ask(json!([{"name": ["a"]}])).await.assert_problem(400).contains("column \"name\": a text or null"));
}

#[test]
fn which_columns_are_texts_can_be_said() {
    let shop = Workshop::of("dense");
    shop.write("things.csv", things(600));
    let inspected = |change: fn(&mut DataOptions)| {
        let mut options = DataOptions::default();
        change(&mut options);
        inspect(&shop.path("things.csv"), &options, 5).unwrap()
    };
    let found = inspected(|_| {});
    assert!(found.columns[0].grams.is_some_and(|grams| grams > 20) && found.columns[1].numbers.is_some());
    let notes = found.notes.join("\n");
    assert!(
        notes.contains("column name holds texts") && notes.contains("--texts code learns from their parts"),
        "{notes}"
    );
    let found = inspected(|options| options.reading.texts = vec!["code".into(), "size".into()]);
    assert!(found.columns.iter().all(|column| column.grams.is_some()), "{:?}", found.columns);
    let found = inspected(|options| options.reading.ignore = vec!["name".into()]);
    assert_eq!(found.columns.len(), 1);
    let mut options = DataOptions::default();
    options.reading.texts = vec!["title".into()];
    let refused = inspect(&shop.path("things.csv"), &options, 5).unwrap_err().to_string();
    assert!(refused.contains("no column \"title\""), "{refused}");
}
