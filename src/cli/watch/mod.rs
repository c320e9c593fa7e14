//! `weir watch`: how a running server and its models do, in a terminal.

mod exposition;
mod figures;
mod table;

use std::collections::BTreeMap;
use std::io::{IsTerminal, Write};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use clap::Args;
use serde::{Deserialize, Serialize};
use terminal_size::terminal_size;

use self::exposition::Exposition;
use self::figures::Row;
use super::client;
use super::paint::Paint;
use super::progress::complaint;
use crate::error::{Error, Result};
use crate::ids::ModelName;

/// Shows rates, latencies, live accuracy, loss, drift and alarms of a running server.
#[derive(Debug, Args)]
#[command(
    after_help = "On a terminal the view is drawn anew at each look; elsewhere each look writes a line for each version. Rates and latencies are of the time between two looks; accuracy is what the server says now, by labels where there are any, else by its probe set.\n\nExamples:\n  weir watch\n  weir watch https://weir.example.org --model mnist-mlp\n  weir watch --every 60 >> weir.log\n  weir watch --looks 1 --json | jq .rows"
)]
pub(super) struct WatchArgs {
    /// The server
    #[arg(value_name = "URL", env = "WEIR_SERVER", default_value = "http://127.0.0.1:8080")]
    server: String,
    /// Only this model
    #[arg(long, value_name = "MODEL")]
    model: Option<ModelName>,
    /// Seconds from one look to the next
    #[arg(long, value_name = "S", default_value_t = 2.0, value_parser = super::healthcheck::parse_seconds)]
    every: f64,
    /// End after this many looks
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    looks: Option<u64>,
    /// Write each look as a line of JSON
    #[arg(long)]
    json: bool,
}

/// The looks whose rates are drawn.
const KEPT: usize = 20;

/// The time for each answer of the server.
const PATIENCE: Duration = Duration::from_secs(10);

/// An alarm that is open.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Alarm {
    #[serde(default)]
    model: Option<String>,
    state: String,
    summary: String,
}

#[derive(Debug, Deserialize)]
struct Alarms {
    alarms: Vec<Alarm>,
}

/// The figures of one look.
#[derive(Debug, Serialize)]
struct Look {
    rows: Vec<Row>,
    /// The rates of the last looks, for each row.
    #[serde(skip)]
    rates: Vec<Vec<f64>>,
    /// The open alarms; `None` if they could not be had.
    alarms: Option<Vec<Alarm>>,
    /// The reason why they could not.
    #[serde(skip_serializing_if = "Option::is_none")]
    alarms_problem: Option<String>,
}

