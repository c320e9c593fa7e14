//! What executes a graph. Knows tensors and signatures, nothing of transforms, files or protocols.
//!
//! A [`Plan`] is immutable and shared by all threads; each thread runs it through a [`Session`] of
//! its own, because the engine's working memory is per session and is worth keeping.

mod tract;

use std::time::{Duration, Instant};

pub use tract::{Plan, Session};

use crate::error::Result;
use crate::tensor::Tensor;

/// The name of the engine in logs and documents.
pub const ENGINE: &str = "tract";

/// Runs of [`measure`]: the first ones warm caches, the median of the rest is the cost. A model so
/// slow that they would keep it from serving gets fewer.
const WARM_RUNS: usize = 5;
const TIMED_RUNS: usize = 15;
const TIME_LIMIT: Duration = Duration::from_millis(50);

/// Runs a batch of zeros until the session is warm and returns the median time of a run.
///
/// # Errors
/// Whatever the model fails with: a version that cannot run zeros is not fit to serve.
pub fn measure(session: &mut Session, sample: &[usize], batch: usize) -> Result<Duration> {
    let shape: Vec<usize> = std::iter::once(batch).chain(sample.iter().copied()).collect();
    let input = Tensor::new(shape.clone(), vec![0.0; shape.iter().product()])?;
    let begun = Instant::now();
    let mut times = Vec::with_capacity(TIMED_RUNS);
    for run in 0..WARM_RUNS + TIMED_RUNS {
        let start = Instant::now();
        session.run(&input)?;
        if run >= WARM_RUNS || begun.elapsed() > TIME_LIMIT {
            times.push(start.elapsed());
        }
        if begun.elapsed() > TIME_LIMIT && !times.is_empty() {
            break;
        }
    }
    times.sort_unstable();
    Ok(times[times.len() / 2])
}
