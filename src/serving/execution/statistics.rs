//! The cumulative figures of a runner in Triton's terms: counts and times, in total and for each size of
//! run. Only clients' requests are counted. Plain atomics, written beside the metric handles on every request.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::Serialize;

use crate::metrics::Stages;

/// Runs of up to this many samples are counted without a lock; one of more takes so long that a lock
/// does not matter.
const SMALL_RUN: usize = 64;

/// A count of events and the time that they took in all.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Timed {
    /// The count.
    pub count: u64,
    /// Nanoseconds in all.
    pub ns: u64,
}

/// The runs of one size.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RunStatistics {
    /// Samples in each of them.
    pub batch_size: usize,
    /// Joining the samples of several requests.
    pub compute_input: Timed,
    /// The model itself.
    pub compute_infer: Timed,
    /// Giving each request its own outputs.
    pub compute_output: Timed,
}

/// All figures at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// When the last request was answered, in milliseconds of Unix time; 0 if none was.
    pub last_inference_ms: u64,
    /// Samples that the model computed.
    pub inference_count: u64,
    /// Runs of the model.
    pub execution_count: u64,
    /// Requests answered, from their submission.
    pub success: Timed,
    /// Requests that ended in any other way.
    pub fail: Timed,
    /// Waiting for a compute thread.
    pub queue: Timed,
    /// Bytes to tensor.
    pub compute_input: Timed,
    /// The model itself.
    pub compute_infer: Timed,
    /// Tensor to answer.
    pub compute_output: Timed,
    /// Answers found in the response cache, by the time of looking.
    pub cache_hit: Timed,
    /// Answers not found there, by the time of looking and of keeping them.
    pub cache_miss: Timed,
    /// By size, ascending.
    pub runs: Vec<RunStatistics>,
}

#[derive(Debug, Default)]
struct Timer {
    count: AtomicU64,
    ns: AtomicU64,
}

impl Timer {
    fn add(&self, elapsed: Duration) {
        self.count.fetch_add(1, Ordering::Relaxed);
        self.extend(elapsed);
    }

    /// More time for what was counted already.
    fn extend(&self, elapsed: Duration) {
        self.ns.fetch_add(nanoseconds(elapsed), Ordering::Relaxed);
    }

    fn get(&self) -> Timed {
        Timed { count: self.count.load(Ordering::Relaxed), ns: self.ns.load(Ordering::Relaxed) }
    }
}

fn nanoseconds(elapsed: Duration) -> u64 {
    u64::try_from(elapsed.as_nanos()).unwrap_or(u64::MAX)
}

/// The times of the runs of one small size; they share their count.
#[derive(Debug, Default)]
struct RunTimer {
    infer: Timer,
    input_ns: AtomicU64,
    output_ns: AtomicU64,
}

impl RunTimer {
    fn get(&self, batch_size: usize) -> RunStatistics {
        let compute_infer = self.infer.get();
        let beside = |ns: &AtomicU64| Timed { count: compute_infer.count, ns: ns.load(Ordering::Relaxed) };
        let (compute_input, compute_output) = (beside(&self.input_ns), beside(&self.output_ns));
        RunStatistics { batch_size, compute_input, compute_infer, compute_output }
    }
}

/// An answered request.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Success {
    pub(crate) samples: usize,
    pub(crate) stages: Stages,
    /// Set if the response cache had the answer.
    pub(crate) cached: bool,
    /// Making an answer of the outputs.
    pub(crate) output: Duration,
    /// All of it.
    pub(crate) total: Duration,
}

/// The cumulative figures of one runner.
#[derive(Debug)]
pub struct Statistics {
    success: Timer,
    fail: Timer,
    queue: Timer,
    compute_input: Timer,
    compute_infer: Timer,
    compute_output: Timer,
    cache_hit: Timer,
    cache_miss: Timer,
    inferences: AtomicU64,
    executions: AtomicU64,
    last_inference_ms: AtomicU64,
    /// By the number of samples.
    small: Box<[RunTimer]>,
    large: Mutex<BTreeMap<usize, RunTimer>>,
}

impl Default for Statistics {
    fn default() -> Self {
        Self {
            success: Timer::default(),
            fail: Timer::default(),
            queue: Timer::default(),
            compute_input: Timer::default(),
            compute_infer: Timer::default(),
            compute_output: Timer::default(),
            cache_hit: Timer::default(),
            cache_miss: Timer::default(),
            inferences: AtomicU64::default(),
            executions: AtomicU64::default(),
            last_inference_ms: AtomicU64::default(),
            small: (0..=SMALL_RUN).map(|_| RunTimer::default()).collect(),
            large: Mutex::default(),
        }
    }
}

