//! Evaluating, comparing and calibrating from the command line, and what a run leaves for TensorBoard.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;
use tempfile::TempDir;
use weir::error::Error;
use weir::ids::Version;
use weir::repository::VersionFiles;
use weir::serving::State;
use weir::trainer::{DataOptions, DataSource, calibrate, evaluate_version};

use crate::cli::{output, text};
use crate::fixtures::{bare_model, png_of_test_image, small_data};
use crate::support::{TestApp, bundled_data, bundled_models, copy_folder};

/// A repository with copies of the bundled model.
fn repository(versions: &[u64]) -> (TempDir, String) {
    let root = TempDir::new().unwrap();
    for version in versions {
        copy_folder(&bundled_models().join("mnist-mlp/1"), &root.path().join(format!("mnist-mlp/{version}")));
    }
    let path = root.path().display().to_string();
    (root, path)
}

/// The answer of a command that works, which gets the repository and the bundled data.
fn done(models: &str, args: &[&str]) -> String {
    let data = bundled_data().display().to_string();
    let output = output(&[args, &["--models", models, "--data", &data]].concat());
    assert_eq!(output.status.code(), Some(0), "{args:?}: {}", text(&output.stderr));
    text(&output.stdout)
}

/// Runs a command that fails and returns its exit code and its message.
fn refused(models: &str, data: &Path, args: &[&str]) -> (Option<i32>, String) {
    let data = data.display().to_string();
    let output = output(&[args, &["--models", models, "--data", &data]].concat());
    (output.status.code(), text(&output.stderr))
}

#[test]
fn an_evaluation_is_a_table_json_and_a_report() {
    let (root, models) = repository(&[1]);
    let table = done(&models, &["evaluate", "mnist-mlp/1"]);
    for expected in ["97.40 %", "95 % interval 97.07 % – 97.69 %", "7 as 2 (18)", "to the last sample", "predicted"] {
        assert!(table.contains(expected), "{expected} in {table}");
    }
    assert!(!table.contains('\x1b'), "no colour when piped");
    assert_eq!(table.lines().filter(|line| line.starts_with("9 ")).count(), 2, "a row of figures and one of counts");

    let folder = root.path().join("some/report");
    let folder_text = folder.display().to_string();
    let json: Value =
        serde_json::from_str(&done(&models, &["evaluate", "mnist-mlp", "--json", "--report", &folder_text])).unwrap();
    assert_eq!((json["accuracy"].as_f64(), json["samples"].as_u64()), (Some(0.974), Some(10_000)));
    assert_eq!(json["classes"].as_array().unwrap().len(), 10);
    assert!(json["mean_roc_area"].as_f64().unwrap() > 0.999);
    let written: Value = serde_json::from_slice(&fs::read(folder.join("report.json")).unwrap()).unwrap();
    assert_eq!(written["confusion"], json["confusion"]);
    let page = fs::read_to_string(folder.join("report.html")).unwrap();
    assert!(page.contains("97.40 %") && page.matches("<figure").count() == 48, "the worst mistakes with their images");
    assert!(fs::read_to_string(folder.join("report.md")).unwrap().contains("| balanced accuracy | 97.37 % |"));
}

#[test]
fn the_exit_code_says_what_went_wrong() {
    let (_root, models) = repository(&[1]);
    let data = bundled_data();
    for (args, code, hint) in [
        (&["evaluate", "mnist-mlp", "--min-accuracy", "0.98"][..], 5, "97.40 % is below 98.00 %"),
        (&["evaluate", "mnist-mlp", "--min-accuracy", "98"], 2, "from 0 to 1"),
        (&["evaluate", "mnist-mlp/2"], 2, "there are: 1"),
        (&["evaluate", "mnist-mlp/stable"], 2, "called \"stable\""),
        (&["evaluate", "mnist-mlp/01"], 2, "model version"),
        (&["evaluate", "--compare", "mnist-mlp"], 2, "2 values required"),
        (&["evaluate", "mnist-mlp", "--compare", "mnist-mlp", "mnist-mlp"], 2, "cannot be used with"),
        (&["calibrate", "nobody"], 2, "no model"),
    ] {
        let (found, said) = refused(&models, &data, args);
        assert!(found == Some(code) && said.contains(hint), "{args:?}: {found:?} {said}");
    }
    assert_eq!(refused(&models, Path::new("/nowhere"), &["evaluate", "mnist-mlp"]).0, Some(3));
    assert_eq!(refused(&models, Path::new("/nowhere"), &["calibrate", "mnist-mlp"]).0, Some(3));
    let other = small_data(300, 100);
    let (code, said) = refused(&models, other.path(), &["calibrate", "mnist-mlp"]);
    assert!(code == Some(3) && said.contains("not what mnist-mlp version 1 was trained on"), "{code:?} {said}");
}

