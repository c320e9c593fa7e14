//! The arguments of `weir bench http`, and the plan that they make.

use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use clap::{Args, ValueEnum};

use super::OutputArgs;
use crate::bench::{Load, Pattern, Slo, StepPlan, Target, TargetOptions, parse_span};
use crate::error::{Error, Result};

/// Connections of a closed loop, and the most that an open loop opens.
const CLOSED_CONNECTIONS: usize = 32;
const OPEN_CONNECTIONS: usize = 256;
/// The time of a step, and of one of many.
const DURATION: Duration = Duration::from_secs(10);
const DURATION_OF_MANY: Duration = Duration::from_secs(3);
const WARMUP: Duration = Duration::from_secs(1);
const WARMUP_OF_MANY: Duration = Duration::from_millis(500);
/// The first rate of a search, and the relative precision of its result.
const SEARCH_START: f64 = 100.0;
pub(super) const SEARCH_PRECISION: f64 = 0.05;

/// Send requests to a running server and measure its answers.
///
/// Only http:// URLs.
///
/// Closed loop (the default): each of --connections sends its next request when the last one is answered.
/// Open loop (--rate): requests start at this rate however fast the server answers, and latency counts from
/// the moment a request was meant to start, so a server that stalls cannot hide it.
///
/// Latencies are those of 2xx answers. A service level (--slo) is judged over all requests: one that fails
/// or is never sent counts as slower than any limit.
///
/// The exit code is 0, or 6 if --slo is given and was missed (in a sweep: by every step; in a search:
/// at every rate), 1 if nobody answers at the URL, 130 after Ctrl-C, which still prints what was
/// measured.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct HttpArgs {
    /// URL to send requests to
    #[arg(default_value = "http://127.0.0.1:8080/predict")]
    url: String,

    /// Send the bytes of this file; repeat it to send several in turn [default: a bundled digit, if
    /// the path ends in /predict]
    #[arg(long, value_name = "FILE", help_heading = "Request")]
    body: Vec<PathBuf>,
    /// Content type of the bodies [default: inferred from their first bytes]
    #[arg(long, value_name = "TYPE", help_heading = "Request")]
    content_type: Option<String>,
    /// A header, 'name: value'; may be repeated
    #[arg(long, short = 'H', value_name = "HEADER", help_heading = "Request")]
    header: Vec<String>,
    /// Method [default: POST with a body, else GET]
    #[arg(long, short = 'X', value_name = "METHOD", help_heading = "Request")]
    method: Option<http::Method>,
    /// Time limit for one request, connecting included
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = parse_span, help_heading = "Request")]
    pub(super) timeout: Duration,

    /// Connections: always busy in a closed loop [default: 32], opened as needed up to this number in an open
    /// loop [default: 256]; at most 10,000
    #[arg(long, short = 'c', value_name = "N", help_heading = "Load")]
    connections: Option<usize>,
    /// Open loop: requests per second
    #[arg(long, short = 'r', value_name = "N", help_heading = "Load")]
    rate: Option<f64>,
    /// Open loop: the spacing of requests [default: constant]
    #[arg(long, value_enum, help_heading = "Load")]
    arrivals: Option<ArrivalsArg>,
    /// Seed of --arrivals poisson
    #[arg(long, value_name = "N", default_value_t = 0, help_heading = "Load")]
    seed: u64,
    /// Measured time of a step, such as 10s or 500ms [default: 10s; 3s in a sweep or search]
    #[arg(long, short = 'd', value_name = "TIME", value_parser = parse_span, help_heading = "Load")]
    duration: Option<Duration>,
    /// Measured requests of a step; without --duration, only they end it
    #[arg(long, short = 'n', value_name = "N", help_heading = "Load")]
    requests: Option<u64>,
    /// Warm-up before each step, which is not measured [default: 1s; 500ms in a sweep or search; none with
    /// --requests]
    #[arg(long, value_name = "TIME", value_parser = parse_span, help_heading = "Load")]
    warmup: Option<Duration>,
    /// Generator threads; one is enough for tens of thousands of requests per second
    #[arg(long, value_name = "N", default_value_t = 1, help_heading = "Load")]
    pub(super) threads: usize,

    /// One closed-loop step for each number of connections, such as 1,2,4,8,16,32
    #[arg(long, value_name = "LIST", value_delimiter = ',', conflicts_with_all = ["connections", "rate", "sweep_rates", "find_rate"], help_heading = "Many steps")]
    sweep: Vec<usize>,
    /// One open-loop step for each rate, such as 500,1000,2000
    #[arg(long, value_name = "LIST", value_delimiter = ',', conflicts_with_all = ["rate", "find_rate"], help_heading = "Many steps")]
    sweep_rates: Vec<f64>,
    /// Search for the largest open-loop rate that meets --slo: doubling from --rate [default: 100], then
    /// bisection to 5 %. A rate fails only if it misses the service level twice in a row
    #[arg(long, requires = "slo", help_heading = "Many steps")]
    find_rate: bool,

    /// Service level, such as p99<=20ms or p50<=2ms,p99.9<=100ms,max<=1s,errors<=0.1%
    #[arg(long, value_name = "TERMS", help_heading = "Verdict")]
    pub(super) slo: Option<Slo>,
    #[command(flatten)]
    pub(super) output: OutputArgs,
}