pub(super) fn run(args: &WatchArgs) -> Result<ExitCode> {
    let stop = super::stop_on_signal()?;
    let every = Duration::from_secs_f64(args.every);
    let mut screen = Screen::new(args.json);
    // A server that cannot be asked at all is an error; one that goes away later is waited for.
    let mut before = (Instant::now(), metrics(args)?);
    let mut rates: BTreeMap<(String, u64), Vec<f64>> = BTreeMap::new();
    let mut looks = 0;
    while wait(every, &stop) {
        let at = Instant::now();
        match metrics(args) {
            Ok(after) => {
                let look = look(args, &before.1, &after, (at - before.0).as_secs_f64(), &mut rates);
                screen.show(&look)?;
                before = (at, after);
            }
            Err(error) => screen.complain(&error),
        }
        looks += 1;
        if args.looks.is_some_and(|most| looks >= most) {
            break;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Waits until the next look; false if a person wants to end.
fn wait(time: Duration, stop: &AtomicBool) -> bool {
    const STEP: Duration = Duration::from_millis(50);
    let end = Instant::now() + time;
    while !stop.load(Ordering::Relaxed) {
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return true;
        }
        std::thread::park_timeout(left.min(STEP));
    }
    false
}

fn metrics(args: &WatchArgs) -> Result<Exposition> {
    let (status, body) = client::fetch(&args.server, "/metrics", PATIENCE)?;
    match status {
        200 => Ok(Exposition::parse(&String::from_utf8_lossy(&body))),
        _ => Err(Error::Config {
            setting: format!("server {}", args.server),
            problem: format!("GET /metrics answered {status}; a key that may read metrics goes into WEIR_API_KEY"),
        }),
    }
}

/// Returns the open alarms.
///
/// # Errors
/// The reason why they cannot be had, in words.
fn alarms(args: &WatchArgs) -> std::result::Result<Vec<Alarm>, String> {
    let model = args.model.as_ref().map_or_else(String::new, |model| format!("?model={model}"));
    match client::fetch(&args.server, &format!("/alarms{model}"), PATIENCE) {
        Ok((status, body)) => open_alarms(status, &body),
        Err(_) => Err("the server does not answer".into()),
    }
}

/// Returns the alarms of an answer that are open.
fn open_alarms(status: u16, body: &[u8]) -> std::result::Result<Vec<Alarm>, String> {
    match status {
        200 => {
            let read: Alarms = serde_json::from_slice(body).map_err(|_| "the answer cannot be read".to_owned())?;
            Ok(read.alarms.into_iter().filter(|alarm| alarm.state != "cleared").collect())
        }
        401 | 403 => Err(format!("not shown to this caller ({status})")),
        status => Err(format!("the server answered {status}")),
    }
}

fn look(
    args: &WatchArgs,
    before: &Exposition,
    after: &Exposition,
    seconds: f64,
    rates: &mut BTreeMap<(String, u64), Vec<f64>>,
) -> Look {
    let mut rows = figures::rows(before, after, seconds);
    rows.retain(|row| args.model.as_ref().is_none_or(|model| model.as_str() == row.model));
    let kept = rows.iter().map(|row| {
        let kept = rates.entry((row.model.clone(), row.version)).or_default();
        kept.push(row.per_second);
        kept.drain(..kept.len().saturating_sub(KEPT));
        kept.clone()
    });
    let rates = kept.collect();
    let (alarms, alarms_problem) = match alarms(args) {
        Ok(alarms) => (Some(alarms), None),
        Err(problem) => (None, Some(problem)),
    };
    Look { rows, rates, alarms, alarms_problem }
}

/// Where looks are shown.
#[derive(Debug)]
struct Screen {
    json: bool,
    /// True if the view is drawn over the last one.
    redraws: bool,
    /// The lines of the last view.
    drawn: usize,
}

impl Screen {
    fn new(json: bool) -> Self {
        Self { json, redraws: !json && std::io::stdout().is_terminal(), drawn: 0 }
    }

    fn show(&mut self, look: &Look) -> Result<()> {
        let text = if self.json {
            let mut line =
                serde_json::to_string(look).map_err(|error| Error::internal("a look cannot be written", error))?;
            line.push('\n');
            line
        } else if self.redraws {
            let view = clipped(&table::view(look, Paint(true)), terminal_size().map(|(_, height)| height.0.into()));
            let over = std::mem::replace(&mut self.drawn, view.lines().count());
            let up = if over > 0 { format!("\x1b[{over}A\x1b[J") } else { String::new() };
            // A line that is too long for the terminal is cut there, not continued below.
            format!("{up}\x1b[?7l{view}\x1b[?7h")
        } else {
            table::lines(look, &jiff::Timestamp::now().round(jiff::Unit::Second).unwrap_or_default().to_string())
        };
        super::print(&text)
    }

    /// Says that a look failed; the next one is drawn below.
    fn complain(&mut self, error: &Error) {
        complaint(&error.to_string());
        self.drawn = 0;
        // With standard output closed the next look says so.
        drop(std::io::stdout().flush());
    }
}

/// Returns the first lines of a view, as many as a terminal of this height shows, and says how many there are beyond.
fn clipped(view: &str, height: Option<usize>) -> String {
    let lines = view.lines().count();
    match height {
        Some(height) if height > 2 && lines >= height => {
            let shown = height - 2;
            let first: String = view.split_inclusive('\n').take(shown).collect();
            format!("{first}… and {} lines more; --model shows one model\n", lines - shown)
        }
        _ => view.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn alarms_that_cannot_be_had_are_not_taken_for_none() {
        let body = br#"{"alarms": [{"state": "raised", "summary": "a"}, {"state": "cleared", "summary": "b"}]}"#;
        let open = open_alarms(200, body).unwrap();
        assert_eq!(open.iter().map(|alarm| alarm.summary.as_str()).collect::<Vec<_>>(), ["a"]);
        assert_eq!(open_alarms(403, b"{}").unwrap_err(), "not shown to this caller (403)");
        assert_eq!(open_alarms(503, b"{}").unwrap_err(), "the server answered 503");
        assert!(open_alarms(200, b"{}").is_err());
    }

    #[test]
    fn a_view_that_is_too_high_ends_with_a_word_about_the_rest() {
        let view = "1\n2\n3\n4\n5\n";
        assert_eq!(clipped(view, None), view);
        assert_eq!(clipped(view, Some(6)), view);
        assert_eq!(clipped(view, Some(5)), "1\n2\n3\n… and 2 lines more; --model shows one model\n");
        assert_eq!(clipped(view, Some(0)), view);
    }
}