#[test]
fn a_bare_model_is_evaluated_as_its_model_toml_says() {
    let onnx = fs::read(bundled_models().join("mnist-mlp/1/model.onnx")).unwrap();
    let root = bare_model("bare", &onnx);
    let models = root.path().display().to_string();
    let (code, said) = refused(&models, &bundled_data(), &["evaluate", "bare"]);
    assert!(code == Some(1) && said.contains("model.toml"), "{code:?} {said}");
    let settings =
        "labels = [\"zero\"]\n[transform.output]\nkind = \"classification\"\nprobabilities = \"probabilities\"\n";
    fs::write(root.path().join("bare/model.toml"), settings).unwrap();
    let table = done(&models, &["evaluate", "bare"]);
    assert!(table.contains("97.40 %") && table.contains("zero") && table.contains("no manifest"), "{table}");
}

#[test]
fn two_versions_are_compared_in_words_and_numbers() {
    let (_root, models) = repository(&[1, 2]);
    let same = done(&models, &["evaluate", "--compare", "mnist-mlp/1", "mnist-mlp/2"]);
    assert!(same.starts_with("mnist-mlp/1 and mnist-mlp/2 are right and wrong on the same samples."), "{same}");
    let json: Value =
        serde_json::from_str(&done(&models, &["evaluate", "--json", "--compare", "mnist-mlp/1", "mnist-mlp/2"]))
            .unwrap();
    assert_eq!((json["difference"].as_f64(), json["mcnemar"]["p_value"].as_f64()), (Some(0.0), Some(1.0)));
    assert_eq!(json["models"], serde_json::json!(["mnist-mlp/1", "mnist-mlp/2"]));
    assert_eq!(json["classes"].as_array().unwrap().len(), 10);
}

/// A repository with a model that has seen its few images too often, and its data.
fn overconfident() -> (TempDir, TempDir) {
    let (root, data) = (TempDir::new().unwrap(), small_data(800, 200));
    let path = |name: &str| root.path().join(name).display().to_string();
    let (data_text, models, runs) = (data.path().display().to_string(), path("models"), path("runs"));
    let args = ["train", "mnist-mlp", "--epochs", "40", "--validation", "300", "--quiet", "--data", &data_text];
    let run = output(&[&args[..], &["--models", &models, "--runs", &runs]].concat());
    assert!(run.status.success(), "{}", text(&run.stderr));
    (root, data)
}

#[test]
fn a_calibrated_version_answers_the_same_and_is_less_sure() {
    let (root, folder_of_data) = overconfident();
    let data = DataSource::read(folder_of_data.path(), &DataOptions::default()).unwrap();
    let models = root.path().join("models");
    let folder = |version: u64| models.join(format!("mnist-mlp/{version}"));
    let outcome = calibrate(&folder(1), &data, "small", Some(&models), &mut |_| Ok(())).unwrap();
    assert_eq!(outcome.published.as_ref().unwrap(), &(Version(2), folder(2)));
    assert!(outcome.gain() > 0.01 && outcome.temperature > 1.1 && outcome.p_value < 0.05, "{outcome:?}");
    assert_eq!(outcome.test[0].summary.accuracy, outcome.test[1].summary.accuracy);
    assert!(outcome.validation[1].expected_calibration_error < outcome.validation[0].expected_calibration_error);

    let [before, after] = [1, 2].map(|version| evaluate_version(&folder(version), 1 << 30, &data.test).unwrap());
    assert_eq!(before.predictions.evaluate().confusion, after.predictions.evaluate().confusion);
    let manifest = after.manifest.unwrap();
    let (told, found) = (manifest.classification().unwrap().test.clone().unwrap(), after.predictions.evaluate());
    assert_eq!(told.confusion, found.confusion);
    assert!((told.summary.loss - found.summary.loss).abs() < 1e-12);
    let calibration = manifest.calibration.unwrap();
    assert_eq!((calibration.from_version, calibration.samples), (Version(1), 300));
    let files = VersionFiles::read(&folder(2), 1 << 30).unwrap();
    assert_eq!(files.probe, VersionFiles::read(&folder(1), 1 << 30).unwrap().probe);
    assert!(fs::read_to_string(folder(2).join("card.md")).unwrap().contains("logits divided by"));

    // A copy is calibrated as what its folder is called.
    copy_folder(&folder(1), &models.join("digits/5"));
    let copied = calibrate(&models.join("digits/5"), &data, "small", Some(&models), &mut |_| Ok(())).unwrap();
    assert_eq!((copied.from_version, copied.published), (Version(5), Some((Version(6), models.join("digits/6")))));
    let manifest = VersionFiles::read(&models.join("digits/6"), 1 << 30).unwrap().manifest.unwrap();
    assert_eq!((manifest.model.as_str(), manifest.version), ("digits", Version(6)));

    // What is calibrated already has nothing to gain.
    let again = calibrate(&folder(2), &data, "small", Some(&models), &mut |_| Ok(())).unwrap_err();
    assert!(matches!(&again, Error::GateMissed(why) if why.contains("calibrated as it is")), "{again}");
    let models = models.display().to_string();
    let (code, said) = refused(&models, folder_of_data.path(), &["calibrate", "mnist-mlp"]);
    assert!(code == Some(5) && said.contains("not published"), "{code:?} {said}");
    assert!(!folder(3).exists());
}

