//! The other engine, measured: it takes over when it gives the same answers and is clearly faster.

use crate::config::EngineChoice;
use crate::engine::{EngineKind, Plan, Session, zeros};
use crate::error::Result;
use crate::repository::VersionFiles;
use crate::serving::execution::tuning::BatchCost;
use crate::serving::lifecycle::engines::Candidates;
use crate::serving::servable::{Answering, Servable};
use crate::tensor::{Data, Tensor};
use crate::transform::PolarityChoice;

/// The share of the present engine's cost that the other may have at the most to take over.
const CLEARLY: f64 = 0.9;

/// How far two engines may be apart, absolutely and relative to the number: kernels round differently.
const TOLERANCE: f64 = 1e-3;

/// Golden examples that are compared, and samples of the made-up batches.
const GOLDEN: usize = 8;
const BATCHES: [usize; 2] = [1, 3];

/// Loads the version in the engine that does not run it now, if there is one and it agrees.
///
/// # Errors
/// What is wrong with the file or the engine, in words for the log.
pub(crate) fn agreeing_plan(candidates: &Candidates, servable: &Servable, max_bytes: u64) -> Result<Option<Plan>> {
    if servable.choice != EngineChoice::Auto
        || servable.tuning().engine != EngineKind::Tract
        || candidates.engines.onnxruntime().is_err()
    {
        return Ok(None);
    }
    let files = VersionFiles::read_named(&servable.files, &servable.model_file, max_bytes)?;
    if files.onnx_sha256 != servable.onnx_sha256 {
        tracing::debug!(model = servable.name.as_str(), file = servable.model_file, "has changed since it was loaded");
        return Ok(None);
    }
    let plan = candidates.load(EngineKind::OnnxRuntime, &files.onnx, &files.onnx_sha256)?;
    let runtime = servable.runtime.load_full();
    if plan.signature() != runtime.plan().signature() {
        tracing::info!(model = servable.name.as_str(), "the engines see different signatures; tract goes on");
        return Ok(None);
    }
    let mut other = plan.session()?;
    let of_graph = |output| servable.facing.as_ref().map_or(output, |facing| facing.graph_output(output));
    let probabilities = servable.answering.and_then(Answering::probabilities).map(of_graph);
    for inputs in samples(servable)? {
        let ours = runtime.with(|session| session.run(&inputs))?;
        let theirs = other.run(&inputs)?;
        if !agree(&ours, &theirs, probabilities) {
            tracing::warn!(model = servable.name.as_str(), "the engines disagree; tract goes on");
            return Ok(None);
        }
    }
    Ok(Some(plan))
}

/// Whether the second list of costs is clearly the better one: by the geometric mean of what a lone
/// sample costs and what one costs in the best batch.
pub(crate) fn is_better(present: &[BatchCost], other: &[BatchCost]) -> bool {
    let score = |costs: &[BatchCost]| {
        let single = costs.first().map_or(f64::INFINITY, |cost| cost.microseconds / cost.batch as f64);
        let best = costs.iter().map(|cost| cost.microseconds / cost.batch as f64).fold(f64::INFINITY, f64::min);
        (single * best).sqrt()
    };
    score(other) < score(present) * CLEARLY
}

/// A session for each compute thread, each of which has run.
///
/// # Errors
/// What the model fails with.
pub(crate) fn warm(plan: &Plan, count: usize) -> Result<Vec<Session>> {
    let zeros = zeros(plan.signature(), 1)?;
    let warm = |_| {
        let mut session = plan.session()?;
        session.run(&zeros).map(|_| session)
    };
    (0..count.max(1)).map(warm).collect()
}

