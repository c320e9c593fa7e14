//! Data of the user's own: every format trains, is served as it was trained, and is refused by file and row
//! when it is damaged.

use std::fs;
use std::path::{Path, PathBuf};

use tempfile::TempDir;
use weir::error::{Error, Result};
use weir::repository::{ReadSettings, TaskChoice, VersionFiles};
use weir::signature::{ColumnKind, OutputTransform};
use weir::trainer::{
    ClassWeights, DataOptions, DataSource, EpochReport, FitSettings, Optimizer, Regime, RunDir, StepReport,
    TaskOptions, TaskReport, TrainOutcome, TrainRequest, Watch, evaluate_numbers, evaluate_version, inspect, preset,
    read_for, train,
};

use crate::fixtures::{mnist, pixels, png};
use crate::support::{TestApp, until};

const JSON: &str = "application/json";

pub(crate) struct Quiet;

impl Watch for Quiet {
    fn step(&mut self, _: &StepReport) -> bool {
        true
    }

    fn epoch(&mut self, _: &EpochReport) -> Result<()> {
        Ok(())
    }

    /// What is published loads.
    fn staged(&mut self, folder: &Path) -> Result<()> {
        let config = weir::config::ServeOptions::default().resolve()?;
        weir::serving::rehearse(folder, &"mine".parse()?, &config.serving)
    }
}

/// A folder with data, models and runs of a preset.
pub(crate) struct Workshop {
    folder: TempDir,
    preset: &'static str,
}

impl Workshop {
    fn new() -> Self {
        Self::of("dense")
    }

    pub(crate) fn of(preset: &'static str) -> Self {
        Self { folder: TempDir::new().unwrap(), preset }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes a file below the folder.
    pub(crate) fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        path
    }

    pub(crate) fn request(&self, data: &str, epochs: usize, task: TaskOptions) -> TrainRequest {
        TrainRequest {
            preset: preset(self.preset).unwrap(),
            data: self.path(data),
            validation: 20,
            train_samples: 0,
            fit: FitSettings {
                epochs,
                batch_size: 16,
                seed: 1,
                optimizer: Optimizer::adam(5e-3),
                // One pass an epoch, whatever the preset's default for small data is.
                regime: Regime { min_epoch_steps: 0, ..preset(self.preset).unwrap().regime },
            },
            task: TaskOptions { model: Some("mine".parse().unwrap()), ..task },
            models: Some(self.path("models")),
            tensorboard: true,
        }
    }

    pub(crate) fn train(&self, data: &str, epochs: usize, task: TaskOptions) -> Result<TrainOutcome> {
        let run = RunDir::create(&self.path("runs"), self.preset, None)?;
        train(&self.request(data, epochs, task), &run, false, &mut |_, _| {}, &mut Quiet)
    }

    /// The error of data that cannot be trained on; nothing is published.
    pub(crate) fn refused(&self, data: &str) -> (String, String) {
        let failed = self.train(data, 1, TaskOptions::default()).unwrap_err();
        assert!(!self.path("models").exists(), "nothing is published");
        match failed {
            Error::Data { file, problem } => (file, problem),
            other => panic!("{other}"),
        }
    }
}

/// People of whom it can be learned whether they buy, and how much they pay: both by age and color.
fn people(count: usize) -> String {
    let mut csv = "age,color,member,price,label\n".to_owned();
    for index in 0..count {
        let age = 20 + index * 7 % 50;
        let color = ["red", "green", "blue"][index % 3];
        let age_cell = if index % 17 == 0 { String::new() } else { age.to_string() };
        let price = age as f64 * 2.5 + (index % 3) as f64 * 40.0;
        let label = if index % 3 == 0 { "buys" } else { "leaves" };
        csv.push_str(&format!("{age_cell},{color},{},{price},{label}\n", index % 2 == 0));
    }
    csv
}