const EXAMPLES: &str = "\
Examples:
  weir bench http
  weir bench http http://127.0.0.1:8080/models/mnist-mlp/predict --body a.png --body b.png -c 8
  weir bench http --rate 5000 --arrivals poisson --slo 'p99<=20ms,errors<=0.1%'
  weir bench http --find-rate --slo 'p99<=20ms'
  weir bench http --sweep 1,2,4,8,16,32 --json sweep.json --svg sweep.svg
  weir bench http http://127.0.0.1:8080/livez --requests 10000

Keys of --json (they are only added to; requests is the sum of statuses and errors):
  schema, kind, weir_version, warmup_seconds, slo, slo_met, found_rate, interrupted
  target   url, method, content_type, bodies, threads, timeout_seconds
  steps[]  mode (closed or open), connections, rate, arrivals, seconds, requests, good,
           non_2xx, requests_per_second, good_per_second, body_bytes_sent,
           body_bytes_received, send_delay_ms, unsent, backlog_max, rate_kept, unfinished,
           connections_opened, first_problem
    statuses       answers by status code
    errors         connect, timeout, reset, protocol
    latency_ms     min, mean, p50, p90, p95, p99, p99.9, max
    latency_curve  quantile, ms
    slo            met, terms[]: term, measured, unit (ms or %), met";

/// The spacing of requests.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum ArrivalsArg {
    /// Equal gaps
    Constant,
    /// Exponential gaps, like the requests of many independent callers
    Poisson,
}

/// The steps to run.
pub(super) enum Course {
    One(Load),
    Sweep(Vec<Load>),
    Search { start: f64 },
}

impl HttpArgs {
    pub(super) fn open(&self, rate: f64) -> Load {
        let arrivals = match self.arrivals {
            Some(ArrivalsArg::Poisson) => Pattern::Poisson,
            Some(ArrivalsArg::Constant) | None => Pattern::Constant,
        };
        Load::Open { rate, arrivals, connections: self.connections.unwrap_or(OPEN_CONNECTIONS) }
    }

    pub(super) fn course(&self) -> Result<Course> {
        let closed = |connections: usize| Load::Closed { connections };
        let is_open = self.rate.is_some() || self.find_rate || !self.sweep_rates.is_empty();
        if self.arrivals.is_some() && !is_open {
            let problem = "spaces the requests of an open loop; give --rate, --sweep-rates or --find-rate, too";
            return Err(Error::Config { setting: "--arrivals".into(), problem: problem.into() });
        }
        Ok(match self.rate {
            _ if !self.sweep.is_empty() => Course::Sweep(self.sweep.iter().copied().map(closed).collect()),
            _ if !self.sweep_rates.is_empty() => {
                Course::Sweep(self.sweep_rates.iter().map(|rate| self.open(*rate)).collect())
            }
            rate if self.find_rate => Course::Search { start: rate.unwrap_or(SEARCH_START) },
            Some(rate) => Course::One(self.open(rate)),
            None => Course::One(closed(self.connections.unwrap_or(CLOSED_CONNECTIONS))),
        })
    }

    pub(super) fn plan(&self, load: Load, many: bool) -> StepPlan {
        let (duration, warmup) = if many { (DURATION_OF_MANY, WARMUP_OF_MANY) } else { (DURATION, WARMUP) };
        StepPlan {
            load,
            warmup: self.warmup.unwrap_or(if self.requests.is_some() { Duration::ZERO } else { warmup }),
            duration: self.duration.or((self.requests.is_none()).then_some(duration)),
            requests: self.requests,
            timeout: self.timeout,
            threads: self.threads,
            seed: self.seed,
        }
    }

    pub(super) fn target(&self) -> Result<Target> {
        let read = |path: &PathBuf| std::fs::read(path).map(Bytes::from).map_err(Error::io("read", path));
        Target::new(TargetOptions {
            url: self.url.clone(),
            method: self.method.clone(),
            headers: self.header.clone(),
            bodies: self.body.iter().map(read).collect::<Result<_>>()?,
            content_type: self.content_type.clone(),
        })
    }
}
