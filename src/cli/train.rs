//! `weir train`.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use clap::Args;

use super::progress::TrainingProgress;
use super::recipe::{PlaceArgs, RecipeArgs, path_setting};
use super::target::Target;
use crate::api;
use crate::error::{Error, Result};
use crate::ids::ModelName;
use crate::metrics::TrainingMetrics;
use crate::repository::{FoundVersion, MODEL_FILE};
use crate::trainer::{
    EpochReport, Override, PRESETS, RunDir, StepReport, TaskReport, TrainOutcome, TrainRequest, Watch, rehearse, train,
};

/// The word in the place of a preset that lets the program choose.
const AUTO: &str = "auto";

/// Trains a preset on labelled samples, checks the exported graph against the trainer, evaluates it on
/// the test data and publishes it as the next version of its model. The same seed gives the same model,
/// byte for byte.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  weir train mnist-mlp
  weir train mnist-mlp --seed 7 --epochs 10 --metrics-listen 127.0.0.1:9464
  weir train mnist-cnn --optimizer sgd --learning-rate 0.1 --schedule one_cycle --label-smoothing 0.05
  weir train mnist-mlp --print-config > run.toml; weir train --config run.toml --set schedule=cosine
  weir train cnn --data photos/ --set augment.crop_area=0.5
  weir train head --backbone mnist-cnn --data few/ --model mine
  weir train --resume runs/mnist-mlp/3
  weir train auto --data people.csv --time 3m

A flag overrides --set, --set overrides --config, and --config overrides the preset. --print-config
prints every setting; the value 0 means off. --dry-run checks settings and data and shows the network.

The run is saved at the end of every epoch and on Ctrl-C. --resume continues it as if it had never
stopped, to the same bytes.")]
pub(super) struct TrainArgs {
    /// The preset, --list shows them; or auto, which tries those that fit the data for --time [default: 5m] and
    /// publishes the best
    #[arg(required_unless_present_any = ["list", "resume", "config"])]
    preset: Option<String>,
    /// List the presets and exit
    #[arg(long)]
    list: bool,
    /// Continue an interrupted or killed run with its original arguments
    #[arg(long, value_name = "RUN", conflicts_with_all = ["preset", "RecipeArgs"])]
    resume: Option<PathBuf>,
    /// Print every setting as TOML and exit
    #[arg(long, conflicts_with = "resume")]
    pub(super) print_config: bool,
    /// Check settings and data, show the network, train nothing
    #[arg(long, conflicts_with = "resume")]
    pub(super) dry_run: bool,

    #[command(flatten)]
    pub(super) place: PlaceArgs,
    /// Model repository to publish into [default: models]
    #[arg(long, env = "WEIR_MODELS", value_name = "DIR")]
    models: Option<PathBuf>,
    /// Name of the published model [default: the name of the preset]
    #[arg(long, value_name = "NAME", conflicts_with = "resume")]
    pub(super) model: Option<ModelName>,
    /// Train, check and report, but publish nothing
    #[arg(long, conflicts_with = "resume")]
    no_publish: bool,
    /// The network whose features the preset head learns from: an ONNX file or a folder with model.onnx, beside which a
    /// tokenizer.json may lie, or a model of the repository, as mnist-cnn or mnist-cnn@3
    #[arg(long, value_name = "FILE.onnx|DIR|MODEL[@VERSION]", conflicts_with = "resume", help_heading = "Transfer")]
    backbone: Option<String>,
    /// The tensor of features in that network [default: its embedding of a text, else the input of its last dense layer, else
    /// the output of its last pooling]
    #[arg(long, value_name = "TENSOR", requires = "backbone", help_heading = "Transfer")]
    at: Option<String>,
    /// Windows into which the network's maps are averaged, on each side, to be features, too: auto takes what errs least on
    /// training samples that are left out [default: auto]
    #[arg(long, value_name = "auto|none|WINDOWS", requires = "backbone", help_heading = "Transfer")]
    pool: Option<String>,
    /// The way in which the head's weights are found: ridge solves up to 2,000 samples at once, steps trains in epochs; auto takes ridge
    /// for so few unless epochs, optimizer or other settings of steps are given [default: auto]
    #[arg(long, value_name = "auto|ridge|steps", requires = "backbone", help_heading = "Transfer")]
    solver: Option<String>,
    /// Folder in which features are kept by their content [default: runs/.features]
    #[arg(long, value_name = "DIR", conflicts_with = "resume", help_heading = "Transfer")]
    feature_cache: Option<PathBuf>,
    /// Serve Prometheus metrics of this run at http://ADDR/metrics
    #[arg(long, value_name = "ADDR")]
    metrics_listen: Option<SocketAddr>,
    /// Write no TensorBoard event files into the run directory
    #[arg(long, conflicts_with = "resume")]
    no_tensorboard: bool,
    /// Print the evaluation as JSON on standard output
    #[arg(long)]
    pub(super) json: bool,
    /// No progress, only the result
    #[arg(long, short)]
    pub(super) quiet: bool,