fn target(name: &str, ignore: &[&str]) -> TaskOptions {
    let reading = ReadSettings {
        target: Some(name.into()),
        ignore: ignore.iter().map(|name| (*name).to_owned()).collect(),
        ..ReadSettings::default()
    };
    TaskOptions { data: DataOptions { reading, ..DataOptions::default() }, ..TaskOptions::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_of_classes_is_trained_served_by_column_name_and_evaluated() {
    let shop = Workshop::new();
    shop.write("people.csv", people(300));
    let outcome = shop.train("people.csv", 20, target("label", &["price"])).unwrap();
    let (_, folder) = outcome.published.unwrap();
    let TaskReport::Classification(report) = outcome.report else { panic!("classes are learned") };
    assert!(report.full.evaluation.summary.accuracy > 0.9, "{:?}", report.full.evaluation.summary);
    let manifest = VersionFiles::read(&folder, 1 << 30).unwrap().manifest.unwrap();
    assert_eq!(manifest.labels, ["buys", "leaves"]);
    let names: Vec<&str> = manifest.transform.columns.iter().map(|column| column.name.as_str()).collect();
    assert_eq!(names, ["age", "color", "member"]);
    assert_eq!(manifest.transform.columns[0].kind, ColumnKind::Number);
    assert_eq!(manifest.transform.columns[1].values(), ["blue", "green", "red"]);
    assert_eq!(manifest.signature.inputs[0].name, "features");

    let data = read_for(&folder, &shop.path("people.csv"), DataOptions::default()).unwrap();
    let evaluated = evaluate_version(&folder, 1 << 30, &data.test).unwrap();
    assert_eq!(evaluated.predictions.evaluate(), manifest.classification().unwrap().test.clone().unwrap());

    let app = TestApp::with(&shop.path("models"), |_| {}).await;
    let ask = async |body: &str| app.post("/models/mine/predict", JSON, body.to_owned()).await;
    let answer = ask(
        r#"{"instances": [{"age": 30, "color": "red", "member": true}, [30, "green", "false"], {"color": "blue"}]}"#,
    )
    .await;
    assert_eq!(answer.labels(), ["buys", "leaves", "leaves"]);
    let places = ask(r#"{"instances": [[30, 2, 1], [30, 1, 0], [null, 0, -1]]}"#).await;
    assert_eq!(places.labels(), ["buys", "leaves", "leaves"]);
    let unknown =
        ask(r#"{"strict": false, "instances": [{"age": 30, "color": "pink"}, {"age": 30, "color": null}]}"#).await;
    let unknown = unknown.json();
    let confidence = |place: usize| unknown["predictions"][place]["confidence"].as_f64().unwrap();
    assert_eq!(confidence(0), confidence(1), "missing, as in an evaluation");
    for (body, expected) in [
        (r#"{"instances": [{"age": 1}, {"colour": "red"}]}"#, "row 1: there is no column"),
        (r#"{"instances": [{"color": "pink"}], "strict": true}"#, "row 0, column"),
        (r#"{"instances": [[1, 2]]}"#, "row 0 has 2 values"),
    ] {
        let refused = ask(body).await;
        assert!((400..500).contains(&refused.status.as_u16()), "{body}");
        assert!(refused.text().contains(expected), "{body}: {}", refused.text());
    }
    assert_eq!(ask(r#"{"instances": []}"#).await.status.as_u16(), 422);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_of_numbers_is_trained_and_served_in_their_own_unit() {
    let shop = Workshop::new();
    shop.write("people.csv", people(400));
    let outcome = shop.train("people.csv", 60, target("price", &["label", "member"])).unwrap();
    let (_, folder) = outcome.published.unwrap();
    let TaskReport::Regression(report) = outcome.report else { panic!("numbers are learned") };
    assert!(report.evaluation.r_squared.unwrap() > 0.8, "{:?}", report.evaluation);
    let manifest = VersionFiles::read(&folder, 1 << 30).unwrap().manifest.unwrap();
    assert!(matches!(manifest.transform.output, OutputTransform::Regression { .. }));
    let metrics = manifest.regression().unwrap();
    // The JSON reader may miss the last bit.
    let (read, told) = (&metrics.test, &report.evaluation);
    assert_eq!(read.samples, told.samples);
    let same = |a: f64, b: f64| (a - b).abs() <= 1e-12 * b.abs();
    assert!(same(read.mean_absolute_error, told.mean_absolute_error), "{read:?} {told:?}");
    assert!(same(read.root_mean_squared_error, told.root_mean_squared_error), "{read:?} {told:?}");
    assert!(fs::read_to_string(folder.join("card.md")).unwrap().contains("mean absolute error"));
    assert!(fs::read_to_string(outcome.run.join("report.html")).unwrap().contains("<circle"));
    let data = read_for(&folder, &shop.path("people.csv"), DataOptions::default()).unwrap();
    let evaluated = evaluate_numbers(&folder, 1 << 30, &data.test).unwrap();
    let first = evaluated.predictions[0];

    let app = TestApp::with(&shop.path("models"), |options| options.probe_interval_seconds = Some(3600.0)).await;
    let loss =
        |source: &str| app.metric(&format!("weir_model_loss{{model=\"mine\",source=\"{source}\",version=\"1\"}}"));
    let time = "weir_probe_last_success_timestamp_seconds{model=\"mine\",version=\"1\"}";
    until("the probe was replayed", || app.metric(time) > 0.0).await;
    // The probe set is the whole of a small test set.
    assert!((loss("probe") - loss("test")).abs() < 1e-3 * loss("test"), "{} {}", loss("probe"), loss("test"));
    let row = data.test.inputs(0..1).unwrap();
    let row: Vec<Option<f32>> = row.into_iter().map(|element| (!element.is_nan()).then_some(element)).collect();
    let body = serde_json::json!({"instances": [row]}).to_string();
    let answer = app.post("/models/mine/predict", JSON, body).await.json();
    let value = answer["predictions"][0]["value"].as_f64().unwrap();
    assert!((value - first).abs() < 1e-3 * first.abs().max(1.0), "{value} {first}");

    let rows = fs::read_to_string(outcome.run.join("metrics.jsonl")).unwrap();
    let epoch: serde_json::Value = serde_json::from_str(rows.lines().next().unwrap()).unwrap();
    assert!(epoch["validation"]["loss"].is_f64() && epoch.get("accuracy").is_none(), "{epoch}");
    assert!(fs::read_to_string(outcome.run.join("report.html")).unwrap().contains("loss (standardised squares)"));
}

#[test]
fn pictures_in_folders_are_brought_to_one_size_and_their_folders_are_the_classes() {
    let shop = Workshop::new();
    let test = &mnist().test;
    for index in 0..120 {
        let label = test.labels()[index];
        if label < 3 {
            let (side, picture) = match index % 2 {
                0 => (28, pixels(test, index).to_vec()),
                _ => (56, doubled(pixels(test, index))),
            };
            shop.write(&format!("digits/digit {label}/{index}.png"), png(side, side, &picture));
        }
    }
    let mut task =
        TaskOptions { caps_validation: true, class_weights: ClassWeights::Balanced, ..TaskOptions::default() };
    task.data.reading.image_size = Some([14, 14]);
    let (_, folder) = shop.train("digits", 3, task).unwrap().published.unwrap();
    let manifest = VersionFiles::read(&folder, 1 << 30).unwrap().manifest.unwrap();
    assert_eq!(manifest.labels, ["digit 0", "digit 1", "digit 2"]);
    assert_eq!(manifest.signature.inputs[0].sample_shape().unwrap(), [1, 14, 14]);
    assert_eq!(manifest.training.unwrap().class_weights.len(), 3);
    assert_eq!(manifest.data.unwrap().sha256.len(), 1);
}

/// A picture of 28 × 28 pixels twice as large.
fn doubled(pixels: &[u8]) -> Vec<u8> {
    (0..56 * 56).map(|at| pixels[at / 56 / 2 * 28 + at % 56 / 2]).collect()
}

#[test]
fn columns_of_pixels_are_the_same_images_as_idx_files() {
    let shop = Workshop::new();
    let test = &mnist().test;
    let mut csv =
        "label,".to_owned() + &(0..784).map(|pixel| format!("pixel{pixel}")).collect::<Vec<_>>().join(",") + "\n";
    for index in 0..60 {
        let row: Vec<String> = pixels(test, index).iter().map(u8::to_string).collect();
        csv.push_str(&format!("{},{}\n", test.labels()[index], row.join(",")));
    }
    shop.write("digits/train.csv", &csv);
    let second = csv.lines().take(30).collect::<Vec<_>>().join("\n");
    shop.write("digits/test.csv", second);
    let data = DataSource::read(&shop.path("digits"), &DataOptions::default()).unwrap();
    assert_eq!((data.train.len(), data.test.len(), data.train.width, data.train.height), (60, 29, 28, 28));
    assert_eq!(data.train.inputs(0..60).unwrap(), test.inputs(0..60).unwrap());
    assert_eq!(data.labels, ["0", "1", "2", "3", "4", "5", "6", "7", "9"], "there is no 8 among them");
    let found = inspect(&shop.path("digits"), &DataOptions::default(), 10).unwrap();
    assert_eq!((found.duplicates.across, found.duplicates.within, found.fault_count), (29, 0, 0));
}

#[test]
fn columns_are_the_picture_that_one_says_and_a_guess_is_said() {
    let shop = Workshop::new();
    let csv = |count: usize| {
        let header: String = (0..count).map(|pixel| format!("pixel{pixel},")).collect();
        let row = |row: usize| {
            let cells: String = (0..count).map(|pixel| format!("{},", (row * 31 + pixel * 17) % 256)).collect();
            format!("{row},{cells}{}\n", ["a", "b"][row % 2])
        };
        format!("id,{header}label\n{}", (0..60).map(row).collect::<String>())
    };
    shop.write("square.csv", csv(16));
    shop.write("wide.csv", csv(48));
    let options = |picture: Option<&str>| {
        let picture = picture.map(|picture| picture.parse().unwrap());
        DataOptions { reading: ReadSettings { picture, ..ReadSettings::default() }, ..DataOptions::default() }
    };
    for (file, picture, shape, note) in [
        ("square.csv", None, vec![4, 4], "16 columns are taken for the pixels of pictures of 4x4; --picture HxW"),
        ("square.csv", Some("none"), vec![16], "column id is left out"),
        ("square.csv", Some("2x8"), vec![2, 8], "the picture alone; left out: id"),
        ("wide.csv", None, vec![48], "48 columns are called as pixels are, and are no square; --picture HxW"),
        ("wide.csv", Some("6x8"), vec![6, 8], "learning label from pictures"),
    ] {
        let found = inspect(&shop.path(file), &options(picture), 1).unwrap();
        assert_eq!(found.shape, shape, "{file} {picture:?}");
        assert!(found.notes.iter().any(|found| found.contains(note)), "{note} in {:?}", found.notes);
    }
    let refused = |file: &str, picture| inspect(&shop.path(file), &options(Some(picture)), 1).unwrap_err().to_string();
    assert!(refused("wide.csv", "5x5").contains("5x5 has 25 pixels, and there are 49 columns"));
    assert!(refused("wide.csv", "0x5").contains("from 1 to 4096"));
    shop.write("bright.csv", csv(48).replace(",255,", ",256,"));
    assert!(refused("bright.csv", "6x8").contains("does not hold whole numbers from 0 to 255"));

    let task = TaskOptions { data: options(Some("6x8")), ..TaskOptions::default() };
    let folder = shop.train("wide.csv", 1, task).unwrap().published.unwrap().1;
    let data = read_for(&folder, &shop.path("wide.csv"), DataOptions::default()).unwrap();
    assert_eq!((data.train.height, data.train.width, data.image.unwrap().width()), (6, 8, 8));
    // Of few rows it is not seen that a column counts them.
    shop.write("few.csv", csv(48).lines().take(6).map(|line| line.to_owned() + "\n").collect::<String>());
    assert_eq!(read_for(&folder, &shop.path("few.csv"), DataOptions::default()).unwrap().train.width, 8);
}

#[test]
fn samples_that_do_not_fit_into_memory_train_the_same_model() {
    let shop = Workshop::new();
    shop.write("people.csv", people(200));
    let model = |memory| {
        let mut task = target("label", &["price"]);
        task.data.memory = memory;
        let (_, folder) = shop.train("people.csv", 3, task).unwrap().published.unwrap();
        fs::read(folder.join("model.onnx")).unwrap()
    };
    let data = DataOptions { memory: 100, ..DataOptions::default() };
    assert!(DataSource::read(&shop.path("people.csv"), &data).unwrap().train.is_spilled());
    assert!(model(100) == model(1 << 30));
}

#[test]
fn a_run_on_a_table_goes_on_where_it_was_stopped() {
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
    let shop = Workshop::new();
    shop.write("people.csv", people(200));
    let (_, whole) = shop.train("people.csv", 3, target("price", &[])).unwrap().published.unwrap();
    let run = RunDir::create(&shop.path("runs"), "dense", None).unwrap();
    let request = shop.request("people.csv", 3, target("price", &[]));
    assert!(train(&request, &run, false, &mut |_, _| {}, &mut Stop(7)).is_err());
    let request = TrainRequest::of_run(&run).unwrap();
    let (_, folder) = train(&request, &run, true, &mut |_, _| {}, &mut Quiet).unwrap().published.unwrap();
    assert!(fs::read(folder.join("model.onnx")).unwrap() == fs::read(whole.join("model.onnx")).unwrap());
}

#[test]
fn three_hundred_classes_are_told_apart_and_too_many_are_refused() {
    let shop = Workshop::new();
    let csv = |classes: usize| {
        let rows: String = (0..classes * 2).map(|row| format!("{},class {}\n", row % classes, row % classes)).collect();
        format!("x,label\n{rows}")
    };
    shop.write("many.csv", csv(300));
    let (_, folder) = shop.train("many.csv", 1, TaskOptions::default()).unwrap().published.unwrap();
    let manifest = VersionFiles::read(&folder, 1 << 30).unwrap().manifest.unwrap();
    assert_eq!(manifest.labels.len(), 300);
    let other = Workshop::new();
    other.write("many.csv", csv(1001));
    assert!(other.refused("many.csv").1.contains("1001 classes"));
}

#[test]
fn damaged_tables_are_refused_by_file_and_row() {
    let good = people(60);
    let with_row = |row: &str| format!("{good}{row}\n");
    let cases: [(&str, String, &str); 9] = [
        ("empty", String::new(), "is empty"),
        ("header only", "a,b\n".into(), "holds no rows"),
        ("short row", with_row("1,red"), "row 61: has 2 fields, the header 5"),
        ("infinity", with_row("inf,red,true,1,buys"), "row 61: column age must be a finite number"),
        (
            "text among numbers",
            with_row("old,red,true,1,buys"),
            "row 61: column age must be a finite number, got \"old\"",
        ),
        ("no label", with_row("1,red,true,1,"), "row 61: column label must be a class"),
        ("one class", "a,label\n1,x\n2,x\n3,x\n".into(), "one class only"),
        ("twice the same column", "a,a,label\n1,2,x\n".into(), "two columns called \"a\""),
        ("nothing to learn from", "label\nx\ny\n".into(), "no column to learn from"),
    ];
    for (name, csv, expected) in cases {
        let shop = Workshop::new();
        shop.write("people.csv", csv);
        let (file, problem) = shop.refused("people.csv");
        assert!(file.ends_with("people.csv") && problem.contains(expected), "{name}: {file}: {problem}");
    }
}

#[test]
fn labels_that_only_the_test_has_are_refused_by_row() {
    let shop = Workshop::new();
    shop.write("people/train.csv", "a,label\n1,x\n2,y\n3,x\n");
    shop.write("people/test.csv", "a,label\n1,x\n2,z\n");
    let (file, problem) = shop.refused("people");
    assert!(file.ends_with("test.csv") && problem.contains("row 2: class \"z\""), "{file}: {problem}");
    shop.write("people/test.csv", "a,target\n1,x\n");
    assert!(shop.refused("people").1.contains("has other columns"));
}

#[test]
fn numbers_that_are_none_are_refused() {
    let shop = Workshop::new();
    for bad in ["nan", "inf", "", "many"] {
        let rows: String = (0..60).map(|row| format!("{row},{}.5\n", row)).collect();
        shop.write("numbers.csv", format!("x,target\n{rows}1,{bad}\n"));
        let (file, problem) = shop.refused("numbers.csv");
        assert!(
            file.ends_with("numbers.csv") && problem.contains("row 61: column target must be a finite number"),
            "{problem}"
        );
    }
}

#[test]
fn damaged_pictures_are_refused_by_file_and_listed_by_an_inspection() {
    let shop = Workshop::new();
    for index in 0..30 {
        let class = ["a", "b"][index % 2];
        shop.write(&format!("digits/{class}/{index:02}.png"), png(28, 28, pixels(&mnist().test, index)));
    }
    let whole = png(28, 28, pixels(&mnist().test, 3));
    let bad: [(&str, &[u8]); 4] = [
        ("b/97.png", b""),
        ("b/98.png", b"no picture"),
        ("b/99.png", &whole[..whole.len() / 2]),
        ("b/readme.txt", b"hello"),
    ];
    for (name, content) in bad {
        let path = shop.write(&format!("digits/{name}"), content);
        let (file, _) = shop.refused("digits");
        assert_eq!(Path::new(&file), path);
        fs::remove_file(path).unwrap();
    }
    for (name, content) in bad {
        shop.write(&format!("digits/{name}"), content);
    }
    shop.write("digits/b/50.png", png(28, 28, pixels(&mnist().test, 0)));
    let found = inspect(&shop.path("digits"), &DataOptions::default(), 2).unwrap();
    assert_eq!((found.fault_count, found.faults.len()), (4, 2));
    assert_eq!(found.labels, ["a", "b"]);
    assert_eq!((found.duplicates.within + found.duplicates.across, found.duplicates.contradicting), (1, 1));
    let empty = shop.path("nothing");
    fs::create_dir(&empty).unwrap();
    assert!(shop.refused("nothing").1.contains("is no data set that is known"));
    assert!(shop.refused("missing").1.contains("does not exist"));
}

#[test]
fn a_network_that_needs_images_takes_no_table() {
    let shop = Workshop::new();
    shop.write("people.csv", people(60));
    let mut request = shop.request("people.csv", 1, TaskOptions::default());
    request.preset = preset("mnist-cnn").unwrap();
    let run = RunDir::create(&shop.path("runs"), "dense", None).unwrap();
    let failed = train(&request, &run, false, &mut |_, _| {}, &mut Quiet).unwrap_err();
    assert!(matches!(failed, Error::Config { .. }), "{failed}");
}

#[test]
fn whole_numbers_are_classes_or_numbers_as_one_says() {
    let shop = Workshop::new();
    let rows: String = (0..40).map(|row| format!("{row},{}\n", row % 4)).collect();
    shop.write("numbers.csv", format!("x,target\n{rows}"));
    let classes = |task| {
        let reading = ReadSettings { task, ..ReadSettings::default() };
        let options = DataOptions { reading, ..DataOptions::default() };
        DataSource::read(&shop.path("numbers.csv"), &options).unwrap().labels.len()
    };
    assert_eq!([TaskChoice::Auto, TaskChoice::Classification, TaskChoice::Regression].map(classes), [4, 4, 0]);
}