impl Statistics {
    pub(crate) fn succeeded(&self, success: Success) {
        let Success { samples, stages, cached, output, total } = success;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        self.last_inference_ms.store(u64::try_from(now.as_millis()).unwrap_or(u64::MAX), Ordering::Relaxed);
        self.success.add(total);
        self.queue.add(stages.queue);
        if !cached {
            self.compute_input.add(stages.decode);
            self.compute_infer.add(stages.infer);
            self.compute_output.add(output);
            self.inferences.fetch_add(samples as u64, Ordering::Relaxed);
        }
    }

    pub(crate) fn failed(&self, total: Duration) {
        self.fail.add(total);
    }

    /// Writing the answer took longer still.
    pub(crate) fn encoded(&self, elapsed: Duration) {
        self.compute_output.extend(elapsed);
    }

    pub(crate) fn looked_up(&self, found: bool, elapsed: Duration) {
        if found { self.cache_hit.add(elapsed) } else { self.cache_miss.add(elapsed) }
    }

    /// An answer that was not in the cache was put there.
    pub(crate) fn kept(&self, elapsed: Duration) {
        self.cache_miss.extend(elapsed);
    }

    pub(crate) fn ran(&self, samples: usize, elapsed: Duration) {
        self.executions.fetch_add(1, Ordering::Relaxed);
        self.with_run(samples, |run| run.infer.add(elapsed));
    }

    /// Joining several requests for a run, and taking it apart again.
    pub(crate) fn joined(&self, samples: usize, input: Duration, output: Duration) {
        self.with_run(samples, |run| {
            run.input_ns.fetch_add(nanoseconds(input), Ordering::Relaxed);
            run.output_ns.fetch_add(nanoseconds(output), Ordering::Relaxed);
        });
    }

    fn with_run(&self, samples: usize, record: impl FnOnce(&RunTimer)) {
        match self.small.get(samples) {
            Some(run) => record(run),
            None => record(self.large.lock().unwrap_or_else(PoisonError::into_inner).entry(samples).or_default()),
        }
    }

    /// Returns all figures now.
    pub fn snapshot(&self) -> Snapshot {
        let large = self.large.lock().unwrap_or_else(PoisonError::into_inner);
        let runs = self.small.iter().enumerate().chain(large.iter().map(|(size, run)| (*size, run)));
        let runs = runs.map(|(size, run)| run.get(size)).filter(|run| run.compute_infer.count > 0).collect();
        Snapshot {
            last_inference_ms: self.last_inference_ms.load(Ordering::Relaxed),
            inference_count: self.inferences.load(Ordering::Relaxed),
            execution_count: self.executions.load(Ordering::Relaxed),
            success: self.success.get(),
            fail: self.fail.get(),
            queue: self.queue.get(),
            compute_input: self.compute_input.get(),
            compute_infer: self.compute_infer.get(),
            compute_output: self.compute_output.get(),
            cache_hit: self.cache_hit.get(),
            cache_miss: self.cache_miss.get(),
            runs,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const US: Duration = Duration::from_micros(1);

    #[test]
    fn a_cached_answer_counts_as_success_and_not_as_computation() {
        let statistics = Statistics::default();
        let stages = Stages { decode: US, queue: US * 2, infer: US * 3 };
        let success = Success { samples: 4, stages, cached: false, output: US * 5, total: US * 11 };
        statistics.succeeded(success);
        statistics.succeeded(Success { cached: true, ..success });
        statistics.encoded(US);
        statistics.failed(US);
        let now = statistics.snapshot();
        assert_eq!((now.success.count, now.success.ns), (2, 22_000));
        assert_eq!((now.queue.count, now.queue.ns), (2, 4_000));
        assert_eq!((now.compute_infer.count, now.compute_infer.ns), (1, 3_000));
        assert_eq!((now.compute_output.count, now.compute_output.ns), (1, 6_000));
        assert_eq!((now.inference_count, now.fail.count), (4, 1));
        assert!(now.last_inference_ms > 1_600_000_000_000);
    }

    #[test]
    fn runs_are_kept_apart_by_size_however_large() {
        let statistics = Statistics::default();
        for size in [1, 1000, 64, 65, 1000] {
            statistics.ran(size, US);
        }
        statistics.joined(64, US * 2, US * 3);
        let now = statistics.snapshot();
        let counts: Vec<_> = now.runs.iter().map(|run| (run.batch_size, run.compute_infer.count)).collect();
        assert_eq!(counts, [(1, 1), (64, 1), (65, 1), (1000, 2)]);
        assert_eq!((now.runs[1].compute_input, now.runs[1].compute_output.ns), (Timed { count: 1, ns: 2_000 }, 3_000));
        assert_eq!(now.execution_count, 5);
    }
}
