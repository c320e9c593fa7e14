//! Sizes that a graph does not bear. tract computes some sizes without a check and reads beyond its tensors where a
//! window does not fit, so sizes are checked before a plan runs on them for the first time.

use tract_onnx::tract_core::ops::cnn::{Conv, MaxPool, PaddingSpec, PoolSpec, SumPool};
use tract_onnx::tract_hir::internal::*;

/// The sizes and windows of a graph that depend on its inputs.
#[derive(Debug, Default)]
pub(super) struct Limits {
    inputs: Vec<ShapeFact>,
    sizes: Vec<(String, TDim)>,
    windows: Vec<Window>,
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
    pub(super) fn of(model: &TypedModel) -> TractResult<Self> {
        let mut limits = Self::default();
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
            if let Some(spec) = windows(node) {
                limits.add_windows(&node.name, spec, &model.outlet_fact(node.inputs[0])?.shape)?;
            }
        }
        Ok(limits)
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

    /// Checks that inputs of these shapes leave something of every tensor.
    ///
    /// # Errors
    /// The reason why they do not, in words.
    pub(super) fn check(&self, shapes: &[&[usize]]) -> std::result::Result<(), String> {
        let mut values = SymbolValues::default();
        for (fact, shape) in self.inputs.iter().zip(shapes) {
            for (dim, size) in fact.iter().zip(*shape) {
                if let TDim::Sym(symbol) = dim {
                    values.set(symbol, i64::try_from(*size).unwrap_or(i64::MAX));
                }
            }
        }
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
        Ok(())
    }
}

/// Returns the windows of a convolution or pooling.
fn windows(node: &TypedNode) -> Option<&PoolSpec> {
    let convolution = node.op_as::<Conv>().map(|op| &op.pool_spec);
    let largest = || node.op_as::<MaxPool>().map(|op| &op.pool_spec);
    let sum = || node.op_as::<SumPool>().map(|op| &op.pool_spec);
    convolution.or_else(largest).or_else(sum)
}
