//! `weir drift`.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use super::progress::grouped;
use super::reading::ReadingArgs;
use super::target::Target;
use crate::error::{Error, Result};
use crate::ids::VersionSpec;
use crate::report::percent;
use crate::repository::{DriftReference, ModelSettings, publish_reference};
use crate::trainer::{Guard, REFERENCE_SAMPLES, Taken, read_for, reference_of};

/// Makes the reference of a version from data that it was not trained on, and puts it beside its files as
/// reference.json: for a model that was trained elsewhere, or to replace the one in the manifest. A running server
/// loads the version again with it. With labels it also holds what estimated accuracy, sets of classes and abstention
/// need.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  weir drift --reference data/mnist mnist-mlp/1
  weir drift --reference held-out.csv --all my-model      every row of the file
  weir drift --reference data/mnist --guard mnist-vae mnist-mlp
  weir drift --reference data/mnist mnist-mlp --no-publish --json

Exit codes: 0 done, 1 the model cannot be used, 2 wrong usage or no such model, 3 unusable data.")]
pub(super) struct DriftArgs {
    /// The model, and its version or alias [default: the newest version]
    #[arg(value_name = "MODEL[/VERSION]")]
    model: Target,
    /// Data as for weir train, of which the test part is taken
    #[arg(long, value_name = "PATH")]
    reference: PathBuf,
    /// Take all of the data, not only their test part; none of it must have been trained on
    #[arg(long)]
    all: bool,
    /// Take at most so many samples of the test part, every class in proportion; the rest stays unseen [default: all]
    #[arg(long, value_name = "N", conflicts_with = "all", value_parser = clap::value_parser!(u64).range(1..))]
    samples: Option<u64>,
    /// Add the scores of this autoencoder, which guards the model [default: the guard that model.toml names]
    #[arg(long, value_name = "MODEL[/VERSION]")]
    guard: Option<Target>,
    /// Model repository
    #[arg(long, env = "WEIR_MODELS", value_name = "DIR", default_value = "models")]
    models: PathBuf,
    #[command(flatten)]
    reading: ReadingArgs,
    /// Report, but write nothing
    #[arg(long)]
    no_publish: bool,
    /// Print the reference as JSON instead of a table
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &DriftArgs) -> Result<ExitCode> {
    let found = args.model.find(&args.models)?;
    let folder = found.files.folder();
    let data = read_for(folder, &args.reference, args.reading.options())?;
    let most = args.samples.map(|samples| usize::try_from(samples).unwrap_or(usize::MAX));
    let taken = if args.all { Taken::All } else { Taken::Test(most) };
    let settings = ModelSettings::read(&found.name, &found.model_files)?;
    let named = settings.guard.map(|name| Target { name, version: VersionSpec::Latest });
    let guard = args.guard.clone().or(named).map(|target| target.find(&args.models)).transpose()?;
    let guard =
        guard.as_ref().map(|found| Guard { model: &found.name, version: found.version, folder: found.files.folder() });
    let reference = reference_of(folder, &data, taken, guard)?;
    let place = if args.no_publish { None } else { Some(publish_reference(folder, &reference)?) };
    let text = match args.json {
        true => {
            let json = serde_json::to_string_pretty(&reference)
                .map_err(|error| Error::internal("the reference could not be written", error))?;
            format!("{json}\n")
        }
        false => {
            let written = place.map(|place| format!("\nwritten to {}\n", place.display())).unwrap_or_default();
            let title = format!("{} version {}", found.name, found.version);
            format!("{title}\n{}{written}", table(&reference))
        }
    };
    super::print(&text)?;
    Ok(ExitCode::SUCCESS)
}

fn table(reference: &DriftReference) -> String {
    let mut rows = vec![("samples", format!("{} of {}", grouped(reference.samples), reference.source))];
    if let Some(accuracy) = reference.accuracy() {
        rows.push(("accuracy", percent(accuracy)));
    }
    let streams: Vec<String> = reference.streams().into_iter().map(|found| found.name).collect();
    rows.push(("streams", streams.join(", ")));
    if let Some(guard) = &reference.guard {
        rows.push(("guard", format!("{} version {}", guard.model, guard.version)));
    }
    for set in &reference.sets {
        let rule = format!("classes of at least {} of probability", percent((1.0 - set.threshold).max(0.0)));
        rows.push(("set", format!("{} covered: {rule}", percent(set.level))));
    }
    for abstention in &reference.abstentions {
        let share = percent(abstention.answered as f64 / reference.samples as f64);
        let rule = format!("margin {:.2} and more, {share} answered", abstention.margin);
        rows.push(("abstention", format!("{} wrong: {rule}", percent(abstention.error_rate))));
    }
    let mut text: String = rows.iter().map(|(name, value)| format!("{name:<11} {value}\n")).collect();
    if reference.samples < REFERENCE_SAMPLES {
        text.push_str(&format!(
            "\nfewer than {} samples: small changes will not be seen, and chance in them stays\n",
            grouped(REFERENCE_SAMPLES)
        ));
    }
    text
}
