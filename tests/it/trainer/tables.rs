//! Learning from tables with the settings that nobody has to know: small data, far outliers, ensembles.

use std::fs;

use weir::layers::{Encoding, LayerSpec};
use weir::repository::Manifest;
use weir::signature::DType;
use weir::trainer::{RunDir, TaskOptions, TaskReport, TrainRequest, preset, train};

use super::data::{Quiet, Workshop};
use crate::cli::{output, text};
use crate::support::TestApp;

/// Two half circles around each other, which no line parts.
fn moons(count: usize) -> String {
    let mut csv = "x,y,moon\n".to_owned();
    for index in 0..count {
        let angle = (index as f64 * 0.618_034).fract() * std::f64::consts::PI;
        let (x, y, moon) = if index.is_multiple_of(2) {
            (angle.cos(), angle.sin(), "up")
        } else {
            (1.0 - angle.cos(), 0.5 - angle.sin(), "down")
        };
        csv.push_str(&format!("{x:.4},{y:.4},{moon}\n"));
    }
    csv
}

fn accuracy(report: &TaskReport) -> f64 {
    let TaskReport::Classification(report) = report else { panic!("classes") };
    report.full.evaluation.summary.accuracy
}

fn manifest(shop: &Workshop, version: usize) -> Manifest {
    let path = shop.path(&format!("models/mine/{version}/manifest.json"));
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

#[test]
fn few_rows_are_learned_by_as_many_steps_as_many_rows_are() {
    let shop = Workshop::of("dense");
    shop.write("moons.csv", moons(160));
    let mut request = TrainRequest::of_preset(preset("dense").unwrap());
    request.data = shop.path("moons.csv");
    request.models = None;
    // A third of the default epochs, to be done sooner.
    request.fit.epochs = 10;
    let run = RunDir::create(&shop.path("runs"), "dense", None).unwrap();
    let outcome = train(&request, &run, false, &mut |_, _| {}, &mut Quiet).unwrap();
    assert!(accuracy(&outcome.report) > 0.93, "{}", accuracy(&outcome.report));
    let metrics = fs::read_to_string(run.path().join("metrics.jsonl")).unwrap();
    assert_eq!(metrics.lines().count(), 10, "epochs of a hundred steps, not of one pass");
}

#[test]
fn an_ensemble_is_one_graph_whose_answers_are_the_mean() {
    let shop = Workshop::of("dense");
    shop.write("moons.csv", moons(120));
    let alone = shop.train("moons.csv", 1, TaskOptions::default()).unwrap();
    let three = TaskOptions { ensemble: 3, ..TaskOptions::default() };
    shop.train("moons.csv", 1, three.clone()).unwrap();
    let [one, all] = [1, 2].map(|version| manifest(&shop, version));
    assert_eq!(all.parameters, one.parameters.map(|parameters| 3 * parameters));
    assert!(all.description.contains("the mean of 3 such networks"), "{}", all.description);
    assert!(all.parity.unwrap().max_abs_logit_difference < 1e-4);
    let args = fs::read_to_string(alone.run.join("args.toml")).unwrap();
    assert!(args.contains("ensemble = 1"), "{args}");

    let many = TaskOptions { ensemble: 65, ..TaskOptions::default() };
    let refused = shop.request("moons.csv", 1, many).validate().unwrap_err().to_string();
    assert!(refused.contains("ensemble") && refused.contains("64"), "{refused}");
    let mut codes = shop.request("moons.csv", 1, three);
    codes.preset = preset("mnist-vae").unwrap();
    assert!(codes.validate().unwrap_err().to_string().contains("autoencoders cannot"));
}

#[test]
fn numbers_are_averaged_by_an_ensemble_in_their_own_unit() {
    let shop = Workshop::of("dense");
    let rows = (0..200).map(|index| format!("{},{}\n", index % 40, f64::from(index % 40) * 250.0 + 0.5));
    shop.write("line.csv", format!("x,price\n{}", rows.collect::<String>()));
    let task = TaskOptions { ensemble: 2, ..TaskOptions::default() };
    let outcome = shop.train("line.csv", 60, task).unwrap();
    let TaskReport::Regression(report) = &outcome.report else { panic!("numbers") };
    assert!(report.evaluation.r_squared.unwrap() > 0.98, "{:?}", report.evaluation);
}

#[test]
fn far_outliers_do_not_drown_a_column_and_missing_numbers_are_told() {
    let shop = Workshop::of("dense");
    let row = |index: usize| {
        let x = match index {
            _ if index % 50 == 7 => "1e30".to_owned(),
            _ if index % 9 == 4 => String::new(),
            _ => format!("{}", (index % 10) as f64 / 10.0),
        };
        let label = if index % 9 == 4 || index % 10 < 5 { "low" } else { "high" };
        format!("{x},{},{label}\n", index % 3)
    };
    shop.write("far.csv", format!("x,other,label\n{}", (0..400).map(row).collect::<String>()));
    let outcome = shop.train("far.csv", 40, TaskOptions::default()).unwrap();
    assert!(accuracy(&outcome.report) > 0.9, "{}", accuracy(&outcome.report));
    let layers = manifest(&shop, 1).architecture.unwrap().layers;
    let LayerSpec::Encode { columns } = &layers[0] else { panic!("{layers:?}") };
    let bent = |column: &Encoding| match column {
        Encoding::Standard { tells_missing, bent, .. } => (*tells_missing, bent.is_some()),
        other => panic!("{other:?}"),
    };
    assert_eq!(columns.iter().map(bent).collect::<Vec<_>>(), [(true, true), (false, false)]);
    assert!(layers.contains(&LayerSpec::Recall), "a linear path");
}

/// Runs `weir train auto` on a file, with further arguments.
fn auto(shop: &Workshop, file: &str, further: &[&str]) -> std::process::Output {
    let [data, models, runs] = [file, "models", "runs"].map(|name| shop.path(name).to_str().unwrap().to_owned());
    let args = ["train", "auto", "--data", &data, "--models", &models, "--runs", &runs];
    output(&[&args, further].concat())
}

#[test]
fn auto_publishes_the_best_of_the_presets_that_fit_or_says_that_there_is_none() {
    let shop = Workshop::of("dense");
    let rows = (0..120).map(|index| format!("{},{}\n", index % 40, f64::from(index % 40) * 250.0 + 0.5));
    shop.write("line.csv", format!("x,price\n{}", rows.collect::<String>()));
    let small = ["--epochs", "1", "--set", "min_epoch_steps=4", "--json", "--model", "line"];
    let found = auto(&shop, "line.csv", &[&small[..], &["--time", "3s"]].concat());
    assert!(found.status.success(), "{}", text(&found.stderr));
    assert!(text(&found.stderr).contains("presets that fit the data: dense\n"), "{}", text(&found.stderr));
    let json: serde_json::Value = serde_json::from_slice(&found.stdout).unwrap();
    let board = json["leaderboard"].as_array().unwrap();
    assert_eq!((json["best"].clone(), json["version"].as_str()), (board[0].clone(), Some("1")));
    let objectives: Vec<f64> = board.iter().filter_map(|place| place["objective"].as_f64()).collect();
    assert!(objectives.is_sorted() && !objectives.is_empty(), "{objectives:?}");
    let defaults = board.iter().find(|place| place["trial"] == 1).unwrap();
    assert_eq!((&defaults["settings"]["ensemble"], &defaults["preset"]), (&1.into(), &"dense".into()));
    assert!(shop.path("models/line/1/manifest.json").is_file());

    let none = auto(&shop, "line.csv", &[&small[..], &["--time", "0s"]].concat());
    assert_eq!(none.status.code(), Some(130));
    assert!(text(&none.stderr).contains("nothing is published"), "{}", text(&none.stderr));
    assert!(!shop.path("models/line/2").exists());
    shop.write("one.csv", "x,label\n1,a\n2,a\n");
    assert_eq!(auto(&shop, "one.csv", &[]).status.code(), Some(3));
}

#[test]
fn a_small_table_of_noise_around_a_line_is_told_by_the_line_unless_the_network_is_asked_for() {
    let shop = Workshop::of("dense");
    let row = |index: usize| {
        let number = |factor: usize| (index * factor % 997) as f64 / 250.0 - 2.0;
        let [a, b, noise] = [379, 733, 613].map(number);
        format!("{a},{b},{}\n", 2.0 * a - b + 1.5 * noise)
    };
    shop.write("noise.csv", format!("a,b,target\n{}", (0..200).map(row).collect::<String>()));
    let outcome = shop.train("noise.csv", 5, TaskOptions::default()).unwrap();
    let ended = outcome.ended.unwrap();
    assert!(ended.contains("the linear path alone") && ended.contains("prefer_linear=false"), "{ended}");
    let TaskReport::Regression(report) = &outcome.report else { panic!("numbers") };
    assert!(report.evaluation.r_squared.unwrap() > 0.4, "{:?}", report.evaluation);
    let of_version = manifest(&shop, 1);
    assert_eq!(of_version.training.unwrap().ended, Some(ended));

    let run = RunDir::create(&shop.path("runs"), "dense", None).unwrap();
    let mut request = shop.request("noise.csv", 5, TaskOptions::default());
    request.fit.regime.prefer_linear = false;
    let asked = train(&request, &run, false, &mut |_, _| {}, &mut Quiet).unwrap();
    assert_eq!(asked.ended, None);

    let bend = |index: usize| {
        let x = (index * 379 % 997) as f64 / 250.0 - 2.0;
        format!("{x},{},{}\n", index % 7, x * x)
    };
    shop.write("bend.csv", format!("x,other,target\n{}", (0..400).map(bend).collect::<String>()));
    let outcome = shop.train("bend.csv", 40, TaskOptions::default()).unwrap();
    assert_eq!(outcome.ended, None, "a line does not tell that");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_target_far_from_zero_is_learned_and_answered_in_64_bits() {
    let shop = Workshop::of("dense");
    let target = |a: f64, b: f64| 1e9 + 0.5 * a - 0.25 * b;
    let row = |index: usize| {
        let [a, b] = [(index * 379 % 1999) as f64 / 500.0 - 2.0, (index * 733 % 1999) as f64 / 500.0 - 2.0];
        format!("{a},{b},{}\n", target(a, b))
    };
    shop.write("offset.csv", format!("a,b,target\n{}", (0..300).map(row).collect::<String>()));
    let outcome = shop.train("offset.csv", 40, TaskOptions::default()).unwrap();
    let TaskReport::Regression(report) = &outcome.report else { panic!("numbers") };
    assert!(report.evaluation.r_squared.unwrap() > 0.95, "{:?}", report.evaluation);
    let value = manifest(&shop, 1).signature.outputs.iter().find(|output| output.name == "value").unwrap().dtype;
    assert_eq!(value, DType::Float64);

    let app = TestApp::with(&shop.path("models"), |_| {}).await;
    let body = r#"{"instances": [{"a": 1, "b": -1}, [-1.5, 0.5]]}"#;
    let answer = app.post("/models/mine/predict", "application/json", body.to_owned()).await.json();
    for (place, expected) in [(0, target(1.0, -1.0)), (1, target(-1.5, 0.5))] {
        let found = answer["predictions"][place]["value"].as_f64().unwrap();
        assert!((found - expected).abs() < 0.3, "{found} for {expected}");
    }
    let [models, data, out] = ["models", "offset.csv", "answers.csv"].map(|name| shop.path(name).display().to_string());
    let done = output(&["predict", "mine", "--models", &models, "--data", &data, "--out", &out]);
    assert_eq!(done.status.code(), Some(0), "{}", text(&done.stderr));
    let answers = fs::read_to_string(shop.path("answers.csv")).unwrap();
    let cell = answers.lines().find(|line| line.contains(",1,")).unwrap().rsplit(',').next().unwrap();
    assert!((cell.parse::<f64>().unwrap() - target(-2.0, -2.0)).abs() < 0.3, "{cell}");
}
