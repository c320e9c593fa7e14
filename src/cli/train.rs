//! `weir train`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use clap::Args;

use super::progress::TrainingProgress;
use crate::api;
use crate::error::{Error, Result};
use crate::metrics::TrainingMetrics;
use crate::trainer::{
    AdamSettings, Augment, EpochReport, FitSettings, PRESETS, Regime, RunDir, StepReport, TrainOutcome, TrainRequest,
    Watch, preset, train,
};

/// Trains a preset on labelled images, checks the exported graph against the trainer, scores it on
/// the test images and publishes it as the next version of its model. The same seed gives the same
/// model, byte for byte.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  weir train mnist-mlp
  weir train mnist-mlp --seed 7 --epochs 10 --metrics-listen 127.0.0.1:9464
  weir train --resume runs/mnist-mlp/3

Ctrl-C saves the run; --resume goes on as if it had never stopped.")]
pub(super) struct TrainArgs {
    /// The recipe; --list shows them
    #[arg(required_unless_present_any = ["list", "resume"])]
    preset: Option<String>,
    /// List the presets and exit
    #[arg(long)]
    list: bool,
    /// Go on with an interrupted run, with the arguments it was given
    #[arg(long, value_name = "RUN", conflicts_with_all = ["preset", "name", "epochs", "batch_size", "learning_rate", "validation", "seed", "augment"])]
    resume: Option<PathBuf>,

    /// Folder with the four MNIST files, or files in their likeness
    #[arg(long, env = "WEIR_DATA", value_name = "DIR", default_value = "data/mnist")]
    data: PathBuf,
    /// Model repository to publish into
    #[arg(long, env = "WEIR_MODELS", value_name = "DIR", default_value = "models")]
    models: PathBuf,
    /// Train, check and report, but publish nothing
    #[arg(long, conflicts_with = "resume")]
    no_publish: bool,
    /// Folder for run directories; each run gets its own and none is overwritten
    #[arg(long, env = "WEIR_RUNS", value_name = "DIR", default_value = "runs")]
    runs: PathBuf,
    /// Name of the run directory [default: the next number]
    #[arg(long)]
    name: Option<String>,

    /// Passes over the training data [default: the preset's]
    #[arg(long, value_name = "N", help_heading = "Recipe")]
    epochs: Option<usize>,
    /// Samples per step [default: the preset's]
    #[arg(long, value_name = "N", help_heading = "Recipe")]
    batch_size: Option<usize>,
    /// Adam's step size [default: the preset's]
    #[arg(long, value_name = "RATE", help_heading = "Recipe")]
    learning_rate: Option<f64>,
    /// Training samples held out for validation, every class in proportion [default: the preset's]
    #[arg(long, value_name = "N", help_heading = "Recipe")]
    validation: Option<usize>,
    /// Seed of weights, split, order and dropout [default: 0]
    #[arg(long, value_name = "N", help_heading = "Recipe")]
    seed: Option<u64>,

    /// Turn training images by up to so many degrees, shift them by so many pixels and scale them by such a
    /// part, at random; "none" leaves them as they are [default: the preset's]
    #[arg(long, value_name = "DEGREES,PIXELS,PART", value_parser = augment, help_heading = "Recipe")]
    augment: Option<Moves>,

    /// Threads [default: the cores this process may use]
    #[arg(long, env = "WEIR_THREADS", value_name = "N")]
    threads: Option<usize>,
    /// Serve Prometheus metrics of the running job at http://ADDR/metrics
    #[arg(long, value_name = "ADDR")]
    metrics_listen: Option<SocketAddr>,
    /// Write no event files for TensorBoard into the run directory
    #[arg(long, conflicts_with = "resume")]
    no_tensorboard: bool,
    /// Print the evaluation as JSON on standard output
    #[arg(long)]
    json: bool,
    /// No progress, only the result
    #[arg(long, short)]
    quiet: bool,
}

pub(super) fn run(args: &TrainArgs) -> Result<ExitCode> {
    if args.list {
        let row = |preset: &crate::trainer::Preset| format!("{:<12} {}\n", preset.name, preset.description);
        super::print(&PRESETS.iter().map(row).collect::<String>())?;
        return Ok(ExitCode::SUCCESS);
    }
    if let Some(threads) = args.threads {
        let refuse = |error: rayon::ThreadPoolBuildError| Error::Config {
            setting: "threads".into(),
            problem: error.to_string(),
        };
        rayon::ThreadPoolBuilder::new().num_threads(threads).build_global().map_err(refuse)?;
    }
    let (request, run_dir) = match &args.resume {
        Some(path) => {
            let run = RunDir::open(path)?;
            (TrainRequest::of_run(&run)?, run)
        }
        None => new_run(args)?,
    };
    let metrics = Arc::new(TrainingMetrics::new(request.preset.name)?);
    let exporter = args.metrics_listen.map(|address| export_metrics(address, metrics.clone())).transpose()?;
    let mut watch =
        Show { progress: TrainingProgress::new(request.fit.epochs, args.quiet), metrics, stop: stop_on_signal()? };
    watch.progress.say(&format!("{}: {}", request.preset.name, request.preset.description));
    watch.progress.say(&format!("run {}, seed {}", run_dir.path().display(), request.fit.seed));
    if let Some((_, address)) = &exporter {
        watch.progress.say(&format!("metrics at http://{address}/metrics"));
    }
    let validation = request.validation;
    let summary = TrainingProgress::new(request.fit.epochs, args.quiet);
    let outcome = train(
        &request,
        &run_dir,
        args.resume.is_some(),
        &mut |network, data| summary.summary(network, data.train.len() - validation, validation),
        &mut watch,
    )?;
    conclude(&outcome, &watch.progress, args.json)?;
    Ok(ExitCode::SUCCESS)
}

