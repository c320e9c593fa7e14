//! `weir calibrate`.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use super::progress::grouped;
use super::reading::ReadingArgs;
use super::target::Target;
use crate::error::{Error, Result};
use crate::report::percent;
use crate::trainer::{CalibrateOutcome, Calibrated, calibrate, read_for};

/// Calibrates a version's confidences: fits a temperature on its validation samples, divides the logits
/// by it before the softmax of its graph, checks that no answer changes, and publishes the result as the
/// next version. The test samples are used for the report only.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  weir calibrate mnist-mlp --no-publish     show the effect, publish nothing
  weir calibrate mnist-mlp/1

Exit codes: 0 done, 1 the model cannot be used, 2 wrong usage or no such model, 3 not the data it was
trained on, 5 the gain is not significant, so nothing was published.")]
pub(super) struct CalibrateArgs {
    /// The model, and its version or alias [default: the newest version]
    #[arg(value_name = "MODEL[/VERSION]")]
    model: Target,
    /// Model repository
    #[arg(long, env = "WEIR_MODELS", value_name = "DIR", default_value = "models")]
    models: PathBuf,
    /// The data that the version was trained on
    #[arg(long, env = "WEIR_DATA", value_name = "PATH", default_value = "data/mnist")]
    data: PathBuf,
    #[command(flatten)]
    reading: ReadingArgs,
    /// Fit, check and report, but publish nothing
    #[arg(long)]
    no_publish: bool,
    /// Print JSON instead of a table
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &CalibrateArgs) -> Result<ExitCode> {
    let found = args.model.find(&args.models)?;
    let data = read_for(found.files.folder(), &args.data, args.reading.options())?;
    let name = args.data.display().to_string();
    let models = (!args.no_publish).then_some(args.models.as_path());
    let mut check = |folder: &std::path::Path| super::rehearse(folder, &found.name);
    let outcome = calibrate(found.files.folder(), &data, &name, models, &mut check)?;
    let text = match args.json {
        true => {
            let json = serde_json::to_string_pretty(&outcome)
                .map_err(|error| Error::internal("the outcome could not be written", error))?;
            format!("{json}\n")
        }
        false => table(found.name.as_str(), &outcome),
    };
    super::print(&text)?;
    Ok(ExitCode::SUCCESS)
}

fn table(model: &str, outcome: &CalibrateOutcome) -> String {
    let mut text = format!(
        "{model} version {}: temperature {:.4}, fitted on its {} validation samples\n\n{:<30} {:>10} {:>10}\n",
        outcome.from_version,
        outcome.temperature,
        grouped(outcome.validation[0].summary.samples as usize),
        "",
        "before",
        "after"
    );
    let sets: [(&str, &[Calibrated; 2]); 2] = [("validation", &outcome.validation), ("test", &outcome.test)];
    for (name, both) in sets {
        let mut row = |what: &str, value: fn(&Calibrated) -> String| {
            text.push_str(&format!(
                "{:<30} {:>10} {:>10}\n",
                format!("{name} {what}"),
                value(&both[0]),
                value(&both[1])
            ));
        };
        row("log-loss", |figures| format!("{:.4}", figures.summary.loss));
        row("calibration error", |figures| format!("{:.4}", figures.expected_calibration_error));
        row("accuracy", |figures| percent(figures.summary.accuracy));
    }
    text.push_str(&format!("\nno answer changes; the gain on the validation samples has p = {:.4}\n", outcome.p_value));
    if let Some((version, folder)) = &outcome.published {
        text.push_str(&format!("published version {version} in {}\n", folder.display()));
    }
    text
}
