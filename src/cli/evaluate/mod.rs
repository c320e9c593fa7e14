//! `weir evaluate`.

mod autoencoder;
mod compare;
mod table;

use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use super::paint::Paint;
use super::reading::ReadingArgs;
use super::target::Target;
use crate::error::{Error, Result};
use crate::ids::{Version, VersionSpec};
use crate::report::{Document, Subject, percent};
use crate::repository::{FoundVersion, Manifest};
use crate::signature::{Column, Task};
use crate::stats::Evaluation;
use crate::trainer::{
    ClassificationReport, Dataset, Evaluated, EvaluatedNumbers, IMPORTANCE_REPEATS, PartChoice, PermutationImportance,
    RegressionReport, SampleKind, Targets, evaluate_numbers, evaluate_version, permutation_importance, read_for,
    task_of,
};

/// There is no limit on the size of one's own model files.
const ANY_SIZE: u64 = u64::MAX - 1;

/// Exit code of an evaluation below [`EvaluateArgs::min_accuracy`].
const GATE_MISSED: u8 = 5;

/// Evaluates a version on test data in the engine that serves it, and compares the figures with those in its
/// manifest; or compares two versions on the same data.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  weir evaluate mnist-mlp
  weir evaluate mnist-mlp/1 --report target/report     report.html is one page for people
  weir evaluate mnist-mlp/stable --json --min-accuracy 0.97
  weir evaluate --compare mnist-mlp/1 mnist-mlp/2
  weir evaluate mnist-vae --draw-images 10000
  weir evaluate people --data new-people.csv --importance 10      which columns does the model need?
  weir evaluate people --data new-people.csv           every row of a file without parts
  weir evaluate people --data people --split validation

Exit codes: 0 done, 1 the model cannot be used, 2 wrong usage or no such model, 3 unusable data,
5 less accurate than --min-accuracy.")]
pub(super) struct EvaluateArgs {
    /// The model, and its version or alias [default: the newest version]
    #[arg(value_name = "MODEL[/VERSION]", required_unless_present = "compare")]
    model: Option<Target>,
    /// Its version, same as MODEL/N
    #[arg(long, value_name = "N", conflicts_with = "compare")]
    model_version: Option<Version>,
    /// Compare two versions: which one is better, and is the difference significant? (McNemar's test)
    #[arg(long, num_args = 2, value_names = ["A", "B"], conflicts_with_all = ["model", "report", "min_accuracy"])]
    compare: Option<Vec<Target>>,
    /// Model repository
    #[arg(long, env = "WEIR_MODELS", value_name = "DIR", default_value = "models")]
    models: PathBuf,
    /// Labelled samples as for weir train, read in the columns, categories, tokens and classes of the model
    #[arg(long, env = "WEIR_DATA", value_name = "PATH", default_value = "data/mnist")]
    data: PathBuf,
    /// Part of the data to score [default: test, where the data have one or the model was trained on these very files and
    /// held a tenth out; otherwise all]
    #[arg(long, value_name = "PART")]
    split: Option<PartChoice>,
    #[command(flatten)]
    reading: ReadingArgs,
    /// Write report.json, report.md and report.html into this folder
    #[arg(long, value_name = "DIR")]
    report: Option<PathBuf>,
    /// Tables: how much worse the model is when the values of one column are shuffled among the rows, N times for each column
    /// on at most 5000 rows; none leaves it out [default: 5 with --report, none without]
    #[arg(long, value_name = "N|none", value_parser = parse_repeats, conflicts_with = "compare")]
    importance: Option<Repeats>,
    /// Autoencoders: draws per image for the tighter estimate of the likelihood; 0 leaves the estimate out
    #[arg(long, value_name = "K", default_value_t = 500, value_parser = clap::value_parser!(u32).range(..=100_000))]
    draws: u32,
    /// Autoencoders: number of test images for the tighter estimate, taken from the beginning
    #[arg(long, value_name = "N", default_value_t = 1000)]
    draw_images: usize,
    /// Exit with 5 if the accuracy is below this, 0 to 1
    #[arg(long, value_name = "SHARE", value_parser = parse_share)]
    min_accuracy: Option<f64>,
    /// Print JSON instead of tables
    #[arg(long)]
    json: bool,
}

