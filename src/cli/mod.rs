//! The command line. Each subcommand has a file; this one dispatches, and turns an error into one line and an exit code.

mod auto;
mod bench;
mod calibrate;
mod check_model;
mod client;
mod data;
mod database;
mod describe;
mod drift;
mod engine;
mod evaluate;
mod explain;
mod feedback;
mod healthcheck;
mod keys;
mod licenses;
mod lr_find;
mod models;
mod openapi;
mod paint;
mod predict;
mod progress;
mod reading;
mod recipe;
mod sandbox;
mod serve;
mod sign;
mod target;
mod train;
mod trust;
mod tune;
mod watch;

use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use clap::{Parser, Subcommand};

use crate::config::ServeOptions;
use crate::error::{Error, Kind, Result};
use crate::ids::ModelName;
use crate::telemetry::hush_expected_panics;

/// Train neural networks, serve them and any other ONNX model, and watch how well they do.
#[derive(Debug, Parser)]
#[command(name = "weir", version, arg_required_else_help = true, after_help = EXAMPLES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

const EXAMPLES: &str = "\
The whole loop:
  weir train mnist-mlp        train on the bundled digits and publish into models/
  weir serve                  serve models/ on http://127.0.0.1:8080
  curl --data-binary @data/seven.png http://127.0.0.1:8080/predict
  curl http://127.0.0.1:8080/metrics
  weir watch                  rates, latencies, accuracy and alarms in the terminal
  weir bench http             how fast is it?

Exit codes: 0 done, 1 failed, 2 wrong usage or setting, 3 unusable data, 4 training diverged,
5 a gate was missed and nothing was published, 6 a service level was missed, 130 interrupted.";

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve every model of a repository over HTTP
    Serve(Box<serve::ServeArgs>),
    /// Train a network and publish it as the next version of its model
    Train(Box<train::TrainArgs>),
    /// Find a learning rate by a short run in which it grows (range test)
    LrFind(Box<lr_find::LrFindArgs>),
    /// Search for the hyperparameters that train a network best
    Tune(Box<tune::TuneArgs>),
    /// Inspect data before training on them
    Data(data::DataArgs),
    /// Evaluate a published version on labelled data, in the engine that serves it
    Evaluate(evaluate::EvaluateArgs),
    /// Show which parts of an input made a running server's answer
    Explain(explain::ExplainArgs),
    /// Write what a version answers for every sample of a data set, without a server
    Predict(predict::PredictArgs),
    /// Calibrate a version's confidences (temperature scaling), and publish the result as its next version
    Calibrate(calibrate::CalibrateArgs),
    /// Make the reference that a version's live traffic is compared with
    Drift(drift::DriftArgs),
    /// List, promote, roll back, load and unload the models of a running server
    Models(models::ModelsArgs),
    /// Tell a running server what was right
    Feedback(feedback::FeedbackArgs),
    /// Look after the database of predictions and feedback: check, export, vacuum, migrate
    Database(database::DatabaseArgs),
    /// Make, list and revoke the keys that callers of a server need (weir serve --keys FILE)
    Keys(keys::KeysArgs),
    /// Sign a version, or make the key for that (weir serve --trusted-keys FILE)
    Sign(sign::SignArgs),
    /// Measure a server, or the engine alone, under a known load
    Bench(bench::BenchArgs),
    /// Watch how a running server and its models do: rates, latencies, accuracy, drift, alarms
    Watch(watch::WatchArgs),
    /// Exit with 0 if a running server is ready (for containers)
    Healthcheck(healthcheck::HealthcheckArgs),
    /// Print the licences of everything that is linked in, or the bill of materials
    Licenses(licenses::LicensesArgs),
    /// Print the OpenAPI document of the server
    Openapi,
    /// Load and run a model from standard input under limits (the server does so before it loads one itself)
    #[command(hide = true)]
    CheckModel(check_model::CheckModelArgs),
}

/// Parses the arguments and runs the subcommand.
pub fn run(args: impl Iterator<Item = OsString>) -> ExitCode {
    let cli = match Cli::try_parse_from(args) {
        Ok(cli) => cli,
        Err(error) => {
            // Printing to a closed pipe fails, and then nobody is reading.
            drop(error.print());
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    hush_expected_panics();
    let done = match cli.command {
        Command::Serve(args) => serve::run(*args),
        Command::Train(args) if args.is_auto() => auto::run(&args),
        Command::Train(args) => train::run(&args),
        Command::LrFind(args) => lr_find::run(&args),
        Command::Tune(args) => tune::run(&args),
        Command::Data(args) => data::run(&args),
        Command::Evaluate(args) => evaluate::run(&args),
        Command::Explain(args) => explain::run(&args),
        Command::Predict(args) => predict::run(&args),
        Command::Calibrate(args) => calibrate::run(&args),
        Command::Drift(args) => drift::run(&args),
        Command::Models(args) => models::run(&args),
        Command::Feedback(args) => feedback::run(&args),
        Command::Database(args) => database::run(&args),
        Command::Keys(args) => keys::run(&args),
        Command::Sign(args) => sign::run(&args),
        Command::Bench(args) => bench::run(&args),
        Command::Watch(args) => watch::run(&args),
        Command::Healthcheck(args) => healthcheck::run(&args),
        Command::Licenses(args) => licenses::run(&args),
        Command::Openapi => openapi::run(),
        Command::CheckModel(args) => check_model::run(args),
    };
    match done {
        Ok(code) => code,
        Err(error) => {
            progress::error_line(&error);
            ExitCode::from(exit_code(&error))
        }
    }
}

fn exit_code(error: &Error) -> u8 {
    match error {
        Error::Config { .. } | Error::InvalidName(_) => 2,
        Error::Data { .. } => 3,
        Error::Diverged { .. } => 4,
        Error::GateMissed(_) => 5,
        Error::Interrupted { .. } => 130,
        _ if error.kind() == Kind::NotFound => 2,
        _ => 1,
    }
}

/// Writes to standard output.
///
/// # Errors
/// [`Error::Io`] when the reader has gone away.
fn print(text: &str) -> Result<()> {
    use std::io::Write as _;
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).map_err(Error::io("write to", "standard output"))
}

/// Loads a version that is about to be published, as `weir serve` does by its defaults.
///
/// # Errors
/// [`Error::GateMissed`] saying why it does not load.
fn rehearse(folder: &Path, model: &ModelName) -> Result<()> {
    let config = ServeOptions::default().resolve()?;
    crate::serving::rehearse(folder, model, &config.serving)
        .map_err(|error| Error::GateMissed(format!("the version cannot be served: {error}")))
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
