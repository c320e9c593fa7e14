//! The most arithmetic that one thread of this machine does.

use std::time::{Duration, Instant};

use tract_onnx::tract_hir::internal::*;

use super::pointwise::Pointwise;
use crate::simd::lanes;

/// The channels of the product. Its inputs stay in the nearest cache.
const CHANNELS: usize = 128;
/// The vectors of pixels of the product.
const VECTORS: usize = 24;
/// The measured time, of which the fastest run counts, and the fewest runs.
const MEASURED: Duration = Duration::from_millis(50);
const RUNS: usize = 20;

/// Measures the floating point operations per second of a small matrix product on this thread.
pub(in crate::engine) fn peak() -> TractResult<f64> {
    let product =
        Pointwise::new(1, (CHANNELS, CHANNELS), |output, input| ((output * 7 + input * 3) % 16) as f32 / 16.0);
    let pixels = VECTORS * lanes();
    let maps = tensor0(0.5f32).broadcast_scalar_to_shape(&[1, CHANNELS, pixels])?.into_tvalue();
    let mut fastest = f64::INFINITY;
    let (first, mut runs) = (Instant::now(), 0);
    while runs < RUNS || first.elapsed() < MEASURED {
        let begun = Instant::now();
        product.eval(&EvalContext::out_of_plan(), tvec!(maps.clone()))?;
        fastest = fastest.min(begun.elapsed().as_secs_f64());
        runs += 1;
    }
    Ok(2.0 * (CHANNELS * CHANNELS * pixels) as f64 / fastest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_peak_is_a_rate_of_this_world() {
        let peak = peak().unwrap();
        assert!((1e6..1e13).contains(&peak), "{peak}");
    }
}
