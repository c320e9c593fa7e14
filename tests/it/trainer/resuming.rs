//! A training process that is killed, and what is left of it.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use tempfile::TempDir;

use crate::cli::{output, text};
use crate::fixtures::small_data;

const RECIPE: [&str; 14] = [
    "--epochs",
    "200",
    "--validation",
    "50",
    "--optimizer",
    "adamw",
    "--schedule",
    "plateau",
    "--ema",
    "0.99",
    "--clip",
    "1",
    "--save-every",
    "7",
];

fn model(folder: &Path) -> Vec<u8> {
    std::fs::read(folder.join("mnist-mlp/1/model.onnx")).unwrap()
}

#[test]
fn a_run_that_is_killed_ten_times_goes_on_from_its_last_save_to_the_same_bytes() {
    let (data, work) = (small_data(400, 50), TempDir::new().unwrap());
    let path = |name: &str| work.path().join(name).display().to_string();
    let arguments = |models: &str, runs: &str| {
        let data = data.path().display().to_string();
        let places = ["train", "mnist-mlp", "--data", &data, "--models", &path(models), "--runs", &path(runs)];
        places.map(str::to_owned).into_iter().chain(RECIPE.map(str::to_owned)).collect::<Vec<_>>()
    };
    let whole = Command::new(env!("CARGO_BIN_EXE_weir")).args(arguments("whole", "runs-whole")).output().unwrap();
    assert!(whole.status.success(), "{}", text(&whole.stderr));
    let run = work.path().join("runs/mnist-mlp/1");
    let resume = ["train", "--resume", &run.display().to_string()].map(str::to_owned);
    for kill in 0..10 {
        let mut training = Command::new(env!("CARGO_BIN_EXE_weir"))
            .args(if kill == 0 { arguments("killed", "runs") } else { resume.to_vec() })
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(training.stderr.take().unwrap()).lines();
        // At whatever step of a later epoch the signal finds it.
        let epoch = format!("epoch {}/200", 15 * kill + 3);
        assert!(lines.any(|line| line.unwrap().starts_with(&epoch)), "it says when an epoch is over");
        training.kill().unwrap();
        assert!(!training.wait().unwrap().success(), "it was still at it");
    }
    let resumed = Command::new(env!("CARGO_BIN_EXE_weir")).args(&resume).output().unwrap();
    assert!(resumed.status.success(), "{}", text(&resumed.stderr));
    assert!(model(&work.path().join("killed")) == model(&work.path().join("whole")));
    let epochs = std::fs::read_to_string(run.join("metrics.jsonl")).unwrap();
    assert_eq!(epochs.lines().count(), 200, "no epoch is told twice");
}

#[test]
fn a_run_that_is_out_of_time_publishes_and_says_so() {
    let (data, work) = (small_data(300, 50), TempDir::new().unwrap());
    let path = |name: &str| work.path().join(name).display().to_string();
    let data = data.path().display().to_string();
    let (models, runs) = (path("models"), path("runs"));
    let args = ["train", "mnist-mlp", "--data", &data, "--models", &models, "--runs", &runs, "--validation", "30"];
    let timed = output(&[&args[..], &["--time", "1ms", "--epochs", "500"]].concat());
    assert!(timed.status.success(), "{}", text(&timed.stderr));
    assert!(text(&timed.stderr).contains("training ended in epoch 1 of 500"), "{}", text(&timed.stderr));
    let manifest = std::fs::read_to_string(work.path().join("models/mnist-mlp/1/manifest.json")).unwrap();
    let manifest: serde_json::Value = serde_json::from_str(&manifest).unwrap();
    assert!(manifest["training"]["ended"].as_str().unwrap().contains("0.001 s were up"), "{manifest}");
    let card = std::fs::read_to_string(work.path().join("models/mnist-mlp/1/card.md")).unwrap();
    assert!(card.contains("Training ended"), "{card}");
}

#[test]
fn settings_come_from_a_file_and_go_into_one() {
    let (data, work) = (small_data(300, 50), TempDir::new().unwrap());
    let path = |name: &str| work.path().join(name).display().to_string();
    let data = data.path().display().to_string();
    let printed = output(&["train", "mnist-cnn", "--print-config", "--set", "schedule=one_cycle", "--data", &data]);
    let printed = text(&printed.stdout);
    assert!(printed.contains("kind = \"one_cycle\"") && printed.contains("rotate_degrees = 10.0"), "{printed}");
    std::fs::write(work.path().join("run.toml"), &printed).unwrap();
    let again = output(&["train", "--config", &path("run.toml"), "--print-config"]);
    assert_eq!(text(&again.stdout), printed);

    let dry =
        output(&["train", "--config", &path("run.toml"), "--validation", "30", "--dry-run", "--runs", &path("runs")]);
    assert!(dry.status.success(), "{}", text(&dry.stderr));
    let said = text(&dry.stderr);
    assert!(said.contains("35,674") && said.contains("training on 270 images"), "{said}");
    assert!(!work.path().join("runs").exists(), "nothing is left of it");

    let small = ["--validation", "30", "--train-samples", "40", "--no-publish", "--epochs", "1", "--runs"];
    let trained = output(&[&["train", "mnist-mlp", "--data", &data][..], &small, &[&path("runs")]].concat());
    assert!(trained.status.success(), "{}", text(&trained.stderr));
    assert!(text(&trained.stderr).contains("training on 40 images, 30 held out"), "{}", text(&trained.stderr));
    let kept = work.path().join("runs/mnist-mlp/1/args.toml").display().to_string();
    let kept = output(&["train", "--config", &kept, "--print-config"]);
    assert!(text(&kept.stdout).contains("train_samples = 40") && text(&kept.stdout).contains("publish = false"));

    for (args, hint) in [
        (&["train", "mnist-mlp", "--set", "learning_rate=1"][..], "optimizer.learning_rate"),
        (
            &["train", "mnist-mlp", "--data", &data, "--train-samples", "900", "--validation", "0", "--dry-run"],
            "there are 300",
        ),
        (&["train", "--resume", "x", "--epochs", "3"], "cannot be used with"),
    ] {
        let refused = output(args);
        assert_eq!(refused.status.code(), Some(2), "{args:?}");
        assert!(text(&refused.stderr).contains(hint), "{args:?}: {}", text(&refused.stderr));
    }
}
