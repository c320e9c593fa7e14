//! Judging a model by other data than it was trained on, and asking it for answers without a server.

use std::fmt::Write as _;
use std::fs;

use serde_json::Value;
use weir::repository::ReadSettings;
use weir::trainer::{
    Compared, DataOptions, PartChoice, TaskOptions, TaskReport, evaluate_version, permutation_importance, read_for,
};

use super::data::Workshop;
use crate::cli::{output, text};

/// Rows of people; the class follows the age and the colour.
fn people(range: std::ops::Range<usize>, zone: &str, with_income: bool) -> String {
    let mut csv = "age,income,color,zone,target\n".to_owned();
    for index in range {
        let age = 20 + index * 7 % 50;
        let color = ["red", "green", "?"][index % 3];
        let income = if with_income { (index * 37 % 900).to_string() } else { String::new() };
        let zone = if zone.is_empty() { ["1A", "2B", "33"][index / 3 % 3] } else { zone };
        let class = if age > 40 { "high" } else { "low" };
        writeln!(csv, "{age},{income},{color},{zone},{class}").unwrap();
    }
    csv
}

fn trained() -> (Workshop, std::path::PathBuf) {
    let shop = Workshop::of("dense");
    shop.write("train.csv", people(0..400, "", true));
    let outcome = shop.train("train.csv", 8, TaskOptions::default()).unwrap();
    let TaskReport::Classification(report) = &outcome.report else { panic!("classes are learned") };
    assert!(report.full.evaluation.summary.accuracy > 0.8, "{:?}", report.full.evaluation.summary);
    let folder = outcome.published.unwrap().1;
    (shop, folder)
}

#[test]
fn every_row_of_other_data_is_scored_whatever_is_missing_in_them() {
    let (shop, folder) = trained();
    let one_class: String = people(400..600, "", true)
        .lines()
        .filter(|line| !line.ends_with("low"))
        .fold(String::new(), |all, line| all + line + "\n");
    let split: String = people(400..600, "", true)
        .lines()
        .enumerate()
        .fold(String::new(), |all, (index, line)| all + line + if index == 0 { ",split\n" } else { ",test\n" });
    let cases = [
        ("whole.csv", people(400..600, "", true), 200),
        ("one_class.csv", one_class.clone(), one_class.lines().count() - 1),
        ("no_income.csv", people(400..600, "", false), 200),
        ("zone33.csv", people(400..600, "33", true), 200),
        ("unseen.csv", people(400..600, "9Z", true), 200),
        ("split.csv", split, 200),
    ];
    for (name, csv, rows) in cases {
        shop.write(name, csv);
        let data = read_for(&folder, &shop.path(name), DataOptions::default()).unwrap();
        let (judged, _) = data.judged(None).unwrap();
        assert_eq!(judged.len(), rows, "{name}");
        let evaluated = evaluate_version(&folder, 1 << 30, &judged).unwrap().predictions.evaluate();
        assert!(evaluated.summary.accuracy > 0.7, "{name}: {:?}", evaluated.summary);
        let told =
            data.notes.iter().any(|note| note.contains("200 cells hold texts that the model does not know, as \"9Z\""));
        assert_eq!(told, name == "unseen.csv", "{:?}", data.notes);
    }
    // The files that it was trained on: only what was held out is new to it.
    let data = read_for(&folder, &shop.path("train.csv"), DataOptions::default()).unwrap();
    assert_eq!(data.judged(None).unwrap().0.len(), 40);
    assert_eq!(data.judged(Some(PartChoice::All)).unwrap().0.len(), 400);
    assert!(data.judged(Some(PartChoice::Validation)).is_err());
}

#[test]
fn the_column_that_decides_is_the_important_one() {
    let (shop, folder) = trained();
    shop.write("new.csv", people(400..700, "", true));
    let read =
        |folder: &std::path::Path, name: &str| read_for(folder, &shop.path(name), DataOptions::default()).unwrap();
    let data = read(&folder, "new.csv");
    let judged = data.judged(None).unwrap().0;
    let importance = |repeats| permutation_importance(&folder, 1 << 30, (&judged, &data.columns), repeats);
    let found = importance(5).unwrap();
    assert_eq!((found.figure, found.samples, found.columns.len()), (Compared::Accuracy, 300, 4));
    let [first, rest @ ..] = found.columns.as_slice() else { panic!("{found:?}") };
    assert!(first.column == "age" && first.mean > 0.2 && first.deviation < 0.1, "{found:?}");
    assert!(rest.iter().all(|column| column.mean < 0.1), "{found:?}");
    assert_eq!(found, importance(5).unwrap(), "the shuffles are drawn by a seed");
    assert!(importance(0).is_err());

    let path = |name: &str| shop.path(name).display().to_string();
    let (models, data, report) = (path("models"), path("new.csv"), path("report"));
    let evaluate = |more: &[&str]| {
        let shown = output(&[&["evaluate", "mine", "--models", &models, "--data", &data], more].concat());
        assert!(shown.status.success(), "{}", text(&shown.stderr));
        text(&shown.stdout)
    };
    let json: Value = serde_json::from_str(&evaluate(&["--json", "--importance", "2"])).unwrap();
    assert_eq!(
        (&json["importance"]["repeats"], &json["importance"]["columns"][0]["column"]),
        (&2.into(), &"age".into())
    );
    assert!(evaluate(&["--report", &report]).contains("fall of the accuracy"));
    let page = || fs::read_to_string(shop.path("report/report.html")).unwrap();
    assert!(page().contains("Importance of the columns"));
    assert!(!evaluate(&["--report", &report, "--importance", "none"]).contains("shuffled"));
    assert!(!page().contains("Importance of the columns"));
}

