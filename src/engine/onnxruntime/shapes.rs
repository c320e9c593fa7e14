//! Reads the declarations of a graph.

use ort::value::{Outlet, ValueType};

use super::convert::dtype;
use crate::engine::contain::unusable;
use crate::engine::seen::DeclaredOutput;
use crate::error::Result;
use crate::signature::{Dim, TensorSpec};

/// Returns a tensor as the file declares it; a dimension without a name is the symbol "".
fn declared(outlet: &Outlet, kind: &str) -> Result<TensorSpec> {
    let name = outlet.name();
    let ValueType::Tensor { ty, shape, dimension_symbols } = outlet.dtype() else {
        return Err(unusable(format!("{kind} \"{name}\" is not a tensor")));
    };
    let dtype = dtype(*ty).ok_or_else(|| {
        unusable(format!("{kind} \"{name}\" is of type {ty}, which Weir cannot exchange with ONNX Runtime"))
    })?;
    let dim = |(dim, symbol): (&i64, &String)| match usize::try_from(*dim) {
        Ok(size) => Dim::Fixed(size),
        Err(_) if symbol == "?" => Dim::Symbol(String::new()),
        Err(_) => Dim::Symbol(symbol.clone()),
    };
    let shape = shape.iter().zip(dimension_symbols.iter()).map(dim).collect();
    Ok(TensorSpec { name: name.to_owned(), dtype, shape })
}

/// Returns the inputs that every request brings.
///
/// # Errors
/// [`crate::error::Error::Repository`] naming the one that is not exchanged.
pub(super) fn inputs(outlets: &[Outlet]) -> Result<Vec<TensorSpec>> {
    outlets.iter().map(|outlet| declared(outlet, "input")).collect()
}

/// Returns the outputs. Without a declared shape the rank reads as 0.
///
/// # Errors
/// As [`inputs`].
pub(super) fn outputs(outlets: &[Outlet]) -> Result<Vec<DeclaredOutput>> {
    let output = |outlet: &Outlet| {
        let TensorSpec { name, dtype, shape } = declared(outlet, "output")?;
        Ok(DeclaredOutput { name, dtype: Some(dtype), shape: Some(shape).filter(|shape| !shape.is_empty()) })
    };
    outlets.iter().map(output).collect()
}
