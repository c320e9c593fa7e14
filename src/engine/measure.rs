//! Measures the cost of a run on this machine.

use std::time::{Duration, Instant};

use super::Session;
use crate::error::Result;
use crate::signature::{Dim, Signature};
use crate::tensor::Tensor;

/// The runs of [`measure`]: the first ones warm the caches, the median of the others is the cost. A
/// slow model gets fewer runs, so that measuring does not delay serving.
const WARM_RUNS: usize = 5;
const TIMED_RUNS: usize = 15;
const TIME_LIMIT: Duration = Duration::from_millis(50);

/// Returns inputs of zeros for a batch of `batch` samples. A dimension that each request may choose is 1.
///
/// # Errors
/// [`crate::error::Error::InvalidInput`] when the number of elements of an input overflows.
pub fn zeros(signature: &Signature, batch: usize) -> Result<Vec<Tensor>> {
    let size = |dim: &Dim| match dim {
        Dim::Fixed(size) => *size,
        dim if dim.is_batch() => batch,
        Dim::Symbol(_) => 1,
    };
    let input = |spec: &crate::signature::TensorSpec| Tensor::zeros(spec.dtype, spec.shape.iter().map(size).collect());
    signature.inputs.iter().map(input).collect()
}

/// Runs `inputs` until the session is warm and returns the median time of a run.
///
/// # Errors
/// The failure of the model. A version that cannot run on zeros is not fit to serve.
pub fn measure(session: &mut Session, inputs: &[Tensor]) -> Result<Duration> {
    let begun = Instant::now();
    let mut times = Vec::with_capacity(TIMED_RUNS);
    for run in 0..WARM_RUNS + TIMED_RUNS {
        let start = Instant::now();
        session.run(inputs)?;
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
