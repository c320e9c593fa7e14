//! Evaluating and comparing from the command line, and what a run leaves for TensorBoard.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;
use tempfile::TempDir;

use crate::cli::{output, text};
use crate::fixtures::{bare_model, small_data};
use crate::support::{bundled_data, bundled_models, copy_folder};

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

/// What a command that fails ends with and says.
fn refused(models: &str, data: &Path, args: &[&str]) -> (Option<i32>, String) {
    let data = data.display().to_string();
    let output = output(&[args, &["--models", models, "--data", &data]].concat());
    (output.status.code(), text(&output.stderr))
}

#[test]
fn an_evaluation_is_a_table_json_and_a_report() {
    let (root, models) = repository(&[1]);
    let table = done(&models, &["evaluate", "mnist-mlp/1"]);
    for expected in ["97.40 %", "95 % interval 97.07 % – 97.69 %", "7 as 2 (18)", "to the last image", "predicted"] {
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
    ] {
        let (found, said) = refused(&models, &data, args);
        assert!(found == Some(code) && said.contains(hint), "{args:?}: {found:?} {said}");
    }
    assert_eq!(refused(&models, Path::new("/nowhere"), &["evaluate", "mnist-mlp"]).0, Some(3));
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
    assert!(same.starts_with("mnist-mlp/1 and mnist-mlp/2 are right and wrong on the same images."), "{same}");
    let json: Value =
        serde_json::from_str(&done(&models, &["evaluate", "--json", "--compare", "mnist-mlp/1", "mnist-mlp/2"]))
            .unwrap();
    assert_eq!((json["difference"].as_f64(), json["mcnemar"]["p_value"].as_f64()), (Some(0.0), Some(1.0)));
    assert_eq!(json["models"], serde_json::json!(["mnist-mlp/1", "mnist-mlp/2"]));
    assert_eq!(json["classes"].as_array().unwrap().len(), 10);
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
    assert!(fs::read_to_string(with.join("report.html")).unwrap().contains("How it was trained"));
    assert!(event_files(&train("without", &["--no-tensorboard"])).is_empty());
}