/// The number of shuffles of each column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Repeats {
    None,
    Times(usize),
}

pub(super) fn run(args: &EvaluateArgs) -> Result<ExitCode> {
    match (&args.compare, &args.model) {
        (Some(targets), _) => compare::run(args, targets),
        (None, Some(target)) => evaluate(args, target),
        (None, None) => Err(Error::Config { setting: "MODEL".into(), problem: "is missing".into() }),
    }
}

fn evaluate(args: &EvaluateArgs, target: &Target) -> Result<ExitCode> {
    let mut target = target.clone();
    if let Some(version) = args.model_version {
        target.version = VersionSpec::Specific(version);
    }
    let found = target.find(&args.models)?;
    let data = read_for(found.files.folder(), &args.data, args.reading.options())?;
    let (judged, part) = data.judged(args.split)?;
    data.notes.iter().for_each(|note| super::progress::note(note));
    let tested = format!("{part} {} of {}", judged.kind.plural(), args.data.display());
    match task_of(found.files.folder(), ANY_SIZE)? {
        Task::Reconstruction => autoencoder::run(args, &found, (&judged, tested)),
        // What a bare file is for, its model.toml says.
        Task::Classification | Task::Regression | Task::Raw => match judged.targets() {
            Targets::Values(_) => numbers(args, &found, (&judged, &data.columns), tested),
            Targets::Classes(_) => classes(args, &found, (&judged, &data.columns), tested),
        },
    }
}

/// Returns the importance of the columns of a table, if it is asked for or a report is; of other data it is said that there is
/// none where it was asked for.
fn importance(
    args: &EvaluateArgs,
    found: &FoundVersion,
    (test, columns): (&Dataset, &[Column]),
) -> Result<Option<PermutationImportance>> {
    let repeats = match args.importance {
        Some(Repeats::Times(repeats)) => repeats,
        None if args.report.is_some() => IMPORTANCE_REPEATS,
        Some(Repeats::None) | None => return Ok(None),
    };
    if test.kind != SampleKind::Rows || columns.is_empty() {
        if args.importance.is_some() {
            super::progress::note(&format!(
                "--importance is left out: it is that of the columns of a table, and the data are {}",
                test.kind.plural()
            ));
        }
        return Ok(None);
    }
    permutation_importance(found.files.folder(), ANY_SIZE, (test, columns), repeats).map(Some)
}

/// Scores a classifier.
fn classes(
    args: &EvaluateArgs,
    found: &FoundVersion,
    (test, columns): (&Dataset, &[Column]),
    tested: String,
) -> Result<ExitCode> {
    let Evaluated { manifest, labels, engine, predictions } = evaluate_version(found.files.folder(), ANY_SIZE, test)?;
    let subject = Subject::new(found.name.as_str(), Some(found.version), engine.name(), tested);
    let mut report = ClassificationReport::new(subject, &labels, &predictions, test)?;
    drop(predictions);
    report.importance = importance(args, found, (test, columns))?;
    if let Some(folder) = &args.report {
        report.write(folder)?;
    }
    let accuracy = report.full.evaluation.summary.accuracy;
    if args.json {
        super::print(&report.json()?)?;
    } else {
        let paint = Paint(std::io::stdout().is_terminal());
        let verdict = verdict(manifest.as_ref(), &report.full.evaluation);
        let written = args.report.as_ref().map(|folder| format!("report: {}\n", folder.join("report.html").display()));
        let shown = [table::evaluation(&report, paint), table::importance(report.importance.as_ref(), paint)].concat();
        super::print(&format!("{shown}\n{verdict}\n{}", written.unwrap_or_default()))?;
    }
    match args.min_accuracy {
        Some(least) if accuracy < least => {
            super::progress::complaint(&format!("accuracy {} is below {}", percent(accuracy), percent(least)));
            Ok(ExitCode::from(GATE_MISSED))
        }
        _ => Ok(ExitCode::SUCCESS),
    }
}

