//! `weir predict`.

mod table;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Args;

use self::table::{Row, TableWriter};
use super::progress::{grouped, note};
use super::reading::ReadingArgs;
use super::target::Target;
use crate::error::{Error, Result};
use crate::trainer::{Answer, Answerer, PartChoice, read_unlabelled};

/// A limit on the size of a model file makes no sense for one's own.
const ANY_SIZE: u64 = u64::MAX - 1;

/// The time between two lines about how far it is.
const INTERVAL: Duration = Duration::from_secs(5);

/// Writes what a model answers for every sample of a data set, in the engine that serves it and without a server.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  weir predict people --data new-people.csv --out answers.csv
  weir predict people/stable --data new-people.parquet --out answers.parquet --probabilities
  weir predict digits --data drawings --format images --out answers.jsonl

A row for each sample, in the order of the data: the file and the row in it, from 1, the prediction, and of a
classifier its probability. The data need no target. Texts that the model does not know count as missing.

Exit codes: 0 done, 1 the model cannot be used, 2 wrong usage or no such model, 3 unusable data.")]
pub(super) struct PredictArgs {
    /// The model, and its version or alias [default: the newest version]
    #[arg(value_name = "MODEL[/VERSION]", required_unless_present = "named")]
    model: Option<Target>,
    /// The same as the first argument
    #[arg(long = "model", value_name = "MODEL[/VERSION]", conflicts_with = "model")]
    named: Option<Target>,
    /// Model repository
    #[arg(long, env = "WEIR_MODELS", value_name = "DIR", default_value = "models")]
    models: PathBuf,
    /// Samples as for weir train, with or without what was learned
    #[arg(long, env = "WEIR_DATA", value_name = "PATH")]
    data: PathBuf,
    /// File for the answers, whose ending says its format: .csv, .jsonl or .parquet
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Write the probability of every class, too
    #[arg(long)]
    probabilities: bool,
    #[command(flatten)]
    reading: ReadingArgs,
}

pub(super) fn run(args: &PredictArgs) -> Result<ExitCode> {
    let missing = || Error::Config { setting: "MODEL".into(), problem: "is missing".into() };
    let target = args.model.as_ref().or(args.named.as_ref()).ok_or_else(missing)?;
    let found = target.find(&args.models)?;
    let answerer = Answerer::load(found.files.folder(), ANY_SIZE)?;
    let data = read_unlabelled(found.files.folder(), &args.data, args.reading.options())?;
    data.notes.iter().for_each(|told| note(told));
    let (samples, _) = data.judged(Some(PartChoice::All))?;
    let classes = if args.probabilities {
        (0..data.labels.len()).map(|class| answerer.label(class)).collect()
    } else {
        Vec::new()
    };
    let mut writer = TableWriter::create(&args.out, answerer.task, classes)?;
    let mut told = Instant::now();
    answerer.each(&samples, |index, answer| {
        if told.elapsed() >= INTERVAL {
            told = Instant::now();
            note(&format!("{} of {} samples", grouped(index), grouped(samples.len())));
        }
        let (file, row) = samples.origin(index);
        let (prediction, confidence, probabilities) = match answer {
            Answer::Class { label, confidence, probabilities } => (label, Some(confidence), probabilities),
            Answer::Value(value) => (value.to_string(), None, Vec::new()),
        };
        writer.write(Row { file, row, prediction, confidence, probabilities })
    })?;
    writer.finish()?;
    note(&format!("{} answers in {}", grouped(samples.len()), args.out.display()));
    Ok(ExitCode::SUCCESS)
}