#[test]
fn the_bundled_model_is_calibrated_as_it_is() {
    let (root, models) = repository(&[1]);
    let table = done(&models, &["calibrate", "mnist-mlp", "--no-publish"]);
    assert!(table.contains("temperature 1.1") && table.contains("no answer changes"), "{table}");
    let (code, said) = refused(&models, &bundled_data(), &["calibrate", "mnist-mlp"]);
    assert!(code == Some(5) && said.contains("which chance explains (p = 0.1"), "{code:?} {said}");
    assert!(!root.path().join("mnist-mlp/2").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_calibrated_version_serves_its_golden_examples_and_its_probe_set() {
    let (root, folder_of_data) = overconfident();
    let models = root.path().join("models");
    let data = DataSource::read(folder_of_data.path(), &DataOptions::default()).unwrap();
    calibrate(&models.join("mnist-mlp/1"), &data, "small", Some(&models), &mut |_| Ok(())).unwrap();
    let app = TestApp::with(&models, |_| {}).await;
    app.wait_for("mnist-mlp", 2, State::Available).await;
    let answer = app.post("/models/mnist-mlp/versions/2/predict", "image/png", png_of_test_image(0)).await;
    assert_eq!(answer.labels(), ["7"]);
}

/// The lengths of the records of an event file, each of which says its own.
fn records(file: &Path) -> Vec<usize> {
    let bytes = fs::read(file).unwrap();
    let (mut lengths, mut at) = (Vec::new(), 0);
    while at < bytes.len() {
        let length = u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap()) as usize;
        lengths.push(length);
        at += 8 + 4 + length + 4;
    }
    assert_eq!(at, bytes.len(), "the last record is whole");
    lengths
}

fn event_files(run: &Path) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = fs::read_dir(run).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.file_name().unwrap().to_string_lossy().starts_with("events.out.tfevents."));
    files.sort();
    files
}

#[test]
fn a_run_writes_event_files_unless_told_not_to() {
    let work = TempDir::new().unwrap();
    let data = small_data(500, 100);
    let (data, runs) = (data.path().display().to_string(), work.path().display().to_string());
    let train = |name: &str, more: &[&str]| {
        let args = ["train", "mnist-mlp", "--data", &data, "--runs", &runs, "--validation", "50", "--epochs", "2"];
        let run = output(&[&args[..], &["--no-publish", "--quiet", "--name", name], more].concat());
        assert!(run.status.success(), "{}", text(&run.stderr));
        work.path().join("mnist-mlp").join(name)
    };
    let with = train("with", &[]);
    let files = event_files(&with);
    assert_eq!(files.len(), 1);
    // Version, start, the steps 10 and 15 of two epochs, an epoch and its weights twice, test, two
    // pictures, end.
    assert_eq!(records(&files[0]).len(), 2 + 4 + 4 + 4);
    assert!(fs::read_to_string(with.join("report.html")).unwrap().contains("After each epoch."));
    assert!(event_files(&train("without", &["--no-tensorboard"])).is_empty());
}
