//! Engine comparison: of two engines that agree the cheaper one serves, of two that do not the reference.

use std::time::{Duration, Instant};

use half::{bf16, f16};

use super::engines::{Candidates, Tried, reason};
use super::{agreement, examples};
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

/// The time after which no further answers are compared.
const PATIENCE: Duration = Duration::from_secs(5);

/// The golden examples that are compared, and the sizes of the made-up batches.
const GOLDEN: usize = 8;
const BATCHES: [usize; 2] = [1, 3];

/// The other engine, which a part of a version does not run in now.
pub(super) struct Rival {
    pub(super) tried: Tried,
    /// The first difference between the answers of the engines in words, if there is one.
    pub(super) difference: Option<String>,
}

/// Loads a part of a version in ONNX Runtime, the reference, if it is here and the built-in engine runs the part now,
/// and compares their answers.
///
/// # Errors
/// The fault of the file or the engine, in words for the log.
pub(super) fn rival(candidates: &Candidates, servable: &Servable, part: Part, max_bytes: u64) -> Result<Option<Rival>> {
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
    let (ours, theirs) = (runtime.plan().signature(), tried.plan.signature());
    if let Some(difference) = agreement::differ_in_signature(ours, theirs) {
        tracing::warn!(model, difference, "the engines see different signatures; tract goes on, as clients know its");
        return Ok(None);
    }
    let probabilities = match (part, servable.transforms.answering()) {
        (Part::Model, Answering::Classes(scored)) => Some(runner.graph_output(scored.output)),
        (
            Part::Model,
            Answering::Labels(..)
            | Answering::Value(_)
            | Answering::Reconstruction(_)
            | Answering::Vision(_)
            | Answering::Text(_)
            | Answering::Outputs,
        )
        | (Part::Decoder | Part::ClassMaps, _) => None,
    };
    let mut other = tried.plan.session()?;
    let (mut difference, begun) = (None, Instant::now());
    for inputs in samples(servable, part)? {
        if begun.elapsed() > PATIENCE {
            tracing::info!(model, "takes long to answer; the engines were compared on some of the examples");
            break;
        }
        difference = match (runtime.with(|session| session.run(&inputs)), other.run(&inputs)) {
            (Ok(ours), Ok(theirs)) => agreement::differ(&tried.plan.signature().outputs, &ours, &theirs, probabilities),
            // What neither takes says nothing about them.
            (Err(_), Err(_)) => None,
            (Err(ours), Ok(_)) => Some(format!("tract fails where ONNX Runtime does not: {}", reason(&ours))),
            (Ok(_), Err(theirs)) => return Err(theirs),
        };
        if difference.is_some() {
            break;
        }
    }
    Ok(Some(Rival { tried, difference }))
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
        (Part::Model, None) | (Part::Decoder | Part::ClassMaps, _) => &[],
    };
    let decode = |example: &Golden| {
        let input = examples::input(&example.input, servable.signature())?;
        Ok(servable.decode(Part::Model, input, PolarityChoice::Auto)?.0)
    };
    let mut samples = golden.iter().take(GOLDEN).map(decode).collect::<Result<Vec<_>>>()?;
    for batch in BATCHES {
        let example = servable.runner(part)?.example(batch)?;
        samples.extend(example.map(|inputs| inputs.into_iter().map(varied).collect::<Result<Vec<_>>>()).transpose()?);
    }
    Ok(samples)
}

/// Fills a tensor of floats with numbers from 0 to 1. Others hold what the graph is known to take.
fn varied(tensor: Tensor) -> Result<Tensor> {
    let shape = tensor.shape().to_vec();
    // A linear congruential generator: any numbers will do.
    let number = |index: u32| (index.wrapping_mul(1_664_525).wrapping_add(1_013_904_223) >> 8) as f32 / 16_777_216.0;
    let numbers = (0..tensor.data().len() as u32).map(number);
    match tensor.data() {
        Data::Float16(_) => Tensor::new(shape, numbers.map(f16::from_f32).collect::<Vec<_>>()),
        Data::Bfloat16(_) => Tensor::new(shape, numbers.map(bf16::from_f32).collect::<Vec<_>>()),
        Data::Float32(_) => Tensor::new(shape, numbers.collect::<Vec<_>>()),
        Data::Float64(_) => Tensor::new(shape, numbers.map(f64::from).collect::<Vec<_>>()),
        Data::Bool(_)
        | Data::Uint8(_)
        | Data::Uint16(_)
        | Data::Uint32(_)
        | Data::Uint64(_)
        | Data::Int8(_)
        | Data::Int16(_)
        | Data::Int32(_)
        | Data::Int64(_)
        | Data::String(_) => Ok(tensor),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn costs(costs: &[(usize, f64)]) -> Vec<BatchCost> {
        costs.iter().map(|&(batch, microseconds)| BatchCost { batch, microseconds, elements: batch }).collect()
    }

    #[test]
    fn only_a_clearly_faster_engine_takes_over() {
        let tract = costs(&[(1, 277.0), (32, 9000.0)]);
        assert!(is_better(&tract, &costs(&[(1, 94.0), (32, 2400.0)])));
        assert!(!is_better(&tract, &costs(&[(1, 270.0), (32, 9000.0)])));
        assert!(!is_better(&costs(&[(1, 6.5), (32, 86.0)]), &costs(&[(1, 8.4), (32, 67.0)])));
        assert!(!is_better(&tract, &[]));
    }
}