/// The inputs on which engines are compared: the golden examples, and batches of made-up numbers.
fn samples(servable: &Servable) -> Result<Vec<Vec<Tensor>>> {
    let golden = servable.manifest.as_ref().map_or(&[][..], |manifest| &manifest.golden);
    let decode = |example: &crate::repository::Golden| {
        let input = crate::serving::lifecycle::load::sample(&example.input, &servable.signature)?;
        Ok(servable.decode(input, PolarityChoice::Auto)?.0)
    };
    let mut samples = golden.iter().take(GOLDEN).map(decode).collect::<Result<Vec<_>>>()?;
    for batch in BATCHES {
        let fill = |tensor: Tensor| match tensor.data() {
            Data::Float32(elements) => {
                // A linear congruential generator: any numbers from 0 to 1 will do.
                let numbers = (0..elements.len() as u32).map(|index| {
                    (index.wrapping_mul(1_664_525).wrapping_add(1_013_904_223) >> 8) as f32 / 16_777_216.0
                });
                Tensor::new(tensor.shape().to_vec(), numbers.collect::<Vec<f32>>())
            }
            _ => Ok(tensor),
        };
        samples.push(servable.zeros(batch)?.into_iter().map(fill).collect::<Result<_>>()?);
    }
    Ok(samples)
}

fn agree(ours: &[Tensor], theirs: &[Tensor], probabilities: Option<usize>) -> bool {
    let close = |a: f64, b: f64| (a - b).abs() <= TOLERANCE * (1.0 + a.abs()) || (a.is_nan() && b.is_nan()) || a == b;
    let same = |(a, b): (&Tensor, &Tensor)| {
        a.shape() == b.shape()
            && match (a.data(), b.data()) {
                (Data::Float32(a), Data::Float32(b)) => a.iter().zip(b).all(|(a, b)| close((*a).into(), (*b).into())),
                (Data::Float64(a), Data::Float64(b)) => a.iter().zip(b).all(|(a, b)| close(*a, *b)),
                (Data::Float16(a), Data::Float16(b)) => a.iter().zip(b).all(|(a, b)| close((*a).into(), (*b).into())),
                (a, b) => a == b,
            }
    };
    let best = |outputs: &[Tensor], output: usize| {
        let best = |row: &[f32]| row.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1)).map(|(class, _)| class);
        outputs[output].float_rows().map(|rows| rows.map(best).collect::<Vec<_>>()).unwrap_or_default()
    };
    ours.len() == theirs.len()
        && ours.iter().zip(theirs).all(same)
        && probabilities.is_none_or(|output| best(ours, output) == best(theirs, output))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn costs(costs: &[(usize, f64)]) -> Vec<BatchCost> {
        costs.iter().map(|&(batch, microseconds)| BatchCost { batch, microseconds }).collect()
    }

    #[test]
    fn only_a_clearly_faster_engine_takes_over() {
        let tract = costs(&[(1, 277.0), (32, 9000.0)]);
        assert!(is_better(&tract, &costs(&[(1, 94.0), (32, 2400.0)])));
        assert!(!is_better(&tract, &costs(&[(1, 270.0), (32, 9000.0)])));
        assert!(!is_better(&costs(&[(1, 6.5), (32, 86.0)]), &costs(&[(1, 8.4), (32, 67.0)])));
        assert!(!is_better(&tract, &[]));
    }

    #[test]
    fn engines_agree_when_every_output_is_close_and_no_answer_differs() {
        let row = |numbers: &[f32]| vec![Tensor::new(vec![1, numbers.len()], numbers.to_vec()).unwrap()];
        assert!(agree(&row(&[0.1, 0.9]), &row(&[0.1004, 0.8996]), Some(0)));
        assert!(!agree(&row(&[0.1, 0.9]), &row(&[0.2, 0.8]), Some(0)));
        assert!(!agree(&row(&[0.4999, 0.5001]), &row(&[0.5001, 0.4999]), Some(0)));
        assert!(agree(&row(&[0.4999, 0.5001]), &row(&[0.5001, 0.4999]), None));
        assert!(!agree(&row(&[0.1, 0.9]), &row(&[0.1]), None));
        assert!(!agree(&row(&[0.1]), &[Tensor::new(vec![1, 1], vec![0i64]).unwrap()], None));
    }
}
