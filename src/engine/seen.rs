//! Outputs of a graph by its declarations and by what a run gave.

use super::dims::Symbols;
use super::example::{self, Hints};
use crate::error::Result;
use crate::signature::{BATCH, DType, Dim, Signature, TensorSpec};
use crate::tensor::Tensor;

/// An output as a file declares it; a dimension without a name is the symbol "".
#[derive(Debug, Clone)]
pub(super) struct DeclaredOutput {
    pub(super) name: String,
    pub(super) dtype: Option<DType>,
    /// `None` if the file declares no shape.
    pub(super) shape: Option<Vec<Dim>>,
}

/// The numbers of samples of the runs that reveal outputs; no other dimension is likely to have the first size.
const SAMPLES: [usize; 2] = [3, 1];

/// Runs a graph on example inputs until a run succeeds; returns its outputs and its number of samples.
fn run(inputs: &[TensorSpec], mut run: impl FnMut(&[Tensor]) -> Result<Vec<Tensor>>) -> Option<(Vec<Tensor>, usize)> {
    let has_batch = inputs.iter().flat_map(|spec| &spec.shape).any(Dim::is_batch);
    let batches = if has_batch { &SAMPLES[..] } else { &SAMPLES[1..] };
    let hints = Hints::default();
    batches.iter().find_map(|batch| {
        let mut examples = example::guesses(inputs, &hints, *batch);
        let outputs = examples.find_map(|example| run(&example.inputs(inputs, None).ok()?).ok())?;
        Some((outputs, *batch))
    })
}

/// Returns the signature of a graph with these inputs, by a run on guesses, and true if one succeeded. If the file leaves
/// the batch open but the graph accepts only one sample, the batch is 1.
pub(super) fn signature(
    inputs: Vec<TensorSpec>,
    declared: &[DeclaredOutput],
    symbols: &Symbols,
    run: impl FnMut(&[Tensor]) -> Result<Vec<Tensor>>,
) -> (Signature, bool) {
    let mut signature = Signature { inputs, outputs: Vec::new() };
    let seen = self::run(&signature.inputs, run);
    signature.outputs = describe(declared, symbols, seen.as_ref().map(|(outputs, batch)| (outputs.as_slice(), *batch)));
    if seen.as_ref().is_some_and(|(_, batch)| *batch == 1) {
        let tensors = signature.inputs.iter_mut().chain(&mut signature.outputs);
        for dim in tensors.filter_map(|tensor| tensor.shape.first_mut()).filter(|dim| dim.is_batch()) {
            *dim = Dim::Fixed(1);
        }
    }
    (signature, seen.is_some())
}

/// Describes outputs: as declared, where `seen`, the outputs of a run with `batch` samples, does not contradict.
///
/// Engines trust the declarations of a file, and know nothing of undeclared shapes. So a run decides about rank and
/// batch. Without one the declarations stand; an undeclared shape is then a single open dimension.
fn describe(declared: &[DeclaredOutput], symbols: &Symbols, seen: Option<(&[Tensor], usize)>) -> Vec<TensorSpec> {
    let spec = |(output, declared): (usize, &DeclaredOutput)| {
        let ran = seen.and_then(|(tensors, batch)| Some((tensors.get(output)?, batch)));
        let named = declared.shape.as_deref();
        let shape = match ran {
            Some((tensor, batch)) => confirmed(output, named, symbols, tensor.shape(), batch),
            None => named
                .unwrap_or(&[Dim::Symbol(String::new())])
                .iter()
                .enumerate()
                .map(|(axis, dim)| believed(output, axis, dim, symbols))
                .collect(),
        };
        let dtype = ran.map(|(tensor, _)| tensor.dtype()).or(declared.dtype).unwrap_or(DType::Float32);
        TensorSpec { name: declared.name.clone(), dtype, shape }
    };
    declared.iter().enumerate().map(spec).collect()
}

fn nameless(output: usize, axis: usize) -> Dim {
    Dim::Symbol(format!("o{output}_{axis}"))
}

fn believed(output: usize, axis: usize, dim: &Dim, symbols: &Symbols) -> Dim {
    match dim {
        Dim::Fixed(size) => Dim::Fixed(*size),
        Dim::Symbol(name) => match symbols.get(name) {
            Some(symbol) => Dim::Symbol(symbol.to_owned()),
            None if name.is_empty() || name == BATCH => nameless(output, axis),
            None => Dim::Symbol(name.clone()),
        },
    }
}

fn confirmed(output: usize, declared: Option<&[Dim]>, symbols: &Symbols, seen: &[usize], batch: usize) -> Vec<Dim> {
    let declared = declared.filter(|dims| dims.len() == seen.len());
    let dim = |(axis, size): (usize, &usize)| {
        let believed = declared.map(|dims| believed(output, axis, &dims[axis], symbols));
        match believed {
            Some(Dim::Fixed(fixed)) if fixed == *size => Dim::Fixed(fixed),
            _ if axis == 0 && symbols.has_batch() && *size == batch => Dim::Symbol(BATCH.into()),
            Some(Dim::Symbol(symbol)) if axis > 0 || symbol != BATCH => Dim::Symbol(symbol),
            _ => nameless(output, axis),
        }
    };
    seen.iter().enumerate().map(dim).collect()
}

#[cfg(test)]
mod tests {
    use super::super::dims::Nameless;
    use super::*;

    fn dims(dims: &[&str]) -> Vec<Dim> {
        dims.iter().map(|dim| dim.parse().map_or_else(|_| Dim::Symbol((*dim).into()), Dim::Fixed)).collect()
    }

    #[test]
    fn a_run_decides_about_rank_and_batch() {
        let symbols = Symbols::of(&[dims(&["rows", "4"])], Nameless::Batch);
        for (declared, seen, expected) in [
            (Some(&["rows", "2"][..]), &[3, 2][..], "[N, 2]"),
            (Some(&["rows", "2"]), &[1, 2], "[o0_0, 2]"),
            (Some(&["", "2"]), &[3, 2], "[N, 2]"),
            (Some(&["rows", "5"]), &[3, 2], "[N, o0_1]"),
            (Some(&["k", "rows"]), &[5, 3], "[k, N]"),
            (Some(&["rows"]), &[3, 2], "[N, o0_1]"),
            (None, &[3, 7], "[N, o0_1]"),
            (None, &[], "[]"),
        ] {
            let output = DeclaredOutput { name: "y".into(), dtype: None, shape: declared.map(dims) };
            let tensor = Tensor::zeros(DType::Int64, seen.to_vec()).unwrap();
            let described = describe(std::slice::from_ref(&output), &symbols, Some((&[tensor], 3)));
            assert_eq!((described[0].shape_text().as_str(), described[0].dtype), (expected, DType::Int64));
            let believed = describe(&[output], &symbols, None);
            assert_eq!(believed[0].shape.len(), declared.map_or(1, <[&str]>::len));
        }
    }
}