/// How images are moved, if they are.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Moves(Option<Augment>);

fn augment(text: &str) -> std::result::Result<Moves, String> {
    if text == "none" {
        return Ok(Moves(None));
    }
    let numbers: Vec<f32> = text.split(',').map_while(|number| number.trim().parse().ok()).collect();
    match (numbers.as_slice(), text.split(',').count()) {
        (&[rotate_degrees, shift_pixels, scale], 3) => Ok(Moves(Some(Augment { rotate_degrees, shift_pixels, scale }))),
        _ => Err("must be three numbers, as 10,2,0.1, or none".into()),
    }
}

fn new_run(args: &TrainArgs) -> Result<(TrainRequest, RunDir)> {
    let preset = preset(args.preset.as_deref().unwrap_or_default())?;
    let request = TrainRequest {
        preset,
        data: args.data.clone(),
        validation: args.validation.unwrap_or(preset.validation),
        fit: FitSettings {
            epochs: args.epochs.unwrap_or(preset.epochs),
            batch_size: args.batch_size.unwrap_or(preset.batch_size),
            seed: args.seed.unwrap_or(0),
            adam: AdamSettings::with_learning_rate(args.learning_rate.unwrap_or(preset.learning_rate)),
            regime: Regime { augment: args.augment.map_or(preset.regime.augment, |moves| moves.0), ..preset.regime },
        },
        models: (!args.no_publish).then(|| args.models.clone()),
        tensorboard: !args.no_tensorboard,
    };
    request.validate()?;
    Ok((request, RunDir::create(&args.runs, preset.name, args.name.as_deref())?))
}

fn conclude(outcome: &TrainOutcome, progress: &TrainingProgress, json: bool) -> Result<()> {
    let test = &outcome.report.full.evaluation;
    let interval = outcome.report.full.accuracy_interval;
    progress.say(&format!(
        "test accuracy {:.2} % ({:.2} – {:.2})  loss {:.4}  macro F1 {:.4}  calibration error {:.4}",
        test.summary.accuracy * 100.0,
        interval.low * 100.0,
        interval.high * 100.0,
        test.summary.loss,
        test.macro_average.f1,
        test.expected_calibration_error
    ));
    progress.say(&format!("report: {}", outcome.run.join("report.html").display()));
    if let Some((version, folder)) = &outcome.published {
        progress.say(&format!("published version {version} in {}", folder.display()));
    }
    if json {
        let text = serde_json::to_string(test)
            .map_err(|error| Error::internal("the evaluation could not be written", error))?;
        super::print(&format!("{text}\n"))?;
    }
    Ok(())
}

/// The first Ctrl-C or SIGTERM asks the run to save and stop, the second ends the process.
fn stop_on_signal() -> Result<Arc<AtomicBool>> {
    let stop = Arc::new(AtomicBool::new(false));
    let asked = stop.clone();
    ctrlc::set_handler(move || {
        if asked.swap(true, Ordering::Relaxed) {
            std::process::exit(130);
        }
    })
    .map_err(|error| Error::internal("signals cannot be received", error))?;
    Ok(stop)
}

/// Serves the metrics of the run until the returned runtime is dropped.
fn export_metrics(address: SocketAddr, metrics: Arc<TrainingMetrics>) -> Result<(tokio::runtime::Runtime, SocketAddr)> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .map_err(|error| Error::internal("the runtime could not be started", error))?;
    let listener = runtime.block_on(tokio::net::TcpListener::bind(address)).map_err(|error| Error::Config {
        setting: "metrics-listen".into(),
        problem: format!("cannot listen on {address}: {error}"),
    })?;
    let bound = listener.local_addr().unwrap_or(address);
    runtime.spawn(api::serve_page(listener, api::http::training::router(metrics)));
    Ok((runtime, bound))
}

struct Show {
    progress: TrainingProgress,
    metrics: Arc<TrainingMetrics>,
    stop: Arc<AtomicBool>,
}

impl Watch for Show {
    fn step(&mut self, report: &StepReport) -> bool {
        self.metrics.epoch.set(report.epoch as i64);
        self.metrics.steps.inc();
        self.metrics.learning_rate.set(report.learning_rate);
        self.metrics.images_per_second.set(report.images_per_second);
        self.metrics.training_loss.set(report.loss);
        self.metrics.training_accuracy.set(report.accuracy);
        self.progress.step(report);
        !self.stop.load(Ordering::Relaxed)
    }

    fn epoch(&mut self, report: &EpochReport) -> Result<()> {
        if let Some(validation) = report.validation {
            self.metrics.validation_loss.set(validation.loss);
            self.metrics.validation_accuracy.set(validation.accuracy);
        }
        self.progress.epoch(report);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use clap::{Args, FromArgMatches};

    use super::*;

    #[test]
    fn moves_are_three_numbers_or_none() {
        let parse = |arguments: &[&str]| {
            let command = TrainArgs::augment_args(clap::Command::new("train"));
            let matches = command.try_get_matches_from([&["train", "mnist-cnn"], arguments].concat());
            matches.and_then(|matches| TrainArgs::from_arg_matches(&matches)).map(|args| args.augment)
        };
        let moves = Augment { rotate_degrees: 10.0, shift_pixels: 2.0, scale: 0.1 };
        assert_eq!(parse(&[]).unwrap(), None);
        assert_eq!(parse(&["--augment", "none"]).unwrap(), Some(Moves(None)));
        assert_eq!(parse(&["--augment", "10, 2,0.1"]).unwrap(), Some(Moves(Some(moves))));
        for wrong in ["", "10", "10,2", "10,2,0.1,3", "10,2,x", "x,10,2,0.1"] {
            assert!(parse(&["--augment", wrong]).is_err(), "{wrong}");
        }
    }
}
