//! Names the dimensions that a file leaves open, and derives the signature.

use tract_onnx::prelude::*;
use tract_onnx::tract_hir::infer::Factoid;
use tract_onnx::tract_hir::internal::{DimLike, TDim, ToDim};

use super::convert::dtype;
use crate::engine::contain::unusable;
use crate::error::Result;
use crate::signature::{BATCH, Dim, Signature, TensorSpec};

/// Gives every open dimension of an input a symbol. The open first dimensions get the symbol of the
/// batch if all of them have the same name or none. Returns the symbol of the batch if there is one.
pub(super) fn name_symbols(graph: &mut InferenceModel) -> TractResult<Option<Symbol>> {
    let batch = graph.symbols.sym(BATCH);
    let firsts: Vec<Option<TDim>> =
        (0..graph.inputs.len()).map(|input| open_dim(graph, input, 0)).collect::<TractResult<_>>()?;
    let mut named = firsts.iter().flatten().filter(|dim| !matches!(dim, TDim::Val(_)));
    let alike = match named.next() {
        Some(first) => named.all(|other| other == first),
        None => true,
    };
    let mut used = false;
    for input in 0..graph.inputs.len() {
        let mut fact = graph.input_fact(input)?.clone();
        for axis in 0..fact.shape.rank().concretize().unwrap_or(0).max(0) as usize {
            let known = fact.shape.dim(axis).and_then(|dim| dim.concretize());
            let is_open = known.as_ref().is_none_or(|dim| dim.to_i64().is_err());
            if is_open && axis == 0 && alike {
                fact.shape.set_dim(axis, batch.to_dim());
                used = true;
            } else if known.is_none() {
                fact.shape.set_dim(axis, graph.symbols.sym(&format!("d{input}_{axis}")).to_dim());
            }
        }
        graph.set_input_fact(input, fact)?;
    }
    // Declared output shapes may name the batch differently; tract derives them from the inputs.
    for output in 0..graph.outputs.len() {
        graph.set_output_fact(output, InferenceFact::default())?;
    }
    Ok(used.then_some(batch))
}

/// Returns the dimension that the file declares, a symbol or a number; `None` if it is nameless.
fn open_dim(graph: &InferenceModel, input: usize, axis: usize) -> TractResult<Option<TDim>> {
    Ok(graph.input_fact(input)?.shape.dim(axis).and_then(|dim| dim.concretize()))
}

/// The names of inputs and outputs in the file.
#[derive(Debug)]
pub(super) struct Names {
    inputs: Vec<String>,
    outputs: Vec<String>,
}

/// Returns the names of the inputs and outputs of a graph that is not simplified yet. Simplifying loses
/// one of the two names where an output is nothing but an input.
pub(super) fn names(graph: &InferenceModel) -> Names {
    let node = |outlet: &OutletId| graph.node(outlet.node).name.clone();
    let label = |outlet: &OutletId| graph.outlet_label(*outlet).map_or_else(|| node(outlet), str::to_owned);
    Names { inputs: graph.inputs.iter().map(node).collect(), outputs: graph.outputs.iter().map(label).collect() }
}

/// Returns the signature of a graph whose shapes are known.
pub(super) fn signature(model: &TypedModel, names: Names) -> Result<Signature> {
    let spec = |outlet: &OutletId, name: String, kind: &str| {
        let fact = model.outlet_fact(*outlet).map_err(|error| unusable(format!("{error:#}")))?;
        let dtype = dtype(fact.datum_type).ok_or_else(|| {
            unusable(format!(
                "{kind} \"{name}\" is of type {:?}, which Weir cannot exchange with tract",
                fact.datum_type
            ))
        })?;
        let dim = |dim: &TDim| dim.to_usize().map_or_else(|_| Dim::Symbol(dim.to_string()), Dim::Fixed);
        Ok(TensorSpec { name, dtype, shape: fact.shape.iter().map(dim).collect() })
    };
    let all = |outlets: &[OutletId], names: Vec<String>, kind: &str| {
        outlets.iter().zip(names).map(|(outlet, name)| spec(outlet, name, kind)).collect::<Result<_>>()
    };
    let inputs = all(&model.inputs, names.inputs, "input")?;
    let outputs = all(&model.outputs, names.outputs, "output")?;
    Ok(Signature { inputs, outputs })
}
