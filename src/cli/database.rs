//! `weir database`: looks after the database of predictions and feedback.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand, ValueEnum};

use crate::error::{Error, Result};
use crate::store::{Checkup, Maintenance, Part};

/// Looks after the database of predictions and feedback.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  weir database check                          is everything whole, and do the live figures add up?
  weir database export feedback > labels.jsonl
  weir database export predictions --model mnist-mlp --out predictions.jsonl
  weir database vacuum                         after much was erased: make the file smaller
  weir database migrate --database postgres://weir@db/weir   before newer servers start

The database is weir.db in the state folder, or what --database names. check and export may run beside a server; vacuum
and migrate of a file need the server stopped. A server migrates its database itself when it starts; behind a pooler of
connections, or where servers may not make tables, migrate does it as another user.

Exit codes: 0 done, 1 the database is damaged or cannot be used, 2 wrong usage or no database.")]
pub(super) struct DatabaseArgs {
    #[command(subcommand)]
    action: Action,
    /// The state folder of the server
    #[arg(long, env = "WEIR_STATE_DIR", value_name = "DIR", default_value = "state", global = true)]
    state_dir: PathBuf,
    /// The PostgreSQL database instead, as of weir serve
    #[arg(long, env = "WEIR_DATABASE", hide_env_values = true, value_name = "URL", global = true)]
    database: Option<String>,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Check the file, every block of predictions, and that the live sums are those of the labels
    Check {
        /// Print the findings as JSON
        #[arg(long)]
        json: bool,
    },
    /// Write a part as JSON Lines, oldest first
    Export {
        /// The part
        part: PartName,
        /// Only what is about this model; labels that wait for their prediction are about none yet
        #[arg(long, value_name = "NAME")]
        model: Option<String>,
        /// The file to write, instead of standard output
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
    /// Give the space of what was deleted back to the system
    Vacuum,
    /// Bring the tables up to date
    Migrate,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum PartName {
    /// Every sample that was asked about, with its answer
    Predictions,
    /// Every label that was sent, as POST /feedback takes it
    Feedback,
    /// What the labels together say of each sample, with loss and error
    Outcomes,
    /// The audit trail: what was changed by whom
    Audit,
}

/// The bytes that are printed together.
const MAX_BUFFERED: usize = 1 << 16;

pub(super) fn run(args: &DatabaseArgs) -> Result<ExitCode> {
    let open = |alone| Maintenance::open(&args.state_dir, args.database.as_deref(), alone);
    match &args.action {
        Action::Check { json } => check(&open(false)?.check()?, *json),
        Action::Export { part, model, out } => {
            let part = match part {
                PartName::Predictions => Part::Predictions,
                PartName::Feedback => Part::Feedback,
                PartName::Outcomes => Part::Outcomes,
                PartName::Audit => Part::Audit,
            };
            export(&mut open(false)?, part, model.as_deref(), out.as_ref())
        }
        Action::Vacuum => {
            let (before, after) = open(true)?.vacuum()?;
            super::print(&format!("{before} bytes before, {after} bytes after\n"))?;
            Ok(ExitCode::SUCCESS)
        }
        Action::Migrate => {
            let (before, after) = open(true)?.migrate()?;
            let text = match before {
                0 => format!("the tables were made: schema {after}\n"),
                _ if before == after => format!("nothing to do: schema {after}\n"),
                _ => format!("schema {before} became {after}\n"),
            };
            super::print(&text)?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

fn check(found: &Checkup, json: bool) -> Result<ExitCode> {
    let is_whole = found.problems.is_empty();
    let text = if json {
        serde_json::to_string_pretty(found).unwrap_or_default() + "\n"
    } else {
        let mut text = format!(
            "schema       {} (this weir makes {})\nversions     {}\npredictions  {} in {} bytes\ninputs       {} in {} bytes\nlabels       {}, and {} that \
             wait for their prediction\noutcomes     {}\naudit trail  {}\n",
            found.schema,
            found.newest_schema,
            found.versions,
            found.predictions,
            found.prediction_bytes,
            found.inputs,
            found.input_bytes,
            found.feedback,
            found.held,
            found.outcomes,
            found.audit
        );
        found.problems.iter().for_each(|problem| text.push_str(&format!("PROBLEM      {problem}\n")));
        text + if is_whole { "everything is whole, and the live sums are those of the outcomes\n" } else { "" }
    };
    super::print(&text)?;
    Ok(if is_whole { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn export(database: &mut Maintenance, part: Part, model: Option<&str>, out: Option<&PathBuf>) -> Result<ExitCode> {
    let Some(path) = out else {
        let mut text = String::new();
        database.export(part, model, &mut |line| {
            text.push_str(line);
            text.push('\n');
            if text.len() < MAX_BUFFERED {
                return Ok(());
            }
            super::print(&std::mem::take(&mut text))
        })?;
        super::print(&text)?;
        return Ok(ExitCode::SUCCESS);
    };
    let mut file = BufWriter::new(File::create(path).map_err(Error::io("create", path))?);
    let lines = database.export(part, model, &mut |line| writeln!(file, "{line}").map_err(Error::io("write", path)))?;
    file.flush().map_err(Error::io("write", path))?;
    super::progress::note(&format!("{lines} lines in {}", path.display()));
    Ok(ExitCode::SUCCESS)
}
