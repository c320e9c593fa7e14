//! Batch forming: a pure function of the queue, the policy and the time.
//!
//! The meaning of the settings is Triton's: a batch is run when it is full, when it has a preferred
//! size, when the oldest request in it has waited for the delay, or at once if there is no delay.

use std::time::{Duration, Instant};

/// The rules by which requests are put together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BatchPolicy {
    /// The most samples in one run. A single request of more is run as it is.
    pub(crate) max_samples: usize,
    /// The longest that a request waits for others; with zero, a free thread runs whatever waits.
    pub(crate) max_delay: Duration,
    /// Sizes that run without waiting any longer, ascending.
    pub(crate) preferred: Vec<usize>,
}

impl BatchPolicy {
    /// Returns the policy by which every request runs by itself.
    pub(crate) fn single() -> Self {
        Self { max_samples: 1, max_delay: Duration::ZERO, preferred: Vec::new() }
    }
}

/// A request, as far as batch forming depends on it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Candidate<'a> {
    /// Its samples.
    pub(crate) rows: usize,
    /// The shape of a sample, where requests may differ in it.
    pub(crate) shape: &'a [usize],
    /// The moment at which its wait began.
    pub(crate) submitted: Instant,
}

/// The decision on a queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Decision {
    /// Run this many requests from the front of the queue as one batch.
    Run(usize),
    /// Decide again at this moment, or when a request arrives.
    WaitUntil(Instant),
    /// Nothing waits.
    Idle,
}

/// Decides on the requests of one queue, which come in the order in which they will run. Requests are
/// kept whole, never reordered, and never joined with one of another sample shape.
pub(crate) fn form<'a>(mut queue: impl Iterator<Item = Candidate<'a>>, policy: &BatchPolicy, now: Instant) -> Decision {
    let Some(first) = queue.next() else { return Decision::Idle };
    let (mut count, mut rows, mut oldest) = (1, first.rows, first.submitted);
    let mut preferred = (policy.preferred.contains(&rows)).then_some(count);
    let mut is_closed = rows >= policy.max_samples;
    for next in queue {
        if is_closed {
            break;
        }
        if next.shape != first.shape || rows + next.rows > policy.max_samples {
            is_closed = true;
            break;
        }
        count += 1;
        rows += next.rows;
        oldest = oldest.min(next.submitted);
        if policy.preferred.contains(&rows) {
            preferred = Some(count);
        }
        is_closed = rows >= policy.max_samples;
    }
    let waited_until = oldest + policy.max_delay;
    match preferred {
        _ if is_closed || waited_until <= now => Decision::Run(count),
        Some(count) => Decision::Run(count),
        None => Decision::WaitUntil(waited_until),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn up_to(max_samples: usize) -> BatchPolicy {
        BatchPolicy { max_samples, ..BatchPolicy::single() }
    }

    fn decide(rows: &[usize], max_samples: usize, delay_ms: u32, preferred: &[usize], waited_ms: u32) -> Decision {
        let submitted = Instant::now();
        let policy = BatchPolicy { max_samples, max_delay: MS * delay_ms, preferred: preferred.into() };
        let queue = rows.iter().map(|&rows| Candidate { rows, shape: &[], submitted });
        match form(queue, &policy, submitted + MS * waited_ms) {
            Decision::WaitUntil(time) => {
                assert_eq!(time, submitted + policy.max_delay);
                Decision::WaitUntil(time)
            }
            other => other,
        }
    }

    #[test]
    fn triton_s_rules_hold() {
        assert_eq!(decide(&[], 8, 0, &[], 0), Decision::Idle);
        assert_eq!(decide(&[1, 1, 1], 8, 0, &[], 0), Decision::Run(3), "no delay: what is there");
        assert!(matches!(decide(&[1, 1, 1], 8, 5, &[], 4), Decision::WaitUntil(_)), "a delay: wait for more");
        assert_eq!(decide(&[1, 1, 1], 8, 5, &[], 5), Decision::Run(3), "the delay has passed");
        assert_eq!(decide(&[4, 4, 1], 8, 5, &[], 0), Decision::Run(2), "full");
        assert_eq!(decide(&[4, 3, 2], 8, 5, &[], 0), Decision::Run(2), "the next does not fit: whole or not at all");
        assert_eq!(decide(&[9], 8, 5, &[], 0), Decision::Run(1), "a request larger than a batch");
        assert_eq!(decide(&[1, 1, 1], 8, 5, &[2], 0), Decision::Run(2), "a preferred size");
        assert_eq!(decide(&[1; 7], 8, 5, &[2, 4], 0), Decision::Run(4), "the largest preferred size");
        assert!(matches!(decide(&[1], 8, 5, &[2], 0), Decision::WaitUntil(_)), "less than a preferred size");
        assert_eq!(decide(&[1, 1, 1], 1, 5, &[], 0), Decision::Run(1), "no batching");
    }

    #[test]
    fn another_shape_closes_the_batch() {
        let now = Instant::now();
        let candidate = |shape| Candidate { rows: 1, shape, submitted: now };
        let queue = [candidate(&[3][..]), candidate(&[3]), candidate(&[4]), candidate(&[3])];
        let policy = BatchPolicy { max_delay: MS, ..up_to(8) };
        assert_eq!(form(queue.into_iter(), &policy, now), Decision::Run(2));
    }

    #[test]
    fn the_oldest_request_sets_the_time_wherever_priority_put_it() {
        let now = Instant::now();
        let queue = [(now + MS), now].map(|submitted| Candidate { rows: 1, shape: &[], submitted });
        let policy = BatchPolicy { max_delay: MS * 5, ..up_to(8) };
        assert_eq!(form(queue.into_iter(), &policy, now), Decision::WaitUntil(now + MS * 5));
    }

    proptest! {
        #[test]
        fn a_batch_is_never_too_large_and_a_full_queue_never_waits(
            rows in prop::collection::vec(1usize..6, 1..20),
            max_samples in 1usize..16,
            delay in 0u32..3,
        ) {
            match decide(&rows, max_samples, delay, &[], 0) {
                Decision::Run(count) => {
                    let taken: usize = rows[..count].iter().sum();
                    prop_assert!(taken <= max_samples || count == 1);
                    prop_assert!(delay == 0 || count < rows.len() || taken >= max_samples);
                }
                Decision::WaitUntil(_) => {
                    prop_assert!(delay > 0 && rows.iter().sum::<usize>() < max_samples);
                }
                Decision::Idle => prop_assert!(false),
            }
        }
    }
}
