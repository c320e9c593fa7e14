//! The counters and histograms of one generator thread, and their sum over threads.

use std::time::Instant;

use super::connection::{Failure, Outcome};
use super::latencies::Latencies;
use crate::error::Result;

/// Status codes have three digits.
const STATUSES: usize = 1000;
/// The length of the excerpt of an answer that is not 2xx.
const EXCERPT_BYTES: usize = 200;

/// The measured time. Requests that are meant to start in it count.
#[derive(Debug, Clone, Copy)]
pub(super) struct Window {
    /// The end of the warm-up.
    pub(super) start: Instant,
    /// Absent when a number of requests ends the step.
    pub(super) end: Option<Instant>,
}

/// The moments of one request.
#[derive(Debug, Clone, Copy)]
pub(super) struct Moments {
    /// The intended start: the arrival in an open loop, else the moment of sending.
    pub(super) intended: Instant,
    pub(super) sent: Instant,
    pub(super) done: Instant,
}

/// The counters and histograms of a step.
#[derive(Debug)]
pub(super) struct Tally {
    window: Window,
    /// Latencies of good answers.
    pub(super) good: Latencies,
    /// Delays from the intended start to sending.
    pub(super) delay: Latencies,
    pub(super) statuses: Vec<u64>,
    /// Requests without an answer, indexed by [`Failure`].
    pub(super) failures: [u64; 4],
    /// Answers that came within the window, even to requests of the warm-up.
    pub(super) answers_in_window: u64,
    pub(super) good_in_window: u64,
    pub(super) sent_bytes: u64,
    pub(super) received_bytes: u64,
    /// The end of the last request.
    pub(super) last: Option<Instant>,
    /// The answer to the first request that failed, or the error that it failed with.
    pub(super) first_problem: Option<String>,
    /// Requests that were due and never sent.
    pub(super) unsent: u64,
    /// Requests under way when the run was stopped.
    pub(super) unfinished: u64,
    pub(super) backlog_max: u64,
    pub(super) connections_opened: u64,
}

impl Tally {
    pub(super) fn new(window: Window) -> Result<Self> {
        Ok(Self {
            window,
            good: Latencies::new()?,
            delay: Latencies::new()?,
            statuses: vec![0; STATUSES],
            failures: [0; 4],
            answers_in_window: 0,
            good_in_window: 0,
            sent_bytes: 0,
            received_bytes: 0,
            last: None,
            first_problem: None,
            unsent: 0,
            unfinished: 0,
            backlog_max: 0,
            connections_opened: 0,
        })
    }

    /// Returns true if requests that start at this moment count.
    pub(super) fn measures(&self, start: Instant) -> bool {
        start >= self.window.start
    }

    /// Records a request. Returns true if its answer was 2xx.
    pub(super) fn record(&mut self, at: Moments, sent_bytes: u64, outcome: Outcome) -> bool {
        let good = matches!(outcome, Outcome::Answer { status: 200..=299, .. });
        let answered = matches!(outcome, Outcome::Answer { .. });
        if answered && at.done >= self.window.start && self.window.end.is_none_or(|end| at.done <= end) {
            self.answers_in_window += 1;
            self.good_in_window += u64::from(good);
        }
        if !self.measures(at.intended) {
            return good;
        }
        self.last = self.last.max(Some(at.done));
        self.delay.record(at.sent.saturating_duration_since(at.intended));
        self.sent_bytes += sent_bytes;
        if good {
            self.good.record(at.done.saturating_duration_since(at.intended));
        }
        match outcome {
            Outcome::Answer { status, received, excerpt } => {
                self.received_bytes += received;
                self.statuses[usize::from(status) % STATUSES] += 1;
                if !good && self.first_problem.is_none() {
                    let body = excerpt.unwrap_or_default();
                    let text = String::from_utf8_lossy(&body[..body.len().min(EXCERPT_BYTES)]);
                    self.first_problem = Some(format!("status {status}: {}", printable(&text)));
                }
            }
            Outcome::Failed(failure, what) => {
                self.failures[failure as usize] += 1;
                self.first_problem.get_or_insert(what);
            }
        }
        good
    }

    /// Returns the number of requests that failed in this way.
    pub(super) fn failed(&self, failure: Failure) -> u64 {
        self.failures[failure as usize]
    }

    /// Adds the figures of another thread.
    pub(super) fn merge(&mut self, other: Self) -> Result<()> {
        self.good.merge(&other.good)?;
        self.delay.merge(&other.delay)?;
        let add = |ours: &mut [u64], theirs: &[u64]| ours.iter_mut().zip(theirs).for_each(|(a, b)| *a += b);
        add(&mut self.statuses, &other.statuses);
        add(&mut self.failures, &other.failures);
        self.answers_in_window += other.answers_in_window;
        self.good_in_window += other.good_in_window;
        self.sent_bytes += other.sent_bytes;
        self.received_bytes += other.received_bytes;
        self.last = self.last.max(other.last);
        self.first_problem = self.first_problem.take().or(other.first_problem);
        self.unsent += other.unsent;
        self.unfinished += other.unfinished;
        // The shares of the schedule have their own backlogs at the same time.
        self.backlog_max += other.backlog_max;
        self.connections_opened += other.connections_opened;
        Ok(())
    }
}

/// Returns a server's text without control characters, which a terminal would obey.
fn printable(text: &str) -> String {
    text.trim().chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn answer(status: u16) -> Outcome {
        Outcome::Answer { status, received: 10, excerpt: (status != 200).then(|| "no\x1b[2J".into()) }
    }

    #[test]
    fn what_starts_in_the_window_is_measured_and_what_ends_in_it_is_throughput() {
        let zero = Instant::now();
        let at = |intended: u64, done: u64| Moments {
            intended: zero + Duration::from_millis(intended),
            sent: zero + Duration::from_millis(intended + 1),
            done: zero + Duration::from_millis(done),
        };
        let window = Window { start: at(100, 0).intended, end: Some(at(200, 0).intended) };
        let mut tally = Tally::new(window).unwrap();
        for (moments, outcome) in [
            (at(50, 90), answer(200)),
            (at(90, 110), answer(200)),
            (at(110, 120), answer(200)),
            (at(120, 130), answer(503)),
            (at(190, 230), answer(200)),
            (at(195, 199), Outcome::Failed(Failure::Reset, "gone".into())),
        ] {
            tally.record(moments, 5, outcome);
        }
        assert_eq!((tally.good.len(), tally.statuses[200], tally.statuses[503]), (2, 2, 1));
        assert_eq!((tally.failed(Failure::Reset), tally.failed(Failure::Timeout)), (1, 0));
        assert_eq!((tally.answers_in_window, tally.good_in_window), (3, 2));
        assert_eq!((tally.sent_bytes, tally.received_bytes), (20, 30));
        assert_eq!(tally.last, Some(at(0, 230).done));
        assert_eq!(tally.first_problem.as_deref(), Some("status 503: no [2J"));
        let mut sum = Tally::new(window).unwrap();
        sum.merge(tally).unwrap();
        assert_eq!((sum.good.len(), sum.delay.len(), sum.statuses[503]), (2, 4, 1));
    }
}