    #[command(flatten)]
    pub(super) recipe: RecipeArgs,
}

pub(super) fn run(args: &TrainArgs) -> Result<ExitCode> {
    if args.list {
        let longest = PRESETS.iter().map(|preset| preset.name.len()).max().unwrap_or_default();
        let row = |preset: &crate::trainer::Preset| format!("{:<longest$} {}\n", preset.name, preset.description);
        let auto = format!("{AUTO:<longest$} Tries the presets that fit the data for --time, and publishes the best\n");
        super::print(&(PRESETS.iter().map(row).collect::<String>() + &auto))?;
        return Ok(ExitCode::SUCCESS);
    }
    args.place.start_threads()?;
    let (request, run_dir) = match &args.resume {
        Some(path) => {
            let run = RunDir::open(path)?;
            (TrainRequest::of_run(&run)?, run)
        }
        None => {
            let request = args.request()?;
            if args.print_config {
                super::print(&request.to_toml()?)?;
                return Ok(ExitCode::SUCCESS);
            }
            if args.dry_run {
                let progress = TrainingProgress::new(request.fit.epochs, args.quiet);
                let epochs =
                    rehearse(&request, &mut |networks, data| progress.summary(networks, data, &request.fit.regime))?;
                progress.say(&format!("{epochs} epochs would be trained; settings and data are valid"));
                return Ok(ExitCode::SUCCESS);
            }
            let run = RunDir::create(&args.place.runs, request.preset.name, args.recipe.name.as_deref())?;
            (request, run)
        }
    };
    let metrics = Arc::new(TrainingMetrics::new(request.preset.name)?);
    let exporter = args.metrics_listen.map(|address| export_metrics(address, metrics.clone())).transpose()?;
    let mut watch = Show {
        progress: TrainingProgress::new(request.fit.epochs, args.quiet),
        metrics,
        stop: super::stop_on_signal()?,
        model: request.model()?,
    };
    watch.progress.say(&format!("{}: {}", request.network(), request.description()));
    watch.progress.say(&format!("run {}, seed {}", run_dir.path().display(), request.fit.seed));
    if let Some((_, address)) = &exporter {
        watch.progress.say(&format!("metrics at http://{address}/metrics"));
    }
    let summary = TrainingProgress::new(request.fit.epochs, args.quiet);
    let outcome = train(
        &request,
        &run_dir,
        args.resume.is_some(),
        &mut |networks, data| summary.summary(networks, data, &request.fit.regime),
        &mut watch,
    )?;
    conclude(&outcome, &watch.progress, args.json)?;
    Ok(ExitCode::SUCCESS)
}

impl TrainArgs {
    /// Returns the path of the frozen network as a setting: that of a file, or of the folder of a version.
    fn backbone(&self) -> Result<Option<Override>> {
        let Some(text) = &self.backbone else { return Ok(None) };
        let file = Path::new(text);
        if file.is_file() || file.extension().is_some_and(|extension| extension == "onnx") {
            return path_setting("backbone", file).map(Some);
        }
        let within = file.join(MODEL_FILE);
        if within.is_file() {
            // A folder of a version says more than its graph does.
            let is_version = FoundVersion::in_folder(file).is_ok();
            return path_setting("backbone", if is_version { file } else { &within }).map(Some);
        }
        let models = self.models.as_deref().unwrap_or(Path::new("models"));
        let found = text.replacen('@', "/", 1).parse::<Target>()?.find(models)?;
        path_setting("backbone", found.files.folder()).map(Some)
    }

    /// Returns true if the program is to choose the preset.
    pub(super) fn is_auto(&self) -> bool {
        self.preset.as_deref() == Some(AUTO)
    }

    fn request(&self) -> Result<TrainRequest> {
        self.request_of(self.preset.as_deref(), Vec::new())
    }

