//! Training on small data: same seed same bytes, stop and go on, and what must not be published.

use std::fs;
use std::path::Path;

use tempfile::TempDir;
use weir::error::{Error, Result};
use weir::repository::VersionFiles;
use weir::trainer::{
    Classifier, DataOptions, DataSource, EpochReport, FitSettings, FitState, Optimizer, Regime, RunDir, Sizes,
    StepReport, TaskOptions, TrainOutcome, TrainRequest, Watch, fit, preset, train,
};

use crate::fixtures::{mnist, small_data, write_idx};

/// Lets a run go on for so many steps.
struct Steps {
    left: usize,
    last: Option<StepReport>,
}

impl Steps {
    fn all() -> Self {
        Self { left: usize::MAX, last: None }
    }
}

impl Watch for Steps {
    fn step(&mut self, report: &StepReport) -> bool {
        self.last = Some(*report);
        self.left -= 1;
        self.left > 0
    }

    fn epoch(&mut self, _: &EpochReport) -> Result<()> {
        Ok(())
    }
}

struct Workshop {
    data: TempDir,
    folder: TempDir,
}

impl Workshop {
    fn new() -> Self {
        Self { data: small_data(600, 200), folder: TempDir::new().unwrap() }
    }

    fn request(&self) -> TrainRequest {
        TrainRequest {
            preset: preset("mnist-mlp").unwrap(),
            data: self.data.path().to_owned(),
            validation: 50,
            train_samples: 0,
            fit: FitSettings {
                epochs: 2,
                batch_size: 32,
                seed: 5,
                optimizer: Optimizer::adam(1e-3),
                regime: Regime::default(),
            },
            task: TaskOptions::default(),
            models: Some(self.folder.path().join("models")),
            tensorboard: true,
        }
    }

    fn run(&self) -> RunDir {
        RunDir::create(&self.folder.path().join("runs"), "mnist-mlp", None).unwrap()
    }

    fn train(&self, request: &TrainRequest, steps: &mut Steps) -> Result<TrainOutcome> {
        train(request, &self.run(), false, &mut |_, _| {}, steps)
    }

    fn nothing_is_published(&self) -> bool {
        fs::read_dir(self.folder.path().join("models/mnist-mlp")).map_or(true, |mut entries| entries.next().is_none())
    }
}

#[test]
fn the_same_seed_gives_the_same_model_byte_for_byte_and_another_seed_another() {
    let workshop = Workshop::new();
    let model = |request: &TrainRequest| {
        let (_, folder) = workshop.train(request, &mut Steps::all()).unwrap().published.unwrap();
        fs::read(folder.join("model.onnx")).unwrap()
    };
    let mut other = workshop.request();
    other.fit.seed = 6;
    let first = model(&workshop.request());
    assert!(first == model(&workshop.request()));
    assert!(first != model(&other));
}

#[test]
fn a_version_is_published_with_everything_that_belongs_to_it() {
    let workshop = Workshop::new();
    let outcome = workshop.train(&workshop.request(), &mut Steps::all()).unwrap();
    let (version, folder) = outcome.published.unwrap();
    assert_eq!(version.0, 1);
    let files = VersionFiles::read(&folder, 1 << 30).unwrap();
    let manifest = files.manifest.unwrap();
    assert_eq!((manifest.parameters, manifest.labels.len()), (Some(101_770), 10));
    let quality = manifest.classification().unwrap();
    assert!(quality.test.is_some() && quality.validation.is_some() && quality.training.is_some());
    assert_eq!(manifest.data.unwrap().sha256.len(), 4);
    let parity = manifest.parity.unwrap();
    assert!(parity.samples >= 1000 && parity.argmax_mismatches == 0 && parity.max_abs_logit_difference <= 1e-4);
    assert_eq!(files.probe.len(), 200, "all of a small test set");
    assert!(fs::read_to_string(folder.join("card.md")).unwrap().contains("101770"));
    for file in [
        "args.toml",
        "env.json",
        "metrics.jsonl",
        "metrics.csv",
        "curves.svg",
        "confusion_matrix.svg",
        "confusion_matrix.csv",
        "report.json",
        "report.md",
        "report.html",
        "card.md",
        "published.json",
    ] {
        assert!(outcome.run.join(file).metadata().unwrap().len() > 20, "{file}");
    }
    assert_eq!(fs::read_to_string(outcome.run.join("metrics.jsonl")).unwrap().lines().count(), 2);
    let second = workshop.train(&workshop.request(), &mut Steps::all()).unwrap();
    assert_eq!(second.published.unwrap().0.0, 2);
    assert_ne!(second.run, outcome.run);
    let litter = fs::read_dir(workshop.folder.path().join("models/mnist-mlp")).unwrap().count();
    assert_eq!(litter, 2, "no staging folder is left");
}

