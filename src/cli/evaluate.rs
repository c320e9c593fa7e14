//! `weir evaluate`.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use crate::error::{Error, Result};
use crate::ids::{ModelName, Version};
use crate::repository::{Manifest, scan};
use crate::stats::Evaluation;
use crate::trainer::{Mnist, evaluate_version, report_markdown};

/// Scores a version on the test images, in the engine that serves it, and compares the figures with
/// those of its manifest.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  weir evaluate mnist-mlp\n  weir evaluate mnist-mlp --model-version 1 --json")]
pub(super) struct EvaluateArgs {
    /// The model
    model: ModelName,
    /// Its version [default: the newest]
    #[arg(long, value_name = "N")]
    model_version: Option<Version>,
    /// Model repository
    #[arg(long, env = "WEIR_MODELS", value_name = "DIR", default_value = "models")]
    models: PathBuf,
    /// Folder with the four MNIST files, or files in their likeness
    #[arg(long, env = "WEIR_DATA", value_name = "DIR", default_value = "data/mnist")]
    data: PathBuf,
    /// Print the evaluation as JSON instead of Markdown
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &EvaluateArgs) -> Result<ExitCode> {
    let versions = scan(&args.models)?.versions;
    let mut of_model = versions.into_iter().filter(|found| found.name == args.model).peekable();
    if of_model.peek().is_none() {
        return Err(Error::Config {
            setting: "MODEL".into(),
            problem: format!("{} holds no model \"{}\"", args.models.display(), args.model),
        });
    }
    let found = match args.model_version {
        Some(version) => of_model
            .find(|found| found.version == version)
            .ok_or(Error::VersionNotFound { name: args.model.clone(), version })?,
        None => of_model.last().ok_or_else(|| Error::ModelNotFound { name: args.model.clone() })?,
    };
    let data = Mnist::read(&args.data)?;
    let (manifest, evaluation) = evaluate_version(&found.path, u64::MAX - 1, &data.test)?;
    if args.json {
        let json = serde_json::to_string_pretty(&evaluation)
            .map_err(|error| Error::internal("the evaluation could not be written", error))?;
        super::print(&format!("{json}\n"))?;
    } else {
        let title = format!("{} version {} on {}", manifest.model, manifest.version, args.data.display());
        super::print(&format!(
            "{}\n{}\n",
            report_markdown(&title, &manifest.labels, &evaluation),
            verdict(&manifest, &evaluation)
        ))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn verdict(manifest: &Manifest, evaluation: &Evaluation) -> String {
    match &manifest.metrics.test {
        Some(test) if test.summary.samples != evaluation.summary.samples => {
            "The manifest's evaluation is of other data.".into()
        }
        Some(test) if test.confusion == evaluation.confusion => {
            "The same as the manifest's evaluation, to the last image.".into()
        }
        Some(test) => format!(
            "The manifest says accuracy {:.4}, loss {:.4}; this is another model, other data or another engine.",
            test.summary.accuracy, test.summary.loss
        ),
        None => "The manifest holds no evaluation to compare with.".into(),
    }
}
