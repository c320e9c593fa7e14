//! What was measured, in the words of the JSON output. The keys are stable: they are only added to.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;

use super::connection::Failure;
use super::latencies::{CurvePoint, Latencies, Percentiles};
use super::plan::Load;
use super::slo::{Slo, Verdict};
use super::tally::Tally;
use crate::error::Result;
use crate::signature::TensorSpec;

/// The version of the JSON output; it changes when a key changes its meaning or goes.
pub const REPORT_SCHEMA: u32 = 1;

/// A delay up to this is the machine's; more at the 99th percentile means the rate was not kept.
const KEPT: Duration = Duration::from_millis(100);

/// Requests that ended without an answer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Errors {
    /// No connection could be made.
    pub connect: u64,
    /// No whole answer came in time.
    pub timeout: u64,
    /// The server closed the connection before the answer was complete.
    pub reset: u64,
    /// What came is not HTTP.
    pub protocol: u64,
}

impl Errors {
    /// All of them.
    pub fn total(&self) -> u64 {
        self.connect + self.timeout + self.reset + self.protocol
    }
}

/// One step against a server.
#[derive(Debug, Clone, Serialize)]
pub struct Step {
    /// How requests started.
    #[serde(flatten)]
    pub load: Load,
    /// The measured time.
    pub seconds: f64,
    /// Requests that started in it and ended: the statuses and the errors.
    pub requests: u64,
    /// Those of them with a 2xx answer.
    pub good: u64,
    /// Answers of another status.
    pub non_2xx: u64,
    /// Answers that came within the measured time, for each of its seconds.
    pub requests_per_second: f64,
    /// The 2xx answers among them: goodput.
    pub good_per_second: f64,
    /// Answers by status.
    pub statuses: BTreeMap<String, u64>,
    /// Requests without an answer, by kind.
    pub errors: Errors,
    /// Bytes of request bodies.
    pub body_bytes_sent: u64,
    /// Bytes of answers' bodies.
    pub body_bytes_received: u64,
    /// Latencies of 2xx answers in milliseconds: from the intended start of the request to the last
    /// byte of the answer.
    pub latency_ms: Option<Percentiles>,
    /// Their percentile curve.
    pub latency_curve: Vec<CurvePoint>,
    /// Open loop: from the intended start to sending.
    pub send_delay_ms: Option<Percentiles>,
    /// Open loop: requests that were meant to start and never did.
    pub unsent: u64,
    /// Open loop: the most requests that waited for a free connection at once.
    pub backlog_max: u64,
    /// Open loop: whether requests started as they were meant to.
    pub rate_kept: Option<bool>,
    /// Requests under way when a person stopped the run.
    pub unfinished: u64,
    /// Connections opened, warm-up included.
    pub connections_opened: u64,
    /// What the server said to the first request that went wrong, or what happened to it.
    pub first_problem: Option<String>,
    /// Whether the service level was met.
    pub slo: Option<Verdict>,
    /// All latencies of 2xx answers.
    #[serde(skip)]
    pub latencies: Latencies,
}

impl Step {
    pub(super) fn new(load: Load, measured: Duration, tally: Tally) -> Result<Self> {
        let seconds = measured.as_secs_f64();
        let per_second = |count: u64| if seconds > 0.0 { count as f64 / seconds } else { 0.0 };
        let answered = tally.statuses.iter().enumerate().filter(|(_, count)| **count > 0);
        let statuses: BTreeMap<String, u64> =
            answered.map(|(status, count)| (format!("{status:03}"), *count)).collect();
        let answers: u64 = statuses.values().sum();
        let errors = Errors {
            connect: tally.failed(Failure::Connect),
            timeout: tally.failed(Failure::Timeout),
            reset: tally.failed(Failure::Reset),
            protocol: tally.failed(Failure::Protocol),
        };
        let is_open = matches!(load, Load::Open { .. });
        Ok(Self {
            load,
            seconds,
            requests: answers + errors.total(),
            good: tally.good.len(),
            non_2xx: answers - tally.good.len(),
            requests_per_second: per_second(tally.answers_in_window),
            good_per_second: per_second(tally.good_in_window),
            statuses,
            errors,
            body_bytes_sent: tally.sent_bytes,
            body_bytes_received: tally.received_bytes,
            latency_ms: tally.good.percentiles(),
            latency_curve: tally.good.curve(),
            send_delay_ms: tally.delay.percentiles().filter(|_| is_open),
            unsent: tally.unsent,
            backlog_max: tally.backlog_max,
            rate_kept: is_open
                .then(|| tally.unsent == 0 && tally.delay.quantile_with(0.99, 0).is_none_or(|delay| delay <= KEPT)),
            unfinished: tally.unfinished,
            connections_opened: tally.connections_opened,
            first_problem: tally.first_problem,
            slo: None,
            latencies: tally.good,
        })
    }

    /// Requests that got no good answer, or were never sent.
    pub fn failed(&self) -> u64 {
        self.non_2xx + self.errors.total() + self.unsent
    }

    /// Judges the step and keeps the verdict.
    pub fn judge(&mut self, slo: &Slo) -> bool {
        let verdict = slo.judge(&self.latencies, self.failed());
        let met = verdict.met;
        self.slo = Some(verdict);
        met
    }
}

/// One step of the engine alone.
#[derive(Debug, Clone, Serialize)]
pub struct EngineStep {
    /// Samples in a batch.
    pub batch: usize,
    /// Threads, each with a session of its own.
    pub threads: usize,
    /// The measured time.
    pub seconds: f64,
    /// Runs of a batch that ended in it.
    pub runs: u64,
    /// Samples in them.
    pub samples: u64,
    /// Runs a second, of all threads.
    pub runs_per_second: f64,
    /// Samples a second, of all threads.
    pub samples_per_second: f64,
    /// The time of a run in milliseconds.
    pub latency_ms: Option<Percentiles>,
    /// Its percentile curve.
    pub latency_curve: Vec<CurvePoint>,
    /// Whether the service level was met.
    pub slo: Option<Verdict>,
    /// All times.
    #[serde(skip)]
    pub latencies: Latencies,
}

/// A whole run.
#[derive(Debug, Serialize)]
pub struct Report<S, T> {
    /// [`REPORT_SCHEMA`].
    pub schema: u32,
    /// `http` or `engine`.
    pub kind: &'static str,
    /// The version of Weir.
    pub weir_version: &'static str,
    /// What was measured.
    pub target: T,
    /// Seconds before each step that are not measured.
    pub warmup_seconds: f64,
    /// The steps in their order; one unless it was a sweep or a search.
    pub steps: Vec<S>,
    /// The service level.
    pub slo: Option<String>,
    /// Whether it was met: by the step; by some step of a sweep; at some rate of a search.
    pub slo_met: Option<bool>,
    /// The largest rate that met it, after a search that found one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub found_rate: Option<f64>,
    /// Whether a person ended the run early.
    pub interrupted: bool,
}

/// The server that was asked.
#[derive(Debug, Serialize)]
pub struct HttpTarget {
    /// The URL.
    pub url: String,
    /// The method.
    pub method: String,
    /// The content type of the first body.
    pub content_type: Option<String>,
    /// The number of bodies sent in turn.
    pub bodies: usize,
    /// Generator threads.
    pub threads: usize,
    /// The limit for one request.
    pub timeout_seconds: f64,
}

/// The model that was run.
#[derive(Debug, Serialize)]
pub struct EngineTarget {
    /// Its file or folder, as it was given.
    pub model: String,
    /// The engine.
    pub engine: &'static str,
    /// Its inputs.
    pub inputs: Vec<TensorSpec>,
}