/// Scores a model of numbers.
fn numbers(
    args: &EvaluateArgs,
    found: &FoundVersion,
    (test, columns): (&Dataset, &[Column]),
    tested: String,
) -> Result<ExitCode> {
    if args.min_accuracy.is_some() {
        let problem = "is for classifiers; the data hold numbers to be learned".into();
        return Err(Error::Config { setting: "min-accuracy".into(), problem });
    }
    let EvaluatedNumbers { manifest, engine, predictions } = evaluate_numbers(found.files.folder(), ANY_SIZE, test)?;
    let subject = Subject::new(found.name.as_str(), Some(found.version), engine.name(), tested);
    let mut report = RegressionReport::new(subject, test.values(), &predictions);
    report.importance = importance(args, found, (test, columns))?;
    if let Some(folder) = &args.report {
        report.write(folder)?;
    }
    if args.json {
        super::print(&report.json()?)?;
        return Ok(ExitCode::SUCCESS);
    }
    let paint = Paint(std::io::stdout().is_terminal());
    let mut text = format!("{}\n\n", paint.bold(&report.subject.title(report.evaluation.samples)));
    for (name, value) in report.figures() {
        text.push_str(&format!("{name:<50} {value:>12}\n"));
    }
    text.push_str(&table::importance(report.importance.as_ref(), paint));
    let verdict = match manifest.regression().map(|quality| quality.test) {
        Some(told) if told.samples != report.evaluation.samples => "The manifest's evaluation is of other data.".into(),
        Some(told) if told.is_like(&report.evaluation) => "The same as the manifest's evaluation.".into(),
        Some(told) => format!(
            "The manifest says a mean absolute error of {:.4}; this is another model, other data or another engine.",
            told.mean_absolute_error
        ),
        None => "There is no manifest with an evaluation to compare with.".to_owned(),
    };
    text.push_str(&format!("\n{verdict}\n"));
    if let Some(folder) = &args.report {
        text.push_str(&format!("report: {}\n", folder.join("report.html").display()));
    }
    super::print(&text)?;
    Ok(ExitCode::SUCCESS)
}

fn verdict(manifest: Option<&Manifest>, evaluation: &Evaluation) -> String {
    match manifest.and_then(Manifest::classification).and_then(|quality| quality.test.as_ref()) {
        Some(test) if test.summary.samples != evaluation.summary.samples => {
            "The manifest's evaluation is of other data.".into()
        }
        Some(test) if test.confusion == evaluation.confusion => {
            "The same as the manifest's evaluation, to the last sample.".into()
        }
        Some(test) => format!(
            "The manifest says accuracy {:.4}, loss {:.4}; this is another model, other data or another engine.",
            test.summary.accuracy, test.summary.loss
        ),
        None => "There is no manifest with an evaluation to compare with.".into(),
    }
}

fn parse_repeats(text: &str) -> std::result::Result<Repeats, String> {
    match text.parse::<usize>() {
        _ if text == "none" => Ok(Repeats::None),
        Ok(repeats) if (1..=1000).contains(&repeats) => Ok(Repeats::Times(repeats)),
        _ => Err("expected the shuffles of each column, 1 to 1000, or none".into()),
    }
}

fn parse_share(text: &str) -> std::result::Result<f64, String> {
    match text.parse::<f64>() {
        Ok(share) if (0.0..=1.0).contains(&share) => Ok(share),
        _ => Err("expected a share from 0 to 1, such as 0.97".into()),
    }
}
