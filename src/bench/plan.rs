//! One step of a run: its load, its length, and counters to watch it by.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde::Serialize;

use super::arrivals::Pattern;
use super::search::{MAX_RATE, MIN_RATE};
use crate::error::{Error, Result};

/// More connections than this are refused.
pub const MAX_CONNECTIONS: usize = 10_000;
/// Longer steps are refused.
pub const MAX_DURATION: Duration = Duration::from_secs(24 * 3600);
/// More generator threads than this are refused.
pub const MAX_THREADS: usize = 256;

/// The rule by which requests start.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(tag = "mode", rename_all = "lowercase")]
pub enum Load {
    /// Closed loop: each connection sends its next request when it has received an answer.
    Closed {
        /// Connections, each always busy.
        connections: usize,
    },
    /// Open loop: requests start by a schedule.
    Open {
        /// Requests per second.
        rate: f64,
        /// Their spacing.
        arrivals: Pattern,
        /// The largest number of connections; each is opened when it is needed.
        connections: usize,
    },
}

impl Load {
    /// Returns the largest number of connections.
    pub fn connections(&self) -> usize {
        match self {
            Self::Closed { connections } | Self::Open { connections, .. } => *connections,
        }
    }
}

/// One step: a load for a time.
#[derive(Debug, Clone, PartialEq)]
pub struct StepPlan {
    /// The load.
    pub load: Load,
    /// Time before the measurement.
    pub warmup: Duration,
    /// Measured time; absent if `requests` alone ends the step.
    pub duration: Option<Duration>,
    /// Measured requests after which the step ends.
    pub requests: Option<u64>,
    /// Limit for one request, connecting included.
    pub timeout: Duration,
    /// Generator threads.
    pub threads: usize,
    /// Seed of Poisson arrivals.
    pub seed: u64,
}

impl StepPlan {
    /// Checks the bounds.
    ///
    /// # Errors
    /// [`Error::Config`] naming the option, the expected value and the given one.
    pub fn validate(&self) -> Result<()> {
        let check = |setting: &str, fits: bool, expected: String, got: String| {
            if fits {
                return Ok(());
            }
            Err(Error::Config { setting: setting.into(), problem: format!("expected {expected}, got {got}") })
        };
        let count = |setting, value: usize, limit: usize| {
            check(setting, (1..=limit).contains(&value), format!("1 to {limit}"), value.to_string())
        };
        count("--connections", self.load.connections(), MAX_CONNECTIONS)?;
        count("--threads", self.threads, MAX_THREADS)?;
        if let Load::Open { rate, .. } = self.load {
            let fits = (MIN_RATE..=MAX_RATE).contains(&rate);
            check("--rate", fits, format!("{MIN_RATE} to {MAX_RATE} requests a second"), rate.to_string())?;
        }
        let span = |setting, value: Duration, least: Duration| {
            let expected = format!("{least:?} to {MAX_DURATION:?}");
            check(setting, value >= least && value <= MAX_DURATION, expected, format!("{value:?}"))
        };
        span("--warmup", self.warmup, Duration::ZERO)?;
        span("--timeout", self.timeout, Duration::from_millis(1))?;
        self.duration.map_or(Ok(()), |duration| span("--duration", duration, Duration::from_millis(1)))?;
        match (self.requests, self.duration) {
            (Some(0), _) => check("--requests", false, "at least 1".into(), "0".into()),
            (None, None) => check("--duration", false, "an end: --duration or --requests".into(), "neither".into()),
            _ => Ok(()),
        }
    }
}

/// Counters to watch while a step runs.
#[derive(Debug, Default)]
pub struct Live {
    done: AtomicU64,
    failed: AtomicU64,
}

impl Live {
    pub(super) fn count(&self, good: bool) {
        self.done.fetch_add(1, Ordering::Relaxed);
        if !good {
            self.failed.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Returns the number of requests that have ended so far, warm-up included.
    pub fn done(&self) -> u64 {
        self.done.load(Ordering::Relaxed)
    }

    /// Returns the number of these that got no 2xx answer.
    pub fn failed(&self) -> u64 {
        self.failed.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plans_out_of_bounds_are_refused_by_the_name_of_the_option() {
        let plan = || StepPlan {
            load: Load::Closed { connections: 1 },
            warmup: Duration::ZERO,
            duration: Some(Duration::from_secs(1)),
            requests: None,
            timeout: Duration::from_secs(1),
            threads: 1,
            seed: 0,
        };
        plan().validate().unwrap();
        let open = |rate| Load::Open { rate, arrivals: Pattern::Constant, connections: 1 };
        let cases: [(&str, StepPlan); 9] = [
            ("--connections", StepPlan { load: Load::Closed { connections: 0 }, ..plan() }),
            ("--connections", StepPlan { load: Load::Closed { connections: MAX_CONNECTIONS + 1 }, ..plan() }),
            ("--rate", StepPlan { load: open(0.5), ..plan() }),
            ("--rate", StepPlan { load: open(f64::NAN), ..plan() }),
            ("--rate", StepPlan { load: open(1e7), ..plan() }),
            ("--threads", StepPlan { threads: 0, ..plan() }),
            ("--requests", StepPlan { requests: Some(0), ..plan() }),
            ("--duration", StepPlan { duration: None, ..plan() }),
            ("--timeout", StepPlan { timeout: Duration::ZERO, ..plan() }),
        ];
        for (option, plan) in cases {
            let said = plan.validate().unwrap_err().to_string();
            assert!(said.contains(option), "{option}: {said}");
        }
    }
}
