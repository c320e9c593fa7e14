//! Derives the signature of a graph, naming open dimensions as the built-in engine does.

use ort::value::{Outlet, ValueType};

use super::convert::dtype;
use crate::engine::contain::unusable;
use crate::error::Result;
use crate::signature::{BATCH, DType, Dim, TensorSpec};

/// A tensor as the file declares it. A dimension is `Err` with its name, which may be empty, if it is open.
struct Declared<'o> {
    name: &'o str,
    dtype: DType,
    dims: Vec<std::result::Result<usize, &'o str>>,
}

fn declared<'o>(outlet: &'o Outlet, kind: &str) -> Result<Declared<'o>> {
    let name = outlet.name();
    let ValueType::Tensor { ty, shape, dimension_symbols } = outlet.dtype() else {
        return Err(unusable(format!("{kind} \"{name}\" is not a tensor")));
    };
    let dtype = dtype(*ty).ok_or_else(|| {
        unusable(format!("{kind} \"{name}\" is of type {ty}, which Weir cannot exchange with ONNX Runtime"))
    })?;
    let dim = |(dim, symbol): (&i64, &'o String)| usize::try_from(*dim).map_err(|_| symbol.as_str());
    Ok(Declared { name, dtype, dims: shape.iter().zip(dimension_symbols.iter()).map(dim).collect() })
}

/// Returns the inputs of a graph, and the name of the batch in the file if there is a batch: the open
/// first dimensions, if all of them have the same name or none.
pub(super) fn inputs(outlets: &[Outlet]) -> Result<(Vec<TensorSpec>, Option<&str>)> {
    let inputs = outlets.iter().map(|outlet| declared(outlet, "input")).collect::<Result<Vec<_>>>()?;
    let firsts = || inputs.iter().filter_map(|input| input.dims.first().and_then(|dim| dim.err()));
    let mut named = firsts().filter(|name| !name.is_empty());
    let batch = named.next().unwrap_or_default();
    let alike = named.all(|other| other == batch);
    let spec = |(input, Declared { name, dtype, dims }): (usize, &Declared<'_>)| {
        let dim = |(axis, dim): (usize, &std::result::Result<usize, &str>)| match dim {
            Ok(size) => Dim::Fixed(*size),
            Err(_) if axis == 0 && alike => Dim::Symbol(BATCH.into()),
            Err("") => Dim::Symbol(format!("d{input}_{axis}")),
            Err(symbol) => Dim::Symbol((*symbol).to_owned()),
        };
        TensorSpec { name: (*name).to_owned(), dtype: *dtype, shape: dims.iter().enumerate().map(dim).collect() }
    };
    let specs = inputs.iter().enumerate().map(spec).collect();
    Ok((specs, (alike && firsts().next().is_some()).then_some(batch)))
}

/// Returns the outputs of a graph, as declared where a run confirms the declaration.
///
/// ONNX Runtime trusts the declarations of a file, and knows nothing of undeclared shapes. So `seen`,
/// the shapes of a run, decides about rank and batch. `batch` is the name of the batch in the file and
/// the number of samples of that run.
pub(super) fn outputs(
    outlets: &[Outlet],
    seen: &[Vec<usize>],
    batch: Option<(&str, usize)>,
) -> Result<Vec<TensorSpec>> {
    let spec = |(output, (outlet, seen)): (usize, (&Outlet, &Vec<usize>))| {
        let Declared { name, dtype, dims } = declared(outlet, "output")?;
        let nameless = |axis: usize| Dim::Symbol(format!("o{output}_{axis}"));
        // Without a declared shape the rank reads as 0.
        let known = dims.len() == seen.len();
        let dim = |(axis, seen): (usize, &usize)| match (dims.get(axis).filter(|_| known), batch) {
            (Some(Ok(size)), _) if size == seen => Dim::Fixed(*size),
            (_, Some((_, samples))) if axis == 0 && *seen == samples => Dim::Symbol(BATCH.into()),
            (Some(Err("")), _) => nameless(axis),
            (Some(Err(symbol)), Some((batch, _))) if *symbol == batch && axis == 0 => nameless(axis),
            (Some(Err(symbol)), Some((batch, _))) if *symbol == batch => Dim::Symbol(BATCH.into()),
            (Some(Err(symbol)), _) => Dim::Symbol((*symbol).to_owned()),
            _ => nameless(axis),
        };
        Ok(TensorSpec { name: name.to_owned(), dtype, shape: seen.iter().enumerate().map(dim).collect() })
    };
    outlets.iter().zip(seen).enumerate().map(spec).collect()
}

/// Returns the outputs of a graph as the file declares them. An output without a declared shape reads as a scalar.
pub(super) fn declared_outputs(outlets: &[Outlet], batch: Option<&str>) -> Result<Vec<TensorSpec>> {
    let spec = |(output, outlet): (usize, &Outlet)| {
        let Declared { name, dtype, dims } = declared(outlet, "output")?;
        let dim = |(axis, dim): (usize, &std::result::Result<usize, &str>)| match dim {
            Ok(size) => Dim::Fixed(*size),
            Err(symbol) if batch == Some(*symbol) && axis == 0 => Dim::Symbol(BATCH.into()),
            Err("") => Dim::Symbol(format!("o{output}_{axis}")),
            Err(symbol) => Dim::Symbol((*symbol).to_owned()),
        };
        Ok(TensorSpec { name: name.to_owned(), dtype, shape: dims.iter().enumerate().map(dim).collect() })
    };
    outlets.iter().enumerate().map(spec).collect()
}
