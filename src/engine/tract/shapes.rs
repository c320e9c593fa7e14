//! Describes the inputs and outputs of a graph.

use tract_onnx::tract_hir::internal::*;

use super::convert::dtype;
use crate::engine::contain::unusable;
use crate::error::Result;
use crate::signature::{Dim, TensorSpec};

/// The names of inputs and outputs in the file.
#[derive(Debug)]
pub(super) struct Names {
    pub(super) inputs: Vec<String>,
    pub(super) outputs: Vec<String>,
}

/// Returns the names of the inputs and outputs of a graph that is not simplified yet. Simplifying loses
/// one of the two names where an output is nothing but an input.
pub(super) fn names(graph: &InferenceModel) -> Names {
    let node = |outlet: &OutletId| graph.node(outlet.node).name.clone();
    let label = |outlet: &OutletId| graph.outlet_label(*outlet).map_or_else(|| node(outlet), str::to_owned);
    Names { inputs: graph.inputs.iter().map(node).collect(), outputs: graph.outputs.iter().map(label).collect() }
}

/// Describes an input.
///
/// # Errors
/// [`crate::error::Error::Repository`] when its element type is not exchanged with tract.
pub(super) fn input(name: &str, datum: DatumType, shape: Vec<Dim>) -> Result<TensorSpec> {
    let dtype = dtype(datum).ok_or_else(|| unusable(foreign("input", name, datum)))?;
    Ok(TensorSpec { name: name.to_owned(), dtype, shape })
}

/// Describes the outputs of a graph whose shapes are known.
///
/// # Errors
/// As [`input`].
pub(super) fn outputs(model: &TypedModel, names: &Names) -> Result<Vec<TensorSpec>> {
    let dim = |dim: &TDim| dim.to_usize().map_or_else(|_| Dim::Symbol(dim.to_string()), Dim::Fixed);
    let spec = |(outlet, name): (&OutletId, &String)| {
        let fact = model.outlet_fact(*outlet).map_err(|error| unusable(format!("{error:#}")))?;
        let datum = fact.datum_type;
        let dtype = dtype(datum).ok_or_else(|| unusable(foreign("output", name, datum)))?;
        Ok(TensorSpec { name: name.clone(), dtype, shape: fact.shape.iter().map(dim).collect() })
    };
    model.outputs.iter().zip(&names.outputs).map(spec).collect()
}

fn foreign(kind: &str, name: &str, datum: DatumType) -> String {
    format!("{kind} \"{name}\" is of type {datum:?}, which Weir cannot exchange with tract")
}