#[test]
fn a_run_stopped_anywhere_goes_on_to_the_same_bytes() {
    let workshop = Workshop::new();
    let request = workshop.request();
    let (_, whole) = workshop.train(&request, &mut Steps::all()).unwrap().published.unwrap();
    // 550 training images make 18 steps an epoch: within the first, at its end, within the second.
    for stop_after in [1, 7, 18, 19, 30] {
        let run = workshop.run();
        let mut steps = Steps { left: stop_after, last: None };
        let stopped = train(&request, &run, false, &mut |_, _| {}, &mut steps);
        assert!(matches!(stopped, Err(Error::Interrupted { .. })), "{stopped:?}");
        let reopened = RunDir::open(run.path()).unwrap();
        let request = TrainRequest::of_run(&reopened).unwrap();
        let resumed = train(&request, &reopened, true, &mut |_, _| {}, &mut Steps::all()).unwrap();
        let (_, folder) = resumed.published.unwrap();
        assert!(
            fs::read(folder.join("model.onnx")).unwrap() == fs::read(whole.join("model.onnx")).unwrap(),
            "{stop_after}"
        );
        assert_eq!(fs::read_to_string(run.path().join("metrics.jsonl")).unwrap().lines().count(), 2);
    }
}

#[test]
fn a_run_that_diverges_names_the_batch_and_publishes_nothing() {
    let workshop = Workshop::new();
    let mut request = workshop.request();
    request.fit.optimizer = Optimizer::adam(1e30);
    let failed = workshop.train(&request, &mut Steps::all()).unwrap_err();
    assert!(matches!(failed, Error::Diverged { epoch: 1, batch: 2.., .. }), "{failed}");
    assert!(workshop.nothing_is_published());
}

/// A change that damages a data folder.
type Damage = fn(&Path);

#[test]
fn unusable_data_is_named_and_publishes_nothing() {
    let damages: [(&str, Damage); 7] = [
        ("does not exist", |folder| fs::remove_file(folder.join("train-labels-idx1-ubyte")).unwrap()),
        ("truncated", |folder| fs::write(folder.join("train-images-idx3-ubyte"), [0, 0, 8]).unwrap()),
        ("its dimensions", |folder| {
            let path = folder.join("train-images-idx3-ubyte");
            let bytes = fs::read(&path).unwrap();
            fs::write(path, &bytes[..bytes.len() - 1]).unwrap();
        }),
        ("labels for the 600 images", |folder| {
            let data = crate::fixtures::head(&mnist().train, 599);
            write_idx(&folder.join("short"), "train", &data);
            fs::rename(folder.join("short/train-labels-idx1-ubyte"), folder.join("train-labels-idx1-ubyte")).unwrap();
        }),
        ("one class only", |folder| {
            let path = folder.join("train-labels-idx1-ubyte");
            let mut bytes = fs::read(&path).unwrap();
            bytes[8..].fill(0);
            fs::write(path, bytes).unwrap();
        }),
        ("in row 3", |folder| {
            let path = folder.join("t10k-labels-idx1-ubyte");
            let mut bytes = fs::read(&path).unwrap();
            bytes[8 + 3] = 200;
            fs::write(path, bytes).unwrap();
        }),
        ("SHA256SUMS says", |folder| fs::write(folder.join("SHA256SUMS"), "00  train-images-idx3-ubyte\n").unwrap()),
    ];
    for (expected, damage) in damages {
        let workshop = Workshop::new();
        fs::create_dir(workshop.data.path().join("short")).unwrap();
        damage(workshop.data.path());
        let failed = workshop.train(&workshop.request(), &mut Steps::all()).unwrap_err();
        let Error::Data { file, problem } = &failed else { panic!("{failed}") };
        assert!(problem.contains(expected) && file.contains("ubyte"), "expected {expected:?} in {failed}");
        assert!(workshop.nothing_is_published());
    }
}

#[test]
fn a_checkpoint_of_another_network_or_a_damaged_one_is_refused() {
    let workshop = Workshop::new();
    let run = workshop.run();
    let stopped = train(&workshop.request(), &run, false, &mut |_, _| {}, &mut Steps { left: 1, last: None });
    assert!(stopped.is_err());
    let state = run.state_file();
    let bytes = fs::read(&state).unwrap();
    for damaged in [&bytes[..bytes.len() / 2], &b""[..], &b"hello, this is no checkpoint"[..]] {
        fs::write(&state, damaged).unwrap();
        let refused = train(&workshop.request(), &run, true, &mut |_, _| {}, &mut Steps::all()).unwrap_err();
        assert!(matches!(refused, Error::Data { .. }), "{refused}");
    }
}

#[test]
fn learning_happens() {
    let data = DataSource::read(small_data(2000, 100).path(), &DataOptions::default()).unwrap();
    let preset = preset("mnist-mlp").unwrap();
    let network = Classifier::new(
        &(preset.architecture)(&Sizes { channels: 1, height: 28, width: 28, outputs: 10, samples: 1000 }),
        0,
    )
    .unwrap();
    let settings =
        FitSettings { epochs: 3, batch_size: 32, seed: 0, optimizer: Optimizer::adam(1e-3), regime: Regime::default() };
    let mut state = FitState::new(network, &settings);
    let (train, validation) = data.train.split_off(500, 0).unwrap();
    assert!(fit(&mut state, &train, &validation, &settings, &mut Steps::all()).unwrap());
    let losses: Vec<f64> = state.history().iter().map(|epoch| epoch.validation.unwrap().loss).collect();
    assert!(losses.is_sorted_by(|a, b| a > b), "{losses:?}");
    assert!(state.history()[2].validation.unwrap().accuracy > Some(0.85));
}
