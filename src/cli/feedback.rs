//! `weir feedback`: labels from files, for a running server.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Subcommand};
use serde_json::{Map, Value, json};

use super::client;
use crate::error::{Error, Result};
use crate::ids::quote;

/// Tells a running server what was right.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  weir feedback import labels.csv
  weir feedback import labels.jsonl --server http://127.0.0.1:8080

A CSV file names its columns in the first line: request_id or receipt, and label, correct or value; and if they are known
item, source, annotator, labelled_at and model. A JSONL file holds one body of POST /feedback on each line.

Exit codes: 0 all was taken, 1 some was not, 2 wrong usage or no server, 3 the file cannot be read.")]
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
        /// A .csv or .jsonl file
        file: PathBuf,
    },
}

/// The labels of one request, as many as an array may hold.
const CHUNK: usize = 1000;

/// The problems that are printed.
const MAX_SHOWN: usize = 20;

pub(super) fn run(args: &FeedbackArgs) -> Result<ExitCode> {
    let Action::Import { file } = &args.action;
    let pieces = read(file)?;
    let timeout = Duration::from_secs_f64(args.timeout_seconds);
    let (mut counts, mut problems) = (Map::new(), Vec::new());
    for chunk in pieces.chunks(CHUNK) {
        let body = Value::Array(chunk.iter().map(|(_, piece)| piece.clone()).collect());
        let (status, answer) = client::ask(&args.server, "POST", "/feedback", Some(&body), timeout)?;
        if status != 200 {
            let detail = answer["detail"].as_str().unwrap_or("the answer says no more");
            return Err(Error::Conflict(format!("the server answered {status}: {detail}")));
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
    let rejected = counts.get("rejected").and_then(Value::as_u64).unwrap_or(0);
    for problem in problems.iter().take(MAX_SHOWN) {
        super::progress::complaint(problem);
    }
    let text = if args.json {
        serde_json::to_string_pretty(&counts).unwrap_or_default() + "\n"
    } else {
        let taken = counts.iter().filter(|(_, count)| count.as_u64() != Some(0));
        let words: Vec<String> = taken.map(|(state, count)| format!("{count} {state}")).collect();
        format!("{} labels: {}\n", pieces.len(), words.join(", "))
    };
    super::print(&text)?;
    Ok(if rejected == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Reads the pieces of a file with the numbers of their lines.
fn read(path: &Path) -> Result<Vec<(u64, Value)>> {
    let file = path.display().to_string();
    let bad = |problem: String| Error::Data { file: file.clone(), problem };
    let text = std::fs::read_to_string(path).map_err(|error| bad(error.to_string()))?;
    match path.extension().and_then(|extension| extension.to_str()) {
        Some("csv") => of_csv(&text).map_err(bad),
        Some("jsonl" | "ndjson") => {
            let lines = text.lines().zip(1..).filter(|(line, _)| !line.trim().is_empty());
            lines
                .map(|(line, number)| match serde_json::from_str(line) {
                    Ok(piece) => Ok((number, piece)),
                    Err(error) => Err(bad(format!("line {number} is no JSON: {error}"))),
                })
                .collect()
        }
        _ => Err(bad("expected a file that ends in .csv or .jsonl".into())),
    }
}

fn of_csv(text: &str) -> std::result::Result<Vec<(u64, Value)>, String> {
    let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::All).from_reader(text.as_bytes());
    let names = reader.headers().map_err(|error| error.to_string())?.clone();
    if !names.iter().any(|name| name == "request_id" || name == "receipt") {
        return Err(format!(
            "the first line names no column request_id and no column receipt; its columns: {}",
            quote(names.as_slice())
        ));
    }
    let mut pieces = Vec::new();
    for record in reader.records() {
        let record = record.map_err(|error| error.to_string())?;
        let line = record.position().map_or(0, csv::Position::line);
        let mut piece = Map::new();
        for (name, cell) in names.iter().zip(&record).filter(|(_, cell)| !cell.is_empty()) {
            let value = match name {
                "item" => cell.parse::<u32>().map(Value::from).ok(),
                "value" => cell.parse::<f64>().ok().map(Value::from),
                "correct" | "retract" => match cell {
                    "true" | "1" => Some(json!(true)),
                    "false" | "0" => Some(json!(false)),
                    _ => None,
                },
                _ => Some(json!(cell)),
            };
            let value = value.ok_or_else(|| format!("line {line}: {name} cannot be {}", quote(cell)))?;
            piece.insert(name.to_owned(), value);
        }
        pieces.push((line, Value::Object(piece)));
    }
    Ok(pieces)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_become_what_their_columns_hold() {
        let text = "request_id,item,label,value,correct\na,0,7,,\nb,,,1.5,\nc,,,,false\n";
        let pieces = of_csv(text).unwrap();
        assert_eq!(pieces[0], (2, json!({"request_id": "a", "item": 0, "label": "7"})));
        assert_eq!(pieces[1].1, json!({"request_id": "b", "value": 1.5}));
        assert_eq!(pieces[2], (4, json!({"request_id": "c", "correct": false})));
        for (bad, hint) in [
            ("id,label\na,7\n", "no column request_id"),
            ("request_id,correct\na,maybe\n", "line 2: correct cannot be"),
            ("request_id,item\na,-1\n", "line 2: item"),
            ("request_id,label\na\n", "line"),
        ] {
            let problem = of_csv(bad).unwrap_err();
            assert!(problem.contains(hint), "{problem}");
        }
    }
}
