//! Engine comparison: the other engine takes over when it gives the same answers and is clearly faster.

use super::engines::{Candidates, Tried};
use super::examples;
use crate::config::EngineChoice;
use crate::engine::EngineKind;
use crate::error::Result;
use crate::repository::{Golden, VersionFiles};
use crate::serving::execution::BatchCost;
use crate::serving::servable::{Answering, Part, Servable};
use crate::tensor::{Data, Tensor};
use crate::transform::PolarityChoice;

/// The largest share of the present engine's cost at which the other takes over.
const CLEARLY: f64 = 0.9;

/// The largest difference between two engines, absolute and relative to the number: kernels round differently.
const TOLERANCE: f64 = 1e-3;

/// The golden examples that are compared, and the sizes of the made-up batches.
const GOLDEN: usize = 8;
const BATCHES: [usize; 2] = [1, 3];

/// Loads a part of a version in the engine that does not run it now, if there is one and it agrees.
///
/// # Errors
/// The fault of the file or the engine, in words for the log.
pub(super) fn agreeing_plan(
    candidates: &Candidates,
    servable: &Servable,
    part: Part,
    max_bytes: u64,
) -> Result<Option<Tried>> {
    let runner = servable.runner(part)?;
    let (model, source) = (servable.name.as_str(), runner.source());
    if source.choice != EngineChoice::Auto
        || runner.tuning().engine != EngineKind::Tract
        || candidates.engines.onnxruntime().is_err()
    {
        return Ok(None);
    }
    let files = VersionFiles::read_named(&source.files, &source.file, max_bytes)?;
    if files.onnx_sha256 != source.sha256 {
        tracing::debug!(model, file = source.file, "has changed since it was loaded");
        return Ok(None);
    }
    let candidates = Candidates { hints: source.hints.clone(), ..candidates.clone() };
    let tried = candidates.load(EngineKind::OnnxRuntime, &files.onnx, &files.onnx_sha256)?;
    let runtime = runner.runtime();
    if tried.plan.signature() != runtime.plan().signature() {
        tracing::info!(model, "the engines see different signatures; tract goes on");
        return Ok(None);
    }
    let mut other = tried.plan.session()?;
    let probabilities = match (part, servable.transforms.answering()) {
        (Part::Model, Answering::Probabilities(output)) => Some(runner.graph_output(*output)),
        (Part::Model, Answering::Value(_) | Answering::Reconstruction(_) | Answering::Outputs) | (Part::Decoder, _) => {
            None
        }
    };
    for inputs in samples(servable, part)? {
        let ours = runtime.with(|session| session.run(&inputs))?;
        let theirs = other.run(&inputs)?;
        if !agree(&ours, &theirs, probabilities) {
            tracing::warn!(model, "the engines disagree; tract goes on");
            return Ok(None);
        }
    }
    Ok(Some(tried))
}

/// Returns true if the second list of costs is clearly the better one, by the geometric mean of the costs of a
/// lone sample and of one in the best batch.
pub(super) fn is_better(present: &[BatchCost], other: &[BatchCost]) -> bool {
    let score = |costs: &[BatchCost]| {
        let single = costs.first().map_or(f64::INFINITY, |cost| cost.microseconds / cost.batch as f64);
        let best = costs.iter().map(|cost| cost.microseconds / cost.batch as f64).fold(f64::INFINITY, f64::min);
        (single * best).sqrt()
    };
    score(other) < score(present) * CLEARLY
}

/// Returns the inputs on which engines are compared: the golden examples, and batches of made-up numbers.
fn samples(servable: &Servable, part: Part) -> Result<Vec<Vec<Tensor>>> {
    let golden = match (part, &servable.manifest) {
        (Part::Model, Some(manifest)) => manifest.golden.as_slice(),
        (Part::Model, None) | (Part::Decoder, _) => &[],
    };
    let decode = |example: &Golden| {
        let input = examples::input(&example.input, servable.signature())?;
        Ok(servable.decode(Part::Model, input, PolarityChoice::Auto)?.0)
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
        let example = servable.runner(part)?.example(batch)?;
        samples.extend(example.map(|inputs| inputs.into_iter().map(fill).collect::<Result<Vec<_>>>()).transpose()?);
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
