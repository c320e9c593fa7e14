//! Sizes that a graph does not bear. tract computes some sizes without a check and reads beyond its tensors where a
//! window does not fit, so sizes are checked before a plan runs on them for the first time.

use tract_onnx::tract_core::ops::cnn::{Conv, MaxPool, PaddingSpec, PoolSpec, SumPool};
use tract_onnx::tract_core::ops::konst::Const;
use tract_onnx::tract_core::ops::source::TypedSource;
use tract_onnx::tract_hir::internal::*;

use crate::engine::Bounds;

/// The sizes and windows of a graph that depend on its inputs.
#[derive(Debug, Default)]
pub(super) struct Limits {
    inputs: Vec<ShapeFact>,
    sizes: Vec<(String, TDim)>,
    windows: Vec<Window>,
    tensors: Vec<Made>,
    bounds: Bounds,
}

/// A tensor that a node makes.
#[derive(Debug)]
struct Made {
    node: String,
    shape: TVec<TDim>,
    element_bytes: u64,
}

/// A window along one axis of an image or sequence.
#[derive(Debug)]
struct Window {
    node: String,
    axis: usize,
    size: TDim,
    padding: usize,
    reach: usize,
}

impl Limits {
    /// Collects the sizes and windows of a graph.
    pub(super) fn of(model: &TypedModel, bounds: Bounds) -> TractResult<Self> {
        let mut limits = Self { bounds, ..Self::default() };
        for input in model.input_outlets()? {
            limits.inputs.push(model.outlet_fact(*input)?.shape.clone());
        }
        for node in &model.nodes {
            for dim in node.outputs.iter().flat_map(|output| output.fact.shape.iter()) {
                let is_plain = matches!(dim, TDim::Sym(_) | TDim::Val(_));
                if !is_plain && !limits.sizes.iter().any(|(_, known)| known == dim) {
                    limits.sizes.push((node.name.clone(), dim.clone()));
                }
            }
            if !node.op_is::<Const>() && !node.op_is::<TypedSource>() {
                node.outputs.iter().for_each(|output| limits.add_tensor(&node.name, &output.fact));
            }
            if let Some(spec) = windows(node) {
                limits.add_windows(&node.name, spec, &model.outlet_fact(node.inputs[0])?.shape)?;
            }
        }
        Ok(limits)
    }

    /// Takes in a tensor unless one of its shape, and as large an element, is known.
    fn add_tensor(&mut self, node: &str, fact: &TypedFact) {
        let element_bytes = fact.datum_type.size_of() as u64;
        let is_known = |made: &Made| made.element_bytes >= element_bytes && *made.shape == *fact.shape;
        if !self.tensors.iter().any(is_known) {
            self.tensors.push(Made { node: node.to_owned(), shape: fact.shape.to_tvec(), element_bytes });
        }
    }

    fn add_windows(&mut self, node: &str, spec: &PoolSpec, shape: &ShapeFact) -> TractResult<()> {
        let shape = spec.data_format.shape(shape.to_tvec())?;
        for (axis, size) in shape.hw_dims().iter().enumerate() {
            let padding = match &spec.padding {
                PaddingSpec::Explicit(before, after) | PaddingSpec::ExplicitOnnxPool(before, after, _) => {
                    before[axis] + after[axis]
                }
                PaddingSpec::Valid => 0,
                PaddingSpec::SameUpper | PaddingSpec::SameLower => continue,
            };
            let reach = spec.kernel_shape[axis].saturating_sub(1) * spec.dilation(axis) + 1;
            self.windows.push(Window { node: node.to_owned(), axis, size: size.clone(), padding, reach });
        }
        Ok(())
    }

    /// Checks that inputs of these shapes leave something of every tensor, and ask for none that is too large.
    ///
    /// # Errors
    /// The reason why they do not, in words.
    pub(super) fn check(&self, shapes: &[&[usize]]) -> std::result::Result<(), String> {
        let values = self.values(shapes);
        for Window { node, axis, size, padding, reach } in &self.windows {
            // A size that only a run shows is left to the run.
            let Ok(size) = size.eval_to_i64(&values) else { continue };
            let (has, needs) = (size.saturating_add(*padding as i64), *reach as i64);
            if has < needs {
                return Err(format!(
                    "the input is too small: node \"{node}\" needs {needs} along axis {axis} of its windows, padding \
                     included, and gets {has}"
                ));
            }
        }
        for (node, size) in &self.sizes {
            match size.eval_to_i64(&values) {
                Ok(size) if size < 0 => {
                    return Err(format!("the input is too small: node \"{node}\" would get a size of {size}"));
                }
                Ok(_) | Err(_) => {}
            }
        }
        self.check_tensors(shapes)
    }

    /// Checks that inputs of these shapes ask for no tensor that is too large.
    ///
    /// # Errors
    /// As [`Limits::check`].
    pub(super) fn check_tensors(&self, shapes: &[&[usize]]) -> std::result::Result<(), String> {
        let values = self.values(shapes);
        for Made { node, shape, element_bytes } in &self.tensors {
            let sizes = shape.iter().map(|dim| dim.eval_to_i64(&values).ok().and_then(|size| u64::try_from(size).ok()));
            let Some(sizes) = sizes.collect::<Option<TVec<u64>>>() else { continue };
            let said = self.bounds.check(sizes, *element_bytes);
            said.map_err(|said| format!("{said}: node \"{node}\""))?;
        }
        Ok(())
    }

    /// Returns the sizes that the open dimensions have by the shapes of the inputs.
    fn values(&self, shapes: &[&[usize]]) -> SymbolValues {
        let mut values = SymbolValues::default();
        for (fact, shape) in self.inputs.iter().zip(shapes) {
            for (dim, size) in fact.iter().zip(*shape) {
                if let TDim::Sym(symbol) = dim {
                    values.set(symbol, i64::try_from(*size).unwrap_or(i64::MAX));
                }
            }
        }
        values
    }
}

/// Returns the windows of a convolution or pooling.
fn windows(node: &TypedNode) -> Option<&PoolSpec> {
    let convolution = node.op_as::<Conv>().map(|op| &op.pool_spec);
    let largest = || node.op_as::<MaxPool>().map(|op| &op.pool_spec);
    let sum = || node.op_as::<SumPool>().map(|op| &op.pool_spec);
    convolution.or_else(largest).or_else(sum)
}