    /// Returns the request of a preset, or that of the file of settings, with `further` settings over all others.
    ///
    /// # Errors
    /// [`Error::Config`] naming the setting that is wrong.
    pub(super) fn request_of(&self, preset: Option<&str>, further: Vec<Override>) -> Result<TrainRequest> {
        let mut own = Vec::new();
        own.extend(self.models.as_ref().map(|models| path_setting("models", models)).transpose()?);
        own.extend(self.model.as_ref().map(|model| Override {
            origin: "--model".into(),
            key: "model".into(),
            value: model.as_str().into(),
        }));
        own.extend(self.backbone()?);
        let of_backbone =
            [("--at", "backbone_at", &self.at), ("--pool", "pool", &self.pool), ("--solver", "solver", &self.solver)];
        own.extend(of_backbone.into_iter().filter_map(|(flag, key, given)| {
            Some(Override { origin: flag.into(), key: key.into(), value: given.as_deref()?.into() })
        }));
        own.extend(self.feature_cache.as_ref().map(|folder| path_setting("feature_cache", folder)).transpose()?);
        let mut switch_off = |given: bool, flag: &str, key: &str| {
            let off = || Override { origin: flag.into(), key: key.into(), value: false.into() };
            own.extend(given.then(off));
        };
        switch_off(self.no_publish, "--no-publish", "publish");
        switch_off(self.no_tensorboard, "--no-tensorboard", "tensorboard");
        own.extend(further);
        self.recipe.resolve(preset, &self.place, own)
    }
}

/// Lets a run go to its end and shows nothing of it.
pub(super) struct Quietly {
    /// The name to publish under.
    pub(super) model: ModelName,
}

impl Watch for Quietly {
    fn step(&mut self, _: &StepReport) -> bool {
        true
    }

    fn epoch(&mut self, _: &EpochReport) -> Result<()> {
        Ok(())
    }

    fn staged(&mut self, folder: &Path) -> Result<()> {
        super::rehearse(folder, &self.model)
    }
}

pub(super) fn conclude(outcome: &TrainOutcome, progress: &TrainingProgress, json: bool) -> Result<()> {
    let evaluation = match &outcome.report {
        TaskReport::Classification(report) => {
            let test = &report.full.evaluation;
            let interval = report.full.accuracy_interval;
            progress.say(&format!(
                "test accuracy {:.2} % ({:.2} – {:.2})  loss {:.4}  macro F1 {:.4}  calibration error {:.4}",
                test.summary.accuracy * 100.0,
                interval.low * 100.0,
                interval.high * 100.0,
                test.summary.loss,
                test.macro_average.f1,
                test.expected_calibration_error
            ));
            serde_json::to_string(test)
        }
        TaskReport::Regression(report) => {
            let figures =
                report.figures().map(|(name, value)| format!("{} {value}", name.split(',').next().unwrap_or(name)));
            progress.say(&format!("test {}", figures.join("  ")));
            serde_json::to_string(&report.evaluation)
        }
        TaskReport::Reconstruction(report) => {
            progress.say(&format!("on the {} {}:", report.evaluation.samples, report.subject.data));
            report.figures().iter().for_each(|(name, value)| progress.say(&format!("{name:<56} {value}")));
            serde_json::to_string(&report.evaluation)
        }
    };
    if let Some(ended) = &outcome.ended {
        progress.say(&format!("training ended {ended}"));
    }
    progress.say(&format!("report: {}", outcome.run.join("report.html").display()));
    if let Some((version, folder)) = &outcome.published {
        progress.say(&format!("published version {version} in {}", folder.display()));
    }
    if json {
        let text = evaluation.map_err(|error| Error::internal("the evaluation could not be written", error))?;
        super::print(&format!("{text}\n"))?;
    }
    Ok(())
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
    /// The name to publish under.
    model: ModelName,
}

impl Watch for Show {
    fn step(&mut self, report: &StepReport) -> bool {
        self.metrics.epoch.set(report.epoch as i64);
        self.metrics.steps.inc();
        self.metrics.learning_rate.set(report.learning_rate);
        self.metrics.samples_per_second.set(report.samples_per_second);
        self.metrics.training_loss.set(report.loss);
        self.metrics.training_accuracy.set(report.accuracy.unwrap_or(f64::NAN));
        self.progress.step(report);
        !self.stop.load(Ordering::Relaxed)
    }

    fn epoch(&mut self, report: &EpochReport) -> Result<()> {
        if let Some(validation) = report.validation {
            self.metrics.validation_loss.set(validation.loss);
            self.metrics.validation_accuracy.set(validation.accuracy.unwrap_or(f64::NAN));
        }
        self.progress.epoch(report);
        Ok(())
    }

    fn staged(&mut self, folder: &Path) -> Result<()> {
        super::rehearse(folder, &self.model)
    }
}
