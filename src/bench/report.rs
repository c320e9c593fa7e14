//! The JSON output. Its keys are stable: new ones may be added, none is renamed or removed.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;

use super::connection::Failure;
use super::latencies::{CurvePoint, Latencies, Percentiles};
use super::plan::Load;
use super::profile::StepProfile;
use super::slo::{Slo, Verdict};
use super::tally::Tally;
use crate::error::Result;
use crate::signature::TensorSpec;

/// The version of the JSON output; it changes when a key changes its meaning or goes.
pub const REPORT_SCHEMA: u32 = 1;

/// The largest delay of the 99th percentile at which the intended rate counts as kept.
const KEPT: Duration = Duration::from_millis(100);

/// Requests that ended without an answer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Errors {
    /// No connection could be made.
    pub connect: u64,
    /// No complete answer came in time.
    pub timeout: u64,
    /// The server closed the connection before the answer was complete.
    pub reset: u64,
    /// The bytes that arrived are not HTTP.
    pub protocol: u64,
}

impl Errors {
    /// Returns the sum of all kinds.
    pub fn total(&self) -> u64 {
        self.connect + self.timeout + self.reset + self.protocol
    }
}

/// One step against a server.
#[derive(Debug, Clone, Serialize)]
pub struct Step {
    /// The load.
    #[serde(flatten)]
    pub load: Load,
    /// The measured time.
    pub seconds: f64,
    /// Requests that started in this time and ended: the sum of statuses and errors.
    pub requests: u64,
    /// Requests with a 2xx answer.
    pub good: u64,
    /// Requests with an answer of another status.
    pub non_2xx: u64,
    /// Answers per second within the measured time.
    pub requests_per_second: f64,
    /// 2xx answers per second within the measured time: goodput.
    pub good_per_second: f64,
    /// Answers by status.
    pub statuses: BTreeMap<String, u64>,
    /// Requests without an answer, by kind.
    pub errors: Errors,
    /// Bytes of request bodies.
    pub body_bytes_sent: u64,
    /// Bytes of response bodies.
    pub body_bytes_received: u64,
    /// Latencies of 2xx answers in milliseconds, from the intended start of the request to the last byte of the answer.
    pub latency_ms: Option<Percentiles>,
    /// The percentile curve of these latencies.
    pub latency_curve: Vec<CurvePoint>,
    /// Open loop: the delay from the intended start to sending.
    pub send_delay_ms: Option<Percentiles>,
    /// Open loop: requests that were due and never sent.
    pub unsent: u64,
    /// Open loop: the largest number of requests that waited for a connection at one time.
    pub backlog_max: u64,
    /// Open loop: true if requests started when they were due.
    pub rate_kept: Option<bool>,
    /// Requests under way when the run was stopped.
    pub unfinished: u64,
    /// Connections opened, warm-up included.
    pub connections_opened: u64,
    /// The answer to the first request that failed, or the error that it failed with.
    pub first_problem: Option<String>,
    /// The verdict on the service level.
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

    /// Returns the number of requests that got no 2xx answer or were never sent.
    pub fn failed(&self) -> u64 {
        self.non_2xx + self.errors.total() + self.unsent
    }

    /// Judges the step, keeps the verdict, and returns true if the service level was met.
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
    /// Runs of a batch that ended in this time.
    pub runs: u64,
    /// Samples in these runs.
    pub samples: u64,
    /// Runs per second of all threads.
    pub runs_per_second: f64,
    /// Samples per second of all threads.
    pub samples_per_second: f64,
    /// Times of a run in milliseconds.
    pub latency_ms: Option<Percentiles>,
    /// The percentile curve of these times.
    pub latency_curve: Vec<CurvePoint>,
    /// The verdict on the service level.
    pub slo: Option<Verdict>,
    /// The time by node and by operation, if it was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub profile: Option<StepProfile>,
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
    /// The server or model that was measured.
    pub target: T,
    /// Warm-up before each step, in seconds.
    pub warmup_seconds: f64,
    /// The steps in order: one, or those of a sweep or search.
    pub steps: Vec<S>,
    /// The service level.
    pub slo: Option<String>,
    /// True if the service level was met by the step, by any step of a sweep, or at any rate of a search.
    pub slo_met: Option<bool>,
    /// The largest rate that met the service level, if a search found one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub found_rate: Option<f64>,
    /// True if the run was ended early.
    pub interrupted: bool,
}

/// The server that was measured.
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
    /// Its file or folder.
    pub model: String,
    /// The engine.
    pub engine: &'static str,
    /// Its inputs.
    pub inputs: Vec<TensorSpec>,
}