#[test]
fn of_numbers_the_importance_is_what_the_error_rises_by() {
    let shop = Workshop::of("dense");
    let row = |index: usize| format!("{},{},{}.5\n", index % 50, index * 37 % 41, 1000 + index % 50 * 3);
    shop.write("numbers.csv", (0..400).fold("size,noise,price\n".to_owned(), |csv, index| csv + &row(index)));
    let folder = shop.train("numbers.csv", 10, TaskOptions::default()).unwrap().published.unwrap().1;
    let data = read_for(&folder, &shop.path("numbers.csv"), DataOptions::default()).unwrap();
    let judged = data.judged(Some(PartChoice::All)).unwrap().0;
    let found = permutation_importance(&folder, 1 << 30, (&judged, &data.columns), 3).unwrap();
    assert_eq!((found.figure, found.columns[0].column.as_str()), (Compared::RootMeanSquaredError, "size"));
    // Two that are drawn from 0, 3, …, 147 are 61 apart in the root of the mean square.
    assert!((found.columns[0].mean + found.baseline - 61.2).abs() < 10.0, "{found:?}");
    assert!(found.columns[1].mean.abs() < 6.0 && found.columns[1].column == "noise", "{found:?}");
}

#[test]
fn one_file_of_the_folder_that_was_trained_on_is_scored_whole() {
    let shop = Workshop::of("dense");
    shop.write("people/train.csv", people(0..200, "", true));
    let test = shop.write("people/test.csv", people(200..300, "", true));
    let folder = shop.train("people", 1, TaskOptions::default()).unwrap().published.unwrap().1;
    let data = read_for(&folder, &test, DataOptions::default()).unwrap();
    assert_eq!(data.judged(None).unwrap().0.len(), 100);
}

#[test]
fn what_the_model_does_not_have_is_refused_by_name() {
    let (shop, folder) = trained();
    let refused = |name: &str, csv: String| {
        shop.write(name, csv);
        read_for(&folder, &shop.path(name), DataOptions::default()).unwrap_err().to_string()
    };
    let all = people(400..430, "", true);
    assert!(refused("a.csv", all.replace("income", "wage")).contains("has no column \"income\""));
    let other = refused("b.csv", all.replacen("high\n", "huge\n", 1));
    assert!(other.contains("row ") && other.contains("class \"huge\" is not among those of the model"), "{other}");
    let texts = all.lines().enumerate().fold(String::new(), |csv, (index, line)| {
        csv + &if index == 0 { line.to_owned() } else { format!("old{line}") } + "\n"
    });
    assert!(refused("c.csv", texts).contains("holds texts in column \"age\""));
}

#[test]
fn answers_for_a_file_are_what_an_evaluation_counts() {
    let (shop, folder) = trained();
    let csv = people(400..500, "", true);
    shop.write("labelled.csv", &csv);
    let without: String = csv.lines().fold(String::new(), |all, line| all + line.rsplit_once(',').unwrap().0 + "\n");
    shop.write("new.csv", without);
    let data = read_for(&folder, &shop.path("labelled.csv"), DataOptions::default()).unwrap();
    let evaluated = evaluate_version(&folder, 1 << 30, &data.judged(None).unwrap().0).unwrap();
    let path = |name: &str| shop.path(name).display().to_string();
    for out in ["answers.csv", "answers.jsonl", "answers.parquet"] {
        let args = [
            "predict",
            "mine",
            "--models",
            &path("models"),
            "--data",
            &path("new.csv"),
            "--out",
            &path(out),
            "--probabilities",
        ];
        let done = output(&args);
        assert_eq!(done.status.code(), Some(0), "{}", text(&done.stderr));
        assert!(text(&done.stderr).contains("100 answers"), "{}", text(&done.stderr));
    }
    let lines = fs::read_to_string(shop.path("answers.jsonl")).unwrap();
    let answers: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let right = answers
        .iter()
        .zip(csv.lines().skip(1))
        .filter(|(answer, row)| row.ends_with(answer["prediction"].as_str().unwrap()));
    let accuracy = right.count() as f64 / 100.0;
    assert!((accuracy - evaluated.predictions.evaluate().summary.accuracy).abs() < 1e-9);
    assert_eq!((answers[4]["row"].as_u64(), answers.len()), (Some(5), 100));
    let table = fs::read_to_string(shop.path("answers.csv")).unwrap();
    assert!(table.starts_with("file,row,prediction,confidence,probability of high,probability of low\n"), "{table}");
    assert_eq!(table.lines().count(), 101);
    let reading = ReadSettings { target: Some("prediction".into()), ..ReadSettings::default() };
    let options = DataOptions { reading, ..DataOptions::default() };
    let back = weir::trainer::inspect(&shop.path("answers.parquet"), &options, 1).unwrap();
    assert_eq!((back.labels.len(), back.parts.iter().map(|part| part.samples).sum::<usize>()), (2, 100));
    let refused =
        output(&["predict", "mine", "--models", &path("models"), "--data", &path("new.csv"), "--out", &path("a.xls")]);
    assert!(
        refused.status.code() == Some(2) && text(&refused.stderr).contains(".parquet"),
        "{}",
        text(&refused.stderr)
    );
}
