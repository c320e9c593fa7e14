//! `weir feedback`: inputs to be labelled from a running server, and labels for one.

mod chosen;
mod dataset;
mod export;
mod labels;
mod parquet;
mod read;
mod tasks;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Subcommand};
use serde_json::{Map, Value, json};

use super::client;
use crate::error::Result;

/// Asks a running server for inputs to be labelled, and tells it what was right.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  weir feedback import labels.csv
  weir feedback import labels.jsonl --server http://127.0.0.1:8080

From captured inputs to the next version, of a server with --capture all or --capture unsure:
  weir feedback export digits --count 200 --out to-label     pictures, and labels.csv with an empty column label
  weir feedback import to-label/labels.csv --dataset to-label
  weir train cnn --data to-label/train.csv --model digits

The same with Label Studio: create a project with to-label/interface.xml, import to-label/tasks.json, label, export JSON or
JSON-MIN:
  weir feedback export digits --format label-studio --out to-label
  weir feedback import project-1.json --dataset to-label

Half of an export are the least certain inputs, three in ten the most unusual, and the rest are drawn at random from all
others. Labels bring back with which probability each was chosen, so that the accuracy in GET /models/MODEL/quality
(adjusted) is right for all predictions, although the chosen ones are harder than most. Export each time range once, or
again with the same seed.

A CSV file names its columns in the first line, and a Parquet file has them: request_id or receipt, and label, correct or
value; and if they are known item, source, annotator, labelled_at, inclusion and model. Labels in these are names of classes,
also where they are numbers. A JSONL file holds one body of POST /feedback on each line. Files of an export are read as they
are: what has no label yet is left out, and labels are those of an expert.

Exit codes: 0 all was taken, 1 some was not or the server refused, 2 wrong usage or no server, 3 the file cannot be read.")]
pub(super) struct FeedbackArgs {
    #[command(subcommand)]
    action: Action,
    /// The server
    #[arg(long, env = "WEIR_SERVER", value_name = "URL", default_value = "http://127.0.0.1:8080", global = true)]
    server: String,
    /// Print the counts as JSON
    #[arg(long, global = true)]
    json: bool,
    /// Seconds to wait for each answer
    #[arg(long, value_name = "S", default_value_t = 60.0, global = true, value_parser = super::healthcheck::parse_seconds)]
    timeout_seconds: f64,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Send every label of a file
    Import {
        /// A .csv, .jsonl or .parquet file, or the .json that Label Studio exports
        file: PathBuf,
        /// Once all labels were taken, write those inputs of this folder of an export that they are about into its
        /// train.csv or train.jsonl, which weir train reads
        #[arg(long, value_name = "DIR")]
        dataset: Option<PathBuf>,
    },
    /// Choose captured inputs and write them for those who label
    Export(export::ExportArgs),
}

/// The labels of one request, as many as an array may hold.
const CHUNK: usize = 1000;

/// The problems that are printed.
const MAX_SHOWN: usize = 20;

pub(super) fn run(args: &FeedbackArgs) -> Result<ExitCode> {
    let timeout = Duration::from_secs_f64(args.timeout_seconds);
    match &args.action {
        Action::Export(export) => export::run(export, &args.server, timeout, args.json),
        Action::Import { file, dataset } => import(args, file, dataset.as_deref(), timeout),
    }
}

fn import(args: &FeedbackArgs, file: &Path, dataset: Option<&Path>, timeout: Duration) -> Result<ExitCode> {
    let labels::Labels { pieces, unlabelled } = read::read(file)?;
    let (mut counts, problems) = send(args, file, &pieces, timeout)?;
    for problem in problems.iter().take(MAX_SHOWN) {
        super::progress::complaint(problem);
    }
    let rejected = counts.get("rejected").and_then(Value::as_u64).unwrap_or(0);
    let written = dataset.filter(|_| rejected == 0).map(|folder| dataset::write(folder, &pieces)).transpose()?;
    let text = if args.json {
        if let Some((path, samples)) = &written {
            counts.insert("dataset".into(), json!({ "file": path, "samples": samples }));
        }
        serde_json::to_string_pretty(&counts).unwrap_or_default() + "\n"
    } else {
        let taken = counts.iter().filter(|(_, count)| count.as_u64() != Some(0));
        let mut words: Vec<String> = taken.map(|(state, count)| format!("{count} {state}")).collect();
        if unlabelled > 0 {
            words.push(format!("{unlabelled} inputs have none yet"));
        }
        let mut text = format!("{} labels: {}\n", pieces.len(), words.join(", "));
        if let Some((path, samples)) = &written {
            text.push_str(&format!("{samples} labelled inputs in {}\n", path.display()));
        }
        text
    };
    super::print(&text)?;
    Ok(if rejected == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Sends labels; returns the counts of what became of them, and what is wrong with some.
fn send(
    args: &FeedbackArgs,
    file: &Path,
    pieces: &[(u64, Value)],
    timeout: Duration,
) -> Result<(Map<String, Value>, Vec<String>)> {
    let (mut counts, mut problems) = (Map::new(), Vec::new());
    for chunk in pieces.chunks(CHUNK) {
        let body = Value::Array(chunk.iter().map(|(_, piece)| piece.clone()).collect());
        let (status, answer) = client::ask(&args.server, "POST", "/feedback", Some(&body), timeout)?;
        if status != 200 {
            return Err(client::refused(status, &answer));
        }
        for (state, count) in answer.as_object().into_iter().flatten() {
            if let Some(count) = count.as_u64() {
                let sum = counts.get(state).and_then(Value::as_u64).unwrap_or(0) + count;
                counts.insert(state.clone(), json!(sum));
            }
        }
        for problem in answer["errors"].as_array().into_iter().flatten() {
            // The server counts within the array, and a reader within the file.
            let place = problem["line"].as_u64().and_then(|line| usize::try_from(line).ok()?.checked_sub(1));
            let line = place.and_then(|place| chunk.get(place)).map_or(0, |(line, _)| *line);
            problems.push(format!("{}:{line}: {}", file.display(), problem["detail"].as_str().unwrap_or_default()));
        }
    }
    Ok((counts, problems))
}
