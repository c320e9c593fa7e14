//! `weir bench`: the load generator. This file has what its two subcommands share.

mod engine;
mod http;
mod http_args;
mod live;
mod profile;
mod table;

use std::fs::File;
use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde::Serialize;

use crate::bench::{Plot, Slo, Stop, plot};
use crate::error::{Error, Result};

/// Puts a server, or the engine alone, under a known load and measures what it does.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct BenchArgs {
    #[command(subcommand)]
    what: What,
}

const EXAMPLES: &str = "\
Examples:
  weir bench http                                      how fast is the server on this machine?
  weir bench http --rate 2000 --slo 'p99<=20ms'        does it keep its promise at this rate?
  weir bench http --find-rate --slo 'p99<=20ms'        up to which rate does it?
  weir bench http --sweep 1,2,4,8,16,32 --svg load.svg what does more concurrency cost?
  weir bench engine models/mnist-mlp                   how fast is the model without a server?";

#[derive(Debug, Subcommand)]
enum What {
    Http(Box<http_args::HttpArgs>),
    Engine(Box<engine::EngineArgs>),
}

/// Where results go.
#[derive(Debug, Args)]
struct OutputArgs {
    /// Write everything as JSON to this file; - is standard output, and the table goes to standard error
    #[arg(long, value_name = "FILE", help_heading = "Output")]
    json: Option<PathBuf>,
    /// Draw latencies into this SVG file
    #[arg(long, value_name = "FILE", help_heading = "Output")]
    svg: Option<PathBuf>,
    /// No table and no progress
    #[arg(long, short, help_heading = "Output")]
    quiet: bool,
}

pub(super) fn run(args: &BenchArgs) -> Result<ExitCode> {
    match &args.what {
        What::Http(args) => http::run(args),
        What::Engine(args) => engine::run(args),
    }
}

/// The exit code of a missed service level.
const MISSED: u8 = 6;
/// The exit code of a run that a person ended early.
const INTERRUPTED: u8 = 130;

fn exit_code(slo_met: Option<bool>, interrupted: bool) -> ExitCode {
    match slo_met {
        _ if interrupted => ExitCode::from(INTERRUPTED),
        Some(false) => ExitCode::from(MISSED),
        _ => ExitCode::SUCCESS,
    }
}

/// The first Ctrl-C or SIGTERM ends the run and shows what was measured, the second ends the process.
fn stop_on_signal() -> Result<Stop> {
    let stop = Stop::default();
    let asked = stop.clone();
    ctrlc::set_handler(move || {
        if !asked.ask() {
            std::process::exit(INTERRUPTED.into());
        }
    })
    .map_err(|error| Error::internal("signals cannot be received", error))?;
    Ok(stop)
}

/// Where results go, opened before the run: a run must not be lost to a misspelt folder.
struct Output {
    json: Option<Box<dyn Write>>,
    json_place: PathBuf,
    svg: Option<File>,
    svg_place: PathBuf,
    quiet: bool,
    text_on_stderr: bool,
}

impl Output {
    fn open(args: &OutputArgs) -> Result<Self> {
        let create = |path: &PathBuf| File::create(path).map_err(Error::io("write to", path));
        let on_stdout = args.json.as_ref().is_some_and(|path| path.as_os_str() == "-");
        let json: Option<Box<dyn Write>> = match &args.json {
            Some(_) if on_stdout => Some(Box::new(std::io::stdout())),
            Some(path) => Some(Box::new(create(path)?)),
            None => None,
        };
        Ok(Self {
            json,
            json_place: if on_stdout { "standard output".into() } else { args.json.clone().unwrap_or_default() },
            svg: args.svg.as_ref().map(create).transpose()?,
            svg_place: args.svg.clone().unwrap_or_default(),
            quiet: args.quiet,
            text_on_stderr: on_stdout,
        })
    }

    /// Text for people.
    fn say(&self, text: &str) -> Result<()> {
        if self.quiet {
            return Ok(());
        }
        if self.text_on_stderr {
            // Nobody may be watching, and the JSON is what was asked for.
            drop(std::io::stderr().lock().write_all(text.as_bytes()));
            return Ok(());
        }
        super::print(text)
    }

    fn is_terminal(&self) -> bool {
        if self.text_on_stderr { std::io::stderr().is_terminal() } else { std::io::stdout().is_terminal() }
    }

    fn finish(mut self, report: &impl Serialize, picture: &Plot) -> Result<()> {
        if let Some(file) = &mut self.svg {
            file.write_all(plot(picture).as_bytes()).map_err(Error::io("write to", &self.svg_place))?;
        }
        if let Some(json) = &mut self.json {
            let text = serde_json::to_string_pretty(report)
                .map_err(|error| Error::internal("the report could not be written", error))?;
            writeln!(json, "{text}").and_then(|()| json.flush()).map_err(Error::io("write to", &self.json_place))?;
        }
        Ok(())
    }
}

/// The limits that a plot shows.
fn limits(slo: Option<&Slo>) -> Vec<(f64, f64)> {
    slo.map(Slo::limits).unwrap_or_default()
}
